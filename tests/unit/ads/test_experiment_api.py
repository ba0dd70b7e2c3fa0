"""Experiments over real HTTP on a real store: defined, fixed, assigned, ended, one's own alone."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from dmp_assets.ads.model.experiments import assignment
from dmp_assets.ads.model.experiments.written import definition_of
from dmp_assets.ads.service import assigning
from dmp_assets.ads.service.part import part_of
from dmp_assets.ads.service.store.schema_experiments import (
    ads_experiment,
    ads_experiment_exposure,
)
from dmp_assets.ads.service.units import UnitKey
from dmp_assets.home import Home
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.store import access, advertisers
from dmp_assets.platform.store.schema import advertiser, advertiser_member, audit_event
from tests.support.ads_rows import ads_rows
from tests.support.experiments import body
from tests.support.postgres import fresh_database
from tests.support.service import Api, fill, now, running_api

BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
ROUTE = "/v1/ads/experiments"


@pytest.fixture(scope="module")
def _api(postgres: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    home = Home(tmp_path_factory.mktemp("ads") / "home").prepare("live")
    with fresh_database(postgres) as url, running_api(home, url) as api:
        fill(api.store, ads_rows(("acme", "bolt")), "v2")
        yield api


@pytest.fixture
def api(_api: Api) -> Iterator[Api]:
    """Two advertisers; the key `marketer` manages acme, `shop` assigns there, `other` is bolt's."""
    _api.forget()
    with _api.store.begin() as store:
        for name, scopes in (
            ("shop", ["experiments:assign"]), ("other", ["ads:read", "ads:write"]),
            ("other-shop", ["experiments:assign"]),
        ):  # fmt: skip
            if name not in _api.keys:
                _api.keys[name] = access.add_client(store, name, scopes, now=now())
        for whose, who in (
            ("acme", "client:key-marketer"), ("acme", "client:shop"), ("bolt", "client:other"),
            ("bolt", "client:other-shop"),
        ):  # fmt: skip
            advertisers.let_in(store, whose, who, "manager", now=now())
        advertisers.let_in(store, "acme", "client:key-analyst", "reader", now=now())
    yield _api
    part = part_of(_api.app.state.service)
    assert part.exposures.flush()  # what waits would be written into the next test
    with _api.store.begin() as store:
        for table in (ads_experiment, ads_experiment_exposure, advertiser_member, advertiser):
            store.execute(table.delete())
    part.assigning._known.clear()
    part.exposures._known.clear()
    part.seen._found.clear()


def sent(client: httpx.Client, path: str = "", *, method: str = "POST", **json: Any) -> Any:
    answer = client.request(method, f"{ROUTE}{path}", json=json or None)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["detail"])


def begun(api: Api, name: str = "shipping", **other: Any) -> None:
    with api.as_role("marketer") as client:
        sent(client, experiment=name, **body(**other))
        sent(client, f"/{name}/start")


def assign(client: httpx.Client, unit: str, name: str = "shipping", **other: Any) -> Any:
    answer = client.post(f"/v1/experiments/{name}/assign", json={"unit": unit, **other})
    assert answer.status_code == 200, answer.text
    return answer.json()


def logged(api: Api) -> list[Any]:
    """What the log holds, once all that was told is written."""
    assert part_of(api.app.state.service).exposures.flush()
    with api.store.connect() as store:
        return list(
            store.execute(
                sa.select(ads_experiment_exposure).order_by(ads_experiment_exposure.c.exposure_id)
            )
        )


# defining ----------------------------------------------------------------------------------------
def test_a_definition_may_change_until_it_starts_and_never_after(api: Api) -> None:
    with api.as_role("marketer") as client:
        made = sent(client, experiment="shipping", **body())
        assert (made["state"], made["version"], made["reading"]) == ("draft", 0, None)
        changed = sent(client, "/shipping", method="PUT", **body(least_effect=0.1))
        assert changed["definition"]["least_effect"] == 0.1
        begun = sent(client, "/shipping/start")
        assert begun["state"] == "running" and begun["started_at"]
        with api.store.connect() as store:
            row = store.execute(sa.select(ads_experiment)).one()
        definition_of(row.definition).check_unchanged(row.digest)
        again = client.put(f"{ROUTE}/shipping", json=body(least_effect=0.3))
        assert "has been started" in problem(again, 409)
        assert sent(client, "/shipping", method="GET")["definition"] == begun["definition"]
        assert "already" in problem(client.post(f"{ROUTE}/shipping/start"), 409)
        taken = client.post(ROUTE, json={"experiment": "shipping", **body()})
        assert "there is an experiment shipping already" in problem(taken, 409)
        actions = [step["action"] for step in sent(client, "/shipping", method="GET")["steps"]]
    assert actions == ["start", "redefine", "define"]
    with api.store.connect() as store:
        noted = store.scalars(
            sa.select(audit_event.c.action).where(audit_event.c.action.like("%experiment"))
        ).all()
    assert {"define experiment", "redefine experiment", "start experiment"} <= set(noted)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"split": [5000, 4000]}, "sum to 9000"),
        ({"primary": {"name": "happiness"}}, "there is no metric 'happiness'"),
        ({"primary": {"name": "clicks"}}, "clicks is not measured"),
        ({"primary": {"name": "revenue"}}, "each metric of shipping is named once"),
        ({"unit": None}, "by what its units' orders are found"),
        ({"places": [5000, 5000]}, "takes places"),
        ({"kind": "meta_split"}, "a split test has a study"),
        ({"variants": ["a", "a"]}, "two variants or more of different names"),
        ({"days": 3}, "body.days"),
        ({"spend_cap": "-1"}, "body.spend_cap"),
        ({"surprise": 1}, "body.surprise"),
    ],
)
def test_what_cannot_be_run_is_refused_with_the_reason(
    api: Api, other: dict[str, Any], said: str
) -> None:
    with api.as_role("marketer") as client:
        answer = client.post(ROUTE, json={"experiment": "shipping"} | body() | other)
        assert said in problem(answer, 422)
        assert client.get(f"{ROUTE}/shipping").status_code == 404


