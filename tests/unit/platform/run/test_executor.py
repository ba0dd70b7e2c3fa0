"""Assets of a run share a process, and those that do not need each other run at once."""

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.plan.execute_plan import dagster_event_sequence_for_step

from dmp_assets.home import Home
from dmp_assets.platform.lake import leases
from dmp_assets.platform.run import executor, parent
from dmp_assets.platform.run.executor import ALONE_TAG, run_job, threads_executor
from dmp_assets.platform.run.results import Account

SECONDS = 20  # for what surely happens


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home").prepare("sandbox")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run(
    instance: dg.DagsterInstance, assets: Sequence[Any], *, at_once: int = 3, only: str = "*"
) -> tuple[bool, list[tuple[str, str]]]:
    """Whether the run succeeded, and (kind, step) of what it told in its order."""
    job = dg.Definitions(assets, executor=threads_executor).get_implicit_global_asset_job_def()
    result = run_job(
        job,
        assets=dg.AssetSelection.from_string(only).resolve(job.asset_layer.asset_graph),
        instance=instance,
        run_id=str(uuid.uuid4()),
        tags={},
        run_config={"execution": {"config": {"max_concurrent": at_once}}},
    )
    stored = instance.all_logs(result.run_id)
    told = [entry.dagster_event for entry in stored if entry.dagster_event is not None]
    return result.success, [(e.event_type_value, e.step_key or "") for e in told]


def test_assets_that_do_not_need_each_other_run_at_once(instance: dg.DagsterInstance) -> None:
    both = threading.Barrier(2, timeout=SECONDS)
    order: list[str] = []

    @dg.asset
    def one() -> None:
        both.wait()

    @dg.asset
    def two() -> None:
        both.wait()

    @dg.asset(deps=[one, two])
    def after() -> None:
        order.append(f"after {both.n_waiting}")

    success, told = run(instance, [one, two, after])
    assert success
    assert order == ["after 0"]
    began = told.index(("STEP_START", "after"))
    assert {("STEP_SUCCESS", "one"), ("STEP_SUCCESS", "two")} <= set(told[:began])


def test_no_more_run_at_once_than_wanted_and_of_those_that_exclude_each_other_one(
    instance: dg.DagsterInstance,
) -> None:
    now: dict[str, int] = {"all": 0, "file": 0}
    most = dict(now)
    guard = threading.Lock()

    def made(name: str, tag: str | None) -> dg.AssetsDefinition:
        counted = ["all", *([tag] if tag else [])]

        @dg.asset(name=name, op_tags={ALONE_TAG: tag} if tag else {})
        def asset() -> None:
            for kind, by in [*((k, 1) for k in counted), *((k, -1) for k in counted)]:
                with guard:
                    now[kind] += by
                    most[kind] = max(most[kind], now[kind])
                time.sleep(0.02)

        return asset

    assets = [made(f"a{n}", "file" if n % 2 else None) for n in range(10)]
    assert run(instance, assets, at_once=2)[0]
    assert most == {"all": 2, "file": 1}


def test_the_longest_chain_is_begun_first(instance: dg.DagsterInstance) -> None:
    begun: list[str] = []

    def made(name: str, *deps: str) -> dg.AssetsDefinition:
        @dg.asset(name=name, deps=list(deps))
        def asset() -> None:
            begun.append(name)

        return asset

    assets = [made("a"), made("b"), made("long"), made("longer", "long"), made("end", "longer")]
    assert run(instance, assets, at_once=1)[0]
    assert begun[:2] == ["long", "longer"]
    assert sorted(begun[2:]) == ["a", "b", "end"]


