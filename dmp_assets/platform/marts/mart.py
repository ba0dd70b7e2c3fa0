"""A table for people."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dmp_assets.platform.lake.columns import Category
from dmp_assets.platform.lake.tables import named_tables

Personal = tuple[Category, str | None]


@dataclass(frozen=True)
class Mart:
    """One table for people: what it holds, its columns, and the SQL over `layer.table` names.

    `personal`: columns that hold personal data: of which kind, and the subject (see `Column`).
    """

    name: str
    about: str
    columns: Mapping[str, str]
    sql: str
    personal: Mapping[str, Personal] = field(default_factory=dict)

    @property
    def deps(self) -> tuple[str, ...]:
        """Keys of the tables that it is made of."""
        return named_tables(self.sql)
