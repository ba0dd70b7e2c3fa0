"""Values as people read them: numbers, times, stretches of time, and what nobody knows."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pandas as pd

from dmp_assets.platform.text.foreign_text import visible

UNKNOWN = "—"
"""What stands for a value that nobody knows; never 0."""


def missing(value: Any) -> bool:
    """Whether a value is unknown: None, NaN, NaT or pandas' NA."""
    return value is None or value is pd.NA or value is pd.NaT or value != value


def formatted(value: Any, pattern: str = ",") -> str:
    """A value in a format (`.1%`, `,.2f`, `%Y-%m-%d`), `—` where it is unknown."""
    return UNKNOWN if missing(value) else format(value, pattern)


def moment(at: datetime | None) -> str:
    """A time for people, `2024-03-31 18:05 UTC`."""
    return "— (no data yet)" if missing(at) else f"{at:%Y-%m-%d %H:%M} UTC"


def shown(value: Any) -> str:
    """A value for people: 12,345 · 0.873 · — for unknown."""
    if missing(value):
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, int) or (isinstance(value, Decimal) and value % 1 == 0):
        return f"{int(value):,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 10 else f"{value:,.3g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return visible(value)


def duration(minutes: float | None) -> str:
    """A stretch of time for people: `40 seconds`, `12 minutes`, `5.2 hours`, `31 days`, `—`."""
    if minutes is None or missing(minutes):
        return UNKNOWN
    for size, unit in ((1440 * 2, "days"), (120, "hours"), (2, "minutes")):
        if abs(minutes) >= size:
            value = minutes / {"days": 1440, "hours": 60, "minutes": 1}[unit]
            return f"{value:,.0f} {unit}" if abs(value) >= 10 else f"{value:,.1f} {unit}"
    return f"{minutes * 60:,.0f} seconds"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 user`, `27 users`, `1 box`, `2 boxes` (with `many`)."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
