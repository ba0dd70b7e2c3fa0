"""modeled/conversion_bridge: from what Meta claims to the orders that there are, to the cent.

Grain: an ad account on a day. Key: advertiser_id, account_id, date.
Sources: modeled/ad_performance_daily, modeled/conversion_claims, cleaned/shopify_orders,
modeled/ad_accounts, modeled/ads.

    claimed = matched + reversed + test + boundary + view_through + unexplained

for purchases and for their value alike. An order is matched when by our own data (the visits that
the shop knows, and the web's journeys) its buyer clicked an ad of Meta in the DMP_ADS_CLICK_DAYS
before, and reversed when that order was cancelled or went back whole. Meta counts days in the
account's zone, the shop in its own: matched orders are those of the shop's day, and boundary is
what the account's day has of them more, or less. An order belongs to the account whose campaign
was clicked last, and else to the advertiser's first account in its currency. View-through is what
Meta claims of views within a day, of ad sets for which views count; test orders are those of the
day. Unexplained is the rest, either way: claimed twice, never seen by us, or seen by us and not
claimed. A day of which it is unknown what Meta claims, since files of ads have no column of it, has
no row.
"""

from dmp_assets.ads.settings import AdsSettings
from dmp_assets.platform.cleaning.machine_values import AMOUNT
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset

PARTS = {
    "matched": "Orders of the shop's day whose buyers clicked an ad before",
    "reversed": "Such orders that were cancelled or went back whole",
    "test": "Test orders of the account's day",
    "boundary": "Matched and reversed orders of the account's day, less those of the shop's",
    "view_through": "Claimed of views within a day",
    "unexplained": "The rest: claimed twice or not seen by us; below 0: seen, and not claimed",
}
COLUMNS = {
    "advertiser_id": Column("string", "Whose account it is."),
    "account_id": Column("string", "The ad account, without `act_`."),
    "date": Column("date", "Day."),
    "currency": Column("string", "Currency of the account (ISO 4217)."),
    "claimed_orders": Column("long", "Purchases that Meta claims."),
    "claimed_value": Column(AMOUNT, "What they were worth; the account's currency."),
    **{
        name: column
        for part, about in PARTS.items()
        for name, column in (
            (f"{part}_orders", Column("long", f"{about}: how many.")),
            (f"{part}_value", Column(AMOUNT, f"{about}: their value.")),
        )
    },
    "is_open": Column("boolean", "Meta may still change the day."),
}
KEY = ("advertiser_id", "account_id", "date")
_CLICKED = """
SELECT advertiser_id, shop, order_id, bool_or(is_meta AND clicked_at <= processed_at
         AND clicked_at > processed_at - to_days($days::INTEGER)) AS is_clicked,
       arg_max(campaign, clicked_at) FILTER (is_meta) AS campaign
FROM modeled.conversion_claims JOIN cleaned.shopify_orders USING (advertiser_id, shop, order_id)
WHERE credit > 0 AND clicked_at IS NOT NULL
GROUP BY ALL
"""
_QUERY = f"""
WITH clicked AS ({_CLICKED}),
account AS (
  SELECT advertiser_id, account_id, currency, timezone AS zone FROM modeled.ad_accounts
),
named AS (
  SELECT n.advertiser_id, campaign_name, currency, min(n.account_id) AS account_id
  FROM modeled.ads n JOIN account USING (advertiser_id, account_id) GROUP BY ALL
),
main AS (
  SELECT advertiser_id, currency, min(account_id) AS account_id FROM account GROUP BY ALL
),
sold AS (
  SELECT o.advertiser_id, a.account_id, o.order_id, total,
         sold_on AS shop_day, timezone(zone, processed_at)::DATE AS account_day,
         coalesce(is_test, false) AS is_test,
         cancelled_at IS NOT NULL OR coalesce(o.refunded, 0) >= total AS is_reversed,
         coalesce(is_clicked, false) AS is_clicked
  FROM cleaned.shopify_orders o
  LEFT JOIN clicked c ON (c.advertiser_id, c.shop, c.order_id)
    = (o.advertiser_id, o.shop, o.order_id)
  LEFT JOIN named ON (named.advertiser_id, named.campaign_name, named.currency)
    = (o.advertiser_id, c.campaign, o.currency)
  LEFT JOIN main ON (main.advertiser_id, main.currency) = (o.advertiser_id, o.currency)
  JOIN account a ON (a.advertiser_id, a.account_id)
    = (o.advertiser_id, coalesce(named.account_id, main.account_id))
  WHERE NOT is_deleted
),
part AS (
  SELECT advertiser_id, account_id, shop_day AS date,
         CASE WHEN is_reversed THEN 'reversed' ELSE 'matched' END AS part, 1 AS orders,
         total AS value
  FROM sold WHERE is_clicked AND NOT is_test
  UNION ALL
  SELECT advertiser_id, account_id, account_day, 'test', 1, total FROM sold WHERE is_test
  UNION ALL
  SELECT advertiser_id, account_id, account_day, 'boundary', 1, total
  FROM sold WHERE is_clicked AND NOT is_test AND account_day <> shop_day
  UNION ALL
  SELECT advertiser_id, account_id, shop_day, 'boundary', -1, -total
  FROM sold WHERE is_clicked AND NOT is_test AND account_day <> shop_day
  UNION ALL
  SELECT advertiser_id, account_id, date, 'view_through', purchases_1d_view,
         purchase_value_1d_view
  FROM modeled.ad_performance_daily WHERE attribution_setting LIKE '%view%'
  UNION ALL
  SELECT advertiser_id, account_id, date, 'claimed', purchases, purchase_value
  FROM modeled.ad_performance_daily
),
summed AS (
  SELECT advertiser_id, account_id, date,
         {
    ", ".join(
        f"coalesce(sum(orders) FILTER (part = '{part}'), 0)::BIGINT AS {part}_orders, "
        f"coalesce(sum(value) FILTER (part = '{part}'), 0)::DECIMAL(18, 4) AS {part}_value"
        for part in ("claimed", *PARTS)
        if part != "unexplained"
    )
}
  FROM part GROUP BY ALL
)
SELECT s.*, account.currency,
       claimed_orders - matched_orders - reversed_orders - test_orders - boundary_orders
         - view_through_orders AS unexplained_orders,
       (claimed_value - matched_value - reversed_value - test_value - boundary_value
         - view_through_value)::DECIMAL(18, 4) AS unexplained_value,
       coalesce(is_open, true) AS is_open
FROM summed s JOIN account USING (advertiser_id, account_id)
ANTI JOIN (
  SELECT advertiser_id, account_id, date FROM modeled.ad_performance_daily
  WHERE purchases IS NULL OR purchase_value IS NULL
) USING (advertiser_id, account_id, date)
LEFT JOIN (
  SELECT advertiser_id, account_id, date, bool_or(is_open) AS is_open
  FROM modeled.ad_performance_daily GROUP BY ALL
) USING (advertiser_id, account_id, date)
"""


