"""Sensors of all domains: failed runs and checks, the API's health, what waits in the outbox."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from dmp_assets.home import Home
from dmp_assets.platform.automation import readiness
from dmp_assets.platform.automation.telling import alert_people, run_url
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.reporting import mail_outbox
from dmp_assets.platform.reporting.alerts import Alert
from dmp_assets.platform.reporting.check_news import CheckNews
from dmp_assets.platform.reporting.check_results import results_of
from dmp_assets.platform.reporting.delivery import flush
from dmp_assets.platform.reporting.mail_outbox import Stage
from dmp_assets.platform.reporting.report_assets import deliver_failure, in_range
from dmp_assets.platform.reporting.slack import SlackResource
from dmp_assets.platform.run.causes import first_cause

_ENDED = [
    dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED,
]  # fmt: skip


@dg.run_failure_sensor(
    monitor_all_code_locations=True,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells the owner's alert channel which table failed, why, and where to look.",
)
def run_failure(context: dg.RunFailureSensorContext, slack: SlackResource) -> None:
    home = Home.current()
    run = context.dagster_run
    link = run_url(home, run.run_id)
    failed = context.get_step_failure_events()
    for event in failed:
        key = (event.step_key or "?").replace("__", "/", 1)
        cause = first_cause(event.step_failure_data)
        owner = owner_of(context, key)
        alert_people(home, slack, Alert("run_failure", key, cause, owner, run.run_id, link))
    if not failed:
        cause = context.failure_event.message or "the run failed"
        alert_people(home, slack, Alert("run_failure", run.job_name, cause, None, run.run_id, link))

    steps = [(event.step_key or "?").replace("__", "/", 1) for event in failed]
    config: Any = run.run_config
    window = config.get("resources", {}).get("window", {}).get("config", {})
    missing = _planned(context) - _made(context)
    deliver_failure(home, slack, steps, missing, in_range(Window(**window)))


def _keys(context: dg.RunFailureSensorContext, kind: dg.DagsterEventType) -> set[str]:
    entries = context.instance.all_logs(context.dagster_run.run_id, of_type=kind)
    events = [entry.dagster_event for entry in entries if entry.dagster_event]
    return {"/".join(event.asset_key.path) for event in events if event.asset_key}


def _planned(context: dg.RunFailureSensorContext) -> set[str]:
    return _keys(context, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)


def _made(context: dg.RunFailureSensorContext) -> set[str]:
    return _keys(context, dg.DagsterEventType.ASSET_MATERIALIZATION)


def owner_of(context: Any, key: str) -> str | None:
    """First owner of the asset, from the code location's own definitions."""
    repository = context.repository_def
    asset = dg.AssetKey(key.split("/"))
    if repository is None or not repository.asset_graph.has(asset):
        return None
    owners = repository.asset_graph.get(asset).owners
    return owners[0] if owners else None


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells the owners' channels which checks begin to fail or pass again: blocking "
    "ones at once, warnings in one digest a day. A failed check that does not block leaves its run "
    "green.",
)
def check_failure(context: dg.SensorEvaluationContext, slack: SlackResource) -> dg.SensorResult:
    home = Home.current()
    after = datetime.fromisoformat(context.cursor) if context.cursor else None
    # By run: Dagster's SQLite keeps the events of each run apart, with numbers of its own.
    runs = context.instance.get_run_records(
        dg.RunsFilter(statuses=_ENDED, updated_after=after),
        order_by="update_timestamp",
        ascending=True,
        limit=50,
    )
    results = [
        result for run in runs for result in results_of(context.instance, run.dagster_run.run_id)
    ]
    CheckNews(home.outbox).tell(
        slack.client(),
        results,
        home.settings(),
        owner=lambda key: owner_of(context, key),
        link=lambda result: run_url(home, result.run_id) if result.run_id else None,
    )
    cursor = runs[-1].update_timestamp.isoformat() if runs else context.cursor
    return dg.SensorResult(cursor=cursor)


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells the alert channel when the API turns not ready, and when it is ready again.",
)
def api_readiness(context: dg.SensorEvaluationContext, slack: SlackResource) -> dg.SensorResult:
    home = Home.current()
    url = readiness.health_url(home)
    if url is None:
        return dg.SensorResult(skip_reason="this home has no API", cursor=context.cursor)
    before = readiness.Seen.model_validate_json(context.cursor or "{}")
    answer = readiness.ask(url)
    seen, alert = before.after(answer, datetime.now(UTC))
    if alert is not None:
        alert_people(home, slack, alert)
    said = "ready" if answer.ready else f"not ready: {answer.cause}"
    return dg.SensorResult(skip_reason=said, cursor=seen.model_dump_json())


@dg.sensor(
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Sends once what could not be sent when it was due.",
)
def outbox(context: dg.SensorEvaluationContext, slack: SlackResource) -> dg.SkipReason:
    home = Home.current()
    done = flush(slack.client(), home.outbox)
    mails = mail_outbox.flush(home.settings(), home.outbox)
    sent = sum(delivery.state == "sent" for delivery in done)
    sent += sum(mail.stage is Stage.SENT for mail in mails)
    waiting = sum(delivery.state == "kept" for delivery in done)
    waiting += sum(mail.stage is Stage.KEPT for mail in mails)
    return dg.SkipReason(f"{sent} sent, {waiting} still waiting")


SENSORS = (run_failure, check_failure, api_readiness, outbox)
