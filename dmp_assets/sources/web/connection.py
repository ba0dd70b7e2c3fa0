"""One way to talk to the web analytics database, be it an SQLite file or PostgreSQL.

Every session is one transaction: it commits at the end of its block and rolls back on any error.
Whatever the database refuses becomes a WebError that says what to put right.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import pyarrow as pa

from dmp_assets.platform.base.errors import UserError
from dmp_assets.sources.csv.text import CsvExport, Utf8Blocks


class WebError(UserError):
    """Something about the web database that the user can put right; the message names it."""


class ReadOnlyWebDatabase(WebError):
    """The database may be read but not written."""


class Session(Protocol):
    """One transaction. SQL uses `?` for parameters and plain names of our own tables."""

    def execute(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement; its rows, if it has any."""

    def relations(self) -> list[str]:
        """Names of all tables and views that can be read."""

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

    def load_csv(self, file: CsvExport, text: Utf8Blocks) -> int:
        """Append the rows of a file's text, empty fields as null; their number.

        Raises WebError or ShopError for what is no CSV.
        """


class Engine(Protocol):
    """A database that can be connected to."""

    @property
    def name(self) -> str:
        """What people call it; never with a password."""

    def connect(
        self, *, write: bool = False, create: bool = False
    ) -> AbstractContextManager[Session]:
        """A session; `create` makes a missing SQLite file. Raises WebError."""
