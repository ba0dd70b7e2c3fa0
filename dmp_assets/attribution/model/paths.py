"""Paths: distinct channel sequences, with how often each one converted and how often it did not."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dmp_assets.attribution.model.journeys import Codes, Integers, Journeys, check_sequences, encode

SCHEMA = pa.schema({"path": pa.list_(pa.string()), "conversions": pa.int64(), "nulls": pa.int64()})


@dataclass(frozen=True, eq=False)
class Paths:
    """Sequences of channels, cut from `channel` by `offsets` as in `Journeys`.

    `conversions` and `nulls` count the journeys along each path that ended with and without a
    conversion. Raises ValueError for negative counts and for arrays that do not fit together.
    """

    channels: tuple[str, ...]
    offsets: Integers
    channel: Codes
    conversions: Integers
    nulls: Integers

    def __post_init__(self) -> None:
        check_sequences(self.channels, self.offsets, self.channel)
        for name in ("conversions", "nulls"):
            counts = getattr(self, name)
            if counts.shape != (len(self),):
                raise ValueError(f"{name} needs one value per path")
            if (counts < 0).any():
                raise ValueError(f"{name} holds negative counts")

    @classmethod
    def from_arrow(cls, table: pa.Table) -> "Paths":
        """Paths of a table with the columns of `SCHEMA`; equal paths are added up.

        Raises ValueError for a missing column, a null or an empty path.
        """
        for name in SCHEMA.names:
            if name not in table.column_names:
                raise ValueError(f"paths lack the column {name}")
            if nulls := table[name].null_count:
                raise ValueError(f"{name} holds {nulls} nulls")
        lists = table["path"].combine_chunks()
        names = lists.flatten()
        if names.null_count:
            raise ValueError(f"paths hold {names.null_count} channels that are null")
        lengths = lists.value_lengths().to_numpy()
        channels, channel = encode(pa.chunked_array([names]))
        paths = cls(
            channels=channels,
            offsets=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
            channel=channel,
            conversions=table["conversions"].cast(pa.int64()).to_numpy(),
            nulls=table["nulls"].cast(pa.int64()).to_numpy(),
        )
        return combine([paths])

    def to_arrow(self) -> pa.Table:
        """A table with the columns of `SCHEMA`, one row per path."""
        names = pa.array(self.channels, pa.string()).take(pa.array(self.channel))
        path = pa.ListArray.from_arrays(pa.array(self.offsets.astype(np.int32)), names)
        return pa.table([path, self.conversions, self.nulls], schema=SCHEMA)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def journeys(self) -> Integers:
        """Journeys along each path, whether they converted or not."""
        return self.conversions + self.nulls


def paths_of(journeys: Journeys, converted: bool | npt.NDArray[np.bool_] = True) -> Paths:
    """The distinct paths of journeys; `converted` for all of them, or one value per journey."""
    conversions = np.broadcast_to(converted, len(journeys)).astype(np.int64)
    one_each = Paths(
        channels=journeys.channels,
        offsets=journeys.offsets,
        channel=journeys.channel,
        conversions=conversions,
        nulls=1 - conversions,
    )
    return combine([one_each])


def combine(parts: Iterable[Paths]) -> Paths:
    """All paths of the parts, equal ones added up; channels sorted, those on no path left out."""
    parts = list(parts)
    used = sorted({part.channels[code] for part in parts for code in np.unique(part.channel)})
    position = {name: code for code, name in enumerate(used)}
    recoded = [
        np.array([position.get(name, -1) for name in part.channels], dtype=np.int32)[part.channel]
        for part in parts
    ]
    lengths = np.concatenate([np.zeros(0, np.int64), *(np.diff(part.offsets) for part in parts)])
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    channel = np.concatenate([np.zeros(0, np.int32), *recoded])
    # Arrow's hash table finds equal byte strings; a path's bytes are its codes.
    bytes_ = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(),
        len(lengths),
        [None, pa.py_buffer(offsets * channel.itemsize), pa.py_buffer(channel)],
    ).dictionary_encode()
    index = bytes_.indices.to_numpy()
    count = len(bytes_.dictionary)
    first = np.full(count, len(lengths), dtype=np.int64)
    np.minimum.at(first, index, np.arange(len(lengths)))
    starts = offsets[first]
    distinct = np.concatenate(([0], np.cumsum(lengths[first]))).astype(np.int64)
    kept = np.arange(distinct[-1]) + np.repeat(starts - distinct[:-1], lengths[first])
    return Paths(
        channels=tuple(used),
        offsets=distinct,
        channel=channel[kept],
        conversions=_summed(index, [part.conversions for part in parts], count),
        nulls=_summed(index, [part.nulls for part in parts], count),
    )


def _summed(index: Integers, parts: list[Integers], count: int) -> Integers:
    totals = np.zeros(count, dtype=np.int64)
    np.add.at(totals, index, np.concatenate([np.zeros(0, np.int64), *parts]))
    return totals
