"""Runs of different things go side by side; what one of them writes, no other does meanwhile."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import filelock
import pytest

from dmp_assets.home import Home, HomeError
from dmp_assets.platform.lake import leases
from dmp_assets.platform.lake.leases import BusyError

HOLD = """
import sys
from pathlib import Path
from dmp_assets.platform.lake import leases
from dmp_assets.home import Home
root, run_id, wait, *names = sys.argv[1:]
with leases.taken(Home(Path(root)), run_id, names or None, wait=bool(wait)) as lease:
    print("held", flush=True)
    for line in sys.stdin:
        lease.give_back([line.strip()])
        print("given back", flush=True)
"""
SECONDS = 20  # for what surely happens


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").prepare("sandbox")


class Other:
    """Another process that asks for a lease."""

    def __init__(self, home: Home, run_id: str, *names: str, wait: bool = False) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(home.root), run_id, "wait" if wait else "", *names],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.pid = self.process.pid

    def holds(self) -> "Other":
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"
        return self

    def give_back(self, name: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "given back\n"

    def end(self) -> int:
        self.process.communicate(timeout=SECONDS)
        return self.process.returncode

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def other(home: Home, run_id: str, *names: str, wait: bool = False) -> Iterator[Other]:
    process = Other(home, run_id, *names, wait=wait)
    try:
        yield process
    finally:
        process.kill()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def waits(home: Home, run_id: str) -> bool:
    return any(one.run_id == run_id and one.waiting for one in leases.living(home))


def files(home: Home) -> set[str]:
    return {path.name for path in (home.root / "leases").iterdir()}


# what can be held side by side --------------------------------------------------------------------
def test_runs_of_different_things_hold_theirs_at_the_same_time(home: Home) -> None:
    with other(home, "run-1", "raw/a", "raw/b") as one:
        one.holds()
        with leases.taken(home, "run-2", ["raw/c"]) as mine:
            assert mine.names == ("raw/c",)
            assert [one.run_id for one in leases.living(home)] == ["run-1", "run-2"]
    assert leases.living(home) == []


def test_what_another_holds_is_refused_naming_run_process_and_one_thing(home: Home) -> None:
    with other(home, "run-1", "raw/a", "raw/b") as one:
        one.holds()
        said = rf"busy: run run-1 \(process {one.pid}\) is writing raw/b; try again later or add"
        with pytest.raises(BusyError, match=said), leases.taken(home, "2", ["raw/b", "raw/c"]):
            pytest.fail("two writers at once")
        with pytest.raises(BusyError, match=said):
            leases.refuse(home, ["raw/b"])
        leases.refuse(home, ["raw/c"])  # all or nothing: the refused one holds nothing
        with leases.taken(home, "run-3", ["raw/c"]):
            pass


@pytest.mark.parametrize("names", [["raw/a"], [], None])
def test_the_whole_home_is_held_beside_nothing(home: Home, names: list[str] | None) -> None:
    with other(home, "run-1", "raw/a") as one:
        one.holds()
        with pytest.raises(BusyError, match="run run-1"), leases.taken(home, "backup", None):
            pytest.fail("a run is at work")
    with other(home, "backup") as one:
        one.holds()
        said = rf"busy: run backup \(process {one.pid}\) is writing"
        with pytest.raises(BusyError, match=said), leases.taken(home, "run-2", names):
            pytest.fail("the whole home is held")


def test_what_was_given_back_is_free_while_the_rest_is_held(home: Home) -> None:
    with other(home, "run-1", "raw/a", "raw/b") as one:
        one.holds().give_back("raw/a")
        with leases.taken(home, "run-2", ["raw/a"]):
            pass
        with pytest.raises(BusyError, match="raw/b"), leases.taken(home, "run-2", ["raw/b"]):
            pytest.fail("two writers at once")
        one.give_back("raw/b")
        one.give_back("never/held")
        with leases.taken(home, "run-2", ["raw/b"]):
            pass
        with pytest.raises(BusyError, match="run-1"), leases.taken(home, "reset", None):
            pytest.fail("a run that has written all its tables is at work still")


def test_no_more_runs_are_at_work_than_the_setting_allows(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_CONCURRENT_RUNS", "2")
    with other(home, "run-1", "raw/a") as one:
        one.holds()
        with other(home, "run-2", "raw/b") as two:
            two.holds()
            said = r"2 runs are at work, as many as DMP_CONCURRENT_RUNS allows; run run-1 \(process"
            with pytest.raises(BusyError, match=said), leases.taken(home, "run-3", ["raw/c"]):
                pytest.fail("three at once")
            with other(home, "run-3", "raw/c", wait=True) as three:
                until(lambda: waits(home, "run-3"))
                two.end()
                three.holds()


def test_one_who_waits_for_a_table_takes_no_place_from_others(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_CONCURRENT_RUNS", "2")
    with other(home, "run-1", "raw/a") as one:
        one.holds()
        with other(home, "run-2", "raw/a", wait=True):
            until(lambda: waits(home, "run-2"))
            with leases.taken(home, "run-3", ["raw/c"]):
                pass


# waiting ------------------------------------------------------------------------------------------
def test_who_waits_gets_a_table_as_soon_as_it_is_given_back(home: Home) -> None:
    with other(home, "run-1", "raw/a", "raw/b") as one:
        one.holds()
        with other(home, "run-2", "raw/a", wait=True) as two:
            until(lambda: waits(home, "run-2"))
            one.give_back("raw/a")
            two.holds()
            assert [one.names for one in leases.living(home)] == [("raw/b",), ("raw/a",)]


def test_those_who_wait_go_in_their_order_and_nobody_overtakes_them(home: Home) -> None:
    with other(home, "run-1", "raw/a") as one:
        one.holds()
        with other(home, "run-2", "raw/a", "raw/b", wait=True) as two:
            until(lambda: waits(home, "run-2"))
            with other(home, "run-3", "raw/b", wait=True) as three:
                until(lambda: waits(home, "run-3"))  # raw/b is free, but run-2 came before
                said = rf"run run-2 \(process {two.pid}\) waits to write raw/b"
                with pytest.raises(BusyError, match=said), leases.taken(home, "4", ["raw/b"]):
                    pytest.fail("overtaken")
                one.end()
                two.holds()
                assert waits(home, "run-3")
                two.end()
                three.holds()


def _order(home: Home) -> list[str]:
    return [one.run_id for one in leases.living(home)]


def test_one_who_waits_can_be_stopped_and_leaves_its_place(home: Home) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with other(home, "run-1", "raw/a") as one:
        one.holds()
        with (
            pytest.raises(KeyboardInterrupt),
            leases.taken(home, "run-2", ["raw/a"], wait=True, meanwhile=stop),
        ):
            pytest.fail("it waits")
        assert _order(home) == ["run-1"]
    assert leases.held(home, "run-2") is None


# ends ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("is_waiting", [False, True])
def test_a_killed_process_leaves_nothing_behind(home: Home, is_waiting: bool) -> None:
    with other(home, "run-1", "raw/a") as one:
        one.holds()
        with other(home, "run-2", "raw/a", wait=True) as two:
            until(lambda: waits(home, "run-2"))
            os.kill((two if is_waiting else one).pid, signal.SIGKILL)
            if is_waiting:
                until(lambda: _order(home) == ["run-1"])
            else:
                two.holds()
    with leases.taken(home, "backup", None):
        assert len(leases.living(home)) == 1
    assert files(home) == {"turn.lock"}


def test_a_run_goes_on_with_the_lease_that_it_holds(home: Home) -> None:
    with leases.taken(home, "run-1", ["raw/a"]) as first:
        with leases.taken(home, "run-1", None) as again:
            assert again is first
        assert leases.held(home, "run-1") is first
        with pytest.raises(BusyError), leases.taken(home, "run-2", ["raw/a"]):
            pytest.fail("another run of the same process")
    assert leases.held(home, "run-1") is None


def test_a_run_that_fails_frees_what_it_held(home: Home) -> None:
    with pytest.raises(ZeroDivisionError), leases.taken(home, "run-1", ["raw/a"]):
        _ = 1 / 0
    assert files(home) == {"turn.lock"}


def test_a_home_that_is_removed_meanwhile_is_no_error_at_the_end(home: Home) -> None:
    import shutil

    with leases.taken(home, "reset", None):
        shutil.rmtree(home.root)
    assert not home.root.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"names": 7}'])
def test_a_lease_whose_note_cannot_be_read_holds_everything(home: Home, text: str) -> None:
    with other(home, "run-1", "raw/a") as one:
        one.holds()
        (note,) = (home.root / "leases").glob("*.json")
        note.write_text(text)
        said = r"busy: run \? \(process \?\) is writing;"
        with pytest.raises(BusyError, match=said), leases.taken(home, "run-2", ["raw/b"]):
            pytest.fail("nobody knows what it holds")


def test_the_lock_of_an_earlier_version_holds_nothing(home: Home) -> None:
    (home.root / "run.json").write_text('{"run_id": "old", "pid": 1}')
    (home.root / "run.lock").touch()
    with leases.taken(home, "backup", None):
        pass


def test_looking_makes_nothing(tmp_path: Path) -> None:
    assert leases.living(Home(tmp_path / "home")) == []
    assert list(tmp_path.iterdir()) == []


def test_a_turn_that_never_ends_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_TURN_SECONDS", 0.1)
    with leases.taken(home, "run-1", []):
        pass
    with (
        filelock.FileLock(home.root / "leases" / "turn.lock"),
        pytest.raises(HomeError, match=r"another process has held .*turn\.lock"),
    ):
        leases.living(home)


# many at once -------------------------------------------------------------------------------------
NAMES = [f"raw/t{number}" for number in range(8)]
CROWD = """
import sys
from pathlib import Path
from dmp_assets.home import Home
from tests.unit.platform.lake.test_leases import crowd
crowd(Home(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3]))
"""


def crowd(home: Home, proof: Path, seed: int) -> None:
    """Runs in several threads: each takes some names, and would find another who holds one."""
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(_in_turns, home, proof, seed * 10 + n) for n in range(3)]:
            done.result()


def _in_turns(home: Home, proof: Path, seed: int) -> None:
    dice = random.Random(seed)
    for number in range(8):
        names = None if dice.random() < 0.1 else dice.sample(NAMES, dice.randint(1, 4))
        run_id = f"{seed}-{number}"
        with leases.taken(home, run_id, names, wait=True) as lease:
            held = NAMES if names is None else names
            for name in held:
                os.close(os.open(proof / name.replace("/", "."), os.O_CREAT | os.O_EXCL))
            time.sleep(dice.random() / 200)
            for name in held:
                (proof / name.replace("/", ".")).unlink()
                lease.give_back([name])


def test_many_processes_and_threads_neither_meet_nor_block_each_other(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_CONCURRENT_RUNS", "64")
    proof = tmp_path / "proof"
    proof.mkdir()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CROWD, str(home.root), str(proof), str(seed)],
            stderr=subprocess.PIPE, text=True,
        )
        for seed in range(3)
    ]  # fmt: skip
    said = [process.communicate(timeout=60)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], said
    assert files(home) == {"turn.lock"}


def test_processes_that_are_killed_at_any_moment_leave_the_home_usable(home: Home) -> None:
    churn = (
        "import sys\nfrom pathlib import Path\nfrom dmp_assets.platform.lake import leases\n"
        "from dmp_assets.home import Home\nprint('on', flush=True)\nwhile True:\n"
        "    with leases.taken(Home(Path(sys.argv[1])), 'churn', ['raw/a', 'raw/b'], wait=True) "
        "as lease:\n        lease.give_back(['raw/a'])\n"
    )
    command = [sys.executable, "-c", churn, str(home.root)]
    dice = random.Random(1)
    started = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(5)]
    for process in started:
        assert process.stdout is not None
        process.stdout.readline()
    for process in started:
        time.sleep(0.05 + dice.random() / 20)
        process.kill()
        process.communicate()
    with leases.taken(home, "run-1", ["raw/a", "raw/b"]):
        pass
    assert files(home) == {"turn.lock"}


def test_threads_that_wait_for_one_table_get_it_one_after_the_other(home: Home) -> None:
    at_work, most = 0, 0
    guard = threading.Lock()

    def run(number: int) -> None:
        nonlocal at_work, most
        with leases.taken(home, f"run-{number}", ["raw/a"], wait=True):
            with guard:
                at_work += 1
                most = max(most, at_work)
            time.sleep(0.01)
            with guard:
                at_work -= 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(run, range(6)))
    assert most == 1


def test_a_lease_outlives_its_block_while_a_thread_of_the_run_is_at_work(home: Home) -> None:
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait, args=(30,))
    thread.start()
    with leases.taken(home, "canceled", ["raw/users"]) as lease:
        lease.outlive([thread])
    with pytest.raises(leases.BusyError), leases.taken(home, "next", ["raw/users"]):
        pass
    go_on.set()
    thread.join(30)
    with leases.taken(home, "next", ["raw/users"], wait=True):
        pass
