"""A run's process is there before its run, and gone after it whatever happens."""

import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from dmp_assets.home import Home
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.run import parent
from dmp_assets.platform.run.process import prepared


def alive(run_id: str) -> list[int]:
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if process.info["status"] != psutil.STATUS_ZOMBIE and process.info["cmdline"]:
            found += [process.pid] if run_id in process.info["cmdline"] else []
    return found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in ("DAGSTER_HOME", "DAGSTER_EVENT_BATCH_SIZE", "TZ", "DO_NOT_TRACK"):
        monkeypatch.setenv(name, "")  # what a run sets is put back
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "")
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home").prepare("sandbox")


def test_a_process_that_is_not_wanted_ends_and_leaves_no_log(home: Home) -> None:
    with ExitStack() as stack:
        process = stack.enter_context(prepared(home))
        assert alive(process.run_id)
    assert not alive(process.run_id)
    assert list((home.dagster / "logs").iterdir()) == []


def test_a_process_whose_command_was_killed_ends_by_itself(home: Home) -> None:
    with prepared(home) as process:
        process._child.stdin.close()  # type: ignore[union-attr] # as the system does
        assert process.wait() == 0


def test_a_process_that_died_before_its_run_is_found(home: Home) -> None:
    with prepared(home) as process:
        psutil.Process(process._child.pid).kill()
        process._child.wait()
        process.begin({"select": "*"})
        assert process.wait() == -9
        assert process.log.exists()


def test_what_is_left_of_a_process_beside_a_zombie_is_ended(home: Home) -> None:
    """Where nobody reaps, a zombie may stand before the JVM, which is given time to tidy up."""
    dead = subprocess.Popen(["true"], process_group=0)
    while psutil.Process(dead.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    tidies = 'trap "sleep 0.5; exit 7" TERM; echo; while :; do sleep 0.05; done'
    left = subprocess.Popen(["bash", "-c", tidies], process_group=dead.pid, stdout=subprocess.PIPE)
    assert left.stdout
    left.stdout.readline()
    with prepared(home) as process:
        process._child.kill()
        process._child.wait()
        process._child = SimpleNamespace(pid=dead.pid, wait=lambda _: 0, stdin=None)  # type: ignore
        process.end()
        assert left.wait(5) == 7
    assert dead.wait() == 0


@pytest.mark.parametrize(
    ("asked", "told"),
    [("group:nix", "there are the groups abuse, "), ("key:(", "cannot be read; write it as")],
)
def test_a_selection_of_nothing_is_refused_in_words(home: Home, asked: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as refused:
        parent.run(home, select=asked, shop=False)
    assert repr(asked) in str(refused.value)
    assert "Error:" not in str(refused.value)


def test_a_limit_of_a_source_that_is_not_there_is_refused_in_words(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_SOURCE_LIMITS", '{"shops": 1}')
    with pytest.raises(UserError, match=r"names shops, .*sources are .*did you mean shop\?"):
        parent.run(home, select="group:shop", shop=False)
