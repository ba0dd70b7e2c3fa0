"""Scoring over real HTTP, on a real PostgreSQL, with a model that was really trained."""

import json
import os
import shutil
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import httpx
import numpy as np
import psutil
import pyarrow as pa
import pytest
import sqlalchemy as sa
import structlog
from deltalake import write_deltalake
from pydantic import SecretStr

from dmp_assets.abuse.model import features, models, registry, rules, store, view
from dmp_assets.abuse.model.limits import CODE as DEVICE_LIMIT
from dmp_assets.abuse.service.asked import Asked, RecentAnswers
from dmp_assets.abuse.service.part import part_of
from dmp_assets.abuse.service.refs import public
from dmp_assets.abuse.service.store import lists, review
from dmp_assets.abuse.service.store.predictions import Prediction, spool_line
from dmp_assets.abuse.service.store.schema import (
    abuse_decision,
    abuse_list_entry,
    abuse_prediction,
    idempotent_answer,
    review_revision,
)
from dmp_assets.abuse.service.told import OWN_REASONS, REDEEMED
from dmp_assets.cli.service import migrate_home
from dmp_assets.home import Home
from dmp_assets.platform.api.app import create_app
from dmp_assets.platform.backup import back_up, restore
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres, Endpoint
from dmp_assets.platform.store import access, database, where
from tests.support import accounts, serving
from tests.support.dmp import workplace
from tests.support.postgres import fresh_database, stoppable_server
from tests.support.service import Api, running_api, served, until

