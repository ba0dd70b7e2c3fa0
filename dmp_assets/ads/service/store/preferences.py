"""Whom notices of an advertiser are told, and how: members, and who else sees it and said so.

Plain functions on a connection; the caller commits.
"""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from typing import Any, Literal, cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from dmp_assets.ads.model.notices.delivery import Channel, Choice, Mute, Preference
from dmp_assets.ads.model.notices.detect import Kind
from dmp_assets.ads.service.store.schema_notices import ad_notice_mute, ad_notice_preference
from dmp_assets.platform.store import advertisers
from dmp_assets.platform.store.access import Principal
from dmp_assets.platform.store.roles import ROLES
from dmp_assets.platform.store.schema import advertiser_member, person

EVERYONE = "everyone"
"""The recipient of an advertiser that has no member: its Slack channel."""

SCOPE = "ads:read"
By = Literal["slack", "email", "none"]


@dataclass(frozen=True)
class Told:
    """By what a kind is told a person, and whether in the digest."""

    channel: By
    is_digest: bool


@dataclass(frozen=True)
class Chosen:
    """What a person wants to be told of an advertiser.

    `channel`, `digest_at`: of all kinds but those in `kinds`. `quiet_from` to `quiet_to`: nothing
    is told then, in `zone`.
    """

    channel: By
    zone: str
    kinds: Mapping[Kind, Told] = field(default_factory=dict)
    quiet_from: time | None = None
    quiet_to: time | None = None
    digest_at: time | None = None


def usual(zone: str) -> Chosen:
    """What holds for who has said nothing: everything at once in the advertiser's Slack channel."""
    return Chosen("slack", zone)


def of(store: sa.Connection, advertiser_id: str, zone: str, now: datetime) -> list[Preference]:
    """The preferences of everybody who is told of the advertiser's notices.

    Who may not see it, or not log in any more, is not. Where nobody is left it is `EVERYONE`.
    """
    said = {
        str(row.person_id): row
        for row in store.execute(
            sa.select(ad_notice_preference).where(
                ad_notice_preference.c.advertiser_id == advertiser_id
            )
        )
    }
    muted = _mutes(store, advertiser_id, now)
    found = [
        _preference(one, advertiser_id, _chosen(said[one]) if one in said else usual(zone),
                    muted.get(one, ()))
        for one in recipients(store, advertiser_id, said)
    ]  # fmt: skip
    return found or [Preference(EVERYONE, advertiser_id, zone=zone)]


def recipients(store: sa.Connection, advertiser_id: str, said: Collection[str] = ()) -> list[str]:
    """Ids of the people who are told: members that are people, and of who `said` what they want
    those who see the advertiser without being a member."""
    people = {
        str(row.person_id): row.role
        for row in store.execute(sa.select(person).where(person.c.disabled_at.is_(None)))
        if SCOPE in ROLES[row.role]
    }
    members = {
        actor.removeprefix("person:")
        for actor in store.scalars(
            sa.select(advertiser_member.c.actor).where(
                advertiser_member.c.advertiser_id == advertiser_id
            )
        )
    }
    found = set()
    for one, role in people.items():
        who = Principal(f"person:{one}", ROLES[role], role)
        if one in members or (one in said and _sees(store, who, advertiser_id)):
            found.add(one)
    return sorted(found)


def _sees(store: sa.Connection, who: Principal, advertiser_id: str) -> bool:
    seen = advertisers.visible(store, who, (advertiser_id,))
    return any(one.advertiser_id == advertiser_id for one in seen)


def _preference(
    person_id: str, advertiser_id: str, chosen: Chosen, mutes: Collection[Mute]
) -> Preference:
    quiet = (chosen.quiet_from, chosen.quiet_to)
    return Preference(
        person_id,
        advertiser_id,
        channels=_channels(chosen.channel),
        choices={
            kind: Choice(_channels(told.channel), told.is_digest)
            for kind, told in chosen.kinds.items()
        },
        zone=chosen.zone,
        quiet=cast(tuple[time, time], quiet) if None not in quiet else None,
        digest_at=chosen.digest_at,
        mutes=tuple(mutes),
    )


def _channels(by: By) -> tuple[Channel, ...]:
    return () if by == "none" else (by,)


def _chosen(row: Any) -> Chosen:
    kinds = {cast(Kind, kind): Told(**told) for kind, told in row.kinds.items()}
    return Chosen(row.channel, row.zone, kinds, row.quiet_from, row.quiet_to, row.digest_at)


