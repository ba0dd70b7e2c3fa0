"""Bounds on connections, before anything of a request is understood.

uvicorn counts connections and then refuses requests: whoever opens a thousand and says nothing
keeps everybody else out. Here a connection that says nothing is closed after seconds, and when
there are too many, the longest idle one of the source with the most makes room. It is the same
over TLS, of which the handshake has seconds, too.
"""

import asyncio
import resource
from collections import Counter
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from uvicorn.loops.auto import auto_loop_factory
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from dmp_assets.platform.base.addresses import source_of

MOST_HEAD = 65_536
"""Bytes of a request's first line and headers."""
HEAD_SECONDS = 10.0
"""How long they may take, from the connection or their first byte on."""
HANDSHAKE_SECONDS = 5.0
LINGER_SECONDS = 0.5
MOST_CONNECTIONS = 900
"""Open connections of a process; `limit_concurrency` of uvicorn lies above."""
OPEN_FILES = 16_384
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain\r\n"
    b"content-length: 31\r\nconnection: close\r\n\r\nthe headers have too many bytes"
)


class Idle:
    """Connections of one server on which no request is being answered, the longest idle first."""

    def __init__(self) -> None:
        self._source: dict[BoundedHttp, str] = {}

    def add(self, connection: "BoundedHttp", source: str) -> None:
        self._source.pop(connection, None)
        self._source[connection] = source

    def discard(self, connection: "BoundedHttp") -> None:
        self._source.pop(connection, None)

    def make_room(self) -> None:
        """Close the longest idle connection of the source that has the most of them."""
        if not self._source:
            return
        ((busiest, _),) = Counter(self._source.values()).most_common(1)
        longest = next(held for held, source in self._source.items() if source == busiest)
        self.discard(longest)
        longest.transport.abort()


_IDLE: "WeakKeyDictionary[ServerState, Idle]" = WeakKeyDictionary()


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol with bounds on heads, their time, and the number of connections."""

    _head = 0
    _fields = 0
    _is_in_head = False
    _is_refused = False
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        super().connection_made(transport)
        self._idle = _IDLE.setdefault(self.server_state, Idle())
        self._source = source_of(self.client[0] if self.client else "")
        self._idle.add(self, self._source)
        self._begin_waiting()
        if len(self.connections) > MOST_CONNECTIONS:
            self._idle.make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_waiting()
        self._idle.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        super().data_received(data)
        if self._is_in_head:
            self._head += len(data)
            if self._head > MOST_HEAD:
                self._refuse()

    def _refuse(self) -> None:
        """Say why, read no more, and end soon: over TLS a close would wait for the caller."""
        self._is_refused = True
        self._end_waiting()
        self.transport.write(_TOO_LARGE)
        self.transport.pause_reading()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def on_message_begin(self) -> None:
        self._head, self._fields, self._is_in_head = 0, 0, True
        if self._deadline is None:
            self._begin_waiting()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._fields += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += len(name) + len(value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._fields > MOST_HEAD:  # came whole, in one piece
            self._refuse()
        if self._is_refused:
            return
        self._is_in_head = False
        self._end_waiting()
        self._idle.discard(self)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._is_refused:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.pipeline and not self.transport.is_closing():
            self._idle.add(self, self._source)

    def _begin_waiting(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _end_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.abort()


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop whose TLS handshakes have HANDSHAKE_SECONDS; uvicorn's choice otherwise."""
    loop: Any = auto_loop_factory()()

    class Bounded(type(loop)):  # type: ignore[misc] # uvloop's where it is installed
        async def create_server(self, *given: Any, **more: Any) -> Any:
            if more.get("ssl") is not None:
                more.setdefault("ssl_handshake_timeout", HANDSHAKE_SECONDS)
            return await super().create_server(*given, **more)

    loop.close()
    made: Callable[[], asyncio.AbstractEventLoop] = Bounded
    return made()


def allow_open_files() -> None:
    """Let this process hold as many connections as it has bounds for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
