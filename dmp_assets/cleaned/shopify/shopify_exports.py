"""cleaned/shopify_exports: lines of orders of Shopify's exports, typed, as they hold.

Grain: a line of an order. Key: advertiser_id, shop, order_id, line. Source: raw/shopify_exports.
What is of an order stands on the first of its lines in the file and is on all of them here. An
order that several files have, or one file twice, is as the last of them has it. Orders that the
Admin API told of are left out where the tables of orders are made (`FILES`).
"""

from dmp_assets.cleaned.exports import are_none, numbers_read
from dmp_assets.platform.cleaning import machine_values
from dmp_assets.platform.cleaning.machine_values import AMOUNT, read_columns
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.raw.exports import COLUMNS as RAW
from dmp_assets.sources.exports import values
from dmp_assets.sources.exports.shopify import COLUMNS as RECEIVED
from dmp_assets.sources.exports.shopify import OF_ORDER

KEY = ("advertiser_id", "shop", "order_id", "line")
_OWN = {
    name: RAW["shopify"][name]
    for name in ("advertiser_id", "shop", "file", "file_number", "line", "timezone")
} | {"received_at": Column("timestamp", "When the file was taken (UTC).")}
_READ = read_columns(RECEIVED)
COLUMNS = {
    **_OWN,
    **_READ,
    "line_total": Column(AMOUNT, "Price of all of the line after its discount.", "behaviour"),
    "is_test": Column("boolean", "Paid by Shopify's gateway for tests."),
}
_FIRST = "created_at IS NOT NULL AND trim(created_at) <> ''"
_LATEST = f"""
WITH named AS (
  SELECT unnest($texts::VARCHAR[]) AS text, unnest($sides::VARCHAR[]) AS side,
         unnest($zones::VARCHAR[]) AS zone, unnest($moments::TIMESTAMPTZ[]) AS moment
),
block AS (
  SELECT *, count(*) FILTER ({_FIRST}) OVER (
    PARTITION BY advertiser_id, shop, file, order_name ORDER BY line) AS block
  FROM raw.shopify_exports
),
last AS (
  SELECT * FROM block QUALIFY (_received_at, file_number, block) = max((
    _received_at, file_number, block)) OVER (PARTITION BY advertiser_id, shop, order_name)
),
whole AS (
  SELECT * REPLACE ({
    ", ".join(
        f"first_value({name}) OVER one AS {name}" for name in OF_ORDER if name != "order_name"
    )
})
  FROM last WINDOW one AS (
    PARTITION BY advertiser_id, shop, order_name ORDER BY line
    ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
)
SELECT w.*, w._received_at AS received_at, c.moment AS read_created_at,
       d.moment AS read_cancelled_at
FROM whole w
LEFT JOIN named c ON (c.text, c.side, c.zone)
  = (trim(w.created_at), coalesce(w.dates, ''), w.timezone)
LEFT JOIN named d ON (d.text, d.side, d.zone)
  = (trim(w.cancelled_at), coalesce(w.dates, ''), w.timezone)
"""
_FURTHER = {
    "order_id": "coalesce(order_id, 'name:' || order_name)",
    "currency": "upper(currency)",
    "line_total": "(line_price * line_quantity - coalesce(line_discount, 0))::DECIMAL(18, 4)",
    "is_test": "contains(lower(coalesce(payment_method, '')), 'bogus')",
}
_RULES = {
    "row_broken": "problem IS NOT NULL",
    "order_not_named": "order_name IS NULL",
    "order_without_first_line": "total IS NULL AND received_total IS NULL",
    "time_missing": "created_at IS NULL",
    "currency_unknown": "length(currency) IS DISTINCT FROM 3",
    "line_incomplete": "line_price IS NULL OR line_quantity IS NULL",
}


