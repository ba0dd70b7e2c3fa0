"""Notices in the store: recording what was found, planning whom it is told, and what is to be sent.

Plain functions on a connection; the caller commits. Whom a notice is told follows from the rules
of `ads/model/notices/delivery.py`: a *recipient* is a person, or everyone where an advertiser has
no member yet, for whom its Slack channel stands.
"""

import hashlib
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from dmp_assets.ads.model.notices.delivery import (
    Channel,
    Due,
    Key,
    Message,
    Told,
    messages,
    planned,
)
from dmp_assets.ads.model.notices.detect import Finding, Kind, Subject
from dmp_assets.ads.service.store import preferences
from dmp_assets.ads.service.store.schema_notices import (
    ad_notice,
    ad_notice_day,
    ad_notice_due,
    ad_notice_message,
    ad_notice_told,
)

_LOCK = 0x6E6F74  # "not": one plans at a time
_DIGITS = 20
_OF_DAY = ("advertiser_id", "subject", "kind", "day")
FORGOTTEN_AFTER = timedelta(days=400)
"""Notices that ended so long ago, and what was sent of them, are deleted."""

Row = Mapping[Any, Any]


@dataclass(frozen=True)
class Shown:
    """A notice of a message, as of the day of which it is told."""

    notice_id: str
    kind: Kind
    subject: str
    subject_name: str
    day: date
    figure: Decimal
    low: Decimal | None
    high: Decimal | None
    since: date
    unit: str
    currency: str | None
    link: str


@dataclass(frozen=True)
class Outgoing:
    """A message that is to be sent, or tried again."""

    message_id: uuid.UUID
    advertiser_id: str
    recipient: str
    channel: Channel
    is_digest: bool
    made_at: datetime
    shown: Sequence[Shown]


# recording ---------------------------------------------------------------------------------------
def record(store: sa.Connection, rows: Iterable[Row]) -> list[Finding]:
    """Take over what was found (columns of ml/ad_notices); what of it is new here.

    A day that follows another of the same subject and kind goes on with the same notice.
    """
    new, given = [], sorted(rows, key=lambda one: one["day"])
    there = _there(store, given[0]["day"]) if given else set()
    for row in given:
        own = {name: row[name] for name in _OF_DAY}
        if tuple(own.values()) in there:
            continue
        there.add(tuple(own.values()))
        notice_id = _notice(store, row)
        figures = {name: row[name] for name in ("figure", "low", "high", "since", "found_at")}
        store.execute(ad_notice_day.insert().values(**own, notice_id=notice_id, **figures))
        new.append(_finding(row))
    return new


def _there(store: sa.Connection, since: date) -> set[tuple[Any, ...]]:
    """What days from one on are recorded, by their key."""
    columns = [ad_notice_day.c[name] for name in _OF_DAY]
    rows = store.execute(sa.select(*columns).where(ad_notice_day.c.day >= since))
    return {tuple(row) for row in rows}


def _same(table: sa.Table, values: Row) -> list[sa.ColumnElement[bool]]:
    return [table.c[name] == value for name, value in values.items()]


def _notice(store: sa.Connection, row: Row) -> str:
    """The notice that a day belongs to, as of it where it is the last one; made where it is new."""
    whose = {name: row[name] for name in ("advertiser_id", "subject", "kind")}
    going_on = store.execute(
        sa.select(ad_notice.c.notice_id, ad_notice.c.day)
        .where(*_same(ad_notice, whose), ad_notice.c.day >= row["since"] - timedelta(days=1))
        .order_by(ad_notice.c.day.desc())
        .limit(1)
    ).one_or_none()
    names = ("day", "figure", "low", "high", "since", "subject_name", "link")
    if going_on is None:
        notice_id = _id(*map(str, (*whose.values(), row["day"])))
        rest = {name: row[name] for name in ("account_id", "unit", "currency", "found_at")}
        store.execute(
            ad_notice.insert().values(
                notice_id=notice_id, **whose, **{name: row[name] for name in names}, **rest
            )
        )
        return notice_id
    if going_on.day <= row["day"]:
        changed = {name: row[name] for name in names if name != "since"}
        store.execute(
            ad_notice.update().where(ad_notice.c.notice_id == going_on.notice_id).values(**changed)
        )
    return str(going_on.notice_id)


def _id(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_DIGITS]


def _finding(row: Row) -> Finding:
    low, high = row["low"], row["high"]
    return Finding(
        Subject(row["advertiser_id"], row["subject"]), row["kind"], row["day"],
        float(row["figure"]), None if low is None else float(low),
        None if high is None else float(high), row["since"],
    )  # fmt: skip


