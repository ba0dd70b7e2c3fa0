"""The review as analysts use it: headless Chromium, real clicks and keys, on a desk and a phone."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from dmp_assets.abuse.service.store import review
from dmp_assets.abuse.service.store.schema import abuse_case_view, abuse_decision, abuse_list_entry
from dmp_assets.home import Home
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.store import access
from dmp_assets.platform.store.schema import login_session
from tests.support.postgres import fresh_database
from tests.support.review import live
from tests.support.service import PASSWORD, Api, email, now, running_api

DESK, PHONE = (1280, 900), (390, 844)
CASE = "user-000024"
PAGES = (
    "/review",
    f"/review/account?id={CASE}",
    "/review/account?id=user-000015",
    "/review/lists",
    "/review/what-if",
    "/review/search",
    "/review/account?id=nobody",
)
SHOTS = os.environ.get("SCREENSHOTS")
"""A folder for pictures of the pages, for people to look at."""

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def _api(postgres: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    home = Home(tmp_path_factory.mktemp("review") / "home").prepare("sandbox")
    with fresh_database(postgres) as url, running_api(home, url) as api:
        with api.store.begin() as store:
            access.add_person(store, "ben@shop.example", "risk", PASSWORD, now=now())
        yield api


@pytest.fixture
def api(_api: Api) -> Api:
    """The service as if nobody had looked at or decided anything yet."""
    service = _api.app.state.service
    service.settings.review_sample_share, _api.abuse.scoring = 0.0, live()
    with _api.store.begin() as store:
        for table in (abuse_case_view, abuse_decision, abuse_list_entry, login_session):
            store.execute(table.delete())
    _api.forget()
    return _api


@pytest.fixture
def log_in(api: Api, browser: Browser) -> Iterator[Open]:
    """Open the queue as a person; what the browser complains about fails the test."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def opened(
        address: str = email("risk"), size: tuple[int, int] = DESK, **options: object
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
        page.get_by_role("link", name="Accounts that wait for a decision").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Waiting for a decision")
        page.wait_for_load_state()  # keys work when the page's script has run
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent.trim()"))


def verdicts(api: Api) -> dict[str, str]:
    with api.store.connect() as store:
        return {name: found.verdict for name, found in review.verdicts(store).items()}


