"""The web analytics database in PostgreSQL; tables are found through the search path."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.csv as pa_csv
from psycopg import sql
from psycopg.conninfo import make_conninfo

from dmp_assets.platform.config import connection_urls
from dmp_assets.sources.csv.export import CsvExport, Utf8Blocks, why_not_csv
from dmp_assets.sources.postgres import SESSION, why_not_connected
from dmp_assets.sources.postgres_text import BASE_TYPE, as_text
from dmp_assets.sources.web.connection import ReadOnlyWebDatabase, WebError

_WRITERS_LOCK = 0x646D77  # any number, the same for every writer


@dataclass(frozen=True)
class PostgresEngine:
    """A PostgreSQL database; waits `busy_seconds` for another program's lock."""

    parameters: Mapping[str, Any] = field(repr=False)
    busy_seconds: float

    @classmethod
    def at(cls, url: str, busy_seconds: float) -> "PostgresEngine":
        """The database of a `postgresql://` URL. Raises WebError, without quoting the URL."""
        try:
            return cls(connection_urls.postgres(url), busy_seconds)
        except connection_urls.UrlError as error:
            raise WebError(f"the web database's URL (DMP_WEB_DATABASE): {error}") from None

    @property
    def name(self) -> str:
        """`user@host:port/database`, without the password."""
        known = self.parameters
        user = f"{known['user']}@" if known.get("user") else ""
        return (
            f"{user}{known.get('host', 'localhost')}:{known.get('port', 5432)}/"
            f"{known.get('dbname') or known.get('user', '')}"
        )

    @contextmanager
    def connect(self, *, write: bool = False, create: bool = False) -> Iterator["PostgresSession"]:
        """A session that sees one state of the database throughout."""
        wait = f"SET LOCAL lock_timeout = {max(1, round(self.busy_seconds * 1_000))}"
        parameters = {"connect_timeout": 10, "application_name": "dmp_assets", **self.parameters}
        parameters["client_encoding"] = "UTF8"
        try:
            connection = psycopg.connect(make_conninfo(**parameters), prepare_threshold=None)
        except psycopg.Error as error:
            raise WebError(
                why_not_connected(f"the web database {self.name}", str(error), "DMP_WEB_DATABASE")
            ) from None
        try:
            with connection:
                if not write:
                    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                    connection.read_only = True
                connection.execute(f"{SESSION}; {wait}".encode())
                if write:
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_WRITERS_LOCK,))
                yield PostgresSession(connection)
        except psycopg.Error as error:
            raise _why_refused(self.name, error, write) from None  # DETAIL and CONTEXT quote rows


