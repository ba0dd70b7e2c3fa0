"""The API over real HTTP on loopback, on a real PostgreSQL."""

import csv
import io
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import structlog

from dmp_assets.home import Home, HomeError
from dmp_assets.platform.api import serve
from dmp_assets.platform.api.access import COOKIE, KNOWN_SECONDS, scopes_of
from dmp_assets.platform.api.app import api_routes, create_app
from dmp_assets.platform.api.middleware import MAX_BODY, SECURITY_HEADERS
from dmp_assets.platform.api.problems import FieldError, wrong_fields
from dmp_assets.platform.api.secret import of as secret_of
from dmp_assets.platform.config.setting_sources import SettingsError
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.store import access, database
from dmp_assets.platform.store.roles import ROLES
from dmp_assets.platform.store.schema import published_tables
from tests.support import lakehouse
from tests.support.postgres import fresh_database, stoppable_server
from tests.support.service import (
    FIRST,
    PASSWORD,
    USERS,
    Api,
    email,
    fill,
    now,
    running_api,
    served,
    until,
    usage_rows,
)


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"urn:dmp:problem:{kind}"
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["title"]
    return dict(body)


def fields(answer: httpx.Response) -> list[str]:
    return [error["field"] for error in problem(answer, 422, "invalid")["errors"]]


ENDS = b"Host: localhost\r\nConnection: close\r\n\r\n"


# what every answer has ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    "path", ["/", "/health/live", "/v1/promo/usage", "/nowhere", "/static/dmp.css"]
)
def test_every_answer_carries_security_headers_and_a_request_id(api: Api, path: str) -> None:
    with api.client() as client:
        answer = client.get(path)
    for name in SECURITY_HEADERS:
        assert name in answer.headers
    assert answer.headers["x-request-id"]
    assert "server" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers


def test_a_request_id_is_taken_over_unless_it_could_do_harm(api: Api) -> None:
    with api.client() as client:
        good = client.get("/health/live", headers={"X-Request-Id": "order-17.a_b"})
        bad = client.get("/health/live", headers={"X-Request-Id": "x" * 65})
        evil = client.get("/health/live", headers={"X-Request-Id": 'a"}\tb'})
    assert good.headers["x-request-id"] == "order-17.a_b"
    assert len(bad.headers["x-request-id"]) == 32
    assert len(evil.headers["x-request-id"]) == 32


def test_an_unknown_address_is_a_page_for_a_browser(api: Api) -> None:
    with api.client() as client:
        for path in ("/nothing", "/review/nothing/at-all", "/reports"):
            shown = client.get(path, headers={"Accept": "text/html"})
            assert shown.headers["content-type"].startswith("text/html"), path
            assert "There is no such thing" in shown.text and 'href="/"' in shown.text
            problem(client.get(path), 404, "not-found")
        problem(client.get("/v1/nothing", headers={"Accept": "text/html"}), 404, "not-found")


def test_an_unknown_address_or_method_is_a_problem_detail(api: Api) -> None:
    with api.client() as client:
        problem(client.get("/v1/nothing"), 404, "not-found")
        wrong = client.delete("/health/live")
    assert wrong.status_code == 405
    assert wrong.headers["content-type"] == "application/problem+json"
    assert wrong.headers["allow"] == "GET"


