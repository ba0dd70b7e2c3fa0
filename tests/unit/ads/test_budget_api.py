"""Budgets by the API: advice, what-if, plans; written to the stand-in for Meta, and undone."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import sqlalchemy as sa

from dmp_assets.ads.model.budgets.scores import LEVELS
from dmp_assets.ads.service import planning
from dmp_assets.ads.service.store.advice import Budget
from dmp_assets.ads.service.store.intents import StoreIntents
from dmp_assets.ads.service.store.plans import Step
from dmp_assets.ads.service.store.schema_budgets import ads_plan, ads_write_intent
from dmp_assets.ads.settings import AdsSettings
from dmp_assets.home import Home
from dmp_assets.platform.api.state import Entrance
from dmp_assets.platform.connect.keys import KeyRing
from dmp_assets.platform.connect.tokens import Connections
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.store import advertisers
from dmp_assets.platform.store.schema import audit_event
from dmp_assets.sources.meta.connection import WRITING
from tests.support.ads_budget_rows import budget_rows
from tests.support.ads_rows import ads_rows
from tests.support.meta import (
    BERLIN,
    NOW,
    REDIRECT,
    TOKYO,
    Meta,
    consent_at,
    environment,
    running,
)
from tests.support.meta import (
    fill as fill_world,
)
from tests.support.postgres import fresh_database
from tests.support.service import Api, fill, now, running_api

OF_ADSET, OF_CAMPAIGN = f"{BERLIN}10", f"{BERLIN}11"
"""A campaign whose ad set has a budget, and one with a budget of its own; 100.00 EUR each."""
ADSET = f"{BERLIN}20"
CAMPAIGNS = (OF_ADSET, OF_CAMPAIGN)
STANDING = {
    ADSET: {"account_id": BERLIN, "object_kind": "adset", "campaign_id": OF_ADSET,
            "daily_budget": Decimal(100), "daily_budget_in_sums": Decimal(100)},
    OF_CAMPAIGN: {"account_id": BERLIN, "campaign_id": OF_CAMPAIGN, "daily_budget": Decimal(100),
                  "daily_budget_in_sums": Decimal(100)},
}  # fmt: skip


@dataclass
class Ads:
    """The API, the stand-in that it writes to, and a client of acme's manager."""

    api: Api
    meta: Meta
    client: httpx.Client

    def get(self, path: str, **params: Any) -> Any:
        answer = self.client.get(f"/v1/ads/{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        answer = self.client.post(f"/v1/ads/{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def set(self, **settings: Any) -> None:
        own = self.api.app.state.service.settings
        for name, value in settings.items():
            setattr(own, name, value)

    def publish(self, **more: Any) -> None:
        fill(self.api.store, budget_rows("acme", campaigns=CAMPAIGNS, budgets=STANDING, **more))

    def advice(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("budget")
        return found

    def planned(self, factor: str = "1.2", **more: str) -> dict[str, Any]:
        """A plan that gives the campaigns so many times what they have, approved."""
        now = self.advice()
        budgets = {
            line["campaign_id"]: f"{Decimal(line['present']) * Decimal(factor):.4f}"
            for line in now["lines"]
        }
        body = {"evidence_version": now["evidence_version"], "budgets": budgets | more}
        made: dict[str, Any] = self.post("plans", body, 201)
        return self.post(f"plans/{made['plan_id']}/approve", body_of(made))

    def written(self, object_id: str = ADSET) -> list[Any]:
        """Calls that really write."""
        calls = self.meta.calls(object_id, "POST")
        return [call["given"] for call in calls if "execution_options" not in call["given"]]

    def stands(self) -> tuple[int, int]:
        """Budgets of the ad set and of the campaign at the stand-in, in cents."""
        [adset] = self.meta.world.rows("SELECT daily_budget FROM adset WHERE adset_id = ?", ADSET)
        [campaign] = self.meta.world.rows(
            "SELECT daily_budget FROM campaign WHERE campaign_id = ?", OF_CAMPAIGN
        )
        return adset["daily_budget"], campaign["daily_budget"]

    def audit(self, plan: dict[str, Any]) -> list[tuple[str, str, str]]:
        """What the audit log says of a plan: actor, action, outcome."""
        with self.api.store.begin() as store:
            rows = store.execute(
                sa.select(audit_event.c.actor, audit_event.c.action, audit_event.c.outcome)
                .where(audit_event.c.detail["plan_id"].astext == plan["plan_id"])
                .order_by(audit_event.c.event_id)
            )
            return [(row.actor, row.action, row.outcome) for row in rows]


def body_of(plan: dict[str, Any]) -> dict[str, str]:
    return {"evidence_version": plan["evidence_version"]}


def states(plan: dict[str, Any]) -> dict[str, str]:
    return {change["object_id"]: change["state"] for change in plan["changes"]}


@pytest.fixture(scope="module")
def _ads(postgres: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ads]:
    folder = tmp_path_factory.mktemp("budgets")
    with (
        running(folder / "sandbox") as meta,
        fresh_database(postgres) as url,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in environment(meta, folder / "home", url).items():
            patch.setenv(name, value)
        home = Home(folder / "home").prepare("live")
        with running_api(home, url) as api:
            connect(api, meta, home)
            fill(api.store, ads_rows(("acme", "bolt")))
            with api.store.begin() as store:
                advertisers.let_in(store, "acme", "client:key-marketer", "manager", now=now())
                advertisers.let_in(store, "acme", "client:key-analyst", "reader", now=now())
                advertisers.let_in(store, "bolt", "client:key-admin", "manager", now=now())
            with api.as_role("marketer") as client:
                yield Ads(api, meta, client)


def connect(api: Api, meta: Meta, home: Home) -> None:
    """Somebody of acme ticks the account, with the right to write."""
    connections, client = Connections(api.store, KeyRing.of(home)), meta.oauth(WRITING)
    begun = connections.begin(client, "acme", REDIRECT)
    back = consent_at(begun.url, accounts=(BERLIN, TOKYO), scopes=WRITING)
    connections.finish(client, begun.cookie, back)


@pytest.fixture
def ads(_ads: Ads) -> Iterator[Ads]:
    """Everything as it was; plans are written to Meta."""
    fill_world(_ads.meta.world)
    for table, own in (("adset", ADSET), ("campaign", OF_CAMPAIGN)):
        stands_at(_ads, table, own, 10_000)
    _ads.meta.behave()
    _ads.meta.faults()
    _ads.meta.set_clock(NOW)
    _ads.meta.pass_(7_200)
    _ads.api.forget()
    with _ads.api.store.begin() as store:
        store.execute(ads_write_intent.delete())
        store.execute(ads_plan.delete())
    _ads.publish()
    _ads.set(ads_apply_budgets=True, ads_greatest_step=0.3, ads_most_per_day={"acme": Decimal(900)})
    yield _ads
    names = ("ads_apply_budgets", "ads_greatest_step", "ads_most_per_day")
    fields = AdsSettings.model_fields
    _ads.set(**{name: fields[name].get_default(call_default_factory=True) for name in names})


def stands_at(ads: Ads, table: str, own: str, cents: int) -> None:
    """Have the stand-in show another budget."""
    [row] = ads.meta.world.rows(f"SELECT * FROM {table} WHERE {table}_id = ?", own)
    ads.meta.world.add(table, [dict(row) | {"daily_budget": cents}])


# what is read ------------------------------------------------------------------------------------
def test_a_forecast_is_its_days_and_its_totals(ads: Ads) -> None:
    found = ads.get("forecasts")["items"]
    assert [row["days"] for row in found] == [1] * 28 + [7, 14, 28]
    names = [f"q{1000 * level:03.0f}" for level in LEVELS]
    for row in found:
        quantiles = [Decimal(row[name]) for name in names]
        assert quantiles == sorted(quantiles)
    assert ads.get("forecasts", forecast="f-acme")["items"] == found
    for other in ("f-bolt", "none"):
        answer = ads.client.get("/v1/ads/forecasts", params={"forecast": other})
        assert answer.status_code == 404 and "no such forecast" in answer.text


def test_the_record_is_by_horizon(ads: Ads) -> None:
    found = ads.get("forecasts/record")["items"]
    assert [row["horizon"] for row in found] == [7, 14, 28]
    assert found[0]["forecasts"] == 1 and found[0]["wape"] == pytest.approx(0.2)
    assert found[0]["beats_naive"] == 1.0 and found[0]["totals_within_80"] == 1.0
    [one] = ads.get("forecasts/scores", horizon=14)["items"]
    assert one["mase"] == 0.7 and Decimal(one["actual"]) == 700


def test_the_advice_says_what_it_rests_on_and_what_stands_at_meta(ads: Ads) -> None:
    found = ads.advice()
    assert (found["status"], found["evidence_version"]) == ("advised", "e1")
    first, second = found["lines"]
    assert Decimal(first["advised"]) > Decimal(first["present"])
    assert Decimal(second["advised"]) < Decimal(second["present"])
    assert Decimal(found["gain"]["low"]) > 0 and found["is_writing"] is True
    stands = {one["object_id"]: Decimal(one["daily_budget"]) for one in found["budgets"]}
    assert stands == {ADSET: 100, OF_CAMPAIGN: 100}


def test_what_if_agrees_with_the_advice_and_is_quick(ads: Ads) -> None:
    found = ads.advice()
    budgets = {line["campaign_id"]: line["advised"] for line in found["lines"]}
    began = time.monotonic()
    told = ads.post("budget/what-if", {"budgets": budgets})
    assert time.monotonic() - began < 1
    for name in ("contribution", "profit", "profit_at_present", "gain", "sales"):
        for end, value in told["expected"][name].items():
            assert Decimal(value) == pytest.approx(Decimal(found[name][end]), abs=Decimal("0.05"))
    assert told["refused"] == []
    after = {one["object_id"]: (one["before"], one["after"]) for one in told["changes"]}
    assert after.keys() == {ADSET, OF_CAMPAIGN}
    for line, own in zip(found["lines"], (ADSET, OF_CAMPAIGN), strict=True):
        before, now = map(Decimal, after[own])
        wanted = min(max(Decimal(line["advised"]), Decimal(70)), Decimal(130))
        assert abs(now - wanted) < Decimal("0.01") and before == 100


def test_what_if_says_what_would_forbid_it_and_refuses_what_is_no_budget(ads: Ads) -> None:
    ads.set(ads_most_per_day={})
    told = ads.post("budget/what-if", {"budgets": {OF_ADSET: 1000}})
    assert [one["campaign_id"] for one in told["refused"]] == [OF_ADSET, None]
    assert "DMP_ADS_GREATEST_STEP" in told["refused"][0]["message"]
    for body, field in (
        ({"budgets": {"c9": 1}}, "body.budgets.c9"),
        ({"budgets": {OF_ADSET: -1}}, f"body.budgets.{OF_ADSET}"),
        ({"budgets": {OF_ADSET: "NaN"}}, f"body.budgets.{OF_ADSET}"),
        ({"budget": {}}, "body.budgets"),
    ):
        answer = ads.client.post("/v1/ads/budget/what-if", json=body)
        assert answer.status_code == 422
        assert field in [error["field"] for error in answer.json()["errors"]]


# plans -------------------------------------------------------------------------------------------
def test_a_plan_is_proposed_approved_written_once_and_undone(ads: Ads) -> None:
    now = ads.advice()
    plan = ads.post("plans", body_of(now), 201)
    assert plan["state"] == "proposed" and ads.stands() == (10_000, 10_000)
    ads.post(f"plans/{plan['plan_id']}/apply", status=409)  # nobody approved it
    approved = ads.post(f"plans/{plan['plan_id']}/approve", body_of(plan))
    assert approved["approved_by"] == "client:key-marketer"
    done = ads.post(f"plans/{plan['plan_id']}/apply")
    assert done["state"] == "applied" and set(states(done).values()) == {"done"}
    wanted = {one["object_id"]: int(Decimal(one["after"]) * 100) for one in plan["changes"]}
    assert ads.stands() == (wanted[ADSET], wanted[OF_CAMPAIGN])
    assert wanted[ADSET] != 10_000 != wanted[OF_CAMPAIGN]
    assert len(ads.written(ADSET)) == len(ads.written(OF_CAMPAIGN)) == 1

    ads.post(f"plans/{plan['plan_id']}/apply", status=409)
    back = ads.post(f"plans/{plan['plan_id']}/undo")
    assert back["state"] == "undone" and set(states(back).values()) == {"undone"}
    assert ads.stands() == (10_000, 10_000)
    assert len(ads.written(ADSET)) == len(ads.written(OF_CAMPAIGN)) == 2
    ads.post(f"plans/{plan['plan_id']}/undo", status=409)
    who = "client:key-marketer"
    write = (who, "write a budget", "done")
    assert ads.audit(plan) == [
        (who, "propose budgets", "done"), (who, "approve budgets", "done"),
        (who, "apply budgets", "done"), write, write, (who, "undo budgets", "done"), write, write,
    ]  # fmt: skip


def test_the_same_plan_twice_is_the_same_budget(ads: Ads) -> None:
    """However much is spent meanwhile, an advice that stays changes a budget once."""
    plan = ads.planned("1.1")
    asked = {"budgets": {line["campaign_id"]: line["planned"] for line in plan["lines"]}}
    changes = ads.post("budget/what-if", asked)["changes"]
    assert [change["object_id"] for change in changes] == [ADSET, OF_CAMPAIGN]
    ads.post(f"plans/{plan['plan_id']}/apply")
    stands = {one["object_id"]: Decimal(one["daily_budget"]) for one in ads.advice()["budgets"]}
    assert stands == {change["object_id"]: Decimal(change["after"]) for change in changes}
    assert ads.post("budget/what-if", asked)["changes"] == []
    ads.post(f"plans/{plan['plan_id']}/undo")
    again = ads.post("budget/what-if", asked)["changes"]
    assert [Decimal(one["after"]) for one in again] == [Decimal(one["after"]) for one in changes]
    now = {
        change["object_id"]: STANDING[change["object_id"]]
        | dict.fromkeys(("daily_budget", "daily_budget_in_sums"), Decimal(change["after"]))
        for change in changes
    }
    fill(ads.api.store, budget_rows("acme", campaigns=CAMPAIGNS, budgets=now))
    assert ads.post("budget/what-if", asked)["changes"] == []  # what was read later counts


def test_nothing_is_written_where_that_is_not_turned_on(ads: Ads) -> None:
    assert AdsSettings.model_fields["ads_apply_budgets"].default is False
    plan = ads.planned()
    ads.set(ads_apply_budgets=False)
    said = ads.post(f"plans/{plan['plan_id']}/apply", status=409)
    assert "DMP_ADS_APPLY_BUDGETS" in said["detail"]
    assert ads.meta.calls(method="POST") == []


def test_an_approval_names_the_evidence_and_a_newer_one_refuses_it(ads: Ads) -> None:
    now = ads.advice()
    plan = ads.post("plans", body_of(now), 201)
    ads.post(f"plans/{plan['plan_id']}/approve", {"evidence_version": "e0"}, 409)
    ads.publish(evidence="e2")
    said = ads.post(f"plans/{plan['plan_id']}/approve", body_of(plan), 409)
    assert "newer advice" in said["detail"]
    assert ads.post("plans", body_of(now), 409)["detail"].startswith("there is a newer advice")
    assert ads.get(f"plans/{plan['plan_id']}")["state"] == "proposed"


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"ads_greatest_step": 0.1}, f"body.budgets.{OF_ADSET}"),
        ({"ads_most_per_day": {}}, "body.budgets"),
        ({"ads_most_per_day": {"acme": Decimal(150)}}, "body.budgets"),
    ],
)
def test_no_plan_passes_a_cap_when_proposed_or_later(
    ads: Ads, settings: dict[str, Any], field: str
) -> None:
    plan = ads.planned()
    ads.set(**settings)
    present = ads.advice()["lines"]
    budgets = {one["campaign_id"]: f"{Decimal(one['present']) * 12 / 10:.4f}" for one in present}
    said = ads.post("plans", {**body_of(plan), "budgets": budgets}, 422)
    assert field in [error["field"] for error in said["errors"]]
    ads.post(f"plans/{plan['plan_id']}/apply", status=409)
    assert ads.meta.calls(method="POST") == [] and ads.stands() == (10_000, 10_000)


