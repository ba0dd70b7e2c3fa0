"""Intervals and p values of a difference: at one fixed time, and at any time.

Always-valid: an asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas,
"Time-uniform central limit theory and asymptotic confidence sequences", arXiv 2103.06476, eq. 9).
Whoever looks every day, and stops whenever he likes, is misled in α of all experiments at most.
With n units of both variants, δ the difference, s² = variance · n:

    ρ = √((−2 ln α + ln(−2 ln α + 1)) / N*)
    half width = s · √(2 (nρ² + 1) / (n²ρ²) · ln(√(nρ² + 1) / α))
    p = min(1, 1/e),  e = exp(ρ² z / (2 (nρ² + 1))) / √(nρ² + 1),  z = n · δ² / variance
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from dmp_assets.ads.model.experiments.effects import Effect
from dmp_assets.ads.model.experiments.moments import Floats


@dataclass(frozen=True, eq=False)
class Inference:
    """Bounds of a difference and its two-sided p value; −∞, ∞ and 1 where nothing is known."""

    low: Floats
    high: Floats
    p_value: Floats


def rho(alpha: npt.ArrayLike, tuning: float) -> Floats:
    """ρ of the always-valid interval: narrowest at `tuning` units (N*)."""
    log = np.log(np.asarray(alpha, dtype=np.float64))
    found: Floats = np.sqrt((-2 * log + np.log(-2 * log + 1)) / tuning)
    return found


def half_width(
    variance: npt.ArrayLike, count: npt.ArrayLike, alpha: npt.ArrayLike, tuning: float
) -> Floats:
    """Half the width of the always-valid interval of a difference with this `variance`."""
    n = np.asarray(count, dtype=np.float64)
    mixed = n * rho(alpha, tuning) ** 2
    log = np.log(np.sqrt(mixed + 1) / np.asarray(alpha))
    found: Floats = np.sqrt(np.asarray(variance) * 2 * (mixed + 1) / mixed * log)
    return found


def always_valid(effect: Effect, alpha: npt.ArrayLike, tuning: float) -> Inference:
    """Bounds at level 1 − α and p value that hold at every look together."""
    with np.errstate(divide="ignore", invalid="ignore"):
        width = half_width(effect.variance, effect.count, alpha, tuning)
        mixed = effect.count * rho(alpha, tuning) ** 2
        squared = effect.difference**2 / effect.variance
        evidence = mixed * squared / (2 * (mixed + 1)) - np.log(mixed + 1) / 2
    return _of(effect, width, np.exp(-np.maximum(evidence, 0.0)))


def welch(effect: Effect, alpha: npt.ArrayLike) -> Inference:
    """Bounds and p value of Welch's t test: right for one look that was planned beforehand."""
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(effect.variance)
        width = stats.t.isf(np.asarray(alpha) / 2, effect.freedom) * error
        p_value = 2 * stats.t.sf(np.abs(effect.difference) / error, effect.freedom)
    return _of(effect, width, p_value)


def _of(effect: Effect, width: Floats, p_value: Floats) -> Inference:
    known = effect.is_known
    return Inference(
        low=np.where(known, effect.difference - width, -np.inf),
        high=np.where(known, effect.difference + width, np.inf),
        p_value=np.where(known, p_value, 1.0),
    )


def holm(p_values: npt.ArrayLike) -> Floats:
    """p values of m hypotheses, adjusted so that any false call among them has chance α at most.

    Holm, "A simple sequentially rejective multiple test procedure" (1979). Shape (…, m).
    """
    p = np.asarray(p_values, dtype=np.float64)
    m = p.shape[-1]
    order = np.argsort(p, axis=-1, kind="stable")
    stepped = np.take_along_axis(p, order, axis=-1) * (m - np.arange(m))
    adjusted = np.minimum(np.maximum.accumulate(stepped, axis=-1), 1.0)
    found = np.empty_like(p)
    np.put_along_axis(found, order, adjusted, axis=-1)
    return found


def benjamini_hochberg(p_values: npt.ArrayLike) -> Floats:
    """p values of m metrics, adjusted so that of those called a share α is false at most.

    Benjamini, Hochberg (1995); holds for metrics that are independent or move together.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not p.shape[-1]:
        return p
    found: Floats = stats.false_discovery_control(p, axis=-1, method="bh")
    return found
