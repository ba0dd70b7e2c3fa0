"""What is believed of a channel's return before its own series is looked at.

A return is the target that a unit of spend brought in the mean. Three sources say something of it:
a default, insights pooled over other advertisers (`Belief`), and experiments (`Measured`).
"""

from dataclasses import dataclass
from datetime import date

import numpy as np

from dmp_assets.ads.model.budgets.series import Floats, Integers
from dmp_assets.platform.base.errors import GivenError

_CONCENTRATION = 4.0
"""Of the Dirichlet distribution over a curve's parts: lower lets single parts stand out."""
_CAMPAIGN_SPREAD = 0.4
"""Usual deviation of a campaign's return from its channel's, as a share of it."""


class BeliefError(GivenError):
    """A belief or an experiment is of no known channel, or its numbers cannot be."""


@dataclass(frozen=True)
class Belief:
    """A return as a log-normal distribution of this mean and standard deviation.

    The default of a target in contribution says that ads earn what they cost, give or take as
    much. Log-normal as in Meridian, whose default for revenue has the median 1.22 (Google,
    "Default prior distributions").
    """

    mean: float = 1.0
    deviation: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.mean < np.inf and 0 < self.deviation < np.inf):
            raise BeliefError(
                f"a return is believed to be positive, give or take something: not {self.mean} "
                f"± {self.deviation}"
            )

    def times(self, factor: float) -> "Belief":
        """The same in another unit of the target."""
        return Belief(self.mean * factor, self.deviation * factor)

    def draws(self, size: int, random: np.random.Generator) -> Floats:
        """Returns as they may be."""
        return _log_normal(self.mean, self.deviation, size, random)


@dataclass(frozen=True)
class Measured:
    """What an experiment found: days with another spend in one channel, all else equal.

    From `start` to before `end` the control spent `multiple` times what was spent (0: nothing).
    `effect` is the target with what was spent less that of the control, summed over the days and
    those after in which the effect lasts; `error` is its standard error.
    """

    channel: str
    start: date
    end: date
    multiple: float
    effect: float
    error: float

    def __post_init__(self) -> None:
        if not (np.isfinite([self.effect, self.error, self.multiple]).all() and self.error > 0):
            raise BeliefError("an experiment's effect is a number, its standard error positive")
        if self.start >= self.end or self.multiple < 0 or self.multiple == 1:
            raise BeliefError(
                "an experiment has days, and a control that spends another amount, not below 0"
            )


@dataclass(frozen=True, eq=False)
class Prior:
    """The beliefs of all channels as a distribution of coefficients, shape (campaigns, J).

    β_kj = R_k · D_j: the return R_k of a campaign is its channel's times a log-normal factor around
    1, D splits it over the parts (Dirichlet, one for the channel). `mean` and `precision` are those
    of the normal distribution with the same moments; campaigns of a channel are correlated in it,
    which is what pulls one with few data to the others.
    """

    beliefs: tuple[Belief, ...]
    channel_of: Integers
    parts: int

    @property
    def mean(self) -> Floats:
        """Mean of each coefficient, flat."""
        means = np.array([belief.mean for belief in self.beliefs])[self.channel_of]
        return np.repeat(means / self.parts, self.parts)

    @property
    def precision(self) -> Floats:
        """Inverse of the covariance of the flat coefficients."""
        size = len(self.channel_of) * self.parts
        found = np.zeros((size, size))
        parts = self.parts
        flat = np.full((parts, parts), 1.0 / parts**2)
        split = (np.eye(parts) / parts - flat) / (_CONCENTRATION + 1.0) + flat
        for channel, belief in enumerate(self.beliefs):
            members = np.flatnonzero(self.channel_of == channel)
            square = belief.mean**2 + belief.deviation**2
            own = self._spread(len(members)) ** 2
            returns = square * (np.ones((len(members), len(members))) + own * np.eye(len(members)))
            covariance = np.kron(returns, split) - belief.mean**2 * np.kron(
                np.ones_like(returns), flat
            )
            at = (members[:, np.newaxis] * parts + np.arange(parts)).ravel()
            found[np.ix_(at, at)] = np.linalg.inv(covariance)
        return found

    def draws(self, size: int, random: np.random.Generator) -> Floats:
        """Coefficients as they may be, shape (size, campaigns · J)."""
        found = np.zeros((size, len(self.channel_of), self.parts))
        for channel, belief in enumerate(self.beliefs):
            members = np.flatnonzero(self.channel_of == channel)
            returns = belief.draws(size, random)[:, np.newaxis]
            if spread := self._spread(len(members)):
                factor = _log_normal(1.0, spread, size * len(members), random)
                returns = returns * factor.reshape(size, -1)
            split = random.dirichlet(np.full(self.parts, _CONCENTRATION / self.parts), size)
            found[:, members] = returns[:, :, np.newaxis] * split[:, np.newaxis]
        return found.reshape(size, -1)

    @staticmethod
    def _spread(members: int) -> float:
        return _CAMPAIGN_SPREAD if members > 1 else 0.0


def _log_normal(mean: float, deviation: float, size: int, random: np.random.Generator) -> Floats:
    spread = np.log1p((deviation / mean) ** 2)
    drawn: Floats = random.lognormal(np.log(mean) - spread / 2, np.sqrt(spread), size)
    return drawn
