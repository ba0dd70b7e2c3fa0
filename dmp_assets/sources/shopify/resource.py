"""Which shops of Shopify a home reads."""

from collections.abc import Mapping

from dmp_assets.home import Home
from dmp_assets.sources.shopify.settings import ShopifySettings


def shopify_settings(home: Home) -> ShopifySettings:
    """Who the home is at Shopify."""
    return home.settings().of(ShopifySettings)


def shopify_lacks(settings: ShopifySettings) -> tuple[str, ...]:
    """The settings without which no shop is reached and that are not set."""
    needed = {
        "DMP_SHOPIFY_CLIENT_ID": settings.shopify_client_id,
        "DMP_SHOPIFY_CLIENT_SECRET": settings.shopify_client_secret,
    }
    return tuple(name for name, value in needed.items() if not value)


def shops_read(settings: ShopifySettings) -> Mapping[str, str]:
    """Shop → advertiser; none where we are nobody at Shopify."""
    return settings.shopify_shops if settings.shopify_client_secret is not None else {}
