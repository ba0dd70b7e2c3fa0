"""modeled/order_ledger: what each order brought, on its own day, and what went back, on that day.

Grain: an entry of an order. Key: advertiser_id, shop, order_id, entry.
Sources: cleaned/shopify_orders, cleaned/shopify_order_lines, cleaned/shopify_transactions,
cleaned/shopify_refunds, cleaned/shopify_refund_lines, cleaned/shopify_variants, cleaned/rates.

Days are those of the shop's time zone, as in Shopify's own reports of finance: a sale counts on the
day of the sale, a refund on that of the refund. Test orders and those that the shop deleted are in
none. Gift cards are no sale of goods.

    contribution = revenue - cost of goods - shipping cost - payment fees

where revenue is the total without tax and gift cards, and of a refund what went back without tax.
Goods whose cost the shop does not say cost the share DMP_ADS_GOODS_SHARE of what they brought
without tax, and without it 0; `goods_without_cost` sums them either way.
"""

from dmp_assets.ads.settings import AdsSettings, currency_of_sums
from dmp_assets.ads.tables.exchange_rates import RATE, with_rate
from dmp_assets.platform.cleaning.machine_values import AMOUNT
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.sources.shopify.tables import CUSTOMER, ORDER

_IN_SHOP = "in the shop's currency"


def _amount(about: str) -> Column:
    return Column(AMOUNT, about, "behaviour")


COLUMNS = {
    "advertiser_id": Column("string", "Whose shop it is."),
    "shop": Column("string", "Domain of the shop."),
    "order_id": Column("string", "The order.", "identifier", ORDER),
    "entry": Column("string", "`sale`, or `refund <id>`.", "identifier"),
    "date": Column("date", "Its day in the shop's time zone.", "behaviour"),
    "customer_id": Column("string", "The customer.", "identifier", CUSTOMER),
    "is_new_customer": Column(
        "boolean", "First order of the customer that the shop still has; null: unknown.",
        "behaviour",
    ),
    "is_cancelled": Column("boolean", "The order was cancelled, whenever.", "behaviour"),
    "currency": Column("string", "Currency of the shop (ISO 4217)."),
    "gross": _amount(f"Goods and shipping before discounts, tax included, {_IN_SHOP}."),
    "discounts": _amount(f"Discounts, {_IN_SHOP}."),
    "refunds": _amount(f"What went back, tax included, {_IN_SHOP}."),
    "tax": _amount(f"Tax, of a refund its share, {_IN_SHOP}."),
    "gift_cards": _amount(f"Gift cards that were bought, {_IN_SHOP}."),
    "revenue": _amount(f"gross - discounts - refunds - tax - gift cards, {_IN_SHOP}."),
    "cost_of_goods": _amount(f"What the goods cost the shop, {_IN_SHOP}; of returned ones less."),
    "goods_without_cost": _amount(
        f"Goods whose cost the shop does not say (DMP_ADS_GOODS_SHARE), {_IN_SHOP}."
    ),
    "shipping_cost": _amount("DMP_ADS_SHIPPING_COST, in the shop's currency."),
    "payment_fees": _amount(f"What the payment cost, where it is known, {_IN_SHOP}."),
    "contribution": _amount(
        f"revenue - cost of goods - shipping cost - payment fees, {_IN_SHOP}."
    ),
    "rate": Column(RATE, "What one unit of the currency is worth in that of sums; null: unknown."),
    "revenue_in_sums": _amount("The revenue in the currency of sums; null: no rate."),
    "contribution_in_sums": _amount("The contribution in it; null: no rate."),
}  # fmt: skip
KEY = ("advertiser_id", "shop", "order_id", "entry")
_OF = "advertiser_id, shop, order_id"
_ENTRIES = f"""
WITH real AS (SELECT * FROM cleaned.shopify_orders WHERE NOT is_deleted AND is_test IS NOT TRUE),
first AS (
  SELECT advertiser_id, shop, customer_id, min((processed_at, order_id)) AS first
  FROM real WHERE customer_id IS NOT NULL GROUP BY ALL
),
line AS (
  SELECT {_OF}, line_id, quantity, is_gift_card IS TRUE AS is_gift, discounted_total,
         least(1, greatest(0, (total - coalesce(tax, 0)) / nullif(coalesce(shipping, 0)
           + sum(discounted_total) OVER (PARTITION BY {_OF}), 0))) AS net,
         CASE WHEN unit_cost_currency IS NULL OR unit_cost_currency = currency
              THEN unit_cost END AS unit_cost
  FROM cleaned.shopify_order_lines 
  JOIN (SELECT {_OF}, currency, total, tax, shipping FROM real) USING ({_OF})
  LEFT JOIN (SELECT advertiser_id, shop, variant_id, unit_cost, unit_cost_currency
             FROM cleaned.shopify_variants) USING (advertiser_id, shop, variant_id)
),
cost AS (
  SELECT *, coalesce(quantity * unit_cost, round(discounted_total * net * $share::DOUBLE, 4)
           ::DECIMAL(18, 4)) AS cost
  FROM line
),
goods AS (
  SELECT {_OF}, sum(discounted_total) FILTER (is_gift) AS gift_cards,
         sum(cost) FILTER (NOT is_gift) AS cost,
         sum(discounted_total) FILTER (NOT is_gift AND unit_cost IS NULL) AS without_cost
  FROM cost GROUP BY ALL
),
fee AS (
  SELECT {_OF}, sum(list_sum(list_transform(
    from_json(TRY_CAST(fees AS JSON), '[{{"amount":"VARCHAR"}}]'),
    lambda one: coalesce(TRY_CAST(one.amount AS DECIMAL(18, 4)), 0)
  ))) AS fees
  FROM cleaned.shopify_transactions WHERE status = 'SUCCESS' GROUP BY ALL
),
back AS (
  SELECT {_OF}, refund_id, sum(coalesce(r.quantity * unit_cost, round(
           r.quantity * cost / nullif(l.quantity, 0), 4)::DECIMAL(18, 4))) AS cost
  FROM cleaned.shopify_refund_lines r JOIN cost l USING ({_OF}, line_id)
  WHERE r.kind = 'line' AND NOT is_gift AND coalesce(r.cause, '') <> 'NO_RESTOCK' GROUP BY ALL
),
entry AS (
  SELECT {_OF}, 'sale' AS entry, sold_on AS date, customer_id,
         first.first = (o.processed_at, order_id) AS is_new_customer,
         cancelled_at IS NOT NULL AS is_cancelled, currency,
         total + coalesce(discounts, 0) AS gross, coalesce(discounts, 0) AS discounts,
         0 AS refunds, coalesce(tax, 0) AS tax, coalesce(gift_cards, 0) AS gift_cards,
         coalesce(cost, 0) AS cost_of_goods, coalesce(without_cost, 0) AS goods_without_cost,
         true AS is_sent, coalesce(fees, 0) AS payment_fees
  FROM real o LEFT JOIN goods USING ({_OF}) LEFT JOIN fee USING ({_OF})
  LEFT JOIN first USING (advertiser_id, shop, customer_id)
  UNION ALL BY NAME
  SELECT {_OF}, 'refund ' || refund_id AS entry, timezone(o.timezone, r.created_at)::DATE AS date,
         customer_id, NULL AS is_new_customer, cancelled_at IS NOT NULL AS is_cancelled, currency,
         0 AS gross, 0 AS discounts, coalesce(r.refunded, 0) AS refunds,
         CASE WHEN o.total > 0 THEN -r.refunded * coalesce(o.tax, 0) / o.total ELSE 0 END AS tax,
         0 AS gift_cards, -coalesce(back.cost, 0) AS cost_of_goods, 0 AS goods_without_cost,
         false AS is_sent, 0 AS payment_fees
  FROM cleaned.shopify_refunds r JOIN real o USING ({_OF})
  LEFT JOIN back USING ({_OF}, refund_id)
)
SELECT * FROM entry
"""
_QUERY = f"""
WITH priced AS ({with_rate(_ENTRIES, "date")}),
summed AS (
  SELECT * REPLACE (round(tax, 4)::DECIMAL(18, 4) AS tax),
         CASE WHEN is_sent AND rate > 0 THEN round($shipping / rate, 4) ELSE 0 END
           ::DECIMAL(18, 4) AS shipping_cost
  FROM priced
),
revenues AS (
  SELECT *, (gross - discounts - refunds - tax - gift_cards)::DECIMAL(18, 4) AS revenue FROM summed
),
contributions AS (
  SELECT *, (revenue - cost_of_goods - shipping_cost - payment_fees)::DECIMAL(18, 4)
              AS contribution
  FROM revenues
)
SELECT *, (revenue * rate)::DECIMAL(18, 4) AS revenue_in_sums,
       (contribution * rate)::DECIMAL(18, 4) AS contribution_in_sums
FROM contributions
"""


