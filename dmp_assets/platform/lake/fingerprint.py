"""What code decides a result, as a hash: a module, and every module of ours that it imports.

A module counts by its text without the places that it imports from, so code that moves to another
place is the same code. What makes no difference to content is left out: see `MACHINERY`, and what a
declared column says beside what decides its values. Modules are read and never executed, so naming
scikit-learn's users costs nothing.
"""

import hashlib
import json
import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from dmp_assets.domains import DOMAINS

ROOT = "dmp_assets"
_HERE = Path(__file__).parent
_PACKAGE = _HERE.parents[1]
_OF_A_DOMAIN = ("commands", "domain", "lake", "report", "sandbox", "service", "settings")
MACHINERY = tuple(
    f"{ROOT}.{name}"
    for name in (
        "domains", "home", "settings", "platform.api", "platform.automation", "platform.base",
        "platform.config", "platform.connect", "platform.faces", "platform.gate", "platform.lake",
        "platform.marts", "platform.postgres", "platform.published", "platform.reporting",
        "platform.run", "platform.store", "platform.text", "platform.cleaning.received_columns",
        *(f"{domain}.{room}" for domain in DOMAINS for room in _OF_A_DOMAIN),
        *(f"sources.{of.parent.name}.settings" for of in _PACKAGE.glob("sources/*/settings.py")),
    )
)  # fmt: skip
"""Modules and packages whose code reads, writes, names and refuses, and decides no value."""

_IMPORT = re.compile(
    rf"^[ \t]*(?:from[ \t]+(?P<place>{ROOT}[\w.]*)[ \t]+import[ \t]+"
    rf"(?P<names>\([^)]*\)|[^\n#]*)|import[ \t]+(?P<whole>{ROOT}[\w.]*)[^\n]*)[^\n]*\n",
    re.MULTILINE,
)
_DECLARED = re.compile(  # brackets in texts stand in pairs; where they do not, all of it counts
    r"(?<![\w.])(?P<class>Column|Received)\(\s*(?P<kind>\"[^\"\n]+\")\s*,"
    r"(?P<said>(?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)"
)
_FOR_TYPES = re.compile(r"^if TYPE_CHECKING:\n(?:[ \t]+[^\n]*\n|\n)+", re.MULTILINE)


def code(*modules: str, text: str = "", machinery: Sequence[str] = MACHINERY) -> str:
    """A hash of these modules, of a text with code, and of all that they import.

    `machinery`: modules and packages that count only where they are named as `modules`.

    Raises ImportError for a module that is not there.
    """
    return _hash([_parsed(text)[0], *sorted(_read(name)[0] for name in closure(
        *modules, text=text, machinery=machinery
    ))])  # fmt: skip


def closure(*modules: str, text: str = "", machinery: Sequence[str] = MACHINERY) -> set[str]:
    """The modules of which `code` is the hash."""
    seen: set[str] = set()
    waiting = [*modules, *_outside(machinery, _parsed(text)[1])]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += _outside(machinery, _read(name)[1])
    return seen


def same_as(key: str, now: str) -> Sequence[str]:
    """Hashes by which earlier versions knew the code of `key` that is `now` this one."""
    found: dict[str, list[str]] = _known().get(key, {})
    return found.get(now, ())


@cache
def _known() -> dict[str, dict[str, list[str]]]:
    known: dict[str, dict[str, list[str]]] = json.loads((_HERE / "same_code.json").read_text())
    return known


def _outside(machinery: Sequence[str], names: Sequence[str]) -> list[str]:
    return [
        name for name in names
        if not any(name == known or name.startswith(f"{known}.") for known in machinery)
    ]  # fmt: skip


def _read(name: str) -> tuple[str, tuple[str, ...]]:
    """(hash of a module's text, the modules of ours that it imports)."""
    text = _source(name)
    if text is None:
        raise ImportError(f"there is no module {name}")
    return _parsed(text)


@cache
def _parsed(text: str) -> tuple[str, tuple[str, ...]]:
    text = _DECLARED.sub(_decisive, _FOR_TYPES.sub("", text))
    imported: list[str] = []
    for found in _IMPORT.finditer(text):
        if found["whole"]:
            imported.append(found["whole"])
            continue
        for given in _names(found["names"]):
            below = f"{found['place']}.{given.partition(' ')[0]}"
            imported.append(below if _place(below) is not None else found["place"])
    bare = _IMPORT.sub(lambda found: ", ".join(_names(found["names"] or "")) + "\n", text)
    return _hash(bare), tuple(dict.fromkeys(imported))


def _decisive(found: re.Match[str]) -> str:
    """What a declared column says that decides values: its type or kind, and where its days are."""
    days = re.search(r"\bdays=\"[^\"\n]+\"", found["said"])
    parts = (found["kind"], *((days[0],) if days else ()))
    return f"{found['class']}({', '.join(parts)})"


def _names(listed: str) -> list[str]:
    """What an import names, `a as b` as it stands, in order of the alphabet."""
    plain = re.sub(r"#[^\n]*", "", listed).strip("() \t\n")
    return sorted(name.strip() for name in plain.split(",") if name.strip())


def _source(name: str) -> str | None:
    place = _place(name)
    return None if place is None else _text(place, place.stat().st_mtime_ns)


def _place(name: str) -> Path | None:
    """The file of a module: where it was loaded from, else where it would be."""
    if (known := getattr(sys.modules.get(name), "__file__", None)) is not None:
        return Path(known)
    parts = name.split(".")
    if parts[0] != ROOT:
        return None
    place = _PACKAGE.joinpath(*parts[1:])
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.is_file()), None)


@cache
def _text(file: Path, changed: int) -> str:
    return file.read_text()


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:20]
