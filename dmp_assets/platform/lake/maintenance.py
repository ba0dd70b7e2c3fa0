"""Keeping tables small: no reader of a table as it is now sees a difference. And removing them."""

from typing import Any

from dmp_assets.platform.lake.delta_commit import Commit
from dmp_assets.platform.lake.fences import OWN, Mark
from dmp_assets.platform.lake.storage_errors import in_words
from dmp_assets.platform.lake.tables import Tables

LOG_KEPT = "delta.logRetentionDuration"
"""Property of a table: how long its log tells of older versions."""


def remove(tables: Tables, key: str) -> None:
    """Remove a table with all its versions, and what is left of one that was removed in part."""
    with in_words(tables.root):
        tables.files.remove(tables.path(key))


def optimize(tables: Tables, key: str, mark: Mark = OWN) -> dict[str, Any]:
    """Compact small files; the data stays the same. Returns delta-rs's metrics."""
    with in_words(tables.root):
        delta = mark.checked(tables.delta(key))
        return dict(delta.optimize.compact(commit_properties=mark.properties()))


def vacuum(tables: Tables, key: str, *, days: int) -> list[str]:
    """Delete files that no version of the last `days` needs; returns their names."""
    with in_words(tables.root):
        return list(tables.delta(key).vacuum(retention_hours=days * 24, dry_run=False))


def forget_versions(tables: Tables, key: str, mark: Mark = OWN) -> list[str]:
    """Delete all that only older versions need, and the log of how the table came about.

    Nothing can be read as of then any more, and who is reading an older version fails; what the
    last write noted stays. Returns the names of the deleted files of rows.
    """
    delta = mark.checked(tables.delta(key))
    deleted = list(delta.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False))
    usual = delta.metadata().configuration.get(LOG_KEPT, "interval 30 days")
    told = mark.properties()
    delta.alter.set_table_properties({LOG_KEPT: "interval 0 days"}, commit_properties=told)
    noted = {name: said for name, said in tables.stamp(key).items() if name != "delta_version"}
    nothing = tables.dataset(key).schema.empty_table()
    Commit(tables, key, "append", {}, noted or None, mark=mark).by_delta_rs(nothing)
    delta = mark.checked(tables.delta(key))
    delta.create_checkpoint()
    delta.cleanup_metadata()
    delta.alter.set_table_properties({LOG_KEPT: usual}, commit_properties=told)
    return deleted
