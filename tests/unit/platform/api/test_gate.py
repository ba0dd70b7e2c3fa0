"""The gate before Dagster's UI, by real HTTP and WebSockets; a small app stands behind it.

Dagster's own app behind it, and a browser before it, are in `tests/browser/test_dagster_ui.py`.
"""

import json
import socket as sockets
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from dmp_assets.platform.api.access import COOKIE
from dmp_assets.platform.gate.app import create_gate
from dmp_assets.platform.gate.gate import may_launch
from dmp_assets.platform.gate.origins import Origins
from dmp_assets.platform.store import access, login_links
from dmp_assets.platform.store.errors import AccessError
from dmp_assets.platform.store.schema import audit_event, login_link, person
from tests.support.service import Api, email, free_port, now, served

QUERY = {"query": "{ version }"}
LAUNCH = {"query": "query Q { version } mutation M { launchRun { id } }", "operationName": "M"}


async def answer(request: Request) -> JSONResponse:
    body = await request.body()
    return JSONResponse(
        {"may_launch": may_launch(request.scope), "body": body.decode(),
         "asked": str(request.query_params), "kind": request.headers["content-type"]}
    )  # fmt: skip


async def document(request: Request) -> PlainTextResponse:
    return PlainTextResponse("page", headers={"Content-Security-Policy": "script-src 'self';"})


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        return


BEHIND = Starlette(
    routes=[
        Route("/graphql", answer, methods=["GET", "POST"]),
        WebSocketRoute("/graphql", echo),
        Route("/report_asset_check/{key}", answer, methods=["POST"]),
        Route("/{path:path}", document),
    ]
)


@dataclass
class Gated:
    """A served gate and the API that shares its store."""

    url: str
    api: Api

    def as_role(self, role: str, **headers: str) -> httpx.Client:
        """A browser of this role, from the gate's own page unless the headers say otherwise."""
        with self.api.store.begin() as store:
            who = store.scalar(sa.select(person.c.person_id).where(person.c.email == email(role)))
            token = access.begin_session(store, uuid.UUID(str(who)), now=now())
        said = {"Origin": self.url, "Sec-Fetch-Site": "same-origin"} | headers
        return httpx.Client(
            base_url=self.url, cookies={COOKIE: token}, headers=said, trust_env=False, timeout=60
        )

    def audited(self) -> list[Any]:
        with self.api.store.begin() as store:
            rows = store.execute(sa.select(audit_event).order_by(audit_event.c.event_id))
            return [(row.action, row.outcome, row.detail) for row in rows]


@pytest.fixture(scope="module")
def gated(served_api: Api) -> Iterator[Gated]:
    urls = ("https://dagster.shop.example",)
    port = free_port()
    app = create_gate(
        served_api.home, BEHIND,
        Origins.of("127.0.0.1", port, secure=False, urls=urls), secure=False,
        store=served_api.store, recheck_seconds=0.2,
    )  # fmt: skip
    with served(app, port=port) as address:
        yield Gated(address, served_api)


@pytest.mark.parametrize("role", ["admin", "risk", "analyst", "marketer"])
def test_a_role_looks_launches_or_stays_outside(gated: Gated, role: str) -> None:
    looks, launches = role != "marketer", role == "admin"
    with gated.as_role(role) as client:
        assert client.get("/runs").status_code == (200 if looks else 403)
        asked = client.post("/graphql", json=QUERY)
        assert asked.status_code == (200 if looks else 403)
        if looks:
            told = asked.json()
            assert (told["may_launch"], json.loads(told["body"])) == (launches, QUERY)
        assert client.post("/graphql", json=LAUNCH).status_code == (200 if launches else 403)
        reported = client.post("/report_asset_check/x", json={})
        assert reported.status_code == (200 if launches else 403)


def test_what_is_launched_or_was_to_be_is_in_the_audit_log(gated: Gated) -> None:
    with gated.as_role("admin") as admin, gated.as_role("risk") as risk:
        admin.post("/graphql", json=LAUNCH)
        risk.post("/graphql", json=LAUNCH)
    told = [(outcome, detail) for action, outcome, detail in gated.audited() if action == "dagster"]
    assert told[-2:] == [
        ("done", {"changes": ["launchRun"]}), ("denied", {"changes": ["launchRun"]}),
    ]  # fmt: skip


