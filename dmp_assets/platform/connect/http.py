"""The one HTTP client of all connectors: patient, bounded, and silent about secrets.

A client speaks to one origin, so what it sends as credentials reaches nobody else. It repeats what
may pass (429, 5xx, a broken connection) with exponential back-off and jitter, never sooner than
`Retry-After` asks (RFC 9110, 10.2.3), and never a request that may have been done and must not be
done twice. Proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY`), none within this
machine.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar
from urllib.parse import urljoin, urlsplit

import httpx
import tenacity

from dmp_assets.platform.base.addresses import is_loopback, place_of
from dmp_assets.platform.base.answers import retry_after, why_unanswered
from dmp_assets.platform.connect.answer import (
    ENCODING,
    BrokenError,
    HttpAnswer,
    TooMuchError,
    bounded,
)
from dmp_assets.platform.connect.errors import (
    AddressError,
    NoAnswerError,
    StatusError,
    ThrottledError,
    TooLargeError,
    TryAgainError,
)
from dmp_assets.platform.text.foreign_text import cut, visible

T = TypeVar("T")
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""Methods that do once what they do twice (RFC 9110, 9.2.2)."""
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2",
            "httpcore.proxy", "httpcore.socks")  # fmt: skip


@dataclass(frozen=True)
class Patience:
    """How long a request is tried.

    `attempts`: tries in all. `pause`: seconds before the second; doubles up to `longest_pause`,
    with jitter. `total`: seconds that all tries and pauses take at most; a wait that would go
    beyond, as when a service asks for an hour, is not begun.
    """

    attempts: int = 5
    pause: float = 0.5
    longest_pause: float = 30.0
    total: float = 300.0


class Credentials(Protocol):
    """Who we are to a service, as headers; see `tokens` for those of a connection."""

    def headers(self) -> Mapping[str, str]:
        """What goes with every request. Raises ConnectError when there is nothing that opens."""

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Whether there are others now than those that were refused with 401."""


def _says_nothing(answer: HttpAnswer) -> float | None:
    return None


def _never(answer: HttpAnswer) -> bool:
    return False


def _no_proof(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, kw_only=True)
class HttpService:
    """A service as a connector declares it.

    `url`: base of all its addresses, https unless on loopback. `headers`: sent with each request;
    `credentials` too, asked for each time. `timeout`: seconds for each step of a request, and
    `slowest` for reading its whole answer. `limit`: bytes of an answer, decompressed.
    `connections`: requests at a time. `throttled`: seconds to wait when an answer means that
    nothing was done and the same may be asked later, whatever its status (a throttle that comes as
    200 or 400); None else. `pace`: seconds until the next request of this client may go, from an
    answer's headers (a budget that is nearly used up). `explains`: whether the body of a 408, 429
    or 5xx says what it means, so that `read` decides about another try. `proof`: query parameters
    that prove the credentials, from their headers. `loopback_only`: for a sandbox home, which
    reaches nothing else.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    credentials: Credentials | None = field(default=None, repr=False)
    patience: Patience = Patience()
    timeout: float = 30.0
    slowest: float = 300.0
    limit: int = 64 * 1024 * 1024
    connections: int = 4
    throttled: Callable[[HttpAnswer], float | None] = _says_nothing
    pace: Callable[[HttpAnswer], float | None] = _says_nothing
    explains: Callable[[HttpAnswer], bool] = _never
    proof: Callable[[Mapping[str, str]], Mapping[str, str]] = field(default=_no_proof, repr=False)
    loopback_only: bool = False

    def __post_init__(self) -> None:
        check_address(self.url, loopback_only=self.loopback_only)


