"""Experiments of which is known whether there is a difference: units by day, many tests at once.

Used by tests and by benchmarks/experiments.py, which prints the figures.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import numpy.typing as npt

from dmp_assets.ads.model.experiments import planning
from dmp_assets.ads.model.experiments.definition import SHARES, Definition, Kind, Metric
from dmp_assets.ads.model.experiments.effects import effect
from dmp_assets.ads.model.experiments.inference import always_valid, welch
from dmp_assets.ads.model.experiments.moments import Floats, Moments
from dmp_assets.ads.model.experiments.readout import LEAST_UNITS

LOOKS, PER_DAY = 28, 150
"""Daily looks, and new units a day of each variant."""

ALPHA = 0.05
Random = np.random.Generator


@dataclass(frozen=True)
class World:
    """A kind of metric: what is measured, how units behave, and what is known of it beforehand."""

    name: str
    metric: Metric
    lift: float
    is_growing: bool = False


WORLDS = (
    World("proportion", Metric("bought", "proportion"), 0.32),
    World("amount", Metric("revenue"), 0.45),
    World("amount, growing", Metric("revenue"), 0.45, is_growing=True),
    World("amount, adjusted", Metric("revenue", is_adjusted=True), 0.2),
    World("ratio", Metric("per_session", "ratio"), 0.48),
    World("ratio, adjusted", Metric("per_session", "ratio", is_adjusted=True), 0.2),
)


def units(random: Random, world: World, shape: tuple[int, ...], lift: float) -> list[Floats]:
    """The columns of a world's metric for new units; `lift` makes more of them buy.

    Where there is a time before, units are regulars: who bought more then buys more now.
    """
    is_adjusted = world.metric.is_adjusted
    keen = random.gamma(2.0, 0.5, shape).astype(np.float32)

    def money(chance: npt.NDArray[np.float32] | float) -> Floats:
        bought = random.random(shape, dtype=np.float32) < chance
        spent = np.zeros(shape)
        spent[bought] = random.lognormal(3.5, 0.8, int(bought.sum()))
        return spent * keen if is_adjusted else spent

    def sessions() -> Floats:
        return 1.0 + np.floor(2 * keen + random.random(shape, dtype=np.float32))

    now = (np.minimum(0.25 * keen, 0.7) if is_adjusted else 0.06) * (1 + lift)
    columns: dict[str, Callable[[], Floats]] = {
        "amount": lambda: money(now),
        "denominator": sessions,
        "amount_before": lambda: money(0.9 * keen),
        "denominator_before": sessions,
    }
    found = [columns[name]() for name in world.metric.columns]
    return [(found[0] > 0).astype(float)] if world.metric.kind == "proportion" else found


def looks(random: Random, world: World, tests: int, lift: float) -> Iterator[list[Moments]]:
    """Moments of control and treatment up to each day."""
    sides: list[Moments] = []
    if world.is_growing:
        yield from _growing(random, world, tests, lift)
        return
    for _ in range(LOOKS):
        today = [
            Moments.of_values(
                *units(random, world, (tests, PER_DAY), gain),
                is_binary=world.metric.kind == "proportion",
            )
            for gain in (0.0, lift)
        ]
        sides = [a + b for a, b in zip(sides, today, strict=True)] if sides else today
        yield sides


def _growing(random: Random, world: World, tests: int, lift: float) -> Iterator[list[Moments]]:
    """The same where each unit's amount goes on growing, by a 28th of what it would be a day."""
    kept = [np.zeros((tests, LOOKS * PER_DAY)) for _ in range(2)]
    for look in range(1, LOOKS + 1):
        there = look * PER_DAY
        for values, gain in zip(kept, (0.0, lift), strict=True):
            chance = 2 * 0.06 * (1 + gain) / LOOKS
            count = random.binomial(tests * there, chance)
            test, unit = random.integers(0, tests, count), random.integers(0, there, count)
            np.add.at(values, (test, unit), random.lognormal(3.5, 0.8, count))
        yield [Moments.of_values(values[:, :there]) for values in kept]


def definition(world: World, tuning: int) -> Definition:
    """An experiment that looks for the world's effect."""
    return Definition(
        advertiser_id="simulated",
        key="simulated",
        variants=("control", "treatment"),
        split=(SHARES // 2, SHARES // 2),
        primary=world.metric,
        least_effect=world.lift,
        tuning=tuning,
        starts_on=date(2026, 1, 1),
        days=LOOKS,
    )


def expected(world: World) -> planning.Expected:
    """What one would know before, from 400,000 units of the same kind without any effect."""
    random = np.random.default_rng(1)
    if world.is_growing:
        plain = replace(world, is_growing=False)
        return expected(plain)
    known = Moments.of_values(
        *units(random, world, (400_000,), 0.0), is_binary=world.metric.kind == "proportion"
    )
    kind: Kind = world.metric.kind
    mean = float(known.mean[0] / (known.mean[1] if kind == "ratio" else 1.0))
    # The variance of a difference from itself is twice that of one side, θ included.
    per_unit = float(effect(known, known, world.metric).variance) * 400_000 / 2
    return planning.Expected(mean, None if kind == "proportion" else per_unit, kind)


@dataclass(frozen=True)
class Called:
    """Shares of the tests in which a difference was ever called."""

    always_valid: float
    welch_daily: float
    welch_end: float


def called(seed: int, world: World, lift: float, tuning: int, tests: int) -> Called:
    """Look daily at `tests` experiments whose effect is `lift`, 0 for A/A tests."""
    random = np.random.default_rng(seed)
    ever, peeked = np.zeros(tests, dtype=bool), np.zeros(tests, dtype=bool)
    for sides in looks(random, world, tests, lift):
        if sides[0].count[0] < LEAST_UNITS:
            continue
        found = effect(sides[0], sides[1], world.metric)
        bounds = always_valid(found, ALPHA, tuning)
        ever |= (bounds.low > 0) | (bounds.high < 0)
        last = welch(found, ALPHA).p_value < ALPHA
        peeked |= last
    return Called(ever.mean(), peeked.mean(), last.mean())
