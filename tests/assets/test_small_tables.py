"""What Spark computes of a small shop and delta-rs writes: as Spark would have written it."""

import os
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from dmp_assets.platform.lake import spark as spark_module
from dmp_assets.platform.lake.file_statistics import NAMED
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.spark import SMALL, collected
from tests.support.things import KEY, Frame, arrow, content, spark_frame

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_a_small_table_has_the_schema_that_spark_would_give_it(
    lakehouse: Lakehouse, spark: "SparkSession"
) -> None:
    never_null = spark.range(2).selectExpr(
        "id", "false AS flag", "array(struct(id AS n)) AS parts", "map('a', id) AS named"
    )
    schemas = []
    for rows, key in ((SMALL + 1, "cleaned/by_spark"), (0, "cleaned/by_delta_rs")):
        lakehouse.expect(rows)
        lakehouse.overwrite(key, never_null)
        delta = lakehouse.tables.delta(key)
        schemas.append(delta.schema())
        engine = delta.history(1)[0]["engineInfo"]
        assert ("Spark" in engine) is bool(rows)
    assert schemas[0] == schemas[1]
    lakehouse.append("cleaned/by_delta_rs", never_null.selectExpr("NULL::BIGINT AS id"))
    assert lakehouse.tables.dataset("cleaned/by_delta_rs").count_rows() == 4


def test_a_small_table_notes_how_many_rows_its_files_have_and_no_value_of_them(
    lakehouse: Lakehouse, frame: Frame
) -> None:
    lakehouse.overwrite(KEY, frame([("ann@example.org", 1, 1), ("bob@example.org", 2, 1)]))
    log = Path(lakehouse.tables.path(KEY), "_delta_log")
    assert "example.org" not in "".join(entry.read_text() for entry in log.glob("*.json"))
    (action,) = pa.table(lakehouse.tables.delta(KEY).get_add_actions(flatten=True)).to_pylist()
    assert action["num_records"] == 2


@pytest.mark.parametrize("rows", [SMALL + 1, 0], ids=["spark", "collected"])
def test_what_spark_noted_of_the_source_keeps_nothing_from_being_added(
    lakehouse: Lakehouse, spark: "SparkSession", rows: int
) -> None:
    for kind in ("text", "varchar"):
        lakehouse.expect(rows)
        noted = spark.range(1).select(F.lit("a").alias("id", metadata={"jdbcClientType": kind}))
        lakehouse.append(KEY, noted)
    assert lakehouse.tables.dataset(KEY).count_rows() == 2


@pytest.mark.parametrize("rows", [SMALL + 1, 0], ids=["spark", "collected"])
@pytest.mark.parametrize(
    "other", ["'a' AS id, 9.7D AS n, date", "id, TIMESTAMP'2024-01-02 10:00:00' AS date, n"]
)
def test_another_type_is_refused_and_nothing_is_cast_without_a_word(
    lakehouse: Lakehouse, spark: "SparkSession", rows: int, other: str
) -> None:
    lakehouse.overwrite(KEY, arrow([("a", 1, 2)]))
    lakehouse.expect(rows)
    frame = spark_frame(spark)([("b", 2, 2)]).selectExpr(*other.split(", "))
    days = {"column": "date", "start": date(2024, 1, 2), "end": date(2024, 1, 3)}
    with pytest.raises(Exception, match="DELTA_FAILED_TO_MERGE_FIELDS"):
        lakehouse.append(KEY, frame)
    with pytest.raises(Exception, match="DELTA_FAILED_TO_MERGE_FIELDS"):
        lakehouse.replace_window(KEY, frame, **days)
    assert content(lakehouse) == [("a", 1, 2)]


@pytest.mark.parametrize("rows", [SMALL + 1, 0], ids=["spark", "collected"])
def test_columns_that_a_window_lacks_are_unknown_and_capitals_make_no_other_column(
    lakehouse: Lakehouse, spark: "SparkSession", rows: int
) -> None:
    lakehouse.overwrite(KEY, arrow([("a", 1, 2)]))
    lakehouse.expect(rows)
    frame = spark_frame(spark)([("b", 2, 2)])
    days = {"column": "date", "start": date(2024, 1, 2), "end": date(2024, 1, 3)}
    lakehouse.replace_window(KEY, frame.select("id", "date"), **days)
    assert content(lakehouse) == [("b", None, 2)]
    lakehouse.append(KEY, frame.withColumnRenamed("n", "N"))
    assert content(lakehouse) == [("b", 2, 2), ("b", None, 2)]


@pytest.mark.parametrize("rows", [SMALL + 1, 0], ids=["spark", "collected"])
def test_names_in_any_script_are_columns_and_a_name_with_a_blank_is_refused(
    lakehouse: Lakehouse, spark: "SparkSession", rows: int
) -> None:
    lakehouse.expect(rows)
    lakehouse.overwrite(KEY, spark.sql("SELECT 'ä' AS `имя`, 1 AS `名前`, X'00ff' AS `b🙂`"))
    assert list(lakehouse.tables.columns(KEY)) == ["имя", "名前", "b🙂"]
    with pytest.raises(Exception, match="DELTA_INVALID_CHARACTERS_IN_COLUMN_NAMES"):
        lakehouse.overwrite(KEY, spark.sql("SELECT 1 AS `Total Spent`"))


def test_a_lakehouse_that_grows_is_not_small_any_more(lakehouse: Lakehouse) -> None:
    assert lakehouse._is_small_and_here()
    rows = pa.table({"n": pa.array(range(SMALL + 1))})
    lakehouse.overwrite("modeled/many", rows)
    assert lakehouse._is_small_and_here()
    assert Lakehouse()._is_small_and_here()
    lakehouse.overwrite("raw/many", rows.to_reader(), bounded=["n"])
    assert not lakehouse._is_small_and_here()
    assert lakehouse.tables.delta("raw/many").metadata().configuration[NAMED] == "`n`"


def test_a_table_that_cannot_be_read_keeps_no_other_from_being_written(
    lakehouse: Lakehouse,
) -> None:
    lakehouse.overwrite("raw/broken", arrow([("a", 1, 1)]))
    (log,) = Path(lakehouse.tables.path("raw/broken"), "_delta_log").glob("*.json")
    log.write_text("{")
    assert Lakehouse().overwrite(KEY, arrow([("a", 1, 1)])).rows == 1


def test_what_is_too_large_to_be_brought_together_spark_writes(
    lakehouse: Lakehouse, spark: "SparkSession"
) -> None:
    large = spark.range(400_000).selectExpr("repeat(uuid(), 24) AS id", "id AS n")
    assert collected(large) is None
    assert lakehouse.overwrite(KEY, large).rows == 400_000
    few = collected(large.limit(10))
    assert few is not None
    assert few.num_rows == 10


def test_what_spark_laid_aside_in_a_process_that_is_gone_goes(tmp_path: Path) -> None:
    gone, alive = tmp_path / f"process-{2**22 + 1}", tmp_path / f"process-{os.getppid()}"
    earlier, other = tmp_path / "blockmgr-1", tmp_path / "spark-2"
    for folder in (gone, alive, earlier, other):
        folder.mkdir()
        (folder / "rows").touch()
    os.utime(earlier, (0, 0))
    own = spark_module._own_folder(tmp_path)
    assert {*tmp_path.iterdir()} == {alive, other, own}