def test_an_unexpected_error_says_nothing_of_its_cause(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret of ann@shop.example")

    monkeypatch.setattr("dmp_assets.platform.api.routes.health.look", broken)
    with structlog.testing.capture_logs() as lines, api.client() as client:
        body = problem(client.get("/health/ready"), 500, "internal")
        until(lambda: len(lines) >= 2)
    assert "ann" not in json.dumps(body)
    assert [line["event"] for line in lines] == ["unexpected error", "request"]


def test_a_body_that_is_too_large_is_refused_announced_or_not(api: Api) -> None:
    def drip() -> Iterator[bytes]:
        for _ in range(MAX_BODY // 65_536 + 2):
            yield b"x" * 65_536

    with api.client() as client:
        announced = client.post("/login", content=b"x" * (MAX_BODY + 1))
        form = {"content-type": "application/x-www-form-urlencoded"}
        streamed = client.post("/login", content=drip(), headers=form)
    assert "at most 1,048,576 bytes" in problem(announced, 413, "too-large")["detail"]
    problem(streamed, 413, "too-large")


def test_a_body_that_does_not_arrive_is_given_up(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = api.app.middleware_stack
    while type(guard).__name__ != "Guard":
        guard = guard.app  # type: ignore[union-attr]
    monkeypatch.setattr(guard, "body_seconds", 0.3)
    host, port = api.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as slow:
        slow.sendall(
            b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\nemail=a"
        )
        said = slow.recv(4096)
    assert b"408" in said.splitlines()[0]


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /v1/promo/usage?start=\xff\xfe HTTP/1.1\r\n" + ENDS,
        b"GET / HTTP/1.1\r\nAuthorization: Bearer \xff\xfe\r\n" + ENDS,
        b"GET / HTTP/1.1\r\nCookie: dmp_session=\xff;;=\r\n" + ENDS,
        b"GET /reports/%00 HTTP/1.1\r\n" + ENDS,
        b"NONSENSE\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n" + ENDS,
    ],
)
def test_bytes_that_are_no_text_are_an_error_of_the_caller(api: Api, raw: bytes) -> None:
    host, port = api.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(raw)
        said = connection.recv(65_536)
    assert said.split()[1][:1] in (b"2", b"4")


# access ------------------------------------------------------------------------------------------
ADDRESSES = {
    "/reports/{name:path}": "/reports/promo_abuse.html",
    "/review/account": "/review/account?id=user-000001",
    "/review/watchers": "/review/watchers?id=user-000001",
}
"""Where a route's path alone names nothing."""


def guarded() -> list[tuple[str, str, str]]:
    """(method, path, scope) of every route that needs one."""
    return [
        (method, ADDRESSES.get(route.path, route.path), scope)
        for route in api_routes()
        for scope in scopes_of(route)
        for method in sorted(route.methods)
    ]


OF_PEOPLE = {"/v1/ads/notices/preferences"}
"""What a machine has none of."""
SAYS_TOO_LITTLE = {204, 303, 404, 409, 422}
"""How a route answers who may, where what is to be done or shown is not said."""
OPEN = {
    "/", "/login", "/login/oidc", "/login/oidc/callback", "/login/once", "/logout", "/health/live",
    "/health/ready", "/webhooks/shopify", "/ads/connections/return",
}  # fmt: skip
ASKED: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/abuse/score"): {
        "json": {"accounts": [{"account_ref": "new-1"}], "dry_run": True},
    },
    ("DELETE", "/v1/ads/pooled/consent"): {},
}
"""What a changing route is sent, so that a caller with its scope succeeds."""
_EXPERIMENT = "/v1/ads/experiments/{experiment}"
ABSENT = {
    ("GET", _EXPERIMENT), ("GET", f"{_EXPERIMENT}/readings"),
    *(("POST", f"{_EXPERIMENT}/{word}") for word in ("start", "stop", "pause", "resume", "reject")),
}  # fmt: skip
"""Routes about one thing, which is not there: who has the scope is told so."""


def csrf_token(client: httpx.Client) -> str:
    """The token that a logged-in browser sends with what it changes."""
    return client.get("/").text.split('name="csrf_token" value="')[1].split('"')[0]


def test_every_route_needs_a_scope_or_is_known_to_be_open() -> None:
    routes = api_routes()
    assert {route.path for route in routes if not scopes_of(route)} == OPEN
    assert len(guarded()) == len([route for route in routes if route.path not in OPEN])


@pytest.mark.parametrize("role", ROLES)
def test_a_role_reaches_what_its_scopes_allow_by_key_and_by_session(api: Api, role: str) -> None:
    with api.as_role(role) as by_key, api.logged_in(role) as by_session:
        by_session.headers["X-CSRF-Token"] = csrf_token(by_session)
        for method, path, scope in guarded():
            may = scope in ROLES[role]
            for client in (by_key, by_session):
                answer = client.request(method, path, **ASKED.get((method, path), {}))
                told = (method, path, answer.status_code, answer.text)
                expected = 200 if may else 403
                if may and method == "GET" and path in OF_PEOPLE and client is by_key:
                    expected = 403
                elif may and ("{" in path or method != "GET") and (method, path) not in ASKED:
                    assert answer.status_code in SAYS_TOO_LITTLE, told
                    continue
                assert answer.status_code == expected, told
                if not may:
                    assert scope in problem(answer, 403, "forbidden")["detail"]


def credentials(api: Api) -> dict[str, dict[str, str]]:
    """Headers that open nothing, by what is wrong with them."""
    with api.store.begin() as store:
        expired = access.add_client(
            store, f"e{time.monotonic_ns()}", ["promo:read"],
            now=now() - timedelta(hours=2), expires=timedelta(hours=1),
        )  # fmt: skip
        name = f"r{time.monotonic_ns()}"
        revoked = access.add_client(store, name, ["promo:read"], now=now())
        access.revoke_client(store, name, now=now())
    good = api.keys["admin"]
    tampered = good[:-1] + ("A" if good[-1] != "A" else "B")
    return {
        "none": {},
        "expired": {"Authorization": f"Bearer {expired}"},
        "revoked": {"Authorization": f"Bearer {revoked}"},
        "tampered": {"Authorization": f"Bearer {tampered}"},
        "another scheme": {"Authorization": f"Basic {good}"},
        "empty": {"Authorization": "Bearer"},
        "injected": {"Authorization": "Bearer ' OR '1'='1"},
        "unknown session": {"Cookie": f"{COOKIE}=" + "x" * 43},
    }


