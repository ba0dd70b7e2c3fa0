"""Plans of budgets: proposed on an advice, approved by a person, written to Meta, undone."""

import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from dmp_assets.ads.service import applying, planning
from dmp_assets.ads.service.routes.budgets import (
    At,
    Budgets,
    Change,
    Expected,
    PlanLine,
    outcome,
)
from dmp_assets.ads.service.store import advice, plans
from dmp_assets.ads.service.store.plans import ItemState, Plan, PlanState, Step
from dmp_assets.ads.settings import AdsSettings
from dmp_assets.platform.api.advertisers import Seat, seat
from dmp_assets.platform.api.output import Page, opened, sealed
from dmp_assets.platform.api.problems import NO_CONTROL, FieldError, Problem, responses
from dmp_assets.platform.api.state import Service, service_of
from dmp_assets.platform.connect.errors import ConnectError, NeedsConsentError

router = APIRouter(prefix="/v1/ads", tags=["ads"])
Acting = Annotated[Seat, Depends(seat("ads:write", acts=True))]
Evidence = Annotated[str, Field(min_length=1, max_length=100, pattern=NO_CONTROL)]
_REFUSALS = responses(400, 401, 403, 404, 409, 422, 429)
_WRITES = responses(401, 403, 404, 409, 422, 429, 503)


class Proposed(BaseModel):
    """A plan to propose."""

    model_config = ConfigDict(extra="forbid")

    evidence_version: Evidence = Field(description="Of the advice that you saw.")
    budgets: Budgets | None = Field(
        None,
        description="Spend a day by campaign, in the currency of sums; without it the advised one.",
    )


class Approval(BaseModel):
    """That somebody saw the evidence and approves."""

    model_config = ConfigDict(extra="forbid")

    evidence_version: Evidence = Field(description="Of the plan that you saw.")


class PlannedChange(Change):
    """A budget a day at Meta as a plan changes it, and what became of it."""

    state: ItemState
    told: str = Field(description="Why it waits or was refused.")
    not_before: dt.datetime | None = Field(description="When it may be tried again.")


class BudgetPlan(BaseModel):
    """A plan of budgets."""

    plan_id: uuid.UUID
    evidence_version: str
    state: PlanState = Field(
        description="`applying`, `undoing`: something waits; the same call goes on with it."
    )
    currency: str = Field(description="Of lines and of what is expected.")
    proposed_at: dt.datetime
    proposed_by: str
    approved_at: dt.datetime | None
    approved_by: str | None
    lines: list[PlanLine]
    expected: Expected = Field(description="What was expected of it over 28 days.")
    changes: list[PlannedChange]


