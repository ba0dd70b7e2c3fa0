"""Who holds a value: all accounts of this moment, in memory, by the keys that they are counted by.

Known accounts come from a snapshot's files, live ones (scored a moment ago, not yet in the shop's
tables) are added one by one. `index.py` makes of it what is said of one account.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from dmp_assets.abuse.model import keys
from dmp_assets.abuse.model.counts import verified_by
from dmp_assets.abuse.model.features import zone_countries
from dmp_assets.abuse.model.keys import KIND_KEYS, NO_KEY, POSITION
from dmp_assets.abuse.model.snapshot import EMPTY, Rows, Snapshot
from dmp_assets.identity.evidence import CAPS, KINDS, LEAST_CROWD, MIN_WEIGHT, most_holders
from dmp_assets.identity.witness import COUNTS, verified

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LINK_PLACES = tuple(POSITION[KIND_KEYS[kind.name]] for kind in KINDS)
_TOUCHING = tuple(
    sorted({*LINK_PLACES, POSITION["typed_key"], POSITION["identity_key"], POSITION["series_key"]})
)
"""Keys by which a new account can change what is said of a known one."""
_PAIRS = (("city_key", "agent_key"), ("city_key", "zone_key"))
"""Keys that are counted together."""
CITY_AGENT, CITY_ZONE = len(keys.NAMES), len(keys.NAMES) + 1
IDENTITY_KEYS = {
    "device_key": "device", "email_key": "email", "phone_key": "phone", "typed_key": "phone",
    "identity_key": "name_and_birth",
}  # fmt: skip
"""Keys of values that name one machine or person → kind of evidence."""
_COUNTS = tuple(COUNTS[verified_by(name)] for name in keys.NAMES)
"""Per key: whether a later account counts, by what of it is verified."""


def _held_often(snapshot: Snapshot) -> frozenset[int]:
    """Keys of devices that half a crowd holds already."""
    ordered, _ = snapshot.ordered[POSITION["device_key"]]
    half = LEAST_CROWD // 2
    return frozenset(np.unique(ordered[half:][ordered[half:] == ordered[:-half]]).tolist())


def microseconds(at: datetime) -> int:
    """Since 1970; a time without a zone is in UTC."""
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class LiveAccount:
    """An account that was scored but is not in the snapshot.

    `account`: normal forms (`received.normal_form`); `promo_code`: the code it is about to redeem;
    `verified`: see `identity.witness`; `salt`: by which its keys are made.
    """

    account: Mapping[str, Any]
    keys: tuple[int, ...]
    created: int
    promo_code: str | None
    scored_at: datetime
    verified: int
    salt: str = ""

    @classmethod
    def of(
        cls,
        account: Mapping[str, Any],
        promo_code: str | None = None,
        scored_at: datetime | None = None,
        salt: str = "",
    ) -> "LiveAccount":
        """Scored now, if nothing else is said."""
        created = microseconds(account["created_at"])
        now = scored_at or datetime.now(UTC)
        known = verified(account.get("is_email_verified"), account.get("is_phone_verified"))
        return cls(account, keys.keys_of(account, salt), created, promo_code, now, known, salt)

    @property
    def account_id(self) -> str:
        return str(self.account["user_id"])

    def keyed(self, salt: str) -> "LiveAccount":
        """The same with keys by this salt; what it is not counted by it is not afterwards."""
        if salt == self.salt:
            return self
        made = tuple(
            NO_KEY if old == NO_KEY else new
            for old, new in zip(self.keys, keys.keys_of(self.account, salt), strict=True)
        )
        return replace(self, keys=made, salt=salt)


@dataclass(frozen=True, slots=True)
class Edge:
    """A link of an account with another: its weight, and what of it counts against the account."""

    other: int
    weight: float
    against: float
    shared: tuple[str, ...]

    @property
    def counts(self) -> bool:
        return self.against >= MIN_WEIGHT


def _held(live: LiveAccount) -> Iterator[tuple[int, Any]]:
    """(place, key) of all that an account is counted by."""
    for place, key in enumerate(live.keys):
        if key != NO_KEY:
            yield place, key
    for place, names in enumerate(_PAIRS, len(keys.NAMES)):
        pair = tuple(live.keys[POSITION[name]] for name in names)
        if NO_KEY not in pair:
            yield place, pair


class Holders:
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
        self._edges: dict[int, tuple[Edge, ...]] = {}
        self._busy_devices = _held_often(snapshot)

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
        live = live.keyed(self.snapshot.salt)
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
        self._grown(before=len(self) - 1)
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
        self._grown(before=len(self) + 1)
        self._count(live, -1)

    def _grown(self, before: int) -> None:
        """What is a crowd depends on the number of accounts, and so do the links."""
        if any(most_holders(k.cap, before) != most_holders(k.cap, len(self)) for k in KINDS):
            self._edges.clear()

    def _count(self, live: LiveAccount, step: int) -> None:
        a, totals = live.account, self._totals
        for name, counted in (
            ("accounts", True),
            ("accounts_with_name", True),
            ("accounts_with_email", a["email_received"] is not None),
            ("accounts_with_valid_email", a["is_email_valid"] is True),
            ("accounts_with_phone", a["phone_received"] is not None),
            ("accounts_with_valid_phone", a["is_phone_valid"] is True),
            ("accounts_with_city", a["city"] is not None),
            ("accounts_with_device", a["device_id"] is not None),
            ("accounts_with_ip", a["ip"] is not None),
            ("accounts_with_invalid_ip", a["is_ip_valid"] is False),
            ("accounts_with_user_agent", a["user_agent_received"] is not None),
            ("accounts_with_date_of_birth", a["date_of_birth"] is not None),
            ("accounts_with_impossible_birth", a["is_date_of_birth_valid"] is False),
            (
                "accounts_with_home_phone",
                a["phone_country"] is not None
                and a["phone_country"] == zone_countries().get(a["timezone"]),
            ),
        ):
            totals[name] += step * counted

    def _changed(self, live: LiveAccount) -> None:
        """Links of whoever shares a value with the account are to be computed anew."""
        for kind, place in enumerate(LINK_PLACES):
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

    # holders that count against an account (see identity.witness) --------------------------------
    def _verified(self, number: int) -> int:
        live = self._live.get(number)
        return int(self.snapshot.verified[number]) if live is None else live.verified

    def _rows_against(self, place: int, key: int, created: int, width: int | None = None) -> Rows:
        """Known accounts with this key that count against one that registered at a time.

        `width`: only those that registered so near to it.
        """
        times, rows = self.snapshot.created, self.snapshot.rows_of(place, key)
        if width is not None:
            first, last = self._window(created, width)
            rows = rows[rows.searchsorted(first) : rows.searchsorted(last)]
        earlier = int(rows.searchsorted(times.searchsorted(created, "right")))
        later = rows[earlier:]
        if not len(later):
            return rows
        counting = later[_COUNTS[place][self.snapshot.verified[later]]]
        return np.concatenate([rows[:earlier], counting])

    def _live_against(
        self, place: int, key: Any, created: int, width: int | None = None, by: int | None = None
    ) -> Sequence[int]:
        """The same of live accounts. `by`: place of the key that says what is to be verified."""
        held = self._live_with(place, key)
        if width is not None:
            first = bisect_left(held, (created - width, -1), key=self._when)
            held = held[first : bisect_left(held, (created + width + 1, -1), key=self._when)]
        earlier = bisect_left(held, (created + 1, -1), key=self._when)
        if earlier == len(held):
            return held
        counts = _COUNTS[place if by is None else by]
        return [*held[:earlier], *(n for n in held[earlier:] if counts[self._live[n].verified])]

    def _against(self, place: int, key: int, created: int, width: int | None = None) -> int:
        """How many accounts with this key count against one that registered at a time."""
        known = self._rows_against(place, key, created, width)
        return len(known) + len(self._live_against(place, key, created, width))

    def _distinct(self, place: int, key: int, of: int, created: int) -> int:
        """Different keys at `of` among these accounts."""
        rows = self._rows_against(place, key, created)
        found = set(np.unique(self.snapshot.keys[of][rows]).tolist()) if len(rows) else set()
        found.update(self._live[n].keys[of] for n in self._live_against(place, key, created))
        found.discard(NO_KEY)
        return len(found)

    # crowds --------------------------------------------------------------------------------------
    def _most(self, kind: str) -> int:
        """Above so many holders a value of this kind is no identity."""
        return most_holders(CAPS[kind], len(self))

    def _is_crowd(self, name: str, kind: str, key: int) -> bool:
        return key != NO_KEY and self._total(POSITION[name], key) > self._most(kind)

    def _is_no_device(self, key: int) -> bool:
        live = self._holders[POSITION["device_key"]].get(key, ())
        if key not in self._busy_devices and (
            isinstance(live, int) or len(live) <= LEAST_CROWD // 2
        ):
            return False
        return self._is_crowd("device_key", "device", key)
