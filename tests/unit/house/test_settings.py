"""Settings: where each comes from, who wins, and what is refused."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dmp_assets import settings as settings_module
from dmp_assets.home import Home
from dmp_assets.settings import Settings, SettingsError, load, outside_fields
from dmp_assets.sources.shop.settings import ShopSettings
from tests.support.setting_kinds import looking_real

ROOT = Path(__file__).resolve().parents[3]
REAL = looking_real() | {
    "DMP_SPARK_CONF": '{"spark.hadoop.fs.s3a.endpoint": "https://s3.example.com"}',
    "DMP_SHOP_DATABASE_URL": "postgresql://boss:hunter2@shop.example.com/shop",
    "DMP_SHOP_SCHEMA": "sales",
    "DMP_SHOP_WATERMARK_COLUMNS": '{"users": "created_at"}',
    "DMP_WEB_DATABASE": "postgresql://boss:hunter2@web.example.com/web",
    "DMP_STORE_URL": "postgresql://boss:hunter2@store.example.com/store",
    "DMP_DAGSTER_DATABASE_URL": "postgresql://boss:hunter2@history.example.com/dagster",
    "DMP_RUN_LAUNCHER": '{"module": "dagster_k8s", "class": "K8sRunLauncher"}',
    "DMP_LEASE_DATABASE_URL": "postgresql://boss:hunter2@leases.example.com/leases",
    "DMP_API_SECRET": "aHVudGVyMiBodW50ZXIyIGh1bnRlcjIgaHVudGVyMi4=",
    "DMP_API_RATE_LIMIT_STORAGE": "redis://:hunter2@redis.example.com",
    "DMP_OIDC_CLIENT_SECRET": "hunter2-oidc",
    "DMP_KAFKA_BOOTSTRAP_SERVERS": "kafka.example.com:9093",
    "DMP_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "DMP_KAFKA_SASL_MECHANISM": "PLAIN",
    "DMP_KAFKA_SASL_USERNAME": "boss",
    "DMP_KAFKA_SASL_PASSWORD": "hunter2-kafka",
    "DMP_KAFKA_CA_FILE": "/etc/kafka/ca.pem",
    "DMP_KAFKA_TOPIC_PREFIX": "shop.",
    "DMP_KAFKA_PARTITIONS": "12",
    "DMP_KAFKA_REPLICATION": "2",
    "DMP_KAFKA_RETENTION_DAYS": "3",
    "DMP_IHC_API_KEY": "hunter2-ihc",
    "DMP_LAKEHOUSE_ROOT": "s3a://bucket/lakehouse",
    "DMP_S3_ENDPOINT": "https://s3.example.com",
    "DMP_S3_REGION": "eu-central-1",
    "DMP_S3_ACCESS_KEY_ID": "AKIA-hunter2",
    "DMP_S3_SECRET_ACCESS_KEY": "hunter2-s3",
    "DMP_S3_SESSION_TOKEN": "hunter2-session",
    "DMP_S3_PATH_STYLE": "false",
    "DMP_S3_CA_FILE": "/etc/ssl/private-ca.pem",
    "DMP_S3_ENCRYPTION": "aws:kms",
    "DMP_S3_ENCRYPTION_KEY": "arn:aws:kms:eu-central-1:1:key/1",
    "DMP_SPARK_MASTER": "spark://cluster:7077",
    "DMP_SPARK_REMOTE": "sc://cluster:15002",
    "DMP_SPARK_DRIVER_HOST": "runner.example.com",
    "DMP_STORE_OWNER_URL": "postgresql://owner:Real-Looking-1@db.shop.invalid:5432/store",
    "DMP_META_APP_SECRET": "hunter2-meta",
    "DMP_META_SYSTEM_USER_TOKEN": "hunter2-system-user",
    "DMP_SHOPIFY_URL": "https://{shop}/proxied",
    "DMP_SHOPIFY_CLIENT_SECRET": "hunter2-shopify",
    "DMP_SHOPIFY_OLD_CLIENT_SECRET": "hunter2-shopify-old",
    "DMP_SHOPIFY_SECRET_ROTATED_AT": "2026-11-01T00:00:00Z",
    "DMP_SHOPIFY_SHOPS": '{"some-shop.myshopify.com": "acme"}',
    "DMP_PUBLIC_URL": "https://reports.example.com",
    "DMP_TOKEN_KEYS": "aHVudGVyMiBodW50ZXIyIGh1bnRlcjIgaHVudGVyMi4=",
    "DMP_SLACK_TOKEN": "xoxb-real",
    "DMP_SLACK_CHANNEL": "C1",
    "DMP_SLACK_ALERT_CHANNEL": "C2",
    "DMP_SLACK_OWNER_CHANNELS": '{"team:fraud": "C3"}',
    "DMP_ADS_REPORT_EMAILS": '["boss@example.com"]',
    "DMP_ADS_SLACK_CHANNELS": '{"acme": "C4"}',
    "DMP_SMTP_HOST": "mail.example.com",
    "DMP_SMTP_PORT": "465",
    "DMP_SMTP_SECURITY": "tls",
    "DMP_SMTP_FROM": "Reports <reports@example.com>",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder without `.env` and `config.yaml`."""
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def config(project: Path) -> Callable[[str], None]:
    def write(text: str) -> None:
        (project / "config.yaml").write_text(text)

    return write


