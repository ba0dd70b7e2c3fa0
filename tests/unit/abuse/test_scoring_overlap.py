"""A batch is judged while the one before is logged: nothing is answered early, lost or twice."""

import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import structlog

from dmp_assets.abuse.service import score_log
from dmp_assets.abuse.service.store import predictions
from dmp_assets.abuse.service.store.schema import abuse_prediction
from tests.support.service import Api, until

SCORE = "/v1/abuse/score"


def new(**attributes: Any) -> dict[str, Any]:
    return {"account_ref": f"overlap-{uuid.uuid4().hex[:12]}", **attributes}


@pytest.fixture
def risk(api: Api) -> Iterator[httpx.Client]:
    with api.as_role("risk") as client:
        client.timeout = httpx.Timeout(60)
        until(lambda: api.score_log.live, 60)
        yield client


@contextmanager
def nobody_can_log(api: Api) -> Iterator[None]:
    """The lock that puts writers in order is somebody else's."""
    with api.store.connect() as other:
        other.execute(sa.text(predictions._LOCKED))
        yield
        other.rollback()


def ask(pool: ThreadPoolExecutor, client: httpx.Client, account: Any, **more: Any) -> Future[Any]:
    return pool.submit(client.post, SCORE, json={"accounts": [account]}, **more)


def is_judged(api: Api, account: dict[str, Any]) -> bool:
    return api.scoring.accounts.attributes(account["account_ref"]) is not None


def logged(api: Api, *accounts: dict[str, Any]) -> list[str]:
    names = [account["account_ref"] for account in accounts]
    query = sa.select(abuse_prediction.c.account_id).where(abuse_prediction.c.account_id.in_(names))
    with api.store.connect() as store:
        return list(store.scalars(query.order_by(abuse_prediction.c.prediction_id)))


def test_the_next_batch_is_judged_while_one_waits_for_the_store_and_sees_it(
    api: Api, risk: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_log, "PATIENCE", 60.0)
    first, second, third = (new(device_id="overlap") for _ in range(3))
    with ThreadPoolExecutor(3) as pool:
        with nobody_can_log(api):
            one = ask(pool, risk, first)
            until(lambda: is_judged(api, first))
            two = ask(pool, risk, second)
            until(lambda: is_judged(api, second))
            three = ask(pool, risk, third)
            until(lambda: api.scoring._waiting._total == 1)  # no third batch
            assert not one.done() and not two.done() and not is_judged(api, third)
            assert logged(api, first, second, third) == []
        answers = [answer.result() for answer in (one, two, three)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert answers[1].json()["results"][0]["linked_accounts"] == [first["account_ref"]]
    wanted = [first["account_ref"], second["account_ref"], third["account_ref"]]
    assert logged(api, first, second, third) == wanted


def test_a_key_that_comes_again_while_it_is_being_logged_is_answered_once(
    api: Api, risk: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_log, "PATIENCE", 60.0)
    account, key = new(), {"Idempotency-Key": uuid.uuid4().hex}
    with ThreadPoolExecutor(2) as pool:
        with nobody_can_log(api):
            one = ask(pool, risk, account, headers=key)
            until(lambda: is_judged(api, account))
            two = ask(pool, risk, account, headers=key)
        assert one.result().content == two.result().content
        assert one.result().status_code == 200
    assert len(logged(api, account)) == 1


def test_a_batch_whose_store_does_not_answer_is_spooled_before_the_next_one(
    api: Api, risk: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_log, "PATIENCE", 1.0)
    service_log = api.score_log
    account, later, key = new(), new(), {"Idempotency-Key": uuid.uuid4().hex}
    with structlog.testing.capture_logs(), ThreadPoolExecutor(3) as pool:
        with nobody_can_log(api):
            one = ask(pool, risk, account, headers=key)
            until(lambda: is_judged(api, account))
            two, three = ask(pool, risk, account, headers=key), ask(pool, risk, later)
            answers = [answer.result() for answer in (one, two, three)]
        until(lambda: service_log.live and not service_log.spool.waiting, 60)
    assert [answer.status_code for answer in answers] == [200] * 3
    assert answers[0].content == answers[1].content
    until(lambda: len(logged(api, account, later)) == 2)
    assert logged(api, account, later) == [account["account_ref"], later["account_ref"]]


def test_a_row_at_fault_fails_alone(
    api: Api, risk: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = api.score_log
    whole = log.append
    poison, *good = (new() for _ in range(4))

    def broken(rows: Any, answers: Any) -> Any:
        if any(row.account_id == poison["account_ref"] for row in rows):
            raise OSError("a disk at fault")
        return whole(rows, answers)

    monkeypatch.setattr(log, "append", broken)
    monkeypatch.setattr(score_log, "PATIENCE", 60.0)
    first = new()
    with structlog.testing.capture_logs(), ThreadPoolExecutor(5) as pool:
        with nobody_can_log(api):
            held = ask(pool, risk, first)
            until(lambda: is_judged(api, first))
            answers = [ask(pool, risk, account) for account in (poison, *good)]
        codes = [answer.result().status_code for answer in (held, *answers)]
    assert codes == [200, 503, 200, 200, 200]
    assert set(logged(api, poison, *good)) == {account["account_ref"] for account in good}