def test_a_failure_stops_what_needs_it_and_nothing_else(instance: dg.DagsterInstance) -> None:
    made: list[str] = []

    @dg.asset
    def broken() -> None:
        raise ValueError("no such thing")

    @dg.asset(deps=[broken])
    def needs_it() -> None:
        made.append("needs_it")

    @dg.asset(check_specs=[dg.AssetCheckSpec("good", asset="checked", blocking=True)])
    def checked() -> dg.MaterializeResult:
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=False)])

    @dg.asset(deps=[checked])
    def blocked() -> None:
        made.append("blocked")

    @dg.asset
    def other() -> None:
        made.append("other")

    @dg.asset(deps=[other])
    def after_other() -> None:
        made.append("after_other")

    assets = [broken, needs_it, checked, blocked, other, after_other]
    success, told = run(instance, assets)
    assert not success
    assert made == ["other", "after_other"]
    assert ("STEP_FAILURE", "broken") in told
    assert not {key for kind, key in told if kind == "STEP_START"} & {"needs_it", "blocked"}
    assert told[-1][0] == "PIPELINE_FAILURE"


def test_an_asset_is_tried_again_while_others_go_on(instance: dg.DagsterInstance) -> None:
    tries: list[int] = []
    other_made = threading.Event()

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2, delay=0.01))
    def at_third() -> None:
        tries.append(len(tries))
        assert other_made.wait(SECONDS)
        if len(tries) < 3:
            raise ValueError("not yet")

    @dg.asset
    def other() -> None:
        other_made.set()

    success, told = run(instance, [at_third, other])
    assert success
    assert len(tries) == 3
    assert told.count(("STEP_RESTARTED", "at_third")) == 2


def test_a_canceled_run_begins_nothing_more_and_tells_how_what_it_began_ended(
    instance: dg.DagsterInstance,
) -> None:
    made: list[str] = []

    @dg.asset
    def cancels() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)  # the run is canceled meanwhile
        made.append("cancels")

    @dg.asset(deps=[cancels])
    def after() -> None:
        made.append("after")

    success, told = run(instance, [cancels, after])
    assert not success
    assert made == ["cancels"]
    assert ("STEP_SUCCESS", "cancels") in told
    assert ("STEP_START", "after") not in told


def test_hooks_run_as_with_dagsters_own_executors(instance: dg.DagsterInstance) -> None:
    seen: list[str] = []

    @dg.success_hook
    def told(context: dg.HookContext) -> None:
        seen.append(context.step_key)

    one = dg.asset(name="one", hooks={told})(lambda: None)
    assert run(instance, [one])[0]
    assert seen == ["one"]