def test_no_route_opens_to_a_credential_that_is_missing_or_wrong(api: Api) -> None:
    for state, headers in credentials(api).items():
        for method, path, _ in guarded():
            api.forget()
            with api.client() as client:
                answer = client.request(method, path, headers=headers)
            problem(answer, 401, "unauthenticated")
            assert answer.headers["www-authenticate"] == "Bearer", (state, path)


def test_what_was_denied_is_in_the_audit_log_without_the_secret(api: Api) -> None:
    headers = credentials(api)["tampered"]
    with api.client() as client:
        answer = client.get("/v1/runs", headers=headers)
    with api.store.connect() as store:
        row = (
            store.exec_driver_sql("SELECT * FROM audit_event ORDER BY event_id DESC LIMIT 1")
            .mappings()
            .one()
        )
    assert row["actor"] == "client:key-admin"
    assert row["action"] == "GET /v1/runs"
    assert row["outcome"] == "denied"
    assert row["detail"] == {"why": "wrong"}
    assert row["request_id"] == answer.headers["x-request-id"]


def test_a_revoked_key_ends_within_seconds(api: Api) -> None:
    with api.store.begin() as store:
        key = access.add_client(store, "brief", ["promo:read"], now=now())
    with api.client(key) as client:
        assert client.get("/v1/promo/usage").status_code == 200
        with api.store.begin() as store:
            access.revoke_client(store, "brief", now=now())
        deadline = time.monotonic() + KNOWN_SECONDS + 2
        while client.get("/v1/promo/usage").status_code == 200 and time.monotonic() < deadline:
            time.sleep(0.1)
        problem(client.get("/v1/promo/usage"), 401, "unauthenticated")


