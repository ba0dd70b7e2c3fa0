"""What the cleaned tables of the web have in common: money, times, channels, clocks that differ.

Imports nothing heavy: Spark's worker processes import this module.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

from dmp_assets.platform.cleaning.reading import Reading
from dmp_assets.platform.values.readers import USUAL, Format
from dmp_assets.platform.values.times import read_moment
from dmp_assets.platform.values.words import NO_CHANNEL, STANDARD, Words

MONEY = "DECIMAL(18, 8)"
"""EUR. A view of an ad costs far less than a cent, and thousands of them must still add up."""

AHEAD = timedelta(hours=1)
"""How far ahead of ours another clock may be before what it says is a mistake."""


def moment(
    day: str, time: str, form: Format = USUAL["time"], clock: Format = USUAL["clock"]
) -> Reading:
    """The UTC time, to the second, that two columns of text name; NULL without either."""
    return Reading((day, time), partial(_moment, form=form, clock=clock), "timestamp")


def _moment(day: str, time: str, form: Format, clock: Format) -> datetime | None:
    found = read_moment(day, time, form, clock)
    return found.replace(microsecond=0) if found else None


def not_in_future(column: str, now: datetime) -> str:
    """SQL that holds for a time that has come, give or take what clocks differ by."""
    return f"{column} <= TIMESTAMP'{(now + AHEAD).astimezone(UTC).isoformat(' ')}'"


def mapped(column: str, mapping: Mapping[str, str], no_value: Words = STANDARD) -> Reading:
    """The channel's name after the mapping; channels that it does not name keep theirs.

    Words that mean nothing are one channel, `unknown`, unless the mapping names them.
    """
    return Reading((column,), partial(_mapped, mapping=dict(mapping), no_value=no_value))


def _mapped(channel: str, mapping: Mapping[str, str], no_value: Words) -> str:
    if channel in mapping:
        return mapping[channel]
    return no_value.given("channel", channel) or NO_CHANNEL
