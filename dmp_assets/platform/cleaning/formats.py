"""How each received column writes its amounts and times, found before the table is cleaned."""

import json
from collections.abc import Mapping, Sequence

from dmp_assets.platform.cleaning import evidence
from dmp_assets.platform.lake.table_asset import Check, TableRun
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.values import money_signs, readers
from dmp_assets.platform.values.readers import Format, Kind

CHECK = Check(
    "columns_unambiguous",
    None,
    "Every column tells by its values, or DMP_COLUMN_FORMATS says, whether 1.234 is a thousand, "
    "03/04 is in March or April and 0.30 is a time or a part of a day; values that could be both "
    "are not read. A column's amounts are in one currency.",
)


def found(run: TableRun, table: str, columns: Mapping[str, Kind]) -> dict[str, Format]:
    """The format of these columns of raw/<table>: as set, by type, else by what the values tell.

    Notes a `problem` with the write for columns that could be read in two ways, and for amounts in
    several currencies.
    """
    tables = run.lakehouse.tables
    known = evidence.of_columns(tables, run.settings.column_formats, table, columns)
    problems = [
        _question(table, name, columns[name], form)
        for name, form in known.items()
        if form.is_ambiguous
    ]
    texts = evidence.written(tables, table, columns)
    problems += _mixed(tables, table, [n for n in texts if columns[n] == "amount"])
    if problems:
        run.metadata["problem"] = "; ".join(problems)
    return known


def _mixed(tables: Tables, table: str, names: Sequence[str]) -> list[str]:
    """What is wrong with columns whose amounts are in several currencies."""
    if not names:
        return []
    found = ", ".join(readers.currencies(f'"{name}"') + f" AS c{n}" for n, name in enumerate(names))
    row = tables.sql(f"SELECT {found} FROM raw.{table}").to_pylist()[0]
    return [
        f"values of {table}.{name} are in several currencies ({', '.join(several)}): they are "
        "taken as they stand, nothing is converted"
        for n, name in enumerate(names)
        if (several := money_signs.different(row[f"c{n}"] or ()))
    ]


_CHOICES: Mapping[Kind, tuple[str, tuple[str, ...]]] = {
    "amount": ("1.234", ("decimal-point", "decimal-comma")),
    "time": ("03/04/2024", ("day-first", "month-first", "year-first (03/04/24)")),
    "clock": ("0.30", ("clock-time (00:30)", "part-of-day (07:12)")),
}


def _question(table: str, name: str, kind: Kind, form: Format) -> str:
    example, choices = _CHOICES[kind]
    setting = json.dumps({f"{table}.{name}": choices[0].split()[0]})
    return (
        f"{form.either} values of {table}.{name} can be read in two ways, as {example} can, and no "
        f"other value tells which: set DMP_COLUMN_FORMATS='{setting}' or {' or '.join(choices[1:])}"
    )
