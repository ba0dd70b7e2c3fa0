"""The process of a run, started before its run is wanted: its first seconds are imports.

What it imports meanwhile, the command that started it uses to bring up what the run needs.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import psutil

from dmp_assets.home import Home
from dmp_assets.platform.run.instance import ENVIRONMENT, prepare_instance

REFUSED = 3
"""Exit code of a child that was asked for what it cannot do; a line of `REFUSAL` says why."""

REFUSAL = "refused: "
"""What stands before the reason, in the output that the child shares with its JVM."""

_GRACE = 10  # seconds in which a JVM that is ended removes what it laid aside


class RunProcess:
    """A child process that runs assets once it is told which; its output is in `log`.

    `rows`: how many a first run will read at most; the child then starts Spark for so many.

    A context manager, at whose end nothing of it is left, also not the JVM of a killed run.
    """

    def __init__(self, home: Home, rows: int | None = None):
        self.run_id = str(uuid4())
        self.log: Path = home.dagster / "logs" / f"{self.run_id}.log"
        self.log.parent.mkdir(exist_ok=True)
        self._told = False
        command = [sys.executable, "-m", "dmp_assets.platform.run.child", self.run_id]
        with self.log.open("wb") as out:
            self._child = subprocess.Popen(
                command if rows is None else [*command, str(rows)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=os.environ | ENVIRONMENT,
                start_new_session=True,  # its group: the run and its JVM
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()
        if not self._told:
            self.log.unlink(missing_ok=True)

    def begin(self, request: Mapping[str, Any]) -> None:
        """Tell it what to run; a process that has died since is found by `wait`."""
        self._told = True
        if self._child.stdin is None:
            return
        with suppress(BrokenPipeError), self._child.stdin as told:
            told.write(json.dumps({"run_id": self.run_id, **request}).encode() + b"\n")

    def wait(self, seconds: float | None = None) -> int | None:
        """Its exit code; None when it is still at work after so long."""
        with suppress(subprocess.TimeoutExpired):
            return self._child.wait(seconds)
        return None

    def _lives(self) -> bool:
        """Whether it, or its JVM, is there."""
        if self.wait(0) is None:
            return True
        for process in psutil.process_iter(["status"]):  # a zombie is nobody
            with suppress(ProcessLookupError):
                if process.info["status"] != psutil.STATUS_ZOMBIE and (
                    os.getpgid(process.pid) == self._child.pid
                ):
                    return True
        return False

    def said(self) -> list[str]:
        """The lines of its output."""
        return self.log.read_text(errors="replace").strip().splitlines()

    def refusal(self) -> str | None:
        """Why it did nothing of what it was asked for; None when that is not so."""
        if self.wait(0) != REFUSED:
            return None
        told = [line.removeprefix(REFUSAL) for line in self.said() if line.startswith(REFUSAL)]
        return told[-1] if told else None

    def end(self) -> None:
        """End it, if it still runs, and what it left behind."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._child.pid, number)
            except ProcessLookupError:  # nobody of it is left
                break
            until = time.monotonic() + _GRACE
            while self._lives() and time.monotonic() < until:
                time.sleep(0.05)
        if self._child.stdin is not None:
            with suppress(BrokenPipeError):
                self._child.stdin.close()


def request() -> dict[str, Any] | None:
    """In the child: what it is to run, once that is known; None when it is called off."""
    line = sys.stdin.readline()
    return json.loads(line) if line.strip() else None


@contextmanager
def prepared(home: Home, *, rows: int | None = None) -> Iterator[RunProcess]:
    """A process for the next run, which imports what runs need while its caller does other work.

    `rows`: for a first run that will have so many to read; its Spark then starts at once too.
    """
    prepare_instance(home)
    with RunProcess(home, rows) as process:
        yield process
