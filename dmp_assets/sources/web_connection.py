"""Connecting to the web analytics database: an SQLite file or PostgreSQL, one way to talk to both.

Every session is one transaction: it commits at the end of its block and rolls back on any error.
Whatever the database refuses becomes a WebError that says what to put right.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pyarrow as pa
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

_EXPECTED = "expected postgresql://user:password@host:5432/database or the path of an SQLite file"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_POSTGRES = ("postgresql://", "postgres://")


class WebError(Exception):
    """Something about the web database that the user can put right; the message names it."""


class ReadOnlyWebDatabase(WebError):
    """The database may be read but not written."""


class Session(Protocol):
    """One transaction. SQL uses `?` for parameters and plain names of our own tables."""

    def execute(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement; its rows, if it has any."""

    def columns(self, tables: Iterable[str]) -> dict[str, dict[str, str]]:
        """Table → column → declared type, of those that exist (views too)."""

    def stream(
        self, table: str, columns: Mapping[str, str], fetch_rows: int
    ) -> Iterator[Sequence[tuple[Any, ...]]]:
        """All rows as text or UTF-8 bytes, in a stable order: key order, else as stored."""

    def content_hash(self, table: str, columns: Mapping[str, str]) -> tuple[int, str]:
        """Number of rows, and a hash over every value of every row."""

    def insert(self, table: str, batches: Iterable[pa.RecordBatch]) -> None:
        """Append the batches' rows to the columns of the same names."""

    def load_csv(self, file: str, table: str, columns: Sequence[str], text: Iterator[bytes]) -> int:
        """Append the rows of a CSV text with a header line, empty fields as null; their number."""


class Engine(Protocol):
    """A database that can be connected to."""

    @property
    def name(self) -> str:
        """What people call it; never with a password."""

    def connect(
        self, *, write: bool = False, create: bool = False
    ) -> AbstractContextManager[Session]:
        """A session; `create` makes a missing SQLite file. Raises WebError."""


def engine(address: str | SecretStr | Path, busy_seconds: float) -> Engine:
    """The engine for a path, `sqlite:///path` or `postgresql://` URL. Raises WebError."""
    from dmp_assets.sources.web_postgres import PostgresEngine
    from dmp_assets.sources.web_sqlite import SqliteEngine

    if isinstance(address, SecretStr):
        address = address.get_secret_value()
    if isinstance(address, Path):
        return SqliteEngine(address, busy_seconds)
    text = address.strip()
    if text.startswith(_POSTGRES):
        return PostgresEngine(_postgres_parameters(text), busy_seconds)
    if text.startswith("sqlite:///"):
        return SqliteEngine(Path(text.removeprefix("sqlite:///")), busy_seconds)
    if not text or _SCHEME.match(text):
        raise WebError(f"DMP_WEB_DATABASE names no database that can be read: {_EXPECTED}")
    return SqliteEngine(Path(text).expanduser(), busy_seconds)


def _postgres_parameters(url: str) -> dict[str, Any]:
    try:
        parameters = conninfo_to_dict(url)
    except psycopg.ProgrammingError:  # its message may quote the password
        raise WebError(f"the web database's URL cannot be read: {_EXPECTED}") from None
    if "@" in str(parameters.get("host", "")):
        raise WebError(
            f"the web database's URL has a bare @ in its password: write %40; {_EXPECTED}"
        )
    return parameters
