"""An experiment's life: what may be defined, who gets which variant, who counts, what follows."""

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmp_assets.ads.model.experiments import decide
from dmp_assets.ads.model.experiments.assignment import number, place, variant, variants
from dmp_assets.ads.model.experiments.decide import (
    FINAL,
    Reading,
    Run,
    State,
    on_person,
    on_reading,
)
from dmp_assets.ads.model.experiments.definition import (
    Definition,
    ExperimentError,
    Guardrail,
    Metric,
    check_layer,
)
from dmp_assets.ads.model.experiments.exposures import units_of
from dmp_assets.ads.model.experiments.inference import half_width
from dmp_assets.ads.model.experiments.mismatch import chi_squared
from dmp_assets.ads.model.experiments.moments import Moments
from dmp_assets.ads.model.experiments.planning import (
    Expected,
    looked_at,
    of_definition,
    plan,
    single_look,
    single_look_always_valid,
)
from dmp_assets.ads.model.experiments.readout import Readout, read

START = date(2026, 11, 1)
BOUGHT = Metric("bought", "proportion")
RETURNED = Metric("returned", "proportion", better="lower")
REVENUE = Metric("revenue")
DEFINITION = Definition(
    advertiser_id="shop-1",
    key="free-shipping",
    variants=("control", "free"),
    split=(5_000, 5_000),
    primary=BOUGHT,
    least_effect=0.1,
    tuning=20_000,
    starts_on=START,
    days=28,
    guardrails=(Guardrail(RETURNED, 0.5),),
    secondary=(REVENUE,),
    spend_cap=Decimal("1000.00"),
)


# definition --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"variants": ("control",)}, "two variants or more"),
        ({"variants": ("a", "a")}, "two variants or more"),
        ({"variants": ("a", "b b")}, "a variant is named by"),
        ({"key": "x/draw/y"}, "an experiment is named by"),
        ({"split": (5_000, 4_999)}, "sum to 9999, not to 10000"),
        ({"split": (10_000, 0)}, "a share above 0"),
        ({"split": (10_000,)}, "a share above 0"),
        ({"places": (9_000, 9_000)}, "takes places from 0 up to 10000"),
        ({"least_effect": 0.0}, "above 0"),
        ({"least_effect": float("nan")}, "above 0"),
        ({"alpha": 0.5}, "up to 0.2"),
        ({"tuning": 0}, "1 at least"),
        ({"days": 6}, "7 full days at least"),
        ({"spend_cap": Decimal(0)}, "above 0, or none"),
        ({"spend_cap": Decimal("NaN")}, "above 0, or none"),
        ({"secondary": (BOUGHT,)}, "each metric of free-shipping is named once: bought"),
    ],
)
def test_a_definition_that_cannot_be_run_is_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ExperimentError, match=words):
        replace(DEFINITION, **changed)


def test_a_guardrail_without_a_margin_could_never_hold() -> None:
    with pytest.raises(ExperimentError, match="would never hold"):
        Guardrail(RETURNED, 0.0)


def test_whatever_of_a_definition_changes_after_its_start_is_noticed() -> None:
    digest = DEFINITION.digest()
    DEFINITION.check_unchanged(digest)
    assert digest == replace(DEFINITION).digest()
    changes: list[dict[str, Any]] = [
        {"split": (4_000, 6_000)},
        {"alpha": 0.1},
        {"guardrails": (Guardrail(RETURNED, 0.2),)},
        {"primary": replace(BOUGHT, is_adjusted=True)},
        {"spend_cap": Decimal("1000.01")},
        {"tuning": 20_001},
    ]
    for change in changes:
        with pytest.raises(ExperimentError, match="not the one that it started with"):
            replace(DEFINITION, **change).check_unchanged(digest)


