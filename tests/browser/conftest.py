"""One headless Chromium, and one PostgreSQL, for all browser tests."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from dmp_assets.platform.postgres.embedded import Endpoint
from tests.support import chromium
from tests.support.postgres import postgres_server


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        launched = play.chromium.launch(
            executable_path=chromium.find_or_install(), args=[*chromium.FLAGS]
        )
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def postgres() -> Iterator[Endpoint]:
    with postgres_server() as endpoint:
        yield endpoint
