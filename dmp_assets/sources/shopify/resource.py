"""Which shops of Shopify a home reads."""

from collections.abc import Mapping

from dmp_assets.home import Home
from dmp_assets.sources.shopify.settings import ShopifySettings


def shopify_settings(home: Home) -> ShopifySettings:
    """Who the home is at Shopify."""
    return home.settings().of(ShopifySettings)


def shops_read(settings: ShopifySettings) -> Mapping[str, str]:
    """Shop → advertiser; none where we are nobody at Shopify."""
    return settings.shopify_shops if settings.shopify_client_secret is not None else {}
