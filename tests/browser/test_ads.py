"""The pages of ad performance as marketers use them: headless Chromium, real clicks and keys."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, BrowserContext, Page, expect

from dmp_assets.ads.service.store.schema_pages import ads_saved_view
from dmp_assets.home import Home
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.store import access, advertisers
from dmp_assets.platform.store.schema import advertiser, advertiser_member, login_session, person
from tests.browser.test_review import CONTRAST
from tests.support.ads_rows import ads_rows
from tests.support.postgres import fresh_database
from tests.support.service import PASSWORD, Api, email, fill, now, running_api

DESK, PHONE = (1400, 900), (400, 860)
PAGES = (
    "/ads",
    "/ads/bridge",
    "/ads/campaigns",
    "/ads/campaigns?campaign=c1",
    "/ads/campaigns?campaign=c1&adset=s1&ad=a1",
    "/ads/orders",
    "/ads/claims",
    "/ads/budget",
    "/ads/experiments",
    "/ads/notices",
    "/ads/insights",
    "/ads/connections",
    "/ads/members",
    "/ads?start=2031-01-01&end=2031-01-02",
    "/ads?start=2024-02-10&end=2024-02-01",
)
SHOTS = os.environ.get("SCREENSHOTS")
"""A folder for pictures of the pages, for people to look at."""

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def _api(postgres: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    home = Home(tmp_path_factory.mktemp("ads") / "home").prepare("live")
    with fresh_database(postgres) as url, running_api(home, url) as api:
        fill(api.store, ads_rows(("acme", "bolt")), "v2")
        with api.store.begin() as store:
            access.add_person(store, "ben@shop.example", "marketer", PASSWORD, now=now())
        yield api


@pytest.fixture
def api(_api: Api) -> Iterator[Api]:
    """Two advertisers, both managed by the marketer."""
    with _api.store.begin() as store:
        store.execute(login_session.delete())
        marketer = store.scalar(
            sa.select(person.c.person_id).where(person.c.email == email("marketer"))
        )
        for one in ("acme", "bolt"):
            advertisers.ensure(store, one, now=now(), name=one.capitalize())
            advertisers.let_in(store, one, f"person:{marketer}", "manager", now=now())
    _api.forget()
    yield _api
    with _api.store.begin() as store:
        for table in (advertiser_member, advertiser, ads_saved_view):
            store.execute(table.delete())


@pytest.fixture
def log_in(api: Api, browser: Browser) -> Iterator[Open]:
    """Open the overview as a person; what the browser complains about fails the test."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def opened(
        address: str = email("marketer"), size: tuple[int, int] = DESK, **options: object
    ) -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, base_url=api.url, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda e: wrong.append(str(e)))
        page.on(
            "console",
            lambda m: (
                wrong.append(m.text) if m.type == "error" and "status of 4" not in m.text else None
            ),
        )
        page.goto("/login")
        page.get_by_label("E-mail address").fill(address)
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_role("link", name="What advertising costs and earns").click()
        page.wait_for_load_state()  # keys work when the page's script has run
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def tile(page: Page, name: str) -> str:
    return page.locator(f".tiles [data-name={name}] strong").inner_text()


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_other_days_and_another_advertiser_are_chosen(log_in: Open, size: tuple[int, int]) -> None:
    page = log_in(size=size)
    assert tile(page, "ad_spend") == "2,800 EUR"
    page.get_by_role("link", name="7 days", exact=True).click()
    expect(page.locator(".tiles [data-name=ad_spend] strong")).to_have_text("700.00 EUR")
    page.get_by_label("First day").fill("2024-01-01")
    page.get_by_label("Last day").fill("2024-01-10")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".tiles [data-name=ad_spend] strong")).to_have_text("1,000 EUR")
    if size == DESK:
        page.get_by_label("Advertiser", exact=True).select_option("Bolt")
        expect(page.locator(".tiles [data-name=ad_spend] strong")).to_have_text("2,000 EUR")
        page.get_by_role("link", name="Truth bridge").click()
        expect(page.get_by_role("heading", level=2).first).to_contain_text("Account of bolt")
        assert "start=2024-01-01" in page.url and "advertiser=bolt" in page.url
    page.keyboard.press("]")
    page.wait_for_url("**start=2024-01-11**")
    page.keyboard.press("g")
    page.keyboard.press("1")
    page.wait_for_url("**/ads?**")


