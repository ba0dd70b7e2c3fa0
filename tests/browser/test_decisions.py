"""From a click of a reviewer to the shop, the next score, the labels and the next model.

The whole of it as a shop has it: `dmp up` on a copy of the demo's home with its own scorer, model,
snapshot and database, calls with a key, Chromium, and Dagster's job `retrain`. The tests follow
one another.
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.demo import Demo, running_service
from tests.support.dmp import PROGRAM, Dmp
from tests.support.service import PASSWORD, until

DEVICE = "d-5e0f-fresh-ring"
RING = [
    {
        "account_ref": f"signup-{n}", "device_id": DEVICE, "ip": f"203.0.113.{n}",
        "email": f"{name.lower()}.{n}@mail.example", "first_name": name, "last_name": f"Ring{n}",
    }
    for n, name in enumerate(("Ada", "Ben", "Cem", "Dee", "Eva", "Fay"))
]  # fmt: skip
COMMENT = "paid with one card, asked support"
SHOTS = os.environ.get("SCREENSHOTS")
"""A folder for pictures of the pages, for people to look at."""


@dataclass(frozen=True)
class Case:
    """A known account that the model flags, and its cluster: all users to be decided on."""

    account_id: str
    members: list[str]


@pytest.fixture(scope="module")
def shop(demo: Demo, folder: Path) -> Dmp:
    """A copy of the demo's home, which the tests of this file change."""
    demo.dmp.postgres.stop()
    copy = demo.dmp.copy(folder / "decided")
    demo.dmp.postgres.start()
    return copy


@pytest.fixture(scope="module")
def url(shop: Dmp) -> Iterator[str]:
    with running_service(shop) as url:
        yield url


@pytest.fixture(scope="module")
def caller(shop: Dmp, url: str) -> Iterator[httpx.Client]:
    """The shop's program, with a key."""
    scopes = ("--scope", "abuse:score", "--scope", "abuse:decisions", "--scope", "personal:read")
    made = shop("client", "add", "reviewed-shop", *scopes)
    assert made.code == 0, made.text
    headers = {"Authorization": f"Bearer {made.out.strip()}"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def case(shop: Dmp) -> Case:
    """The likeliest abuser of a cluster in which most accounts have no label yet."""
    found = shop.tables.sql(
        """SELECT arg_max(user_id, (s.probability, s.user_id)) AS account_id,
          list(user_id ORDER BY user_id) AS members
        FROM ml.abuse_scores s JOIN modeled.account_clusters c USING (user_id)
        LEFT JOIN modeled.abuse_labels l USING (user_id)
        GROUP BY c.cluster_id
        HAVING max(s.decision = 'block') AND count(*) <= 20
        ORDER BY count(*) - count(l.user_id) DESC, c.cluster_id LIMIT 1"""
    )
    return Case(**found.to_pylist()[0])


@pytest.fixture(scope="module")
def risk(shop: Dmp, url: str, browser: Browser) -> Iterator[Page]:
    """The browser of a person with the role `risk`, logged in."""
    subprocess.run(
        [PROGRAM, "user", "add", "risk@shop.example", "--role", "risk"],
        input=PASSWORD, text=True, env=shop.env(), cwd=shop.project, check=True,
    )  # fmt: skip
    context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=url)
    page = context.new_page()
    page.goto("/login")
    page.get_by_label("E-mail address").fill("risk@shop.example")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Accounts that wait for a decision").click()
    yield page
    context.close()


