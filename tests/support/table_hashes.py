"""The content of tables as hashes: what is in them, whoever wrote it and in whatever order."""

import hashlib
from collections.abc import Collection

from dmp_assets.platform.lake.tables import Tables

OF_A_RUN = frozenset(
    (
        "_loaded_at", "quarantined_at", "scored_at", "evaluated_at", "merged_at", "committed_at",
        "promoted_at", "run_id", "versions",
        "ml/abuse_drift.report", "ml/model_registry.created_at",
    )
)  # fmt: skip
"""Columns, or those of one table, that say when and by which run a row was made."""


def table_hashes(
    tables: Tables, *, without: Collection[str] = OF_A_RUN, keys: Collection[str] | None = None
) -> dict[str, str]:
    """Key → hash over all rows of the table, in no order, but for the columns `without`.

    Numbers count to their last bit.
    """
    return {
        key: _hash(tables, key, without) for key in (tables.written() if keys is None else keys)
    }


def _hash(tables: Tables, key: str, without: Collection[str]) -> str:
    names = sorted(name for name in tables.columns(key) if not {name, f"{key}.{name}"} & {*without})
    listed = ", ".join(f'"{name}"' for name in names)
    rows = tables.sql(
        f"SELECT md5(to_json(t)::VARCHAR) AS row "
        f"FROM (SELECT {listed} FROM {key.replace('/', '.')}) t ORDER BY row"
    )
    digest = hashlib.sha256(f"{listed}\n".encode())
    for value in rows.column(0).to_pylist():
        digest.update(value.encode())
    return digest.hexdigest()
