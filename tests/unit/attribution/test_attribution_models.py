"""The attribution models: examples by hand, laws for any journey, and the definition recounted."""

import pickle
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmp_assets.attribution.model import markov, positions, shapley
from dmp_assets.attribution.model.channel_values import by_channel
from dmp_assets.attribution.model.crediting import credits, fit
from dmp_assets.attribution.model.journeys import Floats, Journeys
from dmp_assets.attribution.model.models import models_of
from dmp_assets.attribution.model.parameters import Fitted, Parameters
from dmp_assets.attribution.model.paths import Paths, paths_of
from dmp_assets.attribution.model.roles import Roles, role_credits
from tests.support import brute_force

Touchpoint = tuple[str, float, float, float, bool]
"""Channel, hours before, holder engagement, closer engagement, impression."""

MODELS = tuple(models_of())
unhurried = settings(deadline=None, max_examples=50)
ORDER_FREE = ("linear", "shapley")
NAMES = "abcde"


def journeys_of(journeys: Sequence[Sequence[Touchpoint]], channels: Sequence[str] = ()) -> Journeys:
    rows = [touchpoint for journey in journeys for touchpoint in journey]
    names, hours, holder, closer, impression = zip(*rows, strict=True) if rows else ((),) * 5
    known = (*channels, *sorted(set(names) - set(channels)))
    return Journeys(
        channels=known,
        offsets=np.cumsum([0, *map(len, journeys)]),
        channel=np.array([known.index(name) for name in names], dtype=np.int32),
        hours_before=np.array(hours, dtype=float),
        holder_engagement=np.array(holder, dtype=float),
        closer_engagement=np.array(closer, dtype=float),
        impression_interaction=np.array(impression, dtype=np.bool_),
    )


def along(*paths: Sequence[str]) -> Journeys:
    """Journeys along paths, a day between touchpoints, nothing engaged."""
    return journeys_of(
        [
            [(name, 24.0 * (len(path) - i), 0.0, 0.0, False) for i, name in enumerate(path)]
            for path in paths
        ]
    )


def paths_from(paths: list[brute_force.Path]) -> Paths:
    return Paths.from_arrow(
        pa.table(
            {
                "path": pa.array([list(path) for path, _, _ in paths], pa.list_(pa.string())),
                "conversions": pa.array([won for _, won, _ in paths], pa.int64()),
                "nulls": pa.array([lost for _, _, lost in paths], pa.int64()),
            }
        )
    )


def fitted_on(journeys: Journeys, converted: npt.NDArray[np.bool_] | bool = True) -> Fitted:
    return fit(paths_of(journeys, converted), Parameters(direct_channels=("a",)))


@st.composite
def many_journeys(draw: st.DrawFn) -> list[list[Touchpoint]]:
    """Journeys with ties, zeros and very different scales."""
    measure = st.sampled_from([0.0, 0.0, 1.0, 0.3, 5.0, 1e-300, 1e6])
    journeys = []
    for names in draw(st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6))):
        hours = sorted(
            (draw(st.sampled_from([0.0, 1.0, 24.0, 168.0, 1e4, 1e9, 1e300])) for _ in names),
            reverse=True,
        )
        journeys.append(
            [
                (name, hour, draw(measure), draw(measure), draw(st.booleans()))
                for name, hour in zip(names, hours, strict=True)
            ]
        )
    return journeys


def check_credit(journeys: Journeys, credit: Floats) -> None:
    assert credit.shape == journeys.channel.shape
    assert (credit >= 0).all()
    sums = np.bincount(journeys.journey, credit, len(journeys))
    np.testing.assert_allclose(sums, 1.0, rtol=0, atol=1e-9)


# Laws for any journeys


@unhurried
@given(many_journeys(), st.data())
def test_every_model_gives_each_journey_one_credit(
    rows: list[list[Touchpoint]], data: st.DataObject
) -> None:
    journeys = journeys_of(rows)
    converted = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    fitted = fitted_on(journeys, np.array(converted, dtype=np.bool_))
    found = credits(journeys, fitted)
    assert tuple(found) == MODELS
    for credit in found.values():
        check_credit(journeys, credit)


