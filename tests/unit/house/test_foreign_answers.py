"""Clients that promise not to raise, against a server that answers anything."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from dmp_assets.platform.api.oidc import Begun, Issuer, IssuerDownError, RefusedError
from dmp_assets.platform.automation import readiness
from dmp_assets.platform.base.answers import LONGEST_WAIT, json_object, retry_after, said
from dmp_assets.platform.reporting import delivery, slack
from dmp_assets.platform.reporting.delivery import Message, deliver
from dmp_assets.settings import load
from dmp_assets.sources.ihc.answers import AnswerStore
from dmp_assets.sources.ihc.client import IhcConfig, compute
from tests.unit.sources.test_ihc import journeys

NOW = datetime(2024, 3, 18, 12, tzinfo=UTC)
DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("7", 7),
        (["7"], 7),
        ([], None),
        ("0.5", 0.5),
        (" 3 ", 3),
        ("Mon, 18 Mar 2024 12:01:30 GMT", 90),
        ("Mon, 18 Mar 2024 12:01:30", 90),
        ("Monday, 18-Mar-24 12:01:30 GMT", 90),
        ("Mon, 18 Mar 2024 11:00:00 GMT", 0),
        ("Mon, 18 Mar 99999 11:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT),
        ("-5", None),
        ("soon", None),
        ("1e999", None),
        ("inf", None),
        ("NaN", None),
        ("٣", None),
        ("9" * 400, None),
        ("99999999999", LONGEST_WAIT),
        ("7, 8", None),
        ("\x00", None),
    ],
)
def test_retry_after_is_seconds_a_date_or_nothing(header: Any, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_is_negative_endless_or_an_error(header: str) -> None:
    wait = retry_after(header, NOW)
    assert wait is None or 0 <= wait <= LONGEST_WAIT


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"", "nothing"),
        (b'{"message": "too many\\n calls"}', "too many calls"),
        (b'{"error": {"message": "no key"}}', "no key"),
        (b'{"detail": "\\u001b[31mred"}', "\\x1b[31mred"),
        (
            b"<html><head><title>502 Bad&nbsp;Gateway</title></head><body>x</body>",
            "502 Bad Gateway",
        ),
        (b"<p>down <script>alert(1)</script> for now", "down for now"),
        (b"[1, 2]", "[1, 2]"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"x" * 5_000, "x" * 299 + "…"),
    ],
)
def test_what_an_answer_says_is_one_short_line(body: bytes, line: str) -> None:
    assert said(body) == line


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_body_can_be_read(body: bytes | str) -> None:
    assert "\n" not in said(body)
    found = json_object(body)
    assert found is None or isinstance(found, dict)


# clients -----------------------------------------------------------------------------------------
HTML = "<!doctype html><title>Proxy</title><h1>Log in</h1>"
JSON = "application/json"
ANSWERS: dict[str, tuple[int, dict[str, str], str | bytes]] = {
    "an empty body": (200, {"content-type": JSON}, ""),
    "a page": (200, {"content-type": "text/html"}, HTML),
    "a page that says it is JSON": (200, {"content-type": JSON}, HTML),
    "JSON of no kind": (200, {"content-type": JSON}, "null"),
    "a list": (200, {"content-type": JSON}, "[]"),
    "a number": (200, {"content-type": JSON}, "7"),
    "yes, and nothing else": (200, {"content-type": JSON}, '{"ok": true, "ready": "true"}'),
    "unknown members": (
        200,
        {"content-type": JSON},
        json.dumps({"ok": True, "ts": 7, "messages": {"a": 1}, "files": None, "keys": 3,
                    "value": {}, "checks": "none", "statusCode": "200", "id_token": []}),
    ),
    "a no without a reason": (200, {"content-type": JSON}, '{"ok": false, "error": {"a": 1}}'),
    "JSON too deep": (200, {"content-type": JSON}, DEEP),
    "half of a JSON": (200, {"content-type": JSON}, '{"ok": true, "ts": "17'),
    "an unknown charset": (200, {"content-type": "application/json; charset=klingon"}, "{}"),
    "bytes of no charset": (200, {"content-type": "text/plain; charset=utf-8"}, b"\xff\xfe{}"),
    "a packed body": (200, {"content-type": "application/gzip"}, b"\x1f\x8b\x00"),
    "an encoding that is none": (200, {"content-encoding": "gzip"}, b"not gzip"),
    "nothing to say": (204, {}, ""),
    "elsewhere": (302, {"location": "http://[::1"}, ""),
    "a refusal as a page": (403, {"content-type": "text/html"}, HTML),
    "a failure as a page": (500, {"content-type": "text/html"}, HTML),
    "a failure of no number": (599, {}, b"\xff"),
    **{
        f"429 and {name}": (429, {"retry-after": header, "content-type": "text/html"}, HTML)
        for name, header in {
            "a date": format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True),
            "a far date": format_datetime(datetime.now(UTC) + timedelta(days=900), usegmt=True),
            "half a second": "0.01",
            "garbage": "soon",
            "a negative number": "-5",
            "a huge number": "9" * 30,
            "nothing": "",
        }.items()
    },
    "503 and garbage": (503, {"retry-after": "tomorrow"}, HTML),
}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    """Gives every request `answer`, whatever is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            status, headers, body = self.server.answer  # type: ignore[attr-defined]
            content = body.encode() if isinstance(body, str) else body
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("content-length", str(len(content)))
            self.end_headers()
            if status != 204:
                self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def slack_says(url: str, folder: Path) -> str:
    outside = {"slack_token": SecretStr("xoxb-1"), "slack_base_url": f"{url}/api/"}
    settings = load(sandbox=True, overrides=outside)
    page = folder / "report.html"
    page.write_text("<p>report</p>")
    message = Message("r", "1", "C_REPORTS", "text", files=((page, "Report"),))
    found = deliver(slack.build_client(settings, timeout=5, pause=0), folder / "outbox", message)
    assert found.state == "kept"
    return str(found.reason)


