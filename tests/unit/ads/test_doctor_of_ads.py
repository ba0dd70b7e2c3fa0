"""`dmp doctor` of what ads need: Meta, Shopify, tokens and their keys, rates, channels."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from typer.testing import CliRunner

from dmp_assets.cli.main import app
from dmp_assets.demo.sandbox.server import Endpoint, Sandbox
from dmp_assets.demo.sandbox.slack import SlackSandbox
from dmp_assets.home import Home
from dmp_assets.platform.connect import copies
from dmp_assets.platform.connect.keys import KeyRing
from dmp_assets.platform.connect.tokens import Connections
from dmp_assets.platform.store import database
from dmp_assets.platform.store.schema import service_connection
from dmp_assets.sources.meta.granted import NoAccountsError
from dmp_assets.sources.shopify.access import client_of
from tests.support import shopify
from tests.support.meta import BERLIN, REDIRECT, Meta, consent_at, environment, running

OTHER_KEY = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "400")
    return Home(tmp_path / "home").prepare("live")


def said(name: str) -> str:
    """The line of a check, with its mark."""
    ran = CliRunner().invoke(app, ["doctor"])
    assert "Traceback" not in ran.output, ran.output
    found = [line for line in ran.output.splitlines() if line[2:].startswith(f"{name}: ")]
    assert len(found) == 1, ran.output
    return found[0]


# Meta --------------------------------------------------------------------------------------------
@pytest.fixture
def meta(tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Meta]:
    with running(tmp_path / "meta") as meta:
        for name, value in meta.settings.items():
            if name.startswith("meta_"):
                monkeypatch.setenv(f"DMP_{name.upper()}", str(value))
        yield meta


def test_an_app_that_meta_knows_is_good(meta: Meta) -> None:
    assert said("Meta") == f"✓ Meta: app {meta.settings['meta_app_id']}"


@pytest.mark.parametrize(
    ("setting", "value"),
    [("DMP_META_APP_ID", "900100200301"), ("DMP_META_APP_SECRET", "another-secret-word")],
)
def test_a_wrong_id_or_secret_of_the_app_is_named(
    meta: Meta, monkeypatch: pytest.MonkeyPatch, setting: str, value: str
) -> None:
    monkeypatch.setenv(setting, value)
    line = said("Meta")
    assert line.startswith("✗") and setting in line and "another-secret-word" not in line, line


def test_an_address_that_is_not_metas_is_named(meta: Meta, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMP_META_URL", f"{meta.root}/api")
    line = said("Meta")
    assert line.startswith("✗") and "DMP_META_URL" in line, line


def test_a_token_of_the_settings_that_opens_nothing_is_named(
    meta: Meta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_META_SYSTEM_USER_TOKEN", meta.token(accounts=(BERLIN,)))
    assert "the system user's token is good until" in said("Meta")
    monkeypatch.setenv("DMP_META_SYSTEM_USER_TOKEN", meta.token(accounts=()))
    assert "opens no ad account" in said("Meta")
    monkeypatch.setenv("DMP_META_SYSTEM_USER_TOKEN", "made-up")
    line = said("Meta")
    assert line.startswith("✗") and "DMP_META_SYSTEM_USER_TOKEN" in line, line


@pytest.mark.parametrize(
    ("given", "name", "lacks"),
    [
        ({"DMP_META_APP_ID": "1"}, "Meta", "DMP_META_APP_SECRET"),
        ({"DMP_META_APP_SECRET": "s"}, "Meta", "DMP_META_APP_ID"),
        ({"DMP_SHOPIFY_CLIENT_ID": "1"}, "Shopify", "DMP_SHOPIFY_CLIENT_SECRET"),
        ({"DMP_SHOPIFY_CLIENT_SECRET": "s"}, "Shopify", "DMP_SHOPIFY_CLIENT_ID"),
        ({"DMP_SMTP_HOST": "127.0.0.1"}, "Mail server", "DMP_SMTP_FROM"),
        ({"DMP_SMTP_FROM": "a@b.example"}, "Mail server", "DMP_SMTP_HOST"),
    ],
)
def test_of_settings_that_belong_together_the_missing_one_is_named(
    home: Home, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], name: str, lacks: str
) -> None:
    for setting, value in given.items():
        monkeypatch.setenv(setting, value)
    line = said(name)
    assert line.startswith("✗") and lacks in line, line
    assert not any(setting in line for setting in given), line


# tokens and keys ---------------------------------------------------------------------------------
@pytest.fixture
def connections(
    home: Home, meta: Meta, store_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Connections]:
    """Of a home of which acme is connected to Meta."""
    for name, value in environment(meta, home.root, store_url).items():
        monkeypatch.setenv(name, value)
    with database.opened(store_url) as store:
        found = Connections(store, KeyRing.of(home))
        client = meta.oauth(("ads_read",))
        begun = found.begin(client, "acme", REDIRECT)
        back = consent_at(begun.url, accounts=(BERLIN,), scopes=("ads_read",))
        found.finish(client, begun.cookie, back)
        yield found


def test_keys_that_open_every_token_are_good(connections: Connections) -> None:
    assert said("Token keys") == "✓ Token keys: generated; they open all tokens that are stored (1)"
    assert said("Connections") == "✓ Connections: 1, all in use"


@pytest.mark.parametrize("how", ["another file", "another setting", "no file"])
def test_tokens_that_no_key_opens_are_counted_and_named(
    connections: Connections, home: Home, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    path = KeyRing.of(home).path
    if how == "another setting":
        monkeypatch.setenv("DMP_TOKEN_KEYS", OTHER_KEY)
    elif how == "another file":
        path.write_text(OTHER_KEY)
    else:
        path.unlink()
    line = said("Token keys")
    assert line.startswith("✗") and "Meta of acme" in line and "DMP_TOKEN_KEYS" in line, line
    assert how == "no file" or "no key opens 1 of 1 stored tokens" in line
    assert path.exists() is (how != "no file"), "a look made a key"


def test_what_needs_a_consent_is_named_with_its_advertiser(
    connections: Connections, store_url: SecretStr
) -> None:
    with database.opened(store_url) as store, store.begin() as rows:
        rows.execute(
            sa.update(service_connection).values(
                state="needs_consent", last_failure_kind="invalid_grant"
            )
        )
    assert said("Connections") == (
        "✗ Connections: these need a new consent: Meta of acme (invalid_grant)"
    )


def test_a_copied_home_is_said(connections: Connections, home: Home) -> None:
    home.remember(**{copies.NOTED: "/srv/original"})
    line = said("Connections")
    assert line.startswith("–") and "dmp connect claim" in line, line


def test_what_failed_last_is_said(connections: Connections) -> None:
    [one] = connections.health()
    connections.note_failure(one.connection_id, NoAccountsError())
    assert said("Connections") == (
        "– Connections: 1 in use; these failed last: Meta of acme (no ad account)"
    )


def test_a_store_that_does_not_answer_leaves_connections_unknown(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_STORE_URL", "postgresql://dmp:dmp@127.0.0.1:9/store")
    for name in ("Connections", "Token keys"):
        assert said(name).startswith(f"– {name}: not known while"), said(name)


def test_a_generated_key_beyond_this_machine_is_said_before_up_refuses_it(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said("Who is served").startswith("✓ Who is served: this machine alone")
    monkeypatch.setenv("DMP_API_HOST", "0.0.0.0")
    monkeypatch.setenv("DMP_API_BEHIND_PROXY", "true")
    monkeypatch.setenv("DMP_API_SECRET", OTHER_KEY)
    line = said("Who is served")
    assert line.startswith("✗") and "set DMP_TOKEN_KEYS" in line, line


# Shopify -----------------------------------------------------------------------------------------
@pytest.fixture
def shop(
    tmp_path: Path, home: Home, store_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> Iterator[shopify.Service]:
    """The stand-in, at which the small shop is connected by the app's own credentials."""
    with shopify.running(tmp_path / "shopify") as service:
        secret = service.settings.shopify_client_secret
        assert secret is not None
        monkeypatch.setenv("DMP_STORE_URL", store_url.get_secret_value())
        monkeypatch.setenv("DMP_SHOPIFY_URL", service.settings.shopify_url)
        monkeypatch.setenv("DMP_SHOPIFY_CLIENT_ID", service.settings.shopify_client_id)
        monkeypatch.setenv("DMP_SHOPIFY_CLIENT_SECRET", secret.get_secret_value())
        monkeypatch.setenv("DMP_SHOPIFY_SHOPS", f"{shopify.SHOP}=acme")
        with database.opened(store_url) as store:
            client = client_of(service.settings, shopify.SHOP, loopback_only=True)
            Connections(store, KeyRing.of(home)).connect(client, shopify.SHOP)
        yield service


