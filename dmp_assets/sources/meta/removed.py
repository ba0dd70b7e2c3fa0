"""Ad accounts whose rows an operator takes back from an advertiser: noted, dropped by the next run.

They are in `$DMP_HOME/received/ads/removed_accounts.json`, until the advertiser has them again.
"""

import json
from collections.abc import Collection
from pathlib import Path

from dmp_assets.home import Home
from dmp_assets.platform.base import whole_file
from dmp_assets.platform.base.errors import UserError
from dmp_assets.sources.meta.holding import Key


class RemovedError(UserError):
    """The note of removed accounts cannot be read or written."""


def noted(home: Home) -> list[Key]:
    """(advertiser, account) of those whose rows are to go. Raises RemovedError."""
    file = _file(home)
    try:
        return sorted((str(whose), str(account)) for whose, account in json.loads(file.read_text()))
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, OSError) as error:
        raise RemovedError(
            f"{file} cannot be read: remove it, and say again which accounts are to go "
            "(`dmp ads accounts --remove`)"
        ) from error


def note(home: Home, one: Key) -> None:
    """Have the next run drop the rows of an account. Raises RemovedError."""
    _change(home, add={one})


def forget(home: Home, those: Collection[Key]) -> None:
    """Take back what was noted of these: their advertisers have them again. Raises RemovedError."""
    if set(those) & set(noted(home)):
        _change(home, drop=set(those))


def _change(home: Home, *, add: Collection[Key] = (), drop: Collection[Key] = ()) -> None:
    file = _file(home)
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with whole_file.changing(file):
            left = sorted((set(noted(home)) | set(add)) - set(drop))
            whole_file.write(file, json.dumps(left, indent=1) + "\n")
    except OSError as error:
        raise RemovedError(f"{file} cannot be written: {error.strerror}") from error


def _file(home: Home) -> Path:
    return home.root / "received" / "ads" / "removed_accounts.json"
