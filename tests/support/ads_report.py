"""A small made-up month of ads of two advertisers: the tables that their weekly report reads."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from dmp_assets.home import Home
from tests.support.declared import types
from tests.support.lakehouse import write

FIRST, LAST = date(2024, 3, 1), date(2024, 3, 31)
OPEN_FROM = date(2024, 3, 28)
CAMPAIGNS = {"acme": ("Spring", "Reach"), "other": ("Only one",)}
PARTS = ("matched", "reversed", "test", "boundary", "view_through", "unexplained")


def spend(advertiser: str, campaign: str, day: date) -> Decimal:
    """More in the last week, by campaign and day."""
    base = {"Spring": 40, "Reach": 10, "Only one": 5}[campaign]
    return Decimal(base + day.day % 3) * (2 if day > date(2024, 3, 24) else 1)


def revenue(advertiser: str, day: date) -> Decimal:
    return Decimal(300 if advertiser == "acme" else 20) + day.day


def build(home: Home) -> Home:
    """Write them."""
    for key, rows in {
        "modeled/ad_roi_daily": list(_roi()),
        "modeled/conversion_bridge": list(_bridge()),
        "modeled/order_ledger": list(_orders()),
        "modeled/conversion_claims": [
            {"advertiser_id": "acme", "shop": "s", "order_id": "1", "claimant": "model:ihc"}
        ],
        "modeled/ad_accounts": [],
        "cleaned/meta_insights": [],
        "cleaned/shopify_orders": [{"processed_at": _noon(day)} for day in _days()],
        "raw/shopify_orders": [{"_loaded_at": _noon(LAST) + timedelta(days=1)}],
    }.items():
        write(home, key, _table(key, rows), stamp="1")
    return home


def _noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def _days() -> Iterator[date]:
    return (FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1))


def _table(key: str, rows: list[dict[str, Any]]) -> pa.Table:
    schema = pa.schema(list(types()[key].items()))
    given = [{name: row.get(name) for name in schema.names} for row in rows]
    return pa.Table.from_pylist(given, schema=schema)


def _roi() -> Iterator[dict[str, Any]]:
    for advertiser, campaigns in CAMPAIGNS.items():
        for day in _days():
            spent = {one: spend(advertiser, one, day) for one in campaigns}
            of_day = {"advertiser_id": advertiser, "date": day, "is_open": day >= OPEN_FROM}
            for name, amount in spent.items():
                yield of_day | {
                    "campaign_id": f"{name} id", "campaign_name": name, "spend": amount,
                    "platform_value": 3 * amount, "platform_purchases": 1,
                    "modelled_revenue": 2 * amount, "modelled_contribution": amount,
                    "modelled_orders": 1.0,
                }  # fmt: skip
            whole = sum(spent.values(), Decimal(0))
            yield of_day | {
                "campaign_id": "", "spend": whole, "platform_value": 3 * whole,
                "platform_purchases": len(spent), "modelled_revenue": 2 * whole,
                "modelled_contribution": whole, "modelled_orders": 1.0,
                "revenue": revenue(advertiser, day), "contribution": revenue(advertiser, day) / 2,
                "orders": 4, "new_customers": 2,
            }  # fmt: skip


def _bridge() -> Iterator[dict[str, Any]]:
    for day in _days():
        parts = dict(zip(PARTS, (60, 10, 5, 0, 15, 10), strict=True))
        yield {
            "advertiser_id": "acme", "account_id": "7", "date": day, "currency": "EUR",
            "claimed_orders": 6, "claimed_value": Decimal(100), "is_open": day >= OPEN_FROM,
            **{f"{part}_orders": 1 for part in PARTS},
            **{f"{part}_value": Decimal(value) for part, value in parts.items()},
        }  # fmt: skip


def _orders() -> Iterator[dict[str, Any]]:
    for advertiser in CAMPAIGNS:
        for day in _days():
            for n in range(4):
                yield {
                    "advertiser_id": advertiser, "shop": "s", "order_id": f"{day} {n}",
                    "entry": "sale", "date": day, "is_new_customer": n < 2,
                }  # fmt: skip
