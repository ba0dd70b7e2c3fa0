"""Logging in with an account elsewhere, by OpenID Connect."""

import hmac
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from dmp_assets.platform.api import logins
from dmp_assets.platform.api.access import LOGIN_BEGIN_RATE, LOGIN_RATE, limit
from dmp_assets.platform.api.hosts import address_of
from dmp_assets.platform.api.oidc import BEGUN_SECONDS, Begun, Issuer, IssuerDownError, RefusedError
from dmp_assets.platform.api.problems import NO_NUL, STORE_RETRY_SECONDS, Problem
from dmp_assets.platform.api.rates import caller_address
from dmp_assets.platform.api.routes.pages import (
    NO_STORE,
    begin_session,
    login_page,
    page,
    set_session,
)
from dmp_assets.platform.api.state import Service, service_of
from dmp_assets.platform.store import access
from dmp_assets.platform.store.access import NotLetInError

BEGUN_COOKIE = "dmp_login"
BEGIN = "/login/oidc"
CALLBACK = "/login/oidc/callback"
_BY = "OpenID Connect"

router = APIRouter(include_in_schema=False)
Given = Annotated[str, Query(max_length=4096, pattern=NO_NUL)]


@router.get(BEGIN)
async def begin(request: Request, response: Response) -> Response:
    """Send the browser to the issuer."""
    service, issuer = service_of(request), _issuer(request)
    await limit(request, response, caller_address(request), LOGIN_BEGIN_RATE)
    callback = address_of(request, CALLBACK, service.settings, is_told=service.is_host_told)
    if callback is None:  # where an answer is sent is not for the caller to say
        service.log.warning("no login by OpenID Connect without DMP_API_HOSTS or DMP_PUBLIC_URL")
        said = f"Logging in with {issuer.name} needs to know under which name people come here: "
        return login_page(service, 503, f"{said}DMP_API_HOSTS says it.")
    try:
        url, begun = await issuer.begin(callback)
    except IssuerDownError as error:
        return _down(service, issuer, error)
    answer = RedirectResponse(url, 303, headers=NO_STORE)
    # Lax, not strict: the browser comes back from the issuer's site.
    answer.set_cookie(
        BEGUN_COOKIE, begun.sealed(service.seal), max_age=BEGUN_SECONDS, httponly=True,
        secure=service.secure, samesite="lax", path=BEGIN,
    )  # fmt: skip
    return answer


@router.get(CALLBACK)
async def finish(
    request: Request,
    response: Response,
    code: Given = "",
    state: Given = "",
    error: Given = "",
    iss: Given = "",
) -> Response:
    """Begin a session for the person whom the issuer names, if the store knows them."""
    service, issuer = service_of(request), _issuer(request)
    await limit(request, response, caller_address(request), LOGIN_RATE)
    try:
        begun = Begun.opened(service.seal, request.cookies.get(BEGUN_COOKIE, ""))
        if begun is None or not hmac.compare_digest(begun.state.encode(), state.encode()):
            raise RefusedError("state")
        if iss not in ("", issuer.url):  # RFC 9207
            raise RefusedError("another issuer")
        if error or not code:
            raise RefusedError("refused by the issuer")
        email = await issuer.verified_email(begun, code)
        token = await run_in_threadpool(_log_in, service, request, email)
    except IssuerDownError as down:
        answer = _down(service, issuer, down)
    except RefusedError as refused:
        service.metrics.denied.labels("login").inc()
        await run_in_threadpool(_note, service, request, refused.why)
        said = f"Logging in with {issuer.name} did not work, or took too long: try again."
        answer = login_page(service, 401, said)
    except NotLetInError:
        service.metrics.denied.labels("login").inc()
        said = f"{issuer.name} knows you; here nobody by your address is let in that way."
        answer = login_page(service, 403, said)
    else:
        # A page and no redirect: to one that another site began, browsers give no strict cookie.
        answer = page(service, "logged_in.html")
        set_session(service, answer, token)
    answer.delete_cookie(
        BEGUN_COOKIE, path=BEGIN, secure=service.secure, httponly=True, samesite="lax"
    )
    return answer


def _issuer(request: Request) -> Issuer:
    issuer = service_of(request).issuer
    if issuer is None:
        raise Problem(404, "not-found", "logging in by OpenID Connect is not set up")
    return issuer


def _down(service: Service, issuer: Issuer, error: IssuerDownError) -> Response:
    service.log.warning("the OpenID provider cannot be used", why=str(error))
    said = f"{issuer.name} does not answer at the moment: try again soon."
    answer = login_page(service, 503, said)
    answer.headers["Retry-After"] = str(STORE_RETRY_SECONDS)
    return answer


def _log_in(service: Service, request: Request, email: str) -> str:
    def opened(store: sa.Connection) -> str:
        return access.log_in_verified(store, email, now=service.now())

    return begin_session(service, request, opened, by=_BY)


def _note(service: Service, request: Request, why: str) -> None:
    logins.note(service, request, "unknown", why, by=_BY)
