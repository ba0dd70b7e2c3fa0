"""The inbox of webhooks in a real PostgreSQL: each once, older news left alone, kept apart."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.platform.connect import inbox
from dmp_assets.platform.connect.inbox import Webhook
from dmp_assets.platform.store import database

NOW = datetime(2026, 11, 28, 10, tzinfo=UTC)


@pytest.fixture
def store(store_url: SecretStr) -> Iterator[sa.Engine]:
    engine = database.engine(store_url)
    yield engine
    engine.dispose()


def told(number: int | str, **more: Any) -> Webhook:
    common = {"service": "S", "account": "a", "topic": "t", "subject": "s"}
    return Webhook(**{**common, "webhook_id": str(number), **more})


def test_what_waits_is_given_in_its_order_until_it_is_taken(store: sa.Engine) -> None:
    with store.begin() as rows:
        for number in (3, 1, 2):
            at = NOW + timedelta(seconds=number)
            one = told(number, triggered_at=at, told={"n": number})
            assert inbox.note(rows, one, at) == "new"
        found = inbox.waiting(rows, "S", "a", ["t"])
        assert [(one.webhook_id, one.told) for one in found] == [
            ("1", {"n": 1}), ("2", {"n": 2}), ("3", {"n": 3})
        ]  # fmt: skip
        inbox.take(rows, found[:2], NOW)
        assert [one.webhook_id for one in inbox.waiting(rows, "S", "a", ["t"])] == ["3"]
        assert inbox.note(rows, told(1), NOW) == "repeated"


def test_older_news_of_the_same_thing_is_left_alone(store: sa.Engine) -> None:
    with store.begin() as rows:
        assert inbox.note(rows, told(1, changed_at=NOW), NOW) == "new"
        before = NOW - timedelta(hours=1)
        assert inbox.note(rows, told(2, changed_at=before), NOW) == "older"
        assert inbox.note(rows, told(3, changed_at=before, subject="other"), NOW) == "new"
        assert inbox.note(rows, told(4, changed_at=NOW), NOW) == "new"
        assert inbox.note(rows, told(5), NOW) == "new"
        assert [one.webhook_id for one in inbox.waiting(rows, "S", "a", ["t"])] == list("1345")


@pytest.mark.parametrize("column", ["changed_at", "triggered_at"])
@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-14:00", "infinity", "0044-03-15 BC"])
def test_a_row_of_a_time_that_cannot_be_keeps_nobody_from_the_others(
    store: sa.Engine, column: str, moment: str
) -> None:
    with store.begin() as rows:
        for number in (1, 2):
            inbox.note(rows, told(number, changed_at=NOW, triggered_at=NOW), NOW)
        poisoned = f"UPDATE webhook_inbox SET {column} = :at WHERE webhook_id = '1'"
        rows.execute(sa.text(poisoned), {"at": moment})
        bad, good = inbox.waiting(rows, "S", "a", ["t"])
        assert (bad.webhook_id, bad.is_plausible, getattr(bad, column)) == ("1", False, None)
        assert (good.webhook_id, good.is_plausible, getattr(good, column)) == ("2", True, NOW)
        assert inbox.note(rows, told(3, changed_at=NOW), NOW) == "new"
        inbox.take(rows, [bad, good], NOW)
        assert [one.webhook_id for one in inbox.waiting(rows, "S", "a", ["t"])] == ["3"]


def test_what_was_acted_on_long_ago_is_dropped(store: sa.Engine) -> None:
    one = told(1, changed_at=NOW)
    with store.begin() as rows:
        assert inbox.note(rows, one, NOW) == "new"
        assert inbox.drop_older(rows, datetime(2100, 1, 1, tzinfo=UTC)) == 0
        inbox.take(rows, [one], NOW)
        assert inbox.drop_older(rows, NOW) == 0
        assert inbox.drop_older(rows, NOW + timedelta(seconds=1)) == 1
        assert inbox.note(rows, one, NOW) == "new"


def test_accounts_and_services_are_kept_apart(store: sa.Engine) -> None:
    before = {"changed_at": NOW - timedelta(hours=1)}
    with store.begin() as rows:
        inbox.note(rows, told(1, changed_at=NOW), NOW)
        expected = {("S", "b"): "new", ("T", "a"): "new", ("S", "a"): "older"}
        for (service, account), outcome in expected.items():
            given = told(f"{service}{account}", service=service, account=account, **before)
            assert inbox.note(rows, given, NOW) == outcome
        assert [one.account for one in inbox.waiting(rows, "S", "b", ["t"])] == ["b"]
        assert inbox.waiting(rows, "S", "b", ["other"]) == []
