"""The reports as people see them: headless Chromium, offline, on a desk and on a phone."""

import csv
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from dmp_assets.attribution.report import figures as attribution_figures
from dmp_assets.home import Home
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.reporting.period import Period
from dmp_assets.platform.reporting.renderer import Renderer
from dmp_assets.settings import project_dir
from tests.support import lakehouse

DESK, PHONE = (1440, 900), (390, 844)
CHARTS = ("top-users", "top-codes", "usage-timeline", "registration-timeline")
REPORTS = sorted(path.stem for path in (project_dir() / "reports").glob("*.qmd"))
CHART_DATA = """id => document.getElementById(id).data[0]"""


@dataclass
class Opened:
    """A page and what went wrong on it."""

    page: Page
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return lakehouse.build(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("empty")).prepare("sandbox")


@pytest.fixture(scope="module")
def rendered(home: Home) -> dict[str, Path]:
    with Renderer(project_dir(), home) as engine:
        return {name: engine.render(name).path for name in REPORTS}


def open_page(browser: Browser, path: Path, size: tuple[int, int]) -> Opened:
    context = browser.new_context(
        offline=True, viewport={"width": size[0], "height": size[1]}, locale="en-GB"
    )
    opened = Opened(context.new_page())
    opened.page.on(
        "request",
        lambda r: opened.outside.append(r.url) if not r.url.startswith(("file:", "data:")) else 0,
    )
    opened.page.on("requestfailed", lambda r: opened.errors.append(f"failed {r.url}"))
    opened.page.on("pageerror", lambda e: opened.errors.append(str(e)))
    opened.page.on("console", lambda m: opened.errors.append(m.text) if m.type == "error" else 0)
    opened.page.goto(path.as_uri())
    return opened


def chart(page: Page, name: str) -> dict[str, Any]:
    return dict(page.evaluate(CHART_DATA, name))


def tile_values(page: Page) -> dict[str, str]:
    """Name of the figure → value, of the tiles of a page."""
    tiles = page.locator(".tile[data-name]").all()
    return {str(t.get_attribute("data-name")): t.inner_text().split("\n")[1] for t in tiles}


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("name", REPORTS)
def test_a_report_opens_offline_without_errors_and_without_scrolling_sideways(
    browser: Browser, rendered: dict[str, Path], name: str, size: tuple[int, int]
) -> None:
    opened = open_page(browser, rendered[name], size)
    assert opened.outside == []
    assert opened.errors == []
    width = opened.page.evaluate("document.documentElement.scrollWidth")
    assert width <= size[0]
    for drawn in opened.page.query_selector_all(".js-plotly-plot"):
        assert drawn.query_selector_all(
            ".point, .js-line, .scatterlayer .trace, .heatmaplayer *, .sankey-node"
        )
    for text in opened.page.query_selector_all("p, li, td, th, .tile-value"):
        size_px = float(text.evaluate("e => parseFloat(getComputedStyle(e).fontSize)"))
        assert size_px >= 12


def test_tiles_and_four_charts_with_their_marks_are_on_the_first_screen(
    browser: Browser, rendered: dict[str, Path]
) -> None:
    page = open_page(browser, rendered["promo_abuse"], DESK).page
    boxes = [page.locator(f"#{name}").bounding_box() for name in CHARTS]
    boxes += [tile.bounding_box() for tile in page.locator(".tile").all()]
    assert len(boxes) == 4 + 7
    for box in boxes:
        assert box
        assert box["y"] + box["height"] <= DESK[1]
    for name in CHARTS:
        assert page.locator(f"#{name} .point").count() >= 10


def test_the_charts_show_what_the_tables_hold(
    browser: Browser, rendered: dict[str, Path], home: Home
) -> None:
    page = open_page(browser, rendered["promo_abuse"], DESK).page
    tables = Tables(str(home.lakehouse))

    def top(key: str) -> list[int]:
        rows = tables.sql(
            f"SELECT count(*) AS n FROM cleaned.promo_usages GROUP BY {key} "
            "ORDER BY n DESC LIMIT 10"
        )
        return [int(n) for n in rows["n"].to_pylist()]

    assert chart(page, "top-users")["x"] == top("user_id")
    assert chart(page, "top-codes")["x"] == top("promo_code")
    usages = tables.scalar("SELECT count(*) FROM cleaned.promo_usages")
    users = tables.scalar("SELECT count(*) FROM cleaned.users")
    assert sum(chart(page, "usage-timeline")["y"]) == usages
    assert sum(chart(page, "registration-timeline")["y"]) == users


