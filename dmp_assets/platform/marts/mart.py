"""A table for people."""

from collections.abc import Mapping
from dataclasses import dataclass

from dmp_assets.platform.lake.tables import named_tables


@dataclass(frozen=True)
class Mart:
    """One table for people: what it holds, its columns, and the SQL over `layer.table` names."""

    name: str
    about: str
    columns: Mapping[str, str]
    sql: str

    @property
    def deps(self) -> tuple[str, ...]:
        """Keys of the tables that it is made of."""
        return named_tables(self.sql)
