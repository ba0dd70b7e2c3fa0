"""Cells of insights over advertisers, so that nobody's own value can be had from them.

A cell is a place in a tree of advertisers: all, an industry, a size within an industry. Its figures
are the mean and the standard deviation of one clipped value per advertiser. What would give an
advertiser away is not the cell but the difference of two: a cell less its parts, today's less
yesterday's. So advertisers are not put into cells but into groups, and cells are made of groups:

- A group is formed once and its members never change. A member who withdraws, or has no value any
  more, dissolves the group for good; the others wait to be put into another.
- A group is formed only where `LEAST` of its members are fresh: in no group now, nor in one that
  was dissolved less than a year ago (`RESTED`). It is formed at the narrowest cell at which so many
  wait together; the others who wait there join it.
- A cell shows the sum over whole groups: its own and those of the cells below it.

So whatever is shown is a sum over groups, and so is every combination of it. Take any combination
of figures shown within a year, and of its groups the one that was formed last: its fresh members
are in no other of them, so `LEAST` advertisers or more remain in the combination, even if nobody's
value changed all year. This is complementary suppression (Willenborg, de Waal, "Elements of
statistical disclosure control", 2001, chapter 5) that holds over time too. Besides, a group that
one member dominates in a period is left out of that period, values are clipped to bounds that are
said beforehand, and figures and counts are rounded. What it does not withstand are members of a
group who put their own values together, and one person who takes part under ten names.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from dmp_assets.platform.base.errors import GivenError

LEAST = 10
"""Advertisers that a figure is of at least."""

RESTED = timedelta(days=365)
"""After this long out of every group an advertiser is fresh again: its values are other ones."""

DOMINANT = 0.4
"""Share of the sum of a group from which one member dominates it."""

_COUNT_STEP = 5
_DIGITS = 2

Cell = tuple[str, ...]
"""A place in the tree: () is all, then narrower: ("fashion",), ("fashion", "small")."""


class PoolError(GivenError):
    """Consents, values or a measure cannot be used; the message says why."""


@dataclass(frozen=True)
class Consent:
    """An advertiser's word to take part: from when, to which version of the terms, until when."""

    advertiser_id: str
    version: str
    since: date
    withdrawn: date | None = None

    def holds(self, on: date, version: str) -> bool:
        """Given for this version of the terms, and not withdrawn by this day."""
        return (
            self.version == version
            and self.since <= on
            and (self.withdrawn is None or on < self.withdrawn)
        )


@dataclass(frozen=True)
class Measure:
    """What is pooled: one value per advertiser and period, clipped to `low` to `high`.

    The bounds are of the measure, never of the data: bounds that follow from values tell of them.
    `is_log`: on logarithms, so figures are a geometric mean and a factor; then `low` is above 0.
    """

    name: str
    low: float
    high: float
    is_log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise PoolError(f"{self.name} needs a lower bound and a higher one")
        if self.is_log and self.low <= 0:
            raise PoolError(f"{self.name} is pooled on logarithms, so its bounds are above 0")

    def clipped(self, value: float) -> float:
        """A value within the bounds, on the scale that is summed up.

        Raises PoolError for a value that is none: an advertiser without one is left out instead.
        """
        if not math.isfinite(value):
            raise PoolError(f"a value of {self.name} is no number")
        held = min(max(value, self.low), self.high)
        return math.log(held) if self.is_log else held


@dataclass(frozen=True)
class Group:
    """Advertisers whose values are only ever shown summed up. `dissolved`: since which run."""

    number: int
    cell: Cell
    members: frozenset[str]
    dissolved: date | None = None


@dataclass(frozen=True)
class Shown:
    """A cell as it is shown. `advertisers`: rounded down to fives.

    `centre`: the mean, or the geometric mean; `spread`: the standard deviation, or the factor
    of one deviation on logarithms; both to two digits.
    """

    cell: Cell
    advertisers: int
    centre: float
    spread: float


@dataclass(frozen=True)
class Pool:
    """All groups there have ever been, in the order of their numbers."""

    groups: tuple[Group, ...] = ()

    @property
    def standing(self) -> tuple[Group, ...]:
        """Those that are not dissolved."""
        return tuple(group for group in self.groups if group.dissolved is None)


