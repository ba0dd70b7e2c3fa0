"""Exports that people gave: the files as they were received, and what was found of each.

They are in `$DMP_HOME/received/ads/<advertiser>/`, `<SHA-256>.csv` with `<SHA-256>.json` beside it,
for the home's owner alone. The note is written last, so a file without one was never taken.
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dmp_assets.home import Home
from dmp_assets.platform.base import whole_file
from dmp_assets.platform.base.errors import GivenError, UserError
from dmp_assets.platform.values.readers import Side
from dmp_assets.sources.exports.columns import Kind

FileKey = tuple[str, str, int]
"""(advertiser, SHA-256, number) of a file."""
_ADVERTISER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class ExportError(UserError):
    """An export that cannot be taken; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class Kept:
    """One file that was taken.

    number: the order in which files were taken; a later one holds where both tell of the same.
    account: ad account or shop whose rows do not name one. currency: of those that name none.
    timezone: of the account or shop. numbers, dates: how values are written; None: nothing tells.
    columns: place in a row → column of ours. rows: rows of data; bad: those that cannot be used.
    totals: what the file's own totals say otherwise than its rows add up to, in words. is_removed:
    somebody took it back, so that its rows are to go; the file itself is gone.
    """

    kind: Kind
    advertiser_id: str
    name: str
    sha256: str
    number: int
    received_at: str
    account: str
    currency: str
    timezone: str
    numbers: Side | None
    dates: Side | None
    delimiter: str
    encoding: str
    width: int
    columns: Mapping[str, Sequence[int]]
    rows: int = 0
    bad: int = 0
    totals: Sequence[str] = field(default_factory=tuple)
    is_removed: bool = False

    @property
    def received(self) -> datetime:
        """When it was taken (UTC)."""
        return datetime.fromisoformat(self.received_at)

    @property
    def key(self) -> FileKey:
        """What tells its rows from those of others."""
        return (self.advertiser_id, self.sha256, self.number)

    def path(self, home: Home) -> Path:
        """Where the file is."""
        return _folder(home) / self.advertiser_id / f"{self.sha256}.csv"


def checked_advertiser(given: str) -> str:
    """An advertiser's id that may be part of a path. Raises GivenError."""
    name = given.strip()
    if not _ADVERTISER.fullmatch(name):
        raise GivenError(
            f"--advertiser {given!r}: an id of letters, digits, dashes, dots and underscores, at "
            "most 64"
        )
    return name


def are_there(home: Home) -> bool:
    """Whether any file was ever taken; reads none of them."""
    return any(_folder(home).glob("*/*.json"))


def noted(home: Home) -> list[Kept]:
    """The files that were ever taken, in that order. Raises ExportError for a damaged note."""
    return sorted(map(_read, _folder(home).glob("*/*.json")), key=lambda one: one.number)


def kept(home: Home) -> list[Kept]:
    """Those of them that nobody took back. Raises ExportError for a damaged note."""
    return [one for one in noted(home) if not one.is_removed]


def keep(home: Home, given: Path, found: Kept) -> Kept:
    """Keep a file, as the newest one. Raises ExportError where it cannot be written."""
    folder = _folder(home)
    target = found.path(home)
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with whole_file.changing(folder / "files"):
            last = max((one.number for one in noted(home)), default=0)
            numbered = replace(found, number=last + 1)
            with whole_file.replacing(target, mode=0o600) as part:
                shutil.copyfile(given, part)
            _write(target, numbered)
    except OSError as error:
        raise ExportError(f"{given.name} cannot be kept: {error.strerror}") from error
    return numbered


def remove(home: Home, found: Kept) -> None:
    """Take a file back: it is deleted, and the next run drops its rows."""
    target = found.path(home)
    _write(target, replace(found, is_removed=True))
    target.unlink(missing_ok=True)


def _write(file: Path, found: Kept) -> None:
    whole_file.write(_note(file), json.dumps(asdict(found), indent=1) + "\n")


def _folder(home: Home) -> Path:
    return home.root / "received" / "ads"


def _note(file: Path) -> Path:
    return file.with_suffix(".json")


def _read(note: Path) -> Kept:
    try:
        found: dict[str, Any] = json.loads(note.read_text())
        return Kept(**found)
    except (ValueError, TypeError, OSError) as error:
        raise ExportError(
            f"{note} cannot be read: restore it from a backup, or remove it and take its file again"
        ) from error
