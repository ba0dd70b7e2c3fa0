"""Small Delta tables read by Spark as the files that they are.

Delta's reader makes Spark replay the log and plan which files can be left out: seven times the work
of reading a small table.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable

from dmp_assets.platform.lake import spark as engine

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def names_of(delta: DeltaTable) -> list[str] | None:
    """Names of the table's files where its rows are theirs, few, and in its folder; else None."""
    if (
        delta.protocol().min_reader_version > 1  # deletion vectors, mapped names
        or delta.metadata().partition_columns
        or int(delta.count()) > engine.SMALL
    ):
        return None
    added = pa.table(delta.get_add_actions(flatten=True))
    names = [str(name) for name in added.column("path").to_pylist()]
    return None if any("/" in name for name in names) else names  # a clone's lie elsewhere


def read(
    spark: "SparkSession", folder: str, delta: DeltaTable, names: Sequence[str]
) -> "DataFrame":
    """These files of the table in the folder; columns that a file does not have yet are null."""
    from pyspark.sql.types import StructType

    schema = StructType.fromJson(json.loads(delta.schema().to_json()))
    if not names:
        return spark.createDataFrame([], schema)
    files = [f"{folder}/{name}" for name in names]
    return spark.read.schema(schema).option("__globPaths__", False).parquet(*files)
