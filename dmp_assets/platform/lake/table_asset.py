"""One policy for every lakehouse table: `@table_asset` makes a function a Dagster asset.

The function states what the table is and how it is written; the decorator adds what all tables
share: declared inputs, data version, doing nothing when nothing changed, metadata, checks.
"""

import hashlib
import inspect
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pyarrow as pa

from dmp_assets.home import Home
from dmp_assets.platform.lake import fingerprint, readings
from dmp_assets.platform.lake.code_places import code_at
from dmp_assets.platform.lake.collation import mended
from dmp_assets.platform.lake.columns import Column, Columns, SchemaError, differences
from dmp_assets.platform.lake.file_statistics import harmless
from dmp_assets.platform.lake.lakehouse import Lakehouse, PinnedLakehouse, Written
from dmp_assets.platform.lake.spark_lost import told_in_words
from dmp_assets.platform.lake.storage_errors import in_words
from dmp_assets.platform.lake.table_checks import Check as Check
from dmp_assets.platform.lake.table_checks import key_check
from dmp_assets.platform.lake.table_checks import source_checks as source_checks
from dmp_assets.platform.lake.table_metadata import Described, further_metadata, schema
from dmp_assets.platform.lake.tables import LAYERS, Standing, Tables, data_versions, named_tables
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.lake.worked_out import WorkedOut
from dmp_assets.platform.privacy.suppression import Suppressed
from dmp_assets.platform.text.engine_errors import values_left_out
from dmp_assets.settings import Settings

AGAIN_TAG = "dmp/again"
"""Tag of a run: keys, by commas, of tables that are written again though nothing is new."""

KEY = "key"
"""Metadata of an asset: the columns that identify a row of its table."""

WHOLE_TAG = "dmp/whole"
"""Tag of a run whose range of partitions is everything there is, so whole tables are replaced."""


def daily_partitions(first_day: str) -> dg.DailyPartitionsDefinition:
    """Days (UTC) to today from the one that a setting names, e.g. `web_first_day`."""
    first = getattr(Home.current().settings(), first_day)
    return dg.DailyPartitionsDefinition(start_date=first.isoformat(), end_offset=1)


@dataclass
class TableRun:
    """What a table's function works with: reads of declared inputs, and the ways of writing.

    Inputs are read as they stood when the asset began, for that is what its data version names: a
    run that writes one of them meanwhile changes nothing here.

    `metadata` takes figures of the write. They are noted with the table, so say them before its
    last write; every materialization shows them, until the table is written again. What is written
    has the declared columns, else SchemaError is raised before anything is committed.
    """

    key: str
    tables: Mapping[str, Columns]
    deps: tuple[str, ...]
    lakehouse: PinnedLakehouse
    window: tuple[date, date] | None
    log: Any
    stamp: dict[str, Any]
    probe: Any = None
    again: bool = False
    further: Column | None = None
    written: dict[str, Written] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stamp["figures"] = self.metadata  # noted with the table by its last write

    @property
    def settings(self) -> Settings:
        return self.lakehouse.settings

    def _declared(self, key: str) -> str:
        if key not in self.deps and key not in self.tables:
            raise ValueError(f"{self.key} reads {key} and does not declare it in deps")
        return key

    def read(self, key: str) -> Any:
        """A declared input (or the table itself) as a Spark DataFrame."""
        return self.lakehouse.read(self._declared(key))

    def sql(self, query: str, parameters: Any = None) -> pa.Table:
        """SQL over declared inputs, by DuckDB, without a JVM."""
        for key in named_tables(query):
            self._declared(key)
        return self.lakehouse.tables.sql(query, parameters)

    def exists(self, key: str) -> bool:
        """Whether a declared input (or the table itself) has been written."""
        return self.lakehouse.tables.exists(self._declared(key))

    def _own(self, key: str | None, frame: Any) -> str:
        key = key or self.key
        if key not in self.tables:
            raise ValueError(f"{self.key} writes {key} and does not declare it in also")
        further = self.further if key == self.key else None
        if told := differences(self.tables[key], schema_of(frame), further):
            raise SchemaError(f"{key} is not written: {'; '.join(told)}")
        return key

    def _noted(self, key: str) -> dict[str, Any]:
        """What a write of the table notes beside its rows."""
        return {"stamp": self.stamp, "bounded": harmless(self.tables[key])}

    def _landed(self, key: str, frame: Any) -> Any:
        """What may be written: of received rows those of nobody who was forgotten."""
        if not key.startswith("raw/"):
            return frame

        def told(rows: int) -> None:
            self.metadata["rows_of_forgotten_people"] = rows
            self.log.info(f"{key}: {rows} rows of people who were forgotten are left out")

        return Suppressed.of(self.lakehouse.home).without(frame, self.tables[key], told)

    def overwrite(self, frame: Any, key: str | None = None) -> None:
        key = self._own(key, frame)
        frame = self._landed(key, frame)
        self.written[key] = self.lakehouse.overwrite(key, frame, **self._noted(key))

    def append(self, frame: Any, key: str | None = None) -> None:
        key = self._own(key, frame)
        frame = self._landed(key, frame)
        self.written[key] = self.lakehouse.append(key, frame, **self._noted(key))

    def merge(self, frame: Any, *, keys: Sequence[str], key: str | None = None) -> None:
        key = self._own(key, frame)
        frame = self._landed(key, frame)
        self.written[key] = self.lakehouse.merge(key, frame, keys=keys, **self._noted(key))

    def keep(self) -> None:
        """Leave the table as it is and note that it is up to date; nothing downstream is new."""
        old = self.lakehouse.tables.stamp(self.key)
        self.stamp["data_version"] = old.get("data_version", self.stamp["data_version"])
        self.written[self.key] = self.lakehouse.note(self.key, stamp=self.stamp)

    def replace_window(self, frame: Any, *, column: str, key: str | None = None) -> None:
        """Replace the run's days, or the whole table when the run has no range (or no table)."""
        key = self._own(key, frame)
        if self.window is None or not self.lakehouse.tables.exists(key):
            self.overwrite(frame, key)
            return
        start, end = self.window
        inside = self._landed(key, frame).where(
            f"{column} >= DATE'{start}' AND {column} < DATE'{end}'"
        )
        self.written[key] = self.lakehouse.replace_window(
            key, inside, column=column, start=start, end=end, **self._noted(key)
        )


