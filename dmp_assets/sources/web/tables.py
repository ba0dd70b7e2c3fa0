"""The tables of the web analytics database: what they hold, and what is wrong with them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from dmp_assets.platform.text.spelling import meant
from dmp_assets.sources.names import LINEAGE, targets
from dmp_assets.sources.postgres import listed

Kind = Literal[
    "text", "integer", "number", "flag", "date", "time", "zoned time", "timestamp", "bytes", "other"
]
Role = Literal["key", "name", "date", "time", "number", "flag"]

ROW_NUMBER = "_row_number"
LOADS = "dmp_web_load"

# Times are UTC, money is EUR.
TABLES: Mapping[str, Mapping[str, Role]] = {
    "session_sources": {
        "session_id": "key",
        "user_id": "key",
        "event_date": "date",
        "event_time": "time",
        "channel_name": "name",
        "holder_engagement": "flag",
        "closer_engagement": "flag",
        "impression_interaction": "flag",
        "campaign_name": "name",
    },
    "conversions": {
        "conv_id": "key",
        "user_id": "key",
        "conv_date": "date",
        "conv_time": "time",
        "revenue": "number",
    },
    "session_costs": {"session_id": "key", "cost": "number"},
}
OPTIONAL = {("session_sources", "campaign_name")}

RESULTS: Mapping[str, Mapping[str, Role]] = {
    "attribution_customer_journey": {"conv_id": "key", "session_id": "key", "ihc": "number"},
    "channel_reporting": {
        "channel_name": "name",
        "date": "date",
        "cost": "number",
        "ihc": "number",
        "ihc_revenue": "number",
    },
}

_ALLOWED: Mapping[Role, tuple[Kind, ...]] = {
    "key": ("text", "integer", "number", "other"),
    "name": ("text", "other"),
    "date": ("text", "date"),
    "time": ("text", "time"),
    "number": ("text", "integer", "number"),
    "flag": ("text", "integer", "number", "flag"),
}
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
    tables: Mapping[str, Mapping[str, Role]] = TABLES,
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
        for column, role in wanted.items():
            if column not in columns:
                if (table, column) not in OPTIONAL:
                    problems.append(
                        f"the table {table} lacks the column {column} "
                        f"(it has: {', '.join(columns)})"
                    )
            elif kind_of(columns[column]) not in _ALLOWED[role]:
                problems.append(
                    f"the column {table}.{column} is declared {columns[column]}; expected "
                    f"{' or '.join(kind for kind in _ALLOWED[role] if kind != 'other')}"
                )
    return problems


def lakehouse_names(columns: Iterable[str], known: Mapping[str, Role]) -> dict[str, str]:
    """Column of the web database → its name in the lakehouse (see `names`)."""
    return targets(columns, known, (*LINEAGE, ROW_NUMBER))


def kind_of(declared: str) -> Kind:
    """What a type declared in SQLite or PostgreSQL holds; SQLite's missing type takes text."""
    return next(
        (kind for pattern, kind in _KINDS if re.search(pattern, declared, re.IGNORECASE)), "other"
    )


def creation(table: str, wanted: Mapping[str, Role], *, typed: bool) -> str:
    """The statement that makes a table; not `typed`, all its columns take any text."""
    types = {"number": "double precision", "flag": "integer"} if typed else {}
    columns = ", ".join(f"{name} {types.get(role, 'text')}" for name, role in wanted.items())
    return f"CREATE TABLE {table} ({columns})"
