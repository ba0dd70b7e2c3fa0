"""Budgets of an advertiser: forecasts with their record, advice, and what another would bring."""

import datetime as dt
from dataclasses import asdict
from decimal import Decimal
from enum import IntEnum
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from dmp_assets.ads.model.budgets.curves import PlanError
from dmp_assets.ads.service import planning
from dmp_assets.ads.service.store import advice, record
from dmp_assets.ads.service.store.advice import Evidence
from dmp_assets.ads.settings import AdsSettings
from dmp_assets.platform.api.advertisers import Seat, seat
from dmp_assets.platform.api.output import Page, csv_or_json, rows_answer
from dmp_assets.platform.api.problems import NO_CONTROL, FieldError, Problem, responses
from dmp_assets.platform.api.state import Service, service_of

router = APIRouter(prefix="/v1/ads", tags=["ads"])
At = Annotated[Seat, Depends(seat("ads:read"))]
Id = Annotated[str, Field(min_length=1, max_length=100, pattern=NO_CONTROL)]
Amount = Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=4)]
Budgets = Annotated[dict[Id, Amount], Field(max_length=100)]
_UNIT = "in the currency of sums"
_INTERVALS = ("sales", "contribution", "profit", "profit_at_present", "gain")


class Horizon(IntEnum):
    """Days over which forecasts are scored."""

    WEEK = 7
    TWO_WEEKS = 14
    FOUR_WEEKS = 28


class ForecastRow(BaseModel):
    """A day of a forecast, or a total. Quantiles are of contribution before ads."""

    forecast_id: str
    made_at: dt.datetime
    learnt_from: dt.date = Field(description="The first day that was learnt from.")
    learnt_until: dt.date = Field(description="The last day that was learnt from.")
    currency: str
    day: dt.date = Field(description="The day; of a total its first day.")
    days: int = Field(description="1, or a total of 7, 14 or 28 days.")
    q025: Decimal
    q100: Decimal
    q250: Decimal
    q500: Decimal
    q750: Decimal
    q900: Decimal
    q975: Decimal
    planned_spend: Decimal = Field(description=f"The spend for which it holds, {_UNIT}.")


class Score(BaseModel):
    """How good a forecast was over a horizon whose days are all closed."""

    forecast_id: str
    made_at: dt.datetime
    horizon: int
    first_day: dt.date
    last_day: dt.date
    days: int = Field(description="Days of which it is known what came.")
    actual: Decimal | None = Field(description="What came; null: days are gaps.")
    expected: Decimal | None = Field(description="The median of the forecast's total.")
    within_80: bool | None = Field(description="The total lies within its interval of 80 %.")
    within_95: bool | None
    planned_spend: Decimal | None
    actual_spend: Decimal | None
    wape: float | None = Field(description="Weighted absolute percentage error, as a share.")
    naive_wape: float | None = Field(description="The same of repeating the last week.")
    mase: float | None = Field(description="Mean absolute scaled error.")
    coverage_80: float | None = Field(description="Share of days within the interval of 80 %.")
    coverage_95: float | None
    pinball: float | None = Field(description="Mean pinball loss, in money.")


class HorizonRecord(BaseModel):
    """The record of all scored forecasts by horizon: means, and shares of forecasts."""

    horizon: int
    forecasts: int
    first_day: dt.date
    last_day: dt.date
    wape: float | None
    naive_wape: float | None
    mase: float | None
    coverage_80: float | None
    coverage_95: float | None
    pinball: float | None
    beats_naive: float | None = Field(description="Share of forecasts whose WAPE is smaller.")
    totals_within_80: float | None = Field(description="Share of totals within their 80 %.")
    totals_within_95: float | None


class Interval(BaseModel):
    """Quantiles 10, 50 and 90 %."""

    low: Decimal
    middle: Decimal
    high: Decimal


class AdviceLine(BaseModel):
    """What is advised for a campaign. Amounts are by day, in the currency of sums."""

    campaign_id: str = Field(description="`others`: the small campaigns together.")
    campaign_name: str
    present: Decimal = Field(description="Spend a day, mean of the last 28 days.")
    advised: Decimal
    least: Decimal
    most: Decimal
    is_held: bool = Field(description="Nothing can be said of another budget: it is left.")
    reasons: list[str]
    reason: str
    marginal_low: float = Field(description="Contribution of one more unit of spend, 10 %.")
    marginal: float
    marginal_high: float
    variation: float = Field(description="By how much of its mean its spend varied by itself.")


