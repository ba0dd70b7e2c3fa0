"""Forgetting people: which tables of a domain hold whom, and deleting their rows there.

Which columns lead to a person the tables declare (`Column.subject`). What a table that reads a
source holds of a person is the root of all that is made of it: deleted there, the person is gone
from the rest once it has been made anew.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph, AssetNode

from dmp_assets.home import Home
from dmp_assets.platform.faces.domain import Domain, known_domains
from dmp_assets.platform.faces.lake import TAG
from dmp_assets.platform.lake.columns import Columns
from dmp_assets.platform.lake.file_statistics import harmless
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.table_metadata import columns_of
from dmp_assets.platform.lake.tables import LAYERS, Tables
from dmp_assets.platform.privacy.suppression import normal
from dmp_assets.platform.store import where

Counts = Mapping[str, int]
"""Table → how many rows."""


@dataclass(frozen=True)
class Family:
    """The lakehouse's tables of some domains that hold people of a kind: key → its columns.

    roots: those that read a source. derived: those that are made of other tables.
    """

    subject: str
    roots: Mapping[str, Columns]
    derived: Mapping[str, Columns]

    @property
    def tables(self) -> Mapping[str, Columns]:
        return {**self.roots, **self.derived}


def domains_of(subject: str) -> list[Domain]:
    """The domains whose tables forget people of this kind."""
    return [domain for domain in known_domains() if subject in domain.forgets]


def named(home: Home, subject: str, ids: Collection[str]) -> frozenset[str]:
    """The ids with whatever else their domains name these people by."""
    others = (domain.pseudonyms(home, subject, ids) for domain in domains_of(subject))
    return frozenset(ids).union(*others)


def family(graph: AssetGraph, subject: str) -> Family:
    """The tables that declare a column of this subject, of the domains that forget by it."""
    names = {domain.name for domain in domains_of(subject)}
    roots: dict[str, Columns] = {}
    derived: dict[str, Columns] = {}
    for key in sorted(graph.get_all_asset_keys(), key=lambda key: tuple(key.path)):
        node = graph.get(key)
        columns = _columns(node)
        if node.tags.get(TAG) in names and any(c.subject == subject for c in columns.values()):
            made_of = any(parent.path[0] in LAYERS for parent in node.parent_keys)
            (derived if made_of else roots)["/".join(key.path)] = columns
    return Family(subject, roots, derived)


def selection(of: Family, graph: AssetGraph) -> str:
    """What a run makes anew once the roots are without somebody; sends nothing to anybody."""
    names = " or ".join(f"tag:{TAG}={domain.name}" for domain in domains_of(of.subject))
    sent = {key.path[0] for key in graph.get_all_asset_keys()} & {"delivery"}
    left_out = [f'key:"{layer}/*"' for layer in ("raw", *sent)]
    left_out += [f'key:"{key}"' for key in of.roots if not key.startswith("raw/")]
    return f"({names}) and not ({' or '.join(left_out)})"


def held(tables: Tables, of: Mapping[str, Columns], subject: str, ids: Collection[str]) -> Counts:
    """How many values lead to these people; only tables where there is one."""
    found = {
        key: sum(keys.num_rows for keys in _keys(tables, key, columns, subject, ids))
        for key, columns in of.items()
    }
    return {key: values for key, values in found.items() if values}


def unknown(
    tables: Tables, of: Mapping[str, Columns], subject: str, ids: Collection[str]
) -> frozenset[str]:
    """Those of the ids to which no value of these tables leads."""
    left = {normal(one): one for one in ids}
    for key, columns in of.items():
        for keys in _keys(tables, key, columns, subject, list(left.values())):
            for value in keys.column(0).to_pylist():
                for one in value if isinstance(value, list) else [value]:
                    left.pop(normal(str(one)), None)
    return frozenset(left.values())


def delete(
    lakehouse: Lakehouse, of: Mapping[str, Columns], subject: str, ids: Collection[str]
) -> Counts:
    """Delete the rows of these people from the tables; how many from which."""
    deleted: dict[str, int] = {}
    for key, columns in of.items():
        for keys in _keys(lakehouse.tables, key, columns, subject, ids):
            rows = lakehouse.delete(key, keys, bounded=harmless(columns))
            deleted[key] = deleted.get(key, 0) + rows
    return {key: rows for key, rows in deleted.items() if rows}


def delete_from_store(home: Home, subject: str, ids: Collection[str], *, actor: str) -> Counts:
    """Delete what the operational store holds of them, if there is one. Raises StoreError.

    The audit log notes who did so and how many rows went, in the same transaction.
    """
    if not where.is_configured(home):
        return {}
    from dmp_assets.platform.store import audit, database

    names, deleted = named(home, subject, ids), dict[str, int]()
    with database.opened(where.store_url(home)) as store, store.begin() as connection:
        for domain in domains_of(subject):
            deleted |= domain.erase(connection, subject, names)
        audit.record(
            connection, at=datetime.now(UTC), actor=actor, action="forget people", outcome="done",
            detail={"people": len(ids), **deleted},
        )  # fmt: skip
    return deleted


def _columns(node: AssetNode) -> Columns:
    schema = node.metadata.get("dagster/column_schema")
    if node.key.path[0] in LAYERS and isinstance(schema, dg.TableSchema):
        return columns_of(schema)
    return {}


def _keys(
    tables: Tables, key: str, columns: Columns, subject: str, ids: Collection[str]
) -> Iterator[pa.Table]:
    """For each column of the subject its values, as they stand, that lead to these people."""
    if not tables.exists(key):
        return
    wanted, there = {normal(one) for one in ids}, tables.columns(key)
    for name in (n for n, column in columns.items() if column.subject == subject and n in there):
        values = tables.sql(f'SELECT DISTINCT "{name}" FROM {key.replace("/", ".")}')
        leads = [_leads(value, wanted) for value in values.column(0).to_pylist()]
        if any(leads):
            yield values.filter(pa.array(leads))


def _leads(value: Any, wanted: Collection[str]) -> bool:
    several = value if isinstance(value, list) else [value]
    return any(one is not None and normal(str(one)) in wanted for one in several)
