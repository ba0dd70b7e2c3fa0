"""The last write of every table: noted at a run's end, so that who asks reads no table's log.

`serving/tables.json` holds table → its last write and the mark of the commit that it was read
from. Where the table has moved on since (a killed run, maintenance, another home's files), its own
log is read, as for a home that has no note yet.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from dmp_assets.home import Home
from dmp_assets.platform.base import whole_file
from dmp_assets.platform.lake.storage_errors import in_words
from dmp_assets.platform.lake.tables import Tables, commit_file

_NOTED = ("version", "rows", "run_id")


@dataclass(frozen=True)
class Write:
    """The last write of a table, whenever it is looked at. `version`: Delta's."""

    key: str
    written_at: datetime
    version: str
    rows: int
    run_id: str | None


def publish(home: Home, tables: Tables) -> None:
    """Note the last writes as they are now. Raises OSError; the old note stays then."""
    found = {
        write.key: asdict(write)
        | {
            "written_at": write.written_at.isoformat(),
            "mark": _mark(tables, write.key, int(write.version)),
        }
        for write in newest(home, tables)
    }
    file = _file(home)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    whole_file.write(file, json.dumps(found))


def newest(home: Home, tables: Tables) -> list[Write]:
    """The last write of every table of the lakehouse, layer by layer.

    Raises TableError, DeltaError or OSError for a table that cannot be read.
    """
    noted = _noted(home)
    return [_known(noted.get(key), tables) or _read(tables, key) for key in tables.written()]


def _known(noted: Any, tables: Tables) -> Write | None:
    """What was noted of a table, if that is still its last write."""
    try:
        write = Write(
            noted["key"], datetime.fromisoformat(noted["written_at"]),
            *(noted[name] for name in _NOTED),
        )  # fmt: skip
        version = int(write.version)
        mark, following = (_mark(tables, write.key, n) for n in (version, version + 1))
    except (KeyError, TypeError, ValueError):  # not noted, or not by us
        return None
    is_last = mark is not None and mark == noted.get("mark") and following is None
    return write if is_last else None


def _read(tables: Tables, key: str) -> Write:
    """The same from the table's own log, some milliseconds each."""
    stands = tables.standing(key)
    return Write(
        key, tables.written_at(key), str(stands.version), stands.rows, stands.stamp.get("run_id")
    )


def _mark(tables: Tables, key: str, version: int) -> list[int] | None:
    """What tells a commit from another one of its number; None where there is none."""
    with in_words(tables.root):
        found = tables.files.mark(commit_file(tables, key, version))
    return None if found is None else list(found)


def _noted(home: Home) -> dict[str, Any]:
    try:
        found = json.loads(_file(home).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):  # no note yet, or not by us
        return {}
    return found if isinstance(found, dict) else {}


def _file(home: Home) -> Path:
    return home.serving / "tables.json"
