"""Results of a run's checks, and what a person does about one that found something."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

import dagster as dg

from dmp_assets.home import Home
from dmp_assets.platform.faces.domain import known_domains
from dmp_assets.platform.run.instance import find_history

ADVICE: Mapping[str, str] = MappingProxyType(
    {
        "not_empty": "look whether the source was read: `dmp doctor`",
        "required_columns_filled": "see the rows: `dmp show quarantine/{table}`; mend them at the "
        "source, the next run reads them again",
        "delivered": "it is sent by itself as soon as it can be; what is wrong with Slack: "
        "`dmp doctor`",
    }
)
"""Check that tables of any domain have → what to do, with `{asset}` and `{table}`."""


@cache
def _advice() -> Mapping[str, str]:
    brought = {check: told for domain in known_domains() for check, told in domain.advice.items()}
    return {**brought, **ADVICE}


_DEFAULT = "look at the table: `dmp show {asset}`"


@dataclass(frozen=True)
class CheckResult:
    """One evaluation of a check. `error`: of severity ERROR; `figures` beside `offending`."""

    asset: str
    check: str
    passed: bool
    error: bool
    offending: int | None = None
    rule: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)
    owner: str | None = None
    run_id: str | None = None

    @property
    def key(self) -> str:
        return f"{self.asset} {self.check}"

    @property
    def finding(self) -> str:
        """What was found, in words: `40 found; user_id is filled; …`."""
        shown = [f"{self.offending:,} found"] if self.offending else []
        shown += [f"{name} {value}" for name, value in self.figures.items() if value is not None]
        said = self.rule or "it failed"
        return f"{said} ({', '.join(shown)})" if shown else said

    @property
    def advice(self) -> str:
        """What to do about it; names a command."""
        told = _advice().get(self.check, _DEFAULT)
        return told.format(asset=self.asset, table=self.asset.partition("/")[2])


def results_of(instance: dg.DagsterInstance, run_id: str) -> list[CheckResult]:
    """Results of all checks of a run, in the order of their evaluation."""
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    return [
        result_of(entry.dagster_event.asset_check_evaluation_data, run_id)
        for entry in entries
        if entry.dagster_event
    ]


def result_of(evaluation: Any, run_id: str) -> CheckResult:
    """One evaluation, as Dagster's event of it carries it."""
    figures = {name: value.value for name, value in evaluation.metadata.items()}
    offending, rule = figures.pop("offending", None), figures.pop("rule", None)
    return CheckResult(
        asset="/".join(evaluation.asset_key.path),
        check=evaluation.check_name,
        passed=bool(evaluation.passed),
        error=evaluation.severity == dg.AssetCheckSeverity.ERROR,
        offending=int(offending) if isinstance(offending, int | float) else None,
        rule=str(rule or ""),
        figures=figures,
        run_id=run_id,
    )


def failing(home: Home, *, runs: int = 50) -> list[CheckResult] | None:
    """Checks whose last evaluation failed, in the last `runs` runs; None where none was run."""
    if not (home.dagster / "dagster.yaml").exists():
        return None
    latest: dict[str, CheckResult] = {}
    find_history(home.settings())
    with dg.DagsterInstance.from_config(str(home.dagster)) as instance:
        for record in instance.get_run_records(limit=runs):  # the newest first
            for result in reversed(results_of(instance, record.dagster_run.run_id)):
                latest.setdefault(result.key, result)
    if not latest:
        return None
    failed = [result for result in latest.values() if not result.passed]
    return sorted(failed, key=lambda result: (not result.error, result.key))
