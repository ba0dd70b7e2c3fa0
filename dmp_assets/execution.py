"""Running assets from the command line, so that every run is one of Dagster's.

The run itself is a child process (`python -m dmp_assets.execution`), which leaves its events and
logs in the home's Dagster instance; the parent reads them there to show progress and a summary.
"""

import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

import yaml

from dmp_assets.date_range import RangeError, parse_range
from dmp_assets.home import Home, HomeError
from dmp_assets.resources.postgres import EmbeddedPostgres
from dmp_assets.run_ends import PID_TAG, bury_dead_runs, report_canceled
from dmp_assets.run_process import RunProcess, request
from dmp_assets.store import where
from dmp_assets.tables import LAYERS, Tables

if TYPE_CHECKING:
    import dagster as dg

_ENDED = ("SUCCESS", "FAILURE", "SKIPPED")  # of Dagster's STEP_… events
_LOGS = ("raw/abuse_predictions", "raw/abuse_decisions")  # whose source forgets old rows
_JVM_CAUSE = re.compile(r"^(?:: |Caused by: )(\S.*)$", re.MULTILINE)
ENVIRONMENT = {
    "TZ": "UTC",
    "DO_NOT_TRACK": "1",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "DAGSTER_EVENT_BATCH_SIZE": "1000",  # events of a table's partitions are stored together
}


@dataclass(frozen=True)
class TableResult:
    """What a run did to one asset."""

    key: str
    rows: int | None
    unchanged: bool
    quarantined: int | None = None


@dataclass(frozen=True)
class RunSummary:
    """One finished run: what was made, what failed and why, and what was skipped."""

    run_id: str
    success: bool
    seconds: float
    tables: tuple[TableResult, ...] = ()
    steps: tuple[tuple[str, float], ...] = ()
    failures: tuple[str, ...] = ()
    failed_checks: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    def rows_by_layer(self) -> dict[str, int]:
        """Rows of the tables of each layer after the run."""
        totals: dict[str, int] = {}
        for table in self.tables:
            layer = table.key.partition("/")[0]
            if layer in LAYERS and table.rows is not None:
                totals[layer] = totals.get(layer, 0) + table.rows
        return totals

    def seconds_by_layer(self) -> dict[str, float]:
        """Time that the steps of each layer took."""
        spent: dict[str, float] = {}
        for step, seconds in self.steps:
            layer = step.partition("__")[0]
            spent[layer] = round(spent.get(layer, 0.0) + seconds, 2)
        return spent

    def as_json(self) -> str:
        return json.dumps(
            asdict(self)
            | {
                "rows_by_layer": self.rows_by_layer(),
                "seconds_by_layer": self.seconds_by_layer(),
            },
            indent=2,
        )


@dataclass
class Progress:
    """Where a run is: told to the caller a few times a second."""

    total: int = 0
    done: int = 0
    current: str = "starting"


def prepare_instance(home: Home) -> None:
    """Write the home's `dagster.yaml` and point this process (and its children) at it."""
    home.dagster.mkdir(parents=True, exist_ok=True)
    config = {
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},  # no invitation to Dagster's newsletter over the first page
        "concurrency": {"runs": {"max_concurrent_runs": 1}},
        "run_monitoring": {"enabled": True, "poll_interval_seconds": 30},
        "retention": {
            "schedule": {"purge_after_days": 90},
            "sensor": {"purge_after_days": {"skipped": 7, "failure": 30, "success": 90}},
        },
    }
    wanted = yaml.safe_dump(config, sort_keys=False)
    path = home.dagster / "dagster.yaml"
    if not path.exists() or path.read_text() != wanted:
        path.write_text(wanted)
    os.environ.update(ENVIRONMENT)
    os.environ["DAGSTER_HOME"] = str(home.dagster)
    os.environ["DMP_HOME"] = str(home.root)


@contextmanager
def outside_systems(home: Home, *, shop: bool = True) -> Iterator[None]:
    """Start what the home needs beside itself and leave it as found: the embedded PostgreSQL
    when it is the shop (and one is wanted) or the store, and a sandbox home's stand-ins."""
    with ExitStack() as stack:
        if home.profile == "sandbox":
            from dmp_assets.demo.sandbox import Sandbox

            stack.enter_context(Sandbox(home).running())
        if (shop and home.settings().shop_database_url is None) or where.is_embedded(home):
            stack.enter_context(EmbeddedPostgres(home).running())
        yield


