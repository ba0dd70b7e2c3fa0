"""What the budget model reads: one advertiser's target and spend, by day or by week.

The target is what ads are to raise, here the contribution before ads: gross sales less discounts,
refunds, goods, shipping and payment fees. Money is in one currency, as floats: maths starts here,
what is booked stays decimal outside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dmp_assets.platform.base.errors import GivenError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Dates = npt.NDArray[np.datetime64]

DAY, WEEK = 1, 7
LEAST_DAYS = 56
"""Eight weeks: four to learn weekdays and level from, four to test what was learnt on."""
MOST_GAPS = 0.2


class SeriesError(GivenError):
    """The series cannot be used; says which value of which day is wrong, or how much is missing."""


class TooShortError(SeriesError):
    """There are fewer days than a forecast needs."""


@dataclass(frozen=True, eq=False)
class Series:
    """Target and spend of n evenly spaced days or weeks of one advertiser.

    Shapes: `dates`, `target`, `known` (n,); `spend` (n, campaigns); `channel_of` (campaigns,), the
    place of each campaign's channel in `channels`. `step` is the days of one row, 1 or 7. Where
    `known` is false nothing was received for the day: its target is not used, its spend is that
    of its neighbours. A channel that is not split is one campaign of its own name. `events` are
    the days of each kind of holiday or promotion; those of the days to come count, too.
    """

    dates: Dates
    step: int
    target: Floats
    known: Bools
    channels: tuple[str, ...]
    campaigns: tuple[str, ...]
    channel_of: Integers
    spend: Floats
    events: Mapping[str, Dates]

    def __len__(self) -> int:
        return len(self.dates)

    @classmethod
    def of(
        cls,
        dates: Sequence[Any] | Dates,
        target: Sequence[float] | Floats,
        spend: Mapping[str, Sequence[float] | Floats],
        *,
        channel_of: Mapping[str, str] | None = None,
        events: Mapping[str, Sequence[Any] | Dates] | None = None,
    ) -> Self:
        """A series of what was received; `spend` by campaign, `channel_of` says whose it is.

        Days may be in any order. A day that is missing between the first and the last is a gap. A
        day that delivered nothing is no gap: it has a row with a spend of 0. Negative values are
        corrections and stay. Raises SeriesError for values that are no finite numbers, days that
        come twice, rows that are neither daily nor weekly, campaigns without a channel and more
        gaps than a fifth; TooShortError for fewer than 56 days.
        """
        days = _days(dates, "the dates")
        values = _numbers(target, days, "the target")
        by_campaign = {name: _numbers(v, days, f"the spend of {name}") for name, v in spend.items()}
        order = np.argsort(days, kind="stable")
        days = days[order]
        if twice := days[1:][np.diff(days) == np.timedelta64(0, "D")].tolist():
            raise SeriesError(f"{twice[0]} comes twice")
        step = _step(days)
        place = (days - days[0]).astype(np.int64) // step
        size = int(place[-1]) + 1
        if size * step < LEAST_DAYS:
            raise TooShortError(
                f"{size * step} days are too few for a forecast: it needs {LEAST_DAYS}"
            )
        if len(days) < (1 - MOST_GAPS) * size:
            raise SeriesError(f"of {size} rows {size - len(days)} are missing: more than a fifth")
        known = np.zeros(size, dtype=np.bool_)
        known[place] = True
        campaigns = tuple(by_campaign)
        home = {name: (channel_of or {}).get(name, name) for name in campaigns}
        if strange := sorted(set(channel_of or ()) - set(campaigns)):
            raise SeriesError(f"{strange[0]} has a channel and no spend")
        channels = tuple(dict.fromkeys(home.values()))

        def filled(of: Floats) -> Floats:
            return np.interp(np.arange(size), place, of[order])

        return cls(
            dates=days[0] + np.arange(size) * np.timedelta64(step, "D"),
            step=step,
            target=filled(values),
            known=known,
            channels=channels,
            campaigns=campaigns,
            channel_of=np.array([channels.index(home[name]) for name in campaigns], dtype=np.int64),
            spend=np.column_stack([filled(by_campaign[name]) for name in campaigns])
            if campaigns
            else np.zeros((size, 0)),
            events={name: _days(of, f"the days of {name}") for name, of in (events or {}).items()},
        )

    def until(self, size: int) -> Self:
        """Its first `size` rows."""
        return replace(
            self,
            dates=self.dates[:size],
            target=self.target[:size],
            known=self.known[:size],
            spend=self.spend[:size],
        )

    def dates_after(self, size: int) -> Dates:
        """The `size` dates that follow."""
        return self.dates[-1] + np.arange(1, size + 1) * np.timedelta64(self.step, "D")

    def recent(self, days: int = 28) -> Floats:
        """Mean spend a day of each campaign over the last `days`: the budget at present."""
        rows = max(days // self.step, 1)
        mean: Floats = np.maximum(self.spend[-rows:].mean(axis=0), 0.0) / self.step
        return mean


def _days(given: Sequence[Any] | Dates, what: str) -> Dates:
    try:
        days = np.asarray(given, dtype="datetime64[D]")
    except (TypeError, ValueError) as error:
        raise SeriesError(f"{what} are not all dates: {error}") from error
    if days.ndim != 1 or np.isnat(days).any():
        raise SeriesError(f"{what} must be one date a row")
    return days


def _numbers(given: Sequence[float] | Floats, days: Dates, what: str) -> Floats:
    values = np.asarray(given, dtype=np.float64)
    if values.shape != days.shape:
        raise SeriesError(f"{what} has {values.size} values for {len(days)} dates")
    if not np.isfinite(values).all():
        first = days[~np.isfinite(values)][0]
        raise SeriesError(f"{what} of {first} is not a finite number: leave the day out instead")
    return values


def _step(days: Dates) -> int:
    if len(days) < 2:
        raise TooShortError(f"{len(days)} days are too few for a forecast: it needs {LEAST_DAYS}")
    apart = np.diff(days).astype(np.int64)
    if (apart % WEEK == 0).all():
        return WEEK
    if (apart == 1).mean() >= 0.5:
        return DAY
    raise SeriesError(f"rows are neither a day nor a week apart: {days[0]}, {days[1]}, {days[2]}")
