"""The tables of orders of a shop at Shopify: what each column is, said here and nowhere else.

Every value is text as received: money in the shop's currency unless the column says otherwise,
times of UTC. What an order holds belongs to one state of it (`order_id`, `order_updated_at`), and
every state that was seen is kept. People are found by `customer_id` and `order_id`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dmp_assets.platform.cleaning.received import Received, ReceivedColumns

if TYPE_CHECKING:
    from dmp_assets.platform.lake.columns import Category

CUSTOMER, ORDER = "shopify_customer_id", "shopify_order_id"
"""Kinds of identifier by which a person's rows are found, as the privacy topics name people."""


def _text(about: str, personal: "Category | None" = None) -> Received:
    return Received("text", about, personal=personal)


def _amount(about: str) -> Received:
    return Received("amount", about, personal="behaviour")


def _time(about: str) -> Received:
    return Received("time", about, personal="behaviour")


def _count(about: str) -> Received:
    return Received("count", about, personal="behaviour")


def _id(about: str, personal: "Category | None" = "identifier") -> Received:
    return Received("id", about, personal=personal)


_SHOP: ReceivedColumns = {
    "advertiser_id": Received("id", "Whose shop it is.", personal=None, required=True),
    "shop": Received("id", "Domain of the shop.", personal=None, required=True),
}
_ORDER_ID = Received("id", "The order.", personal="identifier", subject=ORDER, required=True)
_STATE: ReceivedColumns = {
    **_SHOP,
    "order_id": _ORDER_ID,
    "order_updated_at": _time("When the order had changed last: which state of it this is."),
}

TABLES: Mapping[str, ReceivedColumns] = {
    "shopify_shops": {
        **_SHOP,
        "shop_name": _text("What the shop is called."),
        "currency": Received("code", "Its currency.", personal=None),
        "timezone": Received("timezone", "The zone that its days are in.", personal=None),
        "plan": _text("Its plan at Shopify."),
    },
    "shopify_orders": {
        **_STATE,
        "order_name": _id("What the shop calls it, e.g. #1001."),
        "customer_id": Received(
            "id", "The customer; null at a counter and where that is not given.",
            personal="identifier", subject=CUSTOMER,
        ),
        "customer_orders": _count("How many orders the customer had made when it was read."),
        "created_at": _time("When it was made."),
        "processed_at": _time("When it counts as sold."),
        "cancelled_at": _time("When it was cancelled."),
        "cancel_reason": _text("Why, in Shopify's words.", "behaviour"),
        "closed_at": _time("When it was closed."),
        "is_test": Received("flag", "Whether nobody paid for it.", personal=None),
        "is_confirmed": Received("flag", "Whether it is confirmed.", personal=None),
        "financial_status": _text("PAID, REFUNDED and the like.", "behaviour"),
        "source_name": _text("Where it was made: web, pos, …"),
        "currency": Received("code", "Currency of the shop.", personal=None),
        "presentment_currency": Received("code", "Currency that was paid in.", personal=None),
        "are_taxes_included": Received("flag", "Whether prices hold the tax.", personal=None),
        "discount_codes": _text("Codes that were redeemed, as JSON.", "behaviour"),
        "tags": _text("What the shop noted on it, as JSON.", "free text"),
        "total": _amount("To be paid when it was placed."),
        "presentment_total": _amount("The same in the currency that was paid in."),
        "subtotal": _amount("Of it for goods, after discounts."),
        "discounts": _amount("Discounts, those of lines too."),
        "shipping": _amount("For shipping."),
        "tax": _amount("Taxes."),
        "refunded": _amount("Paid back so far."),
        "current_total": _amount("The total after edits and returns."),
        "current_subtotal": _amount("For goods after edits and returns."),
        "net_payment": _amount("Received less paid back."),
    },
    "shopify_order_lines": {
        **_STATE,
        "line_id": _id("The line."),
        "variant_id": _id("What was bought; null when it is sold no more.", None),
        "sku": Received("code", "The shop's number of it.", personal=None),
        "quantity": _count("How many were ordered."),
        "current_quantity": _count("How many are left after edits and returns."),
        "is_gift_card": Received("flag", "A gift card: no sale of goods.", personal=None),
        "unit_price": _amount("Price of one before discounts."),
        "discounted_total": _amount("Price of all after the line's discounts."),
    },
    "shopify_transactions": {
        **_STATE,
        "transaction_id": _id("The payment."),
        "kind": _text("SALE, CAPTURE, REFUND and the like.", "behaviour"),
        "status": _text("SUCCESS, FAILURE and the like.", "behaviour"),
        "gateway": _text("By whom it was paid.", "behaviour"),
        "processed_at": _time("When it was paid."),
        "amount": _amount("How much."),
        "fees": _text("What Shopify takes for it, as JSON: amounts with currencies.", "behaviour"),
    },
    "shopify_refunds": {
        **_STATE,
        "refund_id": _id("The refund."),
        "created_at": _time("When it was made: its own day, not that of the order."),
        "refunded": _amount("Paid back in all."),
    },
    "shopify_refund_lines": {
        **_STATE,
        "refund_id": _id("The refund."),
        "refund_line_id": _id("The part of it."),
        "kind": _text("line: of goods; adjustment: of none (goodwill, shipping)."),
        "line_id": _id("The line of the order; null of an adjustment."),
        "quantity": _count("How many came back; null of an adjustment."),
        "cause": _text("How goods were put back, or what an adjustment is for.", "behaviour"),
        "amount": _amount("Of it without tax."),
        "tax": _amount("Tax of it."),
    },
    "shopify_journeys": {
        **_STATE,
        "is_ready": Received("flag", "Whether Shopify has attributed it.", personal=None),
        "order_index": _count("The how manieth order of the customer it is."),
        "days_to_conversion": _count("Days from the first visit."),
        **{
            f"{place}_{name}": column
            for place in ("first", "last")
            for name, column in {
                "visit_at": _time(f"When the {place} visit was."),
                "source": _text(f"Where the {place} visit came from.", "behaviour"),
                "source_type": _text("What that is: SEO and the like.", "behaviour"),
                "landing_page": _text("The page that it began on.", "free text"),
                "referrer_url": _text("The page before.", "free text"),
                "utm_source": _text("utm_source of it.", "behaviour"),
                "utm_medium": _text("utm_medium of it.", "behaviour"),
                "utm_campaign": _text("utm_campaign of it.", "behaviour"),
                "utm_content": _text("utm_content of it.", "behaviour"),
                "utm_term": _text("utm_term of it.", "free text"),
            }.items()
        },
    },
    "shopify_deleted_orders": {
        **_SHOP,
        "order_id": _ORDER_ID,
        "found_at": Received("time", "When that was found.", personal=None),
    },
    "shopify_variants": {
        **_SHOP,
        "variant_id": _id("What is sold.", None),
        "product_id": _id("The product that it is one of.", None),
        "sku": Received("code", "The shop's number of it.", personal=None),
        "title": _text("What the variant is called."),
        "product_title": _text("What the product is called."),
        "product_type": _text("Of which type it is."),
        "vendor": _text("By whom it is made."),
        "status": _text("ACTIVE, ARCHIVED and the like."),
        "price": Received("amount", "What it is sold for.", personal=None),
        "unit_cost": Received("amount", "What one costs the shop; null: unknown.", personal=None),
        "unit_cost_currency": Received("code", "Currency of that.", personal=None),
        "created_at": Received("time", "Since when it is there.", personal=None),
        "updated_at": Received("time", "When it changed; not when its cost did.", personal=None),
    },
}  # fmt: skip
"""Table below raw/ → its columns."""