def check_address(url: str, *, loopback_only: bool = False) -> None:
    """Raise AddressError for a URL that nothing may be sent to; it is not quoted whole."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise AddressError("the address of the service cannot be read") from None
    if parts.scheme not in ("http", "https") or not host:
        raise AddressError("the address of the service must be like https://api.example.com")
    if parts.username is not None or parts.password is not None:
        raise AddressError(f"the address of {visible(host)} must hold no user and no password")
    if loopback_only and not is_loopback(host):
        raise AddressError(f"a sandbox home does not reach {visible(host)}: only this machine")
    if parts.scheme == "http" and not is_loopback(host):
        raise AddressError(
            f"{visible(host)} must be reached by https: secrets travel with requests"
        )


class _Lost(Exception):
    """A try that failed. `is_done`: the service may have done it; `then`: what ends the tries."""

    def __init__(self, then: Callable[[], Any], seconds: float | None, *, is_done: bool) -> None:
        super().__init__()
        self.then, self.seconds, self.is_done = then, seconds, is_done


def _as_it_is(answer: HttpAnswer) -> Any:
    return answer


def _nothing() -> None:
    pass


class HttpClient:
    """A client of one service; for several threads at once. Close it, or use it in a `with`."""

    def __init__(self, service: HttpService) -> None:
        host = urlsplit(service.url).hostname or ""
        keep_silent()
        self.service = service
        self._base = service.url.rstrip("/")
        self._http = httpx.Client(
            timeout=service.timeout,
            limits=httpx.Limits(max_connections=service.connections),
            trust_env=not is_loopback(host),
            follow_redirects=False,
        )
        self._lock = threading.Lock()
        self._not_before = 0.0

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> "HttpClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, path: str = "", **named: Any) -> HttpAnswer:
        """`send` by GET."""
        return self.send("GET", path, **named)

    def post(self, path: str = "", **named: Any) -> HttpAnswer:
        """`send` by POST."""
        return self.send("POST", path, **named)

    def send(
        self,
        method: str,
        path: str = "",
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        repeatable: bool | None = None,
        read: Callable[[HttpAnswer], T] = _as_it_is,
        before: Callable[[], None] = _nothing,
        stop: threading.Event | None = None,
    ) -> T:
        """What `read` makes of the answer, after as many tries as are granted.

        `path`: below the service's URL, or a whole URL of the same origin. `repeatable`: whether
        it does once what it does twice; by default the method says so. `read` gets every answer
        that is not tried again, the last 429 or 5xx too, and may raise TryAgainError. `before` is
        called before each try. `stop`: ends waiting and trying when it is set.

        Raises NoAnswerError, ThrottledError, TooLargeError, AddressError (also for a redirect
        that leads elsewhere), StatusError for another redirect, the last TryAgainError, and what
        `read`, `before` and the credentials raise.
        """
        url = self._url(path)
        safe = method.upper() in _REPEATABLE if repeatable is None else repeatable
        sent = {"params": params or None, "json": json, "data": form, "content": content}
        sent = {name: value for name, value in sent.items() if value is not None}
        last: _Lost | None = None
        try:
            for attempt in self._attempts(safe, stop):
                with attempt:
                    before()
                    if last is not None and stop is not None and stop.is_set():
                        raise last
                    self._wait(stop)
                    answer = self._authorized(method, url, headers or {}, sent)
                    return self._read(answer, read)
                error = attempt.retry_state.outcome and attempt.retry_state.outcome.exception()
                last = error if isinstance(error, _Lost) else None
        except _Lost as lost:
            return lost.then()
        raise AssertionError("a retry ends by an answer or an exception")

    def _url(self, path: str) -> str:
        if not urlsplit(path).scheme and not path.startswith("//"):
            return f"{self._base}/{path.lstrip('/')}" if path else self._base
        if _origin(path) != _origin(self._base):
            raise AddressError("an address of another host was given: credentials stay here")
        return path

    def _attempts(
        self, safe: bool, stop: threading.Event | None
    ) -> Iterator[tenacity.AttemptManager]:
        patience = self.service.patience
        pause = tenacity.wait_exponential_jitter(
            initial=patience.pause, max=patience.longest_pause, jitter=patience.pause
        )

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome and state.outcome.exception()
            asked = error.seconds if isinstance(error, _Lost) else None
            return max(asked or 0.0, pause(state))

        ends = tenacity.stop_after_attempt(patience.attempts) | tenacity.stop_before_delay(
            patience.total
        )
        return iter(
            tenacity.Retrying(
                retry=tenacity.retry_if_exception(
                    lambda error: isinstance(error, _Lost) and (safe or not error.is_done)
                ),
                wait=wait,
                stop=ends | tenacity.stop_when_event_set(stop) if stop else ends,
                sleep=tenacity.sleep_using_event(stop) if stop else tenacity.nap.sleep,
                reraise=True,
            )
        )

    def _wait(self, stop: threading.Event | None) -> None:
        """Keep the pace that the service asked for, within the client's patience."""
        with self._lock:
            seconds = self._not_before - time.monotonic()
        if seconds > self.service.patience.total:
            raise ThrottledError(
                f"{urlsplit(self._base).hostname} wants no request for {seconds:,.0f} s", seconds
            )
        if seconds > 0:
            (stop.wait if stop else time.sleep)(seconds)

    def _authorized(
        self, method: str, url: str, headers: Mapping[str, str], sent: Mapping[str, Any]
    ) -> HttpAnswer:
        """The answer, with other credentials once if the first are refused (nothing was done)."""
        credentials = self.service.credentials
        if credentials is None:
            return self._redirected(method, url, headers, sent)
        own = credentials.headers()
        answer = self._proven(method, url, headers, own, sent)
        if answer.status == 401 and credentials.renew(own):
            answer = self._proven(method, url, headers, credentials.headers(), sent)
        return answer

    def _proven(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        own: Mapping[str, str],
        sent: Mapping[str, Any],
    ) -> HttpAnswer:
        """The answer to a request with these credentials, and their proof where there is one."""
        if proof := self.service.proof(own):
            sent = {**sent, "params": {**sent.get("params", {}), **proof}}
        return self._redirected(method, url, {**headers, **own}, sent)

    def _redirected(
        self, method: str, url: str, headers: Mapping[str, str], sent: Mapping[str, Any]
    ) -> HttpAnswer:
        """The answer after redirects of a GET within the origin; every other one is refused."""
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self._once(method, url, headers, sent)
            if answer.status not in _REDIRECTS:
                return answer
            try:
                target = urljoin(url, answer.headers.get("location", ""))
                stays = _origin(target) == _origin(self._base)
            except ValueError:
                stays = False
            if method.upper() not in ("GET", "HEAD"):
                raise StatusError(
                    f"{answer.place} answers {answer.status}, a redirect, which only a reading "
                    "request may follow; check the address",
                    answer.status,
                )
            if not stays:
                raise AddressError(f"{answer.place} redirects to another host: not followed")
            url = target
            sent = {name: value for name, value in sent.items() if name != "params"}
        raise StatusError(f"{answer.place} redirects without end", answer.status)

    def _once(
        self, method: str, url: str, headers: Mapping[str, str], sent: Mapping[str, Any]
    ) -> HttpAnswer:
        """One request and its whole answer. Raises _Lost, TooLargeError, AddressError."""
        place = _place(method, url)
        try:
            request = self._http.build_request(
                method,
                url,
                headers={"accept-encoding": ENCODING, **self.service.headers, **headers},
                **sent,
            )
        except (httpx.InvalidURL, ValueError, TypeError):
            raise AddressError(
                f"{place} cannot be asked: its address or headers are no such"
            ) from None
        try:
            response = self._http.send(request, stream=True)
            try:
                body = bounded(
                    self._in_time(response),
                    response.headers.get("content-encoding", ""),
                    self.service.limit,
                )
            finally:
                response.close()
        except httpx.LocalProtocolError:
            raise AddressError(
                f"{place} cannot be asked: a header holds what none can carry"
            ) from None
        except TooMuchError:
            raise TooLargeError(
                f"{place}: the answer is larger than {self.service.limit:,} bytes"
            ) from None
        except httpx.RequestError as error:
            why = why_unanswered(error)
            raise _lost(
                place, type(error).__name__, not isinstance(error, _NOT_SENT), why
            ) from None
        except BrokenError:
            raise _lost(place, "BrokenCompression", True) from None
        self._note_pace(
            answer := HttpAnswer(response.status_code, response.headers, body, place, url)
        )
        return answer

    def _in_time(self, response: httpx.Response) -> Iterator[bytes]:
        end = time.monotonic() + self.service.slowest
        for piece in response.iter_raw():
            if time.monotonic() > end:
                raise httpx.ReadTimeout("too slow")
            yield piece

    def _note_pace(self, answer: HttpAnswer) -> None:
        seconds = self.service.pace(answer)
        if seconds:
            with self._lock:
                self._not_before = max(self._not_before, time.monotonic() + seconds)

    def _read(self, answer: HttpAnswer, read: Callable[[HttpAnswer], T]) -> T:
        asked = self.service.throttled(answer)
        if asked is not None:
            error = ThrottledError(f"{answer.place} is throttled for {asked:,.0f} s", asked)
            raise _Lost(_raising(error), asked, is_done=False)
        is_late = answer.status in (408, 429) or answer.status >= 500
        if is_late and not self.service.explains(answer):
            asked = retry_after(answer.headers.get("retry-after"), datetime.now(UTC))
            raise _Lost(lambda: read(answer), asked, is_done=answer.status != 429)
        try:
            return read(answer)
        except TryAgainError as again:
            raise _Lost(_raising(again), again.seconds, is_done=not again.is_undone) from again


def _lost(place: str, name: str, is_unknown: bool, why: str = "") -> _Lost:
    error = NoAnswerError(f"{place}: no answer ({why or name})", name, is_unknown=is_unknown)
    return _Lost(_raising(error), None, is_done=is_unknown)


def _raising(error: Exception) -> Callable[[], Any]:
    def then() -> Any:
        raise error from None

    return then


def _place(method: str, url: str) -> str:
    return cut(f"{method} {place_of(url)}{visible(urlsplit(url).path)}", 200)


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), port


class _Silent(logging.Filter):
    """Lets nothing pass: httpx logs whole addresses, httpcore the headers of answers."""

    def filter(self, record: logging.LogRecord) -> bool:
        return False


_SILENT = _Silent()


def keep_silent() -> None:
    """Let the libraries below log nothing of what travels."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_SILENT)