SCORE = "/v1/abuse/score"
AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/120.0.0.0 Safari/537.36"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = serving.simulated(tmp_path_factory.mktemp("shop"))
    accounts.link(connection)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def trained(shop: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with tables, model and snapshot; tests that change it work on a copy."""
    home = Home(tmp_path_factory.mktemp("trained") / "home").prepare("sandbox")
    serving.write_tables(home, shop)
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(models.CANDIDATES, "gradient_boosting")
        serving.train(home)
    serving.write_snapshot(home, shop)
    return home


@pytest.fixture
def home(trained: Home, tmp_path: Path) -> Home:
    shutil.copytree(trained.root, tmp_path / "copy")
    return Home(tmp_path / "copy")


@pytest.fixture(scope="module")
def api(trained: Home, postgres: Endpoint) -> Iterator[Api]:
    with fresh_database(postgres) as url, running_api(trained, url) as api:
        yield api


@pytest.fixture
def own(home: Home, store_url: SecretStr) -> Iterator[Api]:
    """A service of this test's own."""
    with running_api(home, store_url) as api:
        yield api


@pytest.fixture
def risk(api: Api) -> Iterator[httpx.Client]:
    with api.as_role("risk") as client:
        yield client


def score(client: httpx.Client, *accounts: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    answer = client.post(SCORE, json={"accounts": list(accounts), **more}, timeout=30)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    assert len(results) == len(accounts)
    return results


def alone_on_a_device(shop: duckdb.DuckDBPyConnection) -> tuple[str, str]:
    """A user that shares its device with nobody, and the device."""
    user, device = shop.sql(
        "SELECT any_value(user_id), device_id FROM cleaned.users WHERE device_id IS NOT NULL "
        "GROUP BY device_id HAVING count(*) = 1 ORDER BY 1 LIMIT 1"
    ).fetchall()[0]
    return user, device


def logged(api: Api, *where: Any) -> list[Any]:
    with api.store.connect() as connection:
        query = sa.select(abuse_prediction).where(*where)
        return list(connection.execute(query.order_by(abuse_prediction.c.prediction_id)))


def new(**attributes: Any) -> dict[str, Any]:
    return {"account_ref": f"new-{uuid.uuid4().hex[:12]}", **attributes}


# online as offline -------------------------------------------------------------------------------
def test_a_thousand_known_accounts_score_online_as_they_do_offline(
    home: Home, store_url: SecretStr
) -> None:
    offline = {
        row["user_id"]: row
        for row in Tables(str(home.lakehouse)).sql("SELECT * FROM ml.abuse_scores").to_pylist()
    }
    for table in ("abuse_scores", "abuse_features"):
        shutil.rmtree(home.lakehouse / "ml" / table)
    chosen = sorted(offline)[:1000]
    with running_api(home, store_url) as api, api.as_role("risk") as client:
        online = score(client, *({"user_id": user} for user in chosen))
    assert len(online) == 1000
    assert {row["decision"] for row in online} >= {"allow", "review"}
    for user, found in zip(chosen, online, strict=True):
        wanted = offline[user]
        assert abs(found["probability"] - wanted["probability"]) <= 1e-9
        assert found["decision"] == wanted["decision"]
        assert found["reasons"] == wanted["reasons"]
        assert found["is_known"] and found["user_id"] == user


def test_new_accounts_score_as_they_would_offline_once_the_shop_has_them(
    shop: duckdb.DuckDBPyConnection, trained: Home, home: Home, store_url: SecretStr
) -> None:
    rows = shop.sql(
        "FROM cleaned.users WHERE timezone_received IS NULL OR timezone IS NOT NULL "
        "ORDER BY md5(user_id) LIMIT 200"
    ).to_arrow_table()
    people = [row for row in rows.to_pylist() if _can_be_sent(row)]
    assert len(people) > 120
    names = [row["user_id"] for row in people]
    before = serving.without(shop, names)
    serving.write_snapshot(home, before, "v2")
    before.register("rows_", pa.Table.from_pylist(people, schema=rows.schema))
    before.execute("INSERT INTO cleaned.users BY NAME FROM rows_")
    accounts.link(before)
    wanted_view = before.sql(view.account_view_sql()).to_arrow_table().cast(view.VIEW)
    model, _ = registry.serving(Tables(str(home.lakehouse)), home, home.settings())
    likely = models.probability(model.pipeline, features.matrix(wanted_view))
    wanted = dict(zip(wanted_view["user_id"].to_pylist(), likely, strict=True))
    sent = [serving.received(row) for row in people]
    with running_api(home, store_url) as api, api.as_role("risk") as client:
        score(client, *sent)
        again = score(client, *sent)  # by now each one counts for the others
    for found in again:
        assert not found["is_known"]
        assert abs(found["probability"] - wanted[found["account_ref"]]) <= 1e-9


def _can_be_sent(row: dict[str, Any]) -> bool:
    """Whether the API takes the attributes: an address that is one, a date that could be read."""
    return (
        row["is_ip_valid"] is not False
        and row["is_date_of_birth_valid"] is not False
        and row["created_at"].year >= 1990
    )


# links among the new -----------------------------------------------------------------------------
def test_a_ring_on_one_device_is_reviewed_by_the_fifth_and_blocked_by_the_eighth(
    api: Api, risk: httpx.Client
) -> None:
    names = "ada bo cy di ed flo gus hal ida joe kay leo may ned oda pam quin roy sue tom"
    results = [
        score(risk, new(device_id="ring-device", email=f"{name}@gmail.com", ip=f"8.8.{n}.8"))[0]
        for n, name in enumerate(names.split(" "))
    ]
    decisions = [result["decision"] for result in results]
    assert "block" not in decisions[:4]
    assert set(decisions[4:]) <= {"review", "block"}
    assert set(decisions[7:]) == {"block"}
    assert results[-1]["reasons"][0]["code"] == DEVICE_LIMIT
    assert results[-1]["cluster_size"] == 20
    assert results[-1]["linked_accounts"]
    ring = {row.account_id: row for row in logged(api, abuse_prediction.c.is_new)}
    clusters = [ring[result["account_ref"]].cluster_id for result in results]
    assert clusters == [None] + [results[0]["account_ref"]] * 19
    with api.as_role("risk") as client:
        queue = client.get("/review").text
    assert "cluster of 20" in queue and "cluster of 19" not in queue  # one case, not many


def test_a_family_and_a_campus_are_not_blocked(risk: httpx.Client) -> None:
    home = {"device_id": "family-tablet", "ip": "91.12.4.5", "city": "Berlin", "last_name": "Lee",
            "timezone": "Europe/Berlin", "user_agent": AGENT}  # fmt: skip
    family = [
        score(risk, new(**home, first_name=name, email=f"{name.lower()}.lee@gmail.com",
                        date_of_birth=f"19{60 + 7 * n}-05-17"))[0]
        for n, name in enumerate(("Ann", "Bob", "Tim", "Sue"))
    ]  # fmt: skip
    assert "block" not in {result["decision"] for result in family}
    letters = "abcdefghijklmnopqrst"
    students = [
        score(
            risk,
            new(
                device_id=f"student-{n}",
                ip="131.12.4.5",
                user_agent=AGENT.replace("120", f"{90 + n % 30}"),
                first_name=f"{letters[n % 20].upper()}a",
                last_name=f"{letters[n // 10].upper()}berg",
                email=f"{letters[n % 20]}{letters[n // 10]}.{letters[n % 7]}berg@gmail.com",
                city="Berlin",
                timezone="Europe/Berlin",
                date_of_birth=f"200{n % 6}-03-{n % 28 + 1:02}",
            ),
        )[0]
        for n in range(200)
    ]
    assert "block" not in {result["decision"] for result in students}


def test_the_same_account_sent_five_times_is_one_account(risk: httpx.Client) -> None:
    account = new(device_id="my-phone", email="the.same@gmail.com")
    results = [score(risk, account)[0] for _ in range(5)]
    assert {result["cluster_size"] for result in results} == {1}
    assert len({result["probability"] for result in results}) == 1
    assert score(risk, new(device_id="my-phone"))[0]["linked_accounts"] == [account["account_ref"]]


def test_accounts_of_one_request_are_compared_with_each_other(risk: httpx.Client) -> None:
    first, second = score(risk, new(device_id="d-17"), new(device_id="d-17"))
    assert first["linked_accounts"] == []
    assert second["linked_accounts"] == [first["account_ref"]]


def test_a_new_account_changes_what_is_said_of_a_known_one(
    own: Api, shop: duckdb.DuckDBPyConnection
) -> None:
    user, device = alone_on_a_device(shop)
    with own.as_role("risk") as client:
        alone = score(client, {"user_id": user})[0]
        newcomer = new(device_id=device)
        assert score(client, newcomer)[0]["linked_accounts"] == [user]
        unverified = score(client, {"user_id": user})[0]
        for name in ("Lee", "Moor", "Nagy", "Ortiz", "Papp"):
            score(client, new(device_id=device, last_name=name, email_verified=True))
        shared = score(client, {"user_id": user})[0]
    assert newcomer["account_ref"] in unverified["linked_accounts"]
    assert unverified["probability"] == pytest.approx(alone["probability"], abs=1e-3)
    assert shared["probability"] > unverified["probability"]
    assert newcomer["account_ref"] not in alone["linked_accounts"]
    assert newcomer["account_ref"] in shared["linked_accounts"]
    assert shared["is_known"]


def test_unverified_sign_ups_with_all_that_a_customer_has_do_not_make_a_suspect_of_it(
    own: Api, shop: duckdb.DuckDBPyConnection
) -> None:
    user, *known = shop.sql(
        "SELECT user_id, email_received, phone_received, device_id FROM cleaned.users "
        "WHERE is_email_valid AND is_phone_valid AND device_id IS NOT NULL AND is_email_verified "
        "QUALIFY count(*) OVER (PARTITION BY device_id) = 1 "
        "AND count(*) OVER (PARTITION BY phone) = 1 ORDER BY md5(user_id) LIMIT 1"
    ).fetchall()[0]
    given = dict(zip(("email", "phone", "device_id"), known, strict=True))
    with own.as_role("risk") as client:
        before = score(client, {"user_id": user})[0]
        last = [score(client, new(**given))[0] for _ in range(20)][-1]
        after = score(client, {"user_id": user})[0]
    assert before["decision"] == after["decision"] == "allow"
    assert after["probability"] < before["probability"] + 0.01
    assert last["decision"] == "block", "they themselves are found"


def test_a_dry_run_leaves_nothing_behind(api: Api, risk: httpx.Client) -> None:
    account = new(device_id="dry")
    before = len(logged(api))
    score(risk, account, new(device_id="dry"), dry_run=True)
    assert len(logged(api)) == before
    assert score(risk, new(device_id="dry"))[0]["linked_accounts"] == []


def test_a_dry_run_changes_nothing_that_is_said_later(
    own: Api, shop: duckdb.DuckDBPyConnection
) -> None:
    user, device = shop.sql(
        "SELECT any_value(user_id), device_id FROM cleaned.users WHERE device_id IS NOT NULL "
        "GROUP BY device_id HAVING count(*) = 2 ORDER BY 1 LIMIT 1"
    ).fetchall()[0]
    twice = new(device_id=device)
    with own.as_role("risk") as client:
        kept = new(device_id="kept", email="kept@gmail.com")
        before = score(client, {"user_id": user}, kept)
        score(client, twice, twice, kept | {"device_id": device}, {"user_id": user}, dry_run=True)
        after = score(client, {"user_id": user}, kept)
    without_ids = [{k: v for k, v in row.items() if k != "score_id"} for row in (*before, *after)]
    assert without_ids[:2] == without_ids[2:]


def test_an_account_that_the_shop_does_not_have_is_not_known(api: Api, risk: httpx.Client) -> None:
    account = new(device_id="not-known")
    score(risk, account)
    found = score(risk, {"user_id": account["account_ref"]})[0]
    assert not found["is_known"]
    last = logged(api, abuse_prediction.c.account_id == account["account_ref"])[-1]
    assert last.is_new
    assert score(risk, new(device_id="not-known"))[0]["linked_accounts"] == [account["account_ref"]]


def test_two_processes_see_each_others_accounts(own: Api, home: Home) -> None:
    other = create_app(home, store=own.store)
    with served(other) as address, own.as_role("risk") as here:
        key = {"Authorization": f"Bearer {own.keys['risk']}"}
        with httpx.Client(base_url=address, headers=key, trust_env=False, timeout=60) as there:
            first = new(device_id="both")
            score(here, first)
            assert score(there, new(device_id="both"))[0]["linked_accounts"] == [
                first["account_ref"]
            ]
            assert score(here, new(device_id="both"))[0]["cluster_size"] == 3


def test_the_latest_new_accounts_are_remembered_and_no_others(
    home: Home, store_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_LIVE_ACCOUNTS", "3")
    accounts = [new(device_id="many") for _ in range(250)]
    latest = {account["account_ref"] for account in accounts[-3:]}
    with running_api(home, store_url) as api, api.as_role("risk") as risk:
        score(risk, *accounts)
        index = api.scoring.accounts.index
        until(lambda: len(index) == index.snapshot.size + 3)
        assert {public(live.account_id) for live in index.live()} == latest
        assert score(risk, new(device_id="many"), dry_run=True)[0]["cluster_size"] == 4
        other = create_app(home, store=api.store)
        with served(other):
            scoring = part_of(other.state.service).scoring
            until(lambda: scoring.is_loaded)
            assert {public(live.account_id) for live in scoring.accounts.index.live()} == latest


# the log -----------------------------------------------------------------------------------------
def test_every_score_is_logged_with_what_was_said(api: Api, risk: httpx.Client) -> None:
    account = new(email="ann@gmail.com", date_of_birth="1990-05-17", promo_code="SPRING10")
    user = api.scoring.accounts.index.snapshot.id_of(3)
    found, known = score(risk, account, {"user_id": user})
    (row,) = logged(api, abuse_prediction.c.account_id == account["account_ref"])
    assert str(row.score_id) == found["score_id"]
    assert row.probability == found["probability"] and row.decision == found["decision"]
    assert row.is_new and row.live_links and row.caller == "client:key-risk"
    given = {**row.attributes}
    assert given.pop("registered_at")
    assert given == {k: v for k, v in account.items() if k != "account_ref"}
    assert len(row.features) == len(features.NAMES)
    assert set(found["missing"]) >= {"phone", "device_id", "ip"}
    assert "email" not in found["missing"]
    (row,) = logged(api, sa.cast(abuse_prediction.c.score_id, sa.Text) == known["score_id"])
    assert not row.is_new and row.attributes is None and row.features is None


def test_a_repeated_request_gets_the_same_answer_and_is_scored_once(
    api: Api, risk: httpx.Client
) -> None:
    account, key = new(email="once@gmail.com"), {"Idempotency-Key": uuid.uuid4().hex}
    body = {"accounts": [account]}
    first = risk.post(SCORE, json=body, headers=key)
    api.app.state.service.parts[
        "abuse"
    ].scoring._answering.recent = RecentAnswers()  # another process, or after a restart
    second = risk.post(SCORE, json=body, headers=key)
    assert first.status_code == second.status_code == 200
    assert first.content == second.content
    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(lambda _: risk.post(SCORE, json=body, headers=key), range(8)))
    assert {answer.content for answer in at_once} == {first.content}
    assert len(logged(api, abuse_prediction.c.account_id == account["account_ref"])) == 1
    another = risk.post(SCORE, json={"accounts": [new()]}, headers=key)
    assert another.status_code == 422
    assert another.json()["errors"][0]["field"] == "header.idempotency-key"
    with api.as_role("admin") as other_caller:
        assert other_caller.post(SCORE, json=body, headers=key).content != first.content
    with api.store.begin() as connection:  # a day later
        connection.execute(
            idempotent_answer.update().values(answered_at=datetime.now(UTC) - timedelta(hours=25))
        )
    api.scoring._answering.recent = RecentAnswers()
    assert risk.post(SCORE, json=body, headers=key).content != first.content
    assert len(logged(api, abuse_prediction.c.account_id == account["account_ref"])) == 3


def test_a_key_is_answered_once_whichever_process_is_asked(own: Api, home: Home) -> None:
    account = new(email="once.more@gmail.com")
    body, key = {"accounts": [account]}, {"Idempotency-Key": "k-1"}
    login = {"Authorization": f"Bearer {own.keys['risk']}"}
    with (
        served(create_app(home, store=own.store)) as there,
        httpx.Client(base_url=there, headers=login | key, trust_env=False, timeout=60) as second,
        httpx.Client(base_url=own.url, headers=login | key, trust_env=False, timeout=60) as first,
        ThreadPoolExecutor(8) as pool,
    ):
        answers = list(pool.map(lambda n: (first, second)[n % 2].post(SCORE, json=body), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(logged(own, abuse_prediction.c.account_id == account["account_ref"])) == 1


def test_a_repeated_request_that_fails_fails_each_time(risk: httpx.Client) -> None:
    body, key = {"accounts": [{"user_id": "nobody"}]}, {"Idempotency-Key": uuid.uuid4().hex}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: risk.post(SCORE, json=body, headers=key), range(8)))
    assert {answer.status_code for answer in answers} == {422}
    assert risk.post(SCORE, json={"accounts": [new()]}, headers=key).status_code == 200


def test_one_request_that_cannot_be_scored_does_not_fail_its_neighbours(
    own: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dmp_assets.abuse.service import present

    whole = present.live_account

    def broken(asked: Asked, *more: Any) -> Any:
        if asked.account_id.startswith("poison"):
            raise RuntimeError("a bug")
        return whole(asked, *more)

    monkeypatch.setattr(present, "live_account", broken)
    accounts = [new() for _ in range(12)]
    accounts[5]["account_ref"] = "poison"
    with (
        structlog.testing.capture_logs(),
        ThreadPoolExecutor(12) as pool,
        own.as_role("risk") as client,
    ):
        answers = list(
            pool.map(lambda account: client.post(SCORE, json={"accounts": [account]}), accounts)
        )
        assert [a.status_code for a in answers] == [500 if n == 5 else 200 for n in range(12)]
        assert score(client, new())
    names = [row.account_id for row in logged(own)]
    assert len(names) == len(set(names)) == 12


def test_without_ids_nothing_is_learnt_of_others(api: Api) -> None:
    with api.store.begin() as connection:
        key = access.add_client(connection, "blind", ["abuse:score"], now=datetime.now(UTC))
    ring = [new(device_id="blind-device", email=f"b{n}.lee@gmail.com") for n in range(9)]
    with api.client(key) as client, api.as_role("risk") as seeing:
        results = [score(client, account)[0] for account in ring]
        dry = score(client, new(device_id="blind-device"), dry_run=True)[0]
        same = score(seeing, new(device_id="blind-device"))[0]
    assert same["linked_accounts"] and same["cluster_size"] == 10
    assert {"DEVICE_LIMIT"} <= {reason["code"] for reason in same["reasons"]}
    for result in (*results, dry):
        assert result["linked_accounts"] == [] and result["cluster_size"] is None
        assert {reason["code"] for reason in result["reasons"]} <= OWN_REASONS
        assert result["is_known"] is None
    assert dry["probability"] == round(dry["probability"], 1)
    assert results[-1]["decision"] == "block"  # what holds is told
    customer = api.scoring.accounts.index.snapshot.id_of(11)
    with api.client(key) as client:
        snapshot = api.scoring.accounts.index.snapshot
        all_known = [{"account_ref": snapshot.id_of(n)} for n in range(400)]
        codes = {r["code"] for said in score(client, *all_known) for r in said["reasons"]}
    assert codes and not codes & REDEEMED, "who is no customer has redeemed nothing"
    with api.client(key) as client:
        by_id = [{"user_id": one["account_ref"]} for one in all_known]
        codes = {r["code"] for said in score(client, *by_id) for r in said["reasons"]}
    assert codes & REDEEMED
    with api.client(key) as client:
        known, unknown = score(client, {"account_ref": customer}, new(email=None))
    assert known["is_known"] is None is unknown["is_known"]
    assert len(known["missing"]) == 12, "as of one that is given by its name alone"


def test_reasons_of_one_account_alone_are_codes_that_there_are() -> None:
    assert set(rules.CODES) > OWN_REASONS
    told = {c for c in rules.CODES if c not in OWN_REASONS}
    assert {"MAILBOX_SHARED", "DEVICE_CROWD", "PHONE_SHARED", "LINKED_TO_MANY"} <= told


# people's word -----------------------------------------------------------------------------------
def test_what_people_rule_holds_in_the_next_score_until_it_ends(api: Api) -> None:
    account = new(device_id="ruled", email="x@ruled.example", ip="203.0.113.9")
    name = account["account_ref"]

    def changed(*statements: Any) -> dict[str, Any]:
        with api.store.begin() as connection:
            connection.execute(
                review_revision.update().values(revision=review_revision.c.revision + 1)
            )
            for statement in statements:
                connection.execute(statement)
        with api.as_role("risk") as client:
            return score(client, account)[0]

    def listed(effect: str, kind: str, value: str, **more: Any) -> Any:
        return abuse_list_entry.insert().values(
            effect=effect, kind=kind, value=value, owner="ann", created_at=datetime.now(UTC), **more
        )

    def decided(verdict: str) -> Any:
        return abuse_decision.insert().values(
            decided_at=datetime.now(UTC), account_id=name, verdict=verdict, decided_by="ann",
            group_id=uuid.uuid4(),
        )  # fmt: skip

    def said(result: dict[str, Any]) -> tuple[str, str]:
        return result["decision"], result["decided_by"]

    model = said(changed())
    assert model[1] == "model"
    assert said(changed(listed("block", "email_domain", "ruled.example"))) == ("block", "list")
    assert said(changed(listed("allow", "ip_range", "203.0.0.0/16"))) == ("allow", "list")
    assert said(changed(listed("block", "ip_range", "203.0.113.0/24"))) == ("block", "list")
    assert said(changed(listed("allow", "device", "ruled"))) == ("allow", "list")
    assert said(changed(listed("block", "account", name))) == ("block", "list")
    assert said(changed(decided("allow"))) == ("allow", "analyst")
    assert said(changed(decided("undone"))) == ("block", "list")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    assert said(changed(abuse_list_entry.update().values(expires_at=yesterday))) == model
    (last,) = logged(api, abuse_prediction.c.account_id == name)[-1:]
    assert last.decided_by == "model"
    blocked = logged(api, abuse_prediction.c.account_id == name)[1]
    assert (blocked.decision, blocked.model_decision) == ("block", model[0])


# what cannot be scored ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("account", "field"),
    [
        ({}, "body.accounts.0"),
        ({"user_id": "u", "account_ref": "a"}, "body.accounts.0"),
        ({"user_id": "u", "email": "ann@shop.example"}, "body.accounts.0"),
        ({"user_id": "nobody-knows-it"}, "body.accounts.0.user_id"),
        ({"account_ref": ""}, "body.accounts.0.account_ref"),
        ({"account_ref": 17}, "body.accounts.0.account_ref"),
        ({"account_ref": "a", "age": 3}, "body.accounts.0.age"),
        ({"account_ref": "a", "ip": "1.2.3.4.5"}, "body.accounts.0.ip"),
        ({"account_ref": "a", "ip": "::g"}, "body.accounts.0.ip"),
        ({"account_ref": "a", "email": "x" * 321}, "body.accounts.0.email"),
        ({"account_ref": "a", "email": "a\0b"}, "body.accounts.0.email"),
        ({"account_ref": "a\r\nX-Evil: 1"}, "body.accounts.0.account_ref"),
        ({"account_ref": "a", "email_verified": "yes"}, "body.accounts.0.email_verified"),
        ({"account_ref": "a", "date_of_birth": "1990-13-01"}, "body.accounts.0.date_of_birth"),
        ({"account_ref": "a", "registered_at": "2024-01-01T00:00:00"},
         "body.accounts.0.registered_at"),
        ({"account_ref": "a", "registered_at": "2999-01-01T00:00:00Z"},
         "body.accounts.0.registered_at"),
    ],
)  # fmt: skip
def test_a_bad_account_is_refused_by_the_name_of_its_field(
    api: Api, risk: httpx.Client, account: dict[str, Any], field: str
) -> None:
    before = len(logged(api))
    answer = risk.post(SCORE, json={"accounts": [account]})
    assert answer.status_code == 422
    assert field in {error["field"] for error in answer.json()["errors"]}
    assert len(logged(api)) == before


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b'{"accounts": [{"account_ref": "\\ud800"}]}', b"[]", b"null",
     b'{"accounts": []}', b'{"accounts": [null]}', b"[" * 100_000],
)  # fmt: skip
def test_a_body_that_is_none_is_an_error_of_the_caller(risk: httpx.Client, body: bytes) -> None:
    answer = risk.post(SCORE, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_too_many_accounts_are_refused_and_a_thousand_are_not(risk: httpx.Client) -> None:
    many = [new() for _ in range(1001)]
    answer = risk.post(SCORE, json={"accounts": many})
    assert answer.json()["errors"][0]["field"] == "body.accounts"
    assert len(score(risk, *many[:1000])) == 1000


def test_text_that_tries_to_be_sql_is_text(api: Api, risk: httpx.Client) -> None:
    evil = "'; DROP TABLE abuse_prediction; --"
    account = new(email=evil, device_id=evil, first_name=evil, promo_code=evil, user_agent=evil)
    score(risk, account)
    (row,) = logged(api, abuse_prediction.c.account_id == account["account_ref"])
    assert row.attributes["device_id"] == evil


# models and snapshots come and go ----------------------------------------------------------------
def promote(home: Home, version: str, spoil: Callable[[Path], object] = lambda file: None) -> None:
    """Promote another version of the first model; `spoil` does something to its file before."""
    tables = Tables(str(home.lakehouse))
    rows = registry.rows(tables)
    old = min(rows, key=lambda row: row["created_at"])
    first = store.load(home.models, old["model_version"], old["sha256"])
    digest = store.save(home.models, replace(first, version=version))
    spoil(home.models / f"{version}.joblib")
    now = datetime.now(UTC)
    row = old | {
        "model_version": version, "sha256": digest, "is_serving": True, "promoted_at": now,
        "created_at": now,
    }  # fmt: skip
    others = [old_row | {"is_serving": False} for old_row in rows]
    schema = tables.sql("SELECT * FROM ml.model_registry").schema
    write_deltalake(
        str(home.lakehouse / registry.KEY),
        pa.Table.from_pylist([*others, row], schema),
        mode="overwrite",
    )


@contextmanager
def load(api: Api, threads: int = 4) -> Iterator[list[httpx.Response]]:
    """Callers that ask again at once; their answers."""
    answers: list[httpx.Response] = []
    stop = threading.Event()
    user = api.scoring.accounts.index.snapshot.id_of(5)

    def ask() -> None:
        with api.as_role("risk") as client:
            while not stop.is_set():
                body = {"accounts": [{"user_id": user}, new(device_id="under-load")]}
                answers.append(client.post(SCORE, json=body, timeout=30))

    workers = [threading.Thread(target=ask) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        until(lambda: len(answers) > 5)
        yield answers
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def versions(answers: list[httpx.Response]) -> set[str]:
    return {answer.json()["model_version"] for answer in answers}


def test_a_model_promoted_under_load_is_taken_over_without_a_failed_request(own: Api) -> None:
    own.app.state.service.settings.api_score_rate_limit = "1000000/minute"
    marker = new(device_id="marker")
    with own.as_role("risk") as client:
        score(client, marker)
    with load(own) as answers:
        before = versions(answers)
        promote(own.home, "m-second")
        until(lambda: answers[-1].json()["model_version"] == "m-second")
        serving.write_snapshot(own.home, _shop_of(own.home), "v2")
        until(lambda: own.scoring.accounts.index.snapshot.version == "v2")
        seen = len(answers)
        until(lambda: len(answers) > seen + 10)
    assert {answer.status_code for answer in answers} == {200}
    assert versions(answers) == before | {"m-second"}
    with own.as_role("risk") as client:  # nobody was forgotten on the way
        (found,) = score(client, new(device_id="marker"))
    assert found["linked_accounts"] == [marker["account_ref"]]


def _shop_of(home: Home) -> duckdb.DuckDBPyConnection:
    tables = Tables(str(home.lakehouse))
    c = duckdb.connect()
    c.execute("SET TimeZone = 'UTC'; CREATE SCHEMA cleaned; CREATE SCHEMA modeled;")
    for key in view.TABLES:
        c.register("rows_", tables.sql(f"FROM {key.replace('/', '.')}"))
        c.execute(f"CREATE TABLE {key.replace('/', '.')} AS FROM rows_")
    zones = features.zone_countries()
    table = pa.table({"timezone": list(zones), "country": list(zones.values())})
    c.register("zone_country", table)
    return c


def _of_another_program(file: Path) -> None:
    import joblib

    joblib.dump({"not": "a model"}, file)


@pytest.mark.parametrize(
    "spoil",
    [
        Path.unlink,
        lambda file: file.write_bytes(file.read_bytes()[:1000]),
        lambda file: file.write_bytes(file.read_bytes() + b"\0"),
        _of_another_program,
    ],
    ids=["missing", "cut short", "changed", "of another program"],
)
def test_with_a_model_file_that_cannot_serve_the_last_good_one_serves_on(
    own: Api, spoil: Callable[[Path], object]
) -> None:
    scoring = own.scoring
    good = scoring.accounts.model.version
    promote(own.home, "m-bad", spoil)
    until(lambda: bool(scoring.problems))
    with own.as_role("risk") as client:
        answer = client.post(SCORE, json={"accounts": [new()]})
        assert answer.status_code == 200 and answer.json()["model_version"] == good
        ready = client.get("/health/ready")
    assert ready.status_code == 503
    said = {check["name"]: check["detail"] for check in ready.json()["checks"]}["model"]
    assert "m-bad" in said
    promote(own.home, "m-good")
    until(lambda: scoring.accounts.model.version == "m-good" and not scoring.problems)


def test_a_damaged_snapshot_is_written_again(
    home: Home, store_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dmp_assets.abuse.tables import account_snapshot as snapshot
    from dmp_assets.platform.lake.lakehouse import Lakehouse

    monkeypatch.setenv("DMP_HOME", str(home.root))
    home.remember(store="embedded")
    first = snapshot.publish(Lakehouse())
    assert first is not None and not first.unchanged and first.rows > 1_900
    again = snapshot.publish(Lakehouse())
    assert again is not None and again.unchanged
    folder = home.serving / first.version
    (folder / "index.arrow").write_bytes(b"")
    assert snapshot.publish(Lakehouse()) == first
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())} == {0}


def test_a_damaged_snapshot_leaves_the_old_one_in_place(own: Api, home: Home) -> None:
    scoring = own.scoring
    size = scoring.accounts.index.snapshot.size
    serving.write_snapshot(home, _shop_of(home), "v2")
    until(lambda: scoring.accounts.index.snapshot.version == "v2")
    shutil.copytree(home.serving / "v2", home.serving / "v3")
    (home.serving / "v3" / "index.arrow").write_bytes(b"")
    (home.serving / "current").write_text("v3")
    until(lambda: bool(scoring.problems))
    with own.as_role("risk") as client:
        assert score(client, new())
    assert scoring.accounts.index.snapshot.size == size


# the store comes and goes ------------------------------------------------------------------------
def test_without_the_store_scoring_goes_on_and_nothing_is_lost(home: Home) -> None:
    with stoppable_server() as server:
        url = server.endpoint().url(database="postgres")
        with running_api(home, url) as api, api.as_role("risk") as client:
            score_log = api.score_log
            first = score(client, new(device_id="outage"))[0]
            server.stop()
            body = {"accounts": [new(device_id="outage")]}
            answers = [client.post(SCORE, json=body, timeout=30) for _ in range(3)]
            assert {answer.status_code for answer in answers} == {200}
            assert not answers[-1].json()["live_links"]
            assert first["account_ref"] in answers[-1].json()["results"][0]["linked_accounts"]
            gone = client.get("/v1/promo/usage")
            assert gone.status_code == 503 and gone.headers["retry-after"]
            assert score_log.spool.waiting == 3
            (file,) = home.spool.glob("*.jsonl")
            assert file.stat().st_mode & 0o077 == 0
            server.start()
            until(lambda: score_log.live, 60)
            later = score(client, new(device_id="outage"))[0]
            assert later["cluster_size"] == 3
            assert client.post(SCORE, json=body).json()["live_links"]
            until(lambda: not score_log.spool.waiting, 60)
            wanted = {a.json()["results"][0]["score_id"] for a in answers} | {first["score_id"]}
            assert wanted <= {str(row.score_id) for row in logged(api)}
            assert not list(home.spool.glob("*.jsonl"))
            until(lambda: client.get("/v1/promo/usage").status_code == 200)


def test_a_store_that_hangs_does_not_hang_the_callers(home: Home) -> None:
    with stoppable_server() as server:
        url = server.endpoint().url(database="postgres")
        with running_api(home, url) as api, api.as_role("risk") as client:
            score(client, new())
            processes = _processes_of(server.endpoint().port)
            for process in processes:
                process.suspend()
            try:
                answer = client.post(SCORE, json={"accounts": [new()]}, timeout=30)
            finally:
                for process in processes:
                    process.resume()
            assert answer.status_code == 200
            score_log = api.score_log
            until(lambda: score_log.live and not score_log.spool.waiting, 60)
            (found,) = answer.json()["results"]
            assert found["score_id"] in {str(row.score_id) for row in logged(api)}


def _processes_of(port: int) -> list[psutil.Process]:
    """The PostgreSQL that listens there, and its children."""
    server = next(
        psutil.Process(c.pid) for c in psutil.net_connections("tcp")
        if c.status == "LISTEN" and c.laddr and c.laddr.port == port and c.pid
    )  # fmt: skip
    return [server, *server.children(recursive=True)]


def said(row: Any) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(Prediction)}


