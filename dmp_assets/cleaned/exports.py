"""What the tables of all exports share: how numbers are read; that most homes have no files."""

from dmp_assets.platform.cleaning.received import ReceivedColumns
from dmp_assets.platform.lake.columns import arrow_schema
from dmp_assets.platform.lake.table_asset import TableRun
from dmp_assets.sources.exports import values


def numbers_read(
    run: TableRun, table: str, received: ReceivedColumns, places: int
) -> dict[str, str]:
    """Column → SQL that reads it, of the amounts (to so many places) and counts of raw/<table>.

    Only the ways are in it in which some file writes numbers: each costs hundreds of expressions.
    """
    found = run.sql(f"SELECT DISTINCT numbers FROM raw.{table} ORDER BY ALL")
    sides = found["numbers"].to_pylist()
    return {
        name: values.money(f"received_{name}", sides, places)
        if one.kind == "amount"
        else values.count(f"received_{name}", sides)
        for name, one in received.items()
        if one.kind in ("amount", "count")
    }


def are_none(run: TableRun, table: str) -> bool:
    """Whether raw/<table> has no row; then the run's own tables are written without any."""
    if run.sql(f"SELECT 1 FROM raw.{table} LIMIT 1").num_rows:
        return False
    for key, columns in run.tables.items():
        run.overwrite(arrow_schema(columns).empty_table(), key)
    return True
