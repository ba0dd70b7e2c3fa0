"""The purchases of the simulated business as orders of a Shopify shop, with what comes of them."""

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from dmp_assets.demo.business import ads_world
from dmp_assets.demo.business.ads_trade import Purchase, Trade, Visit, money
from dmp_assets.demo.business.ads_world import Advertiser
from dmp_assets.demo.business.shop_text import DAY, Rng
from dmp_assets.demo.sandbox.shopify_world import text_of

Row = dict[str, Any]
_SOURCES = {
    "meta_social": ("facebook", "facebook", ads_world.MEDIUM),
    "google_brand": ("google", "google", "cpc"),
    "google_nonbrand": ("google", "google", "cpc"),
    "google_shopping": ("google", "google", "shopping"),
    "display_prospecting": ("display", "adnetwork", "display"),
    "display_retargeting": ("display", "adnetwork", "retargeting"),
    "affiliate_coupon": ("affiliate", "affiliate", "affiliate"),
    "email_newsletter": ("email", "newsletter", "email"),
    "organic_search": ("google", None, None),
    "referral": ("referral", None, None),
    "direct": ("direct", None, None),
}
"""A channel of the web → source, utm_source and utm_medium of its visits as Shopify tells them."""
_WINDOW = 30 * DAY
_EVERY = 1_000_000
"""Ids of a shop begin with a million of its own."""


@dataclass(frozen=True)
class Line:
    """A line of an order. Amounts are hundredths of the shop's currency."""

    line_id: int
    good: int
    quantity: int
    total: int


@dataclass(frozen=True)
class Refund:
    """Money that went back: for these lines, or for none of them."""

    at: int
    cents: int
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Order:
    """An order as it stands at the end. `purchase`: of the web's; none for a test order."""

    order_id: int
    number: int
    purchase: Purchase | None
    at: int
    lines: tuple[Line, ...]
    shipping: int
    code: str | None
    percent: int
    refunds: tuple[Refund, ...]
    cancelled_at: int | None
    customer: int | None
    customer_orders: int

    @property
    def goods(self) -> int:
        """Hundredths of all lines, discounts off, tax included."""
        return sum(line.total for line in self.lines)

    @property
    def total(self) -> int:
        """Hundredths of the whole order, as placed."""
        return self.goods + self.shipping

    @property
    def is_test(self) -> bool:
        return self.purchase is None


def orders(rng: Rng, trade: Trade) -> list[Order]:
    """Every order of the trade, in order of time, test orders among them."""
    tests = rng.poisson(len(trade.purchases) * ads_world.TESTS) + 1
    moments: list[tuple[int, Purchase | None]] = [(one.at, one) for one in trade.purchases]
    moments += [(int(at), None) for at in rng.integers(trade.starts, trade.ends, tests)]
    moments.sort(key=lambda one: one[0])
    known: Counter[int] = Counter()
    made = []
    for number, (at, purchase) in enumerate(moments):
        if purchase is not None:
            known[purchase.person] += 1
        made.append(_order(rng, trade, number, at, purchase, known))
    return made


def _order(
    rng: Rng, trade: Trade, number: int, at: int, purchase: Purchase | None, known: Counter[int]
) -> Order:
    shop = trade.advertiser
    cents = 100 if purchase is None else max(100, round(purchase.cents * shop.rate))
    shipping = 0
    if 800 < cents < ads_world.FREE_FROM * 100:
        shipping = round(ads_world.SHIPPING * 100)
    order_id = shop.shop_id * _EVERY + number
    lines = _lines(rng, order_id, cents - shipping)
    has_code = purchase is not None and rng.random() < ads_world.WITH_CODE
    code = ads_world.CODES[int(rng.integers(len(ads_world.CODES)))] if has_code else None
    percent = int("".join(filter(str.isdigit, code))) if code else 0
    cancelled_at, refunds = _comes_back(rng, at, trade.ends, lines, shipping, purchase is not None)
    person = purchase.person if purchase else None
    return Order(
        order_id, ads_world.FIRST_ORDER + number, purchase, at, lines, shipping, code, percent,
        refunds, cancelled_at, person, known[person] if person is not None else 0,
    )  # fmt: skip