@unhurried
@given(many_journeys(), st.permutations(NAMES))
def test_no_model_cares_what_channels_are_called(
    rows: list[list[Touchpoint]], others: list[str]
) -> None:
    renamed = dict(zip(NAMES, others, strict=True))
    journeys = journeys_of(rows)
    again = journeys_of([[(renamed[row[0]], *row[1:]) for row in journey] for journey in rows])
    parameters = Parameters(direct_channels=("b",))
    of_renamed = Parameters(direct_channels=(renamed["b"],))
    expected = credits(journeys, fit(paths_of(journeys), parameters))
    found = credits(again, fit(paths_of(again), of_renamed))
    for name in MODELS:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-9, err_msg=name)


@unhurried
@given(many_journeys())
def test_journeys_credited_in_batches_get_what_they_get_at_once(
    rows: list[list[Touchpoint]],
) -> None:
    fitted = fitted_on(journeys_of(rows))
    whole = credits(journeys_of(rows), fitted)
    parts = [credits(journeys_of([row]), fitted) for row in rows]
    for name in MODELS:
        pieces = np.concatenate([np.zeros(0), *(part[name] for part in parts)])
        np.testing.assert_allclose(pieces, whole[name], atol=1e-12, err_msg=name)


@unhurried
@given(many_journeys(), st.randoms())
def test_order_free_models_see_no_order(rows: list[list[Touchpoint]], random: Random) -> None:
    journeys = journeys_of(rows)
    shuffled = [random.sample([name for name, *_ in row], len(row)) for row in rows]
    mixed = along(*shuffled)
    before, after = fitted_on(journeys), fitted_on(mixed)
    for name in ORDER_FREE:
        by_name = [
            {
                (number, journeys.channels[code]): value
                for number, code, value in zip(some.journey, some.channel, credit, strict=True)
            }
            for some, credit in (
                (journeys, credits(journeys, before, [name])[name]),
                (mixed, credits(mixed, after, [name])[name]),
            )
        ]
        assert by_name[0] == pytest.approx(by_name[1], abs=1e-9)


@unhurried
@given(many_journeys())
def test_a_channel_on_no_path_gets_nothing(rows: list[list[Touchpoint]]) -> None:
    journeys = journeys_of(rows, channels=["never"])
    fitted = fitted_on(journeys)
    assert fitted.learnt
    assert all("never" not in learnt for learnt in fitted.learnt.values())
    for credit in credits(journeys, fitted).values():
        assert credit[journeys.is_channel(["never"])].sum() == 0


@pytest.mark.parametrize("name", MODELS)
def test_a_single_touchpoint_gets_all(name: str) -> None:
    journeys = journeys_of([[("a", 1e9, 0.0, 0.0, True)], [("b", 0.0, 1.0, 1.0, False)]])
    assert credits(journeys, fitted_on(journeys))[name].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", MODELS)
def test_a_journey_of_ten_thousand_touchpoints_sums_to_one(name: str) -> None:
    random = Random(7)
    long = [
        (random.choice(NAMES), 3.0 * (10_000 - i), float(i % 2), float(i % 3 == 0), i % 5 == 0)
        for i in range(10_000)
    ]
    journeys = journeys_of([long, [("a", 1.0, 0.0, 0.0, False)]])
    check_credit(journeys, credits(journeys, fitted_on(journeys))[name])


@pytest.mark.parametrize("name", MODELS)
def test_no_journeys_give_no_credits(name: str) -> None:
    journeys = journeys_of([])
    assert credits(journeys, fitted_on(journeys))[name].shape == (0,)


@pytest.mark.parametrize("name", MODELS)
def test_a_channel_unknown_to_the_fit_can_be_credited(name: str) -> None:
    fitted = fitted_on(along("ab", "b"))
    check_credit(along("az", "zz"), credits(along("az", "zz"), fitted)[name])


