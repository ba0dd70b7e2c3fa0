"""What the pages draw: lines over days, for the script, and bars of a sum that is taken apart."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from dmp_assets.ads.service.numbers import Number
from dmp_assets.ads.service.spans import Span

WIDTH = 1000
"""Of a bar's own coordinates, from the least to the greatest value of its table."""
Colour = Literal["blue", "orange", "green", "sky", "purple", "grey"]
Unit = Literal["money", "ratio", "count"]


@dataclass(frozen=True)
class Line:
    """A line of a chart. A day without a value is a gap; `dashed`: what it is compared with."""

    label: str
    values: Mapping[date, Number | None]
    colour: Colour = "blue"
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines over the days of a span. `title`: the question that it answers; `unit` of all its
    lines, `currency` of money. Days from `open_from` on may still change, and are hatched."""

    name: str
    title: str
    span: Span
    lines: Sequence[Line]
    unit: Unit
    currency: str = ""
    open_from: date | None = None
    events: Mapping[date, str] = field(default_factory=dict)

    @property
    def unit_text(self) -> str:
        """Its unit, for the header of its table."""
        return {"money": self.currency, "ratio": "", "count": ""}[self.unit]

    def data(self) -> dict[str, Any]:
        """What the script draws."""
        days = self.span.all()
        return {
            "days": [str(day) for day in days],
            "unit": self.unit,
            "currency": self.currency,
            "openFrom": str(self.open_from) if self.is_open else None,
            "events": {str(day): text for day, text in self.events.items()},
            "lines": [
                {
                    "label": line.label,
                    "colour": line.colour,
                    "dashed": line.dashed,
                    "values": [_plain(line.values.get(day)) for day in days],
                }
                for line in self.lines
            ],
        }

    @property
    def is_open(self) -> bool:
        """Whether it holds days that may still change."""
        return self.open_from is not None and self.open_from <= self.span.last

    def rows(self) -> list[tuple[date, list[Number | None]]]:
        """The same numbers as a table, the newest day first."""
        days = reversed(self.span.all())
        return [(day, [line.values.get(day) for line in self.lines]) for day in days]


def _plain(value: Number | None) -> float | None:
    return None if value is None else round(float(value), 4)


def shifted(values: Mapping[date, Number | None], before: Span, now: Span) -> dict[date, Any]:
    """Values of earlier days on the days that they are compared with."""
    by = now.first - before.first
    return {day + by: value for day, value in values.items()}


@dataclass(frozen=True)
class Step:
    """A part of a sum. `bar`: where it begins and how wide it is, within WIDTH; `is_total`: what
    the parts before it add up to. `adds` says its sign in words."""

    label: str
    about: str
    value: Number
    bar: tuple[int, int]
    is_total: bool
    is_loss: bool


def waterfall(parts: Iterable[tuple[str, str, Number, bool]]) -> list[Step]:
    """(label, about, value, is a total) as bars that each begin where the one before ended.

    A total begins at 0 and is not added. Values below 0 go back.
    """
    given, running = list(parts), 0.0
    ends: list[tuple[float, float]] = []
    for _, _, value, is_total in given:
        start = 0.0 if is_total else running
        running = float(value) if is_total else running + float(value)
        ends.append((start, running))
    low = min((min(pair) for pair in ends), default=0.0)
    high = max((max(pair) for pair in ends), default=0.0)
    scale = WIDTH / ((high - low) or 1.0)
    steps = []
    for (label, about, value, is_total), (start, end) in zip(given, ends, strict=True):
        left, right = round((min(start, end) - low) * scale), round((max(start, end) - low) * scale)
        wide = max(right - left, 2 if value else 0)
        steps.append(Step(label, about, value, (left, wide), is_total, end < start))
    return steps


def bar(value: Number | None, greatest: Number) -> int:
    """How wide the bar of one value is, within WIDTH."""
    if not value or not greatest or value < 0:
        return 0
    return max(round(WIDTH * float(value) / float(greatest)), 2)
