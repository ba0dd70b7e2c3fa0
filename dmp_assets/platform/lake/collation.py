"""Texts of a table as Delta's plain `string`, of which no collation is named.

pyspark's Connect client names a collation with each text type that it sends (4.2.0:
pyspark/sql/connect/types.py). What `mapInArrow` or `createDataFrame` gives there is `string collate
UTF8_BINARY` in Delta's log: the same text to Spark, a type that delta-rs does not know.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dmp_assets.platform.lake.tables import CollatedError, Tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_NAMED = re.compile(r"\bstring collate \w+")


def as_stored(frame: "DataFrame") -> "DataFrame":
    """The frame as a table is to have it. A session in a JVM of this process names no collation."""
    is_remote = type(frame).__module__.startswith("pyspark.sql.connect")
    return _plain(frame) if is_remote else frame


def mend(spark: "SparkSession", tables: Tables, key: str) -> None:
    """Write a table once more whose log names collations: same rows, plain texts, same stamp.

    Versions before it stay as they are: only Spark reads those.
    """
    path = tables.path(key)
    stamped = (
        spark.sql(f"DESCRIBE HISTORY delta.`{path}`")
        .where("userMetadata IS NOT NULL")
        .orderBy("version", ascending=False)
        .select("userMetadata")
        .limit(1)
        .collect()
    )
    # To Spark both types are one, and of a schema that is the same Delta notes nothing new.
    rows = _plain(spark.read.format("delta").load(path), noted={"dmp.plain": "true"})
    writer = rows.write.format("delta").mode("overwrite").option("overwriteSchema", "true")
    if stamped:
        writer = writer.option("userMetadata", stamped[0][0])
    writer.save(path)


def mended(lakehouse: Any, keys: Iterable[str]) -> list[str]:
    """Mend those of a lakehouse's tables that need it; their keys. Starts Spark only then."""
    found = []
    for key in keys:
        try:
            if lakehouse.tables.exists(key):
                lakehouse.tables.delta(key)
        except CollatedError:
            mend(lakehouse.spark, lakehouse.tables, key)
            found.append(key)
    return found


def _plain(frame: "DataFrame", noted: dict[str, str] | None = None) -> "DataFrame":
    """The frame with every text cast, those columns with metadata `noted`."""
    from pyspark.sql import functions as F

    columns = []
    for field in frame.schema.fields:
        kind = _NAMED.sub("string", field.dataType.simpleString())
        column = F.col(f"`{field.name}`")
        if "string" in kind:
            column = column.cast(kind)
            column = column.alias(field.name, metadata=noted) if noted else column.alias(field.name)
        columns.append(column)
    return frame.select(*columns)
