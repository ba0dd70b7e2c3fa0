"""Fixtures of the unit tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from dmp_assets.demo.sandbox.server import Endpoint as SandboxEndpoint
from dmp_assets.demo.sandbox.server import Sandbox
from dmp_assets.home import Home
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.store import database
from tests.support.postgres import fresh_database, postgres_server
from tests.support.service import Api, running_api

LONGEST = (
    "degenerate", "ml_assets", "scoring", "quarto", "degenerate_messages", "renderer",
    "report_assets", "embedded_postgres", "fuzz", "api", "api_bounds",
)  # fmt: skip
"""Files that take longest, in this order: begun first, so that none is left over at the end."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {f"test_{name}": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


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


@pytest.fixture(scope="module")
def served_api(
    postgres: Endpoint, migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """The service of this file: an empty sandbox home on a filled store."""
    home = Home(tmp_path_factory.mktemp("served") / "home").prepare("sandbox")
    with (
        fresh_database(postgres, template=migrated) as url,
        running_api(home, url) as api,
    ):
        yield api


@pytest.fixture
def api(served_api: Api) -> Api:
    """That service, as if nobody had called it yet."""
    served_api.forget()
    return served_api


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty sandbox home of the test's own."""
    return Home(tmp_path / "home").prepare("sandbox")


@pytest.fixture
def endpoint(home: Home) -> Iterator[SandboxEndpoint]:
    """That home's sandbox, running."""
    with Sandbox(home).running() as endpoint:
        yield endpoint
