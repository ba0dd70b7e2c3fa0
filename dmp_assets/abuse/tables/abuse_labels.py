"""modeled/abuse_labels: which accounts are known to abuse promo codes or not to, and who says so.

Grain: one user with a label. Key: user_id. Sources: raw/abuse_decisions, cleaned/users.
"""

from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import TableRun, table_asset

COLUMNS = {
    "user_id": Column("string", "The user.", "identifier", "user_id"),
    "is_abuser": Column("boolean", "Whether the account abuses promo codes.", "profile"),
    "label_source": Column(
        "string", "review: a reviewer's last decision; shop: the shop's own label."
    ),
    "labelled_at": Column(
        "timestamp",
        "When the reviewer decided (UTC); null for the shop's label, which has no time.",
    ),
}

LABELS = """
WITH last AS (
  SELECT account_id AS user_id, arg_max(verdict, decision_id) AS verdict,
         arg_max(decided_at, decision_id) AS decided_at
  FROM raw.abuse_decisions GROUP BY account_id
), review AS (SELECT * FROM last WHERE verdict <> 'undone')
SELECT u.user_id,
       coalesce(r.verdict = 'block', u.is_abuser) AS is_abuser,
       CASE WHEN r.verdict IS NULL THEN 'shop' ELSE 'review' END AS label_source,
       r.decided_at AS labelled_at
FROM cleaned.users u LEFT JOIN review r USING (user_id)
WHERE r.verdict IS NOT NULL OR u.is_abuser IS NOT NULL
"""
"""A decision that was taken back counts no more than one never taken."""


@table_asset(
    "modeled",
    owner="team:risk",
    kinds=("duckdb", "delta"),
    deps=["raw/abuse_decisions", "cleaned/users"],
    columns=COLUMNS,
    key=("user_id",),
    once="Each user is there once.",
)
def abuse_labels(run: TableRun) -> None:
    """Which accounts are known to abuse promo codes, or not to; a reviewer overrules the shop.

    Grain: one user with a label. Key: user_id. Sources: raw/abuse_decisions, cleaned/users.
    """
    run.overwrite(run.sql(LABELS))