def test_learnt_models_give_unknown_channels_nothing_beside_known_ones() -> None:
    fitted = fitted_on(along("ab", "a", "b"))
    for name in ("markov_1", "markov_2", "shapley"):
        assert credits(along("az", "zz"), fitted, [name])[name].tolist() == [1, 0, 0.5, 0.5]


def test_what_was_fitted_can_be_sent_to_workers() -> None:
    fitted = fitted_on(along("ab", "b"))
    assert pickle.loads(pickle.dumps(fitted)) == fitted


# Models of positions, by hand


def test_first_and_last_touch() -> None:
    journeys = along("abc", "d", "ab")
    assert positions.first_touch(journeys).tolist() == [1, 0, 0, 1, 1, 0]
    assert positions.last_touch(journeys).tolist() == [0, 0, 1, 1, 0, 1]


def test_last_non_direct_skips_direct_unless_there_is_nothing_else() -> None:
    journeys = along("abdd", "dd", "da")
    assert positions.last_non_direct(journeys, ["d"]).tolist() == [0, 1, 0, 0, 0, 1, 0, 1]


def test_linear_shares_equally() -> None:
    assert positions.linear(along("abaa", "ab")).tolist() == [0.25] * 4 + [0.5] * 2


@pytest.mark.parametrize(
    ("path", "first", "last", "expected"),
    [
        ("abcd", 0.4, 0.4, [0.4, 0.1, 0.1, 0.4]),
        ("abc", 0.5, 0.2, [0.5, 0.3, 0.2]),
        ("abc", 0.9, 0.1, [0.9, 0.0, 0.1]),
        ("ab", 0.4, 0.4, [0.5, 0.5]),
        ("ab", 0.6, 0.2, [0.75, 0.25]),
        ("ab", 0.0, 0.0, [0.5, 0.5]),
        ("a", 0.0, 0.0, [1.0]),
        ("a", 0.4, 0.4, [1.0]),
    ],
)
def test_position_based_credits_both_ends(
    path: str, first: float, last: float, expected: list[float]
) -> None:
    journeys = along(path, "z")
    credit = positions.position_based(journeys, first, last)
    check_credit(journeys, credit)
    assert credit == pytest.approx([*expected, 1.0])


def test_time_decay_halves_with_every_half_life() -> None:
    journeys = journeys_of([[(name, hours, 0, 0, False) for name, hours in
                             (("a", 340.0), ("b", 172.0), ("c", 4.0))]])  # fmt: skip
    assert positions.time_decay(journeys, 168) == pytest.approx([1 / 7, 2 / 7, 4 / 7])


def test_time_decay_of_ancient_touchpoints_still_tells_them_apart() -> None:
    journeys = journeys_of([[("a", 1e9 + 168, 0, 0, False), ("b", 1e9, 0, 0, False)]])
    assert positions.time_decay(journeys, 168) == pytest.approx([1 / 3, 2 / 3])


def test_no_model_is_changed_by_the_clock_but_those_of_time() -> None:
    slow, fast = along("abc"), journeys_of([[(name, 0.0, 0, 0, False) for name in "abc"]])
    fitted = fitted_on(slow)
    for name in set(MODELS) - {"time_decay", "initializer_holder_closer"}:
        assert credits(slow, fitted)[name].tolist() == credits(fast, fitted)[name].tolist()


# Roles, by hand


def test_roles_are_credited_by_their_formulas() -> None:
    journeys = journeys_of(
        [[("a", 72, 1, 0, False), ("b", 48, 1, 0, False), ("c", 24, 3, 1, False)]]
    )
    found = role_credits(journeys, Roles(0.3, 0.4, 0.3, closer_half_life_hours=24))
    assert found.initializer.tolist() == [1, 0, 0]
    assert found.holder == pytest.approx([0, 0.25, 0.75])
    assert found.closer == pytest.approx([0.25 / 2.75, 0.5 / 2.75, 2 / 2.75])
    weighted = 0.3 * found.initializer + 0.4 * found.holder + 0.3 * found.closer
    assert found.combined == pytest.approx(weighted)