def test_a_chart_is_read_by_pointer_keys_and_as_a_table(log_in: Open) -> None:
    page = log_in()
    plot = page.locator("figure.chart .plot").first
    expect(plot.locator("canvas")).to_be_visible()
    plot.hover(position={"x": 500, "y": 100})
    expect(plot.locator(".tip")).to_contain_text("Revenue")
    plot.focus()
    page.keyboard.press("End")
    expect(plot.locator(".tip")).to_contain_text("2024-02-29, may still change")
    expect(plot.locator(".tip")).to_contain_text("500.00 EUR")
    expect(plot.locator("[aria-live]")).to_contain_text("2024-02-29: Revenue 500.00 EUR")
    page.keyboard.press("ArrowLeft")
    expect(plot.locator(".tip")).to_contain_text("2024-02-28")
    page.locator("figure.chart summary").first.click()
    expect(page.locator("figure.chart table").first).to_contain_text("2024-02-29")


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_campaign_is_drilled_into_and_sorted(log_in: Open, size: tuple[int, int]) -> None:
    page = log_in(size=size)
    page.get_by_role("link", name="Campaigns", exact=True).click()
    page.get_by_role("link", name="Clicks", exact=True).click()
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("Clicks")
    page.get_by_role("link", name="Clicks", exact=True).click()
    expect(page.locator("th[aria-sort=ascending]")).to_contain_text("Clicks")
    assert page.locator("a.row").all_text_contents() == [
        "Campaign c2 of acme", "Campaign c1 of acme",
    ]  # fmt: skip
    page.locator("tr", has_text="Campaign c1").click(position={"x": 300, "y": 12})
    expect(page.get_by_role("heading", level=1)).to_have_text("Campaign c1 of acme")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Set s")
    page.get_by_role("link", name="Ad a", exact=False).first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Ad a")
    page.get_by_role("link", name="All campaigns").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Campaigns")
    page.wait_for_load_state()
    page.keyboard.press("/")
    page.keyboard.type("c2")
    page.keyboard.press("Enter")
    expect(page.locator("a.row")).to_have_text(["Campaign c2 of acme"])


def test_a_view_is_saved_and_opened_without_scripts(log_in: Open) -> None:
    page = log_in(java_script_enabled=False)
    page.goto("/ads/campaigns?range=last-7&sort=-clicks")
    page.get_by_text("Views", exact=True).click()
    page.get_by_label("Save this view as").fill("Week by clicks")
    page.get_by_role("button", name="Save").click()
    page.goto("/ads")
    page.locator("details.menu summary").click()
    page.get_by_role("link", name="Week by clicks").click()
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("Clicks")
    expect(page.get_by_role("link", name="7 days", exact=True)).to_have_attribute(
        "aria-current", "true"
    )
    page.locator("details.menu summary").click()
    page.get_by_role("button", name="Remove the view Week by clicks").click()
    page.locator("details.menu summary").click()
    expect(page.get_by_text("Week by clicks")).to_have_count(0)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_member_is_let_in_and_shut_out(log_in: Open, size: tuple[int, int]) -> None:
    page = log_in(size=size)
    page.get_by_role("link", name="Members").click()
    page.get_by_label("E-mail address").fill("nobody@shop.example")
    page.get_by_role("button", name="Let in").click()
    expect(page.get_by_role("alert")).to_contain_text("no person with this address")
    page.get_by_label("E-mail address").fill("ben@shop.example")
    page.get_by_label("Role").select_option("reader")
    page.get_by_role("button", name="Let in").click()
    expect(page.get_by_role("cell", name="ben@shop.example", exact=True)).to_be_visible()
    shoot(page, f"members-{size[0]}")
    ben = log_in("ben@shop.example")
    assert tile(ben, "ad_spend") == "2,800 EUR"
    expect(ben.get_by_label("Advertiser", exact=True)).to_have_count(0)
    page.get_by_role("button", name="Shut ben@shop.example out").click()
    expect(page.get_by_role("cell", name="ben@shop.example", exact=True)).to_have_count(0)
    ben.goto("/ads")
    expect(ben.get_by_text("no advertiser that you see")).to_be_visible()


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_every_page_fits_and_is_labelled(log_in: Open, size: tuple[int, int]) -> None:
    page = log_in(size=size)
    for path in PAGES:
        page.goto(path)
        page.wait_for_load_state()
        shoot(page, f"{path}-{size[0]}")
        page.eval_on_selector_all("details:not(.menu)", "all => all.forEach(e => e.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], path
        assert page.locator("h1").count() == 1
        unlabelled = page.eval_on_selector_all(
            "input:not([type=hidden]), select, textarea",
            "all => all.filter(e => !e.labels.length).map(e => e.name)",
        )
        assert unlabelled == [], path
        unnamed = page.eval_on_selector_all(
            "a:not([hidden]), button",
            "all => all.filter(e => !(e.ariaLabel || e.textContent.trim())).length",
        )
        assert unnamed == 0, path
        ids = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
        assert len(ids) == len(set(ids)), path


def test_text_can_be_read_in_light_and_dark(log_in: Open) -> None:
    """Contrast of at least 4.5 : 1 (WCAG 2.2, AA) of every text on its ground."""
    for scheme in ("light", "dark"):
        page = log_in(color_scheme=scheme)
        for path in PAGES:
            page.goto(path)
            assert page.evaluate(CONTRAST) == [], (scheme, path)
            if scheme == "dark":
                shoot(page, f"{path}-dark")


def shoot(page: Page, name: str) -> None:
    if SHOTS:
        name = re.sub(r"\W+", "-", name).strip("-")
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)
