"""Logging in by OpenID Connect: against a real provider on loopback, and all that can be wrong."""

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import sqlalchemy as sa
import structlog
from cryptography.fernet import Fernet
from pydantic import SecretStr

from dmp_assets.home import Home, HomeError
from dmp_assets.platform.api import oidc
from dmp_assets.platform.api.access import COOKIE
from dmp_assets.platform.api.app import create_app
from dmp_assets.platform.api.oidc import BEGUN_SECONDS, Begun, Issuer
from dmp_assets.platform.api.routes.oidc import BEGUN_COOKIE
from dmp_assets.platform.store import access
from dmp_assets.platform.store.schema import audit_event
from tests.support.oidc import CLIENT_ID, CLIENT_SECRET, FAULTS, Provider, openid_provider
from tests.support.service import PASSWORD, Api, email, now, served

ANN = "ann@shop.example"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with openid_provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def _api(served_api: Api) -> Api:
    with served_api.store.begin() as store:
        access.add_person(store, ANN, "risk", None, now=now())
        access.add_person(store, "gone@shop.example", "risk", None, now=now())
        access.disable_person(store, "gone@shop.example", now=now())
    return served_api


@pytest.fixture
def api(_api: Api, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Api:
    _api.forget()
    issuer = Issuer(provider.url, CLIENT_ID, SecretStr(CLIENT_SECRET))
    monkeypatch.setattr(_api.app.state.service, "issuer", issuer)
    monkeypatch.setattr(_api.app.state.service.settings, "api_denied_rate_limit", "100/minute")
    return _api


def go(client: httpx.Client) -> str:
    """Begin, log in at the provider; where it sends the browser back to."""
    begun = client.get("/login/oidc")
    assert begun.status_code == 303, begun.text
    with httpx.Client(trust_env=False, timeout=60) as elsewhere:
        at_provider = elsewhere.get(begun.headers["location"])
    assert at_provider.status_code == 302, at_provider.text
    return at_provider.headers["location"]


def last_event(api: Api) -> dict[str, Any]:
    """The last one; the next of its kind is noted at once, too."""
    api.forget()
    with api.store.connect() as store:
        query = sa.select(audit_event).order_by(audit_event.c.event_id.desc()).limit(1)
        return dict(store.execute(query).mappings().one())


@pytest.mark.parametrize(
    ("public_url", "leads_to"),
    [("https://api.shop.example/", "https://api.shop.example/login/oidc/callback"), (None, None)],
)
def test_where_no_names_are_set_a_host_does_not_say_where_the_answer_goes(
    api: Api, monkeypatch: pytest.MonkeyPatch, public_url: str | None, leads_to: str | None
) -> None:
    service = api.app.state.service
    monkeypatch.setattr(service, "is_host_told", False)  # as beyond loopback
    monkeypatch.setattr(service.settings, "public_url", public_url)
    with api.client() as client:
        begun = client.get("/login/oidc")
    if leads_to is None:
        assert begun.status_code == 503 and "DMP_API_HOSTS" in begun.text
        assert "location" not in begun.headers and "set-cookie" not in begun.headers
    else:
        asked = parse_qs(urlsplit(begun.headers["location"]).query)
        assert asked["redirect_uri"] == [leads_to]


# letting in --------------------------------------------------------------------------------------
def test_whom_the_provider_knows_and_the_store_too_is_let_in(api: Api) -> None:
    with api.client() as client:
        back = client.get(go(client))
        assert back.status_code == 200
        assert '<meta http-equiv="refresh" content="0; url=/">' in back.text
        session = next(c for c in back.headers.get_list("set-cookie") if COOKIE in c)
        assert "HttpOnly" in session and "SameSite=strict" in session
        assert BEGUN_COOKIE not in client.cookies
        assert client.get("/v1/promo/usage").status_code == 200
        assert client.get("/v1/channels").status_code == 403
        assert ">risk<" in client.get("/").text
    event = last_event(api)
    assert event["action"] == "GET /v1/channels"
    with api.store.connect() as store:
        logged = store.execute(
            sa.select(audit_event)
            .where(audit_event.c.action == "log in")
            .order_by(audit_event.c.event_id.desc())
            .limit(1)
        ).one()
    assert (logged.actor, logged.outcome) == (event["actor"], "done")
    assert logged.detail == {"by": "OpenID Connect"}


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
def test_the_client_says_who_it_is_as_the_provider_wants(
    api: Api, provider: Provider, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.auth_method = method
    if method == "none":
        provider.secret = None
        service = api.app.state.service
        monkeypatch.setattr(service, "issuer", replace(service.issuer, client_secret=None))
    with api.client() as client:
        assert client.get(go(client)).status_code == 200


def test_a_provider_may_change_its_keys_between_two_logins(api: Api, provider: Provider) -> None:
    for _ in range(2):
        with api.client() as client:
            assert client.get(go(client)).status_code == 200
        provider.key = type(provider.key).generate_key(2048, {"kid": "2"})


def test_the_button_is_there_only_where_a_provider_is(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    with api.client() as client:
        assert "Log in with 127.0.0.1" in client.get("/login").text
        monkeypatch.setattr(api.app.state.service, "issuer", None)
        assert "Log in with" not in client.get("/login").text
        for path in ("/login/oidc", "/login/oidc/callback"):
            answer = client.get(path)
            assert answer.status_code == 404
            assert answer.json()["detail"] == "logging in by OpenID Connect is not set up"


def test_what_begins_a_login_is_sealed_brief_and_not_for_scripts(api: Api, home: Home) -> None:
    with api.client() as client:
        answer = client.get("/login/oidc")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Path=/login/oidc" in cookie
    assert f"Max-Age={BEGUN_SECONDS}" in cookie
    asked = httpx.URL(answer.headers["location"]).params
    assert asked["state"] not in cookie and asked["nonce"] not in cookie
    assert asked["redirect_uri"] == f"{api.url}/login/oidc/callback"
    app = create_app(home, secure=True, store=api.store)
    app.state.service.issuer = api.app.state.service.issuer
    with served(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        assert "Secure" in client.get("/login/oidc").headers["set-cookie"]


# keeping out -------------------------------------------------------------------------------------
def refused(api: Api, answer: httpx.Response, status: int, why: str) -> None:
    assert answer.status_code == status, answer.text
    assert 'role="alert"' in answer.text
    assert COOKIE not in answer.cookies
    event = last_event(api)
    assert (event["action"], event["outcome"]) == ("log in", "denied")
    assert event["detail"] == {"by": "OpenID Connect", "why": why}
    assert event["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_token_that_is_wrong_lets_nobody_in(api: Api, provider: Provider, fault: str) -> None:
    provider.fault = fault
    with api.client() as client:
        refused(api, client.get(go(client)), 401, FAULTS[fault])


@pytest.mark.parametrize(
    ("who", "why"),
    [
        ("stranger@shop.example", "unknown"),
        ("gone@shop.example", "revoked"),
        (email("admin"), "has a password"),
        ("\N{KELVIN SIGN}ate@shop.example", "unknown"),
    ],
)
def test_whom_the_store_does_not_let_in_that_way_stays_out(
    api: Api, provider: Provider, who: str, why: str
) -> None:
    with api.store.begin() as store:
        if not store.scalar(sa.text("SELECT count(*) FROM person WHERE email LIKE 'kate@%'")):
            access.add_person(store, "kate@shop.example", "admin", None, now=now())
    provider.email = who
    with api.client() as client:
        refused(api, client.get(go(client)), 403, why)


def test_an_answer_of_another_login_is_refused(api: Api) -> None:
    with api.client() as client, api.client() as other:
        back = go(client)
        refused(api, other.get(back), 401, "state")  # begun in no browser of theirs
        go(other)
        refused(api, other.get(back), 401, "state")  # begun in another one
        refused(api, client.get(back, params={"state": "x"}), 401, "state")


def test_an_answer_opens_once(api: Api) -> None:
    with api.client() as client:
        back = go(client)
        begun = client.cookies[BEGUN_COOKIE]
        assert client.get(back).status_code == 200
        refused(api, client.get(back), 401, "state")
        stolen = {"Cookie": f"{BEGUN_COOKIE}={begun}"}
        refused(api, httpx.get(back, headers=stolen, trust_env=False), 401, "code")


def test_an_answer_of_another_issuer_or_a_refusal_is_no_login(api: Api) -> None:
    with api.client() as client:
        back = httpx.URL(go(client))
        refused(
            api,
            client.get(back.copy_set_param("iss", "https://evil.example")),
            401,
            "another issuer",
        )
        state = httpx.URL(go(client)).params["state"]
        denied = {"state": state, "error": "access_denied"}
        refused(
            api, client.get("/login/oidc/callback", params=denied), 401, "refused by the issuer"
        )


def test_a_begun_login_ends_after_minutes_and_is_nothing_else() -> None:
    seal = Fernet(Fernet.generate_key())
    begun = Begun(state="s", nonce="n", verifier="v", redirect_uri="http://x")
    assert Begun.opened(seal, begun.sealed(seal)) == begun
    text = seal.decrypt(begun.sealed(seal))
    old = seal.encrypt_at_time(text, int(time.time()) - BEGUN_SECONDS - 1).decode()
    assert Begun.opened(seal, old) is None
    assert Begun.opened(seal, seal.encrypt(begun.model_dump_json().encode()).decode()) is None
    assert Begun.opened(Fernet(Fernet.generate_key()), begun.sealed(seal)) is None
    assert Begun.opened(seal, "") is None


def test_a_begun_login_is_no_cursor(api: Api) -> None:
    with api.client() as client, api.as_role("risk") as risk:
        client.get("/login/oidc")
        answer = risk.get("/v1/promo/top-users", params={"cursor": client.cookies[BEGUN_COOKIE]})
    assert answer.status_code == 422


def test_a_password_opens_nothing_for_who_has_none(api: Api) -> None:
    with api.client() as client:
        assert client.post("/login", data={"email": ANN, "password": PASSWORD}).status_code == 401


def test_logins_are_held_back_like_those_by_password(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.app.state.service.settings, "api_denied_rate_limit", "2/minute")
    with api.client() as client:
        for path, usual in (("/login/oidc", 303), ("/login/oidc/callback", 401)):
            codes = [client.get(path).status_code for _ in range(3)]
            assert codes == [usual, usual, 429]


def test_nothing_of_a_login_is_in_the_log(api: Api, provider: Provider) -> None:
    provider.fault = "another nonce"
    with structlog.testing.capture_logs() as lines, api.client() as client:
        back = httpx.URL(go(client))
        client.get(back)
    said = str(lines)
    for secret in (back.params["code"], back.params["state"], ANN, CLIENT_SECRET):
        assert secret not in said


# a provider that is not there --------------------------------------------------------------------
def test_a_provider_that_is_down_is_said_clearly(
    api: Api, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    with api.client() as client:
        back = go(client)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            monkeypatch.setattr(oidc, "PATIENCE_SECONDS", 0.3)
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            service = api.app.state.service
            monkeypatch.setattr(service, "issuer", replace(service.issuer, url=url))
            slow = client.get("/login/oidc")
        for answer in (slow, client.get("/login/oidc"), client.get(back.partition("&iss")[0])):
            assert answer.status_code == 503
            assert "127.0.0.1 does not answer at the moment" in answer.text
            assert answer.headers["retry-after"]
            assert COOKIE not in answer.cookies
        form = {"email": email("risk"), "password": PASSWORD}
        assert client.post("/login", data=form).status_code == 303


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://login.example.com"},
        {"token_endpoint": "http://login.example.com/token"},
        {"jwks_uri": None},
    ],
)
def test_a_provider_that_says_what_cannot_be_is_not_used(
    api: Api, provider: Provider, discovery: dict[str, Any]
) -> None:
    provider.discovery = discovery
    with api.client() as client:
        assert client.get("/login/oidc").status_code == 503


# settings ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"DMP_OIDC_ISSUER": "https://login.example.com"}, "needs both"),
        ({"DMP_OIDC_CLIENT_ID": "dmp"}, "needs both"),
        (
            {"DMP_OIDC_ISSUER": "http://login.example.com", "DMP_OIDC_CLIENT_ID": "dmp"},
            "must be an https address",
        ),
    ],
)
def test_half_a_configuration_is_refused(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], said: str
) -> None:
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    live = Home(tmp_path / "home").prepare("live")
    with pytest.raises(HomeError, match=said):
        Issuer.of(live.settings())


def test_the_settings_name_the_provider(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    live = Home(tmp_path / "home").prepare("live")
    assert Issuer.of(live.settings()) is None
    monkeypatch.setenv("DMP_OIDC_ISSUER", "https://login.example.com/shop")
    monkeypatch.setenv("DMP_OIDC_CLIENT_ID", "dmp")
    monkeypatch.setenv("DMP_OIDC_CLIENT_SECRET", "hunter2")
    issuer = Issuer.of(live.settings())
    assert issuer is not None and issuer.client_secret is not None
    assert issuer.name == "login.example.com"
    assert "hunter2" not in repr(issuer)
