"""What would come without ads: level, drift, weekdays, the year, holidays.

The level is a random walk that may bend at knots and stays where it is after the last row
(Harvey, "Forecasting, structural time series models and the Kalman filter", 1989); the drift is a
straight line beside it, held close to 0. The year is a Fourier series whose higher terms are held
closer to 0 (Taylor, Letham, "Forecasting at scale", 2018, which also fits by a prior). Weekdays,
year and holidays are in proportion to the level: a shop that has doubled has twice the Christmas.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dmp_assets.ads.model.budgets.series import DAY, Bools, Dates, Floats

YEAR = 365.2425
_KNOT_DAYS = 28
_FREE = 10.0
_DRIFT = 0.1
_WEEKDAY = 0.5
_EVENT = 1.0


@dataclass(frozen=True)
class Flexibility:
    """How far the base may bend; what each of several is worth, back-tests say.

    `level`: what the level usually changes in four weeks, as a share of the mean target.
    `harmonics`: terms of the year. `year`: usual size of the first of them, as such a share.
    """

    level: float = 0.03
    harmonics: int = 4
    year: float = 0.3


@dataclass(frozen=True, eq=False)
class Terms:
    """The base as columns: (n, p) for given dates, each with the usual size of its coefficient.

    `sizes` (p,) are shares of the mean target. `start`, `end` are the first and last date learnt
    from.
    """

    start: np.datetime64
    end: np.datetime64
    step: int
    flexibility: Flexibility
    events: Mapping[str, Dates]

    @property
    def days(self) -> int:
        """Days from the first date learnt from to the last."""
        return int((self.end - self.start).astype(np.int64))

    @property
    def _knots(self) -> Floats:
        """Days before the end at which a four weeks' change of the level begins."""
        return np.arange(_KNOT_DAYS, self.days + _KNOT_DAYS, _KNOT_DAYS, dtype=np.float64)[::-1]

    @property
    def harmonics(self) -> int:
        """As many as a year's length can tell: none of less than ten months, few of one year."""
        years = (self.days + self.step) / YEAR
        most = 0 if years < 0.8 else 2 if years < 1.6 else self.flexibility.harmonics
        return min(most, self.flexibility.harmonics)

    @property
    def sizes(self) -> Floats:
        """The usual size of each coefficient, as a share of the mean target."""
        numbers = np.arange(1, self.harmonics + 1)
        return np.concatenate(
            [
                [_FREE, _DRIFT],
                np.full(len(self._knots), self.flexibility.level),
                np.full(7 if self.step == DAY else 0, _WEEKDAY),
                np.repeat(self.flexibility.year / numbers, 2),
                np.full(len(self.events), _EVENT),
            ]
        )

    @property
    def seasonal(self) -> Bools:
        """Which columns are in proportion to the level: all but level and drift."""
        plain = 2 + len(self._knots)
        return np.arange(len(self.sizes)) >= plain

    def columns(self, dates: Dates) -> Floats:
        """The columns of these dates, seasonal ones for a level of 1."""
        after_end = (dates - self.end).astype(np.float64)
        begun = (after_end[:, np.newaxis] + self._knots) / _KNOT_DAYS
        parts = [
            np.ones((len(dates), 1)),
            after_end[:, np.newaxis] / YEAR,
            np.clip(begun, 0.0, 1.0) - 1.0,
        ]
        if self.step == DAY:
            weekday = (dates.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
            parts.append((weekday[:, np.newaxis] == np.arange(7)) - 1.0 / 7.0)
        phase = 2 * np.pi * dates.astype(np.int64)[:, np.newaxis] / YEAR
        for number in range(1, self.harmonics + 1):
            parts += [np.sin(number * phase), np.cos(number * phase)]
        parts += [self._within(dates, days)[:, np.newaxis] for days in self.events.values()]
        return np.hstack(parts)

    def _within(self, dates: Dates, days: Dates) -> Floats:
        """Days of a kind in each row: 0 or 1 of a day, of a week as a share."""
        of = np.sort(days)
        row_end = dates + np.timedelta64(self.step, "D")
        counted: Floats = (np.searchsorted(of, row_end) - np.searchsorted(of, dates)) / self.step
        return counted
