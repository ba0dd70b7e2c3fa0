"""What the tables of all exports share: how numbers are read; that no row of a file is lost; that
most homes have no files."""

from dmp_assets.platform.cleaning.received import ReceivedColumns
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.table_asset import Check, TableRun
from dmp_assets.sources.exports import values

RECEIVED_ROWS = Column(
    "long", "Rows of files that it stands for: itself, and what was told before it of the same."
)


def checks(table: str) -> tuple[Check, ...]:
    """The checks of cleaned/<table>: that no row of a file is lost, and that each can be used."""
    return (
        Check(
            "rows_add_up",
            f"""
            WITH counted AS (
              SELECT (SELECT count(*) FROM raw.{table} WHERE NOT is_total) AS received,
                     (SELECT count(*) FROM cleaned.{table}) AS kept,
                     (SELECT coalesce(sum(received_rows - 1), 0)::BIGINT FROM (
                        SELECT received_rows FROM cleaned.{table} UNION ALL
                        SELECT received_rows FROM quarantine.{table})) AS duplicates,
                     (SELECT count(*) FROM quarantine.{table}) AS quarantined
            )
            SELECT abs(received - kept - duplicates - quarantined) AS offending, * FROM counted
            """,
            "Rows received, but for the files' own sums = kept + duplicates + quarantined.",
            blocking=True,
        ),
        Check(
            "all_rows_used",
            f"SELECT count(*) FROM quarantine.{table}",
            "Every row of the files can be used; the others are in quarantine with their lines.",
        ),
    )


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