# assignment --------------------------------------------------------------------------------------
@pytest.mark.parametrize("unit", ["user-1", "a b", "münchen", "日本", "x/draw/y", " user-1"])
def test_another_program_finds_the_same_place_and_variant_by_the_bytes_that_are_documented(
    unit: str,
) -> None:
    def by_shell(text: str) -> int:
        found = subprocess.run(["sha256sum"], input=text.encode(), capture_output=True, check=True)
        return int(found.stdout[:16], 16) % 10_000

    at = by_shell(f"shop-1/default/place/{unit}")
    draw = by_shell(f"shop-1/free-shipping/draw/{unit}")
    assert place("shop-1", "default", unit) == at
    half = replace(DEFINITION, places=(0, 5_000))
    assert variant(half, unit) == (None if at >= 5_000 else ("control", "free")[draw >= 5_000])


def test_the_bytes_of_the_assignment_never_change() -> None:
    assert [number(text) for text in ("", "a", "shop-1/default/place/user-1")] == VECTORS
    assert variants(DEFINITION, [f"user-{n}" for n in range(8)]) == ASSIGNED


VECTORS = [1652, 2250, 3434]
ASSIGNED = ["control", "free", "free", "control", "free", "free", "free", "control"]


def test_who_is_asked_for_twice_gets_the_same_and_the_split_is_kept() -> None:
    definition = replace(DEFINITION, variants=("a", "b", "c"), split=(7_000, 2_000, 1_000))
    units = [f"visitor {n}" for n in range(20_000)]
    first = variants(definition, units)
    assert first == variants(definition, units)
    counts = [first.count(name) for name in definition.variants]
    assert sum(counts) == len(units)
    assert float(chi_squared(counts, definition.split)) > 0.001


def test_experiments_of_a_layer_share_nobody_and_those_of_two_layers_are_independent() -> None:
    units = [f"u{n}" for n in range(20_000)]
    one = replace(DEFINITION, key="one", places=(0, 4_000))
    other = replace(DEFINITION, key="other", places=(4_000, 10_000))
    check_layer([one, other])
    got = list(zip(variants(one, units), variants(other, units), strict=True))
    assert all((a is None) != (b is None) for a, b in got)

    elsewhere = replace(DEFINITION, key="elsewhere", layer="second")
    check_layer([one, other, elsewhere])
    pairs = [
        (a, b) for a, b in zip(variants(one, units), variants(elsewhere, units), strict=True) if a
    ]
    table = [pairs.count((a, b)) for a in DEFINITION.variants for b in DEFINITION.variants]
    assert float(chi_squared(table, [1, 1, 1, 1])) > 0.001


def test_experiments_that_would_share_units_are_refused() -> None:
    one = replace(DEFINITION, key="one", places=(0, 5_001))
    other = replace(DEFINITION, key="other", places=(5_000, 10_000))
    with pytest.raises(ExperimentError, match="other and one overlap in the layer default"):
        check_layer([one, other])
    with pytest.raises(ExperimentError, match="there is an experiment one already"):
        check_layer([one, replace(one, layer="another")])


@pytest.mark.parametrize(("unit", "words"), [("", "without an id"), ("\ud800", "UTF-8")])
def test_a_unit_that_has_no_id_is_refused(unit: str, words: str) -> None:
    with pytest.raises(ExperimentError, match=words):
        variant(DEFINITION, unit)


# exposures ---------------------------------------------------------------------------------------
def exposed(*rows: tuple[str, str, int, bool]) -> Any:
    unit, name, day, bot = zip(*rows, strict=True) if rows else ((),) * 4
    at = [np.datetime64("2026-11-01") + np.timedelta64(one, "D") for one in day]
    return units_of(unit, name, np.array(at, dtype="datetime64[us]"), bot, DEFINITION.variants)


def test_every_unit_counts_once_and_who_is_left_out_is_counted() -> None:
    found = exposed(
        ("b", "free", 3, False),
        ("a", "control", 2, False),
        ("a", "control", 1, False),
        ("robot", "free", 1, True),
        ("robot", "control", 2, False),
        ("mixed", "free", 1, False),
        ("mixed", "control", 1, False),
        ("odd", "third", 1, False),
        ("half odd", "third", 1, False),
        ("half odd", "free", 1, False),
    )
    assert found.unit.tolist() == ["a", "b"]
    assert found.variant.tolist() == [0, 1]
    assert found.first.astype("datetime64[D]").astype(str).tolist() == ["2026-11-02", "2026-11-04"]
    assert found.counts(2).tolist() == [1, 1]
    left = found.excluded
    assert (left.exposures, left.units) == (10, 6)
    assert (left.bots, left.mixed, left.strangers) == (1, 2, 1)
    assert left.mixed_share == pytest.approx(2 / 5) and left.is_doubtful


