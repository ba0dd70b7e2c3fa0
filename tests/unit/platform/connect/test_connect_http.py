"""The HTTP client of all connectors over real HTTP: what it repeats, bounds, follows and hides."""

import gzip
import logging
import socket
import socketserver
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmp_assets.platform.connect.answer import BrokenError, HttpAnswer, TooMuchError, bounded
from dmp_assets.platform.connect.errors import (
    AddressError,
    ConnectError,
    NoAnswerError,
    PagingError,
    StatusError,
    ThrottledError,
    TooLargeError,
    TryAgainError,
    UnreadableAnswerError,
)
from dmp_assets.platform.connect.http import HttpClient, HttpService, Patience
from dmp_assets.platform.connect.paging import by_cursor, by_link

SECRET = "hunter2-in-a-request"
QUICK = Patience(attempts=4, pause=0.001, longest_pause=0.01, total=5)
Act = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A real HTTP server whose answers a test writes, one after the other; the last one stays."""

    def __init__(self, *acts: Act) -> None:
        self.acts = list(acts)
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                outer.asked.append((self.command, self.path, dict(self.headers), body))
                act = outer.acts.pop(0) if len(outer.acts) > 1 else outer.acts[0]
                act(self)

            do_GET = do_POST = do_PUT = do_HEAD = handle_any

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/base"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def says(status: int, body: bytes = b"{}", **headers: str) -> Act:
    def act(to: BaseHTTPRequestHandler) -> None:
        to.send_response(status)
        for name, value in headers.items():
            to.send_header(name.replace("_", "-"), value)
        to.send_header("content-length", str(len(body)))
        to.end_headers()
        to.wfile.write(body)

    return act


def breaks(to: BaseHTTPRequestHandler) -> None:
    """The connection ends in the middle of the answer."""
    to.send_response(200)
    to.send_header("content-length", "1000")
    to.end_headers()
    to.wfile.write(b'{"half"')
    to.close_connection = True


def hangs(to: BaseHTTPRequestHandler) -> None:
    time.sleep(0.6)
    to.close_connection = True


@contextmanager
def serving(*acts: Act, **service: Any) -> Iterator[tuple[Server, HttpClient]]:
    server = Server(*acts)
    named = {"url": server.url, "patience": QUICK, "timeout": 0.3} | service
    try:
        with HttpClient(HttpService(**named)) as client:
            yield server, client
    finally:
        server.close()


# trying again ------------------------------------------------------------------------------------
@pytest.mark.parametrize("fault", [says(429), says(500), says(503), says(408), breaks, hangs])
@pytest.mark.parametrize("times", [1, 3])
def test_a_reading_request_is_repeated_until_it_is_answered(fault: Act, times: int) -> None:
    with serving(*[fault] * times, says(200, b'{"ok": 1}')) as (server, client):
        assert client.get("x").checked().object() == {"ok": 1}
        assert len(server.asked) == times + 1


@pytest.mark.parametrize("fault", [says(500), says(503), says(408), breaks, hangs])
def test_what_may_have_been_done_is_not_done_twice(fault: Act) -> None:
    with serving(fault, says(200)) as (server, client):
        with pytest.raises((NoAnswerError, StatusError)) as error:
            client.post("x", json={}).checked()
        assert getattr(error.value, "is_unknown", True)
        assert len(server.asked) == 1
        server.acts[:] = [fault, says(201)]
        assert client.post("x", json={}, repeatable=True).status == 201
        assert len(server.asked) == 3


def test_what_was_surely_not_done_is_asked_again_whatever_the_method() -> None:
    with serving(says(429), says(429), says(201)) as (server, client):
        assert client.post("x", json={"a": 1}).status == 201
        assert [body for *_, body in server.asked] == [b'{"a":1}'] * 3


def test_a_connection_that_is_refused_is_tried_again_and_named_in_the_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    tries: list[int] = []
    service = HttpService(url=f"http://127.0.0.1:{port}", patience=QUICK)
    with HttpClient(service) as client, pytest.raises(NoAnswerError) as error:
        client.post("x", content=b"", before=lambda: tries.append(1))
    assert len(tries) == QUICK.attempts
    assert not error.value.is_unknown and error.value.kind == "ConnectError"


def test_an_answer_that_stays_bad_is_given_back_and_its_status_can_be_asked() -> None:
    with serving(says(503)) as (server, client):
        answer = client.get("x")
        assert answer.status == 503 and len(server.asked) == QUICK.attempts
        with pytest.raises(StatusError, match="503"):
            answer.checked()


def test_a_late_answer_that_explains_itself_is_read_and_not_just_repeated() -> None:
    def read(answer: HttpAnswer) -> int:
        if answer.status == 500:
            raise StatusError("too much was asked for", 500)
        return answer.status

    def explains(answer: HttpAnswer) -> bool:
        return answer.body.startswith(b"{")

    with serving(says(500, b'{"why": 1}'), explains=explains) as (server, client):
        with pytest.raises(StatusError, match="too much"):
            client.send("GET", "x", read=read)
        assert len(server.asked) == 1
        server.acts[:] = [says(500, b"<html>"), says(200)]
        assert client.send("GET", "x", read=read) == 200
        assert len(server.asked) == 3


class Renewed:
    """Credentials of which the first are refused."""

    def __init__(self) -> None:
        self.number = 1

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.number}"}

    def renew(self, refused: Mapping[str, str]) -> bool:
        self.number += 1
        return True


def test_the_proof_goes_with_the_credentials_that_it_proves() -> None:
    def proof(headers: Mapping[str, str]) -> dict[str, str]:
        return {"proof": headers["Authorization"][-1] * 3}

    with serving(says(401), says(200), credentials=Renewed(), proof=proof) as (server, client):
        assert client.get("x", params={"a": 1}).is_success
        assert client.post("x", json={}).is_success
    asked = [(path.partition("?")[2], headers["Authorization"]) for _, path, headers, _ in
             server.asked]  # fmt: skip
    assert asked == [
        ("a=1&proof=111", "Bearer 1"), ("a=1&proof=222", "Bearer 2"), ("proof=222", "Bearer 2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "header", [lambda: "1", lambda: formatdate(time.time() + 2, usegmt=True)], ids=["s", "date"]
)
def test_a_wait_that_is_asked_for_is_waited_for(header: Callable[[], str]) -> None:
    with serving(lambda to: says(429, retry_after=header())(to), says(200)) as (_, client):
        began = time.monotonic()
        assert client.get("x").is_success
        assert 0.9 < time.monotonic() - began < 4


@pytest.mark.parametrize("header", ["3600", formatdate(4_000_000_000, usegmt=True)])
def test_a_wait_beyond_our_patience_is_not_begun(header: str) -> None:
    with serving(says(429, retry_after=header), says(200)) as (server, client):
        began = time.monotonic()
        assert client.get("x").status == 429
        assert time.monotonic() - began < 1 and len(server.asked) == 1


def test_waiting_ends_when_it_is_told_to() -> None:
    stop = threading.Event()
    with serving(says(429, retry_after="4"), says(200)) as (_, client):
        threading.Timer(0.2, stop.set).start()
        began = time.monotonic()
        assert client.get("x", stop=stop).status == 429
        assert time.monotonic() - began < 2


def test_a_throttle_that_looks_like_success_is_waited_for() -> None:
    def throttled(answer: HttpAnswer) -> float | None:
        return 0.01 if b"THROTTLED" in answer.body else None

    acts = says(200, b'{"e": "THROTTLED"}'), says(400, b'{"e": "THROTTLED"}'), says(200, b"[1]")
    with serving(*acts, throttled=throttled) as (server, client):
        assert client.post("x", json={}).json() == [1]
        assert len(server.asked) == 3


def test_a_throttle_that_lasts_is_an_error_and_never_taken_for_the_answer() -> None:
    with serving(says(200, b"[]"), throttled=lambda _: 3600.0) as (server, client):
        with pytest.raises(ThrottledError) as error:
            client.get("x")
        assert error.value.seconds == 3600 and len(server.asked) == 1
    with serving(says(200, b"[]"), throttled=lambda _: 0.0) as (server, client):
        with pytest.raises(ThrottledError):
            client.get("x")
        assert len(server.asked) == QUICK.attempts


def test_a_budget_that_is_used_up_holds_the_next_request_back() -> None:
    def pace(answer: HttpAnswer) -> float | None:
        return float(answer.headers.get("x-budget", 0))

    with serving(says(200, x_budget="0.4"), says(200, x_budget="600"), pace=pace) as (
        server,
        client,
    ):
        client.get("x")
        began = time.monotonic()
        client.get("x")
        assert time.monotonic() - began > 0.3
        with pytest.raises(ThrottledError) as error:
            client.get("x")
        assert error.value.seconds > 500 and len(server.asked) == 2


@pytest.mark.parametrize(("is_undone", "tries"), [(True, QUICK.attempts), (False, 1)])
def test_who_reads_an_answer_may_ask_for_another_try(is_undone: bool, tries: int) -> None:
    def read(answer: HttpAnswer) -> int:
        raise TryAgainError("half of it", is_undone=is_undone)

    with serving(says(200)) as (server, client):
        with pytest.raises(TryAgainError, match="half of it"):
            client.post("x", read=read)
        assert len(server.asked) == tries


# credentials -------------------------------------------------------------------------------------
class Keys:
    """Credentials that are renewed once."""

    def __init__(self) -> None:
        self.key, self.renewed = "old", 0

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def renew(self, refused: Any) -> bool:
        assert refused == {"Authorization": "Bearer old"}
        self.key, self.renewed = "new", self.renewed + 1
        return True


@pytest.mark.parametrize("stays", [True, False])
def test_refused_credentials_are_renewed_once_and_no_more(stays: bool) -> None:
    keys = Keys()
    with serving(says(401), says(401 if stays else 200), credentials=keys) as (server, client):
        assert client.post("x", json={}).status == (401 if stays else 200)
        assert keys.renewed == 1
        sent = [headers["Authorization"] for _, _, headers, _ in server.asked]
        assert sent == ["Bearer old", "Bearer new"]


# bounds ------------------------------------------------------------------------------------------
def endless(to: BaseHTTPRequestHandler) -> None:
    to.send_response(200)
    to.send_header("connection", "close")
    to.end_headers()
    to.close_connection = True
    try:
        while True:
            to.wfile.write(b"x" * 10_000)
    except OSError:
        pass


@pytest.mark.parametrize(
    "act",
    [
        says(200, b"x" * 20_001),
        says(200, gzip.compress(b"x" * 50_000_000), content_encoding="gzip"),
        says(200, zlib.compress(b"x" * 20_001), content_encoding="deflate"),
        endless,
    ],
)
def test_an_answer_beyond_the_bound_is_refused_and_not_repeated(act: Act) -> None:
    with serving(act, limit=20_000) as (server, client):
        with pytest.raises(TooLargeError, match="larger than 20,000 bytes"):
            client.get("x")
        assert len(server.asked) == 1


def drips(to: BaseHTTPRequestHandler) -> None:
    to.send_response(200)
    to.send_header("content-length", "1000")
    to.end_headers()
    try:
        for _ in range(30):
            to.wfile.write(b"x")
            time.sleep(0.05)
    except OSError:
        pass
    to.close_connection = True


def test_an_answer_that_drips_in_is_given_up() -> None:
    once = Patience(attempts=1)
    with serving(drips, slowest=0.3, patience=once) as (_, client):
        began = time.monotonic()
        with pytest.raises(NoAnswerError):
            client.get("x")
        assert time.monotonic() - began < 1.2


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "zstd"])
def test_a_compression_that_was_not_asked_for_is_no_answer(encoding: str) -> None:
    body = gzip.compress(gzip.compress(b"{}"))
    with (
        serving(says(200, body, content_encoding=encoding)) as (_, client),
        pytest.raises(NoAnswerError),
    ):
        client.get("x")


@given(
    content=st.binary(max_size=5_000),
    wbits=st.sampled_from([None, 15, 31]),
    size=st.integers(1, 700),
    limit=st.integers(0, 5_000),
)
def test_what_is_read_is_what_was_sent_or_too_much(
    content: bytes, wbits: int | None, size: int, limit: int
) -> None:
    raw, encoding = content, ""
    if wbits is not None:
        pack = zlib.compressobj(wbits=wbits)
        raw, encoding = pack.compress(content) + pack.flush(), "gzip" if wbits == 31 else "deflate"
    pieces = [raw[start : start + size] for start in range(0, len(raw), size)]
    if len(content) > limit:
        with pytest.raises(TooMuchError):
            bounded(pieces, encoding, limit)
    else:
        assert bounded(pieces, encoding, limit) == content


@settings(max_examples=50)
@given(content=st.binary(min_size=1, max_size=2_000), data=st.data())
def test_a_compressed_answer_that_is_cut_off_is_never_taken_for_whole(
    content: bytes, data: st.DataObject
) -> None:
    raw = gzip.compress(content)
    end = data.draw(st.integers(1, len(raw) - 1))
    with pytest.raises(BrokenError):
        bounded([raw[:end]], "gzip", 10_000)


# addresses and redirects -------------------------------------------------------------------------
@pytest.mark.parametrize(
    "url",
    ["http://api.example.com", "ftp://127.0.0.1", "https://", "https://a:b@api.example.com",
     "https://[::1", "127.0.0.1:80"],
)  # fmt: skip
def test_an_address_that_nothing_may_be_sent_to_is_refused(url: str) -> None:
    with pytest.raises(AddressError) as error:
        HttpService(url=url)
    assert "a:b" not in str(error.value)


def test_a_sandbox_reaches_this_machine_only() -> None:
    HttpService(url="http://127.0.0.1:1", loopback_only=True)
    with pytest.raises(AddressError, match=r"a sandbox home does not reach api\.example\.com"):
        HttpService(url="https://api.example.com", loopback_only=True)


def test_a_redirect_within_the_origin_is_followed_by_reading_requests_only() -> None:
    moved = says(302, location="/other?after=1")
    with serving(moved, says(200, b"[2]")) as (server, client):
        assert client.get("x", params={"q": SECRET}).json() == [2]
        assert server.asked[1][1] == "/other?after=1"
        server.acts[:] = [moved, says(200)]
        with pytest.raises(StatusError, match="a redirect"):
            client.post("x", json={})
        assert len(server.asked) == 3


def test_a_redirect_to_another_host_is_refused_and_gets_nothing() -> None:
    with serving(says(200)) as (other, _), serving(says(200)) as (server, client):
        for location in (
            other.url, other.url.replace("127.0.0.1", "localhost"), "//evil.example/x",
            "https://127.0.0.1/",
        ):  # fmt: skip
            server.acts[:] = [says(302, location=location)]
            with pytest.raises(AddressError, match="not followed"):
                client.get("x", headers={"Authorization": SECRET})
        server.acts[:] = [says(302, location="http://[::1")]
        with pytest.raises(ConnectError):
            client.get("x")
        assert not other.asked


def test_redirects_that_go_round_end() -> None:
    with serving(says(302, location="/x")) as (_, client), pytest.raises(StatusError, match="end"):
        client.get("x")


def test_an_address_of_another_origin_is_not_asked() -> None:
    with serving(says(200)) as (other, _), serving(says(200)) as (_, client):
        with pytest.raises(AddressError, match="another host"):
            client.get(other.url)
        with pytest.raises(AddressError, match="another host"):
            client.get("//evil.example/x")
        assert not other.asked


class Proxy(socketserver.BaseRequestHandler):
    """Notes that it was asked."""

    seen: list[bytes]

    def handle(self) -> None:
        self.seen.append(self.request.recv(1000))
        self.request.sendall(b"HTTP/1.1 502 no\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


def test_the_proxy_of_the_environment_is_used_but_not_within_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind: Any = type("Seen", (Proxy,), {"seen": []})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), kind) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_address[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with serving(says(200)) as (_, client):
            assert client.get("x").is_success
        assert kind.seen == []
        outside = HttpService(url="https://api.example.invalid", patience=Patience(attempts=1))
        with HttpClient(outside) as client, pytest.raises(NoAnswerError) as error:
            client.post("x")
        assert not error.value.is_unknown
        assert kind.seen[0].startswith(b"CONNECT api.example.invalid:443")
        proxy.shutdown()


# silence -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "act",
    [says(200, SECRET.encode()), says(500, SECRET.encode()), breaks, hangs, says(302, location="/"),
     says(200, f'{{"a": "{SECRET}'.encode()), says(200, b"x" * 200)],
)  # fmt: skip
def test_no_secret_is_in_an_error_a_log_or_a_representation(
    act: Act, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    once = Patience(attempts=1)
    told = []
    with serving(act, patience=once, limit=100, headers={"X-Key": SECRET}) as (server, client):
        told.append(repr(client.service))
        try:
            answer = client.post(
                "x", params={"token": SECRET}, headers={"Cookie": SECRET}, form={"secret": SECRET}
            )
            told.append(repr(answer))
            answer.checked().json()
        except ConnectError as error:
            told += [str(error), repr(error), error.kind, repr(error.__cause__)]
        assert SECRET in server.asked[0][1]
    told += [record.getMessage() for record in caplog.records]
    assert len(told) > 1 and SECRET not in "".join(told)


def test_a_header_that_none_can_carry_is_refused_unquoted() -> None:
    with serving(says(200)) as (_, client), pytest.raises(AddressError) as error:
        client.get("x", headers={"X-Key": f"{SECRET}\n"})
    assert SECRET not in str(error.value)


# JSON --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is empty"),
        (b"<!doctype html><title>Sorry</title>", "is a page, not JSON"),
        (b'{"data": [{"id": "1"}, {"id', "ends half-way"),
        (b'{"data": [1, 2', "ends half-way"),
        (b"nonsense", "is not JSON"),
        (b'{"a": NaN}', "is not JSON"),
        (b"[" * 100_000, "nobody can read"),
        (b"\xff\xfe{", "is not JSON"),
        (b"[1]", "but no object"),
    ],
)
def test_an_answer_that_is_no_json_says_what_it_is(body: bytes, said: str) -> None:
    with serving(says(200, body)) as (_, client), pytest.raises(UnreadableAnswerError, match=said):
        client.get("x").object()


def test_money_can_be_read_exactly() -> None:
    with serving(says(200, b'{"a": 0.1}')) as (_, client):
        assert client.get("x").object(parse_float=Decimal) == {"a": Decimal("0.1")}


# paging ------------------------------------------------------------------------------------------
@given(st.lists(st.integers(), max_size=30), st.integers(1, 7))
def test_every_row_comes_once_whatever_the_pages(rows: list[int], size: int) -> None:
    def page_at(cursor: str | None) -> dict[str, Any]:
        first = int(cursor or 0)
        after = str(first + size) if first + size < len(rows) else None
        return {"rows": rows[first : first + size], "after": after}

    pages = by_cursor(page_at, lambda page: page["after"])
    assert [row for page in pages for row in page["rows"]] == rows


@pytest.mark.parametrize("cursors", [["a", "a"], ["a", "b", "a"], ["a", "b", "b"]])
def test_a_list_that_goes_round_ends_with_an_error(cursors: list[str]) -> None:
    given_ = iter([*cursors, None])
    with pytest.raises(PagingError, match="same cursor twice"):
        list(by_cursor(lambda cursor: cursor, lambda page: next(given_)))


def test_a_list_without_end_ends_with_an_error() -> None:
    with pytest.raises(PagingError, match="more than 50 pages"):
        list(by_cursor(lambda cursor: int(cursor or 0), lambda page: str(page + 1), most=50))


def test_links_are_followed_within_the_origin_with_the_same_headers() -> None:
    acts = (
        says(200, b"[1]", link='</base/x?page=2>; rel="next", </base/x?page=9>; rel="last"'),
        says(200, b"[2]"),
    )
    with serving(*acts) as (server, client):
        pages = by_link(client, "x", params={"q": "1"}, headers={"X-Key": "k"})
        assert [answer.json() for answer in pages] == [[1], [2]]
        assert [path for _, path, _, _ in server.asked] == ["/base/x?q=1", "/base/x?page=2"]
        assert all(headers["X-Key"] == "k" for _, _, headers, _ in server.asked)
        server.acts[:] = [says(200, link='<https://evil.example/>; rel="next"')]
        with pytest.raises(AddressError):
            list(by_link(client, "x"))
        server.acts[:] = [says(200, link='</base/x>; rel="next"')]
        with pytest.raises(PagingError):
            list(by_link(client, "x"))
        server.acts[:] = [says(403)]
        with pytest.raises(StatusError):
            list(by_link(client, "x"))


def test_only_the_compression_that_can_be_bounded_is_asked_for() -> None:
    with serving(says(200)) as (server, client):
        client.get("x")
        assert httpx.Headers(server.asked[0][2])["accept-encoding"] == "gzip"
