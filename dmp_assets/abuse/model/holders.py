"""Who holds a value: the accounts of this moment by the keys that they are counted by."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dmp_assets.abuse.model import keys
from dmp_assets.abuse.model.counts import verified_by
from dmp_assets.abuse.model.keys import KIND_KEYS, NO_KEY, POSITION
from dmp_assets.abuse.model.roster import LiveAccount, Roster
from dmp_assets.abuse.model.snapshot import Rows, Snapshot
from dmp_assets.identity.evidence import CAPS, KINDS, LEAST_CROWD, most_holders
from dmp_assets.identity.witness import COUNTS

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
    """Holders of each key, by their numbers in the roster."""

    def __init__(self, roster: Roster) -> None:
        self.snapshot = roster.snapshot
        self._roster, self._live = roster, roster.live
        self._holders: list[dict[Any, int | list[int]]] = [{} for _ in (*keys.NAMES, *_PAIRS)]
        self._busy_devices = _held_often(roster.snapshot)

    def add(self, number: int, live: LiveAccount) -> None:
        """Let a live account of the roster hold its values."""
        for place, key in _held(live):
            held = self._holders[place].get(key)
            if held is None:
                self._holders[place][key] = number
            elif isinstance(held, int):
                self._holders[place][key] = sorted((held, number), key=self.when)
            else:
                insort(held, number, key=self.when)

    def discard(self, number: int, live: LiveAccount) -> None:
        """Undo `add`, while the account is in the roster still."""
        for place, key in _held(live):
            held = self._holders[place][key]
            if isinstance(held, int) or len(held) == 1:
                del self._holders[place][key]
            else:
                del held[bisect_left(held, self.when(number), key=self.when)]

    def is_held_live(self, place: int, key: Any) -> bool:
        """Whether a live account has this key."""
        return key in self._holders[place]

    def touched(self, number: int) -> bool:
        """Whether a live account shares a value, by which accounts are linked, with this one."""
        return any(self._roster.key(number, place) in self._holders[place] for place in _TOUCHING)

    def when(self, number: int) -> tuple[int, int]:
        """A live account's place in time."""
        return self._live[number].created, number

    def live_with(self, place: int, key: Any) -> Sequence[int]:
        """Live accounts with this key, in order of time."""
        held = self._holders[place].get(key, ())
        return (held,) if isinstance(held, int) else held

    def sharing(self, place: int, key: int, at_most: int | None = None) -> list[int]:
        """Accounts with this key, the snapshot's first; none when there are more than `at_most`."""
        rows = self.snapshot.rows_of(place, key)
        live = self.live_with(place, key)
        if at_most is not None and len(rows) + len(live) > at_most:
            return []
        return [*rows.tolist(), *live]

    def total(self, place: int, key: int) -> int:
        """How many accounts have this key."""
        return len(self.snapshot.rows_of(place, key)) + len(self.live_with(place, key))

    def window(self, created: int, width: int) -> tuple[int, int]:
        """First and after the last of the snapshot's rows that registered so near to a time."""
        times = self.snapshot.created
        return int(times.searchsorted(created - width)), int(
            times.searchsorted(created + width, "right")
        )

    # holders that count against an account (see identity.witness) --------------------------------
    def rows_against(self, place: int, key: int, created: int, width: int | None = None) -> Rows:
        """Known accounts with this key that count against one that registered at a time.

        `width`: only those that registered so near to it.
        """
        times, rows = self.snapshot.created, self.snapshot.rows_of(place, key)
        if width is not None:
            first, last = self.window(created, width)
            rows = rows[rows.searchsorted(first) : rows.searchsorted(last)]
        earlier = int(rows.searchsorted(times.searchsorted(created, "right")))
        later = rows[earlier:]
        if not len(later):
            return rows
        counting = later[_COUNTS[place][self.snapshot.verified[later]]]
        return np.concatenate([rows[:earlier], counting])

    def live_against(
        self, place: int, key: Any, created: int, width: int | None = None, by: int | None = None
    ) -> Sequence[int]:
        """The same of live accounts. `by`: place of the key that says what is to be verified."""
        held = self.live_with(place, key)
        if width is not None:
            first = bisect_left(held, (created - width, -1), key=self.when)
            held = held[first : bisect_left(held, (created + width + 1, -1), key=self.when)]
        earlier = bisect_left(held, (created + 1, -1), key=self.when)
        if earlier == len(held):
            return held
        counts = _COUNTS[place if by is None else by]
        return [*held[:earlier], *(n for n in held[earlier:] if counts[self._live[n].verified])]

    def against(self, place: int, key: int, created: int, width: int | None = None) -> int:
        """How many accounts with this key count against one that registered at a time."""
        known = self.rows_against(place, key, created, width)
        return len(known) + len(self.live_against(place, key, created, width))

    def distinct(self, place: int, key: int, of: int, created: int) -> int:
        """Different keys at `of` among these accounts."""
        rows = self.rows_against(place, key, created)
        found = set(np.unique(self.snapshot.keys[of][rows]).tolist()) if len(rows) else set()
        found.update(self._live[n].keys[of] for n in self.live_against(place, key, created))
        found.discard(NO_KEY)
        return len(found)

    # crowds --------------------------------------------------------------------------------------
    def most(self, kind: str) -> int:
        """Above so many holders a value of this kind is no identity."""
        return most_holders(CAPS[kind], len(self._roster))

    def is_crowd(self, name: str, kind: str, key: int) -> bool:
        """Whether too many hold a value for it to name one machine or person."""
        return key != NO_KEY and self.total(POSITION[name], key) > self.most(kind)

    def is_no_device(self, key: int) -> bool:
        """Whether a device is held by a crowd."""
        live = self._holders[POSITION["device_key"]].get(key, ())
        if key not in self._busy_devices and (
            isinstance(live, int) or len(live) <= LEAST_CROWD // 2
        ):
            return False
        return self.is_crowd("device_key", "device", key)