def test_nobody_was_exposed() -> None:
    found = exposed()
    assert found.counts(2).tolist() == [0, 0]
    assert found.excluded.mixed_share == 0 and not found.excluded.is_doubtful


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcdef"), st.sampled_from(["control", "free", "?"]),
            st.integers(0, 9), st.booleans(),
        ),
        max_size=30,
    )
)  # fmt: skip
def test_no_unit_is_lost_whatever_the_order(rows: list[tuple[str, str, int, bool]]) -> None:
    found = exposed(*rows)
    left = found.excluded
    assert len(found.unit) + left.bots + left.mixed + left.strangers == left.units
    assert left.units == len({row[0] for row in rows})
    again = exposed(*reversed(rows), *rows)
    assert again.unit.tolist() == found.unit.tolist()
    assert again.variant.tolist() == found.variant.tolist()
    assert again.first.tolist() == found.first.tolist()


def test_exposures_that_are_none_are_refused() -> None:
    with pytest.raises(ExperimentError, match="has no unit"):
        exposed(("", "free", 1, False))
    with pytest.raises(ExperimentError, match="has no time"):
        units_of(["a"], ["free"], ["NaT"], [False], DEFINITION.variants)
    with pytest.raises(ExperimentError, match="a unit, a variant, a time"):
        units_of(["a"], [], ["2026-11-01"], [False], DEFINITION.variants)


# readout -----------------------------------------------------------------------------------------
def readout(
    bought: Sequence[int] = (1_000, 1_300),
    returned: Sequence[int] = (600, 600),
    counts: Sequence[int] = (10_000, 10_000),
    definition: Definition = DEFINITION,
) -> Readout:
    """Units who bought and who returned, by variant."""
    random = np.random.default_rng(7)
    moments = {}
    for name, count, buyers, returners in zip(
        definition.variants, counts, bought, returned, strict=True
    ):
        moments["bought", name] = Moments.of_proportion(buyers, count)
        moments["returned", name] = Moments.of_proportion(returners, count)
        moments["revenue", name] = Moments.of_values(random.gamma(2, 30, count))
    return read(definition, counts, moments)


def test_a_readout_says_all_of_each_metric() -> None:
    found = readout()
    (primary,) = found.of("primary")
    assert (primary.control, primary.treatment) == pytest.approx((0.1, 0.13))
    assert 0 < primary.low < primary.difference < primary.high
    assert primary.low < primary.welch_low
    assert primary.lift == pytest.approx(0.3) and primary.chance_to_win is not None
    assert primary.chance_to_win > 0.999
    assert primary.adjusted_p_value == primary.p_value < 0.001
    assert primary.unknown is None
    (guardrail,) = found.of("guardrail", "free")
    assert guardrail.low < 0 < guardrail.high
    (worse,) = readout(returned=(600, 700)).of("guardrail")
    assert worse.difference > 0
    assert (worse.gain_low, worse.gain_high) == (-worse.high, -worse.low)
    assert worse.relative_gain == -(worse.lift or 0)
    assert worse.relative_gain_low == -(worse.lift_high or 0)
    (secondary,) = found.of("secondary")
    assert secondary.metric is REVENUE and secondary.p_value > 0.05
    assert found.of("primary", "nobody") == []
    assert found.mismatch_p_value == 1
    assert found.chi_squared_p_value == 1


def test_alpha_is_shared_by_the_treatments() -> None:
    three = replace(DEFINITION, variants=("control", "free", "cheap"), split=(4_000, 3_000, 3_000))
    counts = (8_000, 6_000, 6_000)
    found = readout((800, 780, 600), (240, 180, 180), counts, three)
    free, cheap = found.of("primary")
    alone = readout(
        (800, 780), (240, 180), counts[:2], replace(DEFINITION, split=(5_714, 4_286))
    ).of("primary")[0]
    assert free.difference == pytest.approx(alone.difference)
    assert free.low < alone.low and free.high > alone.high
    assert free.adjusted_p_value == pytest.approx(2 * free.p_value)
    assert cheap.adjusted_p_value == cheap.p_value == 1


