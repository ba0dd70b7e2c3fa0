"""Rendering and delivery as assets: what is left alone, and what an outage of Slack changes."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dmp_assets.abuse.report.reports import weekly_figures
from dmp_assets.cleaned.shop.keys import EVENTS
from dmp_assets.demo.sandbox.server import Sandbox
from dmp_assets.home import Home
from dmp_assets.platform.faces.lake import declared, lakes
from dmp_assets.platform.lake import maintenance
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.marts import warehouse
from dmp_assets.platform.reporting import freshness, renderer, report_assets
from dmp_assets.platform.reporting.delivery import flush
from dmp_assets.platform.reporting.privacy import find_personal_data
from dmp_assets.platform.reporting.reader import Report
from dmp_assets.platform.reporting.slack import SlackResource
from dmp_assets.settings import project_dir
from tests.support import lakehouse

ASSETS = [
    *warehouse.assets({name: given.marts for name, given in lakes().items()}, declared()).values(),
    *report_assets.build(),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose reports have been rendered once, while Slack had no token."""
    built = lakehouse.build(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DMP_HOME", str(built.root))
        patch.setenv("QUARTO_PATH", "/nonexistent/quarto")
        yield built


def materialize(*keys: str, start: str = "", end: str = "") -> dg.ExecuteInProcessResult:
    return dg.materialize(
        ASSETS,
        selection=[dg.AssetKey(key.split("/")) for key in keys] if keys else None,
        resources={
            "lakehouse": Lakehouse(),
            "slack": SlackResource(),
            "window": Window(start=start, end=end),
        },
        raise_on_error=False,
    )


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    return {
        "/".join(event.asset_key.path): {
            name: value.value for name, value in event.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }


@pytest.fixture(scope="module")
def first(home: Home) -> dg.ExecuteInProcessResult:
    return materialize()


def test_without_slack_all_is_made_and_the_message_is_kept_with_a_warning(
    first: dg.ExecuteInProcessResult, home: Home
) -> None:
    assert first.success
    made = metadata(first)
    assert {f"reports/{name}" for name in report_assets.specs()} < set(made)
    messages = [name for name, (_, spec) in report_assets.specs().items() if spec.message]
    assert {"promo_abuse", "attribution", "ads"} <= set(messages)
    assert {made[f"delivery/{name}"]["state"] for name in messages} == {"kept"}
    checks = first.get_asset_check_evaluations()
    assert [check.passed for check in checks] == [False] * len(messages)
    assert {check.severity for check in checks} == {dg.AssetCheckSeverity.WARN}
    assert len(list(home.outbox.glob("*.json"))) == len(messages)


def test_each_report_reads_only_tables_that_its_asset_declares(
    first: dg.ExecuteInProcessResult, home: Home
) -> None:
    for name, keys in ((n, s.reads) for n, (_, s) in report_assets.specs().items()):
        noted = renderer.state(home.reports / f"{name}.html")
        assert set(noted["table_versions"]) <= set(keys), name
        assert noted["table_versions"]


def test_nothing_is_rendered_or_sent_again_when_nothing_changed(
    first: dg.ExecuteInProcessResult, home: Home
) -> None:
    before = {path: path.stat().st_mtime_ns for path in home.reports.glob("*.html")}
    again = materialize("reports/promo_abuse", "reports/data_quality", "reports/index")
    assert all(found["unchanged"] for found in metadata(again).values())
    assert {path: path.stat().st_mtime_ns for path in home.reports.glob("*.html")} == before


def test_only_the_reports_whose_data_changed_are_rendered(
    first: dg.ExecuteInProcessResult, home: Home
) -> None:
    quarantined = lakehouse.tables()["quarantine/users"]
    lakehouse.write(home, "quarantine/users", quarantined, stamp="changed")
    found = metadata(materialize("reports/promo_abuse", "reports/data_quality"))
    assert found["reports/promo_abuse"]["unchanged"]
    assert not found["reports/data_quality"]["unchanged"]


def test_the_index_links_to_what_has_been_rendered(
    first: dg.ExecuteInProcessResult, home: Home
) -> None:
    page = (home.reports / "index.html").read_text()
    for name in report_assets.specs():
        assert name == "index" or f'href="{name}.html"' in page


def test_a_failing_report_fails_alone_and_leaves_its_old_page(
    first: dg.ExecuteInProcessResult, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    for path in (project_dir() / "reports").iterdir():
        if path.is_file():
            (folder / path.name).write_text(path.read_text())
    broken = folder / "data_quality.qmd"
    broken.write_text(broken.read_text().replace("def total(column):", "1 / 0\n\n\ndef total(c):"))
    before = (home.reports / "data_quality.html").read_text()
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    result = materialize("reports/data_quality", "reports/index")
    assert not result.success
    assert "reports/index" in metadata(result)
    told = [event.step_failure_data.user_failure_data for event in result.get_step_failure_events()]
    assert any("data_quality, cell headline: ZeroDivisionError" in str(t) for t in told)
    assert (home.reports / "data_quality.html").read_text() == before


def test_the_message_is_sent_once_when_slack_is_there_and_its_figures_are_the_tables(
    first: dg.ExecuteInProcessResult, home: Home
) -> None:
    with Sandbox(home).running():
        assert {done.state for done in flush(SlackResource().client(), home.outbox)} == {"sent"}
        again = metadata(materialize("delivery/promo_abuse"))
        assert again["delivery/promo_abuse"]["state"] == "already_sent"
    _, told = weekly_figures(home)
    tables = Tables(str(home.lakehouse))
    week = "BETWEEN '2024-03-25' AND '2024-03-31'"
    before = "BETWEEN '2024-03-18' AND '2024-03-24'"
    for figure, table, column, what in (
        (told.headline[0], "cleaned.users", "created_at", "count(*)"),
        (told.headline[1], "cleaned.promo_usages", "used_at", "count(*)"),
        (told.headline[2], "cleaned.promo_usages", "used_at", "count(DISTINCT user_id)"),
    ):
        for value, days in ((figure.value, week), (figure.previous, before)):
            query = f"SELECT {what} FROM {table} WHERE {column}::DATE {days}"
            assert value == tables.scalar(query)


def test_nothing_personal_is_in_what_waits_for_slack(
    first: dg.ExecuteInProcessResult, home: Home
) -> None:
    for record in home.outbox.glob("*.json"):
        sent = json.loads(record.read_text())
        assert find_personal_data(json.dumps([sent["text"], sent["blocks"]])) == []
    for name in ("promo_abuse", "attribution"):
        assert find_personal_data((home.reports / f"{name}.png").read_bytes()) == []


def test_a_message_is_written_though_old_versions_of_what_its_report_shows_are_gone(
    first: dg.ExecuteInProcessResult, home: Home, tmp_path: Path
) -> None:
    copy = Home(Path(shutil.copytree(home.root, tmp_path / "home")))
    assert "cleaned/users" in renderer.versions_shown(copy, "promo_abuse")
    maintenance.forget_versions(Tables(str(copy.lakehouse)), "cleaned/users")
    shown = renderer.versions_shown(copy, "promo_abuse")
    assert shown and "cleaned/users" not in shown
    assert weekly_figures(copy)[1] == weekly_figures(home)[1]


def test_data_that_stopped_before_the_end_of_the_week_is_not_called_fresh(home: Home) -> None:
    report = Report.open(home, {})
    fresh = freshness.known(report, EVENTS, datetime(2024, 4, 1, 12, tzinfo=UTC))
    assert fresh.through == datetime(2024, 4, 1, 0, tzinfo=UTC)
    later = freshness.known(report, EVENTS, datetime(2026, 1, 1, tzinfo=UTC))
    assert later.through == fresh.through


def test_a_failed_blocking_check_is_said_in_words() -> None:
    @dg.asset(
        key=["cleaned", "users"],
        check_specs=[dg.AssetCheckSpec(name, asset=["cleaned", "users"]) for name in ("a", "b")],
    )
    def users() -> dg.MaterializeResult:  # type: ignore[type-arg]
        error, warn = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
        return dg.MaterializeResult(
            check_results=[
                dg.AssetCheckResult(check_name="a", passed=False, severity=error),
                dg.AssetCheckResult(check_name="b", passed=False, severity=warn),
            ]
        )

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([users], instance=instance, raise_on_error=False)
        keys = [dg.AssetCheckKey(dg.AssetKey(["cleaned", "users"]), name) for name in ("a", "b")]
        assert report_assets.blocking_failure(instance, keys) == (
            "A check failed: a of cleaned/users."
        )


def test_a_range_is_shown_by_the_reports_that_know_one(
    first: dg.ExecuteInProcessResult, home: Home
) -> None:
    names = [f"reports/{name}" for name in ("attribution", "promo_abuse")]
    ranged = metadata(materialize(*names, start="2024-01-01", end="2024-01-31"))
    assert not any(found["unchanged"] for found in ranged.values())
    page = (home.reports / "promo_abuse.html").read_text()
    assert '"start":"2024-01-01","end":"2024-01-31"' in page
    assert "2024-01-01 to 2024-01-31" in (home.reports / "attribution.html").read_text()