def test_nobody_gets_further_than_the_login(gated: Gated) -> None:
    with httpx.Client(base_url=gated.url, trust_env=False, timeout=60) as client:
        assert client.get("/runs").status_code == 401
        page = client.get("/runs", headers={"Accept": "text/html"})
        assert (page.status_code, page.headers["location"]) == (303, "/login")
        assert client.get("/login").status_code == 200
        own = {"Origin": gated.url}
        assert client.post("/graphql", json=QUERY, headers=own).status_code == 401
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/ready").status_code == 401
        link = {"Accept": "text/html", "Sec-Fetch-Site": "cross-site",
                "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}  # fmt: skip
        again = client.get("/runs/1", headers=link)  # from Slack: without the strict cookie
        assert again.status_code == 200 and 'http-equiv="refresh"' in again.text


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_graphql_is_never_executed_but_by_post(gated: Gated, method: str) -> None:
    with gated.as_role("admin") as client:
        found = client.request(method, "/graphql", params=LAUNCH)
        assert found.status_code == 405 and found.headers["allow"]
        assert client.request("POST", "/runs", json=QUERY).status_code == 405


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("text/plain", 415), ("text/plain; x=application/json", 415), ("", 415),
        ("application/x-www-form-urlencoded", 415), ("application/graphql", 415),
        ("application/json; charset=utf-8", 200),
    ],
)  # fmt: skip
def test_only_json_is_taken_which_no_form_can_send(gated: Gated, kind: str, status: int) -> None:
    with gated.as_role("admin") as client:
        found = client.post(
            "/graphql", content=json.dumps(QUERY), headers={"Content-Type": kind},
            params={"query": "mutation { launchRun }"},
        )  # fmt: skip
        assert found.status_code == status


@pytest.mark.parametrize(
    "kind",
    [
        "application/json", "Application/JSON", "APPLICATION/JSON; x=application/graphql",
        "application/json; charset=utf-16",
    ],
)  # fmt: skip
def test_what_passes_is_what_was_understood_however_it_is_sent(gated: Gated, kind: str) -> None:
    """Dagster reads the type with an eye for case, and the address where it knows no type."""
    doubled = '{"query": "mutation { launchRun }", "query": "{ version }", "extensions": {}}'
    with gated.as_role("admin") as client:
        found = client.post(
            "/graphql", content=doubled, headers={"Content-Type": kind},
            params={"query": "mutation { launchRun }"},
        ).json()  # fmt: skip
    assert json.loads(found["body"]) == QUERY | {"query": "{ version }"}
    assert (found["asked"], found["kind"]) == ("", "application/json")


def test_a_query_is_of_bounded_length(gated: Gated) -> None:
    asked = " ".join(f"a{n}: version" for n in range(3_000))
    with gated.as_role("admin") as client:
        assert client.post("/graphql", json={"query": f"{{ {asked[:9_000]} }}"}).status_code == 200
        found = client.post("/graphql", json={"query": f"{{ {asked} {asked} }}"})
        assert found.status_code == 400 and "10,000 words" in found.json()["detail"]
        wrong = client.post("/graphql", json=QUERY | {"variables": [1]})
        assert wrong.status_code == 400 and "variables" in wrong.json()["detail"]


@pytest.mark.parametrize("body", ["", "[]", "{", '{"query": 1}', '{"query": "mutation {"}', "null"])
def test_what_is_no_graphql_does_not_pass(gated: Gated, body: str) -> None:
    with gated.as_role("admin") as client:
        headers = {"Content-Type": "application/json"}
        assert client.post("/graphql", content=body, headers=headers).status_code == 400


@pytest.mark.parametrize(
    "origin",
    ["null", "https://evil.example", "http://127.0.0.1:9", "http://localhost", "https://127.0.0.1"],
)
def test_another_origin_is_refused_with_the_persons_own_cookie(gated: Gated, origin: str) -> None:
    with gated.as_role("admin", Origin=origin, **{"Sec-Fetch-Site": "same-origin"}) as client:
        assert client.post("/graphql", json=QUERY).status_code == 403
        assert client.get("/runs").status_code == 403
        assert client.post("/logout").status_code == 403
        cookie = {"Cookie": f"{COOKIE}={client.cookies[COOKIE]}"}
    with pytest.raises(InvalidStatus):
        connect(gated.url.replace("http", "ws") + "/graphql", origin=origin,
                additional_headers=cookie)  # fmt: skip


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_another_sites_page_reads_nothing_but_a_link_opens_a_page(gated: Gated, site: str) -> None:
    with gated.as_role("admin", **{"Sec-Fetch-Site": site}) as client:
        del client.headers["Origin"]
        for mode, dest in (("no-cors", "image"), ("cors", "empty"), ("navigate", "iframe")):
            sent = {"Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
            assert client.get("/runs", headers=sent).status_code == 403
        opened = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert client.get("/runs", headers=opened).status_code == 200
        assert client.post("/graphql", json=QUERY, headers=opened).status_code == 403


def test_a_browser_that_does_not_say_whence_changes_nothing(gated: Gated) -> None:
    with gated.as_role("admin") as client:
        del client.headers["Origin"], client.headers["Sec-Fetch-Site"]
        assert client.get("/runs").status_code == 200
        assert client.post("/graphql", json=QUERY).status_code == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421), ("127.0.0.1:1", 421), ("127.0.0.1.evil.example", 421),
        ("dagster.shop.example", 200), ("DAGSTER.shop.example:443", 200),
    ],
)  # fmt: skip
def test_only_names_of_ours_are_answered(gated: Gated, host: str, status: int) -> None:
    with gated.as_role("admin", Host=host) as client:
        assert client.get("/runs").status_code == status
        assert client.get("/login").status_code in (status, 303 if status == 200 else status)


