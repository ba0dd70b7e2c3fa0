"""A synced local file that takes what the store cannot take at the moment.

Each process has files of its own, locked while it lives, so that another one finds what a killed
one left. A line is one batch; a last line without its end was never acknowledged.
"""

import fcntl
import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import structlog

from dmp_assets.abuse.service.store.predictions import Answer, Prediction, of_spool_line, spool_line

log = structlog.get_logger("dmp.api")
Absorb = Callable[[list[Prediction], list[Answer]], None]
ROWS_AT_ONCE = 1_000


class Spool:
    """Batches that wait for the store. `append` may be called while another thread drains."""

    def __init__(self, folder: Path, most: int = 200_000, most_of_one: int = 50_000) -> None:
        self.folder, self.most, self.most_of_one = folder, most, most_of_one
        self._of_caller: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._path: Path | None = None
        self._file = -1
        self.waiting = 0

    def append(self, rows: list[Prediction], answers: list[Answer]) -> None:
        """Keep a batch; it is on the disk when this returns.

        Raises OSError when it cannot be; nothing of it stays then.
        """
        line = spool_line(rows, answers)
        with self._lock:
            if self._file < 0:
                self._open()
            size = os.fstat(self._file).st_size
            try:
                if os.write(self._file, line) != len(line):
                    raise OSError("the spool's disk is full")
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, size)
                raise
            self.waiting += len(rows)
            self._of_caller.update(row.caller for row in rows)

    def has_room(self, caller: str, scores: int) -> bool:
        """Whether so many more of a client may be kept: for all there is a bound, for each too."""
        own = self._of_caller[caller] + scores
        return own <= self.most_of_one and self.waiting + scores <= self.most

    def _open(self) -> None:
        """A new file, which has its name only when it is locked."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._path = self.folder / f"{uuid.uuid4().hex}.jsonl"
        part = self._path.with_suffix(".part")
        self._file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        part.rename(self._path)
        folder = os.open(self.folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def has_something(self) -> bool:
        """Whether there is any file, of this process or another one."""
        return any(self.folder.glob("*.jsonl"))

    def drain(self, absorb: Absorb) -> int:
        """Give all that waits to the store, what dead processes left too; how many scores.

        What the store refuses for what it says is kept beside, in a file `.damaged`. Raises
        psycopg.OperationalError when the store is gone; all that it did not take stays.
        """
        with self._lock:  # what comes from now on goes to a new file
            held, waiting, of_caller = self._file, self.waiting, Counter(self._of_caller)
            self._path, self._file = None, -1
        if held >= 0:
            os.close(held)  # it is anybody's now
        given = 0
        for path in sorted(self.folder.glob("*.jsonl")):
            if path != self._path:
                given += self._give(path, absorb)
        with self._lock:
            self.waiting = max(self.waiting - waiting, 0)
            self._of_caller -= of_caller
        return given

    def _give(self, path: Path, absorb: Absorb) -> int:
        """Give a file that nobody holds to the store, and remove it."""
        try:
            held = os.open(path, os.O_RDONLY)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):  # given by another process just now
                log.error("a spool file cannot be read", file=path.name, error=error.strerror)
            return 0
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(held).st_nlink == 0:
                return 0
            given = 0
            for lines in _together(path):
                given += self._absorbed(lines, path, absorb)
            path.unlink(missing_ok=True)
        except BlockingIOError:  # its process lives
            return 0
        finally:
            os.close(held)
        return given

    def _absorbed(self, lines: list[bytes], path: Path, absorb: Absorb) -> int:
        """Give some lines to the store; those at fault are found one by one, and kept."""
        try:
            batches = [of_spool_line(line) for line in lines]
            rows = [row for batch, _ in batches for row in batch]
            absorb(rows, [answer for _, answers in batches for answer in answers])
        except psycopg.OperationalError:
            raise
        except (psycopg.Error, KeyError, TypeError, ValueError) as error:
            if len(lines) > 1:
                return sum(self._absorbed([line], path, absorb) for line in lines)
            with open(path.with_suffix(".damaged"), "ab", opener=_private) as kept:
                kept.write(lines[0])
            log.error("a spooled batch is kept beside", error=type(error).__name__)
            return 0
        return len(rows)

    def close(self) -> None:
        """Let go of the file; what waits is given to the store by the next process."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file, self._path = -1, None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _together(path: Path) -> Iterator[list[bytes]]:
    """The file's lines in their order, some at a time; one without its end was never written."""
    lines: list[bytes] = []
    rows = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            lines.append(line)
            rows += line.count(b'"score_id"')
            if rows >= ROWS_AT_ONCE:
                yield lines
                lines, rows = [], 0
    if lines:
        yield lines
