"""What attribution gives to the lakehouse: the web's tables, credits, channels, what runs them."""

from collections.abc import Sequence

import dagster as dg

from dmp_assets.attribution.domain import is_configured
from dmp_assets.attribution.partitions import partition_tags
from dmp_assets.attribution.report import channel_export
from dmp_assets.attribution.tables import (
    attribution,
    attribution_runs,
    channel_reporting,
    customer_journeys,
    customer_paths,
    marts,
    publications,
)
from dmp_assets.cleaned.web import web_conversions, web_session_costs, web_sessions
from dmp_assets.home import Home
from dmp_assets.platform.automation.schedules import zone
from dmp_assets.platform.faces import lake
from dmp_assets.platform.faces.lake import Lake
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.raw import web as raw_web
from dmp_assets.sources.web.connection import WebError
from dmp_assets.sources.web.resource import web_source
from dmp_assets.sources.web.tables import SOURCES

ALL = lake.of("attribution")
NOT_CONFIGURED = dg.SkipReason("no web database is configured (DMP_WEB_DATABASE)")
WEEKLY = lake.reports_of("attribution")
SENSING = (
    dg.DefaultSensorStatus.RUNNING
    if is_configured(Home.current())
    else dg.DefaultSensorStatus.STOPPED
)


def request(home: Home, run_key: str | None = None) -> dg.RunRequest | dg.SkipReason:
    """A run over all days with conversions; skipped where there is no (readable) web database."""
    if not is_configured(home):
        return NOT_CONFIGURED
    try:
        return dg.RunRequest(run_key=run_key, tags=partition_tags(home))
    except WebError as error:
        return dg.SkipReason(str(error))


@dg.sensor(
    target=ALL - WEEKLY,
    minimum_interval_seconds=300,
    default_status=SENSING,
    description="Attributes when the web database holds what the lakehouse has not seen.",
)
def new_web_data(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    home = Home.current()
    source = web_source(home)
    if source is None:
        return NOT_CONFIGURED
    try:
        state = source.probe()
    except WebError as error:
        return dg.SkipReason(str(error))
    tables = Lakehouse().tables
    now = {key: state.tables[name].content_hash for key, name in SOURCES.items()}
    if all(
        (tables.stamp(f"raw/{key}").get("probe") or {}).get("content") == content
        for key, content in now.items()
    ):
        return dg.SkipReason("nothing new in the web database")
    return request(home, run_key="/".join(now.values()))


def build_schedules() -> Sequence[dg.ScheduleDefinition]:
    """Its schedules; off where no web database is configured."""
    return [
        _schedule(
            "daily_attribution", "45 4 * * *", ALL - WEEKLY,
            "Every day at 04:45: attribute what is new on the web.",
        ),
        _schedule(
            "weekly_attribution", "15 7 * * 1", ALL,
            "Mondays at 07:15: last week's report of attribution.",
        ),
    ]  # fmt: skip


def _schedule(
    name: str, cron: str, assets: dg.AssetSelection, description: str
) -> dg.ScheduleDefinition:
    """A schedule of all daily partitions in one run: of assets, for a job would split it."""
    on, off = dg.DefaultScheduleStatus.RUNNING, dg.DefaultScheduleStatus.STOPPED

    @dg.schedule(
        name=name,
        target=assets,
        cron_schedule=cron,
        execution_timezone=zone(),
        description=description,
        default_status=on if is_configured(Home.current()) else off,
    )
    def launch(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return request(Home.current())

    return launch


LAKE = Lake(
    in_shared_jobs=False,
    assets={
        "web": (
            raw_web.web_sessions,
            raw_web.web_conversions,
            raw_web.web_session_costs,
            web_sessions.web_sessions,
            web_conversions.web_conversions,
            web_session_costs.web_session_costs,
        ),
        "attribution": (
            customer_journeys.customer_journeys,
            customer_paths.customer_paths,
            attribution.attribution,
            channel_reporting.channel_reporting,
            attribution_runs.attribution_runs,
            channel_export.channel_export,
        ),
    },
    marts=marts.MARTS,
    publications=publications.PUBLICATIONS,
    schedules=build_schedules,
    sensors=(new_web_data,),
)
