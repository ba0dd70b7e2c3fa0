"""Rows of large tables deleted by Spark, and what its writer notes of the values of columns."""

import pyarrow as pa
import pytest

from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.spark import SMALL
from tests.support.delta_log import actions, bounded, commits, statistics

KEY = "cleaned/people"


@pytest.fixture
def lakehouse(lakehouse: Lakehouse) -> Lakehouse:
    """A lakehouse that is not small, with a table that Spark wrote."""
    lakehouse.expect(SMALL + 1)
    frame = lakehouse.spark.createDataFrame(people())
    lakehouse.overwrite(KEY, frame, stamp={"fingerprint": "f"}, bounded=["n"])
    return lakehouse


def people() -> pa.Table:
    return pa.table(
        {
            "user_id": ["zqa", "zqb", "zqc", None],
            "n": [1, 2, 3, 4],
            "linked": pa.array([["zqb"], ["zqa", "zqc"], [], None], pa.list_(pa.string())),
        }
    )


def test_spark_deletes_and_writes_without_a_value_in_the_log(lakehouse: Lakehouse) -> None:
    path = lakehouse.tables.path(KEY)
    assert lakehouse.delete(KEY, pa.table({"user_id": ["zqa", "zqa", None]}), bounded=["n"]) == 1
    linked = pa.table({"linked": pa.array([["zqa", "zqc"]], pa.list_(pa.string()))})
    assert lakehouse.delete(KEY, linked, bounded=["n"]) == 1
    assert lakehouse.delete(KEY, pa.table({"user_id": ["nobody"]}), bounded=["n"]) == 0
    assert sorted(lakehouse.tables.dataset(KEY).to_table()["n"].to_pylist()) == [3, 4]
    assert [one["operation"] for one in actions(path, "commitInfo")] == ["WRITE", "MERGE", "MERGE"]
    assert all("zq" not in commit for commit in commits(path))
    assert bounded(path) == {"n"}
    assert all(said["numRecords"] for said in statistics(path))
    assert lakehouse.tables.stamp(KEY)["fingerprint"] == "f"


def test_spark_goes_on_with_a_table_whose_columns_and_properties_change(
    lakehouse: Lakehouse,
) -> None:
    path, spark = lakehouse.tables.path(KEY), lakehouse.spark
    renamed = people().rename_columns(["user_id", "m", "linked"])
    lakehouse.overwrite(KEY, spark.createDataFrame(renamed), bounded=["m"])
    wider = renamed.append_column("k", pa.array([1, 2, 3, 4]))
    lakehouse.append(KEY, spark.createDataFrame(wider), bounded=["m", "k"])
    lakehouse.merge(KEY, spark.createDataFrame(wider), keys=["m"], bounded=["k"])
    lakehouse.overwrite(KEY, spark.createDataFrame(people()))
    assert lakehouse.written(KEY).rows == 4
    assert bounded(path) == {"n", "m", "k"}
    assert set(statistics(path)[-1]) == {"numRecords"}
