"""Which days of an account are to be read: those never read, and those that may still change.

Days are those of the account's own time zone. Meta restates the last 28 days, and keeps 37 months.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dmp_assets.platform.base.errors import UserError

HOURLY_DAYS = 3
"""The last so many days, today among them, are read again each hour."""
OPEN_DAYS = 28
"""Days that may still change; they are read again each day."""
KEPT_DAYS = 1_122
"""37 months, less a day for time zones; what is older cannot be asked for."""
MOST_AT_ONCE = 30
"""Days of history in one report."""


class ZoneError(UserError):
    """An account whose time zone is none that is known here."""


@dataclass(frozen=True)
class Days:
    """A range of days, both included."""

    first: date
    last: date

    @property
    def count(self) -> int:
        return (self.last - self.first).days + 1

    def __iter__(self) -> Iterator[date]:
        return (self.first + timedelta(days=n) for n in range(self.count))

    def halves(self) -> "tuple[Days, Days]":
        """Two ranges in place of this one, the newer first; it has two days at least."""
        middle = self.first + timedelta(days=self.count // 2)
        return Days(middle, self.last), Days(self.first, middle - timedelta(days=1))


def zone_of(name: str) -> ZoneInfo:
    """An account's time zone. Raises ZoneError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ZoneError("Meta gives an account a time zone that is not known here") from None


def today(zone: ZoneInfo, now: datetime) -> date:
    """The day that it is in an account's zone; `now` is UTC."""
    return now.astimezone(zone).date()


def closes_at(day: date, zone: ZoneInfo) -> datetime:
    """When a day does not change any more (UTC)."""
    end = datetime.combine(day + timedelta(days=OPEN_DAYS + 1), time(), zone)
    return end.astimezone(UTC)


def is_due(day: date, read_at: datetime | None, zone: ZoneInfo, now: datetime) -> bool:
    """Whether a day of an account is to be read, which was last read at that moment (UTC)."""
    if read_at is None:
        return True
    age = (today(zone, now) - day).days
    if age < HOURLY_DAYS:
        return now - read_at >= timedelta(hours=1)
    if now < closes_at(day, zone):
        return now - read_at >= timedelta(days=1)
    return read_at < closes_at(day, zone)


@dataclass(frozen=True)
class Due:
    """What is to be read of an account. `single`: days, the newest first, each by itself; `ranges`:
    history, the newest first, by reports."""

    single: tuple[date, ...]
    ranges: tuple[Days, ...]

    @property
    def count(self) -> int:
        return len(self.single) + sum(part.count for part in self.ranges)


def due(
    readings: Mapping[date, datetime], zone: ZoneInfo, now: datetime, *, history_days: int
) -> Due:
    """What is to be read of an account whose days were last read at these moments (UTC).

    Open days go by themselves: they are few, and each is wanted soon. Older ones go together.
    """
    last = today(zone, now)
    first = last - timedelta(days=min(history_days, KEPT_DAYS) - 1)
    wanted = [day for day in Days(first, last) if is_due(day, readings.get(day), zone, now)]
    single = tuple(day for day in reversed(wanted) if (last - day).days <= OPEN_DAYS)
    older = [day for day in wanted if (last - day).days > OPEN_DAYS]
    return Due(single, tuple(_ranges(older)))


def _ranges(days: list[date]) -> Iterator[Days]:
    """Neighbouring days together, at most so many, the newest first."""
    end = begin = None
    for day in reversed(days):
        if end is not None and begin is not None:
            if begin - day == timedelta(days=1) and (end - day).days < MOST_AT_ONCE:
                begin = day
                continue
            yield Days(begin, end)
        end = begin = day
    if end is not None and begin is not None:
        yield Days(begin, end)
