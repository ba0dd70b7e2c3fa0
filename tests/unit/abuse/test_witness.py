"""Who counts against whom: nobody is made suspect by accounts that anybody can make."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmp_assets.abuse.model import features, incriminate, models, registry
from dmp_assets.abuse.model.index import AccountIndex, LiveAccount
from dmp_assets.abuse.model.money import Thresholds
from dmp_assets.abuse.model.received import normal_form
from dmp_assets.abuse.model.view import VIEW
from dmp_assets.identity import components, evidence, witness

HOLDER = {
    "email": "ann.lee7@shop.example", "phone": "+1 202 555 0143", "device_id": "phone-of-ann",
    "ip": "84.1.2.3", "first_name": "Ann", "last_name": "Lee", "date_of_birth": date(1988, 5, 4),
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0",
    "city": "Bonn",
}  # fmt: skip
SHARED = (
    ("email",), ("phone",), ("device_id",), ("device_id", "email"), ("ip",),
    ("first_name", "last_name", "date_of_birth"), tuple(HOLDER),
)  # fmt: skip
AT = datetime(2024, 3, 1, 12, tzinfo=UTC)
OF_ALL = tuple(name for name in VIEW.names if name.startswith("accounts"))
"""What the shop as a whole has, which changes with each account."""
POPULATIONS = (
    "links", "all_hour", "network_accounts", "user_agent_accounts", "email_domain_accounts",
    "name_form_accounts", "phone_form_accounts", "city_accounts",
)  # fmt: skip


def account(name: str, minutes: float = 0, **received: Any) -> LiveAccount:
    verified = {key: received.pop(key) for key in ("email_verified", "phone_verified")
                if key in received}  # fmt: skip
    row = normal_form(name, received, AT + timedelta(minutes=minutes), "US")
    return LiveAccount.of(row | {f"is_{key}": value for key, value in verified.items()})


def view(index: AccountIndex, name: str) -> dict[str, Any]:
    number = index.number(name)
    assert number is not None
    found = index.view_of(number)
    found["city_user_agent_hour"] = found["city_user_agent_hour"] or 1
    return {key: value for key, value in found.items() if key not in (*OF_ALL, *POPULATIONS)}


@pytest.mark.parametrize("shared", SHARED, ids="+".join)
def test_unverified_accounts_that_come_later_change_nothing_of_an_earlier_one(
    shared: tuple[str, ...],
) -> None:
    index = AccountIndex()
    index.put(account("holder", **HOLDER))
    alone = view(index, "holder")
    for n in range(18):  # of 20 namesakes nobody is one
        index.put(account(f"n{n}", 1 + n, **{name: HOLDER[name] for name in shared}))
    assert view(index, "holder") == alone
    last = view(index, "n17")
    counts = ("device_accounts", "email_accounts", "phone_accounts", "ip_accounts",
              "identity_accounts")  # fmt: skip
    assert any(last[name] == 19 for name in counts), "each of them sees all that came before"
    assert index.cluster("holder").size in (1, 19), "people see what hangs together"


@pytest.mark.parametrize(
    ("shared", "counted", "by", "not_by"),
    [
        ("email", "email_accounts", "email_verified", "phone_verified"),
        ("phone", "phone_accounts", "phone_verified", "email_verified"),
        ("device_id", "device_accounts", "email_verified", None),
        ("device_id", "device_accounts", "phone_verified", None),
        ("ip", "ip_accounts", "phone_verified", None),
    ],
)
def test_a_later_account_counts_by_what_is_verified_of_it(
    shared: str, counted: str, by: str, not_by: str | None
) -> None:
    index = AccountIndex()
    index.put(account("holder", **HOLDER))
    if not_by:
        index.put(account("a", 1, **{shared: HOLDER[shared], not_by: True}))
        assert view(index, "holder")[counted] == 1
        index.remove("a")
    index.put(account("b", 2, **{shared: HOLDER[shared], by: True}))
    found = view(index, "holder")
    assert found[counted] == 2 and found["cluster_size"] == 2
    index.put(account("b", 2, **{shared: HOLDER[shared], by: False}))
    assert view(index, "holder")[counted] == 1, "what was verified is looked up anew"


def test_an_unverified_account_does_not_join_a_holder_to_a_ring() -> None:
    index = AccountIndex()
    for n in range(9):
        index.put(account(f"ring{n}", n, device_id="farm"))
    index.put(account("holder", 60, **HOLDER))
    alone = view(index, "holder")
    index.put(account("bridge", 90, device_id="farm", phone=HOLDER["phone"]))
    assert view(index, "holder") == alone
    assert index.cluster("holder").size == 11
    assert view(index, "bridge")["cluster_size"] == 11
    index.put(account("bridge", 90, device_id="farm", phone=HOLDER["phone"], phone_verified=True))
    assert view(index, "holder")["cluster_size"] == 11, "but a verified one does"


def test_twenty_unverified_accounts_with_all_that_a_holder_has_raise_no_score() -> None:
    index = AccountIndex()
    for n in range(60):
        index.put(
            account(
                f"other{n}",
                -99 - n,
                device_id=f"d{n}",
                phone=f"+1 202 555 {n:04}",
                email=f"{'abcdefgh'[n % 8]}.doe@shop.example",
                phone_verified=True,
            )
        )
    index.put(account("holder", email_verified=True, phone_verified=True, **HOLDER))
    pipeline = models.unfitted_rule_list()

    def score(name: str) -> float:
        number = index.number(name)
        assert number is not None
        row = {key: [value] for key, value in index.view_of(number).items()}
        return float(models.probability(pipeline, features.matrix(row))[0])

    before = score("holder")
    for n in range(20):
        index.put(account(f"n{n}", 1 + n, **HOLDER))
    assert score("n19") > 0.95
    assert score("holder") < before + 0.01


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12).flatmap(lambda count: st.tuples(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=count, max_size=count),
    st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=40),
    st.sampled_from([3, 1_000]),
)))  # fmt: skip
def test_who_is_reached_is_counted_as_by_walking(
    graph: tuple[list[tuple[int, bool]], list[tuple[int, int]], int],
) -> None:
    nodes, edges, at_most = graph
    start, end = (np.array([edge[side] for edge in edges], np.int64) for side in (0, 1))
    time, free = np.array([node[0] for node in nodes]), np.array([node[1] for node in nodes])
    found = components.reached(start, end, time, free, at_most)
    for first in range(len(nodes)):
        seen = {first}
        for _ in nodes:
            seen |= {b for a, b in edges if a in seen and (free[b] or time[b] <= time[first])}
        assert found[first] == min(len(seen), at_most)


def test_every_kind_of_evidence_says_what_must_be_verified() -> None:
    assert {kind.verified for kind in evidence.KINDS} == set(witness.SQL) == set(witness.COUNTS)


def test_what_it_costs_to_incriminate_is_measured_on_each_attack() -> None:
    given = normal_form("holder", HOLDER, AT.replace(tzinfo=None), "US")
    holder = dict.fromkeys(VIEW.names) | given | {"accounts": 10_000, "is_email_verified": True}
    holder |= {name: 9_000 for name in OF_ALL if name != "accounts"}
    holder |= {name: 3_000 for name in POPULATIONS if name != "links"}
    model = registry.rule_list("rules", Thresholds(0.15, 0.95))
    found = {(c.shared, c.is_verified): c for c in incriminate.costs([holder], model)}
    assert len(found) == 2 * len(incriminate.ATTACKS)
    for shared in incriminate.ATTACKS:
        spared = found[shared, False]
        assert (spared.to_review, spared.to_block_first) == (None, None)
        assert spared.after == pytest.approx(spared.before, abs=1e-3)
    everything = found["everything", True]
    assert everything.to_block is not None and everything.to_review is not None
    assert everything.to_review <= everything.to_block and everything.after > 0.95
    assert incriminate.costs([], model) == []
