"""Experiments, mismatches and notices against what is true by construction, as Markdown.

    .venv/bin/python benchmarks/experiments.py               # all of it
    .venv/bin/python benchmarks/experiments.py experiments   # or one part: mismatch, notices
    .venv/bin/python benchmarks/experiments.py notices --seed 7

Experiments: 2,000 simulated tests of each kind of metric, looked at on each of 28 days. A/A tests
have no difference: how often is one ever called? In the others the treatment has the effect for
which the calculator (`planning.of_definition`) says a power; the share that is called is beside
it. Amounts are money of the few who buy, with a heavy tail; "growing" counts what users have
bought so far, as most tools do, so old users' values change from look to look.
Mismatch: a part of one variant's units is lost.
Notices: quiet accounts of all sizes with weekdays, drifts, days that are alike, more noise than
chance alone, and orders that come in over 28 days; then the same accounts with an incident on
their last days. The thresholds of `dmp_assets/ads/model/notices/detect.py` were chosen on other
seeds, 100 to 104.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from dmp_assets.ads.model.experiments import planning
from dmp_assets.ads.model.experiments.definition import SHARES, Definition, Kind, Metric
from dmp_assets.ads.model.experiments.effects import Effect, effect
from dmp_assets.ads.model.experiments.inference import (
    always_valid,
    benjamini_hochberg,
    holm,
    welch,
)
from dmp_assets.ads.model.experiments.mismatch import ALARM, at_any_time, chi_squared
from dmp_assets.ads.model.experiments.moments import Floats, Moments
from dmp_assets.ads.model.experiments.readout import LEAST_UNITS
from dmp_assets.ads.model.notices import detect
from dmp_assets.ads.model.notices.detect import Finding, Subject
from dmp_assets.ads.model.notices.series import Daily, completeness

TESTS, LOOKS, PER_DAY = 2_000, 28, 150
"""Experiments of a kind, daily looks, new units a day of each variant."""

ALPHA = 0.05
Random = np.random.Generator
START = date(2026, 1, 1)


# experiments -------------------------------------------------------------------------------------
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
    return Definition(
        advertiser_id="simulated",
        key="simulated",
        variants=("control", "treatment"),
        split=(SHARES // 2, SHARES // 2),
        primary=world.metric,
        least_effect=world.lift,
        tuning=tuning,
        starts_on=START,
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
    wrongly_signed: float


def called(seed: int, world: World, lift: float, tuning: int) -> Called:
    random = np.random.default_rng(seed)
    ever, peeked = np.zeros(TESTS, dtype=bool), np.zeros(TESTS, dtype=bool)
    worse = np.zeros(TESTS, dtype=bool)
    for sides in looks(random, world, TESTS, lift):
        if sides[0].count[0] < LEAST_UNITS:
            continue
        found = effect(sides[0], sides[1], world.metric)
        bounds = always_valid(found, ALPHA, tuning)
        ever |= (bounds.low > 0) | (bounds.high < 0)
        worse |= bounds.high < 0
        last = welch(found, ALPHA).p_value < ALPHA
        peeked |= last
    return Called(ever.mean(), peeked.mean(), last.mean(), worse.mean())


def experiments(seed: int) -> None:
    tuning = 2 * LOOKS * PER_DAY
    print(
        "| metric | A/A: ever called, always valid | by Welch looked at daily | "
        "by Welch at the end | effect | power of the calculator | found |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    for place, world in enumerate(WORLDS):
        same = called(seed + place, world, 0.0, tuning)
        power = planning.of_definition(definition(world, tuning), expected(world), 2 * PER_DAY)[-1]
        if world.is_growing:
            shown, found = "", ""
        else:
            true = called(seed + 50 + place, world, world.lift, tuning)
            shown, found = f"{power:.1%}", f"{true.always_valid:.1%}"
        print(
            f"| {world.name} | {same.always_valid:.2%} | {same.welch_daily:.1%} | "
            f"{same.welch_end:.1%} | {f'{world.lift:+.0%}' if shown else ''} | {shown} | {found} |",
            flush=True,
        )
    _families(seed)


def _families(seed: int) -> None:
    """Several treatments and several metrics at once."""
    random = np.random.default_rng(seed + 90)
    n, tuning = 200 * np.arange(1, LOOKS + 1), LOOKS * 400
    step = random.normal(0, np.sqrt(200), (TESTS, 4, LOOKS)).cumsum(axis=-1) / n
    any_called = np.zeros(TESTS, dtype=bool)
    for look in range(LOOKS):
        p = _p_values(step[:, 1:, look] - step[:, :1, look], 2 / n[look], 2 * n[look], tuning)
        any_called |= (holm(p) <= ALPHA).any(axis=-1)
    share = any_called.mean()
    print(f"\nThree treatments like the control, Holm: any ever called in {share:.2%}")

    truth = np.array([0.0] * 7 + [0.08] * 3)
    drift = (
        truth[None, :, None]
        + random.normal(0, np.sqrt(400), (TESTS, 10, LOOKS)).cumsum(axis=-1) / n
    )
    p = _p_values(drift[..., -1], 2 / n[-1], 2 * n[-1], tuning)
    chosen = benjamini_hochberg(p) <= ALPHA
    false = (chosen & (truth == 0)).sum(axis=-1) / np.maximum(chosen.sum(axis=-1), 1)
    print(
        f"Ten secondary metrics of which three differ, Benjamini–Hochberg: {false.mean():.2%} of "
        f"those called are false, {(chosen & (truth > 0)).sum() / (3 * TESTS):.0%} of the true are "
        "found\n"
    )


def _p_values(difference: Floats, variance: float, count: float, tuning: int) -> Floats:
    full = np.full(difference.shape, 1.0)
    return always_valid(
        Effect(difference, full * variance, full * count, full * count), ALPHA, tuning
    ).p_value


# mismatch ----------------------------------------------------------------------------------------
def mismatch(seed: int) -> None:
    """Shares of 2,000 experiments of 100,000 units over 28 days in which the alarm ever rang."""
    random = np.random.default_rng(seed)
    print(
        "| lost of one variant | alarm at any time | within 7 days | χ² looked at daily |\n"
        "| --- | --- | --- | --- |"
    )
    for lost in (0.0, 0.01, 0.02, 0.03, 0.05, 0.1):
        arrivals = random.poisson(
            [100_000 / LOOKS / 2, 100_000 / LOOKS / 2 * (1 - lost)], (TESTS, LOOKS, 2)
        ).cumsum(axis=1)
        sequential = at_any_time(arrivals, (1, 1)) < ALARM
        fixed = chi_squared(arrivals, (1, 1)) < ALARM
        print(
            f"| {lost:.0%} | {sequential.any(axis=1).mean():.2%} | "
            f"{sequential[:, :7].any(axis=1).mean():.2%} | {fixed.any(axis=1).mean():.2%} |"
        )
    print()


# notices -----------------------------------------------------------------------------------------
ACCOUNTS, DAYS, JUDGED, OPEN = 150, 150, 60, 28


@dataclass(frozen=True)
class Account:
    """A quiet account by day: spend, clicks, the orders that it comes to, and a forecast."""

    spend: Floats
    clicks: Floats
    orders: Floats
    arriving: Floats
    """Share of a day's orders that is known at each age."""
    roas: Floats
    low: Floats
    high: Floats


