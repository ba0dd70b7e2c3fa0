"""Attribution: cost per order and return on ad spend."""

import datetime as dt
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from dmp_assets.attribution.service.store.schema import channel_reporting as reported
from dmp_assets.attribution.settings import AttributionSettings
from dmp_assets.platform.api.access import needs
from dmp_assets.platform.api.output import Page, csv_or_json, rows_answer
from dmp_assets.platform.api.problems import responses
from dmp_assets.platform.api.ranges import Range, date_range
from dmp_assets.platform.api.state import service_of
from dmp_assets.platform.figures.catalogue import figure
from dmp_assets.platform.store.access import Principal

router = APIRouter(prefix="/v1", tags=["attribution"])
Reader = Annotated[Principal, Depends(needs("attribution:read"))]
_DENIED = responses(401, 403, 406, 429)


class Figures(BaseModel):
    """What channels cost and earned. Money in the currency of the settings."""

    cost: float = Field(description=figure("cost").definition)
    conversions: float = Field(description=figure("attributed_conversions").definition)
    revenue: float = Field(description=figure("attributed_revenue").definition)
    cpo: float | None = Field(description=figure("channel_cost_per_order").definition)
    roas: float | None = Field(description=figure("channel_roas").definition)
    revenue_without_abuse: float = Field(
        description="Revenue credited, without that of accounts scored as promo abuse."
    )
    is_open: bool = Field(description="Holds days to which later conversions still add.")


class ChannelDay(BaseModel):
    """Which channel, when."""

    date: dt.date | None = Field(description="Day of the sessions (UTC); null: the whole range.")
    channel_name: str = Field(examples=["paid_search"])


class ByModel(BaseModel):
    """Which channel, by which attribution model."""

    model: str = Field(examples=["linear"])
    channel_name: str = Field(examples=["paid_search"])


class Channel(Figures, ChannelDay):  # fields of the last base come first
    """A channel on a day, or over the range."""


class ModelChannel(Figures, ByModel):
    """A channel over the range, by one attribution model."""


def figures(by: list[sa.Column]) -> sa.Select:
    """The columns of `Figures`, a row for each of what `by` names, or one of all."""
    total = {name: sa.func.sum(reported.c[name]) for name in (
        "cost", "conversions", "revenue", "revenue_without_abuse",
    )}  # fmt: skip
    cost, conversions = sa.cast(total["cost"], sa.Double), total["conversions"]
    return (
        sa.select(
            *by,
            cost.label("cost"),
            conversions.label("conversions"),
            total["revenue"].label("revenue"),
            total["revenue_without_abuse"].label("revenue_without_abuse"),
            (sa.func.nullif(cost, 0) / sa.func.nullif(conversions, 0)).label("cpo"),
            (total["revenue"] / sa.func.nullif(cost, 0)).label("roas"),
            sa.func.bool_or(reported.c.is_open).label("is_open"),
        )
        .group_by(*by)
        .order_by(*by)
    )


@router.get(
    "/channels", response_model=Page[Channel], responses={**csv_or_json(Channel), **_DENIED}
)
def channels(
    request: Request,
    response: Response,
    _: Reader,
    chosen: Annotated[Range, Depends(date_range)],
    by: Annotated[
        Literal["day", "range"], Query(description="A row per channel and day, or per channel.")
    ] = "day",
    channel: Annotated[str | None, Query(max_length=200, description="Only this channel.")] = None,
) -> Any:
    """Cost per order and ROAS by channel, by the reporting model."""
    service = service_of(request)
    keys = [reported.c.date, reported.c.channel_name] if by == "day" else [reported.c.channel_name]
    query = figures(keys).where(
        reported.c.model == service.settings.of(AttributionSettings).reporting_model
    )
    if channel is not None:
        query = query.where(reported.c.channel_name == channel)
    rows = service.in_store(
        lambda store: store.execute(chosen.within(query, reported.c.date, store)).all()
    )
    found = [Channel(**({"date": None} | dict(row._mapping))) for row in rows]
    return rows_answer(request, response, Channel, found)


@router.get(
    "/attribution",
    response_model=Page[ModelChannel],
    responses={**csv_or_json(ModelChannel), **_DENIED},
)
def attribution(
    request: Request,
    response: Response,
    _: Reader,
    chosen: Annotated[Range, Depends(date_range)],
    model: Annotated[
        str | None, Query(max_length=100, description="Only this attribution model.")
    ] = None,
) -> Any:
    """The attribution models side by side: what each credits to the channels over the range."""
    query = figures([reported.c.model, reported.c.channel_name])
    if model is not None:
        query = query.where(reported.c.model == model)
    rows = service_of(request).in_store(
        lambda store: store.execute(chosen.within(query, reported.c.date, store)).all()
    )
    found = [ModelChannel(**row._mapping) for row in rows]
    return rows_answer(request, response, ModelChannel, found)