def test_budgets_at_meta_together_keep_to_the_most_of_a_day(ads: Ads) -> None:
    """Spend may be far below budgets: what counts is what could be spent."""
    ads.publish()
    large = {ADSET: STANDING[ADSET], OF_CAMPAIGN: STANDING[OF_CAMPAIGN] | {
        "daily_budget": Decimal(5000), "daily_budget_in_sums": Decimal(5000)}}  # fmt: skip
    fill(ads.api.store, budget_rows("acme", campaigns=CAMPAIGNS, budgets=large))
    told = ads.post("budget/what-if", {"budgets": {OF_ADSET: 100}})
    assert "may (DMP_ADS_MOST_PER_DAY)" in told["refused"][-1]["message"]


def test_a_campaign_whose_budget_cannot_be_written_says_why(ads: Ads) -> None:
    life = {ADSET: STANDING[ADSET] | {"daily_budget": None, "daily_budget_in_sums": None},
            OF_CAMPAIGN: STANDING[OF_CAMPAIGN] | {"effective_status": "PAUSED"}}  # fmt: skip
    fill(ads.api.store, budget_rows("acme", campaigns=CAMPAIGNS, budgets=life))
    plan = ads.planned("1.1")
    assert plan["changes"] == []
    problems = {line["campaign_id"]: line["problem"] for line in plan["lines"]}
    assert "whole life" in problems[OF_ADSET] and "active" in problems[OF_CAMPAIGN]
    assert ads.post(f"plans/{plan['plan_id']}/apply")["state"] == "applied"
    assert ads.meta.calls(method="POST") == []


