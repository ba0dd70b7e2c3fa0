"""Whom an experiment counts: every unit once, by its first exposure; who is left out, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dmp_assets.ads.model.experiments.definition import ExperimentError

TOO_MANY_MIXED = 0.01
"""Above this share of units that met several variants the assignment itself is in doubt."""


@dataclass(frozen=True)
class Excluded:
    """How many were left out, and of how many.

    `exposures` and `units` are all that were given. A unit counts in one of `bots` (any of its
    exposures was a bot's), `mixed` (it met more than one variant) and `strangers` (its variant is
    none of the experiment's), in this order.
    """

    exposures: int
    units: int
    bots: int
    mixed: int
    strangers: int

    @property
    def mixed_share(self) -> float:
        """Share of the units other than bots that met several variants."""
        people = self.units - self.bots
        return self.mixed / people if people else 0.0

    @property
    def is_doubtful(self) -> bool:
        """More units met several variants than an assignment that sticks would leave."""
        return self.mixed_share > TOO_MANY_MIXED


@dataclass(frozen=True, eq=False)
class Units:
    """The units that count: `unit` sorted, the place of its `variant`, its `first` exposure."""

    unit: npt.NDArray[np.str_]
    variant: npt.NDArray[np.intp]
    first: npt.NDArray[np.datetime64]
    excluded: Excluded

    def counts(self, variants: int) -> npt.NDArray[np.intp]:
        """Units by variant."""
        return np.bincount(self.variant, minlength=variants)


def units_of(
    unit: Sequence[str],
    variant: Sequence[str],
    at: npt.ArrayLike,
    is_bot: npt.ArrayLike,
    variants: Sequence[str],
) -> Units:
    """Who counts, of a log of exposures with a unit, a variant, a time and whether it was a bot.

    The log may hold an exposure many times and be in any order. Raises ExperimentError for columns
    of unequal length, units without an id, and times that are missing.
    """
    ids = np.asarray(unit, dtype=np.str_)
    times = np.asarray(at, dtype="datetime64[us]")
    bot = np.asarray(is_bot, dtype=np.bool_)
    if not len(ids) == len(variant) == len(times) == len(bot):
        raise ExperimentError("each exposure needs a unit, a variant, a time and a mark for bots")
    if (ids == "").any():
        raise ExperimentError("an exposure has no unit")
    if np.isnat(times).any():
        raise ExperimentError("an exposure has no time")
    known = {name: place for place, name in enumerate(variants)}
    place = np.array([known.get(name, len(known)) for name in variant], dtype=np.intp)

    found, of = np.unique(ids, return_inverse=True)
    lowest = np.full(len(found), len(known), dtype=np.intp)
    highest = np.full(len(found), -1, dtype=np.intp)
    np.minimum.at(lowest, of, place)
    np.maximum.at(highest, of, place)
    first = np.full(len(found), np.datetime64("9999-12-31", "us"))
    np.minimum.at(first, of, times)
    bots = np.bincount(of, bot, len(found)) > 0
    mixed = ~bots & (lowest != highest)
    strangers = ~bots & ~mixed & (lowest == len(known))
    kept = ~(bots | mixed | strangers)
    return Units(
        unit=found[kept],
        variant=lowest[kept],
        first=first[kept],
        excluded=Excluded(
            exposures=len(ids),
            units=len(found),
            bots=int(bots.sum()),
            mixed=int(mixed.sum()),
            strangers=int(strangers.sum()),
        ),
    )
