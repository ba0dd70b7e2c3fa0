"""The pages of ad performance: what they say, that they say it of one advertiser, and forms."""

import csv
import io
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pyarrow as pa
import pytest
import sqlalchemy as sa

from dmp_assets.ads.service import charts, numbers
from dmp_assets.ads.service.spans import PRESETS, Span, earlier, preset
from dmp_assets.ads.service.store.schema_pages import ads_saved_view
from dmp_assets.home import Home
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.store import access, advertisers
from dmp_assets.platform.store.errors import LastManagerError
from dmp_assets.platform.store.schema import (
    advertiser,
    advertiser_member,
    audit_event,
    person,
    service_connection,
)
from tests.support.ads_rows import DAYS, FIRST, OPEN, ads_rows
from tests.support.postgres import fresh_database
from tests.support.service import PASSWORD, Api, email, fill, now, running_api

LAST = FIRST + timedelta(days=DAYS - 1)
PAGES = (
    "", "/bridge", "/campaigns", "/orders", "/claims", "/budget", "/experiments", "/notices",
    "/insights", "/connections", "/members",
)  # fmt: skip
FILES = ("overview", "bridge", "campaigns", "orders", "claims")
HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def _api(postgres: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    home = Home(tmp_path_factory.mktemp("ads") / "home").prepare("live")
    with fresh_database(postgres) as url, running_api(home, url) as api:
        fill(api.store, ads_rows(("acme", "bolt")), "v2")
        with api.store.begin() as store:
            access.add_person(store, "ben@shop.example", "marketer", PASSWORD, now=now())
        yield api


@pytest.fixture
def api(_api: Api) -> Iterator[Api]:
    """Two advertisers: the marketer manages acme and reads bolt, the analyst reads bolt."""
    _api.forget()
    with _api.store.begin() as store:
        for role, whose, as_role in (
            ("marketer", "acme", "manager"), ("marketer", "bolt", "reader"),
            ("analyst", "bolt", "reader"),
        ):  # fmt: skip
            advertisers.let_in(store, whose, person_of(store, role), as_role, now=now())
    yield _api
    with _api.store.begin() as store:
        for table in (advertiser_member, advertiser, ads_saved_view, service_connection):
            store.execute(table.delete())


def person_of(store: sa.Connection, role: str) -> str:
    found = store.scalar(sa.select(person.c.person_id).where(person.c.email == email(role)))
    return f"person:{found}"


def shown(client: httpx.Client, path: str, **params: Any) -> str:
    answer = client.get(f"/ads{path}", params=params, headers=HTML)
    assert answer.status_code == 200, answer.text
    return answer.text


def words(text: str) -> str:
    """What is read on a page, on one line."""
    return re.sub(r"\s+", " ", re.sub(r"<script.*?</script>|<[^>]*>", " ", text, flags=re.S))


def posted(client: httpx.Client, path: str, **form: Any) -> httpx.Response:
    token = client.get("/").text.split('name="csrf_token" value="')[1].split('"')[0]
    return client.post(f"/ads{path}", data=form | {"csrf_token": token}, headers=HTML)


# what they say -----------------------------------------------------------------------------------
def test_the_overview_says_the_figures_of_the_route(api: Api) -> None:
    with api.logged_in("marketer") as client:
        page = words(shown(client, "", advertiser="acme", range="last-28"))
        [row] = client.get(
            "/v1/ads/roi",
            params={"advertiser": "acme", "by": "range", "end": str(LAST),
                    "start": str(LAST - timedelta(days=27))},
        ).json()["items"]  # fmt: skip
    assert f"{float(row['spend']):,.0f} EUR" in page and "2,800 EUR" in page
    assert f"MER {row['mer']:.2f}" in page
    assert f"Meta claims {row['platform_roas']:.2f}" in page
    assert "all 28 days may still change" in page and f"Rows to {LAST}" in page


def test_what_is_compared_with_is_as_long_and_named(api: Api) -> None:
    with api.logged_in("marketer") as client:
        page = words(shown(client, "", advertiser="acme", start="2024-02-01", end="2024-02-10"))
        alone = words(shown(client, "", advertiser="acme", compare="none"))
    assert "2024-01-22 to 2024-01-31" in page and "unchanged" in page
    assert "%" not in alone.partition("Campaigns with most spend")[0]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_about_one_advertiser(api: Api, path: str) -> None:
    with api.logged_in("marketer") as client:
        mine = shown(client, path, advertiser="acme")
        others = shown(client, path, advertiser="bolt")
        first = shown(client, path)
    assert "Campaign c1 of bolt" not in mine and "bolt.myshopify" not in mine
    assert words(first) == words(mine), "the first by name, where none is named"
    if path in ("", *(f"/{name}" for name in FILES)):
        assert mine != others
    with api.logged_in("analyst") as client:
        only = shown(client, path)
        foreign = client.get(f"/ads{path}", params={"advertiser": "acme"}, headers=HTML)
        unknown = client.get(f"/ads{path}", params={"advertiser": "nobody"}, headers=HTML)
    assert "acme" not in only
    assert foreign.status_code == unknown.status_code == 404

    def without_id(text: str) -> str:
        return re.sub(r"Request <code>\w+", "", text)

    assert without_id(foreign.text) == without_id(unknown.text)


@pytest.mark.parametrize("path", PAGES)
def test_who_sees_no_advertiser_is_told_what_to_do(api: Api, path: str) -> None:
    with api.store.begin() as store:
        key = access.add_client(store, f"lone{path.strip('/')}", ["ads:read"], now=now())
    with api.client(key) as client:
        page = words(shown(client, path))
    assert "no advertiser that you see" in page and "dmp connect meta" in page
    assert "acme is" not in page and "bolt" not in page


def test_an_advertiser_without_rows_is_told_what_fills_the_page(api: Api) -> None:
    with api.store.begin() as store:
        advertisers.ensure(store, "new", now=now(), name="New shop")
    with api.logged_in("admin") as client:
        page = words(shown(client, "", advertiser="new"))
        assert "New shop has no rows yet" in page and "dmp run --select group:ads" in page
        assert "No ad account is connected" in words(
            shown(client, "/connections", advertiser="new")
        )


def test_days_without_rows_lead_to_those_that_have_some(api: Api) -> None:
    with api.logged_in("marketer") as client:
        for path in PAGES[:5]:
            page = words(shown(client, path, start="2031-01-01", end="2031-01-31"))
            assert "The last 28 days" in page, path


def test_the_bridge_adds_up_on_the_page(api: Api) -> None:
    with api.logged_in("marketer") as client:
        page = shown(client, "/bridge", advertiser="acme", range="last-28")
    text = words(page)
    assert "Of 280 orders that Meta claims, 168 (60.0 %) are matched" in text
    assert "The parts add up to what Meta claims" in text
    amounts = [
        Decimal(value.replace(",", ""))
        for value in re.findall(r'data-label="Value">([\d,]+\.\d\d)</td><td class="bars">', page)
    ]
    assert amounts[0] == sum(amounts[1:]) == 28 * 300


def test_a_campaign_is_drilled_into_down_to_the_days_of_an_ad(api: Api) -> None:
    with api.logged_in("marketer") as client:
        path, seen = "/ads/campaigns?advertiser=acme&range=last-7", []
        for name in ("Campaign c1 of acme", "Set s1", "Ad a1 of acme"):
            page = client.get(path, headers=HTML).text
            seen.append(words(page))
            link = re.search(rf'<a class="row" href="([^"]*)">{name}</a>', page)
            assert link is not None, name
            path = link[1].replace("&amp;", "&")
        days = client.get(path, headers=HTML).text
    assert "Modelled ROAS" in seen[0] and "Modelled ROAS" not in seen[1]
    assert "All 2" in seen[0] and "All 2" in seen[1] and "All 2" in seen[2]
    assert days.count('<tr><th scope="row">2024-02-') >= 7
    assert "Title of a1" in seen[2] and "Body of a1 &lt;b&gt;" in days
    assert "Title of" not in seen[0] + seen[1]
    crumbs = words(days.partition('class="crumbs"')[2].partition("</p>")[0])
    assert "All campaigns › Campaign c1 of acme › Set s1 › Ad a1 of acme" in crumbs


def test_rows_are_sorted_and_filtered(api: Api) -> None:
    def names(**params: str) -> list[str]:
        page = shown(client, "/campaigns", advertiser="acme", **params)
        return re.findall(r'<a class="row" [^>]*>([^<]*)<', page)

    both = ["Campaign c1 of acme", "Campaign c2 of acme"]
    with api.logged_in("marketer") as client:
        assert names() == names(sort="name") == names(sort="-modelled_roas") == both
        assert names(sort="-name") == names(sort="clicks") == both[::-1]
        assert names(q="C2 of") == both[1:] and names(q="100%") == []
        for params in ({"sort": "modelled_roas", "campaign": "c1"}, {"sort": "advertiser_id"}):
            answer = client.get("/ads/campaigns", params=params, headers=HTML)
            assert answer.status_code == 422 and "query.sort" in answer.text


def test_an_id_of_another_advertiser_is_as_one_of_nobody(api: Api) -> None:
    with api.logged_in("marketer") as client:
        for ids in ({"account": "102"}, {"ad": "gone"}):
            page = words(shown(client, "/campaigns", advertiser="acme", **ids))
            assert "Nothing was delivered" in page and "of bolt" not in page


@pytest.mark.parametrize("name", FILES)
def test_every_table_is_a_file(api: Api, name: str) -> None:
    with api.logged_in("marketer") as client:
        answer = client.get(f"/ads/{name}.csv", params={"advertiser": "acme"})
    assert answer.headers["content-type"].startswith("text/csv")
    called = f"{name}-acme-2024-02-02-2024-02-29.csv"
    assert answer.headers["content-disposition"] == f'attachment; filename="{called}"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert rows and "bolt" not in answer.text and "advertiser_id" not in rows[0]
    assert {row["currency"] for row in rows} == {"EUR"}
    if name == "campaigns":
        assert {(row["modelled_roas"], row["profit_roas"]) for row in rows} == {("2.0", "1.0")}


def test_what_stands_in_a_name_is_text(api: Api) -> None:
    nasty = '</script><img src=x onerror="alert(1)">'
    rows = ads_rows(("acme", "bolt"))
    table = rows["ads"]
    names = pa.array([nasty] * table.num_rows)
    place = table.schema.get_field_index("campaign_name")
    fill(api.store, {"ads": table.set_column(place, "campaign_name", names)}, "v3")
    try:
        with api.logged_in("marketer") as client:
            page = shown(client, "/campaigns", advertiser="acme")
            deep = shown(client, "/campaigns", advertiser="acme", campaign="c1")
    finally:
        fill(api.store, {"ads": table}, "v4")
    assert "<img" not in page + deep and "&lt;img" in page
    assert page.count("</script>") == page.count("<script")


# saved views -------------------------------------------------------------------------------------
def test_a_view_is_saved_opened_and_removed_by_who_saved_it(api: Api) -> None:
    with api.logged_in("marketer") as client:
        answer = posted(
            client, "/views?advertiser=acme", name="Week by clicks", page="campaigns",
            query="advertiser=bolt&range=last-7&sort=-clicks",
        )  # fmt: skip
        assert answer.status_code == 303, answer.text
        assert answer.headers["location"] == (
            "/ads/campaigns?advertiser=acme&range=last-7&sort=-clicks"
        )
        page = shown(client, "", advertiser="acme")
        assert "Week by clicks" in page
        assert "/ads/campaigns?advertiser=acme&amp;range=last-7&amp;sort=-clicks" in page
        assert "Week by clicks" not in shown(client, "", advertiser="bolt")
        [view] = re.findall(r'name="view" value="([\w-]+)"', page)
        with api.logged_in("admin") as other:
            assert "Week by clicks" not in shown(other, "", advertiser="acme")
            gone = posted(other, "/views/remove?advertiser=acme", view=view)
            assert gone.status_code == 404
        assert posted(client, "/views/remove?advertiser=acme", view=view).status_code == 303
        assert "Week by clicks" not in shown(client, "", advertiser="acme")
        wrong = posted(client, "/views?advertiser=acme", name="x", page="../review", query="")
        assert wrong.status_code == 422


# members -----------------------------------------------------------------------------------------
def test_two_managers_who_shut_out_each_other_at_once_leave_one(api: Api) -> None:
    ben = "ben@shop.example"

    def out(address: str, other: str) -> int:
        with api.client() as client:
            client.post("/login", data={"email": address, "password": PASSWORD})
            answer = posted(client, "/members/shut-out?advertiser=bolt", member=other)
        return answer.status_code

    with api.store.begin() as store:
        for one in advertisers.members_of(store, "bolt"):
            advertisers.shut_out(store, "bolt", one)
        actors = [advertisers.actor_of(store, email=one) for one in (email("marketer"), ben)]
        for actor in actors:
            advertisers.let_in(store, "bolt", actor, "manager", now=now())
    with ThreadPoolExecutor(2) as both:
        answers = list(both.map(out, (email("marketer"), ben), reversed(actors)))
    assert sorted(answers) in ([303, 403], [303, 404])
    with api.store.begin() as store:
        [left] = advertisers.members_of(store, "bolt")
        with pytest.raises(LastManagerError):
            advertisers.shut_out(store, "bolt", left, keeps_a_manager=True)


def test_a_manager_lets_in_and_shuts_out_and_it_is_told(api: Api) -> None:
    with api.logged_in("marketer") as client:
        answer = posted(client, "/members?advertiser=acme", email="ben@shop.example", role="reader")
        assert answer.status_code == 303, answer.text
        page = shown(client, "/members", advertiser="acme")
        assert "ben@shop.example" in page and "advertiser let-in: ben@… as reader" in words(page)
        [ben] = re.findall(r'name="member" value="(person:[\w-]+)"', page)
        with api.client() as other:
            other.post("/login", data={"email": "ben@shop.example", "password": PASSWORD})
            assert "2,800 EUR" in shown(other, "", advertiser="acme")
            told = shown(other, "/members", advertiser="acme")
            assert email("marketer") not in told and "marketer@…" in told
            assert "Shut out" not in told
            for path, form in (
                ("/members", {"email": email("risk"), "role": "manager"}),
                ("/members/shut-out", {"member": ben}),
            ):
                assert posted(other, f"{path}?advertiser=acme", **form).status_code == 403
            gone = posted(client, "/members/shut-out?advertiser=acme", member=ben)
            assert gone.status_code == 303
            again = other.get("/ads", params={"advertiser": "acme"}, headers=HTML)
            assert again.status_code == 404
        assert "advertiser shut-out: ben@…" in words(shown(client, "/members", advertiser="acme"))
        assert posted(
            client, "/members/shut-out?advertiser=acme", member=ben
        ).status_code == 404  # fmt: skip
    with api.store.connect() as store:
        noted = store.execute(
            sa.select(audit_event.c.detail).where(audit_event.c.action == "advertiser let-in")
        ).scalars()
        assert all("@" not in str(detail) for detail in noted)


def test_nobody_shuts_themselves_out_and_an_unknown_address_is_said(api: Api) -> None:
    with api.store.connect() as store:
        me = person_of(store, "marketer")
    with api.logged_in("marketer") as client:
        assert posted(
            client, "/members/shut-out?advertiser=acme", member=me
        ).status_code == 422  # fmt: skip
        answer = posted(client, "/members?advertiser=acme", email="no@x.example", role="reader")
        assert answer.status_code == 422 and "no person with this address" in answer.text
        assert 'value="no@x.example"' in answer.text
        own = posted(client, "/members?advertiser=acme", email=email("marketer"), role="reader")
        assert own.status_code == 422
        assert posted(
            client, "/members?advertiser=bolt", email=email("risk"), role="reader"
        ).status_code == 403, "a reader of bolt"  # fmt: skip


def test_who_lets_the_first_member_in_stays_a_manager(api: Api) -> None:
    with api.store.begin() as store:
        store.execute(advertiser_member.delete())
        store.execute(advertiser.update().values(members_since=None))
    with api.logged_in("marketer") as client:
        assert "No member is named so far" in shown(client, "/members", advertiser="acme")
        answer = posted(client, "/members?advertiser=acme", email=email("analyst"), role="reader")
        assert answer.status_code == 303, answer.text
        rows = client.get("/v1/ads/members").json()["items"]
        assert [(row["name"], row["role"]) for row in rows] == [
            ("marketer@…", "manager"), ("analyst@…", "reader"),
        ]  # fmt: skip
        assert client.get("/v1/ads/members", params={"advertiser": "bolt"}).status_code == 404


# days and numbers --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("last-7", Span(date(2024, 2, 23), date(2024, 2, 29))),
        ("last-28", Span(date(2024, 2, 2), date(2024, 2, 29))),
        ("closed-28", Span(date(2024, 1, 5), date(2024, 2, 1))),
        ("this-month", Span(date(2024, 2, 1), date(2024, 2, 29))),
        ("last-month", Span(date(2024, 1, 1), date(2024, 1, 31))),
    ],
)
def test_a_preset_follows_the_newest_day(name: Any, expected: Span) -> None:
    assert preset(name, LAST, LAST, LAST - timedelta(days=OPEN - 1)) == expected


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("compare", ["before", "year"])
def test_days_are_compared_with_as_many(name: Any, compare: Any) -> None:
    span = preset(name, LAST, LAST, LAST)
    before = earlier(span, compare)
    assert before is not None and before.days == span.days
    if compare == "before":
        assert before.last == span.first - timedelta(days=1)
    else:
        assert before.first.weekday() == span.first.weekday()
    assert earlier(span, "none") is None


