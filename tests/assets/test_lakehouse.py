"""The lakehouse on real Spark and Delta: ways of writing, versions, other readers, dead writers."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from dmp_assets.home import Home
from dmp_assets.platform.lake import maintenance
from dmp_assets.platform.lake.collation import mended
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.spark import SMALL
from dmp_assets.platform.lake.tables import CollatedError, TableError
from tests.support.things import KEY, STAMP, Frame, Rows, arrow, content, spark_frame

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@pytest.fixture
def lakehouse(lakehouse: Lakehouse) -> Lakehouse:
    """A lakehouse that is not small: what Spark computes, Spark writes."""
    lakehouse.expect(SMALL + 1)
    return lakehouse


# writing ---------------------------------------------------------------------------------------


def test_overwriting_replaces_rows_and_columns_and_is_idempotent(
    lakehouse: Lakehouse, frame: Frame
) -> None:
    lakehouse.overwrite(KEY, arrow([("x", 1, 1)]).append_column("old", pa.array(["o"])))
    for _ in range(2):
        written = lakehouse.overwrite(KEY, frame([("a", 1, 1), ("b", None, 2)]))
        assert content(lakehouse) == [("a", 1, 1), ("b", None, 2)]
        assert list(lakehouse.tables.columns(KEY)) == ["id", "n", "date"]
        assert written.rows == 2
    assert written.version == 2


def test_an_empty_table_is_a_table(lakehouse: Lakehouse, frame: Frame) -> None:
    rows = frame([("a", 1, 1)])
    nothing = rows.slice(1) if frame is arrow else rows.where("false")
    assert lakehouse.overwrite(KEY, nothing).rows == 0
    assert content(lakehouse) == []
    assert list(lakehouse.tables.columns(KEY)) == ["id", "n", "date"]


def test_replacing_nothing_by_nothing_is_noted(lakehouse: Lakehouse, spark: "SparkSession") -> None:
    nothing = spark_frame(spark)([("a", 1, 1)]).where("false")
    for fingerprint in ("f", "g"):
        lakehouse.overwrite(KEY, nothing, stamp={"fingerprint": fingerprint})
        assert lakehouse.tables.stamp(KEY)["fingerprint"] == fingerprint


def test_appending_adds_rows_and_columns_that_are_new(lakehouse: Lakehouse, frame: Frame) -> None:
    lakehouse.append(KEY, frame([("a", 1, 1)]))
    more = arrow([("b", 2, 1)]).append_column("city", pa.array(["Rome"]))
    lakehouse.append(KEY, more if frame is arrow else lakehouse.spark.createDataFrame(more))
    assert content(lakehouse) == [("a", 1, 1), ("b", 2, 1)]
    assert lakehouse.tables.sql("SELECT city FROM cleaned.things ORDER BY id").to_pydict() == {
        "city": [None, "Rome"]
    }


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ([("b", 3, 5)], [("a", 1, 1), ("b", 3, 5), (None, 0, 1)]),
        ([("c", 3, 1)], [("a", 1, 1), ("b", 2, 1), ("c", 3, 1), (None, 0, 1)]),
        ([("a", None, 1)], [("a", None, 1), ("b", 2, 1), (None, 0, 1)]),
        ([(None, 9, 1)], [("a", 1, 1), ("b", 2, 1), (None, 9, 1)]),
        ([("a", 1, 1), ("b", 2, 1)], [("a", 1, 1), ("b", 2, 1), (None, 0, 1)]),
    ],
    ids=["changed", "new", "become unknown", "key unknown", "the same"],
)
def test_merging_updates_what_differs_inserts_what_is_new_and_is_idempotent(
    lakehouse: Lakehouse, spark: "SparkSession", given: Rows, becomes: Rows
) -> None:
    lakehouse.overwrite(KEY, arrow([("a", 1, 1), ("b", 2, 1), (None, 0, 1)]))
    for _ in range(2):
        lakehouse.merge(KEY, spark_frame(spark)(given), keys=["id"], stamp=STAMP)
        assert content(lakehouse) == list(becomes)
        assert lakehouse.tables.stamp(KEY)["fingerprint"] == "f"


def test_a_merge_that_changes_nothing_writes_no_data_file(
    lakehouse: Lakehouse, spark: "SparkSession"
) -> None:
    lakehouse.overwrite(KEY, arrow([("a", 1, 1)]))
    before = lakehouse.tables.delta(KEY).file_uris()
    lakehouse.merge(KEY, spark_frame(spark)([("a", 1, 1)]), keys=["id"])
    assert lakehouse.tables.version(KEY) == 0
    lakehouse.merge(KEY, spark_frame(spark)([("a", 1, 1)]), keys=["id"], stamp=STAMP)
    assert lakehouse.tables.stamp(KEY)["fingerprint"] == "f"
    assert lakehouse.tables.delta(KEY).file_uris() == before


def test_merging_into_no_table_makes_it(lakehouse: Lakehouse, spark: "SparkSession") -> None:
    lakehouse.merge(KEY, spark_frame(spark)([("a", 1, 1)]), keys=["id"], stamp=STAMP)
    assert content(lakehouse) == [("a", 1, 1)]


def test_a_merge_takes_new_columns_and_leaves_missing_ones_alone(
    lakehouse: Lakehouse, spark: "SparkSession"
) -> None:
    lakehouse.overwrite(KEY, arrow([("a", 1, 1), ("b", 2, 1)]))
    other = pa.table({"id": ["a", "c"], "city": ["Rome", None], "date": [date(2024, 1, 1)] * 2})
    lakehouse.merge(KEY, spark.createDataFrame(other), keys=["id"])
    assert content(lakehouse) == [("a", 1, 1), ("b", 2, 1), ("c", None, 1)]
    cities = lakehouse.tables.sql("SELECT city FROM cleaned.things ORDER BY id")
    assert cities["city"].to_pylist() == ["Rome", None, None]


def test_a_window_is_replaced_from_its_start_up_to_but_not_including_its_end(
    lakehouse: Lakehouse, frame: Frame
) -> None:
    lakehouse.overwrite(KEY, arrow([(f"old{day}", day, day) for day in range(1, 6)]))
    days = {"column": "date", "start": date(2024, 1, 2), "end": date(2024, 1, 4)}
    for _ in range(2):
        lakehouse.replace_window(KEY, frame([("new2", 2, 2), ("also2", 2, 2)]), **days)
        assert [row[0] for row in content(lakehouse)] == ["also2", "new2", "old1", "old4", "old5"]


@pytest.mark.parametrize("day", [1, 4])
def test_rows_outside_of_the_window_are_refused_and_nothing_changes(
    lakehouse: Lakehouse, frame: Frame, day: int
) -> None:
    lakehouse.overwrite(KEY, arrow([("old", 1, 2)]))
    days = {"column": "date", "start": date(2024, 1, 2), "end": date(2024, 1, 4)}
    with pytest.raises(Exception, match=r"REPLACE_WHERE_MISMATCH|failed validation check"):
        lakehouse.replace_window(KEY, frame([("new", 1, day)]), **days)
    assert content(lakehouse) == [("old", 1, 2)]


# versions and maintenance ----------------------------------------------------------------------


def test_an_earlier_version_is_read_as_it_was_by_spark_and_by_delta_rs(
    lakehouse: Lakehouse, frame: Frame
) -> None:
    lakehouse.overwrite(KEY, frame([("a", 1, 1)]))
    lakehouse.overwrite(KEY, frame([("b", 2, 2)]))
    assert content(lakehouse, version=0) == [("a", 1, 1)]
    assert [row.id for row in lakehouse.read(KEY, version=0).collect()] == ["a"]
    assert [row.id for row in lakehouse.read(KEY).collect()] == ["b"]
    with pytest.raises(TableError, match="the oldest that can be read is 0, the newest 1"):
        content(lakehouse, version=7)


def test_maintenance_changes_no_data_and_keeps_the_stamp_and_earlier_versions(
    lakehouse: Lakehouse, frame: Frame
) -> None:
    for n in range(4):
        lakehouse.append(KEY, frame([(f"{n}", n, 1)]), stamp=STAMP | {"n": n})
    before = content(lakehouse)
    stamp = lakehouse.tables.stamp(KEY)
    assert maintenance.optimize(lakehouse.tables, KEY)["numFilesRemoved"] == 4
    assert maintenance.vacuum(lakehouse.tables, KEY, days=30) == []
    assert content(lakehouse) == before
    assert len(lakehouse.tables.delta(KEY).file_uris()) == 1
    assert lakehouse.tables.stamp(KEY) == stamp
    assert stamp["n"] == 3
    assert content(lakehouse, version=0) == [("0", 0, 1)]


def test_how_long_versions_are_kept_is_a_property_of_the_table(
    lakehouse: Lakehouse, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_RETENTION_DAYS", "9")
    lakehouse.overwrite(KEY, frame([("a", 1, 1)]))
    kept = lakehouse.tables.delta(KEY).metadata().configuration
    assert kept["delta.deletedFileRetentionDuration"] == "interval 9 days"
    assert kept["delta.logRetentionDuration"] == "interval 9 days"


# other readers ---------------------------------------------------------------------------------


def every_type() -> pa.Table:
    moment = datetime(2024, 3, 10, 2, 30, 0, 123456, tzinfo=UTC)  # an hour that New York skipped
    return pa.table(
        {
            "text": pa.array(["ä", None]),
            "n": pa.array([1, None], pa.int64()),
            "small": pa.array([1, None], pa.int32()),
            "share": pa.array([0.5, None]),
            "money": pa.array([None, None], pa.decimal128(12, 2)),
            "flag": pa.array([True, None]),
            "day": pa.array([date(2024, 3, 10), None]),
            "moment": pa.array([moment, None], pa.timestamp("us", tz="UTC")),
            "list": pa.array([["a", "b"], None], pa.list_(pa.string())),
            "parts": pa.array(
                [[{"code": "c", "weight": 1.0}], []],
                pa.list_(pa.struct([("code", pa.string()), ("weight", pa.float64())])),
            ),
        }
    )


SHOWN = "SELECT * REPLACE (epoch_us(moment) AS moment) FROM t ORDER BY n NULLS LAST"


def as_duckdb_sees_it(path: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.register("t", DeltaTable(path).to_pyarrow_dataset())
        return connection.sql(SHOWN).fetchall()


@pytest.mark.parametrize("rows", [SMALL + 1, 0], ids=["spark", "collected"])
def test_what_spark_wrote_deltalake_and_duckdb_read_alike(
    lakehouse: Lakehouse, spark: "SparkSession", rows: int
) -> None:
    lakehouse.expect(rows)
    lakehouse.overwrite(KEY, every_type())
    copy = lakehouse.read(KEY)
    lakehouse.overwrite("cleaned/copy", copy)
    path = lakehouse.tables.path("cleaned/copy")
    assert as_duckdb_sees_it(path) == as_duckdb_sees_it(lakehouse.tables.path(KEY))
    assert DeltaTable(path).to_pyarrow_table().num_rows == 2
    assert lakehouse.tables.columns("cleaned/copy") == lakehouse.tables.columns(KEY)
    assert DeltaTable(path).protocol().reader_features is None


def test_what_delta_rs_wrote_spark_reads_alike(lakehouse: Lakehouse, spark: "SparkSession") -> None:
    lakehouse.overwrite(KEY, every_type())
    seen = lakehouse.read(KEY).selectExpr(
        "text", "n", "small", "share", "flag", "CAST(day AS STRING) AS day",
        "unix_micros(moment) AS moment", "list", "to_json(parts) AS parts",
    ).orderBy("n", ascending=False).collect()  # fmt: skip
    known = every_type().to_pylist()[0]
    assert seen[0].asDict() == {
        **{name: known[name] for name in ("text", "n", "small", "share", "flag", "list")},
        "day": "2024-03-10",
        "moment": 1710037800123456,
        "parts": '[{"code":"c","weight":1.0}]',
    }
    assert (seen[1].moment, seen[1].parts) == (None, "[]")


def test_both_engines_write_on_in_the_other_ones_table(
    lakehouse: Lakehouse, spark: "SparkSession"
) -> None:
    lakehouse.overwrite(KEY, spark_frame(spark)([("a", 1, 1)]))
    lakehouse.append(KEY, arrow([("b", 2, 2)]))
    lakehouse.append(KEY, spark_frame(spark)([("c", 3, 3)]))
    days = {"column": "date", "start": date(2024, 1, 3), "end": date(2024, 1, 4)}
    lakehouse.replace_window(KEY, arrow([("d", 4, 3)]), **days)
    assert content(lakehouse) == [("a", 1, 1), ("b", 2, 2), ("d", 4, 3)]


def test_midnight_stays_midnight_whatever_the_zone_of_the_machine(
    lakehouse: Lakehouse, spark: "SparkSession"
) -> None:
    frame = spark.sql(
        "SELECT TIMESTAMP'2024-01-01 00:00:00' AS typed, "
        "CAST('2024-07-01 00:00:00' AS TIMESTAMP) AS summer, DATE'2024-01-01' AS day, "
        "CAST(TIMESTAMP'2024-01-01 00:00:00' AS DATE) AS day_of"
    )
    lakehouse.overwrite(KEY, frame)
    seen = lakehouse.tables.sql("FROM cleaned.things").to_pylist()
    assert seen == [
        {
            "typed": datetime(2024, 1, 1, tzinfo=UTC), "summer": datetime(2024, 7, 1, tzinfo=UTC),
            "day": date(2024, 1, 1), "day_of": date(2024, 1, 1),
        }
    ]  # fmt: skip
    texts = lakehouse.tables.sql("SELECT typed::VARCHAR, summer::VARCHAR FROM cleaned.things")
    assert list(texts.to_pylist()[0].values()) == [
        "2024-01-01 00:00:00+00",
        "2024-07-01 00:00:00+00",
    ]


def test_a_midnight_written_by_delta_rs_falls_into_its_utc_day_in_spark(
    lakehouse: Lakehouse, spark: "SparkSession"
) -> None:
    midnight = datetime(2024, 1, 2, tzinfo=UTC)
    times = [midnight - timedelta(microseconds=1), midnight]
    lakehouse.overwrite(KEY, pa.table({"moment": pa.array(times, pa.timestamp("us", tz="UTC"))}))
    days = lakehouse.read(KEY).selectExpr("CAST(CAST(moment AS DATE) AS STRING) AS day")
    assert sorted(row.day for row in days.collect()) == ["2024-01-01", "2024-01-02"]


# writes that do not end ------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [SMALL + 1, 0], ids=["spark", "collected"])
def test_a_spark_write_that_fails_half_way_leaves_the_last_good_version(
    lakehouse: Lakehouse, spark: "SparkSession", rows: int
) -> None:
    lakehouse.expect(rows)
    lakehouse.overwrite(KEY, arrow([("a", 1, 1)]), stamp=STAMP)
    fails = "IF(id = 199, raise_error('no more'), id)"
    half = spark.range(0, 200, numPartitions=4).selectExpr(f"CAST({fails} AS STRING) AS id")
    for write in (lakehouse.overwrite, lakehouse.append):
        with pytest.raises(Exception, match="no more"):
            write(KEY, half, stamp={"fingerprint": "g"})
    with pytest.raises(Exception, match="no more"):
        lakehouse.merge(KEY, half, keys=["id"], stamp={"fingerprint": "g"})
    assert content(lakehouse) == [("a", 1, 1)]
    assert lakehouse.tables.stamp(KEY)["fingerprint"] == "f"
    lakehouse.append(KEY, spark_frame(spark)([("b", 2, 1)]))
    assert content(lakehouse) == [("a", 1, 1), ("b", 2, 1)]
    assert lakehouse.tables.delta(KEY).history(1)[0].get("userMetadata") is None


WRITE_FOR_EVER = """
import sys, time
import numpy as np
import pyarrow as pa
from dmp_assets.platform.lake import maintenance
from dmp_assets.platform.lake.collation import mended
from dmp_assets.platform.lake.lakehouse import Lakehouse

