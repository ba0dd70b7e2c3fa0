"""Connecting by a browser, at stand-ins; the page and the route tell how it goes."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pyarrow as pa
import pytest
import sqlalchemy as sa

from dmp_assets.ads.service.routes.connecting import ANSWER_COOKIE, BEGUN_COOKIE
from dmp_assets.home import Home
from dmp_assets.platform.connect.errors import NeedsConsentError, ThrottledError
from dmp_assets.platform.connect.keys import KeyRing
from dmp_assets.platform.connect.tokens import Connections
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.store import access, advertisers
from dmp_assets.platform.store.schema import (
    advertiser,
    advertiser_member,
    audit_event,
    person,
    service_connection,
    service_token,
)
from tests.support import shopify
from tests.support.meta import BERLIN, TOKYO, Meta, consent_at, running
from tests.support.postgres import fresh_database
from tests.support.service import PASSWORD, Api, fill, now, running_api
from tests.unit.ads.test_ads_pages import HTML, person_of, posted, shown, words

PATH = "/ads/connections"


@pytest.fixture(scope="module")
def meta(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meta]:
    with running(tmp_path_factory.mktemp("meta")) as meta:
        yield meta


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[shopify.Service]:
    with shopify.running(tmp_path_factory.mktemp("shop")) as service:
        yield service


@pytest.fixture(scope="module")
def _api(
    postgres: Endpoint,
    meta: Meta,
    shop: shopify.Service,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Api]:
    home = Home(tmp_path_factory.mktemp("ads") / "home").prepare("live")
    secret = shop.settings.shopify_client_secret
    assert secret is not None
    told = {
        **{name: value for name, value in meta.settings.items() if name.startswith("meta_")},
        "shopify_url": shop.settings.shopify_url,
        "shopify_client_id": shop.settings.shopify_client_id,
        "shopify_client_secret": secret.get_secret_value(),
        "shopify_access": "consent",
        "shopify_shops": f'{{"{shopify.SHOP}": "acme", "{shopify.OTHER}": "bolt"}}',
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(f"DMP_{name.upper()}", str(value))
        with fresh_database(postgres) as url, running_api(home, url) as api:
            with api.store.begin() as store:
                access.add_person(store, "ben@shop.example", "marketer", PASSWORD, now=now())
            yield api


@pytest.fixture
def api(_api: Api, meta: Meta) -> Iterator[Api]:
    """The marketer manages acme; Ben manages both acme and bolt; the analyst reads acme."""
    _api.forget()
    meta.faults()
    with _api.store.begin() as store:
        ben = store.scalar(
            sa.select(person.c.person_id).where(person.c.email == "ben@shop.example")
        )
        for actor, whose, role in (
            (person_of(store, "marketer"), "acme", "manager"), (f"person:{ben}", "acme", "manager"),
            (f"person:{ben}", "bolt", "manager"), (person_of(store, "analyst"), "acme", "reader"),
        ):  # fmt: skip
            advertisers.let_in(store, whose, actor, role, now=now())
    yield _api
    with _api.store.begin() as store:
        for table in (service_connection, advertiser_member, advertiser):
            store.execute(table.delete())


def begun(client: httpx.Client, service: str = "meta", *, whose: str = "acme", **form: str) -> str:
    """Where the page sends the browser."""
    answer = posted(client, f"/connections/{service}?advertiser={whose}", **form)
    assert answer.status_code == 200, answer.text
    found = re.search(r'content="0; url=([^"]*)"', answer.text)
    assert found is not None
    return found[1].replace("&amp;", "&")


def come_back(client: httpx.Client, query: Mapping[str, str]) -> httpx.Response:
    """From the service's site, so without the session; then as our page leads on."""
    session = client.cookies.get("dmp_session")
    assert session is not None
    client.cookies.delete("dmp_session")
    answer = client.get(f"{PATH}/return", params=query)
    if answer.status_code != 200:
        return answer
    assert 'content="0; url=/ads/connections/finish"' in answer.text
    assert query.get("code", "no code") not in answer.text
    client.cookies.set("dmp_session", session, domain="127.0.0.1", path="/")
    return client.get(f"{PATH}/finish", headers=HTML)


