"""How the values of an export are read: SQL of numbers, and days and times by their texts.

A file writes all its numbers in one way, and all its days. `numbers` and `dates` of a row say which
(`Kept`): what could be both, and was not decided when the file was taken, is not read.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from dmp_assets.platform.values.readers import Format, Side, amount
from dmp_assets.platform.values.times import read_day, read_time

AHEAD = timedelta(days=1)
"""By so much a day somewhere may be ahead of that of UTC on which a file was taken."""
NUMBER = "DECIMAL(38, 9)"
EXACT = 8
"""Places to which Ads Manager parts what was spent into cells."""
_DOTTED = re.compile(r"(\d{1,2})\. ?(\d{1,2})\. ?(\d{2})(?!\d)")
_MONTHS = 12
_ZONED = re.compile(
    r":\d{2}(?:[.,]\d+)?\s*(?P<zone>z|utc|gmt|[+-]\d{1,2}(?::?\d{2})?)\s*$", re.IGNORECASE
)


def number(text: str, sides: Sequence[Side | None]) -> str:
    """SQL of a number from SQL of its text. `sides`: how files write them; where they do it in
    several ways, `numbers` says how that of the row does."""
    read = {side: amount(text, NUMBER, Format(side)) for side in sides}
    if len(read) == 1:
        return next(iter(read.values()))
    told = " ".join(f"WHEN '{side or ''}' THEN {sql}" for side, sql in read.items())
    return f"CASE coalesce(numbers, '') {told} END"


def money(text: str, sides: Sequence[Side | None], places: int = EXACT) -> str:
    """SQL of an amount of money, to so many places."""
    return f"round({number(text, sides)}, {places})::DECIMAL(18, {places})"


def count(text: str, sides: Sequence[Side | None]) -> str:
    """SQL of a whole number; null for a part of one."""
    return (
        f"list_transform([{number(text, sides)}], lambda n: CASE WHEN n = trunc(n) AND "
        "abs(n) < 1e18 THEN n::BIGINT END)[1]"
    )


def dotted_side(texts: Iterable[str]) -> Side | None:
    """Which part of days with dots and two figures of the year is first, as `14.03.24`; None where
    nothing tells.

    A first part over 12 is the day, unless it is the year of days that differ in their last part.
    """
    found = [_DOTTED.match(text.strip()) for text in texts]
    parts = [tuple(map(int, one.groups())) for one in found if one]
    if not parts or len(parts) < len(found):
        return None
    first, second, last = (set(which) for which in zip(*parts, strict=True))
    is_day = max(first) > _MONTHS and max(second) <= _MONTHS and len(first) >= len(last)
    return "day" if is_day else None


def days(texts: Iterable[tuple[str, Side | None]]) -> dict[tuple[str, Side | None], date]:
    """The days that these texts name, those that name none left out."""
    read = {(text, side): read_day(text, Format(side)) for text, side in texts}
    return {given: day for given, day in read.items() if day is not None}


def moment(text: str, side: Side | None, zone: str) -> datetime | None:
    """The moment that a text names (UTC); one that says no zone is of this one."""
    found = read_time(text, Format(side))
    if found is None or _ZONED.search(text):
        return found
    return found.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def is_late(moment: datetime, taken_at: datetime) -> bool:
    """Whether a moment, or the beginning of a day, is after a file was taken, in any time zone."""
    return moment > taken_at + AHEAD


def offset_differs(text: str, side: Side | None, zone: str) -> bool:
    """Whether a text says another offset from UTC than the zone has at that moment."""
    found = _ZONED.search(text)
    at = read_time(text, Format(side))
    if found is None or at is None:
        return False
    as_written = read_time(text[: found.start("zone")].strip(), Format(side))
    own = at.astimezone(ZoneInfo(zone)).utcoffset()
    return as_written is not None and own is not None and as_written - at != own
