"""Schedules, and the one table that says what runs by default."""

from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from dmp_assets.automation import jobs
from dmp_assets.home import Home
from dmp_assets.run.partitions import partition_tags
from dmp_assets.sources.web_connection import WebError

# What runs once `dmp up` (or the daemon) is up; each can be switched in Dagster's UI. What needs a
# web database is off as long as none is configured.
RUNS_BY_DEFAULT = MappingProxyType(
    {
        "daily_refresh": True,
        "weekly_report": True,
        "monthly_maintenance": True,
        "daily_attribution": True,
        "weekly_attribution": True,
        "new_data": True,
        "new_web_data": True,
        "persistent_drift": True,
        "run_failure": True,
        "check_failure": True,
        "api_readiness": True,
        "outbox": True,
    }
)


NEEDS_WEB = frozenset({"daily_attribution", "weekly_attribution", "new_web_data"})


def runs(name: str) -> bool:
    """Whether the schedule or sensor is on unless somebody switches it."""
    configured = name not in NEEDS_WEB or Home.current().settings().web_database is not None
    return RUNS_BY_DEFAULT[name] and configured


def schedule_status(name: str) -> dg.DefaultScheduleStatus:
    return dg.DefaultScheduleStatus.RUNNING if runs(name) else dg.DefaultScheduleStatus.STOPPED


def build_schedules() -> list[dg.ScheduleDefinition]:
    """Schedules in the home's time zone (`DMP_TIMEZONE`)."""
    zone = str(ZoneInfo(Home.current().settings().timezone))
    wanted: dict[str, tuple[str, Any, str]] = {
        "daily_refresh": ("30 4 * * *", jobs.daily_refresh, "Every day at 04:30."),
        "weekly_report": ("0 7 * * 1", jobs.weekly_report, "Mondays at 07:00: last week's report."),
        "monthly_maintenance": (
            "0 3 1 * *", jobs.monthly_maintenance, "The first of a month at 03:00."
        ),
    }  # fmt: skip
    attribution = [
        _attribution(
            "daily_attribution", "45 4 * * *", zone, jobs.ATTRIBUTION - jobs.DELIVERED,
            "Every day at 04:45: attribute what is new on the web.",
        ),
        _attribution(
            "weekly_attribution", "15 7 * * 1", zone, jobs.ATTRIBUTION,
            "Mondays at 07:15: last week's report of attribution.",
        ),
    ]  # fmt: skip
    return attribution + [
        dg.ScheduleDefinition(
            name=name,
            job=job,
            cron_schedule=cron,
            execution_timezone=zone,
            description=description,
            default_status=schedule_status(name),
        )
        for name, (cron, job, description) in wanted.items()
    ]


def _attribution(
    name: str, cron: str, zone: str, assets: dg.AssetSelection, description: str
) -> dg.ScheduleDefinition:
    """A schedule of all daily partitions in one run: of assets, for a job would split it."""

    @dg.schedule(
        name=name,
        target=assets,
        cron_schedule=cron,
        execution_timezone=zone,
        description=description,
        default_status=schedule_status(name),
    )
    def launch(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return attribution_request(Home.current())

    return launch


def attribution_request(home: Home, run_key: str | None = None) -> dg.RunRequest | dg.SkipReason:
    """A run over all days with conversions; skipped where there is no (readable) web database."""
    if home.settings().web_database is None:
        return dg.SkipReason("no web database is configured (DMP_WEB_DATABASE)")
    try:
        return dg.RunRequest(run_key=run_key, tags=partition_tags(home))
    except WebError as error:
        return dg.SkipReason(str(error))
