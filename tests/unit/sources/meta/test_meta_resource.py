"""How a home reaches Meta: by its profile, its settings and its connections."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from dmp_assets import settings as settings_module
from dmp_assets.demo.sandbox.meta import MetaSandbox
from dmp_assets.demo.sandbox.server import Sandbox
from dmp_assets.home import Home
from dmp_assets.platform.connect.keys import KeyRing
from dmp_assets.platform.connect.tokens import Connections
from dmp_assets.platform.store import database
from dmp_assets.sources.meta import objects
from dmp_assets.sources.meta.config import is_connected, meta_config
from dmp_assets.sources.meta.connection import READING
from dmp_assets.sources.meta.resource import advertisers
from tests.support.meta import BERLIN, REDIRECT, TOKYO, Meta, consent_at, environment, with_settings


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_module, "Settings", with_settings())


@pytest.fixture
def live(meta: Meta, store_url: SecretStr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name, value in environment(meta, tmp_path / "live", store_url).items():
        monkeypatch.setenv(name, value)
    return Home(tmp_path / "live").prepare("live")


def connect(home: Home, meta: Meta, store_url: SecretStr, advertiser: str, account: str) -> None:
    store = database.engine(store_url)
    connections, client = Connections(store, KeyRing.of(home)), meta.oauth(READING)
    begun = connections.begin(client, advertiser, REDIRECT)
    back = consent_at(begun.url, accounts=(account,), scopes=READING)
    connections.finish(client, begun.cookie, back)
    store.dispose()


def test_a_sandbox_home_reaches_its_stand_in_whatever_the_environment_says(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_META_URL", "https://graph.facebook.com")
    monkeypatch.setenv("DMP_META_APP_ID", "real")
    monkeypatch.setenv("DMP_META_APP_SECRET", "real-secret")
    monkeypatch.setenv("DMP_META_SYSTEM_USER_TOKEN", "EAABreal")
    assert meta_config(home) is None and not is_connected(home)
    with Sandbox(home, (MetaSandbox,)).running() as endpoint:
        config = meta_config(home)
        assert config is not None and config.loopback_only
        assert config.url == config.login_url == f"{endpoint.url}/meta"
        assert config.app_id == endpoint.settings["meta_app_id"] != "real"
        assert not is_connected(home)
        with advertisers(home) as found:
            assert found == {}


def test_each_advertiser_sees_its_own_accounts(
    live: Home, meta: Meta, store_url: SecretStr
) -> None:
    connect(live, meta, store_url, "shop-1", BERLIN)
    connect(live, meta, store_url, "shop-2", TOKYO)
    with advertisers(live) as found:
        seen = {}
        for advertiser, connected in found.items():
            with connected.noting() as client:
                seen[advertiser] = [row["account_id"] for row in objects.accounts(client)]
    assert seen == {"shop-1": [BERLIN], "shop-2": [TOKYO]}


def test_a_consent_goes_before_a_token_of_the_settings(
    live: Home, meta: Meta, store_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_META_SYSTEM_USER_TOKEN", meta.token(accounts=(TOKYO,)))
    with advertisers(live) as found, found["default"].noting() as client:
        assert [row["account_id"] for row in objects.accounts(client)] == [TOKYO]
    connect(live, meta, store_url, "default", BERLIN)
    with advertisers(live) as found, found["default"].noting() as client:
        assert [row["account_id"] for row in objects.accounts(client)] == [BERLIN]


def test_all_that_a_process_reads_of_an_account_goes_by_one_queue(
    live: Home, meta: Meta, store_url: SecretStr
) -> None:
    connect(live, meta, store_url, "shop-1", BERLIN)
    connect(live, meta, store_url, "shop-2", BERLIN)
    with advertisers(live) as one, advertisers(live) as other:
        queues = {own.client.governor for found in (one, other) for own in found.values()}
    assert len(queues) == 1


def test_a_home_without_an_app_has_no_connection(
    live: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DMP_META_APP_ID", "DMP_META_APP_SECRET"):
        monkeypatch.delenv(name)
    assert meta_config(live) is None
    with advertisers(live) as found:
        assert found == {}
