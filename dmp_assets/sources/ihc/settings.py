"""Where the IHC API is, and how it is asked."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, SecretStr

from dmp_assets.platform.config import setting_values
from dmp_assets.platform.config.setting_kinds import Outside, secret, web


class IhcSettings(BaseModel):
    """Where the IHC API is, and how it is asked."""

    ihc_url: Annotated[str, Outside(), web("https://api.ihc-attribution.com")] = Field(
        "https://api.ihc-attribution.com", description="Base URL of the IHC attribution API."
    )
    ihc_api_key: Annotated[SecretStr | None, Outside(), secret(setting_values.token)] = Field(
        None, description="Key of the IHC API; empty: our own model takes its place."
    )
    ihc_conversion_type: Annotated[str, Outside()] = Field(
        "", description="Id of the trained conversion type (conv_type_id)."
    )
    ihc_max_journeys: int = Field(100, ge=1, description="Journeys in one request.")
    ihc_max_sessions: int = Field(
        200, ge=1, description="Sessions in one request (the free plan takes 200, others 3,000)."
    )
    ihc_concurrency: int = Field(4, ge=1, le=64, description="Requests in flight.")
    ihc_redistribution: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="redistribution_parameter of the IHC API; empty: none."
    )
