"""A process that leaves at once leaves as any other: its code, its output, its last duties."""

import subprocess
import sys

import pytest

_SCRIPT = """
import atexit, sys, threading, time
from dmp_assets.platform.base.leaving import run_and_leave
def work():
    atexit.register(print, "registered")
    threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
    print("worked")
    {end}
run_and_leave(work)
"""


@pytest.mark.parametrize(
    ("end", "code", "told"),
    [
        ("return None", 0, ""),
        ("return 3", 3, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(130)", 130, ""),
        ("sys.exit('no such thing')", 1, "no such thing"),
        ("raise ValueError('broken')", 1, "ValueError: broken"),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt"),
    ],
)
def test_the_code_and_all_output_are_what_python_would_leave(
    end: str, code: int, told: str
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(end=end)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == code
    assert ran.stdout.splitlines() == ["worked", "thread", "registered"]
    assert told in ran.stderr


@pytest.mark.parametrize("closed", ["sys.stdout = None", "sys.stdout.close()"])
def test_a_closed_output_is_no_failure(closed: str) -> None:
    script = _SCRIPT.format(end=closed).replace("print, ", "str, ").replace('print("thread")', "0")
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_output_that_nobody_can_take_is_not_a_success() -> None:
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [sys.executable, "-c", _SCRIPT.format(end="return 0")],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert ran.returncode != 0
