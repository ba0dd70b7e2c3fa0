"""What a domain publishes to the API."""

from dataclasses import dataclass

from dmp_assets.platform.lake.tables import named_tables


@dataclass(frozen=True)
class Publication:
    """One table of `published` in the store (columns: the domain's
    `service/store/schema.py`) and the SQL it is from."""

    name: str
    about: str
    sql: str
    owner: str = "team:data-platform"

    @property
    def deps(self) -> tuple[str, ...]:
        return named_tables(self.sql)
