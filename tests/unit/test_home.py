"""The home: its profile for life, what it remembers, and one writer at a time."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dmp_assets.home import Home, HomeError

HOLD = """
import sys
from pathlib import Path
from dmp_assets.home import Home
with Home(Path(sys.argv[1])).exclusive("run-1"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").prepare("sandbox")


@contextmanager
def held_by_another_process(home: Home) -> Iterator[subprocess.Popen[str]]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home.root)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
    finally:
        holder.kill()
        holder.communicate()


def test_nothing_is_created_before_the_first_command(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert home.profile == "live"
    assert home.state() == {}
    assert not home.root.exists()


def test_the_current_home_is_the_one_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "a" / ".." / "b"))
    assert Home.current().root == tmp_path / "b"
    monkeypatch.delenv("DMP_HOME")
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    (tmp_path / "config.yaml").write_text(f"home: {tmp_path}/c\n")
    assert Home.current().root == tmp_path / "c"


def test_the_profile_is_fixed_by_the_first_command(tmp_path: Path) -> None:
    assert Home(tmp_path / "new").prepare().profile == "live"
    demo = Home(tmp_path / "demo").prepare("sandbox")
    assert demo.prepare().profile == "sandbox"
    assert demo.prepare("sandbox").profile == "sandbox"
    with pytest.raises(HomeError, match="is a sandbox home and this command needs a live one"):
        demo.prepare("live")
    assert demo.profile == "sandbox"


def test_a_home_that_cannot_be_written_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match=r"cannot write to the home .*file/home.*set DMP_HOME"):
        Home(tmp_path / "file" / "home").prepare()
    with pytest.raises(HomeError, match="cannot write to the home"):
        Home(tmp_path / "file").prepare()


@pytest.mark.parametrize("text", ["", "{", "[]", '"sandbox"', '{"profile": "play"}', "\udcff"])
def test_a_broken_state_file_is_named_and_nothing_counts_as_live(home: Home, text: str) -> None:
    (home.root / "home.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(HomeError, match=r"home\.json"):
        home.settings()
    with pytest.raises(HomeError, match=r"home\.json"):
        home.prepare("sandbox")


def test_what_a_home_remembers_is_added_to_and_dropped_one_by_one(home: Home) -> None:
    home.remember(shop={"id": "1"})
    home.remember(other=2)
    home.forget("shop")
    assert home.state() == {"profile": "sandbox", "other": 2}
    assert [path.name for path in home.root.iterdir()] == ["home.json"]


def test_a_busy_home_is_refused_naming_run_and_process(home: Home) -> None:
    with held_by_another_process(home) as holder:
        said = rf"busy: run run-1 \(process {holder.pid}\)"
        with pytest.raises(HomeError, match=said), home.exclusive("run-2"):
            pytest.fail("two writers at once")


def test_a_busy_home_without_a_readable_note_is_still_refused(home: Home) -> None:
    with held_by_another_process(home):
        (home.root / "run.json").write_text("")
        said = r"busy: run \? \(process \?\)"
        with pytest.raises(HomeError, match=said), home.exclusive("run-2"):
            pytest.fail("two writers at once")


def test_a_waiting_writer_gets_the_home_when_the_first_is_done(home: Home) -> None:
    with held_by_another_process(home) as holder:
        waiting = subprocess.Popen(
            [sys.executable, "-c", HOLD.replace('"run-1"', '"run-2", wait=True'), str(home.root)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                waiting.wait(timeout=1)
            assert holder.stdin is not None
            holder.stdin.close()
            assert waiting.stdout is not None
            assert waiting.stdout.readline() == "held\n"
            assert json.loads((home.root / "run.json").read_text())["run_id"] == "run-2"
        finally:
            waiting.kill()
            waiting.communicate()
            holder.stdin = None


def test_a_killed_writer_leaves_the_home_free(home: Home) -> None:
    with held_by_another_process(home):
        pass
    with home.exclusive("run-2"):
        noted = json.loads((home.root / "run.json").read_text())
        assert noted == {"run_id": "run-2", "pid": os.getpid()}


def test_a_run_may_take_its_own_lock_again(home: Home) -> None:
    with home.exclusive("run-1"):
        with home.exclusive("run-1"):
            pass
        assert (home.root / "run.json").exists()
    assert not (home.root / "run.json").exists()


def test_a_writer_that_fails_frees_the_home(home: Home) -> None:
    with pytest.raises(ZeroDivisionError), home.exclusive("run-1"):
        _ = 1 / 0
    with held_by_another_process(home):
        pass


def test_now_is_the_end_of_the_history_in_a_sandbox_and_the_clocks_in_a_live_home(
    home: Home, tmp_path: Path
) -> None:
    assert home.now().date() == home.settings().demo_end + timedelta(days=1)
    live = Home(tmp_path / "live").prepare("live")
    assert abs(live.now() - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("name", ["a [1]", "50%20", "a|b", "a\\b", "a^b"])
def test_a_folder_that_no_table_can_lie_in_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(HomeError, match=r"no tables can be kept in .*set DMP_HOME to another"):
        Home(tmp_path / name).prepare("sandbox")
    assert list(tmp_path.iterdir()) == []
