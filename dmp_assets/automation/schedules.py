"""Schedules, and the one table that says what runs by default."""

from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from dmp_assets.automation import jobs
from dmp_assets.home import Home

# What runs once `dmp up` (or the daemon) is up; each can be switched in Dagster's UI.
RUNS_BY_DEFAULT = MappingProxyType(
    {
        "daily_refresh": True,
        "weekly_report": True,
        "monthly_maintenance": True,
        "new_data": True,
        "persistent_drift": True,
        "run_failure": True,
        "check_failure": True,
        "outbox": True,
    }
)


def schedule_status(name: str) -> dg.DefaultScheduleStatus:
    on = RUNS_BY_DEFAULT[name]
    return dg.DefaultScheduleStatus.RUNNING if on else dg.DefaultScheduleStatus.STOPPED


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
    return [
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
