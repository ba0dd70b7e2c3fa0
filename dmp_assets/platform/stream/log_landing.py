"""A log of the service lands in its table: read from the operational store, or by Kafka.

What is in the table is the same either way. A home may change from one to the other: what Kafka
brought out of order, or had not brought yet, is looked for in the store by the log's ids.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dmp_assets.home import Home
from dmp_assets.platform.lake.columns import Columns, arrow_schema
from dmp_assets.platform.lake.table_asset import Check, TableRun
from dmp_assets.platform.postgres.embedded import PostgresError
from dmp_assets.platform.store import where
from dmp_assets.platform.store.errors import StoreError
from dmp_assets.platform.stream import kafka, landing
from dmp_assets.platform.stream.kafka import StreamError
from dmp_assets.platform.stream.stream import Stream

if TYPE_CHECKING:
    import sqlalchemy as sa

CHECKS = (
    Check(
        "store_was_read",
        None,
        "The operational store, or Kafka in its place, could be read; otherwise what has landed "
        "stays as it was.",
    ),
)


def state(
    home: Home, stream: Stream, has_expired: "Callable[[sa.Connection], bool] | None" = None
) -> dict[str, Any] | None:
    """Where a log ends, or what is wrong with its source; None: the home has none.

    `has_expired`: tell also whether rows are there that the store need not keep any more.
    """
    by_kafka = kafka.is_configured(home.settings())
    found = landing.state(home, stream) if by_kafka else {}
    if not where.is_configured(home):
        return found or None
    from dmp_assets.platform.store import database
    from dmp_assets.platform.store import landing as store_log

    try:
        with database.opened(where.store_url(home)) as store, store.connect() as connection:
            expired = has_expired is not None and has_expired(connection)
            newest = {} if by_kafka else {"newest": store_log.newest(connection, stream.name)}
            return {**found, **newest, "expired": expired}
    except (StoreError, PostgresError) as error:
        return found if by_kafka else {"problem": str(error)}


def land(run: TableRun, stream: Stream, columns: Columns) -> int:
    """Land what is new of a log; the id up to which all of it is in the table.

    `columns` are those of the log.
    """
    if kafka.is_configured(run.settings):
        return _by_kafka(run, stream, columns)
    return _from_store(run, stream, arrow_schema(columns))


def _from_store(run: TableRun, stream: Stream, schema: pa.Schema) -> int:
    """Append the rows of the store's log that are not in the lakehouse yet, in one commit."""
    before = _by_kafka_before(run)
    probe, landed = run.probe or {}, _greatest(run, stream) or 0
    newest, problem = probe.get("newest"), probe.get("problem")
    if run.probe is None:
        run.log.info("nothing to land: this home has no operational store (`dmp migrate`)")
    if newest is not None and newest < landed:
        problem = (
            f"the operational store's {stream.name} ends with {newest}, and {landed} has landed "
            "before: it is another store or an older copy. Let it count on: ALTER TABLE "
            f"{stream.name} ALTER {stream.key} RESTART WITH {landed + 1}"
        )
    if problem:
        _tell(run, problem)
        run.stamp |= {landing.NOTED: before} if before else {}
    if newest is not None and before and not problem:
        _append(run, stream, schema, before.get("through") or 0, look=True)
    elif newest is not None and newest > landed:
        _append(run, stream, schema, landed or None)
    else:
        _keep(run, schema)
    return _greatest(run, stream) or 0


def _append(
    run: TableRun, stream: Stream, schema: pa.Schema, after: int | None, *, look: bool = False
) -> None:
    """Append what the store's log has after an id; `look`: some of that may be there."""
    from dmp_assets.platform.store import database
    from dmp_assets.platform.store import landing as store_log

    with (
        database.opened(where.store_url(run.lakehouse.home)) as store,
        store.connect() as connection,
    ):
        found = store_log.rows_after(connection, stream.name, after, schema)
        run.append(_without(found, stream.key, _ids(run, stream, after or 0)) if look else found)


def _without(found: pa.RecordBatchReader, key: str, there: pa.ChunkedArray) -> pa.RecordBatchReader:
    def batches() -> Iterator[pa.RecordBatch]:
        for batch in found:
            yield batch.filter(pc.invert(pc.is_in(batch.column(key), there.combine_chunks())))

    return pa.RecordBatchReader.from_batches(found.schema, batches())


def _by_kafka(run: TableRun, stream: Stream, columns: Columns) -> int:
    """Land what the topic holds. Whatever is wrong with Kafka is told and stops nothing."""
    before = _by_kafka_before(run)
    problem = (run.probe or {}).get("problem")
    if problem is None:
        try:
            landed = landing.land(run.lakehouse, stream, columns, log=run.log)
        except StreamError as error:
            problem = str(error)
            run.stamp["fingerprint"] = None  # the next run tries again
        else:
            run.stamp[landing.NOTED] = landed.noted()
            run.metadata |= {
                "records_landed": landed.records,
                "dead_letters": landed.dead_letters,
                "kafka_lag": landed.lag,
            }
            if landed.dead_letters:
                run.log.warning(
                    f"{landed.dead_letters} records cannot be used; see `dmp show "
                    f"{stream.dead_letters}`"
                )
            if landed.rows:
                run.written[run.key] = run.lakehouse.note(run.key, stamp=run.stamp)
            else:
                run.keep()
            return landed.through or 0
    _tell(run, problem)
    run.stamp |= {landing.NOTED: before} if before else {}
    _keep(run, arrow_schema(columns))
    return 0


def _by_kafka_before(run: TableRun) -> dict[str, Any] | None:
    """What the table notes of a landing by Kafka, where that was the last one."""
    return run.lakehouse.tables.stamp(run.key).get(landing.NOTED)


def _tell(run: TableRun, problem: str) -> None:
    run.log.error(problem)
    run.metadata["problem"] = problem


def _keep(run: TableRun, schema: pa.Schema) -> None:
    if run.exists(run.key):
        run.keep()
    else:
        run.overwrite(schema.empty_table())


def _greatest(run: TableRun, stream: Stream) -> int | None:
    """Greatest id in the lakehouse; None when there is no row."""
    if not run.exists(run.key):
        return None
    found = run.sql(f"SELECT max({stream.key}) AS last FROM {run.key.replace('/', '.')}")
    last: int | None = found["last"][0].as_py()
    return last


def _ids(run: TableRun, stream: Stream, after: int) -> pa.ChunkedArray:
    """The ids above this one that are in the lakehouse."""
    table = run.key.replace("/", ".")
    return run.sql(f"SELECT {stream.key} FROM {table} WHERE {stream.key} > ?", [after]).column(0)
