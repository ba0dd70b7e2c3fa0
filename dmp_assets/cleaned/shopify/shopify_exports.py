"""cleaned/shopify_exports: lines of orders of Shopify's exports, typed, as they hold.

Grain: a line of an order. Key: advertiser_id, shop, order_id, line. Source: raw/shopify_exports.
What is of an order stands on the first of its lines in the file, which is told by its total, and is
on all of them here; files may fill some of it, or all, on the further lines too. An order that
several files have, or one file twice, is as the last of them has it; one file has it twice where a
line with a total says otherwise of the order than the one before, or where its first line comes
again. Orders that the Admin API told of are left out where the tables of orders are made (`FILES`).
"""

from dmp_assets.cleaned.exports import RECEIVED_ROWS, are_none, checks, numbers_read
from dmp_assets.platform.cleaning import machine_values
from dmp_assets.platform.cleaning.machine_values import AMOUNT, read_columns
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import TableRun, table_asset
from dmp_assets.raw.exports import COLUMNS as RAW
from dmp_assets.sources.exports import values
from dmp_assets.sources.exports.shopify import COLUMNS as RECEIVED
from dmp_assets.sources.exports.shopify import OF_ORDER

KEY = ("advertiser_id", "shop", "order_id", "line")
_OWN = {
    name: RAW["shopify"][name]
    for name in ("advertiser_id", "shop", "file", "file_number", "line", "timezone")
} | {
    "received_at": Column("timestamp", "When the file was taken (UTC)."),
    "received_rows": RECEIVED_ROWS,
}
_READ = read_columns(RECEIVED)
COLUMNS = {
    **_OWN,
    **_READ,
    "line_total": Column(AMOUNT, "Price of all of the line after its discount.", "behaviour"),
    "is_test": Column("boolean", "Paid by Shopify's gateway for tests."),
}
_ORDER = "advertiser_id, shop, file, named"
_TOLD = [name for name in OF_ORDER if name not in ("order_id", "order_name")]


def _text(name: str) -> str:
    return f"nullif(trim({name}), '')"


_OTHERWISE = " OR ".join(
    f"{_text(name)} <> lag(CASE WHEN is_first THEN {_text(name)} END IGNORE NULLS) OVER before"
    for name in OF_ORDER
)
"""SQL of whether a line says something else of its order than the one with a total before it."""
_LATEST = f"""
WITH moment AS (
  SELECT unnest($texts::VARCHAR[]) AS text, unnest($sides::VARCHAR[]) AS side,
         unnest($zones::VARCHAR[]) AS zone, unnest($moments::TIMESTAMPTZ[]) AS moment
),
row AS (
  SELECT *, {_text("total")} IS NOT NULL AS is_first,
         coalesce(CASE WHEN problem IS NULL THEN 'name ' || {_text("order_name")} END,
                  'line ' || file || ' ' || line) AS named
  FROM raw.shopify_exports
),
otherwise AS (
  SELECT *, is_first AND coalesce({_OTHERWISE}, false) AS is_otherwise
  FROM row WINDOW before AS (PARTITION BY {_ORDER} ORDER BY line)
),
variant AS (
  SELECT *, count(*) FILTER (is_otherwise) OVER (PARTITION BY {_ORDER} ORDER BY line) AS variant
  FROM otherwise
),
again AS (
  SELECT *, is_otherwise OR (is_first AND row_number() OVER same > 1
    AND row_hash = first_value(row_hash) OVER first) AS is_again
  FROM variant
  WINDOW same AS (PARTITION BY {_ORDER}, variant, row_hash ORDER BY line),
         first AS (PARTITION BY {_ORDER}, variant ORDER BY is_first DESC, line)
),
block AS (
  SELECT *, count(*) FILTER (is_again) OVER (PARTITION BY {_ORDER} ORDER BY line) AS block
  FROM again
),
whole AS (
  SELECT * REPLACE ({
    ", ".join(
        f"first_value({_text(name)} IGNORE NULLS) OVER one AS {name}"
        for name in ("order_id", *_TOLD)
    )
})
  FROM block WINDOW one AS (
    PARTITION BY {_ORDER}, block ORDER BY is_first DESC, line
    ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
),
known AS (
  SELECT * REPLACE (coalesce(order_id, CASE WHEN min(order_id) OVER one = max(order_id) OVER one
                                            THEN min(order_id) OVER one END) AS order_id)
  FROM whole WINDOW one AS (PARTITION BY advertiser_id, shop, named)
),
told AS (
  SELECT *, CASE WHEN starts_with(named, 'name ') THEN coalesce(order_id, named) ELSE named END
              AS told_of
  FROM known
),
counted AS (
  SELECT *, count(*) OVER (PARTITION BY advertiser_id, shop, told_of) - count(*) OVER last
              AS before,
         row_number() OVER (last ORDER BY line) AS number
  FROM told WINDOW last AS (PARTITION BY advertiser_id, shop, told_of, file_number, block)
  QUALIFY (_received_at, file_number, block) = max((_received_at, file_number, block)) OVER (
    PARTITION BY advertiser_id, shop, told_of)
)
SELECT w.*, w._received_at AS received_at, c.moment AS read_created_at,
       d.moment AS read_cancelled_at,
       CASE WHEN w.number = 1 THEN w.before + 1 ELSE 1 END AS received_rows
FROM counted w
LEFT JOIN moment c ON (c.text, c.side, c.zone)
  = (trim(w.created_at), coalesce(w.dates, ''), w.timezone)
LEFT JOIN moment d ON (d.text, d.side, d.zone)
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
    "in_the_future": "greatest(created_at, cancelled_at) > received_at + to_days("
    f"{values.AHEAD.days})",
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
    checks=checks("shopify_exports"),
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
