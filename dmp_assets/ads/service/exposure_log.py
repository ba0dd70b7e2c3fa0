"""The log of exposures as one process keeps it: told at once, written in batches.

Nobody waits for the store. What the store does not take is kept in memory up to a bound, and on
the disk beyond it and at the end; the next start gives it to the store, where each exposure is
once. A process that is killed loses what it had in memory: the unit is logged when it asks again.
"""

import fcntl
import json
import os
import threading
import uuid
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from dmp_assets.ads.service.store import exposures
from dmp_assets.ads.service.store.exposures import Exposure

log = structlog.get_logger("dmp.api")

EVERY = 0.5
"""Seconds after which what was told is written."""
BATCH = 2_000
MOST_WAITING = 50_000
"""Exposures in memory; beyond, they go to the disk."""
MOST_KNOWN = 200_000
"""Exposures that are known to be logged, twice as many at most: these are not written again."""


class ExposureLog:
    """`tell` belongs to every thread, the rest to one."""

    def __init__(self, store: sa.Engine, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._waiting: deque[Exposure] = deque()
        self._known: set[tuple[object, ...]] = set()
        self._known_before: set[tuple[object, ...]] = set()
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._is_full = threading.Event()
        self.is_late = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How many exposures are not written yet."""
        return len(self._waiting)

    # every thread --------------------------------------------------------------------------------
    def tell(self, exposure: Exposure) -> bool:
        """Have an exposure logged; False where it is known to be."""
        key = exposure.key
        with self._lock:
            if key in self._known or key in self._known_before:
                return False
            if len(self._known) >= MOST_KNOWN:
                self._known_before, self._known = self._known, set()
            self._known.add(key)
            self._waiting.append(exposure)
            if len(self._waiting) >= BATCH:
                self._is_full.set()
        return True

    # life ----------------------------------------------------------------------------------------
    def start(self) -> None:
        """Write from now on, what earlier processes left first."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._write_forever, name="exposures", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write all that was told; what the store does not take is on the disk when this returns.

        Raises OSError when neither takes it.
        """
        self._stopping.set()
        self._is_full.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.flush()
        self._put_aside(0)

    def _write_forever(self) -> None:
        self._take_up()
        while not self._stopping.is_set():
            self._is_full.wait(EVERY)
            self._is_full.clear()
            if self.flush():
                self._take_up()
            try:
                self._put_aside(MOST_WAITING)
            except OSError as error:
                log.error("exposures stay in memory: the disk takes none", error=error.strerror)

    # writing -------------------------------------------------------------------------------------
    def flush(self) -> bool:
        """Give the store all that was told; False where it does not answer, and the rest waits."""
        with self._writing:
            while batch := self._taken(BATCH):
                if not self._stored(batch):
                    with self._lock:
                        self._waiting.extendleft(reversed(batch))
                    return False
        return True

    def _taken(self, most: int) -> list[Exposure]:
        with self._lock:
            return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def _stored(self, batch: Sequence[Exposure]) -> bool:
        try:
            with self._store.begin() as connection:
                exposures.add(connection, batch)
        except (DBAPIError, PoolTimeout) as error:
            log.warning("exposures wait for the store", error=type(error).__name__)
            self.is_late = True
            return False
        self.is_late = False
        return True

    def _put_aside(self, most: int) -> None:
        """Write to the disk what waits beyond `most`, the oldest first."""
        with self._lock:
            surplus = len(self._waiting) - most
        rows = self._taken(surplus) if surplus > 0 else []
        if not rows:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = self._folder / f".{uuid.uuid4().hex}.part"
            with open(part, "w", opener=_private) as file:
                file.writelines(json.dumps(one.as_json()) + "\n" for one in rows)
                file.flush()
                os.fsync(file.fileno())
            part.rename(self._folder / f"{uuid.uuid4().hex}.jsonl")
        except OSError:
            with self._lock:
                self._waiting.extendleft(reversed(rows))
            raise
        log.info("exposures are put aside for the store", exposures=len(rows))

    def _take_up(self) -> None:
        """Give the store what is on the disk; a file that another process gives is left alone."""
        for path in sorted(self._folder.glob("*.jsonl")):
            try:
                with open(path) as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if os.fstat(file.fileno()).st_nlink == 0:
                        continue
                    rows = [Exposure.of_json(json.loads(line)) for line in file]
                    batches = [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)]
                    if not all(self._stored(batch) for batch in batches):
                        return
                    path.unlink()
            except (BlockingIOError, FileNotFoundError):
                continue
            except (ValueError, TypeError, OSError) as error:
                path.rename(path.with_suffix(".damaged"))
                log.error("a file of exposures is kept beside", error=type(error).__name__)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
