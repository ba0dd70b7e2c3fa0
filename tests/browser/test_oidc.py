"""Logging in by OpenID Connect as a browser does: another site, cookies and policies and all."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from pydantic import SecretStr

from dmp_assets.home import Home
from dmp_assets.platform.api.access import COOKIE
from dmp_assets.platform.api.oidc import Issuer
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.store import access
from tests.support.oidc import CLIENT_ID, CLIENT_SECRET, openid_provider
from tests.support.postgres import fresh_database
from tests.support.service import Api, now, running_api


@pytest.fixture
def api(postgres: Endpoint, tmp_path: Path) -> Iterator[Api]:
    home = Home(tmp_path / "home").prepare("sandbox")
    with fresh_database(postgres) as url, running_api(home, url) as api:
        with api.store.begin() as store:
            access.add_person(store, "ann@shop.example", "risk", None, now=now())
        yield api


def test_a_person_comes_back_from_another_site_logged_in(api: Api, browser: Browser) -> None:
    with openid_provider("localhost") as provider:  # to a browser another site than 127.0.0.1
        provider.asks = True
        api.app.state.service.issuer = Issuer(provider.url, CLIENT_ID, SecretStr(CLIENT_SECRET))
        context = browser.new_context(locale="en-GB")
        page = context.new_page()
        said: list[str] = []
        page.on(
            "console",
            lambda m: said.append(m.text) if m.location["url"].startswith(api.url) else None,
        )
        page.goto(f"{api.url}/login")
        page.get_by_role("link", name="Log in with localhost").click()
        page.wait_for_url(re.compile("^http://localhost:"))
        page.get_by_role("button", name="It is me").click()
        page.wait_for_url(f"{api.url}/")
        page.get_by_role("button", name="Log out").wait_for()
        assert page.get_by_text("At a glance").is_visible()
        (session,) = [c for c in context.cookies() if c["name"] == COOKIE]
        assert (session["sameSite"], session["httpOnly"]) == ("Strict", True)
        assert said == []
        context.close()
