"""The index: what is known of all accounts at this moment, in memory, for one account's view.

Known accounts come from a snapshot's files, live ones (scored a moment ago, not yet in the shop's
tables) are added one by one. The counts of the account view and the links of account_links and
account_clusters are computed here for one account, by the definitions that the tables have for
all: a test compares the two.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np

from dmp_assets.abuse import keys
from dmp_assets.abuse.clusters import Cluster, Link
from dmp_assets.abuse.features import zone_countries
from dmp_assets.abuse.keys import KIND_KEYS, NO_KEY, POSITION
from dmp_assets.abuse.snapshot import EMPTY, Snapshot
from dmp_assets.abuse.view import VIEW
from dmp_assets.cleaned import normalise
from dmp_assets.identity.evidence import KINDS, MIN_WEIGHT, PREDECESSORS

_DAY, _HOUR = 86_400_000_000, 3_600_000_000  # microseconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_MEMBERS = 1_000
"""A cluster is followed to so many accounts, and no further."""

_OWN = tuple(VIEW.names[: VIEW.names.index("timezone") + 1])
"""Columns of the view that are the account's own attributes."""
_REDEMPTIONS = tuple(VIEW.names[VIEW.names.index("usages") :])
"""Columns of the view that speak of redemptions."""
_LINK_PLACES = tuple(POSITION[KIND_KEYS[kind.name]] for kind in KINDS)
_TOUCHING = tuple(
    sorted({*_LINK_PLACES, POSITION["typed_key"], POSITION["identity_key"], POSITION["series_key"]})
)
"""Keys by which a new account can change what is said of a known one."""
_NEAR = tuple(
    math.inf if kind.within is None else kind.within / timedelta(microseconds=1) for kind in KINDS
)
_FAMILIES = tuple(kind.family for kind in KINDS)


_PAIRS = (("city_key", "agent_key"), ("city_key", "zone_key"))
"""Keys that are counted together."""
_CITY_AGENT, _CITY_ZONE = len(keys.NAMES), len(keys.NAMES) + 1


@cache
def _weight(kind: int, holders: int) -> float:
    return KINDS[kind].weight(holders)


def microseconds(at: datetime) -> int:
    """Since 1970; a time without a zone is in UTC."""
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class LiveAccount:
    """An account that was scored but is not in the snapshot.

    `account`: normal forms (`received.normal_form`); `promo_code`: the code it is about to redeem.
    """

    account: Mapping[str, Any]
    keys: tuple[int, ...]
    created: int
    promo_code: str | None
    scored_at: datetime

    @classmethod
    def of(
        cls,
        account: Mapping[str, Any],
        promo_code: str | None = None,
        scored_at: datetime | None = None,
    ) -> "LiveAccount":
        """Scored now, if nothing else is said."""
        created = microseconds(account["created_at"])
        now = scored_at or datetime.now(UTC)
        return cls(account, keys.keys_of(account), created, promo_code, now)

    @property
    def account_id(self) -> str:
        return str(self.account["user_id"])


def _held(live: LiveAccount) -> Iterator[tuple[int, Any]]:
    """(place, key) of all that an account is counted by."""
    for place, key in enumerate(live.keys):
        if key != NO_KEY:
            yield place, key
    for place, names in enumerate(_PAIRS, len(keys.NAMES)):
        pair = tuple(live.keys[POSITION[name]] for name in names)
        if NO_KEY not in pair:
            yield place, pair