@table_asset(
    "modeled",
    deps=[
        "cleaned/shopify_orders", "cleaned/shopify_order_lines", "cleaned/shopify_transactions",
        "cleaned/shopify_refunds", "cleaned/shopify_refund_lines", "cleaned/shopify_variants",
        "cleaned/rates",
    ],
    columns=COLUMNS,
    key=KEY,
    settings=["currency", "ads_currency", "ads_shipping_cost", "ads_goods_share"],
    owner="team:marketing",
    kinds=("duckdb", "delta"),
    checks=(
        Check(
            "every_order_is_there",
            """
            SELECT count(*) FROM cleaned.shopify_orders o
            ANTI JOIN (SELECT * FROM modeled.order_ledger WHERE entry = 'sale') l
              USING (advertiser_id, shop, order_id)
            WHERE NOT is_deleted AND is_test IS NOT TRUE
            """,
            "Every order that somebody paid for is in the ledger.",
            blocking=True,
        ),
        Check(
            "unit_costs_known",
            """
            SELECT count(*) FILTER (goods_without_cost > 0) AS offending,
                   sum(goods_without_cost)::DOUBLE AS without_cost
            FROM modeled.order_ledger
            """,
            "What goods cost the shop is known; of others DMP_ADS_GOODS_SHARE tells it, without "
            "which contribution is too high.",
        ),
    ),
)  # fmt: skip
def order_ledger(run: TableRun) -> None:
    """What each order brought, on its own day, and what went back, on that day.

    Grain: an entry of an order. Key: advertiser_id, shop, order_id, entry. Sources:
    cleaned/shopify_orders, cleaned/shopify_order_lines, cleaned/shopify_transactions,
    cleaned/shopify_refunds, cleaned/shopify_refund_lines, cleaned/shopify_variants, cleaned/rates.
    """
    found = run.sql(
        f"SELECT {', '.join(COLUMNS)} FROM ({_QUERY}) ORDER BY {', '.join(KEY)}",
        {
            "currency": currency_of_sums(run.settings),
            "share": run.settings.of(AdsSettings).ads_goods_share,
            "shipping": run.settings.of(AdsSettings).ads_shipping_cost,
        },
    )
    run.overwrite(found.cast(arrow_schema(COLUMNS)))
