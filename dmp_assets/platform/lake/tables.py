"""Reading lakehouse tables without a JVM: delta-rs finds the files, DuckDB runs the SQL.

A table is named by its key, `layer/table` (in SQL: `layer.table`), and lies in that folder of the
lakehouse. Model training, marts, reports, checks, the API and `dmp show` read this way.
"""

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from deltalake import DeltaTable, Schema
from deltalake.exceptions import DeltaError, TableNotFoundError

from dmp_assets.home import Home
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.lake import files
from dmp_assets.platform.lake.columns import type_of
from dmp_assets.platform.lake.s3 import S3, is_s3
from dmp_assets.platform.lake.storage_errors import in_words
from dmp_assets.platform.text.spelling import meant, nearest
from dmp_assets.settings import Settings

if TYPE_CHECKING:
    import duckdb
    import pyarrow.dataset as pads

LAYERS = ("raw", "cleaned", "quarantine", "modeled", "ml")
_NAMED_TABLE = re.compile(rf"\b({'|'.join(LAYERS)})\.([a-z_][a-z0-9_]*)\b", re.IGNORECASE)
STAMP = "dmp.stamp"
_COLLATED = "string collate "  # in what delta-rs says of a type that it does not know


class TableError(UserError):
    """A table or a version of it that cannot be read; the message says what there is instead."""


class CollatedError(TableError):
    """A table whose log names the collation of a text, which only Spark reads."""


@dataclass(frozen=True)
class Standing:
    """How a table stands: its version, and what its log says of it.

    `id` is new for each table that is made, also where one of the same key was before. `stamp` is
    `Tables.stamp`'s, `columns`: name → type, in
    the words of `Column.type`.
    """

    key: str
    id: str
    version: int
    rows: int
    columns: Mapping[str, str]
    stamp: dict[str, Any]


