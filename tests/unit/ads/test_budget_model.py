"""The budget model learns what it can, says how sure it is, and copes with strange series."""

from datetime import date
from typing import Any

import numpy as np
import pytest

from dmp_assets.ads.model.budgets.beliefs import Belief, BeliefError, Measured, Prior
from dmp_assets.ads.model.budgets.fit import Knowledge, fitted
from dmp_assets.ads.model.budgets.forecast import Model, forecast, learn
from dmp_assets.ads.model.budgets.scores import LEVELS
from dmp_assets.ads.model.budgets.series import Floats, Series, SeriesError
from dmp_assets.ads.model.budgets.terms import Flexibility, Terms

ONE = (Flexibility(),)
FIRST = np.datetime64("2024-01-01")


def made(
    target: Floats, spend: dict[str, Floats] | None = None, step: int = 1, **more: Any
) -> Series:
    dates = FIRST + np.arange(len(target)) * np.timedelta64(step, "D")
    return Series.of(dates, target, spend or {}, **more)


def shop(size: int = 400, earns: float = 1.5, noise: float = 30.0, seed: int = 1) -> Series:
    """A shop with a channel that earns so much per unit, at once and without end."""
    random = np.random.default_rng(seed)
    spend = 200.0 * np.repeat(random.lognormal(0, 0.5, size // 14 + 1), 14)[:size]
    weekday = 1.0 + 0.2 * np.sin(2 * np.pi * np.arange(size) / 7)
    target = 1000.0 * weekday + earns * spend + random.normal(0, noise, size)
    return made(target, {"search": spend})


def ahead(model: Model, rows: int = 28) -> Floats:
    return np.tile(model.series.recent() * model.series.step, (rows, 1))


# what is learnt ----------------------------------------------------------------------------------
def test_what_one_more_unit_earns_is_found_where_spend_varied() -> None:
    fit = fitted(shop(earns=2.0), Flexibility())
    slope = fit.dictionary.marginal(np.array([200.0]))
    assert (fit.effects * slope).sum() == pytest.approx(2.0, abs=0.25)
    draws = (fit.draws(200, 1).effects * slope).sum(axis=(1, 2))
    assert np.quantile(draws, 0.05) < 2.0 < np.quantile(draws, 0.95)


def test_effects_are_never_negative_though_sales_fall_with_spend() -> None:
    fit = fitted(shop(earns=-1.5), Flexibility())
    assert (fit.effects >= 0).all()
    assert (fit.draws(100, 1).effects >= 0).all()
    assert fit.effects.sum() < 0.1


def test_of_a_spend_that_never_varies_is_known_what_was_believed() -> None:
    series = made(np.random.default_rng(2).normal(1000, 50, 400), {"tv": np.full(400, 100.0)})
    believed = Knowledge({"tv": Belief(1.5, 0.6)})
    found = fitted(series, Flexibility(), believed).draws(600, 1).effects.sum(axis=(1, 2))
    assert found.mean() == pytest.approx(1.5, abs=0.1)
    assert found.std() == pytest.approx(0.6, abs=0.15)


def test_an_experiment_tells_what_the_series_cannot() -> None:
    series = made(np.random.default_rng(2).normal(1000, 50, 400), {"tv": np.full(400, 100.0)})
    measured = Measured("tv", date(2024, 6, 1), date(2024, 6, 29), 0.0, 28 * 100 * 0.4, 140.0)
    found = fitted(series, Flexibility(), Knowledge(experiments=[measured]))
    draws = found.draws(400, 1).effects.sum(axis=(1, 2))
    assert draws.mean() == pytest.approx(0.4, abs=0.08)
    assert draws.std() < 0.15


def test_a_campaign_with_few_days_is_pulled_to_its_channel() -> None:
    series = shop(earns=2.5)
    late = np.zeros(len(series))
    late[-3:] = 5.0
    spend = {"old": series.spend[:, 0], "new": late}
    alone = made(series.target, spend)
    together = made(series.target, spend, channel_of={"old": "meta", "new": "meta"})
    of_alone, of_together = (
        float(fitted(one, Flexibility()).effects[1].sum()) for one in (alone, together)
    )
    assert of_alone == pytest.approx(1.0, abs=0.15)
    assert of_together == pytest.approx(2.5, abs=0.6)


def test_what_is_believed_is_in_the_unit_of_the_target() -> None:
    sold = made(np.full(100, 1000.0), {"tv": np.full(100, 100.0)})
    prior = Knowledge({"tv": Belief(1.2, 0.5)}, break_even=4.0).prior(sold, 12)
    assert prior.mean.sum() == pytest.approx(4.8)


def test_draws_of_the_prior_have_the_moments_that_fits_are_held_by() -> None:
    prior = Prior((Belief(1.2, 0.8), Belief(0.5, 0.3)), np.array([0, 1, 0]), 4)
    drawn = prior.draws(200_000, np.random.default_rng(1))
    assert drawn.mean(axis=0) == pytest.approx(prior.mean, rel=0.03)
    assert np.cov(drawn.T) == pytest.approx(np.linalg.inv(prior.precision), rel=0.2, abs=0.01)
    assert (drawn >= 0).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda: Knowledge({"radio": Belief()}).prior(shop(60), 3), "no channel radio: search"),
        (lambda: Belief(-1.0, 1.0), "believed to be positive"),
        (lambda: Belief(1.0, float("nan")), "believed to be positive"),
        (lambda: Knowledge(break_even=0.0), "break-even return is positive"),
        (lambda: Measured("tv", date(2024, 2, 1), date(2024, 1, 1), 0, 1, 1), "has days"),
        (lambda: Measured("tv", date(2024, 1, 1), date(2024, 2, 1), 1, 1, 1), "another amount"),
        (lambda: Measured("tv", date(2024, 1, 1), date(2024, 2, 1), 0, 1, 0), "error positive"),
        (
            lambda: fitted(
                shop(60),
                Flexibility(),
                Knowledge(
                    experiments=[Measured("search", date(2020, 1, 1), date(2020, 2, 1), 0, 1, 1)]
                ),
            ),
            "not within the series",
        ),
    ],
)
def test_beliefs_that_cannot_be_are_refused_in_words(given: Any, words: str) -> None:
    with pytest.raises(BeliefError, match=words):
        given()


