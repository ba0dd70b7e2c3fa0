"""Penalised least squares with coefficients that are not negative, and draws around its solution.

    minimise  Σ_t w_t (y_t − x_t β)² / σ² + (β − m)ᵀ P (β − m)    with β_j ≥ 0 for effects of ads

over rows from which the autocorrelation of first order is taken (Cochrane, Orcutt 1949; the first
row as Prais, Winsten 1954), with weights that hold single strange rows down (Huber 1964). The free
coefficients are eliminated, the others found by the active set of Lawson and Hanson (1974), as
SciPy has it.

Draws are solutions of the same problem for a disturbed target and a disturbed prior ("randomize,
then optimize": Bardsley, Solonen, Haario, Laine 2014). The target is disturbed by moving blocks of
the residuals (Künsch 1989), the prior by a draw from it, so that an effect of which the rows tell
nothing is drawn from what was believed of it.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import nnls
from threadpoolctl import ThreadpoolController

from dmp_assets.ads.model.budgets.series import Bools, Floats

_HUBER = 1.345
"""In standard deviations; his, which costs 5 % of efficiency where the noise is normal."""
_ROUNDS = 3
_LEAST_SIGMA = 1e-6
_MOST_CORRELATION = 0.9
_MEDIAN_TO_SIGMA = 1.4826


def one_thread() -> AbstractContextManager[Any]:
    """Solve on one thread, as here.

    The threads of BLAS spin while they wait for each other: on a busy machine a model of three
    years took minutes, on one thread 3 s.
    """
    return cast(AbstractContextManager[Any], _threads().limit(limits=1))


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows and prior: `columns` (n, p), `target`, `known` (n,), `mean` (p,), `precision` (p, p).

    The last `bound` coefficients may not be negative. `extra` (m, p) and `extra_target` (m,) are
    further rows in units of their own standard error: experiments.
    """

    columns: Floats
    target: Floats
    known: Bools
    mean: Floats
    precision: Floats
    bound: int
    extra: Floats
    extra_target: Floats


@dataclass(frozen=True, eq=False)
class Solution:
    """Coefficients (p,), residuals and innovations (n,), and what draws are made with."""

    problem: Problem
    coefficients: Floats
    correlation: float
    sigma: float
    weights: Floats

    @property
    def residuals(self) -> Floats:
        """Target less fit, (n,)."""
        return self.problem.target - self.problem.columns @ self.coefficients

    @property
    def innovations(self) -> Floats:
        """Residuals less what the one before tells of them, of known rows."""
        found = _whitened(self.residuals, self.correlation)
        return found[_usable(self.problem.known)]

    def draws(self, size: int, prior: Floats, block: int, random: np.random.Generator) -> Floats:
        """Coefficients as they may be, (size, p); `prior` (size, p) are draws of the prior mean."""
        problem = self.problem
        white = _whitened(problem.columns, self.correlation)
        target = _whitened(problem.target, self.correlation)
        weighted = white * (self.weights / self.sigma**2)[:, np.newaxis]
        bounds = _HUBER * self.sigma
        noise = blocks(
            np.clip(self.innovations, -bounds, bounds), (size, len(target)), block, random
        )
        aims = (target + noise) @ weighted + prior @ problem.precision
        if len(problem.extra_target):
            shaken = problem.extra_target + random.standard_normal(
                (size, len(problem.extra_target))
            )
            aims = aims + shaken @ problem.extra
        return _solve(_curvature(problem, white, weighted), aims, problem.bound)


