"""Who sees an advertiser, and what was done about that. The caller commits."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from dmp_assets.platform.store.advertisers import MemberRole
from dmp_assets.platform.store.schema import advertiser_member, audit_event, person

PERIOD = timedelta(days=90)
MOST = 50


@dataclass(frozen=True)
class Member:
    """Who sees an advertiser. `actor`: `person:<id>` or `client:<name>`; `email` of a person."""

    actor: str
    role: MemberRole
    since: datetime
    email: str | None

    @property
    def name(self) -> str:
        """How other members are told: a person by the first part of the address."""
        return shown(self.actor, self.email)


def shown(actor: str, email: str | None) -> str:
    """How colleagues are shown to each other: `ann@…`, a program by its name."""
    if email is not None:
        return f"{email.partition('@')[0]}@…"
    return actor.partition(":")[2] or actor


@dataclass(frozen=True)
class Event:
    """What somebody did about an advertiser."""

    at: datetime
    by: str
    action: str
    outcome: str
    about: str


def _people() -> sa.ColumnElement:
    return sa.literal("person:") + sa.cast(person.c.person_id, sa.Text)


def names(connection: sa.Connection, actors: Collection[str]) -> dict[str, str]:
    """How these actors are shown to colleagues."""
    rows = connection.execute(
        sa.select(_people().label("actor"), person.c.email).where(_people().in_(actors))
    )
    known = {row.actor: row.email for row in rows}
    return {actor: shown(actor, known.get(actor)) for actor in actors}


def members(connection: sa.Connection, advertiser_id: str) -> Sequence[Member]:
    """Who sees an advertiser, managers first."""
    of = advertiser_member.c
    rows = connection.execute(
        sa.select(of.actor, of.role, of.created_at, person.c.email)
        .join(person, isouter=True, onclause=of.actor == _people())
        .where(of.advertiser_id == advertiser_id)
        .order_by(of.role, person.c.email, of.actor)
    )
    return [Member(*row) for row in rows]


def events(connection: sa.Connection, advertiser_id: str, *, now: datetime) -> Sequence[Event]:
    """What was done about an advertiser in the last PERIOD, the newest first."""
    of = audit_event.c
    whose, told = of.detail["advertiser"].astext, of.detail["member"].astext
    rows = connection.execute(
        sa.select(of.at, of.actor, of.action, of.outcome, told.label("member"),
                  of.detail["role"].astext.label("role"), person.c.email)
        .join(person, isouter=True, onclause=of.actor == _people())
        .where(of.at >= now - PERIOD, whose == advertiser_id)
        .order_by(of.event_id.desc())
        .limit(MOST)
    ).all()  # fmt: skip
    known = names(connection, {row.member for row in rows if row.member})
    return [
        Event(
            row.at,
            shown(row.actor, row.email),
            row.action,
            row.outcome,
            " as ".join(part for part in (known.get(row.member, ""), row.role) if part),
        )
        for row in rows
    ]
