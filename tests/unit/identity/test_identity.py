"""The maths of links between accounts: weights by rarity, and connected components."""

from random import Random

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmp_assets.identity.components import leaders
from dmp_assets.identity.evidence import KINDS, MIN_WEIGHT, Kind

BY_NAME = {kind.name: kind for kind in KINDS}
holders = st.integers(min_value=2, max_value=100_000)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@given(holders, holders)
def test_a_value_that_more_accounts_hold_never_weighs_more(kind: Kind, one: int, two: int) -> None:
    few, many = sorted((one, two))
    assert kind.strength >= kind.weight(few) >= kind.weight(many) >= 0


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_value_of_two_accounts_weighs_its_kinds_whole_strength(kind: Kind) -> None:
    assert kind.weight(2) == pytest.approx(kind.strength)
    assert kind.weight(2) >= MIN_WEIGHT


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_sql_and_python_weigh_alike(kind: Kind) -> None:
    counts = [2, 3, 5, kind.cap, kind.cap + 1, 10 * kind.cap]
    with duckdb.connect() as connection:
        for count in counts:
            connection.execute(f"SELECT {kind.weight_sql(str(count))}")
            assert float(connection.fetchall()[0][0]) == pytest.approx(kind.weight(count))


def test_a_value_of_one_account_is_not_evidence() -> None:
    with pytest.raises(ValueError, match="not shared"):
        KINDS[0].weight(1)


def test_a_campus_address_weighs_nothing_and_a_household_s_links() -> None:
    assert BY_NAME["ip"].weight(500) == 0
    assert BY_NAME["ip"].weight(5) >= MIN_WEIGHT > BY_NAME["ip"].weight(8)


def test_a_device_farm_is_linked_and_a_kiosk_is_not() -> None:
    assert BY_NAME["device"].weight(50) >= MIN_WEIGHT > BY_NAME["device"].weight(100)


edges = st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=60)


@given(edges)
def test_leaders_are_the_smallest_nodes_that_can_be_reached(pairs: list[tuple[int, int]]) -> None:
    ends = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    found = leaders(ends[:, 0], ends[:, 1], 30)
    expected = list(range(30))
    for _ in range(30):
        for a, b in pairs:
            expected[a] = expected[b] = min(expected[a], expected[b])
    assert found.tolist() == expected


@given(edges, st.randoms())
def test_components_do_not_depend_on_order_direction_or_repetition(
    pairs: list[tuple[int, int]], random: Random
) -> None:
    turned = [(b, a) for a, b in pairs] + pairs
    random.shuffle(turned)
    one = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    two = np.array(turned, dtype=np.int64).reshape(-1, 2)
    assert (leaders(one[:, 0], one[:, 1], 30) == leaders(two[:, 0], two[:, 1], 30)).all()


def test_no_nodes_have_no_components() -> None:
    none = np.empty(0, dtype=np.int64)
    assert leaders(none, none, 0).tolist() == []
