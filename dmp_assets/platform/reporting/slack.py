"""Slack as a Dagster resource: a client with patience, built when it is first asked for."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.client import HTTPException
from random import SystemRandom
from typing import Any, TypeVar
from urllib.parse import urlsplit

import dagster as dg
from slack_sdk import WebClient
from slack_sdk.errors import SlackClientError
from slack_sdk.http_retry import (
    BackoffRetryIntervalCalculator,
    ConnectionErrorRetryHandler,
    HttpRequest,
    HttpResponse,
    RateLimitErrorRetryHandler,
    RetryHandler,
    RetryState,
)
from slack_sdk.http_retry.builtin_handlers import ServerErrorRetryHandler

from dmp_assets.home import Home
from dmp_assets.platform.base import answers
from dmp_assets.platform.base.addresses import is_loopback
from dmp_assets.settings import Settings

NOT_TWICE = ("/chat.postMessage", "/files.completeUploadExternal")
"""Methods whose repetition would show twice; `reporting.delivery` looks up before it repeats."""

LONGEST_WAIT = 60
"""Seconds; a longer Retry-After leaves the message in the outbox instead of holding the run."""

WAIT = 1.0
"""Seconds to wait after a 429 that does not say how long."""

TRIES = 4


def _repeatable(request: HttpRequest) -> bool:
    return not urlsplit(request.url).path.endswith(NOT_TWICE)


class _PatientRateLimit(RateLimitErrorRetryHandler):
    """Waits as long as Slack asks (a 429 was not processed), within reason."""

    def _can_retry(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> bool:
        return (
            response is not None
            and response.status_code == 429
            and _asked_wait(response) <= LONGEST_WAIT
        )

    def prepare_for_next_attempt(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> None:
        wait = _asked_wait(response) if response is not None else WAIT
        time.sleep(wait * SystemRandom().uniform(1, 1.2))
        state.next_attempt_requested = True
        state.increment_current_attempt()


def _asked_wait(response: HttpResponse) -> float:
    """Seconds that a 429 asks for; `WAIT` where it says nothing that can be read."""
    given = (value for name, value in response.headers.items() if name.lower() == "retry-after")
    wait = answers.retry_after(next(given, None), datetime.now(UTC))
    return WAIT if wait is None else wait


class _CarefulConnection(ConnectionErrorRetryHandler):
    def _can_retry(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> bool:
        return _repeatable(request) and super()._can_retry(
            state=state, request=request, response=response, error=error
        )


class _CarefulServerError(ServerErrorRetryHandler):
    def _can_retry(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> bool:
        return _repeatable(request) and response is not None and response.status_code >= 500


class UnreadableAnswer(SlackClientError):
    """Slack, or something on the way to it, answered what is none of its answers."""


class CarefulClient(WebClient):
    """A WebClient that raises nothing but OSError, HTTPException and SlackClientError."""

    def api_call(self, *args: Any, **named: Any) -> Any:
        answer = _careful(lambda: super(CarefulClient, self).api_call(*args, **named))
        if not isinstance(answer.data, dict):
            raise UnreadableAnswer("its answer is no JSON object")
        return answer

    def _request_for_pagination(self, *args: Any, **named: Any) -> Any:
        return _careful(lambda: super(CarefulClient, self)._request_for_pagination(*args, **named))

    def _upload_file(self, **named: Any) -> Any:
        return _careful(lambda: super(CarefulClient, self)._upload_file(**named))


T = TypeVar("T")


def _careful(call: Callable[[], T]) -> T:
    try:
        return call()
    except (OSError, HTTPException, SlackClientError):
        raise
    except answers.UNREADABLE as error:
        raise UnreadableAnswer(f"unreadable answer ({type(error).__name__})") from error


def build_client(settings: Settings, *, timeout: int = 30, pause: float = 0.5) -> WebClient | None:
    """A client that retries with back-off on 429, 5xx and connection errors; None without a token.

    Methods in `NOT_TWICE` are only repeated after a 429. `pause` is the back-off's first step, in
    seconds.
    """
    if settings.slack_token is None or not settings.slack_token.get_secret_value():
        return None
    interval = BackoffRetryIntervalCalculator(backoff_factor=pause)
    handlers: list[RetryHandler] = [
        _PatientRateLimit(max_retry_count=TRIES),
        _CarefulServerError(max_retry_count=TRIES, interval_calculator=interval),
        _CarefulConnection(max_retry_count=TRIES, interval_calculator=interval),
    ]
    client = CarefulClient(
        token=settings.slack_token.get_secret_value(),
        base_url=settings.slack_base_url.rstrip("/") + "/",
        timeout=timeout,
        retry_handlers=handlers,
    )
    if is_loopback(urlsplit(settings.slack_base_url).hostname or ""):
        _bypass_proxies(client)
    return client


def _bypass_proxies(client: WebClient) -> None:
    """A proxy in the environment must not see what stays on this machine.

    slack_sdk ignores `no_proxy` and falls back to urllib, which honours it.
    """
    client.proxy = None
    for name in ("no_proxy", "NO_PROXY"):
        hosts = [host for host in os.environ.get(name, "").split(",") if host]
        if "127.0.0.1" not in hosts and "*" not in hosts:
            os.environ[name] = ",".join([*hosts, "127.0.0.1", "localhost"])


class SlackResource(dg.ConfigurableResource):
    """Slack for assets and sensors; reads the token from the current home when it is used.

    Example: `deliver(slack.client(), Home.current().outbox, message)`.
    """

    def client(self) -> WebClient | None:
        """The client of the current home, or None when it has no token (messages then wait)."""
        return build_client(Home.current().settings())