def account(random: Random) -> Account:
    day = np.arange(DAYS)
    week = np.exp(random.normal(0, 0.2, 7))[day % 7]
    level = random.lognormal(5.5, 1.0) * np.exp(day * random.normal(0, 0.002))
    spend = level * week * np.exp(_alike(random, 0.6, 0.12) + random.normal(0, 0.08, DAYS))
    clicks = np.round(spend / random.uniform(0.3, 1.2))
    cost = random.lognormal(3.2, 0.5)
    keen = np.exp(random.normal(0, 0.1, 7))[day % 7] * np.exp(_alike(random, 0.5, 0.12))
    orders = random.poisson(spend / cost * keen).astype(float)
    arriving = 1 - random.uniform(0.3, 0.7) * np.exp(-np.arange(OPEN) / random.uniform(1.5, 4))
    error = _alike(random, 0.5, 0.2)
    middle = 2.5 * week
    return Account(
        spend, clicks, orders, arriving, middle * np.exp(error),
        middle * np.exp(-1.2816 * 0.2), middle * np.exp(1.2816 * 0.2),
    )  # fmt: skip


def _alike(random: Random, again: float, deviation: float) -> Floats:
    """A stationary series whose neighbours are alike (AR 1)."""
    shocks = random.normal(0, deviation * np.sqrt(1 - again**2), DAYS)
    found = np.empty(DAYS)
    last = random.normal(0, deviation)
    for at, shock in enumerate(shocks):
        last = again * last + shock
        found[at] = last
    return found


