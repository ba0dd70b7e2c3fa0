"""Why there is no advice, and the experiment that would settle it."""

from dataclasses import dataclass

import numpy as np

from dmp_assets.ads.model.budgets.forecast import Model

SPEND_HARDLY_VARIED = "spend_hardly_varied"
NOTHING_SPENT = "nothing_spent"
LOSES_TO_NAIVE = "loses_to_naive"
BOTH_DIRECTIONS = "both_directions"
PRESENT_IS_BEST = "present_is_best"
TEXTS = {
    SPEND_HARDLY_VARIED: "Spend on {line} hardly varied, so nobody can say what another would do.",
    NOTHING_SPENT: "Nothing was spent on {line} in the last 28 days.",
    LOSES_TO_NAIVE: "In back-tests the model does not forecast better than repeating last season.",
    BOTH_DIRECTIONS: "The best change found may as well lose money; most depends on {line}.",
    PRESENT_IS_BEST: "No other budget is better than the present one where things go rather badly.",
}
_ERROR = 0.3
"""Standard error of a return, in contribution, that an experiment is to reach."""
_CHANGES = (0.3, 0.6, 1.0)
_LONGEST, _SHORTEST, _AT_MOST = 56, 28, 364


@dataclass(frozen=True)
class Reason:
    """Why nothing is advised, at all or of one line (then it is named)."""

    code: str
    line: str | None = None

    @property
    def text(self) -> str:
        """In words."""
        return TEXTS[self.code].format(line=self.line)


@dataclass(frozen=True)
class Trial:
    """An experiment: spend on a line `low` and `high` a day in turn, a week each, for `days`.

    `error` is the standard error of the return, contribution by unit of spend, that it leads to.
    """

    line: str
    low: float
    high: float
    days: int
    error: float

    @property
    def text(self) -> str:
        """In words."""
        return (
            f"Spend {self.low:,.2f} and {self.high:,.2f} a day on {self.line} in turn, a week "
            f"each, for {self.days} days: its return is then known to ± {self.error:.2f}."
        )


def trial(model: Model, line: str, present: float) -> Trial:
    """The experiment that tells the return of a line, with the least change that does in 8 weeks.

    Half of N days with a spend that is Δ higher tell the return with a variance of 4 Ω / (N Δ²),
    Ω being the long-run variance of a day's noise, σ² / (1 − ρ)² of autocorrelated noise. N is
    found for a standard error of 0.3; where even spending nothing in turn does not reach it in a
    year, a year's is told.
    """
    daily = model.ensemble.daily_noise / model.knowledge.break_even
    for change in _CHANGES:
        moved = change * present
        needed = (2.0 * daily / (_ERROR * moved)) ** 2
        if needed <= _LONGEST:
            break
    days = int(np.clip(14 * np.ceil(needed / 14), _SHORTEST, _AT_MOST))
    return Trial(line, present - moved, present, days, float(2.0 * daily / moved / np.sqrt(days)))