Body = Callable[[TableRun], None]
Probe = Callable[[Lakehouse, Window], Any]


@dataclass(frozen=True)
class _Declared:
    """What `table_asset` was told of a table; `tables`: it and those written with it, by key.

    `at_need`: keys of those of them that are there only once there was something for them.
    `where_there`: those of `deps` that are as if never declared while they are not there.
    """

    body: Body
    key: str
    tables: Mapping[str, Columns]
    at_need: Collection[str]
    identifies: Sequence[str]
    further: Column | None
    deps: Sequence[str]
    where_there: Collection[str]
    checks: Sequence[Check]
    settings: Sequence[str]
    probe: Probe | None
    windowed: bool
    daily: str | None
    code: str

    def specs(self, owner: str, kinds: Sequence[str]) -> list[dg.AssetSpec]:
        """An asset for each of its tables."""
        doc = inspect.cleandoc(self.body.__doc__ or "")
        return [
            dg.AssetSpec(
                key=key.split("/"),
                deps=[dg.AssetKey(dep.split("/")) for dep in self.deps],
                owners=[owner],
                skippable=key in self.at_need,
                kinds=set(kinds),
                description=self._described(key, doc),
                code_version=self.code,
                metadata={
                    "dagster/column_schema": schema(columns),
                    **code_at(self.body),
                    **(self._of_the_table() if key == self.key else {}),
                },
            )
            for key, columns in self.tables.items()
        ]

    def _described(self, key: str, doc: str) -> str:
        if key in self.at_need:
            return (
                f"What was received for {self.key} and cannot be used. Written with it, from the "
                "first such thing on."
            )
        return doc if key == self.key else f"Written with {self.key}. {doc}"

    def _of_the_table(self) -> dict[str, str]:
        key = {KEY: ", ".join(self.identifies)} if self.identifies else {}
        return {**key, **further_metadata(self.further)}

    def check_specs(self) -> list[dg.AssetCheckSpec]:
        """Its checks as Dagster names them."""
        return [
            dg.AssetCheckSpec(
                c.name, asset=self.key.split("/"), description=c.description, blocking=c.blocking
            )
            for c in self.checks
        ]

    def materialized(
        self, context: dg.AssetExecutionContext, lakehouse: Lakehouse, window: Window
    ) -> list[dg.MaterializeResult[Any]]:
        """Write the tables unless nothing is new, and tell of them as they stand then."""
        began, read_at = time.monotonic(), datetime.now(UTC)
        store = lakehouse.tables
        if again_readable := mended(lakehouse, self.tables):
            context.log.warning(f"written once more to be readable: {', '.join(again_readable)}")
        days = window.days() or _partitions(context)
        probed = self.probe(lakehouse, window) if self.probe else None
        read = tuple(filter(_is_table, self.deps))
        inputs_stand = store.stands(read)
        pinned = store.pinned(inputs_stand)
        stands = inputs_stand | store.stands(self.tables)
        mark, marks = self._marks(lakehouse.settings, stands, days, probed)
        always = [k for k in self.tables if k not in self.at_need]
        noted = [_stamp(stands[k]).get("fingerprint") for k in always]
        told = {k: _data_version(stands[k]) for k in self.tables}
        again = self.key in context.run.tags.get(AGAIN_TAG, "").split(",")
        unchanged = all(one in marks for one in noted) and not again
        run = TableRun(
            key=self.key,
            tables=self.tables,
            deps=tuple(self.deps),
            lakehouse=lakehouse.pinned(pinned),
            window=days if self.windowed else None,
            log=context.log,
            stamp={
                "fingerprint": mark,
                "data_version": mark,
                "run_id": context.run_id,
                "probe": probed,
            },
            probe=probed,
            again=again,
            further=self.further,
        )
        if unchanged:
            context.log.info(f"{self.key}: nothing new, left as it is")
        else:
            with values_left_out(), in_words(store.root), told_in_words():
                self.body(run)
            stands |= store.stands(self.tables)
            is_new = [told[k] != _data_version(stands[k]) for k in self.tables]
            unchanged = not again and not any(is_new)
        if probed is not None and run.window is None:
            readings.note(lakehouse.home, self.key, read_at, store.version(self.key))
        known = WorkedOut(lakehouse.home)
        described = Described(
            pinned, self.key, known, lambda k: stands[k] if k in stands else store.stands([k])[k]
        )
        with values_left_out():
            results = described.results(self.checks)
        in_days = (
            {"rows_in_range": described.rows_in_range(self.daily, days)}
            if self.daily and days
            else {}
        )
        made = [
            self._told(key, stands[key] or store.standing(key), store, described, {
                "unchanged": unchanged, "seconds": round(time.monotonic() - began, 2),
            }, in_days, results, mark)
            for key in self.tables
            if key in always or stands[key] is not None
        ]  # fmt: skip
        known.keep()
        return made

    def _marks(
        self,
        settings: Settings,
        stands: Mapping[str, Standing | None],
        days: tuple[date, date] | None,
        probed: Any,
    ) -> tuple[str, set[str]]:
        """The fingerprint of what would be written now, and all by which that is known."""
        inputs = data_versions(
            {
                dep: stands[dep]
                for dep in filter(_is_table, self.deps)
                if dep not in self.where_there or stands[dep] is not None
            }
        )
        chosen = {name: str(getattr(settings, name)) for name in self.settings}
        in_range = [day.isoformat() for day in days] if days and self.windowed else None
        made_of = [inputs, chosen, in_range, probed]
        mark = _hash([self.code, *made_of])
        before = fingerprint.same_as(self.key, self.code)
        return mark, {mark, *(_hash([old, *made_of]) for old in before)}

    def _told(
        self,
        key: str,
        now: Standing,
        store: Tables,
        described: Described,
        of_run: Mapping[str, Any],
        in_days: Mapping[str, Any],
        results: list[dg.AssetCheckResult],
        mark: str,
    ) -> dg.MaterializeResult[Any]:
        columns = self.tables[key]
        preview = described.preview(key, columns)
        return dg.MaterializeResult(
            asset_key=key.split("/"),
            metadata={
                "dagster/row_count": now.rows,
                "delta_version": now.version,
                **of_run,
                "path": dg.MetadataValue.path(store.path(key)),
                "dagster/column_schema": schema(columns, now.columns, self.further),
                "preview": dg.MetadataValue.md(preview),
                **({**now.stamp.get("figures", {}), **in_days} if key == self.key else {}),
            },
            data_version=dg.DataVersion(str(now.stamp.get("data_version", mark))),
            check_results=results if key == self.key else [],
        )


