"""Who holds or waits for what, and who of them is in the way: the same for every kind of lease."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dmp_assets.home import HomeError


class BusyError(HomeError):
    """What a run is to write is held by another, or as many runs are at work as may be.

    `cause` says so without what to do about it.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(f"{cause}; try again later or add --wait")
        self.cause = cause


class LeaseLostError(HomeError):
    """A lease that lapsed, because its holder did not say for too long that it lives.

    What it was about to write was not written, or was refused by the table's log.
    """


@dataclass(frozen=True)
class Holder:
    """Whose lease it is and what it holds. `names` None: the whole home. `waiting`: not yet.

    `number` is its place in the order in which they came. `place`: where it is at work, when that
    is another home of the same lakehouse.
    """

    number: int
    run_id: str
    pid: int | None
    names: tuple[str, ...] | None
    waiting: bool = False
    place: str = ""

    def meets(self, names: Collection[str] | None) -> bool:
        """Whether these names (None: the whole home) cannot be held beside it."""
        return self.names is None or names is None or not set(names).isdisjoint(self.names)

    def named(self, names: Collection[str] | None) -> str:
        """One of what both want; empty where that is the whole home."""
        common = set(self.names or ()) & set(names if names is not None else self.names or ())
        return min(common, default="")

    def told(self) -> str:
        """Who it is, for people."""
        place = self.place or f"process {self.pid or '?'}"
        return f"run {self.run_id} ({place})"


def in_the_way(
    known: Sequence[Holder], names: Collection[str] | None, at_once: float = math.inf
) -> Holder | None:
    """Who of those that came before keeps these names from being held, if anybody does.

    Of those who wait, one that could begin now counts among the runs at work, of which there are
    `at_once` at most.
    """
    at_work = [other for other in known if not other.waiting]
    for place, other in enumerate(known):
        if other.meets(names):
            return other
        if other.waiting and not any(
            another.meets(other.names) for another in (*known[:place], *at_work)
        ):
            at_work.append(other)
    return at_work[0] if len(at_work) >= at_once else None


def busy_with(where: object, other: Holder, names: Collection[str] | None) -> str:
    """That these names are not free because of another, who meets them."""
    does = "waits to write" if other.waiting else "is writing"
    name = other.named(names)
    return f"the lakehouse {where} is busy: {other.told()} {does}{f' {name}' if name else ''}"
