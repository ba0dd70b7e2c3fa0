"""The attribution report, its message and what launches it, on a small made-up web."""

import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dmp_assets.attribution import lake
from dmp_assets.attribution.report import figures, journey_figures, reports
from dmp_assets.attribution.report.cost_figures import received_cost
from dmp_assets.attribution.report.reports import REPORTS
from dmp_assets.demo.sandbox.server import Sandbox
from dmp_assets.home import Home
from dmp_assets.platform.automation import schedules
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.reporting import report_assets
from dmp_assets.platform.reporting.delivery import flush
from dmp_assets.platform.reporting.messages import warning
from dmp_assets.platform.reporting.period import Period
from dmp_assets.platform.reporting.privacy import find_personal_data
from dmp_assets.platform.reporting.renderer import Renderer
from dmp_assets.platform.reporting.slack import SlackResource
from dmp_assets.settings import project_dir
from tests.support import attribution_tables, lakehouse

MARCH = Period(date(2024, 3, 1), date(2024, 3, 31))
LAST_WEEK = Period(date(2024, 3, 25), date(2024, 3, 31))
MONDAY = datetime(2024, 4, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a web and without a shop."""
    built = Home(tmp_path_factory.mktemp("home")).prepare("sandbox")
    for key, table in attribution_tables.tables().items():
        lakehouse.write(built, key, table, stamp="1")
    built.exports.mkdir(exist_ok=True)
    header = "channel_name,date,cost,ihc,ihc_revenue,CPO,ROAS\n"
    (built.exports / "channel_reporting.csv").write_text(header)
    return built


@pytest.fixture(scope="module")
def pages(home: Home, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The report of all days, and of March."""
    folder = tmp_path_factory.mktemp("pages")
    march = {"start": str(MARCH.first), "end": str(MARCH.last)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUARTO_PATH", "/nonexistent/quarto")
        with Renderer(project_dir(), home) as engine:
            return {
                name: engine.render(
                    "attribution", params=params, to=folder / f"{name}.html"
                ).path.read_text()
                for name, params in (("all", {}), ("march", march))
            }


def text(page: str) -> str:
    """What the page says, without scripts and marks."""
    body = re.sub(r"(?s)<script.*?</script>|<style.*?</style>", " ", page)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


# the page -----------------------------------------------------------------------------------------
def test_the_page_says_how_conversions_and_revenue_add_up(
    home: Home, pages: dict[str, str]
) -> None:
    run = Tables(str(home.lakehouse)).sql("FROM modeled.attribution_runs").to_pylist()[0]
    line = (
        f"{run['attributed']} attributed + {run['without_touchpoint']} without touchpoint + "
        f"0 failed + 1 quarantined = {run['conversions']} conversions"
    )
    assert line in text(pages["all"])
    assert "to the cent" in text(pages["all"])


def test_the_page_of_some_days_shows_their_sums_by_the_reporting_model(
    home: Home, pages: dict[str, str]
) -> None:
    row = (
        Tables(str(home.lakehouse))
        .sql(
            """SELECT sum(cost)::DOUBLE AS cost, sum(revenue) AS revenue
        FROM modeled.channel_reporting WHERE model = 'ihc' AND date >= '2024-03-01'"""
        )
        .to_pylist()[0]
    )
    shown = text(pages["march"])
    assert "2024-03-01 to 2024-03-31" in shown
    assert f"Cost, EUR {row['cost']:,.0f}" in shown
    assert f"ROAS, all channels {row['revenue'] / row['cost']:,.2f}" in shown


def test_the_page_names_no_visitor_and_no_conversion(pages: dict[str, str]) -> None:
    for page in pages.values():
        assert not re.search(r"web-user-\d|c-\d{5}|s-\d{5}", page)
        assert find_personal_data(text(page)) == []


# the figures --------------------------------------------------------------------------------------
def test_results_are_read_as_of_the_versions_that_the_last_run_committed(tmp_path: Path) -> None:
    half = Home(tmp_path).prepare("sandbox")
    for key, table in attribution_tables.tables().items():
        lakehouse.write(half, key, table, stamp="1")
    before = figures.totals(figures.opened(half, {}), "ihc", MARCH)
    reporting = attribution_tables.tables()["modeled/channel_reporting"]
    lakehouse.write(half, "modeled/channel_reporting", reporting.slice(0, 0), stamp="2")
    again = figures.totals(figures.opened(half, {}), "ihc", MARCH)
    assert asdict(again) == pytest.approx(asdict(before))
    assert before.revenue > 0


def test_the_parts_of_any_days_add_up_to_their_conversions(home: Home) -> None:
    report = figures.opened(home, {})
    conversions = attribution_tables.tables()["modeled/attributed_conversions"]
    inside = pc.greater_equal(conversions["conversion_date"], pa.scalar(MARCH.first))
    added = figures.added_up(report, MARCH)
    assert sum(added.conversions.values()) == pc.sum(inside).as_py() + 1  # one in quarantine
    revenue = float(pc.sum(conversions.filter(inside)["revenue"]).as_py())
    assert sum(added.revenue.values()) == pytest.approx(revenue)


def test_what_is_in_quarantine_is_read_as_its_column_is(tmp_path: Path) -> None:
    """A shop that writes 1.500,00 and 20.03.2024: to the cent, and on its day."""
    german = Home(tmp_path).prepare("sandbox")
    made = attribution_tables.tables()
    names = {"web_conversions": ("conv_date", "revenue"), "web_session_costs": (None, "cost")}
    for name, (day, amount) in names.items():
        for layer in ("raw", "quarantine"):
            rows = made[f"{layer}/{name}"].to_pylist()
            for row in rows:
                if re.fullmatch(r"[\d.]+", row[amount]):
                    row[amount] = f"{float(row[amount]):,.4f}".translate({44: ".", 46: ","})
                if day and row[day]:
                    row[day] = ".".join(reversed(row[day].split("-")))
            schema = made[f"{layer}/{name}"].schema
            made[f"{layer}/{name}"] = pa.Table.from_pylist(rows, schema)
    held = made["quarantine/web_conversions"].to_pylist()[0]
    made["quarantine/web_conversions"] = pa.Table.from_pylist(
        [held | {"conv_id": id, "revenue": revenue, "conv_date": day, "conv_time": at}
         for id, revenue, day, at in (
             ("b1", "1.500,00", "20.03.2024", "11:00"),
             ("b2", "R$ 2.000,50", "31.03.2024", "24:99"),
             (None, "-10,00", "19.02.2024", None), ("b4", "9,99", "31.02.2024", "10:00"),
         )]
    )  # fmt: skip
    for key, table in made.items():
        lakehouse.write(german, key, table, stamp="1")
    report = figures.opened(german, {})
    inside = figures.added_up(report, MARCH)
    assert (inside.conversions["quarantined"], inside.revenue["quarantined"]) == (3, 3510.49)
    february = figures.added_up(report, Period(date(2024, 2, 1), date(2024, 2, 29)))
    assert (february.conversions["quarantined"], february.revenue["quarantined"]) == (2, -0.01)
    cost = received_cost(report, "ihc")
    assert cost.quarantined == pytest.approx(1.2345) and cost.received > 100
    assert cost.missing == pytest.approx(0, abs=0.01)


def test_the_flow_of_first_steps_keeps_every_journey(home: Home) -> None:
    report = figures.opened(home, {})
    flow = journey_figures.first_steps(report, MARCH)
    journeys = report.row(
        f"SELECT count(DISTINCT conv_id) AS n {journey_figures.INSIDE}", [*MARCH.bounds]
    )
    links = list(zip(flow.sources, flow.targets, flow.values, strict=True))
    assert sum(n for source, _, n in links if flow.steps[source] == 1) == journeys["n"]
    last = max(flow.steps)
    assert sum(n for _, target, n in links if flow.steps[target] == last) == journeys["n"]
    assert {flow.labels[t] for _, t, _ in links if flow.steps[t] == last} <= {
        journey_figures.CONVERTED, journey_figures.FURTHER
    }  # fmt: skip


def test_the_message_compares_the_week_with_the_one_before_at_the_same_age(home: Home) -> None:
    report = figures.opened(home, {})
    told = figures.message(report, as_of=MONDAY)
    assert (told.period_start, told.period_end) == (LAST_WEEK.first, LAST_WEEK.last)
    now = figures.totals(report, "ihc", LAST_WEEK)
    as_it_stood = datetime(2024, 3, 25, tzinfo=UTC)  # a week before it was last read
    then = figures.matured(report, "ihc", LAST_WEEK.before(), as_it_stood)
    said = {figure.name: figure for figure in told.headline}
    for name, value, before in (
        ("paid_roas", now.paid_roas, then.paid_roas),
        ("roas", now.roas, then.roas),
        ("paid_cost_per_order", now.paid_cpo, then.paid_cpo),
        ("cost_per_order", now.cpo, then.cpo),
        ("attributed_revenue", now.revenue, then.revenue),
        ("attributed_conversions", now.conversions, then.conversions),
    ):
        assert said[name].value == pytest.approx(value)
        assert said[name].previous == pytest.approx(before)
    assert any(re.search(r"\d+ attributed \+ .* = \d+ conversions\.", note) for note in told.notes)
    assert any("still open" in note for note in told.notes)
    assert warning(told, "UTC") is None


def test_days_that_the_data_does_not_reach_are_said_to_be_incomplete(home: Home) -> None:
    report = figures.opened(home, {})
    later = figures.message(report, as_of=datetime(2024, 4, 15, 12, tzinfo=UTC))
    assert "not complete" in str(warning(later, "UTC"))
    old = figures.message(report, as_of=datetime(2026, 1, 1, tzinfo=UTC), days=MARCH)
    assert warning(old, "UTC") is None
    failed = figures.message(report, as_of=MONDAY, problem="A check failed.")
    assert warning(failed, "UTC") == "A check failed."


# delivery -----------------------------------------------------------------------------------------
@pytest.fixture
def current(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("DMP_HOME", str(home.root))
    yield home
    for path in home.outbox.glob("*.json"):
        path.unlink()


DELIVERY = dg.AssetKey(["delivery", "attribution"])


def deliver(**window: str) -> dict[str, Any]:
    result = dg.materialize(
        [made for made in report_assets.build() if DELIVERY in made.keys],
        resources={
            "lakehouse": Lakehouse(), "slack": SlackResource(), "window": Window(**window)
        },
    )  # fmt: skip
    (made,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in made.materialization.metadata.items()}


def test_the_message_waits_without_slack_and_is_sent_once_with_the_csv_in_its_thread(
    current: Home,
) -> None:
    assert deliver()["state"] == "kept"
    (record,) = current.outbox.glob("*.json")
    kept = json.loads(record.read_text())
    assert [file["file"] for file in kept["files"]] == ["channel_reporting.csv"]
    assert kept["image"]["file"] == "attribution.png"
    assert find_personal_data(json.dumps([kept["text"], kept["blocks"]])) == []
    with Sandbox(current).running():
        assert [done.state for done in flush(SlackResource().client(), current.outbox)] == ["sent"]
        assert deliver()["state"] == "already_sent"


def test_a_run_over_some_days_delivers_those_days(current: Home) -> None:
    assert deliver(start="2024-03-01", end="2024-03-31")["version"] == "2024-03-01_2024-03-31"


def test_a_failed_run_says_so_in_the_messages_that_it_was_to_deliver(current: Home) -> None:
    wanted = {"delivery/attribution", "modeled/attribution"}
    (told,) = report_assets.deliver_failure(current, SlackResource(), ["raw/web_sessions"], wanted)
    assert told.report == "attribution"
    assert told.version.endswith("_incomplete")
    kept = json.loads((current.outbox / f"{told.delivery_id}.json").read_text())
    assert "The run failed at raw/web_sessions." in kept["text"]
    assert report_assets.deliver_failure(
        current, SlackResource(), ["delivery/attribution"], wanted
    ) == []  # fmt: skip


# what launches it ---------------------------------------------------------------------------------
@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A live home with a web database of two conversions, which has not been read yet."""
    file = tmp_path / "web.sqlite"
    with sqlite3.connect(file) as database:
        database.executescript(
            """
            CREATE TABLE session_sources (session_id TEXT, user_id TEXT, event_date TEXT,
                event_time TEXT, channel_name TEXT, holder_engagement INTEGER,
                closer_engagement INTEGER, impression_interaction INTEGER);
            CREATE TABLE conversions (conv_id TEXT, user_id TEXT, conv_date TEXT, conv_time TEXT,
                revenue REAL);
            CREATE TABLE session_costs (session_id TEXT, cost REAL);
            INSERT INTO conversions VALUES ('a', 'u', '2024-01-05', '10:00:00', 5),
                ('b', 'u', '2024-02-07', '10:00:00', 5);"""
        )
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DMP_WEB_DATABASE", str(file))
    return Home(tmp_path / "home").prepare("live")


@pytest.fixture(scope="module")
def repository() -> Any:
    from dmp_assets.definitions import defs

    return defs.get_repository_def()


def test_no_job_has_a_partitioned_table_so_that_a_backfill_is_one_run(repository: Any) -> None:
    named = {job.name: job for job in repository.get_all_jobs()}
    offered = {name for name in named if not name.startswith("__")}
    assert {"daily_refresh", "weekly_report"} < offered
    assert {name for name in offered if named[name].partitions_def} == set()


def test_a_schedule_asks_for_all_days_with_conversions_in_one_run(
    web: Home, repository: Any
) -> None:
    asked = {}
    for definition in schedules.build_schedules():
        if "attribution" not in definition.name:
            continue
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_schedule_context(instance=instance, repository_def=repository)
            (request,) = definition.evaluate_tick(context).run_requests or ()
        assert request.tags["dagster/asset_partition_range_start"] == "2024-01-05"
        assert request.tags["dagster/asset_partition_range_end"] == "2024-02-07"
        assert request.tags["dmp/whole"] == "true"
        assert definition.default_status == dg.DefaultScheduleStatus.RUNNING
        job = repository.get_job(f"__anonymous_asset_job_{definition.name}")
        asked[definition.name] = {
            "/".join(key.path) for key in job.asset_layer.executable_asset_keys
        }
    delivered = {f"reports/{spec.name}" for spec in REPORTS} | {
        f"delivery/{spec.name}" for spec in REPORTS if spec.message
    }
    assert asked["weekly_attribution"] - asked["daily_attribution"] == delivered
    assert "exports/channel_reporting" in asked["daily_attribution"]


def test_one_more_report_with_a_message_goes_with_the_weekly_run_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reports, "REPORTS", (*REPORTS, replace(REPORTS[0], name="second")))
    report_assets.specs.cache_clear()
    try:
        made = report_assets.build()
    finally:
        report_assets.specs.cache_clear()
    second = {dg.AssetKey(["reports", "second"]), dg.AssetKey(["delivery", "second"])}
    assert second <= lake.ALL.resolve(made)
    assert second & (lake.ALL - lake.WEEKLY).resolve(made) == set()


def test_new_rows_on_the_web_ask_for_a_run(web: Home, repository: Any) -> None:
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(instance=instance, repository_def=repository) as context,
    ):
        (request,) = lake.new_web_data.evaluate_tick(context).run_requests or ()
    assert request.tags["dagster/asset_partition_range_end"] == "2024-02-07"
    assert request.run_key


def test_without_a_web_database_nothing_of_it_runs_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_HOME", str(tmp_path))
    monkeypatch.delenv("DMP_WEB_DATABASE", raising=False)
    home = Home(tmp_path).prepare("live")
    status = {made.name: made.default_status for made in schedules.build_schedules()}
    off = {name for name, found in status.items() if found == dg.DefaultScheduleStatus.STOPPED}
    assert {"daily_attribution", "weekly_attribution"} <= off < set(status)
    assert isinstance(lake.request(home), dg.SkipReason)


def test_a_database_that_cannot_be_read_skips_the_tick_and_says_why(
    web: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DMP_WEB_DATABASE", str(tmp_path / "gone.sqlite"))
    skipped = lake.request(web)
    assert isinstance(skipped, dg.SkipReason)
    assert "gone.sqlite" in str(skipped.skip_message)
