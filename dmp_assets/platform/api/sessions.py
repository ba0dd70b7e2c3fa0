"""Sessions that were ended while the store did not answer: they open nothing from then on."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dmp_assets.platform.store.access import SESSION_LONGEST

MOST = 10_000


@dataclass
class Ended:
    """Tokens of sessions that this process must not let in, until the store has ended them."""

    _tokens: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, token: str) -> None:
        """End a session here."""
        with self._lock:
            while len(self._tokens) >= MOST:
                self._tokens.pop(next(iter(self._tokens)))
            self._tokens[token] = time.monotonic() + SESSION_LONGEST.total_seconds()

    def __contains__(self, token: str) -> bool:
        return token in self._tokens

    def __len__(self) -> int:
        return len(self._tokens)

    def settle(self, end: Callable[[str], None]) -> None:
        """Let the store end them: `end` raises while it cannot, and they are kept."""
        for token, until in list(self._tokens.items()):
            if until > time.monotonic():
                end(token)
            with self._lock:
                self._tokens.pop(token, None)
