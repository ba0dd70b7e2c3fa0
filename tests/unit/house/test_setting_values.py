"""Every setting: empty, misspelled, wrong; and addresses that cannot be read are never quoted."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dmp_assets import settings
from dmp_assets.attribution.model.models import names_of
from dmp_assets.attribution.settings import AttributionSettings
from dmp_assets.cli.main import app
from dmp_assets.platform.config import connection_urls
from dmp_assets.settings import NOT_SETTINGS, Settings, SettingsError, load, unknown_names
from tests.support.setting_kinds import free_texts, numbers, web_addresses

ROOT = Path(__file__).resolve().parents[3]
NAMES = sorted(Settings.model_fields)

WRONG = {
    "shop_schema": ["'public'", "x" * 64],
    "shop_watermark_columns": ['{"user": "created_at"}', "users", "{users"],
    "accept_column_changes": ["perhaps"],
    "phone_region": ["Germany", "Deutschland", "UK", "+49", "Atlantis"],
    "column_formats": [
        '{"users.dob": "us"}',
        "day-first",
        "{dob",
        '{"users.birthday": "day-first"}',
        '{"users.dob": "decimal-comma"}',
        '{"customers.dob": "day-first"}',
        '{"web_session_costs.cost": "month-first"}',
    ],
    "no_values": ['{"devise": ["kiosk"]}', "NULL", '["NULL"]'],
    "max_bad_share": ["25 %", "1.5", "nan"],
    "web_first_day": ["01.01.2023", "yesterday"],
    "channel_mapping": ["fb", '{"fb": 1', "[1]"],
    "lookback_days": ["thirty", "0", "30 days"],
    "reporting_model": ["lineer", "markov_9"],
    "direct_channels": ['["direct"'],
    "half_life_days": ["0", "inf", "a week"],
    "first_touch_weight": ["40 %", "0.7"],
    "last_touch_weight": ["2"],
    "markov_orders": ["9", "[]", "first"],
    "ihc_api_key": ["two words"],
    "ihc_redistribution": ["{oops"],
    "spark_memory": ["2", "two gigabytes", "0g"],
    "spark_driver_host": ["http://10.0.0.5", "10.0.0.5:4040"],
    "spark_conf": ['{"shuffle.partitions": "4"}'],
    "duckdb_memory": ["1", "2g", "much"],
    "currency": ["euros", "€", "dollars", "EURO", "XYZ"],
    "timezone": ["Berlin", "MEZ", "GMT+25"],
    "slack_token": ["hunter2"],
    "slack_channel": ["#reports", "reports"],
    "slack_alert_channel": ["#alerts"],
    "slack_owner_channels": ['{"team:fraud": "#fraud"}'],
    "smtp_host": ["smtp://mail.example.com", "mail.example.com:587"],
    "smtp_port": ["smtp", "0", "70000"],
    "smtp_security": ["ssl"],
    "smtp_from": ["Reports", "reports@", "a@b.example\r\nBcc: c@d.example"],
    "api_host": ["http://0.0.0.0", "127.0.0.1:8000", "999.1.1.1"],
    "webserver_host": ["https://ui.example.com/"],
    "api_port": ["http", "70000"],
    "webserver_port": ["-1"],
    "api_behind_proxy": ["nginx"],
    "api_proxies": ['["10.0.0.0/33"]', "proxy"],
    "api_secret": ["hunter2", "c2hvcnQ="],
    "token_keys": ["hunter2", "aHVudGVyMiBodW50ZXIyIGh1bnRlcjIgaHVudGVyMi4=,hunter2", ",,,,"],
    "api_rate_limit": ["often", "600 per"],
    "api_score_rate_limit": ["600"],
    "api_assign_rate_limit": ["all"],
    "api_denied_rate_limit": ["never"],
    "api_login_rate_limit": ["300"],
    "api_dry_run_rate_limit": ["often"],
    "live_accounts_per_client": ["0"],
    "lakehouse_root": ["/data/50%", "lake[1]", "file:///srv/a|b"],
    "s3_region": ["Frankfurt", "eu central"],
    "s3_access_key_id": ["two words"],
    "s3_secret_access_key": ["two words"],
    "s3_session_token": ["two\twords"],
    "s3_path_style": ["perhaps"],
    "s3_encryption": ["yes", "aes128"],
    "api_hosts": ["https://api.example.com"],
    "expected_weekly_events": ["few"],
    "run_log_days": ["0", "some"],
    "source_limits": ['{"shop": 0}', "shop"],
    "run_launcher": [
        '{"module": "dagster_k8s"}',
        '{"module": 1, "class": "X"}',
        '{"class": "X"}',
        '{"module": "a", "class": "B", "config": 3}',
    ],
    "oidc_client_secret": ["two\twords"],
    "kafka_bootstrap_servers": ["http://kafka:9092", "kafka", "kafka:9092,"],
    "kafka_security_protocol": ["TLS"],
    "kafka_sasl_mechanism": ["GSSAPI"],
    "kafka_topic_prefix": ["a/b"],
    "demo_end": ["31.03.2024"],
    "meta_app_secret": ["two words"],
    "meta_system_user_token": ["two\twords"],
    "meta_breakdowns": ['["dma"]', "age"],
    "shopify_url": ["https://one.example.com", "ftp://{shop}"],
    "shopify_client_secret": ["two words"],
    "shopify_old_client_secret": ["two words"],
    "shopify_secret_rotated_at": ["yesterday"],
    "shopify_access": ["password"],
    "shopify_shops": ['{"shop.example.com": "acme"}', '["some-shop.myshopify.com"]'],
    "ads_currency": ["money"],
    "ads_holidays": ["Germany", "XX", "DE-ZZ"],
    "ads_most_per_day": ['{"acme": 0}', '{"acme": "much"}', "acme"],
    "ads_report_emails": ['["nobody"]', '["A <a@x.example>"]'],
    "ads_export_columns": ['{"Kosten": "cost of it"}', '["Kosten"]'],
    "ads_export_numbers": ["comma"],
    "ads_export_dates": ["european"],
    "ads_shipping_cost": ["-1", "some"],
    "ads_goods_share": ["40 %", "1.5", "-0.1", "nan", "some"],
    "ads_slack_channels": ['{"acme": "#acme"}', "acme"],
    "ads_meta_sources": ['{"facebook": 1}'],
    "ads_meta_channels": ['{"meta_social": 1}'],
}
MEANT = {
    ("currency", "euros"): "EUR", ("currency", "€"): "EUR", ("currency", "dollars"): "USD",
    ("phone_region", "Germany"): "DE", ("phone_region", "Deutschland"): "DE",
    ("phone_region", "UK"): "GB", ("phone_region", "+49"): "DE",
    ("timezone", "Berlin"): "Europe/Berlin", ("reporting_model", "lineer"): "linear",
    ("duckdb_memory", "2g"): "2GB", ("shop_watermark_columns", '{"user": "created_at"}'): "users",
}  # fmt: skip

BROKEN = "hunter2 hunter3/hunter4@hunter5:hunter6@hunter7"
UNPARSABLE = {
    **dict.fromkeys(
        ("shop_database_url", "web_database", "store_url", "store_owner_url", "lease_database_url",
         "dagster_database_url"),
        (
            "postgresql://reader:p@hunter2/word@host/shop", "postgresql://reader:hunter2",
            "postgresql://reader:hunter2/x@host/shop", "postgresql://reader:hunter%2zz@host/shop",
            "postgresql//reader:hunter2@host/shop", "postgresql:/reader:hunter2@host/shop",
            "postgresql://reader:hunter2?x/y@host/shop", "postgresql://reader:hu nter2@host/shop",
            "host=db user=reader password=hunter2", "reader:hunter2@host/shop",
            "mysql://reader:hunter2@host/shop", "postgresql://u:p@host/db?hunter2", BROKEN,
        ),
    ),
    "api_rate_limit_storage": (
        "redis://:hunter2@x@redis/0", "redis://u:hunter2/x@redis:6379", "hunter2@redis:6379",
        "redis://u:hunter2#x@redis", "http://u:hunter2@redis", "redis://redis:hunter2", BROKEN,
    ),
    "lakehouse_root": (
        "s3a://KEY:hunter2@bucket/lake", "s3a://KEY:hunter2/x@bucket/lake", "ftp://u:hunter2@h/x",
        "s3a:/hunter2", "s3a://bucket/lake?secret=hunter2", BROKEN,
    ),
    "spark_remote": (
        "sc://u:hunter2@host:15002", "sc://host:hunter2", "spark://hunter2:1",
        "sc://host/;token hunter2", BROKEN,
    ),
    "spark_master": ("spark://u:hunter2@host:7077", "spark://host:hunter2", "hunter2", BROKEN),
    **dict.fromkeys(
        (*sorted(web_addresses()), "public_url"),
        (
            "https://u:hunter2@host/", "https://u:hunter2/x@host", "https://host:hunter2/",
            "https://[hunter2/", "host/hunter2", "ftp://hunter2", "https://host/?token=hunter2",
            "https://host/#hunter2", "https://hun ter2/", BROKEN,
        ),
    ),
}  # fmt: skip
CONNECTIONS = [(name, text) for name, texts in UNPARSABLE.items() for text in texts]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder without `.env` and `config.yaml`, and a home in it."""
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    return tmp_path


