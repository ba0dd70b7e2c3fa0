"""Inference of experiments: published vectors, laws, and input that nobody means.

Vectors: growthbook/growthbook (MIT) `packages/stats/tests/` `frequentist/test_tests.py`,
`bayesian/test_tests.py` and `test_midexperimentpower.py`, rounded there to 5 digits; figures only.
"""

import csv
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dmp_assets.ads.model.experiments import inference
from dmp_assets.ads.model.experiments.bayes import Prior, posterior
from dmp_assets.ads.model.experiments.cells import of_cells
from dmp_assets.ads.model.experiments.definition import ExperimentError, Metric
from dmp_assets.ads.model.experiments.effects import Effect, effect, value
from dmp_assets.ads.model.experiments.mismatch import at_any_time, chi_squared
from dmp_assets.ads.model.experiments.moments import Moments, total
from dmp_assets.ads.model.experiments.planning import single_look, single_look_always_valid
from tests.support.docs import ROOT

GIVEN = ROOT.parent / "shared" / "data"
MEAN, SHARE, RATIO = Metric("m"), Metric("p", "proportion"), Metric("r", "ratio")
ADJUSTED = Metric("a", is_adjusted=True)
ADJUSTED_RATIO = Metric("ar", "ratio", is_adjusted=True)
FIVE = 0.5e-5 + 1e-12
unhurried = settings(deadline=None, max_examples=50)


def summed(n: int, total: float, squares: float) -> Moments:
    return Moments.of_sums(n, [total], [[squares]])


def vector_ratio(
    sums: tuple[float, ...], squares: tuple[float, ...], products: dict[tuple[int, int], float]
) -> Moments:
    matrix = np.diag(squares)
    for (row, column), number in products.items():
        matrix[row, column] = matrix[column, row] = number
    return Moments.of_sums(100, sums, matrix)


A, B = summed(3407, 1396.87, 52377.9767), summed(3461, 2422.7, 134698.29)
A_LATER = summed(3000, 1396.87, 52377.9767)
RATIO_A = vector_ratio(
    (485.112236689623, 679.9093275844917, 192.59138069991536, 290.1398399750233),
    (2715.484666118136, 4939.424001640236, 460.076026390857, 920.9461385038898),
    {
        (0, 1): 3602.146836776702,
        (0, 2): 1113.6215759318352,
        (0, 3): 1559.2878434944676,
        (1, 2): 1460.3181079276983,
        (1, 3): 2130.9404074446747,
        (2, 3): 634.239482353647,
    },
)
RATIO_B = vector_ratio(
    (514.7757826608777, 705.4090874383759, 206.94157227402536, 302.54389139107326),
    (2994.897482705013, 5291.36604146392, 514.2903702246757, 994.4506208125663),
    {
        (0, 1): 3918.1561431600717,
        (0, 2): 1237.0953021125997,
        (0, 3): 1701.0287270040265,
        (1, 2): 1604.0759503266522,
        (1, 3): 2292.081739775257,
        (2, 3): 698.4173425817908,
    },
)


def before_and_after(n: int, sums: tuple[float, float], squares: tuple[float, float]) -> Moments:
    return Moments.of_sums(n, sums, [[squares[0], 1.0], [1.0, squares[1]]])


ADJUSTED_A = before_and_after(3000, (1396.87, 16.87), (52377.9767, 527.9767))
ADJUSTED_B = before_and_after(3461, (2422.7, 22.7), (134698.29, 1348.29))


