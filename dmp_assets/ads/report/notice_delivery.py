"""delivery/ad_notices: tells people what was found, by Slack and by e-mail, each once.

Finding and telling are two assets, so that an outage of Slack or of a mail server fails no table.
What cannot be sent is kept, and sent by the sensor `ads_notices_due`, which also tells what waits
for a digest or for the end of quiet hours, and of jobs that hang and so find nothing themselves.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import dagster as dg
import sqlalchemy as sa
from slack_sdk import WebClient

from dmp_assets.ads.domain import is_configured
from dmp_assets.ads.model.experiments.decide import MEANINGS as CAUSES
from dmp_assets.ads.model.experiments.decide import Cause
from dmp_assets.ads.model.notices.delays import job_stuck
from dmp_assets.ads.model.notices.detect import Finding, Subject
from dmp_assets.ads.report.notice_messages import mail, slack_message
from dmp_assets.ads.service.store import notices, preferences, verdicts
from dmp_assets.ads.service.store.notices import Outgoing
from dmp_assets.ads.settings import AdsSettings
from dmp_assets.ads.tables.ad_notices import NOTICES, row_of
from dmp_assets.ads.tables.notice_findings import UNITS, Found
from dmp_assets.home import Home
from dmp_assets.platform.automation.schedules import zone
from dmp_assets.platform.lake.code_places import code_at
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.reporting import mail_outbox
from dmp_assets.platform.reporting.delivery import deliver
from dmp_assets.platform.reporting.mail_outbox import Stage
from dmp_assets.platform.reporting.slack import SlackResource
from dmp_assets.platform.run.executor import ALONE_TAG
from dmp_assets.platform.store import database, where
from dmp_assets.platform.store.schema import advertiser

_NEW = timedelta(days=60)
"""Findings of older days are told to nobody any more."""
_JOBS = ("daily_refresh", "weekly_report")
"""Jobs that make the tables of ads; of others nobody waits for ads."""
_PAST_RUNS = 30
_KEY = ["delivery", "ad_notices"]


def tell(
    home: Home,
    client: WebClient | None,
    found: Sequence[Mapping[str, Any]] = (),
    now: datetime | None = None,
) -> Counter[str]:
    """Plan what was found and is not planned yet, and send what is due; how many messages are in
    which state.

    `found`: what is known beside the table. Raises StoreError where the store does not answer;
    what Slack or a mail server does, never.
    """  # fmt: skip
    now = now or datetime.now(UTC)
    zone = home.settings().timezone
    rows = [*_rows(home), *found]
    states: Counter[str] = Counter()
    with database.opened(where.store_url(home), checked=False) as store:
        database.check(store, published=False)
        with store.begin() as connection:
            rows += [_verdict(one) for one in verdicts.since(connection, now - _NEW)]
            notices.plan(connection, rows, now, zone)
            notices.bundle(connection, now, zone)
            notices.forget_old(connection, now)
        with store.begin() as connection:
            waiting = notices.outgoing(connection)
        for one in waiting:
            with store.begin() as connection:
                to, name = _to(connection, one), _name(connection, one.advertiser_id)
            state, reason = _sent(home, client, one, to, name)
            states[state] += 1
            with store.begin() as connection:
                notices.became(connection, one.message_id, state, now, reason)
    return states


def _rows(home: Home) -> list[dict[str, Any]]:
    tables = Tables.of(home)
    if not tables.exists(NOTICES):
        return []
    since = home.now().date() - _NEW
    found = tables.sql("SELECT * FROM ml.ad_notices WHERE day >= ? ORDER BY ALL", [since])
    return list(found.to_pylist())


def _verdict(one: verdicts.Verdict) -> dict[str, Any]:
    """What an experiment came to, as a row; each state of it is a subject of its own."""
    day = one.at.date()
    meaning = CAUSES[cast(Cause, one.cause)]
    name = f"{one.experiment}{f', {one.winner}' if one.winner else ''}: {meaning}"
    subject = Subject(one.advertiser_id, f"experiment:{one.experiment} {one.state}")
    finding = Finding(subject, "experiment_verdict", day, 1.0, None, None, day)
    row = row_of(Found(finding, name, None, UNITS["experiment_verdict"]))
    return row | {"found_at": one.at}


def _to(store: sa.Connection, one: Outgoing) -> str | None:
    """The address of who is to get a mail; None for who may not see the advertiser any more."""
    if one.recipient == preferences.EVERYONE:
        return preferences.EVERYONE
    if one.recipient not in preferences.recipients(store, one.advertiser_id, [one.recipient]):
        return None
    return preferences.address(store, one.recipient)


def _name(store: sa.Connection, advertiser_id: str) -> str:
    found = store.scalar(
        sa.select(advertiser.c.name).where(advertiser.c.advertiser_id == advertiser_id)
    )
    return found or advertiser_id


def _sent(
    home: Home, client: WebClient | None, one: Outgoing, to: str | None, name: str
) -> tuple[str, str | None]:
    """(state, reason) of a message after a try."""
    settings = home.settings()
    if to is None:
        mail_outbox.drop(home.outbox, str(one.message_id))
        return "nobody", "the recipient may not see the advertiser any more"
    if one.channel == "slack":
        channels = settings.of(AdsSettings).ads_slack_channels
        channel = channels.get(one.advertiser_id, settings.slack_alert_channel)
        done = deliver(client, home.outbox, slack_message(one, name, channel, settings.public_url))
        return ("kept" if done.state == "kept" else "sent"), done.reason
    told = mail_outbox.deliver(settings, home.outbox, mail(one, name, to, settings.public_url))
    state = "kept" if told.stage is Stage.HANDING_OVER else str(told.stage)
    return state, told.reason


# jobs --------------------------------------------------------------------------------------------
def stuck(instance: dg.DagsterInstance, now: datetime, advertisers: Sequence[str]) -> list[Any]:
    """Jobs that run for far longer than they usually do, as rows of a notice of each advertiser."""
    found = []
    for name in _JOBS:
        started = dg.RunsFilter(job_name=name, statuses=[dg.DagsterRunStatus.STARTED])
        records = instance.get_run_records(started)
        past = dg.RunsFilter(job_name=name, statuses=[dg.DagsterRunStatus.SUCCESS])
        ended = instance.get_run_records(past, limit=_PAST_RUNS)
        usual = [one.end_time - one.start_time for one in ended if one.end_time and one.start_time]
        for record in records:
            if record.start_time is None:
                continue
            began = datetime.fromtimestamp(record.start_time, UTC)
            for one in advertisers:
                finding = job_stuck(Subject(one, f"job:{name}"), began, now, usual)
                if finding:
                    row = row_of(Found(finding, name, None, UNITS["job_stuck"]))
                    found.append(row | {"found_at": now})
    return found


def _advertisers(home: Home) -> list[str]:
    tables = Tables.of(home)
    if not tables.exists("modeled/ad_accounts"):
        return []
    found = tables.sql("SELECT DISTINCT advertiser_id FROM modeled.ad_accounts ORDER BY ALL")
    return list(found.column("advertiser_id").to_pylist())


# Dagster -----------------------------------------------------------------------------------------
@dg.asset(
    key=_KEY,
    op_tags={ALONE_TAG: "outbox"},
    deps=[dg.AssetKey(NOTICES.split("/"))],
    owners=["team:marketing"],
    kinds={"slack", "email"},
    metadata=code_at(tell),
    description="Tells people what is not as usual, by Slack or e-mail as each wants it, once.",
    check_specs=[
        dg.AssetCheckSpec(
            "delivered",
            asset=_KEY,
            description="Slack and the mail server took all that was due; else it waits in the "
            "outbox and is sent later.",
        )
    ],
)
def ad_notices(
    context: dg.AssetExecutionContext, lakehouse: Lakehouse, slack: SlackResource
) -> dg.MaterializeResult:
    home = lakehouse.home
    states: Counter[str] = Counter()
    if where.is_configured(home):
        states = tell(home, slack.client())
    else:
        context.log.info("nobody is told: this home has no operational store (`dmp migrate`)")
    tables = lakehouse.tables
    version = tables.stamp(NOTICES).get("data_version", "") if tables.exists(NOTICES) else ""
    return dg.MaterializeResult(
        metadata={**states, "unchanged": not states},
        data_version=dg.DataVersion(str(version)),
        check_results=[
            dg.AssetCheckResult(
                check_name="delivered",
                passed=not states["kept"],
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"kept": states["kept"]},
            )
        ],
    )


JOB = dg.define_asset_job(
    "ads_notices",
    selection=dg.AssetSelection.assets(
        ["ml", "ad_notices"],
        ["ml", "ad_notice_coverage"],
        ["delivery", "ad_notices"],
        ["published", "ad_notice_coverage"],
    ),
    description="Look for what is not as usual with ads, orders and connections, and tell people.",
)


def build_schedules() -> list[dg.ScheduleDefinition]:
    """Each hour, for what is late becomes so by the clock; off unless ads are configured."""
    on, off = dg.DefaultScheduleStatus.RUNNING, dg.DefaultScheduleStatus.STOPPED
    return [
        dg.ScheduleDefinition(
            name="ads_notices",
            job=JOB,
            cron_schedule="10 * * * *",
            execution_timezone=zone(),
            description="Each hour: look for what is not as usual, and tell people.",
            default_status=on if is_configured(Home.current()) else off,
        )
    ]


@dg.sensor(
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells of notices when their digest, or the end of quiet hours, has come, sends "
    "what could not be sent, and tells of jobs that hang.",
)
def ads_notices_due(context: dg.SensorEvaluationContext, slack: SlackResource) -> dg.SkipReason:
    home = Home.current()
    if not where.is_configured(home) or not is_configured(home):
        return dg.SkipReason("ads, or the operational store, are not configured")
    now = datetime.now(UTC)
    states = tell(home, slack.client(), stuck(context.instance, now, _advertisers(home)), now)
    said = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return dg.SkipReason(said or "nothing is due")