def test_experiments_of_one_layer_share_no_unit(api: Api) -> None:
    begun(api, "one", places=[0, 6000])
    with api.as_role("marketer") as client:
        for name, places in (("two", [5000, 10000]), ("three", [6000, 10000])):
            sent(client, experiment=name, **body(places=places))
        said = problem(client.post(f"{ROUTE}/two/start"), 409)
        assert "overlap in the layer default" in said
        sent(client, "/three/start")
    with api.client(api.keys["shop"]) as shop:
        found = [
            [assign(shop, f"u-{n}", name)["variant"] is not None for name in ("one", "three")]
            for n in range(200)
        ]
    assert all(sum(both) == 1 for both in found)
    assert 90 < sum(one for one, _ in found) < 150


def test_the_calculator_plans_what_a_definition_needs(api: Api) -> None:
    asked = {"metric": "proportion", "mean": 0.05, "least_effect": 0.2, "units_per_day": 2000}
    with api.as_role("analyst") as client:
        plan = sent(client, "/calculator", **asked)
        assert 0.8 <= plan["power"] <= plan["power_fixed"]
        assert plan["days"] == -(-plan["units"] // 2000)
        two = sent(client, "/calculator", **asked, treatments=2)
        assert two["all_units"] > 1.5 * plan["all_units"]
        for wrong, said in (
            ({"mean": 0}, "mean other than 0"),
            ({"metric": "mean"}, "needs the variance"),
            ({"least_effect": 0}, "effect other than 0"),
        ):
            assert said in problem(client.post(f"{ROUTE}/calculator", json=asked | wrong), 422)


# assigning ---------------------------------------------------------------------------------------
def test_a_unit_gets_what_the_definition_says_and_is_logged_once_by_a_keyed_hash(
    api: Api,
) -> None:
    begun(api)
    with api.store.connect() as store:
        definition = definition_of(store.scalar(sa.select(ads_experiment.c.definition)))
    units = [f"customer-{n}" for n in range(50)]
    with api.client(api.keys["shop"]) as shop:
        for _ in range(3):
            found = {unit: assign(shop, unit, user_agent=BROWSER) for unit in units}
    assert {unit: one["variant"] for unit, one in found.items()} == {
        unit: assignment.variant(definition, unit) for unit in units
    }
    assert all(one["is_exposed"] and one["state"] == "running" for one in found.values())
    rows, key = logged(api), UnitKey.of(api.home)
    assert {row.unit: row.variant for row in rows} == {
        key.unit(unit): found[unit]["variant"] for unit in units
    }
    assert len(rows) == len(units) and not any(row.is_bot for row in rows)
    assert "customer" not in str(rows)


def test_bots_are_told_apart_and_logged_as_such(api: Api) -> None:
    begun(api)
    agents = {"a": BOT, "b": "curl/8.5.0", "c": BROWSER, "d": None, "e": ""}
    with api.client(api.keys["shop"]) as shop:
        for unit, agent in agents.items():
            assign(shop, unit, user_agent=agent)
    key = UnitKey.of(api.home)
    names = {key.unit(unit): unit for unit in agents}
    assert {names[row.unit] for row in logged(api) if row.is_bot} == {"a", "b", "e"}


def test_callers_at_once_are_all_answered_and_each_exposure_is_there_once(api: Api) -> None:
    begun(api)
    with api.client(api.keys["shop"]) as shop, ThreadPoolExecutor(8) as pool:
        units = [f"u-{n % 40}" for n in range(400)]
        found = list(pool.map(lambda unit: assign(shop, unit)["variant"], units))
    assert len({(unit, one) for unit, one in zip(units, found, strict=True)}) == 40
    assert len(logged(api)) == 40


@pytest.mark.parametrize("unit", ["", " u", "u\u200b", "u\x00", "x" * 201, 17, None])
def test_a_unit_that_is_no_id_is_refused(api: Api, unit: Any) -> None:
    begun(api)
    with api.client(api.keys["shop"]) as shop:
        answer = shop.post("/v1/experiments/shipping/assign", json={"unit": unit})
        assert "body.unit" in problem(answer, 422)
    assert logged(api) == []


def test_while_it_is_paused_or_over_everybody_gets_the_control_and_nobody_counts(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assigning, "KNOWN_SECONDS", 0.0)
    begun(api)
    with api.client(api.keys["shop"]) as shop, api.as_role("marketer") as client:
        variants = {f"u-{n}": assign(shop, f"u-{n}")["variant"] for n in range(20)}
        assert set(variants.values()) == {"control", "free-shipping"}
        for word, state in (("pause", "paused"), ("resume", "running"), ("stop", "stopped")):
            assert sent(client, f"/shipping/{word}")["state"] == state
            for unit, before in variants.items():
                wanted = before if state == "running" else "control"
                assert assign(shop, unit)["variant"] == wanted
        for word in ("stop", "pause", "resume", "reject"):
            said = problem(client.post(f"{ROUTE}/shipping/{word}"), 409)
            assert "that is stopped cannot" in said
        assign(shop, "another")
        draft = {"experiment": "idea", **body(layer="other")}
        assert client.post(ROUTE, json=draft).status_code == 201
        asked = shop.post("/v1/experiments/idea/assign", json={"unit": "u"})
        assert "has not been started" in problem(asked, 409)
        unknown = shop.post("/v1/experiments/nothing/assign", json={"unit": "u"})
        assert problem(unknown, 404) == "there is no such experiment"
    assert len(logged(api)) == len(variants)


def test_an_experiment_whose_secret_is_another_counts_nobody_wrongly(api: Api) -> None:
    begun(api)
    with api.store.begin() as store:
        store.execute(ads_experiment.update().values(keyed_by="another"))
    with api.client(api.keys["shop"]) as shop:
        answer = shop.post("/v1/experiments/shipping/assign", json={"unit": "u"})
        assert "secrets/unit_key" in problem(answer, 503)
    assert logged(api) == []


# whose -------------------------------------------------------------------------------------------
def test_nobody_learns_of_anothers_experiment(api: Api) -> None:
    begun(api)
    words = ("start", "stop", "pause", "resume", "reject")
    asked: list[tuple[str, str, Any]] = [("POST", f"/{{}}/{word}", None) for word in words]
    asked += [
        ("GET", "/{}", None), ("GET", "/{}/readings", None), ("PUT", "/{}", body()),
        ("POST", "/{}/approve", {"version": 1}),
    ]  # fmt: skip
    with api.client(api.keys["other"]) as other:
        for method, path, json in asked:
            said = []
            for name in ("shipping", "nothing"):
                answer = other.request(method, ROUTE + path.format(name), json=json)
                said.append((answer.status_code, answer.json()["detail"]))
            assert said[0] == said[1] == (404, "there is no such experiment"), path
        assert sent(other, method="GET")["items"] == []
        assert sent(other, experiment="shipping", **body())["state"] == "draft"
    with api.client(api.keys["other-shop"]) as shop:
        answer = shop.post("/v1/experiments/shipping/assign", json={"unit": "u"})
        assert "has not been started" in problem(answer, 409), "its own one"
    assert logged(api) == []


def test_a_cursor_is_of_one_advertisers_list_alone(api: Api) -> None:
    names = [f"e-{n}" for n in range(5)]
    with api.as_role("marketer") as client, api.client(api.keys["other"]) as other:
        for name in names:
            sent(client, experiment=name, **body())
        found, cursor = [], None
        while True:
            params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = client.get(ROUTE, params=params).json()
            found += [row["experiment"] for row in page["items"]]
            cursor = page["next"] or cursor
            if page["next"] is None:
                break
        assert found == names
        assert "cursor" in problem(other.get(ROUTE, params={"cursor": cursor}), 422)
        table = client.get(ROUTE, headers={"Accept": "text/csv"}).text
        assert len(table.splitlines()) == 6


def test_a_reader_and_a_key_that_assigns_decide_nothing(api: Api) -> None:
    begun(api)
    with api.as_role("analyst") as reader, api.client(api.keys["shop"]) as shop:
        assert sent(reader, "/shipping", method="GET")["state"] == "running"
        for client in (reader, shop):
            assert client.post(f"{ROUTE}/shipping/stop").status_code == 403
        assert shop.get(f"{ROUTE}/shipping").status_code == 403
        asked = reader.post("/v1/experiments/shipping/assign", json={"unit": "u"})
        assert asked.status_code == 403


def test_the_examples_of_the_docs_are_answered(api: Api) -> None:
    docs = Path(__file__).resolve().parents[3] / "docs/experiments.md"
    asked, defined = re.findall(r"```json\n(.*?)```", docs.read_text(), re.DOTALL)[:2]
    with api.as_role("marketer") as client:
        plan = client.post(f"{ROUTE}/calculator", json=json.loads(asked))
        assert plan.status_code == 200, plan.text
        body = json.loads(defined)
        assert 0.9 < body["tuning"] / plan.json()["tuning"] < 1.1
        assert plan.json()["days"] <= body["days"]
        made = client.post(ROUTE, json=body)
        assert made.status_code == 201, made.text
        assert client.post(f"{ROUTE}/free-shipping/start").json()["state"] == "running"
