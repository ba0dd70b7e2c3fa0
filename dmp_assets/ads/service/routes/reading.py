"""What ads cost, what orders brought, and what of it is whose: one advertiser's rows."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from dmp_assets.ads.service.store import reading
from dmp_assets.ads.service.store.schema import (
    ad_accounts,
    ad_roi_daily,
    ads_advertisers,
    ads_claims_daily,
    ads_orders_daily,
    conversion_bridge,
)
from dmp_assets.ads.settings import currency_of_sums
from dmp_assets.platform.api.access import needs
from dmp_assets.platform.api.advertisers import Seat, seat, seen_by
from dmp_assets.platform.api.output import Listing, Page, csv_or_json, rows_answer
from dmp_assets.platform.api.problems import NO_CONTROL, responses
from dmp_assets.platform.api.ranges import Range, date_range
from dmp_assets.platform.api.state import service_of
from dmp_assets.platform.store.access import Principal

router = APIRouter(prefix="/v1/ads", tags=["ads"])
At = Annotated[Seat, Depends(seat("ads:read"))]
Chosen = Annotated[Range, Depends(date_range)]
By = Annotated[reading.By, Query(description="A row per day, or one over the range.")]
Id = Annotated[str | None, Query(max_length=100, pattern=NO_CONTROL)]
_DENIED = responses(401, 403, 404, 406, 422, 429)


class Day(BaseModel):
    """The day of a row."""

    date: dt.date | None = Field(description="Day; null: the whole range.")


class Advertiser(BaseModel):
    """An advertiser that the caller sees."""

    advertiser_id: str
    name: str = Field(description="What people call it.")
    role: Literal["reader", "manager"] = Field(description="What the caller may do there.")
    first_day: dt.date | None = Field(description="Oldest day of which there are rows.")
    last_day: dt.date | None = Field(description="Newest day of which there are rows.")
    open_from: dt.date | None = Field(description="From this day on Meta may still change rows.")


class Account(BaseModel):
    """An ad account as it is now."""

    account_id: str
    name: str | None
    currency: str | None
    timezone: str | None = Field(description="Its days are of this zone.")
    account_status: str | None = Field(description="1 active; by anything else nothing is changed.")
    is_listed: bool = Field(description="False: Meta did not list it any more.")


class Roi(Day):
    """What advertising cost and earned. Null is what is not known: an amount a part of which has no
    exchange rate, what is modelled of an advertiser of whom no visit is known."""

    currency: str = Field(description="Of all amounts: that of sums.")
    spend: Decimal | None
    platform_value: Decimal | None = Field(
        description="Value of the purchases that Meta claims, with tax where the pixel tells it so."
    )
    platform_purchases: int = Field(description="Purchases that Meta claims.")
    modelled_revenue: Decimal | None = Field(
        description="Revenue, without tax, that the reporting model gives to it."
    )
    modelled_contribution: Decimal | None = Field(
        description="Contribution of that share of the orders."
    )
    modelled_orders: float | None = Field(
        description="Orders that the reporting model gives to it."
    )
    platform_roas: float | None = Field(description="platform_value / spend.")
    modelled_roas: float | None = Field(description="modelled_revenue / spend.")
    profit_roas: float | None = Field(description="modelled_contribution / spend.")
    is_open: bool = Field(description="Holds days that Meta may still change.")


class TotalRoi(Roi):
    """What all advertising cost, and what the shop earned; null too where there is no shop."""

    revenue: Decimal | None = Field(
        description="Revenue of the shop without tax, refunds on their day."
    )
    contribution: Decimal | None = Field(description="Contribution of the shop before ads.")
    orders: int | None
    new_customers: int | None = Field(description="Orders of new customers.")
    mer: float | None = Field(description="Marketing efficiency ratio: revenue / spend.")
    cac: float | None = Field(description="Customer acquisition cost: spend / new_customers.")
    new_share: float | None = Field(description="new_customers / orders of known customers.")


class CampaignRoi(Roi):
    """What a campaign cost and earned."""

    campaign_id: str
    campaign_name: str | None


class Performance(Day):
    """What was delivered, and what Meta claims. An amount a part of which has no rate is null."""

    currency: str = Field(description="Of all amounts: that of sums.")
    account_id: str
    campaign_id: str = Field(description="Empty above the level of campaigns.")
    adset_id: str = Field(description="Empty above the level of ad sets.")
    ad_id: str = Field(description="Empty above the level of ads.")
    name: str = Field(description="What it is called now; its id where nothing is known.")
    status: str = Field(description="Of an ad: its effective status, else empty.")
    creative_title: str = Field("", description="Of an ad: the headline of what it shows.")
    creative_body: str = Field("", description="Of an ad: the text of what it shows.")
    impressions: int
    clicks: int
    spend: Decimal | None
    purchases: int = Field(description="Purchases that Meta claims.")
    purchase_value: Decimal | None = Field(description="What they were worth.")
    ctr: float | None = Field(description="Click-through rate: clicks / impressions.")
    cost_per_click: float | None = Field(description="spend / clicks.")
    platform_roas: float | None = Field(description="purchase_value / spend.")
    is_open: bool = Field(description="Holds days that Meta may still change.")


class Bridge(Day):
    """claimed = matched + reversed + test + boundary + view_through + unexplained."""

    account_id: str
    currency: str | None
    claimed_orders: int = Field(description="Purchases that Meta claims.")
    claimed_value: Decimal
    matched_orders: int = Field(description="Whose buyers clicked an ad before, by our own data.")
    matched_value: Decimal
    reversed_orders: int = Field(description="Such orders, cancelled or gone back whole.")
    reversed_value: Decimal
    test_orders: int = Field(description="Test orders of the account's day.")
    test_value: Decimal
    boundary_orders: int = Field(description="Those of the account's day less the shop's.")
    boundary_value: Decimal
    view_through_orders: int = Field(description="Claimed of views within a day.")
    view_through_value: Decimal
    unexplained_orders: int = Field(
        description="The rest: claimed twice or not seen by us; below 0: seen, and not claimed."
    )
    unexplained_value: Decimal
    is_open: bool = Field(description="Holds days that Meta may still change.")


class Orders(Day):
    """revenue = gross - discounts - refunds - tax - gift_cards; contribution = revenue -
    cost_of_goods - shipping_cost - payment_fees. In the shop's currency, refunds on their day."""

    shop: str
    currency: str | None
    orders: int
    gross: Decimal = Field(description="Goods and shipping before discounts, tax included.")
    discounts: Decimal
    refunds: Decimal = Field(description="What went back, tax included, on the day it did.")
    tax: Decimal
    gift_cards: Decimal = Field(description="Gift cards that were bought: no sale of goods.")
    revenue: Decimal
    cost_of_goods: Decimal
    goods_without_cost: Decimal = Field(description="Goods whose cost the shop does not say.")
    shipping_cost: Decimal
    payment_fees: Decimal
    contribution: Decimal = Field(description="Before ads.")