@dataclass(frozen=True)
class PostgresSession:
    """One transaction."""

    connection: psycopg.Connection[Any]

    def execute(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(query.replace("?", "%s").encode(), tuple(parameters))
        return cursor.fetchall() if cursor.description else []

    def relations(self) -> list[str]:
        found = self.connection.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE pg_table_is_visible(c.oid) AND c.relkind IN ('r', 'v', 'm', 'p', 'f') "
            "AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
        )
        return [str(name) for (name,) in found]

    def columns(self, tables: Iterable[str]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for table, column, kind in self.connection.execute(
            """
            SELECT c.relname, a.attname, format_type(a.atttypid, NULL)
            FROM pg_class c
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            WHERE c.relname = ANY(%s) AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
              AND pg_table_is_visible(c.oid)
            ORDER BY c.relname, a.attnum
            """,
            ([*tables],),
        ):
            found.setdefault(table, {})[column] = kind
        domains = BASE_TYPE + " AND pg_table_is_visible(c.oid)"
        for table, column, kind in self.connection.execute(domains.encode(), ([*found],)):
            found[table][column] = kind
        return found

    def stream(
        self, table: str, columns: Mapping[str, str], fetch_rows: int
    ) -> Iterator[Sequence[tuple[Any, ...]]]:
        query = sql.SQL("SELECT {} FROM {} {}").format(
            sql.SQL(", ").join(_as_text(*column) for column in columns.items()),
            sql.Identifier(table),
            self._order(table, columns),
        )
        # Else a scan of a large table may start in its middle, where another one is.
        self.connection.execute("SET LOCAL synchronize_seqscans = off")
        with self.connection.cursor(name="dmp_web_rows") as cursor:
            cursor.execute(query)
            while rows := cursor.fetchmany(fetch_rows):
                yield rows

    def _order(self, table: str, columns: Mapping[str, str]) -> sql.Composable:
        [(kind,)] = self.execute("SELECT relkind FROM pg_class WHERE oid = ?::regclass", [table])
        keys = self.execute(
            "SELECT a.attname FROM pg_index i "
            "CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY k(attnum, place) "
            "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum "
            "WHERE i.indrelid = ?::regclass AND i.indisprimary ORDER BY k.place",
            [table],
        )
        if keys:
            names = [sql.Identifier(name) for (name,) in keys]
        elif kind in ("r", "m"):
            return sql.SQL("")
        else:
            names = [sql.Identifier(name) for name in columns]
        return sql.SQL("ORDER BY {}").format(sql.SQL(", ").join(names))

    def content_hash(self, table: str, columns: Mapping[str, str]) -> tuple[int, str]:
        # The sum does not depend on the order of the rows; the server does the work.
        query = sql.SQL(
            "SELECT count(*), coalesce(sum(hashtextextended(ROW({})::text, 0)), 0) FROM {}"
        ).format(sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(table))
        row = self.connection.execute(query).fetchone()
        assert row is not None
        return row[0], str(row[1])

    def insert(self, table: str, batches: Iterable[pa.RecordBatch]) -> None:
        for batch in batches:
            text = io.BytesIO()
            pa_csv.write_csv(batch, text, pa_csv.WriteOptions(include_header=False))
            self._copy(table, batch.schema.names, [text.getvalue()], "FORMAT csv")

    def load_csv(self, file: CsvExport, text: Utf8Blocks) -> int:
        # Like any other CSV reader, take "" for an empty field.
        names = sql.SQL(", ").join(map(sql.Identifier, file.loaded)).as_string(None)
        parted = sql.Literal(file.delimiter).as_string(None)
        options = f"FORMAT csv, HEADER true, DELIMITER {parted}, FORCE_NULL ({names})"
        try:
            return self._copy(file.table, file.loaded, text.picked(), options)
        except (psycopg.errors.DataError, psycopg.errors.ProgramLimitExceeded) as error:
            raise WebError(why_not_csv(file, text, error)) from None

    def _copy(
        self, table: str, columns: Sequence[str], blocks: Iterable[bytes], options: str
    ) -> int:
        command = sql.SQL("COPY {} ({}) FROM STDIN ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(options),  # type: ignore[arg-type]
        )
        cursor = self.connection.cursor()
        with cursor.copy(command) as copy:
            for block in blocks:
                copy.write(block)
        return cursor.rowcount


def _as_text(column: str, kind: str) -> sql.Composable:
    """Text of a column's values; a truth value is 1 or 0, as SQLite has it."""
    if kind == "boolean":
        return sql.SQL("{}::int::text").format(sql.Identifier(column))
    return as_text(column, kind)


def _why_refused(name: str, error: psycopg.Error, write: bool) -> WebError:
    said = error.diag.message_primary or " ".join(str(error).split())
    if isinstance(
        error, psycopg.errors.InsufficientPrivilege | psycopg.errors.ReadOnlySqlTransaction
    ):
        kind = ReadOnlyWebDatabase if write else WebError
        return kind(f"the web database {name} does not allow it: {said}")
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return WebError(
            f"the web database {name} is locked by another program; nothing was changed: "
            "try again when that has finished"
        )
    if isinstance(error, psycopg.errors.DiskFull):
        return WebError(f"the disk of the web database {name} is full; nothing was changed")
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return WebError(f"the connection to the web database {name} broke: {said}")
    return WebError(f"the web database {name} refused: {said}")
