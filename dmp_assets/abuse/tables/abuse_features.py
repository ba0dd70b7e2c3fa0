"""ml/abuse_features: what the abuse model sees of each account, as numbers.

Grain: one user. Key: user_id. Sources: cleaned/*, modeled/promo_usage_by_user,
modeled/account_clusters.
"""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from dmp_assets.abuse.model import features, view
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset

BATCH = 50_000
COLUMNS = {"user_id": Column("string", "The user.", "identifier", "user_id")} | {
    f.name: Column("double", f"{f.description} (null: {f.missing}).", "profile")
    for f in features.FEATURES
}
SCHEMA = arrow_schema(COLUMNS)


def batches(views: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Account views → features, batch by batch."""
    for batch in views:
        found = features.matrix(batch)
        columns = [pa.array(column, from_pandas=True) for column in found.T]
        yield pa.record_batch([batch.column("user_id"), *columns], schema=SCHEMA)


def with_zones(connection: duckdb.DuckDBPyConnection) -> None:
    """Add `zone_country`, which the account view reads beside its tables."""
    zones = features.zone_countries()
    connection.register(
        "zone_country", pa.table({"timezone": list(zones), "country": list(zones.values())})
    )


def account_views(connection: duckdb.DuckDBPyConnection) -> pa.RecordBatchReader:
    """The account views of all users, on a connection that has the view's tables."""
    with_zones(connection)
    return connection.sql(view.account_view_sql()).to_arrow_reader(BATCH)


@table_asset(
    "ml",
    owner="team:risk",
    kinds=("duckdb", "delta"),
    deps=list(view.TABLES),
    columns=COLUMNS,
    key=("user_id",),
    checks=(
        Check(
            "one_row_per_user",
            "SELECT abs((SELECT count(*) FROM ml.abuse_features) - "
            "(SELECT count(*) FROM cleaned.users))",
            "Every user has features, once.",
            blocking=True,
        ),
    ),
)
def abuse_features(run: TableRun) -> None:
    """What the abuse model sees of each account, as numbers; null is unknown.

    Grain: one user. Key: user_id. Sources: cleaned/*, modeled/promo_usage_by_user,
    modeled/account_clusters.
    """
    spill = run.lakehouse.home.root / "tmp"
    with run.lakehouse.tables.connect(*view.TABLES) as connection:
        _spill_to(connection, spill)
        reader = account_views(connection)
        run.overwrite(pa.RecordBatchReader.from_batches(SCHEMA, batches(iter(reader))))


def _spill_to(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """What does not fit into DuckDB's memory limit goes to files there."""
    folder.mkdir(parents=True, exist_ok=True)
    connection.execute(f"SET temp_directory = '{folder}'")
    connection.execute("SET preserve_insertion_order = false")
