"""raw/web_sessions, raw/web_conversions, raw/web_session_costs: the web database as received.

Every received column is kept as text. The tables are read in full whenever a value changed; the
content hash of the database sees every edit. Without a web database they are empty.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from dmp_assets.platform.cleaning.received_columns import FURTHER, columns_of
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.table_asset import TableRun, source_checks, table_asset
from dmp_assets.platform.lake.window import Window
from dmp_assets.sources.web.resource import state_in_run, web_source
from dmp_assets.sources.web.tables import ROW_NUMBER, SOURCES, TABLES

LINEAGE_COLUMNS = {
    "_row_id": Column("long", "Number of the row in the source's own order."),
    "_received_at": Column(
        "timestamp", "Null: the web database does not say when it received a row."
    ),
    "_source": Column("string", "Name of the web database."),
    "_loaded_at": Column("timestamp", "When the row was read into the lakehouse (UTC)."),
}
LINEAGE = arrow_schema(LINEAGE_COLUMNS)


def _probe(table: str, lakehouse: Lakehouse, window: Window) -> dict[str, Any] | None:
    state = state_in_run(lakehouse.run_id, lakehouse.home)
    if state is None:
        return None
    known = state.tables[SOURCES[table]]
    return {
        "content": known.content_hash,
        "columns": dict(known.columns),
    }


def _columns(table: str) -> dict[str, Column]:
    return {**columns_of(TABLES[SOURCES[table]]), **LINEAGE_COLUMNS}


def _web_table(table: str, key: str) -> Any:
    return table_asset(
        "raw",
        columns=_columns(table),
        further=FURTHER,
        probe=lambda lakehouse, window: _probe(table, lakehouse, window),
        owner="team:marketing",
        kinds=("sqlite", "delta"),
        checks=source_checks(table, key),
    )


def read_web_table(run: TableRun, table: str) -> None:
    """Replace raw/<table> by what the web database holds now; empty without a web database.

    Raises WebError when the database cannot be read or has another shape.
    """
    source = web_source(run.lakehouse.home)
    name = SOURCES[table]
    if source is None:
        run.log.info("no web database is configured (DMP_WEB_DATABASE)")
        run.overwrite(arrow_schema(_columns(table)).empty_table())
        return
    schema, batches = source.read_batches(name)
    given = [field for field in schema if field.name != ROW_NUMBER]
    wanted = pa.schema([*given, *LINEAGE])
    run.overwrite(
        pa.RecordBatchReader.from_batches(wanted, _with_lineage(batches, wanted, source.name))
    )


def _with_lineage(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, source: str
) -> Iterator[pa.RecordBatch]:
    now = datetime.now(UTC)
    for batch in batches:
        rows = batch.num_rows
        added = [
            batch.column(ROW_NUMBER),
            pa.nulls(rows, LINEAGE.field("_received_at").type),
            pa.repeat(source, rows),
            pa.repeat(pa.scalar(now, LINEAGE.field("_loaded_at").type), rows),
        ]
        received = [batch.column(name) for name in batch.schema.names if name != ROW_NUMBER]
        yield pa.RecordBatch.from_arrays([*received, *added], schema=schema)


@_web_table("web_sessions", "session_id")
def web_sessions(run: TableRun) -> None:
    """Sessions as the web database has them, every column as text.

    Grain: one received row. Key: _row_id. Source: session_sources of the web database.
    """
    read_web_table(run, "web_sessions")


@_web_table("web_conversions", "conv_id")
def web_conversions(run: TableRun) -> None:
    """Conversions as the web database has them, every column as text.

    Grain: one received row. Key: _row_id. Source: conversions of the web database.
    """
    read_web_table(run, "web_conversions")


@_web_table("web_session_costs", "session_id")
def web_session_costs(run: TableRun) -> None:
    """Costs of sessions as the web database has them, every column as text.

    Grain: one received row. Key: _row_id. Source: session_costs of the web database.
    """
    read_web_table(run, "web_session_costs")
