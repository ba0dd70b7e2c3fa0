"""What a marketer is told of at once: each finding with its figure, its usual range, since when.

Every function judges one day of one subject and gives a finding or none. What is restated is judged
as complete as it is at its age; few orders are judged by an exact test of counts, not by a range.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from dmp_assets.ads.model.notices.series import (
    HISTORY,
    LEAST_HISTORY,
    Daily,
    NoticeError,
    Usual,
    usual,
)

Kind = Literal[
    "spend_spike",
    "cost_per_order_spike",
    "roas_outside_forecast",
    "mer_outside_forecast",
    "tracking_broken",
    "budget_used_up",
    "pacing",
    "data_late",
    "restated_unusually",
    "job_stuck",
    "throttled_long",
    "ad_rejected",
    "access_expiring",
    "experiment_verdict",
]

MEANINGS: dict[Kind, str] = {
    "spend_spike": "more was spent than is usual for the weekday",
    "cost_per_order_spike": "fewer orders came for the spend than is usual",
    "roas_outside_forecast": "the return on ad spend is outside of its forecast",
    "mer_outside_forecast": "the marketing efficiency ratio is outside of its forecast",
    "tracking_broken": "clicks were paid for and no conversion was recorded",
    "budget_used_up": "the day's budget was used up early",
    "pacing": "the budget will not be spent as planned",
    "data_late": "there is nothing of yesterday yet",
    "restated_unusually": "a day was restated by more than days of its age usually are",
    "job_stuck": "a job takes far longer than it usually does",
    "throttled_long": "the platform has made us wait for longer than the schedule's interval",
    "ad_rejected": "the platform rejected an ad",
    "access_expiring": "the access to an account ends soon",
    "experiment_verdict": "an experiment was stopped, paused, won or ended",
}

SPIKE_WIDTH = 5.0
"""Robust deviations of the logarithm from the usual that make a spike."""

LEAST_RISE = 1.3
"""Times the usual: what is smaller is nobody's concern, however unusual."""

CHANCE = 1e-4
"""How improbable a count must be by the usual rate, where it means that something is broken."""

COST_CHANCE = 1e-3
"""The same where it means that orders have become dearer."""

_COST_DAYS = (1, 3)

_REFERENCE = 28
_FORECAST_CHANCE = 1e-4
_LEAST_RUN = 3
_EARLY = 20 / 24
USED_UP = 0.95
"""Of a budget: what is left then buys next to nothing."""

_PACING_TOLERANCE, _PACING_DAYS, _PACING_WIDTH = 0.05, 7, 2.5


@dataclass(frozen=True)
class Subject:
    """Whose series it is: `of` is an account, a campaign or an ad set by its id."""

    advertiser_id: str
    of: str


@dataclass(frozen=True)
class Finding:
    """What is not as usual. `figure` lies outside of `low` to `high`; either may be open.

    Money in the account's currency, ratios as such, the time of day as a share of it
    (`budget_used_up`), the whole flight's spend (`pacing`), days (`data_late`, `access_expiring`),
    conversions (`restated_unusually`), seconds (`job_stuck`, `throttled_long`), else a count.
    `since`: the first day of its run.
    """

    subject: Subject
    kind: Kind
    day: date
    figure: float
    low: float | None
    high: float | None
    since: date


def spend_spike(subject: Subject, spend: Daily, at: int) -> Finding | None:
    """More spent than usual for the weekday; spend is hardly restated, so open days count too."""

    def judged(place: int) -> Usual | None:
        found = usual(spend, place, width=SPIKE_WIDTH) if spend.is_read[place] else None
        if found is None or not found.expected > 0:
            return None
        value = spend.values[place]
        return found if value > max(found.high, LEAST_RISE * found.expected) else None

    found = judged(at)
    if found is None:
        return None
    since = _since(lambda place: judged(place) is not None, at)
    return Finding(
        subject, "spend_spike", spend.day(at), float(spend.values[at]), found.low, found.high,
        spend.day(since),
    )  # fmt: skip


def cost_per_order_spike(
    subject: Subject,
    spend: Daily,
    orders: Daily,
    at: int,
    *,
    complete: npt.ArrayLike = (1.0,),
) -> Finding | None:
    """Fewer orders for the spend than usual, on one day or over three.

    Without an order the figure is what one would have cost, which is the least that it does.
    `complete`: share of the orders that a day shows at each age (`series.completeness`), 1 from
    its last on.
    """
    _together(spend, orders)

    def judged(place: int) -> tuple[float, float, int] | None:
        """Cost per order, its usual bound, and the days that it is of."""
        for days in _COST_DAYS:
            found = _dear(spend, orders, place - days + 1, place, complete)
            if found is not None:
                return *found, days
        return None

    found = judged(at)
    if found is None:
        return None
    cost, high, days = found
    since = min(_since(lambda place: judged(place) is not None, at), at - days + 1)
    return Finding(
        subject, "cost_per_order_spike", spend.day(at), cost, 0.0, high, spend.day(since)
    )


