"""What the figures of ad performance are called and mean."""

from dmp_assets.platform.figures.kinds import CataloguedFigure

FIGURES = (
    CataloguedFigure(
        "ad_spend", "Ad spend",
        "What the ad accounts say that was spent on the days of the period; other currencies by "
        "the rate of the day, unknown where there is none.",
        "money", "period",
    ),
    CataloguedFigure(
        "ads_revenue", "Revenue of the shop",
        "Orders of the period without tax and gift cards, less refunds of the period.",
        "money", "period",
    ),
    CataloguedFigure(
        "ads_contribution", "Contribution before ads",
        "Revenue − cost of goods − shipping cost − payment fees, of sales and refunds of the "
        "period.",
        "money", "period",
    ),
    CataloguedFigure(
        "mer", "MER",
        "Revenue of the shop, whoever brought it / ad spend (marketing efficiency ratio).",
        "ratio", "period",
    ),
    CataloguedFigure(
        "platform_roas", "Platform ROAS",
        "Value of the purchases that the ad platform claims, mostly with tax / ad spend.",
        "ratio", "period",
    ),
    CataloguedFigure(
        "modelled_roas", "Modelled ROAS",
        "Revenue, without tax, that the reporting model of attribution gives to the ads / ad "
        "spend; unknown without visits.",
        "ratio", "period",
    ),
    CataloguedFigure(
        "profit_roas", "Profit ROAS",
        "Contribution of the share of the orders that the model gives to the ads / ad spend; "
        "unknown without visits.",
        "ratio", "period",
    ),
    CataloguedFigure(
        "cac", "CAC",
        "Ad spend / orders of new customers (customer acquisition cost).",
        "money", "period",
    ),
    CataloguedFigure(
        "new_customer_share", "New-customer share",
        "Orders of new customers / orders whose customer is known.",
        "ratio", "period",
    ),
    CataloguedFigure(
        "platform_claimed", "Claimed by the platform",
        "Value of the purchases that the ad platform claims, mostly with tax, in the currency of "
        "the ad account.",
        "money", "period",
    ),
)  # fmt: skip
