"""ml/ads_forecast_scores: how good each forecast was, once all its days are closed.

Sources: ml/ads_budget_forecasts, raw/meta_insight_readings, modeled/ad_accounts,
modeled/ad_performance_daily, modeled/order_ledger. Scores are those of
ads/model/budgets/scores.py. A day is closed 28 days after it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from dmp_assets.ads.model.budgets.forecast import HORIZONS
from dmp_assets.ads.model.budgets.scores import scores, seasonal_naive, wape
from dmp_assets.ads.model.budgets.series import DAY, Floats
from dmp_assets.ads.tables.budget_days import DEPS, BudgetDays, budget_days
from dmp_assets.ads.tables.budget_rows import FORECAST_COLUMNS, QUANTILES
from dmp_assets.platform.cleaning.machine_values import AMOUNT
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.table_asset import TableRun, table_asset
from dmp_assets.sources.meta.days import OPEN_DAYS

_UNIT = "in the currency of sums"
COLUMNS = {
    "forecast_id": FORECAST_COLUMNS["forecast_id"],
    "advertiser_id": FORECAST_COLUMNS["advertiser_id"],
    "horizon": Column("long", "Days that are scored, from its first day on: 7, 14 or 28."),
    "made_at": FORECAST_COLUMNS["made_at"],
    "first_day": Column("date", "The first day that is scored."),
    "last_day": Column("date", "The last day that is scored."),
    "days": Column("long", "Days of which it is known what came."),
    "actual": Column(AMOUNT, f"Contribution before ads that came, {_UNIT}; null: days are gaps."),
    "expected": Column(AMOUNT, f"The median of the forecast's total, {_UNIT}."),
    "within_80": Column("boolean", "The total lies within its interval of 80 %."),
    "within_95": Column("boolean", "The total lies within its interval of 95 %."),
    "planned_spend": FORECAST_COLUMNS["planned_spend"],
    "actual_spend": Column(AMOUNT, f"What was spent, {_UNIT}; null: days are gaps."),
    "wape": Column("double", "Sum of absolute errors of days by what came in all."),
    "naive_wape": Column("double", "The same of repeating the last week that was learnt from."),
    "mase": Column("double", "Mean absolute error by that of the seasonal naive until then."),
    "coverage_80": Column("double", "Share of days within the interval of 80 %."),
    "coverage_95": Column("double", "Share of days within the interval of 95 %."),
    "pinball": Column("double", "Mean pinball loss of the quantiles, in money."),
}
KEY = ("forecast_id", "horizon")


@table_asset(
    "ml",
    deps=["ml/ads_budget_forecasts", *DEPS],
    columns=COLUMNS,
    key=KEY,
    owner="team:marketing",
    kinds=("duckdb", "delta"),
)
def ads_forecast_scores(run: TableRun) -> None:
    """How good each forecast was, by horizon, once all its days are closed; no row before.

    Grain: a forecast and horizon. Key: forecast_id, horizon. A score that would divide by 0, or
    has no day to tell of, is null. Sources: ml/ads_budget_forecasts, modeled/order_ledger,
    modeled/ad_performance_daily, modeled/ad_accounts, raw/meta_insight_readings.
    """
    forecasts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in run.sql("SELECT * FROM ml.ads_budget_forecasts ORDER BY day, days").to_pylist():
        forecasts[row["forecast_id"]].append(row)
    known = budget_days(run)
    rows = []
    for told in forecasts.values():
        days = known.get(told[0]["advertiser_id"])
        if isinstance(days, BudgetDays):
            rows += [row for horizon in HORIZONS if (row := scored(told, days, horizon))]
    rows.sort(key=lambda row: (row["advertiser_id"], row["made_at"], *(row[k] for k in KEY)))
    run.overwrite(pa.Table.from_pylist(rows, arrow_schema(COLUMNS)))


def scored(
    told: Sequence[Mapping[str, Any]], days: BudgetDays, horizon: int
) -> dict[str, Any] | None:
    """The scores of one forecast, whose rows these are; None while a day of it is open."""
    daily = [row for row in told if row["days"] == 1][:horizon]
    total = next((row for row in told if row["days"] == horizon), None)
    first, last = daily[0]["day"], daily[-1]["day"]
    if total is None or len(daily) < horizon or last + timedelta(days=OPEN_DAYS) > days.last:
        return None
    known = set(days.known(first, last))
    came = [row for row in daily if row["day"] in known]
    is_whole = len(came) == horizon
    actual = sum((days.contribution.get(day, Decimal(0)) for day in known), Decimal(0))
    return {
        **{name: total[name] for name in ("forecast_id", "advertiser_id", "made_at")},
        "horizon": horizon,
        "first_day": first,
        "last_day": last,
        "days": len(came),
        "expected": total["q500"],
        "planned_spend": total["planned_spend"],
        "actual": actual if is_whole else None,
        "actual_spend": days.spent(known) if is_whole else None,
        "within_80": total["q100"] <= actual <= total["q900"] if is_whole else None,
        "within_95": total["q025"] <= actual <= total["q975"] if is_whole else None,
        **(_of_days(came, days) if came else {}),
    }


def _of_days(came: Sequence[Mapping[str, Any]], days: BudgetDays) -> dict[str, float | None]:
    """Scores of single days."""
    dates = [row["day"] for row in came]
    actual = np.array(days.earned(dates))
    quantiles = np.array([[float(row[name]) for name in QUANTILES] for row in came])
    learnt = _learnt(days, came[0])
    found = scores(actual, quantiles, learnt, DAY)
    naive = None
    if len(learnt) >= 7:
        ahead = seasonal_naive(learnt, (dates[-1] - came[0]["learnt_until"]).days, DAY)
        at = [(day - came[0]["learnt_until"]).days - 1 for day in dates]
        naive = wape(actual, ahead[at])
    return {
        "wape": found.wape, "mase": found.mase, "coverage_80": found.coverage_80,
        "coverage_95": found.coverage_95, "pinball": found.pinball, "naive_wape": naive,
    }  # fmt: skip


def _learnt(days: BudgetDays, row: Mapping[str, Any]) -> Floats:
    """The days that were learnt from as they are known now, gaps filled between neighbours."""
    first, last = row["learnt_from"], row["learnt_until"]
    known = days.known(first, last)
    if not known:
        return np.zeros(0)
    places = [(day - first).days for day in known]
    size = (last - first).days + 1
    filled: Floats = np.interp(np.arange(size), places, days.earned(known))
    return filled
