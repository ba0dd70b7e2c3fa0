"""The sandbox's Shopify with its small shop."""

from collections.abc import Iterator

import pytest

from dmp_assets.sources.shopify.graphql import ShopApi
from tests.support.shopify import Service, api_of, own_token, refill, running


@pytest.fixture(scope="session")
def _shopify(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("shopify")) as service:
        yield service


@pytest.fixture
def service(_shopify: Service) -> Service:
    """The stand-in, behaving well, with the small shop as it was filled."""
    refill(_shopify)
    return _shopify


@pytest.fixture
def api(service: Service) -> Iterator[ShopApi]:
    """The small shop's API by the app's own credentials."""
    with api_of(service, own_token(service)) as api:
        yield api
