"""The lakehouse: Delta tables written by Spark or delta-rs, read by both.

delta-rs writes Arrow data, and what Spark computed where all tables are small and lie here: Delta's
own writer runs several Spark jobs over a table's log for each write.

Write semantics are business logic, so each way of writing is a method that the asset names:
`overwrite`, `append`, `replace_window`, `merge`. The path comes from the table's key alone.
"""

import json
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, write_deltalake
from deltalake.exceptions import DeltaError
from pydantic import PrivateAttr

from dmp_assets import writes
from dmp_assets.home import Home
from dmp_assets.settings import Settings
from dmp_assets.tables import STAMP, TableError, Tables, columns_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_merging = threading.Lock()  # a view and a setting of the session belong to one merge at a time

Frame = "DataFrame | pa.Table | pa.RecordBatchReader"


@dataclass(frozen=True)
class Written:
    """One committed write: the table's key, its new Delta version and its rows after it."""

    key: str
    version: int
    rows: int


def _is_received(key: str) -> bool:
    return key.startswith("raw/")


class Lakehouse(dg.ConfigurableResource[Any]):
    """Reads and writes the home's Delta tables; holds the home's writer lock during a run.

    The Spark session starts at the first use of `spark`, so a run with nothing to do has no JVM.
    """

    _spark: Any = PrivateAttr(default=None)
    _home: Home | None = PrivateAttr(default=None)
    _settings: Settings | None = PrivateAttr(default=None)
    _run_id: str = PrivateAttr(default="unknown")
    _expected_rows: int = PrivateAttr(default=0)
    _largest: int | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator["Lakehouse"]:
        """Hold the home's writer lock for the run; a busy home raises HomeError naming the run."""
        home = self.home.prepare()
        self._run_id = context.run_id or "unknown"
        with home.exclusive(self._run_id):
            try:
                yield self
            finally:
                self._publish(context)

    def _publish(self, context: dg.InitResourceContext) -> None:
        """Note what was written last; a run does not fail for a note that can be made anew."""
        try:
            writes.publish(self.home, self.tables)
        except (TableError, DeltaError, OSError) as error:
            if context.log is not None:
                context.log.warning(f"the last writes are not noted ({type(error).__name__})")

    @property
    def run_id(self) -> str:
        """Id of the Dagster run that this resource serves."""
        return self._run_id

    @property
    def home(self) -> Home:
        if self._home is None:
            self._home = Home.current()
        return self._home

    @property
    def settings(self) -> Settings:
        """The home's settings, the same throughout a run."""
        if self._settings is None:
            self._settings = self.home.settings()
        return self._settings

    @property
    def tables(self) -> Tables:
        """The same tables, read without a JVM."""
        settings = self.settings
        return Tables(
            settings.lakehouse_root or str(self.home.lakehouse), memory=settings.duckdb_memory
        )

    @property
    def spark(self) -> "SparkSession":
        """The run's Spark session, started at first use."""
        if self._spark is None:
            from dmp_assets.resources import spark

            self._spark = spark.session(self.settings, self.scratch, rows=self._most_rows())
        return self._spark

    def _most_rows(self) -> int:
        """Of the largest table of received rows, as it is or will be.

        What is made of them may have more rows, of few columns and made in one pass: a home whose
        sources are small is small.
        """
        if self._largest is None:
            self._largest = 0
            for key in filter(_is_received, self.tables.written()):
                with suppress(TableError, DeltaError):  # whoever needs that table says so
                    self._largest = max(self._largest, self.written(key).rows)
        return max(self._largest, self._expected_rows)

    def _is_here(self) -> bool:
        """Whether the tables lie on this machine, and Spark runs on it."""
        told = self.settings
        return not (told.spark_remote or told.spark_master or told.lakehouse_root)

    def _is_small_and_here(self) -> bool:
        from dmp_assets.resources.spark import SMALL

        return self._is_here() and self._most_rows() <= SMALL

    @property
    def scratch(self) -> Path:
        """Folder for Spark's temporary files."""
        return self.home.root / "spark"

    def expect(self, rows: int) -> None:
        """Say how large the largest input is, before the first use of `spark`."""
        self._expected_rows = rows

    # reading -------------------------------------------------------------------------------------
    def read(self, key: str, version: int | None = None) -> "DataFrame":
        """The table as a Spark DataFrame, as of now or of a Delta version.

        Raises TableError, before a JVM starts, for a table that was never made.
        """
        delta = self.tables.delta(key, version)
        if (files := self._plain_files(delta)) is not None:
            return self._by_files(key, delta, files)
        reader = self.spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        return reader.load(self.tables.path(key))

    def _plain_files(self, delta: DeltaTable) -> list[str] | None:
        """Names of the table's files where its rows are theirs, few, and lie here; else None.

        Delta's reader makes Spark replay the log and plan which files can be left out: seven times
        the work of reading a small table.
        """
        from dmp_assets.resources.spark import SMALL

        if (
            not self._is_here()
            or delta.protocol().min_reader_version > 1  # deletion vectors, mapped names
            or delta.metadata().partition_columns
            or int(delta.count()) > SMALL
        ):  # fmt: skip
            return None
        added = pa.table(delta.get_add_actions(flatten=True))
        names = [str(name) for name in added.column("path").to_pylist()]
        return None if any("/" in name for name in names) else names  # a clone's lie elsewhere

    def _by_files(self, key: str, delta: DeltaTable, names: Sequence[str]) -> "DataFrame":
        """The table's files, read as they are; columns that a file does not have yet are null."""
        from pyspark.sql.types import StructType

        schema = StructType.fromJson(json.loads(delta.schema().to_json()))
        if not names:
            return self.spark.createDataFrame([], schema)
        files = [f"{self.tables.path(key)}/{name}" for name in names]
        return self.spark.read.schema(schema).option("__globPaths__", False).parquet(*files)

    # writing -------------------------------------------------------------------------------------
    def overwrite(self, key: str, frame: Any, *, stamp: Mapping[str, Any] | None = None) -> Written:
        """Replace all rows, and the columns with them; older versions stay readable."""
        return self._write(key, frame, "overwrite", stamp)

    def append(self, key: str, frame: Any, *, stamp: Mapping[str, Any] | None = None) -> Written:
        """Add rows; columns that the table does not have yet are added to it."""
        return self._write(key, frame, "append", stamp)

    def replace_window(
        self,
        key: str,
        frame: Any,
        *,
        column: str,
        start: date,
        end: date,
        stamp: Mapping[str, Any] | None = None,
    ) -> Written:
        """Replace the rows with `start <= column < end` (half-open) by the given ones.

        Raises Spark's DELTA_REPLACE_WHERE_MISMATCH when a given row lies outside the window.
        """
        where = f"{column} >= '{start.isoformat()}' AND {column} < '{end.isoformat()}'"
        return self._write(key, frame, "overwrite", stamp, where=where)

    def merge(
        self,
        key: str,
        frame: "DataFrame",
        *,
        keys: Sequence[str],
        stamp: Mapping[str, Any] | None = None,
    ) -> Written:
        """Update rows whose `keys` are there and that differ, insert those that are not.

        `frame` holds each key once. Columns that the table does not have yet are added to it,
        those that `frame` lacks are left alone. A merge that changes nothing writes no data files.
        """
        if not self.tables.exists(key):
            return self.overwrite(key, frame, stamp=stamp)
        match = " AND ".join(f"t.`{name}` <=> s.`{name}`" for name in keys)
        others = [name for name in frame.columns if name not in keys]
        there = self.tables.columns(key)
        same = " AND ".join(
            f"t.`{name}` <=> s.`{name}`" if name in there else f"s.`{name}` IS NULL"
            for name in (*keys, *others)
        )
        path, before = self.tables.path(key), self.tables.version(key)
        new = f"SELECT s.* FROM merge_source s LEFT ANTI JOIN delta.`{path}` t ON {same}"
        with _merging:
            frame.createOrReplaceTempView("merge_source")
            self._noting(stamp)
            try:
                self.spark.sql(
                    f"MERGE WITH SCHEMA EVOLUTION INTO delta.`{path}` t USING ({new}) s "
                    f"ON {match} WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
                ).collect()
            finally:
                self._noting(None)
        return self._stamped(key, before, stamp)

    def note(self, key: str, *, stamp: Mapping[str, Any]) -> Written:
        """Leave the rows as they are and note a new stamp; starts no JVM."""
        return self.append(key, self.tables.dataset(key).schema.empty_table(), stamp=stamp)

    def written(self, key: str) -> Written:
        """The table as it stands: version and rows, from Delta's own log."""
        table = self.tables.delta(key)
        return Written(key, int(table.version()), int(table.count()))

    def _write(
        self,
        key: str,
        frame: Any,
        mode: str,
        stamp: Mapping[str, Any] | None,
        where: str | None = None,
    ) -> Written:
        """Write by the engine that suits the frame, and know which table is the largest now."""
        if self._is_small_and_here() and not isinstance(frame, pa.RecordBatchReader):
            from dmp_assets.resources import spark

            if not isinstance(frame, pa.Table):
                rows = spark.collected(frame)
                if rows is not None and self._fits(key, rows, mode, where):
                    frame = rows
            properties = self._retention() | spark.SMALL_TABLE
        else:
            properties = self._retention()
        done = self._committed(key, frame, mode, properties, stamp, where)
        if self._largest is not None and _is_received(key):
            self._largest = max(self._largest, done.rows)
        return done

    def _fits(self, key: str, rows: pa.Table, mode: str, where: str | None) -> bool:
        """Whether delta-rs adds the rows to the table as Spark does: it casts other types without
        a word and tells names by their capitals; a window needs all columns."""
        if not self.tables.exists(key) or (mode == "overwrite" and not where):
            return True
        there = self.tables.columns(key)
        given = columns_of(Schema.from_arrow(rows.schema))
        known = {name.lower() for name in there}
        return all(
            there[name] == kind if name in there else not where and name.lower() not in known
            for name, kind in given.items()
        ) and not (where and there.keys() - given.keys())

    def _committed(
        self,
        key: str,
        frame: Any,
        mode: str,
        properties: Mapping[str, str],
        stamp: Mapping[str, Any] | None,
        where: str | None,
    ) -> Written:
        path, exists = self.tables.path(key), self.tables.exists(key)
        where = where if exists else None
        if isinstance(frame, pa.Table | pa.RecordBatchReader):
            write_deltalake(  # type: ignore[call-overload]
                path,
                frame,
                mode=mode,
                predicate=where,
                schema_mode=None if where else ("overwrite" if mode == "overwrite" else "merge"),
                configuration=dict(properties),
                commit_properties=CommitProperties(
                    custom_metadata={STAMP: json.dumps(stamp)} if stamp else None
                ),
            )
            return self.written(key)
        writer = frame.write.format("delta").mode(mode).options(**properties)
        if stamp:
            writer = writer.option("userMetadata", json.dumps(stamp))
        if where:
            writer = writer.option("replaceWhere", where)
        elif mode == "overwrite":
            writer = writer.option("overwriteSchema", "true")
        else:
            writer = writer.option("mergeSchema", "true")
        before = self.tables.version(key) if exists else None
        writer.save(path)
        return self._stamped(key, before, stamp)

    def _stamped(self, key: str, before: int | None, stamp: Mapping[str, Any] | None) -> Written:
        """Note the stamp apart where Spark saw nothing to commit (nothing replaced by nothing)."""
        if stamp and self.tables.version(key) == before:
            return self.note(key, stamp=stamp)
        return self.written(key)

    def _retention(self) -> dict[str, str]:
        days = f"interval {self.settings.retention_days} days"
        return {"delta.logRetentionDuration": days, "delta.deletedFileRetentionDuration": days}

    def _noting(self, stamp: Mapping[str, Any] | None) -> None:
        """What the session's next SQL commits note of themselves (MERGE takes no options)."""
        name = "spark.databricks.delta.commitInfo.userMetadata"
        if stamp:
            self.spark.conf.set(name, json.dumps(stamp))
        else:
            self.spark.conf.unset(name)

    # maintenance ---------------------------------------------------------------------------------
    def optimize(self, key: str) -> dict[str, Any]:
        """Compact small files; the data stays the same. Returns delta-rs's metrics."""
        return dict(self.tables.delta(key).optimize.compact())

    def vacuum(self, key: str) -> list[str]:
        """Delete files that no version within the retention needs; returns their names."""
        return list(
            self.tables.delta(key).vacuum(
                retention_hours=self.settings.retention_days * 24, dry_run=False
            )
        )