def _dear(
    spend: Daily, orders: Daily, first: int, last: int, complete: npt.ArrayLike
) -> tuple[float, float] | None:
    """Cost per order of these days and the usual one's bound, where orders are too few for it."""
    days = range(max(first, 0), last + 1)
    rate = _rate(spend, orders, days[0])
    if rate is None or not (spend.is_read[days] & orders.is_read[days]).all():
        return None
    paid = sum(float(spend.values[day]) * _share(complete, len(orders) - 1 - day) for day in days)
    count = max(float(orders.values[days].sum()), 0.0)
    if count * LEAST_RISE >= rate.of(paid) or rate.chance_of_at_most(count, paid) >= COST_CHANCE:
        return None
    return paid / max(count, 1.0), LEAST_RISE / rate.per_unit


def tracking_broken(
    subject: Subject,
    spend: Daily,
    clicks: Daily,
    conversions: Daily,
    at: int,
    *,
    complete: npt.ArrayLike = (1.0,),
) -> Finding | None:
    """Spend and clicks without a single conversion, longer than the usual rate explains.

    The run of days without one that ends at `at` is judged as a whole: an account that sells twice
    a day must be silent for some days, one that sells a hundred times for one.
    The figure is the conversions of the run, which is 0; `low` how many are usual at least.
    """
    _together(spend, clicks)
    _together(spend, conversions)
    first = at + 1
    while first > 0 and _is_silent(spend, clicks, conversions, first - 1):
        first -= 1
    if first > at:
        return None
    rate = _rate(clicks, conversions, first)
    if rate is None:
        return None
    clicked = sum(
        float(clicks.values[place]) * _share(complete, len(clicks) - 1 - place)
        for place in range(first, at + 1)
    )
    if rate.chance_of_at_most(0.0, clicked) >= CHANCE:
        return None
    return Finding(
        subject, "tracking_broken", spend.day(at), 0.0, rate.least(clicked), None, spend.day(first)
    )


def outside_forecast(
    subject: Subject,
    kind: Literal["roas_outside_forecast", "mer_outside_forecast"],
    values: Daily,
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    at: int,
    *,
    level: float,
) -> Finding | None:
    """A ratio outside of its forecast interval on the same side, day after day.

    `low`, `high` (n,): the interval that was forecast for each day, NaN without a forecast;
    `level`: the probability that a day lies inside. Open days are not judged, nor do they end a
    run. Errors of neighbouring days are alike, so it takes `_LEAST_RUN` days whatever the level.
    Raises NoticeError for a level that is none and intervals of another length.
    """
    if not 0.5 <= level < 1:
        raise NoticeError(f"an interval holds a share from 0.5 to under 1 of all days, not {level}")
    lows, highs = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    if not lows.shape == highs.shape == values.values.shape:
        raise NoticeError("each day needs the interval that was forecast for it")
    judged = values.is_read & ~values.is_open & np.isfinite(lows) & np.isfinite(highs)
    side = np.where(values.values > highs, 1, np.where(values.values < lows, -1, 0))
    if not judged[at] or side[at] == 0:
        return None
    run = [at]
    for place in range(at - 1, -1, -1):
        if judged[place] and side[place] != side[at]:
            break
        if judged[place]:
            run.append(place)
    needed = max(math.ceil(math.log(_FORECAST_CHANCE) / math.log((1 - level) / 2)), _LEAST_RUN)
    if len(run) < needed:
        return None
    return Finding(
        subject, kind, values.day(at), float(values.values[at]), float(lows[at]), float(highs[at]),
        values.day(run[-1]),
    )  # fmt: skip


def budget_used_up(
    subject: Subject,
    day: date,
    spent: float,
    budget: float,
    passed: float,
    *,
    usually: npt.ArrayLike = (),
) -> Finding | None:
    """A day's budget that is gone before the evening, and earlier than on most days.

    `passed`: the share of the account's local day when `spent` was read. `usually`: the shares of
    past days at which theirs was gone, 1 where it lasted; empty where that is not known.
    Raises NoticeError for a budget or a time that is none.
    """
    if not (math.isfinite(budget) and budget > 0 and math.isfinite(spent)):
        raise NoticeError("a day's budget is an amount above 0, and what was spent is a number")
    if not 0 <= passed <= 1:
        raise NoticeError(f"the share of a day that has passed is 0 to 1, not {passed}")
    past = np.asarray(usually, dtype=np.float64)
    low = min(_EARLY, float(np.quantile(past, 0.1))) if len(past) else _EARLY
    if spent < USED_UP * budget or passed >= low:
        return None
    return Finding(subject, "budget_used_up", day, passed, low, None, day)


