"""Rows deleted by a table of keys: nothing of them is in the log, and everybody hears of it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from dmp_assets.home import Home
from dmp_assets.platform.lake import maintenance
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.tables import TableError
from tests.support.delta_log import commits, statistics
from tests.unit.platform.lake.test_table_asset import (
    Asset,
    Source,
    calls,  # noqa: F401
    cleaned_users,
    home,  # noqa: F401
    raw_users,
    rows,
    run,
    source,  # noqa: F401
)

KEY = "cleaned/people"
STAMP = {"fingerprint": "f", "data_version": "d", "figures": {"read": 4}, "max_row_id": 7}


@pytest.fixture
def lakehouse(home: Home) -> Lakehouse:  # noqa: F811
    """One with a table of four people, two of them linked, in a small home."""
    made = Lakehouse()
    made.overwrite(KEY, people(), stamp=STAMP)
    return made


def people() -> pa.Table:
    return pa.table(
        {
            "user_id": ["zqa", "zqb", "zqc", None],
            "n": [1, 2, 3, 4],
            "linked": pa.array([["zqb"], ["zqa", "zqc"], [], None], pa.list_(pa.string())),
        }
    )


def left(lakehouse: Lakehouse) -> list[int]:
    return sorted(lakehouse.tables.dataset(KEY).to_table()["n"].to_pylist())


@pytest.mark.parametrize(
    ("keys", "remain"),
    [
        ({"user_id": ["zqa"]}, [2, 3, 4]),
        ({"user_id": ["zqa", "zqa", "zqc", "nobody"]}, [2, 4]),
        ({"user_id": ["zqa", "zqb"], "n": [1, 1]}, [2, 3, 4]),
        ({"linked": [["zqa", "zqc"]]}, [1, 3, 4]),
        ({"user_id": pa.array([None], pa.string())}, [1, 2, 3, 4]),
        ({"user_id": pa.array([], pa.string())}, [1, 2, 3, 4]),
    ],
)
def test_rows_go_whose_columns_hold_what_a_key_holds(
    lakehouse: Lakehouse, keys: dict[str, list[object]], remain: list[int]
) -> None:
    version = lakehouse.tables.version(KEY)
    deleted = lakehouse.delete(KEY, pa.table(keys))
    assert (left(lakehouse), deleted) == (remain, 4 - len(remain))
    assert (lakehouse.tables.version(KEY) > version) is bool(deleted)


def test_nothing_of_keys_and_rows_is_in_what_the_deletion_notes(lakehouse: Lakehouse) -> None:
    path = lakehouse.tables.path(KEY)
    assert lakehouse.delete(KEY, pa.table({"user_id": ["zqa", "zqc"]})) == 2
    text = commits(path)[-1]
    assert "MERGE" in text
    for value in ("zqa", "zqb", "zqc"):
        assert value not in "".join(commits(path))


def test_a_table_that_an_earlier_version_made_notes_no_values_of_who_stays(
    lakehouse: Lakehouse,
) -> None:
    path = lakehouse.tables.path("cleaned/old")
    write_deltalake(path, people())
    assert "zqa" in commits(path)[0], "as it was"
    assert lakehouse.delete("cleaned/old", pa.table({"user_id": ["zqa"]})) == 1
    assert all("zq" not in commit for commit in commits(path)[1:])
    assert statistics(path)[-1]["numRecords"] == 3


def test_the_last_write_is_noted_as_it_was_but_for_its_data(lakehouse: Lakehouse) -> None:
    lakehouse.delete(KEY, pa.table({"user_id": ["zqa"]}))
    first = lakehouse.tables.stamp(KEY)
    lakehouse.delete(KEY, pa.table({"user_id": ["zqb"]}))
    second = lakehouse.tables.stamp(KEY)
    for stamp in (first, second):
        assert {name: stamp[name] for name in STAMP if name != "data_version"} == {
            name: said for name, said in STAMP.items() if name != "data_version"
        }
    assert len({"d", first["data_version"], second["data_version"]}) == 3


def test_a_table_that_was_never_made_and_a_column_that_is_not_there_are_refused(
    lakehouse: Lakehouse,
) -> None:
    with pytest.raises(TableError, match="there is no table raw/people"):
        lakehouse.delete("raw/people", pa.table({"user_id": ["zqa"]}))
    for keys in (pa.table({"nobody": ["zqa"]}), pa.table({})):
        with pytest.raises(ValueError, match="the keys have columns of cleaned/people") as refused:
            lakehouse.delete(KEY, keys)
        assert "zqa" not in str(refused.value)


def test_what_was_deleted_is_not_read_again_and_all_that_is_made_of_it_is_made_anew(
    home: Home,  # noqa: F811
    calls: list[str],  # noqa: F811
    source: Source,  # noqa: F811
) -> None:
    source["rows"] = [{"id": "zqa", "email": "x"}, {"id": "zqb", "email": "y"}]
    graph: tuple[Asset, Asset] = (raw_users(calls, source), cleaned_users(calls))
    assert run(*graph).success
    calls.clear()
    assert Lakehouse().delete("raw/users", rows({"id": "zqa"}).select(["id"])) == 1
    assert run(*graph).success
    assert calls == ["cleaned/users"], "the raw table is up to date"
    for key in ("raw/users", "cleaned/users"):
        assert Lakehouse().tables.dataset(key).to_table()["id"].to_pylist() == ["zqb"]
    source["rows"] = [*source["rows"], {"id": "zqc", "email": "z"}]
    assert run(*graph).success
    assert Lakehouse().tables.sql("SELECT count(*) AS n FROM raw.users")["n"][0].as_py() == 3, (
        "a source that is read whole still has the row"
    )


def test_older_versions_and_their_log_are_forgotten_and_the_table_stays(
    lakehouse: Lakehouse,
) -> None:
    path = Path(lakehouse.tables.path(KEY))
    lakehouse.append(KEY, people().slice(1, 1), stamp=STAMP)
    lakehouse.delete(KEY, pa.table({"user_id": ["zqa"]}))
    rows, stamp = left(lakehouse), lakehouse.tables.stamp(KEY)
    kept = lakehouse.tables.delta(KEY).metadata().configuration
    assert maintenance.forget_versions(lakehouse.tables, KEY)
    held = [repr(pq.read_table(file).to_pylist()) for file in path.glob("*.parquet")]
    assert held and "zqa', 'n'" not in "".join(held)
    assert left(lakehouse) == rows
    now = lakehouse.tables.stamp(KEY)
    assert {**now, "delta_version": 0} == {**stamp, "delta_version": 0}
    assert lakehouse.tables.delta(KEY).metadata().configuration == kept
    assert len(commits(path)) <= 3
    with pytest.raises(TableError, match="the oldest that can be read is"):
        lakehouse.tables.dataset(KEY, 0)
    lakehouse.append(KEY, people(), stamp=STAMP)
    assert len(left(lakehouse)) == len(rows) + 4
    files = set(path.glob("*.parquet"))
    maintenance.forget_versions(lakehouse.tables, KEY)
    assert set(path.glob("*.parquet")) == files, "what is read now stays"
    assert len(left(lakehouse)) == len(rows) + 4
