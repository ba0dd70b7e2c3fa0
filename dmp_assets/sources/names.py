"""Names of columns: any that is legal at a source becomes one that the lakehouse can hold.

What is not a letter, digit or underscore is written as `_xHHHH_` (its code point), as SQL/XML does:
`Total Spent` is `Total_x0020_Spent`. So is the first character of a name that the lakehouse
needs for itself, and the capitals of one that differs from another in its capitals only. The way
back is `original`.
"""

import re
from collections.abc import Collection, Iterable

LINEAGE = ("_row_id", "_received_at", "_source", "_loaded_at")
"""What the lakehouse adds to every received table."""
_ENCODED = re.compile(r"_x([0-9A-F]{4,6})_")


def targets(
    columns: Iterable[str], known: Collection[str], reserved: Collection[str] = LINEAGE
) -> dict[str, str]:
    """Name at the source → name in the lakehouse, all different whatever their case.

    A known column keeps its name; where it is missing, the only column that differs from it in
    case or surrounding blanks stands for it.
    """
    given = list(columns)
    taken = {name: name for name in given if name in known}
    folded: dict[str, list[str]] = {}
    for name in given:
        folded.setdefault(_fold(name), []).append(name)
    for name in known:
        alike = folded.get(_fold(name), [])
        if name not in taken and len(alike) == 1:
            taken[alike[0]] = name
    used = {target.casefold() for target in taken.values()}
    held = {name.casefold() for name in reserved}
    for name in given:
        if name in taken:
            continue
        target = _encoded(name, first=name.casefold() in held)
        if target.casefold() in used:
            target = _encoded(name, first=name.casefold() in held, capitals=True)
        used.add(target.casefold())
        taken[name] = target
    return {name: taken[name] for name in given}


def original(target: str) -> str:
    """The name at the source that an encoded name stands for."""
    return _ENCODED.sub(lambda found: chr(int(found[1], 16)), target)


def renamed(names: dict[str, str]) -> list[str]:
    """`name → name in the lakehouse` of those that differ, for people."""
    return [f"{name!r} → {target}" for name, target in names.items() if name != target]


def _fold(name: str) -> str:
    return name.strip().casefold()


def _encoded(name: str, *, first: bool = False, capitals: bool = False) -> str:
    def keep(place: int, letter: str) -> bool:
        if (place == 0 and first) or name.startswith("_x", place):
            return False
        if capitals and letter != letter.casefold():
            return False
        return letter == "_" or letter.isalnum()

    return "".join(
        letter if keep(place, letter) else f"_x{ord(letter):04X}_"
        for place, letter in enumerate(name)
    )
