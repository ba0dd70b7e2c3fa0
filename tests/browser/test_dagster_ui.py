"""Dagster's UI as people see it, and as a page of somebody else does: `dmp up` on the demo's home,
headless Chromium.
"""

import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.scheduler.instigation import InstigatorTick
from playwright.sync_api import BrowserContext, Page, sync_playwright

from tests.support import chromium
from tests.support.demo import Demo
from tests.support.foreign import foreign_page

GROUPS = ("shop", "web", "abuse", "attribution", "overview")
SCHEDULES = (
    "daily_refresh", "weekly_report", "monthly_maintenance", "daily_attribution",
    "weekly_attribution",
)  # fmt: skip
SENSORS = (
    "new_data", "new_web_data", "persistent_drift", "run_failure", "check_failure",
    "api_readiness", "outbox",
)  # fmt: skip
PATIENCE = 60_000  # milliseconds; the machine may be busy


@dataclass
class Up:
    """A running `dmp up` and what it started."""

    url: str
    link: str
    process: subprocess.Popen[str]

    def family(self) -> list[psutil.Process]:
        found = psutil.Process(self.process.pid).children(recursive=True)
        return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def up(demo: Demo) -> Iterator[Up]:
    demo.dmp.postgres.stop()
    process = demo.dmp.start(
        "up",
        env={"DMP_WEBSERVER_PORT": "0", "DMP_API_PORT": "0", "PYTHONUNBUFFERED": "1"},
        # As in a terminal: a shell lets its background jobs, such as this one, ignore Ctrl-C.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout
    found = None
    while not found and (line := process.stdout.readline()):
        found = re.search(r"(http://127\.0\.0\.1:\d+)/login/once\?token=\S+", line)
    assert found, process.communicate(timeout=60)
    link, url = found[0], found[1]
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            with direct.open(f"{url}/health/live", timeout=5) as answer:
                assert answer.status == 200
                break
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    yield Up(url, link, process)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=90)
    demo.dmp.postgres.start()


