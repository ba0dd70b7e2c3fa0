"""Pages and routes of an advertiser of whom something is not known: it is a dash, and said."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pyarrow as pa
import pytest

from dmp_assets.ads.service import part
from dmp_assets.ads.service.routes import budgets, planner
from dmp_assets.ads.service.spans import Span, preset
from dmp_assets.home import Home
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.store import advertisers
from tests.support.ads_rows import DAYS, FIRST, ads_rows
from tests.support.postgres import fresh_database
from tests.support.service import Api, fill, now, running_api
from tests.unit.ads.test_ads_pages import person_of, posted, shown, words

LAST = FIRST + timedelta(days=DAYS - 1)
UNRATED_FROM = LAST - timedelta(days=2)
_AMOUNTS = {
    "ad_performance_daily": ("spend", "purchase_value"),
    "ads_campaigns_daily": ("spend", "purchase_value"),
    "ad_roi_daily": ("spend", "platform_value"),
}
_MODELLED = ("modelled_revenue", "modelled_contribution", "modelled_orders")


def changed(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """Of bolt the last three days have no rate of USD, cosy is from files and no visit of it is
    known, of dove the shop has no rate."""
    found = dict(tables)
    for name, table in tables.items():
        rows = table.to_pylist()
        for row in rows:
            whose, day = row["advertiser_id"], row.get("date")
            if whose == "bolt" and name == "ad_accounts":
                row["currency"] = "USD"
            if whose == "bolt" and name in _AMOUNTS and day >= UNRATED_FROM:
                row |= dict.fromkeys(_AMOUNTS[name])
            if whose == "cosy" and name == "ad_accounts":
                row |= {"is_listed": False, "account_status": None, "name": None}
            if whose == "cosy" and name == "ad_roi_daily":
                row |= dict.fromkeys(_MODELLED)
            if whose == "dove" and name == "ads_orders_daily":
                row["currency"] = "CHF"
            if whose == "dove" and name == "ad_roi_daily" and day == LAST:
                row |= dict.fromkeys(("revenue", "contribution"))
            if whose == "dove" and name == "ads_claims_daily" and day == LAST:
                row["value"] = None
        found[name] = pa.Table.from_pylist(rows, schema=table.schema)
    return found


@pytest.fixture(scope="module")
def api(postgres: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    home = Home(tmp_path_factory.mktemp("ads") / "home").prepare("live")
    with fresh_database(postgres) as url, running_api(home, url) as api:
        fill(api.store, changed(ads_rows(("acme", "bolt", "cosy", "dove"))), "v2")
        with api.store.begin() as store:
            for whose in ("acme", "bolt", "cosy", "dove"):
                advertisers.let_in(store, whose, person_of(store, "marketer"), "manager", now=now())
        yield api


@pytest.fixture
def client(api: Api) -> Iterator[httpx.Client]:
    with api.logged_in("marketer") as client:
        yield client


def tile(page: str, name: str) -> str:
    return words(page.partition(f'<div data-name="{name}">')[2].partition("</div>")[0])


# no exchange rate --------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["", "/bridge", "/campaigns", "/orders", "/claims", "/notices"])
def test_every_page_says_what_has_no_rate_and_what_mends_it(
    client: httpx.Client, path: str
) -> None:
    page = words(shown(client, path, advertiser="bolt"))
    assert "Account of bolt: no exchange rate of USD is known on 3 days" in page
    assert f"({UNRATED_FROM} to {LAST})" in page and "DMP_ADS_EXCHANGE_RATES" in page
    assert "DMP_ADS_CURRENCY" not in page, "other accounts are in another currency"
    before = {"start": str(FIRST), "end": str(UNRATED_FROM - timedelta(days=1))}
    assert "no exchange rate" not in shown(client, path, advertiser="bolt", **before)
    assert "no exchange rate" not in shown(client, path, advertiser="acme")
    shop = words(shown(client, path, advertiser="dove"))
    assert "dove.myshopify.com: no exchange rate of CHF is known on 1 day (" in shop


def test_a_sum_that_holds_what_has_no_rate_is_a_dash(client: httpx.Client) -> None:
    page = shown(client, "", advertiser="bolt")
    for name in ("ad_spend", "mer", "modelled_roas", "cac"):
        assert "—" in tile(page, name), name
    assert "28,000 EUR" in tile(page, "ads_revenue")
    known = shown(client, "", advertiser="bolt", start="2024-02-01", end="2024-02-10")
    assert "2,000 EUR" in tile(known, "ad_spend")
    campaigns = words(shown(client, "/campaigns", advertiser="bolt"))
    assert "0.00" not in campaigns.partition("All 2")[2].partition("Spend, delivery")[0]
    orders = words(shown(client, "/orders", advertiser="bolt"))
    assert "after ads" not in orders and "stayed before ads" in orders
    claims = words(shown(client, "/claims", advertiser="dove"))
    assert "70.0 — EUR" in claims


def test_routes_and_files_leave_empty_what_has_no_rate(client: httpx.Client) -> None:
    days = {"advertiser": "bolt", "start": str(FIRST), "end": str(LAST)}
    [row] = client.get("/v1/ads/roi", params=days | {"by": "range"}).json()["items"]
    assert row["spend"] is None and row["mer"] is None and row["cac"] is None
    assert row["currency"] == "EUR" and float(row["revenue"]) == 1000 * DAYS
    text = client.get("/ads/campaigns.csv", params=days).text
    assert {row["spend"] for row in csv.DictReader(io.StringIO(text))} == {""}
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    for sort in ("-spend", "spend"):
        found, cursor = [], None
        while True:
            more = {"cursor": cursor} if cursor else {}
            answer = client.get("/v1/ads/performance", params=days | more | {
                "by": "day", "level": "ad", "limit": 7, "sort": sort,
            })  # fmt: skip
            assert answer.status_code == 200, answer.text
            found += answer.json()["items"]
            cursor = answer.json()["next"]
            if cursor is None:
                break
        assert len({(row["date"], row["ad_id"]) for row in found}) == len(found) == 4 * DAYS
        assert [row["spend"] is None for row in found] == [False] * (4 * DAYS - 12) + [True] * 12


# no visits ---------------------------------------------------------------------------------------
def test_what_no_model_can_claim_is_a_dash_and_no_zero(client: httpx.Client) -> None:
    page = shown(client, "", advertiser="cosy")
    assert "Modelled ROAS — No visits known. Meta claims 3.00, with tax." in tile(
        page, "modelled_roas"
    )
    assert "Meta claims 3.00 for 1 EUR of ads; no visits are known to our model" in words(page)
    campaigns = words(shown(client, "/campaigns", advertiser="cosy"))
    assert (
        "modelled and profit ROAS are unknown: no visits" in campaigns and "0.00" not in campaigns
    )
    [row] = client.get("/v1/ads/roi", params={"advertiser": "cosy", "by": "range"}).json()["items"]
    assert [row[name] for name in (*_MODELLED, "modelled_roas", "profit_roas")] == [None] * 5
    tracked = words(shown(client, "", advertiser="acme"))
    assert (
        "1 EUR of ads brought 2.00 by our model, without tax; Meta claims 3.00, with tax" in tracked
    )
    assert "no visits" not in words(shown(client, "/campaigns", advertiser="acme")).lower()


def test_claims_are_said_to_be_with_tax(client: httpx.Client) -> None:
    page = words(shown(client, "/claims", advertiser="acme"))
    assert "worth with tax" in page and "worth without" not in page


# notices -----------------------------------------------------------------------------------------
def test_what_was_not_judged_is_not_called_usual(client: httpx.Client) -> None:
    page = words(shown(client, "/notices", advertiser="acme"))
    assert "Everything that was judged is as usual" in page and "1 of 3 could be judged" in page
    assert "Account of acme" in page and str(LAST) in page and "no budget for it" in page
    assert "all shops — orders are loaded from files" in page
    of_kind = words(shown(client, "/notices", advertiser="acme", kind="pacing"))
    assert "Nothing was judged yet" in of_kind and "as usual" not in of_kind.partition("told")[0]
    later = words(
        shown(client, "/notices", advertiser="acme", start="2024-05-01", end="2024-05-02")
    )
    assert "Nothing was judged of these days" in later and f"after {LAST}" in later


# connections -------------------------------------------------------------------------------------
def test_what_is_from_files_is_said_to_be(client: httpx.Client) -> None:
    page = words(shown(client, "/connections", advertiser="cosy"))
    assert f"from files (last day {LAST})" in page and "ticked off" not in page
    assert f"cosy.myshopify.com From files (last day {LAST})" in page
    assert "No shop is this advertiser’s" not in page
    assert "from files (last day" not in words(shown(client, "/connections", advertiser="acme"))


# budget ------------------------------------------------------------------------------------------
def test_an_approved_plan_is_set_by_hand_where_nothing_is_written(client: httpx.Client) -> None:
    advice = client.get("/v1/ads/budget", params={"advertiser": "acme"}).json()
    given = {line["campaign_id"]: float(line["present"]) for line in advice["lines"]}
    spends = {name: round(0.8 * spend, 2) for name, spend in given.items()}
    asked = {"campaign": list(spends), "spend": list(spends.values())}
    assert posted(
        client, "/budget/propose?advertiser=acme", evidence=advice["evidence_version"], **asked
    ).status_code == 303  # fmt: skip
    page = shown(client, "/budget", advertiser="acme")
    assert "Expected of the planned spend:" in words(page)
    [plan] = re.findall(r'name="plan" value="([\w-]+)"', page)
    assert posted(
        client, "/budget/approve?advertiser=acme", evidence=advice["evidence_version"], plan=plan
    ).status_code == 303  # fmt: skip
    page = words(shown(client, "/budget", advertiser="acme"))
    assert "Write to Meta" not in page and "DMP_ADS_APPLY_BUDGETS=true" in page
    assert "Set them there as they stand above" in page
    tried = words(shown(client, "/budget", advertiser="acme", **asked))
    is_part = any(
        line["problem"]
        for one in client.get("/v1/ads/plans", params={"advertiser": "acme"}).json()["items"]
        for line in one["lines"]
    )
    assert ("goes a part of the way" in page) == is_part
    assert ("goes a part of the way" in tried) == is_part


def test_the_advice_says_whether_the_budget_changes() -> None:
    interval = budgets.Interval(low=Decimal(1), middle=Decimal(690), high=Decimal(900))

    def said(present: str, advised: str) -> str:
        given = {"status": "advised", "gain": interval, "currency": "EUR", "days": 28,
                 "present": Decimal(present), "advised": Decimal(advised)}  # fmt: skip
        return planner.answer(budgets.Advice.model_construct(**given))

    assert said("158.33", "130.51").startswith(
        "A budget of 130.51 a day (now 158.33) would bring 690.00 EUR more profit in 28 days"
    )
    assert said("158.33", "158.33").startswith("Another split of the budget would bring")


# days --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "newest", "expected"),
    [
        ("last-7", date(2024, 4, 1), Span(date(2024, 3, 25), date(2024, 3, 31))),
        ("last-28", date(2024, 4, 1), Span(date(2024, 3, 4), date(2024, 3, 31))),
        ("this-month", date(2024, 4, 1), Span(date(2024, 4, 1), date(2024, 4, 1))),
        ("last-month", date(2024, 4, 1), Span(date(2024, 3, 1), date(2024, 3, 31))),
        ("this-month", date(2024, 3, 31), Span(date(2024, 3, 1), date(2024, 3, 31))),
    ],
)
def test_a_preset_ends_with_the_last_day_that_is_over(
    name: Any, newest: date, expected: Span
) -> None:
    assert preset(name, newest, date(2024, 3, 31), None) == expected


def test_today_is_in_no_preset_and_is_seen_by_choosing_it(
    client: httpx.Client, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = part.part_of(api.app.state.service)
    noon = datetime(LAST.year, LAST.month, LAST.day, 12, tzinfo=UTC)
    monkeypatch.setattr(at, "now", lambda: noon)
    page = words(shown(client, "", advertiser="acme", range="last-7"))
    assert f"{LAST - timedelta(days=7)} to {LAST - timedelta(days=1)}" in page
    assert f"Rows to {LAST}, which is not over: presets end before it" in page
    chosen = words(shown(client, "", advertiser="acme", start=str(LAST), end=str(LAST)))
    assert "100.00 EUR" in chosen
    monkeypatch.setattr(at, "now", lambda: noon + timedelta(hours=11, minutes=30))
    late = words(shown(client, "", advertiser="acme", range="last-7"))
    assert f"to {LAST}" in late, "past midnight in Berlin, where the account is"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"range": "last-90"}, "none of 90 days before are known"),
        ({"start": "2024-01-03", "end": "2024-02-29"}, "only 2 of 58 days before are known"),
        ({"range": "last-7", "compare": "year"}, "none of 7 days a year earlier are known"),
    ],
)
def test_a_comparison_with_days_that_are_not_known_says_so_and_no_change(
    client: httpx.Client, params: dict[str, str], said: str
) -> None:
    page = words(shown(client, "", advertiser="acme", **params))
    figures = page.partition("Compared with")[0]
    assert said in page
    assert "×" not in figures and "unchanged" not in figures and "%" not in figures


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"start": "2024-02-10", "end": "2024-02-01"}, "2024-02-01 is before the start"),
        ({"start": "10.02.2024", "end": "2024-02-11"}, "a day is written as 2024-03-31"),
        ({"start": "1990-01-01", "end": "2024-02-11"}, "At most 3660 days"),
        ({"start": "2024-02-30"}, "a day is written as 2024-03-31"),
    ],
)
@pytest.mark.parametrize("path", ["", "/campaigns", "/notices"])
def test_days_that_are_wrong_are_said_beside_their_form(
    client: httpx.Client, path: str, params: dict[str, str], said: str
) -> None:
    answer = client.get(
        f"/ads{path}", params={"advertiser": "acme"} | params, headers={"Accept": "text/html"}
    )
    assert answer.status_code == 422
    page = words(answer.text)
    assert said.lower() in page.lower() and "Shown instead: 28 days" in page
    assert f'value="{params["start"]}"' in answer.text, "what was entered is kept"
    others = re.findall(r'href="(/ads[^"]*)"', answer.text)
    assert others and not any(params["start"] in link for link in others)
    told = client.get(f"/ads{path}", params={"advertiser": "acme"} | params)
    assert told.status_code == 422 and told.json()["title"]


def test_a_problem_leads_back_to_where_the_person_may_be(client: httpx.Client) -> None:
    html = {"Accept": "text/html"}
    wrong = client.get("/ads/campaigns", params={"sort": "no"}, headers=html)
    assert wrong.status_code == 422 and '<a href="/ads">' in wrong.text
    assert "/review" not in wrong.text
    refused = client.get("/review", headers=html)
    assert refused.status_code == 403 and 'href="/review"' not in refused.text


# forms -------------------------------------------------------------------------------------------
def test_a_name_of_blanks_is_none(client: httpx.Client) -> None:
    blank = posted(client, "/views?advertiser=acme", name="   ", page="overview", query="")
    assert blank.status_code == 422
    named = posted(client, "/views?advertiser=acme", name="  Mine  ", page="overview", query="")
    assert named.status_code == 303 and ">Mine</a>" in shown(client, "", advertiser="acme")


def test_nothing_is_chosen_for_who_takes_part(client: httpx.Client) -> None:
    page = shown(client, "/insights", advertiser="acme")
    for name in ("industry", "size"):
        assert f'name="{name}" required><option value="">' in page
    empty = posted(client, "/insights/consent?advertiser=acme", terms="1", industry="", size="")
    assert empty.status_code == 422