def test_plans_are_listed_page_by_page(ads: Ads) -> None:
    made = [ads.planned(factor)["plan_id"] for factor in ("1.1", "1.2", "0.9")]
    first = ads.get("plans", limit=2)
    second = ads.get("plans", limit=2, cursor=first["next"])
    found = [plan["plan_id"] for plan in (*first["items"], *second["items"])]
    assert found == made[::-1] and second["next"] is None


def test_a_plan_is_its_advertisers_alone(ads: Ads) -> None:
    plan = ads.planned()
    path = f"/v1/ads/plans/{plan['plan_id']}"
    unknown = f"/v1/ads/plans/{uuid4()}"
    drop = "request_id"
    with ads.api.as_role("admin") as other:  # manages bolt
        calls = [("GET", "", None), ("POST", "/approve", body_of(plan)), ("POST", "/apply", None),
                 ("POST", "/undo", None)]  # fmt: skip
        for method, step, body in calls:
            said = [other.request(method, of + step, json=body) for of in (path, unknown)]
            assert [answer.status_code for answer in said] == [404, 404]
            first, second = ({k: v for k, v in one.json().items() if k != drop} for one in said)
            assert first == second
        assert other.get("/v1/ads/plans").json()["items"] == []
        assert other.get("/v1/ads/budget").status_code == 404
        assert other.get("/v1/ads/forecasts").json()["items"] == []
    with ads.api.as_role("analyst") as reader:
        assert reader.get(path).status_code == 200
        assert reader.post(f"{path}/apply").status_code == 403
    assert ads.get(f"plans/{plan['plan_id']}")["state"] == "approved"


