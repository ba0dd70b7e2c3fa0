"""How often and from where one calls: rates as settings write them, the address of a caller."""

import time
from functools import cache

import limits
import limits.aio
from fastapi import Request

from dmp_assets.platform.base.addresses import source_of


@cache
def rate_of(rate: str) -> limits.RateLimitItem:
    """A rate such as `600/minute`."""
    return limits.parse(rate)


async def window(
    limiter: "limits.aio.strategies.RateLimiter", item: limits.RateLimitItem, *who: str
) -> tuple[int, int]:
    """(calls left, seconds until all are allowed again, at least 1)."""
    reset, remaining = await limiter.get_window_stats(item, *who)
    return remaining, max(1, round(reset - time.time() + 0.5))


def caller_address(request: Request) -> str:
    """Where the call comes from, as far as one caller can change it: see `source_of`."""
    return source_of(request.client.host) if request.client else "unknown"
