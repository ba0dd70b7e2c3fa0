"""Budgets and notices as a marketer uses them: a plan from advice to Meta and back, a mute."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, expect

from dmp_assets.ads.service.store import notices
from dmp_assets.ads.service.store.schema_notices import (
    ad_notice,
    ad_notice_mute,
    ad_notice_preference,
)
from dmp_assets.platform.store import advertisers
from dmp_assets.platform.store.schema import person
from tests.browser.test_ads import DESK, PHONE, shoot
from tests.browser.test_review import CONTRAST
from tests.support.ads_rows import DAYS, FIRST
from tests.support.service import PASSWORD, email, now
from tests.unit.ads.test_budget_api import Ads
from tests.unit.ads.test_budget_api import _ads as _ads
from tests.unit.ads.test_budget_api import ads as ads
from tests.unit.ads.test_notice_routes import row


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def page(ads: Ads, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The browser of acme's manager; what it complains about fails the test."""
    with ads.api.store.begin() as store:
        marketer = store.scalar(
            sa.select(person.c.person_id).where(person.c.email == email("marketer"))
        )
        advertisers.let_in(store, "acme", f"person:{marketer}", "manager", now=now())
        for table in (ad_notice_mute, ad_notice_preference):
            store.execute(table.delete())
        store.execute(ad_notice.delete())
        day = FIRST + timedelta(days=DAYS - 3)
        notices.record(store, [
            row("acme", 1, day=day, since=day), row("bolt", 2, day=day, since=day),
            row("acme", 3, day=day, since=day, kind="tracking_broken", unit="count", high=None,
                currency=None),
        ])  # fmt: skip
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, base_url=ads.api.url)
    wrong: list[str] = []
    opened = context.new_page()
    opened.on("pageerror", lambda e: wrong.append(str(e)))
    opened.on("console", lambda m: wrong.append(m.text)
              if m.type == "error" and "status of 4" not in m.text else None)  # fmt: skip
    opened.goto("/login")
    opened.get_by_label("E-mail address").fill(email("marketer"))
    opened.get_by_label("Password").fill(PASSWORD)
    opened.keyboard.press("Enter")
    opened.get_by_role("link", name="What advertising costs and earns").click()
    yield opened
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.evaluate(CONTRAST) == []
    context.close()
    assert wrong == []


def test_a_plan_is_tried_proposed_approved_written_and_undone(ads: Ads, page: Page) -> None:
    before = ads.stands()
    page.get_by_role("link", name="Budget", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("would bring")
    spend = page.locator("input[name=spend]").first
    spend.fill(f"{float(spend.input_value()) * 0.95:.2f}")
    page.get_by_role("button", name="What would this bring?").click()
    expect(page.get_by_role("heading", name="What it would bring in 28 days")).to_be_visible()
    expect(page.locator("svg.interval")).to_have_count(6)
    shoot(page, f"budget-tried-{page.viewport_size['width']}")  # type: ignore[index]
    page.get_by_role("button", name="Propose this plan").click()
    expect(page.locator("details.card .mark").first).to_have_text("proposed")
    assert ads.stands() == before and ads.written() == []
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("details.card .mark").first).to_have_text("approved")
    page.get_by_role("button", name="Write to Meta").click()
    expect(page.locator("details.card .mark").first).to_have_text("applied")
    expect(page.locator("details.card summary").first).to_contain_text("by marketer@…")
    assert ads.stands() != before and len(ads.written()) == 1
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("details.card .mark").first).to_have_text("undone")
    assert ads.stands() == before
    shoot(page, f"budget-{page.viewport_size['width']}")  # type: ignore[index]


def test_a_plan_beyond_a_cap_is_refused_with_the_reason(ads: Ads, page: Page) -> None:
    page.goto("/ads/budget")
    page.locator("input[name=spend]").first.fill("5000")
    page.get_by_role("button", name="What would this bring?").click()
    expect(page.get_by_role("alert")).to_contain_text("DMP_ADS_GREATEST_STEP")
    expect(page.get_by_role("button", name="Propose this plan")).to_have_count(0)
    expect(page.locator("input[name=spend]").first).to_have_value("5000")


def test_a_notice_is_muted_and_heard_of_again_and_preferences_are_kept(
    ads: Ads, page: Page
) -> None:
    page.goto("/ads/notices")
    expect(page.get_by_role("heading", level=1)).to_have_text("2 things not as usual")
    expect(page.get_by_text("of bolt")).to_have_count(0)
    page.get_by_label("For how long").first.select_option("a week")
    page.get_by_label("Of what").first.select_option("this kind")
    page.get_by_role("button", name="Mute").first.click()
    expect(page.get_by_role("heading", name="What you do not hear of")).to_be_visible()
    shoot(page, f"notices-{page.viewport_size['width']}")  # type: ignore[index]
    page.get_by_role("button", name="Hear again of").click()
    expect(page.get_by_role("heading", name="What you do not hear of")).to_have_count(0)
    page.get_by_label("By", exact=True).select_option("email")
    page.get_by_label("Time zone").fill("Nowhere/Land")
    page.get_by_role("button", name="Keep").click()
    expect(page.get_by_role("alert")).to_contain_text("Nowhere/Land")
    expect(page.get_by_label("By", exact=True)).to_have_value("email")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    page.get_by_label("Quiet from").fill("22:00")
    page.get_by_label("until").fill("07:00")
    page.locator("summary", has_text="Kinds that are told otherwise").click()
    page.locator("#kind-pacing").select_option("none")
    page.get_by_role("button", name="Keep").click()
    page.wait_for_url("**/ads/notices?advertiser=acme")
    expect(page.get_by_label("Quiet from")).to_have_value("22:00")
    expect(page.locator("#kind-pacing")).to_have_value("none")
