"""Keys of the tables of Shopify, as received and cleaned, for who reads them."""

from dmp_assets.platform.faces.domain import Source
from dmp_assets.sources.shopify.tables import TABLES as RECEIVED

TABLES = (
    *RECEIVED, "orders", "order_lines", "order_payments", "order_refunds", "order_refund_lines",
    "order_journeys", "product_variants",
)  # fmt: skip
SOURCE = Source("shopify", TABLES, {"cleaned/orders": "processed_at"})
