"""What `benchmarks/experiments.py` prints, at a size for every day: calls, power, alarms."""

import numpy as np
import pytest

from dmp_assets.ads.model.experiments import planning
from tests.support import ad_accounts
from tests.support import simulated_experiments as simulated

TUNING = 2 * simulated.LOOKS * simulated.PER_DAY
TESTS = 300
FEW = {"proportion", "amount", "ratio, adjusted"}
WORLDS = [world for world in simulated.WORLDS if world.name in FEW]


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_what_is_looked_at_daily_is_called_by_peeking_and_hardly_ever_by_bounds_that_hold(
    world: simulated.World,
) -> None:
    found = simulated.called(1, world, 0.0, TUNING, TESTS)
    assert found.always_valid <= 0.05
    assert found.welch_daily > 0.15
    assert 0.01 < found.welch_end < 0.1


def test_an_effect_is_found_as_often_as_the_calculator_says() -> None:
    world = WORLDS[0]
    power = planning.of_definition(
        simulated.definition(world, TUNING), simulated.expected(world), 2 * simulated.PER_DAY
    )[-1]
    found = simulated.called(2, world, world.lift, TUNING, TESTS)
    assert found.always_valid == pytest.approx(power, abs=4 * 0.5 / np.sqrt(TESTS))


@pytest.mark.parametrize("kind", ad_accounts.JUDGES)
def test_quiet_accounts_are_left_alone_and_incidents_of_most_are_found(kind: str) -> None:
    random = np.random.default_rng(3)
    judge, (_, spoilt) = ad_accounts.JUDGES[kind], ad_accounts.INCIDENTS[kind]
    alarms, found = 0, 0
    for _ in range(12):
        one = ad_accounts.account(random)
        shares = ad_accounts.learned(one, ad_accounts.DAYS - ad_accounts.JUDGED, random)
        days = range(ad_accounts.DAYS - 30, ad_accounts.DAYS)
        alarms += any(judge(one, at, random, shares) is not None for at in days)
        found += spoilt(one, ad_accounts.DAYS - 1, random, shares) is not None
    assert alarms <= 4
    assert found >= 4
