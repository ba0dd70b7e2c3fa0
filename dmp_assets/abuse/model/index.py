"""The index: what is known of all accounts at this moment, in memory, for one account's view.

The counts of the account view and the links of account_links and account_clusters are computed
here for one account, by the definitions that the tables have for all: a test compares the two.
"""

import math
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, timedelta
from functools import cache
from typing import Any

import numpy as np

from dmp_assets.abuse.model.clusters import Cluster, Link
from dmp_assets.abuse.model.holders import (
    CITY_AGENT,
    CITY_ZONE,
    IDENTITY_KEYS,
    LINK_PLACES,
    Edge,
    Holders,
    LiveAccount,
)
from dmp_assets.abuse.model.keys import NO_KEY, POSITION
from dmp_assets.abuse.model.view import VIEW
from dmp_assets.identity.evidence import KINDS, MIN_WEIGHT, PREDECESSORS
from dmp_assets.identity.witness import COUNTS, MOST_COUNTED
from dmp_assets.platform.cleaning import normalise
from dmp_assets.platform.values import words

__all__ = ["AccountIndex", "LiveAccount"]

_DAY, _HOUR = 86_400_000_000, 3_600_000_000  # microseconds
MOST_MEMBERS = 1_000
"""A cluster is followed to so many accounts, and no further."""

_OWN = tuple(VIEW.names[: VIEW.names.index("timezone") + 1])
"""Columns of the view that are the account's own attributes."""
_REDEMPTIONS = tuple(VIEW.names[VIEW.names.index("usages") :])
"""Columns of the view that speak of redemptions."""
_NEAR = tuple(
    math.inf if kind.within is None else kind.within / timedelta(microseconds=1) for kind in KINDS
)
_FAMILIES = tuple(kind.family for kind in KINDS)
_COUNTS = tuple(COUNTS[kind.verified] for kind in KINDS)


@cache
def _weight(kind: int, holders: int) -> float:
    return KINDS[kind].weight(holders)


