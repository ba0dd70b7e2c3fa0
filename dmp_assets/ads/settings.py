"""The settings of ad performance, with those of its sources."""

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from dmp_assets.platform.config import setting_values
from dmp_assets.platform.config.setting_kinds import Outside, each, given
from dmp_assets.platform.reporting.mail_settings import is_bare
from dmp_assets.sources.exports.settings import ExportSettings
from dmp_assets.sources.meta.settings import MetaSettings
from dmp_assets.sources.shopify.settings import ShopifySettings

if TYPE_CHECKING:
    from dmp_assets.settings import Settings

WRITTEN = ()


def holiday_region(given: str) -> str:
    """A country, or a part of one, whose public holidays are known."""
    from holidays import list_supported_countries

    country, _, part = given.partition("-")
    parts = list_supported_countries().get(country)
    if parts is None or (part and part not in parts):
        raise ValueError(f"a country such as DE, or a part of one such as US-CA, not {given}")
    return given


def _addresses(given: list[str]) -> list[str]:
    """Addresses without names. Raises ValueError, which quotes none of them."""
    for place, one in enumerate(given, 1):
        if not is_bare(one):
            raise ValueError(
                f"number {place} of the list is not an e-mail address without a name, such as "
                "reports@example.com"
            )
    return [one.strip() for one in given]


def amounts(given: dict[str, Decimal]) -> dict[str, Decimal]:
    """Amounts by advertiser, which must be above 0."""
    for advertiser, amount in given.items():
        if not (amount.is_finite() and amount > 0):
            raise ValueError(f"{advertiser}: an amount above 0 is expected")
    return given


class AdsSettings(MetaSettings, ShopifySettings, ExportSettings):
    """How spend, orders and claims are brought together."""

    ads_currency: Annotated[str | None, given(setting_values.currency)] = Field(
        None, description="Currency of sums over accounts and shops; empty: DMP_CURRENCY."
    )
    ads_exchange_rates: Annotated[Path | None, Outside()] = Field(
        None,
        description="CSV of dated exchange rates: `date,currency,rate`, rate being what one unit "
        "is worth in the currency of sums; empty: other currencies stay out of sums, named.",
    )
    ads_shipping_cost: Decimal = Field(
        Decimal(0), ge=0, description="What sending an order costs the shop, in the currency of "
        "sums.",
    )  # fmt: skip
    ads_goods_share: Annotated[Decimal | None, Field(ge=0, le=1)] = Field(
        None, description="Share of their net revenue that goods cost whose cost the shop does not "
        "say, e.g. 0.4; empty: it is unknown and counts 0.",
    )  # fmt: skip
    ads_click_days: int = Field(
        7, ge=1, le=28, description="Days after a click on an ad in which an order counts as its."
    )
    ads_meta_sources: list[str] = Field(
        ["facebook", "instagram", "fb", "ig", "meta"],
        description="What utm_source says of visits by ads of Meta.",
    )
    ads_meta_channels: list[str] = Field(
        ["meta_social"], description="Channels of the web's sessions that are ads of Meta."
    )
    ads_promotes_by_itself: bool = Field(
        False, description="Whether the winner of an experiment is promoted without a person."
    )
    api_assign_rate_limit: Annotated[str, AfterValidator(setting_values.rate)] = Field(
        "60000/minute", description="Units of one client that are assigned in experiments."
    )
    ads_holidays: Annotated[str | None, given(holiday_region)] = Field(
        None,
        description="Country (ISO 3166), or part of one, whose public holidays budgets know of: "
        "DE, US-CA; empty: none.",
    )
    ads_apply_budgets: bool = Field(
        False, description="Whether approved budgets are written to Meta; else they are proposed."
    )
    ads_greatest_step: float = Field(
        0.3, gt=0, le=1, description="By what share of itself a budget may change at most at once."
    )
    ads_most_per_day: Annotated[dict[str, Decimal], AfterValidator(amounts)] = Field(
        default_factory=dict,
        description="Most that the budgets of an advertiser may sum to a day, in the currency of "
        'sums, e.g. {"acme": 500}; without it no plan spends more than is spent at present.',
    )
    ads_report_emails: Annotated[list[str], Outside(), AfterValidator(_addresses)] = Field(
        default_factory=list,
        description="Who gets the weekly report on all advertisers by e-mail, e.g. "
        '["a@x.example"].',
    )
    ads_slack_channels: Annotated[dict[str, str], Outside(), each(setting_values.slack_channel)] = (
        Field(
            default_factory=dict,
            description="Advertiser → id of the Slack channel for its notices, e.g. "
            '{"acme": "C0123456789"}; one that is not named: DMP_SLACK_ALERT_CHANNEL.',
        )
    )


SETTINGS = AdsSettings


def currency_of_sums(settings: "Settings") -> str:
    """The currency of sums over accounts and shops (ISO 4217)."""
    return settings.of(AdsSettings).ads_currency or settings.currency