class Claim(Day):
    """What somebody says of the orders of the shop's days. A value without a rate is null."""

    currency: str = Field(description="Of the value: that of sums.")
    claimant: str = Field(
        description="`first_utm`, `last_utm`, or `model:` and an attribution model."
    )
    channel: str
    is_meta: bool = Field(description="Whether that is ads of Meta.")
    orders: float = Field(description="Shares of orders that are claimed.")
    value: Decimal | None = Field(description="What these were worth, tax included.")


@router.get(
    "/advertisers",
    response_model=Page[Advertiser],
    responses={**csv_or_json(Advertiser), **responses(401, 403, 406, 429)},
)
def advertisers(
    request: Request,
    response: Response,
    who: Annotated[Principal, Depends(needs("ads:read"))],
) -> Any:
    """The advertisers that the caller sees, and how far their rows go."""

    def read(store: sa.Connection) -> list[Advertiser]:
        rows = store.execute(sa.select(ads_advertisers)).mappings()
        known: dict[str, Mapping[Any, Any]] = {row["advertiser_id"]: row for row in rows}
        found = []
        for one in seen_by(store, who):
            days = known.get(one.advertiser_id, {})
            found.append(
                Advertiser(
                    advertiser_id=one.advertiser_id,
                    name=one.name,
                    role=one.role,
                    first_day=days.get("first_day"),
                    last_day=days.get("last_day"),
                    open_from=days.get("open_from"),
                )
            )
        return found

    return rows_answer(request, response, Advertiser, service_of(request).in_store(read))


@router.get(
    "/accounts", response_model=Page[Account], responses={**csv_or_json(Account), **_DENIED}
)
def accounts(request: Request, response: Response, at: At) -> Any:
    """The ad accounts of the advertiser as they are now."""
    of = ad_accounts.c
    query = sa.select(ad_accounts).where(of.advertiser_id == at.advertiser_id)
    rows = service_of(request).in_store(
        lambda store: store.execute(query.order_by(of.account_id)).all()
    )
    return rows_answer(request, response, Account, [Account(**row._mapping) for row in rows])


def _currency(request: Request) -> str:
    return currency_of_sums(service_of(request).settings)


def _rows(request: Request, at: Seat, chosen: Range, query: sa.Select, table: sa.Table) -> Any:
    """The rows of one advertiser in the range."""
    mine = table.c.advertiser_id == at.advertiser_id
    return service_of(request).in_store(
        lambda store: store.execute(
            chosen.within(query.where(mine), table.c.date, store, mine)
        ).all()
    )