@pytest.mark.parametrize("when", ["setting up", "cleaning up"])
def test_a_run_does_not_fail_for_want_of_its_log(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    logs = instance.compute_log_manager
    capture = logs.capture_logs

    @contextmanager
    def refuse(log_key: Sequence[str]) -> Iterator[Any]:
        if when == "setting up":
            raise OSError("no space is left for logs")
        with capture(log_key) as captured:
            yield captured
        raise OSError("no space is left for logs")

    monkeypatch.setattr(logs, "capture_logs", refuse)
    success, told = run(instance, [dg.asset(name="one")(lambda: None)])
    assert success
    assert ("STEP_SUCCESS", "one") in told
    [done] = instance.get_runs()
    said = [entry.user_message or entry.message for entry in instance.all_logs(done.run_id)]
    assert any(f"Exception while {when} compute log capture" in text for text in said)


def test_an_error_that_is_not_an_assets_own_fails_the_run_after_the_others_have_ended(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    begun = threading.Event()

    def broken(context: Any) -> Any:
        if context.step.key == "odd":
            assert begun.wait(SECONDS)
            raise RuntimeError("the machinery broke")
        yield from dagster_event_sequence_for_step(context)

    monkeypatch.setattr(executor, "dagster_event_sequence_for_step", broken)

    @dg.asset
    def slow() -> None:
        begun.set()
        time.sleep(0.5)
        made.append("slow")

    odd = dg.asset(name="odd")(lambda: None)
    success, told = run(instance, [slow, odd])
    assert not success
    assert made == ["slow"]
    assert told[-1][0] == "PIPELINE_FAILURE"


def test_the_summary_gives_the_time_of_steps_that_were_made_alone(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    @dg.asset(key_prefix="raw")
    def broken() -> None:
        time.sleep(0.05)
        raise ValueError("no such thing")

    @dg.asset(key_prefix="cleaned", deps=[["raw", "broken"]])
    def needs_it() -> None:
        raise AssertionError

    assert not run(instance, [broken, needs_it])[0]
    [done] = instance.get_runs()
    (tmp_path / "log").write_text("")
    process = SimpleNamespace(run_id=done.run_id, wait=lambda: 1, refusal=lambda: None)
    account = Account()
    account.read(instance, done.run_id)
    summary = parent._ended(instance, process, account, 1.0)  # type: ignore[arg-type]
    assert [step for step, _ in summary.steps] == ["raw__broken"]
    assert summary.seconds_by_layer()["raw"] >= 0.05
    assert summary.failures == ("raw/broken: ValueError: no such thing",)


# leases -------------------------------------------------------------------------------------------
def test_what_a_step_writes_is_held_until_it_has_ended_or_cannot_begin(
    home: Home, instance: dg.DagsterInstance
) -> None:
    held: dict[str, tuple[str, ...] | None] = {}

    def look(when: str) -> None:
        (lease,) = leases.living(home)
        held[when] = lease.names

    @dg.multi_asset(specs=[dg.AssetSpec("one"), dg.AssetSpec("beside_one")])
    def both() -> Any:
        look("at first")
        yield dg.MaterializeResult(asset_key="one")
        yield dg.MaterializeResult(asset_key="beside_one")

    @dg.asset(deps=["one"])
    def broken() -> None:
        raise ValueError("no such thing")

    @dg.asset(deps=[broken])
    def needs_it() -> None: ...

    @dg.asset(deps=["one"])
    def slow() -> None:
        end = time.monotonic() + SECONDS
        while len(leases.living(home)[0].names or ()) > 1 and time.monotonic() < end:
            time.sleep(0.01)
        look("at last")

    assert not run(instance, [both, broken, needs_it, slow])[0]
    assert held == {
        "at first": ("beside_one", "broken", "needs_it", "one", "slow"),
        "at last": ("slow",),
    }
    assert leases.living(home) == []


def test_a_run_holds_what_it_retries(home: Home, instance: dg.DagsterInstance) -> None:
    seen: list[tuple[str, ...] | None] = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1, delay=0.3))
    def second_time() -> None:
        seen.append(leases.living(home)[0].names)
        if len(seen) < 2:
            raise ValueError("not yet")

    assert run(instance, [second_time])[0]
    assert seen == [("second_time",), ("second_time",)]


def test_a_run_waits_for_what_another_writes_and_says_for_whom(
    home: Home, instance: dg.DagsterInstance
) -> None:
    with leases.taken(home, "the-other", ["one", "two"]) as other:
        timer = threading.Timer(0.5, other.give_back, [["one"]])
        timer.start()
        assert run(instance, [dg.asset(name="one")(lambda: None)])[0]
        timer.join()
    [done] = instance.get_runs()
    said = [entry.user_message or entry.message for entry in instance.all_logs(done.run_id)]
    assert any("run the-other" in text and "is writing one" in text for text in said)


def test_a_run_that_waits_can_be_canceled(home: Home, instance: dg.DagsterInstance) -> None:
    made: list[str] = []

    def cancel() -> None:
        instance.report_run_canceling(instance.get_runs()[0])
        os.kill(os.getpid(), signal.SIGINT)

    with leases.taken(home, "the-other", ["one"]):
        timer = threading.Timer(0.5, cancel)
        timer.start()
        assert not run(instance, [dg.asset(name="one")(lambda: made.append("one"))])[0]
        timer.join()
        assert [one.run_id for one in leases.living(home)] == ["the-other"]
    assert made == []
    assert [one.status for one in instance.get_runs()] == [dg.DagsterRunStatus.CANCELED]


def test_a_job_that_makes_no_asset_holds_the_whole_home(
    home: Home, instance: dg.DagsterInstance
) -> None:
    seen: list[Any] = []

    @dg.op
    def maintain() -> None:
        seen.append(leases.living(home)[0].names)

    @dg.job(executor_def=threads_executor)
    def maintenance() -> None:
        maintain()

    result = run_job(
        maintenance, assets=[], instance=instance, run_id=str(uuid.uuid4()), tags={}, run_config={}
    )
    assert result.success
    assert seen == [None]
