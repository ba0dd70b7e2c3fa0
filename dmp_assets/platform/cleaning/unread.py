"""Columns of which most of what is there cannot be read: said, since nothing else would show it.

A value that cannot be read is unknown, and a column of unknown values looks like one that the shop
does not fill.
"""

from collections.abc import Mapping

from dmp_assets.platform.cleaning.reading import Readings
from dmp_assets.platform.lake.table_asset import Check, TableRun
from dmp_assets.platform.values.words import Kind, Words

LOOKED_AT = 1_000
"""Filled rows of each column that are looked at: the same ones each time."""
LEAST = 10
"""Of fewer values nothing is said."""

CHECK = Check(
    "columns_read",
    None,
    "Most values that are there can be read, in every column that is read as a time, a number, a "
    "flag, an address or one of a few words. What cannot be read counts as unknown.",
    noted="unread",
)


def note(
    run: TableRun, table: str, kinds: Mapping[str, Kind], readings: Readings, no_value: Words
) -> None:
    """Note with the write which columns of raw/<table> can mostly not be read, and how many values.

    `readings`: of received columns. Words that mean nothing for a column's kind are no values.
    """
    there = run.lakehouse.tables.columns(f"raw/{table}")
    looked = {n: r for n, r in readings.items() if set(r.of) <= set(there)}
    if not looked:
        return
    samples = run.sql(
        "SELECT "
        + ", ".join(
            f"(SELECT list([{_texts(reading.of)}]) FROM (SELECT * FROM raw.{table} "
            f"WHERE {_filled(reading.of)} ORDER BY hash(_row_id) LIMIT {LOOKED_AT})) AS c{n}"
            for n, reading in enumerate(looked.values())
        )
    ).to_pylist()[0]
    found = []
    for n, reading in enumerate(looked.values()):
        as_kinds = [_kind(kinds, name) for name in reading.of]
        given = [tuple(map(no_value.given, as_kinds, row)) for row in samples[f"c{n}"] or ()]
        values = [row for row in given if None not in row]
        unread = sum(reading.read(*row) is None for row in values)
        if len(values) >= LEAST and unread * 2 > len(values):
            columns = " and ".join(f"{table}.{name}" for name in reading.of)
            found.append(f"{unread} of {len(values)} values of {columns} cannot be read")
    if found:
        run.metadata["unread"] = "; ".join(found)


def _kind(kinds: Mapping[str, Kind], name: str) -> Kind:
    kind = kinds.get(name, "other")
    return "other" if kind == "as received" else kind


def _texts(columns: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"::VARCHAR' for name in columns)


def _filled(columns: tuple[str, ...]) -> str:
    return " AND ".join(f"trim(\"{name}\"::VARCHAR) <> ''" for name in columns)
