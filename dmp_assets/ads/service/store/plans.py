"""Plans of budgets in the operational store: proposed, approved, and what became of each item."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import sqlalchemy as sa

from dmp_assets.ads.service.store.schema_budgets import ads_plan, ads_plan_item
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.store import audit

PlanState = Literal["proposed", "approved", "applying", "applied", "undoing", "undone"]
ItemState = Literal["planned", "done", "refused", "undone"]


class PlanConflictError(UserError):
    """A plan that is not in the state that the step needs, or rests on what is no more."""


@dataclass(frozen=True)
class Item:
    """A budget a day that a plan changes; amounts in the currency of the account."""

    plan_id: uuid.UUID
    object_id: str
    advertiser_id: str
    account_id: str
    object_kind: str
    object_name: str | None
    campaign_id: str
    currency: str
    before: Decimal
    after: Decimal
    state: ItemState
    told: str
    not_before: datetime | None


@dataclass(frozen=True)
class Plan:
    """A plan with its items. `lines`, `expected`: as they were proposed (see `planning`)."""

    plan_id: uuid.UUID
    advertiser_id: str
    evidence_version: str
    state: PlanState
    currency: str
    lines: Sequence[Mapping[str, Any]]
    expected: Mapping[str, Any]
    proposed_at: datetime
    proposed_by: str
    approved_at: datetime | None
    approved_by: str | None
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Step:
    """Who does something with a plan, when, by which request."""

    actor: str
    now: datetime
    request_id: str | None = None


_PLAN = [ads_plan.c[name] for name in Plan.__dataclass_fields__ if name != "items"]
_ITEM = [ads_plan_item.c[name] for name in Item.__dataclass_fields__]


def propose(
    connection: sa.Connection,
    step: Step,
    *,
    advertiser_id: str,
    evidence_version: str,
    currency: str,
    lines: Sequence[Mapping[str, Any]],
    expected: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
) -> uuid.UUID:
    """Keep a plan as it is proposed; its id."""
    plan_id = uuid.uuid4()
    connection.execute(
        ads_plan.insert().values(
            plan_id=plan_id, advertiser_id=advertiser_id, evidence_version=evidence_version,
            state="proposed", currency=currency, lines=list(lines), expected=dict(expected),
            proposed_at=step.now, proposed_by=step.actor, changed_at=step.now,
        )
    )  # fmt: skip
    for item in items:
        connection.execute(
            ads_plan_item.insert().values(
                **item, plan_id=plan_id, advertiser_id=advertiser_id, state="planned",
                changed_at=step.now,
            )
        )  # fmt: skip
    note(connection, step, "propose budgets", advertiser_id, plan_id,
         evidence_version=evidence_version, items=len(items))  # fmt: skip
    return plan_id


def plan(
    connection: sa.Connection, advertiser_id: str, plan_id: uuid.UUID, *, lock: bool = False
) -> Plan | None:
    """A plan of this advertiser's; None where there is none. `lock`: until the transaction ends."""
    query = sa.select(*_PLAN).where(
        ads_plan.c.plan_id == plan_id, ads_plan.c.advertiser_id == advertiser_id
    )
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else _with_items(connection, [row])[0]


def newest(
    connection: sa.Connection,
    advertiser_id: str,
    limit: int,
    before: tuple[datetime, uuid.UUID] | None = None,
) -> list[Plan]:
    """Plans of an advertiser, the newest first, after the one that `before` names."""
    own = ads_plan.c
    query = sa.select(*_PLAN).where(own.advertiser_id == advertiser_id)
    if before is not None:
        at, last = before
        query = query.where(
            sa.or_(own.proposed_at < at, sa.and_(own.proposed_at == at, own.plan_id > last))
        )
    query = query.order_by(own.proposed_at.desc(), own.plan_id).limit(limit)
    return _with_items(connection, connection.execute(query).all())


def _with_items(connection: sa.Connection, rows: Sequence[Any]) -> list[Plan]:
    items: dict[uuid.UUID, list[Item]] = {row.plan_id: [] for row in rows}
    query = (
        sa.select(*_ITEM)
        .where(ads_plan_item.c.plan_id.in_(list(items)))
        .order_by(ads_plan_item.c.campaign_id, ads_plan_item.c.object_id)
    )
    for row in connection.execute(query):
        items[row.plan_id].append(Item(**row._mapping))
    return [Plan(**row._mapping, items=tuple(items[row.plan_id])) for row in rows]


def approve(
    connection: sa.Connection, step: Step, found: Plan, *, seen: str, newest_evidence: str | None
) -> None:
    """Approve a locked plan by who saw the evidence `seen`. Raises PlanConflictError."""
    if found.state != "proposed":
        raise PlanConflictError(f"the plan is {found.state} already")
    if seen != found.evidence_version:
        raise PlanConflictError("the plan rests on other evidence than that which you name")
    if newest_evidence != found.evidence_version:
        raise PlanConflictError("there is a newer advice: propose a plan on it")
    connection.execute(
        ads_plan.update()
        .where(ads_plan.c.plan_id == found.plan_id)
        .values(state="approved", approved_at=step.now, approved_by=step.actor,
                changed_at=step.now)
    )  # fmt: skip
    note(connection, step, "approve budgets", found.advertiser_id, found.plan_id,
         evidence_version=seen)  # fmt: skip


def move(connection: sa.Connection, step: Step, plan_id: uuid.UUID, state: PlanState) -> None:
    """Bring a plan into another state."""
    connection.execute(
        ads_plan.update()
        .where(ads_plan.c.plan_id == plan_id)
        .values(state=state, changed_at=step.now)
    )


def move_item(
    connection: sa.Connection,
    step: Step,
    plan_id: uuid.UUID,
    object_id: str,
    *,
    state: ItemState | None = None,
    told: str = "",
    not_before: datetime | None = None,
) -> None:
    """Say what became of an item; without a `state` it goes on waiting."""
    new = {"told": told, "not_before": not_before, "changed_at": step.now}
    connection.execute(
        ads_plan_item.update()
        .where(ads_plan_item.c.plan_id == plan_id, ads_plan_item.c.object_id == object_id)
        .values(**new, **({"state": state} if state else {}))
    )


def note(
    connection: sa.Connection,
    step: Step,
    action: str,
    advertiser_id: str,
    plan_id: uuid.UUID,
    *,
    outcome: audit.Outcome = "done",
    **detail: Any,
) -> None:
    """Note a step in the audit log."""
    audit.record(
        connection, at=step.now, actor=step.actor, action=action, outcome=outcome,
        request_id=step.request_id,
        detail={"advertiser": advertiser_id, "plan_id": str(plan_id), **detail},
    )  # fmt: skip
