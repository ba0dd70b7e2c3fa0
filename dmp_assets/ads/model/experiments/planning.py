"""How many units an experiment needs, and how likely it is to find what it looks for.

A difference that is looked at every day with an always-valid interval is a Brownian motion with
drift that may leave a widening band at each look. Its chance to do so is found by recursion over
the looks (Armitage, McPherson, Rowe, "Repeated significance tests on accumulating data", 1969):
the density of the score S = difference / variance is carried from look to look on the points of a
Gauss–Legendre rule inside the band, and what it loses has left the band.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from dmp_assets.ads.model.experiments.definition import SHARES, Definition, ExperimentError, Kind
from dmp_assets.ads.model.experiments.inference import half_width
from dmp_assets.ads.model.experiments.moments import Floats

_POINTS = 201
"""Of the rule; with 601 a year of daily looks has the same power to 6 digits."""

_MOST_UNITS = 10**12
_MOST_DAYS = 365
_MOST_LOOKS = 45
"""That a plan is made of; more hardly change its power."""

POWER = 0.8
"""The power that is planned for."""


@dataclass(frozen=True)
class Expected:
    """What is known of a metric before the experiment, from the same kind of units.

    `mean` and `variance` of a unit's value (of a proportion p (1 − p) follows from the mean; of a
    ratio the delta method's, per unit). `correlation` with the same units' values from before,
    0 where the metric is not adjusted; it lessens the variance by 1 − correlation² (CUPED).
    Amounts are taken to change because there are more or fewer of them, so that their variance
    changes as their mean does.
    Raises ExperimentError for what cannot be.
    """

    mean: float
    variance: float | None = None
    kind: Kind = "mean"
    correlation: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.mean) or self.mean == 0:
            raise ExperimentError("a relative effect needs a mean other than 0 to relate to")
        if self.kind == "proportion" and not 0 < self.mean < 1:
            raise ExperimentError("a proportion is between 0 and 1")
        if self.kind != "proportion" and not (self.variance and 0 < self.variance < math.inf):
            raise ExperimentError("a plan needs the variance of the metric, a number above 0")
        if not -1 < self.correlation < 1:
            raise ExperimentError("a correlation is between −1 and 1")

    def variances(self, lift: float) -> tuple[float, float]:
        """Variance of a unit's value in the control, and in a treatment with this lift."""
        left = 1 - self.correlation**2
        if self.kind != "proportion":
            assert self.variance is not None
            return self.variance * left, self.variance * left * max(1 + lift, 0.0)
        changed = self.mean * (1 + lift)
        if not 0 < changed < 1:
            raise ExperimentError(f"no proportion of {self.mean} changes by {lift:+.0%}")
        return self.mean * (1 - self.mean) * left, changed * (1 - changed) * left


@dataclass(frozen=True)
class Plan:
    """What an experiment needs, for one treatment against the control.

    `units`: in the control and the treatment together. `days` at the expected traffic; None where
    a year is not enough. `power` then: of always-valid intervals looked at daily, and `power_fixed`
    of one look at the end. `tuning`: N* for the definition.
    """

    units: int
    days: int | None
    power: float
    power_fixed: float
    tuning: int


def single_look(difference: float, variance: npt.ArrayLike, alpha: float) -> Floats:
    """Power of one planned look: the chance that a normal estimate differs from 0 at level α."""
    error = np.sqrt(np.asarray(variance, dtype=np.float64))
    return _outside(difference, error, stats.norm.isf(alpha / 2) * error)


def single_look_always_valid(
    difference: float, variance: npt.ArrayLike, count: npt.ArrayLike, alpha: float, tuning: float
) -> Floats:
    """Chance that the always-valid interval leaves out 0 at one certain look."""
    error = np.sqrt(np.asarray(variance, dtype=np.float64))
    return _outside(difference, error, half_width(variance, count, alpha, tuning))


def _outside(difference: float, error: Floats, width: Floats) -> Floats:
    found: Floats = stats.norm.sf((width - difference) / error) + stats.norm.cdf(
        -(width + difference) / error
    )
    return found