def run(
    home: Home,
    *,
    start: str = "",
    end: str = "",
    select: str = "*",
    wait: bool = False,
    shop: bool = True,
    report: Callable[[Progress], None] | None = None,
    process: RunProcess | None = None,
) -> RunSummary:
    """Materialize the selected assets in a run of the home's Dagster instance.

    `select` is Dagster's asset selection syntax, e.g. `group:cleaned` or `key:"modeled/*"`.
    `shop`: whether it reads the shop, for which Spark then starts early. `process`: one that was
    `prepared` before and has not run anything.
    Raises RangeError for a bad range, HomeError when the home is busy and not `wait`.
    """
    parse_range(start, end)
    with ExitStack() as stack:
        process = process or stack.enter_context(prepared(home))
        with home.exclusive(process.run_id, wait=wait):
            pass  # a busy home is refused before anything starts; the child takes the lock itself
        from dmp_assets import history

        instance = stack.enter_context(history.opened(home.dagster))
        bury_dead_runs(instance)
        began = time.monotonic()
        process.begin({"start": start, "end": end, "select": select, "wait": wait, "shop": shop})
        try:
            if report is None:
                process.wait()
            else:
                _follow(instance, process, report)
        except KeyboardInterrupt:
            process.end()
            report_canceled(instance, process.run_id)
            raise
        finally:
            process.end()
            bury_dead_runs(instance)
        summary = _summary(instance, process, time.monotonic() - began)
        return replace(summary, skipped=tuple(missing_parts(home)))


@contextmanager
def prepared(home: Home, *, rows: int | None = None) -> Iterator[RunProcess]:
    """A process for the next run, which imports what runs need while its caller does other work.

    `rows`: for a first run that will have so many to read; its Spark then starts at once too.
    """
    prepare_instance(home)
    with RunProcess(home, ENVIRONMENT, rows) as process:
        yield process


def _follow(
    instance: "dg.DagsterInstance", process: RunProcess, report: Callable[[Progress], None]
) -> None:
    """Tell of the steps until the child ends; reads only the events that are new."""
    import dagster as dg

    kinds = {dg.DagsterEventType(f"STEP_{name}") for name in ("START", *_ENDED)}
    progress, cursor, running, run_id = Progress(), None, True, process.run_id
    while running:
        running = process.wait(0.5) is None
        if not progress.total:
            record = instance.get_run_by_id(run_id)
            if record is not None and record.execution_plan_snapshot_id:
                plan = instance.get_execution_plan_snapshot(record.execution_plan_snapshot_id)
                progress.total = len(plan.step_keys_to_execute)
        else:
            found = instance.get_records_for_run(run_id, cursor=cursor, of_type=kinds)
            cursor = found.cursor
            for event in (entry.event_log_entry.dagster_event for entry in found.records):
                if event is None or event.step_key is None:
                    continue
                if event.event_type is dg.DagsterEventType.STEP_START:
                    progress.current = event.step_key.replace("__", "/", 1)
                else:
                    progress.done += 1
        report(progress)


def _summary(instance: "dg.DagsterInstance", process: RunProcess, seconds: float) -> RunSummary:
    import dagster as dg

    run_id, code, log = process.run_id, process.wait(), process.log
    record = instance.get_run_by_id(run_id)
    entries = instance.all_logs(run_id)
    tables: dict[str, TableResult] = {}  # one each: a daily table tells of every partition
    failures: list[str] = []
    checks: list[str] = []
    began: dict[str, float] = {}
    ended: dict[str, float] = {}
    for entry in entries:
        event = entry.dagster_event
        if event is None:
            continue
        if event.is_step_start:
            began.setdefault(event.step_key or "?", entry.timestamp)
        elif event.is_step_success or event.is_step_failure:
            ended[event.step_key or "?"] = entry.timestamp
        if event.is_step_materialization:
            found: dict[str, Any] = {
                name: value.value for name, value in event.materialization.metadata.items()
            }
            key = "/".join(event.materialization.asset_key.path)
            tables[key] = TableResult(
                key=key,
                rows=found.get("dagster/row_count"),
                unchanged=bool(found.get("unchanged")),
                quarantined=found.get("rows_quarantined"),
            )
        elif event.is_step_failure:
            step = (event.step_key or "?").replace("__", "/", 1)
            failures.append(f"{step}: {first_cause(event.step_failure_data)}")
        elif event.event_type is dg.DagsterEventType.RUN_FAILURE and not failures:
            failures.append(event.message or "the run failed")
        elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            if not evaluation.passed:
                key = "/".join(evaluation.asset_key.path)
                checks.append(f"{key} {evaluation.check_name} ({evaluation.severity.value})")
    success = bool(record and record.is_success) and code == 0
    if not success and not failures:
        tail = log.read_text(errors="replace").strip().splitlines()[-1:] or ["no output"]
        failures.append(f"the run ended with code {code}: {tail[0]} (see {log})")
        if record and not record.is_finished:
            instance.report_run_failed(record, failures[-1])
    steps = tuple((key, round(ended[key] - at, 2)) for key, at in began.items() if key in ended)
    return RunSummary(
        run_id=run_id,
        success=success,
        seconds=round(seconds, 1),
        tables=tuple(tables.values()),
        steps=steps,
        failures=tuple(failures),
        failed_checks=tuple(checks),
    )


