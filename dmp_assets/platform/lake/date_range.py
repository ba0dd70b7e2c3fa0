"""START–END as people write it, both days included."""

from datetime import date, timedelta

from dmp_assets.platform.base.errors import UserError


class RangeError(UserError, ValueError):
    """A date range that makes no sense; the message says why."""


def parse_range(start: str, end: str) -> tuple[date, date] | None:
    """Turn two ISO dates (END included) into a half-open pair; both or neither are given.

    Raises RangeError for a date that is none, one without the other, or a reversed range.
    """
    if not start and not end:
        return None
    if not (start and end):
        raise RangeError("a range needs both START and END, e.g. START=2024-01-01 END=2024-01-31")
    days = []
    for name, text in (("START", start), ("END", end)):
        try:
            days.append(date.fromisoformat(text))
        except ValueError as error:
            raise RangeError(f"{name}={text} is not a date; write it as 2024-01-31") from error
    if days[1] < days[0]:
        raise RangeError(f"END {days[1]} is before START {days[0]}")
    if days[1] == date.max:
        raise RangeError(f"END={end} is the last day that can be written; name an earlier one")
    return days[0], days[1] + timedelta(days=1)
