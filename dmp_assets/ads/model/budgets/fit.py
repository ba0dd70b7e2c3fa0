"""One fit of base and effects to a series, and what it expects of days to come.

target(t) = base(t) + Σ effects of campaigns (t) + noise(t); base: `terms`, effects: `response`,
prior: `beliefs`, how it is solved: `regression`. The noise is autocorrelated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dmp_assets.ads.model.budgets.beliefs import Belief, BeliefError, Measured, Prior
from dmp_assets.ads.model.budgets.regression import Problem, Solution, blocks, solve
from dmp_assets.ads.model.budgets.response import Dictionary
from dmp_assets.ads.model.budgets.series import WEEK, Dates, Floats, Series
from dmp_assets.ads.model.budgets.terms import Flexibility, Terms

_BLOCK = {1: 14, 7: 4}
"""Rows of a block of noise: two weeks, of weekly rows four."""
_LEAST_LEVEL, _MOST_LEVEL = 0.2, 5.0
_MONTH = 28


@dataclass(frozen=True)
class Knowledge:
    """What is known beside the series.

    `returns` are beliefs by channel, in the unit of `break_even`: the target that a unit of spend
    has to bring to pay for itself, 1 where the target is contribution, 1 / margin where it is
    revenue. Channels that are not named are believed `default`. Raises BeliefError for a
    `break_even` that is not positive.
    """

    returns: Mapping[str, Belief] | None = None
    experiments: Sequence[Measured] = ()
    break_even: float = 1.0
    default: Belief = field(default_factory=Belief)

    def __post_init__(self) -> None:
        if not 0 < self.break_even < np.inf:
            raise BeliefError(f"the break-even return is positive, not {self.break_even}")

    def prior(self, series: Series, parts: int) -> Prior:
        """The beliefs of the channels of a series. Raises BeliefError for others' names."""
        named = self.returns or {}
        for name in (*named, *(one.channel for one in self.experiments)):
            if name not in series.channels:
                raise BeliefError(f"there is no channel {name}: {', '.join(series.channels)}")
        beliefs = [named.get(name, self.default).times(self.break_even) for name in series.channels]
        return Prior(tuple(beliefs), series.channel_of, parts)


@dataclass(frozen=True, eq=False)
class Fit:
    """Base and effects as they were learnt; `unit` is the mean size of the target.

    `plain` are the coefficients of level and drift by which seasonal columns are scaled.
    """

    series: Series
    terms: Terms
    dictionary: Dictionary
    prior: Prior
    solution: Solution
    unit: float
    plain: Floats

    @property
    def effects(self) -> Floats:
        """Coefficients of the parts, (campaigns, J): what a unit of spend brought by each."""
        return self._split(self.solution.coefficients[np.newaxis])[1][0]

    def expected(self, spend: Floats) -> tuple[Floats, Floats]:
        """Base, and effect by campaign, of the rows after the last for their spend.

        `spend` (h, campaigns) is that of a row; shapes (h,) and (h, campaigns). What is left of
        the last row's noise is in the base.
        """
        base, effect = self._ahead(spend)
        free, bound = self._split(self.solution.coefficients[np.newaxis])
        left = self.solution.residuals[-1] * self._fading(len(spend)) * self.unit
        return base @ free[0] + left, np.einsum("hkj,kj->hk", effect, bound[0])

    def draws(self, size: int, seed: int) -> "Draws":
        """Coefficients as they may be."""
        random = np.random.default_rng(seed)
        problem = self.solution.problem
        prior = np.zeros((size, len(problem.mean)))
        free = len(problem.mean) - problem.bound
        scale = 1.0 / np.sqrt(np.diag(problem.precision)[:free])
        prior[:, :free] = random.standard_normal((size, free)) * scale
        prior[:, free:] = self.prior.draws(size, random)
        found = self.solution.draws(size, prior, _BLOCK[self.series.step], random)
        return Draws(self, *self._split(found), coefficients=found, seed=seed)

    def _split(self, coefficients: Floats) -> tuple[Floats, Floats]:
        """Those of the base in units of the target, and (…, campaigns, J) of the effects."""
        free = coefficients.shape[1] - self.solution.problem.bound
        shape = (len(coefficients), len(self.series.campaigns), self.dictionary.parts)
        return coefficients[:, :free] * self.unit, coefficients[:, free:].reshape(shape)

    def _ahead(self, spend: Floats) -> tuple[Floats, Floats]:
        dates = self.series.dates_after(len(spend))
        base = _base_columns(self.terms, self.plain, dates)
        whole = np.vstack([self.series.spend, spend])
        return base, self.dictionary.columns(whole)[len(self.series) :]

    def _fading(self, rows: int) -> Floats:
        return np.cumprod(np.full(rows, self.solution.correlation))


