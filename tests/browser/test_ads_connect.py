"""Connecting Meta and a shop by real clicks: the stand-ins are another site than ours, so that the
browser keeps our strict cookies back as it would on the way from facebook.com.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_ads import DESK, PHONE, shoot
from tests.browser.test_review import CONTRAST
from tests.support import shopify
from tests.support.service import PASSWORD, Api, email
from tests.unit.ads.test_ads_connections import _api as _api
from tests.unit.ads.test_ads_connections import api as api
from tests.unit.ads.test_ads_connections import meta as meta
from tests.unit.ads.test_ads_connections import shop as shop
from tests.unit.ads.test_ads_connections import tokens


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def page(api: Api, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The browser of acme's manager, at `localhost`; the stand-ins are at 127.0.0.1."""
    width, height = request.param
    context = browser.new_context(
        viewport={"width": width, "height": height},
        base_url=api.url.replace("127.0.0.1", "localhost"),
    )
    wrong: list[str] = []
    opened = context.new_page()
    opened.on("pageerror", lambda e: wrong.append(str(e)))
    opened.on(
        "console",
        lambda m: (
            wrong.append(m.text) if m.type == "error" and "status of 4" not in m.text else None
        ),
    )
    opened.goto("/login")
    opened.get_by_label("E-mail address").fill(email("marketer"))
    opened.get_by_label("Password").fill(PASSWORD)
    opened.keyboard.press("Enter")
    opened.get_by_role("link", name="What advertising costs and earns").click()
    opened.get_by_role("link", name="Connections").click()
    yield opened
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.evaluate(CONTRAST) == []
    context.close()
    assert wrong == []


def test_meta_is_connected_and_disconnected(api: Api, page: Page) -> None:
    page.get_by_role("button", name="Connect Meta").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "An app wants to read your ad accounts"
    )
    assert "//127.0.0.1:" in page.url
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("status")).to_contain_text("Connected.")
    assert "code=" not in page.url and "//localhost:" in page.url
    [token] = tokens(api)
    assert token not in page.content()
    shoot(page, f"connected-{page.viewport_size['width']}")  # type: ignore[index]
    page.get_by_text("Disconnect", exact=True).click()
    page.get_by_role("button", name="Disconnect Meta").click()
    expect(page.get_by_role("status")).to_contain_text("the token is deleted")
    assert tokens(api) == []


def test_who_cancels_is_told_and_may_try_again(api: Api, page: Page) -> None:
    page.get_by_role("button", name="Connect Meta").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Not connected")
    expect(page.get_by_role("alert")).to_contain_text("consent was not given")
    page.get_by_role("link", name="To the connections").click()
    expect(page.get_by_role("button", name="Connect Meta")).to_be_visible()
    assert tokens(api) == []


def test_a_shop_is_connected(api: Api, page: Page) -> None:
    page.get_by_role("button", name=f"Connect {shopify.SHOP}").click()
    expect(page.get_by_role("status")).to_contain_text("Connected.")
    assert len(tokens(api)) == 1
