"""What one caller can take of the service: bodies, heads, connections, logins, the audit log."""

import asyncio
import gzip
import json
import re
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from dmp_assets.home import Home
from dmp_assets.platform.api import connections, tending
from dmp_assets.platform.api.access import COOKIE
from dmp_assets.platform.api.app import api_routes
from dmp_assets.platform.api.attempts import BROWSER_COOKIE
from dmp_assets.platform.api.denials import MOST_KINDS, WINDOW, Denial, Denials
from dmp_assets.platform.api.hosts import Hosts
from dmp_assets.platform.api.middleware import MAX_BODY
from dmp_assets.platform.api.problems import MOST_ERRORS
from dmp_assets.platform.api.routes.pages import here
from dmp_assets.platform.base.addresses import source_of
from dmp_assets.platform.store.schema import audit_event
from dmp_assets.settings import Settings
from tests.support.postgres import stoppable_server
from tests.support.service import PASSWORD, Api, email, running_api, served
from tests.support.tls import certificate

SCORE = "/v1/abuse/score"
HTML = {"Accept": "text/html"}


def events(api: Api) -> list[sa.Row]:
    with api.store.connect() as store:
        return list(store.execute(sa.select(audit_event).order_by(audit_event.c.event_id)))


# bodies ------------------------------------------------------------------------------------------
def test_a_body_with_a_hundred_thousand_unknown_fields_is_told_of_its_first_errors(
    api: Api,
) -> None:
    unknown = {f"f{n}": 1 for n in range(80_000)}
    bodies = {
        "account": {"accounts": [{"account_ref": "a"} | unknown]},
        "request": {"accounts": [{"account_ref": "a"}]} | unknown,
        "many": {"accounts": [{"account_ref": f"a{n}", "mail": "x"} for n in range(1_000)]},
    }
    with api.as_role("risk") as client:
        for said, body in bodies.items():
            answer = client.post(SCORE, json=body)
            assert answer.status_code == 422
            told = answer.json()
            assert len(told["errors"]) == MOST_ERRORS, said
            total = 1_000 if said == "many" else 80_000
            assert told["more_errors"] == total - MOST_ERRORS
            assert "extra inputs are not permitted" in told["detail"]
            assert len(answer.content) < 10_000
        long = client.post(SCORE, json={"accounts": [{"x" * 500_000: 1}]})
        assert long.status_code == 422 and len(long.content) < 3_000


def test_a_packed_body_is_taken_within_the_same_bound(api: Api) -> None:
    body = json.dumps({"accounts": [{"account_ref": "packed"}], "dry_run": True}).encode()
    json_ = {"Content-Type": "application/json"}

    def send(content: bytes, encoding: str = "gzip") -> httpx.Response:
        headers = json_ | {"Content-Encoding": encoding}
        return client.post(SCORE, content=content, headers=headers)

    with api.as_role("risk") as client:
        assert send(gzip.compress(body)).status_code == 200
        assert send(gzip.compress(body[:20]) + gzip.compress(body[20:])).status_code == 200
        assert send(body, "identity").status_code == 200
        bomb = send(gzip.compress(b" " * (50 * MAX_BODY)))
        other = send(body, "br")
        assert send(gzip.compress(b"", 1) * 50_000).status_code == 413  # each moved all the rest
        half = send(gzip.compress(body)[:-9])
        none = send(body)
    assert bomb.status_code == 413 and "1,048,576" in bomb.json()["detail"]
    assert other.status_code == 415 and other.headers["accept-encoding"] == "gzip"
    assert half.status_code == none.status_code == 422
    assert "gzip" in half.json()["detail"] and "gzip" in none.json()["detail"]


def test_an_id_is_trimmed_as_those_in_tables_are(api: Api) -> None:
    accounts = [{"account_ref": "\ufeff  10\u200b03.0\t "}, {"account_ref": " \u200b "}]
    with api.as_role("risk") as client:
        first = client.post(SCORE, json={"accounts": accounts[:1], "dry_run": True})
        empty = client.post(SCORE, json={"accounts": accounts[1:], "dry_run": True})
    assert first.json()["results"][0]["account_ref"] == "1003"
    assert empty.status_code == 422
    assert "body.accounts.0.account_ref" in empty.json()["detail"]


# connections -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A certificate for localhost and its key."""
    files = certificate(tmp_path_factory.mktemp("tls"))
    return dict(zip(("ssl_certfile", "ssl_keyfile"), files, strict=True))


