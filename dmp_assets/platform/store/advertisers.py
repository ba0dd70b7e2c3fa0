"""Advertisers, and who sees which: plain functions on a connection; the caller commits.

While no member was ever named, whoever has a scope sees every advertiser: a home of one shop needs
none. From the first one on, only members see an advertiser, and admins; that stays so when the last
one is gone.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

import sqlalchemy as sa

from dmp_assets.platform.store.access import Principal
from dmp_assets.platform.store.errors import AccessError, LastManagerError
from dmp_assets.platform.store.schema import advertiser, advertiser_member, api_client, person

MemberRole = Literal["reader", "manager"]
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Visible:
    """An advertiser that somebody sees, and whether they may act on it."""

    advertiser_id: str
    name: str
    role: MemberRole


def checked_id(given: str) -> str:
    """An advertiser's id as it may be. Raises AccessError."""
    if not _ID.fullmatch(given):
        raise AccessError(
            f"{given[:80]!r} is no id of an advertiser: letters, digits, dot, dash, at most 63"
        )
    return given


def ensure(connection: sa.Connection, advertiser_id: str, *, now: datetime, name: str = "") -> bool:
    """Have an advertiser; whether it is new. A name that is given replaces the one that was.

    Raises AccessError for an id that none can have.
    """
    made = connection.execute(
        sa.text(
            "INSERT INTO advertiser (advertiser_id, name, created_at) "
            "VALUES (:id, :name, :now) ON CONFLICT (advertiser_id) DO NOTHING"
        ),
        {"id": checked_id(advertiser_id), "name": name or advertiser_id, "now": now},
    )
    if not made.rowcount and name:
        connection.execute(
            advertiser.update().where(advertiser.c.advertiser_id == advertiser_id).values(name=name)
        )
    return bool(made.rowcount)


def let_in(
    connection: sa.Connection,
    advertiser_id: str,
    actor: str,
    role: MemberRole,
    *,
    now: datetime,
) -> None:
    """Make somebody a member, or give a member another role. `actor` as `actor_of` finds it.

    Raises AccessError.
    """
    if role not in get_args(MemberRole):
        raise AccessError(f"{role!r} is no role of a member; known are reader, manager")
    ensure(connection, advertiser_id, now=now)
    connection.execute(
        advertiser.update()
        .where(advertiser.c.advertiser_id == advertiser_id, advertiser.c.members_since.is_(None))
        .values(members_since=now)
    )
    connection.execute(
        sa.text(
            "INSERT INTO advertiser_member (advertiser_id, actor, role, created_at) "
            "VALUES (:id, :actor, :role, :now) "
            "ON CONFLICT (advertiser_id, actor) DO UPDATE SET role = excluded.role"
        ),
        {"id": advertiser_id, "actor": actor, "role": role, "now": now},
    )


def shut_out(
    connection: sa.Connection, advertiser_id: str, actor: str, *, keeps_a_manager: bool = False
) -> None:
    """End a membership. Raises AccessError where there is none.

    `keeps_a_manager`: raise LastManagerError where nobody would be left who can let somebody in.
    """
    lock(connection, advertiser_id)
    own = advertiser_member.c
    its = sa.and_(own.advertiser_id == advertiser_id, own.actor == actor)
    role = connection.scalar(sa.select(own.role).where(its))
    if role is None:
        raise AccessError("that is no member; `dmp advertiser list` shows them")
    if keeps_a_manager and role == "manager":
        others = sa.select(own.actor).where(
            own.advertiser_id == advertiser_id, own.role == "manager", own.actor != actor
        )
        if not connection.scalar(sa.select(sa.exists(others))):
            raise LastManagerError("that is the last manager; let in another one first")
    connection.execute(advertiser_member.delete().where(its))


def lock(connection: sa.Connection, advertiser_id: str) -> None:
    """Have whoever else changes the advertiser's members wait until this transaction ends."""
    connection.execute(
        sa.select(advertiser.c.advertiser_id)
        .where(advertiser.c.advertiser_id == advertiser_id)
        .with_for_update()
    )


def actor_of(connection: sa.Connection, *, email: str = "", client: str = "") -> str:
    """How a person, or a client, is named as a member. Raises AccessError for an unknown one."""
    if client:
        found = connection.scalar(
            sa.select(api_client.c.name).where(
                api_client.c.name == client, api_client.c.revoked_at.is_(None)
            )
        )
        if found is None:
            raise AccessError(f"there is no client {client!r}; `dmp client list` shows them")
        return f"client:{found}"
    found = connection.scalar(
        sa.select(person.c.person_id).where(person.c.email == email.strip().lower())
    )
    if found is None:
        raise AccessError("there is no person with this address; `dmp user list` shows them")
    return f"person:{found}"


def visible(connection: sa.Connection, who: Principal, used: Collection[str] = ()) -> list[Visible]:
    """The advertisers that somebody sees, by name.

    `used`: those of which there are rows, whether somebody made them known or not.
    """
    known = _known(connection, used)
    if who.role == "admin" or not is_closed(connection):
        seen: dict[str, MemberRole] = dict.fromkeys(known, "manager")
    else:
        rows = connection.execute(
            sa.select(advertiser_member.c.advertiser_id, advertiser_member.c.role).where(
                advertiser_member.c.actor == who.actor
            )
        )
        seen = {row.advertiser_id: row.role for row in rows}
    found = [Visible(one, known[one], role) for one, role in seen.items()]
    return sorted(found, key=lambda one: (one.name, one.advertiser_id))


def sees_all(connection: sa.Connection, who: Principal, used: Collection[str] = ()) -> bool:
    """Whether somebody sees every advertiser there is; `used` as for `visible`."""
    if who.role == "admin" or not is_closed(connection):
        return True
    seen = {one.advertiser_id for one in visible(connection, who, used)}
    return seen >= _known(connection, used).keys()


def is_known(connection: sa.Connection, advertiser_id: str, used: Collection[str] = ()) -> bool:
    """Whether there is such an advertiser; `used` as for `visible`."""
    return advertiser_id in _known(connection, used)


def members_of(connection: sa.Connection, advertiser_id: str) -> list[str]:
    """The actors that are members of an advertiser."""
    own = advertiser_member.c
    query = sa.select(own.actor).where(own.advertiser_id == advertiser_id).order_by(own.actor)
    return list(connection.scalars(query))


def _known(connection: sa.Connection, used: Collection[str]) -> dict[str, str]:
    """Advertiser → what people call it."""
    of = sa.select(advertiser.c.advertiser_id, advertiser.c.name)
    known = {row.advertiser_id: row.name for row in connection.execute(of)}
    return {one: one for one in used} | known


def is_closed(connection: sa.Connection) -> bool:
    """Whether a member of any advertiser was ever named: until then all are open to who has a
    scope."""
    named = sa.select(advertiser.c.advertiser_id).where(advertiser.c.members_since.is_not(None))
    return bool(connection.scalar(sa.select(sa.exists(named))))
