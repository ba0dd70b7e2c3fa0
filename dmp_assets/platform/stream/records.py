"""Reading records by Spark: what is a row of the stream, and what is a dead letter and why."""

from typing import TYPE_CHECKING

import pyarrow as pa

from dmp_assets.platform.lake.columns import Columns
from dmp_assets.platform.stream import stream as streams
from dmp_assets.platform.stream.stream import Stream

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_BAD = "_corrupt"
_PLACE = ("kafka_topic", "kafka_partition", "kafka_offset")


def read(records: "DataFrame", stream: Stream, columns: Columns) -> "DataFrame":
    """Records of Kafka's source as `event` (null where there is none), place and `reason`.

    `reason` is null for a row of the stream. `columns` are those that its table has of itself.
    """
    from pyspark.sql import functions as F

    fields = ", ".join(f"`{name}` {column.type}" for name, column in columns.items())
    shape = f"type STRING, data STRUCT<{fields}>, {_BAD} STRING"
    options = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": _BAD}
    placed = records.select(
        F.col("topic").alias("kafka_topic"),
        F.col("partition").alias("kafka_partition"),
        F.col("offset").alias("kafka_offset"),
        F.col("timestamp").alias("recorded_at"),
        F.col("value").cast("string").alias("value"),
    )
    parsed = placed.withColumn("event", F.from_json("value", shape, options))
    is_object = F.get_json_object("value", "$.specversion").isNotNull()
    found, bad = F.col("event.type"), F.col(f"event.{_BAD}").isNotNull()
    reason = (
        F.when(F.col("value").isNull(), "no_value")
        .when(found.isNull() & ~is_object, "not_json")
        .when(found.isNull() | (found != stream.type), "schema_unknown")
        .when(bad, "field_unreadable")
        .when(F.col(f"event.data.{stream.key}").isNull(), "id_missing")
    )
    # A row is worth its columns; the text is kept of what is none.
    read_ = parsed.withColumn("reason", reason)
    return read_.withColumn("value", F.when(F.col("reason").isNotNull(), F.col("value")))


def places(read_: "DataFrame", stream: Stream) -> pa.Table:
    """Of what `read` gives the `number` of each row, null for a dead letter, and its place."""
    from pyspark.sql import functions as F

    number = F.when(F.col("reason").isNull(), F.col(f"event.data.{stream.key}"))
    return read_.select(number.alias("number"), "kafka_partition", "kafka_offset").toArrow()


def rows(read_: "DataFrame") -> "DataFrame":
    """Of what `read` gives the rows of the stream."""
    return read_.where("reason IS NULL").select("event.data.*", *_PLACE)


def first_rows(read_: "DataFrame", stream: Stream, columns: Columns) -> "DataFrame":
    """The same, each id once, the first that came."""
    from pyspark.sql import functions as F

    good = rows(read_)
    own = [F.col(f"`{name}`") for name in columns]
    order = F.struct("kafka_partition", "kafka_offset")
    first = good.groupBy(f"`{stream.key}`").agg(
        F.min_by(F.struct(*own, *_PLACE), order).alias("row")
    )
    return first.select("row.*")


def dead_letters(read_: "DataFrame", columns: Columns) -> "DataFrame":
    """Of what `read` gives the records that cannot be used."""
    from pyspark.sql import functions as F

    about = [
        F.get_json_object("value", f"$.data.{name}").alias(name)
        for name in streams.subjects(columns)
    ]
    record_type = F.substring(F.get_json_object("value", "$.type"), 1, 100)
    return read_.where("reason IS NOT NULL").select(
        *_PLACE, "recorded_at", "reason", record_type.alias("record_type"), "value", *about
    )
