"""Links between the accounts of this moment, and the clusters that they make."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from dmp_assets.abuse.model.holders import LINK_PLACES, Holders
from dmp_assets.abuse.model.keys import NO_KEY
from dmp_assets.abuse.model.roster import LiveAccount, Roster
from dmp_assets.identity.evidence import KINDS, MIN_WEIGHT, PREDECESSORS, most_holders
from dmp_assets.identity.witness import COUNTS, MOST_COUNTED

MOST_MEMBERS = 1_000
"""A cluster is followed to so many accounts, and no further."""
_NEAR = tuple(
    math.inf if kind.within is None else kind.within / timedelta(microseconds=1) for kind in KINDS
)
_FAMILIES = tuple(kind.family for kind in KINDS)
_COUNTS = tuple(COUNTS[kind.verified] for kind in KINDS)


@cache
def _weight(kind: int, holders: int) -> float:
    return KINDS[kind].weight(holders)


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


class Links:
    """The links of each account by its number, worked out when asked for, kept while they hold."""

    def __init__(self, roster: Roster, holders: Holders) -> None:
        self._roster, self._holders = roster, holders
        self._edges: dict[int, tuple[Edge, ...]] = {}

    def forget(self, number: int) -> None:
        """Keep nothing of an account that goes."""
        self._edges.pop(number, None)

    def grown(self, before: int) -> None:
        """What is a crowd depends on the number of accounts, and so do the links."""
        now = len(self._roster)
        if any(most_holders(k.cap, before) != most_holders(k.cap, now) for k in KINDS):
            self._edges.clear()

    def changed(self, live: LiveAccount) -> None:
        """Links of whoever shares a value with the account are to be computed anew."""
        for kind, place in enumerate(LINK_PLACES):
            if live.keys[place] != NO_KEY:
                for other in self._holders.sharing(
                    place, live.keys[place], at_most=KINDS[kind].cap + 1
                ):
                    self._edges.pop(other, None)

    def of(self, number: int) -> tuple[Edge, ...]:
        """The account's links, as modeled/account_links has them."""
        known = self._edges.get(number)
        if known is None:
            known = self._edges[number] = tuple(self._links_of(number))
        return known

    def _links_of(self, number: int) -> Iterator[Edge]:
        roster, holding, registered = self._roster, self._holders, self._roster.time
        created = registered(number)
        shared: dict[int, tuple[int, int]] = {}  # kind → key, holders
        candidates: dict[int, None] = {}
        for kind, place in enumerate(LINK_PLACES):
            key = roster.key(number, place)
            if key == NO_KEY:
                continue
            holders = holding.sharing(place, key, at_most=holding.most(KINDS[kind].name))
            if len(holders) < 2:
                continue
            shared[kind] = (key, len(holders))
            if holding.is_held_live(place, key):
                holders.sort(key=roster.order)
            at = holders.index(number)
            for other in holders[max(at - PREDECESSORS, 0) : at + PREDECESSORS + 1]:
                if other != number and abs(registered(other) - created) <= _NEAR[kind]:
                    candidates[other] = None
        for other in candidates:
            apart, is_later = (
                abs(registered(other) - created),
                registered(other) > created,
            )
            verified = roster.verified(other)
            best: dict[str, float] = {}
            against: dict[str, float] = {}
            agreed = []
            for kind, (key, holders_count) in shared.items():
                if roster.key(other, LINK_PLACES[kind]) == key and apart <= _NEAR[kind]:
                    weight = _weight(kind, holders_count)
                    family = _FAMILIES[kind]
                    best[family] = max(best.get(family, 0.0), weight)
                    if not is_later or _COUNTS[kind][verified]:
                        against[family] = max(against.get(family, 0.0), weight)
                    if weight > 0:
                        agreed.append(KINDS[kind].name)
            if (whole := sum(best.values())) >= MIN_WEIGHT:
                yield Edge(other, whole, sum(against.values()), tuple(sorted(agreed)))

    def members(self, number: int) -> list[int]:
        """Numbers of its cluster: the account itself, then the nearest, at most `MOST_MEMBERS`."""
        seen, waiting = {number: None}, deque([number])
        while waiting and len(seen) < MOST_MEMBERS:
            for edge in self.of(waiting.popleft()):
                if edge.other not in seen:
                    seen[edge.other] = None
                    waiting.append(edge.other)
        return list(seen)

    def counted(self, number: int) -> int:
        """How many accounts count against this one, directly or through others, with itself."""
        roster, now = self._roster, self._roster.time(number)
        seen, waiting = {number}, [number]
        while waiting and len(seen) < MOST_COUNTED:
            for edge in self.of(waiting.pop()):
                if edge.other not in seen and edge.counts:
                    if roster.time(edge.other) > now and not roster.verified(edge.other):
                        continue
                    seen.add(edge.other)
                    waiting.append(edge.other)
        return min(len(seen), MOST_COUNTED)

    def first_of(self, numbers: Sequence[int]) -> str:
        """Id of the earliest registered of these: by it a cluster is named."""
        return self._roster.id_of(min(numbers, key=self._roster.order))

    def neighbours(self, number: int) -> list[int]:
        """Numbers of the directly linked accounts, the strongest link first."""
        return [e.other for e in sorted(self.of(number), key=lambda edge: -edge.weight)]
