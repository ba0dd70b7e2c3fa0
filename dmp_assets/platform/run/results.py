"""What a run did, for people and for machines: read from the events that it left."""

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from dmp_assets.platform.lake.tables import LAYERS
from dmp_assets.platform.run.causes import first_cause

if TYPE_CHECKING:
    import dagster as dg

    from dmp_assets.platform.reporting.check_results import CheckResult


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
    found: "tuple[CheckResult, ...]" = ()
    """Evaluations of checks that failed."""
    skipped: tuple[str, ...] = ()
    domains: frozenset[str] = frozenset()
    """Those of what was asked for; nothing is said of others."""

    @property
    def failed_checks(self) -> tuple[str, ...]:
        """Which checks failed, each with its severity."""
        return tuple(f"{r.key} ({'ERROR' if r.error else 'WARN'})" for r in self.found)

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
        told = asdict(replace(self, found=()))
        del told["found"], told["domains"]  # the first are named by `failed_checks`
        return json.dumps(
            told
            | {
                "failed_checks": self.failed_checks,
                "rows_by_layer": self.rows_by_layer(),
                "seconds_by_layer": self.seconds_by_layer(),
            },
            indent=2,
        )


class Account:
    """What a run's events say, taken in as they are stored; each is looked at once."""

    def __init__(self) -> None:
        self.total = 0
        """Steps that the run will have; 0 until it is planned."""
        self.current = "starting"
        """The asset that began last."""
        self.failures: list[str] = []
        self._found: list[CheckResult] = []
        self._tables: dict[str, TableResult] = {}  # one each: a daily table tells of every day
        self._began: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._skipped: set[str] = set()
        self._cursor: str | None = None

    def read(self, instance: "dg.DagsterInstance", run_id: str) -> None:
        """Take in what the run has told since the last reading."""
        found = instance.get_records_for_run(run_id, cursor=self._cursor)
        self._cursor = found.cursor
        for stored in found.records:
            self.take(stored.event_log_entry)

    @property
    def done(self) -> int:
        """Steps that ended, well or badly, or were left out."""
        return len(self._ended) + len(self._skipped)

    def take(self, entry: "dg.EventLogEntry") -> None:
        """One more entry of the run's log, in their order."""
        event = entry.dagster_event
        if event is None:
            return
        from dagster import DagsterEventType as Kind

        kind, step = event.event_type, event.step_key or "?"
        if kind is Kind.STEP_START:
            self._began.setdefault(step, entry.timestamp)
            self.current = _asset(step)
        elif kind in (Kind.STEP_SUCCESS, Kind.STEP_FAILURE):
            self._ended[step] = entry.timestamp
            if event.is_step_failure:
                self.failures.append(f"{_asset(step)}: {first_cause(event.step_failure_data)}")
        elif kind is Kind.STEP_SKIPPED:
            self._skipped.add(step)
        elif kind is Kind.ASSET_MATERIALIZATION:
            made = event.step_materialization_data.materialization
            found: dict[str, Any] = {name: value.value for name, value in made.metadata.items()}
            key = "/".join(made.asset_key.path)
            self._tables[key] = TableResult(
                key=key,
                rows=found.get("dagster/row_count"),
                unchanged=bool(found.get("unchanged")),
                quarantined=found.get("rows_quarantined"),
            )
        elif kind is Kind.RUN_FAILURE and not self.failures:
            self.failures.append(event.message or "the run failed")
        elif kind is Kind.ASSET_CHECK_EVALUATION:
            from dmp_assets.platform.reporting.check_results import result_of

            check = result_of(event.asset_check_evaluation_data, entry.run_id)
            if not check.passed:
                self._found.append(check)

    def summary(self, run_id: str, *, success: bool, seconds: float) -> RunSummary:
        """What it comes to."""
        took = [
            (step, round(self._ended[step] - at, 2))
            for step, at in self._began.items()
            if step in self._ended
        ]
        return RunSummary(
            run_id=run_id,
            success=success,
            seconds=round(seconds, 1),
            tables=tuple(self._tables.values()),
            steps=tuple(took),
            failures=tuple(self.failures),
            found=tuple(self._found),
        )


def _asset(step: str) -> str:
    return step.replace("__", "/", 1)
