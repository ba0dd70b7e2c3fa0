"""What is pooled, of whom, and under which terms."""

import math

from dmp_assets.ads.model.budgets.beliefs import Belief
from dmp_assets.ads.model.pooled.cells import Measure

TERMS_VERSION = "2026-11"
"""The terms that are agreed to now; consent to others does not count."""
TERMS = (
    "Each month one clipped value per measure is summed up with those of nine other shops at "
    "least. Nobody is shown or named, groups of ten never change, and who withdraws is in nothing "
    "that the next run shows. What was shown before stays known to who saw it."
)
INDUSTRIES = (
    "fashion", "beauty", "food", "home", "electronics", "sports", "toys", "health", "books",
    "services", "other",
)  # fmt: skip
SIZES = {
    "small": "under 50,000 a month",
    "medium": "50,000 to 500,000 a month",
    "large": "over 500,000 a month",
}
"""Size of a shop → its revenue, in the currency of sums."""
PERIODS = 12
"""Months that are shown, the newest one closed."""

MEASURES = {
    "mer": (Measure("mer", 0.3, 50.0, is_log=True), "revenue of the shop / spend"),
    "platform_roas": (
        Measure("platform_roas", 0.1, 30.0, is_log=True), "value that Meta claims / spend"
    ),
    "modelled_roas": (
        Measure("modelled_roas", 0.1, 30.0, is_log=True),
        "revenue that attribution gives to ads / spend",
    ),
    "profit_roas": (
        Measure("profit_roas", 0.05, 15.0, is_log=True),
        "contribution that attribution gives to ads / spend",
    ),
    "cac": (Measure("cac", 1.0, 500.0, is_log=True), "spend / orders of new customers"),
    "new_share": (
        Measure("new_share", 0.0, 1.0), "orders of new customers / orders of known customers"
    ),
    "order_value": (Measure("order_value", 5.0, 1_000.0, is_log=True), "revenue / orders"),
}  # fmt: skip
"""What is pooled → its bounds, said beforehand, and its formula. Of a calendar month."""


LEAST_DEVIATION = 0.5
"""Of the mean: what attribution gives to ads is not what they caused, however alike shops are."""


def belief(centre: float, spread: float) -> Belief:
    """A pooled return as what is believed of a channel before its own series is looked at.

    `centre`, `spread`: the geometric mean and the factor of one deviation, as a cell shows them.
    A log-normal value with these has the mean exp(μ + σ²/2). Raises BeliefError where the cell
    shows no spread, which would be certainty.
    """
    mean, variance = math.log(centre), math.log(spread) ** 2
    expected = math.exp(mean + variance / 2)
    return Belief(expected, expected * max(math.sqrt(math.expm1(variance)), LEAST_DEVIATION))
