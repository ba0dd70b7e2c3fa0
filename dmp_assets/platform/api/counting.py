"""Counting calls: in this process, or for all processes where a counter such as Redis is named.

While that does not answer each process counts for itself, from nothing, so nobody is let in
uncounted; a caller may then have up to as many times its rate as there are processes.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import structlog
from limits import RateLimitItem
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter, RateLimiter
from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string
from limits.util import WindowStats
from pydantic import SecretStr

from dmp_assets.home import HomeError

AGAIN_SECONDS = 5.0
"""After which a counter that did not answer is asked again: meanwhile no call waits for it."""

_REDIS = {"connect_timeout": 0.5, "stream_timeout": 0.5}
"""A Redis that is silent must not hold the calls that wait to be counted."""


class Counting(RateLimiter):
    """Counts calls by `shared`, and in this process while that does not answer."""

    def __init__(self, shared: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(shared)
        self._shared = FixedWindowRateLimiter(shared)
        self._alone = FixedWindowRateLimiter(MemoryStorage())
        self._clock = clock
        self._again_at = 0.0
        self._asking = asyncio.Lock()
        self._log = structlog.get_logger("dmp.api")
        self.is_alone = False
        """Whether this process counts for itself because `shared` does not answer."""

    async def hit(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        return bool(await self._counted("hit", item, *identifiers, cost=cost))

    async def test(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        return bool(await self._counted("test", item, *identifiers, cost=cost))

    async def get_window_stats(self, item: RateLimitItem, *identifiers: str) -> WindowStats:
        found: WindowStats = await self._counted("get_window_stats", item, *identifiers)
        return found

    async def clear(self, item: RateLimitItem, *identifiers: str) -> None:
        await self._counted("clear", item, *identifiers)

    async def _counted(self, what: str, *arguments: Any, **named: Any) -> Any:
        if not self.is_alone:
            try:
                return await getattr(self._shared, what)(*arguments, **named)
            except StorageError as error:
                self._go_alone(error)
        elif self._clock() >= self._again_at and not self._asking.locked():
            async with self._asking:  # one call waits for the answer, the others go on
                try:
                    done = await getattr(self._shared, what)(*arguments, **named)
                except StorageError as error:
                    self._go_alone(error)
                else:
                    self.is_alone = False
                    self._log.info("calls are counted for all processes again")
                    return done
        return await getattr(self._alone, what)(*arguments, **named)

    def _go_alone(self, error: StorageError) -> None:
        self._again_at = self._clock() + AGAIN_SECONDS
        if not self.is_alone:
            self.is_alone = True
            cause = type(error.storage_error).__name__
            self._log.warning("calls are counted in this process alone", error=cause)


def limiter_of(storage: SecretStr | None) -> RateLimiter:
    """Counts calls in this process, or where `storage` says, for all processes together.

    Raises HomeError for a counter that cannot be used.
    """
    if storage is None:
        return FixedWindowRateLimiter(MemoryStorage())
    url = storage.get_secret_value()
    options: dict[str, Any] = _REDIS if url.startswith("redis") else {}
    try:
        shared = storage_from_string(f"async+{url}", wrap_exceptions=True, **options)
    except ConfigurationError as error:
        raise HomeError(
            "DMP_API_RATE_LIMIT_STORAGE cannot be used; for Redis: redis://host:port, and "
            "`uv sync --frozen --inexact --extra redis`"
        ) from error
    assert isinstance(shared, Storage)
    return Counting(shared)
