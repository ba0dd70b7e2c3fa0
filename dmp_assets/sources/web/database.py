"""The user's web analytics database: sessions with their channels, conversions and costs.

It is an SQLite file or PostgreSQL. All values are read as the text that is there; results go back
into two tables of their own, which say nothing about whether the source changed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pyarrow as pa
from pydantic import SecretStr

from dmp_assets.platform.cleaning.received import Kind
from dmp_assets.platform.config import connection_urls
from dmp_assets.sources.csv.reading import Reading
from dmp_assets.sources.web.connection import Engine, ReadOnlyWebDatabase, WebError
from dmp_assets.sources.web.load import LoadSummary, load_web
from dmp_assets.sources.web.postgres import PostgresEngine
from dmp_assets.sources.web.results import ResultsWritten, results_held, write_results
from dmp_assets.sources.web.shape import creation, lakehouse_names, shape_problems
from dmp_assets.sources.web.sqlite import SqliteEngine
from dmp_assets.sources.web.tables import KINDS, ROW_NUMBER, TABLES

__all__ = ["ReadOnlyWebDatabase", "WebError", "WebSource", "WebState", "WebTable"]

_BATCH_ROWS = 50_000
_FETCH_ROWS = (
    2_000  # rows turned into Arrow while they are in the processor's cache: 2.6 times faster
)


@dataclass(frozen=True)
class WebTable:
    """One source table as it is now. `columns` maps names to declared types, in order.

    `content_hash` changes whenever any value does.
    """

    row_count: int
    columns: Mapping[str, str]
    content_hash: str


@dataclass(frozen=True)
class WebState:
    """The source tables as they are now. `identity` names the database for people."""

    identity: str
    tables: Mapping[str, WebTable]


@dataclass(frozen=True)
class WebSource:
    """A web database: the path of an SQLite file, `sqlite:///path`, or a `postgresql://` URL.

    Waits `busy_seconds` for a lock that another program holds. PostgreSQL tables are found through
    the search path (`?options=-csearch_path=analytics`). All methods but `check` raise WebError.
    """

    address: str | SecretStr | Path = field(repr=False)
    busy_seconds: float = 5.0

    @property
    def name(self) -> str:
        """The path, or `user@host:port/database` without the password."""
        return self._engine.name

    @property
    def _engine(self) -> Engine:
        return _engine(self.address, self.busy_seconds)

    def check(self) -> list[str]:
        """What is wrong with the database, one line each; nothing when it can be read."""
        try:
            database = self._engine
            with database.connect() as session:
                problems = shape_problems(session.columns(TABLES), there=session.relations())
        except WebError as error:
            return [str(error)]
        return [f"the web database {database.name}: {problem}" for problem in problems]

    def init(self) -> tuple[str, ...]:
        """Create the source tables that are missing; their names.

        Columns of new tables are text and so take whatever an export holds. Tables that are there
        are left alone; one of another shape is refused.
        """
        database = self._engine
        with database.connect(write=True, create=True) as session:
            present = session.columns(TABLES)
            _refuse(database.name, shape_problems(present, _only(present)))
            missing = tuple(table for table in TABLES if table not in present)
            for table in missing:
                session.execute(creation(table, KINDS[table], typed=False))
        return missing

    def load(
        self,
        folder: Path,
        *,
        replace: bool = False,
        append: bool = False,
        reading: Reading | None = None,
    ) -> LoadSummary:
        """Load `session_sources.csv`, `conversions.csv` and `session_costs.csv`; all or nothing.

        Without `replace` or `append` the tables must be empty. An append may lack files. Files
        that the database holds already (by content) are not loaded again. Empty fields are null.
        """
        return load_web(self._engine, Path(folder), replace=replace, append=append, reading=reading)

    def probe(self) -> WebState:
        """Look at the source tables, all in one snapshot."""
        database = self._engine
        with database.connect() as session:
            present = session.columns(TABLES)
            _refuse(database.name, shape_problems(present, there=session.relations()))
            hashes = {table: session.content_hash(table, present[table]) for table in TABLES}
        return WebState(
            database.name,
            {
                table: WebTable(hashes[table][0], present[table], hashes[table][1])
                for table in TABLES
            },
        )

    def read_batches(
        self, table: str, *, batch_rows: int = _BATCH_ROWS
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """The rows of a source table: all columns as text, nulls kept, and `_row_number` (int64).

        Rows are numbered from 1 in a stable order: by key, else as stored; about `batch_rows` come
        at a time. An optional column that the table lacks arrives as null. Truth values are 1 and
        0; bytes that are no UTF-8 become U+FFFD.
        """
        database = self._engine
        with database.connect() as session:
            present, there = session.columns([table]), session.relations()
        _refuse(database.name, shape_problems(present, {table: KINDS[table]}, there))
        columns = present[table]
        given = lakehouse_names(columns, TABLES[table]).values()
        names = [*given, *(name for name in TABLES[table] if name not in given)]
        schema = pa.schema([*((name, pa.string()) for name in names), (ROW_NUMBER, pa.int64())])
        return schema, _batches(database, table, columns, schema, batch_rows)

    def write_results(
        self,
        journey_credits: pa.Table | Iterable[pa.RecordBatch],
        channel_reporting: pa.Table | Iterable[pa.RecordBatch],
        window: tuple[date, date] | None = None,
    ) -> ResultsWritten:
        """Write `attribution_customer_journey` and `channel_reporting`; both or neither.

        `journey_credits`: conv_id, session_id, ihc. `channel_reporting`: channel_name, date, cost
        (EUR), ihc, ihc_revenue (EUR). Of the tables, which are made when missing, the rows of the
        given conv_ids and of the days in `window` (start, end exclusive) are replaced; without a
        window all rows are. Raises ReadOnlyWebDatabase where writing is not allowed and ValueError
        for other columns or days outside the window.
        """
        return write_results(self._engine, journey_credits, channel_reporting, window)

    def results_held(self) -> ResultsWritten | None:
        """Rows of both tables of results as they are there; None where one of them is missing."""
        return results_held(self._engine)


def _engine(address: str | SecretStr | Path, busy_seconds: float) -> Engine:
    if isinstance(address, Path):
        return SqliteEngine(address.expanduser().absolute(), busy_seconds)
    text = address.get_secret_value() if isinstance(address, SecretStr) else address
    try:
        found = connection_urls.web_database(text)
    except connection_urls.UrlError as error:
        raise WebError(f"DMP_WEB_DATABASE: {error}") from None
    if isinstance(found, Path):
        return SqliteEngine(found, busy_seconds)
    return PostgresEngine(found, busy_seconds)


def _only(present: Mapping[str, object]) -> dict[str, Mapping[str, Kind]]:
    return {table: kinds for table, kinds in KINDS.items() if table in present}


def _refuse(name: str, problems: list[str]) -> None:
    if problems:
        raise WebError(f"the web database {name}: {'; '.join(problems)}")


def _batches(
    database: Engine, table: str, columns: Mapping[str, str], schema: pa.Schema, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    first = 1
    with (
        database.connect() as session,
        closing(session.stream(table, columns, min(batch_rows, _FETCH_ROWS))) as stream,  # type: ignore[type-var]
    ):
        for rows in _gathered(stream, batch_rows):
            arrays = [pa.concat_arrays(parts) for parts in zip(*rows, strict=True)]
            count = len(arrays[0])
            arrays += [pa.nulls(count, pa.string())] * (len(schema) - 1 - len(columns))
            arrays.append(pa.array(range(first, first + count), pa.int64()))
            first += count
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _gathered(
    stream: Iterator[Sequence[tuple[bytes | str | None, ...]]], batch_rows: int
) -> Iterator[list[list[pa.Array]]]:
    """Fetched rows as columns, gathered until there are `batch_rows`."""
    gathered: list[list[pa.Array]] = []
    count = 0
    for rows in stream:
        gathered.append([_text(values) for values in zip(*rows, strict=True)])
        count += len(rows)
        if count >= batch_rows:
            yield gathered
            gathered, count = [], 0
    if gathered:
        yield gathered


def _text(values: tuple[bytes | str | None, ...]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # not UTF-8
        return pa.array(
            [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values],
            pa.string(),
        )