def test_the_date_filter_works_without_a_server(
    browser: Browser, rendered: dict[str, Path], home: Home
) -> None:
    opened = open_page(browser, rendered["promo_abuse"], DESK)
    page = opened.page
    page.fill("#filter-start", "2023-06-01")
    page.fill("#filter-end", "2023-06-30")
    page.locator("#filter-end").dispatch_event("change")
    days = "BETWEEN '2023-06-01' AND '2023-06-30'"
    tables = Tables(str(home.lakehouse))
    usages = tables.sql(
        f"""SELECT count(*) AS n, count(DISTINCT user_id) AS users,
        count(DISTINCT promo_code) AS codes
        FROM cleaned.promo_usages WHERE used_at::DATE {days}"""
    ).to_pylist()[0]
    registered = tables.scalar(f"SELECT count(*) FROM cleaned.users WHERE created_at::DATE {days}")
    best = tables.sql(
        f"""SELECT promo_code, count(*) AS n FROM cleaned.promo_usages
        WHERE used_at::DATE {days} GROUP BY 1 ORDER BY n DESC LIMIT 10"""
    )
    tile = "[data-figure={}]"
    assert page.inner_text(tile.format("usages")) == f"{usages['n']:,}"
    assert page.inner_text(tile.format("active-users")) == f"{usages['users']:,}"
    assert page.inner_text(tile.format("codes")) == f"{usages['codes']:,}"
    assert page.inner_text(tile.format("registrations")) == f"{registered:,}"
    assert len(chart(page, "usage-timeline")["x"]) == 30
    assert sum(chart(page, "usage-timeline")["y"]) == usages["n"]
    assert sum(chart(page, "registration-timeline")["y"]) == registered
    assert chart(page, "top-codes")["x"] == best["n"].to_pylist()
    page.click("button >> text=All")
    assert page.inner_text(tile.format("registrations")) == "400"
    assert opened.errors == []


def test_ties_are_said_with_how_many_of_them_are_shown(
    browser: Browser, rendered: dict[str, Path], home: Home
) -> None:
    page = open_page(browser, rendered["promo_abuse"], DESK).page
    tied = Tables(str(home.lakehouse)).scalar(
        """WITH n AS (SELECT count(*) AS n FROM cleaned.promo_usages GROUP BY user_id)
        SELECT count(*) FROM n WHERE n = (SELECT max(n) FROM n)"""
    )
    assert tied > 10
    note = page.inner_text("#top-users-note")
    assert note == f"{tied} users tie on 1st place (10 of them shown)."


def test_a_range_without_data_says_so(browser: Browser, rendered: dict[str, Path]) -> None:
    page = open_page(browser, rendered["promo_abuse"], DESK).page
    quiet = page.evaluate(
        """() => {const d = JSON.parse(document.getElementById("dashboard-data").textContent);
        const day = d.usages.findIndex((n, i) => n === 0 && d.registrations[i] === 0);
        return new Date(Date.parse(d.first) + day * 864e5).toISOString().slice(0, 10)}"""
    )
    for name in ("#filter-start", "#filter-end"):
        page.fill(name, quiet)
        page.locator(name).dispatch_event("change")
    page.fill("#filter-start", quiet)
    page.locator("#filter-start").dispatch_event("change")
    assert page.inner_text("#usage-timeline-note") == "No usages in these days."
    assert page.inner_text("#top-users-note") == "No user redeemed a code in these days."


def type_date(page: Page, field: str, keys: str) -> None:
    """Type a date as a person does (month, day, year: Chromium's own language is English)."""
    page.focus(f"#filter-{field}")
    page.keyboard.type(keys)
    page.keyboard.press("Enter")


def dates(page: Page) -> tuple[str, str]:
    return page.input_value("#filter-start"), page.input_value("#filter-end")


def test_a_date_is_typed_whole_before_it_counts_and_survives_a_reload(
    browser: Browser, rendered: dict[str, Path]
) -> None:
    opened = open_page(browser, rendered["promo_abuse"], DESK)
    page = opened.page
    first, last = dates(page)
    shown = page.inner_text("#filter-range")
    page.focus("#filter-start")
    for typed in "0315202":
        page.keyboard.type(typed)
        assert page.inner_text("#filter-range") == shown
        assert dates(page)[1] == last
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    assert dates(page) == ("2023-03-15", last)
    type_date(page, "end", "03162023")
    assert dates(page) == ("2023-03-15", "2023-03-16")
    assert page.inner_text("#filter-range") == "Shown: 2023-03-15 to 2023-03-16 · 2 days, UTC"
    assert page.inner_text("#filter-message") == ""
    page.reload()
    assert dates(page) == ("2023-03-15", "2023-03-16")
    assert len(chart(page, "usage-timeline")["x"]) == 2
    page.click("text=30 days")
    page.evaluate("location.hash = 'discoveries'")
    page.reload()
    assert page.locator("button[aria-pressed=true]").inner_text() == "30 days"
    assert dates(page)[1] == last != first
    assert opened.errors == []


