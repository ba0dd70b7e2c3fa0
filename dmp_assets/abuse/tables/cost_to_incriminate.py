"""ml/cost_to_incriminate: how many sign-ups make an honest customer suspect.

Grain: one way to attack by the serving model. Key: shared, newcomers. Sources: cleaned/*,
modeled/promo_usage_by_user, modeled/account_clusters, modeled/abuse_labels, ml/abuse_features,
ml/abuse_scores, ml/model_registry.
"""

from typing import Any

import pyarrow as pa

from dmp_assets.abuse.model import registry, view
from dmp_assets.abuse.tables.abuse_features import with_zones
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset

COLUMNS = {
    "model_version": Column("string", "The model that was asked."),
    "shared": Column(
        "string", "What the newcomers share with an honest account that came before them."
    ),
    "newcomers": Column(
        "string", "unverified, or verified: e-mail and phone of each newcomer are confirmed."
    ),
    "holders": Column("long", "So many honest accounts were attacked."),
    "to_review": Column(
        "double", "Newcomers until the median holder is to be reviewed; null: never within 20."
    ),
    "to_review_first": Column("double", "Newcomers until the first of the holders is."),
    "to_block": Column(
        "double", "Newcomers until the median holder is to be blocked; null: never within 20."
    ),
    "to_block_first": Column("double", "Newcomers until the first of the holders is."),
    "probability_before": Column("double", "Mean probability of the holders without newcomers."),
    "probability_after": Column("double", "The same with 20 of them."),
}
SCHEMA = arrow_schema(COLUMNS)
# Honest accounts that share nothing: labelled ones first.
_HOLDERS = """
    SELECT u.user_id FROM cleaned.users u
    JOIN ml.abuse_scores s USING (user_id) JOIN ml.abuse_features f USING (user_id)
    LEFT JOIN modeled.abuse_labels l USING (user_id)
    WHERE s.decision = 'allow' AND l.is_abuser IS NOT TRUE
        AND u.is_email_valid AND u.is_phone_valid AND u.is_ip_valid
        AND u.first_name IS NOT NULL AND u.last_name IS NOT NULL
        AND f.device_others = 0 AND f.phone_others = 0 AND f.email_others = 0
        AND f.cluster_size IS NULL
    ORDER BY l.is_abuser IS NULL, md5(u.user_id) LIMIT $most
"""
_READ = (
    *view.TABLES, "ml/abuse_scores", "ml/abuse_features", "modeled/abuse_labels",
)  # fmt: skip


@table_asset(
    "ml",
    owner="team:risk",
    kinds=("sklearn", "delta"),
    deps=[*_READ, "ml/model_registry"],
    columns=COLUMNS,
    key=("model_version", "shared", "newcomers"),
    checks=(
        Check(
            "unverified_sign_ups_block_nobody",
            "SELECT count(*) FILTER (newcomers = 'unverified' AND to_block_first IS NOT NULL), "
            "max(probability_after - probability_before) FILTER (newcomers = 'unverified') "
            "AS most_raised FROM ml.cost_to_incriminate",
            "Accounts that confirmed nothing bring no honest account that came before them to "
            "be blocked.",
        ),
    ),
)  # fmt: skip
def cost_to_incriminate(run: TableRun) -> None:
    """How many sign-ups make an honest customer suspect, by what they share with it.

    Grain: one way to attack by the serving model. Key: shared, newcomers. Measured anew for each
    model; empty where no account is known that shares nothing.
    """
    tables = run.lakehouse.tables
    model, problems = registry.serving(tables, run.lakehouse.home, run.settings)
    for problem in problems:
        run.log.error(problem)
    if run.exists("ml/cost_to_incriminate"):
        known = run.sql("SELECT DISTINCT model_version FROM ml.cost_to_incriminate")
        if model.version in known["model_version"].to_pylist():
            run.log.info(f"{model.version} was asked before")
            run.keep()
            return
    run.overwrite(pa.Table.from_pylist(_measured(run, model), SCHEMA))


def _measured(run: TableRun, model: Any) -> list[dict[str, Any]]:
    from dmp_assets.abuse.model import incriminate

    with run.lakehouse.tables.connect(*_READ) as connection:
        with_zones(connection)
        connection.execute(
            f"CREATE TEMP TABLE holders AS {_HOLDERS}", {"most": incriminate.HOLDERS}
        )
        beside = ", ".join(
            f"u.{name}" for name in incriminate.OF_HOLDERS if name not in view.VIEW.names
        )
        holders = connection.sql(
            f"SELECT v.*, {beside} FROM ({view.account_view_sql()}) v "
            "SEMI JOIN holders USING (user_id) JOIN cleaned.users u USING (user_id) "
            "ORDER BY v.user_id"  # means add up in one order
        ).to_arrow_table()
    found = incriminate.costs(holders.to_pylist(), model)
    run.metadata["holders"] = holders.num_rows
    return [
        {
            "model_version": model.version,
            "shared": cost.shared,
            "newcomers": "verified" if cost.is_verified else "unverified",
            "holders": cost.holders,
            "to_review": cost.to_review,
            "to_review_first": cost.to_review_first,
            "to_block": cost.to_block,
            "to_block_first": cost.to_block_first,
            "probability_before": cost.before,
            "probability_after": cost.after,
        }
        for cost in found
    ]