def test_a_shop_that_takes_our_token_is_good_and_no_token_is_renewed(
    shop: shopify.Service,
) -> None:
    before = len(shop.token_requests())
    assert said("Shopify") == f"✓ Shopify: {shopify.SHOP}"
    assert len(shop.token_requests()) == before


def test_a_shop_that_does_not_take_our_token_is_named(shop: shopify.Service) -> None:
    shop.uninstall()
    line = said("Shopify")
    assert line.startswith("✗") and shopify.SHOP in line and "connect the shop anew" in line, line
    assert said("Connections").startswith("✓"), "a look changed what is known of a connection"


def test_a_shop_that_is_not_connected_yet_is_said(
    shop: shopify.Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_SHOPIFY_ACCESS", "consent")
    monkeypatch.setenv("DMP_SHOPIFY_SHOPS", f"{shopify.SHOP}=acme, {shopify.OTHER}=bolt")
    line = said("Shopify")
    assert line.startswith("–") and f"connect shopify {shopify.OTHER}" in line, line


# files and channels ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("date,currency,rate\n2024-01-01,usd,0.9\n2024-02-01,GBP,1.2\n",
         "✓ Exchange rates: GBP, USD, 2024-01-01 to 2024-02-01"),
        ("day,currency,rate\n2024-01-01,USD,0.9\n", "✗ Exchange rates: DMP_ADS_EXCHANGE_RATES: "),
        ("date,currency,rate\nsoon,USD,0.9\n", "✗ Exchange rates: DMP_ADS_EXCHANGE_RATES: "),
        ("date,currency,rate\n2024-01-01,USD,0.9\n2024-01-01,USD,x\n", "– Exchange rates: "),
        (None, "✗ Exchange rates: DMP_ADS_EXCHANGE_RATES: "),
    ],
)  # fmt: skip
def test_the_file_of_rates_is_read(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, told: str
) -> None:
    file = tmp_path / "rates.csv"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("DMP_ADS_EXCHANGE_RATES", str(file))
    assert said("Exchange rates").startswith(told), said("Exchange rates")


