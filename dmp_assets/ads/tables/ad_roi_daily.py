"""modeled/ad_roi_daily: what advertising cost on each day, and what it earned, by every measure.

Grain: a campaign of an advertiser on a day, or all of them (campaign_id empty). Key: advertiser_id,
date, campaign_id. Sources: modeled/ad_performance_daily, modeled/order_ledger,
modeled/conversion_claims, cleaned/shopify_orders, modeled/ad_accounts.

All amounts are in the currency of sums. What is not known is null and never 0: an amount a part of
which has no rate; what is modelled of an advertiser of whom the reporting model claims no order, as
no visit of theirs is known; what a shop sold where an advertiser has none.

Of all campaigns of a day:

    MER            revenue of the day / spend      (Marketing efficiency ratio)
    CAC            spend / orders of new customers (customer acquisition cost)
    new share      orders of new customers / orders of known customers, old or new

and of a campaign too:

    platform ROAS  value that Meta claims / spend
    modelled ROAS  revenue that the reporting model of attribution gives to it / spend
    profit ROAS    contribution of the orders that the model gives to it / spend

Days are the account's for spend and claims, and the shop's for orders. A ratio of what is not
known, or without what is divided by, is null.
"""

from dmp_assets.ads.tables.exchange_rates import in_sums, known_sum, summed
from dmp_assets.platform.cleaning.machine_values import AMOUNT
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset

COLUMNS = {
    "advertiser_id": Column("string", "The advertiser."),
    "date": Column("date", "Day."),
    "campaign_id": Column("string", "The campaign; empty: all of the advertiser's."),
    "campaign_name": Column("string", "What it is called; null of all."),
    "spend": Column(AMOUNT, "What was spent; null: a part has no rate."),
    "platform_value": Column(
        AMOUNT, "Value of the purchases that Meta claims; null: a part has no rate."
    ),
    "platform_purchases": Column("long", "Purchases that Meta claims."),
    "modelled_revenue": Column(
        AMOUNT, "Revenue that the reporting model gives to it; null: no visits, or no rate."
    ),
    "modelled_contribution": Column(
        AMOUNT, "Contribution of that share of the orders; null: as before."
    ),
    "modelled_orders": Column(
        "double", "Orders that the reporting model gives to it; null: no visits are known."
    ),
    "revenue": Column(
        AMOUNT, "Of all: revenue of the shop, refunds of the day off; null: no shop, or no rate."
    ),
    "contribution": Column(AMOUNT, "Of all: contribution of the shop before ads."),
    "orders": Column("long", "Of all: orders of the day."),
    "new_customers": Column("long", "Of all: orders of new customers."),
    "known_customers": Column("long", "Of all: orders whose customer is known, old or new."),
    "mer": Column("double", "revenue / spend."),
    "platform_roas": Column("double", "platform_value / spend."),
    "modelled_roas": Column("double", "modelled_revenue / spend."),
    "profit_roas": Column("double", "modelled_contribution / spend."),
    "cac": Column("double", "spend / new_customers."),
    "new_share": Column("double", "new_customers / known_customers."),
    "is_open": Column("boolean", "Meta may still change the day."),
}
KEY = ("advertiser_id", "date", "campaign_id")
MODELLED = ("modelled_revenue", "modelled_contribution", "modelled_orders")
SOLD = ("revenue", "contribution", "orders", "new_customers", "known_customers")
_IS_MODELLED = "advertiser_id IN (SELECT advertiser_id FROM modelled)"
_HAS_SHOP = "advertiser_id IN (SELECT advertiser_id FROM modeled.order_ledger)"


def _where(there: str, *names: str, known: str = "true") -> str:
    """SQL of columns: as they are where there is a row of them, else 0, or null if nothing is
    known."""
    return ", ".join(
        f"CASE WHEN NOT {known} THEN NULL WHEN {there} THEN {name} ELSE 0 END AS {name}"
        for name in names
    )


