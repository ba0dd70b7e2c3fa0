"""Whose an account is: a reference belongs to the client that gave it.

Two clients that use one reference mean two accounts, so neither can change what the other said.
Inside the index an account goes by its reference and its client; everybody else knows it by the
reference. What a client says anew adds to what it said: what is left out stays, and a value that
is replaced goes on counting for those who share it.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from dmp_assets.abuse.model.clusters import Cluster, Link
from dmp_assets.abuse.model.index import LiveAccount
from dmp_assets.abuse.model.keys import KIND_KEYS, NO_KEY, POSITION
from dmp_assets.abuse.service.asked import Asked

_BETWEEN = "\x1f"  # which no reference holds
MOST_FORMER = 5
"""Former values of an account that count; beyond, the oldest do no more."""
_LINKING = frozenset(POSITION[key] for key in KIND_KEYS.values())
_GIVEN = {
    "email": "email_received", "email_verified": "is_email_verified", "phone": "phone_received",
    "phone_verified": "is_phone_verified", "first_name": "first_name", "last_name": "last_name",
    "date_of_birth": "date_of_birth", "ip": "ip", "device_id": "device_id",
    "user_agent": "user_agent_received", "city": "city", "timezone": "timezone",
}  # fmt: skip


def name_of(ref: str, owner: str) -> str:
    """By what the index knows the account."""
    return f"{ref}{_BETWEEN}{owner}"


def public(name: str) -> str:
    """By what everybody knows it."""
    return name.partition(_BETWEEN)[0]


def owner_of(name: str) -> str:
    """The client whose it is; empty for an account of the shop."""
    return name.split(_BETWEEN)[1] if _BETWEEN in name else ""


def is_former(name: str) -> bool:
    """Whether it stands for what an account was before."""
    return name.count(_BETWEEN) > 1


def with_known(asked: Asked, before: LiveAccount) -> Asked:
    """What is asked, and what was said before of that account and is left out now."""
    known: Mapping[str, Any] = before.account
    attributes = {
        name: known[_GIVEN[name]] if value is None else value
        for name, value in asked.attributes.items()
    }
    return replace(
        asked,
        attributes=attributes,
        registered_at=asked.registered_at if asked.is_dated else known["created_at"],
        promo_code=asked.promo_code or before.promo_code,
    )


def former(before: LiveAccount, now: LiveAccount, number: int) -> LiveAccount | None:
    """What links others with what the account was and is no more; None when nothing does."""
    gone = tuple(
        old if place in _LINKING and old != new else NO_KEY
        for place, (old, new) in enumerate(zip(before.keys, now.keys, strict=True))
    )
    if all(key == NO_KEY for key in gone):
        return None
    name = f"{now.account_id}{_BETWEEN}{number % MOST_FORMER}"
    return replace(before, account={**before.account, "user_id": name}, keys=gone, promo_code=None)


class Owners:
    """Which live accounts a reference names, and which are whose, the oldest first."""

    def __init__(self) -> None:
        self._of_ref: dict[str, dict[str, None]] = {}
        self._of_owner: dict[str, dict[str, None]] = {}

    def add(self, name: str) -> None:
        self._of_owner.setdefault(owner_of(name), {})[name] = None
        if not is_former(name):
            self._of_ref.setdefault(public(name), {})[name] = None

    def remove(self, name: str) -> None:
        for names, key in ((self._of_owner, owner_of(name)), (self._of_ref, public(name))):
            if (held := names.get(key)) is not None:
                held.pop(name, None)
                if not held:
                    del names[key]

    def latest(self, ref: str) -> str:
        """The account that was named so last; the reference itself when no live one is."""
        return next(reversed(self._of_ref[ref])) if ref in self._of_ref else ref

    def busiest(self) -> str | None:
        """The client that has the most live accounts."""
        return max(self._of_owner, key=self.count, default=None)

    def count(self, owner: str) -> int:
        return len(self._of_owner.get(owner, ()))

    def oldest(self, owner: str, most: int) -> list[str]:
        """The client's oldest accounts."""
        return list(islice(self._of_owner[owner], most))

    def again(self, names: Iterable[str]) -> None:
        """Begin anew with these."""
        self._of_ref.clear()
        self._of_owner.clear()
        deque(map(self.add, names), maxlen=0)


def named_publicly(cluster: Cluster) -> Cluster:
    """The cluster as people know its accounts, each once."""
    links: dict[tuple[str, str], Link] = {}
    for link in cluster.links:
        a, b = public(link.a), public(link.b)
        if a != b:
            links.setdefault((min(a, b), max(a, b)), Link(a, b, link.weight, link.shared))
    members = tuple(dict.fromkeys(map(public, cluster.members)))
    return Cluster(members, tuple(links.values()), cluster.size - len(cluster.members)
                   + len(members))  # fmt: skip
