"""raw/meta_exports and raw/shopify_exports: files that people exported, as received.

A file is read once and appended; the files themselves are in the home (`sources/exports/kept.py`).
Rows of a file that was taken back are dropped. What a home does not have, because another one that
writes the same lakehouse has it, stays.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from dmp_assets.platform.cleaning.received_columns import columns_of
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.platform.lake.window import Window
from dmp_assets.sources.exports import kept as store
from dmp_assets.sources.exports.columns import Export
from dmp_assets.sources.exports.kept import FileKey, Kept
from dmp_assets.sources.exports.landing import batches, reopened
from dmp_assets.sources.exports.meta import META
from dmp_assets.sources.exports.shopify import SHOPIFY

TOTALS_AGREE = Check(
    "totals_agree",
    None,
    "Every file's own row of totals is what its rows add up to; else rows are missing in it.",
)


def _columns(export: Export) -> dict[str, Column]:
    whose = {
        "meta": {},
        "shopify": {"shop": Column("string", "Domain of the shop, or what it was called.")},
    }[export.kind]
    return {
        "advertiser_id": Column("string", "Whose file it is."),
        **whose,
        "file": Column("string", "SHA-256 of the file."),
        "file_number": Column("long", "The order in which files were taken."),
        "line": Column("long", "Line of the file, the header being the first."),
        "row_hash": Column("string", "Hash of all that the row holds."),
        "is_total": Column("boolean", "A sum over other rows, of the file's own."),
        "problem": Column("string", "What is wrong with the row's shape, if anything."),
        "numbers": Column("string", "How the file writes numbers: point, comma; null: either."),
        "dates": Column("string", "How it writes days: day, month, year first; null: any."),
        "timezone": Column("string", "Time zone of the account, or of the shop."),
        **columns_of(export.columns),
        "_row_id": Column("long", "Number of the row in the order in which rows came."),
        "_received_at": Column("timestamp", "When the file was taken (UTC)."),
        "_source": Column("string", "What the file is an export of."),
        "_loaded_at": Column("timestamp", "When the row was read into the lakehouse (UTC)."),
    }


COLUMNS = {one.kind: _columns(one) for one in (META, SHOPIFY)}


def _state(kind: str) -> Any:
    def state(lakehouse: Lakehouse, window: Window) -> list[str] | None:
        files = [one for one in store.noted(lakehouse.home) if one.kind == kind]
        return [f"{one.key} {one.is_removed}" for one in files] or None

    return state


def _table(export: Export) -> Any:
    return table_asset(
        "raw",
        columns=COLUMNS[export.kind],
        key=("_row_id",),
        probe=_state(export.kind),
        owner="team:marketing",
        kinds=("delta",),
        checks=(TOTALS_AGREE,) if export.kind == "meta" else (),
    )


@_table(META)
def meta_exports(run: TableRun) -> None:
    """Rows of Ads Manager's exports that people gave, every column as text.

    Grain: a row of a file. Key: _row_id. Source: files of `dmp ads import`.
    """
    _land(run, META)


@_table(SHOPIFY)
def shopify_exports(run: TableRun) -> None:
    """Rows of Shopify's exports of orders that people gave, every column as text.

    Grain: a row of a file. Key: _row_id. Source: files of `dmp ads import`.
    """
    _land(run, SHOPIFY)


def _land(run: TableRun, export: Export) -> None:
    """Append the files that are new; drop those that this home took back."""
    files = [one for one in store.noted(run.lakehouse.home) if one.kind == export.kind]
    told = [f"{one.name}: {what}" for one in files if not one.is_removed for what in one.totals]
    if told:
        run.metadata["problem"] = "; ".join(told)
    landed = _landed(run, export)
    current = {one.key: one for one in files if not one.is_removed}
    known = {one.key[:2] for one in files}
    gone = [key for key in landed if key[:2] in known and key not in current]
    if gone:
        rest = run.sql(
            f"SELECT * FROM raw.{export.table} WHERE advertiser_id || ' ' || file NOT IN "
            "(SELECT unnest($gone::VARCHAR[])) ORDER BY _row_id",
            {"gone": [f"{advertiser} {file}" for advertiser, file, _ in gone]},
        )
        run.overwrite(rest.cast(arrow_schema(COLUMNS[export.kind])))
    new = [one for key, one in current.items() if key not in landed]
    if new or not run.exists(run.key):
        run.append(_reader(run, export, new))
    elif not gone:
        run.keep()


def _landed(run: TableRun, export: Export) -> set[FileKey]:
    """The files whose rows are there."""
    if not run.exists(run.key):
        return set()
    found = run.sql(f"SELECT DISTINCT advertiser_id, file, file_number FROM raw.{export.table}")
    return {(row["advertiser_id"], row["file"], row["file_number"]) for row in found.to_pylist()}


def _reader(run: TableRun, export: Export, files: Sequence[Kept]) -> pa.RecordBatchReader:
    """The rows of these files, numbered on from those that are there."""
    schema = arrow_schema(COLUMNS[export.kind])
    first = 0
    if run.exists(run.key):
        found = run.sql(f"SELECT coalesce(max(_row_id) + 1, 0) AS n FROM raw.{export.table}")
        first = int(found["n"][0].as_py())

    def every() -> Iterator[pa.RecordBatch]:
        number, now = first, datetime.now(UTC)
        for one in files:
            for batch in batches(reopened(run.lakehouse.home, one), run.lakehouse.home):
                yield _batch(batch, one, export, schema, number, now)
                number += batch.num_rows

    return pa.RecordBatchReader.from_batches(schema, every())


def _batch(
    batch: pa.RecordBatch,
    one: Kept,
    export: Export,
    schema: pa.Schema,
    number: int,
    now: datetime,
) -> pa.RecordBatch:
    rows = batch.num_rows
    same: dict[str, Any] = {
        "advertiser_id": one.advertiser_id,
        "shop": one.account,
        "file": one.sha256,
        "file_number": one.number,
        "numbers": one.numbers,
        "dates": one.dates,
        "timezone": one.timezone,
        "_received_at": one.received,
        "_source": export.title,
        "_loaded_at": now,
    }
    filled = {"account_id": one.account, "currency": one.currency or None}
    arrays = []
    for field in schema:
        if field.name == "_row_id":
            column: Any = pa.array(range(number, number + rows), field.type)
        elif field.name in same:
            column = pa.repeat(pa.scalar(same[field.name], field.type), rows)
        else:
            column = batch.column(field.name)
        if field.name in filled and export.kind == "meta":
            column = _filled(column, filled[field.name])
        arrays.append(column)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _filled(column: pa.Array, otherwise: str | None) -> pa.Array:
    """Texts, and in the place of none what was said of the file."""
    if otherwise is None:
        return column
    texts = [(text or "").strip() or otherwise for text in column.to_pylist()]
    return pa.array([text.removeprefix("act_") for text in texts], pa.string())
