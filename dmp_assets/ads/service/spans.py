"""The days that a page is about, and those that it compares them with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, get_args

Preset = Literal[
    "last-7", "last-28", "last-90", "last-365", "closed-28", "this-month", "last-month"
]
Compare = Literal["before", "year", "none"]
DEFAULT: Preset = "last-28"
PRESETS: Mapping[Preset, str] = {
    "last-7": "7 days",
    "last-28": "28 days",
    "last-90": "90 days",
    "last-365": "365 days",
    "closed-28": "28 closed days",
    "this-month": "This month",
    "last-month": "Last month",
}
COMPARES: Mapping[Compare, str] = {
    "before": "the days before",
    "year": "a year earlier",
    "none": "nothing",
}
LONGEST = 3660
_YEAR = timedelta(days=364)
"""A year of whole weeks, so that weekdays are compared with the same."""
assert tuple(PRESETS) == get_args(Preset)


@dataclass(frozen=True)
class Span:
    """Days in a row, both ends included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"

    def back(self, by: timedelta) -> "Span":
        """As many days, so much earlier."""
        return Span(self.first - by, self.last - by)

    def all(self) -> list[date]:
        """Every day of it."""
        return [self.first + timedelta(days=n) for n in range(self.days)]


def preset(name: Preset, newest: date, full: date, open_from: date | None) -> Span:
    """The days of a preset, which end with the last one that is over.

    `newest`: the last day of which there are rows; `full`: the last of these that is over;
    `open_from`: the first that may still change, before which `closed-28` ends. Of a month of which
    no day is over yet, this month is what there is of it.
    """
    month = full if (full.year, full.month) == (newest.year, newest.month) else newest
    if name == "this-month":
        return Span(month.replace(day=1), month)
    if name == "last-month":
        end = month.replace(day=1) - timedelta(days=1)
        return Span(end.replace(day=1), end)
    kind, _, days = name.partition("-")
    last = full
    if kind == "closed" and open_from is not None:
        last = min(last, open_from - timedelta(days=1))
    return Span(last - timedelta(days=int(days) - 1), last)


def earlier(span: Span, compare: Compare) -> Span | None:
    """The equally many days that these are compared with."""
    if compare == "none":
        return None
    return span.back(_YEAR if compare == "year" else timedelta(days=span.days))
