"""Keeping tables small on the disk: no reader sees a difference."""

from typing import Any

from dmp_assets.platform.lake.tables import Tables


def optimize(tables: Tables, key: str) -> dict[str, Any]:
    """Compact small files; the data stays the same. Returns delta-rs's metrics."""
    return dict(tables.delta(key).optimize.compact())


def vacuum(tables: Tables, key: str, *, days: int) -> list[str]:
    """Delete files that no version of the last `days` needs; returns their names."""
    return list(tables.delta(key).vacuum(retention_hours=days * 24, dry_run=False))
