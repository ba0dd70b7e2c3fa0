"""The budget model of one advertiser: learnt once, asked for forecasts and by the allocator.

Whoever keeps a forecast keeps `made_from`, the quantiles and the planned spend as they are, and
scores them by `scores.scores` when their days are closed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dmp_assets.ads.model.budgets import backtest
from dmp_assets.ads.model.budgets.ensemble import CHOICES, Ensemble, EnsembleDraws, distinct
from dmp_assets.ads.model.budgets.fit import Knowledge, rows_of
from dmp_assets.ads.model.budgets.regression import one_thread
from dmp_assets.ads.model.budgets.series import Dates, Floats, Series, SeriesError
from dmp_assets.ads.model.budgets.terms import Flexibility

HORIZONS = (7, 14, 28)
"""Days of the totals that a forecast is asked for."""
_DRAWS = 400


@dataclass(frozen=True, eq=False)
class Model:
    """Fits with their record: what they may be trusted with.

    `horizon` are the days that back-tests looked ahead, `record` their errors, `widths` what they
    did to the intervals. `draws` are the coefficients as they may be, `knowledge` is what was given
    beside the series.
    """

    ensemble: Ensemble
    draws: EnsembleDraws
    knowledge: Knowledge
    record: backtest.Record
    widths: backtest.Widths
    horizon: int

    @property
    def series(self) -> Series:
        """What it was learnt from."""
        return self.ensemble.series


@dataclass(frozen=True, eq=False)
class Forecast:
    """What is expected for planned spend.

    `dates` (h,), `expected` (h,), `quantiles` (h, 7) by `scores.LEVELS`; `effects` (h, campaigns)
    are the parts of `expected` that ads cause. `totals` has the quantiles (7,) of the sum over the
    days of a horizon. `spend` (h, campaigns) is the plan; `made_from` the last date learnt from.
    """

    dates: Dates
    expected: Floats
    quantiles: Floats
    effects: Floats
    totals: Mapping[int, Floats]
    spend: Floats
    made_from: np.datetime64


def learn(
    series: Series,
    knowledge: Knowledge | None = None,
    *,
    horizon: int = 28,
    choices: Sequence[Flexibility] = CHOICES,
    seed: int = 0,
) -> Model:
    """Weigh how flexible the base is by back-tests, fit, and learn how wide intervals must be.

    `horizon` in days is what it will be asked for; half of a short series at most. The same series
    and seed give the same model. Raises BeliefError for beliefs of channels that are not there.
    """
    knowledge = knowledge or Knowledge()
    rows = max(min(rows_of(horizon, series.step), len(series) // 2), 1)
    choices = distinct(series, choices)
    with one_thread():
        at = backtest.tried(series, rows, choices, knowledge)
        weights = backtest.weighed(at)
        ensemble = Ensemble.fitted(series, choices, weights, knowledge)
        totals = sorted({min(rows_of(days, series.step), rows) for days in HORIZONS})
        return Model(
            ensemble=ensemble,
            draws=ensemble.draws(_DRAWS, seed),
            knowledge=knowledge,
            record=backtest.record(at, weights),
            widths=backtest.widths(at, weights, totals, seed),
            horizon=rows * series.step,
        )


def forecast(model: Model, spend: Floats) -> Forecast:
    """What is expected of the rows after the last for a planned spend (h, campaigns) of each row.

    Raises SeriesError where the plan is of another shape, negative or no finite number.
    """
    campaigns = len(model.series.campaigns)
    if spend.ndim != 2 or spend.shape[1] != campaigns or len(spend) == 0:
        raise SeriesError(f"a plan has rows of {campaigns} campaigns, not the shape {spend.shape}")
    if not (np.isfinite(spend).all() and (spend >= 0).all()):
        raise SeriesError("a planned spend is a finite number, not below 0")
    with one_thread():
        base, effects = model.ensemble.expected(spend)
        futures = model.draws.futures(spend)
    expected = base + effects.sum(axis=1)
    totals = {}
    for days in HORIZONS:
        rows = rows_of(days, model.series.step)
        if rows <= len(spend):
            sums = expected[:rows].sum(keepdims=True), futures[:, :rows].sum(axis=1, keepdims=True)
            totals[days] = model.widths.quantiles(*sums, is_total=True)[0]
    return Forecast(
        dates=model.series.dates_after(len(spend)),
        expected=expected,
        quantiles=model.widths.quantiles(expected, futures, is_total=False),
        effects=effects,
        totals=totals,
        spend=spend,
        made_from=model.series.dates[-1],
    )