class StandingBudget(BaseModel):
    """A budget a day as it stood at Meta when it was read last."""

    account_id: str
    object_id: str
    object_kind: Literal["campaign", "adset"]
    object_name: str | None
    campaign_id: str
    effective_status: str | None
    currency: str | None
    daily_budget: Decimal | None = Field(description="Null: it is for the whole life.")


class Advice(BaseModel):
    """The newest advice. Sums are over `days`, in the currency of sums."""

    evidence_version: str = Field(description="Name it when you propose or approve a plan.")
    status: Literal["advised", "no_advice", "not_modelled"]
    reasons: list[str]
    reason: str = Field(description="Why nothing is advised; empty where there is an advice.")
    experiment: str = Field(description="The experiment that would settle it.")
    priors: list[str] = Field(
        description="What was known beside the days: experiments, pooled insights."
    )
    made_at: dt.datetime
    learnt_from: dt.date | None
    learnt_until: dt.date | None
    currency: str
    days: int
    present: Decimal | None = Field(description="Spend a day at present.")
    advised: Decimal | None
    sales: Interval | None = Field(description="All sales that are expected, paid or not.")
    contribution: Interval | None = Field(description="Contribution before ads.")
    profit: Interval | None = Field(description="Contribution less spend.")
    profit_at_present: Interval | None
    gain: Interval | None = Field(description="Profit more than at present.")
    wape: float | None = Field(description="Error of the model in back-tests.")
    naive_wape: float | None
    lines: list[AdviceLine]
    budgets: list[StandingBudget]
    is_writing: bool = Field(description="Whether approved plans are written to Meta here.")


class Asked(BaseModel):
    """A budget to ask about."""

    model_config = ConfigDict(extra="forbid")

    budgets: Budgets = Field(
        description=f"Spend a day by campaign, {_UNIT}; others stay as they are.",
        examples=[{"2384": 120}],
    )


class PlanLine(BaseModel):
    """Spend a day of a campaign, in the currency of sums."""

    campaign_id: str
    campaign_name: str
    present: Decimal
    planned: Decimal
    problem: str = Field(description="Why it, or a part of it, is not written to Meta; else empty.")


class Change(BaseModel):
    """A budget a day at Meta as a plan changes it, in the account's currency."""

    object_id: str
    account_id: str
    object_kind: str
    object_name: str | None
    campaign_id: str
    currency: str
    before: Decimal
    after: Decimal


class Expected(BaseModel):
    """What is expected over 28 days; null where sales cannot be told from contribution."""

    sales: Interval | None
    sales_at_present: Interval | None
    contribution: Interval
    contribution_at_present: Interval
    profit: Interval
    profit_at_present: Interval
    gain: Interval


class Refused(BaseModel):
    """A cap that the plan would pass."""

    campaign_id: str | None = Field(description="Null: of all together.")
    message: str


class Outcome(BaseModel):
    """What a budget would bring, what it would change at Meta, and what forbids it."""

    evidence_version: str
    days: int
    currency: str
    present: Decimal = Field(description="Spend a day at present.")
    planned: Decimal
    lines: list[PlanLine]
    changes: list[Change]
    expected: Expected
    refused: list[Refused] = Field(description="Caps that it would pass; none: may be proposed.")


@router.get(
    "/forecasts",
    response_model=Page[ForecastRow],
    responses={**csv_or_json(ForecastRow), **responses(401, 403, 404, 406, 422, 429)},
)
def forecasts(
    request: Request,
    response: Response,
    at: At,
    forecast: Annotated[
        str | None, Query(max_length=100, pattern=NO_CONTROL, description="Its id; else the newest")
    ] = None,
) -> Any:
    """A forecast as it was made: its days, then the totals of 7, 14 and 28 days."""
    rows = service_of(request).in_store(
        lambda store: record.forecast(store, at.advertiser_id, forecast)
    )
    if forecast is not None and not rows:
        raise Problem(404, "not-found", "there is no such forecast")
    return rows_answer(request, response, ForecastRow, [_read(ForecastRow, row) for row in rows])


