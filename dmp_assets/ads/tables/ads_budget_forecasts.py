"""ml/ads_budget_forecasts, ml/ads_budget_advice, ml/ads_budget_curves: what a budget would bring.

Sources: raw/meta_insight_readings, modeled/ad_accounts, modeled/ad_performance_daily,
modeled/order_ledger. The maths is in ads/model/budgets, see docs/budgets.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date
from typing import Any

import numpy as np
import pyarrow as pa

from dmp_assets.ads.model.budgets.allocate import Advice, allocate
from dmp_assets.ads.model.budgets.curves import Curves
from dmp_assets.ads.model.budgets.forecast import Model, forecast, learn
from dmp_assets.ads.model.budgets.series import TooShortError
from dmp_assets.ads.settings import AdsSettings, currency_of_sums
from dmp_assets.ads.tables.budget_days import (
    DEPS,
    BudgetDays,
    budget_days,
    public_holidays,
)
from dmp_assets.ads.tables.budget_priors import SOURCES as PRIORS
from dmp_assets.ads.tables.budget_priors import Known, Priors
from dmp_assets.ads.tables.budget_rows import (
    ADVICE_COLUMNS,
    ADVICE_KEY,
    ALL,
    CURVE_COLUMNS,
    DAYS,
    FORECAST_COLUMNS,
    FORECAST_KEY,
    advice_rows,
    ahead,
    as_of,
    content,
    curve_rows,
    digest,
    forecast_rows,
)
from dmp_assets.platform.base.errors import GivenError
from dmp_assets.platform.lake import fingerprint
from dmp_assets.platform.lake.columns import arrow_schema
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset

FORECASTS, ADVICE, CURVES = (
    "ml/ads_budget_forecasts", "ml/ads_budget_advice", "ml/ads_budget_curves",
)  # fmt: skip
_MODEL = "dmp_assets.ads.model.budgets.curves"
"""The module that imports all of the model: its code is part of what a forecast rests on."""


@dataclass
class _Made:
    """What is written: new forecasts, and advice and curves of every advertiser."""

    forecasts: list[dict[str, Any]] = field(default_factory=list)
    advice: list[dict[str, Any]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)


@table_asset(
    "ml",
    deps=DEPS,
    where_there=PRIORS,
    columns=FORECAST_COLUMNS,
    key=FORECAST_KEY,
    also={ADVICE: ADVICE_COLUMNS, CURVES: CURVE_COLUMNS},
    settings=["currency", "ads_currency", "ads_greatest_step", "ads_most_per_day", "ads_holidays"],
    owner="team:marketing",
    kinds=("scipy", "delta"),
    checks=(
        Check(
            "advised_within_bounds",
            """
            SELECT count(*) FROM ml.ads_budget_advice
            WHERE status = 'advised' AND campaign_id <> ''
              AND NOT coalesce(advised BETWEEN least - 0.001 AND most + 0.001, false)
            """,
            "No advice is beyond what the settings allow.",
            blocking=True,
        ),
        Check(
            "advertisers_modelled",
            """
            SELECT count(*) AS offending, string_agg(advertiser_id || ': ' || reason, '; ') AS why
            FROM ml.ads_budget_advice WHERE campaign_id = '' AND status = 'not_modelled'
            """,
            "Every advertiser has days enough to learn from.",
        ),
    ),
)
def ads_budget_forecasts(run: TableRun) -> None:
    """Forecasts of contribution before ads for the present spend, each kept as it was made.

    Grain: a day of a forecast, and a total of 7, 14 and 28 days. Key: forecast_id, day, days.
    Written with it: what is advised (ml/ads_budget_advice) and the curves behind it
    (ml/ads_budget_curves), of each advertiser the newest. Sources: modeled/order_ledger,
    modeled/ad_performance_daily, modeled/ad_accounts, raw/meta_insight_readings; where they are
    there raw/experiments, modeled/experiment_readings, modeled/pooled_insights.
    """
    before = _Before.read(run)
    code = fingerprint.code(_MODEL)
    versions = {
        key: run.lakehouse.tables.stamp(key).get("data_version")
        for key in (*DEPS, *filter(run.exists, PRIORS))
    }
    made, known = _Made(), Known.read(run)
    for advertiser, days in budget_days(run).items():
        _add(run, made, before, advertiser, days, code, versions, known)
    run.metadata["new_forecasts"] = len({row["forecast_id"] for row in made.forecasts})
    _overwrite(run, made.advice, ADVICE_COLUMNS, ADVICE, ADVICE_KEY)
    _overwrite(run, made.curves, CURVE_COLUMNS, CURVES, ADVICE_KEY)
    forecasts = pa.Table.from_pylist(made.forecasts, arrow_schema(FORECAST_COLUMNS))
    if made.forecasts or not run.exists(FORECASTS):
        run.append(forecasts)
    else:
        run.keep()


@dataclass(frozen=True)
class _Before:
    """What was written last: forecasts by id, advice and curves by what they rest on."""

    forecasts: frozenset[str]
    advice: Mapping[str, list[dict[str, Any]]]
    curves: Mapping[str, list[dict[str, Any]]]

    @classmethod
    def read(cls, run: TableRun) -> "_Before":
        known: frozenset[str] = frozenset()
        if run.exists(FORECASTS):
            ids = run.sql("SELECT DISTINCT forecast_id FROM ml.ads_budget_forecasts")
            known = frozenset(ids["forecast_id"].to_pylist())
        return cls(
            known,
            _by_evidence(run, ADVICE, "SELECT * FROM ml.ads_budget_advice", ADVICE_COLUMNS),
            _by_evidence(run, CURVES, "SELECT * FROM ml.ads_budget_curves", CURVE_COLUMNS),
        )


def _by_evidence(
    run: TableRun, key: str, query: str, columns: Mapping[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    if run.exists(key) and set(run.lakehouse.tables.columns(key)) == set(columns):
        for row in run.sql(query).to_pylist():
            found.setdefault(row["evidence_version"], []).append(row)
    return found


def _add(
    run: TableRun,
    made: _Made,
    before: _Before,
    advertiser: str,
    days: BudgetDays | str,
    code: str,
    versions: Mapping[str, Any],
    known: Known,
) -> None:
    """Add what there is to say of an advertiser, newly made unless it was already."""
    settings = run.settings.of(AdsSettings)
    currency, now = currency_of_sums(run.settings), run.lakehouse.home.now().astimezone(UTC)
    most = settings.ads_most_per_day.get(advertiser)
    caps = [settings.ads_greatest_step, str(most)]
    events: dict[str, list[date]] = {}
    priors = Priors({}, (), ())
    rests_on = days if isinstance(days, str) else ""
    if not isinstance(days, str):
        events = public_holidays(settings.ads_holidays, days, DAYS)
        priors = known.of(advertiser, days)
        rests_on = content(days, events, priors.returns, priors.holdouts)
    forecast_id = digest(advertiser, currency, rests_on, code)
    evidence = digest(forecast_id, caps)
    if evidence in before.advice and (
        forecast_id in before.forecasts or evidence not in before.curves
    ):
        made.advice += before.advice[evidence]
        made.curves += before.curves.get(evidence, [])
        return
    common = as_of(now, currency, advertiser_id=advertiser)
    of_advice = {**common, "evidence_version": evidence, "priors": priors.said}
    try:
        if isinstance(days, str):
            raise TooShortError(days)
        model = learn(days.series(events), priors.knowledge)
        curves = Curves.of(model, DAYS)
        told = forecast(model, ahead(model))
        advice = _advised(model, settings.ads_greatest_step, None if most is None else float(most))
        forecasts = forecast_rows(days, told, {**common, "forecast_id": forecast_id}, versions)
        of_advice |= {"forecast_id": forecast_id}
        advised = advice_rows(days, model, advice, curves, of_advice)
    except (GivenError, np.linalg.LinAlgError) as error:
        run.log.warning(f"{advertiser} cannot be modelled: {error}")
        made.advice.append(_not_modelled(of_advice, days, error))
        return
    if forecast_id not in before.forecasts:
        made.forecasts += forecasts
    made.advice += advised
    rests = {"advertiser_id": advertiser, "evidence_version": evidence}
    made.curves += curve_rows(days, curves, rests)


def _advised(model: Model, greatest_step: float, most: float | None) -> Advice:
    """The advice by campaign under the present total, or under the most that may be spent."""
    present = float(model.series.recent().sum())
    total = present if most is None else min(present, most)
    return allocate(model, total=total, greatest_step=greatest_step, days=DAYS, by="campaign")


def _not_modelled(
    common: Mapping[str, Any], days: BudgetDays | str, error: Exception
) -> dict[str, Any]:
    of_days = {} if isinstance(days, str) else {
        "learnt_from": days.first, "learnt_until": days.last,
    }  # fmt: skip
    code = "too_few_days" if isinstance(error, TooShortError) else "not_modelled"
    return {
        **common, **of_days, "campaign_id": ALL, "status": "not_modelled", "reasons": [code],
        "reason": str(error), "experiment": "", "days": DAYS,
    }  # fmt: skip


def _overwrite(
    run: TableRun,
    rows: list[dict[str, Any]],
    columns: Mapping[str, Any],
    key: str,
    order: tuple[str, ...],
) -> None:
    rows = sorted(rows, key=lambda row: tuple(row[name] for name in order))
    run.overwrite(pa.Table.from_pylist(rows, arrow_schema(columns)), key)
