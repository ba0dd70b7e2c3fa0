"""Experiments and pooled insights as a marketer uses them: headless Chromium, real clicks."""

from collections.abc import Iterator
from datetime import date, timedelta

import pyarrow as pa
import pytest
from playwright.sync_api import Page, expect

from dmp_assets.ads.model.experiments.decide import Reading
from dmp_assets.ads.model.experiments.moments import Moments
from dmp_assets.ads.model.experiments.readout import read
from dmp_assets.ads.service.store import experiments
from dmp_assets.ads.service.store.schema_experiments import ads_experiment
from dmp_assets.platform.store import advertisers
from tests.browser.test_ads import DESK, PHONE, Open, shoot
from tests.browser.test_ads import _api as _api
from tests.browser.test_ads import api as api
from tests.browser.test_ads import log_in as log_in
from tests.browser.test_review import CONTRAST
from tests.support.experiments import body
from tests.support.service import Api, fill, now


@pytest.fixture
def defined(api: Api) -> Iterator[Api]:
    """Two experiments of acme's that are not started, and one of bolt's."""
    with api.store.begin() as store:
        for one in ("acme", "bolt"):
            advertisers.let_in(store, one, "client:key-marketer", "manager", now=now())
    with api.as_role("marketer") as client:
        for advertiser, name in (("acme", "shipping"), ("acme", "texts"), ("bolt", "theirs")):
            made = client.post(
                "/v1/ads/experiments", params={"advertiser": advertiser},
                json={"experiment": name, "layer": name} | body(guardrails=[], secondary=[]),
            )  # fmt: skip
            assert made.status_code == 201, made.text
    yield api
    with api.store.begin() as store:
        store.execute(ads_experiment.delete())


def read_daily(api: Api, name: str, days: int) -> None:
    """A reading a day, of which more and more buy by the treatment."""
    for n in range(1, days + 1):
        with api.store.begin() as store:
            found = experiments.one(store, "acme", name)
            assert found is not None
            definition = found.definition
            moments = {
                ("conversion", variant): Moments.of_proportion(bought * n, 1000 * n)
                for variant, bought in zip(definition.variants, (90, 120), strict=True)
            }
            reading = Reading(
                version=n,
                last_day=definition.starts_on + timedelta(days=n - 1),
                readout=read(definition, (1000 * n, 1000 * n), moments),
            )
            experiments.judge(store, "acme", name, reading, is_automatic=False, now=now())


def looks_well(page: Page, width: int) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRAST) == []


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_an_experiment_is_started_read_and_its_winner_promoted(
    defined: Api, log_in: Open, size: tuple[int, int]
) -> None:
    page = log_in(size=size)
    page.get_by_role("link", name="Experiments", exact=True).click()
    expect(page.get_by_role("link", name="theirs")).to_have_count(0)
    page.get_by_role("link", name="shipping").click()
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("shipping is not started")
    page.get_by_role("button", name="Start").click()
    expect(heading).to_have_text("shipping is running")
    expect(page.get_by_text("Nothing is read yet")).to_be_visible()
    read_daily(defined, "shipping", 8)
    page.reload()
    expect(heading).to_have_text("shipping has a winner, which waits for approval")
    expect(page.locator("figure.chart canvas")).to_be_visible()
    shoot(page, f"experiment-{size[0]}")
    looks_well(page, size[0])
    read_daily(defined, "shipping", 9)  # while the page is open
    page.get_by_role("button", name="Promote the winner: free-shipping").click()
    expect(page.get_by_role("alert")).to_contain_text("newer reading")
    page.get_by_role("button", name="Promote the winner: free-shipping").click()
    expect(heading).to_have_text("shipping is decided")
    expect(page.locator(".history li").first).to_contain_text("by marketer@…")
    page.get_by_role("link", name="All experiments").click()
    expect(page.get_by_role("row", name="shipping Free")).to_contain_text("+33.3 %")
    looks_well(page, size[0])


def test_an_experiment_is_paused_and_stopped(defined: Api, log_in: Open) -> None:
    page = log_in()
    page.goto("/ads/experiments?advertiser=acme&experiment=texts")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Pause").click()
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_contain_text("texts is paused")
    page.get_by_text("Stop it", exact=True).click()
    page.get_by_role("button", name="Stop texts").click()
    expect(heading).to_have_text("texts was stopped")
    expect(page.get_by_role("button", name="Stop texts")).to_have_count(0)
    for name in ("theirs", "nobodys"):
        answer = page.goto(f"/ads/experiments?advertiser=acme&experiment={name}")
        assert answer is not None and answer.status == 404


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_an_advertiser_takes_part_and_no_more(
    api: Api, log_in: Open, size: tuple[int, int]
) -> None:
    rows = [
        {"period": date(2024, 2, 1), "industry": "", "size": "", "measure": measure,
         "advertisers": 15, "centre": 3.2, "spread": 1.6}
        for measure in ("mer", "platform_roas")
    ]  # fmt: skip
    fill(api.store, {"pooled_insight": pa.Table.from_pylist(rows)})
    page = log_in(size=size)
    page.get_by_role("link", name="Shops like yours").click()
    expect(page.get_by_role("row", name="mer", exact=False).first).to_contain_text("× 1.60")
    page.get_by_label("Industry").select_option("food")
    page.get_by_label("Revenue").select_option("small")
    page.get_by_role("button", name="Take part by these terms").click()
    expect(page.get_by_text("You take part since")).to_be_visible()
    expect(page.locator("tr", has_text="yours")).to_have_count(2)
    shoot(page, f"insights-{size[0]}")
    looks_well(page, size[0])
    page.get_by_text("Take part no more").first.click()
    page.get_by_role("button", name="Take part no more").click()
    expect(page.get_by_text("You do not take part.")).to_be_visible()
