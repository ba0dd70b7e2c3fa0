"""Scores against numbers worked out by hand."""

import numpy as np
import pytest

from dmp_assets.ads.model.budgets import scores as measure
from dmp_assets.ads.model.budgets.scores import LEVELS, scores


def test_scores_are_those_of_their_formulas() -> None:
    actual = np.array([10.0, 20.0])
    offsets = np.array([-8.0, -4.0, -2.0, 0.0, 2.0, 4.0, 8.0])
    quantiles = np.array([[12.0], [15.0]]) + offsets
    past = np.arange(14.0)
    found = scores(actual, quantiles, past, 1)
    assert found.wape == pytest.approx(7 / 30)
    assert found.mase == pytest.approx(3.5 / 7)
    assert (found.coverage_80, found.coverage_95) == (0.5, 1.0)
    by_hand = [
        max(p * (y - q), (p - 1) * (y - q))
        for y, row in zip(actual, quantiles, strict=True)
        for p, q in zip(LEVELS, row, strict=True)
    ]
    assert found.pinball == pytest.approx(np.mean(by_hand))


def test_what_cannot_be_divided_is_none() -> None:
    zero = np.zeros(3)
    found = scores(zero, np.zeros((3, 7)), np.zeros(20), 1)
    assert (found.wape, found.mase, found.coverage_80, found.pinball) == (None, None, 1.0, 0.0)
    assert measure.mase(zero, zero, np.array([1.0]), 7) is None


def test_the_seasonal_naive_repeats_the_last_week_or_the_weeks_a_year_ago() -> None:
    assert measure.seasonal_naive(np.arange(30.0), 9, 1).tolist() == [*range(23, 30), 23, 24]
    assert measure.seasonal_naive(np.arange(60.0), 2, 7).tolist() == [8.0, 9.0]
    assert measure.seasonal_naive(np.arange(30.0), 2, 7).tolist() == [29.0, 29.0]


@pytest.mark.parametrize(("rows", "columns"), [(0, 7), (2, 6), (3, 7)])
def test_quantiles_of_another_shape_are_refused(rows: int, columns: int) -> None:
    with pytest.raises(ValueError, match="are not 7 quantiles of"):
        scores(np.ones(min(rows, 2)), np.ones((rows, columns)), np.ones(20), 1)
