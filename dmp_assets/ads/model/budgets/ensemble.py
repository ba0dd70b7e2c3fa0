"""Several fits of one series that differ in how far the base may bend, weighed by their errors.

Forecasts are their mean, draws come from each in proportion to its weight: which flexibility is
right is one more thing that is not known. Weights fall with a power of the error in back-tests, as
forecasts are combined since Bates, Granger, "The combination of forecasts" (1969).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from dmp_assets.ads.model.budgets.fit import Draws, Fit, Knowledge, fitted
from dmp_assets.ads.model.budgets.response import Dictionary
from dmp_assets.ads.model.budgets.series import Floats, Series
from dmp_assets.ads.model.budgets.terms import Flexibility, Terms

_POWER = 4.0
CHOICES = tuple(
    Flexibility(level, harmonics)
    for level in (0.003, 0.01, 0.03, 0.09)
    for harmonics in (1, 2, 4, 10)
)


def distinct(series: Series, choices: Sequence[Flexibility]) -> tuple[Flexibility, ...]:
    """Without those that a series of this length makes the same."""
    found: dict[tuple[float, float, int], Flexibility] = {}
    for one in choices:
        terms = Terms(series.dates[0], series.dates[-1], series.step, one, {})
        found.setdefault((one.level, one.year, terms.harmonics), one)
    return tuple(found.values())


def weights_of(errors: Sequence[float | None]) -> Floats:
    """A weight of each by its error; alike where nothing is known of them or some have none."""
    known = np.array([0.0 if error is None else error for error in errors])
    if (known == 0).any():
        raised = (known == 0).astype(np.float64)
    else:
        raised = (known.min() / known) ** _POWER
    shares: Floats = raised / raised.sum()
    return shares


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Fits of one series, each with its weight; the weights sum to 1."""

    fits: tuple[Fit, ...]
    weights: Floats

    @classmethod
    def fitted(
        cls,
        series: Series,
        choices: Sequence[Flexibility],
        weights: Floats,
        knowledge: Knowledge | None = None,
    ) -> Self:
        """A fit for each choice. Raises BeliefError for beliefs of channels that are not there."""
        return cls(tuple(fitted(series, one, knowledge) for one in choices), weights)

    @property
    def series(self) -> Series:
        """What it was learnt from."""
        return self.fits[0].series

    @property
    def dictionary(self) -> Dictionary:
        """The parts of effects: it depends on the spend alone, so it is that of every fit."""
        return self.fits[0].dictionary

    @property
    def effects(self) -> Floats:
        """Coefficients of the parts, (campaigns, J)."""
        return self._mean([fit.effects for fit in self.fits])

    @property
    def daily_noise(self) -> float:
        """Root of the long-run variance of a day's noise: σ / (1 − ρ) of autocorrelated noise."""
        noise = [fit.solution.sigma * fit.unit / (1.0 - fit.solution.correlation)
                 for fit in self.fits]  # fmt: skip
        return float(self.weights @ np.array(noise) / np.sqrt(self.series.step))

    def expected(self, spend: Floats) -> tuple[Floats, Floats]:
        """Base (h,) and effect by campaign (h, campaigns) of the rows after the last."""
        told = [fit.expected(spend) for fit in self.fits]
        return self._mean([base for base, _ in told]), self._mean([effect for _, effect in told])

    def draws(self, size: int, seed: int) -> "EnsembleDraws":
        """So many draws, of each fit by its weight."""
        ends = np.round(np.cumsum(self.weights) * size).astype(int)
        counts = np.diff(ends, prepend=0).tolist()
        parts = [
            fit.draws(count, seed + place)
            for place, (fit, count) in enumerate(zip(self.fits, counts, strict=True))
            if count
        ]
        return EnsembleDraws(tuple(parts))

    def _mean(self, values: Sequence[Floats]) -> Floats:
        mean: Floats = np.tensordot(self.weights, np.array(values), axes=1)
        return mean


@dataclass(frozen=True, eq=False)
class EnsembleDraws:
    """Draws of several fits, one after the other; B of them in all."""

    parts: tuple[Draws, ...]

    @property
    def effects(self) -> Floats:
        """Coefficients of effects, (B, campaigns, J)."""
        return np.concatenate([part.effects for part in self.parts])

    def futures(self, spend: Floats) -> Floats:
        """The target of the rows to come as it may be, (B, h)."""
        return np.concatenate([part.futures(spend) for part in self.parts])

    def mean_base(self, rows: int) -> Floats:
        """The base a day over the rows to come, (B,)."""
        return np.concatenate([part.mean_base(rows) for part in self.parts])