def read(store: sa.Connection, advertiser_id: str, person_id: uuid.UUID, zone: str) -> Chosen:
    """What a person wants, or what holds for who has said nothing."""
    table = ad_notice_preference
    row = store.execute(
        sa.select(table).where(
            table.c.advertiser_id == advertiser_id, table.c.person_id == person_id
        )
    ).one_or_none()
    return usual(zone) if row is None else _chosen(row)


def write(
    store: sa.Connection, advertiser_id: str, person_id: uuid.UUID, chosen: Chosen, now: datetime
) -> None:
    """Note what a person wants, in the place of what it was.

    Raises NoticeError for a zone that there is not, and quiet hours that never end.
    """
    _preference(str(person_id), advertiser_id, chosen, ())
    new = {
        "channel": chosen.channel,
        "kinds": {kind: told.__dict__ for kind, told in chosen.kinds.items()},
        "zone": chosen.zone,
        "quiet_from": chosen.quiet_from,
        "quiet_to": chosen.quiet_to,
        "digest_at": chosen.digest_at,
        "changed_at": now,
    }
    store.execute(
        insert(ad_notice_preference)
        .values(advertiser_id=advertiser_id, person_id=person_id, **new)
        .on_conflict_do_update(index_elements=["advertiser_id", "person_id"], set_=new)
    )


# mutes -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Muted:
    """A mute of a person; no kind, or no subject: any."""

    mute_id: int
    kind: Kind | None
    subject: str | None
    ends_at: datetime


def mute(
    store: sa.Connection,
    advertiser_id: str,
    person_id: uuid.UUID,
    *,
    kind: Kind | None,
    subject: str | None,
    ends_at: datetime,
    now: datetime,
) -> int:
    """Let a person hear nothing of a kind, a subject or both until then; the mute's id. The same
    again takes the place of what was."""
    table = ad_notice_mute.c
    store.execute(
        ad_notice_mute.delete().where(
            table.advertiser_id == advertiser_id,
            table.person_id == person_id,
            table.kind.is_not_distinct_from(kind),
            table.subject.is_not_distinct_from(subject),
        )
    )
    made = store.scalar(
        ad_notice_mute.insert()
        .values(
            advertiser_id=advertiser_id, person_id=person_id, kind=kind, subject=subject,
            ends_at=ends_at, made_at=now,
        )
        .returning(table.mute_id)
    )  # fmt: skip
    return int(cast(int, made))


def unmute(store: sa.Connection, advertiser_id: str, person_id: uuid.UUID, mute_id: int) -> bool:
    """End a person's own mute; whether there was one."""
    table = ad_notice_mute.c
    gone = store.execute(
        ad_notice_mute.delete().where(
            table.mute_id == mute_id,
            table.advertiser_id == advertiser_id,
            table.person_id == person_id,
        )
    )
    return bool(gone.rowcount)


def mutes(
    store: sa.Connection, advertiser_id: str, person_id: uuid.UUID, now: datetime
) -> list[Muted]:
    """A person's mutes that hold, the first to end first."""
    table = ad_notice_mute.c
    rows = store.execute(
        sa.select(table.mute_id, table.kind, table.subject, table.ends_at)
        .where(
            table.advertiser_id == advertiser_id, table.person_id == person_id,
            table.ends_at > now,
        )
        .order_by(table.ends_at, table.mute_id)
    )  # fmt: skip
    return [Muted(**row._mapping) for row in rows]


def forget_ended(store: sa.Connection, now: datetime) -> None:
    """Delete mutes that have ended."""
    store.execute(ad_notice_mute.delete().where(ad_notice_mute.c.ends_at <= now))


def _mutes(store: sa.Connection, advertiser_id: str, now: datetime) -> dict[str, list[Mute]]:
    found: dict[str, list[Mute]] = {}
    table = ad_notice_mute.c
    for row in store.execute(
        sa.select(ad_notice_mute).where(table.advertiser_id == advertiser_id, table.ends_at > now)
    ):
        mute = Mute(row.ends_at, cast(Kind | None, row.kind), row.subject)
        found.setdefault(str(row.person_id), []).append(mute)
    return found


def address(store: sa.Connection, person_id: str) -> str | None:
    """Where a person gets e-mail; None for one that may not log in any more."""
    return store.scalar(
        sa.select(person.c.email).where(
            person.c.person_id == uuid.UUID(person_id), person.c.disabled_at.is_(None)
        )
    )
