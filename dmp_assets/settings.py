"""Every setting of the product, its default and its environment variable.

A setting `shop_database_url` is read from `DMP_SHOP_DATABASE_URL`, else from `.env`, else from
`config.yaml` (both beside the checkout). Secrets are taken from the environment or `.env` only.

Settings that reach outside this machine are marked `Outside`. A *sandbox* home (see `home.py`)
ignores whatever the environment says of them, always, so that a trial never touches a real system.
"""

import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)
from yaml import YAMLError

PACKAGE_DIR = Path(__file__).resolve().parent


class Outside:
    """Marks a setting that reaches an outside system; ignored in a sandbox home."""


def project_dir() -> Path:
    """Folder that holds `reports/`, `notebooks/` and `config.yaml`: the checkout unless set."""
    return Path(os.environ.get("DMP_PROJECT_DIR", PACKAGE_DIR.parent)).resolve()


class Settings(BaseSettings):
    """All settings; build it with `dmp_assets.home.Home.settings()`, which knows the profile."""

    model_config = SettingsConfigDict(env_prefix="DMP_", extra="ignore", validate_default=True)

    home: Path = Field(Path("var"), description="Folder that holds everything a run makes.")

    # the shop
    shop_database_url: Annotated[SecretStr | None, Outside()] = Field(
        None, description="PostgreSQL URL of the shop; empty: the embedded PostgreSQL."
    )
    shop_schema: Annotated[str, Outside()] = Field(
        "public", description="Schema of the shop's tables in the shop database."
    )
    shop_watermark_columns: Annotated[dict[str, str], Outside()] = Field(
        default_factory=dict,
        description="Per foreign table a typed, growing column to read incrementally by, "
        'e.g. {"users": "created_at"}; tables not named are read in full.',
    )
    accept_column_changes: bool = Field(
        False, description="Read on when a column of the shop vanished or changed its type."
    )
    phone_region: str = Field("US", description="Region of phone numbers without country code.")
    max_bad_share: float = Field(
        0.25, ge=0, le=1, description="A cleaned table fails above this share of unusable rows."
    )

    # the web database and attribution
    web_database: Annotated[SecretStr | None, Outside()] = Field(
        None,
        description="Sessions, conversions and costs: path of an SQLite file or a PostgreSQL URL; "
        "empty: no attribution.",
    )
    web_first_day: date = Field(
        date(2023, 1, 1), description="First day that can be selected as a partition."
    )
    channel_mapping: dict[str, str] = Field(
        default_factory=dict,
        description='Renames or merges channels, e.g. {"fb": "social", "insta": "social"}.',
    )
    lookback_days: int | None = Field(
        None, ge=1, description="Touchpoints older than this do not count; empty: all of them do."
    )
    journeys_since_last_conversion: bool = Field(
        False, description="A journey starts after the user's previous conversion."
    )
    journeys_collapse_repeats: bool = Field(
        False, description="Of consecutive sessions of one channel only the first is a touchpoint."
    )
    reporting_model: str = Field(
        "ihc", description="Attribution model of Slack, CSV and channel_reporting; see dmp show."
    )
    direct_channels: list[str] = Field(
        default_factory=lambda: ["direct"], description="Channels of people who came by themselves."
    )
    half_life_days: float = Field(7, gt=0, description="Half-life of the model time_decay.")
    first_touch_weight: float = Field(
        0.4, ge=0, le=1, description="Weight of the first touchpoint in the model position_based."
    )
    last_touch_weight: float = Field(
        0.4, ge=0, le=1, description="Weight of the last touchpoint in the model position_based."
    )
    markov_orders: list[int] = Field(
        default_factory=lambda: [1, 2], description="Orders of the Markov models, 1 to 4."
    )
    ihc_url: Annotated[str, Outside()] = Field(
        "https://api.ihc-attribution.com", description="Base URL of the IHC attribution API."
    )
    ihc_api_key: Annotated[SecretStr | None, Outside()] = Field(
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

    # the lakehouse
    lakehouse_root: Annotated[str | None, Outside()] = Field(
        None, description="Where tables live, e.g. s3a://bucket/lakehouse; empty: under the home."
    )
    spark_master: Annotated[str | None, Outside()] = Field(
        None, description="A cluster's master URL; empty: local[*]."
    )
    spark_remote: Annotated[str | None, Outside()] = Field(
        None, description="A Spark Connect URL (sc://host:port); wins over spark_master."
    )
    spark_memory: str | None = Field(
        None, description="Memory of the local Spark driver; empty: 2g, or 4g for a large shop."
    )
    spark_conf: dict[str, str] = Field(
        default_factory=dict, description="Further Spark settings, e.g. S3 credentials providers."
    )
    duckdb_memory: str = Field("1GB", description="Memory limit of one DuckDB connection.")
    retention_days: int = Field(30, ge=1, description="How long old table versions are kept.")
    prediction_log_days: int = Field(
        90, ge=1, description="How long the operational store keeps scores that have landed here."
    )

    # money and the model
    cost_blocked_customer: float = Field(
        60.0, gt=0, description="Cost of blocking one honest customer, in the shop's currency."
    )
    cost_lost_discount: float = Field(
        20.0, gt=0, description="Discount lost to one abuser who is let through."
    )
    review_cost: float = Field(3.0, ge=0, description="Cost of one account reviewed by a person.")
    review_sample_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of allowed accounts that are reviewed too, so that misses are measured.",
    )
    currency: str = Field("EUR", description="ISO 4217 code of the shop's money.")
    device_day_review: int = Field(
        5, ge=2, description="New accounts made on one device within a day: reviewed from here on."
    )
    device_day_block: int = Field(8, ge=2, description="The same: blocked from here on.")
    train_sample_rows: int = Field(
        200_000, ge=1_000, description="At most this many labelled accounts train a model."
    )
    retrain_min_labels: int = Field(
        50, ge=1, description="New labels needed before persistent drift retrains by itself."
    )
    drift_persistent_runs: int = Field(
        3, ge=1, description="Consecutive drifted evaluations that count as persistent."
    )

    # reports and delivery
    timezone: str = Field("UTC", description="IANA zone of report periods and schedules.")
    public_url: Annotated[str | None, Outside()] = Field(
        None, description="Base URL under which people reach the reports; empty: no links."
    )
    slack_token: Annotated[SecretStr | None, Outside()] = Field(
        None, description="Slack bot token (xoxb-…); empty: messages wait in the outbox."
    )
    slack_base_url: Annotated[str, Outside()] = Field(
        "https://slack.com/api/", description="Slack Web API."
    )
    slack_channel: Annotated[str, Outside()] = Field(
        "C_REPORTS", description="Channel id for reports."
    )
    slack_alert_channel: Annotated[str, Outside()] = Field(
        "C_ALERTS", description="Channel id for alerts."
    )
    slack_owner_channels: Annotated[dict[str, str], Outside()] = Field(
        default_factory=dict, description="Per asset owner a channel id for its alerts."
    )
    freshness_hours: int = Field(
        26, ge=1, description="A table older than this is reported as not fresh."
    )

    # the operational store and the API
    store_url: Annotated[SecretStr | None, Outside()] = Field(
        None,
        description="PostgreSQL URL of the operational store; empty: the embedded PostgreSQL, from "
        "`dmp migrate` on.",
    )

    api_host: str = Field("127.0.0.1", description="Where the API listens.")
    api_port: int = Field(8000, ge=0, le=65535, description="Port of the API.")
    api_behind_proxy: bool = Field(
        False, description="A proxy in front of the API speaks TLS and sets X-Forwarded-For."
    )
    api_proxies: list[str] = Field(
        default_factory=lambda: ["127.0.0.1"],
        description="Addresses or networks of that proxy: only what they forward is believed.",
    )
    api_tls_certificate: Path | None = Field(
        None, description="PEM file of the API's certificate; empty: plain HTTP, loopback only."
    )
    api_tls_key: Path | None = Field(None, description="PEM file of its private key.")
    api_secret: Annotated[SecretStr | None, Outside()] = Field(
        None,
        description="Seals cursors (32 bytes, url-safe base64); empty: one is generated, which "
        "does on loopback only.",
    )
    api_rate_limit: str = Field("600/minute", description="Calls of one client, e.g. 600/minute.")
    api_score_rate_limit: str = Field(
        "6000/minute", description="Calls of one client that score accounts."
    )
    api_denied_rate_limit: str = Field(
        "20/minute", description="Wrong credentials from one address."
    )
    api_rate_limit_storage: Annotated[SecretStr | None, Outside()] = Field(
        None, description="Where calls are counted, e.g. redis://…; empty: in each process."
    )

    live_account_days: int = Field(
        30,
        ge=1,
        description="How long a new account that was scored counts for others while the shop's "
        "tables do not have it.",
    )
    live_accounts: int = Field(
        20_000,
        ge=1,
        description="So many of these at most, the latest, in each process of the API; each takes "
        "5 kB of its memory.",
    )
    oidc_issuer: Annotated[str, Outside()] = Field(
        "",
        description="OpenID provider by which people may log in, e.g. https://login.example.com; "
        "empty: by password only.",
    )
    oidc_client_id: Annotated[str, Outside()] = Field(
        "", description="What that provider knows the API by."
    )
    oidc_client_secret: Annotated[SecretStr | None, Outside()] = Field(
        None, description="The secret that goes with it; empty: a public client."
    )
    api_health_url: Annotated[str, Outside()] = Field(
        "",
        description="Where the API's readiness is asked for alerts, e.g. "
        "https://api.example.com/health/ready; empty: on this machine.",
    )

    # people and machines
    webserver_host: str = Field("127.0.0.1", description="Where Dagster's UI listens.")
    webserver_port: int = Field(3000, ge=0, le=65535, description="Port of Dagster's UI.")
    demo_users: int = Field(10_000, ge=100, le=2_000_000, description="Users of the demo shop.")
    demo_seed: int = Field(7, description="Seed of the demo shop.")
    demo_end: date = Field(date(2024, 3, 31), description="Last day of the demo shop's history.")

    @field_validator(
        "web_database", "ihc_api_key", "store_url", "api_secret", "api_rate_limit_storage",
        "oidc_client_secret",
    )  # fmt: skip
    @classmethod
    def _empty_is_none(cls, value: SecretStr | None) -> SecretStr | None:
        return value or None

    @field_validator("api_tls_certificate", "api_tls_key", mode="before")
    @classmethod
    def _no_path_is_none(cls, value: Any) -> Any:
        return value or None

    @field_validator("api_rate_limit", "api_score_rate_limit", "api_denied_rate_limit")
    @classmethod
    def _known_rate(cls, value: str) -> str:
        import limits

        try:
            limits.parse(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is not a rate (e.g. 600/minute)") from error
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"{value!r} is not an IANA time zone (e.g. Europe/Berlin)") from error
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order of precedence: arguments, environment, `.env`, `config.yaml` (never secrets)."""
        config = _ConfigFile(settings_cls, yaml_file=project_dir() / "config.yaml")
        ordered = (init_settings, env_settings, dotenv_settings, config)
        return (_Whole(settings_cls, ordered),)


class _Whole(PydanticBaseSettingsSource):
    """The sources in order of precedence, each setting from one of them alone.

    pydantic-settings merges maps of all sources, by which the environment's entries would reach
    a sandbox whose map is meant to be empty.
    """

    def __init__(
        self, settings_cls: type[BaseSettings], ordered: Sequence[PydanticBaseSettingsSource]
    ) -> None:
        super().__init__(settings_cls)
        self.ordered = ordered

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for source in reversed(self.ordered):
            values |= source()
        return values


class _ConfigFile(YamlConfigSettingsSource):
    """`config.yaml`; refuses secrets, which belong in the environment, and unknown names."""

    def __init__(self, settings_cls: type[BaseSettings], yaml_file: Path) -> None:
        try:
            super().__init__(settings_cls, yaml_file=yaml_file, yaml_file_encoding="utf-8")
        except (YAMLError, TypeError, ValueError) as error:
            raise ValueError(f"{yaml_file} is no list of `setting: value` ({error})") from error

    def __call__(self) -> dict[str, Any]:
        values = super().__call__()
        fields = self.settings_cls.model_fields
        for name in values:
            if name not in fields:
                raise ValueError(f"config.yaml: {name!r} is not a setting (see .env.example)")
            if "SecretStr" in str(fields[name].annotation):
                raise ValueError(
                    f"config.yaml: {name!r} is a secret; set DMP_{name.upper()} in the environment"
                )
        return values


def outside_fields() -> list[str]:
    """Names of the settings that a sandbox home ignores."""
    return [
        name
        for name, field in Settings.model_fields.items()
        if any(isinstance(mark, Outside) for mark in field.metadata)
    ]


def load(*, sandbox: bool, overrides: dict[str, Any] | None = None) -> Settings:
    """Read the settings.

    In a sandbox every `Outside` setting keeps its default whatever the environment says;
    `overrides` (the sandbox's own loopback addresses) are applied on top.
    Raises pydantic.ValidationError naming the setting that is wrong.
    """
    values: dict[str, Any] = {}
    if sandbox:
        for name in outside_fields():
            values[name] = Settings.model_fields[name].get_default(call_default_factory=True)
    values.update(overrides or {})
    return Settings(_env_file=project_dir() / ".env", **values)  # type: ignore[call-arg]
