"""`dmp doctor` tries what is configured; `dmp status` says how the home is."""

import json
import socket
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from dmp_assets.cli.main import app
from dmp_assets.home import Home
from dmp_assets.platform.store import database
from tests.support.mail import mail_server

SECRET = "s3cr3t-word"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "300")
    return Home(tmp_path / "home")


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


UNREACHABLE = {
    "Shop": {"DMP_SHOP_DATABASE_URL": f"postgresql://reader:{SECRET}@127.0.0.1:{{port}}/shop"},
    "Web database": {"DMP_WEB_DATABASE": f"postgresql://reader:{SECRET}@127.0.0.1:{{port}}/web"},
    "Operational store": {"DMP_STORE_URL": f"postgresql://dmp:{SECRET}@127.0.0.1:{{port}}/store"},
    "Slack": {
        "DMP_SLACK_TOKEN": f"xoxb-{SECRET}",
        "DMP_SLACK_BASE_URL": "http://127.0.0.1:{port}/api/",
    },
    "Mail server": {
        "DMP_SMTP_HOST": "127.0.0.1",
        "DMP_SMTP_PORT": "{port}",
        "DMP_SMTP_PASSWORD": SECRET,
        "DMP_SMTP_FROM": "reports@shop.example",
    },
    "IHC API": {"DMP_IHC_API_KEY": SECRET, "DMP_IHC_URL": "http://127.0.0.1:{port}"},
    "OpenID provider": {"DMP_OIDC_ISSUER": "http://127.0.0.1:{port}"},
    "Rate limits": {"DMP_API_RATE_LIMIT_STORAGE": f"redis://:{SECRET}@127.0.0.1:{{port}}"},
    "Spark": {"DMP_SPARK_MASTER": "spark://127.0.0.1:{port}"},
    "API's health": {"DMP_API_HEALTH_URL": "http://127.0.0.1:{port}/health/ready"},
    "Lakehouse root": {"DMP_LAKEHOUSE_ROOT": "/dev/null/lakehouse"},
    "Meta": {
        "DMP_META_APP_ID": "900100200300",
        "DMP_META_APP_SECRET": SECRET,
        "DMP_META_URL": "http://127.0.0.1:{port}",
    },
    "Exchange rates": {"DMP_ADS_EXCHANGE_RATES": "/dev/null/rates.csv"},
}


@pytest.mark.parametrize("name", UNREACHABLE)
def test_doctor_tries_what_is_configured_and_names_what_does_not_answer(
    name: str, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = _closed_port()
    for setting, value in UNREACHABLE[name].items():
        monkeypatch.setenv(setting, value.format(port=port))
    ran = CliRunner().invoke(app, ["doctor"])
    wrong = [line for line in ran.output.splitlines() if line.startswith("✗")]
    assert [line.split(":")[0] for line in wrong] == [f"✗ {name}"], ran.output
    where = [value for value in UNREACHABLE[name].values() if "{port}" in value]
    assert not where or f"127.0.0.1:{port}" in wrong[0], wrong
    assert ran.exit_code == 1
    assert SECRET not in ran.output and "Traceback" not in ran.output


def test_doctor_names_the_tables_that_a_wrong_shop_has(
    home: Home, shop_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_SHOP_DATABASE_URL", shop_url.get_secret_value())
    ran = CliRunner().invoke(app, ["doctor"])
    assert "✗ Shop:" in ran.output and "users" in ran.output, ran.output


def test_doctor_greets_the_mail_server_and_sends_nothing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server(tmp_path / "mail") as server:
        for name, value in server.settings("").items():
            monkeypatch.setenv(f"DMP_{name.upper()}", str(value))
        ran = CliRunner().invoke(app, ["doctor"])
        assert "✓ Mail server: 127.0.0.1, unencrypted" in ran.output, ran.output
        assert server.mails() == []


def test_a_sandbox_home_is_examined_without_leaving_this_machine(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.prepare("sandbox")
    for settings in UNREACHABLE.values():
        for setting, value in settings.items():
            monkeypatch.setenv(setting, value.format(port=_closed_port()))
    ran = CliRunner().invoke(app, ["doctor"])
    assert "✗" not in ran.output, ran.output


def test_secrets_that_others_may_read_are_named(home: Home) -> None:
    home.prepare("live")
    home.secrets.mkdir(mode=0o700)
    key = home.secrets / "token_keys"
    key.touch(0o600)
    assert "✓ Secrets: nobody else" in CliRunner().invoke(app, ["doctor"]).output
    key.chmod(0o640)
    ran = CliRunner().invoke(app, ["doctor"])
    assert f"✗ Secrets: others may read or change {key}:" in ran.output, ran.output


def test_what_is_wrong_with_settings_is_said_once(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.prepare("live")
    monkeypatch.setenv("DMP_ADS_REPORT_EMAILS", '["a@shop.example", "nobody"]')
    ran = CliRunner().invoke(app, ["doctor"])
    assert ran.exit_code == 1 and "✗ Settings:" in ran.output, ran.output
    assert ran.output.count("setting DMP_ADS_REPORT_EMAILS: number 2 of the list") == 1
    assert "to send from" not in ran.output and "nobody" not in ran.output


def test_a_host_that_is_not_there_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMP_SMTP_HOST", "mail.nowhere.invalid")
    monkeypatch.setenv("DMP_SMTP_FROM", "a@shop.example")
    ran = CliRunner().invoke(app, ["doctor"])
    assert "there is no host of the name mail.nowhere.invalid (DMP_SMTP_HOST)" in ran.output


def test_status_says_what_a_new_home_lacks(home: Home) -> None:
    ran = CliRunner().invoke(app, ["status"])
    assert ran.exit_code == 0 and "is not made yet" in ran.output


def test_status_tells_of_messages_and_scores_that_wait(home: Home) -> None:
    home.prepare("live")
    home.outbox.mkdir()
    for name, sent in (("waits", None), ("sent", "2024-03-31T00:00:00Z")):
        (home.outbox / f"{name}.json").write_text(json.dumps({"sent_at": sent}))
    (home.outbox / "mail").mkdir()
    for name, ended in (("waits", None), ("ended", "2024-03-31T00:00:00Z")):
        (home.outbox / "mail" / f"{name}.json").write_text(json.dumps({"ended_at": ended}))
    home.spool.mkdir(parents=True)
    (home.spool / "1.jsonl").write_text("{}\n")
    ran = CliRunner().invoke(app, ["status", "--json"])
    said = {line["text"]: line["attention"] for line in json.loads(ran.output)}
    assert said["1 message in the outbox for a DMP_SLACK_TOKEN"] is False
    assert said["1 mail in the outbox for DMP_SMTP_HOST and DMP_SMTP_FROM"] is False
    assert said["scores in 1 spool file: the store did not take them yet"] is True
    assert ran.exit_code == 1


@pytest.mark.parametrize("command", ["api", "up"])
def test_a_port_that_is_taken_is_named_with_its_setting(
    command: str, home: Home, shop_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = database.engine(shop_url)
    database.migrate(store)
    store.dispose()
    monkeypatch.setenv("DMP_STORE_URL", shop_url.get_secret_value())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        monkeypatch.setenv("DMP_API_PORT", port)
        monkeypatch.setenv("DMP_WEBSERVER_PORT", port)
        ran = CliRunner().invoke(app, [command])
    setting = {"api": "DMP_API_PORT", "up": "DMP_WEBSERVER_PORT"}[command]
    assert ran.exit_code == 1
    said = " ".join(ran.output.split())
    assert f"port {port} of 127.0.0.1 is taken" in said and setting in said
