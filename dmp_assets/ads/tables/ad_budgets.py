"""modeled/ad_budgets: the budgets a day that stand at Meta, each where it is set.

Grain: a campaign or an ad set that has a budget. Key: advertiser_id, account_id, object_id.
Sources: raw/meta_campaigns, raw/meta_ad_sets, modeled/ad_accounts,
modeled/ad_performance_daily.
"""

from dmp_assets.ads.settings import currency_of_sums
from dmp_assets.ads.tables.ads import ACCOUNT_COLUMNS, latest
from dmp_assets.ads.tables.exchange_rates import RATE
from dmp_assets.platform.cleaning.machine_values import AMOUNT
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.raw.meta_readings import ACCOUNT, ADVERTISER
from dmp_assets.sources.meta.money import WHOLE_UNITS

COLUMNS = {
    "advertiser_id": ADVERTISER,
    "account_id": ACCOUNT,
    "object_id": Column("string", "The campaign or ad set on which it is set."),
    "object_kind": Column("string", "`campaign` or `adset`."),
    "object_name": Column("string", "What that is called."),
    "campaign_id": Column("string", "The campaign that it is, or is of."),
    "effective_status": Column("string", "Its status with those above it."),
    "currency": ACCOUNT_COLUMNS["currency"],
    "daily_budget": Column(AMOUNT, "The budget a day, in main units; null: for its whole life."),
    "rate": Column(RATE, "What one unit is worth in the currency of sums, on the newest day."),
    "daily_budget_in_sums": Column(AMOUNT, "The budget a day in the currency of sums."),
    "is_listed": Column("boolean", "False: Meta did not list it any more."),
    "read_at": Column("timestamp", "When it was first read as it is (UTC)."),
}
KEY = ("advertiser_id", "account_id", "object_id")
_WHOLE = ", ".join(f"'{one}'" for one in sorted(WHOLE_UNITS))
_BUDGET = "TRY_CAST({} AS DECIMAL(18, 4))"


def _objects(table: str, own_id: str, kind: str, campaign: str) -> str:
    return f"""
        SELECT advertiser_id, account_id, {own_id} AS object_id, '{kind}' AS object_kind,
               name AS object_name, {campaign} AS campaign_id, effective_status,
               nullif({_BUDGET.format("daily_budget")}, 0) AS daily,
               nullif({_BUDGET.format("lifetime_budget")}, 0) AS lifetime, is_listed, read_at
        FROM ({latest(table, own_id)})
    """


_QUERY = f"""
WITH newest AS (
  SELECT advertiser_id, account_id, rate FROM modeled.ad_performance_daily
  QUALIFY row_number() OVER (PARTITION BY advertiser_id, account_id ORDER BY date DESC, ad_id) = 1
),
found AS (
  SELECT o.*, c.currency,
         CASE WHEN c.currency = $currency THEN 1::DECIMAL(18, 8) ELSE n.rate END AS rate,
         (daily / CASE WHEN c.currency IN ({_WHOLE}) THEN 1 ELSE 100 END)::DECIMAL(18, 4)
           AS daily_budget
  FROM (
    {_objects("meta_campaigns", "campaign_id", "campaign", "campaign_id")} UNION ALL
    {_objects("meta_ad_sets", "adset_id", "adset", "campaign_id")}
  ) o
  LEFT JOIN modeled.ad_accounts c USING (advertiser_id, account_id)
  LEFT JOIN newest n USING (advertiser_id, account_id)
  WHERE daily IS NOT NULL OR lifetime IS NOT NULL
)
SELECT *, (daily_budget * rate)::DECIMAL(18, 4) AS daily_budget_in_sums FROM found
"""


@table_asset(
    "modeled",
    deps=[
        "raw/meta_campaigns",
        "raw/meta_ad_sets",
        "modeled/ad_accounts",
        "modeled/ad_performance_daily",
    ],
    columns=COLUMNS,
    key=KEY,
    settings=["currency", "ads_currency"],
    owner="team:marketing",
    kinds=("duckdb", "delta"),
    checks=(
        Check(
            "one_budget_a_campaign",
            """
            SELECT count(*) FROM (
              SELECT advertiser_id, account_id, campaign_id FROM modeled.ad_budgets
              WHERE is_listed GROUP BY ALL HAVING count(DISTINCT object_kind) > 1
            )
            """,
            "A campaign has its budget itself, or its ad sets have theirs.",
        ),
    ),
)
def ad_budgets(run: TableRun) -> None:
    """Budgets a day as they stand at Meta, each where it is set: on a campaign, or on an ad set.

    Grain: a campaign or ad set with a budget. Key: advertiser_id, account_id, object_id. Sources:
    raw/meta_campaigns, raw/meta_ad_sets, modeled/ad_accounts, modeled/ad_performance_daily.
    """
    columns, order = ", ".join(COLUMNS), ", ".join(KEY)
    query = f"SELECT {columns} FROM ({_QUERY}) ORDER BY {order}"
    run.overwrite(run.sql(query, {"currency": currency_of_sums(run.settings)}))