@pytest.mark.parametrize(
    ("now_", "before", "said"),
    [(110, 100, "+10.0 %"), (5, 5, "unchanged"),
     (90, 100, "-10.0 %"), (Decimal(5), Decimal(0), None), (None, 3, None),
     (5, -2, None), (3000, 2, "× 1,500")],
)  # fmt: skip
def test_a_change_is_said_where_there_is_one(now_: Any, before: Any, said: str | None) -> None:
    assert numbers.change(now_, before) == said


def test_what_is_unknown_is_a_dash_and_no_zero() -> None:
    for written in (numbers.count, numbers.money, numbers.cents, numbers.ratio, numbers.share):
        assert written(None) == "—" and "0" in written(0)
    assert numbers.over(1, 0) is None


def test_the_bars_of_a_sum_begin_where_the_last_ended() -> None:
    steps = charts.waterfall(
        [("a", "", 10, False), ("b", "", -4, False), ("c", "", 6, True), ("d", "", -8, False)]
    )
    span = [(step.bar[0], step.bar[0] + step.bar[1]) for step in steps]
    low, unit = 2, charts.WIDTH / 12  # from -2 to 10
    assert span[0] == (round(low * unit), charts.WIDTH)
    assert span[1] == (round(8 * unit), charts.WIDTH)
    assert span[2] == (round(low * unit), round(8 * unit))
    assert span[3] == (0, round(8 * unit))
    assert [step.is_loss for step in steps] == [False, True, False, True]


def test_gaps_of_a_chart_are_gaps() -> None:
    line = charts.Line("x", {date(2024, 1, 1): Decimal("1.5"), date(2024, 1, 3): 2})
    chart = charts.Chart(
        "c", "?", Span(date(2024, 1, 1), date(2024, 1, 3)), [line], "count",
        open_from=date(2024, 1, 4),
    )  # fmt: skip
    data = chart.data()
    assert data["lines"][0]["values"] == [1.5, None, 2.0] and data["openFrom"] is None
    assert [values for _, values in chart.rows()] == [[2], [None], [Decimal("1.5")]]