def test_a_date_that_cannot_be_shown_stays_and_says_why(
    browser: Browser, rendered: dict[str, Path]
) -> None:
    page = open_page(browser, rendered["promo_abuse"], DESK).page
    first, last = dates(page)
    shown = page.inner_text("#filter-range")

    def said() -> str:
        return page.inner_text("#filter-message")

    type_date(page, "start", "06012030")
    assert dates(page) == ("2030-06-01", last)
    assert said() == (
        f"From (2030-06-01) lies after to ({last}). The charts are left as they were."
    )
    assert page.inner_text("#filter-range") == shown
    assert page.get_attribute("#filter-start", "aria-invalid") == "true"
    type_date(page, "end", "07012030")
    assert said().startswith("There is no data on these days: it runs from")
    type_date(page, "start", "01012020")
    type_date(page, "end", "01312023")
    assert dates(page) == ("2020-01-01", "2023-01-31")
    assert said() == f"The data begins on {first}."
    assert page.inner_text("#filter-range").startswith(f"Shown: {first} to 2023-01-31")
    page.focus("#filter-start")
    page.keyboard.press("Backspace")
    page.focus("#filter-end")
    assert said().startswith("Not a whole date")
    page.click("button >> text=All")
    assert dates(page) == (first, last)
    assert said() == ""


def test_the_axis_of_a_single_day_names_that_day(
    browser: Browser, rendered: dict[str, Path]
) -> None:
    page = open_page(browser, rendered["promo_abuse"], DESK).page
    for side in ("start", "end"):
        type_date(page, side, "03152023")
    ticks = page.locator("#usage-timeline .xtick text, #registration-timeline .xtick text")
    assert set(ticks.all_text_contents()) == {"15 Mar 2023"}