def regrouped(pool: Pool, taking_part: Mapping[str, Cell], on: date, *, salt: str) -> Pool:
    """The pool after a run: groups of those who left are dissolved, and new ones are formed.

    `taking_part`: the narrowest cell of each advertiser whose consent holds and who has values;
    who was grouped in one cell stays there, whatever cell is given later. `salt`: a secret of the
    installation; who is grouped with whom follows from it and from nothing that others know.
    Raises PoolError where a group shares a member with another that stands.
    """
    _check(pool)
    groups = [
        replace(group, dissolved=on)
        if group.dissolved is None and not group.members <= taking_part.keys()
        else group
        for group in pool.groups
    ]
    grouped = {one for group in groups if group.dissolved is None for one in group.members}
    known = {
        one
        for group in groups
        if group.dissolved is None or on - group.dissolved < RESTED
        for one in group.members
    }
    waiting: dict[Cell, list[str]] = defaultdict(list)
    for advertiser, cell in taking_part.items():
        if advertiser not in grouped:
            waiting[cell].append(advertiser)
    for depth in range(max((len(cell) for cell in waiting), default=0), -1, -1):
        for cell in sorted(one for one in waiting if len(one) == depth):
            there = waiting.pop(cell)
            formed = _formed(there, known, salt)
            groups += [
                Group(len(groups) + place, cell, frozenset(members))
                for place, members in enumerate(formed)
            ]
            if not formed and depth:
                waiting[cell[:-1]] += there
    return Pool(tuple(groups))


def _formed(there: Sequence[str], known: set[str], salt: str) -> list[list[str]]:
    """Groups of those who wait in a cell, with `LEAST` fresh members each; none where too few."""

    def rank(advertiser: str) -> bytes:
        return hashlib.sha256(f"{salt}/{advertiser}".encode()).digest()

    fresh = sorted((one for one in there if one not in known), key=rank)
    others = sorted((one for one in there if one in known), key=rank)
    count = len(fresh) // LEAST
    return [fresh[place::count] + others[place::count] for place in range(count)]


def figures(
    pool: Pool, values: Mapping[str, float], measure: Measure
) -> dict[Cell, tuple[int, float, float]]:
    """Exact count, sum and sum of squares of each cell's clipped values, over whole groups.

    `values`: of one period, by advertiser; a group is left out where a member has none, or where
    one dominates it. This is what `shown` rounds; nothing of it leaves the installation.
    """
    found: dict[Cell, tuple[int, float, float]] = {}
    for group in pool.standing:
        if not group.members <= values.keys():
            continue
        held = np.array([measure.clipped(values[one]) for one in sorted(group.members)])
        if is_dominated(held, measure):
            continue
        for depth in range(len(group.cell) + 1):
            count, total, squares = found.get(group.cell[:depth], (0, 0.0, 0.0))
            found[group.cell[:depth]] = (
                count + len(held), total + float(held.sum()), squares + float(held @ held),
            )  # fmt: skip
    return found


def is_dominated(held: np.ndarray, measure: Measure) -> bool:
    """One clipped value is `DOMINANT` of the sum of all, or more, counted from either bound.

    Whoever takes the others to be at that bound would have the one from the sum.
    """
    for bound in (measure.low, measure.high):
        sizes = np.abs(held - measure.clipped(bound))
        if sizes.sum() > 0 and sizes.max() >= DOMINANT * sizes.sum():
            return True
    return False


def shown(pool: Pool, values: Mapping[str, float], measure: Measure) -> list[Shown]:
    """The cells that are shown for one period, in the order of the tree.

    A cell without a whole group, of its own or below it, is not shown.
    """
    found = figures(pool, values, measure)
    return [_rounded(cell, *found[cell], measure) for cell in sorted(found)]


def _rounded(cell: Cell, count: int, total: float, squares: float, measure: Measure) -> Shown:
    mean = total / count
    deviation = math.sqrt(max(squares / count - mean**2, 0.0))
    centre, spread = (math.exp(mean), math.exp(deviation)) if measure.is_log else (mean, deviation)
    return Shown(cell, count - count % _COUNT_STEP, _digits(centre), _digits(spread))


def _digits(number: float) -> float:
    """A number to two digits."""
    return float(f"{number:.{_DIGITS - 1}e}")


def taking_part(
    consents: Iterable[Consent],
    cells: Mapping[str, Cell],
    last_value: Mapping[str, int],
    on: date,
    *,
    version: str,
    patience: int = 2,
) -> dict[str, Cell]:
    """Who takes part in a run: whose consent holds on this day, by the newest of each advertiser.

    `cells`: the narrowest cell of each; `last_value`: how many periods ago each had a value, 0 for
    this one. Up to `patience` periods without one are bridged with the last value (`carried`), so
    that a shop's holiday dissolves no group; after that it counts as gone.
    """
    newest: dict[str, Consent] = {}
    for consent in consents:
        before = newest.get(consent.advertiser_id)
        if before is None or consent.since >= before.since:
            newest[consent.advertiser_id] = consent
    return {
        name: cells[name]
        for name, consent in sorted(newest.items())
        if consent.holds(on, version)
        and name in cells
        and last_value.get(name, patience + 1) <= patience
    }


def carried(periods: Sequence[Mapping[str, float]], patience: int = 2) -> dict[str, float]:
    """Each advertiser's value for the last of `periods`, or its newest of `patience` before."""
    found: dict[str, float] = {}
    for values in periods[-(patience + 1) :]:
        found.update(values)
    return found


def _check(pool: Pool) -> None:
    seen: set[str] = set()
    for group in pool.standing:
        if seen & group.members:
            raise PoolError("an advertiser is in two groups that stand")
        seen |= group.members