@pytest.fixture
def slack(tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    outside = Home(tmp_path / "slack").prepare("sandbox")
    with Sandbox(outside, (SlackSandbox,)).running() as endpoint:
        for name in ("slack_base_url", "slack_token"):
            monkeypatch.setenv(f"DMP_{name.upper()}", str(endpoint.settings[name]))
        yield endpoint


def test_channels_that_are_there_are_good(slack: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMP_ADS_SLACK_CHANNELS", "acme=C_REPORTS")
    assert said("Slack") == "✓ Slack: Sandbox, as dmp_assets"
    assert said("Channels of notices") == "✓ Channels of notices: 1, all there"


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("Slack", "DMP_SLACK_CHANNEL", "C0NOWHERE"),
        ("Slack", "DMP_SLACK_ALERT_CHANNEL", "C_WITHOUT_US"),
        ("Slack", "DMP_SLACK_OWNER_CHANNELS", "team:risk=C0NOWHERE"),
        ("Channels of notices", "DMP_ADS_SLACK_CHANNELS", "acme=C0NOWHERE"),
    ],
)
def test_a_channel_that_is_not_there_is_named_with_its_setting(
    slack: Endpoint, monkeypatch: pytest.MonkeyPatch, name: str, setting: str, value: str
) -> None:
    monkeypatch.setenv(setting, value)
    line = said(name)
    assert line.startswith("✗") and setting in line and value.rpartition("=")[2] in line, line


def test_a_token_that_may_not_look_at_channels_is_no_fault(
    slack: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_SLACK_CHANNEL", "C0123456789")
    monkeypatch.setenv("DMP_SLACK_ALERT_CHANNEL", "C0123456789")
    shopify.post(
        f"{slack.url}/_sandbox/faults",
        [{"method": "conversations.info", "kind": "missing_scope", "times": 9}],
    )
    line = said("Slack")
    assert line.startswith("✓") and "not looked up without the scope channels:read" in line, line


def test_a_slack_that_fails_does_not_refuse_the_token(slack: Endpoint) -> None:
    shopify.post(
        f"{slack.url}/_sandbox/faults", [{"method": "auth.test", "kind": "500", "times": 9}]
    )
    line = said("Slack")
    assert line.startswith("✗") and "HTTP 500" in line and "refuses" not in line, line
