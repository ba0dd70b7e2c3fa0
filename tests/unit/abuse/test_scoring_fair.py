"""Scoring for several clients at once: nobody waits for, pushes out or erases what is another's."""

import shutil
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import structlog
from pydantic import SecretStr

from dmp_assets.abuse.model import features
from dmp_assets.abuse.service import present
from dmp_assets.abuse.service.asked import Asked
from dmp_assets.abuse.service.fair_queue import MOST_TOGETHER, MOST_WAITING, OWN_WAITING, FairQueue
from dmp_assets.abuse.service.part import part_of
from dmp_assets.abuse.service.refs import owner_of
from dmp_assets.abuse.service.spool import Spool
from dmp_assets.abuse.service.store import opinions
from dmp_assets.abuse.service.store.schema import abuse_prediction
from dmp_assets.home import Home
from dmp_assets.platform.store import access
from dmp_assets.platform.store.roles import ROLES
from dmp_assets.platform.store.schema import audit_event
from tests.support.postgres import stoppable_server
from tests.support.service import Api, running_api, until

SCORE = "/v1/abuse/score"


@pytest.fixture(scope="module")
def api(served_api: Api) -> Api:
    """A home without tables or model: the rule list scores."""
    settings = served_api.app.state.service.settings
    settings.api_score_rate_limit = settings.api_dry_run_rate_limit = "1000000/minute"
    return served_api


def client_of(api: Api, name: str, scopes: Any = ROLES["risk"]) -> httpx.Client:
    with api.store.begin() as store:
        key = access.add_client(
            store, f"{name}-{uuid.uuid4().hex[:8]}", scopes, now=datetime.now(UTC)
        )
    return api.client(key, timeout=60)


