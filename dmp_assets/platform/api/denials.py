"""Denied calls on their way to the audit log, which nobody may fill by being denied.

The first denial of its kind (who, what, why) in a minute is noted at once, the others of that
minute as a number when it is over. What is beyond a hundred kinds in a minute is one number.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from dmp_assets.platform.store import audit

WINDOW = 60.0
MOST_KINDS = 100
Kind = tuple[str, str, str]
_VARIOUS: Kind = ("various", "denied calls", "various")


@dataclass(frozen=True)
class Denial:
    """One denied call, or `more` of its kind."""

    actor: str
    action: str
    why: str
    request_id: str | None = None
    detail: tuple[tuple[str, str], ...] = ()
    more: int = 0

    @property
    def kind(self) -> Kind:
        return self.actor, self.action, self.why

    def record(self, connection: sa.Connection, at: Any) -> None:
        """Note it in the audit log."""
        detail: dict[str, Any] = dict(self.detail) | {"why": self.why}
        if self.more:
            detail["more"] = self.more
        audit.record(
            connection, at=at, actor=self.actor, action=self.action, outcome="denied",
            request_id=self.request_id, detail=detail,
        )  # fmt: skip


class Denials:
    """What was denied within a minute, by kind."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since = clock()
        self._counted: dict[Kind, Denial] = {}

    def take(self, denial: Denial) -> list[Denial]:
        """What is to be noted now that this happened."""
        with self._lock:
            noted = self._over()
            kind = denial.kind
            if kind not in self._counted and len(self._counted) >= MOST_KINDS:
                kind = _VARIOUS
                denial = Denial(*_VARIOUS)
            known = self._counted.get(kind)
            if known is None and kind is not _VARIOUS:
                self._counted[kind] = replace(denial, request_id=None)
                return [*noted, denial]
            held = known or denial
            self._counted[kind] = replace(held, more=held.more + 1)
            return noted

    def rest(self) -> list[Denial]:
        """What is to be noted of a minute that is over."""
        with self._lock:
            return self._over()

    def forget(self) -> None:
        """Begin anew; what was counted is lost."""
        with self._lock:
            self._counted.clear()

    def _over(self) -> list[Denial]:
        if self._clock() - self._since < WINDOW:
            return []
        self._since = self._clock()
        found = [denial for denial in self._counted.values() if denial.more]
        self._counted.clear()
        return found