# rate limits -------------------------------------------------------------------------------------
def test_a_flood_of_one_client_is_held_back_and_no_other(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.app.state.service.settings, "api_rate_limit", "5/minute")
    with api.as_role("analyst") as noisy, api.as_role("risk") as other:
        answers = [noisy.get("/v1/promo/usage") for _ in range(7)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        assert answers[0].headers["ratelimit-policy"] == '"default";q=5;w=60'
        assert answers[0].headers["ratelimit"].startswith('"default";r=4;t=')
        problem(answers[-1], 429, "rate-limited")
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 61
        assert other.get("/v1/promo/usage").status_code == 200


@pytest.mark.parametrize("path", ["/v1/promo/usage", "/"])
@pytest.mark.parametrize("by", ["key", "session"])
def test_guessing_is_held_back_before_anything_is_looked_up(
    api: Api, monkeypatch: pytest.MonkeyPatch, path: str, by: str
) -> None:
    service = api.app.state.service
    monkeypatch.setattr(service.settings, "api_denied_rate_limit", "3/minute")
    with api.as_role("analyst") as known, api.client() as guess:
        assert known.get("/v1/promo/usage").status_code == 200
        codes = []
        for n in range(6):
            headers = (
                {"Authorization": f"Bearer dmp_{n:016x}_" + "x" * 43}
                if by == "key"
                else {"Cookie": f"{COOKIE}={n:043}"}
            )
            codes.append(guess.get(path, headers=headers).status_code)
        assert codes == [401 if path != "/" else 200] * 3 + [429] * 3
        # A neighbour that opened before, however long ago it was looked up, is let in.
        known_now = service.known.found
        for credential, (principal, at) in list(known_now.items()):
            known_now[credential] = (principal, at - 60)
        assert known.get("/v1/promo/usage").status_code == 200


def test_who_logs_in_while_a_neighbour_guesses_is_let_in(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.app.state.service.settings, "api_denied_rate_limit", "3/minute")
    with api.client() as guess:
        for n in range(4):
            wrong = {"Authorization": f"Bearer dmp_{n:016x}_" + "x" * 43}
            guess.get("/v1/promo/usage", headers=wrong)
        assert guess.get("/v1/promo/usage", headers=wrong).status_code == 429
    with api.logged_in("analyst") as client:
        assert client.get("/v1/promo/usage").status_code == 200


def test_calls_without_a_credential_lock_nobody_out(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.app.state.service.settings, "api_denied_rate_limit", "3/minute")
    with api.client() as nobody, api.as_role("analyst") as known:
        assert [nobody.get("/v1/runs").status_code for _ in range(6)] == [401] * 6
        assert known.get("/v1/promo/usage").status_code == 200


def test_of_what_a_proxy_forwards_only_its_own_word_is_believed(api: Api) -> None:
    """The last address is the one that the proxy added; those before it are the client's claim."""
    seen: list[str] = []
    monkey = pytest.MonkeyPatch()
    monkey.setattr(
        "dmp_assets.platform.api.routes.oidc.limit",
        lambda request, *_: _noted(seen, request.client.host),
    )
    monkey.setattr(api.app.state.service, "issuer", SimpleNamespace(name="issuer"))
    forwarded = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9"}
    try:
        for proxies in (["127.0.0.1"], ["10.0.0.0/8"]):
            with (
                served(api.app, proxy_headers=True, forwarded_allow_ips=proxies) as url,
                httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
            ):
                client.get("/login/oidc/callback", headers=forwarded)
    finally:
        monkey.undo()
    assert seen == ["203.0.113.9", "127.0.0.1"]


async def _noted(seen: list[str], address: str) -> None:
    seen.append(address)


# lists -------------------------------------------------------------------------------------------
def walk(client: httpx.Client, path: str, **query: object) -> list[dict[str, Any]]:
    """All rows of a list, page by page along the `Link` headers."""
    found, answer = [], client.get(path, params=query)
    while True:
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        if "next" not in answer.links:
            assert answer.json()["next"] is None
            return found
        answer = client.get(answer.links["next"]["url"])


@pytest.mark.parametrize("limit", [1, 4, 25, 1000])
@pytest.mark.parametrize("sort", ["-usages", "usages", "codes", "-codes", "first_used_at"])
def test_pages_hold_every_row_once_in_order(api: Api, sort: str, limit: int) -> None:
    with api.as_role("risk") as client:
        rows = walk(client, "/v1/promo/top-users", sort=sort, limit=limit)
    assert len({row["user_id"] for row in rows}) == len(rows) == USERS
    values = [row[sort.removeprefix("-")] for row in rows]
    assert values == sorted(values, reverse=sort.startswith("-"))


def test_pages_are_filtered(api: Api) -> None:
    with api.as_role("risk") as client:
        blocked = walk(client, "/v1/promo/top-users", decision="block", limit=2)
        many = walk(client, "/v1/promo/top-users", min_usages=98)
    assert len(blocked) == 6
    assert {row["decision"] for row in blocked} == {"block"}
    assert len(many) == 9


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ({"limit": 0}, "query.limit"),
        ({"limit": "many"}, "query.limit"),
        ({"sort": "password"}, "query.sort"),
        ({"sort": "usages; DROP TABLE person"}, "query.sort"),
        ({"decision": "maybe"}, "query.decision"),
        ({"cursor": "forged"}, "query.cursor"),
        ({"min_usages": 10**30}, "query.min_usages"),
        ({"decison": "block"}, "query.decison"),
    ],
)
def test_what_is_wrong_with_a_list_is_named(api: Api, query: dict[str, Any], wrong: str) -> None:
    with api.as_role("risk") as client:
        assert fields(client.get("/v1/promo/top-users", params=query)) == [wrong]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (
            {"limit": 0, "min_usages": "x"},
            "2 fields are wrong: query.min_usages (input should be a valid integer, unable to "
            "parse string as an integer), query.limit (input should be greater than or equal to 1)",
        ),
        (
            {"cursor": "forged"},
            "1 field is wrong: query.cursor (not a cursor of this list in this order)",
        ),
        (
            {"Decision": "block", "limitt": 3},
            "2 fields are wrong: query.Decision (there is no such parameter; did you mean "
            "decision?), query.limitt (there is no such parameter; did you mean limit?)",
        ),
    ],
)
def test_the_detail_says_what_is_wrong_with_which_fields(
    api: Api, query: dict[str, Any], said: str
) -> None:
    with api.as_role("risk") as client:
        body = problem(client.get("/v1/promo/top-users", params=query), 422, "invalid")
    assert body["detail"] == said


def test_a_parameter_of_several_types_is_one_field_and_a_pattern_is_said_in_words(api: Api) -> None:
    with api.as_role("risk") as client:
        found = client.get("/v1/abuse/decisions", params={"since": "NaN"})
        assert fields(found) == ["query.since"]
        key = {"Idempotency-Key": "a b"}
        fine = {"accounts": [{"account_ref": "ab"}]}
        assert "visible characters" in client.post("/v1/abuse/score", json=fine, headers=key).text
        body = {"accounts": [{"account_ref": "a\u0001b"}]}
        said = client.post("/v1/abuse/score", json=body).json()["detail"]
    assert "control characters" in said and "\\x" not in said


