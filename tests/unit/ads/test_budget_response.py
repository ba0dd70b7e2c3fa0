"""Adstock and saturation: laws that hold for every spend."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dmp_assets.ads.model.budgets.response import Dictionary, adstock, decay, saturated
from dmp_assets.ads.model.budgets.series import Floats

SPEND = arrays(np.float64, (40, 2), elements=st.floats(0, 1e6))


@given(SPEND, st.sampled_from([0.0, 0.5, 2.0, 21.0]))
def test_an_adstock_keeps_what_was_spent_when_it_has_faded(spend: Floats, life: float) -> None:
    quiet = np.vstack([spend, np.zeros((600, 2))])
    stocked = adstock(quiet, decay(life, 1), np.zeros(2))
    assert stocked.sum(axis=0) == pytest.approx(spend.sum(axis=0), rel=1e-6, abs=1e-6)
    assert (stocked >= 0).all()


def test_half_of_an_effect_is_over_after_its_half_life() -> None:
    once = np.zeros((30, 1))
    once[0] = 1.0
    stocked = adstock(once, decay(7.0, 1), np.zeros(1))[:, 0]
    assert stocked[7] == pytest.approx(stocked[0] / 2)
    assert decay(7.0, 7) == 0.5
    assert decay(0.0, 1) == 0.0


def test_the_adstock_of_a_spend_that_never_changes_is_that_spend() -> None:
    assert adstock(np.full((9, 1), 5.0), 0.8, np.array([5.0]))[:, 0] == pytest.approx([5.0] * 9)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.01, 1e6))
def test_saturation_rises_ever_slower_and_stays_below_its_scale(
    one: float, other: float, scale: float
) -> None:
    stock = np.sort([one, (one + other) / 2, other])
    low, middle, high = saturated(stock, np.array([scale])).tolist()
    slack = 1e-9 * scale
    assert -slack <= low <= middle + slack <= high + 2 * slack <= scale + 3 * slack
    assert middle - low >= high - middle - slack
    assert high <= stock[2] + slack


@given(SPEND)
def test_each_part_sums_to_the_spend_it_was_learnt_on(spend: Floats) -> None:
    spend = np.round(spend, 2)
    found = Dictionary.learnt(spend, 1).columns(spend).sum(axis=0)
    for campaign in range(2):
        assert found[campaign] == pytest.approx(spend[:, campaign].sum(), rel=1e-6)


def test_the_slope_of_the_steady_state_is_its_marginal() -> None:
    random = np.random.default_rng(3)
    for step in (1, 7):
        held = Dictionary.learnt(random.gamma(2.0, 100.0, (50, 3)), step)
        at = np.array([10.0, 40.0, 90.0])
        slope = (held.steady(at + 1e-4) - held.steady(at - 1e-4)) / 2e-4
        assert held.marginal(at) == pytest.approx(slope, rel=1e-5)


def test_a_steady_spend_ends_in_its_steady_state() -> None:
    spend = np.random.default_rng(4).gamma(2.0, 100.0, (50, 2))
    held = Dictionary.learnt(spend, 7)
    long = held.columns(np.full((400, 2), 70.0))[-1]
    assert long / 7 == pytest.approx(held.steady(np.array([10.0, 10.0])))


def test_a_negative_correction_has_no_effect_and_takes_none_away() -> None:
    spend = np.full((60, 1), 10.0)
    spend[30] = -500.0
    found = Dictionary.learnt(spend, 1).columns(spend)
    assert np.isfinite(found).all() and (found >= 0).all()


def test_a_campaign_that_never_spent_has_no_effect() -> None:
    found = Dictionary.learnt(np.zeros((60, 1)), 1).columns(np.zeros((60, 1)))
    assert (found == 0).all()
