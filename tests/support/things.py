"""A table of a few things, for tests of how tables are written."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from dmp_assets.platform.lake.lakehouse import Lakehouse

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

KEY = "cleaned/things"
STAMP = {"fingerprint": "f", "data_version": "d"}
KINDS = pa.schema([("id", pa.string()), ("n", pa.int64()), ("date", pa.date32())])
Rows = Sequence[tuple[str | None, int | None, int]]
Frame = Callable[[Rows], Any]


def arrow(rows: Rows) -> pa.Table:
    """Rows of (id, n, day of January 2024)."""
    return pa.Table.from_pylist(
        [{"id": id, "n": n, "date": date(2024, 1, day)} for id, n, day in rows], schema=KINDS
    )


def spark_frame(spark: "SparkSession") -> Frame:
    return lambda rows: spark.createDataFrame(arrow(rows))


def content(lakehouse: Lakehouse, version: int | None = None) -> list[tuple[Any, ...]]:
    """All rows of the table in order, by delta-rs and DuckDB."""
    table = lakehouse.tables.dataset(KEY, version).to_table()
    with duckdb.connect() as connection:
        connection.register("t", table)
        return connection.sql("SELECT id, n, day(date) FROM t ORDER BY ALL").fetchall()
