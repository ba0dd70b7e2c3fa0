"""What an experiment may measure: each metric's name, kind, wanted direction and meaning."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dmp_assets.ads.model.experiments.definition import ExperimentError, Kind, Metric

AssignedBy = Literal["us", "platform"]

DAYS_BEFORE = 28
"""Days before its first exposure of which a unit's amounts adjust a metric (CUPED)."""


@dataclass(frozen=True)
class Measure:
    """A metric as it is counted. `assigned_by`: in which experiments it can be.

    `amount`, `denominator`: names of the sums of a unit that it is made of.
    """

    kind: Kind
    better: Literal["higher", "lower"]
    about: str
    amount: str
    denominator: str | None = None
    assigned_by: AssignedBy = "us"


MEASURES: Mapping[str, Measure] = {
    "conversion": Measure("proportion", "higher", "Share of units with an order.", "has_ordered"),
    "orders": Measure("mean", "higher", "Orders of a unit.", "orders"),
    "revenue": Measure("mean", "higher", "Revenue of a unit, refunds taken off.", "revenue"),
    "contribution": Measure(
        "mean", "higher", "Contribution of a unit before ads, refunds taken off.", "contribution"
    ),
    "order_value": Measure("ratio", "higher", "Revenue of an order.", "revenue", "orders"),
    "margin": Measure(
        "ratio", "higher", "Contribution as a share of revenue.", "contribution", "revenue"
    ),
    "cancelled_orders": Measure("mean", "lower", "Cancelled orders of a unit.", "cancelled"),
    "refund_share": Measure(
        "ratio", "lower", "What went back, as a share of what was sold.", "refunds", "sold"
    ),
    "purchases": Measure(
        "mean", "higher", "Purchases that the platform counts, of a person reached.", "purchases",
        assigned_by="platform",
    ),
    "clicks": Measure(
        "mean", "higher", "Clicks on links to the shop, of a person reached.", "clicks",
        assigned_by="platform",
    ),
}  # fmt: skip
"""Metric → what it is. Money is in the currency of sums."""


def metric_of(name: str, *, is_adjusted: bool = False) -> Metric:
    """The metric of this name. Raises ExperimentError for one that is not known."""
    if name not in MEASURES:
        known = ", ".join(MEASURES)
        raise ExperimentError(f"there is no metric {name[:80]!r}; there are {known}")
    measure = MEASURES[name]
    return Metric(name, measure.kind, measure.better, is_adjusted)


def check_measures(metrics: list[Metric], assigned_by: AssignedBy) -> None:
    """Raise ExperimentError for metrics that cannot be had of such an experiment."""
    for metric in metrics:
        measure = MEASURES.get(metric.name)
        if measure is None or measure.assigned_by != assigned_by:
            allowed = [name for name, one in MEASURES.items() if one.assigned_by == assigned_by]
            raise ExperimentError(
                f"{metric.name} is not measured of such an experiment; there are "
                f"{', '.join(allowed)}"
            )
        if metric.is_adjusted and assigned_by == "platform":
            raise ExperimentError(
                f"{metric.name} cannot be adjusted: the platform tells nothing of single people"
            )