def batches():
    for n in range(10_000):
        yield pa.record_batch({"id": pa.array(np.random.default_rng(n).random(50_000))})
        if n == 60:
            print("writing", flush=True)
            time.sleep(600)

reader = pa.RecordBatchReader.from_batches(pa.schema([("id", pa.float64())]), batches())
Lakehouse().overwrite(sys.argv[1], reader, stamp={"fingerprint": "g"})
"""


def test_a_write_killed_in_the_middle_leaves_the_last_good_version(
    home: Home, lakehouse: Lakehouse
) -> None:
    lakehouse.overwrite(KEY, arrow([("a", 1, 1)]), stamp=STAMP)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOR_EVER, KEY], stdout=subprocess.PIPE, env=os.environ.copy()
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    assert content(lakehouse) == [("a", 1, 1)]
    assert lakehouse.tables.stamp(KEY)["fingerprint"] == "f"
    lakehouse.overwrite(KEY, arrow([("b", 2, 2)]))
    assert content(lakehouse) == [("b", 2, 2)]


def test_a_table_that_another_program_wrote_has_no_stamp(lakehouse: Lakehouse) -> None:
    write_deltalake(lakehouse.tables.path(KEY), arrow([("a", 1, 1)]))
    assert lakehouse.tables.stamp(KEY) == {}


def test_an_unchanged_frame_is_read_lazily(lakehouse: Lakehouse, spark: "SparkSession") -> None:
    lakehouse.overwrite(KEY, arrow([("a", 1, 1)]))
    frame: DataFrame = lakehouse.read(KEY)
    lakehouse.overwrite(KEY, frame.selectExpr("id", "n + 1 AS n", "date"))
    assert content(lakehouse) == [("a", 2, 1)]


# as others write meanwhile ------------------------------------------------------------------------
@pytest.mark.parametrize("is_large", [True, False])
def test_a_pinned_table_is_read_as_it_stood_however_often_and_however_long_it_had_stood(
    lakehouse: Lakehouse, request: pytest.FixtureRequest, is_large: bool
) -> None:
    if is_large:
        request.getfixturevalue("large")
    lakehouse.overwrite(KEY, arrow([("a", 1, 1)]))
    lakehouse.spark.sql(
        f"ALTER TABLE delta.`{lakehouse.tables.path(KEY)}` "
        "SET TBLPROPERTIES ('delta.deletedFileRetentionDuration' = 'interval 1 seconds')"
    )
    time.sleep(1.5)
    pinned = lakehouse.pinned(lakehouse.tables.pinned(lakehouse.tables.stands([KEY, "raw/later"])))
    frame = pinned.read(KEY)
    lakehouse.overwrite(KEY, arrow([("b", 1, 1), ("c", 1, 1)]))  # by another run
    lakehouse.overwrite("raw/later", arrow([("d", 1, 1)]))
    for read in (frame, frame, pinned.read(KEY)):
        assert [row.id for row in read.collect()] == ["a"]
    assert pinned.written(KEY).rows == 1
    assert lakehouse.read(KEY).count() == 2
    with pytest.raises(TableError, match=r"there is no table raw/later"):
        pinned.read("raw/later")


def test_a_table_whose_log_names_a_collation_is_written_once_more(lakehouse: Lakehouse) -> None:
    """As pyspark's Connect client made an earlier version write it; delta-rs cannot open it."""
    key = "cleaned/collated"
    rows = pa.table({"id": ["a", "b"], "tags": [["x"], None], "n": [1, 2]})
    lakehouse.overwrite(key, rows, stamp={"fingerprint": "f"})
    log = Path(lakehouse.tables.path(key), "_delta_log", f"{0:020}.json")
    log.write_text(log.read_text().replace('\\"string\\"', '\\"string collate UTF8_BINARY\\"'))
    with pytest.raises(CollatedError, match="mends"):
        lakehouse.tables.delta(key)
    assert mended(lakehouse, [key, "cleaned/never_made"]) == [key]
    assert lakehouse.tables.dataset(key).to_table().sort_by("id").equals(rows)
    assert lakehouse.tables.columns(key)["id"] == "string"
    assert lakehouse.tables.stamp(key)["fingerprint"] == "f"
    assert mended(lakehouse, [key]) == []
