"""The web analytics database in an SQLite file."""

import csv
import hashlib
import io
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from dmp_assets.sources.csv.export import CsvExport, Utf8Blocks, stray_quote
from dmp_assets.sources.csv.header import LONGEST
from dmp_assets.sources.web.connection import ReadOnlyWebDatabase, WebError

_HASH_ROWS = 2_000
_BETWEEN = b"\x1f"


@dataclass(frozen=True)
class SqliteEngine:
    """An SQLite file; waits `busy_seconds` for another program's lock."""

    path: Path
    busy_seconds: float

    @property
    def name(self) -> str:
        return str(self.path)

    @contextmanager
    def connect(self, *, write: bool = False, create: bool = False) -> Iterator["SqliteSession"]:
        """A session on the file. Readers are let write too, to undo what a killed writer began."""
        if not self.path.exists():
            if not create:
                raise WebError(
                    f"the web database {self.name} does not exist: correct DMP_WEB_DATABASE, "
                    "or create its tables first"
                )
            if not self.path.parent.is_dir():
                raise WebError(f"the folder of the web database {self.name} does not exist")
        elif not self.path.is_file():
            raise WebError(f"the web database {self.name} is not a file")
        mode = "rwc" if create else "rw"
        try:
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=self.busy_seconds,
                isolation_level=None,
                check_same_thread=False,  # batches may be taken in another thread
            )
            with closing(connection):
                connection.text_factory = bytes
                connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                try:
                    yield SqliteSession(connection)
                    connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise self._why(error, write) from error

    def _why(self, error: sqlite3.Error, write: bool) -> WebError:
        code = str(getattr(error, "sqlite_errorname", ""))
        about = f"the web database {self.name}"
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return WebError(
                f"{about} is locked by another program; nothing was changed: try again when that "
                "has finished"
            )
        if write and code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
            return ReadOnlyWebDatabase(
                f"{about} cannot be written: allow writing to the file and its folder"
            )
        if code.startswith("SQLITE_NOTADB"):
            return WebError(f"{about} is not an SQLite database")
        if code.startswith(("SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_READONLY")):
            return WebError(f"{about} cannot be opened: allow reading the file and its folder")
        if code.startswith("SQLITE_CORRUPT"):
            return WebError(f"{about} is damaged ({error}); put back a copy of it")
        if code.startswith("SQLITE_FULL"):
            return WebError(f"the disk of {about} is full; nothing was changed")
        return WebError(f"{about} refused: {error}")


@dataclass(frozen=True)
class SqliteSession:
    """One transaction; text arrives as UTF-8 bytes."""

    connection: sqlite3.Connection

    def execute(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, tuple(parameters)).fetchall()

    def relations(self) -> list[str]:
        found = self.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') "
            "AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name"
        )
        return [name.decode(errors="replace") for (name,) in found]

    def columns(self, tables: Iterable[str]) -> dict[str, dict[str, str]]:
        found = {}
        for table in tables:
            described = self.execute(
                "SELECT name, type FROM pragma_table_xinfo(?) WHERE hidden <> 1", [table]
            )
            if described:
                found[table] = {
                    name.decode(errors="replace"): kind.decode(errors="replace")
                    for name, kind in described
                }
        return found

    def stream(
        self, table: str, columns: Mapping[str, str], fetch_rows: int
    ) -> Iterator[Sequence[tuple[Any, ...]]]:
        selected = ", ".join(_as_text(name, kind) for name, kind in columns.items())
        query = f"SELECT {selected} FROM {table} ORDER BY {self._order(table, columns)}"
        with closing(self.connection.execute(query)) as cursor:
            while rows := cursor.fetchmany(fetch_rows):
                yield rows

    def _order(self, table: str, columns: Mapping[str, str]) -> str:
        [(kind,)] = self.execute(
            "SELECT type FROM sqlite_master WHERE name = ? COLLATE NOCASE "
            "AND type IN ('table', 'view')",
            [table],
        )
        if kind == b"view":
            return ", ".join(map(_quoted, columns))
        keys = self.execute(
            "SELECT name FROM pragma_table_xinfo(?) WHERE pk > 0 ORDER BY pk", [table]
        )
        [(without_rowid,)] = self.execute(
            "SELECT wr FROM pragma_table_list(?) WHERE schema = 'main'", [table]
        )
        if without_rowid:
            return ", ".join(_quoted(name.decode()) for (name,) in keys)
        return "rowid"

    def content_hash(self, table: str, columns: Mapping[str, str]) -> tuple[int, str]:
        digest = hashlib.blake2b("\x1f".join(columns).encode(), digest_size=16)
        count = 0
        for rows in self.stream(table, columns, _HASH_ROWS):
            count += len(rows)
            for values in zip(*rows, strict=True):
                array = pa.array(values, pa.binary())
                for buffer in array.buffers():
                    # An absent bitmap means that no value is missing.
                    digest.update(memoryview(buffer) if buffer else b"all")
                    digest.update(_BETWEEN)
        return count, digest.hexdigest()

    def insert(self, table: str, batches: Iterable[pa.RecordBatch]) -> None:
        for batch in batches:
            names = batch.schema.names
            columns = [column.to_pylist() for column in batch.columns]
            self.connection.executemany(_insertion(table, names), zip(*columns, strict=True))

    def load_csv(self, file: CsvExport, text: Utf8Blocks) -> int:
        text.letters = True
        csv.field_size_limit(LONGEST)
        reader = csv.reader(_lines(text), strict=True, delimiter=file.delimiter)

        def rows() -> Iterator[list[str | None]]:
            for row in islice(reader, 1, None):
                if row:
                    line = text.line(reader.line_num)
                    yield [value or None for value in file.picked(row, line)]

        try:
            done = self.connection.executemany(_insertion(file.table, file.loaded), rows())
        except csv.Error as error:
            if "end of data" in str(error):
                raise WebError(stray_quote(file)) from None
            raise WebError(
                f"{file.name} line {text.line(reader.line_num)} is not CSV: {error}"
            ) from error
        return max(done.rowcount, 0)


def _as_text(name: str, declared: str) -> str:
    """Text of a column's values; a whole number that is kept as a float has no `.0`."""
    value = _quoted(name)
    if re.search("char|clob|text", declared, re.IGNORECASE):  # holds no numbers
        return f"CAST({value} AS TEXT)"
    return (
        f"CASE WHEN typeof({value}) = 'real' AND abs({value}) < 9e15 "
        f"AND {value} = CAST({value} AS INTEGER) "
        f"THEN CAST(CAST({value} AS INTEGER) AS TEXT) ELSE CAST({value} AS TEXT) END"
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _insertion(table: str, columns: Sequence[str]) -> str:
    places = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(map(_quoted, columns))}) VALUES ({places})"


def _lines(blocks: Iterable[bytes]) -> Iterator[str]:
    for block in blocks:
        yield from io.StringIO(block.decode(), newline="")
