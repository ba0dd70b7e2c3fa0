"""The same difference as a belief: how probable it is that the treatment is better, and the loss.

A normal prior on the difference meets a normal likelihood. It is shown beside the always-valid
interval and decides nothing: a chance to win that is looked at daily goes astray as often as a p
value that is (Deng, Lu, Chen, "Continuous monitoring of A/B tests without pain", DSAA 2016, shows
for which prior it would not).
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from dmp_assets.ads.model.experiments.definition import ExperimentError
from dmp_assets.ads.model.experiments.effects import Effect
from dmp_assets.ads.model.experiments.moments import Floats


@dataclass(frozen=True)
class Prior:
    """What is believed of a difference beforehand: normal, in the difference's own unit."""

    mean: float = 0.0
    variance: float = 0.01

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean) and np.isfinite(self.variance) and self.variance > 0):
            raise ExperimentError("a prior needs a finite mean and a variance above 0")


@dataclass(frozen=True, eq=False)
class Posterior:
    """What is believed of a difference afterwards; NaN where nothing is known.

    `chance_to_win`: probability that the difference is above 0 (of a metric of which less is
    better: below 0). `loss_of_choosing` and `loss_of_leaving`: expected harm, in the difference's
    unit, of taking the treatment and of leaving it.
    """

    mean: Floats
    deviation: Floats
    low: Floats
    high: Floats
    chance_to_win: Floats
    loss_of_choosing: Floats
    loss_of_leaving: Floats


def posterior(
    effect: Effect, prior: Prior | None, *, sign: int = 1, mass: float = 0.95
) -> Posterior:
    """Belief in a difference; without a prior every difference was as probable as another.

    `sign`: −1 where less is better. `mass`: probability inside `low` to `high`.
    """
    precision = 1 / effect.variance
    weight = 0.0 if prior is None else 1 / prior.variance
    believed = 0.0 if prior is None else prior.mean
    variance = 1 / (precision + weight)
    mean = variance * (effect.difference * precision + believed * weight)
    deviation = np.sqrt(variance)
    gain = sign * mean
    reach = stats.norm.isf((1 - mass) / 2) * deviation
    bump = deviation * stats.norm.pdf(gain / deviation)
    return Posterior(
        mean=mean,
        deviation=deviation,
        low=mean - reach,
        high=mean + reach,
        chance_to_win=stats.norm.sf(0.0, gain, deviation),
        loss_of_choosing=bump - gain * stats.norm.cdf(-gain / deviation),
        loss_of_leaving=bump + gain * stats.norm.cdf(gain / deviation),
    )