@dataclass(frozen=True)
class Tables:
    """All Delta tables below `root` (a folder or an object-store URL).

    `memory` is the limit of a DuckDB connection (none: `usual_memory`), `versions` pins tables to a
    Delta version (`{"cleaned/users": 3}`); tables not named there are read as of now. Those of
    `absent` count as never written. `s3`: how S3 is reached, for tables that lie there. What is
    done raises StorageError where a storage elsewhere does not do it.
    """

    root: str
    memory: str | None = None
    versions: Mapping[str, int] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()
    s3: S3 | None = None

    @classmethod
    def of(cls, home: Home, settings: Settings | None = None) -> "Tables":
        """The tables of a home, wherever its settings say that they lie."""
        settings = settings or home.settings()
        root = settings.lakehouse_root or str(home.lakehouse)
        if not is_s3(root):
            return cls(root, memory=settings.duckdb_memory)
        root = "s3a://" + root.partition("://")[2]  # as Spark has it; the others know both
        return cls(root, memory=settings.duckdb_memory, s3=S3.of(settings))

    @property
    def storage_options(self) -> dict[str, str] | None:
        """What delta-rs is told of the storage."""
        return self.s3.delta_options() if self.s3 is not None else None

    @property
    def files(self) -> files.Files:
        """The files below `root`, for what tables do not tell of them."""
        return files.of(self.root, self.s3)

    def path(self, key: str) -> str:
        """Where the table `layer/table` lies."""
        layer, _, table = key.partition("/")
        if layer not in LAYERS or not re.fullmatch(r"[a-z_][a-z0-9_]*", table):
            raise TableError(
                f"{key!r} is not layer/table with a layer of {', '.join(LAYERS)}{_meant(self, key)}"
            )
        return f"{self.root.rstrip('/')}/{layer}/{table}"

    def delta(self, key: str, version: int | None = None) -> DeltaTable:
        """The table's Delta handle; raises TableError when it or that version is not there."""
        wanted = self.versions.get(key) if version is None else version
        try:
            if key in self.absent and version is None:
                raise TableNotFoundError(key)
            with in_words(self.root):
                return DeltaTable(
                    self.path(key), version=wanted, storage_options=self.storage_options
                )
        except TableNotFoundError:
            if wanted is not None and self.exists(key):  # its log begins later
                raise TableError(f"{key} has no version {wanted}; {_oldest(self, key)}") from None
            raise TableError(
                f"there is no table {key} in {self.root}: it was never made. Materialize it first "
                f"(Dagster's UI, or `dmp run`){_meant(self, key)}"
            ) from None
        except DeltaError as error:
            if _COLLATED in str(error):
                raise CollatedError(
                    f"{key} was written over Spark Connect by an earlier version of this program, "
                    "in a way that only Spark reads; the next `dmp run` of it mends that"
                ) from error
            if wanted is None:
                raise
            raise TableError(f"{key} has no version {wanted}; {_oldest(self, key)}") from error

    def kept_versions(self, key: str) -> list[int]:
        """The Delta versions that the table's log knows, the oldest first."""
        return sorted(entry["version"] for entry in _history(self, key, _newest(self, key)))

    def exists(self, key: str) -> bool:
        """Whether the table has been written."""
        if key in self.absent:
            return False
        with in_words(self.root):
            return self.files.is_table(self.path(key))

    def written(self) -> list[str]:
        """Keys of all tables that have been written, layer by layer."""
        return [key for key in folders(self) if self.exists(key)]

    def version(self, key: str) -> int:
        """Delta version that `dataset` would read."""
        return int(self.delta(key).version())

    def dataset(self, key: str, version: int | None = None) -> "pads.Dataset":
        """The table as an Arrow dataset, lazily read."""
        import pyarrow.dataset as pads  # takes pandas with it, which most commands do without

        with in_words(self.root):
            known = self.delta(key, version).to_pyarrow_dataset()
        # Without what delta-rs guarantees of each file: of a column that was added after the file
        # was written it says `column >= null`, from which Arrow concludes that no value is null.
        files = [known.format.make_fragment(f.path, f.filesystem) for f in known.get_fragments()]
        return pads.FileSystemDataset(files, known.schema, known.format, known.filesystem)

    def columns(self, key: str) -> dict[str, str]:
        """Column name → Delta type."""
        return columns_of(self.delta(key).schema())

    def stamp(self, key: str) -> dict[str, Any]:
        """What the last write of the table's data noted of itself ({} when never written).

        Maintenance commits carry no stamp and are passed over.
        """
        if not self.exists(key):
            return {}
        return _stamp(_history(self, key, self.delta(key)))

    def standing(self, key: str) -> Standing:
        """How the table stands, by one reading of its log; TableError where it was never made."""
        delta = self.delta(key)
        return Standing(
            key,
            str(delta.metadata().id),
            int(delta.version()),
            int(delta.count()),
            {field.name: type_of(field.type) for field in pa.schema(delta.schema())},
            _stamp(_history(self, key, delta)),
        )

    def stands(self, keys: Iterable[str]) -> dict[str, Standing | None]:
        """How these tables stand; None for one that has not been written."""
        return {key: self.standing(key) if self.exists(key) else None for key in keys}

    def pinned(self, stands: Mapping[str, Standing | None]) -> "Tables":
        """The tables, these as they stood: whoever writes them meanwhile changes nothing here."""
        fixed = {key: stood.version for key, stood in stands.items() if stood}
        gone = {key for key, stood in stands.items() if stood is None}
        return replace(self, versions={**self.versions, **fixed}, absent=self.absent | gone)

    def written_at(self, key: str) -> datetime:
        """Time (UTC) of the table's last commit."""
        entry = _history(self, key, self.delta(key), 1)[0]
        return datetime.fromtimestamp(entry["timestamp"] / 1000, tz=UTC)

    @contextmanager
    def connect(self, *keys: str) -> "Iterator[duckdb.DuckDBPyConnection]":
        """A DuckDB connection in UTC on which the named tables are views `layer.table`.

        Raises TableError for what does not fit its memory and cannot be put aside on disk.
        """
        import duckdb

        limit = self.memory or usual_memory()
        told: dict[str, Any] = {"memory_limit": limit, "temp_directory": _spill(self.root)}
        with duckdb.connect(config=told) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            with fitting(limit), in_words(self.root):
                for key in keys:
                    self.show(connection, key)
                yield connection

    def show(self, connection: "duckdb.DuckDBPyConnection", key: str) -> None:
        """Make a table the view `layer.table` of a connection."""
        layer, _, table = key.partition("/")
        connection.register(f"_{layer}_{table}", self.dataset(key))
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {layer}")
        connection.execute(f"CREATE VIEW {layer}.{table} AS FROM _{layer}_{table}")

    def sql(self, query: str, parameters: Any = None) -> pa.Table:
        """Run SQL over `layer.table` names and return an Arrow table.

        Raises TableError for a table that is not there, duckdb.Error for wrong SQL.
        """
        with self.connect(*named_tables(query)) as connection:
            return connection.sql(query, params=parameters).to_arrow_table()

    def scalar(self, query: str, parameters: Any = None) -> Any:
        """First value of the first row."""
        return self.sql(query, parameters).column(0)[0].as_py()