@router.get(
    "/plans",
    responses=responses(401, 403, 404, 422, 429),
)
def list_plans(
    request: Request,
    at: At,
    limit: Annotated[int, Query(ge=1, le=200, description="Plans of one page.")] = 50,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> Page[BudgetPlan]:
    """Plans, the newest first."""
    service, purpose = service_of(request), f"ads_plan:{at.advertiser_id}"
    before = None
    if cursor is not None:
        moment, last = opened(service.seal, cursor, purpose)
        before = dt.datetime.fromisoformat(moment), uuid.UUID(last)
    found = service.in_store(lambda store: plans.newest(store, at.advertiser_id, limit + 1, before))
    more = None
    if len(found) > limit:
        final = found[limit - 1]
        more = sealed(service.seal, purpose, final.proposed_at.isoformat(), str(final.plan_id))
    return Page[BudgetPlan](items=[shown(plan) for plan in found[:limit]], next=more)


@router.get("/plans/{plan_id}", responses=responses(401, 403, 404, 422, 429))
def get_plan(request: Request, at: At, plan_id: uuid.UUID) -> BudgetPlan:
    """A plan, and what became of each of its changes."""
    return shown(_found(service_of(request), at, plan_id))


@router.post("/plans", status_code=201, responses=_REFUSALS)
def propose(request: Request, at: Acting, proposed: Proposed) -> BudgetPlan:
    """Propose a plan on the newest advice. Nothing is written to Meta."""
    service = service_of(request)
    made = outcome(service, at.advertiser_id, proposed.budgets)
    if made.evidence_version != proposed.evidence_version:
        raise Problem(409, "conflict", "there is a newer advice than the one that you name")
    if made.refused:
        raise Problem(422, "invalid", errors=[
            FieldError(
                field=f"body.budgets.{one.campaign_id}" if one.campaign_id else "body.budgets",
                message=one.message,
            )
            for one in made.refused
        ])  # fmt: skip
    if all(line.planned == line.present for line in made.lines):
        nothing = FieldError(field="body.budgets", message="nothing would change")
        raise Problem(422, "invalid", errors=[nothing])

    def work(store: sa.Connection) -> uuid.UUID:
        return plans.propose(
            store,
            _step(request, at),
            advertiser_id=at.advertiser_id,
            evidence_version=made.evidence_version,
            currency=made.currency,
            lines=[line.model_dump(mode="json") for line in made.lines],
            expected=made.expected.model_dump(mode="json"),
            items=[change.model_dump() for change in made.changes],
        )

    return shown(_found(service, at, service.change(work)))


@router.post("/plans/{plan_id}/approve", responses=_REFUSALS)
def approve(request: Request, at: Acting, plan_id: uuid.UUID, approval: Approval) -> BudgetPlan:
    """Approve a plan by the evidence that you saw; refused where there is a newer advice."""
    service = service_of(request)

    def work(store: sa.Connection) -> None:
        plan = plans.plan(store, at.advertiser_id, plan_id, lock=True)
        if plan is None:
            raise _no_plan()
        newest = advice.evidence(store, at.advertiser_id)
        plans.approve(
            store, _step(request, at), plan, seen=approval.evidence_version,
            newest_evidence=newest.version if newest else None,
        )  # fmt: skip

    try:
        service.change(work)
    except plans.PlanConflictError as error:
        raise Problem(409, "conflict", str(error)) from error
    return shown(_found(service, at, plan_id))


@router.post("/plans/{plan_id}/apply", responses=_WRITES)
def apply(request: Request, at: Acting, plan_id: uuid.UUID) -> BudgetPlan:
    """Write an approved plan to Meta, or go on with what waited.

    Each change is checked there first, written once and read back. A budget that is not as the
    plan found it is left alone. What must wait says until when: call again then.
    """
    service = service_of(request)
    plan = _found(service, at, plan_id)
    if plan.state in ("approved", "applying"):
        _within_caps(service, plan)
    return _written(request, at, plan, applying.apply)


@router.post("/plans/{plan_id}/undo", responses=_WRITES)
def undo(request: Request, at: Acting, plan_id: uuid.UUID) -> BudgetPlan:
    """Bring back the budgets that stood at Meta before; what must wait says until when."""
    service = service_of(request)
    return _written(request, at, _found(service, at, plan_id), applying.undo)


def _written(request: Request, at: Seat, plan: Plan, work: Callable[..., None]) -> BudgetPlan:
    service = service_of(request)
    if not service.settings.of(AdsSettings).ads_apply_budgets:
        raise Problem(
            409, "conflict", "budgets are proposed here and not written (DMP_ADS_APPLY_BUDGETS)"
        )
    try:
        work(service.home, service.store, plan, _step(request, at))
    except (plans.PlanConflictError, applying.NotConnectedError, NeedsConsentError) as error:
        raise Problem(409, "conflict", str(error)) from error
    except ConnectError as error:
        raise Problem(503, "unavailable", str(error)) from error
    return shown(_found(service, at, plan.plan_id))


def _within_caps(service: Service, plan: Plan) -> None:
    """Raise Problem 409 where a plan passes caps that are tighter, or sums higher, than then."""
    standing = service.in_store(lambda store: advice.budgets(store, plan.advertiser_id))
    found = planning.refusals(
        plan.advertiser_id,
        [
            planning.Line(
                campaign_id=line["campaign_id"],
                campaign_name=line["campaign_name"],
                present=Decimal(line["present"]),
                planned=Decimal(line["planned"]),
            )
            for line in plan.lines
        ],
        [
            planning.Item(**{name: getattr(item, name) for name in _ITEM})
            for item in plan.items
            if item.state in ("planned", "done")
        ],
        standing,
        service.settings.of(AdsSettings),
    )
    if found:
        raise Problem(409, "conflict", "; ".join(one.message for one in found))


_ITEM = tuple(planning.Item.__dataclass_fields__)


def _found(service: Service, at: Seat, plan_id: uuid.UUID) -> Plan:
    found = service.in_store(lambda store: plans.plan(store, at.advertiser_id, plan_id))
    if found is None:
        raise _no_plan()
    return found


def _no_plan() -> Problem:
    return Problem(404, "not-found", "there is no such plan")


def _step(request: Request, at: Seat) -> Step:
    return Step(at.principal.actor, service_of(request).now(), request.state.request_id)


def shown(plan: Plan) -> BudgetPlan:
    """A plan as it is told."""
    return BudgetPlan.model_validate(
        {
            **{name: getattr(plan, name) for name in BudgetPlan.model_fields if name != "changes"},
            "changes": [asdict(item) for item in plan.items],
        }
    )