# writing -----------------------------------------------------------------------------------------
def test_what_somebody_changed_meanwhile_is_left_alone(ads: Ads) -> None:
    plan = ads.planned()
    stands_at(ads, "adset", ADSET, 9_000)
    done = ads.post(f"plans/{plan['plan_id']}/apply")
    assert states(done) == {ADSET: "refused", OF_CAMPAIGN: "done"}
    told = next(one["told"] for one in done["changes"] if one["object_id"] == ADSET)
    assert "changed meanwhile" in told and ads.written() == []
    back = ads.post(f"plans/{plan['plan_id']}/undo")
    assert back["state"] == "undone" and ads.stands() == (9_000, 10_000)


def test_an_account_that_is_not_active_is_not_written_to(ads: Ads) -> None:
    plan = ads.planned()
    [row] = ads.meta.world.rows("SELECT * FROM account WHERE account_id = ?", BERLIN)
    ads.meta.world.add("account", [dict(row) | {"account_status": 3}])
    try:
        done = ads.post(f"plans/{plan['plan_id']}/apply")
    finally:
        ads.meta.world.add("account", [dict(row)])
    assert set(states(done).values()) == {"refused"}
    assert all("account_status 3" in one["told"] for one in done["changes"])
    assert ads.meta.calls(method="POST") == []