# the base ----------------------------------------------------------------------------------------
def test_the_level_stays_where_it_is_after_the_last_day() -> None:
    terms = Terms(FIRST, FIRST + 399, 1, Flexibility(), {})
    plain = ~terms.seasonal
    columns = terms.columns(FIRST + np.arange(390, 500))[:, plain]
    assert (columns[9:, 2:] == 0).all()
    assert (columns[:9, 2:].min(axis=1) < 0).all()


def test_holidays_to_come_are_forecast_as_those_that_were() -> None:
    random = np.random.default_rng(5)
    target = random.normal(1000, 10, 400)
    sales = np.arange(20, 428, 40)
    target[sales[sales < 400]] += 700
    series = made(target, events={"sale": FIRST + sales})
    model = learn(series, choices=ONE)
    found = forecast(model, np.zeros((28, 0)))
    at = int(sales[-1]) - 400
    assert found.expected[at] - found.expected[at - 1] == pytest.approx(700, abs=70)


def test_a_year_is_not_learnt_from_a_few_months() -> None:
    for days, harmonics in ((200, 0), (400, 2), (800, 4)):
        assert Terms(FIRST, FIRST + days, 7, Flexibility(harmonics=4), {}).harmonics == harmonics


# forecasts ---------------------------------------------------------------------------------------
def test_quantiles_are_in_order_and_totals_are_of_the_days() -> None:
    model = learn(shop(), choices=ONE)
    found = forecast(model, ahead(model))
    assert found.quantiles.shape == (28, len(LEVELS))
    assert (np.diff(found.quantiles, axis=1) >= 0).all()
    assert found.quantiles[:, 3] == pytest.approx(found.expected)
    assert set(found.totals) == {7, 14, 28}
    for days, total in found.totals.items():
        assert (np.diff(total) >= 0).all()
        assert total[3] == pytest.approx(found.expected[:days].sum())
    assert found.dates[0] == model.series.dates[-1] + 1


def test_a_weekly_series_is_forecast_by_weeks() -> None:
    random = np.random.default_rng(6)
    series = made(random.normal(7000, 300, 120), {"tv": random.gamma(2, 300, 120)}, step=7)
    found = forecast(learn(series, choices=ONE), np.full((4, 1), 600.0))
    assert found.totals[28][3] == pytest.approx(found.expected.sum())
    assert found.totals[7][3] == pytest.approx(found.expected[0])