@router.get("/roi", response_model=Page[TotalRoi], responses={**csv_or_json(TotalRoi), **_DENIED})
def roi(request: Request, response: Response, at: At, chosen: Chosen, by: By = "day") -> Any:
    """What all advertising cost, what the shop earned, and the ratios of both."""
    query = reading.roi(by, campaigns=False)
    if by == "day":
        query = query.order_by(ad_roi_daily.c.date)
    rows = _rows(request, at, chosen, query, ad_roi_daily)
    currency = _currency(request)
    found = [TotalRoi(**row._mapping, currency=currency) for row in rows]
    return rows_answer(request, response, TotalRoi, found)


@router.get(
    "/campaigns",
    response_model=Page[CampaignRoi],
    responses={**csv_or_json(CampaignRoi), **_DENIED},
)
def campaigns(
    request: Request,
    response: Response,
    at: At,
    chosen: Chosen,
    by: By = "range",
    campaign: Id = None,
) -> Any:
    """What campaigns cost and earned, by Meta's word and by our reporting model."""
    of = ad_roi_daily.c
    query = reading.roi(by, campaigns=True)
    if campaign is not None:
        query = query.where(of.campaign_id == campaign)
    query = query.order_by(*([of.date] if by == "day" else []), of.campaign_id)
    rows = _rows(request, at, chosen, query, ad_roi_daily)
    currency = _currency(request)
    found = [CampaignRoi(**row._mapping, currency=currency) for row in rows]
    return rows_answer(request, response, CampaignRoi, found)


@router.get(
    "/performance",
    response_model=Page[Performance],
    responses={**csv_or_json(Performance), **_DENIED},
)
def performance(
    request: Request,
    response: Response,
    at: At,
    chosen: Chosen,
    by: By = "range",
    level: Annotated[reading.Level, Query(description="What a row is of.")] = "campaign",
    account: Id = None,
    campaign: Id = None,
    adset: Id = None,
    ad: Id = None,
    sort: Annotated[
        str, Query(max_length=40, description="A column, or `-` and a column: largest first.")
    ] = "-spend",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
) -> Any:
    """What accounts, campaigns, ad sets or ads delivered, and what Meta claims of it."""
    given = (
        ("account_id", account), ("campaign_id", campaign), ("adset_id", adset), ("ad_id", ad),
    )  # fmt: skip
    ids = [(name, value) for name, value in given if value is not None]
    query = reading.performance(level, by, ids)
    table, service = reading.delivered(level, ids), service_of(request)
    mine = table.c.advertiser_id == at.advertiser_id

    def read(store: sa.Connection) -> Any:
        bounded = chosen.within(query.where(mine), table.c.date, store, mine)
        listing = Listing(
            reading.named(bounded, level, at.advertiser_id).subquery(),
            "key",
            ("spend", "impressions", "clicks", "purchases", "purchase_value", "name"),
            name=f"ads {at.advertiser_id} {level} {by}",
            nullable=frozenset({"spend", "purchase_value"}),
        )
        return listing.page(store, service.seal, where=(), sort=sort, limit=limit, cursor=cursor)

    rows, following = service.in_store(read)
    currency = _currency(request)
    found = [Performance(**row, currency=currency) for row in rows]
    return rows_answer(request, response, Performance, found, following)


@router.get("/bridge", response_model=Page[Bridge], responses={**csv_or_json(Bridge), **_DENIED})
def bridge(request: Request, response: Response, at: At, chosen: Chosen, by: By = "range") -> Any:
    """From what Meta claims to the orders that there are, by account, in its currency."""
    rows = _rows(request, at, chosen, reading.bridge(by), conversion_bridge)
    return rows_answer(request, response, Bridge, [Bridge(**row._mapping) for row in rows])


@router.get("/orders", response_model=Page[Orders], responses={**csv_or_json(Orders), **_DENIED})
def orders(request: Request, response: Response, at: At, chosen: Chosen, by: By = "day") -> Any:
    """From the price of what was ordered to its contribution, by shop, in its currency."""
    rows = _rows(request, at, chosen, reading.orders(by), ads_orders_daily)
    return rows_answer(request, response, Orders, [Orders(**row._mapping) for row in rows])


@router.get("/claims", response_model=Page[Claim], responses={**csv_or_json(Claim), **_DENIED})
def claims(request: Request, response: Response, at: At, chosen: Chosen, by: By = "range") -> Any:
    """Who says of the orders that they are theirs: first and last visit, attribution models."""
    rows = _rows(request, at, chosen, reading.claims(by), ads_claims_daily)
    currency = _currency(request)
    found = [Claim(**row._mapping, currency=currency) for row in rows]
    return rows_answer(request, response, Claim, found)
