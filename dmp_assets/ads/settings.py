"""The settings of ad performance, with those of its sources."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import Field

from dmp_assets.platform.config import setting_values
from dmp_assets.platform.config.setting_kinds import Outside, given
from dmp_assets.sources.exports.settings import ExportSettings
from dmp_assets.sources.meta.settings import MetaSettings
from dmp_assets.sources.shopify.settings import ShopifySettings

WRITTEN = ()


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
    ads_click_days: int = Field(
        7, ge=1, le=28, description="Days after a click on an ad in which an order counts as its."
    )
    ads_meta_sources: list[str] = Field(
        ["facebook", "instagram", "fb", "ig", "meta"],
        description="What utm_source says of visits by ads of Meta.",
    )
    ads_web_advertiser: str = Field(
        "", description="The advertiser whose shop the web database is of; empty: the only one."
    )
    ads_meta_channels: list[str] = Field(
        ["meta_social"], description="Channels of the web's sessions that are ads of Meta."
    )


SETTINGS = AdsSettings
