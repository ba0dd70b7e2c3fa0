"""Which advertisers callers saw a moment ago, so that each request need not ask the store."""

import threading
import time

from dmp_assets.platform.store.advertisers import Visible

SEEN_SECONDS = 3.0
"""How long it is not looked up again whom a caller sees."""
MOST_KNOWN = 10_000


class Seen:
    """Caller → the advertisers that it sees. For several threads."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, list[Visible]]] = {}
        self._lock = threading.Lock()

    def get(self, actor: str) -> list[Visible] | None:
        """Those of a caller, None where they are to be looked up."""
        found = self._found.get(actor)
        if found is None or time.monotonic() - found[0] > SEEN_SECONDS:
            return None
        return found[1]

    def put(self, actor: str, seen: list[Visible]) -> None:
        """Note what was looked up."""
        with self._lock:
            if len(self._found) >= MOST_KNOWN:
                self._found.clear()
            self._found[actor] = (time.monotonic(), seen)
