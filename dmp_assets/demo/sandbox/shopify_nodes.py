"""Rows of the sandbox's Shopify as the objects of its GraphQL schema."""

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from dmp_assets.demo.sandbox.shopify_world import Row, World

Node = dict[str, Any]


class Listed(list[Node]):
    """What a connection lists."""


def gid(kind: str, number: int) -> str:
    """Shopify's global id."""
    return f"gid://shopify/{kind}/{number}"


def number_of(global_id: str, kind: str) -> int | None:
    """The number in a global id of this kind; None for any other text."""
    begin, _, number = global_id.rpartition("/")
    return int(number) if begin == f"gid://shopify/{kind}" and number.isdecimal() else None


def _money(amount: str, currency: str) -> Node:
    return {"amount": str(Decimal(amount)), "currencyCode": currency}


class Nodes:
    """The objects of one shop. `ready`: whether journeys are attributed, None: by their time."""

    def __init__(self, world: World, shop: Row, now: str, ready: bool | None = None) -> None:
        self._world, self.shop, self._now, self._ready = world, shop, now, ready
        self._known: dict[int, Node] = {}

    def shop_node(self) -> Node:
        shop = self.shop
        return {
            "__typename": "Shop",
            "id": gid("Shop", shop["shop_id"]),
            "name": shop["name"],
            "myshopifyDomain": shop["shop"],
            "currencyCode": shop["currency"],
            "ianaTimezone": shop["timezone"],
            "plan": {"publicDisplayName": shop["plan"]},
        }

    # products ------------------------------------------------------------------------------------
    def variants(self, rows: Sequence[Row]) -> list[Node]:
        products = self._world.of("product", "product_id", sorted({r["product_id"] for r in rows}))
        return [self._variant(row, products[row["product_id"]][0]) for row in rows]

    def _variant(self, row: Row, product: Row) -> Node:
        cost = row["unit_cost"]
        return {
            "__typename": "ProductVariant",
            "id": gid("ProductVariant", row["variant_id"]),
            "sku": row["sku"],
            "title": row["title"],
            "price": row["price"],
            "createdAt": row["created_at"],
            "updatedAt": row["updated_at"],
            "inventoryItem": {
                "id": gid("InventoryItem", row["inventory_item_id"]),
                "unitCost": None if cost is None else _money(cost, self.shop["currency"]),
            },
            "product": {
                "__typename": "Product",
                "id": gid("Product", product["product_id"]),
                "title": product["title"],
                "productType": product["product_type"] or "",
                "vendor": product["vendor"] or "",
                "status": product["status"],
                "createdAt": product["created_at"],
                "updatedAt": product["updated_at"],
            },
        }

    # orders --------------------------------------------------------------------------------------
    def orders(self, rows: Sequence[Row]) -> list[Node]:
        ids = [row["order_id"] for row in rows]
        of = {
            table: self._world.of(table, "order_id", ids)
            for table in ("order_line", "order_transaction", "refund", "journey", "visit")
        }
        self._know(line["variant_id"] for lines in of["order_line"].values() for line in lines)
        refunds = [one["refund_id"] for found in of["refund"].values() for one in found]
        of_refunds = {
            table: self._world.of(table, "refund_id", refunds)
            for table in ("refund_line", "refund_adjustment")
        }
        return [
            self._order(
                row,
                {table: found.get(row["order_id"], []) for table, found in of.items()},
                of_refunds,
            )
            for row in rows
        ]

    def _know(self, ids: Iterable[int | None]) -> None:
        """Look up the variants of lines, each once."""
        new = sorted({one for one in ids if one is not None} - self._known.keys())
        found = self._world.of("variant", "variant_id", new)
        rows = [row for rows in found.values() for row in rows]
        self._known |= dict(zip(found, self.variants(rows), strict=True))

    def _order(
        self, row: Row, own: dict[str, list[Row]], of_refunds: dict[str, dict[int, list[Row]]]
    ) -> Node:
        refunded = sum((Decimal(one["total"]) for one in own["refund"]), Decimal(0))
        received = sum(
            Decimal(one["amount"])
            for one in own["order_transaction"]
            if one["status"] == "SUCCESS" and one["kind"] in ("SALE", "CAPTURE")
        )
        bag = self._bag_of(row)
        return {
            "__typename": "Order",
            "id": gid("Order", row["order_id"]),
            "legacyResourceId": str(row["order_id"]),
            "name": row["name"],
            "createdAt": row["created_at"],
            "processedAt": row["processed_at"],
            "updatedAt": row["updated_at"],
            "cancelledAt": row["cancelled_at"],
            "cancelReason": row["cancel_reason"],
            "closedAt": row["closed_at"],
            "test": bool(row["test"]),
            "confirmed": bool(row["confirmed"]),
            "displayFinancialStatus": row["financial_status"],
            "sourceName": row["source_name"],
            "currencyCode": self.shop["currency"],
            "presentmentCurrencyCode": row["presentment_currency"] or self.shop["currency"],
            "taxesIncluded": bool(row["taxes_included"]),
            "discountCodes": json.loads(row["discount_codes"]),
            "tags": json.loads(row["tags"]),
            "totalPriceSet": bag(row["total"]),
            "subtotalPriceSet": bag(row["subtotal"]),
            "totalDiscountsSet": bag(row["discounts"]),
            "totalShippingPriceSet": bag(row["shipping"]),
            "totalTaxSet": bag(row["tax"]),
            "totalRefundedSet": bag(str(refunded)),
            "currentTotalPriceSet": bag(row["current_total"] or row["total"]),
            "currentSubtotalPriceSet": bag(row["current_subtotal"] or row["subtotal"]),
            "netPaymentSet": bag(str(received - refunded)),
            "customer": self._customer(row),
            "lineItems": Listed(self._line(line, bag) for line in own["order_line"]),
            "transactions": [self._transaction(one, bag) for one in own["order_transaction"]],
            "refunds": [self._refund(one, of_refunds, bag) for one in own["refund"]],
            "customerJourneySummary": self._journey(own["journey"], own["visit"]),
        }

    def _bag_of(self, row: Row) -> Any:
        own, theirs = self.shop["currency"], row["presentment_currency"]
        rate = Decimal(row["presentment_rate"])

        def bag(amount: str) -> Node:
            shown = amount if theirs in (None, own) else str(round(Decimal(amount) * rate, 2))
            return {
                "shopMoney": _money(amount, own),
                "presentmentMoney": _money(shown, theirs or own),
            }

        return bag

    def _customer(self, row: Row) -> Node | None:
        if row["customer_id"] is None:
            return None
        return {
            "__typename": "Customer",
            "id": gid("Customer", row["customer_id"]),
            "numberOfOrders": str(row["customer_orders"] or 1),
        }

    def _line(self, row: Row, bag: Any) -> Node:
        now = row["current_quantity"]
        return {
            "__typename": "LineItem",
            "id": gid("LineItem", row["line_id"]),
            "sku": row["sku"],
            "quantity": row["quantity"],
            "currentQuantity": row["quantity"] if now is None else now,
            "isGiftCard": bool(row["gift_card"]),
            "originalUnitPriceSet": bag(row["unit_price"]),
            "discountedTotalSet": bag(row["discounted_total"]),
            "variant": self._known.get(row["variant_id"]),
        }

    def _transaction(self, row: Row, bag: Any) -> Node:
        fee = row["fee"]
        return {
            "__typename": "OrderTransaction",
            "id": gid("OrderTransaction", row["transaction_id"]),
            "kind": row["kind"],
            "status": row["status"],
            "gateway": row["gateway"],
            "processedAt": row["processed_at"],
            "amountSet": bag(row["amount"]),
            "fees": [] if fee is None else [{"amount": _money(fee, self.shop["currency"])}],
        }

    def _refund(self, row: Row, of: dict[str, dict[int, list[Row]]], bag: Any) -> Node:
        lines = of["refund_line"].get(row["refund_id"], [])
        adjustments = of["refund_adjustment"].get(row["refund_id"], [])
        return {
            "__typename": "Refund",
            "id": gid("Refund", row["refund_id"]),
            "createdAt": row["created_at"],
            "totalRefundedSet": bag(row["total"]),
            "refundLineItems": Listed(
                {
                    "id": gid("RefundLineItem", line["refund_line_id"]),
                    "quantity": line["quantity"],
                    "restockType": line["restock_type"],
                    "subtotalSet": bag(line["subtotal"]),
                    "totalTaxSet": bag(line["tax"]),
                    "lineItem": {"id": gid("LineItem", line["line_id"])},
                }
                for line in lines
            ),
            "orderAdjustments": Listed(
                {
                    "id": gid("OrderAdjustment", one["adjustment_id"]),
                    "reason": one["reason"],
                    "amountSet": bag(one["amount"]),
                    "taxAmountSet": bag(one["tax"]),
                }
                for one in adjustments
            ),
        }

    def _journey(self, found: list[Row], visits: list[Row]) -> Node | None:
        if not found:
            return None
        journey = found[0]
        ready = journey["ready_at"] <= self._now if self._ready is None else self._ready
        if not ready:
            return {
                "ready": False,
                "customerOrderIndex": None,
                "daysToConversion": None,
                "firstVisit": None,
                "lastVisit": None,
            }
        by_place = {visit["place"]: self._visit(visit) for visit in visits}
        return {
            "ready": True,
            "customerOrderIndex": journey["order_index"],
            "daysToConversion": journey["days_to_conversion"],
            "firstVisit": by_place.get("first"),
            "lastVisit": by_place.get("last"),
        }

    def _visit(self, row: Row) -> Node:
        names = ("source", "medium", "campaign", "content", "term")
        told = {name: row[f"utm_{name}"] for name in names}
        return {
            "occurredAt": row["occurred_at"],
            "source": row["source"],
            "sourceType": row["source_type"],
            "landingPage": row["landing_page"],
            "referrerUrl": row["referrer_url"],
            "utmParameters": told if any(told.values()) else None,
        }
