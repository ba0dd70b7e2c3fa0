"""The service's logs as the lakehouse takes them over: what is new there, and what can go here.

Ids are committed in order (writers hold a lock), so whatever has a greater id than the last row
that landed is new.
"""

from collections.abc import Iterator
from datetime import timedelta

import pyarrow as pa
import sqlalchemy as sa

from dmp_assets.abuse.service.store.predictions import IDEMPOTENT_FOR
from dmp_assets.abuse.service.store.schema import (
    abuse_case_claim,
    abuse_case_view,
    abuse_decision,
    abuse_list_entry,
    abuse_prediction,
    idempotent_answer,
    review_revision,
)
from dmp_assets.platform.store.schema import METADATA

BATCH = 10_000


def newest(connection: sa.Connection, log: str) -> int | None:
    """Greatest id in a log; None when it is empty."""
    (key,) = METADATA.tables[log].primary_key.columns
    return connection.scalar(sa.select(sa.func.max(key)))


def rows_after(
    connection: sa.Connection, log: str, last: int | None, schema: pa.Schema
) -> pa.RecordBatchReader:
    """A log's rows with an id above `last` (None: all), in order; read while they are written.

    `schema` names the columns; what is text there (JSON, UUIDs) comes as PostgreSQL writes it.
    """
    table = METADATA.tables[log]
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


def _expired(days: int) -> list[tuple[sa.Table, sa.ColumnElement[bool]]]:
    return [
        (abuse_prediction, abuse_prediction.c.predicted_at < sa.func.now() - timedelta(days=days)),
        (idempotent_answer, idempotent_answer.c.answered_at < sa.func.now() - IDEMPOTENT_FOR),
    ]


def has_expired(connection: sa.Connection, *, days: int) -> bool:
    """Whether there are scores older than that, or answers to repeat that nobody may repeat."""
    old = [sa.exists().select_from(table).where(aged) for table, aged in _expired(days)]
    return bool(connection.scalar(sa.select(sa.or_(*old))))


def delete_expired(connection: sa.Connection, *, days: int, landed: int) -> int:
    """Delete what `has_expired` finds, but no score with an id above `landed`; how many scores."""
    (scores, old), (answers, out_of_date) = _expired(days)
    connection.execute(answers.delete().where(out_of_date))
    deleted = connection.execute(
        scores.delete().where(old, abuse_prediction.c.prediction_id <= landed)
    )
    return deleted.rowcount


def clear(connection: sa.Connection) -> None:
    """Forget all scores, decisions and lists: the people that they are about never existed."""
    for table in (
        abuse_prediction, idempotent_answer, abuse_decision, abuse_list_entry, abuse_case_view,
        abuse_case_claim,
    ):  # fmt: skip
        connection.execute(table.delete())
    connection.execute(review_revision.update().values(revision=review_revision.c.revision + 1))
