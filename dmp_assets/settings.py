"""Every setting of the product, its default and its environment variable.

A setting `shop_database_url` is read from `DMP_SHOP_DATABASE_URL`, else from `.env`, else from
`config.yaml` (both beside the checkout). Secrets are taken from the environment or `.env` only.

Settings that reach outside this machine are marked `Outside`. A *sandbox* home (see `home.py`)
ignores whatever the environment says of them, always, so that a trial never touches a real system.
"""

import os
from collections.abc import Callable
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_origin

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dmp_assets.platform.config import connection_urls, setting_values
from dmp_assets.platform.config.setting_sources import (
    ENV_FILE,
    Given,
    SettingsError,
    env_file,
    explained,
    unknown,
)

__all__ = ["Outside", "Settings", "SettingsError", "load", "outside_fields", "project_dir"]

from dmp_assets.platform.values import words

PACKAGE_DIR = Path(__file__).resolve().parent
NOT_SETTINGS = frozenset(
    ("DMP_PROJECT_DIR", "DMP_JARS_DIR", "DMP_MAVEN_URL", "DMP_CLASS_ARCHIVE_TO",
     "DMP_REPORT_RECORD", "DMP_REPORT_VERSIONS")
)  # fmt: skip
"""Environment variables of the program that are no settings."""


class Outside:
    """Marks a setting that reaches an outside system; ignored in a sandbox home."""


T = TypeVar("T")