def first_cause(failure: Any) -> str:
    """The cause of a failed step in one line: our own words, else the innermost exception's."""
    if failure.user_failure_data is not None and failure.user_failure_data.description:
        return str(failure.user_failure_data.description)
    chain, error = [], failure.error
    while error is not None:
        chain.append(error)
        error = error.cause
    if not chain:
        return "unknown cause"
    error = next((e for e in chain if e.message.startswith("dmp_assets.")), chain[-1])
    lines = [line.strip() for line in error.message.strip().splitlines() if line.strip()]
    text = lines[0] if lines else error.cls_name
    causes = _JVM_CAUSE.findall(error.message)
    if causes:
        text = f"{text} {causes[-1]}"
    return text.partition(": ")[2] or text if text.startswith("dmp_assets.") else text


def missing_parts(home: Home) -> list[str]:
    """What is not configured and therefore skipped, in words."""
    settings = home.settings()
    missing = []
    if settings.slack_token is None and home.profile == "live":
        missing.append("Slack (no DMP_SLACK_TOKEN): messages wait in the outbox")
    if settings.shop_database_url is None and home.profile == "live":
        missing.append(
            "DMP_SHOP_DATABASE_URL: the embedded PostgreSQL is the shop (fill it: dmp load-shop)"
        )
    if settings.web_database is None:
        missing.append("DMP_WEB_DATABASE: no attribution")
    elif settings.ihc_api_key is None:
        missing.append("DMP_IHC_API_KEY: our own initializer-holder-closer model stands in")
    if not where.is_configured(home):
        missing.append("the operational store (`dmp migrate`): nothing is published to the API")
    if settings.public_url is None:
        missing.append("DMP_PUBLIC_URL: messages carry files but no link")
    return missing


def _publish_nothing(home: Home) -> None:
    """The API must not go on serving another shop's figures, nor know its simulated people."""
    from dmp_assets.store import database, landing, publish

    with (
        outside_systems(home, shop=False),
        database.opened(where.store_url(home)) as store,
        store.begin() as connection,
    ):
        publish.clear(connection)
        if home.profile == "sandbox":
            landing.clear(connection)


def clear(home: Home, *, everything: bool = False) -> None:
    """Remove what runs made of the shop's data; `everything` removes the home itself.

    The outbox, Dagster's history, the sandbox and the embedded PostgreSQL stay unless
    `everything`; so do, in a live home, the logs of the service.
    """
    kept = _LOGS if home.profile == "live" else ()
    with home.exclusive("clear"):
        if where.is_configured(home) and not everything:
            _publish_nothing(home)
        for layer in LAYERS:
            for table in home.lakehouse.glob(f"{layer}/*"):
                if f"{layer}/{table.name}" not in kept:
                    shutil.rmtree(table)
        for path in (home.reports, home.exports, home.models):
            if path.exists():
                shutil.rmtree(path)
        for path in home.serving.glob("*"):
            if path != home.spool or home.profile == "sandbox":  # a live shop's scores are kept
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        home.warehouse.unlink(missing_ok=True)
        home.forget("shop")
    if everything:
        EmbeddedPostgres(home).destroy()
        shutil.rmtree(home.root)