def test_amounts_are_in_the_minor_units_of_the_account(ads: Ads) -> None:
    """A campaign of a yen account, beside one in euros."""
    yen = {"account_id": TOKYO, "currency": "JPY", "object_kind": "adset", "campaign_id": OF_ADSET,
           "daily_budget": Decimal(1500), "daily_budget_in_sums": Decimal(9)}  # fmt: skip
    of_tokyo = f"{TOKYO}20"  # far less than is spent: it goes a greatest step, 11.11 %
    ads.set(ads_greatest_step=0.1111)
    fill(ads.api.store, budget_rows("acme", campaigns=CAMPAIGNS, budgets={of_tokyo: yen}))
    plan = ads.planned("1.0", **{OF_ADSET: _more(ads, "1.1")})
    assert [one["after"] for one in plan["changes"]] == ["1666.0000"]  # 1,666.65 is cut
    problems = {line["campaign_id"]: line["problem"] for line in plan["lines"]}
    assert "DMP_ADS_GREATEST_STEP" in problems[OF_ADSET]
    done = ads.post(f"plans/{plan['plan_id']}/apply")
    assert states(done) == {of_tokyo: "done"}
    assert ads.written(of_tokyo) == [{"daily_budget": "1666"}]


def _more(ads: Ads, factor: str) -> str:
    line = next(one for one in ads.advice()["lines"] if one["campaign_id"] == OF_ADSET)
    return f"{Decimal(line['present']) * Decimal(factor):.4f}"


