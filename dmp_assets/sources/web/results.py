"""Writing attribution results back into the web database: both tables change, or neither."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from dmp_assets.sources.web.connection import Engine, Session, WebError
from dmp_assets.sources.web.shape import creation, shape_problems
from dmp_assets.sources.web.tables import RESULTS

_JOURNEYS, _REPORTING = RESULTS
_INCOMING = "dmp_incoming"


@dataclass(frozen=True)
class ResultsWritten:
    """Rows written to the two tables of results."""

    journey_rows: int
    reporting_rows: int


def write_results(
    database: Engine,
    journey_credits: pa.Table | Iterable[pa.RecordBatch],
    channel_reporting: pa.Table | Iterable[pa.RecordBatch],
    window: tuple[date, date] | None,
) -> ResultsWritten:
    """Replace the results concerned, in one transaction. See WebSource.write_results."""
    with database.connect(write=True) as session:
        present = session.columns(RESULTS)
        there = {table: wanted for table, wanted in RESULTS.items() if table in present}
        if problems := shape_problems(present, there):
            raise WebError(f"the web database {database.name}: {'; '.join(problems)}")
        for table, wanted in RESULTS.items():
            if table not in present:
                session.execute(creation(table, wanted, typed=True))
        journeys = _replace_journeys(session, journey_credits, whole=window is None)
        if window is None:
            session.execute(f"DELETE FROM {_REPORTING}")
        else:
            session.execute(
                f"DELETE FROM {_REPORTING} WHERE date >= ? AND date < ?", [str(d) for d in window]
            )
        reporting = _Counted(_reporting(channel_reporting, window))
        session.insert(_REPORTING, reporting)
    return ResultsWritten(journeys, reporting.rows)


def results_held(database: Engine) -> ResultsWritten | None:
    """Rows of both tables of results; None where one of them is not there."""
    with database.connect() as session:
        if set(session.columns(RESULTS)) != set(RESULTS):
            return None
        counts = [session.execute(f"SELECT count(*) FROM {table}")[0][0] for table in RESULTS]
    return ResultsWritten(*map(int, counts))


def _replace_journeys(
    session: Session, journey_credits: pa.Table | Iterable[pa.RecordBatch], *, whole: bool
) -> int:
    counted = _Counted(_batches(_JOURNEYS, journey_credits))
    if whole:
        session.execute(f"DELETE FROM {_JOURNEYS}")
        session.insert(_JOURNEYS, counted)
        return counted.rows
    names = ", ".join(RESULTS[_JOURNEYS])
    session.execute(
        creation(_INCOMING, RESULTS[_JOURNEYS], typed=True).replace("TABLE", "TEMP TABLE", 1)
    )
    session.insert(_INCOMING, counted)
    session.execute(
        f"DELETE FROM {_JOURNEYS} WHERE CAST(conv_id AS text) IN (SELECT conv_id FROM {_INCOMING})"
    )
    session.execute(f"INSERT INTO {_JOURNEYS} ({names}) SELECT {names} FROM {_INCOMING}")
    session.execute(f"DROP TABLE {_INCOMING}")
    return counted.rows


class _Counted:
    """Batches, and how many rows they had so far."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self.rows = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            self.rows += batch.num_rows
            yield batch


def _batches(table: str, rows: pa.Table | Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches with the columns of the result table, as text and floats."""
    schema = pa.schema(
        [
            (name, pa.float64() if kind == "amount" else pa.string())
            for name, kind in RESULTS[table].items()
        ]
    )
    for batch in rows.to_batches() if isinstance(rows, pa.Table) else rows:
        if sorted(batch.schema.names) != sorted(schema.names):
            raise ValueError(
                f"{table} needs the columns {', '.join(schema.names)}, "
                f"not {', '.join(batch.schema.names)}"
            )
        columns = [pc.cast(batch.column(field.name), field.type) for field in schema]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _reporting(
    rows: pa.Table | Iterable[pa.RecordBatch], window: tuple[date, date] | None
) -> Iterator[pa.RecordBatch]:
    for batch in _batches(_REPORTING, rows):
        if window is not None and batch.num_rows:
            days = pc.min_max(batch.column("date")).as_py()
            if days["min"] < str(window[0]) or days["max"] >= str(window[1]):
                raise ValueError(
                    f"{_REPORTING} has days outside {window[0]} to {window[1]} (exclusive): "
                    f"{days['min']} to {days['max']}"
                )
        yield batch
