"""Shopify's export of orders: what its columns are called, and what they are.

An order is a line for each thing that was bought; what is of the order stands on its first line
alone. Its columns are in English wherever the shop is. Of its buyer nothing is taken but the
address of e-mail, and that as a keyed hash, by which two orders of one customer are known.
"""

from typing import TYPE_CHECKING

from dmp_assets.platform.cleaning.received import Kind, Received, ReceivedColumns
from dmp_assets.sources.exports.columns import Export
from dmp_assets.sources.shopify.tables import CUSTOMER, ORDER

if TYPE_CHECKING:
    from dmp_assets.platform.lake.columns import Category

CUSTOMER_COLUMN = "customer_id"


def _of(kind: Kind, about: str, personal: "Category | None" = "behaviour") -> Received:
    return Received(kind, about, personal=personal)


COLUMNS: ReceivedColumns = {
    "order_id": Received("id", "Shopify's own number of it.", personal="identifier", subject=ORDER),
    "order_name": _of("id", "What the shop calls the order, e.g. #1001.", "identifier"),
    CUSTOMER_COLUMN: Received(
        "id", "Keyed hash of the buyer's address of e-mail.", personal="identifier",
        subject=CUSTOMER,
    ),
    "financial_status": _of("text", "paid, refunded and the like."),
    "created_at": _of("time", "When it was made."),
    "cancelled_at": _of("time", "When it was cancelled."),
    "currency": Received("code", "Currency of the shop.", personal=None),
    "subtotal": _of("amount", "Goods after discounts."),
    "shipping": _of("amount", "What sending was charged with."),
    "taxes": _of("amount", "Tax."),
    "total": _of("amount", "What was to be paid."),
    "discount_code": _of("text", "Code that was redeemed."),
    "discount_amount": _of("amount", "Discounts in all."),
    "refunded_amount": _of("amount", "Paid back in all."),
    "payment_method": _of("text", "By whom it was paid."),
    "source": _of("text", "Where it was made: web, pos and the like.", None),
    "tags": _of("text", "What the shop noted on it.", "free text"),
    "line_quantity": _of("count", "How many were ordered."),
    "line_name": _of("text", "What was bought.", None),
    "line_price": _of("amount", "Price of one before discounts."),
    "line_sku": Received("code", "The shop's number of it.", personal=None),
    "line_discount": _of("amount", "The line's own discount."),
}  # fmt: skip
OF_ORDER = tuple(name for name in COLUMNS if not name.startswith("line_"))
"""What stands on the first line of an order alone."""
HEADERS = {
    "order_id": ("Id",),
    "order_name": ("Name",),
    CUSTOMER_COLUMN: ("Email",),
    "financial_status": ("Financial Status",),
    "created_at": ("Created at",),
    "cancelled_at": ("Cancelled at",),
    "currency": ("Currency",),
    "subtotal": ("Subtotal",),
    "shipping": ("Shipping",),
    "taxes": ("Taxes",),
    "total": ("Total",),
    "discount_code": ("Discount Code",),
    "discount_amount": ("Discount Amount",),
    "refunded_amount": ("Refunded Amount",),
    "payment_method": ("Payment Method",),
    "source": ("Source",),
    "tags": ("Tags",),
    "line_quantity": ("Lineitem quantity",),
    "line_name": ("Lineitem name",),
    "line_price": ("Lineitem price",),
    "line_sku": ("Lineitem sku",),
    "line_discount": ("Lineitem discount",),
}
SHOPIFY = Export(
    kind="shopify",
    table="shopify_exports",
    columns=COLUMNS,
    headers=HEADERS,
    needs=tuple(
        (name,)
        for name in ("order_name", "created_at", "total", "line_quantity", "line_price", "currency")
    ),
    title="Shopify's orders",
)
