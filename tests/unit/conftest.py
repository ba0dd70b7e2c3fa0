"""Fixtures of the unit tests."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from dmp_assets.resources.postgres import Endpoint
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
