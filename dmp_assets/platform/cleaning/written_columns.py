"""The received columns of all sources whose amounts and times may be written in several ways."""

from collections.abc import Iterator
from functools import cache

from dmp_assets import domains
from dmp_assets.platform.cleaning.written import Written
from dmp_assets.platform.text.spelling import meant
from dmp_assets.platform.values.readers import SETTINGS, SIDES


@cache
def known() -> Written:
    """Those of every source that a domain reads."""
    every = [
        one for room in domains.rooms("settings").values() for one in getattr(room, "WRITTEN", ())
    ]
    return Written(
        {table: columns for one in every for table, columns in one.columns.items()},
        {clock: day for one in every for clock, day in one.days.items()},
        {name: table for one in every for name, table in one.at_source.items()},
    )


def named(column: str) -> str:
    """A column as `<table below raw/>.<column>`, or bare, where a person named it by its source.

    Raises ValueError for one that is not read, or is not there, with what was likely meant.
    """
    table, dot, name = column.rpartition(".")
    found = f"{known().at_source.get(table, table)}{dot}{name}"
    names = set(_names())
    if found in names:
        return found
    raise ValueError(
        f"{column!r} is no column that is written in several ways{meant(found, names)}; there are "
        f"{', '.join(sorted(name for name in names if '.' in name))}"
    )


def fits(column: str, said: str) -> bool:
    """Whether a column, as `named` has it, can be written so."""
    table, _, name = column.rpartition(".")
    columns = known().columns
    kinds = {columns[table][name]} if table else {of[name] for of in columns.values() if name in of}
    return SETTINGS[said] in {side for kind in kinds for side in SIDES[kind]}


def _names() -> Iterator[str]:
    for table, columns in known().columns.items():
        for name in columns:
            yield name
            yield f"{table}.{name}"
