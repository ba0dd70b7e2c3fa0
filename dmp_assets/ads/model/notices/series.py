"""Daily series of an account or campaign, and what is usual for a day: by weekday, robustly."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from dmp_assets.platform.base.errors import GivenError

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

HISTORY = 56
"""Days that say what is usual: eight of each weekday."""

LEAST_HISTORY = 21
"""Days that must have been read; with fewer nothing is said."""

_RECENT = 14
"""Days whose median is the level."""

_LEAST_SCALE = 0.05
"""Of the logarithm: nothing is so steady that 5 % could not be chance."""

_MAD = 1.4826
"""Deviations of a normal distribution in a median absolute deviation."""


class NoticeError(GivenError):
    """A series, a budget or a preference cannot be used; the message says why."""


@dataclass(frozen=True, eq=False)
class Daily:
    """A value a day in the account's own zone, without gaps.

    `values` (n,) from the day `first` on, 0 where nothing was delivered. `is_read`: the day was
    read from its source; what was not read is neither 0 nor usual. `is_open`: it may still be
    restated.
    Raises NoticeError for values that are no numbers and columns of unequal length.
    """

    first: date
    values: Floats
    is_read: Flags
    is_open: Flags

    def __post_init__(self) -> None:
        if not self.values.shape == self.is_read.shape == self.is_open.shape == (len(self.values),):
            raise NoticeError("a series needs a value and two marks for each day")
        if not np.isfinite(self.values[self.is_read]).all():
            raise NoticeError("a day that was read has no value: no delivery is 0")

    @classmethod
    def of(
        cls, first: date, values: npt.ArrayLike, *, open_days: int = 0, unread: tuple[int, ...] = ()
    ) -> "Daily":
        """A series whose last `open_days` are open and whose days at `unread` were not read."""
        numbers = np.asarray(values, dtype=np.float64)
        is_read = np.ones(len(numbers), dtype=np.bool_)
        is_read[list(unread)] = False
        is_open = np.arange(len(numbers)) >= len(numbers) - open_days
        return cls(first, numbers, is_read, is_open)

    def __len__(self) -> int:
        return len(self.values)

    def day(self, at: int) -> date:
        """The date of a place."""
        return self.first + timedelta(days=at)

    @property
    def weekdays(self) -> npt.NDArray[np.int64]:
        """0 for Monday to 6, of each day."""
        return (self.first.weekday() + np.arange(len(self))) % 7


@dataclass(frozen=True)
class Usual:
    """What a day would usually be: `expected`, and `low` to `high` around it."""

    expected: float
    low: float
    high: float


def usual(series: Daily, at: int, *, width: float, is_final: bool = False) -> Usual | None:
    """What is usual for the day at `at`, from the `HISTORY` days before it.

    On logarithms, so that a rise by half is as far as a fall by a third, and with medians, so that
    neither a past spike nor a past outage moves it: a weekday is the median of its deviations from
    the week around each day; the level is the median of the last days without their weekdays; the
    scale is the median absolute error of just this forecast over the history. The range is
    `width` scales to each side. None where fewer than `LEAST_HISTORY` days were read.
    `is_final`: only closed days say what is usual, for values that are restated.
    """
    start = max(at - HISTORY, 0)
    usable = series.is_read[start:at]
    if is_final:
        usable = usable & ~series.is_open[start:at]
    if usable.sum() < LEAST_HISTORY:
        return None
    values = np.maximum(series.values[start:at], 0.0)
    positive = values[usable & (values > 0)]
    if not len(positive):
        return Usual(0.0, 0.0, 0.0)
    offset = 0.05 * float(np.median(positive))
    logs = np.where(usable, np.log(np.maximum(values, 0) + offset), np.nan)
    weekday = series.weekdays[start:at]
    seasonal = _weekdays(logs, weekday)
    plain = logs - seasonal[weekday]
    levels = _levels(plain)
    errors = plain - levels[:-1]
    known = errors[np.isfinite(errors)]
    shift = float(np.median(known)) if len(known) else 0.0
    scale = _MAD * float(np.median(np.abs(known - shift))) if len(known) else 0.0
    scale = max(scale, _LEAST_SCALE)
    centre = float(levels[-1] + seasonal[series.weekdays[at]] + shift)
    if not np.isfinite(centre):
        return None
    low, middle, high = (
        max(float(np.exp(centre + step * scale)) - offset, 0.0) for step in (-width, 0.0, width)
    )
    return Usual(middle, low, high)


def _weekdays(logs: Floats, weekday: npt.NDArray[np.int64]) -> Floats:
    """The effect of each weekday: median of the deviations from the median of the week around."""
    padded = np.pad(logs, 3, constant_values=np.nan)
    weeks = np.lib.stride_tricks.sliding_window_view(padded, 7)
    around = _nanmedian(weeks)
    apart = logs - around
    found = np.zeros(7)
    for day in range(7):
        own = apart[weekday == day]
        own = own[np.isfinite(own)]
        if len(own):
            found[day] = np.median(own) * len(own) / (len(own) + 1)
    return found - np.median(found)


def _levels(plain: Floats) -> Floats:
    """Median of the `_RECENT` days before each day, and before the one that follows."""
    padded = np.concatenate([np.full(_RECENT, np.nan), plain])
    windows = np.lib.stride_tricks.sliding_window_view(padded, _RECENT)
    return _nanmedian(windows, least=_RECENT // 2)


def _nanmedian(windows: Floats, least: int = 1) -> Floats:
    """Median of each row without its missing values; NaN where fewer than `least` are there."""
    count = np.isfinite(windows).sum(axis=-1)
    ordered = np.sort(windows, axis=-1)  # NaN last
    low = np.maximum((count - 1) // 2, 0)[:, None]
    high = np.maximum(count // 2, 0)[:, None]
    high = np.minimum(high, windows.shape[-1] - 1)
    middle = (
        np.take_along_axis(ordered, low, axis=-1) + np.take_along_axis(ordered, high, axis=-1)
    )[:, 0] / 2
    return np.where(count >= least, middle, np.nan)


def completeness(seen: npt.ArrayLike, final: npt.ArrayLike) -> Floats:
    """Which share of its final value a day shows at each age, 0 for the day after, 1 once closed.

    `seen` (days, ages): what closed days showed at each age; `final` (days,): what they have now.
    Sums over days, so days of few orders count for little; never falling with age, never above 1.
    Raises NoticeError for values that are missing.
    """
    shown = np.asarray(seen, dtype=np.float64)
    end = np.asarray(final, dtype=np.float64)
    if shown.ndim != 2 or len(shown) != len(end):
        raise NoticeError("each closed day needs what it showed at each age, and its final value")
    if not (np.isfinite(shown).all() and np.isfinite(end).all()):
        raise NoticeError("a closed day lacks what it showed at some age")
    total = end.sum()
    if not total > 0:
        return np.ones(shown.shape[1])
    share = np.clip(shown.sum(axis=0) / total, 0.0, 1.0)
    found: Floats = np.maximum.accumulate(share)
    return found
