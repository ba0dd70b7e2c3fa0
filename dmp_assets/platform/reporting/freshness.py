"""Up to when it is known what happened at a source, and whether it has fallen silent.

The data is complete up to the source's last reading, whether or not anything happened before it:
a weekend without an event is quiet, not missing. Only a source that has been silent for longer
than it may be counts as known up to its last event, since nobody can tell an export that stopped
from a shop that sells nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from dmp_assets.home import Home
from dmp_assets.platform.lake import readings
from dmp_assets.settings import Settings

QUIET = timedelta(days=7)
"""Silence that means nothing in any source; where a source was silent for longer before, twice
that."""
LOOKS_BACK = 100
"""Days before the last event in which the longest silence is looked for."""


class ReadTables(Protocol):
    """The tables of one state, as a report reads them; see `pinned_tables`."""

    home: Home
    versions: dict[str, int]

    @property
    def settings(self) -> Settings: ...

    def has(self, *keys: str) -> bool: ...

    def columns(self, key: str) -> tuple[str, ...]: ...

    def row(self, query: str, parameters: Any = None) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Known:
    """What is known of a source's events; all times UTC, None before the first event or reading.

    `through`: up to when everything is known. `silent`: why that is the last event and not the
    last reading, in words. `ahead`: rows dated after `through` could be, which count for nothing.
    """

    through: datetime | None
    last_event: datetime | None
    read_at: datetime | None
    silent: str | None = None
    ahead: int = 0


def known(tables: ReadTables, events: Mapping[str, str], as_of: datetime) -> Known:
    """What is known as of a moment, by tables of events and the column that says when."""
    counted = [_counted(tables, key, column, as_of) for key, column in events.items()]
    last = max((at for at, _ in counted if at), default=None)
    ahead = sum(n for _, n in counted)
    read_at = _read_at(tables, list(events))
    if last is None or read_at is None:
        return Known(last, last, read_at, ahead=ahead)
    until = min(read_at, as_of)
    silent = _silent(tables, events, last, until, read_at)
    return Known(last if silent else max(last, until), last, until, silent, ahead)


def incomplete(known: Known, last_day: date, zone: str) -> str | None:
    """Why the numbers of days up to this one are not complete, where the source fell silent.

    None where they are complete, or only a reading is still to come.
    """
    over = datetime.combine(last_day + timedelta(days=1), time(), ZoneInfo(zone))
    if known.silent is None or known.through is None or known.through >= over:
        return None
    return f"The data is not complete: {known.silent}. Has the source stopped?"


def _counted(
    tables: ReadTables, key: str, column: str, as_of: datetime
) -> tuple[datetime | None, int]:
    """Last event up to `as_of`, and how many rows are dated later; a day is its first moment."""
    if not tables.has(key):
        return None, 0
    found = tables.row(
        f"""SELECT max({column}::TIMESTAMPTZ) FILTER ({column} <= $1) AS last,
        count(*) FILTER ({column} > $1 + INTERVAL 1 DAY) AS ahead FROM {key.replace("/", ".")}""",
        [as_of],
    )
    return found["last"], int(found["ahead"])


def _read_at(tables: ReadTables, keys: list[str]) -> datetime | None:
    """When the source was last read, or where files are loaded, when they last were."""
    received: list[datetime] = []
    loaded: list[datetime] = []
    noted: list[datetime] = []
    for key in keys:
        raw = f"raw/{key.partition('/')[2]}"
        there = tables.columns(raw)
        for column, found in (("_received_at", received), ("_loaded_at", loaded)):
            if column in there:
                at = tables.row(f"SELECT max({column}) AS at FROM {raw.replace('/', '.')}")["at"]
                found += [at] if at else []
        last = readings.last(tables.home, raw)
        pinned = tables.versions.get(raw)
        if last and (pinned is None or pinned >= last.version):
            noted.append(last.at)
    if received:
        return max(received)
    if noted and len(noted) == len(keys):
        return max(min(noted), min(loaded, default=min(noted)))
    return max(loaded, default=None)


def _silent(
    tables: ReadTables,
    events: Mapping[str, str],
    last: datetime,
    until: datetime,
    read_at: datetime,
) -> str | None:
    """Why the source counts as fallen silent by `until`; None when it does not."""
    expected = tables.settings.expected_weekly_events
    since = f"the last event is of {last:%a %d %b %Y}, the source was last read"
    if expected is not None:
        came = _came(tables, events, until - timedelta(days=7), until)
        if came >= expected:
            return None
        return (
            f"{came:,} events came in the 7 days to {until:%a %d %b %Y}, {expected:,} are "
            "expected (DMP_EXPECTED_WEEKLY_EVENTS)"
        )
    if until - last <= QUIET:
        return None
    allowed = max(QUIET, 2 * _longest_silence(tables, events, last))
    return None if until - last <= allowed else f"{since} {(read_at - last).days} days later"


def _came(tables: ReadTables, events: Mapping[str, str], since: datetime, until: datetime) -> int:
    return sum(
        int(
            tables.row(
                f"SELECT count(*) AS n FROM {key.replace('/', '.')} "
                f"WHERE {column} > $1 AND {column} <= $2",
                [since, until],
            )["n"]
        )
        for key, column in events.items()
        if tables.has(key)
    )


def _longest_silence(tables: ReadTables, events: Mapping[str, str], last: datetime) -> timedelta:
    """The longest stretch of whole days without an event before the last one."""
    days = " UNION ".join(
        f"SELECT DISTINCT {column}::DATE AS day FROM {key.replace('/', '.')} "
        f"WHERE {column} <= $1 AND {column} > $1 - INTERVAL {LOOKS_BACK} DAY"
        for key, column in events.items()
        if tables.has(key)
    )
    found = tables.row(
        f"SELECT max(gap) AS days FROM (SELECT day - lag(day) OVER (ORDER BY day) AS gap "
        f"FROM ({days}))",
        [last],
    )
    return timedelta(days=int(found["days"] or 0))
