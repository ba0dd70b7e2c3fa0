"""Running assets from the command line, so that every run is one of Dagster's.

The run itself is a child process (`child.py`), which leaves its events and logs in the home's
Dagster instance; the parent reads them there to show progress and a summary.
"""

import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from dmp_assets import domains
from dmp_assets.home import Home
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.lake import leases
from dmp_assets.platform.lake.date_range import parse_range
from dmp_assets.platform.run.ends import DOMAINS_TAG, bury_dead_runs, report_canceled
from dmp_assets.platform.run.outside import missing_parts
from dmp_assets.platform.run.process import RunProcess, prepared
from dmp_assets.platform.run.results import Account, RunSummary

if TYPE_CHECKING:
    import dagster as dg

EVERYTHING = "*"
"""The selection of all assets."""

_LOOK = 0.5  # seconds between two looks at what the run says


def run(
    home: Home,
    *,
    start: str = "",
    end: str = "",
    select: str = EVERYTHING,
    wait: bool = False,
    shop: bool = True,
    report: Callable[[Account], None] | None = None,
    process: RunProcess | None = None,
) -> RunSummary:
    """Materialize the selected assets in a run of the home's Dagster instance.

    `select` is Dagster's asset selection syntax, e.g. `group:shop` or `key:"modeled/*"`.
    `shop`: whether it reads the shop, for which Spark then starts early. `process`: one that was
    `prepared` before and has not run anything. `report` is told twice a second how far it is.
    Raises RangeError for a bad range, UserError when no asset is selected, or when what the run
    is to write is held by another one and not `wait`.
    """
    parse_range(start, end)
    with ExitStack() as stack:
        process = process or stack.enter_context(prepared(home))
        if not wait:  # what is busy is refused before anything starts, as far as is known here
            leases.refuse(home, None if select == EVERYTHING else ())
        from dmp_assets.platform.run import history

        instance = stack.enter_context(history.opened(home.dagster))
        bury_dead_runs(instance)
        began = time.monotonic()
        process.begin({"start": start, "end": end, "select": select, "wait": wait, "shop": shop})
        account = Account()
        try:
            _follow(instance, process, account, report)
        except KeyboardInterrupt:
            process.end()
            report_canceled(instance, process.run_id)
            raise
        finally:
            process.end()
        ended = _ended(instance, process, account, time.monotonic() - began)
        concerned = _domains_of(instance, process.run_id)
        skipped = tuple(missing_parts(home, concerned))
        return replace(ended, skipped=skipped, domains=frozenset(concerned))


def _domains_of(instance: "dg.DagsterInstance", run_id: str) -> Collection[str]:
    """The domains of what was asked for; all, of a run that ended before it could say so."""
    record = instance.get_run_by_id(run_id)
    said = record.tags.get(DOMAINS_TAG) if record else None
    return domains.DOMAINS if said is None else said.split(",")


def _follow(
    instance: "dg.DagsterInstance",
    process: RunProcess,
    account: Account,
    report: Callable[[Account], None] | None,
) -> None:
    """Take in the run's events, and tell of them, until the child has ended."""
    running, run_id = True, process.run_id
    while running:
        running = process.wait(_LOOK) is None
        if not account.total:
            record = instance.get_run_by_id(run_id)
            if record is not None and record.execution_plan_snapshot_id:
                plan = instance.get_execution_plan_snapshot(record.execution_plan_snapshot_id)
                account.total = len(plan.step_keys_to_execute)
        account.read(instance, run_id)
        if report is not None:
            report(account)


def _ended(
    instance: "dg.DagsterInstance", process: RunProcess, account: Account, seconds: float
) -> RunSummary:
    """The summary of a run whose process has ended; one that was killed is reported failed.

    Raises UserError when nothing was run because of what was asked for.
    """
    code = process.wait()
    if (refusal := process.refusal()) and instance.get_run_by_id(process.run_id) is None:
        raise UserError(refusal)
    if code != 0:
        bury_dead_runs(instance)
        account.read(instance, process.run_id)
    record = instance.get_run_by_id(process.run_id)
    success = bool(record and record.is_success) and code == 0
    if not success and not account.failures:
        last = (process.said() or ["no output"])[-1]
        account.failures.append(f"the run ended with code {code}: {last} (see {process.log})")
        if record and not record.is_finished:
            instance.report_run_failed(record, account.failures[-1])
    return account.summary(process.run_id, success=success, seconds=seconds)
