"""The warehouse: what it holds, that it is replaced whole, that readers and runs never meet."""

import subprocess
import sys
import threading
from pathlib import Path

import dagster as dg
import duckdb
import filelock
import pytest

from dmp_assets.home import Home
from dmp_assets.platform.faces.lake import declared, lakes
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.marts import warehouse
from tests.support import lakehouse

DECLARED = declared()
MARTS = [mart for given in lakes().values() for mart in given.marts]
READER = """
import sys, duckdb
with duckdb.connect(sys.argv[1], read_only=True) as c:
    print(c.sql("SELECT count(*) FROM daily_activity").fetchall()[0][0], flush=True)
    sys.stdin.readline()
    print(c.sql("SELECT sum(registrations) FROM daily_activity").fetchall()[0][0], flush=True)
"""


def tables(home: Home) -> Tables:
    return Tables(str(home.lakehouse))


def query(home: Home, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        return connection.sql(sql).fetchall()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = lakehouse.build(tmp_path_factory.mktemp("home"))
    warehouse.build(tables(home), home.warehouse, MARTS, DECLARED, fingerprint="a")
    return home


def test_every_mart_and_column_carries_its_description(home: Home) -> None:
    described = dict(query(home, "SELECT table_name, comment FROM duckdb_tables()"))
    assert {m.name: m.about for m in MARTS}.items() <= described.items()
    columns = query(
        home,
        "SELECT table_name, column_name, comment FROM duckdb_columns() "
        "WHERE table_name <> 'about_this_file' AND NOT internal",
    )
    known = {(m.name, c): d for m in MARTS for c, d in m.columns.items()}
    assert {(t, c): d for t, c, d in columns} == known


def test_marts_count_what_the_lakehouse_holds(home: Home) -> None:
    store = tables(home)
    assert query(home, "SELECT sum(usages), sum(registrations) FROM daily_activity") == [
        (
            store.scalar("SELECT count(*) FROM cleaned.promo_usages"),
            store.scalar("SELECT count(*) FROM cleaned.users"),
        )
    ]
    (accounts,) = query(home, "SELECT count(*), count(DISTINCT user_id) FROM promo_abuse_accounts")
    assert accounts == (400, 400)
    assert query(home, "SELECT sum(usages) FROM promo_code_performance") == [
        (store.scalar("SELECT count(*) FROM cleaned.promo_usages"),)
    ]
    flagged = store.scalar("SELECT count(*) FROM ml.abuse_scores WHERE decision <> 'allow'")
    assert query(home, "SELECT max(flagged) FROM abuse_by_signal") == [(flagged,)]


def test_daily_activity_has_no_gap(home: Home) -> None:
    assert query(home, "SELECT count(*) = max(date) - min(date) + 1 FROM daily_activity") == [
        (True,)
    ]


def test_top_users_share_a_rank_on_a_tie(home: Home) -> None:
    assert query(home, "SELECT count(DISTINCT usages) = count(DISTINCT rank) FROM top_users") == [
        (True,)
    ]


def test_nothing_is_built_again_when_nothing_changed(home: Home) -> None:
    before = home.warehouse.stat()
    built = warehouse.build(tables(home), home.warehouse, MARTS, DECLARED, fingerprint="a")
    assert built.unchanged
    assert built.rows["promo_abuse_accounts"] == 400
    assert home.warehouse.stat().st_mtime_ns == before.st_mtime_ns


def test_the_fingerprint_follows_the_inputs(tmp_path: Path) -> None:
    home = lakehouse.build(tmp_path)
    first, _ = warehouse.made_of(tables(home), MARTS)
    assert warehouse.made_of(tables(home), MARTS)[0] == first
    codes = lakehouse.tables()["cleaned/promo_codes"]
    lakehouse.write(home, "cleaned/promo_codes", codes, stamp="another")
    assert warehouse.made_of(tables(home), MARTS)[0] != first


def test_an_open_reader_neither_blocks_a_run_nor_loses_its_file(tmp_path: Path) -> None:
    home = lakehouse.build(tmp_path)
    warehouse.build(tables(home), home.warehouse, MARTS, DECLARED, fingerprint="old")
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(home.warehouse)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdin and reader.stdout
        assert int(reader.stdout.readline()) > 0
        lakehouse.build(tmp_path, users=200, seed=2)
        built = warehouse.build(tables(home), home.warehouse, MARTS, DECLARED, fingerprint="new")
        assert not built.unchanged
        assert query(home, "SELECT sum(registrations) FROM daily_activity") == [(200,)]
        reader.stdin.write("\n")
        reader.stdin.flush()
        assert int(reader.stdout.readline()) == 400
        reader.communicate(timeout=30)
        assert reader.returncode == 0


def test_a_writer_that_holds_the_file_does_not_block_a_run(tmp_path: Path) -> None:
    home = lakehouse.build(tmp_path)
    warehouse.build(tables(home), home.warehouse, MARTS, DECLARED, fingerprint="old")
    script = READER.replace(", read_only=True", "")
    with subprocess.Popen(
        [sys.executable, "-c", script, str(home.warehouse)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout
        assert int(holder.stdout.readline()) > 0
        assert not warehouse.build(
            tables(home), home.warehouse, MARTS, DECLARED, fingerprint="new"
        ).unchanged
        holder.communicate("\n", timeout=30)
        assert holder.returncode == 0
    assert query(home, "SELECT fingerprint FROM about_this_file") == [("new",)]


def test_a_failing_build_leaves_the_old_file(tmp_path: Path) -> None:
    home = lakehouse.build(tmp_path)
    warehouse.build(tables(home), home.warehouse, MARTS, DECLARED, fingerprint="old")
    broken = lakehouse.tables()["modeled/registrations_daily"].drop_columns(["verified_phone"])
    lakehouse.write(home, "modeled/registrations_daily", broken)
    with pytest.raises(duckdb.Error, match="verified_phone"):
        warehouse.build(tables(home), home.warehouse, MARTS, DECLARED, fingerprint="new")
    assert query(home, "SELECT fingerprint FROM about_this_file") == [("old",)]


def test_tables_that_are_not_there_yet_make_empty_marts(tmp_path: Path) -> None:
    home = lakehouse.build(tmp_path, without=["ml", "modeled", "quarantine", "cleaned"])
    rows = warehouse.build(tables(home), home.warehouse, MARTS, DECLARED, fingerprint="x").rows
    assert set(rows) == {mart.name for mart in MARTS}
    assert set(rows.values()) == {0}


def test_of_two_runs_that_build_it_the_second_waits_and_takes_what_is_there_by_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_HOME", str(tmp_path))
    home = lakehouse.build(tmp_path)
    done: list[bool] = []

    def build() -> None:
        made = dg.materialize(
            list(warehouse.assets({"all": MARTS}, DECLARED).values()),
            resources={"lakehouse": Lakehouse()},
        )
        done.append(made.success)

    with filelock.FileLock(home.warehouse.with_suffix(".lock")):
        building = threading.Thread(target=build)
        building.start()
        building.join(2)
        assert not home.warehouse.exists()
        lakehouse.build(tmp_path, users=200, seed=2)
    building.join(60)
    assert done == [True]
    assert query(home, "SELECT sum(registrations) FROM daily_activity") == [(200,)]
