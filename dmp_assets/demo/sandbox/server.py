"""The loopback sandbox: stand-ins for outside services that speak the services' real protocols.

One Starlette app on a free port of 127.0.0.1, run in a thread of the process that needs it. Each
service is a `Service`: its routes below `/<prefix>`, the settings that point the product at it and
a part of the human page. What a service received stays in `$DMP_HOME/sandbox/<name>/`, so a later
run sees it. A domain brings its services in `SERVICES` of its room `sandbox`.

Misbehaviour on demand: POST a list of faults to `/_sandbox/faults`, see `Fault`.
"""

import asyncio
import json
import os
import socket
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable
from urllib.parse import urlsplit

import filelock
import psutil
import uvicorn
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dmp_assets import domains
from dmp_assets.demo.sandbox import slack_page as sandbox_slack_page
from dmp_assets.demo.sandbox.slack import SlackSandbox
from dmp_assets.demo.sandbox.smtp import SmtpSandbox
from dmp_assets.home import Home
from dmp_assets.platform.base import whole_file
from dmp_assets.platform.base.addresses import is_loopback


class Service(Protocol):
    """One outside service of the sandbox."""

    name: str
    """What people call it; its page is `/sandbox/<name>`."""

    prefix: str
    """First part of the path under which the service answers, e.g. `api`."""

    def settings(self, base_url: str) -> dict[str, Any]:
        """The settings of the product that lead to this service, secrets included."""

    def routes(self) -> list[BaseRoute]:
        """Routes below the prefix."""

    def messages(self) -> list[dict[str, Any]]:
        """What people would see that was sent to this service."""

    def page(self) -> str:
        """The same as HTML, for a person to look at."""


@runtime_checkable
class Listening(Protocol):
    """A service that also answers at a port of its own, by another protocol than HTTP."""

    def listen(self) -> None:
        """Begin to answer there, before the settings are asked for."""

    def close(self) -> None:
        """End it."""


PAGES = "/sandbox"


def every_service() -> list[Callable[[Path], Service]]:
    """What makes each service, given the folder of the sandbox: Slack, e-mail, and those of
    domains."""
    brought = domains.rooms("sandbox").values()
    return [SlackSandbox, SmtpSandbox, *(make for room in brought for make in room.SERVICES)]


class Fault(BaseModel):
    """Misbehaviour of the next `times` calls whose path ends with `method` (`*`: any).

    429: refused with Retry-After. 500: refused. slow: answered `seconds` late, with `after` the
    work is done before the wait. truncated: done, but the JSON stops half-way. drop: done, then
    the connection breaks. Any other kind is handed to the service, e.g. `token_expired`.
    """

    model_config = ConfigDict(extra="forbid")

    method: str = "*"
    kind: Literal["429", "500", "slow", "truncated", "drop", "token_expired", "missing_scope"]
    times: int = 1
    retry_after: int = 1
    seconds: float = 1.0
    after: bool = False


_FAULTS = TypeAdapter(list[Fault])


