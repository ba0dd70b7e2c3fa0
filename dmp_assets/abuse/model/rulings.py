"""What people ruled on accounts: decisions in the review, and the allow and block lists.

A ruling stands above the model. The nearest one holds: a decision on the account, then a list
entry for the account, its device, its IP range (the narrowest), its e-mail domain.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class ListEntry:
    """An entry of the allow and block lists: for whom (`kind`, `value`) what (`effect`) holds."""

    effect: str
    kind: str
    value: str
    expires_at: datetime | None


@dataclass(frozen=True)
class Ruling:
    """What holds for an account, and whose it is: `analyst` or `list`."""

    decision: str
    by: str


@dataclass
class Rulings:
    """All rulings in force."""

    verdicts: Mapping[str, str] = field(default_factory=dict)
    entries: Iterable[ListEntry] = ()

    def __post_init__(self) -> None:
        self._by: dict[str, dict[str, ListEntry]] = {
            "account": {},
            "device": {},
            "email_domain": {},
        }
        self._ranges: list[tuple[_Network, ListEntry]] = []
        for entry in self.entries:
            if entry.kind == "ip_range":
                self._ranges.append((ipaddress.ip_network(entry.value), entry))
            else:
                self._by[entry.kind][entry.value] = entry
        self._ranges.sort(key=lambda held: -held[0].prefixlen)

    @property
    def need_attributes(self) -> bool:
        """Whether `on` needs more than the account's id."""
        return bool(self._ranges or self._by["device"] or self._by["email_domain"])

    def on(self, account_id: str, attributes: Mapping[str, Any], now: datetime) -> Ruling | None:
        """The ruling on an account with `device_id`, `ip`, `email_domain`; None: the model's."""
        if (verdict := self.verdicts.get(account_id)) is not None:
            return Ruling(verdict, "analyst")
        for entry in self._entries(account_id, attributes):
            if entry.expires_at is None or entry.expires_at > now:
                return Ruling(entry.effect, "list")
        return None

    def _entries(self, account_id: str, attributes: Mapping[str, Any]) -> Iterable[ListEntry]:
        if (entry := self._by["account"].get(account_id)) is not None:
            yield entry
        if (entry := self._by["device"].get(attributes.get("device_id") or "")) is not None:
            yield entry
        if self._ranges and attributes.get("ip") is not None:
            address = ipaddress.ip_address(attributes["ip"])
            yield from (entry for network, entry in self._ranges if address in network)
        domain = attributes.get("email_domain") or ""
        if (entry := self._by["email_domain"].get(domain)) is not None:
            yield entry