def test_what_a_killed_process_spooled_is_logged_by_the_next_one(own: Api, home: Home) -> None:
    with own.as_role("risk") as client:
        row = score(client, new())[0]
    (logged_row,) = logged(own, sa.cast(abuse_prediction.c.score_id, sa.Text) == row["score_id"])
    values = said(logged_row)
    lost = Prediction(**values | {"score_id": uuid.uuid4(), "account_id": "spooled"})
    home.spool.mkdir(parents=True, exist_ok=True)
    whole = spool_line([lost, Prediction(**values)], [])  # one of them is in the store already
    left = home.spool / "0123.jsonl"
    left.write_bytes(whole + b"{not json}\n" + whole[:100])
    with served(create_app(home, store=own.store)):
        until(lambda: not left.exists())
    assert len(logged(own, abuse_prediction.c.account_id == "spooled")) == 1
    assert left.with_suffix(".damaged").read_bytes() == b"{not json}\n"


def test_half_a_line_of_a_full_disk_takes_no_other_with_it(
    own: Api, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dmp_assets.abuse.service.spool import Spool

    with own.as_role("risk") as client:
        score(client, new())
    (row,) = logged(own)
    values = said(row)
    rows = [Prediction(**values | {"score_id": uuid.uuid4()}) for _ in range(3)]
    spool = Spool(home.spool)
    spool.append(rows[:1], [])
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, line: write(file, line[:50]))
        with pytest.raises(OSError, match="disk is full"):
            spool.append(rows[1:2], [])
    spool.append(rows[2:], [])
    taken: list[Prediction] = []
    assert spool.drain(lambda found, _: taken.extend(found)) == 2
    assert [found.score_id for found in taken] == [rows[0].score_id, rows[2].score_id]
    assert not list(home.spool.iterdir())


