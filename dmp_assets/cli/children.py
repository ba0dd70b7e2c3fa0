"""Programs that a command starts and watches: their output kept in files, shown where wanted."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from dmp_assets.home import HomeError
from dmp_assets.platform.text.foreign_text import without_colours

_LOUD = re.compile(
    r" - (ERROR|CRITICAL) - |\"level\": ?\"(error|critical)\"|^(ERROR|CRITICAL)\b"
    r"|^\S*(Error|Exception):"
)
"""Lines that a person at the terminal must see also where the rest is kept quiet."""

LOG_BYTES = 5_000_000
"""A log that is larger than this at a start gives way to a new one and is kept as `.1`."""

_PATIENCE_SECONDS = 20.0
_GRACE_SECONDS = 2.0


@dataclass(frozen=True)
class Program:
    """One program: its name for people, and its command line."""

    name: str
    command: Sequence[str | Path]


@contextmanager
def running(
    programs: Sequence[Program], logs: Path, show: Callable[[str], None], *, verbose: bool
) -> Iterator["Children"]:
    """Start the programs, each in a group of its own; end them and all that they started.

    What each says goes to `logs/<name>.log`, and to `show` line by line: all of it when `verbose`,
    else errors only. Once they are being stopped nothing is shown.
    """
    logs.mkdir(parents=True, exist_ok=True)
    children = Children(show, verbose)
    try:
        for program in programs:
            children.start(program, logs / f"{program.name}.log")
        yield children
    finally:
        children.stop()


class Children:
    """The started programs."""

    def __init__(self, show: Callable[[str], None], verbose: bool) -> None:
        self._show = show
        self._verbose = verbose
        self._stopping = threading.Event()
        self._started: list[tuple[Program, Path, subprocess.Popen[bytes], threading.Thread]] = []

    def start(self, program: Program, log: Path) -> None:
        """Start one more."""
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        child = subprocess.Popen(
            [str(word) for word in program.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | _UNBUFFERED,
            start_new_session=True,
        )
        reader = threading.Thread(target=self._read, args=(child, log), daemon=True)
        reader.start()
        self._started.append((program, log, child, reader))

    def _read(self, child: "subprocess.Popen[bytes]", log: Path) -> None:
        assert child.stdout is not None
        with open(log, "ab", opener=_private) as file:
            for line in child.stdout:
                text = without_colours(line.decode(errors="replace")).rstrip()
                file.write(f"{text}\n".encode())
                file.flush()
                if self._stopping.is_set():
                    continue
                if text and (self._verbose or _LOUD.search(text)):
                    self._show(text)

    def watch(self, until: Callable[[], bool] = lambda: False) -> None:
        """Wait until that is so, or for as long as they run.

        Raises HomeError for one that ends by itself: its name, the last it said and its log.
        """
        while not until():
            for program, log, child, reader in self._started:
                if child.poll() is not None:
                    reader.join(timeout=2)
                    said = log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
                    raise HomeError(
                        f"{program.name} ended by itself (exit code {child.returncode}). The last "
                        f"it said: {said[0]}. Its log: {log}"
                    )
            time.sleep(0.2)

    def stop(self) -> None:
        """End those that still run, by SIGTERM and, where that does not do, SIGKILL."""
        self._stopping.set()
        theirs = self._theirs()
        for _, _, child, _ in self._started:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGTERM)
        until = time.monotonic() + _PATIENCE_SECONDS
        for _, _, child, _ in self._started:
            try:
                child.wait(timeout=max(until - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        _end(theirs)

    def _theirs(self) -> list[psutil.Process]:
        """What the programs started in their turn, in groups of their own too."""
        found: list[psutil.Process] = []
        for _, _, child, _ in self._started:
            with suppress(psutil.NoSuchProcess):
                found += psutil.Process(child.pid).children(recursive=True)
        return found


def _end(processes: list[psutil.Process]) -> None:
    """Wait for them, then end those that only wait for their parents; one that works goes on."""
    for ending in (None, psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                # Dagster's code server is deaf to a SIGTERM; while a run is its child it works
                if ending is not None and not process.children():
                    ending(process)
        _, processes = psutil.wait_procs(processes, timeout=_GRACE_SECONDS)


_UNBUFFERED: Mapping[str, str] = {"PYTHONUNBUFFERED": "1"}


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def to_terminal(line: str) -> None:
    """A child's line as it is."""
    print(line, file=sys.stderr, flush=True)
