"""Programs that `dmp up` starts: quiet but for errors, their output kept, ended in good order."""

import sys
import time
from pathlib import Path

import psutil
import pytest

from dmp_assets.cli.children import Program, running
from dmp_assets.home import HomeError

CHATTY = """
import sys, time
print("2024-03-31 12:00:00 +0000 - dagster.daemon - INFO - heartbeat")
print("2024-03-31 12:00:00 +0000 - dagster.daemon - \\033[31mERROR\\033[0m - the sensor failed")
print("ready", file=sys.stderr, flush=True)
try:
    time.sleep(600)
finally:
    print("Traceback: of the end")
"""


def _wait_for(shown: Path, text: str) -> None:
    until = time.monotonic() + 30
    while text not in shown.read_text(errors="replace") if shown.exists() else True:
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("verbose", [False, True])
def test_what_they_say_is_kept_and_only_errors_are_shown(tmp_path: Path, verbose: bool) -> None:
    shown: list[str] = []
    program = Program("daemon", [sys.executable, "-c", CHATTY])
    with running([program], tmp_path, shown.append, verbose=verbose):
        _wait_for(tmp_path / "daemon.log", "ready")
    error = "2024-03-31 12:00:00 +0000 - dagster.daemon - ERROR - the sensor failed"
    info = error.replace("ERROR - the sensor failed", "INFO - heartbeat")
    assert shown == ([info, error, "ready"] if verbose else [error])
    assert (tmp_path / "daemon.log").read_text().splitlines()[:2] == [info, error]


def test_one_that_ends_by_itself_is_named_with_its_last_words(tmp_path: Path) -> None:
    mark = str(tmp_path)
    stays = Program("stays", [sys.executable, "-c", "import time; time.sleep(600)", mark])
    ends = Program("ends", [sys.executable, "-c", "raise SystemExit('the port is taken')"])
    with (
        pytest.raises(HomeError, match=r"ends ended by itself \(exit code 1\).*the port is taken"),
        running([stays, ends], tmp_path, print, verbose=False) as children,
    ):
        children.watch()
    left = [p for p in psutil.process_iter(["cmdline"]) if mark in (p.info["cmdline"] or ())]
    assert left == []


STARTS_ANOTHER = """
import subprocess, sys, time
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", deaf, sys.argv[1]], start_new_session=True)
print("ready", flush=True)
time.sleep(600)
"""


def test_what_they_started_in_their_turn_is_gone_with_them(tmp_path: Path) -> None:
    """Dagster's code server is in a group of its own and waits for its parent to come back."""
    mark = str(tmp_path)
    program = Program("parent", [sys.executable, "-c", STARTS_ANOTHER, mark])
    with running([program], tmp_path, print, verbose=False):
        _wait_for(tmp_path / "parent.log", "ready")
    left = [p for p in psutil.process_iter(["cmdline"]) if mark in (p.info["cmdline"] or ())]
    assert left == []
