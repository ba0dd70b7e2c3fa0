"""cleaned/shopify_*: orders and what hangs on them, as they stand now.

Grain: an order, a line, a payment, a refund, a returned line, a journey; a variant of a product.
Sources: raw/shopify_*, cleaned/shopify_exports. Of an order that raw has in several states the last
one is taken, with all that belongs to that state. Orders that only files tell of are as those have
them. A value that cannot be read puts its row into quarantine.
"""

from collections.abc import Mapping, Sequence

import dagster as dg

from dmp_assets.cleaned.shopify.shopify_exports import LINES, ORDERS, REFUNDS
from dmp_assets.platform.cleaning import machine_values
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import TableRun, table_asset
from dmp_assets.sources.shopify.tables import TABLES

ORDER = ("advertiser_id", "shop", "order_id")
_LATEST = """
SELECT * FROM raw.shopify_orders QUALIFY row_number() OVER (
  PARTITION BY advertiser_id, shop, order_id ORDER BY _row_id DESC
) = 1
"""
_FURTHER = {
    "timezone": (Column("string", "Time zone of the shop; UTC where it is not known."), "zone"),
    "sold_on": (
        Column("date", "Day of the sale in the shop's time zone.", "behaviour"),
        "timezone(zone, processed_at)::DATE",
    ),
    "conversion_id": (
        Column(
            "string", "The web's conversion that it is, by the tag that names it.", "identifier",
            "conv_id",
        ),
        "conversion",
    ),
    "is_deleted": (
        Column("boolean", "The shop has deleted it; it is as it was last seen."), "deleted",
    ),
}  # fmt: skip
TAG = "conversion:"
"""What begins the tag of an order by which a shop tells which conversion of the web it is."""


def _columns(table: str, further: Mapping[str, Column]) -> dict[str, Column]:
    return {**machine_values.read_columns(TABLES[table]), **further}


@table_asset(
    "cleaned",
    deps=[
        "raw/shopify_orders",
        "raw/shopify_deleted_orders",
        "raw/shopify_shops",
        "cleaned/shopify_exports",
    ],
    columns=_columns("shopify_orders", {name: one for name, (one, _) in _FURTHER.items()}),
    key=ORDER,
    also={
        "quarantine/shopify_orders": machine_values.quarantine_columns(TABLES["shopify_orders"], {})
    },
    owner="team:marketing",
    kinds=("duckdb", "delta"),
)
def shopify_orders(run: TableRun) -> None:
    """Orders as they stand now, test orders and cancelled ones among them.

    Grain: an order. Key: advertiser_id, shop, order_id. Sources: raw/shopify_orders,
    raw/shopify_deleted_orders, raw/shopify_shops, cleaned/shopify_exports.
    """
    latest = f"""
        SELECT o.* EXCLUDE (zone), coalesce(o.zone, s.timezone, 'UTC') AS zone,
          d.order_id IS NOT NULL AS deleted,
          substr(list_filter(
            from_json(TRY_CAST(o.tags AS JSON), '["VARCHAR"]'),
            lambda tag: starts_with(tag, '{TAG}')
          )[1], {len(TAG) + 1}) AS conversion
        FROM (({_LATEST}) UNION ALL BY NAME ({ORDERS})) o
        LEFT JOIN (
          SELECT * FROM raw.shopify_shops QUALIFY row_number() OVER (
            PARTITION BY advertiser_id, shop ORDER BY _row_id DESC) = 1
        ) s USING (advertiser_id, shop)
        LEFT JOIN (SELECT DISTINCT advertiser_id, shop, order_id FROM raw.shopify_deleted_orders) d
          USING (advertiser_id, shop, order_id)
    """
    own = ("zone", "deleted", "conversion")
    further = {name: sql for name, (_, sql) in _FURTHER.items()}
    machine_values.write(run, latest, TABLES["shopify_orders"], own, ", ".join(ORDER), further)


def _part(
    table: str, own_id: Sequence[str], what: str, files: str | None = None
) -> dg.AssetsDefinition:
    """A table of what hangs on orders; `files`: SQL of what files tell of it."""
    key = (*ORDER, *own_id)
    deps = [f"raw/{table}", "raw/shopify_orders"]
    if files is not None:
        deps.append("cleaned/shopify_exports")

    def part(run: TableRun) -> None:
        latest = f"""
            SELECT p.* FROM raw.{table} p
            JOIN ({_LATEST}) o USING (advertiser_id, shop, order_id, order_updated_at)
            QUALIFY row_number() OVER (
              PARTITION BY {", ".join(f"p.{one}" for one in key)} ORDER BY p._row_id DESC
            ) = 1
        """
        if files is not None:
            latest = f"({latest}) UNION ALL BY NAME ({files})"
        machine_values.write(run, latest, TABLES[table], (), ", ".join(key))

    part.__name__ = table
    part.__doc__ = (
        f"{what} of orders as they stand now.\n\n"
        f"Grain: one of them. Key: {', '.join(key)}. Sources: {', '.join(deps)}."
    )
    return table_asset(
        "cleaned",
        deps=deps,
        columns=_columns(table, {}),
        key=key,
        also={f"quarantine/{table}": machine_values.quarantine_columns(TABLES[table], {})},
        owner="team:marketing",
        kinds=("duckdb", "delta"),
    )(part)


shopify_order_lines = _part("shopify_order_lines", ["line_id"], "Lines", LINES)
shopify_transactions = _part("shopify_transactions", ["transaction_id"], "Payments")
shopify_refunds = _part("shopify_refunds", ["refund_id"], "Refunds", REFUNDS)
shopify_refund_lines = _part(
    "shopify_refund_lines", ["refund_id", "refund_line_id"], "Returned lines"
)
shopify_journeys = _part("shopify_journeys", [], "First and last visits before")


@table_asset(
    "cleaned",
    deps=["raw/shopify_variants"],
    columns=_columns("shopify_variants", {}),
    key=("advertiser_id", "shop", "variant_id"),
    also={
        "quarantine/shopify_variants": machine_values.quarantine_columns(
            TABLES["shopify_variants"], {}
        )
    },
    owner="team:marketing",
    kinds=("duckdb", "delta"),
)
def shopify_variants(run: TableRun) -> None:
    """What shops sell and what a unit costs them, as it is now.

    Grain: a variant of a product. Key: advertiser_id, shop, variant_id. Source:
    raw/shopify_variants.
    """
    latest = """
        SELECT * FROM raw.shopify_variants QUALIFY row_number() OVER (
          PARTITION BY advertiser_id, shop, variant_id ORDER BY _row_id DESC
        ) = 1
    """
    machine_values.write(
        run, latest, TABLES["shopify_variants"], (), "advertiser_id, shop, variant_id"
    )
