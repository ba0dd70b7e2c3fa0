"""How runs end that do not end by themselves: killed, which is a failure, or stopped on purpose."""

from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import dagster as dg

DOMAINS_TAG = "dmp/domains"
"""Tag of a run: the domains of what was asked for, by commas."""
PID_TAG = "dmp/pid"
CANCELED = "stopped by the person who started it"


def bury_dead_runs(instance: "dg.DagsterInstance") -> list[str]:
    """Report runs failed whose process is gone (killed), so that they block nothing.

    Returns their ids.
    """
    import dagster as dg

    buried = []
    open_states = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
    for run in instance.get_runs(dg.RunsFilter(statuses=open_states)):
        pid = run.tags.get(PID_TAG)
        if pid and not _is_run(int(pid), run.run_id):
            instance.report_run_failed(run, "the process of this run was killed")
            buried.append(run.run_id)
    return buried


def _is_run(pid: int, run_id: str) -> bool:
    try:
        return run_id in " ".join(psutil.Process(pid).cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def report_canceled(instance: "dg.DagsterInstance", run_id: str) -> None:
    """Report a run canceled whose process was stopped on purpose; of it, nobody is told a failure.

    A run that has ended, or that has not begun, stays as it is.
    """
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return
    instance.report_run_canceling(run, CANCELED)
    instance.report_run_canceled(run, CANCELED)