def test_the_environment_wins_over_dotenv_and_dotenv_over_the_config_file(
    project: Path, config: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(sandbox=False).of(ShopSettings).phone_region == "US"
    config("phone_region: DE\n")
    assert load(sandbox=False).of(ShopSettings).phone_region == "DE"
    (project / ".env").write_text("DMP_PHONE_REGION=FR\n")
    assert load(sandbox=False).of(ShopSettings).phone_region == "FR"
    monkeypatch.setenv("DMP_PHONE_REGION", "IT")
    assert load(sandbox=False).of(ShopSettings).phone_region == "IT"


def test_a_config_file_may_set_lists_and_maps(config: Callable[[str], None]) -> None:
    config("shop_watermark_columns:\n  users: created_at\nmax_bad_share: 0.1\n")
    settings = load(sandbox=False)
    assert settings.of(ShopSettings).shop_watermark_columns == {"users": "created_at"}
    assert settings.max_bad_share == 0.1


def test_an_empty_config_file_sets_nothing(config: Callable[[str], None]) -> None:
    config("# nothing yet\n")
    assert load(sandbox=False).of(ShopSettings).phone_region == "US"


def test_an_unknown_name_in_the_config_file_is_refused(config: Callable[[str], None]) -> None:
    config("phone_regoin: DE\n")
    with pytest.raises(ValueError, match="'phone_regoin' is not a setting"):
        load(sandbox=False)


@pytest.mark.parametrize("name", ["slack_token", "shop_database_url"])
@pytest.mark.parametrize("sandbox", [True, False])
def test_a_secret_in_the_config_file_is_refused_without_quoting_it(
    config: Callable[[str], None], name: str, sandbox: bool
) -> None:
    config(f"{name}: hunter2\n")
    with pytest.raises(ValueError, match=f"DMP_{name.upper()} in the environment") as refused:
        load(sandbox=sandbox)
    assert "hunter2" not in str(refused.value)


def test_a_config_file_that_is_no_map_is_refused(config: Callable[[str], None]) -> None:
    config("- phone_region\n")
    with pytest.raises(ValueError, match=r"config\.yaml"):
        load(sandbox=False)


@pytest.mark.parametrize("zone", ["Mars/Base", "../etc/passwd", "/etc/localtime", "Factory"])
def test_a_time_zone_that_does_not_exist_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    monkeypatch.setenv("DMP_TIMEZONE", zone)
    with pytest.raises(SettingsError, match=f"'{zone}' is not an IANA time zone"):
        load(sandbox=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [("DMP_MAX_BAD_SHARE", "1.5"), ("DMP_WEBSERVER_PORT", "70000"), ("DMP_RETENTION_DAYS", "0"),
     ("DMP_DEMO_END", "yesterday"), ("DMP_API_RATE_LIMIT", "often")],
)  # fmt: skip
def test_a_value_that_makes_no_sense_is_refused_with_the_name_of_the_setting(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load(sandbox=False)


def test_a_sandbox_ignores_all_that_reaches_outside_wherever_it_is_set(
    project: Path, config: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {f"DMP_{name.upper()}" for name in outside_fields()} == set(REAL)
    config("shop_schema: sales\nslack_channel: C9\n")
    (project / ".env").write_text("DMP_SLACK_TOKEN=xoxb-dotenv\n")
    for name, value in REAL.items():
        monkeypatch.setenv(name, value)
    sandbox = load(sandbox=True)
    for name in outside_fields():
        default = Settings.model_fields[name].get_default(call_default_factory=True)
        assert getattr(sandbox, name) == default, name
    assert load(sandbox=False).of(ShopSettings).shop_schema == "sales"
    assert load(sandbox=False).slack_channel == "C1"


def test_a_sandbox_home_reaches_the_sandbox_and_a_live_home_what_is_configured(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in REAL.items():
        monkeypatch.setenv(name, value)
    live = Home(project / "live").prepare("live").settings()
    url = live.of(ShopSettings).shop_database_url
    assert url is not None
    assert url.get_secret_value() == REAL["DMP_SHOP_DATABASE_URL"]
    sandbox = Home(project / "sandbox").prepare("sandbox")
    assert sandbox.settings().slack_token is None
    sandbox.sandbox.mkdir()
    (sandbox.sandbox / "endpoint.json").write_text(
        '{"settings": {"slack_token": "xoxb-sandbox", "slack_base_url": "http://127.0.0.1:1/api/"}}'
    )
    token = sandbox.settings().slack_token
    assert token is not None
    assert token.get_secret_value() == "xoxb-sandbox"
    assert sandbox.settings().slack_base_url == "http://127.0.0.1:1/api/"
    assert sandbox.settings().of(ShopSettings).shop_database_url is None


def test_secrets_do_not_show_when_settings_are_printed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in REAL.items():
        monkeypatch.setenv(name, value)
    shown = repr(load(sandbox=False)) + load(sandbox=False).model_dump_json()
    assert "hunter2" not in shown
    assert "xoxb-real" not in shown


def test_every_setting_and_nothing_else_is_in_the_example_with_its_default() -> None:
    text = (ROOT / ".env.example").read_text()
    named = dict(re.findall(r"^#?(DMP_[A-Z0-9_]+)=(.*)$", text, re.MULTILINE))
    assert set(named) == {f"DMP_{name.upper()}" for name in Settings.model_fields}
    given = {name: value for name, value in named.items() if value}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DMP_PROJECT_DIR", str(ROOT / "tests"))
        default = load(sandbox=False)
        for name, value in given.items():
            patch.setenv(name, value)
        assert load(sandbox=False) == default


def test_every_setting_says_what_it_is_for() -> None:
    silent = [name for name, field in Settings.model_fields.items() if not field.description]
    assert silent == []


def test_the_project_folder_is_the_checkout_unless_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DMP_PROJECT_DIR", raising=False)
    assert settings_module.project_dir() == ROOT
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    assert settings_module.project_dir() == tmp_path
