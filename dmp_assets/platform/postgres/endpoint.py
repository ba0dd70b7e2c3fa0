"""Where a PostgreSQL server answers, and what may go wrong with the embedded one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from pydantic import SecretStr

from dmp_assets.platform.base.errors import UserError


class PostgresError(UserError):
    """The embedded PostgreSQL cannot do what was asked; the message says what to do."""


@dataclass(frozen=True)
class Endpoint:
    """Where a PostgreSQL server answers, and as whom."""

    host: str
    port: int
    user: str
    password: SecretStr
    database: str

    def url(self, database: str | None = None) -> SecretStr:
        """`postgresql://…` for `database`.

        The address is pinned by `hostaddr`, so that no PG* environment variable can redirect it.
        """
        password = quote(self.password.get_secret_value(), safe="")
        return SecretStr(
            f"postgresql://{quote(self.user, safe='')}:{password}@{self.host}:{self.port}"
            f"/{quote(database or self.database, safe='')}?hostaddr={self.host}&sslmode=disable"
        )

    def jdbc(self, database: str | None = None) -> tuple[str, dict[str, str]]:
        """JDBC URL, which holds no secret, and the connection properties, which do."""
        return (
            f"jdbc:postgresql://{self.host}:{self.port}/{quote(database or self.database)}",
            {
                "driver": "org.postgresql.Driver",
                "user": self.user,
                "password": self.password.get_secret_value(),
                "sslmode": "disable",
            },
        )


@contextmanager
def opened(
    endpoint: Endpoint, database: str = "postgres"
) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection that commits each statement. Raises PostgresError."""
    try:
        with psycopg.connect(
            endpoint.url(database).get_secret_value(), autocommit=True, connect_timeout=10
        ) as connection:
            yield connection
    except psycopg.Error as error:
        raise PostgresError(
            f"the embedded PostgreSQL at {endpoint.host}:{endpoint.port} started but refuses to "
            f"work: {str(error).strip()}"
        ) from error


def explain(said: str, where: Path) -> str:
    """What went wrong at `where` and what to do, from what PostgreSQL or the system said."""
    last = [line for line in said.splitlines() if line.strip()][-8:]
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return f"the disk that holds {where} is full; free some space and try again"
    if "Read-only file system" in said or "Permission denied" in said or "Not a directory" in said:
        return (
            f"cannot write to {where}; set DMP_HOME to a folder that you can write to "
            f"({last[-1].strip()})"
        )
    return f"PostgreSQL in {where} did not do as asked: " + " | ".join(x.strip() for x in last)