def _secret(check: Callable[[str], object]) -> AfterValidator:
    """A check of what a secret holds, which stays one."""

    def checked(value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check(value.get_secret_value())
        return value

    return AfterValidator(checked)


def _given(check: Callable[[str], str]) -> AfterValidator:
    """A check of a text that may be absent."""
    return AfterValidator(lambda value: value if value is None else check(value))


def _each(check: Callable[[str], str]) -> AfterValidator:
    """A check of every value of a list or map."""

    def checked(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: check(text) for name, text in value.items()}
        return [check(text) for text in value]

    return AfterValidator(checked)


def _web(expected: str) -> AfterValidator:
    return AfterValidator(setting_values.unless_empty(setting_values.web_address(expected)))


def project_dir() -> Path:
    """Folder that holds `reports/`, `notebooks/` and `config.yaml`: the checkout unless set."""
    return Path(os.environ.get("DMP_PROJECT_DIR", PACKAGE_DIR.parent)).resolve()


class Settings(BaseSettings):
    """All settings; build it with `dmp_assets.home.Home.settings()`, which knows the profile."""

    model_config = SettingsConfigDict(
        env_prefix="DMP_",
        extra="ignore",
        validate_default=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    home: Path = Field(Path("var"), description="Folder that holds everything a run makes.")

    # the shop
    shop_database_url: Annotated[SecretStr | None, Outside(), _secret(connection_urls.postgres)] = (
        Field(None, description="PostgreSQL URL of the shop; empty: the embedded PostgreSQL.")
    )
    shop_schema: Annotated[str, Outside(), AfterValidator(setting_values.schema)] = Field(
        "public", description="Schema of the shop's tables in the shop database."
    )
    shop_watermark_columns: Annotated[
        dict[str, str], Outside(), AfterValidator(setting_values.tables_of_shop)
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
    no_values: Annotated[dict[str, list[str]], AfterValidator(setting_values.no_values)] = Field(
        default_factory=dict,
        description="Further words that mean no value, by kind (any, email, phone, device, …), "
        'e.g. {"device": ["kiosk"], "any": ["k.A."]}; `NULL`, `(not set)` and the like are known.',
    )
    column_formats: Annotated[dict[str, str], AfterValidator(setting_values.column_formats)] = (
        Field(
            default_factory=dict,
            description="How columns write what could be read in two ways, e.g. "
            '{"users.dob": "month-first", "promo_codes.discount_value": "decimal-comma"}; columns '
            "not named: as their values tell.",
        )
    )
    max_bad_share: float = Field(
        0.25, ge=0, le=1, description="A cleaned table fails above this share of unusable rows."
    )

    # the web database and attribution
    web_database: Annotated[SecretStr | None, Outside(), _secret(connection_urls.web_database)] = (
        Field(
            None,
            description="Sessions, conversions and costs: path of an SQLite file or a PostgreSQL "
            "URL; empty: no attribution.",
        )
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
    journey_max_touchpoints: int = Field(
        200, ge=1, description="Of a longer journey the latest so many sessions count."
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
    markov_orders: list[Annotated[int, Field(ge=1, le=4)]] = Field(
        min_length=1,
        default_factory=lambda: [1, 2],
        description="Orders of the Markov models, 1 to 4.",
    )
    ihc_url: Annotated[str, Outside(), _web("https://api.ihc-attribution.com")] = Field(
        "https://api.ihc-attribution.com", description="Base URL of the IHC attribution API."
    )
    ihc_api_key: Annotated[SecretStr | None, Outside(), _secret(setting_values.token)] = Field(
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
    lakehouse_root: Annotated[str | None, Outside(), _given(connection_urls.object_store)] = Field(
        None, description="Where tables live, e.g. s3a://bucket/lakehouse; empty: under the home."
    )
    spark_master: Annotated[str | None, Outside(), _given(connection_urls.spark_master)] = Field(
        None, description="A cluster's master URL; empty: local[*]."
    )
    spark_remote: Annotated[str | None, Outside(), _given(connection_urls.spark_connect)] = Field(
        None, description="A Spark Connect URL (sc://host:port); wins over spark_master."
    )
    spark_memory: Annotated[str | None, _given(setting_values.spark_memory)] = Field(
        None, description="Memory of the local Spark driver; empty: 2g, or 4g for a large shop."
    )
    spark_conf: Annotated[dict[str, str], AfterValidator(setting_values.spark_conf)] = Field(
        default_factory=dict, description="Further Spark settings, e.g. S3 credentials providers."
    )
    duckdb_memory: Annotated[str, AfterValidator(setting_values.duckdb_memory)] = Field(
        "1GB", description="Memory limit of one DuckDB connection."
    )
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
    currency: Annotated[str, AfterValidator(setting_values.currency)] = Field(
        "EUR", description="ISO 4217 code of the shop's money."
    )
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
    timezone: Annotated[str, AfterValidator(setting_values.zone)] = Field(
        "UTC", description="IANA zone of report periods and schedules."
    )
    public_url: Annotated[
        str | None,
        Outside(),
        _given(setting_values.web_address("https://reports.example.com")),
    ] = Field(None, description="Base URL under which people reach the reports; empty: no links.")
    slack_token: Annotated[SecretStr | None, Outside(), _secret(setting_values.slack_token)] = (
        Field(None, description="Slack bot token (xoxb-…); empty: messages wait in the outbox.")
    )
    slack_base_url: Annotated[str, Outside(), _web("https://slack.com/api/")] = Field(
        "https://slack.com/api/", description="Slack Web API."
    )
    slack_channel: Annotated[str, Outside(), AfterValidator(setting_values.slack_channel)] = Field(
        "C_REPORTS", description="Channel id for reports."
    )
    slack_alert_channel: Annotated[str, Outside(), AfterValidator(setting_values.slack_channel)] = (
        Field("C_ALERTS", description="Channel id for alerts.")
    )
    slack_owner_channels: Annotated[
        dict[str, str], Outside(), _each(setting_values.slack_channel)
    ] = Field(default_factory=dict, description="Per asset owner a channel id for its alerts.")
    freshness_hours: int = Field(
        26, ge=1, description="A table older than this is reported as not fresh."
    )
    expected_weekly_events: int | None = Field(
        None,
        ge=0,
        description="Events (registrations and usages; sessions and conversions) below which seven "
        "days are reported as not complete; 0: a source may be silent; empty: for at most seven "
        "days, or twice its longest silence.",
    )

    # the operational store and the API
    store_url: Annotated[SecretStr | None, Outside(), _secret(connection_urls.postgres)] = Field(
        None,
        description="PostgreSQL URL of the operational store; empty: the embedded PostgreSQL, from "
        "`dmp migrate` on.",
    )
    store_owner_url: Annotated[SecretStr | None, Outside(), _secret(connection_urls.postgres)] = (
        Field(
            None,
            description="The same database for the role that owns its tables, as which "
            "`dmp migrate` works; empty: DMP_STORE_URL, whose role then can change the audit log.",
        )
    )

    api_host: Annotated[str, AfterValidator(setting_values.host)] = Field(
        "127.0.0.1", description="Where the API listens."
    )
    api_port: int = Field(8000, ge=0, le=65535, description="Port of the API.")
    api_behind_proxy: bool = Field(
        False, description="A proxy in front of the API speaks TLS and sets X-Forwarded-For."
    )
    api_proxies: Annotated[list[str], _each(setting_values.network)] = Field(
        default_factory=lambda: ["127.0.0.1"],
        description="Addresses or networks of that proxy: only what they forward is believed.",
    )
    api_hosts: Annotated[list[str], _each(setting_values.host)] = Field(
        default_factory=list,
        description="Names by which callers reach the API (`Host`); empty: this machine's own on "
        "loopback, any beyond it.",
    )
    api_tls_certificate: Path | None = Field(
        None, description="PEM file of the API's certificate; empty: plain HTTP, loopback only."
    )
    api_tls_key: Path | None = Field(None, description="PEM file of its private key.")
    api_secret: Annotated[SecretStr | None, Outside(), _secret(setting_values.api_secret)] = Field(
        None,
        description="Seals cursors (32 bytes, url-safe base64); empty: one is generated, which "
        "does on loopback only.",
    )
    api_rate_limit: Annotated[str, AfterValidator(setting_values.rate)] = Field(
        "600/minute", description="Calls of one client, e.g. 600/minute."
    )
    api_score_rate_limit: Annotated[str, AfterValidator(setting_values.rate)] = Field(
        "6000/minute", description="Accounts of one client that are scored."
    )
    api_dry_run_rate_limit: Annotated[str, AfterValidator(setting_values.rate)] = Field(
        "100/minute", description="Those of them that are dry runs."
    )
    api_denied_rate_limit: Annotated[str, AfterValidator(setting_values.rate)] = Field(
        "20/minute", description="Wrong credentials from one address."
    )
    api_login_rate_limit: Annotated[str, AfterValidator(setting_values.rate)] = Field(
        "300/minute",
        description="Logins by password from all browsers that nobody logged in with before.",
    )
    api_rate_limit_storage: Annotated[
        SecretStr | None, Outside(), _secret(connection_urls.counter)
    ] = Field(None, description="Where calls are counted, e.g. redis://…; empty: in each process.")

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
    live_accounts_per_client: int | None = Field(
        None,
        ge=1,
        description="So many of them of one client; empty: as many as there is room for, the "
        "client with the most giving way first.",
    )
    spool_scores: int = Field(
        200_000,
        ge=1,
        description="Scores that wait on the disk of a process while the store does not answer; "
        "beyond, callers get 503.",
    )
    spool_scores_per_client: int = Field(50_000, ge=1, description="So many of them of one client.")
    oidc_issuer: Annotated[str, Outside(), _web("https://login.example.com")] = Field(
        "",
        description="OpenID provider by which people may log in, e.g. https://login.example.com; "
        "empty: by password only.",
    )
    oidc_client_id: Annotated[str, Outside()] = Field(
        "", description="What that provider knows the API by."
    )
    oidc_client_secret: Annotated[SecretStr | None, Outside(), _secret(setting_values.token)] = (
        Field(None, description="The secret that goes with it; empty: a public client.")
    )
    api_health_url: Annotated[str, Outside(), _web("https://api.example.com/health/ready")] = Field(
        "",
        description="Where the API's readiness is asked for alerts, e.g. "
        "https://api.example.com/health/ready; empty: on this machine.",
    )

    backup_key: Annotated[SecretStr | None, Outside()] = Field(
        None,
        description="Signs backups, so that `dmp restore` knows its own; empty: a key of this "
        "user's, in ~/.config/dmp_assets.",
    )

    # people and machines
    webserver_host: Annotated[str, AfterValidator(setting_values.host)] = Field(
        "127.0.0.1", description="Where Dagster's UI listens."
    )
    webserver_port: int = Field(3000, ge=0, le=65535, description="Port of Dagster's UI.")
    webserver_url: Annotated[str, Outside(), _web("https://dagster.example.com")] = Field(
        "",
        description="Address under which people reach Dagster's UI through a proxy, e.g. "
        "https://dagster.example.com; empty: DMP_PUBLIC_URL, and this machine by any name of "
        "loopback.",
    )
    demo_users: int = Field(10_000, ge=100, le=2_000_000, description="Users of the demo shop.")
    demo_seed: int = Field(7, description="Seed of the demo shop.")
    demo_end: date = Field(date(2024, 3, 31), description="Last day of the demo shop's history.")

    @field_validator("*", mode="before")
    @classmethod
    def _decoded(cls, value: Any, info: ValidationInfo) -> Any:
        kind = get_origin(cls.model_fields[str(info.field_name)].annotation)
        if isinstance(value, str) and kind in (list, dict):
            return setting_values.decoded(value, kind)
        return value.strip() if isinstance(value, str) else value

    @field_validator("reporting_model")
    @classmethod
    def _known_model(cls, value: str, info: ValidationInfo) -> str:
        return setting_values.attribution_model(value, info.data.get("markov_orders", (1, 2)))

    @model_validator(mode="after")
    def _weights_add_up(self) -> "Settings":
        if self.first_touch_weight + self.last_touch_weight > 1:
            raise ValueError(
                "DMP_FIRST_TOUCH_WEIGHT and DMP_LAST_TOUCH_WEIGHT are shares of one conversion: "
                "together they are 1 at most"
            )
        return self

    @cached_property
    def no_value_words(self) -> words.Words:
        """The lists of words that mean nothing, with those of `no_values`."""
        return words.of(self.no_values)

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
        arguments = init_settings()
        return (Given(settings_cls, arguments, project_dir(), NOT_SETTINGS),)


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
    Raises SettingsError naming each setting that is wrong.
    """
    values: dict[str, Any] = {}
    if sandbox:
        for name in outside_fields():
            values[name] = Settings.model_fields[name].get_default(call_default_factory=True)
    values.update(overrides or {})
    try:
        return Settings(**values)
    except ValidationError as error:
        raise explained(error, Settings.model_fields) from None  # it may hold a secret


def unknown_names() -> list[str]:
    """What looks like a setting and is none, and why nothing was likely meant by it."""
    in_file = env_file(project_dir() / ENV_FILE)
    return [
        f"{name} ({where}) is not a setting and does nothing; see .env.example"
        for name, where, likely in unknown(os.environ, in_file, Settings.model_fields, NOT_SETTINGS)
        if likely is None
    ]
