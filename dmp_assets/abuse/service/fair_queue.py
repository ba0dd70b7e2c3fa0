"""Requests that wait to be scored: in turn by client, so that no client waits for another's many.

A batch takes from each client in turn what its share allows. A large request saves its shares up
until it fits, while those of others go by.
"""

import threading
from collections import deque
from typing import Generic, Protocol, TypeVar

MOST_WAITING = 5_000
"""Accounts of all clients that may wait; beyond, who has many waiting is told to come back."""
OWN_WAITING = 1_000
"""Accounts of a client that may wait whatever others have waiting."""
MOST_TOGETHER = 1_000
"""Accounts that are scored in one batch, a larger request apart."""
SHARE = 100
"""Accounts of a client in a batch, while others wait."""


class Waiting(Protocol):
    """What waits: for whom, and how many accounts it has."""

    @property
    def caller(self) -> str:
        """The client."""
        ...

    def __len__(self) -> int: ...


R = TypeVar("R", bound=Waiting)


class FairQueue(Generic[R]):
    """Requests by client. Any thread puts, one takes."""

    def __init__(self) -> None:
        self._by_caller: dict[str, deque[R]] = {}  # in whose turn it is
        self._saved: dict[str, int] = {}
        self._accounts: dict[str, int] = {}
        self._total = 0
        self._changed = threading.Condition()
        self._is_closed = False

    def open(self) -> None:
        """Take requests again after a `close`."""
        with self._changed:
            self._is_closed = False

    def close(self) -> None:
        """What waits is still given; then `take` gives nothing."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def put(self, request: R) -> bool:
        """Let it wait; False when its client has too many waiting, and it does not."""
        caller, size = request.caller, len(request)
        with self._changed:
            own = self._accounts.get(caller, 0) + size
            if own > OWN_WAITING and self._total + size > MOST_WAITING:
                return False
            self._accounts[caller] = own
            self._total += size
            self._by_caller.setdefault(caller, deque()).append(request)
            self._changed.notify()
        return True

    def take(self) -> list[R]:
        """Requests for one batch, at least one; none when the queue is closed and empty."""
        with self._changed:
            while not self._by_caller:
                if self._is_closed:
                    return []
                self._changed.wait()
            batch: list[R] = []
            size = 0
            while not batch:  # each round brings a large one nearer to its turn
                for caller in list(self._by_caller):
                    size += self._take_of(caller, batch, MOST_TOGETHER - size)
            return batch

    def _take_of(self, caller: str, batch: list[R], room: int) -> int:
        """Take what this client's share allows; it comes last in the next round."""
        waiting = self._by_caller.pop(caller)
        alone = not self._by_caller
        saved = self._saved.pop(caller, 0) + (MOST_TOGETHER if alone else SHARE)
        taken = 0
        while waiting and (n := len(waiting[0])) <= saved - taken:
            if taken + n > room and batch:
                break
            batch.append(waiting.popleft())
            taken += n
        self._total -= taken
        self._accounts[caller] -= taken
        if waiting:
            self._by_caller[caller] = waiting
            self._saved[caller] = min(saved - taken, MOST_TOGETHER)
        else:
            del self._accounts[caller]
        return taken
