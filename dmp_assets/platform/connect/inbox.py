"""What services tell us of by themselves (webhooks), kept until somebody acts on it.

A webhook is a sign to ask the service, not the truth: it may come twice, late, out of order or
never. Each is noted once by its id; one that is older than what is known of the same thing is noted
and left alone. Only ids are kept. A row of a time that cannot be is told as such, and keeps nobody
from the others.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from dmp_assets.platform.store.schema import webhook_inbox

Noted = Literal["new", "repeated", "older"]
FROM, BEFORE = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
"""Between them are the times that a webhook may have; the store takes later ones than Python."""


def is_plausible(moment: datetime) -> bool:
    """Whether a webhook may be of this time, which has a zone."""
    return FROM <= moment < BEFORE


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """One webhook of a service.

    `account`: whose it is, as the connection is called; `subject`: the id of what it is about,
    `changed_at`: when that changed, where it says so; `triggered_at`: when the service began to
    tell us; `told`: ids that are needed to act on it; `is_plausible`: False for a noted one with a
    time that cannot be, which is not read.
    """

    service: str
    webhook_id: str
    account: str
    topic: str
    subject: str
    changed_at: datetime | None = None
    triggered_at: datetime | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    is_plausible: bool = True


def note(store: sa.Connection, webhook: Webhook, now: datetime) -> Noted:
    """Note a webhook; whether it was there already, or is about an older state than is known."""
    table = webhook_inbox.c
    is_older = False
    if webhook.changed_at is not None:
        is_older = bool(
            store.scalar(
                sa.select(
                    sa.exists().where(
                        table.service == webhook.service,
                        table.account == webhook.account,
                        table.subject == webhook.subject,
                        table.changed_at > webhook.changed_at,
                        table.changed_at < BEFORE,
                    )
                )
            )
        )
    made = store.execute(
        insert(webhook_inbox)
        .values(
            service=webhook.service,
            webhook_id=webhook.webhook_id,
            account=webhook.account,
            topic=webhook.topic,
            subject=webhook.subject,
            changed_at=webhook.changed_at,
            triggered_at=webhook.triggered_at,
            received_at=now,
            taken_at=now if is_older else None,
            told=dict(webhook.told),
        )
        .on_conflict_do_nothing()
        .returning(table.webhook_id)
    ).one_or_none()
    if made is None:
        return "repeated"
    return "older" if is_older else "new"


def waiting(
    store: sa.Connection, service: str, account: str, topics: Collection[str]
) -> Sequence[Webhook]:
    """What nobody has acted on yet, in the order in which it came."""
    table = webhook_inbox.c
    rows = store.execute(
        sa.select(
            table.service,
            table.webhook_id,
            table.account,
            table.topic,
            table.subject,
            *(
                sa.case((_may_be(time), time)).label(time.name)
                for time in (table.changed_at, table.triggered_at)
            ),
            table.told,
            sa.and_(
                *(
                    sa.or_(time.is_(None), _may_be(time))
                    for time in (table.changed_at, table.triggered_at)
                )
            ).label("is_plausible"),
        )
        .where(
            table.service == service,
            table.account == account,
            table.topic.in_(topics),
            table.taken_at.is_(None),
        )
        .order_by(table.received_at, table.webhook_id)
    )
    return [Webhook(**row._mapping) for row in rows]


def _may_be(time: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    return sa.and_(time >= FROM, time < BEFORE)


def take(store: sa.Connection, webhooks: Collection[Webhook], now: datetime) -> None:
    """Note that these were acted on."""
    table = webhook_inbox.c
    for one in webhooks:
        store.execute(
            webhook_inbox.update()
            .where(table.service == one.service, table.webhook_id == one.webhook_id)
            .values(taken_at=now)
        )


def drop_older(store: sa.Connection, before: datetime) -> int:
    """Delete what was acted on before a moment, beyond which nothing comes again."""
    return store.execute(webhook_inbox.delete().where(webhook_inbox.c.taken_at < before)).rowcount
