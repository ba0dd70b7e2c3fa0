"""The review: the queue, decisions, lists and what-if on a real PostgreSQL, its pages by HTTP."""

import csv
import html
import io
import math
import re
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import pyarrow as pa
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.abuse.model.clusters import Cluster, Link
from dmp_assets.abuse.service import drawing
from dmp_assets.abuse.service.store import hindsight, lists, review, review_queue
from dmp_assets.abuse.service.store.lists import ListError
from dmp_assets.abuse.service.store.review import ChangedError
from dmp_assets.abuse.service.store.schema import (
    abuse_case_claim,
    abuse_case_view,
    abuse_decision,
    abuse_list_entry,
    abuse_prediction,
    account_score,
    review_revision,
)
from dmp_assets.platform.figures.catalogue import figure
from dmp_assets.platform.store import access, database
from dmp_assets.platform.store.roles import ROLES
from dmp_assets.platform.store.schema import audit_event
from tests.support.review import Live, live
from tests.support.service import (
    NOON,
    PASSWORD,
    USERS,
    Api,
    fill,
    now,
    published,
    usage_rows,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN, BEN = "person:ann", "person:ben"


@pytest.fixture
def store(store_url: SecretStr) -> Iterator[sa.Engine]:
    engine = database.engine(store_url)
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
        "live_links": True, "caller": "client:shop", "request_id": "r", "score_id": uuid.uuid4(),
    }  # fmt: skip
    db.execute(abuse_prediction.insert().values(row | values))


def waits(db: sa.Connection, **options: Any) -> list[str]:
    return [case.account_id for case in review_queue.cases(db, **{"share": 0.0} | options)]


def decide(db: sa.Connection, *accounts: str, category: str = "multi_accounting", **options: Any):  # type: ignore[no-untyped-def]
    known = {"by": ANN, "now": NOW, "share": 0.0, "seen": 0}
    return review.decide(db, accounts, category, "", **known | options)


