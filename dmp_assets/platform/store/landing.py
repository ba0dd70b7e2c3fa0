"""A log of the service as the lakehouse takes it over: what is new there.

Ids are committed in order (writers hold a lock), so whatever has a greater id than the last row
that landed is new.
"""

from collections.abc import Iterator

import pyarrow as pa
import sqlalchemy as sa

from dmp_assets.platform.store.schema import every

BATCH = 10_000


def newest(connection: sa.Connection, log: str) -> int | None:
    """Greatest id in a log; None when it is empty."""
    (key,) = every().tables[log].primary_key.columns
    return connection.scalar(sa.select(sa.func.max(key)))


def rows_after(
    connection: sa.Connection, log: str, last: int | None, schema: pa.Schema
) -> pa.RecordBatchReader:
    """A log's rows with an id above `last` (None: all), in order; read while they are written.

    `schema` names the columns; what is text there (JSON, UUIDs) comes as PostgreSQL writes it.
    """
    table = every().tables[log]
    (key,) = table.primary_key.columns
    columns = [
        sa.cast(table.c[field.name], sa.Text) if field.type == pa.string() else table.c[field.name]
        for field in schema
    ]
    query = sa.select(*columns).order_by(key)
    if last is not None:
        query = query.where(key > last)

    def batches() -> Iterator[pa.RecordBatch]:
        found = connection.execution_options(yield_per=BATCH).execute(query)
        for rows in found.partitions():
            values = zip(*rows, strict=True)
            arrays = [pa.array(v, field.type) for v, field in zip(values, schema, strict=True)]
            yield pa.record_batch(arrays, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())
