"""The review: the queue, decisions, lists and what-if on a real PostgreSQL, its pages by HTTP."""

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.store import database, lists, review
from dmp_assets.store.lists import ListError
from dmp_assets.store.review import ChangedError
from dmp_assets.store.schema import abuse_prediction, audit_event
from tests.support.service import NOON, USERS, fill, published

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN, BEN = "person:ann", "person:ben"


@pytest.fixture
def store(shop_url: SecretStr) -> Iterator[sa.Engine]:
    engine = database.engine(shop_url)
    database.migrate(engine)
    fill(engine, {"account_score": published()["account_score"]})
    yield engine
    engine.dispose()


@pytest.fixture
def db(store: sa.Engine) -> Iterator[sa.Connection]:
    """A connection in a transaction that is not committed."""
    with store.connect() as connection:
        yield connection


def score(
    db: sa.Connection,
    account_id: str,
    *,
    probability: float = 0.95,
    decision: str = "block",
    codes: tuple[str, ...] = ("SHARED_DEVICE",),
    size: int = 1,
    at: datetime = NOW,
    **values: Any,
) -> None:
    """Log one live score."""
    row = {
        "predicted_at": at, "account_id": account_id, "is_new": True, "attributes": {},
        "probability": probability, "model_decision": decision, "decision": decision,
        "decided_by": "model", "cluster_size": size, "linked_accounts": [],
        "reasons": [{"code": code, "text": code.lower(), "weight": 1.0} for code in codes],
        "expected_abusers": probability * size, "model_version": "m-1", "features": [],
        "live_links": True, "caller": "client:shop", "request_id": "r",
    }  # fmt: skip
    db.execute(abuse_prediction.insert().values(row | values))


def waits(db: sa.Connection, **options: Any) -> list[str]:
    return [case.account_id for case in review.queue(db, **{"share": 0.0} | options)]


def decide(db: sa.Connection, *accounts: str, category: str = "multi_accounting", **options: Any):  # type: ignore[no-untyped-def]
    known = {"by": ANN, "now": NOW, "share": 0.0, "seen": 0}
    return review.decide(db, accounts, category, "", **known | options)