def score(client: httpx.Client, *accounts: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    answer = client.post(SCORE, json={"accounts": list(accounts), **more})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def new(**attributes: Any) -> dict[str, Any]:
    return {"account_ref": f"fair-{uuid.uuid4().hex[:12]}", **attributes}


# the queue ---------------------------------------------------------------------------------------
@dataclass
class Waits:
    caller: str
    accounts: int

    def __len__(self) -> int:
        return self.accounts


def test_a_small_request_waits_for_one_batch_whatever_others_send() -> None:
    waiting: FairQueue[Waits] = FairQueue()
    assert all(waiting.put(Waits("many", 1_000)) for _ in range(5))
    assert not waiting.put(Waits("many", 1))
    assert all(waiting.put(Waits("few", 1)) for _ in range(3))
    first = waiting.take()
    assert [request.caller for request in first] == ["few"] * 3
    assert [len(request) for request in waiting.take()] == [1_000]
    waiting.close()
    assert [len(waiting.take()[0]) for _ in range(4)] == [1_000] * 4
    assert waiting.take() == []


def test_nobody_is_turned_away_for_what_others_have_waiting() -> None:
    waiting: FairQueue[Waits] = FairQueue()
    while waiting.put(Waits("a", 500)):
        pass
    while waiting.put(Waits("b", 500)):
        pass
    assert waiting.put(Waits("c", OWN_WAITING))
    assert not waiting.put(Waits("c", 1))
    taken = 0
    while waiting._by_caller:
        batch = waiting.take()
        assert sum(map(len, batch)) <= MOST_TOGETHER
        taken += sum(map(len, batch))
    assert MOST_WAITING <= taken <= MOST_WAITING + 2 * OWN_WAITING
    assert waiting.put(Waits("a", 1_000)) and not waiting._saved


def test_while_one_client_sends_thousands_another_is_answered(api: Api) -> None:
    with (
        client_of(api, "flood") as flood,
        client_of(api, "calm") as calm,
        ThreadPoolExecutor(10) as pool,
    ):
        many = [{"accounts": [new() for _ in range(1_000)]} for _ in range(8)]
        sent = [pool.submit(flood.post, SCORE, json=body) for body in many]
        answers = [calm.post(SCORE, json={"accounts": [new()]}) for _ in range(10)]
        codes = {one.result().status_code for one in sent}
    assert {answer.status_code for answer in answers} == {200}
    assert codes <= {200, 503}


def test_limits_count_accounts(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = api.app.state.service.settings
    monkeypatch.setattr(settings, "api_score_rate_limit", "100/minute")
    with client_of(api, "counted") as client, client_of(api, "other") as other:
        assert len(score(client, *(new() for _ in range(60)))) == 60
        refused = client.post(SCORE, json={"accounts": [new() for _ in range(60)]})
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
        assert len(score(client, *(new() for _ in range(30)))) == 30  # what was refused is free
        assert len(score(other, *(new() for _ in range(60)))) == 60


def test_dry_runs_are_limited_and_in_the_audit_log(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = api.app.state.service.settings
    monkeypatch.setattr(settings, "api_dry_run_rate_limit", "5/minute")
    with client_of(api, "dry") as client:
        score(client, *(new() for _ in range(4)), dry_run=True)
        more = client.post(SCORE, json={"accounts": [new(), new()], "dry_run": True})
        assert more.status_code == 429
        assert score(client, new(), new())  # what is logged goes on
    with api.store.connect() as store:
        query = sa.select(audit_event.c.detail).where(audit_event.c.action == "dry run")
        assert {"accounts": 4} in list(store.scalars(query))


# live accounts -----------------------------------------------------------------------------------
def test_one_clients_many_push_out_no_ring_of_another(
    tmp_path: Path, store_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_LIVE_ACCOUNTS", "60")
    home = Home(tmp_path / "few").prepare("sandbox")
    with running_api(home, store_url) as api:
        scoring = api.scoring
        ring = [new(device_id="ring", email=f"r{n}@gmail.com") for n in range(12)]
        with client_of(api, "shop") as shop, client_of(api, "flood") as flood:
            score(shop, *ring)
            score(shop, *(new() for _ in range(30)))
            before = score(shop, {"account_ref": ring[-1]["account_ref"]})[0]
            score(flood, *(new() for _ in range(300)))
            until(lambda: len(scoring.accounts.index) <= 60)
            after = score(shop, {"account_ref": ring[-1]["account_ref"]})[0]
            assert after["cluster_size"] == before["cluster_size"] == 12
            assert after["probability"] == before["probability"]
            score(shop, *(new() for _ in range(300)))  # its own many are not the linked ones
            until(lambda: len(scoring.accounts.index) <= 60)
            alone = score(shop, {"account_ref": ring[-1]["account_ref"]})[0]
            assert alone["cluster_size"] == 12
    with running_api_again(home, store_url) as api:  # what is read at a start is fair, too
        names = {live.account_id for live in api.scoring.accounts.index.live()}
    assert sorted(Counter(map(owner_of, names)).values()) == [30, 30]


def running_api_again(home: Home, url: SecretStr) -> Any:
    """The service of a home whose store is filled already."""
    from contextlib import contextmanager

    from dmp_assets.platform.api.app import create_app
    from dmp_assets.platform.store import database
    from tests.support.service import served

    @contextmanager
    def running() -> Iterator[Api]:
        store = database.engine(url, pool_size=10)
        app = create_app(home, store=store)
        with served(app) as address:
            until(lambda: part_of(app.state.service).scoring.is_loaded)
            yield Api(app, address, store, home, {})
        store.dispose()

    return running()


def test_a_client_has_a_quota_of_live_accounts(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    scoring = api.scoring
    monkeypatch.setattr(api.app.state.service.settings, "live_accounts_per_client", 5)
    with client_of(api, "quota") as client:
        score(client, *(new() for _ in range(20)))
        owners = scoring._present.owners
        until(lambda: all(owners.count(owner) <= 5 for owner in list(owners._of_owner)))


# references --------------------------------------------------------------------------------------
def test_a_reference_belongs_to_its_client(api: Api) -> None:
    account = new(device_id="mine", email="mine@gmail.com")
    with client_of(api, "first") as first, client_of(api, "second") as second:
        score(first, account)
        stranger = score(second, {"account_ref": account["account_ref"]})[0]
        assert stranger["linked_accounts"] == [] and stranger["cluster_size"] == 1
        found = score(first, new(device_id="mine"))[0]
        assert found["linked_accounts"] == [account["account_ref"]]
        again = score(first, {"account_ref": account["account_ref"]})[0]
        assert again["cluster_size"] == 2 and "device_id" not in again["missing"]
    blind = {"abuse:score"}
    with client_of(api, "third", blind) as third:
        answer = third.post(SCORE, json={"accounts": [{"user_id": account["account_ref"]}]})
        assert answer.status_code == 422


def test_another_clients_word_does_not_hide_an_account_from_the_review(api: Api) -> None:
    ring = [new(device_id="shown", email=f"shown{n}@gmail.com") for n in range(12)]
    with client_of(api, "first") as first, client_of(api, "second") as second:
        flagged = [score(first, account)[0] for account in ring][-1]
        assert flagged["decision"] == "block"
        score(second, {"account_ref": flagged["account_ref"]})
        with api.store.connect() as store:
            said = opinions.of(store, [flagged["account_ref"]], share=0.0)
        assert said[flagged["account_ref"]].decision == "block"
        score(first, {"account_ref": flagged["account_ref"]})
        with api.store.connect() as store:
            rows = store.execute(
                sa.select(abuse_prediction.c.caller).where(
                    abuse_prediction.c.account_id == flagged["account_ref"]
                )
            ).all()
            assert len(rows) == 3
            assert list(opinions.of(store, [flagged["account_ref"]], share=0.0)) == [
                flagged["account_ref"]
            ]


def test_an_update_removes_no_evidence(api: Api) -> None:
    first, mate = new(device_id="old", email="up@gmail.com"), new(device_id="old")
    with client_of(api, "update") as client:
        score(client, first, mate)
        left_out = score(client, {"account_ref": first["account_ref"]})[0]
        assert left_out["linked_accounts"] == [mate["account_ref"]]
        moved = {"account_ref": first["account_ref"], "device_id": "new-one"}
        score(client, moved)
        later = score(client, new(device_id="old"))[0]
        assert set(later["linked_accounts"]) >= {first["account_ref"], mate["account_ref"]}
        now = score(client, new(device_id="new-one"))[0]
        assert now["linked_accounts"] == [first["account_ref"]]
        dry = score(client, moved | {"device_id": "third"}, dry_run=True)
        assert dry and score(client, new(device_id="third"))[0]["linked_accounts"] == []


# one account at fault ----------------------------------------------------------------------------
def test_an_attribute_that_nothing_can_be_made_of_is_missing_and_named(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = present.live_account

    def broken(asked: Asked, *more: Any) -> Any:
        if asked.attributes.get("timezone") == "Factory":
            raise KeyError("Factory")
        return whole(asked, *more)

    monkeypatch.setattr(present, "live_account", broken)
    with structlog.testing.capture_logs() as lines, client_of(api, "zone") as client:
        good = new(device_id="z1")
        bad = new(device_id="z1", timezone="Factory", email="ann.secret@gmail.com")
        first, second = score(client, good, bad)
    assert first["warnings"] == []
    assert second["warnings"] == ["timezone could not be read and counts as missing"]
    assert second["linked_accounts"] == [good["account_ref"]]
    assert "timezone" in second["missing"]
    assert "ann.secret" not in str([{**line, "exc_info": ""} for line in lines])


def test_an_account_that_cannot_be_scored_fails_alone(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = features.matrix

    def broken(columns: dict[str, list[Any]]) -> Any:
        if "poison" in columns.get("device_id", ()):
            raise ValueError("a bug")
        return whole(columns)

    monkeypatch.setattr(features, "matrix", broken)
    with structlog.testing.capture_logs(), client_of(api, "bug") as client:
        accounts = [new(device_id="poison" if n == 1 else f"fine-{n}") for n in range(3)]
        results = score(client, *accounts)
        alone = client.post(SCORE, json={"accounts": [new(device_id="poison")]})
    assert [result["decided_by"] == "nobody" for result in results] == [False, True, False]
    assert results[1]["probability"] is None and results[1]["decision"] == "allow"
    assert alone.status_code == 500


# the disk ----------------------------------------------------------------------------------------
def test_a_spool_has_a_bound_for_all_and_for_each(tmp_path: Path) -> None:
    spool = Spool(tmp_path, most=100, most_of_one=60)
    spool.waiting = 50
    spool._of_caller["a"] = 50
    assert spool.has_room("a", 10) and not spool.has_room("a", 11)
    assert spool.has_room("b", 50) and not spool.has_room("b", 51)


def test_without_the_store_a_client_fills_its_part_of_the_disk_and_no_other(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_SPOOL_SCORES_PER_CLIENT", "20")
    with stoppable_server() as server:
        with running_api(home, server.endpoint().url("postgres")) as api:
            with client_of(api, "full") as full, client_of(api, "other") as other:
                score(full, new())
                score(other, new())
                server.stop()
                codes = [
                    full.post(SCORE, json={"accounts": [new() for _ in range(8)]}).status_code
                    for _ in range(4)
                ]
                assert codes == [200, 200, 503, 503]
                assert len(score(other, *(new() for _ in range(8)))) == 8
            server.start()
            score_log = api.score_log
            until(lambda: score_log.live and score_log.spool.waiting == 0, 60)
            assert not score_log.spool._of_caller
        shutil.rmtree(home.spool, ignore_errors=True)
