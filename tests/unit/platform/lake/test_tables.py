"""Tables read without a JVM: keys, versions, stamps and SQL over real Delta tables."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.fs as pafs
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake

from dmp_assets.platform.lake.files import _listed
from dmp_assets.platform.lake.tables import STAMP, TableError, Tables, named_tables, usual_memory


def numbers(*values: int) -> pa.Table:
    return pa.table({"n": pa.array(values, pa.int64())})


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    """raw/ones in three versions: 1 row, 2 rows (stamped), 3 rows."""
    tables = Tables(str(tmp_path))
    stamped = CommitProperties(custom_metadata={STAMP: json.dumps({"data_version": "two"})})
    write_deltalake(tables.path("raw/ones"), numbers(1))
    write_deltalake(tables.path("raw/ones"), numbers(2), mode="append", commit_properties=stamped)
    write_deltalake(tables.path("raw/ones"), numbers(3), mode="append")
    return tables


def test_the_key_is_the_place_of_the_table(tables: Tables) -> None:
    assert tables.path("cleaned/users") == f"{tables.root}/cleaned/users"


@pytest.mark.parametrize("key", ["users", "gold/users", "raw/", "raw/../x", "raw/Users", "raw/a b"])
def test_what_is_no_key_of_a_layer_is_refused(tables: Tables, key: str) -> None:
    with pytest.raises(TableError, match="is not layer/table"):
        tables.path(key)


def test_a_missing_table_is_named(tables: Tables) -> None:
    assert not tables.exists("raw/twos")
    assert tables.stamp("raw/twos") == {}
    with pytest.raises(TableError, match="there is no table raw/twos"):
        tables.sql("SELECT * FROM raw.twos")


def test_an_old_version_can_be_read_by_number_and_by_pin(tables: Tables) -> None:
    assert tables.version("raw/ones") == 2
    assert tables.dataset("raw/ones", version=0).count_rows() == 1
    pinned = Tables(tables.root, versions={"raw/ones": 1})
    assert pinned.scalar("SELECT count(*) FROM raw.ones") == 2
    assert pinned.version("raw/ones") == 1


@pytest.mark.parametrize("version", [3, 99])
def test_a_version_that_is_not_there_is_refused_with_those_that_are(
    tables: Tables, version: int
) -> None:
    with pytest.raises(TableError, match=rf"no version {version}; .*oldest .* 0, the newest 2"):
        tables.dataset("raw/ones", version=version)
    with pytest.raises(TableError, match="the oldest"):
        Tables(tables.root, versions={"raw/ones": version}).dataset("raw/ones")


def test_the_stamp_is_that_of_the_last_write_that_noted_one(tables: Tables) -> None:
    assert tables.stamp("raw/ones") == {"data_version": "two", "delta_version": 1}


def test_the_time_of_the_last_commit_is_in_utc(tables: Tables) -> None:
    written = tables.written_at("raw/ones")
    assert written.tzinfo is UTC
    assert abs((datetime.now(UTC) - written).total_seconds()) < 60


def test_columns_are_named_with_their_delta_types(tables: Tables) -> None:
    assert tables.columns("raw/ones") == {"n": "long"}


def test_a_column_added_later_is_null_in_the_rows_from_before(tables: Tables) -> None:
    more = numbers(4).append_column("note", pa.array(["x"]))
    write_deltalake(tables.path("raw/ones"), more, mode="append", schema_mode="merge")
    for condition, found in {"IS NULL": [1, 2, 3], "IS NOT NULL": [4], "= 'x'": [4]}.items():
        query = f"SELECT n FROM raw.ones WHERE note {condition} ORDER BY n"
        assert tables.sql(query)["n"].to_pylist() == found
    assert tables.sql("SELECT count(*), count(note) FROM raw.ones").to_pylist() == [
        {"count_star()": 4, "count(note)": 1}
    ]


def test_a_table_without_rows_has_its_columns(tables: Tables) -> None:
    write_deltalake(tables.path("raw/none"), numbers())
    assert tables.sql("SELECT * FROM raw.none").to_pydict() == {"n": []}


def test_sql_joins_tables_of_several_layers_and_takes_parameters(tables: Tables) -> None:
    write_deltalake(tables.path("cleaned/ones"), numbers(1, 2))
    query = "SELECT n FROM raw.ones ANTI JOIN cleaned.ones USING (n) WHERE n > ?"
    assert tables.sql(query, [0]).column("n").to_pylist() == [3]


def test_tables_named_in_a_query_are_found_once_and_in_any_case() -> None:
    query = "SELECT * FROM Raw.users u JOIN cleaned.users USING (id) JOIN raw.users ON x.y = z.y"
    assert named_tables(query) == ("cleaned/users", "raw/users")
    assert named_tables("SELECT other.users") == ()


def test_times_are_utc_whatever_the_zone_of_the_machine(tables: Tables) -> None:
    midnight = pa.array([datetime(2024, 1, 1, tzinfo=UTC)], pa.timestamp("us", tz="UTC"))
    write_deltalake(tables.path("raw/times"), pa.table({"moment": midnight}))
    code = (
        "import sys; from dmp_assets.platform.lake.tables import Tables; "
        "print(Tables(sys.argv[1]).scalar('SELECT moment::VARCHAR || moment::DATE FROM raw.times'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tables.root],
        env=os.environ | {"TZ": "America/New_York"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "2024-01-01 00:00:00+002024-01-01"


# as others write meanwhile ------------------------------------------------------------------------
def _commit(root: Path, number: int) -> None:
    write_deltalake(
        str(root / "raw" / "t"),
        pa.table({"n": [number]}),
        mode="overwrite",
        commit_properties=CommitProperties(
            custom_metadata={STAMP: json.dumps({"data_version": f"v{number}"})}
        ),
    )


def test_a_table_that_is_written_while_its_log_is_read_keeps_its_own_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _commit(tmp_path, 0)
    original = DeltaTable.history

    def history(self: DeltaTable, limit: int | None = None) -> list[dict[str, Any]]:
        if self.version() == 0:  # another run commits between opening and looking
            monkeypatch.setattr(DeltaTable, "history", original)
            _commit(tmp_path, 1)
        return original(self, limit)

    monkeypatch.setattr(DeltaTable, "history", history)
    stood = Tables(str(tmp_path)).standing("raw/t")
    assert (stood.version, stood.stamp["data_version"]) == (0, "v0")


def test_what_is_pinned_stays_as_it_stood_and_what_was_absent_stays_absent(tmp_path: Path) -> None:
    tables = Tables(str(tmp_path))
    _commit(tmp_path, 0)
    pinned = tables.pinned(tables.stands(["raw/t", "raw/later"]))
    _commit(tmp_path, 1)
    write_deltalake(str(tmp_path / "raw" / "later"), pa.table({"n": [7]}))
    assert pinned.scalar("SELECT n FROM raw.t") == 0
    assert pinned.stamp("raw/t") == {"data_version": "v0", "delta_version": 0}
    assert pinned.standing("raw/t").version == 0
    assert pinned.written_at("raw/t") < tables.written_at("raw/t")
    assert not pinned.exists("raw/later")
    assert pinned.stamp("raw/later") == {}
    with pytest.raises(TableError, match=r"there is no table raw/later"):
        pinned.delta("raw/later")
    assert tables.scalar("SELECT n FROM raw.t") == 1
    assert tables.kept_versions("raw/t") == [0, 1]


def test_a_layer_that_is_made_while_it_is_looked_for_is_no_error(tmp_path: Path) -> None:
    """As Arrow has it: the folder is not there, and is there when it asks again."""
    selector = pafs.FileSelector(str(tmp_path / "raw"), allow_not_found=True)

    class Late:
        calls = 0

        def get_file_info(self, asked: pafs.FileSelector) -> list[pafs.FileInfo]:
            self.calls += 1
            if self.calls == 1:
                raise FileNotFoundError("Cannot list directory")
            return pafs.LocalFileSystem().get_file_info(asked)

    assert _listed(Late(), selector) == []  # type: ignore[arg-type]


def test_what_does_not_fit_the_memory_says_which_setting_gives_more(tables: Tables) -> None:
    small = replace(tables, memory="20MB")
    with pytest.raises(TableError, match=r"20MB of memory are too few.*DMP_DUCKDB_MEMORY"):
        small.sql("SELECT list(repeat(i::VARCHAR, 40)) FROM range(2000000) r(i)")


def test_memory_is_a_share_of_the_machine_and_never_less_than_a_gigabyte() -> None:
    found = re.fullmatch(r"([0-9.]+) ?([GT])i?B", usual_memory())
    assert found
    given = float(found[1]) * {"G": 2**30, "T": 2**40}[found[2]]
    assert 1e9 <= given <= max(1e9, psutil.virtual_memory().total / 8 * 1.1)  # a container has less
