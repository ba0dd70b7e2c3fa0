"""Values as an API writes them: numbers with a point, times of ISO 8601, true and false.

What people's files hold is read by `reading`, which finds out how it was written. A machine writes
in one way, so DuckDB's own casts do; a value that they refuse puts its row into quarantine, and so
does one that they would change: a part of a thing that is counted, or a time without end. Amounts
are rounded to four places.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow.compute as pc

from dmp_assets.platform.cleaning.received import Kind, ReceivedColumns
from dmp_assets.platform.cleaning.received_columns import columns_of
from dmp_assets.platform.lake.columns import Column, Columns, arrow_schema
from dmp_assets.platform.lake.table_asset import TableRun

AMOUNT = "decimal(18,4)"
"""Money: four places, as some services tell fees."""
_COUNT = (
    "CASE WHEN TRY_CAST({0} AS BIGINT) = TRY_CAST({0} AS DECIMAL(38, 9)) "
    "THEN TRY_CAST({0} AS BIGINT) END"
)
_FINITE = "CASE WHEN isfinite(TRY_CAST({0} AS {1})) THEN TRY_CAST({0} AS {1}) END"
_READ: Mapping[Kind, tuple[str, str]] = {
    "amount": (AMOUNT, "TRY_CAST({} AS DECIMAL(18, 4))"),
    "count": ("long", _COUNT),
    "time": ("timestamp", _FINITE.format("{0}", "TIMESTAMPTZ")),
    "day": ("date", _FINITE.format("{0}", "DATE")),
    "flag": ("boolean", "TRY_CAST({} AS BOOLEAN)"),
}
QUARANTINED = {
    "failed_rules": Column("array<string>", "Which columns could not be read, as `<name>_unread`."),
    "quarantined_at": Column("timestamp", "When the row was put aside (UTC)."),
}


def read_columns(received: ReceivedColumns) -> dict[str, Column]:
    """The columns of a table of what was read."""
    return {
        name: Column(
            _READ[column.kind][0] if column.kind in _READ else "string",
            column.about,
            column.personal,
            column.subject,
        )
        for name, column in received.items()
    }


def quarantine_columns(received: ReceivedColumns, own: Mapping[str, Column]) -> dict[str, Column]:
    """The columns of the table of rows that cannot be read. `own`: what raw adds to them."""
    return {**own, **columns_of(received), **QUARANTINED}


def whole(text: str) -> str:
    """SQL of a whole number from SQL of its text; null for anything else."""
    return _COUNT.format(text)


def write(
    run: TableRun,
    latest: str,
    received: ReceivedColumns,
    own: Iterable[str],
    order: str,
    further: Mapping[str, str] | None = None,
    rules: Mapping[str, str] | None = None,
    reads: Mapping[str, str] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> None:
    """Write the run's table of what can be read and its quarantine of what cannot.

    `latest`: SQL of the rows, whose received columns are text; `own`: columns of it that are taken
    as they are; `further`: name → SQL over the rows as read, columns that follow from them, or take
    the place of one (their text is `received_<name>` there); `rules`: name → SQL that holds for a
    row which cannot be used, besides those of which a column cannot be read; `reads`: name → SQL
    that reads a column which no machine wrote, over `received_<name>` and `own`; `parameters`: of
    the SQL. A value of spaces or none is null, which is no fault.
    """
    text = [f"nullif(trim({name}), '') AS received_{name}" for name in received]
    usual = {
        name: _READ[column.kind][1].format(f"received_{name}")
        if column.kind in _READ
        else f"received_{name}"
        for name, column in received.items()
    }
    read = [f"{sql} AS {name}" for name, sql in {**usual, **(reads or {})}.items()]
    unread = {
        f"{name}_unread": f"received_{name} IS NOT NULL AND {name} IS NULL"
        for name, column in received.items()
        if column.kind in _READ
    }
    failed = [
        f"CASE WHEN {sql} THEN '{name}' END" for name, sql in {**unread, **(rules or {})}.items()
    ]
    made = [f"{sql} AS {name}" for name, sql in (further or {}).items() if name not in received]
    again = [f"{sql} AS {name}" for name, sql in (further or {}).items() if name in received]
    every = f"* REPLACE ({', '.join(again)})" if again else "*"
    judged = f"""
        WITH latest AS ({latest}),
        text AS (SELECT {", ".join([*own, *text])} FROM latest),
        read AS (SELECT *, {", ".join(read)} FROM text),
        judged AS (
          SELECT *, list_filter([{", ".join(failed) or "NULL::VARCHAR"}], lambda one:
            one IS NOT NULL) AS failed_rules FROM read
        ),
        made AS (SELECT {", ".join([every, *made])} FROM judged)
    """
    (quarantine,) = (key for key in run.tables if key != run.key)
    columns = list(run.tables[run.key])
    asked = ", ".join([*columns, "failed_rules = [] AS is_read"])
    found = run.sql(f"{judged} SELECT {asked} FROM made ORDER BY {order}", parameters)
    is_read = found.column("is_read")
    run.overwrite(found.select(columns).filter(is_read))
    aside = arrow_schema(run.tables[quarantine]).empty_table()
    if pc.any(pc.invert(is_read)).as_py():
        asked = ", ".join(_as_received(run.tables[quarantine], received))
        bad = f"SELECT {asked} FROM made WHERE failed_rules <> [] ORDER BY {order}"
        aside = run.sql(f"{judged} {bad}", parameters).cast(aside.schema)
    run.overwrite(aside, quarantine)


def _as_received(columns: Columns, received: ReceivedColumns) -> list[str]:
    made = {name: f"received_{name} AS {name}" for name in received} | {
        "quarantined_at": "now() AS quarantined_at"
    }
    return [made.get(name, name) for name in columns]