class AccountIndex:
    """A snapshot and the live accounts beside it. Used by one thread at a time.

    An account is a number here: its row in the snapshot, or one from `snapshot.size` on.
    """

    def __init__(self, snapshot: Snapshot = EMPTY) -> None:
        self.snapshot = snapshot
        self._live: dict[int, LiveAccount] = {}
        self._number: dict[str, int] = {}
        self._next = snapshot.size
        self._holders: list[dict[Any, int | list[int]]] = [{} for _ in (*keys.NAMES, *_PAIRS)]
        self._created: list[int] = []
        self._totals = dict.fromkeys(snapshot.totals, 0)
        self._edges: dict[int, tuple[tuple[int, float, tuple[str, ...]], ...]] = {}

    # accounts ------------------------------------------------------------------------------------
    def __len__(self) -> int:
        return self.snapshot.size + len(self._live)

    def live(self) -> Iterator[LiveAccount]:
        """The live accounts in the order in which they came."""
        return iter(self._live.values())

    def live_of(self, account_id: str) -> LiveAccount | None:
        """The live account of this id; None when there is none."""
        number = self._number.get(account_id)
        return None if number is None else self._live[number]

    def number(self, account_id: str) -> int | None:
        """The account's number; None when nobody knows it."""
        found = self._number.get(account_id)
        return self.snapshot.row_of(account_id) if found is None else found

    def is_known(self, account_id: str) -> bool:
        """Whether the account is in the snapshot."""
        return account_id not in self._number and self.snapshot.row_of(account_id) is not None

    def id_of(self, number: int) -> str:
        live = self._live.get(number)
        return self.snapshot.id_of(number) if live is None else live.account_id

    def put(self, live: LiveAccount) -> int:
        """Add a live account, or replace the one of the same id; its number."""
        self.remove(live.account_id)
        number = self._next
        self._next += 1
        self._live[number], self._number[live.account_id] = live, number
        for place, key in _held(live):
            held = self._holders[place].get(key)
            if held is None:
                self._holders[place][key] = number
            elif isinstance(held, int):
                self._holders[place][key] = sorted((held, number), key=self._when)
            else:
                insort(held, number, key=self._when)
        insort(self._created, live.created)
        self._count(live, 1)
        self._changed(live)
        return number

    def remove(self, account_id: str) -> None:
        """Forget a live account; nothing happens when there is none."""
        number = self._number.pop(account_id, None)
        if number is None:
            return
        live = self._live[number]
        self._changed(live)
        self._edges.pop(number, None)
        for place, key in _held(live):
            held = self._holders[place][key]
            if isinstance(held, int) or len(held) == 1:
                del self._holders[place][key]
            else:
                del held[bisect_left(held, self._when(number), key=self._when)]
        del self._live[number]
        self._created.pop(bisect_left(self._created, live.created))
        self._count(live, -1)

    def _count(self, live: LiveAccount, step: int) -> None:
        a, totals = live.account, self._totals
        for name, counted in (
            ("accounts", True),
            ("accounts_with_name", True),
            ("accounts_with_email", a["email_received"] is not None),
            ("accounts_with_phone", a["phone_received"] is not None),
            ("accounts_with_valid_phone", a["is_phone_valid"] is True),
            ("accounts_with_city", a["city"] is not None),
            ("accounts_with_device", a["device_id"] is not None),
            ("accounts_with_ip", a["ip"] is not None),
            ("accounts_with_user_agent", a["user_agent_received"] is not None),
            ("accounts_with_date_of_birth", a["date_of_birth"] is not None),
            (
                "accounts_with_home_phone",
                a["phone_country"] is not None
                and a["phone_country"] == zone_countries().get(a["timezone"]),
            ),
        ):
            totals[name] += step * counted

    def _changed(self, live: LiveAccount) -> None:
        """Links of whoever shares a value with the account are to be computed anew."""
        for kind, place in enumerate(_LINK_PLACES):
            if live.keys[place] != NO_KEY:
                for other in self._sharing(place, live.keys[place], at_most=KINDS[kind].cap + 1):
                    self._edges.pop(other, None)

    def touched(self, number: int) -> bool:
        """Whether a live account shares a value, by which accounts are linked, with this one."""
        return any(self._key(number, place) in self._holders[place] for place in _TOUCHING)

    def _key(self, number: int, place: int) -> int:
        live = self._live.get(number)
        return int(self.snapshot.keys[place][number]) if live is None else live.keys[place]

    def _time(self, number: int) -> int:
        live = self._live.get(number)
        return int(self.snapshot.created[number]) if live is None else live.created

    # holders of a value --------------------------------------------------------------------------
    def _when(self, number: int) -> tuple[int, int]:
        """A live account's place in time."""
        return self._live[number].created, number

    def _live_with(self, place: int, key: Any) -> Sequence[int]:
        """Live accounts with this key, in order of time."""
        held = self._holders[place].get(key, ())
        return (held,) if isinstance(held, int) else held

    def _live_near(self, place: int, key: Any, created: int, width: int) -> int:
        """How many of them registered within `width` of a time."""
        held = self._live_with(place, key)
        first = bisect_left(held, (created - width, -1), key=self._when)
        return bisect_left(held, (created + width + 1, -1), key=self._when) - first

    def _sharing(self, place: int, key: int, at_most: int | None = None) -> list[int]:
        """Accounts with this key, the snapshot's first; none when there are more than `at_most`."""
        rows = self.snapshot.rows_of(place, key)
        live = self._live_with(place, key)
        if at_most is not None and len(rows) + len(live) > at_most:
            return []
        return [*rows.tolist(), *live]

    def _total(self, place: int, key: int) -> int:
        return len(self.snapshot.rows_of(place, key)) + len(self._live_with(place, key))

    def _window(self, created: int, width: int) -> tuple[int, int]:
        times = self.snapshot.created
        return int(times.searchsorted(created - width)), int(
            times.searchsorted(created + width, "right")
        )

    def _near(self, place: int, key: int, created: int, width: int) -> int:
        """Accounts with this key that registered within `width` of a time."""
        first, last = self._window(created, width)
        rows = self.snapshot.rows_of(place, key)
        known = int(rows.searchsorted(last)) - int(rows.searchsorted(first))
        return known + self._live_near(place, key, created, width)

    def _distinct(self, place: int, key: int, of: int) -> int:
        """Different keys at `of` among the accounts with this key at `place`."""
        rows = self.snapshot.rows_of(place, key)
        found = set(np.unique(self.snapshot.keys[of][rows]).tolist()) if len(rows) else set()
        found.update(self._live[n].keys[of] for n in self._live_with(place, key))
        found.discard(NO_KEY)
        return len(found)

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
        row["links"] = len(edges) or None
        row["link_weight"] = sum(weight for _, weight, _ in edges) if edges else None
        row["cluster_size"] = len(self.members(number)) if edges else None
        return row

    def _counts(self, own: tuple[int, ...], created: int, codes: list[str]) -> dict[str, Any]:
        def key(name: str) -> int:
            return own[POSITION[name]]

        def total(name: str) -> int | None:
            return self._total(POSITION[name], key(name)) if key(name) != NO_KEY else None

        def near(name: str, width: int) -> int | None:
            if key(name) == NO_KEY:
                return None
            return self._near(POSITION[name], key(name), created, width)

        def distinct(name: str, of: str) -> int | None:
            if key(name) == NO_KEY:
                return None
            return self._distinct(POSITION[name], key(name), POSITION[of])

        phone = "phone_key" if key("phone_key") != NO_KEY else "typed_key"
        agents = total("agent_key")
        first, last = self._window(created, _HOUR)
        live_hour = bisect_right(self._created, created + _HOUR) - bisect_left(
            self._created, created - _HOUR
        )
        return {
            "device_accounts": (devices := total("device_key")),
            "device_last_names": distinct("device_key", "family"),
            "device_networks": distinct("device_key", "network_key"),
            "device_day": near("device_key", _DAY),
            "device_code_accounts": self._same_code(key("device_key"), codes)
            if devices and devices > 1
            else None,
            "phone_accounts": total(phone),
            "phone_last_names": distinct(phone, "family"),
            "email_accounts": total("email_key"),
            "email_series": total("series_key"),
            "email_series_day": near("series_key", _DAY),
            "identity_accounts": total("identity_key"),
            "ip_accounts": total("ip_key"),
            "ip_devices": distinct("ip_key", "device_key"),
            "network_accounts": total("network_key"),
            "network_hour": near("network_key", _HOUR),
            "user_agent_accounts": agents,
            "user_agent_hour": near("agent_key", _HOUR),
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

    def _same_code(self, device: int, codes: list[str]) -> int | None:
        """Most accounts of the device that redeemed one code of these; None without codes."""
        if not codes:
            return None
        place = POSITION["device_key"]
        used = [
            self.snapshot.value_of(row, "codes_used") or []
            for row in self.snapshot.rows_of(place, device).tolist()
        ]
        used += [
            [code]
            for number in self._live_with(place, device)
            if (code := self._live[number].promo_code)
        ]
        return max(sum(code in redeemed for redeemed in used) for code in codes)

    def _city_agent(self, agent: int, city: int, created: int) -> int:
        first, last = self._window(created, _HOUR)
        place, city_place = POSITION["agent_key"], POSITION["city_key"]
        rows = self.snapshot.rows_of(place, agent)
        rows = rows[rows.searchsorted(first) : rows.searchsorted(last)]
        known = int((self.snapshot.keys[city_place][rows] == np.uint64(city)).sum())
        return known + self._live_near(_CITY_AGENT, (city, agent), created, _HOUR)

    def _place(self, city: int, zone: int) -> int | None:
        if NO_KEY in (city, zone):
            return None
        place, zone_place = POSITION["city_key"], POSITION["zone_key"]
        rows = self.snapshot.rows_of(place, city)
        known = int((self.snapshot.keys[zone_place][rows] == np.uint64(zone)).sum())
        return known + len(self._live_with(_CITY_ZONE, (city, zone)))

    # links ---------------------------------------------------------------------------------------
    def _linked(self, number: int) -> tuple[tuple[int, float, tuple[str, ...]], ...]:
        """(account, weight, what is shared) of each link, as modeled/account_links has them."""
        known = self._edges.get(number)
        if known is None:
            known = self._edges[number] = tuple(self._links_of(number))
        return known

    def _links_of(self, number: int) -> Iterator[tuple[int, float, tuple[str, ...]]]:
        created = self._time(number)
        shared: dict[int, tuple[int, int]] = {}  # kind → key, holders
        candidates: dict[int, None] = {}
        for kind, place in enumerate(_LINK_PLACES):
            key = self._key(number, place)
            if key == NO_KEY:
                continue
            holders = self._sharing(place, key, at_most=KINDS[kind].cap)
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
            apart = abs(self._time(other) - created)
            best: dict[str, float] = {}
            agreed = []
            for kind, (key, holders_count) in shared.items():
                if self._key(other, _LINK_PLACES[kind]) == key and apart <= _NEAR[kind]:
                    weight = _weight(kind, holders_count)
                    family = _FAMILIES[kind]
                    best[family] = max(best.get(family, 0.0), weight)
                    if weight > 0:
                        agreed.append(KINDS[kind].name)
            if (whole := sum(best.values())) >= MIN_WEIGHT:
                yield other, whole, tuple(sorted(agreed))

    def _order(self, number: int) -> tuple[int, str]:
        return self._time(number), self.id_of(number)

    def members(self, number: int) -> list[int]:
        """Numbers of its cluster: the account itself, then the nearest, at most `MOST_MEMBERS`."""
        seen, waiting = {number: None}, deque([number])
        while waiting and len(seen) < MOST_MEMBERS:
            for other, _, _ in self._linked(waiting.popleft()):
                if other not in seen:
                    seen[other] = None
                    waiting.append(other)
        return list(seen)

    def first_of(self, numbers: Sequence[int]) -> str:
        """Id of the earliest registered of these: by it a cluster is named."""
        return self.id_of(min(numbers, key=self._order))

    def neighbours(self, number: int) -> list[int]:
        """Numbers of the directly linked accounts, the strongest link first."""
        return [n for n, _, _ in sorted(self._linked(number), key=lambda edge: -edge[1])]

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
        text = text.strip()
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
                sharing = self._sharing(POSITION[name], keys.key_of(value))
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
            (min(a, b), max(a, b)): (weight, shared)
            for a in listed
            for b, weight, shared in self._linked(a)
            if b in listed
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
