"""Journeys: the touchpoints that led to many conversions, as flat columns."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]

COLUMNS = (
    "conv_id",
    "channel_name",
    "hours_before",
    "holder_engagement",
    "closer_engagement",
    "impression_interaction",
)
_MEASURES = ("hours_before", "holder_engagement", "closer_engagement")

_CELLS = 2**18
"""Counters of journey and channel held at a time, so that memory stays small and near."""


@dataclass(frozen=True, eq=False)
class Journeys:
    """n touchpoints of m journeys, one journey after the other, each in time order.

    Journey j holds the touchpoints `offsets[j]` up to `offsets[j + 1]`, at least one, and ends in
    a conversion. `channel` are positions in `channels`, `hours_before` is the time from a
    touchpoint to its journey's conversion. Engagements are 0 or more (0 and 1 where only flags are
    known); `impression_interaction` marks an ad that was seen and not clicked.
    Raises ValueError for arrays that do not describe such journeys.
    """

    channels: tuple[str, ...]
    offsets: Integers
    channel: Codes
    hours_before: Floats
    holder_engagement: Floats
    closer_engagement: Floats
    impression_interaction: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        check_sequences(self.channels, self.offsets, self.channel)
        for name in (*_MEASURES, "impression_interaction"):
            if getattr(self, name).shape != self.channel.shape:
                raise ValueError(f"{name} needs one value per touchpoint")
        for name in _MEASURES:
            values = getattr(self, name)
            if not (np.isfinite(values).all() and (values >= 0).all()):
                raise ValueError(f"{name} holds values that are negative or not finite")
        later = np.diff(self.hours_before) > 0
        later[self.offsets[1:-1] - 1] = False
        if later.any():
            raise ValueError("hours_before grows within a journey: touchpoints are not in order")

    @classmethod
    def from_arrow(cls, table: pa.Table, channels: Iterable[str] = ()) -> "Journeys":
        """Journeys of a table with a row per touchpoint, sorted by conversion, then time.

        `table` has the columns `COLUMNS`. `channels` come first among the journeys' channels, in
        their order; names that it lacks follow, sorted. Rows keep their order, so credits can be
        appended to the table. Raises ValueError for a missing column, a null, or a conversion
        whose rows are not next to each other.
        """
        for name in COLUMNS:
            if name not in table.column_names:
                raise ValueError(f"touchpoints lack the column {name}")
            if nulls := table[name].null_count:
                raise ValueError(f"{name} holds {nulls} nulls")
        known, channel = encode(table["channel_name"], channels)
        hours, holder, closer = (table[name].cast(pa.float64()).to_numpy() for name in _MEASURES)
        return cls(
            channels=known,
            offsets=_blocks(table["conv_id"]),
            channel=channel,
            hours_before=hours,
            holder_engagement=holder,
            closer_engagement=closer,
            impression_interaction=table["impression_interaction"].cast(pa.bool_()).to_numpy(),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def first(self) -> Integers:
        """Position of each journey's first touchpoint, shape (m,)."""
        return self.offsets[:-1]

    @property
    def last(self) -> Integers:
        """Position of each journey's last touchpoint, shape (m,)."""
        return self.offsets[1:] - 1

    @cached_property
    def length(self) -> Integers:
        """Number of touchpoints of each journey, shape (m,)."""
        return np.diff(self.offsets)

    @cached_property
    def journey(self) -> Integers:
        """Journey of each touchpoint, shape (n,)."""
        return np.repeat(np.arange(len(self)), self.length)

    @cached_property
    def repeats(self) -> Integers:
        """For each touchpoint, how many of its journey have its channel, shape (n,)."""
        width = len(self.channels)
        step = max(_CELLS // max(width, 1), 1)
        repeats = np.empty(len(self.channel), dtype=np.int64)
        for start in range(0, len(self), step):
            ends = self.offsets[[start, min(start + step, len(self))]]
            some = slice(*ends.tolist())
            cell = (self.journey[some] - start) * width + self.channel[some]
            repeats[some] = np.bincount(cell)[cell]
        return repeats

    def normalised(self, weights: Floats) -> Floats:
        """Weights of 0 or more, scaled to sum to 1 in every journey; equal where all are 0."""
        largest = np.maximum.reduceat(weights, self.first)
        scaled = weights / np.repeat(np.where(largest > 0, largest, 1.0), self.length)
        scaled[np.repeat(largest <= 0, self.length)] = 1.0
        scaled /= np.repeat(np.add.reduceat(scaled, self.first), self.length)
        return scaled

    def all_to(self, position: Integers) -> Floats:
        """Credit of 1 for the given touchpoint of each journey, 0 for the others."""
        credit = np.zeros(len(self.channel))
        credit[position] = 1.0
        return credit

    def is_channel(self, names: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Whether each touchpoint's channel is among `names`, shape (n,)."""
        wanted = frozenset(names)
        flags = np.array([name in wanted for name in self.channels], dtype=np.bool_)
        return flags[self.channel]


def check_sequences(channels: tuple[str, ...], offsets: Integers, channel: Codes) -> None:
    """Raise ValueError unless `offsets` cut `channel` into sequences of codes of `channels`."""
    if len(set(channels)) != len(channels):
        raise ValueError("channels are named twice")
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(channel):
        raise ValueError("offsets must run from 0 to the number of touchpoints")
    if (np.diff(offsets) < 1).any():
        raise ValueError("every journey needs a touchpoint")
    if len(channel) and not (channel.min() >= 0 and channel.max() < len(channels)):
        raise ValueError("channel holds codes that no channel has")


def encode(names: pa.ChunkedArray, first: Iterable[str] = ()) -> tuple[tuple[str, ...], Codes]:
    """The distinct names, those of `first` before all others (sorted), and each row's position."""
    encoded = names.dictionary_encode().unify_dictionaries().combine_chunks()
    found: list[str] = encoded.dictionary.to_pylist()
    first = tuple(first)
    known = (*first, *sorted(set(found) - set(first)))
    position = {name: code for code, name in enumerate(known)}
    recode = np.array([position[name] for name in found], dtype=np.int32)
    return known, recode[encoded.indices.to_numpy()]


def _blocks(ids: pa.ChunkedArray) -> Integers:
    """Offsets of the runs of equal ids; ValueError when an id has several runs."""
    count = len(ids)
    if count == 0:
        return np.zeros(1, dtype=np.int64)
    changes = pc.not_equal(ids.slice(1), ids.slice(0, count - 1)).to_numpy()
    offsets = np.concatenate(([0], np.flatnonzero(changes) + 1, [count])).astype(np.int64)
    if pc.count_distinct(ids.take(pa.array(offsets[:-1]))).as_py() != len(offsets) - 1:
        raise ValueError("touchpoints are not sorted: a conv_id comes back after another one")
    return offsets
