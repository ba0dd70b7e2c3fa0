"""What the figures of attribution are called and mean."""

from dmp_assets.platform.figures.kinds import CataloguedFigure

FIGURES = (
    CataloguedFigure(
        "conversions", "Conversions",
        "Conversions by their own day, whatever became of them: attributed, without a touchpoint, "
        "failed or unusable.",
        "conversions", "period",
    ),
    CataloguedFigure(
        "attributed_conversions", "Credited conversions",
        "Sum of the credits that sessions of the period earned, whenever the conversion came.",
        "conversions", "period",
    ),
    CataloguedFigure(
        "attributed_revenue", "Credited revenue",
        "Sum of the revenue that sessions of the period earned, whenever the conversion came.",
        "money", "period",
    ),
    CataloguedFigure(
        "cost", "Cost", "What the sessions of the period cost.", "money", "period"
    ),
    CataloguedFigure(
        "cost_per_order", "Cost per order",
        "Cost of all channels / credited conversions of all channels, those without cost included.",
        "money", "period",
    ),
    CataloguedFigure(
        "paid_cost_per_order", "Cost per order, paid channels",
        "Cost / conversions credited to the channels that cost something in the period.",
        "money", "period",
    ),
    CataloguedFigure(
        "channel_cost_per_order", "Cost per order of a channel",
        "Cost of the channel / conversions credited to it; unknown without cost or conversions.",
        "money", "period",
    ),
    CataloguedFigure(
        "channel_roas", "ROAS of a channel",
        "Revenue credited to the channel / its cost; unknown without cost.",
        "ratio", "period",
    ),
    CataloguedFigure(
        "roas", "ROAS, all channels",
        "Revenue credited to all channels, also to those without cost / cost.",
        "ratio", "period",
    ),
    CataloguedFigure(
        "paid_roas", "ROAS, paid channels",
        "Revenue credited to the channels that cost something in the period / their cost.",
        "ratio", "period",
    ),
)  # fmt: skip
