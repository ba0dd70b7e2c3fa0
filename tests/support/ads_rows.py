"""Rows of the published tables of ad performance, of advertisers that are alike but for the ids."""

from collections.abc import Collection
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from dmp_assets.ads.parts import BRIDGE, LEDGER

FIRST = date(2024, 1, 1)
DAYS = 60
OPEN = 28
LEVELS = (("c1", "s1", "a1"), ("c1", "s1", "a2"), ("c1", "s2", "a3"), ("c2", "s3", "a4"))
"""Campaign, ad set and ad; every advertiser has the same ids, as two accounts of Meta's could."""


def ads_rows(advertisers: Collection[str] = ("acme",)) -> dict[str, pa.Table]:
    """Rows for every published table of the domain. The n-th advertiser spends n times as much."""
    rows: dict[str, list[dict[str, Any]]] = {
        name: []
        for name in (
            "ads_advertisers", "ad_accounts", "ads", "ad_performance_daily", "ads_campaigns_daily",
            "ad_roi_daily",
            "conversion_bridge", "ads_orders_daily", "ads_claims_daily", "ad_notice_coverage",
        )
    }  # fmt: skip
    for times, advertiser in enumerate(advertisers, start=1):
        for name, found in _of(advertiser, times).items():
            rows[name] += [{"advertiser_id": advertiser} | row for row in found]
    return {name: pa.Table.from_pylist(found) for name, found in rows.items()}


def pooled_rows() -> dict[str, pa.Table]:
    """Rows of the published table of pooled insights, which are of no advertiser."""
    cells = (("", ""), ("fashion", ""), ("food", "small"))
    rows = [
        {"period": FIRST, "industry": industry, "size": size, "measure": "mer", "advertisers": 10,
         "centre": 3.1, "spread": 1.5}
        for industry, size in cells
    ]  # fmt: skip
    return {"pooled_insight": pa.Table.from_pylist(rows)}


def _of(advertiser: str, times: int) -> dict[str, list[dict[str, Any]]]:
    days = [FIRST + timedelta(days=n) for n in range(DAYS)]
    account = {"account_id": f"10{times}"}
    opened = days[-OPEN]
    return {
        "ads_advertisers": [
            {"first_day": FIRST, "last_day": days[-1], "whole_from": FIRST, "open_from": opened}
        ],
        "ad_accounts": [
            account | {"name": f"Account of {advertiser}", "currency": "EUR",
                       "timezone": "Europe/Berlin", "account_status": "1", "is_listed": True}
        ],
        "ads": [
            account | {"ad_id": ad, "ad_name": f"Ad {ad} of {advertiser}", "adset_id": adset,
                       "adset_name": f"Set {adset}", "campaign_id": campaign,
                       "campaign_name": f"Campaign {campaign} of {advertiser}",
                       "objective": "OUTCOME_SALES", "effective_status": "ACTIVE",
                       "creative_title": f"Title of {ad}", "creative_body": f"Body of {ad} <b>",
                       "is_listed": True}
            for campaign, adset, ad in LEVELS
        ],
        "ad_performance_daily": [
            account | {"date": day, "ad_id": ad, "adset_id": adset, "campaign_id": campaign,
                       "impressions": 1000 * n, "clicks": 20 * n, "purchases": n,
                       "spend": Decimal(10 * n * times), "purchase_value": Decimal(30 * n * times),
                       "is_open": day >= opened}
            for day in days
            for n, (campaign, adset, ad) in enumerate(LEVELS, start=1)
        ],
        "ads_campaigns_daily": [
            account | {"date": day, "campaign_id": campaign, "impressions": 1000 * n,
                       "clicks": 20 * n, "purchases": n, "spend": Decimal(10 * n * times),
                       "purchase_value": Decimal(30 * n * times), "is_open": day >= opened}
            for day in days
            for campaign, n in (("c1", 1 + 2 + 3), ("c2", 4))
        ],
        "ad_roi_daily": [
            {"date": day, "campaign_id": campaign,
             "campaign_name": f"Campaign {campaign} of {advertiser}" if campaign else None,
             "spend": Decimal(spend * times), "platform_value": Decimal(3 * spend * times),
             "platform_purchases": spend // 10, "modelled_revenue": Decimal(2 * spend * times),
             "modelled_contribution": Decimal(spend * times), "modelled_orders": spend / 20,
             "revenue": None if campaign else Decimal(500 * times),
             "contribution": None if campaign else Decimal(200 * times),
             "orders": None if campaign else 10, "new_customers": None if campaign else 4,
             "known_customers": None if campaign else 8, "is_open": day >= opened}
            for day in days
            for campaign, spend in (("", 100), ("c1", 60), ("c2", 40))
        ],
        "conversion_bridge": [
            account | {"date": day, "currency": "EUR", "is_open": day >= opened}
            | {f"{part}_orders": n for part, n in zip(BRIDGE, (10, 6, 1, 1, 0, 1, 1), strict=True)}
            | {f"{part}_value": Decimal(30 * times * n)
               for part, n in zip(BRIDGE, (10, 6, 1, 1, 0, 1, 1), strict=True)}
            for day in days
        ],
        "ads_orders_daily": [
            {"date": day, "shop": f"{advertiser}.myshopify.com", "currency": "EUR", "orders": 10}
            | dict.fromkeys(LEDGER, Decimal(0))
            | {"gross": Decimal(600 * times), "tax": Decimal(100 * times),
               "revenue": Decimal(500 * times), "cost_of_goods": Decimal(300 * times),
               "contribution": Decimal(200 * times)}
            for day in days
        ],
        "ad_notice_coverage": [
            account | {"kind": "spend_spike", "judged_through": days[-1], "no_data": None},
            account | {"kind": "pacing", "judged_through": None, "no_data": "no budget for it"},
            {"account_id": "", "kind": "data_late", "judged_through": None,
             "no_data": "orders are loaded from files"},
        ],
        "ads_claims_daily": [
            {"date": day, "claimant": claimant, "channel": channel, "campaign": "",
             "is_meta": channel == "meta_social", "orders": 2.5, "value": Decimal(75 * times)}
            for day in days
            for claimant in ("last_utm", "model:linear")
            for channel in ("meta_social", "direct")
        ],
    }  # fmt: skip
