"""Dagster's history in PostgreSQL, over few connections that stay open.

Dagster's own storages there open a connection for every query, and in the webserver up to 21 for
each of the three; these share one pool in a process. The tables are Dagster's, so an instance can
go back and forth between these classes and `dagster_postgres`.

A server that is gone is asked again for a minute, so a run outlives its restart.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import sqlalchemy as sa
from dagster import Field, IntSource, Permissive, StringSource
from dagster._serdes import ConfigurableClassData
from dagster_postgres import (
    DagsterPostgresStorage,
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.postgres.refusals import why_refused

PATIENCE = 60  # seconds
_PAUSE = 0.25

_engines: dict[str, sa.Engine] = {}
_guard = threading.Lock()


class HistoryError(UserError):
    """Dagster's history cannot be reached."""


def _engine(url: str, connections: int) -> sa.Engine:
    """The pool of this process, whichever storages use it."""
    with _guard:
        if url not in _engines:
            _engines[url] = sa.create_engine(
                url,
                isolation_level="AUTOCOMMIT",
                pool_size=connections,
                max_overflow=0,
                pool_timeout=PATIENCE,
                pool_pre_ping=True,
                pool_recycle=3600,
                hide_parameters=True,
                connect_args={"connect_timeout": 5, "application_name": "dmp"},
            )
        return _engines[url]


@contextmanager
def _connected(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection; where the server is gone, as soon as it is there again.

    Raises HistoryError when that takes longer than PATIENCE.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            connection = engine.connect()
            break
        except (OperationalError, PoolTimeout) as error:
            if time.monotonic() >= until:
                said = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
                where = f"{engine.url.host}:{engine.url.port or 5432}"
                kept = f"Dagster's history is kept at {where}, which"
                raise HistoryError(
                    why_refused(kept, said, "DMP_DAGSTER_DATABASE_URL")
                    or f"{kept} did not answer for {PATIENCE} s ({said}); tables that were written "
                    "stay, run again when it does (DMP_DAGSTER_DATABASE_URL)"
                ) from error
            time.sleep(_PAUSE)
    with connection:
        yield connection


class _Bounded:
    """A storage of Dagster's over the pool of the process."""

    _engine: sa.Engine

    def over(self, engine: sa.Engine) -> Self:
        self._engine = engine
        return self

    def connect(self, run_id: str | None = None) -> Any:
        return _connected(self._engine)

    def _connect(self) -> Any:
        return _connected(self._engine)

    def optimize_for_webserver(
        self, statement_timeout: int, pool_recycle: int, max_overflow: int
    ) -> None:
        """Dagster's webserver would take an engine of its own, of 21 connections."""


class Runs(_Bounded, PostgresRunStorage):
    """Dagster's list of runs."""


class EventLog(_Bounded, PostgresEventLogStorage):
    """Dagster's event log."""


class Schedules(_Bounded, PostgresScheduleStorage):
    """What schedules and sensors did."""


class Storage(DagsterPostgresStorage):
    """All that Dagster keeps. `connections`: at most so many at once in a process.

    `pool_limits`: of a pool of assets, how many are made at once by all runs.
    """

    def __init__(
        self,
        postgres_url: str,
        connections: int,
        pool_limits: Mapping[str, int],
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        url = sa.make_url(postgres_url).set(drivername="postgresql+psycopg2")
        postgres_url = url.render_as_string(hide_password=False)
        engine = _engine(postgres_url, connections)
        with _connected(engine) as connection:  # of two homes, one makes the tables
            key = {"key": 0x646D7068}  # "dmph"
            connection.execute(sa.text("SELECT pg_advisory_lock(:key)"), key)
            try:
                super().__init__(postgres_url, inst_data=inst_data)
            finally:
                connection.execute(sa.text("SELECT pg_advisory_unlock(:key)"), key)
        self._run_storage = Runs(postgres_url, False).over(engine)
        self._event_log_storage = EventLog(postgres_url, False).over(engine)
        self._schedule_storage = Schedules(postgres_url, False).over(engine)
        known = {pool.name: pool.limit for pool in self._event_log_storage.get_pool_limits()}
        for name, limit in pool_limits.items():
            if known.get(name) != limit:
                self._event_log_storage.set_concurrency_slots(name, limit)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {
            "postgres_url": StringSource,
            "connections": IntSource,
            "pool_limits": Field(Permissive(), default_value={}),  # type: ignore[no-untyped-call]
        }

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "Storage":
        return cls(**config_value, inst_data=inst_data)