def test_of_many_wrong_fields_the_detail_names_the_first() -> None:
    errors = [FieldError(field=f"body.{n // 2}", message="no") for n in range(14)]
    named = ", ".join(f"body.{n} (no)" for n in range(5))
    assert wrong_fields(errors) == f"7 fields are wrong: {named}, …"
    assert wrong_fields(errors[:2], 9) == "at least 1 field is wrong: body.0 (no), …"


def test_a_cursor_belongs_to_its_list_and_order_and_shows_no_id(api: Api) -> None:
    with api.as_role("risk") as client:
        cursor = client.get("/v1/promo/top-users", params={"limit": 3}).json()["next"]
        assert "user" not in cursor
        for path, query in (
            ("/v1/promo/top-users", {"sort": "usages"}),
            ("/v1/promo/top-codes", {}),
        ):
            assert fields(client.get(path, params=query | {"cursor": cursor})) == ["query.cursor"]


def test_ids_of_people_are_masked_for_those_who_do_not_need_them(api: Api) -> None:
    with api.as_role("risk") as risk, api.as_role("analyst") as analyst:
        clear = risk.get("/v1/promo/top-users").json()["items"]
        masked = analyst.get("/v1/promo/top-users").json()["items"]
    assert clear[0]["user_id"] == "user-000000"
    assert masked[0]["user_id"] == "user…00"
    assert [row["usages"] for row in clear] == [row["usages"] for row in masked]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/promo/top-users", "/v1/promo/top-codes", "/v1/promo/usage",
        "/v1/promo/registrations", "/v1/channels", "/v1/attribution", "/v1/runs",
    ],
)  # fmt: skip
def test_a_list_says_the_same_in_csv(api: Api, path: str) -> None:
    with api.as_role("admin") as client:
        as_json = client.get(path).json()["items"]
        answer = client.get(path, headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert "ratelimit" in answer.headers
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == len(as_json) > 0
    for row, given in zip(rows, as_json, strict=True):
        assert list(row) == list(given)
        for name, cell in row.items():
            is_said = isinstance(given[name], bool | dict | list)
            wanted = json.dumps(given[name]) if is_said else str(given[name])
            wanted = "" if given[name] is None else wanted
            assert cell.removeprefix("'") == wanted


def test_a_cell_that_a_spreadsheet_would_run_is_made_plain(api: Api) -> None:
    with api.as_role("admin") as client:
        text = client.get("/v1/promo/top-codes", headers={"Accept": "text/csv"}).text
    assert "'=1+1" in text
    assert "Grüße" in text


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("text/*", "text/csv"),
        ("text/csv;q=0.5, application/json", "application/json"),
        ("application/json;q=0.1, text/csv;q=0.9", "text/csv"),
        ("application/*, text/csv;q=0", "application/json"),
    ],
)
def test_the_preferred_form_is_given(api: Api, accept: str, kind: str) -> None:
    with api.as_role("admin") as client:
        answer = client.get("/v1/promo/usage", headers={"Accept": accept})
        neither = client.get("/v1/promo/usage", headers={"Accept": "image/png"})
    assert answer.headers["content-type"].split(";")[0] == kind
    problem(neither, 406, "not-acceptable")


# ranges ------------------------------------------------------------------------------------------
def test_a_range_holds_both_ends_and_without_one_the_newest_ninety_days(api: Api) -> None:
    with api.as_role("admin") as client:
        two = client.get(
            "/v1/promo/usage", params={"start": "2024-01-03", "end": "2024-01-04"}
        ).json()["items"]
        recent = client.get("/v1/promo/registrations").json()["items"]
        before = client.get("/v1/promo/usage", params={"end": "2023-12-31"}).json()["items"]
    assert [(row["date"], row["usages"]) for row in two] == [("2024-01-03", 4), ("2024-01-04", 6)]
    assert len(recent) == 90
    assert recent[-1]["date"] == str(FIRST + timedelta(days=119))
    assert before == []


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ({"start": "2024-02-01", "end": "2024-01-01"}, "query.end"),
        ({"start": "yesterday"}, "query.start"),
        ({"start": "1950-01-01", "end": "2024-01-01"}, "query.start"),
        ({"start": "1950-01-01"}, "query.start"),
        ({"end": "9999-12-31"}, "query.end"),
        ({"end": "1711843200"}, "query.end"),
    ],
)
def test_a_range_that_cannot_be_is_named(api: Api, query: dict[str, str], wrong: str) -> None:
    with api.as_role("admin") as client:
        for path in ("/v1/promo/usage", "/v1/channels", "/v1/attribution"):
            assert fields(client.get(path, params=query)) == [wrong]