def looked_at(difference: float, variance: npt.ArrayLike, width: npt.ArrayLike) -> Floats:
    """Chance that the estimate has been outside ± `width` at any look so far, for each look.

    `variance` of the estimate at each look, falling; `width`: half the interval's width there.
    Raises ExperimentError where the variance does not fall.
    """
    spread = np.asarray(variance, dtype=np.float64)
    reach = np.asarray(width, dtype=np.float64)
    if spread.shape != reach.shape or spread.ndim != 1 or not len(spread):
        raise ExperimentError("each look needs a variance and a width")
    information = 1 / spread
    steps = np.diff(information, prepend=0.0)
    if not (np.isfinite(information).all() and (steps > 0).all()):
        raise ExperimentError("every look needs more units than the one before")
    nodes, weights = np.polynomial.legendre.leggauss(_POINTS)
    band = reach * information
    held = np.empty(len(spread))
    score, density, weight = np.zeros(1), np.ones(1), np.ones(1)
    for look, step in enumerate(steps):
        # A band beyond eight deviations of where the score can be would waste the points.
        centre, far = difference * information[look], 8 * math.sqrt(information[look])
        low, high = max(-band[look], centre - far), min(band[look], centre + far)
        if low >= high:
            held[look:] = 0.0
            break
        points = (low + high) / 2 + (high - low) / 2 * nodes
        apart = points[:, None] - score[None, :] - difference * step
        moved = np.exp(-(apart**2) / (2 * step)) / math.sqrt(2 * math.pi * step)
        density = moved @ (density * weight)
        score, weight = points, (high - low) / 2 * weights
        held[look] = density @ weight
    return 1 - np.clip(held, 0.0, 1.0)


def plan(
    expected: Expected,
    least_effect: float,
    units_per_day: float,
    *,
    split: tuple[int, int] = (SHARES // 2, SHARES // 2),
    alpha: float = 0.05,
    power: float = POWER,
    least_days: int = 7,
) -> Plan:
    """Units and days that find a relative change of `least_effect` with this `power`.

    `units_per_day`: new units a day of control and treatment together. With several treatments
    `alpha` is shared by them, as `of_definition` does. N* is the number of units planned.
    Raises ExperimentError for effects, traffic or power that no plan can be made of.
    """
    if not (math.isfinite(least_effect) and least_effect != 0):
        raise ExperimentError("a plan needs an effect other than 0")
    if not (math.isfinite(units_per_day) and units_per_day > 0):
        raise ExperimentError("a plan needs some units a day")
    if not 0.05 <= power < 1 or not 0 < alpha <= 0.2:
        raise ExperimentError("power is from 0.05 to under 1, alpha above 0 and up to 0.2")
    difference = least_effect * expected.mean
    per_unit = _per_unit(expected, least_effect, split)

    def days_of(units: float) -> int:
        return max(math.ceil(units / units_per_day - 1e-9), least_days)

    def reached(units: float) -> float:
        looks = min(days_of(units), _MOST_LOOKS)
        at = units * np.arange(1, looks + 1) / looks
        width = half_width(per_unit / at, at, alpha, max(units, 1.0))
        return float(looked_at(difference, per_unit / at, width)[-1])

    quantiles = stats.norm.isf(alpha / 2) + stats.norm.isf(1 - power)
    low = high = max(per_unit * (quantiles / difference) ** 2 / 2, 2.0)
    if not high <= _MOST_UNITS:
        raise ExperimentError(f"no experiment is large enough to find {least_effect:+.2%}")
    while reached(high) < power:
        low, high = high, high * 1.5
        if high > _MOST_UNITS:
            raise ExperimentError(f"no experiment is large enough to find {least_effect:+.2%}")
    while high / low > 1.002:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if reached(middle) >= power else (middle, high)
    units, days = math.ceil(high), days_of(high)
    return Plan(
        units=units,
        days=days if days <= _MOST_DAYS else None,
        power=reached(high),
        power_fixed=float(single_look(difference, per_unit / high, alpha)),
        tuning=units,
    )


def of_definition(
    definition: Definition, expected: Expected, units_per_day: float, *, days: int | None = None
) -> Floats:
    """Chance that the primary metric of a treatment has been called by each day, were its effect
    the least one; of the treatment with the smallest share.

    `units_per_day`: new units a day of the whole experiment. α is shared by the treatments, as the
    analysis shares it.
    """
    control, smallest = definition.split[0], min(definition.split[1:])
    pair = units_per_day * (control + smallest) / SHARES
    per_unit = _per_unit(expected, definition.least_effect, (control, smallest))
    at = pair * np.arange(1, (days or definition.days) + 1)
    width = half_width(
        per_unit / at, at, definition.alpha / len(definition.treatments), definition.tuning
    )
    return looked_at(definition.least_effect * expected.mean, per_unit / at, width)


def _per_unit(expected: Expected, lift: float, split: tuple[int, int]) -> float:
    """Variance of the difference times the units of both."""
    if min(split) < 1:
        raise ExperimentError("both need a share above 0")
    old, new = expected.variances(lift)
    whole = sum(split)
    return old * whole / split[0] + new * whole / split[1]
