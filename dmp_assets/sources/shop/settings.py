"""Where the shop is, and how it is read."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from dmp_assets.platform.config import connection_urls, setting_values
from dmp_assets.platform.config.setting_kinds import Outside, secret
from dmp_assets.platform.text.spelling import meant
from dmp_assets.sources.shop.tables import TABLES


def _tables_of_shop(given: Mapping[str, str]) -> dict[str, str]:
    """A map whose keys are tables of the shop."""
    for name in given:
        if name not in TABLES:
            raise ValueError(
                f"{name!r} is not a table of the shop (there are: {', '.join(TABLES)})"
                + meant(name, TABLES)
            )
    return dict(given)


class ShopSettings(BaseModel):
    """Where the shop is, and how it is read."""

    shop_database_url: Annotated[SecretStr | None, Outside(), secret(connection_urls.postgres)] = (
        Field(None, description="PostgreSQL URL of the shop; empty: the embedded PostgreSQL.")
    )
    shop_schema: Annotated[str, Outside(), AfterValidator(setting_values.schema)] = Field(
        "public", description="Schema of the shop's tables in the shop database."
    )
    shop_watermark_columns: Annotated[
        dict[str, str], Outside(), AfterValidator(_tables_of_shop)
    ] = Field(
        default_factory=dict,
        description="Per foreign table a typed, growing column to read incrementally by, "
        'e.g. {"users": "created_at"}; tables not named are read in full.',
    )
    accept_column_changes: bool = Field(
        False, description="Read on when a column of the shop vanished or changed its type."
    )
    phone_region: Annotated[str, AfterValidator(setting_values.phone_region)] = Field(
        "US", description="Region of phone numbers without country code."
    )
