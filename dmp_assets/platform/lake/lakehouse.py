"""The lakehouse: Delta tables written by Spark or delta-rs, read by both.

delta-rs writes Arrow data, and what Spark computed where the tables of all sources are small and
lie here: Delta's own writer runs several Spark jobs over a table's log for each write.

Write semantics are business logic, so each way of writing is a method that the asset names:
`overwrite`, `append`, `replace_window`, `merge`, `delete`. The path comes from the table's key
alone. Each takes in `bounded` the columns of which the log may note least and greatest values, see
`file_statistics.py`; without it there are none.
"""

import json
import threading
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa
from deltalake.exceptions import DeltaError
from pydantic import PrivateAttr

from dmp_assets.home import Home
from dmp_assets.platform.lake import (
    deletion,
    fences,
    file_statistics,
    leases,
    spark_conf,
    writes,
)
from dmp_assets.platform.lake.collation import as_stored
from dmp_assets.platform.lake.delta_commit import Commit
from dmp_assets.platform.lake.s3 import is_s3
from dmp_assets.platform.lake.shared_leases import is_shared
from dmp_assets.platform.lake.tables import TableError, Tables
from dmp_assets.settings import Settings

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


def _is_here(settings: Settings) -> bool:
    """Whether Spark runs on this machine, and delta-rs may write what it computes.

    That is where the tables lie here, or on S3: a put there is made once or refused, as a file is.
    """
    root = settings.lakehouse_root
    return spark_conf.runs_here(settings) and (not root or is_s3(root))


def _retention(settings: Settings) -> dict[str, str]:
    days = f"interval {settings.retention_days} days"
    return {"delta.logRetentionDuration": days, "delta.deletedFileRetentionDuration": days}


@contextmanager
def _noting(
    spark: "SparkSession", stamp: Mapping[str, Any] | None, mark: fences.Mark
) -> Iterator[None]:
    """What the session's SQL commits note of themselves meanwhile (MERGE takes no options)."""
    told = mark.conf()
    if stamp:
        told["spark.databricks.delta.commitInfo.userMetadata"] = json.dumps(stamp)
    try:
        for name, said in told.items():
            spark.conf.set(name, said)
        yield
    finally:
        for name in told:
            spark.conf.unset(name)


@contextmanager
def committing(lakehouse: "Lakehouse", key: str) -> Iterator[fences.Mark]:
    """What the commit to a table carries that is made meanwhile.

    Raises LeaseLostError where several homes write the lakehouse, and this one's turn is over.
    """
    lease = leases.writing(lakehouse.home, key) if is_shared(lakehouse.settings) else None
    with fences.committing(lease, lakehouse.tables, key) as mark:
        yield mark


def _bound(
    lakehouse: "Lakehouse", key: str, names: Collection[str], bounded: Collection[str]
) -> None:
    """Make an existing table note no value of other columns than these, from now on."""
    noted = [name for name in bounded if name in names]
    small = lakehouse._is_small_and_here()
    with committing(lakehouse, key) as mark:
        file_statistics.bring_up(lakehouse.tables.delta(key), noted, at_most=small, mark=mark)


def _collected(frame: "DataFrame") -> pa.Table | None:
    from dmp_assets.platform.lake import spark

    return spark.collected(frame)


def _publish(home: Home, tables: Tables, log: Any) -> None:
    """Note what was written last; a run does not fail for a note that can be made anew."""
    try:
        writes.publish(home, tables)
    except (TableError, DeltaError, OSError) as error:
        if log is not None:
            log.warning(f"the last writes are not noted ({type(error).__name__})")


