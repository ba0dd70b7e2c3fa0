"""Allow and block lists: accounts, devices, IP ranges and e-mail domains, with owner and expiry."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from dmp_assets.abuse.service.store.review import begin_change
from dmp_assets.abuse.service.store.schema import abuse_list_entry
from dmp_assets.platform.cleaning.normalise import DOT_BLIND, email_domain
from dmp_assets.platform.store import audit
from dmp_assets.platform.values import words

Effect = Literal["allow", "block"]
Kind = Literal["account", "device", "ip_range", "email_domain"]
KINDS: Mapping[Kind, str] = {
    "account": "Account",
    "device": "Device",
    "ip_range": "IP range",
    "email_domain": "E-mail domain",
}
_COMPARED: Mapping[Kind, words.Kind] = {
    "account": "id", "device": "device", "ip_range": "ip", "email_domain": "email",
}  # fmt: skip
"""By whose rule values are compared."""
LONGEST_VALUE = 200
WIDEST = {4: 8, 6: 16}
"""Shortest prefix of an IP range, by the version of IP."""


@dataclass(frozen=True)
class Entry:
    """An entry of a list. `owner`: the actor who added it."""

    entry_id: int
    effect: Effect
    kind: Kind
    value: str
    comment: str
    owner: str
    created_at: datetime
    expires_at: datetime | None


class ListError(Exception):
    """An entry that cannot be: `field` is wrong, the message says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def normalise(kind: Kind, value: str) -> str:
    """The value as it is kept and compared. Raises ListError."""
    value = words.plain(_COMPARED[kind], value)
    if not value or len(value) > LONGEST_VALUE:
        raise ListError("value", f"between 1 and {LONGEST_VALUE} characters")
    if kind == "email_domain":
        domain = email_domain(value.removeprefix("@"))
        if domain is None:
            raise ListError("value", "not an e-mail domain (e.g. example.com)")
        value = DOT_BLIND.get(domain, domain)
    if kind == "ip_range":
        try:
            network = ipaddress.ip_network(value, strict=False)
        except ValueError as error:
            raise ListError("value", "not an IP address or range (e.g. 203.0.113.0/24)") from error
        if network.prefixlen < WIDEST[network.version]:
            raise ListError("value", f"at widest /{WIDEST[network.version]}")
        value = str(network)
    return value


def entries(connection: sa.Connection, *, now: datetime) -> list[Entry]:
    """Every entry in force, the newest first."""
    entry = abuse_list_entry.c
    rows = connection.execute(
        sa.select(*(entry[name] for name in Entry.__dataclass_fields__))
        .where(
            entry.removed_at.is_(None), sa.or_(entry.expires_at.is_(None), entry.expires_at > now)
        )
        .order_by(entry.entry_id.desc())
    )
    return [Entry(**row._mapping) for row in rows]


def add(
    connection: sa.Connection,
    effect: Effect,
    kind: Kind,
    value: str,
    *,
    comment: str,
    expires_at: datetime | None,
    owner: str,
    now: datetime,
    request_id: str | None = None,
) -> int:
    """Put a value on a list; the entry's id.

    Raises ListError for a value that cannot be, is on a list already, or an expiry in the past.
    """
    value = normalise(kind, value)
    if expires_at is not None and expires_at <= now:
        raise ListError("expires", "in the past")
    begin_change(connection)
    entry = abuse_list_entry.c
    same = sa.and_(entry.kind == kind, entry.value == value, entry.removed_at.is_(None))
    connection.execute(
        abuse_list_entry.update()
        .where(same, entry.expires_at <= now)
        .values(removed_at=now, removed_by="expiry")
    )
    entry_id = connection.scalar(
        insert(abuse_list_entry)
        .values(
            effect=effect, kind=kind, value=value, comment=comment, owner=owner,
            created_at=now, expires_at=expires_at,
        )
        .on_conflict_do_nothing()
        .returning(entry.entry_id)
    )  # fmt: skip
    if entry_id is None:
        there = connection.scalar(sa.select(entry.effect).where(same))
        raise ListError("value", f"it is on the {there} list already; remove that entry first")
    audit.record(
        connection, at=now, actor=owner, action="add to list", outcome="done",
        request_id=request_id, detail={"entry_id": entry_id, "kind": kind, "effect": effect},
    )  # fmt: skip
    return int(entry_id)


def remove(
    connection: sa.Connection,
    entry_id: int,
    *,
    by: str,
    now: datetime,
    request_id: str | None = None,
) -> bool:
    """Take an entry off its list; False when it is not on one. It stays for the record."""
    begin_change(connection)
    entry = abuse_list_entry.c
    removed = connection.execute(
        abuse_list_entry.update()
        .where(entry.entry_id == entry_id, entry.removed_at.is_(None))
        .values(removed_at=now, removed_by=by)
    ).rowcount
    if removed:
        audit.record(
            connection, at=now, actor=by, action="remove from list", outcome="done",
            request_id=request_id, detail={"entry_id": entry_id},
        )  # fmt: skip
    return bool(removed)
