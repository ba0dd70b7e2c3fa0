"""What Spark commits of a holder whose lease lapsed: nothing, wherever it was paused."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from dmp_assets.platform.lake import fences
from dmp_assets.platform.lake.delta_commit import Commit
from dmp_assets.platform.lake.fences import Mark
from dmp_assets.platform.lake.lease_holders import LeaseLostError
from dmp_assets.platform.lake.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

KEY = "raw/a"


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    """One table with one row, whose log has the number 10."""
    tables = Tables(str(tmp_path))
    Commit(tables, KEY, "append", {}, mark=Mark(10)).by_delta_rs(rows(1))
    return tables


def rows(*numbers: int) -> pa.Table:
    return pa.table({"n": pa.array(numbers, pa.int32())})


def found(tables: Tables) -> list[int]:
    return sorted(tables.sql("SELECT n FROM raw.a").column("n").to_pylist())


def merge(spark: "SparkSession", tables: Tables, mark: Mark) -> None:
    spark.createDataFrame([(1,)], "n int").createOrReplaceTempView("gone")
    for name, said in mark.conf().items():
        spark.conf.set(name, said)
    try:
        spark.sql(
            f"MERGE INTO delta.`{tables.path(KEY)}` t USING gone s ON t.n = s.n "
            "WHEN MATCHED THEN DELETE"
        ).collect()
    finally:
        for name in mark.conf():
            spark.conf.unset(name)


WRITES: dict[str, Callable[["SparkSession", Tables, Mark, "DataFrame"], None]] = {
    "append": lambda _, tables, mark, frame: Commit(tables, KEY, "append", {}, mark=mark).by_spark(
        frame
    ),
    "a stream's batch": lambda _, tables, mark, frame: Commit(
        tables, KEY, "append", {}, mark=mark, transaction=("a-query", 0)
    ).by_spark(frame),
    "overwrite": lambda _, tables, mark, frame: Commit(
        tables, KEY, "overwrite", {}, mark=mark
    ).by_spark(frame),
    "a window": lambda _, tables, mark, frame: Commit(
        tables, KEY, "overwrite", {}, mark=mark, where="n >= 1"
    ).by_spark(frame),
    "merge": lambda spark, tables, mark, _: merge(spark, tables, mark),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_number_that_was_passed_commits_nothing(
    spark: "SparkSession", tables: Tables, write: str
) -> None:
    frame = spark.createDataFrame([(2,)], "n int")
    WRITES[write](spark, tables, Mark(9), frame)
    assert (tables.version(KEY), found(tables)) == (0, [1])
    with pytest.raises(LeaseLostError, match="too late"):  # of which the writer is told
        Mark(9, "too late").checked(tables.delta(KEY))
    WRITES[write](spark, tables, Mark(11), frame)
    assert tables.delta(KEY).transaction_version(fences.APPLICATION) == 11
    assert tables.version(KEY) == 1


@pytest.mark.parametrize("write", ["append", "a stream's batch", "overwrite"])
def test_a_commit_that_was_overtaken_while_it_was_computed_is_refused(
    spark: "SparkSession", tables: Tables, tmp_path: Path, write: str
) -> None:
    begun, go_on = tmp_path / "begun", tmp_path / "go-on"

    def held_up(batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            begun.touch()
            while not go_on.exists():
                time.sleep(0.02)
            yield batch

    frame = spark.createDataFrame([(2,)], "n int").mapInArrow(held_up, "n int")
    raised: list[Exception] = []

    def run() -> None:
        try:
            WRITES[write](spark, tables, Mark(11), frame)
        except Exception as error:  # noqa: BLE001  (looked at below)
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not begun.exists():
        time.sleep(0.02)
    fences._refuse(tables, KEY, Mark(12))
    go_on.touch()
    thread.join()
    assert "DELTA_CONCURRENT_TRANSACTION" in str(raised[0])
    assert (tables.version(KEY), found(tables)) == (1, [1])


def test_a_batch_of_a_home_alone_is_committed_once_by_its_transaction(
    spark: "SparkSession", tables: Tables
) -> None:
    frame = spark.createDataFrame([(2,)], "n int")
    batch = Commit(tables, KEY, "append", {}, transaction=("a-query", 3))
    for _ in range(2):
        batch.by_spark(frame)
    assert found(tables) == [1, 2]
    assert tables.delta(KEY).transaction_version("a-query") == 3


def test_one_commit_of_delta_rs_carries_lease_and_batch(tables: Tables) -> None:
    batch = Commit(tables, KEY, "append", {}, mark=Mark(11), transaction=("a-query", 3))
    batch.by_delta_rs(rows(2))
    delta = tables.delta(KEY)
    noted = [delta.transaction_version(name) for name in (fences.APPLICATION, "a-query")]
    assert (noted, found(tables)) == ([11, 3], [1, 2])