def test_a_case_is_decided_and_undone_without_a_mouse(api: Api, log_in: Open) -> None:
    page = log_in()
    cases = page.locator("a[data-case]").all_text_contents()
    assert cases[0] == CASE
    for key, wanted in (("j", 0), ("j", 1), ("j", 2), ("k", 1), ("k", 0), ("k", 0)):
        page.keyboard.press(key)
        assert focused(page) == cases[wanted]
    page.keyboard.press("b")
    expect(page.get_by_role("heading", level=1)).to_contain_text(CASE)
    expect(page.get_by_label("One person, several accounts")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("c")
    expect(page.get_by_label("The whole cluster of 5")).to_be_checked()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("5 accounts: block Thrown-away e-mail")
    ring = {f"user-{n:06}": "block" for n in range(20, 25)}
    assert verdicts(api) == ring
    assert not set(ring) & set(page.locator("a[data-case]").all_text_contents())
    page.keyboard.press("u")
    expect(page.get_by_role("status")).to_contain_text("5 accounts: the decision is taken back")
    assert verdicts(api) == {}
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(CASE)
    page.keyboard.press("a")
    expect(page.get_by_label("Several people of one household")).to_be_checked()
    page.keyboard.press("q")
    expect(page.get_by_role("heading", level=1)).to_have_text("Waiting for a decision")
    page.keyboard.press("?")
    expect(page.get_by_text("next and previous case")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_text("next and previous case")).to_be_hidden()


def test_keys_are_letters_where_one_writes(api: Api, log_in: Open) -> None:
    page = log_in()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("u20@mail.example")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("user-000020")
    assert "mail" not in page.url
    page.get_by_label("Comment").click()
    page.keyboard.type("bujak?/")
    assert page.get_by_label("Comment").input_value() == "bujak?/"
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    expect(page.get_by_label("One person, several accounts")).to_be_checked()
    assert verdicts(api) == {}


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_case_is_decided_by_clicks_alone_and_without_scripts(
    api: Api, log_in: Open, size: tuple[int, int]
) -> None:
    page = log_in(size=size, java_script_enabled=False)
    page.get_by_role("link", name=CASE, exact=True).click()
    page.locator("svg a[aria-label^='user-000021'] .target").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("user-000021")
    page.get_by_label("The whole cluster of 5").check()
    page.get_by_label("Several people of one household").check()
    page.get_by_label("Comment").fill("the Ring family")
    page.get_by_role("button", name="Decide").click()
    expect(page.get_by_role("status")).to_contain_text("5 accounts: allow")
    assert set(verdicts(api).values()) == {"allow"}
    page.goto(f"/review/account?id={CASE}")
    expect(page.get_by_text("“the Ring family”").first).to_be_visible()
    page.get_by_role("button", name="Undo all 5").click()
    expect(page.get_by_text("the decision before is taken back")).to_be_visible()
    assert verdicts(api) == {}


def test_the_form_asks_for_a_reason_first(api: Api, log_in: Open) -> None:
    page = log_in()
    page.goto(f"/review/account?id={CASE}")
    page.get_by_role("button", name="Decide").click()
    assert page.evaluate("document.querySelector('.decide').checkValidity()") is False
    assert verdicts(api) == {}


def test_two_analysts_on_one_case_see_each_other_and_who_was_faster(api: Api, log_in: Open) -> None:
    ann, ben = log_in(), log_in("ben@shop.example")
    for page in (ann, ben):
        page.goto(f"/review/account?id={CASE}")
    expect(ben.get_by_text("risk@… has had this account open")).to_be_visible()
    expect(ann.get_by_text("ben@… has had this account open")).to_be_visible(timeout=15_000)
    ann.get_by_label("A customer who simply buys often").check()
    ann.get_by_label("Comment").fill("knows us")
    ben.keyboard.press("b")
    ben.keyboard.press("Enter")
    expect(ben.get_by_role("status")).to_contain_text("1 account: block")
    expect(ann.get_by_text("ben@… decided at")).to_be_visible(timeout=15_000)
    ann.get_by_role("button", name="Decide").click()
    expect(ann.get_by_role("alert")).to_contain_text("somebody was faster")
    expect(ann.get_by_label("Comment")).to_have_value("knows us")
    assert verdicts(api) == {CASE: "block"}
    shoot(ann, "conflict")
    ann.get_by_role("button", name="Decide").click()
    expect(ann.get_by_role("status")).to_contain_text("1 account: allow")
    assert verdicts(api) == {CASE: "allow"}


def test_lists_are_kept_by_hand(log_in: Open) -> None:
    page = log_in()
    page.get_by_role("link", name="Lists").click()
    for value, said in (("10.0.0.0/4", "at widest /8"), ("2001:db8::/48", "2001:db8::/48")):
        page.get_by_label("Kind").select_option("IP range")
        page.get_by_label("Value").fill(value)
        page.get_by_label("Last day").fill("2999-12-31")
        page.get_by_role("button", name="Add").click()
        expect(page.locator("main")).to_contain_text(said)
    expect(page.get_by_role("cell", name="risk@…")).to_be_visible()
    shoot(page, "lists-filled")
    page.get_by_role("button", name="Remove 2001:db8::/48").click()
    expect(page.get_by_text("Both lists are empty")).to_be_visible()


def test_other_thresholds_are_tried(log_in: Open) -> None:
    page = log_in()
    page.get_by_role("link", name="What if").click()
    before = page.locator(".compare tr", has_text="To block").inner_text().split("\t")
    assert before[1] == before[2]
    page.get_by_label("Block from").fill("0.5")
    page.get_by_role("button", name="Show").click()
    after = page.locator(".compare tr", has_text="To block").inner_text().split("\t")
    assert after[1] == before[1] and int(after[2]) > int(before[2])
    expect(page.locator("svg.chart rect.block").first).to_be_visible()


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_every_page_fits_is_labelled_and_shows_the_focus(
    log_in: Open, size: tuple[int, int]
) -> None:
    page = log_in(size=size)
    for path in PAGES:
        page.goto(path)
        page.eval_on_selector_all("details", "all => all.forEach(e => e.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], path
        assert page.evaluate("document.documentElement.lang") == "en"
        assert page.locator("h1").count() == 1
        unlabelled = page.eval_on_selector_all(
            "input:not([type=hidden]), select, textarea",
            "all => all.filter(e => !e.labels.length).map(e => e.name)",
        )
        assert unlabelled == [], path
        unnamed = page.eval_on_selector_all(
            "a, button", "all => all.filter(e => !(e.ariaLabel || e.textContent.trim())).length"
        )
        assert unnamed == 0, path
        ids = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
        assert len(ids) == len(set(ids)), path
        seen: set[str] = set()
        for _ in range(60):
            page.keyboard.press("Tab")
            style = page.evaluate(
                """() => {const e = document.activeElement;
                if (e === document.body) return null;
                const s = getComputedStyle(e);
                return [e.outerHTML, s.outlineStyle, parseFloat(s.outlineWidth)]}"""
            )
            if style is None or style[0] in seen:
                break
            seen.add(style[0])
            assert style[1] != "none" and style[2] >= 2, (path, style)
        assert len(seen) >= 2, path
        shoot(page, f"{path}-{size[0]}")


def test_text_can_be_read_in_light_and_dark(log_in: Open) -> None:
    """Contrast of at least 4.5 : 1 (WCAG 2.2, AA) of every text on its ground."""
    for scheme in ("light", "dark"):
        page = log_in(color_scheme=scheme)
        for path in PAGES[:5]:
            page.goto(path)
            weak = page.evaluate(CONTRAST)
            assert weak == [], (scheme, path)
            shoot(page, f"{path}-{scheme}")


CONTRAST = """() => {
  const parts = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = (c) => parts(c).slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if ((parts(c)[3] ?? 1) > 0) return c;
    }
    return 'rgb(255, 255, 255)';
  };
  return [...document.querySelectorAll('body *')].filter(e => e.checkVisibility()
      && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
    .map(e => {
      const s = getComputedStyle(e);
      const [a, b] = [light(e.closest('svg') ? s.fill : s.color), light(ground(e))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.outerHTML.slice(0, 120)];
    })
    .filter(([ratio]) => ratio < 4.5);
}"""


def shoot(page: Page, name: str) -> None:
    if SHOTS:
        name = re.sub(r"\W+", "-", name).strip("-")
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)