def test_what_the_store_refuses_is_kept_beside_and_the_rest_is_logged(own: Api, home: Home) -> None:
    from dmp_assets.abuse.service.spool import Spool

    with own.as_role("risk") as client:
        score(client, new())
    (row,) = logged(own)
    values = said(row)
    spool = Spool(home.spool)
    for name in ("good-1", "b\0d", "good-2"):
        spool.append([Prediction(**values | {"score_id": uuid.uuid4(), "account_id": name})], [])
    spool.close()  # its process ended
    until(lambda: not list(home.spool.glob("*.jsonl")))
    assert {row.account_id for row in logged(own)} >= {"good-1", "good-2"}
    (damaged,) = home.spool.glob("*.damaged")
    assert b"b\\u0000d" in damaged.read_bytes()


def test_after_kill_9_under_load_every_answered_score_is_in_the_log(
    home: Home, store_url: SecretStr
) -> None:
    store_ = database.engine(store_url)
    database.migrate(store_)
    from dmp_assets.platform.store import access

    with store_.begin() as connection:
        key = access.add_client(connection, "load", ["abuse:score"], now=datetime.now(UTC))
    answered: list[str] = []
    for _ in range(3):
        with _own_process(home, store_url) as (pid, address):
            stop = threading.Event()

            def ask(address: str = address, stop: threading.Event = stop) -> None:
                headers = {"Authorization": f"Bearer {key}"}
                with httpx.Client(
                    base_url=address, headers=headers, trust_env=False, timeout=60
                ) as client:
                    while not stop.is_set():
                        try:
                            body = {"accounts": [new(device_id="killed"), new()]}
                            answer = client.post(SCORE, json=body, timeout=10)
                        except httpx.HTTPError:
                            return
                        assert answer.status_code == 200, answer.text
                        answered.extend(r["score_id"] for r in answer.json()["results"])

            workers = [threading.Thread(target=ask) for _ in range(6)]
            for worker in workers:
                worker.start()
            seen = len(answered)
            until(lambda seen=seen: len(answered) > seen + 60, 60)  # type: ignore[misc]
            os.kill(pid, signal.SIGKILL)
            for worker in workers:
                worker.join()
            stop.set()
    with store_.connect() as connection:
        found = {str(row) for row in connection.scalars(sa.select(abuse_prediction.c.score_id))}
    store_.dispose()
    assert len(answered) > 180
    assert set(answered) <= found


