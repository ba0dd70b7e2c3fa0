"""What every request passes: a request id, limits of size and time, headers, metrics, a log line.

Plain ASGI, around the whole app, so that even an unexpected error is answered and counted.
"""

import asyncio
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dmp_assets.platform.api import problems
from dmp_assets.platform.api.bodies import encoding, unpack
from dmp_assets.platform.api.hosts import WRONG_HOST, Hosts
from dmp_assets.platform.api.metrics import Metrics

MAX_BODY = 1_048_576
BODY_SECONDS = 10.0
CLIENT_LEFT = 499
"""Counted and logged as the status of a request whose client went before its body was whole."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}
_HSTS = "max-age=31536000"

log = structlog.get_logger("dmp.api")


class Guard:
    """The outermost ASGI layer of the service."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, *, secure: bool, hosts: Hosts | None = None,
        max_body: int = MAX_BODY, body_seconds: float = BODY_SECONDS,
    ) -> None:  # fmt: skip
        self.app, self.metrics, self.secure = app, metrics, secure
        self.hosts = hosts or Hosts()
        self.max_body, self.body_seconds = max_body, body_seconds
        always = {**SECURITY_HEADERS, **({"Strict-Transport-Security": _HSTS} if secure else {})}
        self._always = [(name.lower().encode(), said.encode()) for name, said in always.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        began, status, started = time.perf_counter(), 500, False

        async def guarded_send(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                given = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(header for header in self._always if header[0] not in given),
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        length = headers.get("content-length", "0")
        try:
            if len(headers.getlist("host")) != 1 and scope["http_version"] != "1.0":
                refused = problems.answer(request_id, 400, detail="a request names one Host")
                await refused(scope, receive, guarded_send)
            elif not self.hosts.serve(headers.get("host", "")):
                refused = problems.answer(request_id, 421, detail=WRONG_HOST)
                await refused(scope, receive, guarded_send)
            elif length.isdigit() and int(length) > self.max_body:
                refused = problems.answer(request_id, 413, detail=self._too_large())
                await refused(scope, receive, guarded_send)
            elif "\0" in scope["path"] or b"%00" in scope["query_string"]:
                refused = problems.answer(request_id, 422, detail="a text holds no NUL character")
                await refused(scope, receive, guarded_send)
            else:
                receive = self._limited(receive)
                if encoding(headers):
                    scope, receive = await unpack(scope, receive, self.max_body)
                await self.app(scope, receive, guarded_send)
        except problems.Problem as problem:  # of the body, before any route looked at it
            if started:
                raise
            refused = problems.answer(
                request_id, problem.status_code, problem.kind, problem.detail,
                headers=problem.headers,
            )  # fmt: skip
            await refused(scope, receive, guarded_send)
        except ClientDisconnect:
            status = CLIENT_LEFT
        except Exception as error:
            log.error(
                "unexpected error", request_id=request_id, error=type(error).__name__,
                exc_info=error,
            )  # fmt: skip
            if not started:
                await problems.answer(request_id, 500)(scope, receive, guarded_send)
        finally:
            self._note(scope, status, time.perf_counter() - began, request_id)

    def _too_large(self) -> str:
        return f"a body has at most {self.max_body:,} bytes"

    def _limited(self, receive: Receive) -> Receive:
        taken, deadline = 0, time.monotonic() + self.body_seconds
        whole = False

        async def limited() -> Message:
            nonlocal taken, whole
            if whole:  # only a disconnect can still come
                return await receive()
            try:
                async with asyncio.timeout(max(deadline - time.monotonic(), 0.001)):
                    message = await receive()
            except TimeoutError as error:
                raise problems.Problem(
                    408, "too-slow", f"a body has {self.body_seconds:.0f} seconds to arrive",
                    headers={"Connection": "close"},
                ) from error  # fmt: skip
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if taken > self.max_body:
                    raise problems.Problem(
                        413, "too-large", self._too_large(), headers={"Connection": "close"}
                    )
            return message

        return limited

    def _note(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route = getattr(scope.get("route"), "path", "unknown")  # the template: holds no id
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.metrics.requests.labels(method, route, str(status)).observe(seconds)
        line: dict[str, Any] = {
            "method": method, "route": route, "status": status,
            "ms": round(seconds * 1000, 2), "request_id": request_id,
            "actor": scope["state"].get("actor", "nobody"),
        }  # fmt: skip
        log.info("request", **line)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
