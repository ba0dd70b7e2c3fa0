"""Who calls, whether they may, and how often: the dependency of every route that needs it."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import limits
import sqlalchemy as sa
from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.concurrency import run_in_threadpool

from dmp_assets.platform.api.denials import Denial
from dmp_assets.platform.api.hosts import is_from_us
from dmp_assets.platform.api.problems import LONGEST_NAME, FieldError, Problem
from dmp_assets.platform.api.rates import caller_address, rate_of, window
from dmp_assets.platform.api.state import Entrance, Service, service_of
from dmp_assets.platform.faces.service import RateLimit
from dmp_assets.platform.store import access, audit
from dmp_assets.platform.store.access import NotLetInError, Principal
from dmp_assets.platform.text.spelling import meant

COOKIE = "dmp_session"
KNOWN_SECONDS = 2.0
"""How long a credential that opened is not looked up again: a revoked one ends at most so late."""
WITHOUT_STORE_SECONDS = 3600.0
"""How long a credential that opened goes on opening while the store does not answer."""
DEFAULT_RATE = RateLimit("default", lambda settings: settings.api_rate_limit)
LOGIN_RATE = RateLimit("login", lambda settings: settings.api_denied_rate_limit)
LOGIN_BEGIN_RATE = RateLimit("login-begin", LOGIN_RATE.of)
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def credential_of(kind: str, secret: str) -> bytes:
    return hashlib.sha256(f"{kind}:{secret}".encode()).digest()


async def principal_of(request: Request, *, form_token: bool = True) -> Principal | None:
    """Who calls by key or session; None without either. Raises Problem 401 for one that fails.

    A session's changing request must carry its `form_token`; without, the caller has looked at
    where the request comes from.
    """
    service = service_of(request)
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, secret = header.partition(" ")
        kind = "key" if scheme.lower() == "bearer" else "other"
        secret = secret.strip()
    else:
        kind, secret = "session", request.cookies.get(COOKIE, "")
        if not secret:
            return None
        if secret in service.ended:
            raise _unauthenticated()
    credential = credential_of(kind, secret)
    known, before = service.known.get(credential, KNOWN_SECONDS), None
    if known is None:
        before = service.known.get(credential, WITHOUT_STORE_SECONDS)
        if before is None:  # who opened a while ago does not suffer from a neighbour's guesses
            await _not_guessing(request)
        if before is not None and not service.store_answers:
            known = before  # the store is gone: who is known does not wait for it
    if known is None:
        try:
            known = await run_in_threadpool(_look_up, service, kind, secret)
        except NotLetInError as error:
            service.known.forget(credential)
            await _count_wrong(request)
            if kind == "key" or error.why not in ("unknown", "expired"):
                await _denied(request, error.actor, error.why)
            raise _unauthenticated() from error
        except (DBAPIError, PoolTimeout):
            known = before
            if known is None:
                raise
        else:
            service.known.put(credential, known)
    request.state.actor = known.actor
    if form_token and kind == "session" and request.method not in SAFE:
        await _same_site(request, known)
    return known


async def _count_wrong(request: Request) -> None:
    """Count a wrong credential of the caller's address."""
    service = service_of(request)
    await service.limiter.hit(_wrong(service), caller_address(request), "denied")


async def _not_guessing(request: Request) -> None:
    """Refuse an address that tried too many wrong credentials, before anything is looked up."""
    service, who = service_of(request), caller_address(request)
    item = _wrong(service)
    if not await service.limiter.test(item, who, "denied"):
        _, wait = await window(service.limiter, item, who, "denied")
        raise Problem(
            429, "rate-limited", f"too many wrong credentials; try again in {wait} s",
            headers={"Retry-After": str(wait)},
        )  # fmt: skip


def _wrong(service: Service) -> limits.RateLimitItem:
    return rate_of(service.settings.api_denied_rate_limit)


def _look_up(service: Service, kind: str, secret: str) -> Principal:
    with service.store.begin() as connection:
        if kind == "key":
            return access.client_of(connection, secret, now=service.now())
        if kind == "session":
            return access.person_of(connection, secret, now=service.now())
    raise NotLetInError("unknown")


def _unauthenticated() -> Problem:
    return Problem(
        401, "unauthenticated", "send `Authorization: Bearer <key>`, or log in at /login",
        headers={"WWW-Authenticate": "Bearer"},
    )  # fmt: skip


async def _same_site(request: Request, principal: Principal) -> None:
    """A changing request of a browser comes from our own page and carries the session's token."""
    token = request.headers.get("x-csrf-token")
    if token is None and "form" in request.headers.get("content-type", ""):
        token = str((await request.form()).get("csrf_token", ""))
    if token != principal.csrf_token or not from_our_page(request):
        await _denied(request, principal.actor, "csrf")
        raise Problem(403, "forbidden", "the form is too old or not ours: load the page again")


