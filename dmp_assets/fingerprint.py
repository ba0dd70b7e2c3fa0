"""What code decides a result, as a hash: a module, and every module of ours that it imports.

A module counts by its text without the places that it imports from, so code that moves to another
place is the same code. What makes no difference to content is left out: see `MACHINERY`. Modules
are read and never executed, so naming scikit-learn's users costs nothing.
"""

import hashlib
import inspect
import json
import re
import sys
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

ROOT = "dmp_assets"
MACHINERY = tuple(
    f"{ROOT}.{name}"
    for name in (
        "addresses", "answers", "aside", "check_results", "connection_urls", "date_range",
        "errors", "fingerprint", "foreign_text", "home", "leaving", "marts", "published",
        "readings", "reporting", "resources", "run", "secret_files", "setting_sources",
        "setting_values", "settings", "spelling", "store", "table_asset", "table_metadata",
        "tables", "whole_file", "worked_out", "writes",
    )
)  # fmt: skip
"""Modules and packages whose code reads, writes, names and refuses, and decides no value."""

_IMPORT = re.compile(
    rf"^[ \t]*(?:from[ \t]+(?P<place>{ROOT}[\w.]*)[ \t]+import[ \t]+"
    rf"(?P<names>\([^)]*\)|[^\n#]*)|import[ \t]+(?P<whole>{ROOT}[\w.]*)[^\n]*)[^\n]*\n",
    re.MULTILINE,
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
    known: dict[str, dict[str, list[str]]] = json.loads(
        files(ROOT).joinpath("same_code.json").read_text()
    )
    return known


def _outside(machinery: Sequence[str], names: Sequence[str]) -> list[str]:
    return [
        name for name in names
        if not any(name == known or name.startswith(f"{known}.") for known in machinery)
    ]  # fmt: skip


@cache
def _read(name: str) -> tuple[str, tuple[str, ...]]:
    """(hash of a module's text, the modules of ours that it imports)."""
    text = _source(name)
    if text is None:
        raise ImportError(f"there is no module {name}")
    return _parsed(text)


def _parsed(text: str) -> tuple[str, tuple[str, ...]]:
    text = _FOR_TYPES.sub("", text)
    imported: list[str] = []
    for found in _IMPORT.finditer(text):
        if found["whole"]:
            imported.append(found["whole"])
            continue
        for given in _names(found["names"]):
            below = f"{found['place']}.{given.partition(' ')[0]}"
            imported.append(below if _source(below) is not None else found["place"])
    bare = _IMPORT.sub(lambda found: ", ".join(_names(found["names"] or "")) + "\n", text)
    return _hash(bare), tuple(dict.fromkeys(imported))


def _names(listed: str) -> list[str]:
    """What an import names, `a as b` as it stands, in order of the alphabet."""
    plain = re.sub(r"#[^\n]*", "", listed).strip("() \t\n")
    return sorted(name.strip() for name in plain.split(",") if name.strip())


@cache
def _source(name: str) -> str | None:
    if not name.startswith(f"{ROOT}."):  # who extends the lakehouse has tables elsewhere
        return inspect.getsource(sys.modules[name]) if name in sys.modules else None
    place = Path(str(files(ROOT))).joinpath(*name.split(".")[1:])
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if file.is_file():
            return file.read_text()
    return None


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:20]