# attribution -------------------------------------------------------------------------------------
def test_channels_are_reported_by_the_reporting_model_per_day_or_over_the_range(api: Api) -> None:
    days = {"start": "2024-01-01", "end": "2024-01-10"}
    with api.as_role("marketer") as client:
        daily = client.get("/v1/channels", params=days).json()["items"]
        whole = client.get("/v1/channels", params=days | {"by": "range"}).json()["items"]
        one = client.get("/v1/channels", params=days | {"channel": "search"}).json()["items"]
    assert len(daily) == 30
    assert {row["channel_name"] for row in one} == {"search"} and len(one) == 10
    by_name = {row["channel_name"]: row for row in whole}
    search, display, direct = by_name["search"], by_name["display"], by_name["direct"]
    assert search["date"] is None
    assert (search["cost"], search["conversions"], search["revenue"]) == (105.0, 20.0, 1000.0)
    assert search["cpo"] == pytest.approx(5.25)
    assert search["roas"] == pytest.approx(1000 / 105)
    assert (display["cpo"], display["roas"]) == (None, 0.0)
    assert (direct["cpo"], direct["roas"]) == (None, None)
    assert not search["is_open"]


def test_models_are_side_by_side(api: Api) -> None:
    days = {"start": "2024-01-01", "end": "2024-01-10"}
    with api.as_role("marketer") as client:
        rows = client.get("/v1/attribution", params=days).json()["items"]
        linear = client.get("/v1/attribution", params=days | {"model": "linear"}).json()["items"]
    assert {(row["model"], row["channel_name"]) for row in rows} == {
        (model, channel)
        for model in ("ihc", "linear")
        for channel in ("search", "display", "direct")
    }
    assert {row["model"] for row in linear} == {"linear"}
    assert {row["revenue"] for row in linear} == {1010.0, 0.0}


# runs --------------------------------------------------------------------------------------------
def test_the_lakehouse_is_looked_at_every_few_seconds_and_not_on_each_call(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = api.app.state.service.written
    monkeypatch.setattr(written, "seconds", 3600)

    def users() -> tuple[str, int]:
        rows = {row["key"]: row for row in client.get("/v1/runs").json()["items"]}
        return rows["cleaned/users"]["version"], rows["cleaned/users"]["rows"]

    with api.as_role("analyst") as client:
        lakehouse.write(api.home, "cleaned/users", usage_rows(3))
        assert users() == ("0", 3)
        lakehouse.write(api.home, "cleaned/users", usage_rows(5))
        assert users() == ("0", 3)
        monkeypatch.setattr(written, "seconds", 0)
        assert users() == ("1", 5)


# reports and pages -------------------------------------------------------------------------------
def test_a_report_is_shown_and_can_reach_nothing(api: Api) -> None:
    with api.logged_in("analyst") as client:
        answer = client.get("/reports/promo_abuse.html")
    assert answer.text == "<h1>Promo-code abuse</h1>"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox ") and "allow-same-origin" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize(
    "path",
    [
        "/reports/../outside.html", "/reports/%2e%2e/outside.html", "/reports/..%2foutside.html",
        "/reports//etc/passwd", "/reports/nothing.html", "/reports/%00", "/reports/" + "x" * 150,
    ],
)  # fmt: skip
def test_nothing_but_reports_is_served_as_one(api: Api, path: str) -> None:
    host, port = api.url.removeprefix("http://").split(":")
    request = (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.keys['admin']}\r\n"
        "Connection: close\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(request.encode())
        said = b"".join(iter(lambda: raw.recv(65_536), b""))
    assert said.split()[1] in (b"404", b"422")
    assert b"not a report" not in said


def test_the_first_page_shows_numbers_to_those_who_may_see_them(api: Api) -> None:
    with api.client() as nobody:
        closed = nobody.get("/")
    with api.logged_in("admin") as admin, api.logged_in("risk") as risk:
        open_, part = admin.get("/"), risk.get("/")
    assert "Log in to see the numbers" in closed.text
    assert "30 days to" not in closed.text
    total = sum(2 * n for n in range(90, 120))
    assert f"{total:,}" in open_.text
    for label in (
        "ROAS, paid channels",
        "ROAS, all channels",
        "Cost per order, paid channels, EUR",
    ):
        assert label in open_.text
        assert label not in part.text
    assert "promo_abuse.html" in open_.text