@pytest.mark.parametrize(
    ("bought", "counts", "reason"),
    [
        ((9, 20), (99, 10_000), "too_few_units"),
        ((0, 0), (0, 0), "too_few_units"),
        ((9, 90), (10_000, 10_000), "too_few_events"),
        ((9_995, 90), (10_000, 10_000), "too_few_events"),
    ],
)
def test_of_too_little_nothing_is_said_and_why(
    bought: Sequence[int], counts: Sequence[int], reason: str
) -> None:
    (primary,) = readout(bought, (0, 0), counts).of("primary")
    assert primary.unknown == reason
    assert (primary.low, primary.high, primary.p_value) == (-np.inf, np.inf, 1)
    assert primary.lift is primary.chance_to_win is primary.loss_of_choosing is None


def test_values_that_are_all_the_same_say_nothing() -> None:
    flat = replace(DEFINITION, primary=REVENUE, guardrails=(), secondary=())
    same = Moments.of_values([3.0] * 200)
    found = read(flat, (200, 200), {("revenue", name): same for name in flat.variants})
    assert found.comparisons[0].unknown == "no_variation"


def test_a_readout_without_its_values_or_of_too_many_is_refused() -> None:
    with pytest.raises(ExperimentError, match="no values of bought for control"):
        read(DEFINITION, (10, 10), {})
    with pytest.raises(ExperimentError, match="a count for each"):
        read(DEFINITION, (10,), {})
    some = {("bought", name): Moments.of_proportion(5, 20) for name in DEFINITION.variants}
    with pytest.raises(ExperimentError, match="20 units of control; there are 10"):
        read(DEFINITION, (10, 20), some)


# what follows ------------------------------------------------------------------------------------
RUNNING = Run()


def reading(
    days: int = 14, version: int | None = None, open_days: int = 0, **given: Any
) -> Reading:
    """After `days` full days, of which the last `open_days` can be restated."""
    last = START + timedelta(days=days - 1)
    outside = {name: given.pop(name) for name in ("spent", "disapproved_ads") if name in given}
    return Reading(
        version=days if version is None else version,
        last_day=last,
        readout=readout(**given),
        open_days=frozenset(last - timedelta(days=back) for back in range(open_days)),
        **outside,
    )


def test_a_winner_is_proposed_and_only_where_it_may_be_promoted_by_itself() -> None:
    step = on_reading(DEFINITION, RUNNING, reading())
    assert (step.after.state, step.after.winner, step.cause) == (State.PROPOSED, "free", "winner")
    assert step.has_changed
    step = on_reading(DEFINITION, RUNNING, reading(), is_automatic=True)
    assert (step.after.state, step.after.winner) == (State.PROMOTED, "free")


@pytest.mark.parametrize(
    "given",
    [
        {"days": 6},
        {"open_days": 1},
        {"open_days": 7},
        {"bought": (1_000, 1_050)},
        {"returned": (60, 63), "counts": (1_500, 1_500)},
    ],
    ids=["6 days", "yesterday open", "a week open", "not certain", "guardrail in danger"],
)
def test_nothing_is_promoted_before_all_of_it_holds(given: dict[str, Any]) -> None:
    if "counts" in given:
        given = {**given, "bought": (150, 300)}
    for is_automatic in (False, True):
        step = on_reading(DEFINITION, RUNNING, reading(**given), is_automatic=is_automatic)
        assert step.after.state is State.RUNNING and step.cause is None
        assert not step.has_changed


