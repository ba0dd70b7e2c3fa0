"""What an experiment says today: every metric of every treatment against the control."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dmp_assets.ads.model.experiments.bayes import Prior, posterior
from dmp_assets.ads.model.experiments.definition import Definition, ExperimentError, Metric
from dmp_assets.ads.model.experiments.effects import effect, value
from dmp_assets.ads.model.experiments.exposures import Excluded
from dmp_assets.ads.model.experiments.inference import (
    always_valid,
    benjamini_hochberg,
    holm,
    welch,
)
from dmp_assets.ads.model.experiments.mismatch import at_any_time, chi_squared
from dmp_assets.ads.model.experiments.moments import Moments

LEAST_UNITS = 100
"""Of each variant; below, sums are too far from normal for any of the intervals."""

LEAST_EVENTS = 10
"""Of a proportion, those with and those without; for the same reason."""

Role = Literal["primary", "guardrail", "secondary"]
Reason = Literal["too_few_units", "too_few_events", "no_variation"]

MEANINGS: dict[Reason, str] = {
    "too_few_units": f"fewer than {LEAST_UNITS} units in a variant",
    "too_few_events": f"fewer than {LEAST_EVENTS} units with, or without, in a variant",
    "no_variation": "all values of a variant are the same, or there is no denominator",
}


@dataclass(frozen=True)
class Comparison:
    """A metric of one treatment against the control.

    `control` and `treatment`: the metric of each, as counted, None without units. `difference` in
    the metric's unit, adjusted where the metric is; its always-valid bounds `low` and `high`;
    `lift` the same as a share of the control, None where that is 0. `p_value` is always valid;
    `adjusted_p_value` by Holm over the treatments (primary, guardrails) or by Benjamini–Hochberg
    over the secondary metrics. `welch_low`, `welch_high`, `welch_p_value` hold for one look at the
    planned end alone. `chance_to_win` and the losses are Bayesian, of the relative difference
    where there is one. `unknown`: why nothing can be said, else None; bounds are infinite then.
    """

    role: Role
    metric: Metric
    treatment_name: str
    control: float | None
    treatment: float | None
    difference: float
    low: float
    high: float
    p_value: float
    adjusted_p_value: float
    lift: float | None
    lift_low: float | None
    lift_high: float | None
    welch_low: float
    welch_high: float
    welch_p_value: float
    chance_to_win: float | None
    loss_of_choosing: float | None
    loss_of_leaving: float | None
    unknown: Reason | None

    @property
    def gain_low(self) -> float:
        """Lower bound of the improvement, whichever direction is better."""
        return self.low if self.metric.sign > 0 else -self.high

    @property
    def gain_high(self) -> float:
        """Upper bound of the improvement."""
        return self.high if self.metric.sign > 0 else -self.low

    @property
    def relative_gain(self) -> float | None:
        """The improvement as a share of the control."""
        return None if self.lift is None else self.metric.sign * self.lift

    @property
    def relative_gain_low(self) -> float | None:
        """Its lower bound."""
        low = self.lift_low if self.metric.sign > 0 else self.lift_high
        return None if low is None else self.metric.sign * low


@dataclass(frozen=True)
class Readout:
    """What an experiment says at one time.

    `counts`: units by variant. `mismatch_p_value` may be looked at every day, and decides;
    `chi_squared_p_value` is shown beside it; both are None where the platform assigns.
    `excluded`: who was left out.
    """

    counts: tuple[int, ...]
    mismatch_p_value: float | None
    chi_squared_p_value: float | None
    comparisons: tuple[Comparison, ...]
    excluded: Excluded | None = None

    def of(self, role: Role, treatment: str | None = None) -> list[Comparison]:
        """Comparisons of a role, of one treatment or of all."""
        return [
            one
            for one in self.comparisons
            if one.role == role and treatment in (None, one.treatment_name)
        ]


def read(
    definition: Definition,
    counts: Sequence[int],
    moments: Mapping[tuple[str, str], Moments],
    *,
    excluded: Excluded | None = None,
    prior: Prior | None = None,
) -> Readout:
    """All metrics of an experiment.

    `counts`: units that count, by variant in the definition's order. `moments`: by the names of
    metric and variant. α is shared by the treatments, so that the chance to call any of them
    wrongly on a metric, ever, is α. `prior`: of the relative differences, None for a flat one.
    Raises ExperimentError for missing moments or those of more units than there are.
    """
    if len(counts) != len(definition.variants):
        raise ExperimentError(f"{definition.key} needs a count for each of its variants")
    comparisons: list[Comparison] = []
    guardrails = [guardrail.metric for guardrail in definition.guardrails]
    roles: tuple[tuple[Role, Sequence[Metric]], ...] = (
        ("primary", [definition.primary]),
        ("guardrail", guardrails),
        ("secondary", definition.secondary),
    )
    for role, metrics in roles:
        found = [_metric(definition, role, metric, counts, moments, prior) for metric in metrics]
        if role == "secondary":
            comparisons += _discovered(found)
        else:
            comparisons += [one for listed in found for one in _stepped(listed)]
    is_ours = definition.assigned_by == "us"
    return Readout(
        counts=tuple(int(count) for count in counts),
        mismatch_p_value=float(at_any_time(counts, definition.split)) if is_ours else None,
        chi_squared_p_value=float(chi_squared(counts, definition.split)) if is_ours else None,
        comparisons=tuple(comparisons),
        excluded=excluded,
    )


def _stepped(comparisons: list[Comparison]) -> list[Comparison]:
    """With p values adjusted by Holm over the treatments of one metric."""
    adjusted = holm([one.p_value for one in comparisons])
    return [
        replace(one, adjusted_p_value=float(p))
        for one, p in zip(comparisons, adjusted, strict=True)
    ]


def _discovered(metrics: list[list[Comparison]]) -> list[Comparison]:
    """With p values adjusted over all secondary metrics and their treatments."""
    flat = [one for listed in metrics for one in listed]
    adjusted = benjamini_hochberg([one.p_value for one in flat])
    return [replace(one, adjusted_p_value=float(p)) for one, p in zip(flat, adjusted, strict=True)]


def _metric(
    definition: Definition,
    role: Role,
    metric: Metric,
    counts: Sequence[int],
    moments: Mapping[tuple[str, str], Moments],
    prior: Prior | None,
) -> list[Comparison]:
    taken = []
    for name, count in zip(definition.variants, counts, strict=True):
        if (metric.name, name) not in moments:
            raise ExperimentError(f"there are no values of {metric.name} for {name}")
        one = moments[metric.name, name]
        if one.mean.ndim != 1 or one.count > count:
            raise ExperimentError(
                f"{metric.name} has values of {one.count:.0f} units of {name}; there are {count}"
            )
        taken.append(one)
    return [
        _compare(definition, role, metric, name, taken[0], one, prior)
        for name, one in zip(definition.treatments, taken[1:], strict=True)
    ]


def _compare(
    definition: Definition,
    role: Role,
    metric: Metric,
    name: str,
    control: Moments,
    treatment: Moments,
    prior: Prior | None,
) -> Comparison:
    alpha = definition.alpha / len(definition.treatments)
    unknown = _unknown(metric, control, treatment)
    absolute = effect(control, treatment, metric)
    relative = effect(control, treatment, metric, relative=True)
    if unknown:
        nothing = np.asarray(np.nan)
        absolute, relative = (replace(one, variance=nothing) for one in (absolute, relative))
    elif not absolute.is_known:
        unknown = "no_variation"
    bounds, fixed = always_valid(absolute, alpha, definition.tuning), welch(absolute, alpha)
    shares = always_valid(relative, alpha, definition.tuning)
    is_related = bool(relative.is_known)
    belief = posterior(relative, prior, sign=metric.sign)

    def related(number: np.ndarray) -> float | None:
        return float(number) if is_related else None

    return Comparison(
        role=role,
        metric=metric,
        treatment_name=name,
        control=_number(value(control, metric)),
        treatment=_number(value(treatment, metric)),
        difference=float(absolute.difference),
        low=float(bounds.low),
        high=float(bounds.high),
        p_value=float(bounds.p_value),
        adjusted_p_value=float(bounds.p_value),
        lift=related(relative.difference),
        lift_low=related(shares.low),
        lift_high=related(shares.high),
        welch_low=float(fixed.low),
        welch_high=float(fixed.high),
        welch_p_value=float(fixed.p_value),
        chance_to_win=related(belief.chance_to_win),
        loss_of_choosing=related(belief.loss_of_choosing),
        loss_of_leaving=related(belief.loss_of_leaving),
        unknown=unknown,
    )


def _unknown(metric: Metric, *sides: Moments) -> Reason | None:
    if min(float(side.count) for side in sides) < LEAST_UNITS:
        return "too_few_units"
    if metric.kind == "proportion":
        for side in sides:
            share = float(side.mean[0])
            if float(side.count) * min(share, 1 - share) < LEAST_EVENTS - 0.5:
                return "too_few_events"
    return None


def _number(found: np.ndarray) -> float | None:
    return float(found) if np.isfinite(found) else None