class Lakehouse(dg.ConfigurableResource[Any]):
    """Reads and writes the home's Delta tables; no run uses it without a lease.

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
        """Serve the run under its lease, which our executor took for what it writes.

        Under another executor nobody said what that is: then it is the whole home. Raises
        BusyError where that is not free.
        """
        home = self.home.prepare()
        self._run_id = context.run_id or "unknown"
        with leases.taken(home, self._run_id, None):
            try:
                yield self
            finally:
                _publish(self.home, self.tables, context.log)

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
        return Tables.of(self.home, self.settings)

    @property
    def spark(self) -> "SparkSession":
        """The run's Spark session, started at first use."""
        if self._spark is None:
            from dmp_assets.platform.lake import spark

            self._spark = spark.session(
                self.settings, self.home.root / "spark", rows=self._most_rows()
            )
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

    def _is_small_and_here(self) -> bool:
        from dmp_assets.platform.lake.spark import SMALL

        return _is_here(self.settings) and self._most_rows() <= SMALL

    def expect(self, rows: int) -> None:
        """Say how large the largest input is, before the first use of `spark`."""
        self._expected_rows = rows

    # reading -------------------------------------------------------------------------------------
    def read(self, key: str, version: int | None = None) -> "DataFrame":
        """The table as a Spark DataFrame, as of now or of a Delta version.

        Raises TableError, before a JVM starts, for a table that was never made.
        """
        delta = self.tables.delta(key, version)
        if _is_here(self.settings):
            from dmp_assets.platform.lake import plain_files

            if (names := plain_files.names_of(delta)) is not None:
                return plain_files.read(self.spark, self.tables.path(key), delta, names)
        reader = self.spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        return reader.load(self.tables.path(key))

    # writing -------------------------------------------------------------------------------------
    def overwrite(
        self,
        key: str,
        frame: Any,
        *,
        stamp: Mapping[str, Any] | None = None,
        bounded: Collection[str] = (),
    ) -> Written:
        """Replace all rows, and the columns with them; older versions stay readable."""
        return self._write(key, frame, "overwrite", stamp, bounded)

    def append(
        self,
        key: str,
        frame: Any,
        *,
        transaction: tuple[str, int] | None = None,
        stamp: Mapping[str, Any] | None = None,
        bounded: Collection[str] = (),
    ) -> Written:
        """Add rows; columns that the table does not have yet are added to it.

        transaction: (whose, growing number) of a writer that repeats what it was killed in: Delta
        notes it, and of two who write the same at once lets one commit.
        """
        return self._write(key, frame, "append", stamp, bounded, transaction=transaction)

    def replace_window(
        self,
        key: str,
        frame: Any,
        *,
        column: str,
        start: date,
        end: date,
        stamp: Mapping[str, Any] | None = None,
        bounded: Collection[str] = (),
    ) -> Written:
        """Replace the rows with `start <= column < end` (half-open) by the given ones.

        Raises when a given row lies outside the window (Spark's DELTA_REPLACE_WHERE_MISMATCH, or an
        error of delta-rs).
        """
        where = f"{column} >= '{start.isoformat()}' AND {column} < '{end.isoformat()}'"
        return self._write(key, frame, "overwrite", stamp, bounded, where)

    def merge(
        self,
        key: str,
        frame: "DataFrame",
        *,
        keys: Sequence[str],
        only_new: bool = False,
        among: str | None = None,
        stamp: Mapping[str, Any] | None = None,
        bounded: Collection[str] = (),
    ) -> Written:
        """Update rows whose `keys` are there and that differ, insert those that are not.

        `frame` holds each key once. Columns that the table does not have yet are added to it,
        those that `frame` lacks are left alone. A merge that changes nothing writes no data files.
        only_new: rows whose keys are there stay as they are; nobody compares them. among: a
        condition on the table's rows `t` that all of these keys meet, so that files without such
        rows are left unread.
        """
        if not self.tables.exists(key):
            return self.overwrite(key, frame, stamp=stamp, bounded=bounded)
        _bound(self, key, [*self.tables.columns(key), *frame.columns], bounded)
        match = " AND ".join(f"t.`{name}` <=> s.`{name}`" for name in keys)
        match += f" AND {among}" if among else ""
        others = [name for name in frame.columns if name not in keys]
        there = self.tables.columns(key)
        same = " AND ".join(
            f"t.`{name}` <=> s.`{name}`" if name in there else f"s.`{name}` IS NULL"
            for name in (*keys, *others)
        )
        path, before = self.tables.path(key), self.tables.version(key)
        new = f"SELECT s.* FROM merge_source s LEFT ANTI JOIN delta.`{path}` t ON {same}"
        source, update = (
            ("merge_source", "") if only_new else (f"({new})", "WHEN MATCHED THEN UPDATE SET *")
        )
        spark = frame.sparkSession  # a batch of a stream has one of its own
        with committing(self, key) as mark, _merging, _noting(spark, stamp, mark):
            as_stored(frame).createOrReplaceTempView("merge_source")
            spark.sql(
                f"MERGE WITH SCHEMA EVOLUTION INTO delta.`{path}` t USING {source} s "
                f"ON {match} {update} WHEN NOT MATCHED THEN INSERT *"
            ).collect()
        return self._stamped(key, before, stamp)

    def delete(self, key: str, keys: pa.Table, *, bounded: Collection[str] = ()) -> int:
        """Delete the rows that hold what a row of `keys` holds in its columns; how many there were.

        The table counts as new for what is made of it, and as up to date in itself: its own next
        run reads on where it was. Nothing of the keys and the rows is noted in its log; older
        versions have them still. Raises TableError for a table that was never made.
        """
        rows = deletion.matching(self.tables, key, keys)
        if rows:
            _bound(self, key, self.tables.columns(key), bounded)
            stamp = deletion.stamp(self.tables, key, self.run_id)
            with committing(self, key) as mark:
                if self._is_small_and_here():
                    deletion.by_delta_rs(self.tables, key, keys, stamp, mark)
                else:
                    with _merging, _noting(self.spark, stamp, mark):
                        deletion.by_spark(self.spark, self.tables.path(key), keys)
        return rows

    def note(self, key: str, *, stamp: Mapping[str, Any]) -> Written:
        """Leave the rows as they are and note a new stamp; starts no JVM."""
        nothing = self.tables.dataset(key).schema.empty_table()
        with committing(self, key) as mark:
            Commit(self.tables, key, "append", {}, stamp, mark=mark).by_delta_rs(nothing)
        return self.written(key)

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
        bounded: Collection[str],
        where: str | None = None,
        transaction: tuple[str, int] | None = None,
    ) -> Written:
        """Write by the engine that suits the frame, and know which table is the largest now."""
        is_small = self._is_small_and_here() and not isinstance(frame, pa.RecordBatchReader)
        names = list(frame.schema.names)
        if self.tables.exists(key):
            there = self.tables.columns(key) if mode == "append" else ()
            _bound(self, key, [*there, *names], bounded)
        noted = () if is_small else [name for name in bounded if name in names]
        properties = _retention(self.settings) | file_statistics.properties(noted)
        commit = Commit(self.tables, key, mode, properties, stamp, where, transaction=transaction)
        if isinstance(frame, pa.Table | pa.RecordBatchReader):
            rows = frame
        else:
            rows = _collected(frame) if is_small else None
            rows = rows if rows is not None and commit.fits(rows) else None
        before = None
        with committing(self, key) as mark:
            commit = replace(commit, mark=mark)
            if rows is not None:
                commit.by_delta_rs(rows)
            else:
                before = self.tables.version(key) if self.tables.exists(key) else None
                commit.by_spark(frame)
        done = self.written(key) if rows is not None else self._stamped(key, before, stamp)
        if self._largest is not None and _is_received(key):
            self._largest = max(self._largest, done.rows)
        return done

    def _stamped(self, key: str, before: int | None, stamp: Mapping[str, Any] | None) -> Written:
        """Note the stamp apart where Spark saw nothing to commit (nothing replaced by nothing)."""
        if stamp and self.tables.version(key) == before:
            return self.note(key, stamp=stamp)
        return self.written(key)

    def pinned(self, tables: Tables) -> "PinnedLakehouse":
        """This lakehouse as an asset sees it whose inputs stand as `tables` pins them."""
        return PinnedLakehouse(self, tables)


class PinnedLakehouse:
    """A lakehouse of which some tables are read as of fixed versions, whoever writes meanwhile.

    All else, and every write, is the lakehouse's own.
    """

    def __init__(self, lakehouse: Lakehouse, tables: Tables) -> None:
        self.tables = tables
        self._lakehouse = lakehouse

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lakehouse, name)

    def read(self, key: str) -> "DataFrame":
        """The table as a Spark DataFrame. Raises TableError for one that was never made."""
        if key in self.tables.absent:
            self.tables.delta(key)  # which says so
        return self._lakehouse.read(key, self.tables.versions.get(key))

    def written(self, key: str) -> Written:
        """The table as it stands, or stood where it is pinned."""
        table = self.tables.delta(key)
        return Written(key, int(table.version()), int(table.count()))
