"""What is told of a run whose process did not live to tell it."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from dmp_assets.platform.run import parent
from dmp_assets.platform.run.ends import PID_TAG
from dmp_assets.platform.run.results import Account

NOBODY = "2147483647"  # a process id that no system gives


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def ended(instance: dg.DagsterInstance, tmp_path: Path, *, tag: dict[str, str], said: str) -> Any:
    """The summary of a run that began and whose process ended with -9, and the run then."""
    run_id = str(uuid.uuid4())
    started = dg.DagsterRun(
        job_name="all", run_id=run_id, status=dg.DagsterRunStatus.STARTED, tags=tag
    )
    instance.add_run(started)
    log = tmp_path / "log"
    process: Any = SimpleNamespace(
        run_id=run_id, wait=lambda: -9, log=log, said=said.splitlines, refusal=lambda: None
    )
    account = Account()
    account.read(instance, run_id)
    return parent._ended(instance, process, account, 1.0), instance.get_run_by_id(run_id)


def test_a_killed_run_says_so(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    summary, run = ended(instance, tmp_path, tag={PID_TAG: NOBODY}, said="java.lang.Whatever\n")
    assert not summary.success
    assert summary.failures == ("the process of this run was killed",)
    assert run.status is dg.DagsterRunStatus.FAILURE


def test_a_run_that_cannot_say_why_it_ended_gives_the_last_line_of_its_log(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    summary, run = ended(instance, tmp_path, tag={}, said="first\nno assets match\n")
    log = tmp_path / "log"
    assert summary.failures == (f"the run ended with code -9: no assets match (see {log})",)
    assert run.status is dg.DagsterRunStatus.FAILURE
