"""Back-tests look at what was known by then, weigh fits by their errors, and set widths."""

from datetime import date

import numpy as np
import pytest

from dmp_assets.ads.model.budgets import backtest
from dmp_assets.ads.model.budgets.beliefs import Measured
from dmp_assets.ads.model.budgets.ensemble import CHOICES, Ensemble, distinct, weights_of
from dmp_assets.ads.model.budgets.fit import Knowledge
from dmp_assets.ads.model.budgets.forecast import forecast, learn
from dmp_assets.ads.model.budgets.scores import coverage
from dmp_assets.ads.model.budgets.series import Series
from dmp_assets.ads.model.budgets.terms import Flexibility

FIRST = np.datetime64("2024-01-01")
ONE = (Flexibility(),)


def noisy(size: int, seed: int = 1, step: int = 1) -> Series:
    random = np.random.default_rng(seed)
    dates = FIRST + np.arange(size) * np.timedelta64(step, "D")
    spend = random.gamma(4.0, 50.0, size)
    noise = random.standard_t(5, size) * 60.0
    return Series.of(dates, 1000.0 + 0.8 * spend + noise, {"search": spend})


def test_origins_lie_in_the_last_year_and_the_last_has_the_latest_rows_ahead() -> None:
    found = backtest.origins(noisy(1000), 28)
    assert len(found) == backtest.ORIGINS and found[-1] == 1000 - 28
    assert found[0] >= 1000 - 28 - 364
    assert backtest.origins(noisy(56), 28) == [28]
    assert len(backtest.origins(noisy(70), 28)) >= 2


def test_a_fit_of_the_past_is_the_same_whatever_came_later() -> None:
    series = noisy(400)
    changed = Series.of(
        series.dates,
        np.where(np.arange(400) < 372, series.target, 9e9),
        {"search": series.spend[:, 0]},
    )
    one, other = (backtest.tried(s, 28, ONE, Knowledge())[-1] for s in (series, changed))
    assert (one.expected == other.expected).all()
    assert (one.actual != other.actual).any()


def test_an_experiment_is_known_once_it_has_ended() -> None:
    measured = Measured("search", date(2024, 12, 1), date(2024, 12, 29), 0.0, 100.0, 10.0)
    ends = int((np.datetime64(measured.end) - FIRST).astype(int))
    found = backtest.tried(noisy(400), 28, ONE, Knowledge(experiments=[measured]))
    rows = {len(at.fits[0].series): len(at.fits[0].solution.problem.extra) for at in found}
    assert rows == {size: int(size > ends) for size in rows}
    assert set(rows.values()) == {0, 1}


def test_weights_fall_with_the_fourth_power_of_the_error() -> None:
    assert weights_of([0.2, 0.1]) == pytest.approx(np.array([1.0, 16.0]) / 17.0)
    assert weights_of([0.2, 0.0, None]).tolist() == [0.0, 0.5, 0.5]
    assert weights_of([None, None]).tolist() == [0.5, 0.5]
    assert weights_of([1e-200, 1e200]).tolist() == [1.0, 0.0]


def test_choices_that_come_to_the_same_are_tried_once() -> None:
    assert len(distinct(noisy(100), CHOICES)) == 4
    assert len(distinct(noisy(400), CHOICES)) == 8
    assert distinct(noisy(1000), CHOICES) == CHOICES


def test_an_ensemble_is_the_weighted_mean_of_its_fits() -> None:
    choices = (Flexibility(0.003), Flexibility(0.3))
    both = Ensemble.fitted(noisy(200), choices, np.array([0.25, 0.75]))
    plan = np.full((5, 1), 200.0)
    alone = [fit.expected(plan)[0] for fit in both.fits]
    assert both.expected(plan)[0] == pytest.approx(0.25 * alone[0] + 0.75 * alone[1])
    draws = both.draws(100, 1)
    assert [len(part.base) for part in draws.parts] == [25, 75]
    assert draws.futures(plan).shape == (100, 5)


def test_a_width_is_the_ratio_at_the_place_of_split_conformal_prediction() -> None:
    ratios = np.arange(1.0, 10.0) / 5.0
    assert backtest._quantile(ratios, 0.8) == ratios[7]  # ⌈10 · 0.8⌉ = the 8th of 9
    assert backtest._quantile(ratios, 0.95) == ratios[8]
    assert backtest._quantile(np.array([]), 0.8) == 1.0


@pytest.mark.parametrize("step", [1, 7])
def test_intervals_of_80_percent_cover_about_as_many_days(step: int) -> None:
    shares = []
    for seed in range(8):
        series = noisy(228, seed, step)
        model = learn(series.until(200), horizon=28 * step, choices=ONE)
        found = forecast(model, series.spend[200:]).quantiles
        shares.append(coverage(series.target[200:], found[:, 1], found[:, -2]))
    assert 0.7 < np.mean(shares) < 0.9
