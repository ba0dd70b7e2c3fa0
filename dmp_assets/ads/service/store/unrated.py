"""What of an advertiser has no exchange rate, so that its amounts are in no sum.

An amount that is null in the published tables has none: that of an ad account by its currency, of a
shop by that of its orders.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from dmp_assets.ads.service.spans import Span
from dmp_assets.ads.service.store.schema import (
    ad_accounts,
    ad_roi_daily,
    ads_campaigns_daily,
    ads_orders_daily,
)


@dataclass(frozen=True)
class Unrated:
    """An ad account or a shop without a rate on some days. `currency`: its own (ISO 4217); None:
    nobody knows it. `is_all`: nothing in the store is in another currency."""

    name: str
    currency: str | None
    days: int
    first: date
    last: date
    is_all: bool


def of(
    store: sa.Connection, advertiser_id: str, currency: str, span: Span | None = None
) -> list[Unrated]:
    """What had no rate on the days, on any without; `currency` is that of sums."""
    found = [*_accounts(store, advertiser_id, span), *_shops(store, advertiser_id, currency, span)]
    if not found:
        return []
    known = set(store.scalars(sa.select(ad_accounts.c.currency).distinct()))
    known |= set(store.scalars(sa.select(ads_orders_daily.c.currency).distinct()))
    return [
        Unrated(
            row.name, row.currency, row.days, row.first, row.last,
            is_all=row.currency is not None and known <= {row.currency, None},
        )
        for row in found
    ]  # fmt: skip


def _days(table: sa.Table, advertiser_id: str, span: Span | None) -> list[sa.ColumnElement[bool]]:
    mine = [table.c.advertiser_id == advertiser_id]
    return mine if span is None else [*mine, table.c.date.between(span.first, span.last)]


def _counted(day: sa.Column) -> list[sa.ColumnElement]:
    return [
        sa.func.count(day.distinct()).label("days"),
        sa.func.min(day).label("first"),
        sa.func.max(day).label("last"),
    ]


def _accounts(store: sa.Connection, advertiser_id: str, span: Span | None) -> Sequence[sa.Row]:
    of_ads, account = ads_campaigns_daily.c, ad_accounts.c
    same = sa.and_(
        account.advertiser_id == of_ads.advertiser_id, account.account_id == of_ads.account_id
    )
    name = sa.func.coalesce(sa.func.max(account.name), of_ads.account_id)
    query = (
        sa.select(
            name.label("name"), sa.func.max(account.currency).label("currency"),
            *_counted(of_ads.date),
        )
        .join_from(ads_campaigns_daily, ad_accounts, same, isouter=True)
        .where(
            *_days(ads_campaigns_daily, advertiser_id, span),
            sa.or_(of_ads.spend.is_(None), of_ads.purchase_value.is_(None)),
        )
        .group_by(of_ads.account_id)
        .order_by(of_ads.account_id)
    )  # fmt: skip
    return store.execute(query).all()


def _shops(
    store: sa.Connection, advertiser_id: str, currency: str, span: Span | None
) -> Sequence[sa.Row]:
    sold, roi = ads_orders_daily.c, ad_roi_daily.c
    same = sa.and_(roi.advertiser_id == sold.advertiser_id, roi.date == sold.date)
    query = (
        sa.select(sold.shop.label("name"), sold.currency, *_counted(sold.date))
        .join_from(ads_orders_daily, ad_roi_daily, same)
        .where(
            *_days(ads_orders_daily, advertiser_id, span),
            roi.campaign_id == "",
            sa.or_(roi.revenue.is_(None), roi.contribution.is_(None)),
            sold.currency.is_distinct_from(currency),
        )
        .group_by(sold.shop, sold.currency)
        .order_by(sold.shop)
    )
    return store.execute(query).all()
