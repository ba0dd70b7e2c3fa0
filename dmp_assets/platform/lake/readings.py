"""When each source was last read to its end, also by runs that found nothing new there.

A table that a run leaves as it was carries no trace of that run, and a quiet source looks like one
that nobody read. `$DMP_HOME/readings.json` keeps the trace: table → time (UTC) and the table's
Delta version of then.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dmp_assets.home import Home
from dmp_assets.platform.base import whole_file


@dataclass(frozen=True)
class Reading:
    """A source was read for this table at that time and left the table at that version."""

    at: datetime
    version: int


def note(home: Home, key: str, at: datetime, version: int) -> None:
    """Note that the source of the table was read to its end. Written whole; of runs
    that note at the same time, nothing is lost."""
    file = _file(home)
    with whole_file.changing(file):
        known = _read(file) | {key: {"at": at.isoformat(), "version": version}}
        whole_file.write(file, json.dumps(known, indent=2, sort_keys=True) + "\n")


def last(home: Home, key: str) -> Reading | None:
    """The last reading for this table; None where none was noted."""
    found = _read(_file(home)).get(key)
    return Reading(datetime.fromisoformat(found["at"]), found["version"]) if found else None


def _file(home: Home) -> Path:
    return home.root / "readings.json"


def _read(file: Path) -> dict[str, dict]:
    try:
        known = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):  # never noted, or damaged: the next run notes it again
        return {}
    return known if isinstance(known, dict) else {}