def listed(client: httpx.Client, advertiser_id: str = "acme") -> list[dict[str, Any]]:
    answer = client.get("/v1/ads/connections", params={"advertiser": advertiser_id})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def connect(
    client: httpx.Client,
    access: str = "reading",
    *,
    whose: str = "acme",
    accounts: tuple[str, ...] = (BERLIN,),
) -> None:
    scopes = ("ads_read",) if access == "reading" else (
        "ads_read", "ads_management", "business_management")  # fmt: skip
    url = begun(client, whose=whose, access=access)
    back = consent_at(url, accounts=accounts, scopes=scopes)
    answer = come_back(client, back)
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"] == f"/ads/connections?advertiser={whose}&told=connected"


def tokens(api: Api) -> list[str]:
    """All access tokens that the store keeps, opened."""
    connections = Connections(api.store, KeyRing.of(api.home))
    with api.store.connect() as store:
        rows = store.execute(sa.select(service_token.c.connection_id, service_token.c.sealed))
        return [connections._opened(row.connection_id, row.sealed).access for row in rows]


# connecting --------------------------------------------------------------------------------------
@pytest.mark.parametrize("access_", ["reading", "writing"])
def test_a_manager_connects_meta_by_the_browser(api: Api, access_: str) -> None:
    with api.logged_in("marketer") as client:
        connect(client, access_)
        page = shown(client, "/connections", told="connected")
        [one] = listed(client)
        assert BEGUN_COOKIE not in client.cookies and ANSWER_COOKIE not in client.cookies
    assert (one["service"], one["account"], one["state"]) == ("Meta", "acme", "active")
    assert one["may_write"] is (access_ == "writing") and one["missing_scopes"] == []
    assert one["ends_at"] is not None and one["last_failure_kind"] is None
    assert "Connected. The next run reads it" in page and "good until" in words(page)
    [token] = tokens(api)
    with api.store.connect() as store:
        events = store.execute(sa.select(audit_event)).all()
    assert token not in page and not any(token in str(event) for event in events)
    assert any(event.action == "ads connect" and event.detail["advertiser"] == "acme"
               for event in events)  # fmt: skip


def test_a_consent_without_an_account_is_told_as_one_by_which_nothing_is_read(api: Api) -> None:
    with api.logged_in("marketer") as client:
        back = consent_at(begun(client, access="reading"), accounts=(), scopes=("ads_read",))
        answer = come_back(client, back)
        assert answer.headers["location"].endswith("told=no-accounts"), answer.text
        page = words(client.get(answer.headers["location"], headers=HTML).text)
        [one] = listed(client)
    assert "no ad account was ticked, so nothing is read" in page
    assert (one["state"], one["last_failure_kind"]) == ("active", "no ad account")


def test_a_shop_is_connected_by_consent(api: Api, shop: shopify.Service) -> None:
    with api.logged_in("marketer") as client:
        url = begun(client, "shopify", shop=shopify.SHOP)
        with httpx.Client(trust_env=False) as browser:
            back = httpx.URL(browser.get(url).headers["location"])
        assert back.path == f"{PATH}/return"
        answer = come_back(client, dict(back.params))
        assert answer.status_code == 303, answer.text
        [one] = listed(client)
        page = words(shown(client, "/connections"))
        foreign = posted(client, "/connections/shopify?advertiser=acme", shop=shopify.OTHER)
        unknown = posted(
            client, "/connections/shopify?advertiser=acme", shop="no-such.myshopify.com"
        )
    assert (one["service"], one["account"], one["state"]) == ("Shopify", shopify.SHOP, "active")
    assert shopify.SHOP in page and shopify.OTHER not in page
    assert foreign.status_code == unknown.status_code == 422
    without = re.compile(r"Request <code>\w+")
    assert without.sub("", foreign.text) == without.sub("", unknown.text)


