"""The shape of a web database: what is wrong with its tables, what is made where one is missing."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from dmp_assets.platform.cleaning import received
from dmp_assets.platform.text.spelling import meant
from dmp_assets.sources.names import LINEAGE, targets
from dmp_assets.sources.postgres import listed
from dmp_assets.sources.web.tables import KINDS, OPTIONAL, ROW_NUMBER

Kind = Literal[
    "text", "integer", "number", "flag", "date", "time", "zoned time", "timestamp", "bytes", "other"
]

_TEXT: tuple[Kind, ...] = ("text", "other")
_ALLOWED: Mapping[received.Kind, tuple[Kind, ...]] = {
    **dict.fromkeys(("id", "visitor", "device", "code"), ("text", "integer", "number", "other")),
    "day": ("text", "date"),
    "clock": ("text", "time"),
    "time": ("text", "timestamp"),
    **dict.fromkeys(("amount", "count"), ("text", "integer", "number")),
    "flag": ("text", "integer", "number", "flag"),
}
"""Kind of a column → what its declared type may hold; of all others `_TEXT`."""
_KINDS: tuple[tuple[str, Kind], ...] = (
    (r"timestamp|datetime", "timestamp"),
    (r"time with time zone|timetz", "zoned time"),
    (r"date", "date"),
    (r"time", "time"),
    (r"blob|bytea|binary", "bytes"),
    (r"char|text|clob|string|uuid|^$", "text"),
    (r"bool", "flag"),
    (r"\b\w*int(eger)?\d?\b|serial", "integer"),
    (r"real|floa|doub|numeric|decimal|^number|money", "number"),
)


def shape_problems(
    present: Mapping[str, Mapping[str, str]],
    tables: Mapping[str, Mapping[str, received.Kind]] = KINDS,
    there: Sequence[str] = (),
) -> list[str]:
    """What keeps these tables (table → column → declared type) from being used; one line each.

    `there`: names of all tables and views of the database, told when one is missing.
    """
    problems = []
    for table, wanted in tables.items():
        if table not in present:
            problems.append(
                f"there is no table {table} (there are: {listed(there)}){meant(table, there)}"
            )
            continue
        columns = dict(
            zip(
                lakehouse_names(present[table], wanted).values(),
                present[table].values(),
                strict=True,
            )
        )
        for column, kind in wanted.items():
            allowed = _ALLOWED.get(kind, _TEXT)
            if column not in columns:
                if (table, column) not in OPTIONAL:
                    problems.append(
                        f"the table {table} lacks the column {column} "
                        f"(it has: {', '.join(columns)})"
                    )
            elif kind_of(columns[column]) not in allowed:
                problems.append(
                    f"the column {table}.{column} is declared {columns[column]}; expected "
                    f"{' or '.join(name for name in allowed if name != 'other')}"
                )
    return problems


def lakehouse_names(columns: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """Column of the web database → its name in the lakehouse (see `names`)."""
    return targets(columns, known, (*LINEAGE, ROW_NUMBER))


def kind_of(declared: str) -> Kind:
    """What a type declared in SQLite or PostgreSQL holds; SQLite's missing type takes text."""
    return next(
        (kind for pattern, kind in _KINDS if re.search(pattern, declared, re.IGNORECASE)), "other"
    )


def creation(table: str, wanted: Mapping[str, received.Kind], *, typed: bool) -> str:
    """The statement that makes a table; not `typed`, all its columns take any text."""
    types = {"amount": "double precision", "flag": "integer"} if typed else {}
    columns = ", ".join(f"{name} {types.get(kind, 'text')}" for name, kind in wanted.items())
    return f"CREATE TABLE {table} ({columns})"
