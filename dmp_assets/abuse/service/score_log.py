"""The log of scores as one process keeps it: in the store, and on the disk while the store is gone.

A call to the store that takes too long is cut by a thread that does nothing else, so that a store
which hangs is a store which is gone.
"""

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
import structlog

from dmp_assets.abuse.model.rulings import Rulings
from dmp_assets.abuse.service.present import most_of_one
from dmp_assets.abuse.service.spool import Spool
from dmp_assets.abuse.service.store import predictions
from dmp_assets.abuse.service.store.predictions import Answer, NewAccount, Prediction
from dmp_assets.abuse.settings import AbuseSettings
from dmp_assets.home import Home
from dmp_assets.platform.store import database
from dmp_assets.settings import Settings

log = structlog.get_logger("dmp.api")
T = TypeVar("T")
Key = tuple[str, str]

PATIENCE = 2.0
"""Seconds after which a store that is silent while callers wait counts as gone."""
LONG_PATIENCE = 30.0
"""The same while nobody waits."""
WATCH_EVERY = 0.25


class Line:
    """A connection to the store, which one thread at a time uses."""

    def __init__(self) -> None:
        self.held = threading.Lock()
        self.connection: psycopg.Connection[Any] | None = None

    def take(self, connection: psycopg.Connection[Any] | None) -> None:
        """Use this connection from now on; the one before is closed."""
        with self.held:
            old, self.connection = self.connection, connection
            if old is not None:
                old.close()


