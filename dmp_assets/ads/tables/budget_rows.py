"""What is kept of a budget model as rows: a forecast, an advice, and curves for "what if"."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from dmp_assets.ads.model.budgets.allocate import Advice
from dmp_assets.ads.model.budgets.curves import Curves, Outlook, outlook
from dmp_assets.ads.model.budgets.forecast import Forecast, Model
from dmp_assets.ads.model.budgets.reasons import Reason, Trial
from dmp_assets.ads.model.budgets.scores import LEVELS
from dmp_assets.ads.model.budgets.series import Floats, SeriesError
from dmp_assets.ads.tables.budget_days import CHANNEL, OTHERS, BudgetDays
from dmp_assets.platform.cleaning.machine_values import AMOUNT
from dmp_assets.platform.lake.columns import Column

ALL = ""
"""Id of all campaigns together."""
DAYS = 28
QUANTILES = tuple(f"q{level * 1000:03.0f}" for level in LEVELS)
"""Columns of the quantiles of a forecast, by LEVELS: thousandths."""
_ADVERTISER = Column("string", "The advertiser.")
_CAMPAIGN = Column("string", "The campaign; `others`: the small ones together; empty: all.")
_UNIT = "in the currency of sums"
_MADE = {
    "made_at": Column("timestamp", "When it was made (UTC)."),
    "learnt_from": Column("date", "The first day that was learnt from."),
    "learnt_until": Column("date", "The last day that was learnt from."),
    "currency": Column("string", "The currency of sums (ISO 4217)."),
}
FORECAST_COLUMNS = {
    "forecast_id": Column("string", "The forecast: a hash of what it was made from, and how."),
    "advertiser_id": _ADVERTISER,
    **_MADE,
    "day": Column("date", "The day that is forecast; of a total its first day."),
    "days": Column("long", "Days that the row is of: 1, or a total of 7, 14 or 28."),
    **{
        name: Column(AMOUNT, f"Contribution before ads, quantile {level * 100:g} %, {_UNIT}.")
        for name, level in zip(QUANTILES, LEVELS, strict=True)
    },
    "planned_spend": Column(AMOUNT, f"The spend for which it holds, {_UNIT}."),
    "planned_by_channel": Column("string", "That spend by channel (JSON)."),
    "data_versions": Column("string", "Data versions of the tables that were read (JSON)."),
}
FORECAST_KEY = ("forecast_id", "day", "days")


def _interval(name: str, about: str, kind: str = AMOUNT) -> dict[str, Column]:
    ends = (f"{name}_low", "quantile 10 %"), (name, "median"), (f"{name}_high", "quantile 90 %")
    return {column: Column(kind, f"{about}; {level}.") for column, level in ends}


ADVICE_COLUMNS = {
    "advertiser_id": _ADVERTISER,
    "campaign_id": _CAMPAIGN,
    "campaign_name": Column("string", "What it is called; null of all."),
    "evidence_version": Column("string", "What it rests on; whoever approves a plan names it."),
    "forecast_id": Column("string", "The forecast of the same days; null: none could be made."),
    **_MADE,
    "status": Column("string", "`advised`, `no_advice` or `not_modelled`."),
    "reasons": Column("array<string>", "Why nothing is advised, or not for this one, as codes."),
    "reason": Column("string", "The same in words; empty where there is nothing to say."),
    "experiment": Column("string", "The experiment that would settle it; empty: none."),
    "priors": Column(
        "array<string>", "What was known of returns beside the days: experiments, pooled insights."
    ),
    "days": Column("long", "Days that sums are of."),
    "present": Column(AMOUNT, f"Spend a day, mean of the last 28 days, {_UNIT}."),
    "advised": Column(AMOUNT, f"Spend a day that is advised, {_UNIT}; else the present one."),
    "least": Column(AMOUNT, f"Least spend a day that was allowed, {_UNIT}."),
    "most": Column(AMOUNT, f"Most spend a day that was allowed, {_UNIT}."),
    "is_held": Column("boolean", "Its spend hardly varied or is none: it is left where it is."),
    "variation": Column("double", "By how much of its mean its spend varied by itself."),
    **_interval("marginal", "Contribution of one more unit of spend", "double"),
    **_interval("contribution", f"Of all: contribution before ads as advised, {_UNIT}"),
    **_interval("profit", f"Of all: contribution less spend as advised, {_UNIT}"),
    **_interval("profit_at_present", f"Of all: contribution less spend at present, {_UNIT}"),
    **_interval("gain", f"Of all: what the advised spend earns more, {_UNIT}"),
    **_interval("sales", f"Of all: sales, by the contribution of the last 91 days, {_UNIT}"),
    "wape": Column("double", "Of all: error of the model in back-tests, as a share."),
    "naive_wape": Column("double", "Of all: error of repeating the last season."),
}
ADVICE_KEY = ("advertiser_id", "campaign_id")
CURVE_COLUMNS = {
    "advertiser_id": _ADVERTISER,
    "campaign_id": _CAMPAIGN,
    "evidence_version": ADVICE_COLUMNS["evidence_version"],
    "sales_by_contribution": Column("double", "Sales for a unit of contribution; null: unknown."),
    "scales": Column("array<double>", "Spend a day at which each part of the effect saturates."),
    "draws": Column(
        "array<double>", "Slopes of the parts by draw, draw by draw; of all the base by draw."
    ),
}


def digest(*parts: Any) -> str:
    """A short hash of values that JSON can hold."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def content(days: BudgetDays, events: Mapping[str, list[date]], *priors: Any) -> str:
    """A hash of all that is learnt from."""
    inside = days.known()
    spend = {name: [of.get(day, 0) for day in inside] for name, of in days.spend.items()}
    return digest(
        inside,
        [days.contribution.get(day, 0) for day in inside],
        spend,
        events,
        *filter(None, priors),
    )


