"""What `class_archive` runs in a process of its own: its JVM loads what tables will need."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F

from dmp_assets.home import Home
from dmp_assets.platform.lake.spark import start_ahead


def rehearse(scratch: Path) -> None:
    """Use what the tables use: Delta writes and reads, windows, joins, text, times, Arrow."""
    session: SparkSession = start_ahead(
        Home(scratch / "home").prepare("sandbox").settings(), scratch
    )
    table = str(scratch / "table")
    rows = pa.table({"id": ["1", "2", "2", None], "said": ["a ", "2024-01-31T10:00:00Z", "", "1"]})
    read = session.createDataFrame(rows).withColumns(
        {
            "text": F.expr("nullif(trim(said), '')"),
            "at": F.expr("CASE WHEN said RLIKE '^[0-9]{4}-' THEN try_cast(said AS TIMESTAMP) END"),
            "day": F.expr("try_to_timestamp(said, 'd/M/yyyy H:mm')"),
            "amount": F.expr("try_cast(replace(said, ',', '.') AS DECIMAL(12, 2))"),
            "failed": F.filter(F.array(F.lit(None), F.lit("x")), lambda name: name.isNotNull()),
        }
    )
    ranked = read.withColumn(
        "rank", F.row_number().over(Window.partitionBy("id").orderBy(F.desc("said")))
    ).persist()
    grouped = ranked.groupBy("id").agg(
        F.count(F.lit(1)).alias("rows"),
        F.sum("rank").alias("sum"),
        F.min_by("said", "rank").alias("first"),
        F.sort_array(F.collect_list(F.struct("rank", "said"))).alias("all"),
        F.to_json(F.struct(F.max("at"), F.min("said"))).alias("json"),
    )
    joined = ranked.join(grouped, "id", "left").unionByName(ranked.join(grouped, "id", "left"))
    passed = joined.mapInArrow(_same, joined.schema)
    passed.write.format("delta").mode("overwrite").option("userMetadata", "{}").save(table)
    written = session.read.format("delta").load(table)
    written.where("id IS NOT NULL").groupBy(F.to_date("at")).count().toArrow()
    written.where("rank = 1").write.format("delta").mode("overwrite").option(
        "replaceWhere", "rank = 1"
    ).save(table)
    grouped.createOrReplaceTempView("news")
    session.sql(
        f"MERGE INTO delta.`{table}` t USING (SELECT id, sum FROM news WHERE id = '1') s "
        "ON t.id = s.id WHEN MATCHED THEN UPDATE SET t.sum = s.sum"
    ).collect()
    gateway: Any = session.sparkContext._gateway
    session.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()  # the archive is written as the JVM ends


def _same(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from batches


if __name__ == "__main__":
    rehearse(Path(sys.argv[1]))
