"""The stand-in for Meta, as any client of the Graph API sees it."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmp_assets.demo.sandbox.meta_insights import parts
from dmp_assets.demo.sandbox.meta_world import World
from dmp_assets.sources.meta.client import appsecret_proof
from tests.support.meta import BERLIN, NOW, TOKYO, Meta, running

ACCOUNT = f"act_{BERLIN}"


@pytest.fixture(scope="module")
def _meta(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meta]:
    with running(tmp_path_factory.mktemp("meta")) as meta:
        yield meta


@pytest.fixture
def meta(_meta: Meta) -> Meta:
    _meta.behave()
    _meta.set_clock(NOW)
    return _meta


@pytest.fixture(scope="module")
def token(_meta: Meta) -> str:
    return _meta.token()


class Api:
    """Plain HTTP with a token."""

    def __init__(self, meta: Meta, token: str) -> None:
        self.meta, self.token = meta, token
        self.http = httpx.Client(trust_env=False)

    def get(self, path: str, version: str = "v27.0", **params: Any) -> httpx.Response:
        proof = appsecret_proof(self.meta.config().app_secret, self.token)
        return self.http.get(
            f"{self.meta.url}/{version}/{path}",
            params={"appsecret_proof": proof, **params},
            headers={"Authorization": f"Bearer {self.token}"},
        )

    def rows(self, path: str, **params: Any) -> list[dict[str, Any]]:
        answer = self.get(path, **params)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"])


@pytest.fixture
def api(meta: Meta, token: str) -> Iterator[Api]:
    api = Api(meta, token)
    yield api
    api.http.close()


def error(answer: httpx.Response) -> tuple[int, int | None]:
    body = answer.json()["error"]
    assert body["fbtrace_id"] and body["type"]
    return body["code"], body.get("error_subcode")


def insights(api: Api, level: str, **more: Any) -> list[dict[str, Any]]:
    params = {
        "level": level, "fields": "spend,impressions,actions,attribution_setting", "limit": 500,
        "time_range": '{"since":"2026-10-01","until":"2026-10-31"}', "time_increment": "1",
    } | more  # fmt: skip
    return api.rows(f"{ACCOUNT}/insights", **params)


# answers -----------------------------------------------------------------------------------------
def test_without_fields_only_the_id_comes(api: Api) -> None:
    assert api.get(ACCOUNT).json() == {"id": ACCOUNT}
    assert api.rows(f"{ACCOUNT}/ads", limit=1) == [{"id": f"{BERLIN}300000"}]


def test_next_echoes_the_query_with_the_token_and_is_absent_at_the_end(
    api: Api, token: str
) -> None:
    page = api.get(f"{ACCOUNT}/ads", limit=3).json()
    assert f"access_token={token}" in page["paging"]["next"]
    last = api.http.get(page["paging"]["next"]).json()
    assert len(last["data"]) == 1 and "next" not in last["paging"]


def test_usage_is_told_with_every_answer_errors_too(meta: Meta, api: Api) -> None:
    meta.behave(limits={"management": 4})
    for used in (25, 50, 75, 100):
        answer = api.get(f"{ACCOUNT}/ads")
        uses = json.loads(answer.headers["x-business-use-case-usage"])[BERLIN]
        assert next(u for u in uses if u["type"] == "ads_management")["call_count"] == used
    answer = api.get(f"{ACCOUNT}/ads")
    assert answer.status_code == 400 and error(answer) == (80_004, 2_446_079)
    uses = json.loads(answer.headers["x-business-use-case-usage"])[BERLIN]
    minutes = next(u for u in uses if u["type"] == "ads_management")
    assert minutes["estimated_time_to_regain_access"] == 60
    meta.pass_(3_600)
    assert api.get(f"{ACCOUNT}/ads").status_code == 200


@pytest.mark.parametrize(
    ("version", "status"), [("v27.0", 200), ("v26.0", 200), ("v25.0", 200), ("v24.0", 400)]
)
def test_a_version_that_has_ended_is_refused(api: Api, version: str, status: int) -> None:
    answer = api.get(ACCOUNT, version)
    assert answer.status_code == status
    if status != 200:
        assert error(answer) == (2_635, None)


@pytest.mark.parametrize("proof", ["", "wrong"])
def test_a_call_without_the_proof_is_refused(meta: Meta, api: Api, proof: str) -> None:
    params = {"appsecret_proof": proof} if proof else {}
    headers = {"Authorization": f"Bearer {api.token}"}
    answer = api.http.get(f"{meta.url}/v27.0/{ACCOUNT}", params=params, headers=headers)
    assert error(answer) == (100, None)
    meta.behave(proof=False)
    answer = api.http.get(f"{meta.url}/v27.0/{ACCOUNT}", params=params, headers=headers)
    assert answer.status_code == (400 if proof else 200)


def test_what_is_deleted_is_listed_only_when_it_is_asked_for(meta: Meta, api: Api) -> None:
    row = meta.world.rows("SELECT * FROM campaign WHERE campaign_id = ?", f"{TOKYO}10")[0]
    meta.world.add("campaign", [row | {"status": "DELETED"}])
    try:
        found = api.rows(f"act_{TOKYO}/campaigns")
        assert [one["id"] for one in found] == [f"{TOKYO}11"]
        asked = api.rows(f"act_{TOKYO}/campaigns", effective_status='["DELETED"]')
        assert [one["id"] for one in asked] == [f"{TOKYO}10"]
        ads = api.rows(f"act_{TOKYO}/ads", fields="effective_status")
        assert {one["effective_status"] for one in ads} == {"ACTIVE"}
        meta.world.add("campaign", [row | {"status": "PAUSED"}])
        ads = api.rows(f"act_{TOKYO}/ads", fields="effective_status")
        assert {one["effective_status"] for one in ads} == {"CAMPAIGN_PAUSED", "ACTIVE"}
    finally:
        meta.world.add("campaign", [row])


def test_times_have_the_accounts_offset_without_a_colon(api: Api) -> None:
    (row, *_) = api.rows(f"act_{TOKYO}/campaigns", fields="created_time")
    assert row["created_time"].endswith("+0900")


# insights ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("level", ["account", "campaign", "adset"])
def test_sums_of_a_level_are_those_of_its_ads(api: Api, level: str) -> None:
    def spent(rows: list[dict[str, Any]]) -> Decimal:
        return sum((Decimal(row["spend"]) for row in rows), Decimal())

    assert spent(insights(api, level)) == spent(insights(api, "ad")) > 0
    assert spent(insights(api, level, time_increment="all_days")) == spent(insights(api, "ad"))


def test_steps_of_time_cover_the_range(api: Api) -> None:
    weeks = insights(api, "account", time_increment="7")
    assert [(row["date_start"], row["date_stop"]) for row in weeks] == [
        ("2026-10-01", "2026-10-07"), ("2026-10-08", "2026-10-14"), ("2026-10-15", "2026-10-21"),
        ("2026-10-22", "2026-10-28"), ("2026-10-29", "2026-10-31"),
    ]  # fmt: skip
    months = insights(
        api, "account", time_increment="monthly",
        time_range='{"since":"2026-09-25","until":"2026-11-10"}',
    )  # fmt: skip
    assert [(row["date_start"], row["date_stop"]) for row in months] == [
        ("2026-09-25", "2026-09-30"), ("2026-10-01", "2026-10-31"), ("2026-11-01", "2026-11-10"),
    ]  # fmt: skip


def test_a_sum_over_different_attribution_settings_has_no_purchases(meta: Meta, api: Api) -> None:
    row = meta.world.rows("SELECT * FROM adset WHERE adset_id = ?", f"{BERLIN}20")[0]
    meta.world.add("adset", [row | {"click_days": 1, "view_days": 0}])
    try:
        (whole,) = insights(api, "account", time_increment="all_days")
        assert {one["action_type"] for one in whole["actions"]} == {"link_click"}
        by_set = insights(api, "adset", time_increment="all_days")
        assert [one["attribution_setting"] for one in by_set] == ["1d_click", "7d_click_1d_view"]
        assert all(len(one["actions"]) > 1 for one in by_set)
    finally:
        meta.world.add("adset", [row])


def test_ads_that_were_deleted_are_told_of_only_by_themselves_or_by_their_status(
    meta: Meta, api: Api
) -> None:
    ad = meta.world.rows("SELECT * FROM ad WHERE ad_id = ?", f"{BERLIN}300000")[0]
    meta.world.add("ad", [ad | {"status": "DELETED"}])
    try:
        found = {row["ad_id"] for row in insights(api, "ad", fields="ad_id")}
        assert ad["ad_id"] not in found and len(found) == 3
        named = '[{"field":"ad.effective_status","operator":"IN","value":["DELETED","ACTIVE"]}]'
        found = {row["ad_id"] for row in insights(api, "ad", fields="ad_id", filtering=named)}
        assert ad["ad_id"] in found and len(found) == 4
        assert api.rows(f"{ad['ad_id']}/insights", date_preset="last_7d")
        (of_set,) = api.rows(f"{ad['adset_id']}/insights", date_preset="last_7d", fields="spend")
        meta.world.add("ad", [ad])
        (before,) = api.rows(f"{ad['adset_id']}/insights", date_preset="last_7d", fields="spend")
        assert of_set == before
    finally:
        meta.world.add("ad", [ad])


def test_windows_that_are_gone_are_taken_and_give_nothing(api: Api) -> None:
    rows = insights(api, "ad", action_attribution_windows='["7d_view","28d_view","1d_view"]')
    windows = {name for row in rows for action in row["actions"] for name in action}
    assert windows == {"action_type", "value", "1d_view"}


def test_only_what_is_active_counts_as_soon_as_anything_is_filtered(meta: Meta, api: Api) -> None:
    ad = meta.world.rows("SELECT * FROM ad WHERE ad_id = ?", f"{BERLIN}300000")[0]
    meta.world.add("ad", [ad | {"status": "PAUSED"}])
    try:
        everything = {row["ad_id"] for row in insights(api, "ad", fields="ad_id")}
        some = '[{"field":"impressions","operator":"GREATER_THAN","value":0}]'
        filtered = {row["ad_id"] for row in insights(api, "ad", fields="ad_id", filtering=some)}
        assert everything - filtered == {ad["ad_id"]}
    finally:
        meta.world.add("ad", [ad])


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"level": "nothing"}, (1, 99)),
        ({"time_range": "x"}, (100, None)),
        ({"time_range": '{"since":"2026-11-02","until":"2026-11-01"}'}, (100, None)),
        ({"time_range": '{"since":"2020-01-01","until":"2026-11-01"}'}, (3_018, None)),
        ({"time_increment": "91"}, (100, None)),
        ({"breakdowns": "age,country"}, (100, None)),
        ({"action_attribution_windows": '["9d_click"]'}, (100, None)),
        ({"date_preset": "someday", "time_range": ""}, (100, None)),
    ],
)
def test_a_wrong_question_is_answered_by_its_code(
    api: Api, given: dict[str, str], wanted: tuple[int, int | None]
) -> None:
    assert error(api.get(f"{ACCOUNT}/insights", **given)) == wanted


def test_presets_end_yesterday_in_the_accounts_zone(api: Api) -> None:
    for account, today in ((BERLIN, date(2026, 11, 28)), (TOKYO, date(2026, 11, 29))):
        rows = api.rows(f"act_{account}/insights", date_preset="last_7d", time_increment="1")
        days = [date.fromisoformat(row["date_start"]) for row in rows]
        assert days == [today - timedelta(days=n) for n in range(7, 0, -1)]


@given(
    st.integers(-(10**9), 10**9),
    st.lists(st.floats(0, 1, allow_nan=False), min_size=1, max_size=20),
)
def test_parts_add_up_to_the_whole(total: int, shares: list[float]) -> None:
    found = parts(total, shares)
    assert sum(found) == total and len(found) == len(shares)
    assert all(one * total >= 0 for one in found)


# the world ---------------------------------------------------------------------------------------
def test_what_was_written_is_there_after_the_stand_in_was_started_anew(tmp_path: Path) -> None:
    with running(tmp_path / "one") as meta:
        token, file = meta.token(), tmp_path / "one" / "home" / "sandbox" / "meta" / "world.db"
        with meta.client(token) as client:
            client.post(ACCOUNT, f"{BERLIN}20", daily_budget="1900")
    world = World(file)
    assert world.rows("SELECT daily_budget FROM adset WHERE adset_id = ?", f"{BERLIN}20") == [
        {"daily_budget": 1900}
    ]
    assert world.now() == NOW.timestamp()
    world.close()


def test_a_clock_that_runs_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path / "world.db")
    world.set_clock(1_000.0, runs=True)
    first = world.now()
    assert 1_000 <= first <= world.now() < 1_060
    world.close()


def test_the_human_page_says_what_is_there(meta: Meta) -> None:
    with httpx.Client(trust_env=False) as browser:
        page = browser.get(f"{meta.root}/sandbox/meta")
    assert "4 ad accounts with 12 ads" in page.text
