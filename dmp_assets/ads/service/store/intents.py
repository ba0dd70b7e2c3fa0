"""What was about to be written to Meta, in the operational store, as `sources.meta.Intents`.

How an intent ended, what became of the plan's item, and the line of the audit log are one
transaction: a kill leaves all of it or nothing.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from dmp_assets.ads.service.store import plans
from dmp_assets.ads.service.store.plans import Step
from dmp_assets.ads.service.store.schema_budgets import ads_write_intent
from dmp_assets.sources.meta.intents import Intent, State

MOST_AN_HOUR = 4
"""Changes of one budget that Meta allows in an hour (error 613/1487632)."""
HOUR = timedelta(hours=1)
_SHOWN = ("intent_id", "account", "object_id", "field", "before", "after")


@dataclass(frozen=True)
class StoreIntents:
    """The intents of one advertiser, of which new ones are for a plan. `is_undo`: to undo it."""

    store: sa.Engine
    advertiser_id: str
    plan_id: uuid.UUID
    is_undo: bool
    step: Step

    def begin(
        self, account: str, object_id: str, field: str, before: str | None, after: str
    ) -> Intent:
        intent = uuid.uuid4()
        with self.store.begin() as connection:
            connection.execute(
                ads_write_intent.insert().values(
                    intent_id=intent, advertiser_id=self.advertiser_id, plan_id=self.plan_id,
                    is_undo=self.is_undo, account=account, object_id=object_id, field=field,
                    before=before, after=after, state="intended", actor=self.step.actor,
                    begun_at=self.step.now,
                )
            )  # fmt: skip
        at = self.step.now.isoformat()
        return Intent(str(intent), account, object_id, field, before, after, at)

    def end(self, intent: Intent, state: State) -> None:
        own, step = ads_write_intent.c, self.step
        with self.store.begin() as connection:
            row = connection.execute(
                ads_write_intent.update()
                .where(own.intent_id == uuid.UUID(intent.intent_id), own.state == "intended")
                .values(state=state, ended_at=step.now)
                .returning(own.plan_id, own.is_undo)
            ).one_or_none()
            if row is None:
                return
            if state == "done":
                became: plans.ItemState = "undone" if row.is_undo else "done"
                plans.move_item(connection, step, row.plan_id, intent.object_id, state=became)
            plans.note(
                connection, step, "write a budget", self.advertiser_id, row.plan_id,
                outcome="done" if state == "done" else "failed", account=intent.account,
                object_id=intent.object_id, before=intent.before, after=intent.after,
                is_undo=row.is_undo,
            )  # fmt: skip

    def open(self) -> list[Intent]:
        own = ads_write_intent.c
        with self.store.begin() as connection:
            rows = connection.execute(
                sa.select(*(own[name] for name in _SHOWN), own.begun_at)
                .where(own.advertiser_id == self.advertiser_id, own.state == "intended")
                .order_by(own.begun_at, own.intent_id)
            ).all()
        return [
            Intent(
                str(row.intent_id), row.account, row.object_id, row.field, row.before, row.after,
                row.begun_at.isoformat(),
            )
            for row in rows
        ]  # fmt: skip


def free_at(
    connection: sa.Connection, advertiser_id: str, object_id: str, now: datetime
) -> datetime | None:
    """When a budget may be changed again, where it was as often as Meta allows; None: now."""
    own = ads_write_intent.c
    begun = connection.scalars(
        sa.select(own.begun_at)
        .where(
            own.advertiser_id == advertiser_id, own.object_id == object_id,
            own.begun_at > now - HOUR, own.state != "not done",
        )
        .order_by(own.begun_at.desc())
        .limit(MOST_AN_HOUR)
    ).all()  # fmt: skip
    return begun[-1] + HOUR if len(begun) == MOST_AN_HOUR else None


def is_any_open(connection: sa.Connection, plan_id: uuid.UUID) -> bool:
    """Whether of a write of this plan nobody knows whether it was done."""
    own = ads_write_intent.c
    query = sa.select(sa.exists().where(own.plan_id == plan_id, own.state == "intended"))
    return bool(connection.scalar(query))
