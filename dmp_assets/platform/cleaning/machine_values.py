"""Values as an API writes them: numbers with a point, times of ISO 8601, true and false.

What people's files hold is read by `reading`, which finds out how it was written. A machine writes
in one way, so DuckDB's own casts do; a value that they refuse puts its row into quarantine.
"""

from collections.abc import Mapping

from dmp_assets.platform.cleaning.received import Kind, ReceivedColumns
from dmp_assets.platform.cleaning.received_columns import columns_of
from dmp_assets.platform.lake.columns import Column, Columns
from dmp_assets.platform.lake.table_asset import TableRun

AMOUNT = "decimal(18,4)"
"""Money: four places, as some services tell fees."""
_READ: Mapping[Kind, tuple[str, str]] = {
    "amount": (AMOUNT, "TRY_CAST({} AS DECIMAL(18, 4))"),
    "count": ("long", "TRY_CAST({} AS BIGINT)"),
    "time": ("timestamp", "TRY_CAST({} AS TIMESTAMPTZ)"),
    "day": ("date", "TRY_CAST({} AS DATE)"),
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


def write(
    run: TableRun,
    latest: str,
    received: ReceivedColumns,
    own: Mapping[str, Column],
    order: str,
    further: Mapping[str, str] | None = None,
) -> None:
    """Write the run's table of what can be read and its quarantine of what cannot.

    `latest`: SQL of the rows, whose received columns are text; `own`: columns of it that are taken
    as they are; `further`: name → SQL over the rows as read, columns that follow from them (their
    text is `received_<name>` there). A value of spaces or none is null, which is no fault.
    """
    text = [f"nullif(trim({name}), '') AS received_{name}" for name in received]
    read = [
        f"{_READ[column.kind][1].format(f'received_{name}')} AS {name}"
        if column.kind in _READ
        else f"received_{name} AS {name}"
        for name, column in received.items()
    ]
    unread = [
        f"CASE WHEN received_{name} IS NOT NULL AND {name} IS NULL THEN '{name}_unread' END"
        for name, column in received.items()
        if column.kind in _READ
    ]
    made = "".join(f", {sql} AS {name}" for name, sql in (further or {}).items())
    judged = f"""
        WITH latest AS ({latest}),
        text AS (SELECT {", ".join([*own, *text])} FROM latest),
        read AS (SELECT *, {", ".join(read)} FROM text),
        judged AS (
          SELECT *, list_filter([{", ".join(unread) or "NULL::VARCHAR"}], lambda one:
            one IS NOT NULL) AS failed_rules FROM read
        )
        SELECT *{made} FROM judged
    """
    (quarantine,) = (key for key in run.tables if key != run.key)
    for key, there, columns in (
        (run.key, "= []", list(run.tables[run.key])),
        (quarantine, "<> []", _as_received(run.tables[quarantine], received)),
    ):
        query = f"SELECT {', '.join(columns)} FROM ({judged}) WHERE failed_rules {there}"
        run.overwrite(run.sql(f"{query} ORDER BY {order}"), key)


def _as_received(columns: Columns, received: ReceivedColumns) -> list[str]:
    made = {name: f"received_{name} AS {name}" for name in received} | {
        "quarantined_at": "now() AS quarantined_at"
    }
    return [made.get(name, name) for name in columns]
