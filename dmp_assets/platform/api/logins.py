"""Logging in by password: how often one may try, and how many passwords are looked at together.

A password takes a tenth of a second and 64 MB to look at, on purpose. That happens in threads of
its own, a few at a time, and holds neither a connection nor a lock of the store; who comes when
many wait is told to come back. Who tries is slowed down per person *and* source, so that nobody is
locked out by others elsewhere; a browser in which the person logged in before has tries of its own.
"""

import asyncio
import hashlib
import json
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import limits
import limits.aio
import sqlalchemy as sa
from cryptography.fernet import Fernet, InvalidToken
from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from dmp_assets.platform.api.access import caller_address, rate_of, window, write_denials
from dmp_assets.platform.api.denials import Denial
from dmp_assets.platform.api.problems import Problem
from dmp_assets.platform.api.state import Entrance
from dmp_assets.platform.store import access, audit
from dmp_assets.platform.store.access import Credential, NotLetInError, Verified

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
_ACTION = "log in"


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

    async def hold_back(self, service: Entrance, attempt: Attempt) -> None:
        """Count an attempt. Raises Problem 429 for one too many."""
        await self._count(TRIES, attempt.place, attempt.person, name="login")
        if attempt.browser is None:
            wrong = rate_of(service.settings.api_denied_rate_limit)
            many = type(wrong)(wrong.amount * SOURCES_SHARE, wrong.multiples)
            await self._count(many, attempt.source, name="login-source")
            every = rate_of(service.settings.api_login_rate_limit)
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

    def know(self, service: Entrance, answer: Response, attempt: Attempt) -> None:
        """Let the browser be known from now on."""
        kept = ["browser", attempt.person, attempt.browser or secrets.token_hex(8)]
        answer.set_cookie(
            BROWSER_COOKIE, self._seal.encrypt(json.dumps(kept).encode()).decode(),
            max_age=BROWSER_SECONDS, httponly=True, secure=service.secure, samesite="strict",
            path="/login",
        )  # fmt: skip


async def log_in(
    service: Entrance, request: Request, email: str, password: str
) -> tuple[str, Attempt]:
    """The token of a new session, and whose attempt it was; in the audit log whatever comes of it.

    Raises NotLetInError, and Problem 429 for who is to come back.
    """
    attempt = service.logins.attempt(request, email)
    await service.logins.hold_back(service, attempt)
    credential = await run_in_threadpool(
        service.change, lambda store: access.credential(store, email)
    )
    verified = await service.logins.verified(credential, password, attempt)
    token = await run_in_threadpool(
        begin_session, service, request,
        lambda store: access.log_in(store, credential, verified, now=service.now()),
    )  # fmt: skip
    await service.logins.let_in(attempt)
    return token, attempt


def begin_session(
    service: Entrance, request: Request, opened: Callable[[sa.Connection], str], **detail: str
) -> str:
    """The token of the session that `opened` begins; in the audit log whatever comes of it.

    Raises NotLetInError as `opened` does.
    """
    try:
        with service.store.begin() as store:
            token: str = opened(store)
            actor = access.person_of(store, token, now=service.now()).actor
            audit.record(
                store, at=service.now(), actor=actor, action=_ACTION, outcome="done",
                request_id=request.state.request_id, detail=detail,
            )  # fmt: skip
    except NotLetInError as refused:
        note(service, request, refused.actor, refused.why, **detail)
        raise
    return token


def note(service: Entrance, request: Request, actor: str, why: str, **detail: str) -> None:
    """Note a refused login. Called in a thread."""
    noted = service.denials.take(
        Denial(actor, _ACTION, why, request.state.request_id, tuple(detail.items()))
    )
    if noted:
        write_denials(service, noted)