def ihc_says(url: str, folder: Path) -> str:
    table = journeys([1])
    config = IhcConfig(
        url, SecretStr("key"), "type", attempts=2, pause=0.001, patience=0.05, timeout=5
    )
    with AnswerStore(folder / "ihc") as store:
        found = compute(table, config, store)
    assert found.credits.num_rows == 0
    return found.failed["c0000"]


def issuer_says(url: str, _: Path) -> str:
    issuer = Issuer(url, "client", SecretStr("secret"))
    begun = Begun(state="s", nonce="n", verifier="v" * 50, redirect_uri="http://127.0.0.1/back")
    with pytest.raises((IssuerDownError, RefusedError)) as told:
        asyncio.run(issuer.begin("http://127.0.0.1/back"))
    with pytest.raises((IssuerDownError, RefusedError)):
        asyncio.run(issuer.verified_email(begun, "code"))
    return str(told.value)


def health_says(url: str, _: Path) -> str:
    found = readiness.ask(f"{url}/health/ready")
    assert not found.ready
    return found.cause


CLIENTS: dict[str, Callable[[str, Path], str]] = {
    "slack": slack_says,
    "ihc": ihc_says,
    "issuer": issuer_says,
    "health": health_says,
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("answer", ANSWERS)
def test_no_answer_escapes_a_client_that_promises_not_to_raise(
    client: str,
    answer: str,
    server: ThreadingHTTPServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(slack, "WAIT", 0.001)
    server.answer = ANSWERS[answer]  # type: ignore[attr-defined]
    told = CLIENTS[client](f"http://127.0.0.1:{server.server_port}", tmp_path)
    assert told.strip() and told.isprintable() and len(told) < 700


METADATA = {
    "issuer": "{url}", "authorization_endpoint": "{url}/a", "token_endpoint": "{url}/t",
    "jwks_uri": "{url}/k",
}  # fmt: skip


@pytest.mark.parametrize("name", [*METADATA, "token_endpoint_auth_methods_supported"])
@pytest.mark.parametrize(
    "value", ["http://[::1", "https://\x00/", "", None, 7, [], "//", "https://a:b:c/", "{url}/\n"]
)
def test_an_issuer_that_names_no_addresses_is_one_that_is_down(
    name: str, value: Any, server: ThreadingHTTPServer
) -> None:
    url = f"http://127.0.0.1:{server.server_port}"
    shown = {key: text.replace("{url}", url) for key, text in METADATA.items()}
    shown[name] = value.replace("{url}", url) if isinstance(value, str) else value
    server.answer = (200, {"content-type": JSON}, json.dumps(shown))  # type: ignore[attr-defined]
    begun = Begun(state="s", nonce="n", verifier="v" * 50, redirect_uri="http://127.0.0.1/back")
    with pytest.raises((IssuerDownError, RefusedError)):
        asyncio.run(Issuer(url, "client", None).verified_email(begun, "code"))