def score(caller: httpx.Client, *accounts: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = caller.post("/v1/abuse/score", json={"accounts": list(accounts), **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def decisions(caller: httpx.Client, since: int | str) -> list[dict[str, Any]]:
    answer = caller.get("/v1/abuse/decisions", params={"since": since, "limit": 1000})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


def block_cluster(page: Page, size: int, reason: str, comment: str) -> None:
    page.get_by_label(f"The whole cluster of {size}").check()
    page.get_by_label(reason).check()
    page.get_by_label("Comment").fill(comment)
    page.get_by_role("button", name="Decide").click()
    expect(page.get_by_role("status")).to_contain_text(f"{size} accounts: block {reason}")


def test_scores_come_from_the_trained_model(shop: Dmp, caller: httpx.Client, case: Case) -> None:
    answer = score(caller, {"user_id": case.account_id}, *RING)
    (serving,) = shop.tables.sql(
        "SELECT model_version FROM ml.model_registry WHERE is_serving"
    ).to_pylist()
    assert answer["model_version"] == serving["model_version"]
    assert answer["live_links"]
    known, *ring = answer["results"]
    assert known["is_known"] and known["decision"] == "block" and known["decided_by"] == "model"
    assert known["cluster_size"] == len(case.members)
    assert [found["cluster_size"] for found in ring] == [1, 2, 3, 4, 5, 6]
    assert ring[-1]["decision"] in ("review", "block")
    assert "DEVICE_LIMIT" in {reason["code"] for reason in ring[-1]["reasons"]}


def test_what_is_decided_in_the_browser_is_there_for_the_shop_at_once(
    caller: httpx.Client, risk: Page, case: Case
) -> None:
    assert decisions(caller, 0) == []
    row = risk.locator("tr", has=risk.get_by_role("link", name=case.account_id, exact=True))
    while not row.count():
        risk.get_by_role("link", name="Further cases").click()
    expect(row).to_contain_text(f"cluster of {len(case.members)}")
    shoot(risk, "queue")
    row.get_by_role("link").click()
    expect(risk.get_by_role("heading", level=1)).to_contain_text(f"{case.account_id} block")
    drawn = risk.locator("svg.graph a").evaluate_all("all => all.map(e => e.ariaLabel)")
    assert sorted(label.partition(":")[0] for label in drawn) == case.members
    assert risk.locator("svg.graph line").count() >= len(case.members) - 1
    shoot(risk, "account")
    block_cluster(risk, len(case.members), "One person, several accounts", COMMENT)
    first = decisions(caller, 0)
    assert sorted(row["account_id"] for row in first) == case.members
    assert {(row["verdict"], row["category"]) for row in first} == {("block", "multi_accounting")}
    expect(row).to_have_count(0)

    risk.get_by_role("searchbox").fill(DEVICE)
    risk.get_by_role("button", name="Search").click()
    expect(risk.get_by_role("heading", level=1)).to_have_text(f"{len(RING)} accounts")
    shoot(risk, "found")
    risk.get_by_role("link", name=str(RING[2]["account_ref"]), exact=True).click()
    shoot(risk, "ring")
    block_cluster(risk, len(RING), "Registered or used by a program", "")
    news = decisions(caller, max(row["decision_id"] for row in first))
    assert [row["account_id"] for row in news] == [
        row["account_id"] for row in decisions(caller, news[0]["decided_at"])
    ]
    assert {row["account_id"] for row in news} == {str(one["account_ref"]) for one in RING}
    assert {(row["verdict"], row["category"]) for row in news} == {("block", "script_or_bot")}
    assert COMMENT not in str(decisions(caller, 0))


def test_the_next_score_is_what_the_reviewer_decided(caller: httpx.Client, case: Case) -> None:
    answer = score(caller, RING[0], *({"user_id": member} for member in case.members))
    for found in answer["results"]:
        assert (found["decision"], found["decided_by"]) == ("block", "analyst")
    (another,) = score(caller, RING[0] | {"account_ref": "elsewhere", "device_id": "d-other"})[
        "results"
    ]
    assert another["decided_by"] == "model"


def test_decisions_are_labels_of_the_next_training_and_its_model_serves_without_a_restart(
    shop: Dmp, caller: httpx.Client, case: Case
) -> None:
    registry = "SELECT * FROM ml.model_registry WHERE is_serving"
    (before,) = shop.tables.sql(registry).to_pylist()
    labels = "SELECT user_id, is_abuser, label_source FROM modeled.abuse_labels"
    was = {row["user_id"]: row["is_abuser"] for row in shop.tables.sql(labels).to_pylist()}
    retrain(shop)
    now = {row["user_id"]: row for row in shop.tables.sql(labels).to_pylist()}
    for member in case.members:
        assert now[member] == {"user_id": member, "is_abuser": True, "label_source": "review"}
    assert sum(row["label_source"] == "review" for row in now.values()) == len(case.members)
    (after,) = shop.tables.sql(registry).to_pylist()
    unknown = sum(member not in was for member in case.members)
    honest = sum(was.get(member) is False for member in case.members)
    assert unknown > 0 and after["model_version"] != before["model_version"]
    assert after["labels_known"] == before["labels_known"] + unknown
    assert after["labelled_abusers"] == before["labelled_abusers"] + unknown + honest
    assert after["labelled_honest"] == before["labelled_honest"] - honest

    def serves() -> bool:
        answer = score(caller, {"user_id": case.account_id}, dry_run=True)
        return bool(answer["model_version"] == after["model_version"])

    until(serves)


def retrain(shop: Dmp) -> None:
    """Run the job `retrain` as Dagster does when somebody launches it."""
    env = shop.env({"DAGSTER_HOME": str(shop.home.dagster)})
    command = [
        PROGRAM.with_name("dagster"), "job", "execute",
        "--module-name", "dmp_assets.definitions", "--job", "retrain",
    ]  # fmt: skip
    ran = subprocess.run(
        command, env=env, cwd=shop.project, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def shoot(page: Page, name: str) -> None:
    """Pictures of the page on a desk and on a phone."""
    if SHOTS:
        for size in ({"width": 390, "height": 844}, {"width": 1280, "height": 900}):
            page.set_viewport_size(size)
            page.screenshot(path=Path(SHOTS) / f"{name}-{size['width']}.png", full_page=True)