def test_the_same_series_and_seed_give_the_same_numbers_and_another_seed_others() -> None:
    series = shop(200)
    one, two, other = (learn(series, choices=ONE, seed=seed) for seed in (7, 7, 8))
    plan = ahead(one)
    first, second, third = (forecast(m, plan).quantiles for m in (one, two, other))
    assert (first == second).all()
    assert (first != third).any()


def test_more_spend_is_never_expected_to_sell_less() -> None:
    model = learn(shop(200), choices=ONE)
    totals = [forecast(model, ahead(model) * more).expected.sum() for more in (0.0, 0.5, 1.0, 2.0)]
    assert totals == sorted(totals)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (np.zeros((28, 2)), "rows of 1 campaigns, not the shape"),
        (np.zeros(28), "rows of 1 campaigns"),
        (np.zeros((0, 1)), "rows of 1 campaigns"),
        (np.full((2, 1), np.nan), "a finite number, not below 0"),
        (np.full((2, 1), -1.0), "a finite number, not below 0"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(plan: Floats, words: str) -> None:
    with pytest.raises(SeriesError, match=words):
        forecast(learn(shop(60), choices=ONE), plan)


# strange series ----------------------------------------------------------------------------------
SPIKED = np.full(90, 100.0)
SPIKED[40] = -9000.0
STRANGE = {
    "all zero": (np.zeros(90), np.zeros(90)),
    "nothing sold": (np.zeros(90), np.full(90, 5.0)),
    "constant": (np.full(90, 100.0), np.full(90, 5.0)),
    "a negative correction": (SPIKED, np.where(np.arange(90) == 50, -80.0, 5.0)),
    "at a loss": (np.full(90, -100.0), np.full(90, 5.0)),
    "huge": (np.full(90, 1e12), np.full(90, 1e11)),
    "tiny": (np.full(90, 1e-9), np.full(90, 1e-9)),
    "one sale": (np.eye(1, 90, 45)[0], np.full(90, 5.0)),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_series_is_forecast_with_finite_numbers(name: str) -> None:
    target, spend = STRANGE[name]
    model = learn(made(target, {"tv": spend}), choices=ONE)
    found = forecast(model, ahead(model))
    assert np.isfinite(found.quantiles).all()
    assert (model.ensemble.effects >= 0).all()
    usual = float(np.median(target))
    if name != "one sale":
        slack = 0.05 * abs(usual) if usual else 1e-5
        assert np.median(found.expected) == pytest.approx(usual, abs=slack)


def test_days_that_are_missing_do_not_count() -> None:
    series = shop(200)
    kept = np.ones(200, dtype=bool)
    kept[60:75] = False
    holed = Series.of(series.dates[kept], series.target[kept], {"search": series.spend[kept, 0]})
    assert (fitted(holed, Flexibility()).solution.weights[60:76] == 0).all()
    spoilt = Series.of(
        series.dates,
        np.where(kept, series.target, 0.0),
        {"search": series.spend[:, 0]},
    )
    plan = np.full((28, 1), 200.0)
    errors = [
        float(np.abs(forecast(learn(one, choices=ONE), plan).expected - sound).mean())
        for sound in [forecast(learn(series, choices=ONE), plan).expected]
        for one in (holed, spoilt)
    ]
    assert errors[0] < 0.03 * series.target.mean()
    assert errors[0] < errors[1]


def test_one_strange_day_hardly_moves_what_is_expected() -> None:
    series = shop(300)
    target = series.target.copy()
    target[150] *= 50
    spoilt = made(target, {"search": series.spend[:, 0]})
    plan = ahead(learn(series, choices=ONE))
    sound, found = (forecast(learn(s, choices=ONE), plan).expected for s in (series, spoilt))
    assert found.mean() == pytest.approx(sound.mean(), rel=0.05)


def test_eight_weeks_are_enough_for_a_forecast() -> None:
    model = learn(shop(56), choices=ONE)
    found = forecast(model, ahead(model))
    assert np.isfinite(found.quantiles).all()
    assert model.record.rows == 28