def _lines(rng: Rng, order_id: int, cents: int) -> tuple[Line, ...]:
    """One to three goods whose prices are near to what was paid for them."""
    count = 1 + int(rng.random() < 0.35) + int(rng.random() < 0.1)
    edges = np.sort(rng.integers(0, cents + 1, count - 1))
    parts = [part for part in np.diff(np.r_[0, edges, cents]).tolist() if part >= 100] or [cents]
    parts[-1] += cents - sum(parts)
    prices = np.log([good[2] for good in ads_world.GOODS])
    lines = []
    for place, part in enumerate(parts):
        offered = rng.integers(len(prices), size=4)
        near = offered[np.argmin(np.abs(prices[offered] - np.log(max(part, 1) / 100)))]
        quantity = max(1, round(part / 100 / ads_world.GOODS[near][2]))
        lines.append(Line(order_id * 10 + place, int(near), quantity, part))
    return tuple(lines)


def _comes_back(
    rng: Rng, at: int, ends: int, lines: tuple[Line, ...], shipping: int, is_real: bool
) -> tuple[int | None, tuple[Refund, ...]]:
    """When the order was cancelled, and its refunds, as far as they have happened by then."""
    total = sum(line.total for line in lines) + shipping
    drawn, moment = rng.random(), rng.random()
    if not is_real:
        return None, ()
    if drawn < ads_world.CANCELLED:
        when = at + 3_600 + int(moment * 20 * 3_600)
        return (when, (Refund(when, total, lines),)) if when < ends else (None, ())
    if drawn < ads_world.CANCELLED + ads_world.REFUNDED:
        when = at + int((3 + 30 * moment) * DAY)
        if when >= ends:
            return None, ()
        kind = rng.random()
        if kind < ads_world.GOODWILL:
            return None, (Refund(when, max(1, total // 5), ()),)
        if kind < ads_world.GOODWILL + ads_world.PARTLY and len(lines) > 1:
            return None, (Refund(when, lines[0].total, lines[:1]),)
        return None, (Refund(when, total - shipping, lines),)
    return None, ()


# rows -------------------------------------------------------------------------------------------
def rows(shop: Advertiser, placed: list[Order]) -> dict[str, list[Row]]:
    """The rows of the shop, its goods and these orders, by table of `shopify_world`."""
    found: dict[str, list[Row]] = {
        "shop": [{
            "shop": shop.shop, "advertiser_id": shop.advertiser_id, "shop_id": shop.shop_id,
            "name": shop.name,
            "currency": shop.currency, "timezone": shop.shop_zone, "plan": "Plus",
        }],
        **_goods(shop, min((order.at for order in placed), default=0)),
    }  # fmt: skip
    for order in placed:
        for table, row in _rows_of(shop, order):
            found.setdefault(table, []).append(row)
    return found


def _goods(shop: Advertiser, at: int) -> dict[str, list[Row]]:
    made = _time(at - 100 * DAY)
    products, variants = [], []
    for number, (title, kind, price, cost) in enumerate(ads_world.GOODS):
        own = shop.shop_id * 1_000 + number
        unit_cost = None if title == ads_world.NO_UNIT_COST else f"{price * cost * shop.rate:.2f}"
        products.append({
            "product_id": own, "shop": shop.shop, "title": title, "product_type": kind,
            "vendor": shop.name, "created_at": made, "updated_at": made,
        })  # fmt: skip
        variants.append({
            "variant_id": own, "shop": shop.shop, "product_id": own, "sku": f"SKU-{number:03}",
            "title": "Default", "price": f"{price * shop.rate:.2f}", "inventory_item_id": own,
            "unit_cost": unit_cost, "created_at": made, "updated_at": made,
        })  # fmt: skip
    return {"product": products, "variant": variants}


def _rows_of(shop: Advertiser, order: Order) -> list[tuple[str, Row]]:
    back = sum(one.cents for one in order.refunds)
    returned = Counter(line.line_id for one in order.refunds for line in one.lines)
    before = [_before_discount(line, order.percent) for line in order.lines]
    changed = max([order.at + 60, *(one.at for one in order.refunds), order.cancelled_at or 0])
    paid = {0: "PAID", order.total: "REFUNDED"}.get(back, "PARTIALLY_REFUNDED")
    tags = [f"conversion:{order.purchase.conversion_id}"] if order.purchase else ["test"]
    tax = round(order.total * ads_world.TAX / (1 + ads_world.TAX))
    told: list[tuple[str, Row]] = [("orders", {
        "order_id": order.order_id, "shop": shop.shop, "name": f"#{order.number}",
        "created_at": _time(order.at), "processed_at": _time(order.at),
        "updated_at": _time(changed),
        "cancelled_at": _time(order.cancelled_at) if order.cancelled_at else None,
        "cancel_reason": "CUSTOMER" if order.cancelled_at else None,
        "test": int(order.is_test), "financial_status": paid,
        "discount_codes": json.dumps([order.code] if order.code else []),
        "tags": json.dumps(tags),
        "customer_id": None if order.customer is None else
        shop.shop_id * _EVERY + order.customer,
        "customer_orders": order.customer_orders or None,
        "total": str(money(order.total)), "subtotal": str(money(order.goods)),
        "discounts": str(money(sum(before) - order.goods)),
        "shipping": str(money(order.shipping)), "tax": str(money(tax)),
        "current_total": str(money(order.total - back)),
        "current_subtotal": str(money(sum(
            line.total for line in order.lines if line.line_id not in returned
        ))),
    })]  # fmt: skip
    for line, whole in zip(order.lines, before, strict=True):
        own = shop.shop_id * 1_000 + line.good
        told.append(("order_line", {
            "line_id": line.line_id, "order_id": order.order_id, "variant_id": own,
            "sku": f"SKU-{line.good:03}", "quantity": line.quantity,
            "current_quantity": 0 if line.line_id in returned else None,
            "unit_price": str(money(round(whole / line.quantity))),
            "discounted_total": str(money(line.total)),
        }))  # fmt: skip
    told.append(("order_transaction", _paid(order, 0, "SALE", order.at, order.total)))
    for number, refund in enumerate(order.refunds):
        told += _refunded(order, number, refund)
    return told + _journey(order)


def _before_discount(line: Line, percent: int) -> int:
    """What the line would have cost without the code, a whole price for each unit."""
    whole = round(line.total * 100 / (100 - percent)) if percent else line.total
    return round(whole / line.quantity) * line.quantity if percent else whole


def _paid(order: Order, number: int, kind: str, at: int, cents: int) -> Row:
    fee = cents * ads_world.FEE_SHARE + ads_world.FEE_FIXED * 100
    return {
        "transaction_id": order.order_id * 10 + number, "order_id": order.order_id, "kind": kind,
        "processed_at": _time(at), "amount": str(money(cents)),
        "fee": str(money(round(fee))) if kind == "SALE" and not order.is_test else None,
    }  # fmt: skip


def _refunded(order: Order, number: int, refund: Refund) -> list[tuple[str, Row]]:
    own = order.order_id * 10 + number
    told: list[tuple[str, Row]] = [
        ("refund", {"refund_id": own, "order_id": order.order_id,
                    "created_at": _time(refund.at), "total": str(money(refund.cents))}),
        ("order_transaction", _paid(order, number + 1, "REFUND", refund.at, refund.cents)),
    ]  # fmt: skip
    for line in refund.lines:
        tax = round(line.total * ads_world.TAX / (1 + ads_world.TAX))
        told.append(("refund_line", {
            "refund_line_id": line.line_id * 10 + number, "refund_id": own,
            "line_id": line.line_id, "quantity": line.quantity,
            "subtotal": str(money(line.total)), "tax": str(money(tax)),
        }))  # fmt: skip
    rest = refund.cents - sum(line.total for line in refund.lines)
    if rest:
        told.append(("refund_adjustment", {
            "adjustment_id": own, "refund_id": own,
            "reason": "SHIPPING_REFUND" if refund.lines else "REFUND_DISCREPANCY",
            "amount": str(money(-rest)),
        }))  # fmt: skip
    return told


def _journey(order: Order) -> list[tuple[str, Row]]:
    if order.purchase is None:
        return []
    seen = [one for one in order.purchase.before if one.at >= order.at - _WINDOW]
    days = (order.at - seen[0].at) // DAY if seen else None
    told: list[tuple[str, Row]] = [("journey", {
        "order_id": order.order_id, "order_index": order.customer_orders,
        "ready_at": _time(order.at + ads_world.NOT_READY_DAYS * DAY), "days_to_conversion": days,
    })]  # fmt: skip
    if seen:
        told.append(("visit", _visit(order, "first", seen[0])))
        told.append(("visit", _visit(order, "last", seen[-1])))
    return told


def _visit(order: Order, place: str, visit: Visit) -> Row:
    source, utm_source, utm_medium = _SOURCES[visit.channel]
    return {
        "order_id": order.order_id, "place": place, "occurred_at": _time(visit.at),
        "source": source, "landing_page": "/", "utm_source": utm_source,
        "utm_medium": utm_medium, "utm_campaign": visit.campaign if utm_source else None,
        "referrer_url": None if source == "direct" else f"https://{source}.example/",
    }  # fmt: skip


def _time(at: int) -> str:
    return text_of(datetime.fromtimestamp(at, UTC))
