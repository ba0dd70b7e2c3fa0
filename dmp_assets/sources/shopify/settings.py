"""Who we are at Shopify, and which shops are read."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from dmp_assets.platform.config import setting_values
from dmp_assets.platform.config.setting_kinds import Outside, secret
from dmp_assets.sources.shopify.shops import shop_url, shops_of


def _in_utc(given: datetime | None) -> datetime | None:
    return given if given is None or given.tzinfo else given.replace(tzinfo=UTC)


class ShopifySettings(BaseModel):
    """Who we are at Shopify, and which shops are read."""

    shopify_url: Annotated[str, Outside(), AfterValidator(shop_url)] = Field(
        "https://{shop}", description="Address of a shop's Admin API; {shop} is its domain."
    )
    shopify_client_id: Annotated[str, Outside()] = Field(
        "", description="Client id of the app at Shopify."
    )
    shopify_client_secret: Annotated[SecretStr | None, Outside(), secret(setting_values.token)] = (
        Field(None, description="Its secret; empty: no shop of Shopify is read.")
    )
    shopify_old_client_secret: Annotated[
        SecretStr | None, Outside(), secret(setting_values.token)
    ] = Field(
        None, description="The secret before it was rotated: webhooks signed with it still come."
    )
    shopify_secret_rotated_at: Annotated[datetime | None, Outside(), AfterValidator(_in_utc)] = (
        Field(
            None,
            description="When the secret was rotated (UTC); the old one signs for an hour more.",
        )
    )
    shopify_access: Literal["consent", "credentials"] = Field(
        "credentials",
        description="How shops let us in: credentials (the app is of the shop's own organisation) "
        "or consent (somebody of the shop consents in a browser).",
    )
    shopify_shops: Annotated[dict[str, str], Outside(), AfterValidator(shops_of)] = Field(
        default_factory=dict,
        description="Shops that are read, with their advertisers, e.g. "
        '{"some-shop.myshopify.com": "acme"}.',
    )
    shopify_all_orders: bool = Field(
        False,
        description="Ask for orders older than 60 days (scope read_all_orders, which Shopify must "
        "have granted to the app).",
    )
