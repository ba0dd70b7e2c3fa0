"""published/account_snapshot: all known accounts as files from which the API scores.

Grain: one account. Sources: cleaned/*, modeled/promo_usage_by_user, modeled/account_clusters.
What the files hold is in `dmp_assets.abuse.snapshot`.
"""

import hashlib
import inspect
import json
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from dmp_assets.abuse import features, keys, snapshot, view
from dmp_assets.ml.abuse_features import with_zones
from dmp_assets.resources.lakehouse import Lakehouse
from dmp_assets.store import where

KEY = ("published", "account_snapshot")


def version(lakehouse: Lakehouse) -> str:
    """What the snapshot is made of: this code, and every input's data version."""
    inputs = {key: lakehouse.tables.stamp(key).get("data_version") for key in view.TABLES}
    code = [inspect.getsource(module) for module in (features, keys, snapshot, view)]
    return hashlib.sha256(json.dumps([code, inputs], sort_keys=True).encode()).hexdigest()[:20]


def publish(lakehouse: Lakehouse) -> dict[str, Any] | None:
    """Write the snapshot unless it is there as it would be; figures, None without a store.

    Raises TableError when an input was never made.
    """
    if not where.is_configured(lakehouse.home):
        return None
    folder, wanted = lakehouse.home.serving, version(lakehouse)
    if snapshot.current(folder) == wanted:
        try:
            rows = snapshot.open_current(folder).size
        except snapshot.SnapshotError:
            pass  # it is damaged, and written again
        else:
            return {"rows": rows, "version": wanted, "unchanged": True}
    with lakehouse.tables.connect(*view.TABLES) as connection:
        with_zones(connection)
        views = connection.sql(snapshot.SNAPSHOT_SQL).to_arrow_reader(snapshot.BATCH)
        written = snapshot.write(folder, wanted, iter(views), datetime.now(UTC))
    return {"rows": written, "version": wanted, "unchanged": False}


@dg.multi_asset(
    name="__".join(KEY),
    specs=[
        dg.AssetSpec(
            list(KEY),
            deps=[dg.AssetKey(key.split("/")) for key in view.TABLES],
            description="All known accounts as files from which the API scores in milliseconds. "
            "One row per account.",
            group_name="published",
            owners=["team:risk"],
            kinds={"duckdb", "arrow"},
            skippable=True,
        )
    ],
)
def account_snapshot(context: dg.AssetExecutionContext, lakehouse: Lakehouse) -> Any:
    """All known accounts as files from which the API scores in milliseconds."""
    done = publish(lakehouse)
    if done is None:
        context.log.info("not published: this home has no operational store (`dmp migrate`)")
        return
    yield dg.MaterializeResult(
        asset_key=list(KEY),
        metadata={"dagster/row_count": done["rows"], "unchanged": done["unchanged"]},
        data_version=dg.DataVersion(done["version"]),
    )
