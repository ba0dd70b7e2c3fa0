"""Fixtures of the unit tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from dmp_assets.demo.sandbox import Endpoint as SandboxEndpoint
from dmp_assets.demo.sandbox import Sandbox
from dmp_assets.home import Home
from dmp_assets.resources.postgres import Endpoint
from dmp_assets.store import database
from tests.support.postgres import fresh_database, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Endpoint]:
    """One embedded PostgreSQL for all tests that need one."""
    with postgres_server() as endpoint:
        yield endpoint


@pytest.fixture
def shop_url(postgres: Endpoint) -> Iterator[SecretStr]:
    """URL of an empty database of this test's own."""
    with fresh_database(postgres) as url:
        yield url


@pytest.fixture(scope="session")
def migrated(postgres: Endpoint) -> Iterator[str]:
    """Name of a database with the operational store's schema, to be copied."""
    with fresh_database(postgres) as url:
        engine = database.engine(url)
        database.migrate(engine)
        engine.dispose()
        assert engine.url.database
        yield engine.url.database


@pytest.fixture
def store_url(postgres: Endpoint, migrated: str) -> Iterator[SecretStr]:
    """URL of an operational store of this test's own, without rows."""
    with fresh_database(postgres, template=migrated) as url:
        yield url


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty sandbox home of the test's own."""
    return Home(tmp_path / "home").prepare("sandbox")


@pytest.fixture
def endpoint(home: Home) -> Iterator[SandboxEndpoint]:
    """That home's sandbox, running."""
    with Sandbox(home).running() as endpoint:
        yield endpoint