# the queue ---------------------------------------------------------------------------------------
def test_what_is_to_be_reviewed_or_blocked_waits_by_money_at_risk(db: sa.Connection) -> None:
    cases = review_queue.cases(db, share=0.0, limit=100)
    flagged = [f"user-{n:06}" for n in range(USERS - 1, -1, -1) if n * 3 // USERS >= 1]
    # user-000009 stands for its cluster, the other flagged ones stand for themselves
    assert [case.account_id for case in cases] == flagged
    money = [case.expected_abusers for case in cases]
    assert money == sorted(money, reverse=True)
    assert {case.why for case in cases} == {"review", "block"}
    only = review_queue.cases(db, share=0.0, why="review", limit=100)
    assert [case.account_id for case in only] == [c.account_id for c in cases if c.why == "review"]


@pytest.mark.parametrize("limit", [1, 3, 7])
def test_pages_of_the_queue_hold_every_case_once(db: sa.Connection, limit: int) -> None:
    for n in range(4):
        score(db, f"tie-{n}", probability=0.5)
    whole, after, found = waits(db, limit=1000), None, []
    while page := review_queue.cases(db, share=0.0, after=after, limit=limit):
        found += [case.account_id for case in page]
        after = (page[-1].expected_abusers, page[-1].account_id)
    assert found == whole
    assert review_queue.length(db, share=0.0)["all"] == len(whole)


def test_accounts_of_one_cluster_are_one_case(db: sa.Connection) -> None:
    db.execute(
        sa.text(
            "UPDATE published.account_score SET decision = 'block', expected_abusers = 3 "
            "WHERE user_id BETWEEN 'user-000005' AND 'user-000008'"
        )
    )
    first = review_queue.cases(db, share=0.0)[0]
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
    every = review_queue.length(db, share=1.0)
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
    found = [c for c in review_queue.cases(db, share=0.0, limit=100) if c.account_id == "new-1"]
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
    assert db.scalar(sa.select(review_revision.c.revision)) == 0
    group = decide(db, "user-000024", request_id="r-1")
    review.undo(db, group, by=ANN, now=NOW)
    entry = add(db, "ip_range", "203.0.113.9")
    lists.remove(db, entry, by=BEN, now=NOW)
    assert db.scalar(sa.select(review_revision.c.revision)) == 4
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
        ("email_domain", "bücher.example", "xn--bcher-kva.example"),
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
    days = hindsight.by_day(db, 0.4, 0.8, 10)
    assert len(days) == 10 and days[-1].date == NOON.date()
    whole = hindsight.by_day(db, 0.4, 0.8, 100)
    p = [n / USERS for n in range(USERS)]
    assert sum(day.accounts for day in whole) == USERS
    assert sum(day.reviewed for day in whole) == sum(0.4 <= x < 0.8 for x in p)
    assert sum(day.blocked for day in whole) == sum(x >= 0.8 for x in p)
    assert sum(day.abusers_allowed for day in whole) == pytest.approx(sum(x for x in p if x < 0.4))
    assert sum(day.honest_blocked for day in whole) == pytest.approx(
        sum(1 - x for x in p if x >= 0.8)
    )
    crossed = hindsight.by_day(db, 0.9, 0.8, 100)
    assert sum(day.reviewed for day in crossed) == 0


def test_misses_are_counted_among_drawn_accounts_only(db: sa.Connection) -> None:
    for n in range(4):
        score(db, f"n-{n}", decision="allow", probability=0.01)
    decide(db, "n-0", share=1.0)
    decide(db, "n-1", "n-2", category="loyal_customer", share=1.0)
    decide(db, "user-000024", share=1.0)
    review.undo(db, decide(db, "n-3", share=1.0), by=ANN, now=NOW)
    assert hindsight.misses(db) == (3, 1)


# the pages ---------------------------------------------------------------------------------------
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def _api(served_api: Api) -> Api:
    with served_api.store.begin() as store:
        access.add_person(store, "ben@shop.example", "risk", PASSWORD, now=now())
    return served_api


@pytest.fixture
def api(_api: Api) -> Api:
    """The service as if nobody had decided anything yet."""
    service = _api.app.state.service
    service.settings.review_sample_share, _api.abuse.scoring = 0.0, live()
    _api.abuse.counted.forget()
    fill(_api.store, {"account_score": published()["account_score"]})
    with _api.store.begin() as store:
        for table in (
            abuse_case_claim,
            abuse_case_view,
            abuse_decision,
            abuse_list_entry,
            abuse_prediction,
        ):
            store.execute(table.delete())
    _api.forget()
    return _api


@pytest.fixture
def ann(api: Api) -> Iterator[httpx.Client]:
    """A risk analyst's browser."""
    with api.logged_in("risk") as client:
        client.headers.update(HTML)
        yield client


@pytest.fixture
def ben(api: Api) -> Iterator[httpx.Client]:
    """A second analyst's browser."""
    with api.client() as client:
        client.post("/login", data={"email": "ben@shop.example", "password": PASSWORD})
        client.headers.update(HTML)
        yield client


def hidden(text: str, name: str) -> str:
    """The value of a hidden field of the page's form."""
    return text.split(f'name="{name}" value="')[1].split('"')[0]


def fill_in(client: httpx.Client, account_id: str, **fields: str) -> dict[str, str]:
    """The decision form of an account's page as the browser would send it."""
    text = client.get("/review/account", params={"id": account_id}).text
    form = {name: hidden(text, name) for name in ("csrf_token", "seen", "size")}
    form |= {"account": account_id, "category": "multi_accounting", "comment": ""}
    return form | fields


def decided(api: Api, **query: object) -> list[dict[str, Any]]:
    with api.as_role("risk") as shop:
        return list(shop.get("/v1/abuse/decisions", params=query).json()["items"])


def test_a_browser_without_a_session_is_led_to_the_login(api: Api) -> None:
    with api.client() as nobody:
        shown = nobody.get("/review", headers=HTML)
        told = nobody.get("/review")
    assert shown.status_code == 303 and told.status_code == 401
    assert shown.headers["location"] == "/login?next=%2Freview"
    assert told.json()["type"] == "urn:dmp:problem:unauthenticated"


def test_the_first_page_leads_to_the_review_those_who_may(api: Api) -> None:
    for role in ROLES:
        with api.logged_in(role) as client:
            assert ('href="/review"' in client.get("/").text) == ("abuse:review" in ROLES[role])


def test_what_pages_call_a_figure_is_what_the_catalogue_calls_it(
    api: Api, ann: httpx.Client
) -> None:
    text = ann.get("/review").text
    tabs = dict(re.findall(r'data-name="(\w+)"[^>]*>([^<]+) <span>', text))
    assert tabs == {
        name: figure(name).label
        for name in (
            "cases_waiting", "cases_to_block", "cases_to_review", "cases_sampled", "cases_reopened",
        )
    }  # fmt: skip
    for why, name in (("sample", "cases_sampled"), ("block", "cases_to_block")):
        assert figure(name).definition in ann.get("/review", params={"why": why}).text
    assert html.escape(figure("expected_loss").definition) in text
    with api.logged_in("admin") as client:
        first = client.get("/").text
        described = client.get("/v1/openapi.json").json()["components"]["schemas"]
    shown = re.findall(r'data-name="(\w+)"><dt>([^<]+)</dt>', first)
    assert {"registered_users", "promo_uses", "flagged_accounts"} <= {name for name, _ in shown}
    for name, label in shown:
        assert html.unescape(label).startswith(figure(name).label)
        assert html.escape(figure(name).definition) in first
    for schema, field, name in (
        ("CodeUsage", "flagged_usages", "flagged_uses"), ("CodeUsage", "usages", "promo_uses"),
        ("Channel", "cost", "cost"), ("Channel", "cpo", "channel_cost_per_order"),
        ("Channel", "roas", "channel_roas"), ("Channel", "revenue", "attributed_revenue"),
    ):  # fmt: skip
        assert described[schema]["properties"][field]["description"] == figure(name).definition


def test_a_decision_is_at_the_shop_at_once_and_can_be_undone(api: Api, ann: httpx.Client) -> None:
    form = fill_in(ann, "user-000024", comment="same =device")
    answer = ann.post("/review/decide", data=form)
    assert answer.status_code == 303
    (row,) = decided(api)
    assert (row["account_id"], row["verdict"], row["category"]) == (
        "user-000024", "block", "multi_accounting",
    )  # fmt: skip
    assert "comment" not in row
    queue = ann.get(answer.headers["location"]).text
    assert "1 account: " in queue and "data-case>user-000024" not in queue
    undone = ann.post(
        "/review/undo", data={"csrf_token": form["csrf_token"], "group": hidden(queue, "group")}
    )
    assert [row["verdict"] for row in decided(api)] == ["block", "undone"]
    assert "data-case>user-000024" in ann.get(undone.headers["location"]).text
    history = ann.get("/review/account?id=user-000024").text
    assert "risk@…" in history and "same =device" in history


def test_a_whole_cluster_is_decided_at_once(api: Api, ann: httpx.Client) -> None:
    page = ann.get("/review/account?id=user-000022").text
    assert "The whole cluster of 5" in page
    assert "user-000020 and user-000021 share device, phone (4.0)" in page
    ann.post("/review/decide", data=fill_in(ann, "user-000022", scope="cluster"))
    assert {row["account_id"] for row in decided(api)} == {f"user-{n:06}" for n in range(20, 25)}
    shown = ann.get("/review/account?id=user-000020").text
    assert "together with 4 more" in shown
    ann.post(
        "/review/undo",
        data={name: hidden(shown, name) for name in ("csrf_token", "group", "account")},
    )
    with api.store.connect() as store:
        assert review.verdicts(store) == {}


def test_a_cluster_that_grew_meanwhile_is_not_decided_unseen(api: Api, ann: httpx.Client) -> None:
    form = fill_in(ann, "user-000022", scope="cluster", comment="kept", category="shared_place")
    index = cast(Live, api.scoring)
    index.given["new-1"] = {"device_id": "device-ring"}
    told = ann.post("/review/decide", data=form)
    assert told.status_code == 409
    assert "had 5 accounts and has 6 now" in told.text
    assert ">kept</textarea>" in told.text
    assert 'value="shared_place" required data-verdict="allow" checked' in told.text
    as_program = ann.post("/review/decide", data=form, headers={"Accept": "application/json"})
    assert as_program.json()["type"] == "urn:dmp:problem:conflict"
    assert decided(api) == []


def test_two_analysts_on_a_case_are_told_and_nothing_is_lost(
    api: Api, ann: httpx.Client, ben: httpx.Client
) -> None:
    form = fill_in(ann, "user-000024", category="loyal_customer", comment="knows us")
    account = ben.get("/review/account?id=user-000024").text
    assert "risk@… has had this account open for a minute" in account
    assert "risk@… looks at it" in ben.get("/review").text
    ben.post("/review/decide", data=fill_in(ben, "user-000024", comment="ring"))
    news = ann.get("/review/watchers", params={"id": "user-000024", "seen": form["seen"]}).text
    assert "ben@… decided at" in news and "ben@… has had" in news
    told = ann.post("/review/decide", data=form)
    assert told.status_code == 409
    assert "ben@… at" in told.text and "“ring”" in told.text
    assert ">knows us</textarea>" in told.text
    as_program = ann.post("/review/decide", data=form, headers={"Accept": "*/*"}).json()
    assert "ben@… decided `block` (multi_accounting) on user-000024" in as_program["detail"]
    assert len(decided(api)) == 1
    ann.post("/review/decide", data=form | {"seen": hidden(told.text, "seen")})
    assert [row["verdict"] for row in decided(api)] == ["block", "allow"]


def test_undoing_what_was_decided_anew_is_refused(api: Api, ann: httpx.Client) -> None:
    ann.post("/review/decide", data=fill_in(ann, "user-000024"))
    old = ann.get("/review/account?id=user-000024").text
    ann.post("/review/decide", data=fill_in(ann, "user-000024", category="wrong_data"))
    form = {name: hidden(old, name) for name in ("csrf_token", "group", "account")}
    told = ann.post("/review/undo", data=form)
    assert told.status_code == 409 and "Risk@… decided `allow` (wrong_data)" in told.text
    assert ann.post("/review/undo", data=form | {"group": str(uuid.uuid4())}).status_code == 404


def test_what_is_wrong_with_a_decision_is_named(api: Api, ann: httpx.Client) -> None:
    form = fill_in(ann, "user-000024")
    for field, wrong in (
        ("category", "dislike"),
        ("category", ""),
        ("comment", "x" * 2001),
        ("comment", "a\0b"),
        ("seen", "-1"),
        ("seen", str(2**63)),
        ("scope", "all"),
        ("account", ""),
    ):
        answer = ann.post("/review/decide", data=form | {field: wrong})
        assert answer.status_code == 422 and f"<code>body.{field}</code>" in answer.text
    assert decided(api) == []


def test_a_decision_needs_the_forms_token_and_a_known_account(api: Api, ann: httpx.Client) -> None:
    form = fill_in(ann, "user-000024")
    assert ann.post("/review/decide", data=form | {"csrf_token": "x"}).status_code == 403
    assert ann.post("/review/decide", data=form | {"account": "nobody"}).status_code == 404
    assert ann.get("/review/account?id=nobody").status_code == 404
    assert decided(api) == []


def test_search_finds_by_any_attribute_and_keeps_it_out_of_addresses(ann: httpx.Client) -> None:
    def ask(text: str) -> httpx.Response:
        token = hidden(ann.get("/review").text, "csrf_token")
        sent = ann.post("/review/search", data={"csrf_token": token, "text": text})
        assert text not in sent.headers["location"] or len(text) < 5
        return ann.get(sent.headers["location"])

    for text in (" u24@MAIL.example", "+4915112345024", "user-000024"):
        assert ask(text).headers["location"] == "/review/account?id=user-000024"
    assert ask("user-000003").headers["location"] == "/review/account?id=user-000003"
    assert "6 accounts" in ask("203.0.113.9").text
    assert "5 accounts" in ask("device-ring").text
    assert "Nothing found" in ask("nobody@shop.example").text
    assert ann.get("/review/search?token=forged").status_code == 422


def test_an_account_without_links_shows_what_it_shares(ann: httpx.Client) -> None:
    text = ann.get("/review/account?id=user-000015").text
    assert "No other account is linked" in text and "<svg" not in text
    assert '203.0.113.9</td><td class="number">5</td>' in text


def test_without_the_live_index_the_store_alone_does(api: Api, ann: httpx.Client) -> None:
    api.abuse.scoring = Live(is_loaded=False)
    text = ann.get("/review/account?id=user-000009").text
    assert "The live index is not loaded" in text
    assert "The whole cluster of 5" in text and "<svg" in text
    assert (
        ann.post("/review/decide", data=fill_in(ann, "user-000009", scope="cluster")).status_code
        == 303
    )
    assert len(decided(api)) == 5
    token = hidden(ann.get("/review").text, "csrf_token")
    sent = ann.post("/review/search", data={"csrf_token": token, "text": "user-000003"})
    assert ann.get(sent.headers["location"]).headers["location"].endswith("id=user-000003")


def test_attributes_are_masked_for_those_who_do_not_need_them(api: Api) -> None:
    with api.store.begin() as store:
        key = access.add_client(store, f"reviewer-{uuid.uuid4().hex}", ["abuse:review"], now=now())
        lists.add(
            store, "block", "ip_range", "198.51.100.7", comment="", expires_at=None,
            owner="client:x", now=now(),
        )  # fmt: skip
    with api.client(key) as masked, api.as_role("risk") as clear:
        account = {"id": "user-000024"}
        hid = masked.get("/review/account", params=account).text
        shown = clear.get("/review/account", params=account).text
        lists_hid, lists_shown = masked.get("/review/lists").text, clear.get("/review/lists").text
    for secret in ("u24@mail.example", "+4915112345024", "203.0.113.9", "device-ring", "Ring24"):
        assert secret in shown and secret not in hid
    assert "198.51.100.7" in lists_shown and "198.51.100.7" not in lists_hid


def test_what_people_and_callers_write_is_shown_as_text(api: Api, ann: httpx.Client) -> None:
    evil = "<img src=x onerror=alert(1)>&\"'/../?#"
    with api.store.begin() as store:
        score(store, evil, at=now())
    assert evil not in ann.get("/review").text
    ann.post("/review/decide", data=fill_in(ann, evil, comment=evil))
    text = ann.get("/review/account", params={"id": evil}).text
    assert "<img" not in text and "&lt;img" in text
    assert decided(api)[0]["account_id"] == evil


def test_lists_are_kept_by_their_page(api: Api, ann: httpx.Client) -> None:
    token = hidden(ann.get("/review/lists").text, "csrf_token")
    entry = {
        "csrf_token": token, "kind": "ip_range", "effect": "block", "value": "203.0.113.77/24",
        "expires": "2999-12-31", "comment": "a farm",
    }  # fmt: skip
    assert ann.post("/review/lists", data=entry).status_code == 303
    shown = ann.get("/review/lists").text
    assert "203.0.113.0/24" in shown and "2999-12-31" in shown and "risk@…" in shown
    again = ann.post("/review/lists", data=entry | {"effect": "allow"})
    assert again.status_code == 422
    assert "on the block list already" in again.text and 'value="203.0.113.77/24"' in again.text
    program = ann.post("/review/lists", data=entry, headers={"Accept": "*/*"}).json()
    assert [error["field"] for error in program["errors"]] == ["body.value"]
    past = ann.post("/review/lists", data=entry | {"value": "10.0.0.0/8", "expires": "2020-01-01"})
    assert 'id="expires-problem"' in past.text
    last_day = entry | {"value": "10.0.0.0/8", "expires": "9999-12-31"}
    assert ann.post("/review/lists", data=last_day).status_code == 303
    far = entry | {"value": "10.0.0.0/9", "expires": "9998-12-31"}
    assert ann.post("/review/lists", data=far).status_code == 303
    kept = ann.get("/review/lists").text
    assert "9998-12-31" in kept and "9999-12-31" in kept and "9999-01-01" not in kept
    seconds = ann.post("/review/lists", data=entry | {"expires": "1893456000"})
    assert seconds.status_code == 422
    gone = {"csrf_token": token, "entry": shown.split('name="entry" value="')[1].split('"')[0]}
    assert ann.post("/review/lists/remove", data=gone).status_code == 303
    assert ann.post("/review/lists/remove", data=gone).status_code == 404
    assert "203.0.113.0/24" not in ann.get("/review/lists").text


def test_what_if_shows_what_other_thresholds_flag_and_cost(ann: httpx.Client) -> None:
    tried = {"review_from": "0.4", "block_from": "0.8", "days": "365"}
    text = ann.get("/review/what-if", params=tried).text
    p = [n / USERS for n in range(USERS)]
    lost = sum(20 * x for x in p if x < 0.4) + sum(60 * (1 - x) for x in p if x >= 0.8)
    cost = lost + 3 * sum(0.4 <= x < 0.8 for x in p)
    assert f"{cost:,.0f} EUR" in text
    assert "0.15 and 0.95" in text  # today's: 3 / 20 and 1 − 3 / 60
    assert "None of the allowed accounts" in text
    for wrong in ({"review_from": "2"}, {"block_from": "nan"}, {"days": "0"}):
        assert ann.get("/review/what-if", params=wrong).status_code == 422


def test_misses_are_shown_once_drawn_accounts_are_decided(api: Api, ann: httpx.Client) -> None:
    api.app.state.service.settings.review_sample_share = 1.0
    assert "user-000004" in ann.get("/review?why=sample").text
    ann.post("/review/decide", data=fill_in(ann, "user-000004"))
    text = ann.get("/review/what-if").text
    assert "Of 1 allowed accounts" in text and "100.0 % (95 %: 20.7 to 100.0 %)" in text


def test_review_above_block_is_refused(ann: httpx.Client) -> None:
    tried = {"review_from": "0.5", "block_from": "0.2"}
    answer = ann.get("/review/what-if", params=tried)
    assert answer.status_code == 422
    assert "nothing would be reviewed" in answer.text and "query.review_from" in answer.text


def test_a_case_says_what_was_redeemed_and_whose_it_is(
    api: Api, ann: httpx.Client, ben: httpx.Client
) -> None:
    usages = usage_rows().to_pylist()
    fill(api.store, {"user_usage": pa.Table.from_pylist(usages)})
    text = ann.get("/review/account?id=user-000024").text
    assert "SPRING10" in text and "of which the amount is not known" in text
    assert f"{usages[24]['usages']} of" in text
    assert "Waits since" in text and "Nobody has taken it on" in text
    token = hidden(text, "csrf_token")
    form = {"csrf_token": token, "account": "user-000024", "mine": "true"}
    assert ann.post("/review/claim", data=form).status_code == 303
    assert "risk@… has it" in ben.get("/review").text.replace("</strong>", "")
    assert "Take it over" in ben.get("/review/account?id=user-000024").text
    assert "Give it back" in ann.get("/review/account?id=user-000024").text
    ann.post("/review/decide", data=fill_in(ann, "user-000024", category="loyal_customer"))
    after = ann.get("/review/account?id=user-000024").text
    heading = after.split("<h1>")[1].split("</h1>")[0]
    assert "mark allow" in heading and "as decided" in heading  # the badge follows
    assert "Nobody has taken it on" in after


def test_an_account_is_found_by_a_part(api: Api, ann: httpx.Client) -> None:
    given = {
        "email": "carla.jones@mail.example",
        "phone": "+49 30 5550 123",
        "device_id": "dev-xyz",
    }
    with api.store.begin() as store:
        score(store, "fresh-77", attributes=given)

    def ask(text: str) -> str:
        token = hidden(ann.get("/review").text, "csrf_token")
        sent = ann.post("/review/search", data={"csrf_token": token, "text": text})
        return ann.get(sent.headers["location"]).headers.get("location", "")

    for part in ("carla", "JONES@mail", "305550", "30 5550-12", "-xyz", "fresh-7", "esh-77"):
        assert ask(part) == "/review/account?id=fresh-77", part
    for nothing in ("zz", "100%", "_____", "\\"):
        assert ask(nothing) == ""


def test_without_ids_in_full_nothing_masked_is_learnt_by_searching(api: Api) -> None:
    with api.store.begin() as store:
        key = access.add_client(store, f"reviewer-{uuid.uuid4().hex}", ["abuse:review"], now=now())
    with api.client(key) as masked:

        def ask(text: str) -> httpx.Response:
            sent = masked.post("/review/search", data={"text": text})
            return masked.get(sent.headers["location"])

        for text in ("u24@mail.example", "u24@", "+4915112345024", "device-ring", "user-00002"):
            found = ask(text)
            assert found.status_code == 200 and "Nothing found" in found.text, text
            assert "personal:read" in found.text
        assert ask("user-000024").status_code == 303


def test_an_account_of_any_name_can_be_decided(api: Api, ann: httpx.Client) -> None:
    """Whoever names accounts must not be able to name one that nobody can look at."""
    for name in ("sealed:zz", "sealed:", "../x", "?id=1", "a\u202eb", "%00"):
        with api.store.begin() as store:
            score(store, name, at=now())
        assert ann.get("/review/account", params={"id": name}).status_code == 200, name
        assert ann.post("/review/decide", data=fill_in(ann, name)).status_code == 303, name
    assert {row["account_id"] for row in decided(api)} >= {"sealed:zz", "sealed:"}


def test_the_lists_of_the_review_come_as_csv(ann: httpx.Client) -> None:
    token = hidden(ann.get("/review/lists").text, "csrf_token")
    entry = {
        "csrf_token": token, "kind": "account", "effect": "block", "value": "=1+1",
        "expires": "2999-12-31",
    }  # fmt: skip
    assert ann.post("/review/lists", data=entry).status_code == 303
    waiting = list(csv.DictReader(io.StringIO(ann.get("/review/queue.csv").text)))
    listed = list(csv.DictReader(io.StringIO(ann.get("/review/lists.csv").text)))
    assert waiting[0]["account_id"].startswith("user-") and float(waiting[0]["expected_loss"]) > 0
    assert {row["why"] for row in waiting} <= {"block", "review"}
    assert [row["why"] for row in csv.DictReader(io.StringIO(
        ann.get("/review/queue.csv?why=sample").text))] == []  # fmt: skip
    assert (listed[0]["value"], listed[0]["last_day"]) == ("'=1+1", "2999-12-31")


def test_without_personal_read_no_id_is_shown_in_full(api: Api) -> None:
    with api.store.begin() as store:
        key = access.add_client(store, f"blind-{uuid.uuid4().hex}", ["abuse:review"], now=now())
    with api.client(key) as blind:
        blind.headers.update(HTML)
        queue = blind.get("/review")
        address = queue.text.split('href="/review/account?id=')[1].split('"')[0]
        case = blind.get(f"/review/account?id={address}")
        assert queue.status_code == case.status_code == 200
        pages = (queue, case, blind.get("/review/queue.csv"))
    assert not [page for page in pages if "user-0000" in page.text]


def test_an_empty_store_says_so(api: Api, ann: httpx.Client) -> None:
    with api.store.begin() as store:
        store.execute(account_score.delete())
    assert "Nothing waits" in ann.get("/review").text
    assert "No account is scored yet" in ann.get("/review/what-if").text
    assert "Both lists are empty" in ann.get("/review/lists").text


def test_the_shop_polls_decisions_page_by_page(api: Api, ann: httpx.Client) -> None:
    for n in range(20, 25):
        ann.post("/review/decide", data=fill_in(ann, f"user-{n:06}"))
    with api.as_role("risk") as shop:
        found, since = [], None
        for _ in range(4):
            query = {"limit": 2} | ({"since": since} if since else {})
            page = shop.get("/v1/abuse/decisions", params=query).json()
            found += [row["account_id"] for row in page["items"]]
            since = page["next"]
        assert found == [f"user-{n:06}" for n in range(20, 25)]
        ann.post("/review/decide", data=fill_in(ann, "user-000003"))
        answer = shop.get("/v1/abuse/decisions", params={"since": since})
        assert [row["account_id"] for row in answer.json()["items"]] == ["user-000003"]
        assert answer.links["next"]["url"].endswith(f"since={answer.json()['next']}")
        as_csv = shop.get("/v1/abuse/decisions", headers={"Accept": "text/csv"}).text
        assert as_csv.startswith("decision_id,decided_at,account_id,verdict,category\r\n")
        assert as_csv.count("\r\n") == 7
        early, late = now() - timedelta(minutes=5), now() + timedelta(minutes=5)
        assert len(decided(api, since=early.isoformat())) == 6
        assert decided(api, since=late.replace(tzinfo=None).isoformat()) == []
        wrong = shop.get("/v1/abuse/decisions", params={"since": "yesterday"})
        assert wrong.status_code == 422


def test_how_many_wait_is_a_metric(api: Api) -> None:
    with api.as_role("admin") as client:
        client.get("/health/ready")
        before = client.get("/metrics").text
        with api.store.begin() as store:
            decide(store, "user-000024")
        client.get("/review")
        after = client.get("/metrics").text
    assert 'dmp_review_queue_length{why="block"} 8.0' in before
    assert 'dmp_review_queue_length{why="block"} 7.0' in after


# drawing -----------------------------------------------------------------------------------------
def cluster_of(count: int, links: int) -> Cluster:
    names = tuple(f"a{n}" for n in range(count))
    made = tuple(Link(names[n // 2], names[n + 1], 1.0 + n, ("device",)) for n in range(links))
    return Cluster(names, made, count + 7)


@pytest.mark.parametrize(("count", "links"), [(1, 0), (2, 1), (5, 4), (5, 0), (60, 59), (80, 79)])
def test_a_cluster_is_drawn_inside_its_picture_the_same_each_time(count: int, links: int) -> None:
    picture = drawing.graph(cluster_of(count, links), 700, 400, 40)
    assert picture == drawing.graph(cluster_of(count, links), 700, 400, 40)
    shown = min(count, drawing.MOST_NODES)
    assert len(picture.nodes) == shown and picture.hidden == count + 7 - shown
    assert len(picture.edges) == min(links, shown - 1)
    assert all(40 <= node.x <= 660 and 40 <= node.y <= 360 for node in picture.nodes)
    places = [(node.x, node.y) for node in picture.nodes]
    apart = [math.dist(a, b) for n, a in enumerate(places) for b in places[n + 1 :]]
    assert min(apart, default=99) > 12
    assert picture.nodes[0].name_x is not None
    names = [(n.name_x, n.y) for n in picture.nodes if n.name_x is not None]
    for n, a in enumerate(names):
        for b in names[n + 1 :]:
            assert abs(a[0] - b[0]) >= 112 - 0.2 or abs(a[1] - b[1]) >= 18 - 0.2


def test_linked_accounts_are_drawn_closer_than_others() -> None:
    names = tuple("abcdefgh")
    pairs = [("a", "b"), ("b", "c"), ("a", "c"), ("d", "e"), ("e", "f"), ("d", "f"), ("c", "d")]
    links = tuple(Link(a, b, 1.0, ("phone",)) for a, b in pairs)
    drawn = drawing.graph(Cluster(names, links, 8), 600, 600, 30)
    place = {node.account_id: (node.x, node.y) for node in drawn.nodes}
    within = [math.dist(place[a], place[b]) for a, b in pairs[:6]]
    between = [math.dist(place[a], place[b]) for a in "ab" for b in "ef"]
    assert max(within) < min(between)
