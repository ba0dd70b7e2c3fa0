"""Real runs of one home at the same time: a source that is slow holds up nothing of the others."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from dmp_assets.platform.lake import leases
from dmp_assets.platform.lake.lease_holders import Holder
from tests.support.dmp import Dmp

SECONDS = 120  # for what surely happens
USERS, SESSIONS = 'key:"raw/users"', 'key:"raw/web_sessions"'


@pytest.fixture(scope="module")
def silent() -> Iterator[socket.socket]:
    """A database server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture(scope="module")
def dmp(folder: Path, silent: socket.socket) -> Dmp:
    port = silent.getsockname()[1]
    shop = f"postgresql://shop:secret@127.0.0.1:{port}/shop?connect_timeout={SECONDS}"
    return Dmp(folder / "side-by-side", folder / "project", {"DMP_SHOP_DATABASE_URL": shop})


def until(found: Callable[[], Holder | None]) -> Holder:
    end = time.monotonic() + SECONDS
    while (holder := found()) is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    return holder


def lease(dmp: Dmp, *, waiting: bool, but: str = "") -> Holder | None:
    """Of a run that writes raw/users, or waits to."""
    for one in leases.living(dmp.home):
        if one.names == ("raw/users",) and one.waiting == waiting and one.run_id != but:
            return one
    return None


@contextmanager
def started(dmp: Dmp, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    process = dmp.start("run", *arguments)
    try:
        yield process
    finally:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
        process.communicate()


def test_runs_of_different_tables_go_on_beside_one_that_waits_for_its_source(dmp: Dmp) -> None:
    with started(dmp, "--select", USERS) as slow:
        holder = until(lambda: lease(dmp, waiting=False))
        ran = dmp("run", "--json", "--select", SESSIONS)
        assert ran.code == 0, ran.text
        assert ran.made() == {"raw/web_sessions"}
        assert slow.poll() is None
        assert lease(dmp, waiting=False) == holder  # all the while

        # what it writes is refused, and so is what needs the whole home
        named = f"run {holder.run_id} (process {holder.pid}) is writing raw/users"
        for command in (["run", "--select", USERS], ["run"], ["backup", f"{dmp.root}.tar.gz"]):
            ran = dmp(*command)
            assert ran.code == 1
            assert named in ran.text
        assert not Path(f"{dmp.root}.tar.gz").exists()

        # who waits gets it when the process that holds it is killed
        with started(dmp, "--wait", "--select", USERS):
            until(lambda: lease(dmp, waiting=True))
            status = dmp("status")
            assert f"running run {holder.run_id[:8]} (process {holder.pid})" in status.text
            os.kill(holder.pid or 0, signal.SIGKILL)
            until(lambda: lease(dmp, waiting=False, but=holder.run_id))
            out, err = slow.communicate(timeout=SECONDS)
            assert slow.returncode == 1
            assert "killed" in out + err or "ended with code" in out + err
    end = time.monotonic() + SECONDS  # a killed process takes a moment to be gone
    while leases.living(dmp.home) and time.monotonic() < end:
        time.sleep(0.05)
    assert leases.living(dmp.home) == []
    assert dmp("run", "--select", SESSIONS).code == 0
