"""Jobs: what a schedule, a sensor or a person in Dagster's UI launches."""

import dagster as dg
from pydantic import Field

from dmp_assets.resources.lakehouse import Lakehouse
from dmp_assets.table_asset import AGAIN_TAG
from dmp_assets.table_asset import ATTRIBUTION as TAGS

REPORTS = dg.AssetSelection.groups("reports")
ATTRIBUTION = dg.AssetSelection.tag(*next(iter(TAGS.items())))
"""Left out of every job: a job with partitioned assets would split a backfill into a run a day."""

DELIVERED = dg.AssetSelection.assets(["reports", "attribution"], ["delivery", "attribution"])
SHOP = dg.AssetSelection.all() - ATTRIBUTION
LABELS = dg.AssetSelection.assets(["raw", "abuse_decisions"], ["modeled", "abuse_labels"])

daily_refresh = dg.define_asset_job(
    "daily_refresh",
    selection=SHOP - REPORTS,
    description="Read what is new in the shop and bring tables, model, scores and marts up to it.",
)

weekly_report = dg.define_asset_job(
    "weekly_report",
    selection=SHOP,
    description="Bring everything up to the shop, render the reports and deliver them.",
)

retrain = dg.define_asset_job(
    "retrain",
    selection=dg.AssetSelection.groups("ml") | LABELS,
    tags={AGAIN_TAG: "ml/model_registry"},
    description="Train, compare and promote models on the labels as they are, and score again.",
)


class Maintenance(dg.Config):
    """Which tables: `layer/table`, or all when empty."""

    tables: list[str] = Field(default_factory=list)


@dg.op(description="Compact small files and delete those that no kept version needs.")
def maintain_tables(
    context: dg.OpExecutionContext, config: Maintenance, lakehouse: Lakehouse
) -> None:
    store = lakehouse.tables
    keys = config.tables or store.written()
    for key in keys:
        before = store.version(key)
        compacted = lakehouse.optimize(key)
        deleted = lakehouse.vacuum(key)
        context.log.info(
            f"{key}: {compacted.get('numFilesRemoved', 0)} files compacted into "
            f"{compacted.get('numFilesAdded', 0)}, {len(deleted)} old files deleted, "
            f"version {before} -> {store.version(key)}"
        )


@dg.job(description="Monthly: optimize and vacuum every Delta table.")
def monthly_maintenance() -> None:
    maintain_tables()
