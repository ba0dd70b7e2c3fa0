"""The gate before Dagster's UI: who is let in, to look or also to launch.

Whoever passes has the scope `runs:read`; only `runs:launch` may change anything. Nothing is ever
executed by a GET. Dagster's own checks hold as well: for those who may only look, each request is
one of its read-only mode, so that the UI shows no button that would be refused.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dmp_assets.platform.api.access import principal_of
from dmp_assets.platform.api.problems import Problem
from dmp_assets.platform.api.routes.pages import NO_STORE, page, wants_page
from dmp_assets.platform.api.state import service_of
from dmp_assets.platform.gate import asked
from dmp_assets.platform.gate.origins import SAFE
from dmp_assets.platform.store import audit
from dmp_assets.platform.store.access import Principal

LOOK, LAUNCH = "runs:read", "runs:launch"
GRAPHQL = "/graphql"
JSON = "application/json"
REPORTING = ("/report_asset_materialization/", "/report_asset_check/", "/report_asset_observation/")
RECHECK_SECONDS = 15.0
"""How long an open WebSocket goes on after its person was logged out or disabled."""
MOST_OF_A_MESSAGE = 262_144
_POLICY = "; frame-ancestors 'none'; form-action 'self'"
_AGAIN = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0">'
    "<title>Dagster</title>"
)


def may_launch(scope: Scope) -> bool:
    """Whether the gate let this request through as one that may change something."""
    return bool(scope.get("state", {}).get("may_launch", False))


class Gate:
    """ASGI: Dagster's app for those who are logged in."""

    def __init__(self, app: ASGIApp, *, recheck_seconds: float = RECHECK_SECONDS) -> None:
        self.app, self.recheck_seconds = app, recheck_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)

    # requests ------------------------------------------------------------------------------------
    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            refused = _unusable(request)
            who = None if refused else await principal_of(request, form_token=False)
        except Problem as problem:
            if problem.status_code != 401 or not _is_page(request):
                raise
            refused, who = None, None
        if refused is None and who is None:
            refused = _log_in_first(request)
        if refused is None and who is not None:
            refused = _not_allowed(request, who)
        if refused is not None:
            await refused(scope, receive, send)
            return
        assert who is not None
        scope.setdefault("state", {})["may_launch"] = who.may(LAUNCH)
        changes: list[str] = []
        if request.method == "POST":
            body = await request.body()
            if request.url.path == GRAPHQL:
                body, changes = asked.understood(body)
                scope = _canonical(scope, body)
            else:
                changes = ["report"]
            receive = _again(body, receive)
            if changes and not who.may(LAUNCH):
                await _note(request, who, changes, "denied")
                raise Problem(403, "forbidden", f"the scope {LAUNCH} is needed")
        noted = not changes

        async def with_policy(message: Message) -> None:
            nonlocal noted
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                if policy := headers.get("content-security-policy"):
                    headers["content-security-policy"] = policy.rstrip("; ") + _POLICY
                message["headers"] = headers.raw
                if not noted:
                    noted = True
                    await _note(request, who, changes, _outcome(message["status"]))
            await send(message)

        try:
            await self.app(dict(scope), receive, with_policy)  # it makes the scope its own
        finally:
            if not noted:
                await _note(request, who, changes, "failed")

    # WebSockets ----------------------------------------------------------------------------------
    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Its handshake is a GET, and who sent it is found as for any other.
        state = {"request_id": "websocket", **scope.get("state", {})}
        handshake = Request({**scope, "type": "http", "method": "GET", "state": state})
        who = await _still_in(handshake)
        if who is None or scope["path"] != GRAPHQL:
            await send({"type": "websocket.close", "code": 1008})
            return
        scope.setdefault("state", {})["may_launch"] = who.may(LAUNCH)
        looked_at, ended = time.monotonic(), False

        async def while_logged_in() -> Message:
            nonlocal looked_at, ended
            while True:
                left = looked_at + self.recheck_seconds - time.monotonic()
                if left <= 0:
                    if await _still_in(handshake) is None:
                        ended = True
                        return {"type": "websocket.disconnect", "code": 1008}
                    looked_at = time.monotonic()
                    continue
                try:
                    async with asyncio.timeout(left):
                        message = await receive()
                except TimeoutError:
                    continue
                if len(message.get("text") or message.get("bytes") or "") > MOST_OF_A_MESSAGE:
                    ended = True
                    return {"type": "websocket.disconnect", "code": 1009}
                return message

        await self.app(dict(scope), while_logged_in, send)
        if ended:
            await send({"type": "websocket.close", "code": 1008})


