"""A message that turned out wrong is followed by its correction; a stopped run says nothing."""

from dataclasses import replace
from typing import Any

import dagster as dg
import pytest
from slack_sdk import WebClient

from dmp_assets.demo.sandbox.server import Endpoint
from dmp_assets.home import Home
from dmp_assets.platform.automation import sensors
from dmp_assets.platform.reporting.corrections import changed, correct
from dmp_assets.platform.reporting.delivery import Message, deliver, flush, kept
from dmp_assets.platform.reporting.slack import build_client
from dmp_assets.platform.run.ends import report_canceled
from tests.unit.platform.reporting.test_delivery import received
from tests.unit.platform.reporting.test_messages import FIGURES, message_of

NUMBERS = message_of(FIGURES, version="2024-03-18_2024-03-24")
REFUSED = message_of(replace(FIGURES, problem="The run failed."), version=f"{NUMBERS.version}_no")


@pytest.fixture
def slack(home: Home, endpoint: Endpoint) -> WebClient | None:
    return build_client(home.settings(), pause=0)


def put_right(slack: WebClient | None, home: Home, message: Message) -> list[str]:
    deliver(slack, home.outbox, message)
    return [d.state for d in correct(slack, home.outbox, message, REFUSED.version)]


def test_numbers_after_none_are_told_in_the_thread_of_the_message_without(
    slack: WebClient, home: Home, endpoint: Endpoint
) -> None:
    deliver(slack, home.outbox, REFUSED)
    assert put_right(slack, home, NUMBERS) == ["sent"]
    assert put_right(slack, home, NUMBERS) == ["already_sent"]
    refused, numbers, correction = received(endpoint)
    assert "no numbers" in refused["text"] and "thread_ts" not in numbers
    assert correction["thread_ts"] == refused["ts"]
    assert "Correction" in correction["text"] and "are there now" in correction["text"]


def test_nothing_is_corrected_that_nobody_has_read(home: Home) -> None:
    deliver(None, home.outbox, REFUSED)
    deliver(None, home.outbox, NUMBERS)
    assert correct(None, home.outbox, NUMBERS, REFUSED.version) == []


def test_numbers_that_differ_from_those_that_were_sent_are_corrected_once(
    slack: WebClient, home: Home, endpoint: Endpoint
) -> None:
    assert put_right(slack, home, NUMBERS) == []
    codes, *others = FIGURES.headline
    now = replace(FIGURES, headline=(replace(codes, value=1_300), *others))
    later = message_of(now, version=NUMBERS.version)
    assert put_right(slack, home, later) == ["sent"]
    assert put_right(slack, home, later) == []
    first, correction = received(endpoint)
    assert correction["thread_ts"] == first["ts"]
    assert "Codes used 1,300 (was 1,234)" in correction["text"]
    assert put_right(slack, home, NUMBERS) == ["sent"]
    assert "Codes used 1,234 (was 1,300)" in received(endpoint)[-1]["text"]


@pytest.mark.parametrize(
    ("before", "now", "labels"),
    [
        ({"a": 100}, {"a": 101}, []),
        ({"a": 100}, {"a": 103}, ["a"]),
        ({"a": 0}, {"a": 0}, []),
        ({"a": 0}, {"a": 1}, ["a"]),
        ({"a": -5}, {"a": 5}, ["a"]),
        ({"a": 1}, {}, []),
        ({}, {"a": 1}, []),
    ],
)
def test_a_number_is_wrong_when_it_has_changed_by_more_than_a_little(
    before: dict[str, float], now: dict[str, float], labels: list[str]
) -> None:
    assert list(changed(before, now)) == labels


def test_a_correction_that_had_to_wait_still_reaches_its_thread(
    slack: WebClient, home: Home, endpoint: Endpoint
) -> None:
    deliver(slack, home.outbox, REFUSED)
    deliver(slack, home.outbox, NUMBERS)
    correct(None, home.outbox, NUMBERS, REFUSED.version)
    assert len(kept(home.outbox)) == 1
    assert [d.state for d in flush(slack, home.outbox)] == ["sent"]
    assert received(endpoint)[-1]["thread_ts"] == received(endpoint)[0]["ts"]


@pytest.mark.parametrize("kind", ["truncated", "drop", "500"])
def test_a_correction_whose_outcome_is_unknown_is_looked_up_in_its_thread(
    slack: WebClient, home: Home, endpoint: Endpoint, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx

    from dmp_assets.platform.reporting import delivery

    monkeypatch.setattr(delivery, "PAUSE_SECONDS", 0.01)
    deliver(slack, home.outbox, REFUSED)
    deliver(slack, home.outbox, NUMBERS)
    faults: list[dict[str, Any]] = [{"method": "chat.postMessage", "kind": kind}]
    with httpx.Client(trust_env=False, timeout=60) as client:
        client.post(f"{endpoint.url}/_sandbox/faults", json=faults)
    correct(slack, home.outbox, NUMBERS, REFUSED.version)
    flush(slack, home.outbox)
    assert len(received(endpoint)) == 3


# stopped runs -------------------------------------------------------------------------------------
def test_a_stopped_run_is_canceled_and_no_failure_is_told() -> None:
    @dg.job
    def some_job() -> None: ...

    assert sensors.run_failure.default_status is not None
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(some_job, status=dg.DagsterRunStatus.STARTED)
        report_canceled(instance, run.run_id)
        report_canceled(instance, run.run_id)
        report_canceled(instance, "no-such-run")
        after = instance.get_run_by_id(run.run_id)
        assert after is not None and after.status is dg.DagsterRunStatus.CANCELED
        failures = dg.DagsterEventType.RUN_FAILURE
        assert instance.all_logs(run.run_id, of_type=failures) == []


def test_a_run_that_has_ended_is_not_canceled_afterwards() -> None:
    @dg.job
    def some_job() -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(some_job, status=dg.DagsterRunStatus.SUCCESS)
        report_canceled(instance, run.run_id)
        after = instance.get_run_by_id(run.run_id)
        assert after is not None and after.status is dg.DagsterRunStatus.SUCCESS
