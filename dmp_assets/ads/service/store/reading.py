"""What the published tables say of one advertiser over some days: queries, a row each of what is
asked for.

Every query is bounded by the advertiser. A sum is null where one of its parts is, for what is not
known is not 0. Ratios are of sums, never means of ratios, and empty without what is divided by.
Their definitions are those of modeled/ad_roi_daily.
"""

from collections.abc import Sequence
from typing import Literal

import sqlalchemy as sa

from dmp_assets.ads.parts import BRIDGE, LEDGER
from dmp_assets.ads.service.store.schema import (
    ad_performance_daily,
    ad_roi_daily,
    ads,
    ads_campaigns_daily,
    ads_claims_daily,
    ads_orders_daily,
    conversion_bridge,
)

Level = Literal["account", "campaign", "adset", "ad"]
By = Literal["day", "range"]
_LEVELS: dict[Level, tuple[str, ...]] = {
    "account": ("account_id",),
    "campaign": ("account_id", "campaign_id"),
    "adset": ("account_id", "campaign_id", "adset_id"),
    "ad": ("account_id", "campaign_id", "adset_id", "ad_id"),
}


_OF_AD = {
    "status": "effective_status", "creative_title": "creative_title",
    "creative_body": "creative_body",
}  # fmt: skip
"""What is known of an ad alone → its column."""


def _over(above: sa.ColumnElement, below: sa.ColumnElement) -> sa.ColumnElement:
    return sa.cast(above, sa.Double) / sa.cast(sa.func.nullif(below, 0), sa.Double)


def _sum(column: sa.ColumnElement) -> sa.ColumnElement:
    """The sum; null where a row's value is."""
    return sa.case((sa.func.count() == sa.func.count(column), sa.func.sum(column)))


def _days(column: sa.ColumnElement, by: By) -> list[sa.ColumnElement]:
    return [column] if by == "day" else []


def _day(column: sa.ColumnElement, by: By) -> sa.ColumnElement:
    return (column if by == "day" else sa.null().cast(sa.Date)).label("date")


def roi(by: By, *, campaigns: bool) -> sa.Select:
    """What advertising cost and earned: of all campaigns together, or of each.

    Columns: date, campaign_id, campaign_name, spend, platform_value, platform_purchases,
    modelled_revenue, modelled_contribution, modelled_orders, revenue, contribution, orders,
    new_customers (these four of all only), mer, platform_roas, modelled_roas, profit_roas, cac,
    new_share, is_open.
    """
    of = ad_roi_daily.c
    total = {
        name: _sum(of[name])
        for name in (
            "spend", "platform_value", "platform_purchases", "modelled_revenue",
            "modelled_contribution", "modelled_orders", "revenue", "contribution", "orders",
            "new_customers", "known_customers",
        )
    }  # fmt: skip
    keys = [*_days(of.date, by), of.campaign_id]
    spend = total["spend"]
    return (
        sa.select(
            _day(of.date, by),
            of.campaign_id,
            sa.func.max(of.campaign_name).label("campaign_name"),
            *(value.label(name) for name, value in total.items() if name != "known_customers"),
            _over(total["revenue"], spend).label("mer"),
            _over(total["platform_value"], spend).label("platform_roas"),
            _over(total["modelled_revenue"], spend).label("modelled_roas"),
            _over(total["modelled_contribution"], spend).label("profit_roas"),
            _over(spend, total["new_customers"]).label("cac"),
            _over(total["new_customers"], total["known_customers"]).label("new_share"),
            sa.func.bool_or(of.is_open).label("is_open"),
        )
        .where(of.campaign_id != "" if campaigns else of.campaign_id == "")
        .group_by(*keys)
    )


def delivered(level: Level, within: Sequence[tuple[str, str]] = ()) -> sa.Table:
    """The table that `performance` reads: the smaller one where no ad is told from another."""
    of_ads = level in ("adset", "ad") or any(name in ("adset_id", "ad_id") for name, _ in within)
    return ad_performance_daily if of_ads else ads_campaigns_daily


