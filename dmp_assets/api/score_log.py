"""The log of scores as one process keeps it: in the store, and on the disk while the store is gone.

A call to the store that takes too long is cut by a thread that does nothing else, so that a store
which hangs is a store which is gone.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
import structlog

from dmp_assets.abuse.rulings import Rulings
from dmp_assets.api.spool import Spool
from dmp_assets.store import database, predictions
from dmp_assets.store.predictions import Answer, NewAccount, Prediction

log = structlog.get_logger("dmp.api")
T = TypeVar("T")
Key = tuple[str, str]

PATIENCE = 2.0
"""Seconds after which a store that is silent while callers wait counts as gone."""
LONG_PATIENCE = 30.0
"""The same while nobody waits."""
WATCH_EVERY = 0.25


class ScoreLog:
    """Logs scores, and hears what other processes scored and people ruled.

    `hear` and `append` belong to the scoring thread, `connect` and `drain` to another one.
    """

    def __init__(
        self, store: sa.Engine, spool: Spool, keep: timedelta, most: int, most_of_one: int
    ) -> None:
        self.spool = spool
        self.live = False
        self.rulings = Rulings()
        self._engine, self._keep, self._most = store, keep, most
        self._most_of_one = most_of_one
        self._connection: psycopg.Connection[Any] | None = None
        self._last_id, self._revision = 0, -1
        self._calls: dict[int, tuple[psycopg.Connection[Any], float]] = {}
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None

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
        if self._connection is not None:
            self._connection.close()
        self._connection, self.live = None, False

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
        heard = self._call(lambda store: predictions.news(store, self._last_id), None)
        if heard is None:
            return []
        self._last_id = heard.last_id
        if heard.revision != self._revision:
            read = self._call(
                lambda store: (predictions.verdicts(store), predictions.list_entries(store)), None
            )
            if read is not None:
                self.rulings, self._revision = Rulings(*read), heard.revision
        return heard.accounts

    def answers_to(self, keys: Sequence[Key]) -> dict[Key, Answer]:
        """What was answered to (caller, Idempotency-Key) in the last 24 hours."""
        return self._call(lambda store: predictions.answers_to(store, keys, datetime.now(UTC)), {})

    def append(
        self, rows: list[Prediction], answers: list[Answer]
    ) -> tuple[list[NewAccount], dict[Key, Answer]]:
        """Make scores and answers durable; (what others scored meanwhile, keys answered before).

        When another process has answered one of the keys meanwhile, nothing is logged: the caller
        leaves out the rows of that request and tries again. Raises OSError when neither store nor
        disk takes them.
        """
        try:
            others = self._call(
                lambda store: predictions.append(store, rows, answers, after=self._last_id), None
            )
        except predictions.AnsweredError as error:
            return [], error.answers
        if others is None:
            self.spool.append(rows, answers)
            return [], {}
        self._last_id = others.last_id
        return others.accounts, {}

    def _call(self, work: Callable[[psycopg.Connection[Any]], T], otherwise: T) -> T:
        """What `work` finds in the store; `otherwise` while the store is gone."""
        connection = self._connection
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
        try:
            connection = self._open()
        except psycopg.Error as error:
            log.warning("the store does not answer", error=type(error).__name__)
            return
        try:
            with self._patiently(connection, LONG_PATIENCE):
                accounts, last_id = predictions.accounts_since(
                    connection, datetime.now(UTC) - self._keep, self._most, self._most_of_one
                )
        except psycopg.Error as error:
            connection.close()
            log.warning("the store does not answer", error=type(error).__name__)
            return
        for start in range(0, len(accounts), 100):
            take(accounts[start : start + 100])
        old, self._connection = self._connection, connection
        self._last_id, self._revision = last_id, -1
        self.live = True
        if old is not None:
            old.close()
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