def test_the_fifth_change_of_an_hour_waits_and_is_made_later(
    ads: Ads, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        plan = ads.planned()
        ads.post(f"plans/{plan['plan_id']}/apply")
        ads.post(f"plans/{plan['plan_id']}/undo")
    plan = ads.planned()
    before = len(ads.meta.calls(method="POST"))
    waits = ads.post(f"plans/{plan['plan_id']}/apply")
    assert waits["state"] == "applying" and set(states(waits).values()) == {"planned"}
    for change in waits["changes"]:
        assert "4 times an hour" in change["told"] and change["not_before"]
    assert len(ads.meta.calls(method="POST")) == before
    _later(ads, monkeypatch, 3_600)
    done = ads.post(f"plans/{plan['plan_id']}/apply")
    assert done["state"] == "applied" and set(states(done).values()) == {"done"}
    assert all(change["told"] == "" for change in done["changes"])


def _later(ads: Ads, monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    clock = Entrance.now
    monkeypatch.setattr(Entrance, "now", lambda own: clock(own) + timedelta(seconds=seconds))
    ads.meta.pass_(seconds)


def test_what_meta_itself_makes_wait_is_tried_no_sooner_and_the_rest_is_written(
    ads: Ads, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = ads.planned()
    ads.meta.refuse(path=ADSET, method="POST", after=1, code=613, subcode=1487632)
    waits = ads.post(f"plans/{plan['plan_id']}/apply")
    assert states(waits) == {ADSET: "planned", OF_CAMPAIGN: "done"}
    assert waits["state"] == "applying"
    calls = len(ads.meta.calls())
    again = ads.post(f"plans/{plan['plan_id']}/apply")
    assert states(again) == states(waits) and len(ads.meta.calls()) == calls
    _later(ads, monkeypatch, 3_601)
    assert ads.post(f"plans/{plan['plan_id']}/apply")["state"] == "applied"
    assert ads.stands()[0] != 10_000


@pytest.mark.parametrize("is_done", [True, False])
def test_a_write_whose_answer_is_lost_is_looked_up_and_never_repeated(
    ads: Ads, is_done: bool
) -> None:
    plan = ads.planned()
    ads.meta.refuse(path=ADSET, method="POST", after=1, status=500, html=True, done=is_done,
                    times=9)  # fmt: skip
    path = f"plans/{plan['plan_id']}/apply"
    if is_done:
        assert ads.post(path)["state"] == "applied"
    else:
        ads.post(path, status=503)
        assert states(ads.get(f"plans/{plan['plan_id']}"))[ADSET] == "planned"
    assert len(ads.written(ADSET)) == 1
    ads.meta.behave()
    if not is_done:
        assert ads.post(path)["state"] == "applied" and len(ads.written(ADSET)) == 1


KILLED = """
import sys
from datetime import UTC, datetime
from uuid import UUID
from dmp_assets.ads.service import applying
from dmp_assets.ads.service.store import plans
from dmp_assets.home import Home
from dmp_assets.platform.store import database, where

home = Home.current()
store = database.engine(where.store_url(home))
with store.begin() as connection:
    plan = plans.plan(connection, "acme", UUID(sys.argv[1]))
applying.apply(home, store, plan, plans.Step("person:test", datetime.now(UTC)))
"""


@pytest.mark.parametrize("then", ["apply", "undo"])
def test_a_kill_between_the_write_and_its_record_writes_nothing_twice(ads: Ads, then: str) -> None:
    plan = ads.planned()
    nothing = {"method": ADSET, "kind": "slow", "seconds": 0}
    # what stands there, the check, and the write, done and answered late: killed meanwhile
    ads.meta.faults(nothing, nothing, nothing | {"seconds": 30, "after": True})
    child = subprocess.Popen([sys.executable, "-c", KILLED, plan["plan_id"]], env=dict(os.environ))
    deadline = time.monotonic() + 60
    while not ads.written() and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.05)
    child.kill()
    child.wait()
    wanted = int(Decimal(ads.get(f"plans/{plan['plan_id']}")["changes"][0]["after"]) * 100)
    assert ads.stands()[0] == wanted != 10_000 and len(ads.written()) == 1
    assert states(ads.get(f"plans/{plan['plan_id']}"))[ADSET] == "planned"
    ads.meta.faults()
    done = _patient(ads, f"plans/{plan['plan_id']}/{then}")
    assert len(ads.written()) == (1 if then == "apply" else 2)
    assert states(done)[ADSET] == ("done" if then == "apply" else "undone")
    assert ads.stands()[0] == (wanted if then == "apply" else 10_000)
    if then == "undo":  # the other one had not been written yet, and is not now
        assert states(done)[OF_CAMPAIGN] == "refused" and ads.written(OF_CAMPAIGN) == []
        assert done["state"] == "undone"


def _patient(ads: Ads, path: str) -> Any:
    """Call once PostgreSQL has seen that the killed process is gone."""
    deadline = time.monotonic() + 20
    while True:
        answer = ads.client.post(f"/v1/ads/{path}")
        if answer.status_code != 409 or time.monotonic() > deadline:
            assert answer.status_code == 200, answer.text
            return answer.json()
        time.sleep(0.1)


def test_an_intent_that_never_came_to_a_write_is_found_out_and_written_once(ads: Ads) -> None:
    plan = ads.planned()
    step = Step("person:test", now())
    intents = StoreIntents(ads.api.store, "acme", UUID(plan["plan_id"]), False, step)
    wanted = next(one["after"] for one in plan["changes"] if one["object_id"] == ADSET)
    cents = str(int(Decimal(wanted) * 100))
    intents.begin(f"act_{BERLIN}", ADSET, "daily_budget", "10000", cents)
    done = ads.post(f"plans/{plan['plan_id']}/apply")
    assert set(states(done).values()) == {"done"}
    assert ads.written() == [{"daily_budget": cents}] and intents.open() == []


def test_while_the_end_of_a_write_is_not_known_nothing_is_written_and_no_plan_ends(
    ads: Ads,
) -> None:
    plan = ads.planned()
    # the write goes through, then neither it nor anything else can be read
    ads.meta.behave(refusals=[{"path": ADSET, "method": "GET", "after": 1, "times": 99, "code": 2}])
    ads.post(f"plans/{plan['plan_id']}/apply", status=503)
    assert len(ads.written()) == 1
    for step in ("apply", "undo"):
        ads.post(f"plans/{plan['plan_id']}/{step}", status=503)
    assert len(ads.written()) == 1
    assert ads.get(f"plans/{plan['plan_id']}")["state"] == "undoing"
    ads.meta.behave()
    back = ads.post(f"plans/{plan['plan_id']}/undo")
    assert back["state"] == "undone" and ads.stands() == (10_000, 10_000)
    assert states(back)[ADSET] == "undone"


def test_two_do_not_write_at_once(ads: Ads) -> None:
    plan = ads.planned()
    ads.meta.faults({"method": ADSET, "kind": "slow", "seconds": 3})
    path, told = f"/v1/ads/plans/{plan['plan_id']}/apply", list[httpx.Response]()
    first = threading.Thread(target=lambda: told.append(ads.client.post(path)))
    first.start()
    time.sleep(1.5)
    with ads.api.as_role("marketer") as other:
        second = other.post(path)
    first.join()
    assert second.status_code == 409 and "at this moment" in second.text
    assert told[0].status_code == 200 and len(ads.written()) == 1


def test_an_advertiser_that_is_not_connected_is_told(ads: Ads) -> None:
    with ads.api.store.begin() as store:
        advertisers.let_in(store, "bolt", "client:key-marketer", "manager", now=now())
    fill(ads.api.store, budget_rows("bolt", campaigns=CAMPAIGNS, budgets=STANDING))
    ads.set(ads_most_per_day={"bolt": Decimal(900)})
    try:
        of = "?advertiser=bolt"
        plan = ads.post(f"plans{of}", {"evidence_version": "e1"}, 201)
        ads.post(f"plans/{plan['plan_id']}/approve{of}", body_of(plan))
        said = ads.post(f"plans/{plan['plan_id']}/apply{of}", status=409)
        assert "not connected" in said["detail"]
    finally:
        with ads.api.store.begin() as store:
            advertisers.shut_out(store, "bolt", "client:key-marketer")


@pytest.mark.parametrize(
    ("present", "planned", "stands", "is_left"),
    [
        ("30", "31", "90", True), ("30", "29", "20", True), ("30", "29", "90", False),
        ("30", "31", "20", False), ("30", "31", "31", False),
    ],
)  # fmt: skip
def test_a_plan_moves_no_budget_the_other_way(
    present: str, planned: str, stands: str, is_left: bool
) -> None:
    line = planning.Line("c1", "C", Decimal(present), Decimal(planned))
    budget = Budget(
        account_id="1", object_id="2", object_kind="campaign", object_name="C", campaign_id="c1",
        effective_status="ACTIVE", currency="EUR", daily_budget=Decimal(stands),
        daily_budget_in_sums=Decimal(stands),
    )  # fmt: skip
    items, problem = planning._items(line, [budget], Decimal("0.3"))
    assert ("they are left" in problem) is is_left
    assert items == [] if is_left or stands == planned else items
    for item in items:
        assert (item.after > item.before) == (line.planned > line.present)
