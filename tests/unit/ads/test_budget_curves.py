"""What is kept of a model for "what if": it says what the model says."""

import numpy as np
import pytest

from dmp_assets.ads.model.budgets.allocate import allocate
from dmp_assets.ads.model.budgets.curves import Curves, PlanError, outlook
from dmp_assets.ads.model.budgets.forecast import Model, learn
from dmp_assets.ads.model.budgets.series import Series
from dmp_assets.ads.model.budgets.terms import Flexibility


@pytest.fixture(scope="module")
def model() -> Model:
    """Two campaigns of one channel over 200 days."""
    drawn, days = np.random.default_rng(4), 200
    spend = {name: 100 * np.repeat(drawn.uniform(0.4, 1.6, days // 10), 10) for name in ("a", "b")}
    target = 500 + 1.6 * spend["a"] + 0.4 * spend["b"] + drawn.normal(0, 30, days)
    dates = np.datetime64("2024-01-01") + np.arange(days)
    series = Series.of(dates, target, spend, channel_of={"a": "meta", "b": "meta"})
    return learn(series, choices=(Flexibility(0.01, 1), Flexibility(0.03, 2)))


def test_it_expects_what_the_allocator_expects(model: Model) -> None:
    advice = allocate(model, by="campaign")
    curves = Curves.of(model, advice.days)
    assert curves.names == ("a", "b") and curves.scales.shape == (2, 3)
    present = np.array([line.present for line in advice.lines])
    advised = np.array([line.advised for line in advice.lines])
    told = outlook(curves, advised, present, advice.days)
    assert told.target == pytest.approx(advice.sales)
    assert told.gain == pytest.approx(advice.gain)
    at_present = outlook(curves, present, present, advice.days)
    assert at_present.target == pytest.approx(advice.sales_at_present)
    assert at_present.gain == (0.0, 0.0, 0.0)
    assert np.subtract(at_present.target, at_present.profit) == pytest.approx(present.sum() * 28)


def test_more_is_never_expected_to_sell_less_and_each_unit_adds_less(model: Model) -> None:
    curves = Curves.of(model)
    steps = [curves.target(np.array([x, 100.0])) for x in (0.0, 100.0, 200.0, 300.0)]
    added = np.diff(np.array(steps), axis=0)
    assert (added >= 0).all() and (added[1:] <= added[:-1] + 1e-9).all()


def test_a_campaign_that_is_not_named_stays_where_it_is(model: Model) -> None:
    curves = Curves.of(model)
    assert curves.budget({"b": 7.0}, {"a": 5.0, "b": 6.0}).tolist() == [5.0, 7.0]


@pytest.mark.parametrize(("line", "amount"), [("c", 1.0), ("a", -1.0), ("a", float("nan"))])
def test_a_budget_that_cannot_be_is_refused_by_its_campaign(
    model: Model, line: str, amount: float
) -> None:
    with pytest.raises(PlanError) as raised:
        Curves.of(model).budget({line: amount}, {})
    assert raised.value.line == line
