"""Whether data comes as it should: late, restated more than usual, stuck, or held up for long."""

import math
from datetime import date, datetime, time, timedelta

import numpy as np
import numpy.typing as npt
from scipy import stats

from dmp_assets.ads.model.notices.detect import CHANCE, Finding, Subject
from dmp_assets.ads.model.notices.series import NoticeError

MORNING = time(9)
"""By this time of the account's day, yesterday should be there."""

_TOLERANCE, _LEAST_CHANGE = 0.1, 2.0
"""A restatement by less than this share of a day, or so many conversions, is nobody's concern."""

_LEAST_GROWTH = 0.02
"""Of a day from one age to another: shares are estimates, also of a day that seems complete."""

_STUCK_WIDTH, _STUCK_TIMES, _LEAST_JOBS = 5.0, 3.0, 5


def data_late(subject: Subject, newest: date, now: datetime) -> Finding | None:
    """Nothing of yesterday by the account's morning; a day without delivery counts as read.

    `newest`: the last day that was read, the one before the account was connected where none ever
    was; `now` in the account's zone. The figure is the days that lack.
    Raises NoticeError for a time without a zone.
    """
    if now.tzinfo is None:
        raise NoticeError("whether it is morning takes a time with a zone")
    due = now.date() - timedelta(days=1 if now.time() >= MORNING else 2)
    if newest >= due:
        return None
    lacking = float((due - newest).days)
    return Finding(subject, "data_late", due, lacking, 0.0, 0.0, newest + timedelta(days=1))


def restated_unusually(
    subject: Subject,
    day: date,
    before: float,
    after: float,
    ages: tuple[int, int],
    complete: npt.ArrayLike,
) -> Finding | None:
    """A day's conversions grew or fell by more than its age explains.

    `ages`: of the day when it showed `before` and when it showed `after`; `complete` as from
    `series.completeness`. What is to be expected grows by the ratio of the two shares. A gamma
    belief in the day's rate from what it showed (Jeffreys' prior) makes how many more come
    negative binomial. Raises NoticeError for values that are none and ages that fall.
    """
    if not (math.isfinite(before) and math.isfinite(after) and before >= 0 and after >= 0):
        raise NoticeError("what a day shows are counts, 0 or more")
    if not 0 <= ages[0] <= ages[1]:
        raise NoticeError("a day does not become younger")
    shares = np.append(np.asarray(complete, dtype=np.float64), 1.0)
    first, then = (float(shares[min(age, len(shares) - 1)]) for age in ages)
    if not first > 0:
        return None
    growth = then / first - 1
    more = before * growth
    room = max(_TOLERANCE * before * (1 + growth), _LEAST_CHANGE)
    coming = stats.nbinom(before + 0.5, 1 / (1 + max(growth, _LEAST_GROWTH)))
    low = before + min(float(coming.ppf(CHANCE)), more - room)
    high = before + max(float(coming.isf(CHANCE)), more + room)
    if low <= after <= high:
        return None
    return Finding(subject, "restated_unusually", day, after, max(low, 0.0), high, day)


def job_stuck(
    subject: Subject, started: datetime, now: datetime, usual_seconds: npt.ArrayLike
) -> Finding | None:
    """A job that runs for far longer than the last ones of its kind, of which five must be known.

    The bound lies five robust deviations of the logarithm above their median, and at three times
    the median at least. The figure is how long it has run, in seconds.
    """
    past = np.asarray(usual_seconds, dtype=np.float64)
    past = past[past > 0]
    if len(past) < _LEAST_JOBS:
        return None
    logs = np.log(past)
    middle = float(np.median(logs))
    scale = 1.4826 * float(np.median(np.abs(logs - middle)))
    high = math.exp(middle) * max(math.exp(_STUCK_WIDTH * scale), _STUCK_TIMES)
    taken = (now - started).total_seconds()
    if taken <= high:
        return None
    return Finding(subject, "job_stuck", now.date(), taken, None, high, started.date())


def throttled_long(
    subject: Subject, since: datetime, now: datetime, interval: timedelta
) -> Finding | None:
    """The platform has held an account up for longer than the time between two scheduled runs."""
    waited = (now - since).total_seconds()
    if waited <= interval.total_seconds():
        return None
    return Finding(
        subject, "throttled_long", now.date(), waited, None, interval.total_seconds(), since.date()
    )
