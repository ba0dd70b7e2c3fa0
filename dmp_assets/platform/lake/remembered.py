"""What the tables of a home are made from, remembered by the home and by a lakehouse outside it.

The home keeps it in `home.json`; a lakehouse that lies elsewhere has a file `lakehouse.json` beside
its layers, so that a home which comes new to it knows of what its tables are. Where several homes
may write it (`shared_leases.is_shared`) each signs in `_homes/`, so that none removes what others
use. Who writes what at a time, and which lakehouse that is, says `_leases.json`
(`shared_leases.py`).
"""

import json
import socket
from typing import Any
from uuid import uuid4

from dmp_assets.home import Home, HomeError
from dmp_assets.platform.lake import beside
from dmp_assets.platform.lake.shared_leases import is_shared
from dmp_assets.platform.lake.tables import Tables

FILE = "lakehouse.json"
HOMES = "_homes"
"""Folder of a lakehouse that several homes write, with a file of each."""
SIGNATURE = "signature"
"""What the home remembers the name of its file by; a restored one goes on with it."""


def by_home(home: Home, name: str) -> Any:
    """What the home remembers under this name; None where it does not."""
    return home.state().get(name)


def by_lakehouse(home: Home, name: str) -> Any:
    """What a lakehouse outside the home remembers under this name; None where it does not.

    Raises HomeError for a file that holds something else, StorageError.
    """
    return _read(Tables.of(home)).get(name) if _is_outside(home) else None


def remember(home: Home, **values: Any) -> None:
    """Add to what the home remembers, and its lakehouse where that lies elsewhere."""
    if _is_outside(home):
        tables = Tables.of(home)
        known = _read(tables)
        if known != known | values:
            _write(tables, known | values)
    if home.state() != home.state() | values:
        home.remember(**values)


def forget(home: Home, name: str) -> None:
    """Drop it from both."""
    if _is_outside(home):
        tables = Tables.of(home)
        known = _read(tables)
        if name in known:
            _write(tables, {key: value for key, value in known.items() if key != name})
    home.forget(name)


def is_foreign(home: Home, name: str) -> bool:
    """Whether the lakehouse remembers something else under this name than the home does.

    Compared by `id`; what the home does not know yet is foreign to it.
    """
    there, here = by_lakehouse(home, name), by_home(home, name)
    return there is not None and (here or {}).get("id") != there.get("id")


def is_own(home: Home) -> bool:
    """Whether the lakehouse is the home's to remove: its runs have used it, nobody else's shop is
    in it since, and no other home uses it."""
    if not _is_outside(home):
        return True
    if is_foreign(home, "shop") or others(home):
        return False
    return home.state().get("shop") is not None or home.state().get("lakehouse") == _root(home)


def use(home: Home) -> None:
    """What a run begins with. Raises HomeError where home and lakehouse are of two shops."""
    refuse_another(home, "shop")
    if _is_outside(home) and home.state().get("lakehouse") != _root(home):
        home.remember(lakehouse=_root(home))
    if is_shared(home.settings()):
        _sign(home)


def others(home: Home) -> list[str]:
    """Which other homes use the lakehouse, each with the machine where it was."""
    if not is_shared(home.settings()):
        return []
    tables = Tables.of(home)
    names = sorted(beside.below(tables, HOMES))
    signed = [beside.read(tables, name) for name in names if name != _signature(home)]
    return [content.decode() for content in signed if content is not None]


def leave(home: Home) -> None:
    """Take back that the home uses the lakehouse."""
    if is_shared(home.settings()) and SIGNATURE in home.state():
        beside.remove(Tables.of(home), _signature(home))


def _sign(home: Home) -> None:
    if SIGNATURE not in home.state():
        home.remember(**{SIGNATURE: str(uuid4())})
    tables = Tables.of(home)
    if beside.read(tables, _signature(home)) is None:
        said = f"{home.root} on {socket.gethostname()}"
        beside.write(tables, _signature(home), said.encode())


def _signature(home: Home) -> str:
    return f"{HOMES}/{home.state().get(SIGNATURE)}"


def refuse_another(home: Home, name: str) -> None:
    """Raise HomeError where home and lakehouse both remember it, and not the same."""
    there, here = by_lakehouse(home, name), by_home(home, name)
    if there and here and there["id"] != here["id"]:
        raise HomeError(
            f"the tables in {Tables.of(home).root} are of the {name} {there['name']}, and "
            f"{home.root} is of the {name} {here['name']}{_loaded_anew(there, here)}. Use another "
            "DMP_LAKEHOUSE_ROOT, or `dmp run --replace`, which clears what is there."
        )


def _loaded_anew(there: Any, here: Any) -> str:
    return " as it was loaded at another time" if there["name"] == here["name"] else ""


def _root(home: Home) -> str:
    return Tables.of(home).root


def _is_outside(home: Home) -> bool:
    return home.settings().lakehouse_root is not None


def _read(tables: Tables) -> dict[str, Any]:
    content, place = beside.read(tables, FILE), beside.path(tables, FILE)
    try:
        found = json.loads(content) if content is not None else {}
    except ValueError as error:
        raise HomeError(f"{place} cannot be read ({error}); remove it") from error
    if not isinstance(found, dict):
        raise HomeError(f"{place} is not what a lakehouse remembers; remove it")
    return found


def _write(tables: Tables, values: dict[str, Any]) -> None:
    if values:
        beside.write(tables, FILE, (json.dumps(values, indent=2) + "\n").encode())
    else:
        beside.remove(tables, FILE)
