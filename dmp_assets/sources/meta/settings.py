"""Where Meta's APIs are, which app we are there, and what is read."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, SecretStr

from dmp_assets.platform.config import setting_values
from dmp_assets.platform.config.setting_kinds import Outside, secret, web

GRAPH, LOGIN = "https://graph.facebook.com", "https://www.facebook.com"

Breakdown = Literal["age,gender", "publisher_platform,platform_position", "country", "region"]


class MetaSettings(BaseModel):
    """Where Meta's APIs are, which app we are there, and what is read."""

    meta_url: Annotated[str, Outside(), web(GRAPH)] = Field(
        GRAPH, description="Base URL of Meta's Graph API."
    )
    meta_login_url: Annotated[str, Outside(), web(LOGIN)] = Field(
        LOGIN, description="Base URL of Meta's login dialog."
    )
    meta_app_id: Annotated[str, Outside()] = Field(
        "", description="Id of the app at Meta; empty: Meta is not connected."
    )
    meta_app_secret: Annotated[SecretStr | None, Outside(), secret(setting_values.token)] = Field(
        None, description="Secret of the app at Meta."
    )
    meta_system_user_token: Annotated[SecretStr | None, Outside(), secret(setting_values.token)] = (
        Field(
            None,
            description="Token of a system user of the own business; then nobody need consent.",
        )
    )
    meta_advertiser_id: str = Field(
        "default", description="The advertiser whose accounts that token opens."
    )
    meta_login_configuration: Annotated[str, Outside()] = Field(
        "",
        description="config_id of Facebook Login for Business; empty: the scopes are asked for.",
    )
    meta_history_days: int = Field(
        400, ge=28, le=1_122, description="Days of insights that are read at first (Meta has 37 "
        "months).",
    )  # fmt: skip
    meta_breakdowns: list[Breakdown] = Field(
        default_factory=list,
        description='Breakdowns of insights that are read besides, e.g. ["age,gender"].',
    )
    meta_longest_wait: int = Field(
        900,
        ge=0,
        description="Seconds that a run waits for Meta's allowance of an account; beyond that the "
        "account is read by the next run.",
    )