def variable(name: str) -> str:
    return f"DMP_{name.upper()}"


def test_every_setting_that_is_checked_has_wrong_values() -> None:
    tried = set(WRONG) | set(UNPARSABLE)
    assert "home" in free_texts() and not tried & free_texts()
    assert set(NAMES) - numbers() - free_texts() == tried - numbers()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_setting_is_as_if_it_were_not_there(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, empty: str
) -> None:
    default = load(sandbox=False)
    monkeypatch.setenv(variable(name), empty)
    if name != "home":
        assert load(sandbox=False) == default
    monkeypatch.delenv(variable(name))
    (project / ".env").write_text(f"{variable(name)}={empty}\n")
    secret = "SecretStr" in str(Settings.model_fields[name].annotation)
    if not secret:
        (project / "config.yaml").write_text(f"{name}: {empty}\n")
    assert load(sandbox=False) == (load(sandbox=False) if name == "home" else default)


@pytest.mark.parametrize("name", NAMES)
def test_a_misspelled_setting_is_refused_with_the_one_that_was_meant(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    middle = len(name) // 2
    slip = name[:middle] + name[middle + 1 :] if len(name) > 6 else name + "x"
    monkeypatch.setenv(variable(slip), "hunter2")
    with pytest.raises(SettingsError, match=rf"{variable(slip)} \(environment\).*{variable(name)}"):
        load(sandbox=True)
    monkeypatch.delenv(variable(slip))
    (project / ".env").write_text(f"{variable(slip)}=hunter2\n")
    with pytest.raises(SettingsError, match=rf"\(\.env\).*did you mean {variable(name)}\?") as said:
        load(sandbox=True)
    assert "hunter2" not in str(said.value)
    (project / ".env").unlink()
    (project / "config.yaml").write_text(f"{slip}: hunter2\n")
    with pytest.raises(SettingsError, match=rf"'{slip}' is not a setting.*did you mean {name}\?"):
        load(sandbox=True)


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in WRONG.items() for v in vs])
def test_a_wrong_value_is_refused_with_the_setting_and_what_is_expected(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(variable(name), value)
    with pytest.raises(SettingsError, match=variable(name)) as said:
        load(sandbox=False)
    message = str(said.value)
    assert re.search(
        r"expected|such as|e\.g\.|it should|there are:|begins|make one|copy it|at most", message
    )
    if likely := MEANT.get((name, value)):
        assert f"did you mean {likely}" in message
    if "SecretStr" in str(Settings.model_fields[name].annotation):
        assert value not in message


@pytest.mark.parametrize("name", sorted(numbers()))
@pytest.mark.parametrize("value", ["many", "1,5", "1e999"])
def test_a_number_or_flag_that_is_none_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(variable(name), value)
    with pytest.raises(SettingsError, match=f"{variable(name)}: (expected |it should)"):
        load(sandbox=False)


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [("currency", "usd", "USD"), ("phone_region", "de", "DE"), ("timezone", "europe/berlin",
      "Europe/Berlin"), ("direct_channels", "direct, brand", ["direct", "brand"]),
     ("markov_orders", "1,2,3", [1, 2, 3]), ("channel_mapping", "fb=social, insta=social",
      {"fb": "social", "insta": "social"}), ("api_proxies", "10.0.0.0/8", ["10.0.0.0/8"]),
     ("spark_memory", "2 GB", "2g"), ("accept_column_changes", "yes", True),
     ("demo_end", "2024-12-31", None), ("api_host", "[::1]", "::1"), ("home", " var ", None)],
)  # fmt: skip
def test_usual_ways_of_writing_a_value_are_understood(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, read: object
) -> None:
    monkeypatch.setenv(variable(name), value)
    found = getattr(load(sandbox=False), name)
    assert read is None or found == read


