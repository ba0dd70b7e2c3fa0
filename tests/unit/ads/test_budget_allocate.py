"""The allocator keeps to its bounds, advises what earns more, and says when it does not know."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmp_assets.ads.model.budgets import reasons
from dmp_assets.ads.model.budgets.allocate import AllocationError, allocate
from dmp_assets.ads.model.budgets.fit import Knowledge
from dmp_assets.ads.model.budgets.forecast import Model, learn
from dmp_assets.ads.model.budgets.series import Series
from dmp_assets.ads.model.budgets.terms import Flexibility

SIZE = 500
FIRST = np.datetime64("2024-01-01")


def series(
    earns: dict[str, float], seed: int = 1, noise: float = 20.0, frozen: tuple[str, ...] = ()
) -> Series:
    """A shop whose channels, of 200 a day each, earn so much per unit, less for more spend."""
    random = np.random.default_rng(seed)
    day = np.arange(SIZE)
    target = 1000.0 + 300.0 * np.sin(2 * np.pi * day / 7) + random.normal(0, noise, SIZE)
    spend = {}
    for name, earn in earns.items():
        steps = np.repeat(random.lognormal(0, 0.5, SIZE // 10 + 1), 10)[:SIZE]
        spend[name] = 200.0 * (np.ones(SIZE) if name in frozen else steps)
        target += earn * 400.0 * (1 - np.exp(-spend[name] / 400.0))
    return Series.of(FIRST + day, target, spend)


def learnt(earns: dict[str, float], **more: Any) -> Model:
    return learn(series(earns, **more), choices=(Flexibility(),))


@pytest.fixture(scope="module")
def model() -> Model:
    return learnt({"good": 4.0, "fair": 1.6, "bad": 0.3})


def test_money_goes_from_what_earns_less_to_what_earns_more(model: Model) -> None:
    advice = allocate(model)
    good, _, bad = advice.lines
    assert advice.given and advice.reasons == ()
    assert good.advised == pytest.approx(1.3 * good.present, rel=0.01)
    assert bad.advised == pytest.approx(0.7 * bad.present, rel=0.01)
    assert advice.gain[0] > 0
    assert advice.quartile > advice.quartile_at_present
    assert good.marginal[0] > 1 > bad.marginal[2]


def test_sales_are_all_sales_not_only_those_of_ads(model: Model) -> None:
    advice = allocate(model)
    usual = float(model.series.target[-28:].sum())
    assert advice.sales_at_present[1] == pytest.approx(usual, rel=0.1)
    spent = sum(line.advised - line.present for line in advice.lines) * advice.days
    more = advice.sales[1] - advice.sales_at_present[1] - spent
    assert more == pytest.approx(advice.gain[1], rel=0.05)


@settings(max_examples=15, deadline=None)
@given(
    share=st.floats(0.75, 1.5),
    step=st.floats(0.0, 0.8),
    low=st.floats(0, 150),
    high=st.floats(300, 900),
)
def test_budgets_keep_the_total_the_bounds_and_the_step(
    model: Model, share: float, step: float, low: float, high: float
) -> None:
    present = model.series.recent()
    total = share * float(present.sum())
    least = np.maximum(present * (1 - step), [low, 0.0, 0.0])
    asked: dict[str, Any] = {
        "total": total, "bounds": {"good": (low, high)}, "greatest_step": step
    }  # fmt: skip
    reached = low <= present[0] * (1 + step) and high >= present[0] * (1 - step)
    if not reached or least.sum() > total * (1 + 1e-9):
        with pytest.raises(AllocationError):
            allocate(model, **asked)
        return
    advice = allocate(model, **asked)
    if advice.given:
        assert sum(line.advised for line in advice.lines) <= total * (1 + 1e-6)
        for line, now in zip(advice.lines, present, strict=True):
            slack = 1e-6 * now
            assert line.least - slack <= line.advised <= line.most + slack
            assert now * (1 - step) - slack <= line.advised <= now * (1 + step) + slack
        assert low - 1e-6 <= advice.lines[0].advised <= high + 1e-6
        assert advice.quartile >= advice.quartile_at_present


def test_a_channel_that_loses_money_is_cut_even_where_nothing_else_may_grow() -> None:
    model = learnt({"bad": 0.2})
    advice = allocate(model)
    assert advice.given
    assert advice.lines[0].advised == pytest.approx(0.7 * advice.lines[0].present, rel=0.01)


def test_what_pays_for_itself_follows_the_break_even() -> None:
    found = series({"search": 2.0})
    kept, cut = (
        allocate(learn(found, Knowledge(break_even=even), choices=(Flexibility(),)))
        for even in (1.0, 4.0)
    )
    assert not kept.given or kept.lines[0].advised >= kept.lines[0].present
    assert cut.given and cut.lines[0].advised < cut.lines[0].present


def test_campaigns_are_budgeted_by_themselves_when_asked() -> None:
    two = series({"a": 4.0, "b": 0.3})
    spend = {name: two.spend[:, at] for at, name in enumerate(two.campaigns)}
    joined = Series.of(two.dates, two.target, spend, channel_of={"a": "meta", "b": "meta"})
    model = learn(joined, choices=(Flexibility(),))
    by_channel, by_campaign = allocate(model), allocate(model, by="campaign")
    assert [line.name for line in by_channel.lines] == ["meta"]
    assert [line.name for line in by_campaign.lines] == ["a", "b"]
    a, b = by_campaign.lines
    assert by_campaign.given and a.advised > a.present and b.advised < b.present


# no advice ---------------------------------------------------------------------------------------
def test_where_spend_hardly_varied_there_is_no_advice_and_an_experiment_is_named() -> None:
    advice = allocate(learnt({"tv": 2.0, "print": 0.5}, frozen=("tv", "print")))
    assert not advice.given
    assert {(one.code, one.line) for one in advice.reasons} >= {
        (reasons.SPEND_HARDLY_VARIED, "tv"),
        (reasons.SPEND_HARDLY_VARIED, "print"),
    }
    assert {one.line for one in advice.trials} == {"tv", "print"}
    for line in advice.lines:
        assert line.held and line.advised == line.present
    trial = advice.trials[0]
    assert trial.low < trial.high and trial.days % 14 == 0
    assert f"for {trial.days} days" in trial.text


def test_a_line_that_hardly_varied_is_held_while_others_move() -> None:
    advice = allocate(learnt({"good": 4.0, "bad": 0.2, "tv": 1.0}, frozen=("tv",)))
    held = {line.name: line.held for line in advice.lines}
    assert advice.given and held == {"good": False, "bad": False, "tv": True}
    assert advice.lines[2].advised == pytest.approx(advice.lines[2].present)
    assert [one.line for one in advice.trials] == ["tv"]


def test_where_a_change_may_as_well_lose_there_is_no_advice() -> None:
    found = series({"one": 1.7, "other": 1.6}, noise=400.0)
    advice = allocate(learn(found, choices=(Flexibility(),)))
    codes = {one.code for one in advice.reasons}
    assert not advice.given
    assert codes & {reasons.BOTH_DIRECTIONS, reasons.PRESENT_IS_BEST, reasons.LOSES_TO_NAIVE}
    assert advice.gain == (0.0, 0.0, 0.0)
    assert len(advice.trials) == 1


def test_a_model_that_loses_to_the_seasonal_naive_advises_nothing() -> None:
    day = np.arange(SIZE)
    random = np.random.default_rng(1)
    spend = random.lognormal(4, 0.5, SIZE)
    for target in (np.zeros(SIZE), 100.0 + (day % 7 == 0) * 50.0):
        advice = allocate(learn(Series.of(FIRST + day, target, {"tv": spend})))
        assert not advice.given
        assert reasons.LOSES_TO_NAIVE in {one.code for one in advice.reasons}


def test_where_nothing_was_spent_there_is_no_advice() -> None:
    random = np.random.default_rng(1)
    target = 100.0 + random.normal(0, 5, SIZE)
    none = allocate(learn(Series.of(FIRST + np.arange(SIZE), target, {"tv": np.zeros(SIZE)})))
    assert not none.given
    assert (reasons.NOTHING_SPENT, "tv") in {(one.code, one.line) for one in none.reasons}
    without = allocate(learn(Series.of(FIRST + np.arange(SIZE), target, {})))
    assert not without.given and without.lines == ()


def test_every_reason_is_said_in_words() -> None:
    for code in reasons.TEXTS:
        text = reasons.Reason(code, "tv").text
        assert "{" not in text and text.endswith(".")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"bounds": {"radio": (0, 1)}}, "there is no line radio: good, fair, bad"),
        ({"bounds": {"good": (5, 1)}}, "bounds of good are not in order: 5 to 1"),
        ({"bounds": {"good": (5000, 9000)}}, "does not reach its bounds, 5,000.00 to 9,000.00"),
        ({"total": 10.0}, "the least budgets sum to .* a day, the total is 10.00"),
        ({"total": float("nan")}, "the total is nan"),
        ({"greatest_step": -0.1}, "greatest step is a share"),
    ],
)
def test_what_no_budget_can_keep_is_refused_in_words(
    model: Model, asked: dict[str, Any], words: str
) -> None:
    with pytest.raises(AllocationError, match=words):
        allocate(model, **asked)


def test_the_same_model_gives_the_same_advice(model: Model) -> None:
    assert allocate(model) == allocate(model)