_QUERY = f"""
WITH spent AS (
  SELECT advertiser_id, date, campaign_id, any_value(campaign_name) AS campaign_name,
         {summed("spend")} AS spend, {summed("purchase_value")} AS platform_value,
         coalesce(sum(purchases), 0)::BIGINT AS platform_purchases, bool_or(is_open) AS is_open,
         true AS is_spent
  FROM modeled.ad_performance_daily GROUP BY ALL
),
sale AS (
  SELECT advertiser_id, shop, order_id, date, {in_sums("revenue")} AS revenue,
         {in_sums("contribution")} AS contribution
  FROM modeled.order_ledger WHERE entry = 'sale'
),
modelled AS (
  SELECT DISTINCT advertiser_id FROM modeled.conversion_claims WHERE claimant = $claimant
),
named AS (
  SELECT advertiser_id, campaign_name, min(campaign_id) AS campaign_id FROM spent GROUP BY ALL
),
given AS (
  SELECT c.advertiser_id, date, coalesce(campaign_id, '?') AS campaign_id,
         any_value(campaign) AS campaign_name,
         {known_sum("(credit * revenue::DOUBLE)::DECIMAL(38, 10)")}::DECIMAL(18, 4)
           AS modelled_revenue,
         {known_sum("(credit * contribution::DOUBLE)::DECIMAL(38, 10)")}::DECIMAL(18, 4)
           AS modelled_contribution,
         sum(credit::DECIMAL(38, 17))::DOUBLE AS modelled_orders, true AS is_given
  FROM modeled.conversion_claims c JOIN sale USING (advertiser_id, shop, order_id)
  LEFT JOIN named ON (named.advertiser_id, campaign_name) = (c.advertiser_id, campaign)
  WHERE claimant = $claimant AND is_meta
  GROUP BY ALL
),
campaign AS (
  SELECT advertiser_id, date, campaign_id,
         coalesce(s.campaign_name, nullif(g.campaign_name, '')) AS campaign_name,
         {_where("is_spent", "spend", "platform_value", "platform_purchases")},
         {_where("is_given", *MODELLED, known=_IS_MODELLED)}, coalesce(is_open, true) AS is_open
  FROM spent s FULL JOIN given g USING (advertiser_id, date, campaign_id)
),
shop AS (
  SELECT advertiser_id, date, {summed("revenue")} AS revenue,
         {summed("contribution")} AS contribution,
         count(*) FILTER (entry = 'sale') AS orders,
         count(*) FILTER (entry = 'sale' AND is_new_customer) AS new_customers,
         count(*) FILTER (entry = 'sale' AND is_new_customer IS NOT NULL) AS known_customers,
         true AS is_sold
  FROM modeled.order_ledger GROUP BY ALL
),
whole AS (
  SELECT advertiser_id, date, '' AS campaign_id, NULL AS campaign_name,
         {_where("is_there", "spend", "platform_value", "platform_purchases")},
         {_where("is_there", *MODELLED, known=_IS_MODELLED)},
         {_where("is_sold", *SOLD, known=_HAS_SHOP)}, coalesce(is_open, false) AS is_open
  FROM (
    SELECT advertiser_id, date, {known_sum("spend")} AS spend,
           {known_sum("platform_value")} AS platform_value,
           sum(platform_purchases) AS platform_purchases,
           {", ".join(f"{known_sum(name)} AS {name}" for name in MODELLED)},
           bool_or(is_open) AS is_open, true AS is_there
    FROM campaign GROUP BY ALL
  ) FULL JOIN shop USING (advertiser_id, date)
)
SELECT *, revenue::DOUBLE / nullif(spend, 0)::DOUBLE AS mer,
       platform_value::DOUBLE / nullif(spend, 0)::DOUBLE AS platform_roas,
       modelled_revenue::DOUBLE / nullif(spend, 0)::DOUBLE AS modelled_roas,
       modelled_contribution::DOUBLE / nullif(spend, 0)::DOUBLE AS profit_roas,
       spend::DOUBLE / nullif(new_customers, 0) AS cac,
       new_customers::DOUBLE / nullif(known_customers, 0) AS new_share
FROM (SELECT * FROM whole UNION ALL BY NAME SELECT * FROM campaign)
"""


@table_asset(
    "modeled",
    deps=["modeled/ad_performance_daily", "modeled/order_ledger", "modeled/conversion_claims"],
    columns=COLUMNS,
    key=KEY,
    settings=["reporting_model"],
    owner="team:marketing",
    kinds=("duckdb", "delta"),
    checks=(
        Check(
            "spend_adds_up",
            f"""
            SELECT count(*) FROM (
              SELECT advertiser_id, date, {summed("spend")} AS of_ads
              FROM modeled.ad_performance_daily GROUP BY ALL
            ) LEFT JOIN (FROM modeled.ad_roi_daily WHERE campaign_id = '')
              USING (advertiser_id, date)
            WHERE spend IS DISTINCT FROM of_ads
            """,
            "The spend of every day is that of its ads.",
            blocking=True,
        ),
    ),
)
def ad_roi_daily(run: TableRun) -> None:
    """What advertising cost on each day, and what it earned, by every measure.

    Grain: a campaign of an advertiser on a day, or all of them (campaign_id empty). Key:
    advertiser_id, date, campaign_id. Sources: modeled/ad_performance_daily, modeled/order_ledger,
    modeled/conversion_claims.
    """
    model = getattr(run.settings, "reporting_model", "")
    found = run.sql(
        f"SELECT {', '.join(COLUMNS)} FROM ({_QUERY}) ORDER BY {', '.join(KEY)}",
        {"claimant": f"model:{model}"},
    )
    run.overwrite(found.cast(arrow_schema(COLUMNS)))