def as_seen(one: Account, at: int, random: Random) -> tuple[Daily, Daily, Daily]:
    """Spend, clicks and orders on the morning after the day `at`."""
    ages = at - np.arange(at + 1)
    known = np.where(ages < OPEN, one.arriving[np.minimum(ages, OPEN - 1)], 1.0)
    seen = random.binomial(one.orders[: at + 1].astype(int), known).astype(float)
    return (
        Daily.of(START, one.spend[: at + 1]),
        Daily.of(START, one.clicks[: at + 1]),
        Daily.of(START, seen, open_days=OPEN),
    )


def learned(one: Account, until: int, random: Random) -> Floats:
    """How complete a day is at each age, from the 28 days that were closed before the judging."""
    final = one.orders[until - 2 * OPEN : until - OPEN]
    seen = random.binomial(final.astype(int)[:, None], one.arriving[None, :])
    return completeness(seen, final)


Judge = Callable[[Account, int, Random, Floats], Finding | None]
WHO = Subject("simulated", "account")


def _spike(one: Account, at: int, random: Random, complete: Floats) -> Finding | None:
    return detect.spend_spike(WHO, Daily.of(START, one.spend[: at + 1]), at)


def _cost(one: Account, at: int, random: Random, complete: Floats) -> Finding | None:
    spend, _, orders = as_seen(one, at, random)
    return detect.cost_per_order_spike(WHO, spend, orders, at, complete=complete)


def _broken(one: Account, at: int, random: Random, complete: Floats) -> Finding | None:
    return detect.tracking_broken(WHO, *as_seen(one, at, random), at, complete=complete)


def _roas(one: Account, at: int, random: Random, complete: Floats) -> Finding | None:
    closed = Daily.of(START, one.roas[: at + 1])
    return detect.outside_forecast(
        WHO, "roas_outside_forecast", closed, one.low[: at + 1], one.high[: at + 1], at, level=0.8
    )


def _pacing(one: Account, at: int, random: Random, complete: Floats) -> Finding | None:
    """Flights of 30 days whose budget is what they will have spent."""
    begun = at - at % 30
    if begun + 30 > DAYS:
        return None
    budget = float(one.spend[begun : begun + 30].sum())
    days = START + timedelta(begun), START + timedelta(begun + 29)
    return detect.pacing(WHO, Daily.of(START, one.spend[: at + 1]), at, budget, *days)


def _used_up(one: Account, at: int, random: Random, complete: Floats) -> Finding | None:
    """A budget of a tenth more than is spent, as Meta paces one, read at a random hour."""
    passed = random.random()
    spent = one.spend[at] * passed ** random.uniform(0.8, 1.25)
    return detect.budget_used_up(WHO, START + timedelta(at), spent, 1.1 * one.spend[at], passed)


JUDGES: dict[str, Judge] = {
    "spend_spike": _spike,
    "cost_per_order_spike": _cost,
    "tracking_broken": _broken,
    "roas_outside_forecast": _roas,
    "budget_used_up": _used_up,
    "pacing": _pacing,
}