def table_asset(
    layer: str,
    *,
    columns: Columns,
    key: Sequence[str] = (),
    once: str | None = None,
    further: Column | None = None,
    deps: Sequence[str] = (),
    where_there: Sequence[str] = (),
    owner: str = "team:data-platform",
    kinds: Sequence[str] = ("spark", "delta"),
    also: Mapping[str, Columns] | None = None,
    at_need: Mapping[str, Columns] | None = None,
    checks: Sequence[Check] = (),
    settings: Sequence[str] = (),
    probe: Probe | None = None,
    windowed: bool = False,
    daily: str | None = None,
    first_day: str = "",
) -> Callable[[Body], dg.AssetsDefinition]:
    """Make `def <table>(run: TableRun) -> None` the asset `<layer>/<table>`.

    columns: name → every column (see `columns.py`); the table's docstring gives the grain.
    key: columns that identify a row, from which a blocking check follows; once: what it says.
    further: what columns beyond the declared ones are, where the table keeps those of its source.
    deps: keys of the tables (`cleaned/users`) and other assets that it reads.
    where_there: further tables that it reads once they are there, such as those of another domain;
    until then nothing is new by them.
    also: further tables that the same function writes (key → columns), e.g. `quarantine/users`.
    at_need: the same of tables for what was received and cannot be used, each written only when
    there is something for it.
    checks: evaluated by SQL after every run, also after one that changed nothing.
    settings: names of settings on which the content depends.
    probe: state of a source outside the lakehouse; the table is written again when it changes.
    windowed: a run with a date range writes the table, unless the run before had the same one
    and nothing is new.
    daily: the date column by which the table has daily partitions, several of which are one run;
    implies `windowed`. first_day: the setting that names the first of these days.
    A raw table is in Dagster's pool of its source, which is called as its file is:
    DMP_SOURCE_LIMITS says how many of one pool are made at once.
    """
    if layer not in LAYERS:
        raise ValueError(f"{layer!r} is not one of {LAYERS}")
    unknown = [name for name in key if name not in columns]
    key_columns, hand_written = tuple(key), tuple(checks)

    def decorate(body: Body) -> dg.AssetsDefinition:
        key = f"{layer}/{body.__name__}"
        if (daily is None) != (not first_day):
            raise ValueError(f"{key}: daily partitions have a date column and a first day")
        if unknown:
            raise ValueError(f"{key}: its key names {', '.join(unknown)}, no declared column")
        of_key = (key_check(key, key_columns, once),) if key_columns else ()
        table = _Declared(
            body=body,
            key=key,
            tables={key: dict(columns)}
            | {k: dict(c) for k, c in {**(also or {}), **(at_need or {})}.items()},
            at_need=tuple(at_need or ()),
            identifies=key_columns,
            further=further,
            deps=(*deps, *where_there),
            where_there=where_there,
            checks=(*of_key, *hand_written),
            settings=settings,
            probe=probe,
            windowed=windowed or daily is not None,
            daily=daily,
            code=fingerprint.code(body.__module__),
        )

        @dg.multi_asset(
            name=key.replace("/", "__"),
            specs=table.specs(owner, kinds),
            check_specs=table.check_specs(),
            pool=body.__module__.rpartition(".")[2] if layer == "raw" else None,
            partitions_def=daily_partitions(first_day) if daily else None,
            backfill_policy=dg.BackfillPolicy.single_run() if daily else None,
        )
        def asset(
            context: dg.AssetExecutionContext, lakehouse: Lakehouse, window: Window
        ) -> Iterator[dg.MaterializeResult[Any]]:
            yield from table.materialized(context, lakehouse, window)

        return asset

    return decorate


def schema_of(frame: Any) -> pa.Schema:
    """The Arrow schema of Arrow data or of a Spark DataFrame; nothing is computed."""
    if isinstance(frame, pa.Table | pa.RecordBatchReader):
        return frame.schema
    from pyspark.sql.pandas.types import to_arrow_schema

    return to_arrow_schema(frame.schema, timezone="UTC")


def _partitions(context: dg.AssetExecutionContext) -> tuple[date, date] | None:
    """(first day, day after the last) of the selected partitions; None for everything."""
    if WHOLE_TAG in context.run.tags or not context.has_partition_key_range:
        return None
    chosen = context.partition_key_range
    first, last = date.fromisoformat(chosen.start), date.fromisoformat(chosen.end)
    return first, last + timedelta(days=1)


def _stamp(standing: Standing | None) -> dict[str, Any]:
    return standing.stamp if standing else {}


def _data_version(standing: Standing | None) -> str | None:
    """By which what is made of a table knows whether its rows are new; None without a table."""
    version = _stamp(standing).get("data_version")
    return None if version is None else str(version)


def _is_table(key: str) -> bool:
    return key.partition("/")[0] in LAYERS


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]