def forecast_rows(
    days: BudgetDays, told: Forecast, common: Mapping[str, Any], versions: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """A row a day, and one for each total. Raises SeriesError for amounts beyond all measure."""
    first, planned = told.dates[0].item(), told.spend.sum(axis=1)
    spans = [(told.dates[n].item(), 1, told.quantiles[n], planned[n]) for n in range(len(planned))]
    spans += [(first, span, of, planned[:span].sum()) for span, of in told.totals.items()]
    return [
        {
            **common,
            "learnt_from": days.first,
            "learnt_until": days.last,
            "day": day,
            "days": span,
            **{name: money(value) for name, value in zip(QUANTILES, quantiles, strict=True)},
            "planned_spend": money(spend),
            "planned_by_channel": json.dumps({CHANNEL: str(money(spend))}),
            "data_versions": json.dumps(versions, sort_keys=True),
        }
        for day, span, quantiles, spend in spans
    ]


def advice_rows(
    days: BudgetDays, model: Model, advice: Advice, curves: Curves, common: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """A row a campaign, and one of all. Raises SeriesError for amounts beyond all measure."""
    present = np.array([line.present for line in advice.lines])
    advised = np.array([line.advised for line in advice.lines])
    shared = {
        **common, "status": "advised" if advice.given else "no_advice",
        "learnt_from": days.first, "learnt_until": days.last, "days": advice.days,
    }  # fmt: skip
    rows = []
    for line in advice.lines:
        why = [reason for reason in advice.reasons if reason.line == line.name]
        rows.append(
            {
                **shared,
                "campaign_id": line.name,
                "campaign_name": _called(days, line.name),
                "reasons": [reason.code for reason in why],
                "reason": _in_words(days, why),
                "experiment": _in_words(
                    days, [one for one in advice.trials if one.line == line.name]
                ),
                **{name: money(getattr(line, name)) for name in
                   ("present", "advised", "least", "most")},
                "is_held": line.held,
                "variation": line.variation,
                **dict(zip(_interval("marginal", ""), line.marginal, strict=True)),
            }
        )  # fmt: skip
    of_all = [reason for reason in advice.reasons if reason.line is None or not advice.given]
    told = outlook(curves, advised, present, advice.days)
    at_present = outlook(curves, present, present, advice.days)
    rows.append(
        {
            **shared,
            "campaign_id": ALL,
            "reasons": list(dict.fromkeys(reason.code for reason in of_all)),
            "reason": _in_words(days, of_all),
            "experiment": _in_words(days, advice.trials),
            **{
                name: money(sum(getattr(line, name) for line in advice.lines))
                for name in ("present", "advised", "least", "most")
            },
            **_outlook(told, days.sales_by_contribution()),
            **_amounts("profit_at_present", at_present.profit),
            "wape": model.record.wape,
            "naive_wape": model.record.naive_wape,
        }
    )
    return rows


def curve_rows(days: BudgetDays, curves: Curves, common: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a campaign, and one of all with the base."""
    ratio = days.sales_by_contribution()
    shared = {**common, "sales_by_contribution": ratio}
    of_all = {**shared, "campaign_id": ALL, "scales": [], "draws": curves.base.tolist()}
    return [of_all] + [
        {
            **shared,
            "campaign_id": name,
            "scales": curves.scales[at].tolist(),
            "draws": curves.slopes[:, at].ravel().tolist(),
        }
        for at, name in enumerate(curves.names)
    ]


def _called(days: BudgetDays, campaign: str) -> str:
    """What a campaign is called in a sentence."""
    return "the other campaigns" if campaign == OTHERS else days.names.get(campaign, campaign)


def _in_words(days: BudgetDays, said: Iterable[Reason] | Iterable[Trial]) -> str:
    """Reasons or experiments in words, with campaigns by their names."""
    return " ".join(
        (replace(one, line=_called(days, one.line)) if one.line is not None else one).text
        for one in said
    )


def money(value: float) -> Decimal:
    """An amount as it is kept. Raises SeriesError for one that no column holds."""
    if not np.isfinite(value) or abs(value) >= 1e14:
        raise SeriesError("the forecast has no bounds: the days are too unlike each other")
    return Decimal(f"{value:.4f}")


def ahead(model: Model) -> Floats:
    """The spend that is planned for the days to come: the present one, (28, campaigns)."""
    return np.tile(model.series.recent(), (DAYS, 1))


def _outlook(told: Outlook, ratio: float | None) -> dict[str, Any]:
    sales = None if ratio is None else tuple(ratio * value for value in told.target)
    return {
        **_amounts("contribution", told.target),
        **_amounts("profit", told.profit),
        **_amounts("gain", told.gain),
        **(_amounts("sales", sales) if sales else {}),
    }


def _amounts(name: str, values: tuple[float, ...]) -> dict[str, Decimal]:
    return {column: money(value) for column, value in zip(_interval(name, ""), values, strict=True)}


def as_of(made_at: datetime, currency: str, **own: Any) -> dict[str, Any]:
    """What every row of one piece of work holds."""
    return {"made_at": made_at, "currency": currency, **own}