@pytest.mark.parametrize(("name", "text"), CONNECTIONS)
def test_of_an_address_that_cannot_be_read_nothing_is_printed(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(variable(name), text)
    with pytest.raises(SettingsError, match=variable(name)) as said:
        load(sandbox=False)
    message = str(said.value) + repr(said.value)
    assert "percent-encoded" in message and "expected" in message
    assert not re.search(r"hun ?ter|p@ss", message)
    assert said.value.__cause__ is None and said.value.__suppress_context__
    assert load(sandbox=True) is not None  # a trial never looks at it


@pytest.mark.parametrize("name", list(UNPARSABLE))
@pytest.mark.parametrize(
    "command",
    [["doctor"], ["run"], ["api"], ["show"], ["up"], ["migrate"], ["web", "check"],
     ["load-shop", "."],
     ["attribution"], ["client", "list"]],
    ids=lambda words: " ".join(words),
)  # fmt: skip
def test_no_command_prints_an_address_that_cannot_be_read(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, command: list[str]
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv(variable(name), UNPARSABLE[name][0])
    ran = CliRunner().invoke(app, command)
    said = ran.output + repr(ran.exception or "")
    assert ran.exit_code != 0
    assert "percent-encoded" in " ".join(said.split()) and variable(name) in said
    assert "hunter" not in said
    written = [p.read_text(errors="replace") for p in project.rglob("*") if p.is_file()]
    assert not [text for text in written if "hunter" in text]
    shutil.rmtree(project / "home", ignore_errors=True)


@pytest.mark.parametrize(
    ("check", "text"),
    [(connection_urls.postgres, "postgresql://u:p%40ss%2Fword@db.example.com:5432/shop?sslmode=require"),
     (connection_urls.postgres, "postgres://u:p#s:s?@[::1]/shop"),
     (connection_urls.postgres, "postgresql+psycopg://u@a,b:5433/s?target_session_attrs=any"),
     (connection_urls.postgres, "postgresql:///shop?host=/var/run/postgresql&user=me@corp"),
     (connection_urls.postgres, "postgresql://?service=shop"),
     (connection_urls.web_database, "sqlite:////srv/web.sqlite"),
     (connection_urls.web_database, "data/web.sqlite"),
     (connection_urls.object_store, "abfss://lake@account.dfs.core.windows.net/tables"),
     (connection_urls.object_store, "/srv/lakehouse"),
     (connection_urls.object_store, "s3a://bucket/lakehouse"),
     (connection_urls.spark_connect, "sc://host:15002/;token=abc;use_ssl=true"),
     (connection_urls.spark_master, "spark://a:7077,b:7077"),
     (connection_urls.spark_master, "k8s://https://host:443"),
     (connection_urls.counter, "redis://:p%40ss@redis:6379/0"),
     (connection_urls.counter, "redis+sentinel://a:26379,b:26379/mymaster")],
)  # fmt: skip
def test_sound_addresses_are_read(check: Callable[[str], object], text: str) -> None:
    check(text)


def test_names_that_look_like_no_setting_are_said_and_others_are_not(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_QUX", "1")
    (project / ".env").write_text("SHOP_PASSWORD=x\nexport DMP_CURRENCY='USD'\n# DMP_NOTHING=1\n")
    assert unknown_names() == [
        "DMP_QUX (environment) is not a setting and does nothing; see .env.example"
    ]
    assert load(sandbox=False).currency == "USD"
    ran = CliRunner().invoke(app, ["show"])
    assert "DMP_QUX" in ran.output
    (project / ".env").write_text("SHOP_SCHEMA=sales\n")
    with pytest.raises(SettingsError, match="did you mean DMP_SHOP_SCHEMA"):
        load(sandbox=False)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"DMP_CURRENCY=USD\nthis is no line\n", "line 2 is not NAME=value"),
     ("DMP_CURRENCY=USD\n".encode("utf-16"), "not UTF-8")],
)  # fmt: skip
def test_a_dotenv_that_cannot_be_read_is_said_with_the_line(
    project: Path, content: bytes, said: str
) -> None:
    (project / ".env").write_bytes(content)
    with pytest.raises(SettingsError, match=said):
        load(sandbox=False)


