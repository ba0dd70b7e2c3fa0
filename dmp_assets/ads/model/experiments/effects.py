"""How a metric differs between two variants, and the variance of that difference.

Every metric is a smooth function of its amounts' means, so one delta method (Casella, Berger,
"Statistical Inference", 5.5.4) serves all: with v = A/D − θ · A₀/D₀ of a variant (D = D₀ = 1 but
for ratios; index 0: before exposure; θ = 0 but for adjusted metrics),

    absolute: v_t − v_c,      relative: (v_t − v_c) / |A_c / D_c|,

variance = Σ over both of ∇ᵀ Λ ∇ / n, Λ the covariance of a unit's amounts. Ratios: Deng, Knoblich,
Lu, "Applying the delta method in metric analytics" (KDD 2018). Adjustment: Deng, Xu, Kohavi,
Walker, "Improving the sensitivity of online controlled experiments by utilizing pre-experiment
data" (WSDM 2013). The relative baseline is not adjusted.
"""

from dataclasses import dataclass, replace

import numpy as np

from dmp_assets.ads.model.experiments.definition import ExperimentError, Metric
from dmp_assets.ads.model.experiments.moments import Floats, Moments


@dataclass(frozen=True, eq=False)
class Effect:
    """A difference between treatment and control; arrays of the moments' leading dimensions.

    `difference` and its `variance`, in the metric's unit or, where relative, as a share of the
    control's mean. `freedom`: Welch–Satterthwaite degrees of freedom. `count`: units of both.
    `variance` is NaN where nothing can be said: fewer than two units in a variant, all its values
    the same, no denominator, or a relative difference from a mean of 0.
    """

    difference: Floats
    variance: Floats
    freedom: Floats
    count: Floats

    @property
    def is_known(self) -> np.ndarray:
        """Where there is a variance."""
        return np.isfinite(self.variance)


@dataclass(frozen=True, eq=False)
class _Side:
    """A variant: A/D and A₀/D₀ with their gradients over the amounts' means."""

    value: Floats
    slope: Floats
    before: Floats
    before_slope: Floats
    moments: Moments


def effect(
    control: Moments, treatment: Moments, metric: Metric, *, relative: bool = False
) -> Effect:
    """How treatment differs from control, by moments whose amounts are `metric.columns`.

    Raises ExperimentError for moments of other amounts.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        old, new = _side(control, metric), _side(treatment, metric)
        theta = _theta(old, new, metric) if metric.is_adjusted else np.zeros(old.value.shape)
        difference = new.value - old.value - theta * (new.before - old.before)
        share = theta[..., None]
        slope_new = new.slope - share * new.before_slope
        slope_old = -(old.slope - share * old.before_slope)
        of_new = _variance(slope_new, new.moments)
        of_old = _variance(slope_old, old.moments)
        freedom = (of_new + of_old) ** 2 / (
            of_new**2 / (new.moments.count - 1) + of_old**2 / (old.moments.count - 1)
        )
        is_known = (of_new > 0) & (of_old > 0) & (np.minimum(control.count, treatment.count) > 1)
        if relative:
            base = np.abs(old.value)[..., None]
            turn = np.sign(old.value)[..., None] * old.slope
            slope_old = slope_old / base - difference[..., None] * turn / base**2
            of_new = of_new / base[..., 0] ** 2
            of_old = _variance(slope_old, old.moments)
            difference = difference / base[..., 0]
        variance = of_new + of_old
        is_known &= np.isfinite(variance) & np.isfinite(difference)
    return Effect(
        difference=np.where(is_known, difference, 0.0),
        variance=np.where(is_known, variance, np.nan),
        freedom=np.where(is_known, freedom, np.nan),
        count=old.moments.count + new.moments.count,
    )


def value(moments: Moments, metric: Metric) -> Floats:
    """The metric of a variant, not adjusted; NaN without units or without a denominator."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = _side(moments, metric).value
    known: Floats = np.where((moments.count > 0) & np.isfinite(found), found, np.nan)
    return known


def _side(moments: Moments, metric: Metric) -> _Side:
    k = len(metric.columns)
    if moments.mean.shape[-1] != k:
        raise ExperimentError(
            f"{metric.name} is made of {', '.join(metric.columns)}; the moments hold "
            f"{moments.mean.shape[-1]} amounts"
        )
    if moments.is_binary != (metric.kind == "proportion"):
        raise ExperimentError(f"{metric.name} is a {metric.kind}, its moments are of another kind")
    amounts = 2 if metric.kind == "ratio" else 1
    value, slope = _quotient(moments.mean, 0, amounts, k)
    if metric.is_adjusted:
        before, before_slope = _quotient(moments.mean, amounts, amounts, k)
    else:
        before, before_slope = np.zeros_like(value), np.zeros_like(slope)
    return _Side(value, slope, before, before_slope, moments)


def _quotient(mean: Floats, at: int, amounts: int, k: int) -> tuple[Floats, Floats]:
    """Amount `at` over the next one, or alone, and its gradient (…, k)."""
    slope = np.zeros((*mean.shape[:-1], k))
    if amounts == 1:
        slope[..., at] = 1.0
        return mean[..., at], slope
    over = mean[..., at + 1]
    quotient = mean[..., at] / over
    slope[..., at] = 1 / over
    slope[..., at + 1] = -quotient / over
    return quotient, slope


def _theta(old: _Side, new: _Side, metric: Metric) -> Floats:
    """θ that leaves least variance: covariance with the value before over that value's variance.

    Of an amount over the units of both variants together, of a ratio the sum over both variants,
    each around its own gradient.
    """
    if metric.kind == "ratio":
        parts = [(side, np.maximum(side.moments.count - 1, 0.0)) for side in (old, new)]
    else:
        both = replace(new, moments=old.moments + new.moments)
        parts = [(both, both.moments.count)]
    shared, own = np.zeros(old.value.shape), np.zeros(old.value.shape)
    for side, weight in parts:
        shared = shared + weight * _form(side.slope, side.moments, side.before_slope)
        own = own + weight * _form(side.before_slope, side.moments, side.before_slope)
    usable = np.isfinite(shared) & np.isfinite(own) & (own > 0)
    return np.divide(shared, own, out=np.zeros_like(own), where=usable)


def _form(left: Floats, moments: Moments, right: Floats) -> Floats:
    found: Floats = np.einsum("...i,...ij,...j->...", left, moments.covariance, right)
    return found


def _variance(slope: Floats, moments: Moments) -> Floats:
    """Variance of the variant's value, whose gradient is `slope`."""
    return _form(slope, moments, slope) / moments.count
