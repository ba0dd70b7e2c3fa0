"""Running the service: where it may listen, TLS, and uvicorn."""

import gc
import logging
import os
import socket
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO

import structlog
import uvicorn
from fastapi import FastAPI
from pydantic_core import to_json

from dmp_assets.home import Home, HomeError
from dmp_assets.platform.api import secret
from dmp_assets.platform.api.app import create_app
from dmp_assets.platform.api.connections import BoundedHttp, allow_open_files
from dmp_assets.platform.base.addresses import is_loopback
from dmp_assets.platform.connect.keys import FILE, SETTING, KeyRing
from dmp_assets.platform.text.foreign_text import guard_event
from dmp_assets.settings import Settings

HARDENED: dict[str, Any] = {
    "server_header": False,
    "access_log": False,  # ours names routes, not addresses
    "log_level": "warning",
    "timeout_keep_alive": 30,
    "timeout_graceful_shutdown": 10,
    "limit_concurrency": 1000,
    "http": BoundedHttp,
    "loop": "dmp_assets.platform.api.connections:new_loop",
}
"""How uvicorn serves us, wherever it listens."""
TURN = 0.001
"""Seconds until a thread that computes lets another one go on (Python's own: 5 ms): who has an
answer to send, or a request to take, does not wait until a whole batch is judged."""


def check_address(home: Home, host: str | None = None, what: str = "the API") -> None:
    """Raise HomeError when the service would be open to others in plain text.

    `host`: where `what` is to listen, when it is not the API.
    """
    settings = home.settings()
    certificate, key = settings.api_tls_certificate, settings.api_tls_key
    if (certificate is None) != (key is None):
        raise HomeError("TLS needs both DMP_API_TLS_CERTIFICATE and DMP_API_TLS_KEY")
    for path in (certificate, key):
        if path is not None and not os.access(path, os.R_OK):
            raise HomeError(f"cannot read {path}, which the API's TLS needs")
    host = host or settings.api_host
    if not is_loopback(host):
        if certificate is None and not settings.api_behind_proxy:
            raise HomeError(
                f"{what} would listen on {host} without TLS: set DMP_API_TLS_CERTIFICATE and "
                "DMP_API_TLS_KEY, or DMP_API_BEHIND_PROXY=true where a proxy speaks TLS "
                "(`dmp api --behind-proxy`)"
            )
        if secret.is_generated(home):
            raise HomeError(
                f"{what} would listen on {host} with a generated secret: set DMP_API_SECRET"
            )
        if KeyRing.of(home).is_generated:
            raise HomeError(
                f"{what} would listen on {host} while a generated key encrypts the tokens of "
                f"connections: set {SETTING} to what {home.secrets / FILE} holds, or to a new key "
                "before it, and remove the file"
            )


def tls_options(settings: Settings) -> dict[str, Any]:
    """What uvicorn needs to speak TLS itself; nothing without a certificate."""
    if settings.api_tls_certificate is None:
        return {}
    return {
        "ssl_certfile": settings.api_tls_certificate,
        "ssl_keyfile": settings.api_tls_key,
    }


def log_as_json(file: TextIO | None = None) -> None:
    """One JSON object a line, by default on standard error; nothing personal is given to it."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(
                    show_locals=False
                )  # they hold secrets
            ),
            _without_values,
            guard_event,
            structlog.processors.JSONRenderer(serializer=_as_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=file or sys.stderr),
        cache_logger_on_first_use=True,
    )


def _as_json(line: MutableMapping[str, Any], **_: Any) -> str:
    return to_json(line, fallback=repr).decode()


def _without_values(logger: Any, method: str, line: MutableMapping[str, Any]) -> Any:
    """An error's message may quote a row: its kind and its place say enough."""
    for error in line.get("exception", ()):
        error["exc_value"] = ""
        error["exc_notes"] = []
    return line


def _fit_process() -> None:
    """Fit this process to scoring: callers wait for one thread while another computes.

    A thread that computes lets another one in after 5 ms by default, and a request changes threads
    many times; a tenth of that gave a quarter more known accounts a second.
    """
    allow_open_files()
    sys.setswitchinterval(0.0005)


def app_of_environment() -> FastAPI:
    """The app of the home that the environment names; uvicorn's factory."""
    _fit_process()
    log_as_json()
    home = Home.current()
    settings = home.settings()
    secure = settings.api_tls_certificate is not None or settings.api_behind_proxy
    app = create_app(home, secure=secure)
    # What is loaded stays: to look through it again and again holds up callers.
    app.state.service.when_loaded(gc.freeze)
    return app


def serve(home: Home, listening: socket.socket | None = None) -> None:
    """Serve until stopped. Raises HomeError for an address that must not be used."""
    check_address(home)
    sys.setswitchinterval(TURN)
    settings = home.settings()
    config = uvicorn.Config(
        "dmp_assets.platform.api.serve:app_of_environment",
        factory=True,
        host=settings.api_host,
        port=settings.api_port,
        proxy_headers=settings.api_behind_proxy,
        forwarded_allow_ips=settings.api_proxies,
        **HARDENED,
        **tls_options(settings),
    )
    with suppress(KeyboardInterrupt):  # uvicorn raises it anew after it has ended in good order
        uvicorn.Server(config).run(sockets=[listening] if listening else None)