@table_asset(
    "modeled",
    deps=[
        "modeled/ad_performance_daily", "modeled/conversion_claims", "cleaned/shopify_orders",
        "modeled/ad_accounts", "modeled/ads",
    ],
    columns=COLUMNS,
    key=KEY,
    settings=["ads_click_days"],
    owner="team:marketing",
    kinds=("duckdb", "delta"),
    checks=(
        Check(
            "claims_agree",
            """
            SELECT count(*) FROM (
              SELECT advertiser_id, account_id, date, sum(purchases) AS orders,
                     sum(purchase_value) AS value
              FROM modeled.ad_performance_daily GROUP BY ALL
              HAVING bool_and(purchases IS NOT NULL AND purchase_value IS NOT NULL)
            ) LEFT JOIN modeled.conversion_bridge USING (advertiser_id, account_id, date)
            WHERE orders IS DISTINCT FROM claimed_orders OR value IS DISTINCT FROM claimed_value
            """,
            "What Meta claims of every account and day is in the bridge, to the last decimal, but "
            "for days of which it is unknown.",
            blocking=True,
        ),
        Check(
            "orders_have_an_account",
            """
            SELECT count(*) FROM cleaned.shopify_orders o
            ANTI JOIN modeled.ad_accounts a USING (advertiser_id, currency)
            WHERE NOT is_deleted AND advertiser_id IN (
              SELECT advertiser_id FROM modeled.ad_accounts
            )
            """,
            "Every order is in the currency of an ad account of its advertiser; others are in no "
            "bridge.",
        ),
        Check(
            "little_is_unexplained",
            """
            SELECT count(*) FILTER (abs(unexplained) > 0.2 * claimed) AS offending,
                   max(abs(unexplained) / nullif(claimed, 0)) AS greatest_share
            FROM (
              SELECT advertiser_id, account_id,
                     sum(claimed_value)::DOUBLE AS claimed,
                     sum(unexplained_value)::DOUBLE AS unexplained
              FROM modeled.conversion_bridge WHERE NOT is_open
              GROUP BY ALL HAVING sum(claimed_value) > 0
            )
            """,
            "Of each account at most a fifth of what Meta claims of closed days is unexplained; "
            "more means that tracking differs: is the pixel there twice, does the web name visits "
            "by ads?",
        ),
    ),
)  # fmt: skip
def conversion_bridge(run: TableRun) -> None:
    """From what Meta claims to the orders that there are, by account and day, to the cent.

    Grain: an ad account on a day. Key: advertiser_id, account_id, date. Sources:
    modeled/ad_performance_daily, modeled/conversion_claims, cleaned/shopify_orders,
    modeled/ad_accounts, modeled/ads.
    """
    days = run.settings.of(AdsSettings).ads_click_days
    run.overwrite(
        run.sql(
            f"SELECT {', '.join(COLUMNS)} FROM ({_QUERY}) ORDER BY {', '.join(KEY)}",
            {"days": days},
        )
    )
