"""How received columns write their amounts and times, by setting, by type, or by their values.

Imports no engine but DuckDB: reports read received text again by the very formats of the cleaning.
"""

from collections.abc import Mapping

from dmp_assets.platform.cleaning import written_columns
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.values import readers
from dmp_assets.platform.values.readers import SETTINGS, SIDES, TYPED, USUAL, Format, Kind

_TEXT = ("text", "varchar", "char", "citext", "clob", "string")
"""How types begin whose values may be written in any way."""


def of_columns(
    tables: Tables, given: Mapping[str, str], table: str, columns: Mapping[str, Kind]
) -> dict[str, Format]:
    """The format of these columns of raw/<table>. `given`: DMP_COLUMN_FORMATS.

    Beside a spreadsheet's number of a day stands its part of a day.
    """
    received, declared = tables.columns(f"raw/{table}"), _declared(tables, table)
    forms = {name: _set(given, table, name, kind) for name, kind in columns.items()}
    for name, kind in columns.items():
        if forms[name] is None and not _is_text(declared, name):
            forms[name] = TYPED[kind]
    days = written_columns.known().days
    open_ = [name for name in columns if name in received and forms[name] is None]
    if open_:
        counts = ", ".join(
            "[" + readers.evidence('"' + name + '"', columns[name]) + f"] AS c{n}"
            for n, name in enumerate(open_)
        )
        serial = "".join(
            ", " + readers.serial_days(f'"{days[name]}"') + f" AS s{n}"
            for n, name in enumerate(open_)
            if days.get(name) in received
        )
        row = tables.sql(f"SELECT {counts}{serial} FROM raw.{table}").to_pylist()[0]
        for n, name in enumerate(open_):
            one, other, either, further = row[f"c{n}"]
            further = 0 if row.get(f"s{n}") else further
            forms[name] = readers.decide(columns[name], one, other, either, further)
    return {name: form or USUAL[columns[name]] for name, form in forms.items()}


def _declared(tables: Tables, table: str) -> Mapping[str, object]:
    """The types that the source has for its columns, where it has any."""
    return (tables.stamp(f"raw/{table}").get("probe") or {}).get("columns") or {}


def _is_text(declared: Mapping[str, object], name: str) -> bool:
    return str(declared.get(name) or "text").lower().startswith(_TEXT)


def written(tables: Tables, table: str, columns: Mapping[str, Kind]) -> list[str]:
    """The columns that are there and whose values may be written in any way."""
    there, declared = tables.columns(f"raw/{table}"), _declared(tables, table)
    return [name for name in columns if name in there and _is_text(declared, name)]


def _set(given: Mapping[str, str], table: str, name: str, kind: Kind) -> Format | None:
    said = given.get(f"{table}.{name}", given.get(name))
    side = SETTINGS.get(said or "")
    return Format(side) if side in SIDES[kind] else None
