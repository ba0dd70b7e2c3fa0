"""Callers that proved who they are a short while ago, in memory."""

import time
from dataclasses import dataclass, field

from dmp_assets.platform.store.access import Principal


@dataclass
class Known:
    """Credentials that opened a short while ago."""

    found: dict[bytes, tuple[Principal, float]] = field(default_factory=dict)
    size: int = 10_000

    def get(self, credential: bytes, within: float) -> Principal | None:
        principal, at = self.found.get(credential, (None, 0.0))
        return principal if time.monotonic() - at <= within else None

    def put(self, credential: bytes, principal: Principal) -> None:
        while len(self.found) >= self.size:
            self.found.pop(next(iter(self.found)))
        self.found[credential] = (principal, time.monotonic())

    def forget(self, credential: bytes) -> None:
        self.found.pop(credential, None)