def test_a_dotenv_with_a_byte_order_mark_is_read(project: Path) -> None:
    (project / ".env").write_bytes(b"\xef\xbb\xbfDMP_CURRENCY=USD\r\n")
    assert load(sandbox=False).currency == "USD"


def test_a_config_file_with_a_wrong_line_is_said_without_quoting_it(project: Path) -> None:
    (project / "config.yaml").write_text('currency: USD\nslack_token: "hunter2\n')
    with pytest.raises(SettingsError, match=r"config\.yaml is no list.*line \d") as said:
        load(sandbox=False)
    assert "hunter2" not in str(said.value)


def test_the_example_as_it_stands_is_a_valid_dotenv(project: Path) -> None:
    text = (ROOT / ".env.example").read_text()
    default = load(sandbox=False)
    (project / ".env").write_text(re.sub(r"^#(DMP_)", r"\1", text, flags=re.MULTILINE))
    assert load(sandbox=False) == default


@pytest.mark.parametrize("written", ["{{{0}: hunter2}}", '\'{{"{0}": "hunter2"}}\'', "{0}=hunter2"])
@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("spark.hadoop.fs.s3a.secret.key", True),
        ("spark.hadoop.fs.s3a.access.key", True),
        ("spark.hadoop.fs.azure.account.key.shop.dfs.core.windows.net", True),
        ("spark.ssl.keyPassword", True),
        ("spark.hadoop.fs.s3a.session.token", True),
        ("spark.hadoop.fs.s3a.aws.credentials.provider", False),
        ("spark.kubernetes.authenticate.driver.oauthTokenFile", False),
        ("spark.sql.mapKeyDedupPolicy", False),
    ],
)
def test_a_secret_of_sparks_is_refused_in_the_file_that_people_share(
    project: Path, name: str, secret: bool, written: str
) -> None:
    (project / "config.yaml").write_text(f"spark_conf: {written.format(name)}\n")
    if not secret:
        assert load(sandbox=False).spark_conf == {name: "hunter2"}
        return
    with pytest.raises(SettingsError, match=re.escape(name)) as refused:
        load(sandbox=False)
    assert "DMP_SPARK_CONF" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_every_name_that_the_program_reads_from_the_environment_is_known() -> None:
    known = {variable(name) for name in NAMES} | NOT_SETTINGS
    code = "\n".join(path.read_text() for path in (ROOT / "dmp_assets").rglob("*.py"))
    named = set(re.findall(r"""environ(?:\.get\(|\.pop\(|\[)["'](DMP_[A-Z_]+)["']""", code))
    assert named - known == set()