def folders(tables: Tables) -> list[str]:
    """Keys of all folders where a table has files, whole or left of one; layer by layer."""
    with in_words(tables.root):
        return [
            f"{layer}/{name}"
            for layer in LAYERS
            for name in tables.files.folders(f"{tables.root.rstrip('/')}/{layer}")
        ]


def columns_of(schema: Schema) -> dict[str, str]:
    """Column name → Delta type."""
    return {
        field.name: str(field.type).removeprefix('PrimitiveType("').removesuffix('")')
        for field in schema.fields
    }


def _meant(tables: Tables, key: str) -> str:
    """What was likely meant, by the whole key or by the table's name alone."""
    written = tables.written()
    by_name = {one.partition("/")[2]: one for one in reversed(written)}
    alone = nearest(key.rpartition("/")[2], by_name)
    return meant(key, written) or (f"; did you mean {by_name[alone]}?" if alone else "")


def _oldest(tables: Tables, key: str) -> str:
    versions = tables.kept_versions(key)
    return f"the oldest that can be read is {min(versions)}, the newest {max(versions)}"


@contextmanager
def fitting(memory: str) -> Iterator[None]:
    """Raise TableError where DuckDB needs more than its memory and cannot put it aside."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise TableError(
            f"{memory} of memory are too few for DuckDB here: give it more by "
            "DMP_DUCKDB_MEMORY, e.g. 4GB, or run where there is more"
        ) from error


@cache
def usual_memory() -> str:
    """An eighth of what this machine, or its container, has, and at least 1 GB.

    A run makes up to four assets at once, beside Spark's JVM.
    """
    import duckdb

    with duckdb.connect(config={"memory_limit": "12.5%"}) as connection:
        [(share,)] = connection.sql("SELECT current_setting('memory_limit')").fetchall()
    return str(share) if share.endswith(("GiB", "TiB")) else "1GB"


def _spill(root: str) -> str:
    """Where DuckDB puts what exceeds its memory: beside a local lakehouse."""
    return str(Path(tempfile.gettempdir() if "://" in root else root) / ".duckdb")


def data_versions(stands: Mapping[str, Standing | None]) -> dict[str, str | None]:
    """Which data these tables hold, as they stand; None for one that has not been written."""
    return {key: stood.stamp.get("data_version") if stood else None
            for key, stood in stands.items()}  # fmt: skip


def _newest(tables: Tables, key: str) -> DeltaTable:
    return replace(tables, versions={}, absent=frozenset()).delta(key)


def _history(
    tables: Tables, key: str, delta: DeltaTable, limit: int | None = None
) -> list[dict[str, Any]]:
    """The commits up to a handle's version, the newest first, so many at least.

    delta-rs lists them from the newest of the log on, whatever the handle's version is, and
    numbers them down from that version: a handle that another commit has overtaken gives its
    own version the other's stamp.
    """
    handle = delta
    while True:
        with in_words(tables.root):
            listed = handle.history(limit if handle is delta else None)
            overtaken = tables.files.mark(commit_file(tables, key, handle.version() + 1))
        if overtaken is None:
            return [entry for entry in listed if entry["version"] <= delta.version()]
        handle = _newest(tables, key)


def commit_file(tables: Tables, key: str, version: int) -> str:
    """Where the log of a table notes the commit of a version."""
    return f"{tables.path(key)}/{files.LOG}/{version:020}.json"


def _stamp(commits: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    for entry in commits:
        noted = entry.get(STAMP) or entry.get("userMetadata")
        if noted:
            return {**json.loads(noted), "delta_version": entry["version"]}
    return {}


def named_tables(query: str) -> tuple[str, ...]:
    """Keys of the lakehouse tables that a SQL text names, e.g. ("cleaned/users",)."""
    found = _NAMED_TABLE.findall(query)
    return tuple(sorted({f"{layer}/{table}".lower() for layer, table in found}))