class Faults:
    """ASGI middleware that plays the faults; in memory, so a new sandbox behaves well."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.waiting: list[Fault] = []
        self._lock = threading.Lock()

    def _next(self, path: str) -> Fault | None:
        with self._lock:
            for fault in self.waiting:
                if fault.method == "*" or path.endswith(f"/{fault.method}"):
                    fault.times -= 1
                    if fault.times <= 0:
                        self.waiting.remove(fault)
                    return fault
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or path == "/" or path.startswith(("/_sandbox", f"{PAGES}/")):
            await self.app(scope, receive, send)
            return
        fault = self._next(path)
        if fault is None:
            await self.app(scope, receive, send)
        elif fault.kind == "429":
            refusal = JSONResponse(
                {"ok": False, "error": "ratelimited"},
                status_code=429,
                headers={"Retry-After": str(fault.retry_after)},
            )
            await refusal(scope, receive, send)
        elif fault.kind == "500":
            await Response("server error", status_code=500)(scope, receive, send)
        elif fault.kind == "slow" and not fault.after:
            await asyncio.sleep(fault.seconds)
            await self.app(scope, receive, send)
        elif fault.kind in ("slow", "truncated", "drop"):
            await self._spoil(fault, scope, receive, send)
        else:
            await self.app({**scope, "sandbox_fault": fault.kind}, receive, send)

    async def _spoil(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the service do its work, then spoil only the answer."""
        sent: list[Message] = []

        async def keep(message: Message) -> None:
            sent.append(message)

        await self.app(scope, receive, keep)
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            for message in sent:
                await send(message)
            return
        body = b"".join(m.get("body", b"") for m in sent if m["type"] == "http.response.body")
        half = body[: len(body) // 2]
        if fault.kind == "truncated":
            await Response(half, media_type="application/json")(scope, receive, send)
            return
        # More is promised than sent: the server closes the connection when we return.
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())],
            }
        )
        await send({"type": "http.response.body", "body": b"", "more_body": True})


@dataclass(frozen=True)
class Endpoint:
    """Where a running sandbox answers."""

    pid: int
    url: str
    settings: dict[str, Any]


_WATCH_SECONDS = 0.25


def _has_users(users: Path) -> bool:
    """Whether a living process uses the sandbox; tickets of others are removed."""
    alive = False
    for ticket in users.iterdir():
        if psutil.pid_exists(int(ticket.name.partition("-")[0])):
            alive = True
        else:
            ticket.unlink(missing_ok=True)
    return alive


@dataclass(frozen=True)
class Sandbox:
    """The sandbox of one home; `running()` starts it or joins the one that already runs."""

    home: Home
    services: Sequence[Callable[[Path], Service]] | None = None
    """What it stands in for; everything when None."""

    @property
    def _file(self) -> Path:
        return self.home.sandbox / "endpoint.json"

    def living(self) -> Endpoint | None:
        """The endpoint of a sandbox that answers, whichever process runs it."""
        try:
            endpoint = Endpoint(**json.loads(self._file.read_text()))
        except FileNotFoundError:
            return None
        if not psutil.pid_exists(endpoint.pid):
            return None
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(f"{endpoint.url}/_sandbox/health", timeout=2) as answer:
                return endpoint if answer.status == 200 else None
        except (urllib.error.URLError, OSError):
            return None

    @contextmanager
    def running(self) -> Iterator[Endpoint]:
        """Answer on loopback until the block ends; `$DMP_HOME/sandbox/endpoint.json` tells where.

        When the process that answered ends before another that uses it, that one answers from then
        on, at the same port. Raises RuntimeError when the server does not start within ten seconds.
        """
        users = self.home.sandbox / "users"
        users.mkdir(parents=True, exist_ok=True)
        ticket = users / f"{os.getpid()}-{uuid.uuid4().hex}"
        started: list[_Server] = []
        with self._alone():
            endpoint = self._living_or_start(started)
            ticket.touch()
        done = threading.Event()
        watching = threading.Thread(
            target=self._take_over, args=(done, started), name="sandbox watch", daemon=True
        )
        watching.start()
        try:
            yield endpoint
        finally:
            done.set()
            watching.join()
            with self._alone():
                ticket.unlink(missing_ok=True)
                if started and not _has_users(users):
                    self._file.unlink(missing_ok=True)
                for server in started:
                    server.stop()

    def _alone(self) -> filelock.BaseFileLock:
        """Held by who starts or stops a sandbox of this home."""
        return filelock.FileLock(self.home.sandbox / "start.lock")

    def _living_or_start(self, started: "list[_Server]") -> Endpoint:
        """Where a sandbox answers; one that is started for this is added to `started`."""
        if (endpoint := self.living()) is not None:
            return endpoint
        started.append(self._start())
        self._write(started[-1].endpoint)
        return started[-1].endpoint

    def _take_over(self, done: threading.Event, started: "list[_Server]") -> None:
        """Start a sandbox when the one that another process started does not answer any more."""
        while not started and not done.wait(_WATCH_SECONDS):
            if self.living() is None:
                with self._alone():
                    self._living_or_start(started)

    def _start(self) -> "_Server":
        wanted = every_service() if self.services is None else self.services
        services = [make(self.home.sandbox) for make in wanted]
        listening = [service for service in services if isinstance(service, Listening)]
        for service in listening:
            service.listen()
        listener = self._listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings: dict[str, Any] = {}
        for one in services:
            settings |= one.settings(f"{url}/{one.prefix}/")
        endpoint = Endpoint(os.getpid(), url, settings)
        return _Server(build_app(services), listener, endpoint, listening)

    def _listen(self) -> socket.socket:
        """The port of the time before where it is free, so that addresses people noted hold."""
        note = self.home.sandbox / "port"
        try:
            listener = socket.create_server(("127.0.0.1", int(note.read_text())))
        except (OSError, ValueError, OverflowError):
            listener = socket.create_server(("127.0.0.1", 0))
            whole_file.write(note, str(listener.getsockname()[1]), mode=None)
        return listener

    def _write(self, endpoint: Endpoint) -> None:
        whole_file.write(self._file, json.dumps(endpoint.__dict__, indent=2))


