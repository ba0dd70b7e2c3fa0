"""Deleting rows by a table of keys, so that nothing of the keys is written anywhere.

A predicate with values in it, as of SQL's DELETE, is noted in the table's log as it stands. A merge
with a table is noted by the names of the columns that it compares.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dmp_assets.platform.lake.fences import Mark
from dmp_assets.platform.lake.tables import Tables

if TYPE_CHECKING:
    import duckdb
    from pyspark.sql import SparkSession

_VIEW = "deleted_keys"


def matching(tables: Tables, key: str, keys: pa.Table) -> int:
    """How many rows of a table hold what a row of `keys` holds; null is like nothing.

    Raises ValueError for keys without columns, and for columns that the table does not have.
    """
    there = tables.columns(key)
    if not keys.column_names or any(name not in there for name in keys.column_names):
        raise ValueError(f"the keys have columns of {key}, and one at least")
    with _given(tables, key, keys) as connection:
        query = f"SELECT count(*) FROM {key.replace('/', '.')} t SEMI JOIN {_VIEW} s ON "
        found = connection.execute(query + _same(keys.column_names)).fetchall()
        return int(found[0][0])


def stamp(tables: Tables, key: str, run_id: str) -> dict[str, Any]:
    """What a deletion notes: all that the last write did, but new data.

    So the table's own asset has nothing to do, and goes on where it was; what reads it has.
    """
    old = {name: said for name, said in tables.stamp(key).items() if name != "delta_version"}
    made_of = json.dumps([old.get("data_version"), tables.version(key), run_id])
    new = hashlib.sha256(made_of.encode()).hexdigest()[:20]
    return {**old, "data_version": new, "run_id": run_id}


def by_delta_rs(
    tables: Tables, key: str, keys: pa.Table, stamp: Mapping[str, Any], mark: Mark
) -> None:
    """Delete, without a JVM."""
    merge = mark.checked(tables.delta(key)).merge(
        _distinct(tables, key, keys),
        predicate=_same(keys.column_names),
        source_alias="s",
        target_alias="t",
        streamed_exec=True,  # else least and greatest key would be noted as a predicate
        commit_properties=mark.properties(stamp),
    )
    merge.when_matched_delete().execute()


def by_spark(spark: "SparkSession", path: str, keys: pa.Table) -> None:
    """Delete from the table at `path`, whatever its size."""
    spark.createDataFrame(keys).distinct().createOrReplaceTempView(_VIEW)
    same = _same(keys.column_names, quote="`")
    spark.sql(
        f"MERGE INTO delta.`{path}` t USING {_VIEW} s ON {same} WHEN MATCHED THEN DELETE"
    ).collect()
    spark.catalog.dropTempView(_VIEW)


def _same(names: Sequence[str], quote: str = '"') -> str:
    return " AND ".join(f"t.{quote}{name}{quote} = s.{quote}{name}{quote}" for name in names)


def _distinct(tables: Tables, key: str, keys: pa.Table) -> pa.Table:
    """Each key once, else a row that two of them meet would be deleted twice."""
    with _given(tables, key, keys) as connection:
        return connection.sql(f"SELECT DISTINCT * FROM {_VIEW}").to_arrow_table()


@contextmanager
def _given(tables: Tables, key: str, keys: pa.Table) -> "Iterator[duckdb.DuckDBPyConnection]":
    with tables.connect(key) as connection:
        connection.register(_VIEW, keys)
        yield connection
