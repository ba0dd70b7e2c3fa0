"""The simulated businesses are what they say, and the model meets them as its page says."""

import numpy as np
import pytest

from dmp_assets.ads.model.budgets import reasons
from dmp_assets.ads.model.budgets.allocate import allocate
from dmp_assets.ads.model.budgets.forecast import forecast, learn
from dmp_assets.ads.model.budgets.scores import wape
from dmp_assets.ads.model.budgets.terms import Flexibility
from dmp_assets.ads.model.budgets.variation import LEAST_VARIATION, variation
from tests.support.ads_businesses import AHEAD, CHOOSING, DAYS, JUDGED, business

SEED = 7
QUICK = (Flexibility(),)


def test_seeds_that_are_chosen_by_are_not_those_that_are_judged_by() -> None:
    assert not {*CHOOSING, SEED} & set(JUDGED)


def test_a_business_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    one, two, other = business(SEED), business(SEED), business(SEED + 1)
    assert (one.target == two.target).all() and (one.spend == two.spend).all()
    assert one.target[0] != other.target[0]
    assert len(one.dates) == DAYS + AHEAD and np.isfinite(one.target).all()
    assert (one.spend >= 0).all() and (one.target > 0).all()


def test_true_profit_falls_by_what_is_spent_for_nothing() -> None:
    shop = business(SEED)
    much = np.full(len(shop.channels), 1e9)
    assert shop.profit(2 * much) == pytest.approx(shop.profit(much) - AHEAD * much.sum(), rel=1e-3)


def test_fridays_of_the_fourth_week_of_november_are_fridays() -> None:
    for days in (business(seed).events["fourth friday of november"] for seed in (1, 2, 3)):
        assert {day.weekday() for day in days.tolist()} == {4}
        assert {day.month for day in days.tolist()} == {11}
        assert all(22 <= day.day <= 28 for day in days.tolist())


def test_spend_that_is_said_to_be_constant_hardly_varies() -> None:
    for seed in range(1, 6):
        shop = business(seed)
        found = variation(shop.series(), np.eye(len(shop.channels)))
        assert (found[shop.constant] < LEAST_VARIATION).all()


def test_a_business_is_forecast_better_than_by_its_last_week() -> None:
    shop = business(SEED)
    model = learn(shop.series(), choices=QUICK)
    assert model.record.beats_naive and model.record.origins == 8
    found = forecast(model, shop.spend[DAYS:])
    actual = shop.target[DAYS:]
    assert (found.quantiles[0, 0] < actual[0]) and (actual[0] < found.quantiles[0, -1])
    error = wape(actual, found.expected)
    assert error is not None and error < 0.15


def test_a_business_that_never_varies_its_spend_gets_no_advice() -> None:
    advice = allocate(learn(business(SEED, frozen=True).series(), choices=QUICK))
    assert not advice.given
    assert {one.code for one in advice.reasons} == {reasons.SPEND_HARDLY_VARIED}
    assert len(advice.trials) == len(advice.lines)
