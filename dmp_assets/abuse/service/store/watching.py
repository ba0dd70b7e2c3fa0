"""Who looks at which account in the review, and how people are shown to each other.

Plain functions on a connection; the caller commits.
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as upsert

from dmp_assets.abuse.service.store.schema import abuse_case_view
from dmp_assets.platform.store.schema import person

LOOKING = timedelta(minutes=5)
"""Who was not seen for so long does not look any more."""


@dataclass(frozen=True)
class Watcher:
    """A person who has had an account open since `opened_at`."""

    account_id: str
    name: str
    opened_at: datetime


def watch(
    connection: sa.Connection, account_id: str, person_id: uuid.UUID, *, now: datetime
) -> None:
    """Note that a person looks at an account; what is a day old goes."""
    view = abuse_case_view.c
    connection.execute(abuse_case_view.delete().where(view.seen_at < now - timedelta(days=1)))
    seen = upsert(abuse_case_view).values(
        account_id=account_id, person_id=person_id, opened_at=now, seen_at=now
    )
    away = view.seen_at < now - LOOKING
    connection.execute(
        seen.on_conflict_do_update(
            index_elements=[view.account_id, view.person_id],
            set_={"opened_at": sa.case((away, now), else_=view.opened_at), "seen_at": now},
        )
    )


def watchers(
    connection: sa.Connection,
    accounts: Collection[str],
    *,
    now: datetime,
    but: uuid.UUID | None = None,
) -> list[Watcher]:
    """Who looks at these accounts now, the longest first; `but` this person."""
    view = abuse_case_view.c
    query = (
        sa.select(view.account_id, person.c.email, view.opened_at)
        .join(person, person.c.person_id == view.person_id)
        .where(view.account_id.in_(accounts), view.seen_at >= now - LOOKING)
        .order_by(view.opened_at)
    )
    if but is not None:
        query = query.where(view.person_id != but)
    return [
        Watcher(row.account_id, short_name(row.email), row.opened_at)
        for row in connection.execute(query)
    ]


def short_name(email: str) -> str:
    """`ann@shop.example` → `ann@…`, as colleagues are shown to each other."""
    return f"{email.partition('@')[0]}@…"


def names(connection: sa.Connection, actors: Collection[str]) -> dict[str, str]:
    """How these actors are shown: a person by the address's first part, a client by its name."""
    ids = {
        uuid.UUID(actor.removeprefix("person:")) for actor in actors if actor.startswith("person:")
    }
    rows = connection.execute(
        sa.select(person.c.person_id, person.c.email).where(person.c.person_id.in_(ids))
    )
    people = {f"person:{row.person_id}": short_name(row.email) for row in rows}
    return {actor: people.get(actor, actor.removeprefix("client:")) for actor in actors}
