"""What a metric's inference needs of the units of a variant: count, means, products of deviations.

Moments of disjoint units add up, so they may be taken day by day, file by file, or by a database.
They are centred: from plain sums of squares nothing is left of a small spread around a large mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dmp_assets.ads.model.experiments.definition import ExperimentError

Floats = npt.NDArray[np.float64]

_ROUNDING = 1e-9
"""Relative error of sums of squares that is taken for rounding."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of k amounts of n units.

    `count` (…): n; `mean` (…, k); `products` (…, k, k): Σ (x − x̄)(x − x̄)ᵀ over the units. Leading
    dimensions, if any, are independent experiments that are treated at once. `is_binary`: every
    amount is 0 or 1; then the variance is p (1 − p), else it is the sample variance over n − 1.
    """

    count: Floats
    mean: Floats
    products: Floats
    is_binary: bool = False

    def __post_init__(self) -> None:
        k = self.mean.shape[-1]
        shape = self.mean.shape[:-1]
        if self.count.shape != shape or self.products.shape != (*shape, k, k):
            raise ExperimentError("moments need a count, k means and k × k products")
        for name in ("count", "mean", "products"):
            if not np.isfinite(getattr(self, name)).all():
                raise ExperimentError(f"moments hold a {name} that is no number")
        if (self.count < 0).any():
            raise ExperimentError("moments hold a negative number of units")
        if self.is_binary and ((self.mean < 0) | (self.mean > 1)).any():
            raise ExperimentError("a proportion is not between 0 and 1")

    @classmethod
    def of_values(cls, *amounts: npt.ArrayLike, is_binary: bool = False) -> "Moments":
        """Moments of the units themselves; each of `amounts` (…, n) holds one value per unit.

        Raises ExperimentError for values that are missing or infinite, amounts of unequal length,
        and values other than 0 and 1 where they are said to be binary.
        """
        columns = [np.asarray(one, dtype=np.float64) for one in amounts]
        if not columns or any(one.shape != columns[0].shape or not one.ndim for one in columns):
            raise ExperimentError("every amount needs one value per unit")
        values = np.stack(columns, axis=-2)
        if not np.isfinite(values).all():
            raise ExperimentError(
                "an amount is missing or infinite: a unit that did nothing has 0, one of which "
                "nothing is known is left out and counted"
            )
        if is_binary and not np.isin(values, (0.0, 1.0)).all():
            raise ExperimentError("a proportion is made of 0 and 1 alone")
        *lead, k, units = values.shape
        if not units:
            return cls(np.zeros(lead), np.zeros((*lead, k)), np.zeros((*lead, k, k)), is_binary)
        mean = values.mean(axis=-1)
        apart = values - mean[..., None]
        count = np.full(lead, float(units))
        return cls(count, mean, apart @ np.swapaxes(apart, -1, -2), is_binary)

    @classmethod
    def of_sums(
        cls,
        count: npt.ArrayLike,
        sums: npt.ArrayLike,
        squares: npt.ArrayLike,
        *,
        is_binary: bool = False,
    ) -> "Moments":
        """Moments from plain sums: `sums` (…, k) and sums of products `squares` (…, k, k).

        Raises ExperimentError where no values could have these sums.
        """
        n = np.asarray(count, dtype=np.float64)
        total = np.asarray(sums, dtype=np.float64)
        square = np.asarray(squares, dtype=np.float64)
        mean = np.divide(total, n[..., None], out=np.zeros_like(total), where=n[..., None] > 0)
        products = square - total[..., :, None] * mean[..., None, :]
        own = np.diagonal(products, axis1=-2, axis2=-1)
        scale = np.diagonal(square, axis1=-2, axis2=-1)
        if (own < -_ROUNDING * np.abs(scale)).any():
            raise ExperimentError(
                "the sum of squares is smaller than any values with that sum have"
            )
        diagonal = np.arange(total.shape[-1])
        products[..., diagonal, diagonal] = np.maximum(own, 0.0)
        return cls(n, mean, products, is_binary)

    @classmethod
    def of_proportion(cls, successes: npt.ArrayLike, count: npt.ArrayLike) -> "Moments":
        """Moments of a proportion: `successes` of `count` units.

        Raises ExperimentError for more successes than units.
        """
        hits = np.asarray(successes, dtype=np.float64)
        n = np.asarray(count, dtype=np.float64)
        if (hits > n).any() or (hits < 0).any():
            raise ExperimentError("a proportion has between none and all of its units")
        return cls.of_sums(n, hits[..., None], hits[..., None, None], is_binary=True)

    def __add__(self, other: "Moments") -> "Moments":
        """Moments of both together, whose units are disjoint (Chan, Golub, LeVeque 1983)."""
        if self.is_binary != other.is_binary or self.mean.shape[-1] != other.mean.shape[-1]:
            raise ExperimentError("moments of different amounts do not add up")
        n = self.count + other.count
        part = np.divide(other.count, n, out=np.zeros_like(n), where=n > 0)
        apart = other.mean - self.mean
        mean = self.mean + apart * part[..., None]
        between = apart[..., :, None] * apart[..., None, :]
        weight = (self.count * part)[..., None, None]
        return Moments(n, mean, self.products + other.products + between * weight, self.is_binary)

    @property
    def covariance(self) -> Floats:
        """Covariance of a unit's amounts (…, k, k); 0 where there are too few units for one."""
        freedom = self.count - (0 if self.is_binary else 1)
        return np.divide(
            self.products,
            freedom[..., None, None],
            out=np.zeros_like(self.products),
            where=freedom[..., None, None] > 0,
        )


def total(parts: Sequence[Moments]) -> Moments:
    """Moments of all parts together; raises ExperimentError where there is none."""
    if not parts:
        raise ExperimentError("there are no moments to add up")
    joined = parts[0]
    for part in parts[1:]:
        joined = joined + part
    return joined