async def _denied(request: Request, actor: str, why: str) -> None:
    service = service_of(request)
    service.metrics.denied.labels(why).inc()

    action = f"{request.method} {getattr(request.scope.get('route'), 'path', 'unknown')}"
    noted = service.denials.take(Denial(actor, action, why, request.state.request_id))
    if noted:
        await run_in_threadpool(write_denials, service, noted)


def write_denials(service: Entrance, noted: Sequence[Denial]) -> None:
    """Put denials into the audit log; while the store does not answer they are in our log only."""

    def work(connection: sa.Connection) -> None:
        for denial in noted:
            denial.record(connection, service.now())

    try:
        service.change(work)
    except (DBAPIError, PoolTimeout):
        service.log.warning("a denied call is not in the audit log: the store does not answer")


def from_our_page(request: Request) -> bool:
    """Whether the browser says that the request comes from this site (or says nothing)."""
    return is_from_us(request, secure=service_of(request).secure)


def note_done(request: Request, principal: Principal, action: str, **detail: Any) -> None:
    """Note in the audit log what somebody did; in our log only while the store is gone."""
    service = service_of(request)

    def work(connection: sa.Connection) -> None:
        audit.record(
            connection, at=service.now(), actor=principal.actor, action=action, outcome="done",
            request_id=request.state.request_id, detail=detail,
        )  # fmt: skip

    service.log.info(action, actor=principal.actor, **detail)
    try:
        service.change(work)
    except (DBAPIError, PoolTimeout):
        service.log.warning("not in the audit log: the store does not answer", action=action)


async def limit(
    request: Request, response: Response, who: str, limited: RateLimit, *, cost: int = 1
) -> None:
    """Count a call against a rate; raise Problem 429 beyond it.

    `cost`: what the call counts for; one that counts for more than the rate needs all of it.
    """
    service = service_of(request)
    name, rate = limited.name, limited.of(service.settings)
    item = rate_of(rate)
    cost = min(cost, item.amount)
    allowed = await service.limiter.test(item, who, name, cost=cost) if cost > 1 else True
    allowed = allowed and await service.limiter.hit(item, who, name, cost=cost)
    remaining, wait = await window(service.limiter, item, who, name)
    shown = {
        "RateLimit-Policy": f'"{name}";q={item.amount};w={item.get_expiry()}',
        "RateLimit": f'"{name}";r={remaining};t={wait}',
    }
    if not allowed:
        service.metrics.denied.labels("rate").inc()
        raise Problem(
            429, "rate-limited", f"at most {rate} for {name}; try again in {wait} s",
            headers={**shown, "Retry-After": str(wait)},
        )  # fmt: skip
    response.headers.update(shown)


def needs(scope: str, *, rate: RateLimit = DEFAULT_RATE) -> Callable[..., Awaitable[Principal]]:
    """The dependency of a route that only callers with this scope may use, so often."""

    async def let_in(request: Request, response: Response) -> Principal:
        principal = await principal_of(request)
        if principal is None:
            raise _unauthenticated()
        await limit(request, response, principal.actor, rate)
        if not principal.may(scope):
            await _denied(request, principal.actor, f"scope {scope}")
            raise Problem(403, "forbidden", f"the scope {scope} is needed")
        if request.url.path.startswith("/v1/"):
            _refuse_unknown_parameters(request)
        return principal

    let_in.scope = scope  # type: ignore[attr-defined]
    return let_in


def _refuse_unknown_parameters(request: Request) -> None:
    """A filter that is misspelt must not give everything. Raises Problem 422."""
    if not request.url.query:
        return
    known = _parameters(request.scope["route"].dependant)
    if wrong := [name for name in dict.fromkeys(request.query_params) if name not in known]:
        raise Problem(422, "invalid", errors=[
            FieldError(field=f"query.{name[:LONGEST_NAME]}",
                       message=f"there is no such parameter{meant(name[:LONGEST_NAME], known)}")
            for name in wrong
        ])  # fmt: skip


def _parameters(dependant: Dependant) -> set[str]:
    """Names of all query parameters of a route and what it depends on."""
    names = {parameter.alias for parameter in dependant.query_params}
    return names.union(*map(_parameters, dependant.dependencies))


def scopes_of(route: APIRoute) -> list[str]:
    """Scopes that a route needs."""
    calls = [dependency.call for dependency in route.dependant.dependencies]
    return [scope for call in calls if (scope := getattr(call, "scope", None)) is not None]
