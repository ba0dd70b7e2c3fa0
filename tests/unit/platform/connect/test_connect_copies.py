"""A copied or restored home does not use up the refresh tokens of the one it was made from."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from typer.testing import CliRunner

from dmp_assets.cli.main import app
from dmp_assets.demo.sandbox.oauth import REDIRECTS
from dmp_assets.home import Home
from dmp_assets.platform.connect import copies
from dmp_assets.platform.connect.copies import CopiedError, Place
from dmp_assets.platform.connect.keys import KeyRing
from dmp_assets.platform.connect.oauth import CLIENT_CREDENTIALS
from dmp_assets.platform.connect.tokens import Connections
from dmp_assets.platform.store import database
from tests.support.oauth import Service, browse, running

LATER = timedelta(days=1)
"""After which every access token of the stand-in has ended."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with running(tmp_path / "oauth") as service:
        yield service


@pytest.fixture
def store(store_url: SecretStr) -> Iterator[sa.Engine]:
    engine = database.engine(store_url)
    yield engine
    engine.dispose()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").prepare("live")


def connections_of(home: Home, store: sa.Engine, *, later: bool = False) -> Connections:
    at = datetime.now(UTC) + (LATER if later else timedelta())
    return Connections(store, KeyRing.of(home), clock=lambda: at, place=Place(home))


@pytest.mark.parametrize("how", ["copied", "moved", "restored"])
def test_what_opens_once_is_renewed_by_the_home_that_was_connected(
    home: Home, store: sa.Engine, service: Service, tmp_path: Path, how: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    client, first = service.client(), connections_of(home, store)
    begun = first.begin(client, "acme", REDIRECTS[0])
    connection = first.finish(client, begun.cookie, browse(begun.url))
    if how == "restored":  # to the same place, on another machine
        copies.restored(home)
        other = home
    else:
        other = Home(tmp_path / "other")
        (shutil.copytree if how == "copied" else shutil.move)(str(home.root), str(other.root))
    asked = len(service.calls("token"))
    with pytest.raises(CopiedError, match="dmp connect claim"):
        connections_of(other, store, later=True).tokens(client, connection)
    assert len(service.calls("token")) == asked
    assert first.health()[0].last_failure_kind == "copied home"
    if how == "copied":
        connections_of(home, store, later=True).tokens(client, connection)
        return
    monkeypatch.setenv("DMP_HOME", str(other.root))
    assert CliRunner().invoke(app, ["connect", "claim"]).exit_code == 0
    assert connections_of(other, store, later=True).tokens(client, connection).access


def test_what_may_be_renewed_often_is_renewed_by_a_copy_too(
    home: Home, store: sa.Engine, service: Service, tmp_path: Path
) -> None:
    client = service.client(renewal=CLIENT_CREDENTIALS)
    connection = connections_of(home, store).connect(client, "acme")
    other = Home(Path(shutil.copytree(home.root, tmp_path / "other")))
    assert connections_of(other, store, later=True).tokens(client, connection).access


def test_a_home_that_was_never_connected_is_restored_as_any_other(home: Home) -> None:
    copies.restored(home)
    Place(home).check()
    assert home.state()[copies.NOTED] == str(home.root)