class ScoreLog:
    """Logs scores, and hears what other processes scored and people ruled.

    `hear` and `answers_to` belong to the scoring thread, `append` to the one that answers,
    `connect` and `drain` to a third. Reading and writing have a connection each, so that a batch
    can be judged while the one before waits for the disk.
    """

    def __init__(
        self, store: sa.Engine, spool: Spool, keep: timedelta, most: int, most_of_one: int
    ) -> None:
        self.spool = spool
        self.live = False
        self.rulings = Rulings()
        self._engine, self._keep, self._most = store, keep, most
        self._most_of_one = most_of_one
        self._reads, self._writes = Line(), Line()
        self._heard: deque[NewAccount] = deque()
        self._last_id, self._revision = 0, -1
        self._moving = threading.Lock()
        self._calls: dict[int, tuple[psycopg.Connection[Any], float]] = {}
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None

    @classmethod
    def of(cls, home: Home, settings: Settings, store: sa.Engine) -> "ScoreLog":
        """The log of a home, in its store and in its spool."""
        own = settings.of(AbuseSettings)
        spool = Spool(home.spool, own.spool_scores, own.spool_scores_per_client)
        keep = timedelta(days=own.live_account_days)
        return cls(store, spool, keep, own.live_accounts, most_of_one(settings))

    # life ----------------------------------------------------------------------------------------
    def start(self) -> None:
        """Begin to watch the calls."""
        self._stopping.clear()
        self._watcher = threading.Thread(target=self._watch_forever, name="score-log", daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        """Let go of everything; what is spooled waits for the next process."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join(timeout=5)
        self.spool.close()
        self.live = False
        for line in (self._reads, self._writes):
            line.take(None)

    def _watch_forever(self) -> None:
        while not self._stopping.wait(WATCH_EVERY):
            for connection, deadline in list(self._calls.values()):
                if time.monotonic() > deadline and not connection.closed:
                    try:
                        with socket.socket(fileno=os.dup(connection.fileno())) as silent:
                            silent.shutdown(socket.SHUT_RDWR)
                    except (OSError, psycopg.Error):  # it ended by itself just now
                        continue

    @contextmanager
    def _patiently(self, connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
        self._calls[id(connection)] = (connection, time.monotonic() + seconds)
        try:
            yield
        finally:
            del self._calls[id(connection)]

    # the scoring thread --------------------------------------------------------------------------
    def hear(self) -> list[NewAccount]:
        """New accounts that other processes scored since; `rulings` are up to date afterwards."""
        after, reads = self._last_id, self._reads
        heard = self._call(reads, lambda store: predictions.news(store, after), None)
        found = [self._heard.popleft() for _ in range(len(self._heard))]  # up to `after` and on
        if heard is None:
            return found
        self._seen(heard.last_id)
        if heard.revision != self._revision:
            read = self._call(
                reads,
                lambda store: (predictions.verdicts(store), predictions.list_entries(store)),
                None,
            )
            if read is not None:
                self.rulings, self._revision = Rulings(*read), heard.revision
        return [*found, *heard.accounts]

    def _seen(self, last_id: int) -> None:
        with self._moving:
            self._last_id = max(self._last_id, last_id)

    def answers_to(self, keys: Sequence[Key]) -> dict[Key, Answer]:
        """What was answered to (caller, Idempotency-Key) in the last 24 hours."""
        return self._call(
            self._reads, lambda store: predictions.answers_to(store, keys, datetime.now(UTC)), {}
        )

    # the answering thread ------------------------------------------------------------------------
    def append(self, rows: list[Prediction], answers: list[Answer]) -> dict[Key, Answer]:
        """Make scores and answers durable; the keys that were answered before.

        What others scored meanwhile is told by the next `hear`.

        When another process has answered one of the keys meanwhile, nothing is logged: the caller
        leaves out the rows of that request and tries again. Raises OSError when neither store nor
        disk takes them.
        """
        try:
            others = self._call(
                self._writes,
                lambda store: predictions.append(store, rows, answers, after=self._last_id),
                None,
            )
        except predictions.AnsweredError as error:
            return error.answers
        if others is None:
            self.spool.append(rows, answers)
            return {}
        self._heard.extend(others.accounts)  # before its id counts as seen
        self._seen(others.last_id)
        return {}

    def _call(self, line: "Line", work: Callable[[psycopg.Connection[Any]], T], otherwise: T) -> T:
        """What `work` finds in the store; `otherwise` while the store is gone."""
        with line.held:
            connection = line.connection
            if not self.live or connection is None:
                return otherwise
            try:
                with self._patiently(connection, PATIENCE):
                    return work(connection)
            except psycopg.Error as error:
                self.live = False
                log.warning("scoring goes on without the store", error=type(error).__name__)
                return otherwise

    # another thread ------------------------------------------------------------------------------
    def connect(self, take: Callable[[Sequence[NewAccount]], None]) -> None:
        """Find the store again, and give `take` the new accounts of the last days, the latest last.

        Leaves everything as it is while the store does not answer.
        """
        opened: list[psycopg.Connection[Any]] = []
        try:
            opened += [self._open()]
            opened += [self._open()]
            with self._patiently(opened[0], LONG_PATIENCE):
                accounts, last_id = predictions.accounts_since(
                    opened[0], datetime.now(UTC) - self._keep, self._most, self._most_of_one
                )
        except psycopg.Error as error:
            for connection in opened:
                connection.close()
            log.warning("the store does not answer", error=type(error).__name__)
            return
        for start in range(0, len(accounts), 100):
            take(accounts[start : start + 100])
        for line, connection in zip((self._reads, self._writes), opened, strict=True):
            line.take(connection)
        with self._moving:
            self._last_id, self._revision = last_id, -1
        self.live = True
        log.info("scoring with the store", accounts_scored_lately=len(accounts))

    def drain(self) -> None:
        """Give the store what waits on the disk, of dead processes too."""
        if not self.live or not self.spool.has_something():
            return
        try:
            with self._open() as connection:

                def absorb(rows: list[Prediction], answers: list[Answer]) -> None:
                    with self._patiently(connection, LONG_PATIENCE):
                        predictions.absorb(connection, rows, answers)

                given = self.spool.drain(absorb)
        except psycopg.OperationalError as error:
            log.warning("spooled scores wait on", error=type(error).__name__)
        else:
            if given:
                log.info("spooled scores are in the store", scores=given)

    def _open(self) -> psycopg.Connection[Any]:
        url = self._engine.url.set(drivername="postgresql")
        connection = psycopg.connect(
            url.render_as_string(hide_password=False), autocommit=True, client_encoding="UTF8",
            connect_timeout=2, keepalives_idle=5, keepalives_interval=2, keepalives_count=3,
            tcp_user_timeout=10_000,
        )  # fmt: skip
        connection.execute("SET timezone = 'UTC'")
        if database.is_pooled(connection):  # what is set stays with whoever comes next
            connection.prepare_threshold = None
        else:
            connection.execute("SET statement_timeout = 30000; SET lock_timeout = 5000")
        return connection
