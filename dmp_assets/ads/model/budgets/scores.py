"""How good a forecast was, once its days are closed; and the forecast that it has to beat.

WAPE = Σ|y − ŷ| / Σ|y|. MASE (Hyndman, Koehler, "Another look at measures of forecast accuracy",
2006) = mean |y − ŷ| / mean |y(t) − y(t − m)| over the days learnt from, m being a season. Pinball
loss of a quantile q at p: (y − q)·p where y ≥ q, else (q − y)·(1 − p) (Koenker, Bassett 1978).
A score that would divide by 0 is None: nothing was sold, or it never changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dmp_assets.ads.model.budgets.series import DAY, Floats

LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
"""Quantiles of every forecast: the ends of the 95 % and 80 % intervals, quartiles, the middle."""


@dataclass(frozen=True)
class Scores:
    """The record of a forecast; coverages are shares of days within the interval."""

    wape: float | None
    mase: float | None
    coverage_80: float
    coverage_95: float
    pinball: float


def scores(actual: Floats, quantiles: Floats, learnt_from: Floats, step: int) -> Scores:
    """Scores of `quantiles` (n, 7), by LEVELS, against `actual` (n,).

    Raises ValueError where shapes differ or there is no row.
    """
    if len(actual) == 0 or quantiles.shape != (len(actual), len(LEVELS)):
        raise ValueError(f"{quantiles.shape} are not {len(LEVELS)} quantiles of {len(actual)} rows")
    middle = quantiles[:, LEVELS.index(0.5)]
    return Scores(
        wape=wape(actual, middle),
        mase=mase(actual, middle, learnt_from, step),
        coverage_80=coverage(actual, quantiles[:, 1], quantiles[:, -2]),
        coverage_95=coverage(actual, quantiles[:, 0], quantiles[:, -1]),
        pinball=pinball(actual, quantiles, LEVELS),
    )


def wape(actual: Floats, forecast: Floats) -> float | None:
    """Weighted absolute percentage error, as a share."""
    size = float(np.abs(actual).sum())
    return float(np.abs(actual - forecast).sum()) / size if size > 0 else None


def mase(actual: Floats, forecast: Floats, learnt_from: Floats, step: int) -> float | None:
    """Mean absolute error as a multiple of the seasonal naive's over the days learnt from."""
    lag = season(len(learnt_from), step)
    if len(learnt_from) <= lag:
        return None
    usual = float(np.abs(learnt_from[lag:] - learnt_from[:-lag]).mean())
    return float(np.abs(actual - forecast).mean()) / usual if usual > 0 else None


def coverage(actual: Floats, low: Floats, high: Floats) -> float:
    """Share of values within the interval, ends included."""
    return float(((actual >= low) & (actual <= high)).mean())


def pinball(actual: Floats, quantiles: Floats, levels: Sequence[float]) -> float:
    """Mean pinball loss over rows and levels, in the unit of the target."""
    over = actual[:, np.newaxis] - quantiles
    level = np.asarray(levels)
    return float(np.maximum(over * level, over * (level - 1.0)).mean())


def season(size: int, step: int) -> int:
    """Rows of a season: a week of daily rows, a year of weekly ones where there are two."""
    if step == DAY:
        return 7
    return 52 if size > 52 else 1


def seasonal_naive(learnt_from: Floats, rows: int, step: int) -> Floats:
    """The last season again and again: the forecast that costs nothing."""
    lag = season(len(learnt_from), step)
    return np.resize(learnt_from[-lag:], rows)