@router.get(
    "/forecasts/scores",
    response_model=Page[Score],
    responses={**csv_or_json(Score), **responses(401, 403, 404, 406, 422, 429)},
)
def forecast_scores(
    request: Request,
    response: Response,
    at: At,
    horizon: Annotated[Horizon | None, Query(description="Only this one.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Any:
    """How good each forecast was, those of the newest days first."""
    rows = service_of(request).in_store(
        lambda store: record.scores(store, at.advertiser_id, horizon, limit)
    )
    return rows_answer(request, response, Score, [_read(Score, row) for row in rows])


@router.get(
    "/forecasts/record",
    response_model=Page[HorizonRecord],
    responses={**csv_or_json(HorizonRecord), **responses(401, 403, 404, 406, 422, 429)},
)
def forecast_record(request: Request, response: Response, at: At) -> Any:
    """How good all forecasts were whose days are closed, by horizon."""
    rows = service_of(request).in_store(lambda store: record.by_horizon(store, at.advertiser_id))
    return rows_answer(request, response, HorizonRecord, [_read(HorizonRecord, r) for r in rows])


@router.get("/budget", responses=responses(401, 403, 404, 422, 429))
def budget(request: Request, at: At) -> Advice:
    """The newest advice: which budget would earn more, or why nothing is advised."""
    service = service_of(request)

    def read(store: Any) -> tuple[Evidence | None, list[advice.Budget]]:
        return advice.evidence(store, at.advertiser_id), advice.budgets(store, at.advertiser_id)

    evidence, standing = service.in_store(read)
    if evidence is None:
        raise _nothing_yet()
    whole = evidence.whole
    plain = {name: whole[name] for name in Advice.model_fields if name in whole}
    return Advice.model_validate(
        {
            **plain,
            **{name: _interval(whole, name) for name in _INTERVALS},
            "lines": [_read(AdviceLine, row) for row in evidence.lines],
            "budgets": [asdict(one) for one in standing],
            "is_writing": service.settings.of(AdsSettings).ads_apply_budgets,
        }
    )


@router.post("/budget/what-if", responses=responses(400, 401, 403, 404, 409, 422, 429))
def what_if(request: Request, at: At, asked: Asked) -> Outcome:
    """What another budget would bring over the next 28 days; nothing is kept or changed."""
    return outcome(service_of(request), at.advertiser_id, asked.budgets)


def outcome(service: Service, advertiser_id: str, budgets: dict[str, Decimal] | None) -> Outcome:
    """What a budget comes to, without any the advised one.

    Raises Problem 404 where there is no advice yet, 409 where the advertiser cannot be modelled,
    422 for a campaign that is not known.
    """

    def read(store: Any) -> tuple[Evidence | None, advice.Outcomes | None, list[advice.Budget]]:
        return (
            advice.evidence(store, advertiser_id), advice.outcomes(store, advertiser_id),
            advice.budgets(store, advertiser_id),
        )  # fmt: skip

    evidence, outcomes, standing = service.in_store(read)
    if evidence is None:
        raise _nothing_yet()
    if outcomes is None or not evidence.is_modelled:
        raise Problem(409, "conflict", f"nothing can be said: {evidence.whole['reason']}")
    if outcomes.evidence_version != evidence.version:  # published one after the other
        raise Problem(409, "conflict", "a new advice is being published: try again")
    try:
        planned = planning.spend_of(evidence, budgets)
        plan, present = planning.expected(outcomes, planned, evidence.present)
    except PlanError as error:
        raise Problem(
            422, "invalid",
            errors=[FieldError(field=f"body.budgets.{error.line}", message=str(error))],
        ) from error  # fmt: skip
    made = planning.draft(evidence, planned, standing, service.settings.of(AdsSettings))
    return Outcome(
        evidence_version=evidence.version,
        days=planning.DAYS,
        currency=evidence.whole["currency"],
        present=sum(evidence.present.values(), Decimal(0)),
        planned=sum(planned.values(), Decimal(0)),
        lines=[PlanLine.model_validate(line, from_attributes=True) for line in made.lines],
        changes=[Change.model_validate(item, from_attributes=True) for item in made.items],
        expected=Expected.model_validate(planning.told(outcomes, plan, present)),
        refused=[Refused.model_validate(one, from_attributes=True) for one in made.refusals],
    )


def _interval(row: Any, name: str) -> Interval | None:
    if row[name] is None:
        return None
    return Interval(low=row[f"{name}_low"], middle=row[name], high=row[f"{name}_high"])


def _read(model: type[BaseModel], row: Any) -> Any:
    return model.model_validate({name: row[name] for name in model.model_fields})


def _nothing_yet() -> Problem:
    return Problem(404, "not-found", "there is no advice yet: it is made by the next run")