def test_no_toolbar_lies_on_a_chart_where_nothing_hovers(
    browser: Browser, rendered: dict[str, Path]
) -> None:
    context = browser.new_context(
        offline=True, viewport={"width": 400, "height": 800}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    for name in REPORTS:
        page.goto(rendered[name].as_uri())
        assert page.locator(".modebar").count() == 0


@pytest.mark.parametrize("name", REPORTS)
def test_on_a_phone_no_table_is_cut_off_without_a_sign(
    browser: Browser, rendered: dict[str, Path], name: str
) -> None:
    page = open_page(browser, rendered[name], (400, 800)).page
    cut = page.evaluate(
        """() => [...document.querySelectorAll(".table-scroll")].filter((box) =>
            box.scrollWidth > box.clientWidth + 1 &&
            (getComputedStyle(box).overflowX !== "auto" || box.tabIndex !== 0 ||
             !getComputedStyle(box).backgroundImage.includes("gradient"))).length"""
    )
    assert cut == 0
    for box in page.locator(".as-cards").all():
        assert box.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
    clipped = page.evaluate(
        """() => [...document.querySelectorAll("main *")].filter((e) =>
            e.childNodes.length && e.getBoundingClientRect().right > innerWidth + 1 &&
            !e.closest(".table-scroll") && !e.closest(".js-plotly-plot") && e.offsetParent)
            .map((e) => e.tagName + ": " + e.textContent.slice(0, 60))"""
    )
    assert clipped == []


def test_the_first_chart_of_attribution_shows_the_reporting_model_alone(
    browser: Browser, rendered: dict[str, Path], home: Home
) -> None:
    page = open_page(browser, rendered["attribution"], DESK).page
    tables = Tables(str(home.lakehouse))
    rows = tables.sql(
        """SELECT channel_name, sum(revenue) AS revenue, sum(cost)::DOUBLE AS cost
        FROM modeled.channel_reporting WHERE model = 'ihc' GROUP BY ALL ORDER BY revenue"""
    ).to_pylist()
    cost, revenue = page.evaluate("document.querySelector('.js-plotly-plot').data")
    assert revenue["y"] == [row["channel_name"] for row in rows]
    assert revenue["x"] == pytest.approx([row["revenue"] for row in rows])
    assert cost["x"] == pytest.approx([row["cost"] for row in rows])
    assert page.locator(".sankey-link").count() > 10


def test_the_dashboard_of_an_empty_home_says_that_there_is_no_data(
    browser: Browser, empty_home: Home
) -> None:
    with Renderer(project_dir(), empty_home) as engine:
        path = engine.render("promo_abuse").path
    opened = open_page(browser, path, PHONE)
    assert opened.page.locator("text=No registration and no usage").count() == 1
    assert opened.errors == []


def test_a_range_given_to_the_report_presets_the_filter(
    browser: Browser, home: Home, tmp_path: Path
) -> None:
    with Renderer(project_dir(), home) as engine:
        path = engine.render(
            "promo_abuse",
            params={"start": "2024-01-01", "end": "2024-01-31"},
            to=tmp_path / "january.html",
        ).path
    page = open_page(browser, path, DESK).page
    assert page.input_value("#filter-start") == "2024-01-01"
    assert page.input_value("#filter-end") == "2024-01-31"


def test_the_days_of_attribution_are_chosen_without_a_server(
    browser: Browser, rendered: dict[str, Path], home: Home
) -> None:
    opened = open_page(browser, rendered["attribution"], DESK)
    page = opened.page
    whole = tile_values(page)
    first, last = dates(page)
    type_date(page, "start", "03112024")
    assert page.inner_text("#filter-range").startswith(f"Shown: 2024-03-11 to {last}")
    type_date(page, "end", "03172024")
    assert dates(page) == ("2024-03-11", "2024-03-17")
    found = attribution_figures.totals(
        attribution_figures.opened(home, {}), "ihc",
        Period(date(2024, 3, 11), date(2024, 3, 17)),
    )  # fmt: skip
    assert tile_values(page) == {
        "paid_roas": f"{found.paid_roas:,.2f}",
        "roas": f"{found.roas:,.2f}",
        "paid_cost_per_order": f"{found.paid_cpo:,.2f}",
        "cost_per_order": f"{found.cpo:,.2f}",
        "cost": f"{found.cost:,.0f}",
        "attributed_revenue": f"{found.revenue:,.0f}",
        "attributed_conversions": f"{found.conversions:,.0f}",
    }
    shown = page.locator("#channels-data tbody tr").all()
    revenues = [float(row.locator("td").nth(3).inner_text().replace(",", "")) for row in shown]
    assert sum(revenues) == pytest.approx(found.revenue, abs=0.01 * len(shown))
    cost, revenue = page.evaluate("document.querySelector('#fig-channels .js-plotly-plot').data")
    assert sum(revenue["x"]) == pytest.approx(found.revenue)
    assert sum(cost["x"]) == pytest.approx(found.cost)
    page.reload()
    assert dates(page) == ("2024-03-11", "2024-03-17")
    page.click("button >> text=All")
    assert dates(page) == (first, last)
    assert tile_values(page) == whole
    assert opened.errors == []


def test_a_table_is_a_file_by_a_click(browser: Browser, rendered: dict[str, Path]) -> None:
    page = open_page(browser, rendered["attribution"], DESK).page
    for days in ("All", "7 days"):
        page.click(f".filter button >> text={days}")
        with page.expect_download() as waited:
            page.click('a[download="channels.csv"]')
        lines = waited.value.path().read_text(encoding="utf-8-sig").splitlines()
        rows = list(csv.DictReader(lines))
        shown = page.locator("#channels-data tbody tr").all_inner_texts()
        assert [row["Channel"] for row in rows] == [text.split("\t")[0] for text in shown]
        assert sum(float(row["Revenue, EUR"]) for row in rows) > 0


@pytest.mark.parametrize("name", ["data_quality", "index"])
def test_a_report_is_dark_where_the_screen_is(
    browser: Browser, rendered: dict[str, Path], name: str
) -> None:
    context = browser.new_context(offline=True, color_scheme="dark")
    page = context.new_page()
    page.goto(rendered[name].as_uri())
    light = """selector => [...document.querySelectorAll(selector)].map((e) => {
        const style = getComputedStyle(e), ink = e.closest("svg") ? style.fill : style.color;
        return Math.max(...ink.match(/[\\d.]+/g).slice(0, 3).map(Number))})"""
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 24, 30)"
    assert min(page.evaluate(light, ".tile-value, td, p, li, .xtick text, .ytick text")) > 150
    context.close()