def test_a_session_is_a_cookie_that_scripts_and_other_sites_cannot_use(api: Api) -> None:
    with api.client() as client:
        answer = client.post("/login", data={"email": email("risk"), "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert answer.headers["cache-control"] == "no-store"


def test_under_tls_the_cookie_is_secure_and_the_browser_told_to_stay(api: Api, home: Home) -> None:
    app = create_app(home, secure=True, store=api.store)
    with served(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        answer = client.post("/login", data={"email": email("risk"), "password": PASSWORD})
    assert "Secure" in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"].startswith("max-age=")


@pytest.mark.parametrize(
    ("address", "password"),
    [
        (email("risk"), "wrong password"),
        ("nobody@shop.example", PASSWORD),
        ("' OR 1=1 --@x", PASSWORD),
    ],
)
def test_a_wrong_login_does_not_say_what_is_wrong(api: Api, address: str, password: str) -> None:
    with api.client() as client:
        answer = client.post("/login", data={"email": address, "password": password})
    assert answer.status_code == 401
    assert "Address or password is wrong" in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("field", ["email", "password"])
def test_a_form_field_that_no_text_can_be_is_named(api: Api, field: str) -> None:
    form = {"email": email("risk"), "password": PASSWORD}
    with api.client() as client:
        assert fields(client.post("/login", data=form | {field: "a\x00b"})) == [f"body.{field}"]
        assert fields(client.post("/login", data=form | {field: "x" * 2000})) == [f"body.{field}"]
        problem(client.get("/v1/channels?channel=%00"), 422, "invalid")


def test_logging_out_needs_the_forms_token_and_ends_the_session(api: Api) -> None:
    with api.logged_in("analyst") as client:
        problem(client.post("/logout"), 403, "forbidden")
        token = csrf_token(client)
        foreign = {"Origin": "https://evil.example"}
        problem(
            client.post("/logout", data={"csrf_token": token}, headers=foreign), 403, "forbidden"
        )
        assert client.get("/v1/promo/usage").status_code == 200
        assert client.post("/logout", data={"csrf_token": token}).status_code == 303
        problem(client.get("/v1/promo/usage"), 401, "unauthenticated")


def test_a_form_of_another_site_logs_nobody_in(api: Api) -> None:
    form = {"email": email("risk"), "password": PASSWORD}
    with api.client() as client:
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            problem(client.post("/login", data=form, headers=headers), 403, "forbidden")


# watching it -------------------------------------------------------------------------------------
def test_readiness_names_what_is_wrong(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    with api.as_role("admin") as client:
        assert client.get("/health/live").json() == {"status": "live"}
        good = client.get("/health/ready")
        api.app.state.service.checks.forget()
        monkeypatch.setattr(api.app.state.service.settings, "freshness_hours", -1)
        stale = client.get("/health/ready")
    assert good.json()["ready"], good.text
    assert good.status_code == 200
    assert stale.status_code == 503
    assert stale.headers["retry-after"]
    wrong = {check["name"] for check in stale.json()["checks"] if not check["ok"]}
    assert wrong == {f"published/{name}" for name in published_tables()}


def test_requests_are_counted_by_route_and_not_by_address(api: Api) -> None:
    with api.as_role("admin") as client:
        client.get("/v1/promo/top-users", params={"cursor": "x"})
        client.get("/reports/some-secret-name.html")
        text = client.get("/metrics").text
    assert 'route="/v1/promo/top-users",status="422"' in text
    assert 'route="/reports/{name:path}",status="404"' in text
    assert "some-secret-name" not in text
    assert "dmp_api_request_seconds_bucket" in text


def test_a_log_line_holds_no_address_no_query_and_no_secret(api: Api) -> None:
    with structlog.testing.capture_logs() as lines, api.logged_in("risk") as client:
        client.get("/v1/promo/top-users", params={"cursor": "ann@shop.example"})
    said = json.dumps(lines)
    for secret in (email("risk"), PASSWORD, "ann@", "cursor", client.cookies[COOKIE]):
        assert secret not in said
    assert {"route", "status", "ms", "request_id", "actor"} <= set(lines[-1])
    assert lines[-1]["actor"].startswith("person:")


def test_a_logged_error_shows_where_it_was_but_no_values() -> None:
    def broken(secret: str) -> None:
        raise KeyError(f"Key (email)=({secret}) already exists")

    before, said = structlog.get_config(), io.StringIO()
    try:
        serve.log_as_json(said)
        try:
            broken("ann@shop.example")
        except KeyError as error:
            structlog.get_logger("dmp.api").error("unexpected error", exc_info=error)
    finally:
        structlog.configure(**before)
    line = json.loads(said.getvalue())
    assert line["exception"][0]["exc_type"] == "KeyError"
    assert line["exception"][0]["frames"][-1]["name"] == "broken"
    assert "ann@shop.example" not in said.getvalue()


# faults ------------------------------------------------------------------------------------------
def test_the_store_may_go_and_come_back(home: Home) -> None:
    with stoppable_server() as server:
        server.create("store")
        with (
            running_api(home, server.endpoint().url("store")) as api,
            api.as_role("admin") as client,
        ):
            assert client.get("/v1/promo/usage").status_code == 200
            server.stop()
            for path in ("/v1/promo/usage", "/v1/channels", "/v1/runs"):
                answer = client.get(path)
                problem(answer, 503, "unavailable")
                assert answer.headers["retry-after"] == "5"
            ready = client.get("/health/ready")
            assert ready.status_code == 503 and not ready.json()["ready"]
            assert client.get("/health/live").status_code == 200
            assert client.get("/reports/promo_abuse.html").status_code == 200
            server.start()
            assert client.get("/v1/promo/usage").status_code == 200
            time.sleep(1.1)  # an answer is good for a second
            assert client.get("/health/ready").json()["ready"]


def test_readers_during_a_swap_are_all_served(api: Api) -> None:
    codes: list[int] = []
    sizes: set[int] = set()
    over = threading.Event()

    def read() -> None:
        with api.as_role("risk") as client:
            while not over.is_set():
                answer = client.get("/v1/promo/top-users", params={"limit": 1000})
                codes.append(answer.status_code)
                sizes.add(len(answer.json()["items"]))

    reader = threading.Thread(target=read)
    reader.start()
    until(lambda: bool(codes))
    for n in range(6):
        fill(api.store, {"user_usage": usage_rows(USERS if n % 2 else 900)}, f"swap-{n}")
    over.set()
    reader.join()
    assert set(codes) == {200}
    assert sizes <= {USERS, 900}


# the description ---------------------------------------------------------------------------------
def test_the_openapi_document_names_scopes_problems_and_both_forms(api: Api) -> None:
    with api.client() as client:
        document = client.get("/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert set(document["components"]["securitySchemes"]) == {"key", "session"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            kinds = {
                kind
                for status, answer in operation["responses"].items()
                if status[0] in "45" and path != "/health/ready"
                for kind in answer["content"]
            }
            assert kinds <= {"application/problem+json"}
            if path not in OPEN:
                assert operation["security"] == [{"key": []}, {"session": []}]
                assert "Scope: `" in operation["description"]
                assert {"401", "403", "429"} <= set(operation["responses"])


# starting ----------------------------------------------------------------------------------------
def test_the_app_needs_neither_dagster_nor_spark() -> None:
    code = (
        "import dmp_assets.platform.api.serve, sys; "
        "print([m for m in ('dagster', 'pyspark', 'matplotlib', 'sklearn') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"DMP_API_HOST": "0.0.0.0"}, "without TLS"),
        ({"DMP_API_HOST": "192.0.2.1", "DMP_API_BEHIND_PROXY": "true"}, "generated secret"),
        ({"DMP_API_TLS_KEY": "/nowhere.pem"}, "TLS needs both"),
        (
            {"DMP_API_TLS_KEY": "/nowhere.pem", "DMP_API_TLS_CERTIFICATE": "/nowhere.pem"},
            "cannot read /nowhere.pem",
        ),
    ],
)
def test_it_refuses_to_be_open_to_others_in_plain_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], said: str
) -> None:
    home = Home(tmp_path / "home").prepare("live")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(HomeError, match=said):
        serve.check_address(home)


def test_loopback_and_a_proxy_with_a_secret_are_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home").prepare("live")
    serve.check_address(home)
    secret = secret_of(home).decode()
    assert secret_of(home).decode() == secret
    assert oct((home.secrets / "api_secret").stat().st_mode)[-3:] == "600"
    monkeypatch.setenv("DMP_API_HOST", "0.0.0.0")
    monkeypatch.setenv("DMP_API_BEHIND_PROXY", "true")
    monkeypatch.setenv("DMP_API_SECRET", secret)
    serve.check_address(home)
    monkeypatch.setenv("DMP_API_SECRET", "too-short")
    with pytest.raises(SettingsError, match="DMP_API_SECRET: this is not 32 bytes"):
        secret_of(home)


def test_another_schema_is_refused_at_the_start(postgres: Endpoint, home: Home) -> None:
    from dmp_assets.platform.store.errors import StoreError

    with fresh_database(postgres) as url:
        store = database.engine(url)
        with pytest.raises(StoreError, match="run `dmp migrate`"):
            create_app(home, store=store)
        store.dispose()
