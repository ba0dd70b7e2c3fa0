"""What services tell us of by themselves (webhooks), kept until somebody acts on it.

A delivery is a sign to ask the service, not the truth: it may come twice, late, out of order or
never. Each is noted once by its id; one that is older than what is known of the same thing is noted
and left alone. Only ids are kept.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from dmp_assets.platform.store.schema import webhook_delivery

Noted = Literal["new", "repeated", "older"]


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One delivery of a service.

    `account`: whose it is, as the connection is called; `subject`: the id of what it is about,
    `changed_at`: when that changed, where it says so; `triggered_at`: when the service began to
    tell us; `told`: ids that are needed to act on it.
    """

    service: str
    delivery_id: str
    account: str
    topic: str
    subject: str
    changed_at: datetime | None = None
    triggered_at: datetime | None = None
    told: Mapping[str, Any] = field(default_factory=dict)


def note(store: sa.Connection, delivery: Delivery, now: datetime) -> Noted:
    """Note a delivery; whether it was there already, or is about an older state than is known."""
    table = webhook_delivery.c
    is_older = False
    if delivery.changed_at is not None:
        is_older = bool(
            store.scalar(
                sa.select(
                    sa.exists().where(
                        table.service == delivery.service,
                        table.account == delivery.account,
                        table.subject == delivery.subject,
                        table.changed_at > delivery.changed_at,
                    )
                )
            )
        )
    made = store.execute(
        insert(webhook_delivery)
        .values(
            service=delivery.service,
            delivery_id=delivery.delivery_id,
            account=delivery.account,
            topic=delivery.topic,
            subject=delivery.subject,
            changed_at=delivery.changed_at,
            triggered_at=delivery.triggered_at,
            received_at=now,
            taken_at=now if is_older else None,
            told=dict(delivery.told),
        )
        .on_conflict_do_nothing()
        .returning(table.delivery_id)
    ).one_or_none()
    if made is None:
        return "repeated"
    return "older" if is_older else "new"


def waiting(
    store: sa.Connection, service: str, account: str, topics: Collection[str]
) -> Sequence[Delivery]:
    """What nobody has acted on yet, in the order in which it came."""
    table = webhook_delivery.c
    rows = store.execute(
        sa.select(
            table.service,
            table.delivery_id,
            table.account,
            table.topic,
            table.subject,
            table.changed_at,
            table.triggered_at,
            table.told,
        )
        .where(
            table.service == service,
            table.account == account,
            table.topic.in_(topics),
            table.taken_at.is_(None),
        )
        .order_by(table.received_at, table.delivery_id)
    )
    return [Delivery(**row._mapping) for row in rows]


def take(store: sa.Connection, deliveries: Collection[Delivery], now: datetime) -> None:
    """Note that these were acted on."""
    table = webhook_delivery.c
    for one in deliveries:
        store.execute(
            webhook_delivery.update()
            .where(table.service == one.service, table.delivery_id == one.delivery_id)
            .values(taken_at=now)
        )


def drop_older(store: sa.Connection, before: datetime) -> int:
    """Delete what was acted on before a moment, beyond which nothing is delivered again."""
    return store.execute(
        webhook_delivery.delete().where(webhook_delivery.c.taken_at < before)
    ).rowcount
