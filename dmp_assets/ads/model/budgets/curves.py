"""What a budget is expected to bring, by every draw of a model, without the model.

In a steady state all half-lives of a campaign come to the same (`response`), so what is left of a
fit is small: with κ_ls the scales of a line and c_bls the slopes at 0 of one draw,

    target_b(x) = base_b + Σ_l Σ_s c_bls · κ_ls · (1 − exp(−x_l / κ_ls))    a day,

for the budget x_l a day of each line. Who keeps `base`, `scales` and `slopes` answers "what if"
without fitting anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from dmp_assets.ads.model.budgets.allocate import INTERVAL
from dmp_assets.ads.model.budgets.forecast import Model
from dmp_assets.ads.model.budgets.response import saturated
from dmp_assets.ads.model.budgets.series import Floats
from dmp_assets.platform.base.errors import GivenError

Interval = tuple[float, float, float]


class PlanError(GivenError):
    """A budget that cannot be asked for. `line`: of which it was."""

    def __init__(self, line: str, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, eq=False)
class Curves:
    """Draws of base and of the effect of each campaign's budget.

    `names` (L,) are the campaigns, `base` (B,), `scales` (L, S), `slopes` (B, L, S). Money is by
    day; the target is contribution before ads.
    """

    names: tuple[str, ...]
    base: Floats
    scales: Floats
    slopes: Floats

    @classmethod
    def of(cls, model: Model, days: int = 28) -> Self:
        """Those of a model, for the mean base of the `days` to come."""
        step, parts = model.series.step, model.ensemble.dictionary
        margin = 1.0 / model.knowledge.break_even
        scale, kinds = np.unique(parts.scale[0] / parts.scale[0, 0], return_inverse=True)
        slopes = np.zeros((len(model.draws.effects), len(model.series.campaigns), len(scale)))
        for part, kind in enumerate(kinds):
            slopes[:, :, kind] += margin * model.draws.effects[:, :, part] / parts.norm[:, part]
        base = margin * model.draws.mean_base(max(days // step, 1))
        scales = parts.scale[:, :1] * scale / step
        return cls(model.series.campaigns, base, scales, slopes)

    def target(self, budget: Floats) -> Floats:
        """The target a day of a budget (L,) a day, (B,)."""
        raised = saturated(budget[:, np.newaxis], self.scales)
        flat = self.slopes.reshape(len(self.base), -1)
        found: Floats = self.base + flat @ raised.ravel()
        return found

    def budget(self, given: Mapping[str, float], present: Mapping[str, float]) -> Floats:
        """A budget (L,) a day: what is given, and at present's what is not. Raises PlanError."""
        for name, amount in given.items():
            if name not in self.names:
                raise PlanError(name, f"there is no campaign {name} that the model knows")
            if not (np.isfinite(amount) and amount >= 0):
                raise PlanError(name, "a budget is a finite number, not below 0")
        return np.array([given.get(name, present.get(name, 0.0)) for name in self.names])


@dataclass(frozen=True)
class Outlook:
    """What is expected of a budget over `days`, as quantiles 10, 50 and 90 %.

    `target`: contribution before ads; `profit`: less the budget; `gain`: the profit less that of
    another budget, draw by draw.
    """

    target: Interval
    profit: Interval
    gain: Interval


def outlook(curves: Curves, budget: Floats, against: Floats, days: int = 28) -> Outlook:
    """What is expected of a budget (L,) a day, and how it compares with another one."""
    target = curves.target(budget)
    profit = target - budget.sum()
    other = curves.target(against) - against.sum()
    return Outlook(
        _interval(target * days), _interval(profit * days), _interval((profit - other) * days)
    )


def _interval(values: Floats) -> Interval:
    low, middle, high = np.quantile(values, INTERVAL).tolist()
    return low, middle, high
