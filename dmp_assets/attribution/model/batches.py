"""Crediting journeys that arrive in batches of rows, as Spark hands them to a worker."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dmp_assets.attribution.model.crediting import credits
from dmp_assets.attribution.model.journeys import COLUMNS, Journeys
from dmp_assets.attribution.model.models import models_of
from dmp_assets.attribution.model.parameters import Fitted


def credit_batches(batches: Iterator[pa.RecordBatch], fitted: Fitted) -> Iterator[pa.RecordBatch]:
    """Each batch's rows with a column of credits (float64) per model of `fitted` after them.

    The rows of all batches together are sorted by conversion, then time, and hold the columns
    `journeys.COLUMNS`; batches may cut journeys. Raises ValueError as `Journeys.from_arrow`.
    """
    held: pa.Table | None = None
    for batch in batches:
        rows = pa.Table.from_batches([batch])
        rows = rows if held is None else pa.concat_tables([held, rows])
        complete = _last_start(rows["conv_id"])
        held = rows.slice(complete)
        if complete:
            yield from _credited(rows.slice(0, complete), fitted)
    if held is not None and held.num_rows:
        yield from _credited(held, fitted)


def _last_start(ids: pa.ChunkedArray) -> int:
    """Row at which the last conversion, which may go on in the next batch, begins."""
    if not len(ids):
        return 0
    others = pc.not_equal(ids, ids[-1]).to_numpy(zero_copy_only=False)
    before = np.flatnonzero(others)
    return int(before[-1]) + 1 if len(before) else 0


def _credited(rows: pa.Table, fitted: Fitted) -> Iterator[pa.RecordBatch]:
    given = credits(Journeys.from_arrow(rows.select(COLUMNS)), fitted)
    for name in models_of(fitted.parameters.markov_orders):
        rows = rows.append_column(name, pa.array(given[name], pa.float64()))
    yield from rows.combine_chunks().to_batches()
