"""Running the assets of a run in one process, several at once where they do not need each other.

Dagster's in-process executor makes one asset after the other, so a machine waits while an asset's
Python works or Spark plans; its other executors give each asset a process, and with it a JVM, of
its own. Here all assets share the process, and so one Spark session, and each has a thread.

An asset that must not run beside some other says so by the op tag `ALONE_TAG`: of those with the
same value only one of the run's runs at a time.

A run holds a lease (`leases.py`) of what its steps write: all of it before the first step, and each
step's until that has ended, well or badly, or cannot begin any more.
"""

import os
import queue
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import EngineEventData
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.context.system import (
    PlanExecutionContext,
    PlanOrchestrationContext,
    StepExecutionContext,
)
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.execute_in_process import core_execute_in_process
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.execute_plan import (
    _handle_compute_log_setup_error,
    _handle_compute_log_teardown_error,
    _trigger_hook,
    dagster_event_sequence_for_step,
)
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.base import Executor
from dagster._utils.interrupts import check_captured_interrupt

from dmp_assets.home import Home
from dmp_assets.platform.lake import leases
from dmp_assets.platform.lake.lease_holders import BusyError

ALONE_TAG = "dmp/alone"
"""Op tag of assets of which one runs at a time: those with the same value."""

LEAVE_SECONDS = 20
"""How long a canceled run waits for the assets that it is making."""

_MOMENT = 0.2  # seconds after which a waiting run looks whether it was canceled

_Told = dg.DagsterEvent | BaseException | list[dg.DagsterEvent]
"""What a step's thread tells: each event, at its end all of them, or an error not the step's."""


def steps_at_once() -> int:
    """As many as there are processors, four at most: each takes memory of its own."""
    return min(os.cpu_count() or 1, 4)


@dg.executor(
    name="threads",
    config_schema={
        "max_concurrent": dg.Field(
            dg.Noneable(int),
            default_value=None,
            description="Assets that run at once; as many as there are processors, but no more "
            "than 4, when it is not said.",
        )
    },
)
def threads_executor(init_context: dg.InitExecutorContext) -> Executor:
    """All assets of a run in one process, those that do not need each other at once."""
    config: Any = init_context.executor_config
    return ThreadsExecutor(config["max_concurrent"])


class ThreadsExecutor(Executor):
    """Gives each step a thread of this process; the steps' events come out as they happen."""

    def __init__(self, max_concurrent: int | None = None) -> None:
        self._max_concurrent = max_concurrent or steps_at_once()

    @property
    def retries(self) -> RetryMode:
        return RetryMode.ENABLED

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        yield dg.DagsterEvent.engine_event(
            plan_context,
            f"Executing up to {self._max_concurrent} steps at once in process {os.getpid()}",
            event_specific_data=EngineEventData.in_process(
                os.getpid(), execution_plan.step_keys_to_execute
            ),
        )
        home, run_id = Home.current(), plan_context.run_id
        writes = _writes(plan_context, execution_plan)
        steps = writes.values()
        names = None if None in steps else {name for step in steps if step for name in step}
        try:
            if leases.held(home, run_id) is None:
                leases.refuse(home, names)
        except BusyError as error:
            yield dg.DagsterEvent.engine_event(
                plan_context,
                f"Waiting: {error.cause}",
                event_specific_data=EngineEventData.in_process(os.getpid()),
            )
        with leases.taken(home, run_id, names, wait=True, meanwhile=_raise_if_canceled) as lease:
            yield from ExecuteRunWithPlanIterable(
                execution_plan=execution_plan,
                iterator=partial(
                    _steps,
                    max_concurrent=self._max_concurrent,
                    ended=lambda step: lease.give_back(writes[step] or ()),
                    left=lease.outlive,
                ),
                execution_context_manager=PlanExecutionContextManager(
                    job=plan_context.job,
                    retry_mode=plan_context.retry_mode,
                    execution_plan=execution_plan,
                    run_config=plan_context.run_config,
                    dagster_run=plan_context.dagster_run,
                    instance=plan_context.instance,
                    raise_on_error=plan_context.raise_on_error,
                    output_capture=plan_context.output_capture,
                ),
            )


def _writes(
    plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
) -> dict[str, frozenset[str] | None]:
    """Step → keys of the assets that it writes; None of one that makes no asset: any of them."""
    layer = plan_context.job.get_definition().asset_layer
    found: dict[str, frozenset[str] | None] = {}
    for key in execution_plan.step_keys_to_execute:
        entities = layer.get_selected_entity_keys_for_node(
            execution_plan.get_step_by_key(key).node_handle
        )
        assets = (entity for entity in entities if isinstance(entity, dg.AssetKey))
        found[key] = frozenset("/".join(asset.path) for asset in assets) if entities else None
    return found


def _raise_if_canceled() -> None:
    if check_captured_interrupt():
        raise DagsterExecutionInterruptedError("the run was canceled while it waited")


def run_job(
    job: dg.JobDefinition,
    *,
    assets: Collection[dg.AssetKey],
    instance: dg.DagsterInstance,
    run_id: str,
    tags: Mapping[str, str],
    run_config: Mapping[str, Any],
) -> dg.ExecuteInProcessResult:
    """Run some assets of a job here, by the job's own executor.

    `JobDefinition.execute_in_process` would put Dagster's serial executor in its place.
    """
    return core_execute_in_process(
        run_config=run_config,
        job=InMemoryJob(job.get_subset(asset_selection=frozenset(assets))),
        instance=instance,
        output_capturing_enabled=False,
        raise_on_error=False,
        run_tags=tags,
        run_id=run_id,
        asset_selection=frozenset(assets),
    )