def test_without_a_holder_the_other_roles_share_the_credit() -> None:
    journeys = journeys_of([[("a", 24, 1, 0, False), ("b", 0, 0, 0, False)]])
    found = role_credits(journeys, Roles(0.3, 0.4, 0.1, closer_half_life_hours=24))
    assert found.holder.tolist() == [0, 0]
    assert found.combined == pytest.approx([0.75 + 0.25 / 3, 0.25 * 2 / 3])


@pytest.mark.parametrize(
    ("impressions", "expected"),
    [("ivv", [0.4, 0.6, 0]), ("iiv", [0.4, 0, 0.6]), ("iii", [1, 0, 0]), ("viv", [1, 0, 0])],
)
def test_an_impression_shares_the_introduction_with_the_first_visit(
    impressions: str, expected: list[float]
) -> None:
    journey = [("a", 9.0, 0.0, 0.0, kind == "i") for kind in impressions]
    journeys = journeys_of([journey, [("b", 1.0, 0.0, 0.0, False)]])
    found = role_credits(journeys, Roles(impression_weight=0.4)).initializer
    assert found == pytest.approx([*expected, 1.0])


@unhurried
@given(many_journeys())
def test_each_role_gives_one_credit_and_the_holder_sometimes_none(
    rows: list[list[Touchpoint]],
) -> None:
    journeys = journeys_of(rows)
    found = role_credits(journeys)
    for credit in (found.initializer, found.closer, found.combined):
        check_credit(journeys, credit)
    held = np.bincount(journeys.journey, found.holder, len(journeys))
    assert all(total == pytest.approx(0) or total == pytest.approx(1) for total in held)


# Models of channels, by hand and against the definition


def test_a_channels_part_is_split_among_its_touchpoints() -> None:
    credit = by_channel(along("abab", "cc", "ca"), {"a": 3.0, "b": 1.0, "c": -5.0})
    assert credit == pytest.approx([0.375, 0.125, 0.375, 0.125, 0.5, 0.5, 0, 1])


def test_markov_by_hand() -> None:
    # Of 4 journeys: a > b converts twice, a ends once, b ends once. P = 2 / 4. Without either
    # channel nothing converts by a > b; b alone goes to conversion in 2 of 3 visits.
    paths = paths_from([(("a", "b"), 2, 0), (("a",), 0, 1), (("b",), 0, 1)])
    assert markov.removal_effects(paths, 1) == pytest.approx({"a": 1 - (1 / 4 * 2 / 3) / 0.5,
                                                              "b": 1.0})  # fmt: skip


def test_markov_of_order_two_tells_paths_apart_that_order_one_mixes() -> None:
    paths = paths_from([(("a", "b"), 5, 0), (("c", "b"), 0, 5)])
    assert markov.removal_effects(paths, 1) == pytest.approx({"a": 0.5, "b": 1.0, "c": 0.5})
    assert markov.removal_effects(paths, 2) == pytest.approx({"a": 1.0, "b": 1.0, "c": 0.0})


def test_shapley_by_hand() -> None:
    # p(a) = 1/10, p(b) = 2/10, p(ab) = 5/10: each set has ten journeys.
    # Alone, a adds 1 and b adds 2; of the five of ab, a gets (1 + 5 − 2) / 2.
    paths = paths_from([(("a",), 1, 9), (("b",), 2, 8), (("b", "a"), 5, 5)])
    assert shapley.shapley_values(paths) == pytest.approx({"a": 1 + 2, "b": 2 + 3})


def test_shapley_of_a_channel_that_harms_is_negative_and_its_credit_none() -> None:
    paths = paths_from([(("a",), 9, 1), (("a", "x"), 1, 9)])
    fitted = fit(paths)
    assert fitted.learnt["shapley"]["x"] < 0
    assert credits(along("ax"), fitted, ["shapley"])["shapley"].tolist() == [1, 0]


