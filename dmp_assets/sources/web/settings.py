"""Where the web database is."""

from datetime import date
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr

from dmp_assets.platform.config import connection_urls
from dmp_assets.platform.config.setting_kinds import Outside, secret


class WebSettings(BaseModel):
    """Where the web database is."""

    web_database: Annotated[SecretStr | None, Outside(), secret(connection_urls.web_database)] = (
        Field(
            None,
            description="Sessions, conversions and costs: path of an SQLite file or a PostgreSQL "
            "URL; empty: no attribution.",
        )
    )
    channel_mapping: dict[str, str] = Field(
        default_factory=dict,
        description='Renames or merges channels, e.g. {"fb": "social", "insta": "social"}.',
    )
    web_first_day: date = Field(
        date(2023, 1, 1), description="First day that can be selected as a partition."
    )
    web_advertiser: str = Field(
        "", description="The advertiser whose shop the web database is of; empty: the only one."
    )