# the queue ---------------------------------------------------------------------------------------
def test_what_is_to_be_reviewed_or_blocked_waits_by_money_at_risk(db: sa.Connection) -> None:
    cases = review.queue(db, share=0.0, limit=100)
    flagged = [f"user-{n:06}" for n in range(USERS - 1, -1, -1) if n * 3 // USERS >= 1]
    # user-000009 stands for its cluster, the other flagged ones stand for themselves
    assert [case.account_id for case in cases] == flagged
    money = [case.expected_abusers for case in cases]
    assert money == sorted(money, reverse=True)
    assert {case.why for case in cases} == {"review", "block"}
    only = review.queue(db, share=0.0, why="review", limit=100)
    assert [case.account_id for case in only] == [c.account_id for c in cases if c.why == "review"]


@pytest.mark.parametrize("limit", [1, 3, 7])
def test_pages_of_the_queue_hold_every_case_once(db: sa.Connection, limit: int) -> None:
    for n in range(4):
        score(db, f"tie-{n}", probability=0.5)
    whole, after, found = waits(db, limit=1000), None, []
    while page := review.queue(db, share=0.0, after=after, limit=limit):
        found += [case.account_id for case in page]
        after = (page[-1].expected_abusers, page[-1].account_id)
    assert found == whole
    assert review.queue_length(db, share=0.0)[None] == len(whole)


def test_accounts_of_one_cluster_are_one_case(db: sa.Connection) -> None:
    db.execute(
        sa.text(
            "UPDATE published.account_score SET decision = 'block', expected_abusers = 3 "
            "WHERE user_id BETWEEN 'user-000005' AND 'user-000008'"
        )
    )
    first = review.queue(db, share=0.0)[0]
    # user-000009 is of the cluster too, flagged by itself and the likeliest of the five
    assert (first.account_id, first.waiting, first.expected_abusers) == ("user-000009", 5, 3)


def test_the_newer_opinion_counts(db: sa.Connection) -> None:
    score(db, "user-000024", decision="allow", probability=0.1)
    score(db, "user-000000", at=NOON - timedelta(days=1))
    score(db, "new-1")
    score(db, "new-2", at=NOW - timedelta(days=2))
    score(db, "new-2", decision="allow", at=NOW - timedelta(days=1))
    waiting = waits(db, limit=100)
    assert "new-1" in waiting
    assert not {"user-000024", "user-000000", "new-2"} & set(waiting)


def test_a_share_of_allowed_accounts_waits_too_the_same_each_time(db: sa.Connection) -> None:
    for n in range(400):
        score(db, f"n-{n}", decision="allow", probability=0.01)
        score(db, f"old-{n}", decision="allow", at=NOW - timedelta(days=31))
    drawn = waits(db, share=0.1, why="sample", limit=1000)
    assert drawn == waits(db, share=0.1, why="sample", limit=1000)
    assert set(drawn) < set(waits(db, share=0.5, why="sample", limit=1000))
    assert 20 <= len(drawn) <= 60
    assert not any(name.startswith("old-") for name in drawn)
    every = review.queue_length(db, share=1.0)
    assert every["sample"] == 400 + 2  # users 0 to 4 and 5 to 8 are two clusters
    assert waits(db, share=0.0, why="sample") == []


# decisions ---------------------------------------------------------------------------------------
def test_a_decision_takes_a_case_off_the_queue_and_undo_puts_it_back(db: sa.Connection) -> None:
    before = waits(db)
    group = decide(db, "user-000024", "user-000023")
    assert waits(db) == before[2:]
    held = review.verdicts(db)
    assert {name: found.verdict for name, found in held.items()} == {
        "user-000023": "block", "user-000024": "block",
    }  # fmt: skip
    assert held["user-000024"].evidence["codes"] == ["SHARED_DEVICE"]
    assert review.undo(db, group, by=BEN, now=NOW) is not None
    assert waits(db) == before
    assert review.verdicts(db) == {}
    assert review.undo(db, uuid.uuid4(), by=BEN, now=NOW) is None


@pytest.mark.parametrize(
    ("then", "reopens"),
    [
        ({}, False),
        ({"probability": 0.99}, False),
        ({"model_version": "m-2"}, False),
        ({"codes": ()}, False),
        ({"codes": ("DISPOSABLE_EMAIL",)}, True),
        ({"codes": ("SHARED_DEVICE", "DISPOSABLE_EMAIL")}, True),
        ({"size": 3}, True),
        ({"size": 1}, False),
        ({"size": 3, "decision": "allow"}, False),
    ],
)
@pytest.mark.parametrize("category", ["loyal_customer", "multi_accounting"])
def test_a_decided_case_reopens_on_new_evidence_only(
    db: sa.Connection, category: str, then: dict[str, Any], reopens: bool
) -> None:
    score(db, "new-1", size=2, at=NOW - timedelta(hours=1))
    decide(db, "new-1", category=category)
    score(db, "new-1", **{"size": 2} | then)
    found = [c for c in review.queue(db, share=0.0, limit=100) if c.account_id == "new-1"]
    assert [case.why for case in found] == (["reopened"] if reopens else [])
    if reopens:  # and deciding it again closes it
        decide(
            db, "new-1", category=category, seen=review.decisions_of(db, ["new-1"])[0].decision_id
        )
        assert "new-1" not in waits(db, limit=100)


def test_what_was_shown_live_is_no_news_afterwards(db: sa.Connection) -> None:
    shown = review.Evidence(frozenset({"BURST"}), 4, 0.9, "m-1")
    decide(db, "new-1", live={"new-1": shown})
    score(db, "new-1", codes=("BURST",), size=4)
    assert "new-1" not in waits(db, limit=100)


def test_who_did_not_see_the_last_decision_is_told_and_nothing_changes(db: sa.Connection) -> None:
    decide(db, "user-000024", by=BEN)
    with pytest.raises(ChangedError) as told:
        decide(db, "user-000023", "user-000024", category="loyal_customer")
    assert [(d.account_id, d.decided_by) for d in told.value.decisions] == [("user-000024", BEN)]
    seen = told.value.decisions[0].decision_id
    group = decide(db, "user-000024", category="loyal_customer", seen=seen)
    first = review.decisions_of(db, ["user-000024"])[-1].group_id
    with pytest.raises(ChangedError):
        review.undo(db, first, by=BEN, now=NOW)
    assert review.verdicts(db)["user-000024"].group_id == group


def test_two_who_decide_at_once_do_not_both_succeed(store: sa.Engine) -> None:
    told: list[str] = []

    def work(by: str) -> None:
        try:
            with store.begin() as connection:
                decide(connection, "user-000024", by=by)
        except ChangedError:
            told.append(by)

    threads = [threading.Thread(target=work, args=(f"person:{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 3
    with store.connect() as connection:
        assert len(review.decisions_of(connection, ["user-000024"])) == 1


def test_decisions_are_committed_in_the_order_of_their_ids(store: sa.Engine) -> None:
    """Who polls by the last id misses none, however many decide at once."""
    seen: list[int] = []
    over = threading.Event()

    def poll() -> None:
        while True:
            last = over.is_set()
            with store.connect() as connection:
                found = review.decisions_since(connection, seen[-1] if seen else 0, 1000)
            seen.extend(decision.decision_id for decision in found)
            if last:
                return

    def work(who: int) -> None:
        for n in range(15):
            with store.begin() as connection:
                decide(connection, f"a-{who}-{n}", f"b-{who}-{n}")

    poller = threading.Thread(target=poll)
    workers = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in (poller, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    over.set()
    poller.join()
    assert seen == sorted(seen) and len(seen) == len(set(seen)) == 3 * 15 * 2


def test_decisions_are_read_from_an_id_or_a_time(db: sa.Connection) -> None:
    for n in range(3):
        decide(db, f"a-{n}", now=NOW + timedelta(hours=n))
    whole = review.decisions_since(db, None, 10)
    assert [found.account_id for found in whole] == ["a-0", "a-1", "a-2"]
    assert review.decisions_since(db, whole[0].decision_id, 10) == whole[1:]
    assert review.decisions_since(db, NOW + timedelta(minutes=1), 10) == whole[1:]
    assert review.decisions_since(db, NOW + timedelta(days=1), 10) == []
    assert review.decisions_since(db, None, 1) == whole[:1]


def test_changes_count_and_are_in_the_audit_log_without_the_accounts(db: sa.Connection) -> None:
    assert review.revision(db) == 0
    group = decide(db, "user-000024", request_id="r-1")
    review.undo(db, group, by=ANN, now=NOW)
    entry = add(db, "ip_range", "203.0.113.9")
    lists.remove(db, entry, by=BEN, now=NOW)
    assert review.revision(db) == 4
    rows = db.execute(sa.select(audit_event).order_by(audit_event.c.event_id)).all()
    assert [row.action for row in rows] == [
        "decide on accounts", "decide on accounts", "add to list", "remove from list",
    ]  # fmt: skip
    assert rows[0].detail == {
        "group_id": str(group), "verdict": "block", "category": "multi_accounting", "accounts": 1,
    }  # fmt: skip
    assert not any("203.0" in str(row.detail) or "user-" in str(row.detail) for row in rows)


# lists -------------------------------------------------------------------------------------------
def add(db: sa.Connection, kind: Any, value: str, effect: Any = "block", **options: Any) -> int:
    known = {"comment": "", "expires_at": None, "owner": ANN, "now": NOW}
    return lists.add(db, effect, kind, value, **known | options)


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        ("account", " user-1 ", "user-1"),
        ("device", "2E43-x", "2E43-x"),
        ("ip_range", "203.0.113.9", "203.0.113.9/32"),
        ("ip_range", "203.0.113.9/24", "203.0.113.0/24"),
        ("ip_range", "2001:DB8::1/32", "2001:db8::/32"),
        ("email_domain", "@Example.COM", "example.com"),
        ("email_domain", "bücher.example", "bücher.example"),
    ],
)
def test_a_value_is_kept_in_one_form(db: sa.Connection, kind: Any, value: str, kept: str) -> None:
    add(db, kind, value)
    assert [(e.kind, e.value, e.owner) for e in lists.entries(db, now=NOW)] == [(kind, kept, ANN)]


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("account", "  ", "between 1 and 200"),
        ("device", "x" * 201, "between 1 and 200"),
        ("ip_range", "example.com", "not an IP address"),
        ("ip_range", "203.0.113.0/33", "not an IP address"),
        ("ip_range", "10.0.0.0/7", "at widest /8"),
        ("ip_range", "0.0.0.0/0", "at widest /8"),
        ("ip_range", "2001::/15", "at widest /16"),
        ("email_domain", "com", "not an e-mail domain"),
        ("email_domain", "ann@example.com", "not an e-mail domain"),
        ("email_domain", "-a.example", "not an e-mail domain"),
    ],
)
def test_a_value_that_cannot_be_is_refused(
    db: sa.Connection, kind: Any, value: str, said: str
) -> None:
    with pytest.raises(ListError, match=said) as refused:
        add(db, kind, value)
    assert refused.value.field == "value"


def test_one_value_is_on_one_list_once_until_it_is_removed_or_over(db: sa.Connection) -> None:
    first = add(db, "device", "d-1", expires_at=NOW + timedelta(hours=1))
    with pytest.raises(ListError, match="on the block list already"):
        add(db, "device", "d-1", effect="allow")
    later = NOW + timedelta(hours=2)
    assert lists.entries(db, now=later) == []
    second = add(db, "device", "d-1", effect="allow", now=later)
    assert second > first
    assert lists.remove(db, second, by=BEN, now=later)
    assert not lists.remove(db, second, by=BEN, now=later)
    assert lists.entries(db, now=later) == []
    add(db, "device", "d-1", now=later)
    with pytest.raises(ListError, match="in the past") as refused:
        add(db, "device", "d-2", expires_at=NOW)
    assert refused.value.field == "expires"


# what if -----------------------------------------------------------------------------------------
def test_what_another_threshold_would_make_of_the_newest_days(db: sa.Connection) -> None:
    days = review.what_if(db, 0.4, 0.8, 10)
    assert len(days) == 10 and days[-1].date == NOON.date()
    whole = review.what_if(db, 0.4, 0.8, 100)
    p = [n / USERS for n in range(USERS)]
    assert sum(day.accounts for day in whole) == USERS
    assert sum(day.reviewed for day in whole) == sum(0.4 <= x < 0.8 for x in p)
    assert sum(day.blocked for day in whole) == sum(x >= 0.8 for x in p)
    assert sum(day.abusers_allowed for day in whole) == pytest.approx(sum(x for x in p if x < 0.4))
    assert sum(day.honest_blocked for day in whole) == pytest.approx(
        sum(1 - x for x in p if x >= 0.8)
    )
    crossed = review.what_if(db, 0.9, 0.8, 100)
    assert sum(day.reviewed for day in crossed) == 0


def test_misses_are_counted_among_drawn_accounts_only(db: sa.Connection) -> None:
    for n in range(4):
        score(db, f"n-{n}", decision="allow", probability=0.01)
    decide(db, "n-0", share=1.0)
    decide(db, "n-1", "n-2", category="loyal_customer", share=1.0)
    decide(db, "user-000024", share=1.0)
    review.undo(db, decide(db, "n-3", share=1.0), by=ANN, now=NOW)
    assert review.misses(db) == (3, 1)