async def _still_in(request: Request) -> Principal | None:
    try:
        who = await principal_of(request, form_token=False)
    except Problem:
        return None
    return who if who is not None and who.may(LOOK) else None


def _unusable(request: Request) -> Response | None:
    """Refuse what no page of Dagster asks for, before anybody is looked up."""
    method, path = request.method, request.url.path
    if path == GRAPHQL and method != "POST":
        raise Problem(405, "method", "GraphQL is sent by POST", headers={"Allow": "POST"})
    if method in SAFE:
        return None
    if method != "POST" or not (path == GRAPHQL or path.startswith(REPORTING)):
        raise Problem(405, "method", headers={"Allow": "GET, HEAD"})
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:  # what a form of another site cannot send
        raise Problem(415, "media-type", "send application/json")
    says_whence = "origin" in request.headers or "sec-fetch-site" in request.headers
    if not says_whence and "authorization" not in request.headers:
        raise Problem(403, "forbidden", "a browser says where a request comes from; a program "
                      "sends `Authorization: Bearer <key>`")  # fmt: skip
    return None


def _is_page(request: Request) -> bool:
    return request.method == "GET" and wants_page(request)


def _log_in_first(request: Request) -> Response:
    if not _is_page(request):
        raise Problem(
            401, "unauthenticated", "send `Authorization: Bearer <key>`, or log in at /login",
            headers={"WWW-Authenticate": "Bearer"},
        )  # fmt: skip
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        # A link from elsewhere carries no strict cookie; what our own page opens does.
        return HTMLResponse(_AGAIN, headers=NO_STORE)
    return RedirectResponse("/login", 303, headers=NO_STORE)


def _not_allowed(request: Request, who: Principal) -> Response | None:
    if who.may(LOOK):
        return None
    if not _is_page(request):
        raise Problem(403, "forbidden", f"the scope {LOOK} is needed")
    return page(service_of(request), "gate.html", 403, who=who, needed=LOOK)


def _canonical(scope: Scope, body: bytes) -> Scope:
    """The request that says what was understood, and nothing beside it that could be asked for."""
    headers = [
        (name, value) for name, value in scope["headers"]
        if name not in (b"content-type", b"content-length", b"transfer-encoding")
    ]  # fmt: skip
    headers += [(b"content-type", JSON.encode()), (b"content-length", str(len(body)).encode())]
    return {**scope, "headers": headers, "query_string": b""}


def _outcome(status: int) -> audit.Outcome:
    return "done" if status < 400 else "failed"


async def _note(
    request: Request, who: Principal, changes: list[str], outcome: audit.Outcome
) -> None:
    """Into the audit log; a launch is not lost because that does not answer."""
    service = service_of(request)

    def note(store: sa.Connection) -> None:
        audit.record(
            store, at=service.now(), actor=who.actor, action="dagster", outcome=outcome,
            request_id=request.state.request_id, detail={"changes": changes[:20]},
        )  # fmt: skip

    try:
        await run_in_threadpool(service.change, note)
    except (DBAPIError, PoolTimeout):
        service.log.warning("a change is not in the audit log: the store does not answer")


def _again(body: bytes, receive: Receive) -> Callable[[], Any]:
    """A body that was read, for the next one to read."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
