"""Calls are counted for all processes, or in this one while the counter does not answer."""

import asyncio
import time

import limits
import pytest
from limits.aio.storage import MemoryStorage
from limits.errors import StorageError
from pydantic import SecretStr
from structlog.testing import capture_logs

from dmp_assets.home import HomeError
from dmp_assets.platform.api.counting import AGAIN_SECONDS, Counting, limiter_of
from tests.support.service import free_port

RATE = limits.parse("2/minute")


def test_where_no_redis_listens_calls_are_counted_here_and_it_is_said_once() -> None:
    limiter = limiter_of(SecretStr(f"redis://:hunter2@127.0.0.1:{free_port()}/0"))

    async def calls() -> list[bool]:
        return [await limiter.hit(RATE, "client", "key") for _ in range(4)]

    with capture_logs() as logged:
        assert asyncio.run(calls()) == [True, True, False, False]
    assert [line["event"] for line in logged] == ["calls are counted in this process alone"]
    assert "hunter2" not in str(logged)
    assert isinstance(limiter, Counting) and limiter.is_alone


class Away(MemoryStorage):
    """A counter that can be taken away; every question to it then takes a moment."""

    def __init__(self) -> None:
        super().__init__()
        self.away, self.asked = False, 0

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        if self.away:
            self.asked += 1
            await asyncio.sleep(0.05)
            raise StorageError(ConnectionError())
        return await super().incr(key, expiry, amount)


def test_while_it_is_away_one_call_in_five_seconds_asks_it() -> None:
    async def story() -> None:
        shared, now = Away(), time.monotonic()
        limiter = Counting(shared, clock=lambda: now)
        assert await limiter.hit(RATE, "a")
        shared.away = True
        assert [await limiter.hit(RATE, "a") for _ in range(3)] == [True, True, False]
        assert shared.asked == 1
        now += AGAIN_SECONDS
        await asyncio.gather(*(limiter.hit(RATE, "b") for _ in range(20)))
        assert shared.asked == 2
        shared.away = False
        now += AGAIN_SECONDS
        assert await limiter.hit(RATE, "a")  # what all counted before still counts
        assert not limiter.is_alone
        assert not await limiter.hit(RATE, "a")
        assert (await limiter.get_window_stats(RATE, "a")).remaining == 0
        await limiter.clear(RATE, "a")
        assert await limiter.test(RATE, "a")

    with capture_logs() as logged:
        asyncio.run(story())
    assert [line["event"] for line in logged] == [
        "calls are counted in this process alone",
        "calls are counted for all processes again",
    ]


def test_a_counter_that_cannot_be_used_is_told_without_its_password() -> None:
    with pytest.raises(HomeError, match="DMP_API_RATE_LIMIT_STORAGE") as told:
        limiter_of(SecretStr("memcached://u:hunter2@127.0.0.1/x"))
    assert "hunter2" not in str(told.value)