@pytest.fixture(params=["plain", "tls"])
def address(
    api: Api, tls: dict[str, Path], request: pytest.FixtureRequest
) -> Iterator[tuple[str, int, ssl.SSLContext | None]]:
    """The service by itself and over TLS of its own; served as `dmp api` does."""
    options = tls if request.param == "tls" else {}
    with served(api.app, **options) as url:
        context = ssl.create_default_context(cafile=str(tls["ssl_certfile"]))
        yield "127.0.0.1", int(url.rsplit(":")[-1]), context if options else None


def connect(address: tuple[str, int, ssl.SSLContext | None]) -> socket.socket:
    host, port, context = address
    raw = socket.create_connection((host, port), timeout=20)
    return context.wrap_socket(raw, server_hostname=host) if context else raw


def ask(address: tuple[str, int, ssl.SSLContext | None]) -> bytes:
    with connect(address) as one:
        one.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return one.recv(200)


def test_a_head_has_a_bound(address: tuple[str, int, ssl.SSLContext | None]) -> None:
    with connect(address) as one:
        one.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        sent, said = 0, b""
        with suppress(OSError):
            while sent < 120_000_000:
                one.sendall(b"x" * 262_144)
                sent += 262_144
        with suppress(OSError):
            said = one.recv(200)
    with connect(address) as whole:  # in one piece: the parser has it before it can be counted
        fields = b"".join(b"X-%d: %s\r\n" % (n, b"y" * 90) for n in range(700))
        whole.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n" + fields + b"\r\n")
        assert whole.recv(200).startswith(b"HTTP/1.1 431")
    assert sent < 20_000_000
    assert said == b"" or said.startswith(b"HTTP/1.1 431")
    assert b" 200 " in ask(address)


def test_connections_that_say_nothing_make_room_and_end(
    address: tuple[str, int, ssl.SSLContext | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 40)
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    with ExitStack() as held:
        idle = [held.enter_context(connect(address)) for _ in range(60)]
        for one in idle[::2]:
            with suppress(OSError):
                one.sendall(b"GET / HTTP/1.1\r\nHost: loc")  # begun, and never ended
        assert b" 200 " in ask(address)
        for one in idle:
            one.settimeout(20)
            with suppress(ConnectionError):
                assert one.recv(100) == b""
    assert b" 200 " in ask(address)


def test_a_tls_handshake_that_is_not_ended_is_given_up(
    api: Api, tls: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE_SECONDS", 0.5)
    with served(api.app, **tls) as url:
        port = int(url.rsplit(":")[-1])
        with ExitStack() as held:
            half = [
                held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
                for _ in range(50)
            ]
            for one in half:
                one.sendall(b"\x16\x03\x01")
            for one in half:
                with suppress(ConnectionError):
                    assert one.recv(100) == b""


def test_the_loop_is_one_that_bounds_handshakes() -> None:
    loop = connections.new_loop()
    try:
        assert loop.run_until_complete(asyncio.sleep(0, "runs")) == "runs"
    finally:
        loop.close()


# headers of every route --------------------------------------------------------------------------
@pytest.mark.parametrize("role", [None, "admin"])
def test_every_route_forbids_foreign_scripts_and_frames(api: Api, role: str | None) -> None:
    with ExitStack() as stack:
        client = stack.enter_context(api.logged_in(role) if role else api.client())
        for route in api_routes():
            for method in sorted((route.methods or set()) - {"HEAD"}):
                path = re.sub(r"\{[^}]+\}", "x", route.path_format)
                answer = client.request(method, path, headers=HTML)
                policy = answer.headers["content-security-policy"]
                where = f"{method} {path}: {answer.status_code} {policy}"
                assert answer.status_code < 500, where
                assert "default-src 'none'" in policy or policy.startswith("sandbox"), where
                assert "'unsafe-eval'" not in policy, where
                assert answer.headers["x-content-type-options"] == "nosniff", where
                assert "frame-ancestors 'none'" in policy or (
                    answer.headers["x-frame-options"] == "DENY"
                ), where


# hosts and origins -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("localhost:8000", 200), ("[::1]:1", 200), ("evil.example", 421),
        ("127.0.0.1.evil.example", 421), ("[::1", 421), ("10.0.0.1", 421),
    ],
)  # fmt: skip
def test_a_host_that_is_not_ours_gets_no_answer(api: Api, host: str, status: int) -> None:
    with api.client() as client:
        assert client.get("/health/live", headers={"Host": host}).status_code == status
        assert "location" not in client.get("/review/", headers={"Host": host}).headers