@table_asset(
    "cleaned",
    deps=["raw/shopify_exports"],
    columns=COLUMNS,
    key=KEY,
    also={"quarantine/shopify_exports": machine_values.quarantine_columns(RECEIVED, _OWN)},
    owner="team:marketing",
    kinds=("duckdb", "delta"),
    checks=(
        Check(
            "all_rows_used",
            "SELECT count(*) FROM quarantine.shopify_exports",
            "Every row of the files can be used; the others are in quarantine with their lines.",
        ),
    ),
)
def shopify_exports(run: TableRun) -> None:
    """Lines of orders of Shopify's exports that people gave, typed, as they hold.

    Grain: a line of an order. Key: advertiser_id, shop, order_id, line. Source:
    raw/shopify_exports.
    """
    if are_none(run, "shopify_exports"):
        return
    own = (*_OWN, "problem", "numbers", "read_created_at", "read_cancelled_at")
    reads = numbers_read(run, "shopify_exports", RECEIVED, 4)
    reads |= {name: f"read_{name}" for name in ("created_at", "cancelled_at")}
    machine_values.write(
        run, _LATEST, RECEIVED, own, ", ".join(KEY), _FURTHER, _RULES, reads, _moments(run)
    )


def _moments(run: TableRun) -> dict[str, object]:
    """The moments that the files' texts name, as parameters of `_LATEST`."""
    found = run.sql(
        " UNION ".join(
            f"SELECT trim({name}) AS text, dates, timezone FROM raw.shopify_exports "
            f"WHERE trim({name}) <> ''"
            for name in ("created_at", "cancelled_at")
        )
    ).to_pylist()
    read = [(row, values.moment(row["text"], row["dates"], row["timezone"])) for row in found]
    named = [(row, moment) for row, moment in read if moment is not None]
    return {
        "texts": [row["text"] for row, _ in named],
        "sides": [row["dates"] or "" for row, _ in named],
        "zones": [row["timezone"] for row, _ in named],
        "moments": [moment for _, moment in named],
    }


FILES = """
  SELECT e.* FROM cleaned.shopify_exports e
  ANTI JOIN (SELECT DISTINCT advertiser_id, shop, order_id FROM raw.shopify_orders)
    USING (advertiser_id, shop, order_id)
  ANTI JOIN (SELECT DISTINCT advertiser_id, shop, order_name FROM raw.shopify_orders)
    USING (advertiser_id, shop, order_name)
"""
"""SQL of the lines of orders that only files tell of."""
_OF_ORDER = "advertiser_id, shop, order_id"
ORDERS = f"""
  SELECT DISTINCT ON ({_OF_ORDER}) {_OF_ORDER}, received_at::VARCHAR AS order_updated_at,
         order_name, customer_id, created_at::VARCHAR AS created_at,
         created_at::VARCHAR AS processed_at, cancelled_at::VARCHAR AS cancelled_at,
         is_test::VARCHAR AS is_test, upper(financial_status) AS financial_status,
         source AS source_name, currency, total::VARCHAR AS total, subtotal::VARCHAR AS subtotal,
         discount_amount::VARCHAR AS discounts, shipping::VARCHAR AS shipping,
         taxes::VARCHAR AS tax, coalesce(refunded_amount, 0)::VARCHAR AS refunded,
         to_json(CASE WHEN discount_code IS NULL THEN [] ELSE [discount_code] END)::VARCHAR
           AS discount_codes,
         to_json(list_transform(string_split(coalesce(tags, ''), ','), lambda one: trim(one)))
           ::VARCHAR AS tags,
         timezone AS zone
  FROM ({FILES}) ORDER BY {_OF_ORDER}, line
"""
"""Their orders, as the Admin API would tell them: all text."""
LINES = f"""
  SELECT {_OF_ORDER}, received_at::VARCHAR AS order_updated_at, line::VARCHAR AS line_id,
         line_sku AS sku, line_quantity::VARCHAR AS quantity, line_price::VARCHAR AS unit_price,
         line_total::VARCHAR AS discounted_total
  FROM ({FILES})
"""
"""Their lines. Which of them went back no export says."""
REFUNDS = f"""
  SELECT DISTINCT ON ({_OF_ORDER}) {_OF_ORDER}, received_at::VARCHAR AS order_updated_at,
         'file' AS refund_id, coalesce(cancelled_at, created_at)::VARCHAR AS created_at,
         refunded_amount::VARCHAR AS refunded
  FROM ({FILES}) WHERE refunded_amount > 0 ORDER BY {_OF_ORDER}, line
"""
"""What was paid back: exports do not say when, so it is of the cancellation, or of the sale."""