class _Server:
    """uvicorn in a thread; `beside`: what answers at ports of its own and ends with it."""

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        endpoint: Endpoint,
        beside: Sequence[Listening] = (),
    ) -> None:
        self.endpoint, self._beside = endpoint, beside
        self._listener = listener
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="critical",
                access_log=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="sandbox", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError(f"the sandbox did not start on {endpoint.url}")
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=5)
        for service in self._beside:
            service.close()
        with suppress(OSError):
            self._listener.close()


def build_app(services: list[Service]) -> ASGIApp:
    """The whole sandbox as one ASGI app."""

    async def health(_: Request) -> Response:
        return JSONResponse({"ok": True})

    async def set_faults(request: Request) -> Response:
        try:
            faults.waiting = _FAULTS.validate_json(await request.body())
        except ValidationError as error:
            return Response(error.json(), status_code=422, media_type="application/json")
        return JSONResponse({"ok": True, "faults": len(faults.waiting)})

    def messages(_: Request) -> Response:
        return JSONResponse([one for service in services for one in service.messages()])

    def page(_: Request) -> Response:
        return _shown("".join(service.page() for service in services))

    def page_of(service: Service) -> Callable[[Request], Response]:
        return lambda _: _shown(service.page())

    faults = Faults(
        Starlette(
            routes=[
                Route("/", page),
                *(Route(f"{PAGES}/{service.name}", page_of(service)) for service in services),
                Route("/_sandbox/health", health),
                Route("/_sandbox/faults", set_faults, methods=["POST"]),
                Route("/_sandbox/messages", messages),
                *(Mount(f"/{service.prefix}", routes=service.routes()) for service in services),
            ]
        )
    )
    return OwnPages(faults)


def _shown(body: str) -> Response:
    headers = {
        "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; "
        "style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    return HTMLResponse(sandbox_slack_page.document(body), headers=headers)


class OwnPages:
    """ASGI middleware: only programs and pages of this machine are answered.

    A page on another site can neither read what was sent here (a name of its own that points to
    this machine is another host) nor change how the sandbox behaves.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_own(Request(scope)):
            refusal = PlainTextResponse("only for this machine's own pages", status_code=403)
            await refusal(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _is_own(request: Request) -> bool:
    headers = request.headers
    try:
        hosts = [urlsplit(f"//{headers.get('host', '')}").hostname]
        if "origin" in headers:
            hosts.append(urlsplit(headers["origin"]).hostname)
    except ValueError:
        return False
    visit = request.method == "GET" and headers.get("sec-fetch-dest") == "document"
    foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not visit
    return all(host is not None and is_loopback(host) for host in hosts) and not foreign
