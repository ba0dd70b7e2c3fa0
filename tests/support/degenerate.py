"""Homes in which there is nothing to divide by, typed as the tables are.

Each is made from the tables of `lakehouse.tables()` by changing values, so a column that a report
reads is there with its type, and where rows have keys they stay different: no run writes a table
with one key twice.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dmp_assets.home import Home
from dmp_assets.platform.faces.lake import lakes
from dmp_assets.platform.lake.table_asset import KEY
from tests.support import lakehouse

Tables = dict[str, pa.Table]
DAY = date(2024, 3, 28)
NAMES = {"model_version", "model", "is_serving", "run_id", "versions", "committed_at"}
"""Columns that say what a row is, rather than how much or when."""


def key_of(table: str) -> list[str]:
    """Columns that identify a row, as the table declares them; none where it does not."""
    return _keys().get(table, [])


@cache
def _keys() -> dict[str, list[str]]:
    assets = [one for lake in lakes().values() for made in lake.assets.values() for one in made]
    return {
        "/".join(spec.key.path): str(spec.metadata[KEY]).split(", ")
        for asset in assets
        for spec in asset.specs
        if KEY in spec.metadata
    }


def _one_per_key(table: pa.Table, key: list[str]) -> pa.Table:
    """The first row of each key."""
    first: dict[str, int] = {}
    for number, row in enumerate(table.select(key).to_pylist()):
        first.setdefault(repr(row), number)
    return table.take(pa.array(first.values(), pa.int64()))


def _each(tables: Tables, change: Callable[[str, pa.ChunkedArray], Any]) -> Tables:
    return {
        key: pa.table(
            {name: change(name, table[name]) for name in table.schema.names}, schema=table.schema
        )
        for key, table in tables.items()
    }


def _nulls(values: pa.ChunkedArray) -> pa.Array:
    return pa.nulls(len(values), values.type)


def _zero(name: str, values: pa.ChunkedArray) -> Any:
    kind = values.type
    if pa.types.is_boolean(kind) or not (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    ):
        return values
    zero = Decimal(0) if pa.types.is_decimal(kind) else 0
    return pa.array([zero] * len(values), kind)


def _zero_sums(tables: Tables) -> Tables:
    """Every figure is 0; what numbers a row goes on doing so."""
    made = _each(tables, _zero)
    for name, table in tables.items():
        for column in key_of(name):
            place = table.schema.get_field_index(column)
            made[name] = made[name].set_column(place, table.field(place), table[column])
    return made


def _same_day(name: str, values: pa.ChunkedArray) -> Any:
    kind = values.type
    if pa.types.is_date(kind):
        return pc.if_else(pc.is_null(values), values, pa.scalar(DAY, kind))
    if pa.types.is_timestamp(kind):
        noon = pa.scalar(datetime.combine(DAY, time(12), UTC), kind)
        return pc.if_else(pc.is_null(values), values, noon)
    return values


def _one_day(tables: Tables) -> Tables:
    """Everything happened on one day; tables by day have one row for it."""
    moved = _each(tables, _same_day)
    return {
        name: _one_per_key(table, key) if (key := key_of(name)) else table
        for name, table in moved.items()
    }


def _without_rows(*keys: str) -> Callable[[Tables], Tables]:
    return lambda tables: tables | {key: tables[key].slice(0, 0) for key in keys}


def _no_touchpoint(tables: Tables) -> Tables:
    """Conversions, and sessions that cost, but no conversion has a touchpoint before it."""
    conversions = tables["modeled/attributed_conversions"]
    count = len(conversions)
    nothing = {"touchpoints": 0, "credit_source": "none"}
    without = pa.table(
        {
            name: pa.array([nothing[name]] * count, conversions[name].type)
            if name in nothing else conversions[name]
            for name in conversions.schema.names
        }
    )  # fmt: skip
    by_day = tables["modeled/channel_reporting"]
    kept = ("channel_name", "date", "model", "cost", "is_open")
    spent = pa.table(
        {
            name: by_day[name] if name in kept
            else _nulls(by_day[name]) if name.startswith("cpo") else _zero(name, by_day[name])
            for name in by_day.schema.names
        }
    )  # fmt: skip
    return _without_rows("modeled/customer_journeys", "modeled/attribution")(tables) | {
        "modeled/attributed_conversions": without,
        "modeled/channel_reporting": spent,
    }


def _no_conversion(tables: Tables) -> Tables:
    made = _no_touchpoint(tables)
    names = ("cleaned/web_conversions", "modeled/attributed_conversions")
    return _without_rows(*names, "modeled/customer_paths")(made)


def _only(*layers: str) -> Callable[[Tables], Tables]:
    return lambda tables: {k: t for k, t in tables.items() if k.partition("/")[0] in layers}


STRANGE = (
    "<b>bold</b>", "a|b|c", "**stars** _and_ `ticks`", "عربي مع <i>", "ภาษาไทย", "🛒🎉", "[x](https://x.example)",
    "%{x} ${y} {{< video >}}", "=1+1", "'quote' \"double\"", "very long " * 12,
    "very long " * 11 + "other", "123", "one name", "one name",
)  # fmt: skip
"""Names that strangers give; the last two are of two channels."""


def _strange_names(tables: Tables) -> Tables:
    """Channels and codes are called as nobody expects; there are 200 more channels."""
    by_day = tables["modeled/channel_reporting"]
    known = sorted(set(by_day["channel_name"].to_pylist()))
    names = dict(zip(known, STRANGE[-len(known) :], strict=False))

    def renamed(name: str, values: pa.ChunkedArray) -> Any:
        if name == "channel_name":
            return pa.array([names.get(v, v) for v in values.to_pylist()], values.type)
        if name == "promo_code":
            at = {code: i for i, code in enumerate(sorted(set(values.to_pylist()), key=str))}
            told = [f"{STRANGE[at[v] % len(STRANGE)]} {at[v]}" for v in values.to_pylist()]
            return pa.array(told, values.type)
        return values

    made = _each(tables, renamed)
    few = by_day.slice(0, 200)
    place = few.schema.get_field_index("channel_name")
    numbered = pa.array([f"{STRANGE[i % 12]} #{i}" for i in range(len(few))], pa.string())
    more = few.set_column(place, few.schema.field(place), numbered.cast(few.schema.types[place]))
    made["modeled/channel_reporting"] = pa.concat_tables([more, made["modeled/channel_reporting"]])
    return made


def _huge(name: str, values: pa.ChunkedArray) -> Any:
    kind = values.type
    money = ("cost", "revenue", "conversions", "discount_value", "min_purchase_amount")
    if name not in money or not (pa.types.is_decimal(kind) or pa.types.is_floating(kind)):
        return values
    factor = Decimal(10**7) if pa.types.is_decimal(kind) else 1e7
    return pa.array([None if v is None else v * factor for v in values.to_pylist()], kind)


HOMES: dict[str, Callable[[Tables], Tables]] = {
    "no tables": lambda tables: {},
    "no rows": lambda tables: {key: table.slice(0, 0) for key, table in tables.items()},
    "one row": lambda tables: {key: table.slice(0, 1) for key, table in tables.items()},
    "all null": lambda tables: _each(tables, lambda _, values: _nulls(values)),
    "only names": lambda tables: _each(
        tables, lambda name, values: values if name in NAMES else _nulls(values)
    ),
    "zero sums": _zero_sums,
    "one day": _one_day,
    "no touchpoint": _no_touchpoint,
    "no conversion": _no_conversion,
    "no sessions": _without_rows("modeled/channel_reporting", "cleaned/web_sessions"),
    "raw alone": _only("raw"),
    "cleaned alone": _only("raw", "cleaned", "quarantine"),
    "no scores": lambda tables: _only("raw", "cleaned", "quarantine", "modeled")(tables),
    "scores without rows": _without_rows("ml/abuse_scores", "modeled/abuse_labels"),
    "strange names": _strange_names,
    "huge sums": lambda tables: _each(tables, _huge),
    "model without figures": _without_rows(
        "ml/abuse_evaluation", "ml/model_card", "ml/abuse_drift", "ml/cost_to_incriminate"
    ),
}


def build(root: Path, name: str, tables: Tables) -> Home:
    """The home of this name, from the tables of a whole one."""
    home = Home(root).prepare("sandbox")
    for key, table in HOMES[name](tables).items():
        kept = table.slice(0, 600)
        lakehouse.write(home, key, kept, stamp=_content(kept))
    return home


def _content(table: pa.Table) -> str:
    """The same for the same rows: what is made of them need not be made twice."""
    held = pa.BufferOutputStream()
    with pa.ipc.new_stream(held, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    return hashlib.sha256(held.getvalue()).hexdigest()
