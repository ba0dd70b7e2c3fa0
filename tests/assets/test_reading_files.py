"""What Spark reads of a small local table, file by file, is what Delta's own reader reads of it."""

import threading
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from dmp_assets.home import Home
from dmp_assets.platform.lake import maintenance
from dmp_assets.platform.lake.lakehouse import Lakehouse

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

KEY = "cleaned/things"


def frame(spark: "SparkSession", *rows: tuple[Any, ...]) -> "DataFrame":
    """Rows of (id, n, day of January 2024), and of each further kind something."""
    return spark.createDataFrame([(*row[:2], date(2024, 1, row[2])) for row in rows],
                                 "id string, n bigint, date date").selectExpr(
        "*", "timestamp(date) AS at", "CAST(n AS decimal(18, 8)) AS amount",
        "array(id, NULL) AS tags",
    )  # fmt: skip


def by_delta(lakehouse: Lakehouse) -> "DataFrame":
    return lakehouse.spark.read.format("delta").load(lakehouse.tables.path(KEY))


def rows(frame: "DataFrame") -> list[Any]:
    return sorted((row.asDict() for row in frame.collect()), key=str)


def kinds(frame: "DataFrame") -> list[tuple[str, str]]:
    return [(field.name, field.dataType.simpleString()) for field in frame.schema]


def assert_read_alike(lakehouse: Lakehouse, count: int) -> None:
    read, known = lakehouse.read(KEY), by_delta(lakehouse)
    assert [(f.name, f.dataType) for f in read.schema] == [
        (f.name, f.dataType) for f in known.schema
    ]
    assert rows(read) == rows(known)
    assert read.count() == count


def test_files_hold_what_the_table_holds_after_every_way_of_writing(
    lakehouse: Lakehouse, spark: "SparkSession"
) -> None:
    lakehouse.overwrite(KEY, frame(spark, ("gone", 1, 1)))
    lakehouse.overwrite(KEY, frame(spark, ("a", 1, 1), ("b", None, 2)))
    assert_read_alike(lakehouse, 2)
    lakehouse.append(KEY, frame(spark, ("c", 3, 3)).selectExpr("*", "'Rome' AS city"))
    assert_read_alike(lakehouse, 3)  # the older files lack a column
    lakehouse.merge(KEY, frame(spark, ("a", 9, 1), ("d", 4, 4)), keys=["id"])
    assert_read_alike(lakehouse, 4)
    day = date(2024, 1, 2), date(2024, 1, 3)
    lakehouse.replace_window(
        KEY, frame(spark, ("e", 5, 2)).selectExpr("*", "'Oslo' AS city"),
        column="date", start=day[0], end=day[1],
    )  # fmt: skip
    assert_read_alike(lakehouse, 4)
    maintenance.optimize(lakehouse.tables, KEY)
    assert_read_alike(lakehouse, 4)
    assert rows(lakehouse.read(KEY, version=1)) == rows(frame(spark, ("a", 1, 1), ("b", None, 2)))
    lakehouse.overwrite(KEY, frame(spark, ("a", 1, 1)).where("false"))
    assert_read_alike(lakehouse, 0)


@pytest.mark.parametrize("by", ["deletion vectors", "partitions", "names that are mapped"])
def test_a_table_of_which_the_files_tell_only_half_is_left_to_deltas_reader(
    lakehouse: Lakehouse, spark: "SparkSession", by: str
) -> None:
    path = lakehouse.tables.path(KEY)
    writer = frame(spark, ("a", 1, 1), ("b", 2, 2), ("c", 3, 3)).coalesce(1).write.format("delta")
    if by == "partitions":
        writer = writer.partitionBy("n")
    writer.save(path)
    if by == "deletion vectors":
        spark.sql(
            f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')"
        )
        spark.sql(f"DELETE FROM delta.`{path}` WHERE id = 'b'")
    if by == "names that are mapped":
        spark.sql(
            f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name')"
        )
        spark.sql(f"ALTER TABLE delta.`{path}` RENAME COLUMN id TO thing")
    assert_read_alike(lakehouse, 2 if by == "deletion vectors" else 3)


def test_a_home_may_lie_in_a_folder_whose_name_looks_like_a_pattern(
    tmp_path: Path, spark: "SparkSession", monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "my {a,b} Größe ? * #1 日本").prepare("sandbox")
    monkeypatch.setenv("DMP_HOME", str(home.root))
    lakehouse = Lakehouse()
    lakehouse.overwrite(KEY, pa.table({"id": ["a", "b"]}))
    assert rows(lakehouse.read(KEY)) == [{"id": "a"}, {"id": "b"}]


def test_merges_at_the_same_time_note_each_its_own_stamp(
    lakehouse: Lakehouse, spark: "SparkSession"
) -> None:
    keys = [f"cleaned/things_{n}" for n in range(3)]
    for key in keys:
        lakehouse.overwrite(key, frame(spark, ("a", 1, 1)))

    def merge(key: str) -> None:
        given = frame(spark, (key, 1, 1))
        lakehouse.merge(key, given, keys=["id"], stamp={"fingerprint": key})

    threads = [threading.Thread(target=merge, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for key in keys:
        assert lakehouse.tables.stamp(key)["fingerprint"] == key
        assert [row["id"] for row in rows(lakehouse.read(key))] == ["a", key]
