"""Every setting of the product, its default and its environment variable.

A setting `shop_database_url` is read from `DMP_SHOP_DATABASE_URL`, else from `.env`, else from
`config.yaml` (both beside the checkout). Secrets are taken from the environment or `.env` only.

Settings that reach outside this machine are marked `Outside`. A *sandbox* home (see `home.py`)
ignores whatever the environment says of them, always, so that a trial never touches a real system.
"""

import os
from collections.abc import Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dmp_assets import domains
from dmp_assets.platform.cleaning import written_columns
from dmp_assets.platform.config import connection_urls, setting_values
from dmp_assets.platform.config.setting_kinds import (
    Outside,
    distinct,
    each,
    given,
    is_outside,
    secret,
    web,
)
from dmp_assets.platform.config.setting_sources import (
    ENV_FILE,
    Given,
    SettingsError,
    env_file,
    explained,
    unknown,
)

__all__ = ["Outside", "Settings", "SettingsError", "load", "outside_fields", "project_dir"]

from dmp_assets.platform.reporting.mail_settings import MailSettings
from dmp_assets.platform.stream.settings import KafkaSettings
from dmp_assets.platform.values import words

PACKAGE_DIR = Path(__file__).resolve().parent
NOT_SETTINGS = frozenset(
    ("DMP_PROJECT_DIR", "DMP_JARS_DIR", "DMP_MAVEN_URL", "DMP_CLASS_ARCHIVE_TO",
     "DMP_REPORT_RECORD", "DMP_REPORT_VERSIONS")
)  # fmt: skip
"""Environment variables of the program that are no settings."""


def project_dir() -> Path:
    """Folder that holds `reports/`, `notebooks/` and `config.yaml`: the checkout unless set."""
    return Path(os.environ.get("DMP_PROJECT_DIR", PACKAGE_DIR.parent)).resolve()


if TYPE_CHECKING:

    class SettingsOfDomains(BaseModel):
        """What domains bring; type checkers know it by `Settings.of`, as each declares it."""

else:
    _BROUGHT = tuple(module.SETTINGS for module in domains.rooms("settings").values())
    distinct(_BROUGHT)
    SettingsOfDomains = type("SettingsOfDomains", _BROUGHT, {})


Part = TypeVar("Part", bound=BaseModel)


def _column_formats(given: Mapping[str, str]) -> dict[str, str]:
    return setting_values.column_formats(given, written_columns.named, written_columns.fits)


