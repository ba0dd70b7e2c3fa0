"""A split test of an ad platform, of which only the cells' daily sums are known.

The platform assigns people and keeps them to itself; it says how many each cell reached and how
many events (purchases, clicks) a day had. Events of a person are then taken to come at random,
so a person's variance is its mean, widened by how much the cells differ from day to day more than
that. Whom a cell reaches follows from its ads (Braun, Schwartz, "Where A/B testing goes wrong",
Journal of Marketing 2025): a difference is of ads and audience together, and unequal reach is no
mismatch of the split.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dmp_assets.ads.model.experiments.definition import ExperimentError
from dmp_assets.ads.model.experiments.moments import Moments


@dataclass(frozen=True, eq=False)
class Cells:
    """Moments of events per person for each cell. `spread`: times the variance of pure chance."""

    moments: tuple[Moments, ...]
    spread: float


def of_cells(events: npt.ArrayLike, people: npt.ArrayLike) -> Cells:
    """Events per person of each cell, for a metric of the kind `mean`.

    `events` (days, cells): counts by day; `people` (cells,): whom each cell has reached in all,
    less than the sum of its days. The spread is Pearson's χ² of days against cells over its
    degrees of freedom, 1 at least: days that differ for all cells alike do not widen it.
    Raises ExperimentError for counts that are none.
    """
    counted = np.asarray(events, dtype=np.float64)
    reached = np.asarray(people, dtype=np.float64)
    if counted.ndim != 2 or counted.shape[1:] != reached.shape or len(reached) < 2:
        raise ExperimentError("a split test needs events by day and cell, and the people of each")
    for numbers in (counted, reached):
        if not (np.isfinite(numbers).all() and (numbers >= 0).all()):
            raise ExperimentError("events and people of a cell are counts, 0 or more")
    of_cell = counted.sum(axis=0)
    if ((of_cell > 0) & (reached == 0)).any():
        raise ExperimentError("a cell has events and reached nobody")
    expected = counted.sum(axis=1, keepdims=True) * of_cell / max(of_cell.sum(), 1.0)
    apart = np.divide(
        (counted - expected) ** 2, expected, out=np.zeros_like(expected), where=expected > 0
    )
    days = int((counted.sum(axis=1) > 0).sum())
    freedom = (days - 1) * (int((of_cell > 0).sum()) - 1)
    spread = max(float(apart.sum()) / freedom, 1.0) if freedom > 0 else 1.0
    rate = np.divide(of_cell, reached, out=np.zeros_like(reached), where=reached > 0)
    return Cells(
        moments=tuple(
            Moments(
                np.array(count),
                np.array([mean]),
                np.array([[spread * mean * max(count - 1, 0.0)]]),
            )
            for count, mean in zip(reached, rate, strict=True)
        ),
        spread=spread,
    )
