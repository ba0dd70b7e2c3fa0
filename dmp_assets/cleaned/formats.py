"""How each received column writes its amounts and times, found before the table is cleaned."""

import json
from collections.abc import Mapping

from dmp_assets.table_asset import Check, TableRun
from dmp_assets.values import readers
from dmp_assets.values.readers import SETTINGS, TYPED, USUAL, Format, Kind

_TEXT = ("text", "varchar", "char", "citext", "clob", "string")
"""How types begin whose values may be written in any way."""

CHECK = Check(
    "columns_unambiguous",
    None,
    "Every column tells by its values, or DMP_COLUMN_FORMATS says, whether 1.234 is a thousand and "
    "03/04 is in March or April; values that could be both are not read.",
)


def found(run: TableRun, table: str, columns: Mapping[str, Kind]) -> dict[str, Format]:
    """The format of these columns of raw/<table>: as set, by type, else by what the values tell.

    Notes a `problem` with the write for columns that could be read in two ways.
    """
    key = f"raw/{table}"
    there = run.lakehouse.tables.columns(key)
    declared = (run.lakehouse.tables.stamp(key).get("probe") or {}).get("columns") or {}
    forms = {name: _set(run, table, name, kind) for name, kind in columns.items()}
    for name, kind in columns.items():
        kept_as = str(declared.get(name) or "text").lower()
        if forms[name] is None and not kept_as.startswith(_TEXT):
            forms[name] = TYPED[kind]
    open_ = [name for name, form in forms.items() if form is None and name in there]
    if open_:
        counts = ", ".join(
            "[" + readers.evidence('"' + name + '"', columns[name]) + f"] AS c{n}"
            for n, name in enumerate(open_)
        )
        row = run.sql(f"SELECT {counts} FROM raw.{table}").to_pylist()[0]
        forms |= {
            name: readers.decide(columns[name], *row[f"c{n}"]) for n, name in enumerate(open_)
        }
    known = {name: form or USUAL[columns[name]] for name, form in forms.items()}
    asked = [name for name, form in known.items() if form.is_ambiguous]
    if asked:
        run.metadata["problem"] = "; ".join(
            _question(table, name, columns[name], known[name]) for name in asked
        )
    return known


def _set(run: TableRun, table: str, name: str, kind: Kind) -> Format | None:
    given = run.settings.column_formats
    said = given.get(f"{table}.{name}", given.get(name))
    side = SETTINGS.get(said or "")
    fits = side in (("point", "comma") if kind == "amount" else ("day", "month"))
    return Format(side) if fits else None


def _question(table: str, name: str, kind: Kind, form: Format) -> str:
    example, choices = (
        ("1.234", ("decimal-point", "decimal-comma"))
        if kind == "amount"
        else ("03/04/2024", ("day-first", "month-first"))
    )
    setting = json.dumps({f"{table}.{name}": choices[0]})
    return (
        f"{form.either} values of {table}.{name} can be read in two ways, as {example} can, and no "
        f"other value tells which: set DMP_COLUMN_FORMATS='{setting}' or {choices[1]}"
    )