class Settings(SettingsOfDomains, KafkaSettings, MailSettings, BaseSettings):
    """All settings, those of domains and sources among them (`<domain>/settings.py`): see `of`.

    Build it with `dmp_assets.home.Home.settings()`, which knows the profile.
    """

    model_config = SettingsConfigDict(
        env_prefix="DMP_",
        extra="ignore",
        validate_default=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    home: Path = Field(Path("var"), description="Folder that holds everything a run makes.")

    no_values: Annotated[dict[str, list[str]], AfterValidator(setting_values.no_values)] = Field(
        default_factory=dict,
        description="Further words that mean no value, by kind (any, email, phone, device, …), "
        'e.g. {"device": ["kiosk"], "any": ["k.A."]}; `NULL`, `(not set)` and the like are known.',
    )
    column_formats: Annotated[dict[str, str], AfterValidator(_column_formats)] = Field(
        default_factory=dict,
        description="How columns write what could be read in two ways, e.g. "
        '{"users.dob": "month-first", "promo_codes.discount_value": "decimal-comma"}; columns '
        "not named: as their values tell.",
    )
    max_bad_share: float = Field(
        0.25, ge=0, le=1, description="A cleaned table fails above this share of unusable rows."
    )

    # the lakehouse
    lakehouse_root: Annotated[str | None, Outside(), given(connection_urls.object_store)] = Field(
        None, description="Where tables live, e.g. s3a://bucket/lakehouse; empty: under the home."
    )
    s3_endpoint: Annotated[str, Outside(), web("https://s3.example.com")] = Field(
        "",
        description="Address of an S3 that is not AWS's, e.g. https://s3.example.com; empty: AWS.",
    )
    s3_region: Annotated[str | None, Outside(), given(setting_values.s3_region)] = Field(
        None, description="Region of the bucket; empty: what AWS's own chain says, or us-east-1."
    )
    s3_access_key_id: Annotated[SecretStr | None, Outside(), secret(setting_values.token)] = Field(
        None,
        description="Access key for S3; empty: what AWS's own chain finds (environment, profile, "
        "role of the machine).",
    )
    s3_secret_access_key: Annotated[SecretStr | None, Outside(), secret(setting_values.token)] = (
        Field(None, description="The secret that goes with it.")
    )
    s3_session_token: Annotated[SecretStr | None, Outside(), secret(setting_values.token)] = Field(
        None, description="Session token of temporary credentials, with key and secret."
    )
    s3_path_style: Annotated[bool | None, Outside()] = Field(
        None,
        description="Whether the bucket stands in the address's path and not in its host's name; "
        "empty: with DMP_S3_ENDPOINT.",
    )
    s3_ca_file: Annotated[Path | None, Outside()] = Field(
        None,
        description="PEM file of the authorities that S3's certificate may be of; empty: those "
        "that the machine trusts.",
    )
    s3_encryption: Annotated[Literal["AES256", "aws:kms", "aws:kms:dsse"] | None, Outside()] = (
        Field(None, description="How S3 encrypts what is written; empty: as the bucket says.")
    )
    s3_encryption_key: Annotated[str | None, Outside()] = Field(
        None, description="Id or ARN of the KMS key for that; empty: AWS's own for S3."
    )
    spark_master: Annotated[str | None, Outside(), given(connection_urls.spark_master)] = Field(
        None, description="A cluster's master URL; empty: local[*]."
    )
    spark_remote: Annotated[str | None, Outside(), given(connection_urls.spark_connect)] = Field(
        None, description="A Spark Connect URL (sc://host:port); wins over spark_master."
    )
    spark_memory: Annotated[str | None, given(setting_values.spark_memory)] = Field(
        None, description="Memory of the local Spark driver; empty: 2g, or 4g for a large shop."
    )
    spark_conf: Annotated[dict[str, str], Outside(), AfterValidator(setting_values.spark_conf)] = (
        Field(
            default_factory=dict,
            description="Further Spark settings, e.g. S3 credentials providers.",
        )
    )
    lease_database_url: Annotated[SecretStr | None, Outside(), secret(connection_urls.postgres)] = (
        Field(
            None,
            description="PostgreSQL URL where homes that share DMP_LAKEHOUSE_ROOT keep which of "
            "them writes what; empty: DMP_STORE_URL.",
        )
    )
    lease_seconds: int = Field(
        30, ge=2, le=3600, description="After so long without a sign of life a run's turn is over."
    )
    spark_driver_host: Annotated[str | None, Outside(), given(setting_values.host)] = Field(
        None,
        description="Name or address by which a cluster's executors reach this machine; empty: the "
        "address from which it reaches the master.",
    )
    spark_archive: Annotated[str | None, Outside()] = Field(
        None,
        description="The executors' Python packages as `dmp spark pack` made them, a file or an "
        "address that the cluster reads; empty: executors have this Python with these packages.",
    )
    spark_event_log: Annotated[str | None, Outside()] = Field(
        None,
        description="Folder or address where Spark notes what it does, for its history server; "
        "empty: nowhere.",
    )
    duckdb_memory: Annotated[str | None, given(setting_values.duckdb_memory)] = Field(
        None,
        description="Memory limit of one DuckDB connection, e.g. 2GB; empty: an eighth of what the "
        "machine or container has, at least 1GB.",
    )
    concurrent_runs: int = Field(
        2, ge=1, le=64, description="Runs of different things at once; each has a JVM of its own."
    )
    retention_days: int = Field(30, ge=1, description="How long old table versions are kept.")
    # money
    currency: Annotated[str, AfterValidator(setting_values.currency)] = Field(
        "EUR", description="ISO 4217 code of the shop's money."
    )
    # reports and delivery
    timezone: Annotated[str, AfterValidator(setting_values.zone)] = Field(
        "UTC", description="IANA zone of report periods and schedules."
    )
    public_url: Annotated[
        str | None,
        Outside(),
        given(setting_values.web_address("https://reports.example.com")),
    ] = Field(None, description="Base URL under which people reach the reports; empty: no links.")
    slack_token: Annotated[SecretStr | None, Outside(), secret(setting_values.slack_token)] = Field(
        None, description="Slack bot token (xoxb-…); empty: messages wait in the outbox."
    )
    slack_base_url: Annotated[str, Outside(), web("https://slack.com/api/")] = Field(
        "https://slack.com/api/", description="Slack Web API."
    )
    slack_channel: Annotated[str, Outside(), AfterValidator(setting_values.slack_channel)] = Field(
        "C_REPORTS", description="Channel id for reports."
    )
    slack_alert_channel: Annotated[str, Outside(), AfterValidator(setting_values.slack_channel)] = (
        Field("C_ALERTS", description="Channel id for alerts.")
    )
    slack_owner_channels: Annotated[
        dict[str, str], Outside(), each(setting_values.slack_channel)
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
    store_url: Annotated[SecretStr | None, Outside(), secret(connection_urls.postgres)] = Field(
        None,
        description="PostgreSQL URL of the operational store; empty: the embedded PostgreSQL, from "
        "`dmp migrate` on.",
    )
    store_owner_url: Annotated[SecretStr | None, Outside(), secret(connection_urls.postgres)] = (
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
    api_proxies: Annotated[list[str], each(setting_values.network)] = Field(
        default_factory=lambda: ["127.0.0.1"],
        description="Addresses or networks of that proxy: only what they forward is believed.",
    )
    api_hosts: Annotated[list[str], each(setting_values.host)] = Field(
        default_factory=list,
        description="Names by which callers reach the API (`Host`); empty: this machine's own on "
        "loopback, any beyond it.",
    )
    api_tls_certificate: Path | None = Field(
        None, description="PEM file of the API's certificate; empty: plain HTTP, loopback only."
    )
    api_tls_key: Path | None = Field(None, description="PEM file of its private key.")
    api_secret: Annotated[SecretStr | None, Outside(), secret(setting_values.api_secret)] = Field(
        None,
        description="Seals cursors (32 bytes, url-safe base64); empty: one is generated, which "
        "does on loopback only.",
    )
    api_rate_limit: Annotated[str, AfterValidator(setting_values.rate)] = Field(
        "600/minute", description="Calls of one client, e.g. 600/minute."
    )
    api_denied_rate_limit: Annotated[str, AfterValidator(setting_values.rate)] = Field(
        "20/minute", description="Wrong credentials from one address."
    )
    api_login_rate_limit: Annotated[str, AfterValidator(setting_values.rate)] = Field(
        "300/minute",
        description="Logins by password from all browsers that nobody logged in with before.",
    )
    api_rate_limit_storage: Annotated[
        SecretStr | None, Outside(), secret(connection_urls.counter)
    ] = Field(None, description="Where calls are counted, e.g. redis://…; empty: in each process.")

    oidc_issuer: Annotated[str, Outside(), web("https://login.example.com")] = Field(
        "",
        description="OpenID provider by which people may log in, e.g. https://login.example.com; "
        "empty: by password only.",
    )
    oidc_client_id: Annotated[str, Outside()] = Field(
        "", description="What that provider knows the API by."
    )
    oidc_client_secret: Annotated[SecretStr | None, Outside(), secret(setting_values.token)] = (
        Field(None, description="The secret that goes with it; empty: a public client.")
    )
    api_health_url: Annotated[str, Outside(), web("https://api.example.com/health/ready")] = Field(
        "",
        description="Where the API's readiness is asked for alerts, e.g. "
        "https://api.example.com/health/ready; empty: on this machine.",
    )

    token_keys: Annotated[SecretStr | None, Outside(), secret(setting_values.token_keys)] = Field(
        None,
        description="Encrypt the tokens of connections (each 32 bytes, url-safe base64; the newest "
        "first, by commas); empty: one is generated, which does on loopback only.",
    )

    backup_key: Annotated[SecretStr | None, Outside()] = Field(
        None,
        description="Signs backups, so that `dmp restore` knows its own; empty: a key of this "
        "user's, in ~/.config/dmp_assets.",
    )

    # runs
    dagster_database_url: Annotated[
        SecretStr | None, Outside(), secret(connection_urls.postgres)
    ] = Field(
        None,
        description="PostgreSQL URL of Dagster's history (the extra `postgres`); empty: files of "
        "the home.",
    )
    dagster_connections: int = Field(
        4, ge=1, le=100, description="Connections of one process to DMP_DAGSTER_DATABASE_URL."
    )
    source_limits: Annotated[dict[str, int], AfterValidator(setting_values.at_least_one)] = Field(
        default_factory=dict,
        description="Tables of one source that all runs together read at once, e.g. "
        '{"shop": 1}; needs DMP_DAGSTER_DATABASE_URL; a source not named: no limit.',
    )
    run_log_days: int | None = Field(
        None,
        ge=1,
        description="Monthly maintenance deletes what older runs logged, not what they made; "
        "empty: it stays.",
    )
    tick_days: int = Field(90, ge=1, description="How long is kept what schedules and sensors did.")
    run_launcher: Annotated[dict[str, Any], Outside(), AfterValidator(setting_values.launcher)] = (
        Field(
            default_factory=dict,
            description="Dagster's run launcher as `dagster.yaml` has it, e.g. "
            '{"module": "dagster_k8s", "class": "K8sRunLauncher", "config": {…}}; empty: runs are '
            "processes of this machine.",
        )
    )
    # people and machines
    webserver_host: Annotated[str, AfterValidator(setting_values.host)] = Field(
        "127.0.0.1", description="Where Dagster's UI listens."
    )
    webserver_port: int = Field(3000, ge=0, le=65535, description="Port of Dagster's UI.")
    webserver_url: Annotated[str, Outside(), web("https://dagster.example.com")] = Field(
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

    @model_validator(mode="after")
    def _whole_credentials(self) -> Self:
        setting_values.s3_credentials(
            bool(self.s3_access_key_id), bool(self.s3_secret_access_key),
            bool(self.s3_session_token),
        )  # fmt: skip
        return self

    def of(self, part: type[Part]) -> Part:
        """The same settings, as what a domain or source declares of them (`<domain>/settings.py`).

        Raises TypeError for settings that nobody in the table of contents brings.
        """
        if not isinstance(self, part):
            raise TypeError(f"{part.__name__} are the settings of no domain that there is")
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


def in_order() -> Mapping[str, FieldInfo]:
    """Every setting: those of all first, then what each domain brings."""
    own = [name for name in Settings.model_fields if name in Settings.__annotations__]
    return {name: Settings.model_fields[name] for name in [*own, *Settings.model_fields]}


def outside_fields() -> list[str]:
    """Names of the settings that a sandbox home ignores."""
    return [name for name, field in Settings.model_fields.items() if is_outside(field)]


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


distinct((SettingsOfDomains, KafkaSettings, MailSettings, Settings))
