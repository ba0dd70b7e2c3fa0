"""What is published of budgets: the newest advice, the curves behind it, what stands at Meta."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import sqlalchemy as sa

from dmp_assets.ads.model.budgets.curves import Curves
from dmp_assets.ads.service.store.schema_budgets import (
    ad_budgets,
    ads_budget_advice,
    ads_budget_curves,
    ads_plan_item,
)
from dmp_assets.platform.store.schema import publication

ALL = ""
OTHERS = "others"
ACTIVE = "ACTIVE"


@dataclass(frozen=True, eq=False)
class Evidence:
    """What an advertiser's advice says. `whole`: its row of all, `lines`: one by campaign."""

    whole: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]

    @property
    def version(self) -> str:
        return str(self.whole["evidence_version"])

    @property
    def is_modelled(self) -> bool:
        return bool(self.whole["status"] != "not_modelled")

    @property
    def present(self) -> dict[str, Decimal]:
        """Spend a day at present by campaign."""
        return {row["campaign_id"]: row["present"] for row in self.lines}


@dataclass(frozen=True, eq=False)
class Outcomes:
    """The curves of an advertiser; `sales_by_contribution`: sales for a unit of the target."""

    curves: Curves
    evidence_version: str
    sales_by_contribution: float | None


@dataclass(frozen=True)
class Budget:
    """A budget a day that stands at Meta, as it was read last; null: it is for a whole life."""

    account_id: str
    object_id: str
    object_kind: str
    object_name: str | None
    campaign_id: str
    effective_status: str | None
    currency: str | None
    daily_budget: Decimal | None
    daily_budget_in_sums: Decimal | None


def evidence(connection: sa.Connection, advertiser_id: str) -> Evidence | None:
    """The newest advice of an advertiser; None where there is none yet."""
    own = ads_budget_advice
    rows = connection.execute(
        sa.select(own).where(own.c.advertiser_id == advertiser_id).order_by(own.c.campaign_id)
    )
    found = [dict(row._mapping) for row in rows]
    whole = next((row for row in found if row["campaign_id"] == ALL), None)
    if whole is None:
        return None
    return Evidence(whole, [row for row in found if row["campaign_id"] != ALL])


def outcomes(connection: sa.Connection, advertiser_id: str) -> Outcomes | None:
    """The curves of an advertiser; None where it could not be modelled."""
    own = ads_budget_curves
    rows = connection.execute(
        sa.select(own).where(own.c.advertiser_id == advertiser_id).order_by(own.c.campaign_id)
    )
    found = {row.campaign_id: row for row in rows}
    whole = found.pop(ALL, None)
    if whole is None:
        return None
    base = np.array(whole.draws)
    size = len(next(iter(found.values())).scales) if found else 0
    slopes = [np.array(row.draws).reshape(len(base), size) for row in found.values()]
    return Outcomes(
        Curves(
            names=tuple(found),
            base=base,
            scales=np.array([row.scales for row in found.values()]).reshape(len(found), size),
            slopes=np.stack(slopes, axis=1) if slopes else np.zeros((len(base), 0, 0)),
        ),
        whole.evidence_version,
        whole.sales_by_contribution,
    )


def budgets(connection: sa.Connection, advertiser_id: str) -> list[Budget]:
    """What stands at Meta for an advertiser, of objects that Meta still lists.

    As it was read last, and what was written by plans since then.
    """
    own = ad_budgets.c
    rows = connection.execute(
        sa.select(*(own[name] for name in Budget.__dataclass_fields__))
        .where(own.advertiser_id == advertiser_id, own.is_listed, own.campaign_id.is_not(None))
        .order_by(own.account_id, own.object_id)
    )
    written = _written(connection, advertiser_id)
    return [_now(Budget(**row._mapping), written) for row in rows]


def _written(connection: sa.Connection, advertiser_id: str) -> dict[tuple[str, str], Decimal]:
    """Account and object → the budget that a plan wrote there after the last were published."""
    item = ads_plan_item.c
    amount = sa.case((item.state == "done", item.after), else_=item.before)
    rows = connection.execute(
        sa.select(item.account_id, item.object_id, amount.label("amount"))
        .join(publication, publication.c.table_name == ad_budgets.name)
        .where(
            item.advertiser_id == advertiser_id,
            item.state.in_(("done", "undone")),
            item.changed_at > publication.c.published_at,
        )
        .order_by(item.changed_at)
    )
    return {(row.account_id, row.object_id): row.amount for row in rows}


def _now(budget: Budget, written: Mapping[tuple[str, str], Decimal]) -> Budget:
    amount = written.get((budget.account_id, budget.object_id))
    if amount is None or not budget.daily_budget:
        return budget
    in_sums = budget.daily_budget_in_sums
    return replace(
        budget,
        daily_budget=amount,
        daily_budget_in_sums=None if in_sums is None else in_sums * amount / budget.daily_budget,
    )
