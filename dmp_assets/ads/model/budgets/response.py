"""What spend causes: adstock (effects last) and saturation (more earns less each), by a dictionary.

An effect of spend s on day t is a sum over a fixed set of half-lives and scales,

    Σ_j β_j · g_j(t),    g_j(t) = κ_j · (1 − exp(−a_j(t) / κ_j)),
    a_j(t) = (1 − θ_j) · Σ_k θ_j^k · s(t − k),    θ_j = 2^(−1 / half-life_j),    β_j ≥ 0.

Geometric adstock before saturation: Jin, Wang, Sun, Chan, Koehler, "Bayesian methods for media mix
modeling with carryover and shape effects" (Google, 2017). Theirs has one half-life and one shape a
channel, which makes fitting a search; a sum with coefficients that are not negative is linear in
them, and rising and concave as each of its parts is. So a curve in the shape of an S, which earns
nothing until much is spent, is drawn as the straight line to it: below the bend it is overrated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.signal import lfilter

from dmp_assets.ads.model.budgets.series import WEEK, Floats

HALF_LIVES = {1: (0.0, 2.0, 7.0, 21.0), 7: (0.0, 7.0, 21.0)}
"""Days until half of an effect is over, by the days of a row; 0: all of it on the day."""
SCALES = (0.5, 1.5, 6.0)
"""κ as a multiple of the mean spend where there is any; the last is close to a straight line."""


def decay(half_life: float, step: int) -> float:
    """Share of an adstock that is left after `step` days; 0 for a half-life of 0."""
    return 0.0 if half_life == 0 else float(2.0 ** (-step / half_life))


def adstock(spend: Floats, share: float, before: Floats) -> Floats:
    """Normalised geometric adstock along the rows of `spend`, shape (n, campaigns).

    `share` is what is left after one row, `before` (campaigns,) the adstock before the first. Of a
    constant spend it is that spend.
    """
    if share == 0.0:
        return spend
    stocked, _ = lfilter([1.0 - share], [1.0, -share], spend, axis=0, zi=share * before[np.newaxis])
    result: Floats = stocked
    return result


def saturated(stock: Floats, scale: Floats) -> Floats:
    """κ · (1 − exp(−a / κ)): 0 at 0, of slope 1 there, never above κ; 0 for negative stocks."""
    result: Floats = -scale * np.expm1(-np.maximum(stock, 0.0) / scale)
    return result


@dataclass(frozen=True, eq=False)
class Dictionary:
    """The parts g_j of every campaign, scaled so that a coefficient is a return on spend.

    `scale` (campaigns, J) is κ; `norm` (campaigns, J) divides g_j so that it sums to the spend
    that it was learnt on: Σ_j β_j is then what a unit of spend brought in the mean. `shares` (J,)
    is what each part keeps from row to row, `before` (campaigns,) the spend before the first row.
    """

    step: int
    shares: Floats
    scale: Floats
    norm: Floats
    before: Floats

    @property
    def parts(self) -> int:
        """J, the parts of one campaign."""
        return len(self.shares)

    @classmethod
    def learnt(cls, spend: Floats, step: int, scales: Sequence[float] = SCALES) -> Self:
        """The dictionary for a spend of shape (n, campaigns)."""
        positive = np.maximum(spend, 0.0)
        days = np.maximum((positive > 0).sum(axis=0), 1)
        typical = positive.sum(axis=0) / days
        typical[typical == 0] = 1.0
        lives = HALF_LIVES[step]
        shares = np.repeat([decay(life, step) for life in lives], len(scales))
        scale = np.outer(typical, np.tile(scales, len(lives)))
        before = positive[: max(4 * WEEK // step, 1)].mean(axis=0)
        bare = cls(step, shares, scale, np.ones_like(scale), before)
        raised = bare.columns(spend).sum(axis=0)
        norm = np.divide(
            raised, positive.sum(axis=0)[:, np.newaxis], where=raised > 0, out=np.ones_like(raised)
        )
        return cls(step, shares, scale, norm, before)

    def columns(self, spend: Floats) -> Floats:
        """g of each row, campaign and part: shape (n, campaigns, J)."""
        found = np.empty((*spend.shape, self.parts))
        for share in dict.fromkeys(self.shares.tolist()):
            at = np.flatnonzero(self.shares == share)
            stock = adstock(spend, share, self.before)[:, :, np.newaxis]
            found[:, :, at] = saturated(stock, self.scale[:, at]) / self.norm[:, at]
        return found

    def steady(self, daily: Floats) -> Floats:
        """What each part gives a day where the same is spent each day; (…, campaigns) → (…, J)."""
        per_row = daily[..., np.newaxis] * self.step
        return saturated(per_row, self.scale) / self.norm / self.step

    def marginal(self, daily: Floats) -> Floats:
        """The slope of `steady` by spend: what one more unit a day adds."""
        per_row = np.maximum(daily, 0.0)[..., np.newaxis] * self.step
        slope: Floats = np.exp(-per_row / self.scale) / self.norm
        return slope