def test_beyond_loopback_the_settings_name_the_hosts() -> None:
    def hosts(**more: object) -> Hosts:
        return Hosts.of(Settings(api_host="0.0.0.0", **more))

    assert hosts().serve("anything.example")
    named = hosts(api_hosts=["Api.shop.example"])
    assert named.serve("api.shop.example:443") and named.serve("localhost")
    assert not named.serve("evil.example")


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://{host}", 401), ("https://{host}", 403), ("http://evil.example", 403),
        ("null", 403), ("http://[", 403), ("", 401),
    ],
)  # fmt: skip
def test_a_form_comes_from_the_same_scheme_host_and_port(
    api: Api, origin: str, status: int
) -> None:
    host = api.url.removeprefix("http://")
    headers = {"Origin": origin.format(host=host)} if origin else {}
    with api.client() as client:
        answer = client.post("/login", data={"email": "x@y.z", "password": "no"}, headers=headers)
    assert answer.status_code == status


# where a browser is led --------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["/", "/review?why=block", "/reports/promo_abuse.html"])
def test_a_browser_without_a_session_logs_in_and_comes_back(api: Api, path: str) -> None:
    form = {"email": email("risk"), "password": PASSWORD}
    with api.client() as client:
        led = client.get(path, headers=HTML)
        assert led.status_code == 303, led.text
        shown = client.get(led.headers["location"], headers=HTML).text
        then = shown.split('name="next" value="')[1].split('"')[0]
        back = client.post("/login", data=form | {"next": then})
        assert back.headers["location"] == path
        assert client.get(path, headers=HTML).status_code == 200


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb", "", "/login"]
)
def test_a_login_leads_nowhere_else(api: Api, path: str) -> None:
    assert here(path) == "/"
    form = {"email": email("risk"), "password": PASSWORD, "next": path}
    with api.client() as client:
        assert client.post("/login", data=form).headers["location"] == "/"


# logins ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("2002:cb00:7109::1", "203.0.113.9"),
        ("127.9.8.7", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.2", "loopback"),
        ("unknown", "unknown"),
    ],
)
def test_addresses_that_one_caller_can_choose_among_are_one_source(
    address: str, source: str
) -> None:
    assert source_of(address) == source


def test_forty_logins_at_once_leave_the_service_to_others(api: Api) -> None:
    form = {"email": email("risk"), "password": "a wrong password"}
    with api.client(timeout=60) as client, api.as_role("analyst") as other:
        assert other.get("/v1/promo/usage").status_code == 200
        with ThreadPoolExecutor(40) as pool:
            people = [form | {"email": f"p{n}@shop.example"} for n in range(40)]
            waiting = [pool.submit(client.post, "/login", data=one) for one in people]
            meanwhile = [other.get("/v1/promo/usage").status_code for _ in range(20)]
            answers = [one.result() for one in waiting]
    assert meanwhile == [200] * 20
    assert {answer.status_code for answer in answers} == {401, 429}
    assert all(a.headers["retry-after"] for a in answers if a.status_code == 429)