# published vectors -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("control", "treatment", "metric", "relative", "difference", "error", "low", "high", "p"),
    [
        (A, B, MEAN, True, 0.70732, 0.37879, -0.03526, 1.44989, 0.06191),
        (A, B, MEAN, False, 0.29, 0.12478, 0.04538, 0.53462, 0.02016),
        (
            Moments.of_proportion(14, 28), Moments.of_proportion(16, 30), SHARE, True,
            0.06667, 0.2717, -0.47767, 0.61101, 0.80707,
        ),
        (RATIO_A, RATIO_B, ADJUSTED_RATIO, True, -0.0007, 0.00391, -0.00841, 0.007, 0.85771),
    ],
)  # fmt: skip
def test_welch_gives_the_published_figures(
    control: Moments, treatment: Moments, metric: Metric, relative: bool,
    difference: float, error: float, low: float, high: float, p: float,
) -> None:  # fmt: skip
    found = effect(control, treatment, metric, relative=relative)
    fixed = inference.welch(found, 0.05)
    given = [found.difference, np.sqrt(found.variance), fixed.low, fixed.high, fixed.p_value]
    assert given == pytest.approx([difference, error, low, high, p], abs=FIVE)


@pytest.mark.parametrize(
    ("control", "treatment", "metric", "tuning", "difference", "error", "low", "high", "p"),
    [
        (A_LATER, B, MEAN, 1000, 0.50336, 0.33341, -0.55844, 1.56516, 1.0),
        (
            Moments.of_proportion(1396, 3000), Moments.of_proportion(2422, 3461), SHARE, 5000,
            0.50386, 0.03386, 0.40098, 0.60675, 0.0,
        ),
        (ADJUSTED_A, ADJUSTED_B, ADJUSTED, 5000, 0.50338, 0.33341, -0.50969, 1.51646, 1.0),
        (RATIO_A, RATIO_B, ADJUSTED_RATIO, 5000, -0.0007, 0.00391, -0.02063, 0.01923, 1.0),
    ],
)  # fmt: skip
def test_always_valid_bounds_are_the_published_ones(
    control: Moments, treatment: Moments, metric: Metric, tuning: int,
    difference: float, error: float, low: float, high: float, p: float,
) -> None:  # fmt: skip
    found = effect(control, treatment, metric, relative=True)
    bounds = inference.always_valid(found, 0.05, tuning)
    given = [found.difference, np.sqrt(found.variance), bounds.low, bounds.high, bounds.p_value]
    # Of adjusted means, not of ratios, theirs leave θ · (difference before) out of the gradient.
    near = 2e-5 if metric is ADJUSTED else FIVE
    assert given == pytest.approx([difference, error, low, high, p], abs=near)


@pytest.mark.parametrize(
    ("control", "treatment", "metric", "prior", "mean", "error", "low", "high", "wins", "losses"),
    [
        (
            Moments.of_proportion(49, 100), Moments.of_proportion(51, 100), SHARE, None,
            0.04082, 0.14725, -0.24779, 0.32943, 0.60918, (0.0814, 0.04058),
        ),
        (
            summed(10, 100, 1002.25), summed(10, 105, 1111.5), MEAN, None,
            0.05, 0.03572, -0.02, 0.12, 0.91923, (0.05131, 0.00131),
        ),
        (
            summed(10, 100, 1002.25), summed(10, 105, 1111.5), MEAN, Prior(0.1, 0.1),
            0.05063, 0.03549, -0.01893, 0.12019, 0.92315, (0.05186, 0.00123),
        ),
    ],
)  # fmt: skip
def test_belief_is_the_published_one(
    control: Moments, treatment: Moments, metric: Metric, prior: Prior | None,
    mean: float, error: float, low: float, high: float, wins: float, losses: tuple[float, float],
) -> None:  # fmt: skip
    found = posterior(effect(control, treatment, metric, relative=True), prior)
    given = [found.mean, found.deviation, found.low, found.high, found.chance_to_win]
    assert given == pytest.approx([mean, error, low, high, wins], abs=FIVE)
    assert [found.loss_of_leaving, found.loss_of_choosing] == pytest.approx(losses, abs=FIVE)


