"""Dagster's history over lasting connections is the history that Dagster itself reads."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dmp_assets.platform.run import history

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-06")


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def daily(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return dg.MaterializeResult(
        metadata={"rows": len(context.partition_keys)}, data_version=dg.DataVersion("v1")
    )


@dg.asset(deps=[daily], check_specs=[dg.AssetCheckSpec("few", asset="total")])
def total() -> dg.MaterializeResult:
    return dg.MaterializeResult(
        metadata={"rows": 5}, check_results=[dg.AssetCheckResult(passed=False)]
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return tmp_path / "dagster"


def materialize(instance: dg.DagsterInstance) -> str:
    job = dg.Definitions([daily, total]).get_implicit_global_asset_job_def()
    tags = {
        "dagster/asset_partition_range_start": "2024-01-01",
        "dagster/asset_partition_range_end": "2024-01-05",
    }
    result = job.execute_in_process(instance=instance, tags=tags)
    assert result.success
    return result.run_id


def seen(instance: dg.DagsterInstance, run_id: str) -> dict[str, Any]:
    """What people and sensors read of a run."""
    key = dg.AssetKey("daily")
    check = dg.AssetCheckKey(dg.AssetKey("total"), "few")
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key([check])
    latest = instance.get_latest_materialization_event(key)
    run = instance.get_run_by_id(run_id)
    assert latest and latest.asset_materialization and run
    return {
        "status": run.status.value,
        "events": [entry.dagster_event_type for entry in instance.all_logs(run_id)],
        "partitions": instance.get_materialized_partitions(key),
        "latest": (latest.run_id, latest.asset_materialization.metadata["rows"].value),
        "check": found[check].status.value,
        "keys": {tuple(one.path) for one in instance.get_asset_keys()},
        "steps": sorted(step.step_key for step in instance.get_run_step_stats(run_id)),
    }


def test_dagster_reads_the_same_history_with_its_own_classes(folder: Path) -> None:
    with history.opened(folder) as mine:
        run_id = materialize(mine)
        with dg.DagsterInstance.from_config(str(folder)) as other:  # while it is open
            told = seen(other, run_id)
        assert seen(mine, run_id) == told
        with dg.DagsterInstance.from_config(str(folder)) as other:
            theirs = materialize(other)
        assert seen(mine, theirs)["latest"][0] == theirs
    assert told["status"] == "SUCCESS"
    assert told["partitions"] == {f"2024-01-0{day}" for day in range(1, 6)}
    assert (told["check"], told["keys"]) == ("FAILED", {("daily",), ("total",)})
    assert told["steps"] == ["daily", "total"]


def test_a_batch_that_fails_stores_none_of_its_events(folder: Path) -> None:
    with history.opened(folder) as instance:
        run_id = materialize(instance)
        before = instance.all_logs(run_id)
        good = before[0]
        with pytest.raises(Exception, match="Not a dagster event"):
            instance.event_log_storage.store_event_batch([good, good._replace(dagster_event=1)])  # type: ignore[attr-defined]
        assert len(instance.all_logs(run_id)) == len(before)
        assert instance.get_run_by_id(run_id) is not None


def test_a_run_whose_history_was_removed_can_be_written_again(folder: Path) -> None:
    with history.opened(folder) as instance:
        first = materialize(instance)
        instance.wipe()
        assert instance.get_run_by_id(first) is None
        assert seen(instance, materialize(instance))["status"] == "SUCCESS"


def test_threads_take_turns(folder: Path) -> None:
    with history.opened(folder) as instance:
        run_ids = [materialize(instance) for _ in range(2)]
        found: list[int] = []

        def read() -> None:
            found.extend(len(instance.all_logs(run_id)) for run_id in run_ids * 10)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 80
        assert len(set(found)) == 1


def test_many_runs_leave_few_databases_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "OPEN_SHARDS", 1)
    with history.opened(folder) as instance:
        runs = [materialize(instance) for _ in range(3)]
        states = [seen(instance, run_id)["status"] for run_id in runs * 2]
    assert states == ["SUCCESS"] * 6


WRITER = """
import sys
from pathlib import Path
from tests.unit.platform.run.test_history import materialize
from dmp_assets.platform.run import history
with history.opened(Path(sys.argv[1])) as instance:
    print("opened", flush=True)
    sys.stdin.readline()
    print(*(materialize(instance) for _ in range(3)))
"""


def test_processes_that_make_and_write_a_history_at_the_same_time_lose_nothing(
    folder: Path,
) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    told = [process.communicate("go\n", timeout=100) for process in started]
    assert [process.returncode for process in started] == [0, 0], told[0][1] + told[1][1]
    runs = [run_id for out, _ in told for run_id in out.split()[1:]]
    with history.opened(folder) as instance:
        statuses = [run.status.value for run in instance.get_runs() if run.run_id in runs]
        assert statuses == ["SUCCESS"] * 6
        events = {len(instance.all_logs(run_id)) for run_id in runs}
    assert len(events) == 1