def test_channels_that_add_nothing_are_worth_exactly_nothing() -> None:
    names = "abcdefgh"
    sets = [tuple(n for i, n in enumerate(names) if bits >> i & 1) for bits in range(1, 256)]
    paths = paths_from([(s, 3 if "a" in s else 0, 7 if "a" in s else 10) for s in sets])
    found = shapley.shapley_values(paths)
    assert found == pytest.approx({"a": 3 * 128} | dict.fromkeys(names[1:], 0))
    assert [found[name] for name in names[1:]] == [0.0] * 7


def test_a_channel_of_journeys_that_never_convert_has_exactly_no_removal_effect() -> None:
    paths = paths_from([(("a", "b", "a"), 3, 7), (("c", "d"), 0, 9), (("b",), 1, 3)])
    for order in range(1, 5):
        effects = markov.removal_effects(paths, order)
        assert effects["c"] == effects["d"] == 0.0 < effects["a"]


def test_shapley_of_all_sets_converting_is_an_equal_split() -> None:
    paths = paths_from([(("a",), 3, 0), (("b",), 3, 0), (("a", "b"), 4, 0)])
    assert shapley.shapley_values(paths) == pytest.approx({"a": 5, "b": 5})


def random_paths(random: Random) -> list[brute_force.Path]:
    """A few short paths over up to four channels, some that never convert, some never seen."""
    names = "abcd"[: random.randint(1, 4)]
    found = {
        tuple(random.choices(names, k=random.choice([1, 1, 2, 2, 3, 4])))
        for _ in range(random.randint(1, 6))
    }
    return [
        (path, random.choice([0, 0, 1, 2, 5, 40]), random.choice([0, 0, 1, 3, 100]))
        for path in sorted(found)
    ]


def test_markov_is_what_its_definition_says_in_a_thousand_cases() -> None:
    random = Random(1)
    for case in range(1000):
        paths = random_paths(random)
        order = case % 4 + 1
        expected = brute_force.removal_effects(paths, order)
        found = markov.removal_effects(paths_from(paths), order)
        assert found == pytest.approx({k: float(v) for k, v in expected.items()}, abs=1e-9), paths
        check_shared(paths, found, expected)


def test_shapley_is_what_its_definition_says_in_a_thousand_cases() -> None:
    random = Random(2)
    for _ in range(1000):
        paths = random_paths(random)
        expected = brute_force.shapley_values(paths)
        found = shapley.shapley_values(paths_from(paths))
        assert found == pytest.approx({k: float(v) for k, v in expected.items()}, abs=1e-9), paths
        assert sum(expected.values()) == sum(won for _, won, _ in paths)


def check_shared(
    paths: list[brute_force.Path], found: dict[str, float], expected: dict[str, Fraction]
) -> None:
    journeys = along(*(path for path, _, _ in paths))
    shares = [float(share) for path, _, _ in paths for share in brute_force.shared(path, expected)]
    np.testing.assert_allclose(by_channel(journeys, found), shares, atol=1e-7)


def test_iterating_and_eliminating_give_the_same_markov_effects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = Random(3)
    paths = paths_from(
        [
            (tuple(random.choices("abcdefgh", k=random.randint(1, 8))), int(random.random() < 0.4),
             1) for _ in range(2000)
        ]
    )  # fmt: skip
    eliminated = markov.removal_effects(paths, 3)
    monkeypatch.setattr(markov, "_ELIMINATE", 0)
    assert markov.removal_effects(paths, 3) == pytest.approx(eliminated, abs=1e-10)


