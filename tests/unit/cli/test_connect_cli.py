"""`dmp secrets rotate`, `dmp doctor` and what may be served, with a real store and real tokens."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dmp_assets.cli import secret_keys, service
from dmp_assets.cli.main import app
from dmp_assets.home import Home, HomeError
from dmp_assets.platform.api import serve
from dmp_assets.platform.connect.errors import NeedsConsentError
from dmp_assets.platform.connect.keys import KeyRing
from dmp_assets.platform.connect.oauth import CLIENT_CREDENTIALS, OAuthClient
from dmp_assets.platform.connect.tokens import Connections
from dmp_assets.platform.store import database, where
from tests.support.oauth import Service, running
from tests.support.postgres import stoppable_server

KEY = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("outside")) as service:
        yield service


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with stoppable_server() as server:
        home = Home(server.folder.parent)
        service.migrate_home(home)
        yield home


@pytest.fixture
def client(outside: Service) -> OAuthClient:
    outside.behave()
    return outside.client(renewal=CLIENT_CREDENTIALS)


def test_the_commands_work_with_connections_and_show_no_token(
    home: Home, client: OAuthClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_HOME", str(home.root))
    assert secret_keys.connections_state(home) == "none"
    with database.opened(where.store_url(home)) as store:  # as the service's role
        connections = Connections(store, KeyRing.of(home))
        connection = connections.connect(client, "shop-1")
        tokens = connections.tokens(client, connection)
        old = KeyRing.of(home).path.read_text()
        rotated = CliRunner().invoke(app, ["secrets", "rotate"])
        assert rotated.exit_code == 0, rotated.output
        assert "tokens encrypted anew: 1" in rotated.output
        new = KeyRing.of(home).path.read_text()
        assert new != old and len(new.split()) == 1
        assert connections.tokens(client, connection) == tokens
        assert secret_keys.connections_state(home) == "1, all in use"
        said = CliRunner().invoke(app, ["doctor"]).output
        assert "Connections: 1, all in use" in said
        for secret in (tokens.access, old.strip(), new.strip()):
            assert secret not in said + rotated.output
        with store.begin() as rows:
            rows.exec_driver_sql("UPDATE service_connection SET state = 'needs_consent'")
    with pytest.raises(NeedsConsentError, match="these need a new consent: Sandbox"):
        secret_keys.connections_state(home)


def test_a_home_without_a_store_has_nothing_to_rotate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    said = CliRunner().invoke(app, ["secrets", "rotate"])
    assert said.exit_code == 1 and "dmp migrate" in said.output


def test_who_is_reached_by_others_serves_with_keys_that_were_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home").prepare("live")
    monkeypatch.setenv("DMP_API_HOST", "0.0.0.0")
    monkeypatch.setenv("DMP_API_BEHIND_PROXY", "true")
    monkeypatch.setenv("DMP_API_SECRET", KEY)
    serve.check_address(home)  # no token was ever stored here
    with pytest.raises(HomeError, match="set DMP_TOKEN_KEYS"):
        KeyRing.of(home).load()
    monkeypatch.delenv("DMP_API_HOST")
    KeyRing.of(home).load()
    monkeypatch.setenv("DMP_API_HOST", "0.0.0.0")
    with pytest.raises(HomeError, match="set DMP_TOKEN_KEYS"):
        serve.check_address(home)
    monkeypatch.setenv("DMP_TOKEN_KEYS", KEY)
    serve.check_address(home)
