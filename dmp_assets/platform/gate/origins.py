"""Which requests come from our own pages: by Host, Origin and `Sec-Fetch-Site`.

A page of another site, of another port of this machine, or of a name that was made to lead here
(DNS rebinding) can neither change nor read anything behind this. What it still can do is what a
link does: open one of our pages in a window of its own.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from dmp_assets.platform.api import problems
from dmp_assets.platform.base.addresses import is_loopback

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_OURS = ("same-origin", "none")
SAFE = ("GET", "HEAD")


@dataclass(frozen=True)
class Origins:
    """The origins (`https://dagster.example.com`) under which people reach us."""

    origins: frozenset[str]

    @classmethod
    def of(cls, host: str, port: int, *, secure: bool, urls: tuple[str, ...]) -> "Origins":
        """Those of an address that is listened at, and of the `urls` that lead there.

        Names of loopback are always among them: no other site can have one.
        """
        names = [*_LOOPBACK_NAMES]
        if is_loopback(host) and host not in names:
            names.append(f"[{host}]" if ":" in host else host)
        schemes = ("https", "http") if secure else ("http",)
        listening = [f"{scheme}://{name}:{port}" for scheme in schemes for name in names]
        return cls(frozenset(_origin(url) for url in (*listening, *urls) if url))

    @property
    def hosts(self) -> frozenset[str]:
        """Their names with the port where it is not the scheme's own."""
        return frozenset(origin.partition("://")[2] for origin in self.origins)

    def has_host(self, host: str | None) -> bool:
        """Whether a Host header names one of them."""
        if host is None:
            return False
        name = host.lower()
        return name in self.hosts or name.removesuffix(":443").removesuffix(":80") in self.hosts


def _origin(url: str) -> str:
    parts = urlsplit(url)
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{name}{port}".lower()


class OwnPagesOnly:
    """The ASGI layer that answers nobody else's pages."""

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self.app, self.origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        status, why = self._refusal(scope, headers)
        if not status:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: a 403
        else:
            request_id = str(Request(scope).state.request_id)
            await problems.answer(request_id, status, detail=why)(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str]:
        """(status, why) of a refusal; (0, "") for what may pass."""
        if not self.origins.has_host(headers.get("host")) or len(headers.getlist("host")) > 1:
            return 421, (
                "this name is not known here: open one of the addresses that `dmp up` prints, or "
                "set DMP_WEBSERVER_URL to the address under which people come"
            )
        origin = headers.get("origin")
        if scope["type"] == "websocket":
            if origin is None and "authorization" in headers:  # a program: browsers cannot send it
                return 0, ""
            return (0, "") if origin in self.origins.origins else (403, "not from our page")
        site = headers.get("sec-fetch-site")
        is_opened = (
            scope["method"] in SAFE
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        )
        if origin is not None and origin not in self.origins.origins:
            return 403, "not from our page"
        if site is not None and site not in _OURS and not is_opened:
            return 403, "not from our page"
        return 0, ""
