"""Dagster's history in PostgreSQL: few connections, restarts outlived, old logs let go."""

import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
import yaml
from pydantic import SecretStr

from dmp_assets.home import Home
from dmp_assets.platform.run import history, old_logs, shared_history
from dmp_assets.platform.run.executor import run_job, threads_executor
from dmp_assets.platform.run.instance import prepare_instance
from tests.support.postgres import stoppable_server

CONNECTIONS = 3


@dg.asset(pool="shop")
def first() -> None:
    """One."""


@dg.asset(deps=[first])
def second(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """One made of it."""
    context.log.info("a line of the log")
    if wait := context.run.tags.get("test/wait"):
        Path(wait).touch()
        time.sleep(2)
    return dg.MaterializeResult(metadata={"rows": 3})


@dg.asset_check(asset=second)
def third() -> dg.AssetCheckResult:
    """A check."""
    return dg.AssetCheckResult(passed=True)


DEFS = dg.Definitions(assets=[first, second], asset_checks=[third], executor=threads_executor)
KEYS = [dg.AssetKey("first"), dg.AssetKey("second")]


@pytest.fixture
def live(tmp_path: Path, shop_url: SecretStr, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A live home whose history is in a database of its own."""
    return of(tmp_path, shop_url, monkeypatch)


def of(folder: Path, url: SecretStr, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in ("DAGSTER_HOME", "DMP_HOME"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("DMP_DAGSTER_DATABASE_URL", url.get_secret_value())
    monkeypatch.setenv("DMP_DAGSTER_CONNECTIONS", str(CONNECTIONS))
    monkeypatch.setenv("DMP_SOURCE_LIMITS", '{"shop": 1}')
    home = Home(folder / "home").prepare("live")
    prepare_instance(home)
    return home


@pytest.fixture
def instance(live: Home) -> Iterator[dg.DagsterInstance]:
    with history.opened(live.dagster) as opened:
        yield opened


def run(instance: dg.DagsterInstance, run_id: str, **tags: str) -> dg.ExecuteInProcessResult:
    job = DEFS.get_repository_def().get_implicit_global_asset_job_def()
    return run_job(
        job, assets=KEYS, instance=instance, run_id=run_id, run_config={},
        tags={f"test/{name}": said for name, said in tags.items()},
    )  # fmt: skip


def ids(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def lines(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    return [entry.user_message for entry in instance.all_logs(run_id)]


def test_runs_events_and_ticks_are_kept_there_and_no_password_in_a_file(
    live: Home, instance: dg.DagsterInstance, shop_url: SecretStr
) -> None:
    assert run(instance, ids(1)).success
    assert "a line of the log" in lines(instance, ids(1))
    with psycopg.connect(shop_url.get_secret_value()) as connection:
        kept = connection.execute("SELECT run_id, status FROM runs").fetchall()
    assert kept == [(ids(1), "SUCCESS")]
    said = (live.dagster / "dagster.yaml").read_text()
    assert shop_url.get_secret_value() not in said
    assert not list(live.dagster.glob("history/**/*.db"))
    with dg.DagsterInstance.get() as as_dagster_opens_it:  # the webserver and the daemon
        assert as_dagster_opens_it.get_run_by_id(ids(1)) is not None
        told = as_dagster_opens_it.get_latest_materialization_event(KEYS[1])
        assert told and told.asset_materialization
        assert told.asset_materialization.metadata["rows"].value == 3


def test_a_process_holds_no_more_connections_than_are_set(
    live: Home, instance: dg.DagsterInstance, shop_url: SecretStr
) -> None:
    most, over = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        with psycopg.connect(shop_url.get_secret_value(), autocommit=True) as connection:
            while not over.wait(0.01):
                (count,) = connection.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND pid <> pg_backend_pid()"
                ).fetchone() or (0,)
                most = max(most, count)

    instance.optimize_for_webserver(statement_timeout=1000, pool_recycle=60, max_overflow=20)
    watcher = threading.Thread(target=watch)
    watcher.start()
    readers = [threading.Thread(target=instance.get_run_records) for _ in range(20)]
    for reader in readers:
        reader.start()
    assert run(instance, ids(1)).success
    for reader in readers:
        reader.join()
    over.set()
    watcher.join()
    assert 0 < most <= CONNECTIONS


def test_a_source_has_the_limit_that_is_set(instance: dg.DagsterInstance) -> None:
    limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
    assert limits == {"shop": 1}
    info = instance.event_log_storage.get_concurrency_info("shop")
    assert info.slot_count == 1
    claim = instance.event_log_storage.claim_concurrency_slot("shop", ids(8), "elsewhere")
    assert claim.is_claimed
    began = time.monotonic()
    freed = threading.Timer(2, instance.event_log_storage.free_concurrency_slots_for_run, [ids(8)])
    freed.start()
    assert run(instance, ids(1)).success
    assert time.monotonic() - began >= 2  # the other run's table of that source was waited for


def test_a_run_outlives_a_restart_of_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stoppable_server(durable=True) as server:
        home = of(tmp_path, server.endpoint().url("postgres"), monkeypatch)
        with history.opened(home.dagster) as instance:
            mark = tmp_path / "at-work"

            def restart() -> None:
                while not mark.exists():
                    time.sleep(0.02)
                server.stop()
                time.sleep(3)
                server.start()

            thread = threading.Thread(target=restart)
            thread.start()
            assert run(instance, ids(1), wait=str(mark)).success
            thread.join()
            record = instance.get_run_by_id(ids(1))
            assert record and record.is_success
            assert "a line of the log" in lines(instance, ids(1))


def test_a_database_that_stays_away_is_told_with_where_it_should_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_history, "PATIENCE", 1)
    with stoppable_server() as server:
        endpoint = server.endpoint()
        home = of(tmp_path, endpoint.url("postgres"), monkeypatch)
        with history.opened(home.dagster) as instance:
            server.stop()
            with pytest.raises(
                shared_history.HistoryError, match=rf"127.0.0.1:{endpoint.port}.*run again"
            ) as told:
                instance.get_run_records()
            assert endpoint.url("postgres").get_secret_value() not in str(told.value)


@pytest.mark.parametrize("kept", ["postgres", "files"])
def test_old_logs_go_and_what_runs_made_stays_known(
    live: Home, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    if kept == "files":
        monkeypatch.delenv("DMP_DAGSTER_DATABASE_URL")
        prepare_instance(live)
    with history.opened(live.dagster) as instance:
        assert run(instance, ids(1)).success
        between = datetime.now(UTC)
        time.sleep(0.05)
        assert run(instance, ids(2)).success
        assert old_logs.delete(instance, between - timedelta(days=1)) == 0
        assert old_logs.delete(instance, between) == 1
        assert old_logs.delete(instance, between) == 0
        assert "a line of the log" not in lines(instance, ids(1))
        assert "a line of the log" in lines(instance, ids(2))
        record = instance.get_run_by_id(ids(1))
        assert record and record.is_success
        made = instance.fetch_materializations(KEYS[1], limit=10).records
        assert [one.run_id for one in made] == [ids(2), ids(1)]
        checks = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(KEYS[1], "third"), limit=10
        )
        assert [one.run_id for one in checks] == [ids(2), ids(1)]


def test_what_dagster_is_told_follows_the_settings(
    live: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = {"module": "dagster._core.launcher", "class": "DefaultRunLauncher", "config": {}}
    monkeypatch.setenv("DMP_RUN_LAUNCHER", str(launcher).replace("'", '"'))
    monkeypatch.setenv("DMP_TICK_DAYS", "20")
    prepare_instance(live)
    told = yaml.safe_load((live.dagster / "dagster.yaml").read_text())
    assert told["run_launcher"] == launcher
    assert told["retention"] == {
        "schedule": {"purge_after_days": 20},
        "sensor": {"purge_after_days": {"skipped": 7, "failure": 20, "success": 20}},
    }
    with history.opened(live.dagster) as instance:
        assert type(instance.run_launcher).__name__ == "DefaultRunLauncher"
    home = Home(tmp_path / "sandbox").prepare("sandbox")
    prepare_instance(home)  # a sandbox home keeps to itself
    told = yaml.safe_load((home.dagster / "dagster.yaml").read_text())
    assert not told.keys() & {"storage", "run_launcher"}
    assert os.environ["DAGSTER_HOME"] == str(home.dagster)
