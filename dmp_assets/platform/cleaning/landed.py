"""Rows of a service as a raw table holds them: every value as text, and where they came from."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from dmp_assets.platform.cleaning.received import ReceivedColumns
from dmp_assets.platform.cleaning.received_columns import columns_of
from dmp_assets.platform.lake.columns import Column, arrow_schema

LINEAGE_COLUMNS = {
    "_row_id": Column("long", "Number of the row in the order in which the service gave them."),
    "_received_at": Column("timestamp", "Null: the service does not say when it received a row."),
    "_source": Column("string", "Name of the service."),
    "_loaded_at": Column("timestamp", "When the row was read into the lakehouse (UTC)."),
}


def columns(received: ReceivedColumns) -> dict[str, Column]:
    """The columns of a raw table of these received ones."""
    return {**columns_of(received), **LINEAGE_COLUMNS}


def table(rows: Sequence[Mapping[str, Any]], names: Collection[str], source: str) -> pa.Table:
    """The rows, with these columns and whatever else they hold (`further=FURTHER` of the table).

    Text is as received; other values are JSON; what a row does not have is null.
    """
    further = sorted({name for row in rows for name in row} - set(names))
    texts = {
        name: pa.array([_text(row.get(name)) for row in rows], pa.string())
        for name in (*names, *further)
    }
    kinds = arrow_schema(LINEAGE_COLUMNS)
    lineage = {
        "_row_id": pa.array(range(len(rows)), kinds.field("_row_id").type),
        "_received_at": pa.nulls(len(rows), kinds.field("_received_at").type),
        "_source": pa.repeat(source, len(rows)),
        "_loaded_at": pa.repeat(
            pa.scalar(datetime.now(UTC), kinds.field("_loaded_at").type), len(rows)
        ),
    }
    return pa.table(texts | lineage)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, default=str, ensure_ascii=False)
