"""The published tables of budgets of made-up advertisers, made by the code that makes them."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import pyarrow as pa

from dmp_assets.ads.model.budgets.allocate import allocate
from dmp_assets.ads.model.budgets.curves import Curves
from dmp_assets.ads.model.budgets.forecast import Model, forecast, learn
from dmp_assets.ads.model.budgets.terms import Flexibility
from dmp_assets.ads.tables.budget_days import BudgetDays
from dmp_assets.ads.tables.budget_rows import (
    ADVICE_COLUMNS,
    CURVE_COLUMNS,
    FORECAST_COLUMNS,
    advice_rows,
    ahead,
    as_of,
    curve_rows,
    forecast_rows,
)
from dmp_assets.platform.lake.columns import arrow_schema
from tests.support.ads_days import FIRST, varied

CAMPAIGNS = ("c1", "c2")
EVIDENCE = "e1"
_MADE = datetime(2026, 11, 28, 6, tzinfo=UTC)
_SCORE = {"wape": 0.2, "naive_wape": 0.3, "mase": 0.7, "coverage_80": 0.8, "coverage_95": 1.0,
          "pinball": 12.5}  # fmt: skip


@cache
def _learnt(campaigns: tuple[str, str]) -> tuple[BudgetDays, Model]:
    earned, spent = varied(200)
    dates = [FIRST + timedelta(days=n) for n in range(200)]
    days = BudgetDays(
        advertiser_id="acme",
        first=dates[0],
        last=dates[-1],
        contribution={day: Decimal(f"{x:.4f}") for day, x in zip(dates, earned, strict=True)},
        revenue={day: Decimal(f"{2 * x:.4f}") for day, x in zip(dates, earned, strict=True)},
        spend={
            campaign: {d: Decimal(f"{x:.4f}") for d, x in zip(dates, of, strict=True)}
            for campaign, of in zip(campaigns, spent.values(), strict=True)
        },
        gaps=frozenset(),
        names={campaign: f"Campaign {campaign}" for campaign in campaigns},
    )
    return days, learn(days.series({}), choices=(Flexibility(0.01, 1),))


def budget_rows(
    *advertisers: str,
    campaigns: tuple[str, str] = CAMPAIGNS,
    evidence: str = EVIDENCE,
    budgets: Mapping[str, Any] | None = None,
) -> dict[str, pa.Table]:
    """Published table → its rows. `budgets`: columns of what stands at Meta, by object id."""
    days, model = _learnt(campaigns)
    advice, curves = allocate(model, by="campaign"), Curves.of(model)
    rows: dict[str, list[dict[str, Any]]] = {
        "ads_budget_forecasts": [], "ads_budget_advice": [], "ads_budget_curves": [],
        "ads_forecast_scores": [], "ad_budgets": [],
    }  # fmt: skip
    for own in advertisers:
        common = as_of(_MADE, "EUR", advertiser_id=own)
        told = forecast(model, ahead(model))
        rows["ads_budget_forecasts"] += forecast_rows(
            days, told, {**common, "forecast_id": f"f-{own}"}, {"modeled/order_ledger": "1"}
        )
        of_advice = {
            **common,
            "evidence_version": evidence,
            "priors": [],
            "forecast_id": f"f-{own}",
        }
        rows["ads_budget_advice"] += advice_rows(days, model, advice, curves, of_advice)
        rows["ads_budget_curves"] += curve_rows(
            days, curves, {"advertiser_id": own, "evidence_version": evidence}
        )
        rows["ads_forecast_scores"] += [_score(own, horizon) for horizon in (7, 14, 28)]
        rows["ad_budgets"] += [
            {"advertiser_id": own, "object_id": object_id, **_standing(object_id), **columns}
            for object_id, columns in (budgets or {campaigns[0]: {}, campaigns[1]: {}}).items()
        ]
    schemas = {"ads_budget_forecasts": FORECAST_COLUMNS, "ads_budget_advice": ADVICE_COLUMNS,
               "ads_budget_curves": CURVE_COLUMNS}  # fmt: skip
    return {
        name: pa.Table.from_pylist(
            [{column: row.get(column) for column in schemas[name]} for row in found],
            arrow_schema(schemas[name]),
        )
        if name in schemas
        else pa.Table.from_pylist(found)
        for name, found in rows.items()
    }


def _standing(object_id: str) -> dict[str, Any]:
    return {
        "account_id": "101", "object_kind": "campaign", "object_name": f"Object {object_id}",
        "campaign_id": object_id, "effective_status": "ACTIVE", "currency": "EUR",
        "daily_budget": Decimal(150), "rate": Decimal(1), "daily_budget_in_sums": Decimal(150),
        "is_listed": True, "read_at": _MADE,
    }  # fmt: skip


def _score(advertiser: str, horizon: int) -> dict[str, Any]:
    first = date(2026, 6, 1)
    return {
        "advertiser_id": advertiser, "forecast_id": f"f-{advertiser}", "horizon": horizon,
        "made_at": _MADE, "first_day": first, "last_day": first + timedelta(days=horizon - 1),
        "days": horizon, "actual": Decimal(700), "expected": Decimal(690), "within_80": True,
        "within_95": True, "planned_spend": Decimal(200), "actual_spend": Decimal(210), **_SCORE,
    }  # fmt: skip
