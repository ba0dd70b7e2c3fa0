"""Spark leaves out the rows of the same people as Python does."""

import pyarrow as pa
import pytest

from dmp_assets.home import Home
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.privacy import suppression
from dmp_assets.platform.privacy.suppression import Suppressed
from dmp_assets.platform.values.numerals import INVISIBLE
from dmp_assets.platform.values.words import SPACES

COLUMNS = {"user_id": Column("string", "As received.", "identifier", "user_id")}
WRITTEN = [
    "zq1", " zq1", "zq1\n", "z\u200bq1", f"{SPACES}zq1{SPACES}", f"zq{INVISIBLE}1",
    "ZQ1", "zq 1", "zq11", "zqü", "z$\\1", "", None,
]  # fmt: skip


def test_spark_leaves_out_what_python_does_and_plans_no_hash(
    home: Home, lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    suppression.add(home, "user_id", ["zq1", "zqü", "z$\\1"])
    rows, told = pa.table({"user_id": pa.array(WRITTEN, pa.string())}), list[int]()
    known = Suppressed.of(home)
    wanted = known.without(rows, COLUMNS, told.append)
    frame = known.without(lakehouse.spark.createDataFrame(rows), COLUMNS, told.append)
    assert frame.toArrow()["user_id"].to_pylist() == wanted["user_id"].to_pylist()
    assert wanted["user_id"].to_pylist() == ["ZQ1", "zq 1", "zq11", "", None]
    assert told == [8, 8]
    frame.explain(extended=True)
    plan = capsys.readouterr().out
    assert "_mark_0" in plan
    assert [one for one in known.hashes["user_id"] if one in plan] == []
    other = lakehouse.spark.createDataFrame(pa.table({"favourite": ["zq1"]}))
    assert known.without(other, COLUMNS, told.append) is other


def test_a_row_of_several_people_is_left_out_when_one_of_them_was_forgotten(
    home: Home, lakehouse: Lakehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    suppression.add(home, "user_id", ["zq1", "zq2"])
    people = [["zq1", "zq2"], ["zq3", " zq2"], ["zq3", "zq4"], ["zq3", None], [None], [], None]
    rows = pa.table({"number": range(len(people)), "user_id": people})
    told, known = list[int](), Suppressed.of(home)
    wanted = known.without(rows, COLUMNS, told.append)
    frame = known.without(lakehouse.spark.createDataFrame(rows), COLUMNS, told.append)
    assert sorted(frame.toArrow()["number"].to_pylist()) == wanted["number"].to_pylist()
    assert wanted["number"].to_pylist() == [2, 3, 4, 5, 6]
    assert told == [2, 2]
    frame.explain(extended=True)
    plan = capsys.readouterr().out
    assert "_mark_0" in plan
    assert [one for one in known.hashes["user_id"] if one in plan] == []
