"""Homes that share a lakehouse: one of them writes a table, and one whose turn is over does not."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from deltalake.exceptions import CommitFailedError
from pydantic import SecretStr

from dmp_assets.cli.service import migrate_home
from dmp_assets.cli.status import state
from dmp_assets.home import Home, HomeError
from dmp_assets.platform.lake import fences, leases
from dmp_assets.platform.lake.delta_commit import Commit
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.lease_database import LeaseDatabase, LeaseDatabaseError
from dmp_assets.platform.lake.lease_holders import BusyError, LeaseLostError
from dmp_assets.platform.lake.shared_leases import FILE
from dmp_assets.platform.lake.tables import Tables
from tests.support.postgres import fresh_database, stoppable_server

SECONDS = 2  # in which a lease lapses here
SURELY = 30
KEY = "raw/a"
HOLD = """
import sys
from pathlib import Path
import pyarrow as pa
from dmp_assets.home import Home
from dmp_assets.platform.lake import leases
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.base.errors import UserError
home, rows = Home(Path(sys.argv[1])), pa.table({"n": [int(sys.argv[2])]})
import os
os.environ["DMP_HOME"] = sys.argv[1]
with leases.taken(home, f"run-{sys.argv[2]}", ["raw/a"]) as lease:
    print("held", flush=True)
    sys.stdin.readline()
    try:
        Lakehouse().append("raw/a", rows)
    except UserError as error:
        print(type(error).__name__, flush=True)
    else:
        print("written", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def lakehouse(tmp_path: Path, shop_url: SecretStr, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of one that live homes share."""
    root = tmp_path / "lakehouse"
    monkeypatch.setenv("DMP_LAKEHOUSE_ROOT", str(root))
    monkeypatch.setenv("DMP_LEASE_DATABASE_URL", shop_url.get_secret_value())
    monkeypatch.setenv("DMP_LEASE_SECONDS", str(SECONDS))
    return root


@pytest.fixture
def homes(tmp_path: Path, lakehouse: Path) -> tuple[Home, Home]:
    return Home(tmp_path / "one").prepare("live"), Home(tmp_path / "two").prepare("live")


class Other:
    """A process of a home that holds raw/a and appends its number to it when it is told."""

    def __init__(self, home: Home, number: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(home.root), str(number)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.says() == "held"

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@contextmanager
def other(home: Home, number: int) -> Iterator[Other]:
    process = Other(home, number)
    try:
        yield process
    finally:
        process.process.kill()
        process.process.communicate()


def rows(lakehouse: Path) -> list[int]:
    return sorted(Tables(str(lakehouse)).sql("SELECT n FROM raw.a").column("n").to_pylist())


def append(home: Home, run_id: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMP_HOME", str(home.root))
    with leases.taken(home, run_id, [KEY], wait=True):
        Lakehouse().append(KEY, pa.table({"n": [number]}))


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + SURELY
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


# who holds what -----------------------------------------------------------------------------------
def test_what_one_home_writes_no_other_home_does(homes: tuple[Home, Home]) -> None:
    one, two = homes
    with leases.taken(one, "run-1", ["raw/a", "raw/b", "reports/x"]) as lease:
        with (
            pytest.raises(BusyError, match=rf"run run-1 \(home {one.root} on .*raw/b"),
            leases.taken(two, "run-2", ["raw/b"]),
        ):
            pytest.fail("both hold raw/b")
        with pytest.raises(BusyError, match="run-1"):
            leases.refuse(two, None)
        assert leases.living(two) == []
        with leases.taken(two, "run-2", ["raw/c", "reports/x"]):  # a report is a home's own
            assert [one.run_id for one in leases.living_beyond(one)] == ["run-1", "run-2"]
        lease.give_back(["raw/b"])
        with leases.taken(two, "run-3", ["raw/b"]):
            pass
    assert leases.living_beyond(two) == []
    with leases.taken(two, "reset", None):
        pass


def test_who_waits_goes_on_when_the_other_home_is_done(homes: tuple[Home, Home]) -> None:
    one, two = homes
    order: list[str] = []

    def run() -> None:
        with leases.taken(two, "run-2", [KEY], wait=True):
            order.append("two")

    with leases.taken(one, "run-1", [KEY]):
        thread = threading.Thread(target=run)
        thread.start()
        until(lambda: any(held.waiting for held in leases.living_beyond(one)))
        order.append("one")
    thread.join(SURELY)
    assert order == ["one", "two"]


def test_a_waiting_run_that_is_stopped_leaves_no_place(homes: tuple[Home, Home]) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with leases.taken(homes[0], "run-1", [KEY]):
        with (
            pytest.raises(KeyboardInterrupt),
            leases.taken(homes[1], "run-2", [KEY], wait=True, meanwhile=stop),
        ):
            pytest.fail("it was stopped")
        assert [held.run_id for held in leases.living_beyond(homes[0])] == ["run-1"]
        assert leases.living(homes[1]) == []


def test_a_home_that_is_alone_asks_no_database(
    home: Home, lakehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LeaseDatabase, "turn", lambda *_, **__: pytest.fail("asked"))
    with leases.taken(home, "run-1", [KEY]) as lease:  # a sandbox home: its lakehouse is its own
        assert lease.beyond is None


# holders that die or sleep ------------------------------------------------------------------------
def test_what_a_killed_run_held_is_taken_over(
    homes: tuple[Home, Home], lakehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(homes[0], "first", 1, monkeypatch)
    with other(homes[0], 2) as killed:
        killed.process.kill()
        began = time.monotonic()
        append(homes[1], "after", 3, monkeypatch)
        assert time.monotonic() - began > SECONDS / 2
    assert rows(lakehouse) == [1, 3]
    assert leases.living_beyond(homes[0]) == []


def test_a_paused_run_that_wakes_writes_nothing(
    homes: tuple[Home, Home], lakehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(homes[0], "first", 1, monkeypatch)
    with other(homes[0], 2) as paused:
        os.kill(paused.process.pid, signal.SIGSTOP)
        append(homes[1], "after", 3, monkeypatch)
        paused.go_on()
        os.kill(paused.process.pid, signal.SIGCONT)
        assert paused.says() == "LeaseLostError"
    assert rows(lakehouse) == [1, 3]


def test_a_pause_that_nobody_used_costs_nothing(homes: tuple[Home, Home], lakehouse: Path) -> None:
    with other(homes[0], 2) as paused:
        os.kill(paused.process.pid, signal.SIGSTOP)
        time.sleep(1.5 * SECONDS)
        paused.go_on()
        os.kill(paused.process.pid, signal.SIGCONT)
        assert paused.says() == "written"
    assert rows(lakehouse) == [2]


@pytest.mark.parametrize("mode", ["append", "overwrite"])
@pytest.mark.parametrize("reads", ["before", "after"])
def test_the_log_refuses_a_commit_of_before_whoever_makes_it(
    homes: tuple[Home, Home],
    lakehouse: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    reads: str,
) -> None:
    """The window between asking and committing: the holder is paused at its last step."""
    append(homes[0], "first", 1, monkeypatch)
    tables = Tables(str(lakehouse))
    with leases.taken(homes[0], "asleep", [KEY]) as lease:
        assert lease.beyond is not None
        stale = fences.Mark(lease.beyond.number(), "too late")
        delta = tables.delta(KEY)
        lease.beyond._over.set()  # it says no more that it lives
        append(homes[1], "after", 3, monkeypatch)
        commit = Commit(tables, KEY, mode, {}, mark=stale)
        if reads == "before":
            monkeypatch.setattr(Commit, "_target", lambda _: delta)
        with pytest.raises(CommitFailedError if reads == "before" else LeaseLostError):
            commit.by_delta_rs(pa.table({"n": [2]}))
    assert rows(lakehouse) == [1, 3]


def test_what_a_sleeper_made_first_is_not_written_over_in_the_dark(
    homes: tuple[Home, Home], lakehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = Tables(str(lakehouse))
    with leases.taken(homes[0], "asleep", [KEY]) as lease:
        assert lease.beyond is not None
        lease.beyond._over.set()
        monkeypatch.setenv("DMP_HOME", str(homes[1].root))
        with leases.taken(homes[1], "after", [KEY], wait=True):
            stale = Commit(tables, KEY, "append", {}, mark=fences.Mark(lease.beyond.number()))
            stale.by_delta_rs(pa.table({"n": [2]}))  # there was no log to refuse it
            with pytest.raises(LeaseLostError, match="was made by a run whose lease had lapsed"):
                Lakehouse().append(KEY, pa.table({"n": [2]}))
    assert rows(lakehouse) == [2]


def test_who_takes_over_and_dies_leaves_the_rest_to_the_next(
    homes: tuple[Home, Home], lakehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(homes[0], "first", 1, monkeypatch)
    tables = Tables(str(lakehouse))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with leases.taken(homes[0], "asleep", [KEY]) as lease:
        assert lease.beyond is not None
        lease.beyond._over.set()
        with monkeypatch.context() as during:
            during.setattr(fences, "_refuse", die)
            with pytest.raises(KeyboardInterrupt), leases.taken(homes[1], "x", [KEY], wait=True):
                pytest.fail("it died")
        before = tables.version(KEY)
        with leases.taken(homes[1], "after", [KEY], wait=True):
            assert tables.version(KEY) == before + 1
            assert tables.delta(KEY).transaction_version(fences.APPLICATION)
    assert rows(lakehouse) == [1]


def test_nobody_writes_a_shared_table_without_a_lease(
    homes: tuple[Home, Home], lakehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_HOME", str(homes[0].root))
    with leases.taken(homes[0], "run-1", ["raw/b"]), pytest.raises(LeaseLostError, match="raw/a"):
        Lakehouse().append(KEY, pa.table({"n": [1]}))
    assert not Tables(str(lakehouse)).exists(KEY)


# the database of the leases -----------------------------------------------------------------------
def test_homes_that_would_keep_leases_apart_are_refused(
    homes: tuple[Home, Home], lakehouse: Path, postgres: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with leases.taken(homes[0], "run-1", [KEY]):
        pass
    known = json.loads((lakehouse / FILE).read_text())
    with fresh_database(postgres) as elsewhere:  # type: ignore[arg-type]
        monkeypatch.setenv("DMP_LEASE_DATABASE_URL", elsewhere.get_secret_value())
        with pytest.raises(HomeError, match="kept in another database") as told:
            leases.refuse(homes[1], [KEY])
        assert elsewhere.get_secret_value() not in str(told.value)
        monkeypatch.delenv("DMP_LEASE_DATABASE_URL")
        with pytest.raises(HomeError, match="set DMP_LEASE_DATABASE_URL as it is there"):
            leases.refuse(homes[1], [KEY])
    assert json.loads((lakehouse / FILE).read_text()) == known


def test_a_file_of_leases_that_is_none_is_told(homes: tuple[Home, Home], lakehouse: Path) -> None:
    lakehouse.mkdir()
    (lakehouse / FILE).write_text('{"lakehouse": "x"}')
    with pytest.raises(HomeError, match=f"{FILE} cannot be read"):
        leases.refuse(homes[0], [KEY])


def test_a_role_that_may_make_no_tables_is_told_who_does(
    homes: tuple[Home, Home], shop_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = shop_url.get_secret_value()
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS lessee")
        owner.execute("CREATE ROLE lessee LOGIN PASSWORD 'secret-word'")
    try:
        theirs = psycopg.conninfo.conninfo_to_dict(url)
        monkeypatch.setenv(
            "DMP_LEASE_DATABASE_URL",
            f"postgresql://lessee:secret-word@{theirs['host']}:{theirs['port']}/{theirs['dbname']}",
        )
        with pytest.raises(LeaseDatabaseError, match="`dmp migrate`") as told:
            leases.refuse(homes[0], [KEY])
        assert "secret-word" not in str(told.value)
        LeaseDatabase(shop_url).make("lessee")
        with leases.taken(homes[0], "run-1", [KEY]):
            pass
    finally:
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute("DROP OWNED BY lessee")
            owner.execute("DROP ROLE lessee")


def test_a_database_that_restarts_takes_no_lease_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "lakehouse"
    with stoppable_server(durable=True) as server:
        url = server.endpoint().url("postgres").get_secret_value()
        monkeypatch.setenv("DMP_LAKEHOUSE_ROOT", str(root))
        monkeypatch.setenv("DMP_LEASE_DATABASE_URL", url)
        monkeypatch.setenv("DMP_LEASE_SECONDS", "10")
        one = Home(tmp_path / "one").prepare("live")
        two = Home(tmp_path / "two").prepare("live")
        monkeypatch.setenv("DMP_HOME", str(one.root))
        with leases.taken(one, "run-1", [KEY]):
            Lakehouse().append(KEY, pa.table({"n": [1]}))
            server.stop()
            with pytest.raises(LeaseDatabaseError, match="does not answer"):
                leases.refuse(two, [KEY])
            starts = threading.Timer(1, server.start)
            starts.start()
            Lakehouse().append(KEY, pa.table({"n": [2]}))  # waits until it is there again
            starts.join()
            with pytest.raises(BusyError, match="run-1"):
                leases.refuse(two, [KEY])
        with leases.taken(two, "run-2", [KEY]):
            pass
    assert rows(root) == [1, 2]


# what people see ----------------------------------------------------------------------------------
def test_the_status_of_a_home_shows_the_runs_of_the_others(homes: tuple[Home, Home]) -> None:
    with leases.taken(homes[0], "run-1", [KEY]):
        assert [line.topic for line in state(homes[0]) if "run-1" in line.text] == ["running"]
        (told,) = [line.text for line in state(homes[1]) if "run-1" in line.text]
        assert f"home {homes[0].root} on " in told


def test_a_store_that_keeps_the_leases_gets_their_tables_by_its_owner(
    tmp_path: Path, lakehouse: Path, shop_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = shop_url.get_secret_value()
    parts = psycopg.conninfo.conninfo_to_dict(url)
    service = f"postgresql://servant:word@{parts['host']}:{parts['port']}/{parts['dbname']}"
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS servant")
        owner.execute("CREATE ROLE servant LOGIN PASSWORD 'word'")
    try:
        monkeypatch.delenv("DMP_LEASE_DATABASE_URL")
        monkeypatch.setenv("DMP_STORE_URL", service)
        monkeypatch.setenv("DMP_STORE_OWNER_URL", url)
        home = Home(tmp_path / "home").prepare("live")
        with pytest.raises(LeaseDatabaseError, match="`dmp migrate` makes their tables"):
            leases.refuse(home, [KEY])
        migrate_home(home)
        with leases.taken(home, "run-1", [KEY]) as lease:
            assert lease.beyond is not None
    finally:
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute("DROP OWNED BY servant")
            owner.execute("DROP ROLE servant")