@contextmanager
def _own_process(home: Home, url: SecretStr) -> Iterator[tuple[int, str]]:
    """The service in a process of its own: (pid, URL)."""
    import subprocess
    import sys

    from tests.support.service import free_port

    port = free_port()
    environment = os.environ | {
        "DMP_HOME": str(home.root), "DMP_API_PORT": str(port),
        "DMP_STORE_URL": url.get_secret_value(),
    }  # fmt: skip
    code = (
        "from pathlib import Path; from dmp_assets.home import Home; "
        "from dmp_assets.platform.store import database; from pydantic import SecretStr; "
        "from dmp_assets.platform.api.app import create_app; import os, uvicorn; "
        "app = create_app(Home(Path(os.environ['DMP_HOME'])), "
        "store=database.engine(SecretStr(os.environ['DMP_STORE_URL']), pool_size=5)); "
        "uvicorn.run(app, host='127.0.0.1', port=int(os.environ['DMP_API_PORT']), "
        "log_level='warning')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        assert process.poll() is None
        try:
            answer = httpx.get(f"{address}/health/ready", trust_env=False)
        except httpx.HTTPError:
            return False
        checks = {check["name"]: check["ok"] for check in answer.json()["checks"]}
        return bool(checks.get("model"))

    try:
        until(ready, 60)
        yield process.pid, address
    finally:
        process.kill()
        process.wait()


# what is told ------------------------------------------------------------------------------------
def test_scores_are_counted_and_no_log_line_names_anybody(api: Api, risk: httpx.Client) -> None:
    with structlog.testing.capture_logs() as lines:
        score(risk, new(email="someone@secret.example", device_id="secret-device"))
        until(lambda: bool(lines))
    assert "secret" not in json.dumps(lines)
    with api.as_role("admin") as client:
        text = client.get("/metrics").text
    assert 'dmp_abuse_scores_total{decision="allow",known="no"}' in text
    assert "dmp_model_age_seconds" in text
    assert "dmp_spooled_predictions 0.0" in text


def test_the_thresholds_decide_by_money(api: Api) -> None:
    scoring = api.scoring
    limits = scoring.accounts.model.thresholds
    likely = np.array([limits.review_from - 1e-9, limits.review_from, limits.block_from])
    assert limits.decide(likely).tolist() == ["allow", "review", "block"]


# beside the review -------------------------------------------------------------------------------
@pytest.fixture
def _hasty() -> Iterator[None]:
    """Threads take turns so often that whoever reads what another one changes is found out."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_hasty")
def test_the_review_shows_its_pages_while_accounts_are_scored_at_full_speed(
    own: Api, shop: duckdb.DuckDBPyConnection
) -> None:
    own.app.state.service.settings.api_score_rate_limit = "1000000/minute"
    user, device = alone_on_a_device(shop)
    stop = threading.Event()
    scored: list[str] = []

    def ask(number: int) -> None:
        again = new(device_id=device, ip=f"8.8.{number}.8")
        with own.as_role("risk") as client:
            while not stop.is_set():
                account = new(device_id="review")
                score(client, again, account)
                scored.append(account["account_ref"])

    with own.logged_in("risk") as reviewer, ThreadPoolExecutor(4) as callers:
        reviewer.timeout = httpx.Timeout(60)
        text = reviewer.get("/review/lists").text
        form = {"csrf_token": text.split('name="csrf_token" value="')[1].split('"')[0]}
        asking = [callers.submit(ask, number) for number in range(4)]
        try:
            for text in (device, "8.8.1.8", "review", user) * 2:
                seen = len(scored)
                until(lambda seen=seen: len(scored) > seen + 4)  # type: ignore[misc]
                pages = [
                    reviewer.get("/review"),
                    reviewer.get("/review/account", params={"id": user}),
                    reviewer.get("/review/account", params={"id": scored[-1]}),
                    reviewer.post(
                        "/review/search", data=form | {"text": text}, follow_redirects=True
                    ),
                ]
                assert [page.status_code for page in pages] == [200] * 4
        finally:
            stop.set()
        for each in asking:
            each.result()


# a lost home -------------------------------------------------------------------------------------
@contextmanager
def _caller(home: Home, key: str) -> Iterator[httpx.Client]:
    """A client of the service of this home, whose store is in it."""
    headers = {"Authorization": f"Bearer {key}"}
    with (
        EmbeddedPostgres(home).running(),
        served(create_app(home)) as url,
        httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60) as client,
    ):
        yield client


def _told(client: httpx.Client, accounts: list[dict[str, Any]]) -> tuple[Any, ...]:
    """Scores without their own ids, what people decided, and a report with its type."""
    body = {"accounts": accounts, "dry_run": True}
    scores = client.post(SCORE, json=body).raise_for_status().json()
    for result in scores["results"]:
        del result["score_id"]
    decisions = client.get("/v1/abuse/decisions").raise_for_status().json()
    report = client.get("/reports/promo_abuse.html").raise_for_status()
    return scores, decisions, (report.headers["content-type"], report.content)


def test_a_restored_home_says_what_the_lost_one_said(
    trained: Home, shop: duckdb.DuckDBPyConnection
) -> None:
    user, device = alone_on_a_device(shop)
    by_score = "SELECT user_id FROM ml.abuse_scores ORDER BY probability, user_id"
    users = Tables(str(trained.lakehouse)).sql(by_score)["user_id"].to_pylist()
    at = {"registered_at": "2024-03-30T12:00:00Z"}
    ring = [new(device_id="ring", ip=f"8.8.8.{n}", **at) for n in range(9)]
    asked = [{"user_id": name} for name in (*users[:100], *users[-100:], user)] + [
        ring[0], new(device_id="ring", **at), new(device_id=device, **at),
        new(ip="198.51.100.7", **at), new(email="somebody@gmail.com", **at),
    ]  # fmt: skip
    report = b"<h1>Promo-code abuse</h1>" + os.urandom(5_000)
    scopes = ["abuse:score", "abuse:decisions", "personal:read", "reports:read"]
    with workplace() as folder:
        lost, found = Home(folder / "lost"), Home(folder / "found")
        shutil.copytree(trained.root, lost.root)
        lost.reports.mkdir(exist_ok=True)
        (lost.reports / "promo_abuse.html").write_bytes(report)
        with EmbeddedPostgres(lost).running():
            migrate_home(lost)
            now = datetime.now(UTC)
            with database.opened(where.store_url(lost)) as opened, opened.begin() as db:
                key = access.add_client(db, "shop", scopes, now=now)
                known = {"by": "person:ann", "now": now, "share": 0.0, "seen": 0}
                review.decide(db, users[-2:], "loyal_customer", "", **known)
                review.decide(db, users[:1], "other_abuse", "", **known)
                listed = {"comment": "", "expires_at": None, "owner": "person:ann", "now": now}
                lists.add(db, "block", "ip_range", "198.51.100.0/24", **listed)
            with _caller(lost, key) as client:
                score(client, *ring, new(device_id=device, **at))
                before = _told(client, asked)
                back_up(lost, folder / "backup.tar.gz")
        shutil.rmtree(lost.root)
        restore(folder / "backup.tar.gz", found)
        with _caller(found, key) as client:
            assert _told(client, asked) == before
    scores, decisions, page = before
    assert {row["decided_by"] for row in scores["results"]} == {"model", "limit", "analyst", "list"}
    assert {row["decision"] for row in scores["results"]} == {"allow", "review", "block"}
    assert [row["cluster_size"] for row in scores["results"][-5:-2]] == [9, 10, 3]
    assert len(decisions["items"]) == 3
    assert page == ("text/html; charset=utf-8", report)