@pytest.fixture(scope="module")
def logged_in(up: Up) -> Iterator[BrowserContext]:
    """A browser that used the link which `dmp up` printed."""
    rebound = "--host-resolver-rules=MAP rebound.example 127.0.0.1"
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium.find_or_install(), args=[*chromium.FLAGS, rebound]
        )
        context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto(up.link)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{up.url}/**")
        page.close()
        yield context
        browser.close()


@pytest.fixture
def page(logged_in: BrowserContext) -> Iterator[Page]:
    opened = logged_in.new_page()
    yield opened
    opened.close()


SHOTS = os.environ.get("SCREENSHOTS")
"""A folder for pictures of the pages, for people to look at."""


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.wait_for_timeout(1_500)
        page.screenshot(path=Path(SHOTS) / f"{name}.png")


def test_the_asset_graph_shows_every_group(up: Up, page: Page) -> None:
    page.goto(f"{up.url}/asset-groups")
    for group in GROUPS:
        page.get_by_text(group, exact=True).first.wait_for()
    shot(page, "asset-graph")


def test_an_asset_shows_rows_columns_and_delta_version(up: Up, page: Page) -> None:
    page.goto(f"{up.url}/assets/cleaned/users?view=overview")
    for text in ("One row per registered user", "data-platform", "user_id"):
        page.get_by_text(text).first.wait_for()
    page.goto(f"{up.url}/assets/cleaned/users?view=events")
    for text in ("delta_version", "rows_quarantined", "bad_share"):
        page.get_by_text(text, exact=True).first.wait_for()
    shot(page, "asset-metadata")


def test_a_failed_and_a_passed_check_are_told_apart(up: Up, page: Page) -> None:
    page.goto(f"{up.url}/assets/raw/users?view=checks")
    for text in ("required_columns_filled", "not_empty", "Failed", "Passed"):
        page.get_by_text(text, exact=True).first.wait_for()
    shot(page, "checks")


def test_schedules_and_sensors_are_listed_and_can_be_switched(up: Up, page: Page) -> None:
    page.goto(f"{up.url}/automation")
    for name in (*SCHEDULES, *SENSORS):
        page.get_by_text(name, exact=True).first.wait_for()
    assert page.locator("input[type=checkbox]").count() >= len(SCHEDULES) + len(SENSORS)
    shot(page, "automation")


def test_sensors_look_without_errors(up: Up, demo: Demo) -> None:
    with dg.DagsterInstance.from_config(str(demo.dmp.home.dagster)) as instance:
        deadline = time.monotonic() + 120
        seen: dict[str, InstigatorTick] = {}
        while time.monotonic() < deadline and not seen.keys() >= set(SENSORS):
            for state in instance.all_instigator_state():
                for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id):
                    if tick.is_completed or tick.is_failure:
                        seen.setdefault(state.instigator_name, tick)
            time.sleep(1)
    assert seen.keys() >= set(SENSORS)
    assert {name: tick.error for name, tick in seen.items() if tick.is_failure} == {}
    alerts = [m["text"] for m in demo.slack().messages() if m["channel"] == "C_ALERTS"]
    assert [text for text in alerts if "required_columns_filled" in text] == [], "no news"


def test_runs_of_the_command_line_are_seen_with_their_events(
    up: Up, page: Page, demo: Demo
) -> None:
    run_id = demo.first.summary["run_id"]
    page.goto(f"{up.url}/runs/{run_id}")
    page.get_by_text("Success", exact=True).first.wait_for()
    # Events come by the WebSocket, and the page goes to the last of them.
    page.get_by_placeholder("Filter…").last.fill("step:raw__users")
    page.get_by_text("raw__users").first.wait_for()
    page.get_by_text("STEP_START", exact=True).first.wait_for()
    shot(page, "run")


_RUNS = "{ runsOrError { ... on Runs { results { id } } } }"
_LAUNCH = """mutation { launchRun(executionParams: {mode: "default", selector: {
  repositoryLocationName: "dmp_assets", repositoryName: "__repository__", jobName: "%s"}})
  { __typename } }"""
_ASK = """async (query) => await (await fetch("/graphql", {method: "POST",
  headers: {"Content-Type": "application/json"}, body: JSON.stringify({query})})).json()"""


def test_only_who_is_logged_in_sees_anything_and_our_own_page_may_ask_and_launch(
    up: Up, page: Page
) -> None:
    page.goto(f"{up.url}/runs")
    assert page.evaluate(_ASK, _RUNS)["data"]["runsOrError"]["results"]
    answer = page.evaluate(_ASK, _LAUNCH % "no_such_job")
    assert answer["data"]["launchRun"]["__typename"] == "PipelineNotFoundError"  # it was executed
    assert page.context.browser
    stranger = page.context.browser.new_context().new_page()
    stranger.goto(f"{up.url}/runs")
    assert stranger.url == f"{up.url}/login"
    stranger.goto(up.link)  # it was used
    stranger.get_by_role("button", name="Log in").click()
    stranger.get_by_text("used before or is too old").wait_for()
    stranger.context.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "rebound.example"])
def test_a_page_of_another_origin_can_neither_start_a_run_nor_read_one(
    up: Up, demo: Demo, page: Page, host: str
) -> None:
    with dg.DagsterInstance.from_config(str(demo.dmp.home.dagster)) as instance:
        before = {run.run_id for run in instance.get_runs()}
        with foreign_page(up.url, _LAUNCH % "retrain", _RUNS) as port:
            page.goto(f"http://{host}:{port}/")
            found = page.evaluate("attack()")
        assert {run.run_id for run in instance.get_runs()} == before
    assert found.pop("form") == found.pop("beacon") == "sent"  # which tells the page nothing
    assert found.pop("frame") == "ended"
    assert found == {
        "image": "error", "script": "error", "blind": "refused TypeError",
        "fetch": "refused TypeError", "get": "refused TypeError", "socket": "closed",
    }  # fmt: skip
    shown = [frame.url for frame in page.frames if frame != page.main_frame]
    assert all(url in ("", "about:blank", "chrome-error://chromewebdata/") for url in shown)


def test_a_name_that_was_made_to_lead_here_is_refused(up: Up, page: Page) -> None:
    answer = page.goto(up.url.replace("127.0.0.1", "rebound.example"))
    assert answer is not None and answer.status == 421


def test_ctrl_c_stops_all_that_was_started(up: Up, demo: Demo) -> None:
    family = up.family()
    commands = " ".join(" ".join(process.cmdline()) for process in family)
    assert "dmp_assets.platform.gate.serve" in commands
    assert "dagster-webserver" not in commands
    assert "dagster-daemon" in commands
    assert demo.dmp.postgres.status().running
    up.process.send_signal(signal.SIGINT)
    up.process.wait(timeout=90)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []
    assert not demo.dmp.postgres.status().running
    assert not (demo.dmp.home.sandbox / "endpoint.json").exists()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{up.url}/health/live", timeout=5)