def test_nobody_is_locked_out_by_others(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five wrong ones hold back the person at that source: not elsewhere, nor in a known browser,
    nor anybody else there."""
    where = {"from": "198.51.100.1"}
    monkeypatch.setattr(
        "dmp_assets.platform.api.attempts.caller_address", lambda request: source_of(where["from"])
    )
    right = {"email": email("risk"), "password": PASSWORD}
    wrong = right | {"password": "a wrong password"}
    with api.client() as known, api.client() as fresh:
        assert known.post("/login", data=right).status_code == 303
        assert BROWSER_COOKIE in known.cookies
        codes = [fresh.post("/login", data=wrong).status_code for _ in range(7)]
        assert codes == [401] * 5 + [429] * 2
        held = fresh.post("/login", data=right)
        assert held.status_code == 429 and int(held.headers["retry-after"]) > 60
        assert known.post("/login", data=right).status_code == 303
        colleague = {"email": email("analyst"), "password": PASSWORD}
        assert fresh.post("/login", data=colleague).status_code == 303
        where["from"] = "198.51.100.2"
        assert fresh.post("/login", data=right).status_code == 303
        where["from"] = "198.51.100.1"
        assert fresh.post("/login", data=right).status_code == 303  # known by now
        tries = [known.post("/login", data=wrong).status_code for _ in range(6)]
        assert tries == [401] * 5 + [429]  # a browser that was stolen has no more tries


def test_all_sources_together_have_a_bound(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.app.state.service.settings, "api_login_rate_limit", "3/minute")
    right = {"email": email("risk"), "password": PASSWORD}
    with api.client() as known, api.client() as fresh:
        assert known.post("/login", data=right).status_code == 303
        codes = [
            fresh.post("/login", data=right | {"email": f"q{n}@x.y"}).status_code for n in range(4)
        ]
        assert codes == [401] * 2 + [429] * 2
        assert known.post("/login", data=right).status_code == 303


def test_logging_out_ends_the_session_also_without_the_store(home: Home) -> None:
    with (
        stoppable_server() as server,
        running_api(home, server.endpoint().url("postgres")) as api,
    ):
        service = api.app.state.service
        with api.logged_in("risk") as client:
            token = client.cookies[COOKIE]
            page = client.get("/").text
            csrf = page.split('name="csrf_token" value="')[1].split('"')[0]
            assert client.get("/v1/promo/usage").status_code == 200
            server.stop()
            answer = client.post("/logout", data={"csrf_token": csrf}, timeout=30)
            assert answer.status_code == 303
            assert f'{COOKIE}=""' in answer.headers["set-cookie"]
            client.cookies.clear()
            cookie = {"Cookie": f"{COOKIE}={token}"}
            assert client.get("/v1/promo/usage", headers=cookie).status_code == 401
        server.start()
        tending.once(service)
        assert len(service.ended) == 0
        with api.client() as again:
            assert again.get("/v1/promo/usage", headers=cookie).status_code == 401


# the audit log -----------------------------------------------------------------------------------
def test_wrong_keys_are_counted_in_the_audit_log_and_do_not_fill_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = api.app.state.service
    monkeypatch.setattr(service.settings, "api_denied_rate_limit", "1000/minute")
    clock = [0.0]
    monkeypatch.setattr(service, "denials", Denials(lambda: clock[0]))
    before = len(events(api))
    key = api.keys["admin"][:-2] + "xx"
    with api.client(key) as client:
        assert {client.get("/v1/runs").status_code for _ in range(30)} == {401}
        clock[0] = WINDOW + 1
        tending.once(service)
    found = events(api)[before:]
    assert [row.detail for row in found] == [{"why": "wrong"}, {"why": "wrong", "more": 29}]
    assert {row.actor for row in found} == {"client:key-admin"}


def test_denials_of_many_kinds_are_one_number() -> None:
    clock = [0.0]
    denials = Denials(lambda: clock[0])
    noted = [denials.take(Denial(f"client:{n}", "GET /", "wrong")) for n in range(3 * MOST_KINDS)]
    assert sum(map(len, noted)) == MOST_KINDS
    clock[0] = WINDOW
    (rest,) = denials.rest()
    assert (rest.actor, rest.more) == ("various", 2 * MOST_KINDS)
    assert denials.rest() == []


# readiness ---------------------------------------------------------------------------------------
def test_without_a_key_readiness_says_no_paths_versions_or_numbers(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = f"{api.home.root}/models/0123456789abcdef.joblib is damaged"
    found = property(lambda _: [secret], lambda _, looked_again: None)
    monkeypatch.setattr(type(api.scoring), "problems", found, raising=False)
    api.forget()
    with api.client() as nobody, api.as_role("analyst") as reader, api.client("dmp_no") as wrong:
        for client in (nobody, wrong):
            answer = client.get("/health/ready")
            assert answer.status_code == 503
            assert secret not in answer.text and "hours ago" not in answer.text
            assert {check["name"]: check["ok"] for check in answer.json()["checks"]}["store"]
        assert secret in reader.get("/health/ready").text


def test_the_time_of_a_login_tells_nobody_who_is_known(api: Api) -> None:
    """Both ways compare a password: who is unknown with nobody's."""
    from dmp_assets.platform.store import access

    compared: list[str] = []
    real = access._HASHER

    class Counting:
        def verify(self, known: str, password: str) -> bool:
            compared.append(known)
            return bool(real.verify(known, password))

        def check_needs_rehash(self, known: str) -> bool:
            return bool(real.check_needs_rehash(known))

    with pytest.MonkeyPatch.context() as patch, api.client() as client:
        patch.setattr(access, "_HASHER", Counting())
        for address in (email("risk"), "nobody@shop.example"):
            client.post("/login", data={"email": address, "password": "wrong password"})
    assert len(compared) == 2