# planning ----------------------------------------------------------------------------------------
def plan(store: sa.Connection, rows: Iterable[Row], now: datetime, zone: str) -> int:
    """Record what was found, and note whom it is to be told, and when; for how many that is.

    All or nothing: what is recorded is planned. `zone`: of who has said nothing.
    """
    store.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    found = record(store, rows)
    if not found:
        return 0
    advertisers = {one.subject.advertiser_id for one in found}
    wanted = [one for ad in sorted(advertisers) for one in preferences.of(store, ad, zone, now)]
    made = planned(found, wanted, _told(store, advertisers), now)
    for one in made.due:
        store.execute(ad_notice_due.insert().values(**_due(store, one)))
    for (recipient, advertiser_id, subject, kind), told in made.told.items():
        key = {"advertiser_id": advertiser_id, "recipient": recipient, "subject": subject,
               "kind": kind}  # fmt: skip
        new = {"told_at": told.at, "seen": told.seen, "excess": told.excess}
        store.execute(
            insert(ad_notice_told)
            .values(**key, **new)
            .on_conflict_do_update(index_elements=list(key), set_=new)
        )
    return len(made.due)


def _told(store: sa.Connection, advertisers: Collection[str]) -> dict[Key, Told]:
    rows = store.execute(
        sa.select(ad_notice_told).where(ad_notice_told.c.advertiser_id.in_(advertisers))
    )
    return {
        (row.recipient, row.advertiser_id, row.subject, cast(Kind, row.kind)): Told(
            row.told_at, row.seen, row.excess
        )
        for row in rows
    }


def _due(store: sa.Connection, one: Due) -> dict[str, Any]:
    found = one.finding
    key = {"advertiser_id": one.advertiser_id, "subject": found.subject.of, "kind": found.kind,
           "day": found.day}  # fmt: skip
    notice_id = store.scalar(sa.select(ad_notice_day.c.notice_id).where(*_same(ad_notice_day, key)))
    return {
        "advertiser_id": one.advertiser_id,
        "recipient": one.person,
        "channel": one.channel,
        "notice_id": notice_id,
        "day": found.day,
        "due_at": one.at,
        "is_digest": one.is_digest,
    }


# sending -----------------------------------------------------------------------------------------
def bundle(store: sa.Connection, now: datetime, zone: str) -> int:
    """Make messages of what is due, and drop what was muted meanwhile; how many messages.

    One message for each person and advertiser; by Slack one for each advertiser, for its people
    share a channel: what was shown there is not shown again for another of them.
    """
    store.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    due = _waiting(store)
    if not due:
        return 0
    advertisers = sorted({one.advertiser_id for one in due.values()})
    wanted = [one for ad in advertisers for one in preferences.of(store, ad, zone, now)]
    ready, waiting = messages(list(due.values()), wanted, now)
    kept = {_place(one) for one in waiting}
    by_place: dict[Any, list[int]] = {}
    for due_id, one in due.items():
        by_place.setdefault(_place(one), []).append(due_id)
    sent = 0
    for message in _shared(ready):
        places = [
            (person, message.advertiser_id, message.channel, message.is_digest, finding)
            for person in _people(ready, message)
            for finding in message.findings
        ]
        ids = [due_id for place in places for due_id in by_place.pop(place, ())]
        shown = _shown_there(store, message, ids) if message.channel == "slack" else {}
        new = [due_id for due_id in ids if due_id not in shown]
        for due_id, message_id in shown.items():
            _put(store, [due_id], message_id)
        if new:
            _put(store, new, _message(store, message, now))
            sent += 1
    gone = [i for place, ids in by_place.items() if place not in kept for i in ids]
    if gone:
        store.execute(
            ad_notice_due.update().where(ad_notice_due.c.due_id.in_(gone)).values(dropped_at=now)
        )
    return sent


def _waiting(store: sa.Connection) -> dict[int, Due]:
    """What is in no message yet."""
    due, day = ad_notice_due.c, ad_notice_day.c
    rows = store.execute(
        sa.select(
            due.due_id, due.recipient, due.advertiser_id, due.channel, due.due_at, due.is_digest,
            day.subject, day.kind, day.day, day.figure, day.low, day.high, day.since,
        )
        .join(ad_notice_day, sa.and_(day.notice_id == due.notice_id, day.day == due.day))
        .where(due.message_id.is_(None), due.dropped_at.is_(None))
        .order_by(due.due_id)
    )  # fmt: skip
    return {
        row.due_id: Due(
            row.recipient, row.advertiser_id, row.channel, _finding(row._mapping), row.due_at,
            row.is_digest,
        )
        for row in rows
    }  # fmt: skip


def _place(one: Due) -> tuple[str, str, Channel, bool, Finding]:
    return one.person, one.advertiser_id, one.channel, one.is_digest, one.finding