def performance(level: Level, by: By, within: Sequence[tuple[str, str]] = ()) -> sa.Select:
    """What was delivered, at a level: spend, impressions, clicks, claims of Meta.

    `within`: columns and the ids that they must have. Columns: date, account_id, campaign_id,
    adset_id, ad_id (those below the level empty), impressions, clicks, spend, purchases,
    purchase_value, ctr, cost_per_click, platform_roas, is_open.
    """
    of = delivered(level, within).c
    keys = _LEVELS[level]
    total = {
        name: _sum(of[name])
        for name in ("impressions", "clicks", "spend", "purchases", "purchase_value")
    }
    shown = [
        of[name] if name in keys else sa.literal("").label(name)
        for name in ("account_id", "campaign_id", "adset_id", "ad_id")
    ]
    return (
        sa.select(
            _day(of.date, by),
            *shown,
            *(value.label(name) for name, value in total.items()),
            _over(total["clicks"], total["impressions"]).label("ctr"),
            _over(total["spend"], total["clicks"]).label("cost_per_click"),
            _over(total["purchase_value"], total["spend"]).label("platform_roas"),
            sa.func.bool_or(of.is_open).label("is_open"),
        )
        .where(*(of[name] == value for name, value in within))
        .group_by(*_days(of.date, by), *(of[name] for name in keys))
    )


def named(query: sa.Select, level: Level, advertiser_id: str) -> sa.Select:
    """The rows of `performance` with what they are called, their status and a `key` of their own.

    Columns more: name, status, creative_title, creative_body (of ads alone), key.
    """
    of = query.subquery()
    name, column = {
        "account": ("account_id", None),
        "campaign": ("campaign_name", "campaign_id"),
        "adset": ("adset_name", "adset_id"),
        "ad": ("ad_name", "ad_id"),
    }[level]
    key = sa.func.concat_ws(
        " ", sa.cast(of.c.date, sa.Text), of.c.account_id, of.c.campaign_id, of.c.adset_id,
        of.c.ad_id,
    ).label("key")  # fmt: skip
    if column is None:
        unnamed = [sa.literal("").label(name) for name in _OF_AD]
        return sa.select(of, of.c.account_id.label("name"), *unnamed, key)
    own = [ads.c[from_] if level == "ad" else sa.null().cast(sa.Text) for from_ in _OF_AD.values()]
    known = (
        sa.select(
            ads.c.account_id,
            ads.c[column].label("thing"),
            sa.func.max(ads.c[name]).label("name"),
            *(sa.func.max(value).label(name) for name, value in zip(_OF_AD, own, strict=True)),
        )
        .where(ads.c.advertiser_id == advertiser_id)
        .group_by(ads.c.account_id, ads.c[column])
        .subquery()
    )
    same = sa.and_(known.c.account_id == of.c.account_id, known.c.thing == of.c[column])
    return sa.select(
        of,
        sa.func.coalesce(known.c.name, of.c[column]).label("name"),
        *(sa.func.coalesce(known.c[name], "").label(name) for name in _OF_AD),
        key,
    ).join_from(of, known, same, isouter=True)


def bridge(by: By) -> sa.Select:
    """From what Meta claims to the orders that there are, by account, in its currency.

    Columns: date, account_id, currency, and of each of `BRIDGE` its orders and value; is_open.
    """
    of = conversion_bridge.c
    return (
        sa.select(
            _day(of.date, by),
            of.account_id,
            of.currency,
            *(
                sa.func.sum(of[f"{part}_{unit}"]).label(f"{part}_{unit}")
                for part in BRIDGE
                for unit in ("orders", "value")
            ),
            sa.func.bool_or(of.is_open).label("is_open"),
        )
        .group_by(*_days(of.date, by), of.account_id, of.currency)
        .order_by(*_days(of.date, by), of.account_id)
    )


def orders(by: By) -> sa.Select:
    """From the price of what was ordered to what it contributes, by shop, in its currency.

    Columns: date, shop, currency, orders and those of `LEDGER`.
    """
    of = ads_orders_daily.c
    return (
        sa.select(
            _day(of.date, by),
            of.shop,
            of.currency,
            *(sa.func.sum(of[name]).label(name) for name in ("orders", *LEDGER)),
        )
        .group_by(*_days(of.date, by), of.shop, of.currency)
        .order_by(*_days(of.date, by), of.shop)
    )


def claims(by: By) -> sa.Select:
    """Who says of the orders that they are theirs, by channel, in the currency of sums.

    Columns: date, claimant, channel, is_meta, orders, value (tax included).
    """
    of = ads_claims_daily.c
    return (
        sa.select(
            _day(of.date, by),
            of.claimant,
            of.channel,
            sa.func.bool_or(of.is_meta).label("is_meta"),
            sa.func.sum(of.orders).label("orders"),
            _sum(of.value).label("value"),
        )
        .group_by(*_days(of.date, by), of.claimant, of.channel)
        .order_by(*_days(of.date, by), of.claimant, of.channel)
    )
