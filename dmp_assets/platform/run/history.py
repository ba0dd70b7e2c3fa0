"""Dagster's history in SQLite as it makes it, with connections that stay open.

Dagster's own storages open a connection, build an engine and wait for the disk anew for every
event: most of the time of a run with nothing new. The files are the same, so a home can go back
and forth between these classes and Dagster's.

Connections take `synchronous=NORMAL`: with the write-ahead log that Dagster sets, a power cut can
cost the last events, never the file; what a killed process had stored stays.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import dagster as dg
import filelock
import sqlalchemy as sa
import yaml
from dagster import EventLogEntry
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy.pool import StaticPool

OPEN_SHARDS = 8
"""Runs whose databases stay open beside the index."""


def opened(folder: Path) -> dg.DagsterInstance:
    """The Dagster instance that lies in the folder, its history over lasting connections.

    A context manager, as `dg.DagsterInstance.get()` is. What `dagster.yaml` says besides holds; so
    does where it says that history is kept, if that is elsewhere (`shared_history.py`).
    """
    told = folder / "dagster.yaml"
    if told.exists() and "storage" in (yaml.safe_load(told.read_text()) or {}):
        return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder)))
    mine = {
        "run_storage": _entry(Runs, folder / "history"),
        "event_log_storage": _entry(EventLog, folder / "history" / "runs"),
    }
    with filelock.FileLock(folder / "opening.lock", mode=0o600):  # of two, one makes the tables
        return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder), overrides=mine))


def _entry(kind: type, folder: Path) -> dict[str, Any]:
    return {"module": __name__, "class": kind.__name__, "config": {"base_dir": str(folder)}}


def _engine(url: str) -> sa.Engine:
    """An engine of one connection that stays open; its user sees to it that threads take turns."""
    engine = sa.create_engine(
        url,
        poolclass=StaticPool,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
    )
    sa.event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=NORMAL"))
    return engine


class EventLog(SqliteEventLogStorage):
    """Dagster's event log: one database per run and an index, each over a lasting connection."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None):
        self._turn = threading.RLock()
        self._engines: dict[str, sa.Engine] = {}
        self._within: dict[str, sa.Connection] = {}
        self._there: set[str] = set()
        self._newest: dict[tuple[dg.AssetKey, str], tuple[EventLogEntry, int]] = {}
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sa.Connection]:
        """A transaction of the shard; within one of its own thread, that one."""
        with self._turn:
            if shard in self._within:
                yield self._within[shard]
                return
            with self._opened(shard).begin() as connection:
                self._within[shard] = connection
                try:
                    yield connection
                finally:
                    del self._within[shard]

    def _opened(self, shard: str) -> sa.Engine:
        engine = self._engines.pop(shard, None)
        if engine is not None and not os.path.exists(self.path_for_shard(shard)):
            engine.dispose()  # removed behind our back, with the history of old runs
            engine = None
            self._initialized_dbs.discard(shard)
        if engine is None:
            if shard not in self._initialized_dbs:
                with super()._connect(shard):
                    pass
            engine = _engine(self.conn_string_for_shard(shard))
        self._engines[shard] = engine  # last: the one used last
        idle = [name for name in self._engines if name not in (INDEX_SHARD_NAME, *self._within)]
        for name in idle[:-OPEN_SHARDS]:
            self._engines.pop(name).dispose()
        return engine

    def store_event(self, event: EventLogEntry) -> None:
        self.store_event_batch([event])

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events in one transaction of each database that they touch."""
        with self._turn, ExitStack() as stack:
            self._newest.clear()
            for shard in (*sorted({event.run_id for event in events}), INDEX_SHARD_NAME):
                stack.enter_context(self._connect(shard))
            for event in events:
                super().store_event(event)
            for event, event_id in self._newest.values():
                super()._store_asset_event(self._within[INDEX_SHARD_NAME], event, event_id)
            self._newest.clear()

    def _store_asset_event(self, conn: sa.Connection, event: EventLogEntry, event_id: int) -> None:
        """Of a batch, an asset's own row takes the last event of each kind alone."""
        told = event.dagster_event
        if told and told.asset_key:
            self._newest[told.asset_key, told.event_type_value] = event, event_id

    def has_table(self, table_name: str) -> bool:
        if table_name not in self._there:
            if not super().has_table(table_name):
                return False
            self._there.add(table_name)
        return True

    def _has_asset_key_col_on_connection(self, conn: sa.Connection, column_name: str) -> bool:
        column = f"asset_keys.{column_name}"
        if column not in self._there:
            if not super()._has_asset_key_col_on_connection(conn, column_name):
                return False
            self._there.add(column)
        return True

    def wipe(self) -> None:
        self._close()
        super().wipe()

    def dispose(self) -> None:
        super().dispose()
        self._close()

    def _close(self) -> None:
        with self._turn:
            while self._engines:
                self._engines.popitem()[1].dispose()


class Runs(SqliteRunStorage):
    """Dagster's list of runs over a lasting connection."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None):
        self._turn = threading.RLock()
        self._lasting = _engine(conn_string)
        self._within: sa.Connection | None = None
        super().__init__(conn_string, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        return cls.from_local(inst_data=inst_data, **config_value)

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        """A transaction; within one of its own thread, that one."""
        with self._turn:
            if self._within is not None:
                yield self._within
                return
            with self._lasting.begin() as connection:
                self._within = connection
                try:
                    yield connection
                finally:
                    self._within = None

    def dispose(self) -> None:
        super().dispose()
        self._lasting.dispose()
