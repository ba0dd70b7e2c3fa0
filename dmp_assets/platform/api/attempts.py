"""Attempts to log in by password: how many one may make, and how many are looked at together.

A password takes a tenth of a second and 64 MB to look at, on purpose. That happens in threads of
its own, a few at a time, and holds neither a connection nor a lock of the store; who comes when
many wait is told to come back. Who tries is slowed down per person *and* source, so that nobody is
locked out by others elsewhere; a browser in which the person logged in before has tries of its own.
"""

import asyncio
import hashlib
import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import limits
import limits.aio
from cryptography.fernet import Fernet, InvalidToken
from fastapi import Request, Response

from dmp_assets.platform.api.problems import Problem
from dmp_assets.platform.api.rates import caller_address, rate_of, window
from dmp_assets.platform.store import access
from dmp_assets.platform.store.access import Credential, Verified
from dmp_assets.settings import Settings

AT_ONCE = 2
"""Passwords that are looked at together."""
MOST_WAITING = 8
"""Logins that may wait for that, and so many more from browsers that are known."""
MOST_WAITING_KNOWN = 16
TRIES = limits.parse("5/15minute")
"""Of one person from one source, or one known browser, since the last that was right."""
SOURCES_SHARE = 10
"""A source may try so many times what one person may be wrong in a minute."""
BROWSER_COOKIE = "dmp_browser"
BROWSER_SECONDS = 180 * 86_400


@dataclass(frozen=True)
class Attempt:
    """Who tries from where; `browser` names one in which this person logged in before."""

    person: str
    source: str
    browser: str | None

    @property
    def place(self) -> str:
        return self.source if self.browser is None else f"browser {self.browser}"


class Logins:
    """The logins of one process."""

    def __init__(self, limiter: limits.aio.strategies.RateLimiter, seal: Fernet) -> None:
        self._limiter, self._seal = limiter, seal
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="password")
        self._waiting = 0

    def attempt(self, request: Request, email: str) -> Attempt:
        """Who tries, by what the request says."""
        person = hashlib.sha256(email.strip().lower().encode()).hexdigest()[:32]
        browser = None
        try:
            kept = json.loads(
                self._seal.decrypt(
                    request.cookies.get(BROWSER_COOKIE, "").encode(), ttl=BROWSER_SECONDS
                )
            )
            if kept[:2] == ["browser", person]:
                browser = str(kept[2])
        except (InvalidToken, ValueError, TypeError, IndexError, KeyError):
            browser = None
        return Attempt(person, caller_address(request), browser)

    async def hold_back(self, settings: Settings, attempt: Attempt) -> None:
        """Count an attempt. Raises Problem 429 for one too many."""
        await self._count(TRIES, attempt.place, attempt.person, name="login")
        if attempt.browser is None:
            wrong = rate_of(settings.api_denied_rate_limit)
            many = type(wrong)(wrong.amount * SOURCES_SHARE, wrong.multiples)
            await self._count(many, attempt.source, name="login-source")
            every = rate_of(settings.api_login_rate_limit)
            await self._count(every, "all", name="login-all")

    async def _count(self, item: limits.RateLimitItem, *who: str, name: str) -> None:
        if not await self._limiter.hit(item, *who, name):
            _, wait = await window(self._limiter, item, *who, name)
            raise Problem(
                429, "rate-limited", f"too many attempts to log in; try again in {wait} s",
                headers={"Retry-After": str(wait)},
            )  # fmt: skip

    async def let_in(self, attempt: Attempt) -> None:
        """A right password: what was tried before it is forgotten."""
        await self._limiter.clear(TRIES, attempt.place, attempt.person, "login")

    async def verified(self, credential: Credential, password: str, attempt: Attempt) -> Verified:
        """Whether the password is right. Raises Problem 429 when too many wait to know."""
        most = MOST_WAITING + (MOST_WAITING_KNOWN if attempt.browser is not None else 0)
        if self._waiting >= AT_ONCE + most:
            raise Problem(
                429, "rate-limited", "too many log in at this moment; try again in 2 s",
                headers={"Retry-After": "2"},
            )  # fmt: skip
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, access.verify, credential, password
            )
        finally:
            self._waiting -= 1

    def know(self, answer: Response, attempt: Attempt, *, secure: bool) -> None:
        """Let the browser be known from now on."""
        kept = ["browser", attempt.person, attempt.browser or secrets.token_hex(8)]
        answer.set_cookie(
            BROWSER_COOKIE, self._seal.encrypt(json.dumps(kept).encode()).decode(),
            max_age=BROWSER_SECONDS, httponly=True, secure=secure, samesite="strict",
            path="/login",
        )  # fmt: skip
