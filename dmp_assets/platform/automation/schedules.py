"""Schedules of the shared jobs, and of the domains; on unless a source is not configured."""

from zoneinfo import ZoneInfo

import dagster as dg

from dmp_assets.home import Home
from dmp_assets.platform.faces.lake import lakes

_SHARED = {
    "daily_refresh": (
        "30 4 * * *",
        "Every day at 04:30: read what is new, bring tables, model and marts up to it.",
    ),
    "weekly_report": ("0 7 * * 1", "Mondays at 07:00: the same, then last week's report."),
    "monthly_maintenance": (
        "0 3 1 * *",
        "The first of a month at 03:00: compact files, delete old versions.",
    ),
}
"""Job → cron expression, and what it says."""


def zone() -> str:
    """The home's time zone, in which schedules tick (`DMP_TIMEZONE`)."""
    return str(ZoneInfo(Home.current().settings().timezone))


def build_schedules() -> list[dg.ScheduleDefinition]:
    """All schedules. Each can be switched in Dagster's UI, once `dmp up` or the daemon is up."""
    own = [schedule for given in lakes().values() for schedule in given.schedules()]
    return own + [
        dg.ScheduleDefinition(
            name=name,
            job_name=name,
            cron_schedule=cron,
            execution_timezone=zone(),
            description=description,
            default_status=dg.DefaultScheduleStatus.RUNNING,
        )
        for name, (cron, description) in _SHARED.items()
    ]
