"""What the cleaned tables of the web have in common: money, times, and clocks that differ."""

from datetime import UTC, datetime, timedelta

from dmp_assets.values import readers
from dmp_assets.values.readers import USUAL, Format

MONEY = "DECIMAL(18, 8)"
"""EUR. A view of an ad costs far less than a cent, and thousands of them must still add up."""

AHEAD = timedelta(hours=1)
"""How far ahead of ours another clock may be before what it says is a mistake."""


def moment(day: str, time: str, form: Format = USUAL["time"]) -> str:
    """SQL of the UTC time, to the second, that two columns of text name; NULL without either."""
    read = readers.time(f"concat_ws(' ', CAST({readers.day(day, form)} AS STRING), {time})", form)
    return (
        f"CASE WHEN {day} IS NOT NULL AND {time} IS NOT NULL THEN date_trunc('SECOND', {read}) END"
    )


def not_in_future(column: str, now: datetime) -> str:
    """SQL that holds for a time that has come, give or take what clocks differ by."""
    return f"{column} <= TIMESTAMP'{(now + AHEAD).astimezone(UTC).isoformat(' ')}'"