@pytest.mark.parametrize(("is_sequential", "scale"), [(False, 25.45703125), (True, 55.66796875)])
def test_the_units_that_are_still_needed_are_the_published_ones(
    is_sequential: bool, scale: float
) -> None:
    found = effect(summed(500, 500, 1500), summed(500, 525, 1551.25), MEAN, relative=True)
    n = 1000 * (1 + scale)
    variance = float(found.variance) / (1 + scale)
    power = (
        single_look_always_valid(0.05, variance, n, 0.05, 5000)
        if is_sequential
        else single_look(0.05, variance, 0.05)
    )
    assert float(power) == pytest.approx(0.8, abs=1e-4)


# laws --------------------------------------------------------------------------------------------
amounts = st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=40)


@unhurried
@given(amounts, st.integers(1, 39))
def test_moments_of_parts_add_up_to_those_of_the_whole(values: list[float], at: int) -> None:
    pairs = [values, [one * 0.5 + place for place, one in enumerate(values)]]
    whole = Moments.of_values(*pairs)
    parts = [Moments.of_values(*(one[:at] for one in pairs)),
             Moments.of_values(*(one[at:] for one in pairs))]  # fmt: skip
    joined = total(parts)
    scale = float(np.abs(whole.products).max()) + 1
    assert joined.count == whole.count == len(values)
    assert joined.mean == pytest.approx(whole.mean, abs=1e-6 * (1 + np.abs(values).max()))
    assert joined.products == pytest.approx(whole.products, abs=1e-9 * scale)


def test_a_small_spread_around_a_huge_mean_is_not_lost() -> None:
    values = 1e9 + np.arange(1000) % 2
    assert float(Moments.of_values(values).covariance[0, 0]) == pytest.approx(0.25025, abs=1e-5)
    parts = [Moments.of_values(part) for part in np.split(values, 10)]
    assert float(total(parts).covariance[0, 0]) == pytest.approx(0.25025, abs=1e-5)


def test_huge_counts_are_counted_out() -> None:
    found = effect(
        Moments.of_proportion(5 * 10**11, 10**12),
        Moments.of_proportion(500_100_000_000, 10**12),
        SHARE,
    )
    bounds = inference.always_valid(found, 0.05, 10**12)
    assert 0 < float(bounds.low) < 1e-4 < float(bounds.high)


@pytest.mark.parametrize("metric", [MEAN, RATIO, ADJUSTED, ADJUSTED_RATIO], ids=lambda m: m.name)
@pytest.mark.parametrize("relative", [False, True])
def test_the_variance_is_that_of_repeated_experiments(metric: Metric, relative: bool) -> None:
    random = np.random.default_rng(15)
    repeats, n = 4_000, 400
    found = effect(
        many(random, repeats, n, metric), many(random, repeats, n, metric), metric,
        relative=relative,
    )  # fmt: skip
    assert found.variance.mean() == pytest.approx(found.difference.var(), rel=0.08)
    assert abs(found.difference.mean()) < 4 * found.difference.std() / np.sqrt(repeats)


def many(random: np.random.Generator, repeats: int, n: int, metric: Metric) -> Moments:
    """Moments of `repeats` variants of n users: sessions and money, before and after."""
    keen = random.gamma(4.0, 0.25, (repeats, n))
    columns = []
    for _ in range(2):
        sessions = 1.0 + np.floor(2 * keen + random.random((repeats, n)))
        columns += [sessions * (keen + random.random((repeats, n))), sessions]
    after, after_sessions, before, before_sessions = columns
    chosen = {
        "amount": after,
        "denominator": after_sessions,
        "amount_before": before,
        "denominator_before": before_sessions,
    }
    return Moments.of_values(*(chosen[name] for name in metric.columns))


@pytest.mark.parametrize(
    ("plain", "adjusted", "columns"), [(MEAN, ADJUSTED, [0]), (RATIO, ADJUSTED_RATIO, [0, 1])]
)
def test_values_from_before_lessen_the_noise_and_move_no_effect(
    plain: Metric, adjusted: Metric, columns: list[int]
) -> None:
    random = np.random.default_rng(3)
    sides = [many(random, 1_000, 400, adjusted) for _ in range(2)]
    bare = [
        Moments(one.count, one.mean[:, columns], one.products[:, columns][:, :, columns])
        for one in sides
    ]
    with_before, without = effect(sides[0], sides[1], adjusted), effect(bare[0], bare[1], plain)
    assert with_before.variance.mean() < 0.9 * without.variance.mean()
    assert with_before.difference.var() < 0.9 * without.difference.var()


