"""Models compared: totals, distances, and the budget that a model would have misled."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dmp_assets.attribution.model.compare import Totals, distances, misled, totals
from dmp_assets.attribution.model.crediting import credits, fit
from dmp_assets.attribution.model.journeys import Journeys
from dmp_assets.attribution.model.models import models_of
from dmp_assets.attribution.model.paths import paths_of

unhurried = settings(deadline=None, max_examples=50)
amounts = arrays(float, (4, 3), elements=st.floats(0, 1e6))


def along(*paths: str) -> Journeys:
    channels = tuple(sorted({*"".join(paths)}))
    flat = "".join(paths)
    return Journeys(
        channels=channels,
        offsets=np.cumsum([0, *map(len, paths)]),
        channel=np.array([channels.index(name) for name in flat], dtype=np.int32),
        hours_before=np.array([float(len(p) - i) for p in paths for i in range(len(p))]),
        holder_engagement=np.zeros(len(flat)),
        closer_engagement=np.zeros(len(flat)),
        impression_interaction=np.zeros(len(flat), dtype=np.bool_),
    )


def credited(*rows: list[float], channels: str = "ab") -> Totals:
    table = np.array(rows, dtype=float)
    names = tuple(f"model {i}" for i in range(len(rows)))
    return Totals(names, tuple(channels), table, table * 10)


def test_totals_add_up_credit_and_revenue_by_channel() -> None:
    journeys = along("ab", "b", "ba")
    credit = {"one": np.array([0.25, 0.75, 1.0, 0.5, 0.5]), "two": np.array([1.0, 0, 1, 0, 1])}
    found = totals(journeys, credit, np.array([100.0, 10.0, 20.0]))
    assert found.models == ("one", "two")
    assert found.conversions.tolist() == [[0.75, 2.25], [2, 1]]
    assert found.revenue.tolist() == [[35, 95], [120, 10]]
    assert found.to_arrow().to_pylist()[1] == {
        "model": "one",
        "channel": "b",
        "conversions": 2.25,
        "revenue": 95.0,
    }


@unhurried
@given(st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=8))
def test_every_model_credits_all_conversions_and_all_revenue(paths: list[str]) -> None:
    journeys = along(*paths)
    revenue = np.arange(len(paths)) + 0.5
    found = totals(journeys, credits(journeys, fit(paths_of(journeys))), revenue)
    assert found.conversions.sum(axis=1) == pytest.approx([len(paths)] * len(models_of()))
    assert found.revenue.sum(axis=1) == pytest.approx([revenue.sum()] * len(models_of()))


def test_totals_of_no_journeys_are_empty() -> None:
    journeys = along()
    found = totals(journeys, credits(journeys, fit(paths_of(journeys))), np.zeros(0))
    assert found.to_arrow().num_rows == 0


def test_revenue_per_touchpoint_is_refused() -> None:
    with pytest.raises(ValueError, match="one value per journey"):
        totals(along("ab"), {}, np.zeros(2))


def test_the_distance_is_the_share_of_credit_that_moves() -> None:
    found = distances(np.array([[5.0, 5.0], [8.0, 2.0], [0.0, 40.0]]))
    assert found == pytest.approx(np.array([[0, 0.3, 0.5], [0.3, 0, 0.8], [0.5, 0.8, 0]]))


@unhurried
@given(amounts)
def test_distances_are_a_metric_within_one(table: np.ndarray) -> None:
    found = distances(table)
    assert (found >= 0).all() and (found <= 1 + 1e-9).all()
    np.testing.assert_allclose(found, found.T, atol=1e-9)
    np.testing.assert_allclose(np.diag(found), 0, atol=1e-9)
    for middle in range(len(found)):
        assert (found <= found[:, [middle]] + found[[middle], :] + 1e-9).all()


def test_a_model_that_credits_the_truth_misplaces_nothing() -> None:
    found = misled(credited([30, 10]), {"a": 15, "b": 5}, {"a": 100, "b": 100})
    assert found.misplaced == pytest.approx([0])
    assert found.share_error == pytest.approx([0])
    assert found.true_budget == pytest.approx([150, 50])


def test_money_goes_to_channels_by_conversions_per_cost() -> None:
    # Per cost, the model sees a : b = 0.1 : 0.3, in truth they are equal.
    found = misled(credited([10, 30]), {"a": 20, "b": 20}, {"a": 100, "b": 100})
    assert found.budget == pytest.approx(np.array([[50, 150]]))
    assert found.true_budget == pytest.approx([100, 100])
    assert found.misplaced == pytest.approx([50])
    assert found.share_error == pytest.approx([0.25])


def test_channels_without_cost_get_no_money_but_count_as_credit() -> None:
    found = misled(credited([10, 90]), {"a": 10}, {"a": 100})
    assert found.budget == pytest.approx(np.array([[100, 0]]))
    assert found.misplaced == pytest.approx([0])
    assert found.share_error == pytest.approx([0.9])


def test_channels_that_only_the_truth_or_the_costs_know_take_part() -> None:
    found = misled(credited([10], channels="a"), {"b": 10}, {"a": 60, "b": 30, "c": 10})
    assert found.channels == ("a", "b", "c")
    assert found.budget == pytest.approx(np.array([[100, 0, 0]]))
    assert found.true_budget == pytest.approx([0, 100, 0])
    assert found.misplaced == pytest.approx([100])


def test_a_harmful_channel_deserves_nothing() -> None:
    found = misled(credited([10, 10]), {"a": 10, "b": -10}, {"a": 50, "b": 50})
    assert found.true_budget == pytest.approx([100, 0])


def test_with_nothing_to_go_by_money_stays_where_it_was_spent() -> None:
    found = misled(credited([0, 0]), {"a": 1, "b": 0}, {"a": 30, "b": 70})
    assert found.budget == pytest.approx(np.array([[30, 70]]))
    assert found.misplaced == pytest.approx([70])


@pytest.mark.parametrize("cost", [-1.0, float("nan"), float("inf")])
def test_a_cost_that_cannot_be_is_refused(cost: float) -> None:
    with pytest.raises(ValueError, match="costs must be"):
        misled(credited([1, 1]), {}, {"a": cost})


costs = st.one_of(st.just(0.0), st.floats(0.01, 1e6))


@unhurried
@given(amounts, st.lists(costs, min_size=3, max_size=3))
def test_no_more_than_the_whole_budget_is_misplaced(table: np.ndarray, cost: list[float]) -> None:
    spent = dict(zip("abc", cost, strict=True))
    found = misled(credited(*table.tolist(), channels="abc"), {"a": 5, "b": 1}, spent)
    assert found.budget.sum(axis=1) == pytest.approx([sum(cost)] * 4)
    assert (found.misplaced <= sum(cost) * (1 + 1e-9)).all()
    assert ((found.share_error >= 0) & (found.share_error <= 1 + 1e-9)).all()
