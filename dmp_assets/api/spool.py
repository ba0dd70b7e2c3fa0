"""A synced local file that takes what the store cannot take at the moment.

Each process has a file of its own, locked while the process lives, so that another one finds what
a killed one left. A line is one batch; a last line without its end was never acknowledged.
"""

import fcntl
import os
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import structlog

from dmp_assets.store.predictions import Answer, Prediction, of_spool_line, spool_line

log = structlog.get_logger("dmp.api")
Absorb = Callable[[list[Prediction], list[Answer]], int]


class Spool:
    """Batches that wait for the store. `append` may be called while another thread drains."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._path: Path | None = None
        self._file = -1
        self.waiting = 0

    def append(self, rows: list[Prediction], answers: list[Answer]) -> None:
        """Keep a batch; it is on the disk when this returns. Raises OSError when it cannot be."""
        with self._lock:
            if self._file < 0:
                self._open()
            line = spool_line(rows, answers)
            if os.write(self._file, line) != len(line):
                raise OSError("the spool's disk is full")
            os.fsync(self._file)
            self.waiting += len(rows)

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._path = self.folder / f"{uuid.uuid4().hex}.jsonl"
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        folder = os.open(self.folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def drain(self, absorb: Absorb) -> int:
        """Give all that waits to the store, what dead processes left too; how many scores.

        `absorb` raises when the store cannot take them: they stay.
        """
        given = self._leftovers(absorb)
        with self._lock:  # what comes from now on goes to a new file
            path, held, waiting = self._path, self._file, self.waiting
            self._path, self._file = None, -1
        if path is not None:
            try:
                given += self._give(path, absorb)
            finally:
                os.close(held)
        with self._lock:
            self.waiting -= waiting
        return given

    def _leftovers(self, absorb: Absorb) -> int:
        given = 0
        for path in sorted(self.folder.glob("*.jsonl")):
            if path == self._path:
                continue
            held = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                given += self._give(path, absorb)
            except BlockingIOError:
                continue  # its process lives
            finally:
                os.close(held)
        return given

    def _give(self, path: Path, absorb: Absorb) -> int:
        rows, answers, damaged = _read(path)
        absorb(rows, answers)
        if damaged:  # nothing is lost: a person can look at it
            with path.with_suffix(".damaged").open("ab") as kept:
                kept.writelines(damaged)
            log.error("spooled batches cannot be read; they are kept", lines=len(damaged))
        path.unlink(missing_ok=True)
        return len(rows)

    def close(self) -> None:
        """Let go of the file; what waits is given to the store by the next process."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file, self._path = -1, None


def _read(path: Path) -> tuple[list[Prediction], list[Answer], list[bytes]]:
    """(scores, answers, lines that cannot be read) of a file; what has no end was never written."""
    rows: list[Prediction] = []
    answers: list[Answer] = []
    damaged: list[bytes] = []
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        try:
            batch, held = of_spool_line(line)
        except (KeyError, TypeError, ValueError):
            damaged.append(line)
            continue
        rows += batch
        answers += held
    return rows, answers, damaged