def test_the_relative_difference_of_a_negative_mean_has_the_sign_of_the_change() -> None:
    random = np.random.default_rng(1)
    worse, better = random.normal(-10, 1, 500), random.normal(-5, 1, 500)
    found = effect(Moments.of_values(worse), Moments.of_values(better), MEAN, relative=True)
    assert float(found.difference) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("relative", [False, True])
def test_what_is_turned_upside_down_is_as_sure(relative: bool) -> None:
    random = np.random.default_rng(2)
    old, new = random.gamma(2, 5, 400), random.gamma(2, 6, 300)
    up = effect(Moments.of_values(old), Moments.of_values(new), MEAN, relative=relative)
    down = effect(Moments.of_values(-old), Moments.of_values(-new), MEAN, relative=relative)
    assert float(down.difference) == pytest.approx(-float(up.difference))
    assert float(down.variance) == pytest.approx(float(up.variance))


@unhurried
@given(st.floats(-3, 3), st.floats(1e-6, 10), st.integers(200, 10**7), st.floats(0.001, 0.2))
def test_an_interval_leaves_out_0_just_when_its_p_value_is_below_alpha(
    difference: float, variance: float, count: int, alpha: float
) -> None:
    found = Effect(*(np.array(one) for one in (difference, variance, 100.0, float(count))))
    for name in ("welch", "always_valid"):
        more = () if name == "welch" else (5_000,)
        bounds = getattr(inference, name)(found, alpha, *more)
        if abs(float(bounds.p_value) - alpha) > 1e-9:
            assert ((bounds.low > 0) | (bounds.high < 0)) == (bounds.p_value < alpha)


def test_the_always_valid_interval_is_wider_than_one_look_and_narrowest_near_its_tuning() -> None:
    variance, n = 1e-3, 6_461
    widths = [float(inference.half_width(variance, n, 0.05, tuning)) for tuning in (10, n, 10**6)]
    assert widths[1] < widths[0]
    assert widths[1] < widths[2]
    assert min(widths) > stats.norm.isf(0.025) * variance**0.5


# many at once ------------------------------------------------------------------------------------
def test_holm_is_the_procedure_step_by_step() -> None:
    p = [0.01, 0.04, 0.03, 0.005]
    assert inference.holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert inference.holm([0.7]) == pytest.approx([0.7])
    assert inference.holm([[0.9, 0.8], [0.02, 0.5]]) == pytest.approx(
        np.array([[1.0, 1.0], [0.04, 0.5]])
    )


def test_benjamini_hochberg_is_the_procedure_step_by_step() -> None:
    p = [0.01, 0.04, 0.03, 0.005]
    assert inference.benjamini_hochberg(p) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert inference.benjamini_hochberg([]).shape == (0,)


@unhurried
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_adjusted_p_values_keep_the_order_and_holm_is_the_stricter(p: list[float]) -> None:
    holm, discovered = inference.holm(p), inference.benjamini_hochberg(p)
    assert (holm >= np.array(p)).all() and (holm <= 1).all()
    assert (holm >= discovered - 1e-12).all()
    order = np.argsort(p)
    assert all(a <= b for a, b in pairwise(holm[order]))


# the split ---------------------------------------------------------------------------------------
def test_the_chi_squared_of_a_split_is_scipys() -> None:
    assert float(chi_squared([450, 550], [0.5, 0.5])) == pytest.approx(
        stats.chisquare([450, 550]).pvalue
    )
    assert float(chi_squared([700, 200, 130], [70, 20, 10])) == pytest.approx(
        stats.chisquare([700, 200, 130], [721, 206, 103]).pvalue
    )


