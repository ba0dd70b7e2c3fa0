"""Rolling back-tests: which flexibility forecasts best, how wide intervals must be, who is beaten.

Each origin is a day of the past on which the model is fitted to what was known by then, and asked
for the rows that followed, with the spend that they had (rolling origin: Tashman, "Out-of-sample
tests of forecasting accuracy", 2000). Widths are those of split conformal prediction with errors in
proportion to the model's own width (Lei, G'Sell, Rinaldo, Tibshirani, Wasserman, "Distribution-free
predictive inference for regression", 2018): of n ratios of error to width the one at place
⌈(n + 1) · level⌉. Days of one series are not exchangeable, so coverage is measured and not
guaranteed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dmp_assets.ads.model.budgets.fit import Fit, Knowledge, fitted
from dmp_assets.ads.model.budgets.scores import LEVELS, seasonal_naive, wape
from dmp_assets.ads.model.budgets.series import Bools, Floats, Series
from dmp_assets.ads.model.budgets.terms import Flexibility

ORIGINS = 8
_LEAST_SHARE, _LEAST_DAYS = 0.4, 28
_SPREAD_DAYS = 364
_FOLD_DRAWS = 60
_NARROWEST, _WIDEST = 0.5, 5.0
CHOICES = tuple(
    Flexibility(level, harmonics, year)
    for level in (0.01, 0.03, 0.09)
    for harmonics, year in ((2, 0.3), (6, 0.3))
)


@dataclass(frozen=True, eq=False)
class Fold:
    """What was forecast at one origin and what came: `fit` learnt from `fit.series`."""

    fit: Fit
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


def folds(
    series: Series, rows: int, flexibility: Flexibility, knowledge: Knowledge
) -> Iterator[Fold]:
    """What each origin forecast. Experiments that ended after an origin are not known at it."""
    for size in origins(series, rows):
        past = series.until(size)
        then = Knowledge(
            knowledge.returns,
            [
                one
                for one in knowledge.experiments
                if past.dates[0] <= np.datetime64(one.start, "D")
                and np.datetime64(one.end, "D") <= past.dates[-1]
            ],
            knowledge.break_even,
            knowledge.default,
        )
        fit = fitted(past, flexibility, then)
        ahead = slice(size, size + rows)
        base, effect = fit.expected(series.spend[ahead])
        actual = series.target[ahead]
        yield Fold(
            fit=fit,
            spend=series.spend[ahead],
            actual=actual,
            known=series.known[ahead],
            expected=base + effect.sum(axis=1),
            naive=seasonal_naive(past.target, len(actual), series.step),
        )


def record(tried: Sequence[Fold]) -> Record:
    """Errors over all rows of all origins that are known."""
    actual, expected, naive = (
        np.concatenate([getattr(fold, name)[fold.known] for fold in tried])
        for name in ("actual", "expected", "naive")
    )
    return Record(len(tried), len(actual), wape(actual, expected), wape(actual, naive))


def chosen(
    series: Series, rows: int, knowledge: Knowledge, choices: Sequence[Flexibility] = CHOICES
) -> tuple[Flexibility, list[Fold]]:
    """The flexibility with the smallest error, the first of equals, and its folds."""
    found: tuple[float, Flexibility, list[Fold]] | None = None
    for flexibility in choices:
        tried = list(folds(series, rows, flexibility, knowledge))
        error = record(tried).wape
        if found is None or (error or 0.0) < found[0]:
            found = (error or 0.0, flexibility, tried)
    if found is None:
        raise ValueError("there is nothing to choose from")
    return found[1], found[2]


def widths(tried: Sequence[Fold], totals: Sequence[int], seed: int) -> Widths:
    """How far intervals are stretched so that they would have covered; `totals` are in rows."""
    row, total = list[Floats](), list[Floats]()
    for fold in tried:
        futures = fold.fit.draws(_FOLD_DRAWS, seed).futures(fold.spend)
        known = fold.known
        row.append(_ratios(fold.actual, fold.expected, futures)[:, known])
        for rows in totals:
            if rows <= len(fold.actual) and known[:rows].all():
                parts = (fold.actual, fold.expected, futures)
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