@pytest.mark.parametrize("name", names_of((1, 3)))
def test_every_attribution_model_may_be_reported_by(name: str) -> None:
    given = {"markov_orders": [3, 1], "reporting_model": name}
    assert load(sandbox=False, overrides=given).of(AttributionSettings).reporting_model == name


def test_a_markov_model_of_an_order_that_is_not_asked_for_cannot_be_reported_by() -> None:
    with pytest.raises(SettingsError, match="markov_2"):
        load(sandbox=False, overrides={"markov_orders": [3], "reporting_model": "markov_2"})


def test_columns_are_named_as_below_raw_or_as_at_the_source() -> None:
    given = {"conversions.revenue": "decimal-point", "web_session_costs.cost": "decimal-comma",
             "dob": "month-first"}  # fmt: skip
    assert settings._column_formats(given) == {
        "web_conversions.revenue": "decimal-point", "web_session_costs.cost": "decimal-comma",
        "dob": "month-first",
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"did you mean users\.dob"):
        settings._column_formats({"users.dobb": "day-first"})


@pytest.mark.parametrize(
    "given", [{"access_key_id"}, {"secret_access_key"}, {"session_token"},
              {"access_key_id", "session_token"}],
)  # fmt: skip
def test_a_part_of_s3_credentials_alone_is_refused_and_not_shown(
    project: Path, monkeypatch: pytest.MonkeyPatch, given: set[str]
) -> None:
    for name in given:
        monkeypatch.setenv(variable(f"s3_{name}"), "hunter2")
    with pytest.raises(SettingsError, match="go together") as said:
        load(sandbox=False)
    assert "hunter2" not in str(said.value)