def test_a_lost_variant_is_a_mismatch_and_a_fair_one_is_none() -> None:
    assert float(at_any_time([10_000, 8_500], [1, 1])) < 1e-6
    assert float(at_any_time([10_000, 10_050], [1, 1])) == 1
    assert float(at_any_time([9_000, 950, 50], [90, 8, 2])) < 1e-6
    assert float(at_any_time([0, 0], [1, 1])) == float(chi_squared([0, 0], [1, 1])) == 1


@pytest.mark.parametrize(
    ("counts", "split", "words"),
    [
        ([1, 2, 3], [1, 1], "a count for each"),
        ([1], [1], "two variants"),
        ([-1, 5], [1, 1], "0 or more"),
        ([float("nan"), 5], [1, 1], "0 or more"),
        ([1, 5], [1, 0], "above 0"),
    ],
)
def test_counts_that_are_none_are_refused(
    counts: list[float], split: list[float], words: str
) -> None:
    for test in (chi_squared, at_any_time):
        with pytest.raises(ExperimentError, match=words):
            test(counts, split)


# cells of a platform -----------------------------------------------------------------------------
def test_events_of_a_cell_that_come_by_chance_have_the_variance_of_chance() -> None:
    random = np.random.default_rng(5)
    days = random.uniform(20, 200, 28)
    calls = []
    for _ in range(400):
        found = of_cells(random.poisson(days[:, None] * [1.0, 1.5]), [40_000, 60_000])
        calls.append(
            inference.welch(effect(found.moments[0], found.moments[1], MEAN), 0.05).p_value < 0.05
        )
        assert found.spread < 2.5
    assert 0.01 < np.mean(calls) < 0.09


def test_cells_that_differ_from_day_to_day_are_less_sure() -> None:
    random = np.random.default_rng(6)
    calls, spreads = [], []
    for _ in range(300):
        rates = 100 * np.exp(random.normal(0, 0.3, (28, 2)))
        found = of_cells(random.poisson(rates), [50_000, 50_000])
        calls.append(
            inference.welch(effect(found.moments[0], found.moments[1], MEAN), 0.05).p_value < 0.05
        )
        spreads.append(found.spread)
    assert np.mean(spreads) > 5
    assert np.mean(calls) < 0.1