def _changed(judge: Judge, **factors: float) -> Judge:
    """The judgement of the last day of the same account with its last days multiplied.

    `factors`: of a column, by `<column>_<days>`.
    """

    def judged(one: Account, at: int, random: Random, complete: Floats) -> Finding | None:
        columns = {}
        for name, factor in factors.items():
            column, _, days = name.rpartition("_")
            values = getattr(one, column).copy()
            values[-int(days) :] = np.floor(values[-int(days) :] * factor * 100) / 100
            if column == "orders":
                values = np.floor(values)
            columns[column] = values
        return judge(replace(one, **columns), at, random, complete)

    return judged


def _hasty(one: Account, at: int, random: Random, complete: Floats) -> Finding | None:
    spend = float(one.spend[at])
    return detect.budget_used_up(WHO, START + timedelta(at), spend, spend, 0.6)


def _short(one: Account, at: int, random: Random, complete: Floats) -> Finding | None:
    budget = 0.75 * float(one.spend[-30:].sum())
    days = START + timedelta(DAYS - 30), START + timedelta(DAYS - 1)
    return detect.pacing(WHO, Daily.of(START, one.spend[:-15]), DAYS - 16, budget, *days)


INCIDENTS: dict[str, tuple[str, Judge]] = {
    "spend_spike": ("three times the spend on one day", _changed(_spike, spend_1=3.0)),
    "cost_per_order_spike": ("orders fall to 30 % for 3 days", _changed(_cost, orders_3=0.3)),
    "tracking_broken": ("no conversion for 3 days", _changed(_broken, orders_3=0.0)),
    "roas_outside_forecast": ("40 % below for 7 days", _changed(_roas, roas_7=0.6)),
    "budget_used_up": ("gone at 14:24", _hasty),
    "pacing": ("budget of 30 days a quarter too small, at half-time", _short),
}


def notices(seed: int) -> None:
    random = np.random.default_rng(seed)
    accounts = [account(random) for _ in range(ACCOUNTS)]
    complete = [learned(one, DAYS - JUDGED, random) for one in accounts]
    months = ACCOUNTS * JUDGED / 30
    print(
        "| kind | false alarms per account and month | days that are false | incident | found |\n"
        "| --- | --- | --- | --- | --- |"
    )
    everything = 0
    for kind, judge in JUDGES.items():
        alarms = days = 0
        for one, shares in zip(accounts, complete, strict=True):
            known: date | None = None
            for at in range(DAYS - JUDGED, DAYS):
                found = judge(one, at, random, shares)
                if found is None:
                    continue
                days += 1
                # Told once while it goes on, as `delivery.planned` does.
                if known is None or found.since > known + timedelta(days=1):
                    alarms += 1
                known = found.day
        everything += alarms
        incident, spoilt = INCIDENTS[kind]
        hits = [
            spoilt(one, DAYS - 1, random, shares) is not None
            for one, shares in zip(accounts, complete, strict=True)
        ]
        print(
            f"| `{kind}` | {alarms / months:.3f} | {days / (ACCOUNTS * JUDGED):.2%} | {incident} | "
            f"{np.mean(hits):.0%} |",
            flush=True,
        )
    orders = sorted(float(one.orders.mean()) for one in accounts)
    print(
        f"\nAll kinds together: {everything / months:.2f} per account and month; accounts of "
        f"{orders[0]:.1f} to {orders[-1]:.0f} orders a day, {orders[len(orders) // 2]:.0f} in the "
        "middle.\n"
    )


PARTS: dict[str, Callable[[int], None]] = {
    "experiments": experiments,
    "mismatch": mismatch,
    "notices": notices,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all without any")
    parser.add_argument("--seed", type=int, default=2026)
    given = parser.parse_args()
    for name in given.parts or PARTS:
        began = time.perf_counter()
        print(f"## {name}\n")
        PARTS[name](given.seed)
        print(f"({time.perf_counter() - began:.0f} s)\n")


if __name__ == "__main__":
    main()