@dataclass(frozen=True, eq=False)
class Draws:
    """Coefficients as they may be: `base` (B, p) and `effects` (B, campaigns, J) of a fit."""

    fit: Fit
    base: Floats
    effects: Floats
    coefficients: Floats
    seed: int

    def futures(self, spend: Floats) -> Floats:
        """The target of the rows to come as it may be, (B, h): with noise, and a moving level."""
        fit, size, rows = self.fit, len(self.base), len(spend)
        random = np.random.default_rng([self.seed, 1])
        columns, parts = fit._ahead(spend)
        mean = self.base @ columns.T + np.einsum("hkj,bkj->bh", parts, self.effects)
        step = fit.terms.flexibility.level * np.sqrt(fit.terms.step / _MONTH)
        level = step * np.cumsum(random.standard_normal((size, rows)), axis=1)
        solution = fit.solution
        last = solution.problem.target[-1] - self.coefficients @ solution.problem.columns[-1]
        noise = blocks(solution.innovations, (size, rows), _BLOCK[fit.series.step], random)
        for row in range(rows):
            before = last if row == 0 else noise[:, row - 1]
            noise[:, row] += solution.correlation * before
        result: Floats = mean + fit.unit * (level + noise)
        return result

    def mean_base(self, rows: int) -> Floats:
        """The base a day over the rows to come, (B,)."""
        columns = _base_columns(self.fit.terms, self.fit.plain, self.fit.series.dates_after(rows))
        mean: Floats = (self.base @ columns.T).mean(axis=1) / self.fit.terms.step
        return mean


def fitted(series: Series, flexibility: Flexibility, knowledge: Knowledge | None = None) -> Fit:
    """Fit base and effects. Raises BeliefError for beliefs of channels that are not there."""
    knowledge = knowledge or Knowledge()
    unit = float(np.abs(series.target[series.known]).mean()) or 1.0
    terms = Terms(series.dates[0], series.dates[-1], series.step, flexibility, series.events)
    dictionary = Dictionary.learnt(series.spend, series.step)
    prior = knowledge.prior(series, dictionary.parts)
    effects = dictionary.columns(series.spend).reshape(len(series), -1) / unit
    sizes = terms.sizes
    precision = np.zeros((len(sizes) + effects.shape[1],) * 2)
    precision[np.arange(len(sizes)), np.arange(len(sizes))] = 1.0 / sizes**2
    precision[len(sizes) :, len(sizes) :] = prior.precision
    extra, extra_target = _experiments(series, dictionary, knowledge, len(sizes))
    plain = np.zeros(int((~terms.seasonal).sum()))
    for _ in range(2):
        base = _base_columns(terms, plain, series.dates)
        solution = solve(
            Problem(
                columns=np.hstack([base, effects]),
                target=series.target / unit,
                known=series.known,
                mean=np.concatenate([np.zeros(len(sizes)), prior.mean]),
                precision=precision,
                bound=effects.shape[1],
                extra=extra,
                extra_target=extra_target,
            )
        )
        used, plain = plain, solution.coefficients[: len(plain)]
    return Fit(series, terms, dictionary, prior, solution, unit, used)


def _base_columns(terms: Terms, plain: Floats, dates: Dates) -> Floats:
    """Columns of the base, seasonal ones in proportion to the level that `plain` tells of."""
    columns = terms.columns(dates)
    seasonal = terms.seasonal
    middle = np.array([terms.start + (terms.end - terms.start) // 2])
    usual = float((terms.columns(middle)[:, ~seasonal] @ plain)[0])
    if usual > 0:
        level = columns[:, ~seasonal] @ plain / usual
        columns[:, seasonal] *= np.clip(level, _LEAST_LEVEL, _MOST_LEVEL)[:, np.newaxis]
    return columns


def _experiments(
    series: Series, dictionary: Dictionary, knowledge: Knowledge, free: int
) -> tuple[Floats, Floats]:
    """Each experiment as a row of coefficients, in units of its standard error."""
    rows, found = [], []
    actual = dictionary.columns(series.spend)
    for one in knowledge.experiments:
        start, end = np.datetime64(one.start, "D"), np.datetime64(one.end, "D")
        within = (series.dates >= start) & (series.dates < end)
        if not within.any():
            raise BeliefError(f"the experiment of {one.channel} is not within the series")
        channel = series.channel_of == series.channels.index(one.channel)
        control = series.spend.copy()
        control[np.ix_(within, channel)] *= one.multiple
        row = (actual - dictionary.columns(control)).sum(axis=0).ravel() / one.error
        rows.append(np.concatenate([np.zeros(free), row]))
        found.append(one.effect / one.error)
    width = free + actual.shape[1] * actual.shape[2]
    return np.array(rows).reshape(-1, width), np.array(found)


def rows_of(days: int, step: int) -> int:
    """Rows that cover so many days."""
    return -(-days // step) if step == WEEK else days
