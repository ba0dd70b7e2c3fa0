"""marts: DuckDB tables shaped for people, in one file that is replaced as a whole.

`$DMP_HOME/warehouse.duckdb` is built beside the old file and takes its place in one atomic step,
so an open notebook or BI tool keeps the file it has opened and never blocks a run, nor a run it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import filelock
from dagster_duckdb import DuckDBResource

from dmp_assets.platform.base import whole_file
from dmp_assets.platform.lake import fingerprint as fingerprints
from dmp_assets.platform.lake.columns import Columns, arrow_schema
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.storage_errors import in_words
from dmp_assets.platform.lake.table_metadata import column_tags
from dmp_assets.platform.lake.tables import Tables, data_versions, fitting, usual_memory
from dmp_assets.platform.marts.mart import Mart
from dmp_assets.platform.run.executor import ALONE_TAG
from dmp_assets.platform.text.engine_errors import values_left_out


def inputs(marts: Sequence[Mart]) -> tuple[str, ...]:
    """Keys of the tables that the marts are made of."""
    return tuple(sorted({key for mart in marts for key in mart.deps}))


@dataclass(frozen=True)
class Built:
    """The warehouse as it stands: rows per mart, and whether an earlier run left it so."""

    rows: Mapping[str, int]
    unchanged: bool


def build(
    tables: Tables,
    file: Path,
    marts: Sequence[Mart],
    declared: Mapping[str, Columns],
    *,
    fingerprint: str,
    run_id: str = "",
) -> Built:
    """Make the warehouse anew beside `file` and put it in its place; nothing if already built.

    `declared`: key of a table → its columns. One that does not exist yet counts as empty, so every
    mart is always there. A failure leaves the old file. Raises TableError when an input lacks a
    column that a mart needs.
    """
    if (known := _known(file, marts, fingerprint, run_id)) is not None:
        return known
    limit = tables.memory or usual_memory()
    with whole_file.replacing(file) as part:
        config = {
            "memory_limit": limit,
            "temp_directory": str(file.parent / "duckdb-tmp"),
        }
        resource = DuckDBResource(database=str(part), connection_config=config)
        with (
            fitting(limit),
            resource.get_connection() as opened,
            closing(opened) as connection,
        ):
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET enable_progress_bar = false")
            _show_inputs(connection, tables, {key: declared[key] for key in inputs(marts)})
            rows = {mart.name: _create(connection, mart) for mart in marts}
            for layer in {key.partition("/")[0] for key in inputs(marts)}:
                connection.execute(f"DROP SCHEMA {layer} CASCADE")
            connection.execute(
                "CREATE TABLE about_this_file AS "
                "SELECT ? AS fingerprint, ? AS run_id, now() AS built_at",
                [fingerprint, run_id],
            )
            connection.execute("CHECKPOINT")
        file.with_name(file.name + ".wal").unlink(missing_ok=True)
    return Built(rows, unchanged=False)


def _known(file: Path, marts: Sequence[Mart], fingerprint: str, run_id: str) -> Built | None:
    """The warehouse if `file` was built from this fingerprint and can be read, else None."""
    if not file.exists():
        return None
    try:
        with duckdb.connect(str(file), read_only=True) as connection:
            noted = connection.sql("SELECT fingerprint, run_id FROM about_this_file").fetchall()
            if [found for found, _ in noted] != [fingerprint]:
                return None
            rows = {mart.name: _count(connection, mart.name) for mart in marts}
            return Built(rows, unchanged=noted[0][1] != run_id or not run_id)
    except duckdb.Error:  # held by a writer, or no file of ours: then it is simply built again
        return None


def _show_inputs(
    connection: duckdb.DuckDBPyConnection, tables: Tables, declared: Mapping[str, Columns]
) -> None:
    """Views `layer.table` of all inputs; a table not written yet is an empty one."""
    for layer in {key.partition("/")[0] for key in declared}:
        connection.execute(f"CREATE SCHEMA {layer}")
    for key, columns in declared.items():
        layer, _, name = key.partition("/")
        empty = arrow_schema(columns).empty_table()
        source: Any = tables.dataset(key) if tables.exists(key) else empty
        connection.register(f"_{layer}_{name}", source)
        connection.execute(f"CREATE VIEW {layer}.{name} AS SELECT * FROM _{layer}_{name}")


def _create(connection: duckdb.DuckDBPyConnection, mart: Mart) -> int:
    connection.execute(f"CREATE TABLE {mart.name} AS {mart.sql}")
    connection.execute(f"COMMENT ON TABLE {mart.name} IS {_quoted(mart.about)}")
    for column, about in mart.columns.items():
        connection.execute(f'COMMENT ON COLUMN {mart.name}."{column}" IS {_quoted(about)}')
    return _count(connection, mart.name)


def _count(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    (count,) = connection.sql(f"SELECT count(*) FROM {name}").fetchall()[0]
    return int(count)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def made_of(tables: Tables, marts: Sequence[Mart]) -> tuple[str, Tables]:
    """What the warehouse is built from (this code, the marts, every input's data version), and the
    tables pinned to just that."""
    code = fingerprints.code(__name__)
    told = [[mart.name, mart.about, dict(mart.columns), mart.sql] for mart in marts]
    stands = tables.stands(inputs(marts))
    text = json.dumps([code, told, data_versions(stands)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20], tables.pinned(stands)


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Held by who builds the warehouse: the steps of two runs may both be about to."""
    with filelock.FileLock(file.with_suffix(".lock"), mode=0o600):
        yield


def _shown(mart: Mart, name: str, kind: str = "string") -> dg.TableColumn:
    tags = column_tags(*mart.personal.get(name, (None, None)))
    return dg.TableColumn(name, type=kind, description=mart.columns[name], tags=tags)


def assets(
    marts: Mapping[str, Sequence[Mart]], declared: Mapping[str, Columns]
) -> Mapping[str, dg.AssetsDefinition]:
    """Domain → the assets of its marts: one step each, so that none holds up another's.

    `declared`: key of a table → its columns.
    """
    every = [mart for members in marts.values() for mart in members]
    return {
        domain: _step(f"marts__{domain}", members, every, declared)
        for domain, members in marts.items()
        if members
    }


def _step(
    step: str, members: Sequence[Mart], every: Sequence[Mart], declared: Mapping[str, Columns]
) -> dg.AssetsDefinition:
    """The assets of some marts, which one step makes: the file is built with all of them."""

    @dg.multi_asset(
        name=step,
        op_tags={ALONE_TAG: "warehouse"},
        specs=[
            dg.AssetSpec(
                ["marts", mart.name],
                deps=[dg.AssetKey(key.split("/")) for key in mart.deps],
                description=mart.about,
                owners=["team:data-platform"],
                kinds={"duckdb"},
                metadata={
                    "dagster/column_schema": dg.TableSchema(
                        [_shown(mart, name) for name in mart.columns]
                    )
                },
            )
            for mart in members
        ],
    )
    def made(lakehouse: Lakehouse) -> Iterator[dg.MaterializeResult[Any]]:
        """All marts at once: they are one file."""
        file = lakehouse.home.warehouse
        with _alone(file):
            state, tables = made_of(lakehouse.tables, every)
            with values_left_out(), in_words(tables.root):
                built = build(
                    tables, file, every, declared, fingerprint=state, run_id=lakehouse.run_id
                )
        with duckdb.connect(str(file), read_only=True) as connection:
            for mart in members:
                described = connection.sql(f"DESCRIBE {mart.name}").fetchall()
                yield dg.MaterializeResult(
                    asset_key=["marts", mart.name],
                    metadata={
                        "dagster/row_count": built.rows[mart.name],
                        "unchanged": built.unchanged,
                        "path": dg.MetadataValue.path(str(file)),
                        "dagster/column_schema": dg.TableSchema(
                            [_shown(mart, name, kind) for name, kind, *_ in described]
                        ),
                    },
                    data_version=dg.DataVersion(f"{state}-{mart.name}"),
                )

    return made