@pytest.mark.parametrize(
    ("given", "cause", "subjects"),
    [
        ({"counts": (10_000, 9_000)}, "sample_ratio_mismatch", ()),
        ({"spent": Decimal("1000.01")}, "overspend", ()),
        ({"disapproved_ads": ("ad-7",)}, "ad_disapproved", ("ad-7",)),
    ],
)
@pytest.mark.parametrize("state", [State.RUNNING, State.PAUSED, State.PROPOSED])
def test_an_alarm_stops_at_once_in_every_state(
    state: State, given: dict[str, Any], cause: str, subjects: tuple[str, ...]
) -> None:
    run = Run(state, winner="free" if state is State.PROPOSED else None)
    for is_automatic in (False, True):
        step = on_reading(DEFINITION, run, reading(days=1, **given), is_automatic=is_automatic)
        assert (step.after.state, step.cause, step.subjects) == (State.STOPPED, cause, subjects)
        assert step.after.winner is None


def test_cells_of_a_platform_reach_whom_they_reach_and_that_is_no_mismatch() -> None:
    theirs = replace(DEFINITION, assigned_by="platform")
    found = readout(counts=(10_000, 9_000), definition=theirs)
    assert found.mismatch_p_value is found.chi_squared_p_value is None
    step = on_reading(theirs, RUNNING, replace(reading(days=1), readout=found))
    assert step.after.state is State.RUNNING


def test_what_was_spent_to_the_cent_of_the_cap_is_no_overspend() -> None:
    step = on_reading(DEFINITION, RUNNING, reading(days=1, spent=Decimal("1000.00")))
    assert step.after.state is State.RUNNING
    uncapped = replace(DEFINITION, spend_cap=None)
    step = on_reading(uncapped, RUNNING, reading(days=1, spent=Decimal(10**9)))
    assert step.after.state is State.RUNNING


def test_a_broken_guardrail_pauses_even_a_winner() -> None:
    step = on_reading(DEFINITION, RUNNING, reading(returned=(600, 1_000)), is_automatic=True)
    assert (step.after.state, step.cause) == (State.PAUSED, "guardrail_broken")
    assert step.subjects == ("returned",)


def test_a_guardrail_that_may_be_broken_by_chance_pauses_nothing() -> None:
    given: dict[str, Any] = {"counts": (1_500, 1_500), "bought": (150, 150)}
    uncertain = readout(returned=(15, 25), **given).of("guardrail")[0]
    assert (uncertain.relative_gain or 0) < -0.5 and uncertain.gain_high > 0
    step = on_reading(DEFINITION, RUNNING, reading(returned=(15, 25), **given))
    assert step.after.state is State.RUNNING
    slight = on_reading(DEFINITION, RUNNING, reading(returned=(2_000, 2_400)))
    assert slight.after.state is not State.PAUSED


def test_treatments_that_are_all_worse_pause() -> None:
    step = on_reading(DEFINITION, RUNNING, reading(bought=(1_300, 1_000)))
    assert (step.after.state, step.cause, step.subjects) == (State.PAUSED, "all_worse", ("free",))


def test_a_paused_experiment_goes_on_only_by_a_person() -> None:
    paused = on_reading(DEFINITION, RUNNING, reading(days=3, returned=(600, 1_000))).after
    still = on_reading(DEFINITION, paused, reading(days=14), is_automatic=True)
    assert still.after.state is State.PAUSED
    again = on_person(still.after, "resume", "ann").after
    assert on_reading(DEFINITION, again, reading(days=15)).after.state is State.PROPOSED


def test_a_proposal_that_does_not_hold_any_more_is_taken_back() -> None:
    proposed = on_reading(DEFINITION, RUNNING, reading(days=14)).after
    step = on_reading(DEFINITION, proposed, reading(days=15, bought=(1_000, 1_050)))
    assert (step.after.state, step.cause) == (State.RUNNING, "no_longer_won")
    same = on_reading(DEFINITION, proposed, reading(days=15))
    assert not same.has_changed and same.cause is None and same.after.version == 15


def test_an_experiment_ends_after_its_days_once_they_are_closed() -> None:
    given = {"bought": (1_000, 1_050)}
    assert on_reading(DEFINITION, RUNNING, reading(27, **given)).after.state is State.RUNNING
    late = reading(28, open_days=2, **given)
    assert on_reading(DEFINITION, RUNNING, late).after.state is State.RUNNING
    step = on_reading(DEFINITION, RUNNING, reading(28, **given))
    assert (step.after.state, step.cause) == (State.ENDED, "planned_end")
    assert on_reading(DEFINITION, RUNNING, reading(28)).after.state is State.PROPOSED