class AccountIndex(Holders):
    """What is said of one account among all others. Used by one thread at a time."""

    # the account view ----------------------------------------------------------------------------
    def view_of(self, number: int) -> dict[str, Any]:
        """The account's row of the account view as of now, itself counted."""
        live = self._live.get(number)
        if live is None:
            row = self.snapshot.view_of(number)
            codes = row.pop("codes_used") or []
            own = tuple(int(column[number]) for column in self.snapshot.keys)
            created = int(self.snapshot.created[number])
        else:
            row = {name: live.account[name] for name in _OWN}
            row["created_at"] = live.account["created_at"].astimezone(UTC).replace(tzinfo=None)
            row |= dict.fromkeys(_REDEMPTIONS)
            codes = [live.promo_code] if live.promo_code else []
            own, created = live.keys, live.created
        row |= self._counts(own, created, codes)
        row |= {name: self.snapshot.totals[name] + more for name, more in self._totals.items()}
        edges = self._linked(number)
        counted = [edge.against for edge in edges if edge.counts]
        row["links"] = len(edges) or None
        row["link_weight"] = sum(counted) if counted else None
        row["cluster_size"] = self._counted(number) if counted else None
        return row

    def _counts(self, own: tuple[int, ...], created: int, codes: list[str]) -> dict[str, Any]:
        def key(name: str) -> int:
            return own[POSITION[name]]

        crowds = {
            name for name, kind in IDENTITY_KEYS.items() if self._is_crowd(name, kind, key(name))
        }

        def total(name: str) -> int | None:
            """All that share it, whatever they are."""
            return None if key(name) == NO_KEY else self._total(POSITION[name], key(name))

        def against(name: str, width: int | None = None) -> int | None:
            if key(name) == NO_KEY:
                return None
            if name in crowds:
                return 1
            return self._against(POSITION[name], key(name), created, width)

        def distinct(name: str, of: str) -> int | None:
            if key(name) == NO_KEY:
                return None
            if name in crowds:
                return int(key(of) != NO_KEY)
            return self._distinct(POSITION[name], key(name), POSITION[of], created)

        phone = "phone_key" if key("phone_key") != NO_KEY else "typed_key"
        agents = total("agent_key")
        first, last = self._window(created, _HOUR)
        live_hour = bisect_right(self._created, created + _HOUR) - bisect_left(
            self._created, created - _HOUR
        )
        return {
            "device_accounts": against("device_key"),
            "device_last_names": distinct("device_key", "family"),
            "device_networks": distinct("device_key", "network_key"),
            "device_day": against("device_key", _DAY),
            "device_code_accounts": self._same_code(key("device_key"), codes, created)
            if "device_key" not in crowds and (total("device_key") or 0) > 1
            else None,
            "phone_accounts": against(phone),
            "phone_last_names": distinct(phone, "family"),
            "email_accounts": against("email_key"),
            "email_series": against("series_key"),
            "email_series_day": against("series_key", _DAY),
            "identity_accounts": against("identity_key"),
            "ip_accounts": against("ip_key"),
            "ip_devices": self._ip_devices(key("ip_key"), created),
            "network_accounts": total("network_key"),
            "network_hour": against("network_key", _HOUR),
            "user_agent_accounts": agents,
            "user_agent_hour": against("agent_key", _HOUR),
            "city_user_agent_hour": self._city_agent(key("agent_key"), key("city_key"), created)
            if agents and agents > 1 and key("city_key") != NO_KEY
            else None,
            "all_hour": last - first + live_hour,
            "email_domain_accounts": total("domain_key"),
            "name_form_accounts": total("name_key"),
            "phone_form_accounts": total("form_key"),
            "city_accounts": total("city_key"),
            "city_timezone_accounts": self._place(key("city_key"), key("zone_key")),
        }

    def _ip_devices(self, ip: int, created: int) -> int | None:
        """Devices behind an address; accounts without a usable one count as one each."""
        if ip == NO_KEY:
            return None
        place, device = POSITION["ip_key"], POSITION["device_key"]
        rows = self._rows_against(place, ip, created)
        found = Counter(self.snapshot.keys[device][rows].tolist())
        found.update(self._live[n].keys[device] for n in self._live_against(place, ip, created))
        return sum(
            accounts if key == NO_KEY or self._is_no_device(key) else 1
            for key, accounts in found.items()
        )

    def _same_code(self, device: int, codes: list[str], created: int) -> int | None:
        """Most accounts of the device that redeemed one code of these; None without codes."""
        if not codes:
            return None
        place = POSITION["device_key"]
        used = [
            self.snapshot.value_of(row, "codes_used") or []
            for row in self._rows_against(place, device, created).tolist()
        ]
        used += [
            [code]
            for number in self._live_against(place, device, created)
            if (code := self._live[number].promo_code)
        ]
        return max(sum(code in redeemed for redeemed in used) for code in codes)

    def _city_agent(self, agent: int, city: int, created: int) -> int:
        place, city_place = POSITION["agent_key"], POSITION["city_key"]
        rows = self._rows_against(place, agent, created, _HOUR)
        known = int((self.snapshot.keys[city_place][rows] == np.uint64(city)).sum())
        return known + len(self._live_against(CITY_AGENT, (city, agent), created, _HOUR, by=place))

    def _place(self, city: int, zone: int) -> int | None:
        if NO_KEY in (city, zone):
            return None
        place, zone_place = POSITION["city_key"], POSITION["zone_key"]
        rows = self.snapshot.rows_of(place, city)
        known = int((self.snapshot.keys[zone_place][rows] == np.uint64(zone)).sum())
        return known + len(self._live_with(CITY_ZONE, (city, zone)))

    # links ---------------------------------------------------------------------------------------
    def _linked(self, number: int) -> tuple[Edge, ...]:
        """The account's links, as modeled/account_links has them."""
        known = self._edges.get(number)
        if known is None:
            known = self._edges[number] = tuple(self._links_of(number))
        return known

    def _links_of(self, number: int) -> Iterator[Edge]:
        created = self._time(number)
        shared: dict[int, tuple[int, int]] = {}  # kind → key, holders
        candidates: dict[int, None] = {}
        for kind, place in enumerate(LINK_PLACES):
            key = self._key(number, place)
            if key == NO_KEY:
                continue
            holders = self._sharing(place, key, at_most=self._most(KINDS[kind].name))
            if len(holders) < 2:
                continue
            shared[kind] = (key, len(holders))
            if key in self._holders[place]:
                holders.sort(key=self._order)
            at = holders.index(number)
            for other in holders[max(at - PREDECESSORS, 0) : at + PREDECESSORS + 1]:
                if other != number and abs(self._time(other) - created) <= _NEAR[kind]:
                    candidates[other] = None
        for other in candidates:
            apart, is_later = abs(self._time(other) - created), self._time(other) > created
            verified = self._verified(other)
            best: dict[str, float] = {}
            against: dict[str, float] = {}
            agreed = []
            for kind, (key, holders_count) in shared.items():
                if self._key(other, LINK_PLACES[kind]) == key and apart <= _NEAR[kind]:
                    weight = _weight(kind, holders_count)
                    family = _FAMILIES[kind]
                    best[family] = max(best.get(family, 0.0), weight)
                    if not is_later or _COUNTS[kind][verified]:
                        against[family] = max(against.get(family, 0.0), weight)
                    if weight > 0:
                        agreed.append(KINDS[kind].name)
            if (whole := sum(best.values())) >= MIN_WEIGHT:
                yield Edge(other, whole, sum(against.values()), tuple(sorted(agreed)))

    def _order(self, number: int) -> tuple[int, str]:
        return self._time(number), self.id_of(number)

    def members(self, number: int) -> list[int]:
        """Numbers of its cluster: the account itself, then the nearest, at most `MOST_MEMBERS`."""
        seen, waiting = {number: None}, deque([number])
        while waiting and len(seen) < MOST_MEMBERS:
            for edge in self._linked(waiting.popleft()):
                if edge.other not in seen:
                    seen[edge.other] = None
                    waiting.append(edge.other)
        return list(seen)

    def _counted(self, number: int) -> int:
        """How many accounts count against this one, directly or through others, with itself."""
        now = self._time(number)
        seen, waiting = {number}, [number]
        while waiting and len(seen) < MOST_COUNTED:
            for edge in self._linked(waiting.pop()):
                if edge.other not in seen and edge.counts:
                    if self._time(edge.other) > now and not self._verified(edge.other):
                        continue
                    seen.add(edge.other)
                    waiting.append(edge.other)
        return min(len(seen), MOST_COUNTED)

    def first_of(self, numbers: Sequence[int]) -> str:
        """Id of the earliest registered of these: by it a cluster is named."""
        return self.id_of(min(numbers, key=self._order))

    def neighbours(self, number: int) -> list[int]:
        """Numbers of the directly linked accounts, the strongest link first."""
        return [e.other for e in sorted(self._linked(number), key=lambda edge: -edge.weight)]

    # for people ----------------------------------------------------------------------------------
    def attributes(self, account_id: str) -> dict[str, Any] | None:
        """The account's own attributes and `is_new`; None when nobody knows it."""
        number = self.number(account_id)
        if number is None:
            return None
        live = self._live.get(number)
        row = self.snapshot.view_of(number) if live is None else live.account
        return {name: row[name] for name in _OWN} | {"is_new": live is not None}

    def search(self, text: str, phone_region: str = "US", at_most: int = 50) -> list[str]:
        """Accounts by id, e-mail, phone, device or IP; exact after normalisation."""
        text = words.plain("id", text)
        found: dict[str, None] = {}
        if text and self.number(text) is not None:
            found[text] = None
        for name, value in (
            ("email_key", normalise.email(text).canonical),
            ("phone_key", normalise.phone(text, phone_region).e164),
            ("device_key", text or None),
            ("ip_key", normalise.ip(text).address),
        ):
            if value is not None:
                sharing = self._sharing(POSITION[name], self.snapshot.key_of(value))
                found |= dict.fromkeys(map(self.id_of, reversed(sharing[-at_most:])))
        return list(found)[:at_most]

    def cluster(self, account_id: str, at_most: int = 60) -> Cluster:
        """The account's cluster with the links among the listed members.

        Raises KeyError for an account that nobody knows.
        """
        number = self.number(account_id)
        if number is None:
            raise KeyError(account_id)
        whole = self.members(number)
        listed = dict.fromkeys(whole[:at_most])
        links = {
            (min(a, e.other), max(a, e.other)): (e.weight, e.shared)
            for a in listed
            for e in self._linked(a)
            if e.other in listed
        }
        return Cluster(
            members=tuple(map(self.id_of, listed)),
            links=tuple(
                Link(self.id_of(a), self.id_of(b), weight, shared)
                for (a, b), (weight, shared) in links.items()
            ),
            size=len(whole),
        )

    def keep(self, accounts: Iterable[LiveAccount]) -> None:
        """Take over live accounts, those that the snapshot has by now left out."""
        for live in accounts:
            if self.snapshot.row_of(live.account_id) is None:
                self.put(live)