@pytest.mark.given_data
def test_a_real_split_test_of_an_ad_platform_is_read() -> None:
    with (GIVEN / "ads" / "meta_split_test.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    days = sorted({row["Day"] for row in rows})
    clicks, shown = np.zeros((len(days), 2)), np.zeros(2)
    for row in rows:
        cell = "AB".index(row["Ad Set Name"][-1])
        clicks[days.index(row["Day"]), cell] += float(row["Link clicks"] or 0)
        shown[cell] += float(row["Impressions"] or 0)
    found = of_cells(clicks, shown)
    difference = effect(found.moments[0], found.moments[1], MEAN)
    assert float(difference.difference) == pytest.approx(516 / 9_622 - 433 / 13_937)
    pure = 516 / 9_622**2 + 433 / 13_937**2
    assert float(difference.variance) == pytest.approx(found.spread * pure, rel=1e-6)
    assert found.spread > 1
    assert float(inference.always_valid(difference, 0.05, 20_000).low) > 0


@pytest.mark.parametrize(
    ("events", "people", "words"),
    [
        ([[1, 2]], [10], "events by day and cell"),
        ([1, 2], [10, 10], "events by day and cell"),
        ([[1, -2]], [10, 10], "0 or more"),
        ([[1, float("nan")]], [10, 10], "0 or more"),
        ([[1, 2]], [10, 0], "reached nobody"),
    ],
)
def test_cells_that_are_none_are_refused(
    events: npt.ArrayLike, people: npt.ArrayLike, words: str
) -> None:
    with pytest.raises(ExperimentError, match=words):
        of_cells(events, people)


def test_cells_without_an_event_or_a_day_say_nothing() -> None:
    for events in (np.zeros((7, 2)), np.zeros((0, 2))):
        found = of_cells(events, [100, 100])
        assert found.spread == 1 and not effect(found.moments[0], found.moments[1], MEAN).is_known


# degenerate --------------------------------------------------------------------------------------
EMPTY, ONE, SAME = (Moments.of_values(one) for one in ([], [3.0], [2.0] * 50))
USUAL = Moments.of_values(np.arange(50.0))


@pytest.mark.parametrize(
    ("control", "treatment"),
    [(EMPTY, EMPTY), (EMPTY, USUAL), (USUAL, ONE), (SAME, SAME), (SAME, USUAL)],
    ids=["nobody", "no control", "one unit", "all equal", "control all equal"],
)
@pytest.mark.parametrize("relative", [False, True])
def test_of_nothing_nothing_is_said(control: Moments, treatment: Moments, relative: bool) -> None:
    found = effect(control, treatment, MEAN, relative=relative)
    assert not found.is_known
    for bounds in (inference.welch(found, 0.05), inference.always_valid(found, 0.05, 5000)):
        assert (float(bounds.low), float(bounds.high)) == (-np.inf, np.inf)
        assert float(bounds.p_value) == 1
    assert np.isnan(posterior(found, None).chance_to_win)


def test_no_share_of_a_mean_of_0_and_no_ratio_over_0() -> None:
    around = Moments.of_values([-1.0, 1.0] * 30)
    assert not effect(around, USUAL, MEAN, relative=True).is_known
    assert effect(around, USUAL, MEAN).is_known
    idle = Moments.of_values([1.0, 2.0] * 30, [0.0] * 60)
    assert not effect(idle, idle, RATIO).is_known
    assert np.isnan(value(idle, RATIO)) and np.isnan(value(EMPTY, MEAN))


def test_values_before_that_are_all_the_same_adjust_nothing() -> None:
    after, before = np.arange(50.0), np.full(50, 7.0)
    plain, adjusted = (
        effect(Moments.of_values(*one), Moments.of_values(*one), metric)
        for one, metric in (((after,), MEAN), ((after, before), ADJUSTED))
    )
    assert float(adjusted.variance) == pytest.approx(float(plain.variance))


@pytest.mark.parametrize(
    ("columns", "is_binary", "words"),
    [
        (([1.0, float("nan")],), False, "missing or infinite"),
        (([1.0, float("inf")],), False, "missing or infinite"),
        (([1.0, 2.0], [1.0]), False, "one value per unit"),
        ((), False, "one value per unit"),
        (([0.0, 0.5],), True, "0 and 1 alone"),
    ],
)
def test_values_that_are_none_are_refused_in_words(
    columns: tuple[npt.ArrayLike, ...], is_binary: bool, words: str
) -> None:
    with pytest.raises(ExperimentError, match=words):
        Moments.of_values(*columns, is_binary=is_binary)


def test_sums_that_no_values_have_are_refused() -> None:
    with pytest.raises(ExperimentError, match="smaller than any values"):
        summed(10, 100, 900)
    with pytest.raises(ExperimentError, match="between none and all"):
        Moments.of_proportion(11, 10)
    with pytest.raises(ExperimentError, match="no number"):
        summed(10, float("nan"), 900)
    with pytest.raises(ExperimentError, match="negative number of units"):
        Moments(np.array(-1.0), np.zeros(1), np.zeros((1, 1)))


def test_moments_of_another_metric_are_refused() -> None:
    with pytest.raises(ExperimentError, match="made of amount, denominator; the moments hold 1"):
        effect(USUAL, USUAL, RATIO)
    with pytest.raises(ExperimentError, match="of another kind"):
        effect(USUAL, USUAL, SHARE)
    with pytest.raises(ExperimentError, match="do not add up"):
        USUAL + Moments.of_proportion(1, 2)
    with pytest.raises(ExperimentError, match="a variance above 0"):
        Prior(0.0, 0.0)