def _steps(
    job_context: PlanExecutionContext,
    execution_plan: ExecutionPlan,
    *,
    max_concurrent: int,
    ended: Callable[[str], None],
    left: Callable[[Collection[threading.Thread]], None],
) -> Iterator[dg.DagsterEvent]:
    """The events of all steps. Raises DagsterExecutionInterruptedError when the run is canceled.

    `ended` is told each step that has ended or will not begin; `left` the threads of a run that is
    canceled, once they had their time to end.
    """
    logs = job_context.instance.compute_log_manager
    log_key = logs.build_log_key_for_run(job_context.run_id, "steps")
    depths = _depths(execution_plan.get_executable_step_deps())
    told: queue.Queue[tuple[StepExecutionContext, _Told]] = queue.Queue()
    running: dict[str, threading.Thread] = {}
    over: set[str] = set()
    with (
        InstanceConcurrencyContext(job_context.instance, job_context.dagster_run) as pools,
        ActiveExecution(
            execution_plan,
            retry_mode=job_context.retry_mode,
            sort_key_fn=lambda step: -depths[step.key],
            max_concurrent=max_concurrent,
            tag_concurrency_limits=[
                {"key": ALONE_TAG, "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
            ],
            instance_concurrency_context=pools,
        ) as active,
        ExitStack() as capturing,
    ):
        try:
            log_context = capturing.enter_context(logs.capture_logs(log_key))
            yield dg.DagsterEvent.capture_logs(job_context, [*depths], log_key, log_context)
        except Exception:  # noqa: BLE001 (a run does not fail for want of a log)
            yield from _handle_compute_log_setup_error(job_context, sys.exc_info())
        try:
            while running or not active.is_complete:
                for step in active.get_steps_to_execute():
                    context = job_context.for_step(step, active.get_known_state())
                    running[step.key] = threading.Thread(
                        target=_run_step, args=(context, told), name=step.key, daemon=True
                    )
                    running[step.key].start()
                yield from active.concurrency_event_iterator(job_context)
                if active.check_for_interrupts():
                    active.mark_interrupted()
                    raise DagsterExecutionInterruptedError("the run was canceled")
                yield from _next_events(job_context, active, running, told)
                for key in _over(active) - running.keys() - over:
                    over.add(key)
                    ended(key)
        except GeneratorExit:  # nobody takes events any more
            raise
        except BaseException:
            yield from _left(running, told)
            left([*running.values()])
            raise
        try:
            capturing.close()
        except Exception:  # noqa: BLE001 (nor for what becomes of it)
            yield from _handle_compute_log_teardown_error(job_context, sys.exc_info())


def _next_events(
    job_context: PlanExecutionContext,
    active: ActiveExecution,
    running: dict[str, threading.Thread],
    told: "queue.Queue[tuple[StepExecutionContext, _Told]]",
) -> Iterator[dg.DagsterEvent]:
    """What comes next of the steps' threads, and what follows from it; nothing for a moment."""
    try:
        context, event = told.get(timeout=_MOMENT)
    except queue.Empty:
        return
    key = context.step.key
    if isinstance(event, BaseException):
        raise event
    if isinstance(event, dg.DagsterEvent):
        yield event
        active.handle_event(event)
        return
    running.pop(key).join()
    active.verify_complete(job_context, key)
    yield from active.plan_events_iterator(job_context)
    yield from _trigger_hook(context, event)


def _over(active: ActiveExecution) -> set[str]:
    """Steps that have ended, or that what they need keeps from beginning."""
    return active._success | active._failed | active._skipped | active._abandoned


def _run_step(
    context: StepExecutionContext, told: "queue.Queue[tuple[StepExecutionContext, _Told]]"
) -> None:
    """Make one step, in its thread, and tell its events; at its end, all of them once more."""
    events = []
    try:
        for event in dagster_event_sequence_for_step(context):
            events.append(event)
            told.put((context, event))
    except BaseException as error:  # noqa: BLE001  (raised again by the thread that runs the job)
        told.put((context, error))
    else:
        told.put((context, events))


def _left(
    running: Mapping[str, threading.Thread],
    told: "queue.Queue[tuple[StepExecutionContext, _Told]]",
) -> Iterator[dg.DagsterEvent]:
    """End what a canceled run is doing as far as that goes, and give the events of it.

    A thread that does not end in time ends with the process, which is what a killed run is like.
    """
    if spark := sys.modules.get("dmp_assets.platform.lake.spark"):  # else there is no session
        spark.interrupt()
    for thread in running.values():
        thread.join(LEAVE_SECONDS / len(running))
    while not told.empty():
        _, event = told.get()
        if isinstance(event, dg.DagsterEvent):
            yield event


def _depths(needs: Mapping[str, set[str]]) -> dict[str, int]:
    """Of each step, how many others follow one after the other until the run's end.

    Those with the most are begun first: the longest chain decides when a run ends.
    """
    depths = dict.fromkeys(needs, 0)
    for _ in needs:
        before = dict(depths)
        for key, needed in needs.items():
            for other in needed & depths.keys():
                depths[other] = max(depths[other], depths[key] + 1)
        if depths == before:
            break
    return depths
