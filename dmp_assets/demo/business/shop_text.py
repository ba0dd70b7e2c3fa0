"""Vectorised text: numbers in, Arrow strings out, without a Python loop over rows."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rng = np.random.Generator

DAY = 86_400
_HEX_BYTES = np.array([list(f"{value:02x}".encode()) for value in range(256)], dtype=np.uint8)
_HEX_WORDS = pa.array([f"{value:x}" for value in range(65_536)])


def pool(values: Sequence[str], index: Ints) -> pa.Array:
    """The value that each index names."""
    return pa.array(values, pa.string()).take(pa.array(index))


def join(*parts: pa.Array | str) -> pa.Array:
    """Element-wise concatenation."""
    return pc.binary_join_element_wise(*parts, "")


def digits(values: Ints, width: int = 0) -> pa.Array:
    """Decimal text, zero-padded to `width`."""
    text = pc.cast(pa.array(values), pa.string())
    return pc.utf8_lpad(text, width, "0") if width else text


def choose(mask: Bools, yes: pa.Array, no: pa.Array) -> pa.Array:
    """`yes` where the mask holds, else `no`."""
    return pc.if_else(pa.array(mask), yes, no)


def patch(values: pa.Array, rows: Ints, new: pa.Array) -> pa.Array:
    """The array with `new[i]` (null allowed) put at `rows[i]`."""
    if len(rows) == 0:
        return values
    mask = np.zeros(len(values), dtype=bool)
    mask[rows] = True
    return pc.replace_with_mask(values, pa.array(mask), new.take(pa.array(np.argsort(rows))))


def constant(value: str | None, count: int) -> pa.Array:
    """The same text `count` times."""
    return pa.array([value], pa.string()).take(pa.array(np.zeros(count, dtype=np.int64)))


def uuids(rng: Rng, count: int) -> pa.Array:
    """Random version 4 UUIDs."""
    raw = rng.integers(0, 256, (count, 16), dtype=np.uint8)
    raw[:, 6] = raw[:, 6] & 0x0F | 0x40
    raw[:, 8] = raw[:, 8] & 0x3F | 0x80
    text = np.full((count, 36), ord("-"), dtype=np.uint8)
    places = [i for i in range(36) if i not in (8, 13, 18, 23)]
    text[:, places] = _HEX_BYTES[raw].reshape(count, 32)
    offsets = np.arange(count + 1, dtype=np.int32) * 36
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))


def hex_words(values: Ints) -> pa.Array:
    """16-bit numbers as hexadecimal text."""
    return _HEX_WORDS.take(pa.array(values))


def time_text(seconds: Ints) -> pa.Array:
    """`2024-03-01 06:17:03` for seconds since 1970."""
    return pc.cast(pa.array(seconds).cast(pa.timestamp("s")), pa.string())


def date_text(days: Ints) -> pa.Array:
    """`1990-01-31` for days since 1970."""
    return pc.cast(pa.array(days.astype(np.int32), pa.date32()), pa.string())


def local_to_utc(local: Ints, zone: Ints, zones: Sequence[str]) -> Ints:
    """UTC seconds of wall-clock seconds; a skipped hour moves on, a doubled one is the first."""
    utc = local.copy()
    for number, name in enumerate(zones):
        rows = np.flatnonzero(zone == number)
        hours, place = np.unique(local[rows] // 3_600, return_inverse=True)
        aware = pd.DatetimeIndex((hours * 3_600).astype("datetime64[s]")).tz_localize(
            ZoneInfo(name),
            ambiguous=np.ones(len(hours), dtype=bool),
            nonexistent="shift_forward",
        )
        start = aware.tz_convert("UTC").tz_localize(None).to_numpy("datetime64[s]")
        utc[rows] = start.astype(np.int64)[place] + local[rows] % 3_600
    return utc


def weighted(rng: Rng, weights: Sequence[float] | Floats, count: int) -> Ints:
    """Indices drawn in proportion to their weights."""
    edges = np.cumsum(np.asarray(weights, dtype=float))
    drawn = np.searchsorted(edges, rng.random(count) * edges[-1], side="right")
    index: Ints = np.minimum(drawn, len(edges) - 1).astype(np.int64)
    return index


def chance(rng: Rng, probability: float | Floats, count: int) -> Bools:
    """True with the given probability, per row."""
    return rng.random(count) < probability


def rank_within(groups: Ints) -> Ints:
    """0, 1, 2 … for the rows of each group, in row order."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    first = np.r_[True, ordered[1:] != ordered[:-1]] if len(ordered) else np.zeros(0, dtype=bool)
    starts = np.maximum.accumulate(np.where(first, np.arange(len(ordered)), 0))
    rank = np.empty(len(groups), dtype=np.int64)
    rank[order] = np.arange(len(ordered)) - starts
    return rank


def group_sizes(rng: Rng, total: int, low: int, high: int, mean: float) -> Ints:
    """Sizes in low..high, about `mean` on average, that add up to `total`.

    A remainder smaller than `low` joins the last group, so that no group is a fragment.
    """
    sizes: list[int] = []
    left = total
    while left > 0:
        size = int(min(low + rng.geometric(1 / (mean - low + 1)) - 1, high, left))
        if left - size < low:
            size = left
        sizes.append(size)
        left -= size
    return np.array(sizes, dtype=np.int64)
