"""What is looked for in the series of an account, a campaign and an advertiser, one day at a time.

Plain sequences of the judgements in `detect`, with what is assumed where little is known yet.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from dmp_assets.ads.model.notices import detect
from dmp_assets.ads.model.notices.detect import Finding, Kind, Subject
from dmp_assets.ads.model.notices.series import Daily, Floats, completeness, usual

UNKNOWN_SHARE = 0.5
"""Share of its conversions that an open day is taken to show while no account day was seen through
to its close: lower than platforms tell of yesterday, so that nothing is found by mistake."""

LEAST_CLOSED = 14
"""Closed days that were read from their first morning on, which say how complete a day is."""

FORECAST_LEVEL = 0.8
"""Probability that a day lies inside of its forecast interval."""

_FORECAST_DAYS = 35
"""Days for which an interval is forecast: a run of them makes a finding."""


@dataclass(frozen=True)
class Delivery:
    """What ads delivered day by day, and the conversions that are claimed, or were made, for it."""

    spend: Daily
    clicks: Daily
    conversions: Daily
    complete: Floats


def shares(seen: npt.ArrayLike, final: npt.ArrayLike, open_days: int) -> tuple[Floats, bool]:
    """(share of its conversions that a day shows at each age, whether that is known).

    `seen` (days, open_days), `final` (days,): of closed days, as `series.completeness` takes them.
    With fewer than `LEAST_CLOSED` of them, or no conversion, it is `UNKNOWN_SHARE`.
    """
    shown = np.asarray(seen, dtype=np.float64).reshape(-1, open_days)
    total = np.asarray(final, dtype=np.float64)
    if len(total) < LEAST_CLOSED or not total.sum() > 0:
        return np.append(np.full(open_days, UNKNOWN_SHARE), 1.0), False
    return np.append(completeness(shown, total), 1.0), True


def of_account(subject: Subject, given: Delivery, at: int) -> Iterator[Finding]:
    """Spend, cost per order and tracking of one day of an account, by what the platform claims."""
    yield from _found(
        detect.spend_spike(subject, given.spend, at),
        detect.cost_per_order_spike(
            subject, given.spend, given.conversions, at, complete=given.complete
        ),
        detect.tracking_broken(
            subject, given.spend, given.clicks, given.conversions, at, complete=given.complete
        ),
    )


def of_shop(subject: Subject, given: Delivery, at: int) -> Iterator[Finding]:
    """The same of an advertiser by the orders of its own shops, whoever they are due to."""
    yield from _found(
        detect.cost_per_order_spike(subject, given.spend, given.conversions, at),
        detect.tracking_broken(subject, given.spend, given.clicks, given.conversions, at),
    )


def of_ratio(
    subject: Subject,
    kind: Literal["roas_outside_forecast", "mer_outside_forecast"],
    values: Daily,
    at: int,
) -> Iterator[Finding]:
    """A ratio against its own forecast: that of the day before it, by weekday and robustly.

    The interval is that of a normal error of the ratio's logarithm, whose deviation is the robust
    one of just this forecast over the history.
    """
    low, high = intervals(values, at)
    yield from _found(
        detect.outside_forecast(subject, kind, values, low, high, at, level=FORECAST_LEVEL)
    )


def intervals(values: Daily, at: int) -> tuple[Floats, Floats]:
    """The interval that was to be forecast for each of the days up to `at`; NaN where there is
    none."""
    low, high = np.full(len(values), np.nan), np.full(len(values), np.nan)
    width = float(stats.norm.ppf((1 + FORECAST_LEVEL) / 2))
    for place in range(max(at - _FORECAST_DAYS, 0), at + 1):
        found = usual(values, place, width=width, is_final=True)
        if found is not None and found.expected > 0:
            low[place], high[place] = found.low, found.high
    return low, high


def rejected(subject: Subject, today: date, since: date) -> Finding:
    """An ad that the platform does not show; the figure is that it is one, usual is none."""
    return Finding(subject, "ad_rejected", today, 1.0, None, 0.0, since)


def access_expiring(subject: Subject, today: date, ends: date) -> Finding | None:
    """Access that a person must renew in less than `EXPIRY_DAYS`; the figure is the days that are
    left, 0 where it has ended."""
    left = max((ends - today).days, 0)
    if left >= EXPIRY_DAYS:
        return None
    since = min(ends - timedelta(days=EXPIRY_DAYS), today)
    return Finding(subject, "access_expiring", today, float(left), float(EXPIRY_DAYS), None, since)


EXPIRY_DAYS = 14
"""So many days before access ends somebody is told."""


def unsaid(kinds: Sequence[Kind], judged: Iterable[Kind]) -> list[Kind]:
    """Kinds of which nothing could be said, in their order."""
    known = set(judged)
    return [kind for kind in kinds if kind not in known]


def _found(*given: Finding | None) -> Iterator[Finding]:
    yield from (one for one in given if one is not None)
