"""Experiments, mismatches and notices against what is true by construction, as Markdown.

    .venv/bin/python -m benchmarks.experiments               # all of it
    .venv/bin/python -m benchmarks.experiments experiments   # or one part: mismatch, notices
    .venv/bin/python -m benchmarks.experiments notices --seed 7

Experiments: 2,000 simulated tests of each kind of metric, looked at on each of 28 days. A/A tests
have no difference: how often is one ever called? In the others the treatment has the effect for
which the calculator (`planning.of_definition`) says a power; the share that is called is beside
it. Amounts are money of the few who buy, with a heavy tail; "growing" counts what users have
bought so far, as most tools do, so old users' values change from look to look.
Mismatch: a part of one variant's units is lost.
Notices: quiet accounts of all sizes with weekdays, drifts, days that are alike, more noise than
chance alone, and orders that come in over 28 days; then the same accounts with an incident on
their last days. The thresholds of `dmp_assets/ads/model/notices/detect.py` were chosen on other
seeds, 100 and 101.
"""

import argparse
import time
from collections.abc import Callable
from datetime import date, timedelta

import numpy as np

from dmp_assets.ads.model.experiments import planning
from dmp_assets.ads.model.experiments.effects import Effect
from dmp_assets.ads.model.experiments.inference import always_valid, benjamini_hochberg, holm
from dmp_assets.ads.model.experiments.mismatch import (
    ALARM,
    ALARM_OF_ONE_LOOK,
    at_any_time,
    chi_squared,
)
from dmp_assets.ads.model.experiments.moments import Floats
from tests.support import ad_accounts
from tests.support import simulated_experiments as simulated
from tests.support.ad_accounts import DAYS, JUDGED
from tests.support.simulated_experiments import ALPHA, LOOKS

TESTS, ACCOUNTS = 2_000, 150
"""Experiments of each kind, and ad accounts."""


def experiments(seed: int) -> None:
    tuning = 2 * simulated.LOOKS * simulated.PER_DAY
    print(
        "| metric | A/A: ever called, always valid | by Welch looked at daily | "
        "by Welch at the end | effect | power of the calculator | found |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    for place, world in enumerate(simulated.WORLDS):
        same = simulated.called(seed + place, world, 0.0, tuning, TESTS)
        power = planning.of_definition(
            simulated.definition(world, tuning), simulated.expected(world), 2 * simulated.PER_DAY
        )[-1]
        if world.is_growing:
            shown, found = "", ""
        else:
            true = simulated.called(seed + 50 + place, world, world.lift, tuning, TESTS)
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
        fixed = chi_squared(arrivals, (1, 1)) < ALARM_OF_ONE_LOOK
        print(
            f"| {lost:.0%} | {sequential.any(axis=1).mean():.2%} | "
            f"{sequential[:, :7].any(axis=1).mean():.2%} | {fixed.any(axis=1).mean():.2%} |"
        )
    print()


# notices ----------------------------------------------------------------------------------------
def notices(seed: int) -> None:
    random = np.random.default_rng(seed)
    accounts = [ad_accounts.account(random) for _ in range(ACCOUNTS)]
    complete = [ad_accounts.learned(one, DAYS - JUDGED, random) for one in accounts]
    months = ACCOUNTS * JUDGED / 30
    print(
        "| kind | false alarms per account and month | days that are false | incident | found |\n"
        "| --- | --- | --- | --- | --- |"
    )
    everything = 0
    for kind, judge in ad_accounts.JUDGES.items():
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
        incident, spoilt = ad_accounts.INCIDENTS[kind]
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
