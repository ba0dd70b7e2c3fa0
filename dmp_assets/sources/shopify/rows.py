"""What Shopify answers, as rows of the received tables: text, one row a thing."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dmp_assets.platform.connect.errors import UnreadableAnswerError
from dmp_assets.sources.shopify.graphql import Node
from dmp_assets.sources.shopify.orders import written
from dmp_assets.sources.shopify.tables import TABLES

Row = dict[str, str | None]
_UTM = ("source", "medium", "campaign", "content", "term")


def number_of(global_id: Any) -> str | None:
    """The number in a global id, as text; None for none. Raises UnreadableAnswerError."""
    if global_id is None:
        return None
    number = str(global_id).partition("?")[0].rpartition("/")[2]
    if not number.isdecimal():
        raise UnreadableAnswerError("an id of Shopify's cannot be read")
    return number


def state_of(row: Mapping[str, str | None]) -> str:
    """A hash of all that was received of a row: the same again is the same state."""
    return hashlib.sha256(json.dumps(list(row.items())).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Rows:
    """Makes the rows of one shop. Each gives (table, row).

    Raises UnreadableAnswerError for what lacks a part that every order has.
    """

    advertiser_id: str
    shop: str

    def of_shop(self, shop: Node) -> tuple[str, Row]:
        """The shop itself."""
        return "shopify_shops", _whole("shopify_shops", {
            **self._own(),
            "shop_name": _text(shop.get("name")),
            "currency": _text(shop.get("currencyCode")),
            "timezone": _text(shop.get("ianaTimezone")),
            "plan": _text((shop.get("plan") or {}).get("publicDisplayName")),
        })  # fmt: skip

    def of_order(self, order: Node) -> Iterator[tuple[str, Row]]:
        """An order with its lines, payments, refunds (without their lines) and its journey."""
        state = self._state(order)
        yield "shopify_orders", self._order(order, state)
        for line in order["lineItems"]:
            yield "shopify_order_lines", _whole("shopify_order_lines", state | {
                "line_id": number_of(line["id"]),
                "variant_id": number_of((line.get("variant") or {}).get("id")),
                "sku": _text(line.get("sku")),
                "quantity": _text(line.get("quantity")),
                "current_quantity": _text(line.get("currentQuantity")),
                "is_gift_card": _text(line.get("isGiftCard")),
                "unit_price": _money(line.get("originalUnitPriceSet")),
                "discounted_total": _money(line.get("discountedTotalSet")),
            })  # fmt: skip
        for paid in order.get("transactions") or ():
            fees = [fee["amount"] for fee in paid.get("fees") or ()]
            yield "shopify_transactions", _whole("shopify_transactions", state | {
                "transaction_id": number_of(paid["id"]),
                "kind": _text(paid.get("kind")),
                "status": _text(paid.get("status")),
                "gateway": _text(paid.get("gateway")),
                "processed_at": _text(paid.get("processedAt")),
                "amount": _money(paid.get("amountSet")),
                "fees": _text(fees),
            })  # fmt: skip
        for refund in order.get("refunds") or ():
            yield "shopify_refunds", self._refund(refund, state)
        if order.get("customerJourneySummary") is not None:
            yield from self.of_journey(order)

    def of_refund(self, refund: Node, order: Node) -> Iterator[tuple[str, Row]]:
        """The lines and adjustments of a refund, of that state of its order."""
        own = self._state(order) | {"refund_id": number_of(refund["id"])}
        for line in refund["refundLineItems"]:
            yield "shopify_refund_lines", _whole("shopify_refund_lines", own | {
                "refund_line_id": number_of(line.get("id") or line["lineItem"]["id"]),
                "kind": "line",
                "line_id": number_of(line["lineItem"]["id"]),
                "quantity": _text(line.get("quantity")),
                "cause": _text(line.get("restockType")),
                "amount": _money(line.get("subtotalSet")),
                "tax": _money(line.get("totalTaxSet")),
            })  # fmt: skip
        for one in refund["orderAdjustments"]:
            yield "shopify_refund_lines", _whole("shopify_refund_lines", own | {
                "refund_line_id": number_of(one["id"]),
                "kind": "adjustment",
                "line_id": None,
                "quantity": None,
                "cause": _text(one.get("reason")),
                "amount": _money(one.get("amountSet")),
                "tax": _money(one.get("taxAmountSet")),
            })  # fmt: skip

    def of_journey(self, order: Node) -> Iterator[tuple[str, Row]]:
        """What Shopify knows of the visits before an order."""
        summary = order.get("customerJourneySummary")
        if summary is None:
            return
        row = self._state(order) | {
            "is_ready": _text(summary.get("ready")),
            "order_index": _text(summary.get("customerOrderIndex")),
            "days_to_conversion": _text(summary.get("daysToConversion")),
        }
        for place in ("first", "last"):
            visit = summary.get(f"{place}Visit") or {}
            utm = visit.get("utmParameters") or {}
            row |= {
                f"{place}_visit_at": _text(visit.get("occurredAt")),
                f"{place}_source": _text(visit.get("source")),
                f"{place}_source_type": _text(visit.get("sourceType")),
                f"{place}_landing_page": _text(visit.get("landingPage")),
                f"{place}_referrer_url": _text(visit.get("referrerUrl")),
            }
            row |= {f"{place}_utm_{name}": _text(utm.get(name)) for name in _UTM}
        yield "shopify_journeys", _whole("shopify_journeys", row)

    def of_deleted(self, order_id: str, found_at: datetime) -> tuple[str, Row]:
        """An order that is there no more."""
        return "shopify_deleted_orders", _whole("shopify_deleted_orders", {
            **self._own(), "order_id": number_of(order_id), "found_at": written(found_at),
        })  # fmt: skip

    def of_variant(self, variant: Node) -> Row:
        """A variant of a product and what it costs."""
        product = variant.get("product") or {}
        cost = (variant.get("inventoryItem") or {}).get("unitCost") or {}
        return _whole("shopify_variants", {
            **self._own(),
            "variant_id": number_of(variant["id"]),
            "product_id": number_of(product.get("id")),
            "sku": _text(variant.get("sku")),
            "title": _text(variant.get("title")),
            "product_title": _text(product.get("title")),
            "product_type": _text(product.get("productType")),
            "vendor": _text(product.get("vendor")),
            "status": _text(product.get("status")),
            "price": _text(variant.get("price")),
            "unit_cost": _text(cost.get("amount")),
            "unit_cost_currency": _text(cost.get("currencyCode")),
            "created_at": _text(variant.get("createdAt")),
            "updated_at": _text(variant.get("updatedAt")),
        })  # fmt: skip

    def _own(self) -> Row:
        return {"advertiser_id": self.advertiser_id, "shop": self.shop}

    def _state(self, order: Node) -> Row:
        try:
            return {
                **self._own(),
                "order_id": number_of(order["id"]),
                "order_updated_at": str(order["updatedAt"]),
            }
        except KeyError:
            raise UnreadableAnswerError(f"{self.shop}: an order lacks its id or its time") from None

    def _order(self, order: Node, state: Row) -> Row:
        customer = order.get("customer") or {}
        total = order.get("totalPriceSet") or {}
        return _whole("shopify_orders", state | {
            "order_name": _text(order.get("name")),
            "customer_id": number_of(customer.get("id")),
            "customer_orders": _text(customer.get("numberOfOrders")),
            "created_at": _text(order.get("createdAt")),
            "processed_at": _text(order.get("processedAt")),
            "cancelled_at": _text(order.get("cancelledAt")),
            "cancel_reason": _text(order.get("cancelReason")),
            "closed_at": _text(order.get("closedAt")),
            "is_test": _text(order.get("test")),
            "is_confirmed": _text(order.get("confirmed")),
            "financial_status": _text(order.get("displayFinancialStatus")),
            "source_name": _text(order.get("sourceName")),
            "currency": _text(order.get("currencyCode")),
            "presentment_currency": _text(order.get("presentmentCurrencyCode")),
            "are_taxes_included": _text(order.get("taxesIncluded")),
            "discount_codes": _text(order.get("discountCodes") or []),
            "tags": _text(order.get("tags") or []),
            "total": _money(total),
            "presentment_total": _money(total, "presentmentMoney"),
            "subtotal": _money(order.get("subtotalPriceSet")),
            "discounts": _money(order.get("totalDiscountsSet")),
            "shipping": _money(order.get("totalShippingPriceSet")),
            "tax": _money(order.get("totalTaxSet")),
            "refunded": _money(order.get("totalRefundedSet")),
            "current_total": _money(order.get("currentTotalPriceSet")),
            "current_subtotal": _money(order.get("currentSubtotalPriceSet")),
            "net_payment": _money(order.get("netPaymentSet")),
        })  # fmt: skip

    def _refund(self, refund: Node, state: Row) -> Row:
        return _whole("shopify_refunds", state | {
            "refund_id": number_of(refund["id"]),
            "created_at": _text(refund.get("createdAt")),
            "refunded": _money(refund.get("totalRefundedSet")),
        })  # fmt: skip


def _whole(table: str, row: Row) -> Row:
    """The row in the order of its table's columns."""
    return {name: row[name] for name in TABLES[table]}


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _money(bag: Any, kind: str = "shopMoney") -> str | None:
    """An amount as Shopify writes it, in text."""
    money = bag.get(kind) if isinstance(bag, dict) else None
    return _text(money.get("amount")) if isinstance(money, dict) else None
