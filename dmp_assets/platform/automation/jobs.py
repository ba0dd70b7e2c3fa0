"""Jobs: what a schedule, a sensor or a person in Dagster's UI launches."""

from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any

import dagster as dg
from pydantic import Field

from dmp_assets.platform.faces import lake
from dmp_assets.platform.faces.lake import lakes
from dmp_assets.platform.lake import maintenance
from dmp_assets.platform.lake.lakehouse import Lakehouse, committing
from dmp_assets.platform.run import old_logs

REPORTS = dg.AssetSelection.key_prefixes("reports", "delivery", "exports")


def shared() -> dg.AssetSelection:
    """What the shared jobs make: what is of each domain that wants it."""
    wanted = [lake.of(name) for name, given in lakes().items() if given.in_shared_jobs]
    return reduce(or_, wanted)


def build_jobs() -> list[Any]:
    """The shared jobs, and each domain's own."""
    return [
        dg.define_asset_job(
            "daily_refresh",
            selection=shared() - REPORTS,
            description="Read what is new in the shop and bring tables, model, scores and marts "
            "up to it.",
        ),
        dg.define_asset_job(
            "weekly_report",
            selection=shared(),
            description="Bring everything up to the shop, render the reports and deliver them.",
        ),
        monthly_maintenance,
        *(job for given in lakes().values() for job in given.jobs),
    ]


class Maintenance(dg.Config):
    """Which tables: `layer/table`, or all when empty."""

    tables: list[str] = Field(default_factory=list)


@dg.op(description="Compact small files and delete those that no kept version needs.")
def maintain_tables(
    context: dg.OpExecutionContext, config: Maintenance, lakehouse: Lakehouse
) -> None:
    tables = lakehouse.tables
    keys = config.tables or tables.written()
    for key in keys:
        before = tables.version(key)
        with committing(lakehouse, key) as mark:
            compacted = maintenance.optimize(tables, key, mark)
        deleted = maintenance.vacuum(tables, key, days=lakehouse.settings.retention_days)
        context.log.info(
            f"{key}: {compacted.get('numFilesRemoved', 0)} files compacted into "
            f"{compacted.get('numFilesAdded', 0)}, {len(deleted)} old files deleted, "
            f"version {before} -> {tables.version(key)}"
        )


@dg.op(description="Delete what runs logged that ended longer ago than DMP_RUN_LOG_DAYS.")
def delete_old_logs(context: dg.OpExecutionContext, lakehouse: Lakehouse) -> None:
    days = lakehouse.settings.run_log_days
    if days is not None:
        runs = old_logs.delete(context.instance, datetime.now(UTC) - timedelta(days=days))
        context.log.info(f"the logs of {runs} runs deleted that ended more than {days} days ago")


@dg.job(description="Monthly: optimize and vacuum every Delta table, delete old logs of runs.")
def monthly_maintenance() -> None:
    maintain_tables()
    delete_old_logs()
