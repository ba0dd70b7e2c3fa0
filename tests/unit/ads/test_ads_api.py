"""The API of ad performance: what it says, and that nobody learns of another advertiser."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from dmp_assets.cli.main import app as dmp
from dmp_assets.home import Home
from dmp_assets.platform.api.advertisers import is_seated
from dmp_assets.platform.api.app import api_routes
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.store import access, advertisers
from dmp_assets.platform.store.roles import ROLES
from dmp_assets.platform.store.schema import advertiser, advertiser_member, audit_event, person
from tests.support.ads_rows import DAYS, FIRST, LEVELS, OPEN, ads_rows
from tests.support.postgres import fresh_database
from tests.support.service import Api, email, fill, now, running_api

LAST = FIRST + timedelta(days=DAYS - 1)
ROUTES = ("roi", "campaigns", "performance", "bridge", "orders", "claims", "accounts")


@pytest.fixture(scope="module")
def _api(postgres: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    home = Home(tmp_path_factory.mktemp("ads") / "home").prepare("live")
    with fresh_database(postgres) as url, running_api(home, url) as api:
        fill(api.store, ads_rows(("acme", "bolt")), "v2")
        yield api


@pytest.fixture
def api(_api: Api) -> Iterator[Api]:
    """Two advertisers; the marketer manages acme, the client `reader` reads bolt."""
    _api.forget()
    with _api.store.begin() as store:
        marketer = store.scalar(
            sa.select(person.c.person_id).where(person.c.email == email("marketer"))
        )
        advertisers.let_in(store, "acme", f"person:{marketer}", "manager", now=now())
        advertisers.let_in(store, "acme", "client:key-marketer", "manager", now=now())
        advertisers.let_in(store, "bolt", "client:key-analyst", "reader", now=now())
        advertisers.let_in(store, "acme", "client:both", "reader", now=now())
        advertisers.let_in(store, "bolt", "client:both", "reader", now=now())
    yield _api
    with _api.store.begin() as store:
        store.execute(advertiser_member.delete())
        store.execute(advertiser.delete())


def rows(client: httpx.Client, path: str, **params: Any) -> list[dict[str, Any]]:
    answer = client.get(f"/v1/ads/{path}", params=params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


# what it says ------------------------------------------------------------------------------------
def test_ratios_are_of_sums_over_the_range(api: Api) -> None:
    with api.as_role("marketer") as client:
        [whole] = rows(client, "roi", by="range", start=str(FIRST), end=str(LAST))
        by_day = rows(client, "roi", start=str(FIRST), end=str(LAST))
    assert len(by_day) == DAYS and whole["date"] is None
    for name in ("spend", "revenue", "contribution", "orders", "new_customers"):
        total = sum(Decimal(str(row[name])) for row in by_day)
        assert Decimal(str(whole[name])) == total, name
    assert whole["mer"] == 5.0 and whole["platform_roas"] == 3.0 and whole["cac"] == 25.0
    assert whole["new_share"] == 0.5
    assert [row["is_open"] for row in by_day] == [n >= DAYS - OPEN for n in range(DAYS)]


def test_campaigns_have_no_figures_of_the_whole_shop(api: Api) -> None:
    with api.as_role("marketer") as client:
        found = rows(client, "campaigns")
    assert [row["campaign_id"] for row in found] == ["c1", "c2"]
    assert "mer" not in found[0] and found[0]["campaign_name"] == "Campaign c1 of acme"


@pytest.mark.parametrize(("level", "count"), [("account", 1), ("campaign", 2), ("adset", 3),
                                              ("ad", 4)])  # fmt: skip
def test_every_level_adds_up_to_the_same(api: Api, level: str, count: int) -> None:
    days = {"start": str(FIRST), "end": str(LAST)}
    with api.as_role("marketer") as client:
        found = rows(client, "performance", level=level, **days)
        daily = []
        cursor: str | None = None
        while True:
            more = {"cursor": cursor} if cursor else {}
            answer = client.get(
                "/v1/ads/performance",
                params={"level": level, "by": "day", "limit": 7, "sort": "clicks"} | days | more,
            ).json()
            daily += answer["items"]
            cursor = answer["next"]
            if cursor is None:
                break
    assert len(found) == count and len(daily) == count * DAYS
    assert len({(row["date"], row["account_id"], row["campaign_id"], row["adset_id"],
                 row["ad_id"]) for row in daily}) == count * DAYS  # fmt: skip
    expected = Decimal(DAYS * 10 * sum(range(1, len(LEVELS) + 1)))
    for some in (found, daily):
        assert sum(Decimal(row["spend"]) for row in some) == expected
    assert [row["clicks"] for row in daily] == sorted(row["clicks"] for row in daily)
    assert all(row["name"] for row in found)


def test_a_level_is_drilled_into(api: Api) -> None:
    with api.as_role("marketer") as client:
        sets = rows(client, "performance", level="adset", campaign="c1")
        some = rows(client, "performance", level="ad", adset="s1", sort="name")
    assert {row["adset_id"] for row in sets} == {"s1", "s2"}
    assert [row["name"] for row in some] == ["Ad a1 of acme", "Ad a2 of acme"]
    assert some[0]["status"] == "ACTIVE"


def test_the_bridge_adds_up(api: Api) -> None:
    with api.as_role("marketer") as client:
        for row in rows(client, "bridge", by="day"):
            parts = ("matched", "reversed", "test", "boundary", "view_through", "unexplained")
            assert row["claimed_orders"] == sum(row[f"{part}_orders"] for part in parts)
            assert Decimal(row["claimed_value"]) == sum(
                Decimal(row[f"{part}_value"]) for part in parts
            )


@pytest.mark.parametrize("path", ROUTES)
def test_everything_is_csv_too(api: Api, path: str) -> None:
    with api.as_role("marketer") as client:
        listed = rows(client, path)
        answer = client.get(f"/v1/ads/{path}", headers={"Accept": "text/csv"})
    table = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(table) == len(listed) and list(table[0]) == list(listed[0])


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"sort": "advertiser_id"}, "query.sort"),
        ({"sort": "-key"}, "query.sort"),
        ({"level": "creative"}, "query.level"),
        ({"cursor": "x"}, "query.cursor"),
        ({"limit": 0}, "query.limit"),
        ({"start": "2024-02-30"}, "query.start"),
        ({"advertisr": "acme"}, "query.advertisr"),
    ],
)
def test_what_cannot_be_meant_is_named(api: Api, params: dict[str, Any], field: str) -> None:
    with api.as_role("marketer") as client:
        answer = client.get("/v1/ads/performance", params=params)
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


# who sees whom -----------------------------------------------------------------------------------
def test_without_members_a_home_is_open_to_who_has_the_scope(api: Api) -> None:
    with api.store.begin() as store:
        store.execute(advertiser_member.delete())
        store.execute(advertiser.update().values(members_since=None))
    with api.as_role("analyst") as client:
        found = rows(client, "advertisers")
        answer = client.get("/v1/ads/roi")
        assert answer.status_code == 422 and "acme, bolt" in answer.text
        assert rows(client, "roi", advertiser="bolt", by="range")
    assert [(one["advertiser_id"], one["role"]) for one in found] == [
        ("acme", "manager"), ("bolt", "manager"),
    ]  # fmt: skip


def test_a_member_sees_their_own_and_an_admin_all(api: Api) -> None:
    with api.as_role("marketer") as client:
        assert [one["advertiser_id"] for one in rows(client, "advertisers")] == ["acme"]
    with api.as_role("analyst") as client:
        [only] = rows(client, "advertisers")
        assert (only["advertiser_id"], only["role"]) == ("bolt", "reader")
    with api.logged_in("admin") as client:
        assert len(rows(client, "advertisers")) == 2
    with api.logged_in("analyst") as client:  # a person who is no member, with the same role
        assert rows(client, "advertisers") == []
        answer = client.get("/v1/ads/roi")
        assert answer.status_code == 404 and "lets you in" in answer.text


@pytest.mark.parametrize("path", ROUTES)
def test_anothers_advertiser_answers_as_one_that_is_not_there(api: Api, path: str) -> None:
    with api.as_role("marketer") as client:
        own = client.get(f"/v1/ads/{path}").text
        foreign = client.get(f"/v1/ads/{path}", params={"advertiser": "bolt"})
        unknown = client.get(f"/v1/ads/{path}", params={"advertiser": "nobody"})
    assert own and "bolt" not in own
    assert foreign.status_code == unknown.status_code == 404
    drop = ("request_id",)
    assert {k: v for k, v in foreign.json().items() if k not in drop} == {
        k: v for k, v in unknown.json().items() if k not in drop
    }
    with api.as_role("marketer") as client:
        as_csv = client.get(f"/v1/ads/{path}", headers={"Accept": "text/csv"}).text
    assert "bolt" not in as_csv


def test_a_cursor_of_one_advertiser_opens_nothing_of_another(api: Api) -> None:
    with api.store.begin() as store:
        key = access.add_client(store, "both", ["ads:read"], now=now())
    with api.client(key) as client:
        params = {"level": "ad", "limit": 1}
        mine = client.get("/v1/ads/performance", params=params | {"advertiser": "acme"}).json()
        answer = client.get(
            "/v1/ads/performance", params=params | {"advertiser": "bolt", "cursor": mine["next"]}
        )
    assert answer.status_code == 422 and "query.cursor" in answer.text


def test_ids_that_two_advertisers_share_stay_apart(api: Api) -> None:
    with api.as_role("marketer") as mine, api.as_role("analyst") as other:
        first = rows(mine, "performance", level="ad", ad="a1")
        second = rows(other, "performance", level="ad", ad="a1")
    assert Decimal(second[0]["spend"]) == 2 * Decimal(first[0]["spend"])
    assert (first[0]["name"], second[0]["name"]) == ("Ad a1 of acme", "Ad a1 of bolt")


def test_every_route_of_the_domain_is_about_one_advertiser() -> None:
    """Also those of which no test knows yet: who forgets the seat is told."""
    free = {"/v1/ads/advertisers"} | {
        # what the browser brings back says whose it is, sealed
        f"/ads/connections/{step}"
        for step in ("return", "finish")
    }
    routes = [route for route in api_routes() if route.path.startswith(("/v1/ads/", "/ads/"))]
    assert {route.path for route in routes if not is_seated(route)} == free


def test_no_route_tells_anothers_advertiser_from_none(api: Api) -> None:
    with api.as_role("admin") as admin:
        assert admin.get("/v1/ads/roi", params={"advertiser": "acme"}).status_code == 404, (
            "a key is a member or not, whatever its scopes"
        )
    with api.store.begin() as store:
        key = access.add_client(store, "stranger", list(ROLES["admin"]), now=now())
        advertisers.let_in(store, "bolt", "client:stranger", "manager", now=now())
    with api.client(key) as client:
        for route in api_routes():
            if not is_seated(route):
                continue
            path = re.sub(r"{[^}]+}", "1", route.path)
            for method in sorted(route.methods):
                said = []
                for whose in ("acme", "nobody"):
                    answer = client.request(method, path, params={"advertiser": whose}, json={})
                    assert answer.status_code == 404, (method, path, answer.text)
                    told = answer.json() if "json" in answer.headers["content-type"] else {}
                    said.append({k: v for k, v in told.items() if k != "request_id"})
                assert said[0] == said[1], path


def test_a_report_of_all_is_for_who_sees_all(api: Api) -> None:
    (api.home.reports / "ads.html").write_text("<h1>Ads</h1>")
    (api.home.reports / "ads.png").write_bytes(b"png")
    for name in ("ads.html", "ads.png"):
        with api.as_role("marketer") as client:
            assert client.get(f"/reports/{name}").status_code == 403
        with api.logged_in("admin") as client:
            assert client.get(f"/reports/{name}").status_code == 200
        with api.store.begin() as store:
            advertisers.let_in(store, "bolt", "client:key-marketer", "reader", now=now())
        with api.as_role("marketer") as client:
            assert client.get(f"/reports/{name}").status_code == 200
            assert client.get("/reports/promo_abuse.html").status_code == 200
        with api.store.begin() as store:
            advertisers.shut_out(store, "bolt", "client:key-marketer")


def test_what_is_of_one_shop_is_for_its_members(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = api.app.state.service.settings
    with api.store.begin() as store:
        for one in advertisers.members_of(store, "acme"):
            advertisers.shut_out(store, "acme", one)
        advertisers.let_in(store, "bolt", "client:key-marketer", "reader", now=now())

    def seen() -> set[int]:
        with api.as_role("marketer") as client:
            paths = ("/v1/channels", "/v1/attribution", "/reports/attribution.html")
            return {client.get(path).status_code for path in paths}

    (api.home.reports / "attribution.html").write_text("<title>Channels</title>")
    for whose, status in (("acme", 403), ("bolt", 200), ("", 403)):
        monkeypatch.setattr(settings, "web_advertiser", whose)
        assert seen() == {status}, whose
    with api.store.begin() as store:
        advertisers.let_in(store, "acme", "client:key-marketer", "reader", now=now())
    assert seen() == {200}  # of all there are
    with api.client() as nobody:
        assert nobody.get("/v1/channels").status_code == 401


# the commands ------------------------------------------------------------------------------------
def test_members_are_named_by_commands(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    with api.store.begin() as store:
        store.execute(advertiser_member.delete())
    monkeypatch.setenv("DMP_HOME", str(api.home.root))
    url = api.store.url.render_as_string(hide_password=False)
    monkeypatch.setenv("DMP_STORE_URL", url.replace("postgresql+psycopg", "postgresql"))

    def run(*words: str) -> Any:
        return CliRunner().invoke(dmp, ["advertiser", *words])

    assert run("add", "acme", "--name", "Acme Ltd").exit_code == 0
    assert run("let-in", "acme", "--user", email("analyst"), "--role", "manager").exit_code == 0
    listed = run("list").stdout
    assert "Acme Ltd" in listed and email("analyst") in listed and "manager" in listed
    with api.logged_in("analyst") as client:
        [only] = rows(client, "advertisers")
    assert (only["name"], only["role"]) == ("Acme Ltd", "manager")
    with api.logged_in("marketer") as client:
        assert rows(client, "advertisers") == []
    gone = run("shut-out", "acme", "--user", email("analyst"))
    assert gone.exit_code == 0 and "only administrators see it" in gone.output
    for role in ("analyst", "marketer"):  # it stays closed
        with api.logged_in(role) as client:
            assert rows(client, "advertisers") == []
    with api.store.connect() as store:
        noted = store.execute(
            sa.select(audit_event.c.detail)
            .where(audit_event.c.action.in_(("advertiser let-in", "advertiser shut-out")))
            .order_by(audit_event.c.event_id.desc())
            .limit(2)
        ).scalars()
        assert all(one["member"].startswith("person:") for one in noted)
    for words, said in (
        (("let-in", "acme", "--user", "nobody@shop.example"), "no person"),
        (("let-in", "acme", "--client", "nobody"), "no client"),
        (("let-in", "acme"), "one of them"),
        (("let-in", "acme", "--user", email("analyst"), "--role", "owner"), "no role"),
        (("let-in", "acne", "--user", email("analyst")), "no advertiser acne"),
        (("add", "a b"), "no id"),
        (("shut-out", "acme", "--user", email("analyst")), "no member"),
    ):
        failed = run(*words)
        assert failed.exit_code != 0 and said in failed.output, failed.output
