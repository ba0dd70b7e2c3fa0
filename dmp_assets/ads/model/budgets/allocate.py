"""The allocator: the budget whose profit is highest where things go rather badly, or no advice.

Profit of a day is the target as contribution, of paid and of all other sales, less what is spent:

    profit_b(x) = margin · (base_b + Σ_k effect_bk(x_k)) − Σ_k x_k    for each draw b of the model,

with effects in a steady state, so that what a day's ads cause later is counted. The lower quartile
over the draws is maximised, under a total, bounds and a greatest step, by sequential quadratic
programming (Kraft 1988, SciPy's SLSQP) from several starts. The quartile is taken as Harrell and
Davis (1982) estimate it, a mean of all ranks weighed by a beta distribution, which is smooth.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import LinearConstraint, minimize
from scipy.stats import beta

from dmp_assets.ads.model.budgets.forecast import Model
from dmp_assets.ads.model.budgets.reasons import (
    BOTH_DIRECTIONS,
    LOSES_TO_NAIVE,
    NOTHING_SPENT,
    PRESENT_IS_BEST,
    SPEND_HARDLY_VARIED,
    Reason,
    Trial,
    trial,
)
from dmp_assets.ads.model.budgets.regression import one_thread
from dmp_assets.ads.model.budgets.series import Floats
from dmp_assets.ads.model.budgets.variation import LEAST_VARIATION, variation
from dmp_assets.platform.base.errors import GivenError

QUARTILE = 0.25
INTERVAL = (0.1, 0.5, 0.9)
"""Quantiles in which gains, sales and returns are told."""
_STARTS = 6
_STEPS = (1.0, 0.5, 0.25)
_LEAST_CHANGE = 0.01
_SEED = 15


class AllocationError(GivenError):
    """No budget keeps the total, the bounds and the greatest step at once."""


@dataclass(frozen=True)
class Line:
    """One budget a day: at present, as advised, and the bounds that both were held to.

    `marginal` is what one more unit of spend adds at present, in contribution, as quantiles 10, 50
    and 90 %: above 1 it earns more than it costs. `variation` is by how much of its mean the spend
    varied by itself; a line that hardly did is `held` where it is.
    """

    name: str
    present: float
    advised: float
    least: float
    most: float
    marginal: tuple[float, float, float]
    variation: float
    held: bool


@dataclass(frozen=True)
class Advice:
    """A budget, or "no advice": then `given` is false and every line stays at present.

    Money is a sum over `days`, as quantiles 10, 50 and 90 %: `sales` is the expected target, paid
    or not, with the advised budget, `sales_at_present` that with the present one, `gain` the
    difference of their profits. `quartile` and `quartile_at_present` are the lower quartiles of
    profit. `candidate` is the gain of the best budget found where it is not advised.
    """

    given: bool
    lines: tuple[Line, ...]
    days: int
    sales: tuple[float, float, float]
    sales_at_present: tuple[float, float, float]
    gain: tuple[float, float, float]
    candidate: tuple[float, float, float]
    quartile: float
    quartile_at_present: float
    reasons: tuple[Reason, ...]
    trials: tuple[Trial, ...]


@dataclass(frozen=True, eq=False)
class _Profits:
    """Profit a day of budgets of lines, for every draw."""

    model: Model
    effects: Floats  # (B, campaigns, J)
    shares: Floats  # (lines, campaigns): how a line's budget is split
    base: Floats
    margin: float

    def target(self, budget: Floats) -> Floats:
        """The expected target a day, (B,)."""
        steady = self.model.ensemble.dictionary.steady(budget @ self.shares)
        flat = self.effects.reshape(len(self.effects), -1)
        found: Floats = self.base + flat @ steady.ravel()
        return found

    def of(self, budget: Floats) -> Floats:
        """Profit a day, (B,)."""
        return self.margin * self.target(budget) - budget.sum()

    def returns(self, budget: Floats) -> Floats:
        """Contribution by one more unit of each line, (B, lines)."""
        marginal = self.model.ensemble.dictionary.marginal(budget @ self.shares)
        by_campaign = np.einsum("bkj,kj->bk", self.effects, marginal)
        found: Floats = self.margin * by_campaign @ self.shares.T
        return found


def allocate(
    model: Model,
    *,
    total: float | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    greatest_step: float = 0.3,
    days: int = 28,
    by: Literal["channel", "campaign"] = "channel",
) -> Advice:
    """Advise a budget a day for each channel or campaign, or say why there is no advice.

    The present budget is the mean of the last 28 days. `total` is the most that may be spent a
    day, at present's if it is None; `bounds` the least and most by line; `greatest_step` the most
    that a line may change, as a share of what it has. Within a channel campaigns keep their shares.
    Where the present budget is above the total it is compared with one cut to it in proportion.

    No advice is given where the spend of all lines hardly varied, where the model does not beat
    the seasonal naive in its back-tests, where the interval of the gain (80 %) has both gains and
    losses, or where nothing better was found. Raises AllocationError where no budget is allowed.
    """
    names, shares, present = _lines(model, by)
    least, most = _limits(names, present, bounds or {}, greatest_step)
    ceiling = float(present.sum()) if total is None else total
    if not np.isfinite(ceiling) or least.sum() > ceiling * (1 + 1e-9):
        raise AllocationError(
            f"the least budgets sum to {least.sum():,.2f} a day, the total is {ceiling:,.2f}"
        )
    reference = _within(
        present * min(1.0, ceiling / max(present.sum(), 1e-12)), least, most, ceiling
    )
    varied = variation(model.series, shares)
    held = (varied < LEAST_VARIATION) | (present <= 0)
    profits = _Profits(
        model=model,
        effects=model.draws.effects,
        shares=shares,
        base=model.draws.mean_base(max(days // model.series.step, 1)),
        margin=1.0 / model.knowledge.break_even,
    )
    returns = profits.returns(reference)
    reasons = _reasons(model, names, varied, present)
    blocked = bool(held.all()) or not model.record.beats_naive
    found = reference
    candidate = np.zeros(len(profits.base))
    if not blocked:
        best = _best(profits, reference, np.where(held, reference, least),
                     np.where(held, reference, most), ceiling)  # fmt: skip
        found, candidate, why = _judged(profits, reference, best, names, returns)
        reasons += why
        blocked = bool(why)
    unsure = np.argsort(-(returns.std(axis=0) * reference))
    asked = [at for at in unsure if held[at] and present[at] > 0]
    if blocked and not asked and len(names):
        asked = [at for at in unsure if present[at] > 0][:1]
    advised = reference if blocked else found
    gain = (profits.of(advised) - profits.of(reference)) * days
    return Advice(
        given=not blocked,
        lines=tuple(
            Line(
                name=name,
                present=float(present[at]),
                advised=float(present[at] if blocked else advised[at]),
                least=float(least[at]),
                most=float(most[at]),
                marginal=_interval(returns[:, at]),
                variation=float(varied[at]),
                held=bool(held[at]),
            )
            for at, name in enumerate(names)
        ),
        days=days,
        sales=_interval(profits.target(advised) * days),
        sales_at_present=_interval(profits.target(reference) * days),
        gain=_interval(gain),
        candidate=_interval(candidate * days),
        quartile=float(np.quantile(profits.of(advised), QUARTILE)) * days,
        quartile_at_present=float(np.quantile(profits.of(reference), QUARTILE)) * days,
        reasons=tuple(reasons),
        trials=tuple(trial(model, names[at], float(present[at])) for at in asked),
    )


def _lines(model: Model, by: str) -> tuple[tuple[str, ...], Floats, Floats]:
    """Names, (lines, campaigns) shares and present budget a day of each line."""
    series = model.series
    recent = series.recent()
    if by == "campaign":
        return series.campaigns, np.eye(len(recent)), recent
    member = series.channel_of == np.arange(len(series.channels))[:, np.newaxis]
    present = member @ recent
    even = member / np.maximum(member.sum(axis=1, keepdims=True), 1)
    shares = np.where(
        present[:, np.newaxis] > 0,
        member * recent / np.maximum(present, 1e-300)[:, np.newaxis],
        even,
    )
    return series.channels, shares, present


def _limits(
    names: tuple[str, ...],
    present: Floats,
    bounds: Mapping[str, tuple[float, float]],
    greatest_step: float,
) -> tuple[Floats, Floats]:
    if strange := sorted(set(bounds) - set(names)):
        raise AllocationError(f"there is no line {strange[0]}: {', '.join(names)}")
    if not 0 <= greatest_step < np.inf:
        raise AllocationError(f"the greatest step is a share, not below 0: {greatest_step}")
    least = np.maximum(present * (1 - greatest_step), 0.0)
    most = present * (1 + greatest_step)
    for at, name in enumerate(names):
        low, high = bounds.get(name, (0.0, np.inf))
        if not 0 <= low <= high:
            raise AllocationError(f"the bounds of {name} are not in order: {low} to {high}")
        if low > most[at] or high < least[at]:
            raise AllocationError(
                f"{name} has {present[at]:,.2f} a day: a step of {greatest_step:.0%} does not "
                f"reach its bounds, {low:,.2f} to {high:,.2f}"
            )
        least[at], most[at] = max(least[at], low), min(most[at], high)
    return least, most


def _within(budget: Floats, least: Floats, most: Floats, total: float) -> Floats:
    """The budget held to its bounds, and cut above the least ones to the total."""
    held = np.clip(budget, least, most)
    over = held.sum() - total
    if over > 0:
        room = held - least
        held = held - room * min(over / max(room.sum(), 1e-300), 1.0)
    return held


def _best(
    profits: _Profits, reference: Floats, least: Floats, most: Floats, total: float
) -> Floats:
    """The allowed budget with the highest lower quartile of profit that was found."""
    size, lines = len(profits.base), len(reference)
    rank = np.arange(size + 1) / size
    weights = np.diff(beta.cdf(rank, (size + 1) * QUARTILE, (size + 1) * (1 - QUARTILE)))
    unit = max(float(reference.sum()), 1e-9)

    def loss(scaled: Floats) -> tuple[float, Floats]:
        budget = scaled * unit
        profit = profits.of(budget)
        order = np.argsort(profit)
        slopes = profits.returns(budget)[order] - 1.0
        return -float(weights @ profit[order]) / unit, -(weights @ slopes)

    def lower_quartile(budget: Floats) -> float:
        return float(np.quantile(profits.of(budget), QUARTILE))

    drawn = np.random.default_rng(_SEED)
    tilted = np.where(profits.returns(reference).mean(axis=0) > 1.0, most, least)
    starts = [reference, tilted, most]
    starts += [least + drawn.random(lines) * (most - least) for _ in range(_STARTS - len(starts))]
    found = reference
    with one_thread():
        for start in starts:
            done = minimize(
                loss,
                _within(start, least, most, total) / unit,
                jac=True,
                method="SLSQP",
                bounds=list(zip(least / unit, most / unit, strict=True)),
                constraints=LinearConstraint(np.ones((1, lines)), -np.inf, total / unit),
                options={"maxiter": 100, "ftol": 1e-7},
            )
            budget = _within(done.x * unit, least, most, total)
            found = max(found, budget, key=lower_quartile)
    return found


def _judged(
    profits: _Profits,
    reference: Floats,
    best: Floats,
    names: tuple[str, ...],
    returns: Floats,
) -> tuple[Floats, Floats, list[Reason]]:
    """The budget on the way to the best whose gain is sure enough; gains and reasons if none is."""
    present = profits.of(reference)
    if np.abs(best - reference).sum() < _LEAST_CHANGE * reference.sum():
        return reference, np.zeros(len(present)), [Reason(PRESENT_IS_BEST)]
    gain = profits.of(best) - present
    for step in _STEPS:
        budget = reference + step * (best - reference)
        gain = profits.of(budget) - present
        if np.quantile(gain, INTERVAL[0]) > 0:
            return budget, gain, []
    widest = names[int(np.argmax(returns.std(axis=0) * reference))]
    return reference, gain, [Reason(BOTH_DIRECTIONS, widest)]


def _reasons(model: Model, names: tuple[str, ...], varied: Floats, present: Floats) -> list[Reason]:
    found = [] if model.record.beats_naive else [Reason(LOSES_TO_NAIVE)]
    for name, share, budget in zip(names, varied, present, strict=True):
        if budget <= 0:
            found.append(Reason(NOTHING_SPENT, name))
        elif share < LEAST_VARIATION:
            found.append(Reason(SPEND_HARDLY_VARIED, name))
    return found


def _interval(values: Floats) -> tuple[float, float, float]:
    low, middle, high = np.quantile(values, INTERVAL).tolist()
    return low, middle, high
