"""Pooled insights: what is shown of many advertisers, and attacks on what is not."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from itertools import combinations
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmp_assets.ads.model.pooled.cells import (
    LEAST,
    RESTED,
    Cell,
    Consent,
    Group,
    Measure,
    Pool,
    PoolError,
    carried,
    figures,
    is_dominated,
    regrouped,
    shown,
    taking_part,
)

START = date(2026, 1, 1)
ROAS = Measure("roas", 0.2, 20.0, is_log=True)
SHARE = Measure("share", 0.0, 1.0)
LEAVES: tuple[Cell, ...] = (
    ("fashion", "small"), ("fashion", "large"), ("food", "small"), ("food", "large"),
    ("toys", "small"),
)  # fmt: skip


def everyone(counts: Mapping[Cell, int]) -> dict[str, Cell]:
    return {f"{'-'.join(cell)}-{n}": cell for cell, count in counts.items() for n in range(count)}


def valued(names: Mapping[str, Cell], seed: int = 0) -> dict[str, float]:
    random = np.random.default_rng(seed)
    return {name: float(random.lognormal(1.0, 0.4)) for name in names}


# what is shown -----------------------------------------------------------------------------------
def test_a_cell_shows_the_geometric_mean_of_its_advertisers_rounded() -> None:
    people = everyone({LEAVES[0]: 23})
    values = valued(people)
    found = shown(regrouped(Pool(), people, START, salt="s"), values, ROAS)
    assert [one.cell for one in found] == [(), ("fashion",), LEAVES[0]]
    logs = np.log(list(values.values()))
    assert {one.advertisers for one in found} == {20}
    assert {one.centre for one in found} == {float(f"{math.exp(logs.mean()):.1e}")}
    assert {one.spread for one in found} == {float(f"{math.exp(logs.std()):.1e}")}


def test_fewer_than_ten_show_in_no_cell_but_with_others_in_the_one_above() -> None:
    people = everyone({LEAVES[0]: 9})
    assert shown(regrouped(Pool(), people, START, salt="s"), valued(people), ROAS) == []
    more = everyone({LEAVES[0]: 9, LEAVES[1]: 12, LEAVES[2]: 5})
    pool = regrouped(Pool(), more, START, salt="s")
    found = {one.cell: one.advertisers for one in shown(pool, valued(more), ROAS)}
    assert found == {(): 25, ("fashion",): 10, LEAVES[1]: 10}
    assert {group.cell: len(group.members) for group in pool.groups} == {LEAVES[1]: 12, (): 14}


def test_one_extreme_value_is_clipped_and_a_dominating_one_leaves_its_group_out() -> None:
    people = everyone({LEAVES[0]: 10})
    pool = regrouped(Pool(), people, START, salt="s")
    values = dict.fromkeys(people, 3.0)
    name = next(iter(people))
    assert shown(pool, values | {name: 1e12}, ROAS) == shown(pool, values | {name: 20.0}, ROAS)
    tiny = dict.fromkeys(people, 0.01)
    assert shown(pool, tiny, SHARE) != []
    assert shown(pool, tiny | {name: 0.9}, SHARE) == []
    large = dict.fromkeys(people, 0.99)
    assert shown(pool, large | {name: 0.1}, SHARE) == []


@pytest.mark.parametrize(
    ("held", "is_so"),
    [
        ([0.0] * 10, False),
        ([1.0] * 10, False),
        ([0.5] * 10, False),
        ([0.0] * 9 + [0.01], True),
        ([0.1] * 9 + [0.61], True),
        ([0.1] * 9 + [0.5], False),
    ],
)
def test_dominance_is_counted_from_both_bounds(held: list[float], is_so: bool) -> None:
    assert is_dominated(np.array(held), SHARE) is is_so


def test_all_the_same_values_have_no_spread() -> None:
    people = everyone({LEAVES[0]: 10})
    pool = regrouped(Pool(), people, START, salt="s")
    (top, *_) = shown(pool, dict.fromkeys(people, 3.0), ROAS)
    assert (top.centre, top.spread) == (3.0, 1.0)


def test_nobody_takes_part() -> None:
    pool = regrouped(Pool(), {}, START, salt="s")
    assert pool.groups == () and shown(pool, {}, ROAS) == []


# consent -----------------------------------------------------------------------------------------
def test_who_withdraws_is_in_nothing_that_the_next_run_shows() -> None:
    people = everyone({LEAVES[0]: 10, LEAVES[2]: 20})
    consents = [Consent(name, "1", START) for name in people]
    recent = dict.fromkeys(people, 0)
    on = START + timedelta(days=40)
    first = regrouped(Pool(), taking_part(consents, people, recent, on, version="1"), on, salt="s")
    leaver = f"{'-'.join(LEAVES[0])}-3"
    consents = [
        replace(one, withdrawn=on) if one.advertiser_id == leaver else one for one in consents
    ]
    again = regrouped(first, taking_part(consents, people, recent, on, version="1"), on, salt="s")
    assert all(leaver not in group.members for group in again.standing)
    values = valued(people)
    moved = shown(again, values | {leaver: 19.0}, ROAS)
    assert moved == shown(again, values, ROAS)
    assert {one.cell for one in moved} == {(), ("food",), LEAVES[2]}


@pytest.mark.parametrize(
    ("consent", "holds"),
    [
        (Consent("a", "1", START), True),
        (Consent("a", "1", START + timedelta(days=1)), False),
        (Consent("a", "2", START), False),
        (Consent("a", "1", START - timedelta(days=9), withdrawn=START), False),
        (Consent("a", "1", START, withdrawn=START + timedelta(days=1)), True),
    ],
)
def test_a_consent_holds_from_its_day_for_its_version_until_it_is_withdrawn(
    consent: Consent, holds: bool
) -> None:
    found = taking_part([consent], {"a": LEAVES[0]}, {"a": 0}, START, version="1")
    assert found == ({"a": LEAVES[0]} if holds else {})


def test_the_newest_consent_counts_and_who_has_no_values_takes_no_part() -> None:
    old = Consent("a", "1", START, withdrawn=START + timedelta(days=5))
    new = Consent("a", "1", START + timedelta(days=9))
    on, cells = START + timedelta(days=10), {"a": LEAVES[0]}
    for listed in ([old, new], [new, old]):
        assert taking_part(listed, cells, {"a": 2}, on, version="1") == cells
        assert taking_part(listed, cells, {"a": 3}, on, version="1") == {}
        assert taking_part(listed, cells, {}, on, version="1") == {}
        assert taking_part(listed, {}, {"a": 0}, on, version="1") == {}


def test_a_holiday_is_bridged_with_the_last_value() -> None:
    periods = [{"a": 1.0, "b": 9.0}, {"a": 2.0, "c": 5.0}, {"c": 6.0}, {"c": 7.0}]
    assert carried(periods) == {"a": 2.0, "c": 7.0}
    assert carried([]) == {}


# attacks -----------------------------------------------------------------------------------------
Rows = list[np.ndarray]
"""What an attacker has: of each figure that was ever shown, who is in it (0 or 1 each)."""


def history(
    seed: int, pooled: Callable[[Pool, dict[str, Cell], date], Pool]
) -> tuple[list[str], list[tuple[Pool, dict[str, Cell]]]]:
    """A pool over twelve periods in which advertisers come and go, some again."""
    random = Random(seed)
    names = [f"shop {n}" for n in range(90)]
    cell_of = {name: random.choice(LEAVES) for name in names}
    taking: dict[str, Cell] = {}
    pool, runs = Pool(), []
    for period in range(12):
        for name in random.sample(names, random.choice([1, 1, 5, 25])):
            taking[name] = cell_of[name]
        for name in random.sample(sorted(taking), min(len(taking), random.choice([0, 0, 1, 1, 3]))):
            del taking[name]
        pool = pooled(pool, taking, START + timedelta(days=90 * period))
        runs.append((pool, dict(taking)))
    return names, runs


def by_groups(pool: Pool, taking: dict[str, Cell], on: date) -> Pool:
    return regrouped(pool, taking, on, salt="s")


def rows_of(names: list[str], sets: list[frozenset[str]]) -> Rows:
    return [np.array([name in one for name in names], dtype=float) for one in sets]


def shown_sets(runs: list[tuple[Pool, dict[str, Cell]]]) -> list[frozenset[str]]:
    """Who is in each cell of each run."""
    sets = []
    for pool, _ in runs:
        cells: dict[Cell, frozenset[str]] = {}
        for group in pool.standing:
            for depth in range(len(group.cell) + 1):
                key = group.cell[:depth]
                cells[key] = cells.get(key, frozenset()) | group.members
        sets += cells.values()
    return sets


def naive_sets(runs: list[tuple[Pool, dict[str, Cell]]]) -> list[frozenset[str]]:
    """Cells of ten or more of whoever takes part today: the rule without protection."""
    sets = []
    for _, taking in runs:
        cells: dict[Cell, set[str]] = {}
        for name, cell in taking.items():
            for depth in range(len(cell) + 1):
                cells.setdefault(cell[:depth], set()).add(name)
        sets += [frozenset(one) for one in cells.values() if len(one) >= LEAST]
    return sets


def smallest_difference(sets: list[frozenset[str]]) -> int:
    """Advertisers in the smallest difference of two figures that is none."""
    distinct = set(sets)
    apart = [len(a ^ b) for a, b in combinations(distinct, 2)]
    return min([*apart, *(len(one) for one in distinct)], default=LEAST)


def exposed(names: list[str], sets: list[frozenset[str]]) -> list[str]:
    """Advertisers whose value is a linear combination of the figures that were shown."""
    matrix = np.array(rows_of(names, sorted(set(sets), key=sorted))).reshape(-1, len(names))
    if not len(matrix):
        return []
    _, sizes, right = np.linalg.svd(matrix)
    space = right[: int((sizes > 1e-9).sum())]
    return [name for name, column in zip(names, space.T, strict=True) if column @ column > 1 - 1e-9]


Runs = list[tuple[Pool, dict[str, Cell]]]


def years(runs: Runs) -> list[Runs]:
    """All runs of a year, for each year that begins with a run: 90 days lie between two."""
    return [runs[at : at + 5] for at in range(len(runs) - 4)]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6))
def test_no_two_cells_and_no_two_days_differ_by_fewer_than_ten(seed: int) -> None:
    names, runs = history(seed, by_groups)
    for year in years(runs):
        sets = shown_sets(year)
        assert smallest_difference(sets) >= LEAST
        assert exposed(names, sets) == []


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6))
def test_no_combination_of_all_that_a_year_showed_is_of_fewer_than_ten(seed: int) -> None:
    names, runs = history(seed, by_groups)
    random = np.random.default_rng(seed)
    for year in years(runs):
        every = {group.number: group for pool, _ in year for group in pool.standing}
        matrix = np.array(rows_of(names, [every[n].members for n in sorted(every)]))
        if not len(matrix):
            continue
        assert np.linalg.matrix_rank(matrix) == len(matrix)
        for _ in range(100):
            chosen = random.integers(-2, 3, len(matrix)) * (random.random(len(matrix)) < 0.3)
            if chosen.any():
                assert (np.abs(chosen @ matrix) > 1e-9).sum() >= LEAST


def test_without_groups_the_same_attacks_succeed() -> None:
    found = [
        (smallest_difference(naive_sets(year)), len(exposed(names, naive_sets(year))))
        for names, runs in (history(seed, by_groups) for seed in range(5))
        for year in years(runs)
    ]
    assert sum(smallest < LEAST for smallest, _ in found) > 0.5 * len(found)
    assert sum(many for _, many in found) > 10


def test_the_groups_are_not_so_careful_that_nothing_is_shown() -> None:
    """2 in 100 leave each quarter and 4 join: after four years about half are in some cell."""
    random = Random(1)
    pool, taking, after = Pool(), {}, 0
    for name, cell in everyone(dict.fromkeys(LEAVES, 40)).items():
        taking[name] = cell
    for period in range(16):
        pool = by_groups(pool, taking, START + timedelta(days=91 * period))
        for name in random.sample(sorted(taking), len(taking) // 50):
            del taking[name]
        for _ in range(len(taking) // 25):
            after += 1
            taking[f"new {after}"] = random.choice(LEAVES)
    inside = {name for group in pool.standing for name in group.members}
    assert len(inside) > 0.4 * len(taking)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6))
def test_a_group_never_changes_and_ten_of_it_are_fresh(seed: int) -> None:
    _, runs = history(seed, by_groups)
    known: dict[int, Group] = {}
    for period, (pool, taking) in enumerate(runs):
        on = START + timedelta(days=90 * period)
        met: set[str] = set()
        for number, group in enumerate(pool.groups):
            assert group.number == number
            if number not in known:
                assert len(group.members - met) >= LEAST
                known[number] = group
            assert (group.cell, group.members) == (known[number].cell, known[number].members)
            if group.dissolved is None or on - group.dissolved < RESTED:
                met |= group.members
        for group in pool.standing:
            assert group.members <= taking.keys()


def test_the_same_run_twice_changes_nothing() -> None:
    people = everyone({LEAVES[0]: 33, LEAVES[1]: 4})
    pool = regrouped(Pool(), people, START, salt="s")
    assert regrouped(pool, people, START, salt="s") == pool
    backwards = dict(reversed(people.items()))
    assert regrouped(Pool(), backwards, START, salt="s") == pool
    assert regrouped(Pool(), people, START, salt="another") != pool


def test_a_group_whose_member_has_no_value_is_left_out_whole() -> None:
    people = everyone({LEAVES[0]: 10, LEAVES[2]: 10})
    pool = regrouped(Pool(), people, START, salt="s")
    values = valued(people)
    del values[f"{'-'.join(LEAVES[0])}-0"]
    assert {cell: found[0] for cell, found in figures(pool, values, ROAS).items()} == {
        (): 10, ("food",): 10, LEAVES[2]: 10,
    }  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6))
def test_what_a_single_advertiser_reports_moves_no_figure_beyond_its_clipped_share(
    seed: int,
) -> None:
    _, runs = history(seed, by_groups)
    pool, taking = runs[-1]
    values = dict.fromkeys(taking, 0.5)
    before = figures(pool, values, SHARE)
    name = sorted(taking)[0]
    for wild in (1e300, -1e300):
        after = figures(pool, values | {name: wild}, SHARE)
        for cell, (count, total, _) in after.items():
            assert abs(total / count - before[cell][1] / before[cell][0]) <= 0.5 / LEAST + 1e-12


# refused -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("low", "high", "is_log", "words"),
    [
        (1.0, 1.0, False, "a lower bound and a higher one"),
        (0.0, math.inf, False, "a lower bound and a higher one"),
        (0.0, 1.0, True, "above 0"),
    ],
)
def test_a_measure_without_bounds_is_refused(
    low: float, high: float, is_log: bool, words: str
) -> None:
    with pytest.raises(PoolError, match=words):
        Measure("roas", low, high, is_log)


def test_values_that_are_none_and_groups_that_overlap_are_refused() -> None:
    people = everyone({LEAVES[0]: 10})
    pool = regrouped(Pool(), people, START, salt="s")
    with pytest.raises(PoolError, match="a value of roas is no number"):
        shown(pool, valued(people) | {next(iter(people)): math.nan}, ROAS)
    twice = Pool((pool.groups[0], replace(pool.groups[0], number=1)))
    with pytest.raises(PoolError, match="two groups that stand"):
        regrouped(twice, people, START, salt="s")
