"""Rolling back-tests: which flexibility forecasts well, how wide intervals are, who is beaten.

Each origin is a day of the past on which the model is fitted to what was known by then, and asked
for the rows that followed, with the spend that they had (rolling origin: Tashman, "Out-of-sample
tests of forecasting accuracy", 2000). Widths are those of split conformal prediction with errors in
proportion to the model's own width (Lei, G'Sell, Rinaldo, Tibshirani, Wasserman, "Distribution-free
predictive inference for regression", 2018): of n ratios of error to width the one at place
⌈(n + 1) · level⌉. Days of one series are not exchangeable, so coverage is measured and not
guaranteed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dmp_assets.ads.model.budgets.ensemble import Ensemble, weights_of
from dmp_assets.ads.model.budgets.fit import Fit, Knowledge, fitted
from dmp_assets.ads.model.budgets.scores import LEVELS, seasonal_naive, wape
from dmp_assets.ads.model.budgets.series import Bools, Floats, Series
from dmp_assets.ads.model.budgets.terms import Flexibility

ORIGINS = 8
_LEAST_SHARE, _LEAST_DAYS = 0.4, 28
_SPREAD_DAYS = 364
_ORIGIN_DRAWS = 100
_NARROWEST, _WIDEST = 0.5, 5.0


@dataclass(frozen=True, eq=False)
class Origin:
    """What was forecast at one origin by a fit for each choice, and what came.

    `expected` is (choices, h), the others have h rows.
    """

    fits: tuple[Fit, ...]
    spend: Floats
    actual: Floats
    known: Bools
    expected: Floats
    naive: Floats


@dataclass(frozen=True)
class Record:
    """What back-tests say: errors of the model and of the seasonal naive, over the same rows."""

    origins: int
    rows: int
    wape: float | None
    naive_wape: float | None

    @property
    def beats_naive(self) -> bool:
        """Whether the model's errors are smaller; not, where neither can be told."""
        if self.wape is None or self.naive_wape is None:
            return False
        return self.wape < self.naive_wape


@dataclass(frozen=True)
class Widths:
    """By how much intervals of 80 % and 95 % are stretched, of single rows and of totals."""

    row_80: float = 1.0
    row_95: float = 1.0
    total_80: float = 1.0
    total_95: float = 1.0

    def quantiles(self, expected: Floats, futures: Floats, is_total: bool) -> Floats:
        """Quantiles by LEVELS around `expected` (h,) of `futures` (B, h); (h, 7), in order."""
        raw = np.quantile(futures, LEVELS, axis=0).T
        inner, outer = (self.total_80, self.total_95) if is_total else (self.row_80, self.row_95)
        factors = np.array([outer, inner, inner, 1.0, inner, inner, outer])
        middle = raw[:, [LEVELS.index(0.5)]]
        stretched = expected[:, np.newaxis] + (raw - middle) * factors
        result: Floats = np.sort(stretched, axis=1)
        return result


def origins(series: Series, rows: int) -> list[int]:
    """How many rows were known at each origin, latest last; spread over the last year."""
    size = len(series)
    least = max(int(_LEAST_SHARE * size), _LEAST_DAYS // series.step)
    first = max(least, size - rows - _SPREAD_DAYS // series.step)
    last = size - rows
    if last <= first:
        return [max(last, _LEAST_DAYS // series.step)]
    return sorted({round(at) for at in np.linspace(first, last, ORIGINS)})


def tried(
    series: Series, rows: int, choices: Sequence[Flexibility], knowledge: Knowledge
) -> list[Origin]:
    """What each origin forecast. Experiments that ended after an origin are not known at it."""
    found = []
    for size in origins(series, rows):
        past, ahead = series.until(size), slice(size, size + rows)
        fits = tuple(fitted(past, one, _known_by(past, knowledge)) for one in choices)
        told = [fit.expected(series.spend[ahead]) for fit in fits]
        actual = series.target[ahead]
        found.append(
            Origin(
                fits=fits,
                spend=series.spend[ahead],
                actual=actual,
                known=series.known[ahead],
                expected=np.array([base + effect.sum(axis=1) for base, effect in told]),
                naive=seasonal_naive(past.target, len(actual), series.step),
            )
        )
    return found


def _known_by(past: Series, knowledge: Knowledge) -> Knowledge:
    ended = [
        one
        for one in knowledge.experiments
        if past.dates[0] <= np.datetime64(one.start, "D")
        and np.datetime64(one.end, "D") <= past.dates[-1]
    ]
    return replace(knowledge, experiments=ended)


def weighed(at: Sequence[Origin]) -> Floats:
    """The weight of each choice by its error over all origins, (choices,)."""
    actual, _ = _joined(at)
    expected = np.hstack([one.expected[:, one.known] for one in at])
    return weights_of([wape(actual, of) for of in expected])


def record(at: Sequence[Origin], weights: Floats) -> Record:
    """Errors of the choices as weighed, over all rows of all origins that are known."""
    actual, naive = _joined(at)
    expected = np.concatenate([(weights @ one.expected)[one.known] for one in at])
    return Record(len(at), len(actual), wape(actual, expected), wape(actual, naive))


def _joined(at: Sequence[Origin]) -> tuple[Floats, Floats]:
    actual = np.concatenate([one.actual[one.known] for one in at])
    return actual, np.concatenate([one.naive[one.known] for one in at])


def widths(at: Sequence[Origin], weights: Floats, totals: Sequence[int], seed: int) -> Widths:
    """How far intervals are stretched so that they would have covered; `totals` are in rows."""
    row, total = list[Floats](), list[Floats]()
    for one in at:
        futures = Ensemble(one.fits, weights).draws(_ORIGIN_DRAWS, seed).futures(one.spend)
        parts = (one.actual, weights @ one.expected, futures)
        row.append(_ratios(*parts)[:, one.known])
        for rows in totals:
            if rows <= len(one.actual) and one.known[:rows].all():
                total.append(_ratios(*(p[..., :rows].sum(axis=-1, keepdims=True) for p in parts)))
    rows_of_all = np.hstack(row)
    totals_of_all = np.hstack(total) if total else rows_of_all
    return Widths(
        row_80=_quantile(rows_of_all[0], 0.8),
        row_95=_quantile(rows_of_all[1], 0.95),
        total_80=_quantile(totals_of_all[0], 0.8),
        total_95=_quantile(totals_of_all[1], 0.95),
    )


def _ratios(actual: Floats, expected: Floats, futures: Floats) -> Floats:
    """Error over half the model's own width of 80 % and of 95 %: (2, h)."""
    low_95, low_80, high_80, high_95 = np.quantile(futures, (0.025, 0.1, 0.9, 0.975), axis=0)
    half = np.array([high_80 - low_80, high_95 - low_95]) / 2
    error = np.abs(actual - expected)
    return np.divide(error, half, where=half > 0, out=(error > 0) * np.full_like(half, _WIDEST))


def _quantile(ratios: Floats, level: float) -> float:
    if len(ratios) == 0:
        return 1.0
    place = min(int(np.ceil((len(ratios) + 1) * level)), len(ratios))
    return float(np.clip(np.sort(ratios)[place - 1], _NARROWEST, _WIDEST))
