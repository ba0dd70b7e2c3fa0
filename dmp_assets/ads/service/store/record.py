"""Forecasts as they were made, and how good they were, of one advertiser."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from dmp_assets.ads.service.store.schema_budgets import (
    ads_budget_advice,
    ads_budget_forecasts,
    ads_forecast_scores,
)


def forecast(
    connection: sa.Connection, advertiser_id: str, forecast_id: str | None
) -> list[Mapping[str, Any]]:
    """The rows of a forecast, without an id of the one that the advice goes with, which need not
    have been made last; none where there is none."""
    own = ads_budget_forecasts
    mine = own.c.advertiser_id == advertiser_id
    if forecast_id is None:
        advised = ads_budget_advice.c
        newest = (
            sa.select(own.c.forecast_id)
            .where(mine)
            .order_by(own.c.made_at.desc(), own.c.learnt_until.desc(), own.c.forecast_id)
            .limit(1)
        )
        forecast_id = connection.scalar(
            sa.select(advised.forecast_id).where(
                advised.advertiser_id == advertiser_id, advised.campaign_id == ""
            )
        ) or connection.scalar(newest)
    rows = connection.execute(
        sa.select(own).where(mine, own.c.forecast_id == forecast_id).order_by(own.c.days, own.c.day)
    )
    return [dict(row._mapping) for row in rows]


def scores(
    connection: sa.Connection, advertiser_id: str, horizon: int | None, limit: int
) -> list[Mapping[str, Any]]:
    """Scores of single forecasts, those of the newest days first."""
    own = ads_forecast_scores
    query = sa.select(own).where(own.c.advertiser_id == advertiser_id)
    if horizon is not None:
        query = query.where(own.c.horizon == horizon)
    order = own.c.last_day.desc(), own.c.made_at.desc(), own.c.forecast_id, own.c.horizon
    return [dict(row._mapping) for row in connection.execute(query.order_by(*order).limit(limit))]


def by_horizon(connection: sa.Connection, advertiser_id: str) -> Sequence[Mapping[str, Any]]:
    """Means over all scored forecasts, a row a horizon."""
    own = ads_forecast_scores.c

    def share(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[float]:
        return sa.func.avg(sa.cast(condition, sa.Integer)).cast(sa.Double)

    means = [
        sa.func.avg(own[name]).label(name)
        for name in ("wape", "naive_wape", "mase", "coverage_80", "coverage_95", "pinball")
    ]
    rows = connection.execute(
        sa.select(
            own.horizon,
            sa.func.count().label("forecasts"),
            sa.func.min(own.first_day).label("first_day"),
            sa.func.max(own.last_day).label("last_day"),
            *means,
            share(own.wape < own.naive_wape).label("beats_naive"),
            share(own.within_80).label("totals_within_80"),
            share(own.within_95).label("totals_within_95"),
        )
        .where(own.advertiser_id == advertiser_id)
        .group_by(own.horizon)
        .order_by(own.horizon)
    )
    return [dict(row._mapping) for row in rows]