def solve(problem: Problem) -> Solution:
    """The solution, with σ, the autocorrelation and the weights found on the way."""
    usable = _usable(problem.known)
    weights = usable.astype(np.float64)
    correlation = 0.0
    sigma = max(_robust_sigma(np.diff(problem.target)), _LEAST_SIGMA)
    for last in range(_ROUNDS):
        white = _whitened(problem.columns, correlation)
        target = _whitened(problem.target, correlation)
        weighted = white * (weights / sigma**2)[:, np.newaxis]
        curvature = _curvature(problem, white, weighted)
        aim = target @ weighted + problem.precision @ problem.mean
        aim = aim + problem.extra_target @ problem.extra
        coefficients = _solve(curvature, aim[np.newaxis], problem.bound)[0]
        residuals = problem.target - problem.columns @ coefficients
        if last == _ROUNDS - 1:
            break
        used = _fitted_degrees(curvature, white, weighted)
        correlation = _correlation(residuals, problem.known)
        innovations = _whitened(residuals, correlation)
        sigma = max(_robust_sigma(innovations[usable]), _LEAST_SIGMA)
        size = np.maximum(np.abs(innovations), _LEAST_SIGMA)
        weights = usable.astype(np.float64) * np.minimum(1.0, _HUBER * sigma / size)
        left = max(weights.sum() - used, 0.2 * weights.sum(), 1.0)
        sigma = max(float(np.sqrt((weights * innovations**2).sum() / left)), _LEAST_SIGMA)
    return Solution(problem, coefficients, correlation, sigma, weights)


def blocks(
    values: Floats, shape: tuple[int, int], block: int, random: np.random.Generator
) -> Floats:
    """Rows of moving blocks of `values`, wrapped around its end."""
    size, length = shape
    if len(values) == 0:
        return np.zeros(shape)
    count = -(-length // block)
    start = random.integers(0, len(values), (size, count, 1))
    places = (start + np.arange(block)) % len(values)
    drawn: Floats = (values - values.mean())[places.reshape(size, -1)[:, :length]]
    return drawn


def _curvature(problem: Problem, white: Floats, weighted: Floats) -> Floats:
    found: Floats = white.T @ weighted + problem.precision + problem.extra.T @ problem.extra
    return found


def _solve(curvature: Floats, aims: Floats, bound: int) -> Floats:
    """argmin ½ βᵀAβ − aᵀβ with the last `bound` of β not negative, for each row a of `aims`."""
    free = len(curvature) - bound
    inner = cho_factor(curvature[:free, :free])
    found = np.zeros_like(aims)
    if bound:
        cross = curvature[:free, free:]
        through = cho_solve(inner, cross)
        rest = curvature[free:, free:] - cross.T @ through
        root = np.linalg.cholesky((rest + rest.T) / 2)
        sides = solve_triangular(root, (aims[:, free:] - aims[:, :free] @ through).T, lower=True)
        for row, side in zip(found, sides.T, strict=True):
            row[free:] = nnls(root.T, side)[0]
        aims = aims[:, :free] - found[:, free:] @ cross.T
    found[:, :free] = cho_solve(inner, aims[:, :free].T).T
    return found


def _fitted_degrees(curvature: Floats, white: Floats, weighted: Floats) -> float:
    return float(np.trace(cho_solve(cho_factor(curvature), white.T @ weighted)))


def _whitened(values: Floats, correlation: float) -> Floats:
    if correlation == 0.0:
        return values
    found = values.copy()
    found[1:] -= correlation * values[:-1]
    found[0] *= np.sqrt(1.0 - correlation**2)
    return found


def _usable(known: Bools) -> npt.NDArray[np.bool_]:
    """Rows that are known, as the ones before them are."""
    found = known.copy()
    found[1:] &= known[:-1]
    return found


def _correlation(residuals: Floats, known: Bools) -> float:
    both = known[1:] & known[:-1]
    now, before = residuals[1:][both], residuals[:-1][both]
    square = float(before @ before)
    return float(np.clip(now @ before / square, 0.0, _MOST_CORRELATION)) if square > 0 else 0.0


def _robust_sigma(values: Floats) -> float:
    if len(values) == 0:
        return 0.0
    deviation = np.abs(values - np.median(values))
    middle = float(np.median(deviation))
    return _MEDIAN_TO_SIGMA * middle if middle > 0 else float(np.std(values))