def test_a_connection_is_of_one_advertiser(api: Api) -> None:
    with api.logged_in("marketer") as client:
        connect(client)
    with api.client() as ben:
        ben.post("/login", data={"email": "ben@shop.example", "password": PASSWORD})
        [one] = listed(ben)
        assert listed(ben, "bolt") == []
        assert "good until" not in shown(ben, "/connections", advertiser="bolt")
        with api.store.connect() as store:
            connection = store.scalar(sa.select(service_connection.c.connection_id))
        gone = posted(
            ben, "/connections/disconnect?advertiser=bolt", connection=str(connection)
        )  # fmt: skip
        assert gone.status_code == 404
        assert listed(ben) == [one]


def test_an_account_that_another_advertiser_has_is_left_out_and_the_page_says_so(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(client: httpx.Client, whose: str) -> str:
        return words(shown(client, "/connections", advertiser=whose))

    with api.client() as ben:
        ben.post("/login", data={"email": "ben@shop.example", "password": PASSWORD})
        connect(ben)
        connect(ben, whose="bolt", accounts=(BERLIN, TOKYO))
        assert "accounts of another advertiser are left out" in capsys.readouterr().out
        said = told(ben, "bolt")
        assert "1 ad account ticked for this advertiser belongs to another" in said
        assert f"first: {BERLIN} ." in said and "belongs to another" not in told(ben, "acme")
        row = {"account_id": BERLIN, "name": "A", "currency": "EUR", "timezone": "Europe/Berlin",
               "account_status": "1", "is_listed": True}  # fmt: skip
        fill(api.store, {"ad_accounts": pa.Table.from_pylist([{"advertiser_id": "acme", **row}])})
        connect(ben)  # anew, so later than bolt; who has the rows keeps it
        assert "belongs to another" not in told(ben, "acme")
        assert "belongs to another" in told(ben, "bolt")
        connect(ben, whose="bolt", accounts=(TOKYO,))
        assert "belongs to another" not in told(ben, "bolt")


def test_a_reader_sees_how_it_goes_and_changes_nothing(api: Api) -> None:
    with api.logged_in("marketer") as client:
        connect(client)
    with api.store.connect() as store:
        connection = store.scalar(sa.select(service_connection.c.connection_id))
    with api.logged_in("analyst") as client:
        page = shown(client, "/connections")
        assert "good until" in words(page) and '<form method="post" action="/ads' not in page
        for path, form in (
            ("meta", {"access": "reading"}), ("shopify", {"shop": shopify.SHOP}),
            ("disconnect", {"connection": str(connection)}),
        ):  # fmt: skip
            answer = posted(client, f"/connections/{path}?advertiser=acme", **form)
            assert answer.status_code == 403, path
        assert client.get(f"{PATH}/finish").status_code == 403


# what comes back ---------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["forged state", "another code", "refused", "less granted"])
def test_an_answer_that_is_not_right_connects_nothing(api: Api, kind: str) -> None:
    with api.logged_in("marketer") as client:
        url = begun(client, access="writing")
        back = consent_at(
            url, accounts=(BERLIN,), answer="no" if kind == "refused" else "yes",
            scopes=("ads_read",) if kind == "less granted" else ("ads_read", "ads_management",
                                                                 "business_management"),
        )  # fmt: skip
        if kind == "forged state":
            back |= {"state": "made-up"}
        elif kind == "another code":
            back |= {"code": "made-up"}
        answer = come_back(client, back)
        assert answer.status_code == 422 and "Not connected" in answer.text, answer.text
        if kind == "less granted":
            assert "ads_management" in answer.text
        assert listed(client) == []


def test_an_answer_is_good_once_and_from_its_browser(api: Api) -> None:
    with api.logged_in("marketer") as client:
        back = consent_at(begun(client, access="reading"), accounts=(BERLIN,), scopes=("ads_read",))
        cookie = client.cookies.get(BEGUN_COOKIE)
        assert come_back(client, back).status_code == 303
        again = come_back(client, back)
        assert again.status_code == 422 and "did not begin" in again.text
        client.cookies.set("dmp_session", session_of(api, "marketer"))
        client.cookies.set(BEGUN_COOKIE, str(cookie), domain="127.0.0.1", path=PATH)
        used = come_back(client, back)
        assert used.status_code == 422 and "was used" in used.text


def session_of(api: Api, role: str) -> str:
    with api.logged_in(role) as client:
        found = client.cookies.get("dmp_session")
    assert found is not None
    return found


def test_what_one_began_another_does_not_finish(api: Api) -> None:
    with api.logged_in("marketer") as client, api.client() as ben:
        ben.post("/login", data={"email": "ben@shop.example", "password": PASSWORD})
        back = consent_at(begun(client, access="reading"), accounts=(BERLIN,), scopes=("ads_read",))
        cookie = client.cookies.get(BEGUN_COOKIE)
        ben.cookies.set(BEGUN_COOKIE, str(cookie), domain="127.0.0.1", path=PATH)
        answer = come_back(ben, back)
        assert answer.status_code == 403 and "omebody else began" in answer.text
        assert listed(client) == []


def test_who_is_shut_out_meanwhile_connects_nothing(api: Api) -> None:
    with api.logged_in("marketer") as client:
        back = consent_at(begun(client, access="reading"), accounts=(BERLIN,), scopes=("ads_read",))
        with api.store.begin() as store:
            advertisers.shut_out(store, "acme", person_of(store, "marketer"))
        assert come_back(client, back).status_code == 404
    with api.store.connect() as store:
        assert store.execute(sa.select(service_connection)).all() == []


def test_an_answer_that_fits_no_cookie_is_refused(api: Api) -> None:
    with api.logged_in("marketer") as client:
        begun(client, access="reading")
        answer = client.get(f"{PATH}/return", params={"code": "x" * 5000}, headers=HTML)
    assert answer.status_code == 422 and "too long" in answer.text


# how it goes, and its end ------------------------------------------------------------------------
def test_what_needs_a_person_stands_on_top(api: Api) -> None:
    with api.logged_in("marketer") as client:
        connect(client)
        connections = Connections(api.store, KeyRing.of(api.home))
        with api.store.connect() as store:
            connection = store.scalar(sa.select(service_connection.c.connection_id))
        assert connection is not None
        connections.note_failure(connection, ThrottledError("later", 60))
        assert listed(client)[0]["is_throttled"] is True
        assert "held back by limits" in shown(client, "/connections")
        connections.note_failure(connection, NeedsConsentError("gone", "taken back"))
        [one] = listed(client)
        assert (one["state"], one["last_failure_kind"]) == ("needs_consent", "taken back")
        assert "needs a new consent" in shown(client, "/connections")


@pytest.mark.parametrize("answers", [True, False])
def test_disconnecting_revokes_deletes_the_token_and_says_so(
    api: Api, meta: Meta, answers: bool
) -> None:
    with api.logged_in("marketer") as client:
        connect(client)
        with api.store.connect() as store:
            connection = store.scalar(sa.select(service_connection.c.connection_id))
        if not answers:
            meta.faults({"method": "revoke", "kind": "500", "times": 99})
        answer = posted(
            client, "/connections/disconnect?advertiser=acme", connection=str(connection)
        )  # fmt: skip
        assert answer.status_code == 303, answer.text
        page = words(client.get(answer.headers["location"], headers=HTML).text)
        assert listed(client) == [] and tokens(api) == []
    assert ("the service was told" in page) is answers
    assert ("end our access on its own pages" in page) is not answers