def _execute(request: dict[str, Any], *, warm: bool = False) -> int:
    """The child: run the assets in this process. Exit code 0 only when all went well.

    `warm`: Spark has been started.
    """
    import dagster as dg

    from dmp_assets import history
    from dmp_assets.definitions import defs
    from dmp_assets.executor import run_job
    from dmp_assets.reporting import renderer, report_assets
    from dmp_assets.settings import project_dir
    from dmp_assets.table_asset import ATTRIBUTION

    home = Home.current()
    if request["shop"] and not warm:
        threading.Thread(target=_warm_up, args=(home,), daemon=True).start()
    repository = defs.get_repository_def()
    job = repository.get_implicit_global_asset_job_def()
    graph = repository.asset_graph
    selection = dg.AssetSelection.from_string(request["select"])
    # A table and its quarantine are written together: naming one of them means both.
    keys: Any = selection.required_multi_asset_neighbors().resolve(graph)
    if not keys:
        raise HomeError(f"no asset matches --select {request['select']!r}")
    if home.settings().web_database is None:  # skipped, unless nothing else is asked for
        web = dg.AssetSelection.tag(*next(iter(ATTRIBUTION.items()))).resolve(graph)
        keys = keys - web or keys
    daily = any(graph.get(key).is_partitioned for key in keys)
    window = {"start": request["start"], "end": request["end"]}
    with (
        history.opened(home.dagster) as instance,
        home.exclusive(request["run_id"], wait=request["wait"]),
        renderer.kept(project_dir(), home) as engine,
    ):
        if keys & report_assets.reports.keys and not home.reports.exists():
            engine.start()  # all reports will be rendered: their kernel imports beside other work
        result = run_job(
            job,
            run_id=request["run_id"],
            instance=instance,
            assets=keys,
            tags={
                PID_TAG: str(os.getpid()),
                "dmp/trigger": "cli",
                **(partition_tags(home, request["start"], request["end"]) if daily else {}),
            },
            run_config={
                "resources": {"window": {"config": window}},
                "loggers": {"console": {"config": {"log_level": "WARNING"}}},
            },
        )
    if not result.success:
        _tell_of_failure(home, result, {"/".join(key.path) for key in keys}, window)
    return 0 if result.success else 1


def partition_tags(home: Home, start: str = "", end: str = "") -> dict[str, str]:
    """Tags by which a run makes the daily partitions of START–END, or of all conversions.

    Raises RangeError for a range without a day that can be selected.
    """
    from dmp_assets.resources import web
    from dmp_assets.table_asset import WHOLE_TAG

    settings = home.settings()
    whole = not start
    if whole:
        source = web.web_source(home)
        days = web.conversion_days(source) if source else None
    else:
        days = date.fromisoformat(start), date.fromisoformat(end)
    opening, today = settings.web_first_day, datetime.now(UTC).date()
    first, last = days or (opening, opening)
    if whole:  # conversions of days that cannot be selected are made all the same
        first, last = min(max(first, opening), today), min(max(last, opening), today)
    else:
        first, last = max(first, opening), min(last, today)
    if first > last:
        raise RangeError(
            f"{start} to {end} has no day between DMP_WEB_FIRST_DAY ({opening}) and today"
        )
    return {
        "dagster/asset_partition_range_start": first.isoformat(),
        "dagster/asset_partition_range_end": last.isoformat(),
        **({WHOLE_TAG: "true"} if whole else {}),
    }


def _tell_of_failure(home: Home, result: Any, wanted: set[str], window: dict[str, str]) -> None:
    """A failed run skips its deliveries; a message must not be silently absent."""
    from dmp_assets.reporting.report_assets import deliver_failure, in_range
    from dmp_assets.resources.slack import SlackResource
    from dmp_assets.resources.window import Window

    failed = [
        (event.step_key or "?").replace("__", "/", 1)
        for event in result.all_events
        if event.is_step_failure
    ]
    made = {"/".join(event.asset_key.path) for event in result.get_asset_materialization_events()}
    deliver_failure(home, SlackResource(), failed, wanted - made, in_range(Window(**window)))


def _warm_up(home: Home) -> None:
    """Start Spark beside the imports of this process when the shop has news.

    Only a head start: whatever goes wrong here is told by the asset that needs it.
    """
    from dmp_assets.resources import shop, spark
    from dmp_assets.sources.shop import probe

    settings = home.settings()
    state = probe(shop.shop_url(home), settings.shop_schema)
    store = Tables(settings.lakehouse_root or str(home.lakehouse))
    if settings.spark_remote is None and shop.has_news(state, store):
        rows = max(known.row_count for known in state.tables.values())
        spark.start_ahead(settings, home.root / "spark", rows)


def _main(arguments: Sequence[str]) -> int:
    first = [int(rows) for rows in arguments[1:]]  # of a first run, whose Spark is surely wanted
    if first:
        from dmp_assets.resources import spark

        home = Home.current()
        told = home.settings(), home.root / "spark", first[0]
        threading.Thread(target=spark.start_ahead, args=told, daemon=True).start()
    import_module("dmp_assets.definitions")  # what takes long, before it is wanted
    wanted = request()
    return _execute(wanted, warm=bool(first)) if wanted else 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