def test_programs_come_with_a_key_and_by_its_scopes(gated: Gated) -> None:
    for role, status in (("admin", 200), ("risk", 403), ("marketer", 403)):
        key = {"Authorization": f"Bearer {gated.api.keys[role]}"}
        with httpx.Client(base_url=gated.url, trust_env=False, timeout=60, headers=key) as client:
            assert client.post("/graphql", json=LAUNCH).status_code == status


def test_pages_cannot_be_framed_and_keep_their_own_policy(gated: Gated) -> None:
    with gated.as_role("admin") as client:
        headers = client.get("/runs").headers
    assert headers["content-security-policy"] == (
        "script-src 'self'; frame-ancestors 'none'; form-action 'self'"
    )
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("role", ["admin", "marketer"])
def test_every_page_of_the_gates_own_forbids_foreign_scripts_and_frames(
    gated: Gated, role: str
) -> None:
    with gated.as_role(role) as client, httpx.Client(base_url=gated.url, trust_env=False) as nobody:
        for path in ("/", "/login", "/account", "/health/live", "/login/link/x", "/login/oidc",
                     "/login/oidc/callback", "/static/dmp.css", "/nothing"):  # fmt: skip
            for browser in (client, nobody):
                answer = browser.get(path, headers={"Accept": "text/html"})
                policy = answer.headers["content-security-policy"]
                assert "frame-ancestors 'none'" in policy, (path, policy)
                assert answer.headers["x-content-type-options"] == "nosniff", path


def test_a_client_that_goes_within_its_body_is_no_unexpected_error(gated: Gated) -> None:
    with gated.as_role("admin") as browser:
        cookie = browser.cookies[COOKIE]
    host, port = gated.url.removeprefix("http://").split(":")
    head = (
        f"POST /graphql HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: {gated.url}\r\n"
        f"Sec-Fetch-Site: same-origin\r\nCookie: {COOKIE}={cookie}\r\n"
        "Content-Type: application/json\r\nContent-Length: 900\r\n\r\n{"
    )
    with structlog.testing.capture_logs() as lines:
        with sockets.create_connection((host, int(port)), timeout=10) as leaving:
            leaving.sendall(head.encode())
            time.sleep(0.3)  # the gate waits for the rest
        deadline = time.monotonic() + 20
        while not lines and time.monotonic() < deadline:
            time.sleep(0.05)
    assert [(line["event"], line["status"]) for line in lines] == [("request", 499)]


def test_a_websocket_needs_the_login_and_ends_with_it(gated: Gated) -> None:
    address, origin = gated.url.replace("http", "ws") + "/graphql", gated.url
    with pytest.raises(InvalidStatus):
        connect(address, origin=origin)
    with gated.as_role("risk") as client:
        cookie = {"Cookie": f"{COOKIE}={client.cookies[COOKIE]}"}
        with connect(address, origin=origin, additional_headers=cookie) as socket:
            socket.send("hello")
            assert socket.recv() == "hello"
            with connect(address, origin=origin, additional_headers=cookie) as talker:
                talker.send("x" * 300_000)
                with pytest.raises(ConnectionClosed):
                    talker.recv(timeout=20)
            with gated.api.store.begin() as store:
                access.disable_person(store, email("risk"), now=now())
            gated.api.forget()
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=20)
    with gated.api.store.begin() as store:
        store.execute(sa.text("UPDATE person SET disabled_at = NULL"))


def test_a_link_logs_in_once_and_only_for_a_while(gated: Gated) -> None:
    with gated.api.store.begin() as store:
        _, path = login_links.make(store, email("admin"), now=now())
        _, old = login_links.make(store, email("admin"), now=now() - timedelta(hours=1))
    own = {"Origin": gated.url}
    with httpx.Client(base_url=gated.url, trust_env=False, timeout=60, headers=own) as client:
        assert client.get(path).status_code == client.get(path).status_code == 200  # uses nothing
        token = path.partition("=")[2]
        for foreign in ({"Origin": "http://127.0.0.1:9"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = client.post(login_links.PATH, data={"token": token}, headers=foreign)
            assert answer.status_code == 403
        entered = client.post(login_links.PATH, data={"token": token})
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        assert client.get("/account").status_code == 200
        for used in (token, old.partition("=")[2], "x", "x" * 43):
            again = client.post(login_links.PATH, data={"token": used})
            assert again.status_code == 401 and COOKIE not in again.cookies


def test_a_link_is_void_when_its_person_is_or_has_a_new_password(gated: Gated) -> None:
    with gated.api.store.begin() as store:
        login_links.make(store, email("analyst"), now=now())
        access.set_password(store, email("analyst"), "another long password")
        assert store.execute(sa.select(login_link)).all() == []
        with pytest.raises(AccessError, match="no person"):
            login_links.make(store, "nobody@shop.example", now=now())
