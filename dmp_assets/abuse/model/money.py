"""From probability to decision: the cheapest of allow, review and block.

Expected cost of an account that abuses with probability p, with B the cost of a blocked honest
customer, L the discount lost to an abuser and R the cost of one review (a reviewer is right):

    allow p·L        review R        block (1 − p)·B

So review is cheapest between p = R/L and p = 1 − R/B; where that range is empty (reviewing costs
too much) nothing is reviewed and blocking starts at p = L-to-B break-even, B / (B + L).
(Elkan, The Foundations of Cost-Sensitive Learning, 2001.)
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dmp_assets.abuse.model.features import Floats

DECISIONS = ("allow", "review", "block")


@dataclass(frozen=True)
class Costs:
    """Money per account, in the shop's currency."""

    blocked_customer: float
    lost_discount: float
    review: float


@dataclass(frozen=True)
class Thresholds:
    """`review_from` ≤ p < `block_from` is reviewed, above is blocked, below allowed."""

    review_from: float
    block_from: float

    def decide(self, probability: Floats) -> npt.NDArray[np.str_]:
        """The decision of each probability."""
        step = (probability >= self.review_from).astype(int) + (probability >= self.block_from)
        return np.asarray(np.array(DECISIONS)[step])

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def raised(limits: Thresholds, to: float | None, where_pays_from: float | None) -> Thresholds:
    """The limits with blocking as late as measured on labels.

    `to`: see `evaluate.block_end`; `where_pays_from`: where blocking paid by the costs of that
    time. Costs by which blocking pays sooner than it did then ask for less, so they stand alone.
    """
    if to is None or where_pays_from is None or limits.block_from < where_pays_from:
        return limits
    return Thresholds(limits.review_from, max(limits.block_from, to))


def thresholds(costs: Costs) -> Thresholds:
    """The cheapest decision's limits."""
    even = costs.blocked_customer / (costs.blocked_customer + costs.lost_discount)
    review = costs.review / costs.lost_discount
    if review >= even:
        return Thresholds(even, even)
    return Thresholds(review, 1 - costs.review / costs.blocked_customer)


def expected_cost(
    reviewed: float, honest_blocked: float, abusers_allowed: float, costs: Costs
) -> float:
    """What so many reviewed accounts, blocked honest and allowed abusing ones cost."""
    return (
        reviewed * costs.review
        + honest_blocked * costs.blocked_customer
        + abusers_allowed * costs.lost_discount
    )


def cost(decision: npt.NDArray[np.str_], labels: npt.NDArray[np.bool_], costs: Costs) -> float:
    """What the decisions cost given who does abuse."""
    honest_blocked = ((decision == "block") & ~labels).sum()
    abusers_allowed = ((decision == "allow") & labels).sum()
    reviewed = (decision == "review").sum()
    return float(expected_cost(reviewed, honest_blocked, abusers_allowed, costs))


def cost_curve(
    probability: Floats, labels: npt.NDArray[np.bool_], costs: Costs, points: int = 41
) -> list[dict[str, Any]]:
    """Cost per account if everything from a threshold on were blocked, or were reviewed."""
    limits = np.unique(np.concatenate([np.linspace(0, 1, points), [thresholds(costs).review_from]]))
    rows = []
    for limit in limits:
        flagged = probability >= limit
        lost = float((~flagged & labels).sum()) * costs.lost_discount
        honest = float((flagged & ~labels).sum())
        rows.append(
            {
                "threshold": float(limit),
                "flagged": int(flagged.sum()),
                "cost_if_blocked": (lost + honest * costs.blocked_customer) / len(labels),
                "cost_if_reviewed": (lost + flagged.sum() * costs.review) / len(labels),
            }
        )
    return rows
