"""The budget planner: the advice, what another budget would bring, and plans until they are undone.

What is shown and done is that of the API's routes, which these call.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Annotated, Any
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from dmp_assets.ads.service import charts, numbers
from dmp_assets.ads.service.charts import Chart, Line
from dmp_assets.ads.service.routes import budgets, plans
from dmp_assets.ads.service.routes.budgets import (
    Advice,
    AdviceLine,
    Amount,
    Id,
    Interval,
    Outcome,
)
from dmp_assets.ads.service.routes.plans import Approval, BudgetPlan, Evidence, Proposed
from dmp_assets.ads.service.spans import Span
from dmp_assets.ads.service.store import members, record, unrated
from dmp_assets.ads.service.store import plans as plans_of
from dmp_assets.ads.service.viewing import Viewer, Views, plain_page
from dmp_assets.ads.settings import AdsSettings, currency_of_sums
from dmp_assets.platform.api.advertisers import Seat, seat
from dmp_assets.platform.api.problems import FieldError, Problem
from dmp_assets.platform.api.routes.pages import PageRoute, wants_page
from dmp_assets.platform.api.state import service_of

router = APIRouter(prefix="/ads", include_in_schema=False, route_class=PageRoute)
PATH = "/ads/budget"
MOST_PLANS = 20
Acts = Annotated[Seat, Depends(seat("ads:write", acts=True))]
Campaigns = Annotated[list[Id], Form(max_length=100)]
Spends = Annotated[list[Amount], Form(max_length=100)]
_EXPECTED = (
    ("sales", "sales_at_present", "All sales", "paid or not"),
    ("contribution", "contribution_at_present", "Contribution", "before ads"),
    ("profit", "profit_at_present", "Profit", "contribution less spend"),
)


@dataclass(frozen=True)
class Bar:
    """An interval within WIDTH: where 80 % of it lie, and its middle."""

    left: int
    width: int
    middle: int


@dataclass(frozen=True)
class Comparison:
    """What is expected of a budget and of the present one. `bars` have one scale."""

    label: str
    about: str
    planned: Interval
    present: Interval
    bars: tuple[Bar, Bar]


@router.get("/budget")
def planner(
    request: Request,
    viewer: Views,
    campaign: Annotated[list[Id] | None, Query(max_length=100)] = None,
    spend: Annotated[list[Amount] | None, Query(max_length=100)] = None,
) -> HTMLResponse:
    """The newest advice with its record, and what the budget that is asked about would bring."""
    asked = None if campaign is None and spend is None else _budgets(campaign or [], spend or [])
    return _page(request, viewer, asked=asked)


def _budgets(campaigns: Sequence[str], spends: Sequence[Decimal]) -> dict[str, Decimal]:
    """Spend a day by campaign. Raises Problem 422."""
    if len(campaigns) != len(spends):
        wrong = FieldError(field="spend", message="an amount for each campaign")
        raise Problem(422, "invalid", errors=[wrong])
    return dict(zip(campaigns, spends, strict=True))


def _page(
    request: Request,
    viewer: Viewer,
    *,
    asked: Mapping[str, Decimal] | None = None,
    problem: Problem | None = None,
) -> HTMLResponse:
    service, at = service_of(request), viewer.seat
    found: dict[str, Any] = {"advice": None, "outcome": None, "comparisons": [], "asked_of": {}}
    if at is not None:
        found["advice"], found["nothing"] = _or_problem(lambda: budgets.budget(request, at))
    if at is not None and asked is not None and problem is None:
        tried, problem = _or_problem(
            lambda: budgets.outcome(service, at.advertiser_id, dict(asked))
        )
        if tried is not None:
            found |= {"outcome": tried, "comparisons": compared(tried)}
    advice: Advice | None = found["advice"]
    if advice is not None:
        found["asked_of"] = {one.campaign_id: to_try(one) for one in advice.lines}
        found["asked_of"] |= {one: plain(spend) for one, spend in (asked or {}).items()}

    def read(store: sa.Connection, advertiser_id: str) -> dict[str, Any]:
        kept = plans_of.newest(store, advertiser_id, MOST_PLANS)
        actors = {actor for one in kept for actor in (one.proposed_by, one.approved_by) if actor}
        return {
            "plans": [plans.shown(one) for one in kept],
            "names": members.names(store, actors),
            "unrated": unrated.of(store, advertiser_id, currency_of_sums(service.settings)),
            "record": record.by_horizon(store, advertiser_id),
            "forecast": _forecast(record.forecast(store, advertiser_id, None)),
        }

    own = service.settings.of(AdsSettings)
    return plain_page(
        request, viewer, "budget", "ads_budget.html", read,
        problem.status_code if problem else 200, problem=problem, width=charts.WIDTH,
        answer=answer(advice), is_writing=own.ads_apply_budgets,
        **({"nothing": None} | found),
    )  # fmt: skip


def _or_problem(work: Callable[[], Any]) -> tuple[Any, Problem | None]:
    try:
        return work(), None
    except Problem as problem:
        return None, problem


def to_try(line: AdviceLine) -> str:
    """What is advised, in cents towards what is spent now: never a greater step than is allowed."""
    if line.advised == line.present:
        return plain(line.present)
    up = ROUND_CEILING if line.advised < line.present else ROUND_FLOOR
    return plain(line.advised.quantize(Decimal("0.01"), up))


def plain(amount: Decimal) -> str:
    """An amount as a field of a form holds it."""
    return f"{amount:.4f}".rstrip("0").rstrip(".")


def answer(advice: Advice | None) -> str:
    """What the page says first."""
    if advice is None:
        return "There is no advice yet"
    if advice.status != "advised" or advice.gain is None:
        return f"No advice: {advice.reason}"
    gain = advice.gain
    what = "Another split of the budget"
    if advice.advised != advice.present:
        now, then = numbers.cents(advice.present), numbers.cents(advice.advised)
        what = f"A budget of {then} a day (now {now})" if then != now else what
    return (
        f"{what} would bring {numbers.money(gain.middle)} {advice.currency} more profit in "
        f"{advice.days} days (80 %: {numbers.money(gain.low)} to {numbers.money(gain.high)})"
    )


def compared(outcome: Outcome) -> list[Comparison]:
    """What is expected of the budget beside what is of the present one."""
    found = []
    for name, before, label, about in _EXPECTED:
        planned, present = getattr(outcome.expected, name), getattr(outcome.expected, before)
        if planned is None or present is None:
            continue
        low, high = (float(one) for one in (min(planned.low, present.low),
                                            max(planned.high, present.high)))  # fmt: skip
        room = (high - low or 1.0) / 20
        low, scale = low - room, charts.WIDTH / (high - low + 2 * room)
        bars = tuple(_bar(one, low, scale) for one in (planned, present))
        found.append(Comparison(label, about, planned, present, (bars[0], bars[1])))
    return found


def _bar(one: Interval, low: float, scale: float) -> Bar:
    left, right = ((float(value) - low) * scale for value in (one.low, one.high))
    return Bar(round(left), max(round(right - left), 2), round((float(one.middle) - low) * scale))


def _forecast(rows: Sequence[Mapping[str, Any]]) -> Chart | None:
    """The newest forecast by day."""
    days = {row["day"]: row for row in rows if row["days"] == 1}
    if not days:
        return None
    any_row = next(iter(days.values()))

    def line(column: str, label: str, *, dashed: bool) -> Line:
        values = {day: row[column] for day, row in days.items()}
        return Line(label, values, "grey" if dashed else "blue", dashed)

    return Chart(
        "forecast",
        f"What will the shop contribute a day at the present spend? {any_row['currency']}",
        Span(min(days), max(days)),
        [
            line("q900", "80 %, high", dashed=True), line("q500", "Expected", dashed=False),
            line("q100", "80 %, low", dashed=True),
        ],
        "money",
        any_row["currency"],
    )  # fmt: skip


# plans -------------------------------------------------------------------------------------------
@router.post("/budget/propose")
def propose(
    request: Request, at: Acts, evidence: Annotated[Evidence, Form()], campaign: Campaigns,
    spend: Spends,
) -> Response:  # fmt: skip
    """Propose the budget that is on the page, on the advice that was shown."""
    asked = _budgets(campaign, spend)
    proposed = Proposed(evidence_version=evidence, budgets=asked)
    return _done(request, at, lambda: plans.propose(request, at, proposed), asked)


@router.post("/budget/approve")
def approve(
    request: Request, at: Acts, plan: Annotated[uuid.UUID, Form()],
    evidence: Annotated[Evidence, Form()],
) -> Response:  # fmt: skip
    """Approve a plan by the evidence that was shown."""
    approval = Approval(evidence_version=evidence)
    return _done(request, at, lambda: plans.approve(request, at, plan, approval))


@router.post("/budget/apply")
def apply(request: Request, at: Acts, plan: Annotated[uuid.UUID, Form()]) -> Response:
    """Write an approved plan to Meta, or go on with what waited."""
    return _done(request, at, lambda: plans.apply(request, at, plan))


@router.post("/budget/undo")
def undo(request: Request, at: Acts, plan: Annotated[uuid.UUID, Form()]) -> Response:
    """Bring back the budgets that stood at Meta before."""
    return _done(request, at, lambda: plans.undo(request, at, plan))


def _done(
    request: Request,
    at: Seat,
    work: Callable[[], BudgetPlan],
    asked: Mapping[str, Decimal] | None = None,
) -> Response:
    """To the plan; a browser is shown what was refused on the page, with what was entered."""
    try:
        work()
    except Problem as problem:
        if not wants_page(request):
            raise
        return _page(request, Viewer(at.principal, at), asked=asked, problem=problem)
    query = urlencode({"advertiser": at.advertiser_id})
    return RedirectResponse(f"{PATH}?{query}#plans", 303)
