"""What people are told of the checks: what changed, together, and warnings once a day."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest

from dmp_assets.demo.sandbox.server import Endpoint
from dmp_assets.demo.truth.expected import Expected
from dmp_assets.home import Home
from dmp_assets.platform.reporting.check_news import CheckNews
from dmp_assets.platform.reporting.check_results import ADVICE, CheckResult, failing, results_of
from dmp_assets.platform.reporting.delivery import Delivery
from dmp_assets.platform.reporting.slack import build_client
from tests.unit.platform.reporting.test_delivery import received

NOON = datetime(2024, 3, 18, 12, tzinfo=UTC)
MORNING = datetime(2024, 3, 19, 8, 1, tzinfo=UTC)
WARNING = CheckResult(
    "raw/users", "required_columns_filled", False, False, 40, "user_id is filled."
)
BLOCKING = CheckResult("cleaned/users", "key_unique", False, True, 3, "Each user is there once.")


@pytest.fixture
def tell(home: Home, endpoint: Endpoint) -> Any:
    client = build_client(home.settings(), pause=0)

    def told(now: datetime, *results: CheckResult, **options: Any) -> list[Delivery]:
        return CheckNews(home.outbox).tell(client, results, home.settings(), now=now, **options)

    return told


def texts(endpoint: Endpoint) -> list[str]:
    return [message["text"] for message in received(endpoint)]


def test_the_warnings_of_a_new_home_come_together_the_next_morning(
    tell: Any, endpoint: Endpoint
) -> None:
    nine = [replace(WARNING, asset=f"raw/table_{i}") for i in range(9)]
    for now in (NOON, NOON + timedelta(hours=11)):
        assert tell(now, *nine) == []
    assert [d.state for d in tell(MORNING, *nine)] == ["sent"]
    (text,) = texts(endpoint)
    assert text.startswith("Daily digest of checks: 9 new warnings: raw/table_0")
    (message,) = received(endpoint)
    shown = str(message["blocks"])
    assert "40 found" in shown and "`dmp show quarantine/table_8`" in shown


def test_a_warning_that_stays_is_told_once(tell: Any, endpoint: Endpoint) -> None:
    tell(NOON, WARNING)
    for day in range(4):
        tell(MORNING + timedelta(days=day), replace(WARNING, offending=40 + day))
    assert len(texts(endpoint)) == 1


def test_a_warning_that_is_over_before_the_digest_is_not_told(
    tell: Any, endpoint: Endpoint
) -> None:
    tell(NOON, WARNING)
    tell(NOON, replace(WARNING, passed=True))
    tell(MORNING)
    assert texts(endpoint) == []


def test_a_digest_says_what_passes_again(tell: Any, endpoint: Endpoint) -> None:
    tell(NOON, WARNING)
    tell(MORNING)
    tell(MORNING + timedelta(hours=1), replace(WARNING, passed=True))
    tell(MORNING + timedelta(days=1))
    tell(MORNING + timedelta(days=2))
    assert [t.partition(": ")[2].partition(":")[0] for t in texts(endpoint)] == [
        "1 new warning", "1 passes again",
    ]  # fmt: skip


def test_blocking_checks_are_told_at_once_and_in_one_message(tell: Any, endpoint: Endpoint) -> None:
    other = replace(BLOCKING, asset="cleaned/promo_codes")
    tell(NOON, BLOCKING, other, link=lambda result: "https://dagster.example/runs/1")
    tell(NOON + timedelta(minutes=1), BLOCKING, other)
    tell(NOON + timedelta(minutes=2), replace(BLOCKING, passed=True), other)
    first, second = texts(endpoint)
    assert first == "2 checks failed: cleaned/promo_codes, cleaned/users"
    assert second == "1 passes again: cleaned/users"
    assert "<https://dagster.example/runs/1|open the run>" in str(received(endpoint)[0]["blocks"])


def test_each_owner_is_told_in_its_own_channel(
    tell: Any, endpoint: Endpoint, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = home.settings().model_copy(
        update={"slack_owner_channels": {"team:risk": "C_REPORTS"}}
    )
    CheckNews(home.outbox).tell(
        build_client(home.settings(), pause=0),
        [BLOCKING, replace(BLOCKING, asset="ml/abuse_scores")],
        settings,
        now=NOON,
        owner=lambda key: "team:risk" if key.startswith("ml/") else None,
    )
    assert {m["channel"]: m["text"] for m in received(endpoint)} == {
        "C_ALERTS": "1 check failed: cleaned/users",
        "C_REPORTS": "1 check failed: ml/abuse_scores",
    }


def test_what_is_accepted_is_no_news_until_it_fails_anew(
    tell: Any, home: Home, endpoint: Endpoint
) -> None:
    CheckNews(home.outbox).accept([WARNING], NOON)
    tell(NOON, WARNING)
    tell(MORNING, WARNING)
    tell(MORNING + timedelta(days=1), replace(WARNING, passed=True))
    assert texts(endpoint) == []
    tell(MORNING + timedelta(days=1, hours=1), WARNING)
    tell(MORNING + timedelta(days=2))
    assert len(texts(endpoint)) == 1


def test_a_look_that_was_killed_before_it_noted_tells_nothing_twice(
    tell: Any, home: Home, endpoint: Endpoint
) -> None:
    tell(NOON, BLOCKING)
    book = home.outbox / "alerts" / "checks.json"
    news = CheckNews(home.outbox).book()
    news.checks[BLOCKING.key].waits = True
    book.write_text(news.model_dump_json())
    (again,) = tell(NOON + timedelta(minutes=1))
    assert again.state == "already_sent"
    assert len(texts(endpoint)) == 1


def test_an_unreadable_book_begins_anew(tell: Any, home: Home, endpoint: Endpoint) -> None:
    tell(NOON, BLOCKING)
    (home.outbox / "alerts" / "checks.json").write_text("{")
    tell(NOON + timedelta(minutes=1), BLOCKING)
    assert len(texts(endpoint)) == 2


def test_results_of_a_run_carry_finding_and_advice() -> None:
    @dg.asset(key=["raw", "users"], check_specs=[
        dg.AssetCheckSpec("required_columns_filled", asset=["raw", "users"]),
        dg.AssetCheckSpec("own", asset=["raw", "users"]),
    ])  # fmt: skip
    def users() -> dg.MaterializeResult:
        failed = dg.AssetCheckResult(
            check_name="required_columns_filled", passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"offending": 1_200, "rule": "Filled.", "rows": 7},
        )  # fmt: skip
        return dg.MaterializeResult(
            check_results=[failed, dg.AssetCheckResult(check_name="own", passed=True)]
        )

    with dg.DagsterInstance.ephemeral() as instance:
        run = dg.materialize([users], instance=instance)
        found = {result.check: result for result in results_of(instance, run.run_id)}
    warned = found["required_columns_filled"]
    assert (warned.passed, warned.error, found["own"].passed) == (False, False, True)
    assert warned.finding == "Filled. (1,200 found, rows 7)"
    assert "dmp show quarantine/users" in warned.advice


def test_what_fails_is_what_failed_last(home: Home) -> None:
    assert failing(home) is None
    home.dagster.mkdir()
    (home.dagster / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    assert failing(home) is None
    passes = {"a": False, "b": False}

    @dg.multi_asset_check(
        specs=[dg.AssetCheckSpec(name, asset="t") for name in passes], name="checks"
    )
    def checks() -> Iterator[dg.AssetCheckResult]:
        for name, passed in passes.items():
            yield dg.AssetCheckResult(check_name=name, asset_key="t", passed=passed)

    job = dg.define_asset_job("checks_job", selection=dg.AssetSelection.all_asset_checks())
    defs = dg.Definitions(asset_checks=[checks], jobs=[job])
    with dg.DagsterInstance.from_config(str(home.dagster)) as instance:
        for passes["a"] in (False, True):
            defs.get_job_def("checks_job").execute_in_process(instance=instance)
    assert [result.key for result in failing(home) or ()] == ["t b"]


@pytest.mark.parametrize("check", [*ADVICE, "any_other"])
def test_every_finding_names_a_command(check: str) -> None:
    advice = replace(WARNING, check=check).advice
    assert "`dmp " in advice and "{" not in advice


def test_a_demo_expects_the_dirt_of_its_ledger_and_no_more(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "truth").mkdir()
    entries = [{"table": "users", "rule": "user_id_missing", "key": str(i)} for i in range(40)]
    pq.write_table(pa.Table.from_pylist(entries), tmp_path / "truth" / "ledger.parquet")
    expected = Expected.of(tmp_path)
    assert expected.among([WARNING]) == [WARNING]
    for other in (
        replace(WARNING, offending=41),
        replace(WARNING, offending=None),
        replace(WARNING, error=True),
        replace(WARNING, passed=True),
        replace(WARNING, asset="raw/promo_codes"),
        replace(WARNING, check="not_empty"),
    ):
        assert expected.among([other]) == []


def test_the_sandbox_shows_a_digest_as_people_would_see_it(tell: Any, endpoint: Endpoint) -> None:
    tell(NOON, WARNING)
    tell(MORNING)
    with httpx.Client(trust_env=False, timeout=60) as client:
        page = client.get(endpoint.url).text
    assert "<code>dmp show quarantine/users</code>" in page