def test_a_reading_of_old_or_twice_changes_nothing() -> None:
    run = on_reading(DEFINITION, RUNNING, reading(days=5)).after
    for version in (4, 5):
        stale = reading(days=5, version=version, spent=Decimal(9_999))
        assert on_reading(DEFINITION, run, stale).after is run
    restated = reading(days=5, version=6, spent=Decimal(9_999))
    assert on_reading(DEFINITION, run, restated).after.state is State.STOPPED


def test_of_several_winners_the_surest_is_proposed() -> None:
    three = replace(DEFINITION, variants=("control", "free", "cheap"), split=(3_334, 3_333, 3_333))
    found = readout((1_000, 1_300, 1_400), (600,) * 3, (10_000,) * 3, three)
    assert decide.winner(three, replace(reading(), readout=found)) == "cheap"
    risky = readout((1_000, 1_300, 1_400), (600, 600, 800), (10_000,) * 3, three)
    assert decide.winner(three, replace(reading(), readout=risky)) == "free"


def test_an_approval_is_of_what_was_shown() -> None:
    proposed = on_reading(DEFINITION, RUNNING, reading(days=14)).after
    with pytest.raises(ExperimentError, match="a newer reading"):
        on_person(proposed, "approve", "ann", version=13)
    step = on_person(proposed, "approve", "ann", version=14)
    assert (step.after.state, step.after.winner, step.by) == (State.PROMOTED, "free", "ann")
    assert on_person(proposed, "reject", "ann").after == Run(State.RUNNING, 14)


WORDS = ("approve", "reject", "pause", "resume", "stop")


@pytest.mark.parametrize("state", sorted(FINAL))
def test_what_is_final_stays(state: State) -> None:
    run = Run(state, 3, "free" if state is State.PROMOTED else None)
    assert on_reading(DEFINITION, run, reading(spent=Decimal(9_999))).after is run
    for word in WORDS:
        with pytest.raises(ExperimentError, match=f"that is {state} cannot {word}"):
            on_person(run, word, "ann", version=3)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.sampled_from(WORDS), st.integers(0, 5)), max_size=12))
def test_whatever_happens_nobody_is_promoted_unproven(events: list[str | int]) -> None:
    kinds: list[dict[str, Any]] = [
        {},
        {"bought": (1_000, 1_050)},
        {"returned": (600, 1_000)},
        {"open_days": 3},
        {"days": 5},
        {"counts": (10_000, 9_000)},
    ]
    run, version, proven = RUNNING, 0, False
    for event in events:
        before = run
        if isinstance(event, int):
            version += 1
            run = on_reading(DEFINITION, run, reading(**{**kinds[event], "version": version})).after
            proven = run.state is State.PROPOSED
        else:
            try:
                run = on_person(run, event, "ann", version=version).after
            except ExperimentError:
                assert run is before
        if run.state is State.PROMOTED and before.state is not State.PROMOTED:
            assert proven and before.state is State.PROPOSED and run.winner == "free"
        if before.state in FINAL:
            assert run == before