def _shared(ready: Sequence[Message]) -> list[Message]:
    """The messages, those to one channel of Slack as one: at once and digest stay apart."""
    found: dict[tuple[str, ...], Message] = {}
    for one in ready:
        person = "" if one.channel == "slack" else one.person
        key = (person, one.advertiser_id, one.channel, str(one.is_digest))
        before = found.get(key)
        more = [f for f in one.findings if before is None or f not in before.findings]
        findings = (*(before.findings if before else ()), *more)
        found[key] = Message(one.person, one.advertiser_id, one.channel, findings, one.is_digest)
    return list(found.values())


def _people(ready: Sequence[Message], message: Message) -> list[str]:
    """Whose message it is: of Slack all who get it by the same channel."""
    if message.channel != "slack":
        return [message.person]
    alike = (message.advertiser_id, message.channel, message.is_digest)
    return sorted({m.person for m in ready if (m.advertiser_id, m.channel, m.is_digest) == alike})


def _shown_there(
    store: sa.Connection, message: Message, ids: Collection[int]
) -> dict[int, uuid.UUID]:
    """Which of these the advertiser's channel has shown already, for somebody else, by what."""
    mine, other = ad_notice_due.alias("mine"), ad_notice_due.alias("other")
    rows = store.execute(
        sa.select(mine.c.due_id, sa.func.min(sa.cast(other.c.message_id, sa.Text)).label("id"))
        .join(
            other,
            sa.and_(
                other.c.advertiser_id == mine.c.advertiser_id,
                other.c.notice_id == mine.c.notice_id,
                other.c.day == mine.c.day,
                other.c.channel == mine.c.channel,
                other.c.message_id.is_not(None),
            ),
        )
        .where(mine.c.due_id.in_(ids), mine.c.advertiser_id == message.advertiser_id)
        .group_by(mine.c.due_id)
    )
    return {row.due_id: uuid.UUID(row.id) for row in rows}


def _message(store: sa.Connection, message: Message, now: datetime) -> uuid.UUID:
    made = uuid.uuid4()
    recipient = preferences.EVERYONE if message.channel == "slack" else message.person
    store.execute(
        ad_notice_message.insert().values(
            message_id=made, advertiser_id=message.advertiser_id, recipient=recipient,
            channel=message.channel, is_digest=message.is_digest, made_at=now, state="kept",
            state_at=now,
        )
    )  # fmt: skip
    return made


def _put(store: sa.Connection, ids: Collection[int], message_id: uuid.UUID) -> None:
    store.execute(
        ad_notice_due.update().where(ad_notice_due.c.due_id.in_(ids)).values(message_id=message_id)
    )


def outgoing(store: sa.Connection) -> list[Outgoing]:
    """The messages that were not sent yet, the oldest first."""
    rows = store.execute(
        sa.select(ad_notice_message)
        .where(ad_notice_message.c.state == "kept")
        .order_by(ad_notice_message.c.made_at, ad_notice_message.c.message_id)
    ).all()
    return [
        Outgoing(
            row.message_id, row.advertiser_id, row.recipient, cast(Channel, row.channel),
            row.is_digest, row.made_at, _shown(store, row.message_id),
        )
        for row in rows
    ]  # fmt: skip


def _shown(store: sa.Connection, message_id: uuid.UUID) -> list[Shown]:
    due, day, notice = ad_notice_due.c, ad_notice_day.c, ad_notice.c
    rows = store.execute(
        sa.select(
            notice.notice_id, notice.kind, notice.subject, notice.subject_name, day.day,
            day.figure, day.low, day.high, day.since, notice.unit, notice.currency, notice.link,
        )
        .distinct()
        .join_from(ad_notice_due, ad_notice, due.notice_id == notice.notice_id)
        .join(ad_notice_day, sa.and_(day.notice_id == due.notice_id, day.day == due.day))
        .where(due.message_id == message_id)
        .order_by(notice.kind, notice.subject_name, day.day)
    )  # fmt: skip
    return [Shown(**row._mapping) for row in rows]


def became(
    store: sa.Connection, message_id: uuid.UUID, state: str, now: datetime, reason: str | None
) -> None:
    """Note what became of a message; one that has ended stays as it is."""
    store.execute(
        ad_notice_message.update()
        .where(ad_notice_message.c.message_id == message_id, ad_notice_message.c.state == "kept")
        .values(state=state, state_at=now, reason=reason)
    )


def forget_old(store: sa.Connection, now: datetime) -> int:
    """Delete what ended long ago; how many notices."""
    before = now - FORGOTTEN_AFTER
    store.execute(ad_notice_due.delete().where(ad_notice_due.c.due_at < before))
    store.execute(
        ad_notice_message.delete().where(
            ad_notice_message.c.made_at < before,
            ~sa.exists().where(ad_notice_due.c.message_id == ad_notice_message.c.message_id),
        )
    )
    preferences.forget_ended(store, now)
    return store.execute(ad_notice.delete().where(ad_notice.c.day < before.date())).rowcount
