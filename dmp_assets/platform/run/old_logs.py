"""Letting go of what old runs logged; that they were, and what they made, stays known."""

from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log import SqlEventLogStorageTable, SqliteEventLogStorage

_AT_ONCE = 200


def delete(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete the log lines of runs that ended before; of how many runs.

    Materializations, observations and checks stay, so no asset and no partition looks unmade. Of
    SQLite the runs' own files go, in PostgreSQL the rows. Both are done again without harm.
    """
    cursor, count = None, 0
    while True:
        records = instance.get_run_records(
            dg.RunsFilter(statuses=list(FINISHED_STATUSES), updated_before=before),
            limit=_AT_ONCE,
            cursor=cursor,
        )
        ids = [record.dagster_run.run_id for record in records]
        count += sum(_deleted(instance, ids))
        if len(ids) < _AT_ONCE:
            return count
        cursor = ids[-1]


def _deleted(instance: dg.DagsterInstance, ids: list[str]) -> list[bool]:
    """Of each run, whether it had a log."""
    storage: Any = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        return [_without_file(storage, run_id) for run_id in ids]
    table = SqlEventLogStorageTable
    wanted = (
        sa.delete(table)
        .where(table.c.run_id.in_(ids), table.c.asset_key.is_(None))
        .where(sa.or_(table.c.dagster_event_type.is_(None),
                      sa.not_(table.c.dagster_event_type.like("ASSET_%"))))
        .returning(table.c.run_id)
    )  # fmt: skip
    with storage.index_connection() as connection:
        found = {row.run_id for row in connection.execute(wanted)}
    return [run_id in found for run_id in ids]


def _without_file(storage: SqliteEventLogStorage, run_id: str) -> bool:
    path = Path(storage.path_for_shard(run_id))
    was_there = path.exists()
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
    return was_there