# planning ----------------------------------------------------------------------------------------
def test_the_power_of_one_look_is_that_of_the_text_books() -> None:
    found = plan(Expected(0.1, kind="proportion"), 0.1, 2_000)
    # Two-sided z test of 10 % against 11 %: 14,750 a group for 80 %, by the usual formula.
    fixed = 2 * 14_750
    assert float(single_look(0.01, (0.1 * 0.9 + 0.11 * 0.89) / 14_750, 0.05)) == pytest.approx(
        0.8, abs=0.002
    )
    assert fixed < found.units < 2.2 * fixed
    assert found.power == pytest.approx(0.8, abs=0.002) and found.power_fixed > 0.9
    assert found.days == -(-found.units // 2_000) and found.tuning == found.units


def test_what_is_looked_at_daily_is_found_as_often_as_in_simulation() -> None:
    looks, repeats, difference, tuning = 20, 20_000, 0.05, 10_000
    n = 600 * np.arange(1, looks + 1)
    variance = 4 / n
    width = half_width(variance, n, 0.05, tuning)
    random = np.random.default_rng(11)
    steps = np.diff(1 / variance, prepend=0)
    walk = np.cumsum(random.normal(difference * steps, np.sqrt(steps), (repeats, looks)), axis=1)
    outside = np.maximum.accumulate(np.abs(walk * variance) > width, axis=1).mean(axis=0)
    computed = looked_at(difference, variance, width)
    assert computed == pytest.approx(outside, abs=4 * 0.5 / np.sqrt(repeats))
    at_the_end = single_look_always_valid(difference, variance[-1], n[-1], 0.05, tuning)
    assert computed[-1] > float(at_the_end)
    assert (np.diff(computed) >= -1e-9).all()


def test_the_power_under_no_effect_stays_below_alpha_for_ever() -> None:
    n = 500 * np.arange(1, 366)
    variance = 4 / n
    found = looked_at(0.0, variance, half_width(variance, n, 0.05, 20_000))
    assert 0 < found[-1] < 0.05


@pytest.mark.parametrize(("effect", "share"), [(0.05, 0.03), (0.3, 0.2)])
def test_smaller_effects_and_rarer_events_need_more(effect: float, share: float) -> None:
    expected = Expected(share, kind="proportion")
    units = plan(expected, effect, 10_000).units
    assert plan(expected, effect * 0.7, 10_000).units > units
    assert plan(Expected(share * 0.7, kind="proportion"), effect, 10_000).units > units


def test_values_from_before_and_an_even_split_save_units() -> None:
    plain = plan(Expected(20.0, 900.0), 0.05, 5_000)
    adjusted = plan(Expected(20.0, 900.0, correlation=0.6), 0.05, 5_000)
    assert adjusted.units / plain.units == pytest.approx(1 - 0.36, abs=0.03)
    assert plan(Expected(20.0, 900.0), 0.05, 5_000, split=(9_000, 1_000)).units > plain.units


def test_the_variance_of_a_treatment_is_that_of_its_changed_mean() -> None:
    assert Expected(0.2, kind="proportion").variances(0.5) == pytest.approx((0.16, 0.21))
    assert Expected(5.0, 9.0).variances(0.5) == pytest.approx((9.0, 13.5))
    assert Expected(5.0, 9.0, correlation=0.6).variances(-0.5) == pytest.approx((5.76, 2.88))


def test_a_plan_that_takes_more_than_a_year_says_so() -> None:
    assert plan(Expected(0.01, kind="proportion"), 0.02, 500).days is None


def test_the_power_of_a_definition_grows_with_its_days() -> None:
    found = of_definition(DEFINITION, Expected(0.1, kind="proportion"), 1_000)
    assert found.shape == (28,) and 0 < found[6] < found[-1] < 1
    three = replace(DEFINITION, variants=("control", "free", "cheap"), split=(4_000, 4_000, 2_000))
    assert of_definition(three, Expected(0.1, kind="proportion"), 1_000)[-1] < found[-1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mean": 0.0, "variance": 1.0}, "other than 0"),
        ({"mean": float("nan"), "variance": 1.0}, "other than 0"),
        ({"mean": 1.2, "kind": "proportion"}, "between 0 and 1"),
        ({"mean": 5.0}, "needs the variance"),
        ({"mean": 5.0, "variance": -1.0}, "needs the variance"),
        ({"mean": 5.0, "variance": 1.0, "correlation": 1.0}, "between −1 and 1"),
    ],
)
def test_what_no_plan_can_be_made_of_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ExperimentError, match=words):
        Expected(**given)


def test_effects_and_traffic_that_are_none_are_refused() -> None:
    expected = Expected(0.6, kind="proportion")
    for effect, traffic, words in (
        (0.0, 10.0, "other than 0"),
        (0.1, 0.0, "some units a day"),
        (0.9, 10.0, "changes by"),
    ):
        with pytest.raises(ExperimentError, match=words):
            plan(expected, effect, traffic)
    with pytest.raises(ExperimentError, match="more units than the one before"):
        looked_at(0.1, [0.1, 0.1], [1.0, 1.0])
