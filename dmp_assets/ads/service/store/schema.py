"""The published tables of ad performance in the operational store.

Each row is an advertiser's, whom its key begins with: no query reads another's rows.
"""

from typing import Any

import sqlalchemy as sa

from dmp_assets.ads.service.store import (
    schema_budgets,
    schema_experiments,
    schema_notices,
    schema_pages,
    schema_pooled,
)
from dmp_assets.platform.store.schema import METADATA, PUBLISHED

__all__ = [
    "schema_budgets",
    "schema_experiments",
    "schema_notices",
    "schema_pages",
    "schema_pooled",
]

_AMOUNT = sa.Numeric(18, 4)


def _key(*names: str) -> list[sa.Column]:
    kinds = {"date": sa.Date}
    return [sa.Column(name, kinds.get(name, sa.Text), primary_key=True) for name in names]


def _all(kind: Any, *names: str, nullable: bool = False) -> list[sa.Column]:
    return [sa.Column(name, kind, nullable=nullable) for name in names]


ads_advertisers = sa.Table(
    "ads_advertisers",
    METADATA,
    *_key("advertiser_id"),
    *_all(sa.Date, "first_day", "last_day", "whole_from"),
    *_all(sa.Date, "open_from", nullable=True),
    schema=PUBLISHED,
    comment="How far the rows of an advertiser go; from whole_from on ads and orders are both "
    "known. One row per advertiser.",
)

ad_accounts = sa.Table(
    "ad_accounts",
    METADATA,
    *_key("advertiser_id", "account_id"),
    *_all(sa.Text, "name", "currency", "timezone", "account_status", nullable=True),
    sa.Column("is_listed", sa.Boolean, nullable=False),
    schema=PUBLISHED,
    comment="Ad accounts as they are now. One row per account.",
)

ads = sa.Table(
    "ads",
    METADATA,
    *_key("advertiser_id", "account_id", "ad_id"),
    *_all(sa.Text, "ad_name", "adset_id", "adset_name", "campaign_id", "campaign_name",
          "objective", "effective_status", "creative_title", "creative_body", nullable=True),
    sa.Column("is_listed", sa.Boolean, nullable=False),
    schema=PUBLISHED,
    comment="Ads as they are now. One row per ad.",
)  # fmt: skip

ad_performance_daily = sa.Table(
    "ad_performance_daily",
    METADATA,
    *_key("advertiser_id", "date", "account_id", "ad_id"),
    *_all(sa.Text, "adset_id", "campaign_id"),
    *_all(sa.BigInteger, "impressions", "clicks", "purchases"),
    *_all(_AMOUNT, "spend", "purchase_value", nullable=True),
    sa.Column("is_open", sa.Boolean, nullable=False),
    sa.Index("ix_ad_performance_daily_campaign", "advertiser_id", "campaign_id", "date"),
    schema=PUBLISHED,
    comment="What ads cost and delivered, and what Meta claims; amounts in the currency of sums, "
    "null without a rate. One row per ad and day.",
)

ads_campaigns_daily = sa.Table(
    "ads_campaigns_daily",
    METADATA,
    *_key("advertiser_id", "date", "account_id", "campaign_id"),
    *_all(sa.BigInteger, "impressions", "clicks", "purchases"),
    *_all(_AMOUNT, "spend", "purchase_value", nullable=True),
    sa.Column("is_open", sa.Boolean, nullable=False),
    schema=PUBLISHED,
    comment="Sums of ad_performance_daily, so that lists of campaigns need not read every ad. One "
    "row per campaign and day.",
)

ad_roi_daily = sa.Table(
    "ad_roi_daily",
    METADATA,
    *_key("advertiser_id", "date", "campaign_id"),
    *_all(sa.Text, "campaign_name", nullable=True),
    *_all(_AMOUNT, "spend", "platform_value", nullable=True),
    *_all(sa.BigInteger, "platform_purchases"),
    *_all(_AMOUNT, "modelled_revenue", "modelled_contribution", nullable=True),
    *_all(sa.Double, "modelled_orders", nullable=True),
    *_all(_AMOUNT, "revenue", "contribution", nullable=True),
    *_all(sa.BigInteger, "orders", "new_customers", "known_customers", nullable=True),
    sa.Column("is_open", sa.Boolean, nullable=False),
    schema=PUBLISHED,
    comment="What advertising cost and earned; what is not known is null. One row per campaign and "
    "day, and one of all (campaign_id empty).",
)

conversion_bridge = sa.Table(
    "conversion_bridge",
    METADATA,
    *_key("advertiser_id", "date", "account_id"),
    *_all(sa.Text, "currency", nullable=True),
    *[
        column
        for part in ("claimed", "matched", "reversed", "test", "boundary", "view_through",
                     "unexplained")
        for column in (
            sa.Column(f"{part}_orders", sa.BigInteger, nullable=False),
            sa.Column(f"{part}_value", _AMOUNT, nullable=False),
        )
    ],
    sa.Column("is_open", sa.Boolean, nullable=False),
    schema=PUBLISHED,
    comment="From what Meta claims to the orders that there are. One row per account and day.",
)  # fmt: skip

ads_orders_daily = sa.Table(
    "ads_orders_daily",
    METADATA,
    *_key("advertiser_id", "date", "shop"),
    *_all(sa.Text, "currency", nullable=True),
    *_all(sa.BigInteger, "orders"),
    *_all(_AMOUNT, "gross", "discounts", "refunds", "tax", "gift_cards", "revenue",
          "cost_of_goods", "goods_without_cost", "shipping_cost", "payment_fees", "contribution"),
    schema=PUBLISHED,
    comment="Sums of the order ledger, in the shop's currency. One row per shop and day.",
)  # fmt: skip

ads_claims_daily = sa.Table(
    "ads_claims_daily",
    METADATA,
    *_key("advertiser_id", "date", "claimant", "channel", "campaign"),
    sa.Column("is_meta", sa.Boolean, nullable=False),
    sa.Column("orders", sa.Double, nullable=False),
    *_all(_AMOUNT, "value", nullable=True),
    schema=PUBLISHED,
    comment="Who says of the orders of a day that they are theirs; values in the currency of "
    "sums, null without a rate. One row per day, claimant, channel and campaign.",
)

ad_notice_coverage = sa.Table(
    "ad_notice_coverage",
    METADATA,
    *_key("advertiser_id", "account_id", "kind"),
    *_all(sa.Date, "judged_through", nullable=True),
    *_all(sa.Text, "no_data", nullable=True),
    schema=PUBLISHED,
    comment="Up to which day each kind of notice was judged, and why not where there is no data. "
    "One row per account, empty for all shops together, and kind.",
)