def test_a_chain_on_which_iterating_stalls_is_eliminated(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = paths_from([(("a",) * 2000 + ("b",), 1, 0), (("b",) * 500 + ("c",) * 900, 1, 1)])
    eliminated = markov.removal_effects(paths, 4)
    monkeypatch.setattr(markov, "_ELIMINATE", 0)
    assert markov.removal_effects(paths, 4) == pytest.approx(eliminated, abs=1e-8)


@unhurried
@given(many_journeys(), st.data())
def test_sampled_shapley_values_are_near_the_exact_ones_and_add_up_as_exactly(
    rows: list[list[Touchpoint]], data: st.DataObject
) -> None:
    converted = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    paths = paths_of(journeys_of(rows), np.array(converted, dtype=np.bool_))
    exact = shapley.shapley_values(paths)
    sampled = shapley.shapley_values(paths, exact_limit=0, samples=400)
    assert sum(sampled.values()) == pytest.approx(sum(converted))
    assert sampled == pytest.approx(exact, abs=0.15 * len(rows) ** 0.5 + 0.02 * len(rows))
    assert sampled == shapley.shapley_values(paths, exact_limit=0, samples=400)


def test_many_channels_are_sampled() -> None:
    random = Random(4)
    names = [f"channel {i}" for i in range(30)]
    paths = [
        (tuple(random.sample(names, random.randint(1, 4))), random.randint(0, 3), 2)
        for _ in range(500)
    ]
    found = shapley.shapley_values(paths_from(paths), samples=60)
    assert set(found) == set(brute_force.channels_of(paths))
    assert sum(found.values()) == pytest.approx(sum(won for _, won, _ in paths))


def test_without_conversions_every_learnt_value_is_zero_and_credit_is_linear() -> None:
    fitted = fitted_on(along("ab", "b"), converted=False)
    assert set(fitted.learnt["shapley"].values()) == {0.0}
    assert set(fitted.learnt["markov_2"].values()) == {0.0}
    assert credits(along("aab"), fitted, ["markov_1"])["markov_1"] == pytest.approx([1 / 3] * 3)


# The registry


def test_every_model_says_in_its_own_words_what_it_is() -> None:
    models = models_of((1,)).values()
    for told in ("title", "description"):
        assert len({getattr(model, told) for model in models}) == len(models)


def test_what_is_learnt_is_what_some_model_judges_channels_by() -> None:
    fitted = fitted_on(along("ab", "b"))
    assert [*fitted.learnt] == [name for name, model in models_of().items() if model.learn]
    emptied = Fitted(fitted.parameters, {})
    for name, model in models_of().items():
        if model.learn:
            with pytest.raises(KeyError, match=name):
                credits(along("ab"), emptied, [name])
        else:
            check_credit(along("ab"), credits(along("ab"), emptied, [name])[name])


def test_a_command_names_the_models_and_loads_no_numpy() -> None:
    code = "import sys; from dmp_assets.cli.start import main; sys.argv = ['dmp', '--help']; main()"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "dmp_assets.attribution.model.models" in loaded
    assert loaded & {"numpy", "scipy", "pyarrow"} == set()


def test_other_markov_orders_can_be_asked_for() -> None:
    journeys = along("abc", "b")
    fitted = fit(paths_of(journeys), Parameters(markov_orders=(3, 1)))
    names = [name for name in credits(journeys, fitted) if name.startswith("markov")]
    assert names == ["markov_1", "markov_3"]
    with pytest.raises(ValueError, match="no such model: markov_2"):
        credits(journeys, fitted, ["markov_2"])


@pytest.mark.parametrize(
    "changed",
    [
        {"half_life_hours": 0.0},
        {"half_life_hours": float("nan")},
        {"first_weight": 0.7},
        {"last_weight": -0.1},
        {"markov_orders": (0,)},
        {"markov_orders": (5,)},
        {"shapley_exact_limit": 21},
        {"shapley_samples": 0},
    ],
    ids=str,
)
def test_a_parameter_out_of_range_fails_when_fitting(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\d|nan"):
        fit(paths_of(along("ab")), Parameters(**changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"initializer": 0.0, "closer": 0.0},
        {"holder": -1.0},
        {"closer": float("inf")},
        {"impression_weight": 1.1},
    ],
    ids=str,
)
def test_roles_out_of_range_are_refused(changed: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="weight"):
        Roles(**changed)