def pacing(
    subject: Subject, spend: Daily, at: int, budget: float, starts: date, ends: date
) -> Finding | None:
    """A flight's budget that will be missed or exceeded if spending goes on as usual.

    `at`: the last full day of `spend`; `ends`: the flight's last day. What is still to come is the
    usual spend of each weekday; its range widens with the days to come and with how uncertain
    their level is. A finding when the whole range misses the budget by more than 5 %.
    Raises NoticeError for a budget or flight that is none.
    """
    if not (math.isfinite(budget) and budget > 0):
        raise NoticeError("the budget of a flight is an amount above 0")
    if not starts <= ends:
        raise NoticeError("a flight ends on the day on which it starts, or later")
    begun = max((starts - spend.first).days, 0)
    if (spend.day(at) - starts).days + 1 < _PACING_DAYS or not spend.is_read[begun : at + 1].all():
        return None
    spent = float(spend.values[begun : at + 1].sum())
    days = spend.is_read[: at + 1].nonzero()[0][-HISTORY:]
    if len(days) < LEAST_HISTORY:
        return None
    recent = days[-_REFERENCE:]
    values, weekday = spend.values[recent], spend.weekdays[recent]
    by_weekday = np.array(
        [np.median(values[weekday == n]) if (weekday == n).any() else 0.0 for n in range(7)]
    )
    left = max((ends - spend.day(at)).days, 0)
    ahead = by_weekday[(spend.weekdays[at] + 1 + np.arange(left)) % 7]
    errors = values - by_weekday[weekday]
    deviation = 1.4826 * float(np.median(np.abs(errors)))
    reach = _PACING_WIDTH * deviation * math.sqrt(left + left**2 / len(recent) * 7)
    figure = spent + float(ahead.sum())
    if figure - reach > budget * (1 + _PACING_TOLERANCE) or figure + reach < budget * (
        1 - _PACING_TOLERANCE
    ):
        edges = budget * (1 - _PACING_TOLERANCE), budget * (1 + _PACING_TOLERANCE)
        return Finding(subject, "pacing", spend.day(at), figure, *edges, since=starts)
    return None


@dataclass(frozen=True)
class _Rate:
    """Events per unit (order per money, conversion per click) over a reference.

    `spread`: variance of a day's count over its mean, 1 for Poisson, more where days differ.
    """

    events: float
    units: float
    spread: float

    @property
    def per_unit(self) -> float:
        return self.events / self.units

    def of(self, units: float) -> float:
        return self.per_unit * units

    def chance_of_at_most(self, count: float, units: float) -> float:
        """Chance of so few events in `units`, with the rate known from the reference alone.

        A gamma belief in the rate (Jeffreys' prior) makes the count negative binomial, whose
        distribution function is an incomplete beta function; counts are divided by the spread.
        """
        if not units > 0:
            return 1.0
        shape = (self.events + 0.5) / self.spread
        part = self.units / (self.units + units)
        return float(special.betainc(shape, count / self.spread + 1, part))

    def least(self, units: float) -> float:
        """The smallest count in `units` that would not be improbable."""
        low, high = -1, 1
        while self.chance_of_at_most(high, units) < CHANCE:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (
                (middle, high) if self.chance_of_at_most(middle, units) < CHANCE else (low, middle)
            )
        return float(high)


def _rate(units: Daily, events: Daily, at: int) -> _Rate | None:
    """The rate of the closed days before `at`; None where too few, or where nothing happened."""
    start = max(at - HISTORY, 0)
    usable = (
        units.is_read[start:at]
        & events.is_read[start:at]
        & ~events.is_open[start:at]
        & (units.values[start:at] > 0)
    ).nonzero()[0][-_REFERENCE:]
    if len(usable) < LEAST_HISTORY:
        return None
    given = units.values[start:at][usable]
    counted = np.maximum(events.values[start:at][usable], 0.0)
    total = float(counted.sum())
    if not total > 0:
        return None
    expected = given * total / given.sum()
    squared = (counted - expected) ** 2 / expected
    # A day that was broken itself must not make the next one look usual.
    spread = float(np.minimum(squared, 9.0).sum()) / max(len(usable) - 1, 1)
    return _Rate(total, float(given.sum()), max(spread, 1.0))


def _is_silent(spend: Daily, clicks: Daily, conversions: Daily, at: int) -> bool:
    is_read = spend.is_read[at] and clicks.is_read[at] and conversions.is_read[at]
    return bool(
        is_read and spend.values[at] > 0 and clicks.values[at] > 0 and conversions.values[at] <= 0
    )


def _share(complete: npt.ArrayLike, age: int) -> float:
    shares = np.asarray(complete, dtype=np.float64)
    return float(shares[age]) if age < len(shares) else 1.0


def _since(is_found: Callable[[int], bool], at: int) -> int:
    """The first place of the run of findings that ends at `at`."""
    first = at
    while first > 0 and at - first < HISTORY and is_found(first - 1):
        first -= 1
    return first


def _together(one: Daily, other: Daily) -> None:
    if one.first != other.first or len(one) != len(other):
        raise NoticeError("series that are judged together begin and end on the same days")
