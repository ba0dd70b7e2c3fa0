"""Quiet is not missing: data is complete up to the source's reading, not to its last event."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from dmp_assets.abuse.report import figures
from dmp_assets.cleaned.shop.keys import EVENTS
from dmp_assets.home import Home
from dmp_assets.platform.lake import readings
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.table_asset import TableRun, table_asset
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.reporting import freshness
from dmp_assets.platform.reporting.messages import report_message, warning
from dmp_assets.platform.reporting.reader import Report
from tests.support import lakehouse

MONDAY = datetime(2024, 4, 1, 4, tzinfo=UTC)
FRIDAY = datetime(2024, 3, 29, 18, tzinfo=UTC)
UTC_TIME = pa.timestamp("us", tz="UTC")


def shop(tmp_path: Path, events: list[datetime], read_at: datetime | None = None) -> Home:
    """A home whose shop has a registration at each of these times, and was then read."""
    home = Home(tmp_path).prepare("live")
    at = pa.array(events, UTC_TIME)
    ids = pa.array([f"u{n}" for n in range(len(events))])
    lakehouse.write(home, "cleaned/users", pa.table({"user_id": ids, "created_at": at}), stamp="1")
    used = {"user_id": ids, "promo_code": ids, "used_at": at}
    lakehouse.write(home, "cleaned/promo_usages", pa.table(used), stamp="1")
    for name in ("users", "promo_usages"):
        loaded = pa.array([max(events)] * len(events), UTC_TIME)
        raw = pa.table({"user_id": ids, "_loaded_at": loaded})
        lakehouse.write(home, f"raw/{name}", raw, stamp="1")
        if read_at:
            readings.note(home, f"raw/{name}", read_at, 0)
    return home


def daily(last: datetime, days: int = 30, every: int = 1) -> list[datetime]:
    return [last - timedelta(days=every * n) for n in range(days)]


def told(home: Home, as_of: datetime = MONDAY) -> str | None:
    return warning(figures.weekly(Report.open(home, {}), as_of=as_of), "UTC")


def test_a_weekend_without_events_is_quiet_and_its_week_has_numbers(tmp_path: Path) -> None:
    home = shop(tmp_path, daily(FRIDAY), read_at=MONDAY)
    known = freshness.known(Report.open(home, {}), EVENTS, MONDAY)
    assert (known.through, known.last_event, known.silent) == (MONDAY, FRIDAY, None)
    assert told(home) is None


def test_a_week_that_the_source_was_not_read_past_is_not_complete(tmp_path: Path) -> None:
    home = shop(tmp_path, daily(FRIDAY))
    assert "reaches Fri 29 Mar 2024 18:00" in str(told(home))


def test_a_source_that_is_read_and_brings_nothing_for_long_has_fallen_silent(
    tmp_path: Path,
) -> None:
    home = shop(tmp_path, daily(FRIDAY - timedelta(days=20)), read_at=MONDAY)
    assert "last event is of Sat 09 Mar 2024" in str(told(home))
    assert "22 days later" in str(told(home))


def test_how_long_a_source_was_silent_is_the_same_whatever_week_is_looked_at(
    tmp_path: Path,
) -> None:
    later = MONDAY + timedelta(days=30)
    home = shop(tmp_path, daily(FRIDAY - timedelta(days=20)), read_at=later)
    said = [
        freshness.known(Report.open(home, {}), EVENTS, as_of).silent
        for as_of in (MONDAY, MONDAY + timedelta(days=9), later)
    ]
    assert len(set(said)) == 1 and "52 days later" in str(said[0])


def test_a_source_of_few_events_may_be_silent_for_longer(tmp_path: Path) -> None:
    home = shop(tmp_path, daily(FRIDAY - timedelta(days=9), every=9), read_at=MONDAY)
    assert told(home) is None


@pytest.mark.parametrize(("expected", "complete"), [("0", True), ("1", True), ("500", False)])
def test_the_volume_that_is_expected_can_be_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: str, complete: bool
) -> None:
    monkeypatch.setenv("DMP_EXPECTED_WEEKLY_EVENTS", expected)
    home = shop(tmp_path, daily(FRIDAY), read_at=MONDAY)
    assert (told(home) is None) is complete
    if not complete:
        assert "500 are expected (DMP_EXPECTED_WEEKLY_EVENTS)" in str(told(home))


def test_silence_is_fine_where_none_is_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_EXPECTED_WEEKLY_EVENTS", "0")
    home = shop(tmp_path, daily(FRIDAY - timedelta(days=60)), read_at=MONDAY)
    assert told(home) is None


def test_a_row_dated_in_the_future_does_not_move_what_is_known(tmp_path: Path) -> None:
    ahead = datetime(2093, 1, 1, tzinfo=UTC)
    home = shop(tmp_path, daily(FRIDAY))
    before = freshness.known(Report.open(home, {}), EVENTS, MONDAY)
    future = shop(tmp_path / "other", [*daily(FRIDAY), ahead], read_at=None)
    at = pa.table({"user_id": ["u0"], "_loaded_at": pa.array([FRIDAY], UTC_TIME)})
    for name in ("users", "promo_usages"):
        lakehouse.write(future, f"raw/{name}", at, stamp="2")
    known = freshness.known(Report.open(future, {}), EVENTS, MONDAY)
    assert (known.through, known.last_event) == (before.through, before.last_event)
    assert known.ahead == 2
    assert "2 rows are dated in the future" in str(Report.open(future, {}).stale())
    notes = figures.weekly(Report.open(future, {}), as_of=MONDAY).notes
    assert any("2 rows are dated in the future" in note for note in notes)


def test_data_that_ends_long_before_a_page_is_made_is_said(tmp_path: Path) -> None:
    home = shop(tmp_path, daily(FRIDAY))
    said = str(Report.open(home, {}).stale())
    assert said.startswith("The data ends 2024-03-29 18:00 UTC, ")
    assert "days before this page was made" in said


def test_an_empty_home_has_no_data_through_and_its_message_says_so(tmp_path: Path) -> None:
    home = Home(tmp_path).prepare("live")
    report = Report.open(home, {})
    assert report.known() == freshness.Known(None, None, None)
    now = figures.weekly(report, as_of=MONDAY)
    said = report_message(now, report="promo_abuse", version="1", channel="C", tz="UTC")
    assert "No data has been loaded yet" in said.text


def test_a_run_that_finds_nothing_new_notes_that_it_read_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_HOME", str(tmp_path))
    home = Home(tmp_path).prepare("live")

    @table_asset(
        "raw",
        columns={"n": Column("long", "A number.")},
        probe=lambda lakehouse, window: {"rows": 1},
    )
    def numbers(run: TableRun) -> None:
        """Numbers. Grain: one number. Key: n. Source: the test."""
        run.overwrite(pa.table({"n": [1]}))

    def read() -> datetime:
        dg.materialize([numbers], resources={"lakehouse": Lakehouse(), "window": Window()})
        noted = readings.last(home, "raw/numbers")
        assert noted and noted.version == 0
        return noted.at

    assert read() < read()


def test_what_a_later_reading_brought_is_not_known_to_a_page_of_before(tmp_path: Path) -> None:
    home = shop(tmp_path, daily(FRIDAY), read_at=MONDAY)
    for name in ("users", "promo_usages"):
        readings.note(home, f"raw/{name}", MONDAY, 3)
    report = Report.open(home, {"raw/users": 0, "raw/promo_usages": 0})
    assert freshness.known(report, EVENTS, MONDAY).through == FRIDAY


def test_damaged_notes_are_made_anew(tmp_path: Path) -> None:
    home = Home(tmp_path).prepare("live")
    (tmp_path / "readings.json").write_text("{")
    assert readings.last(home, "raw/users") is None
    readings.note(home, "raw/users", MONDAY, 1)
    assert readings.last(home, "raw/users") == readings.Reading(MONDAY, 1)


def test_events_of_a_day_are_compared_with_those_of_a_moment(tmp_path: Path) -> None:
    home = shop(tmp_path, daily(FRIDAY), read_at=MONDAY)
    days = pa.table({"date": [FRIDAY.date(), FRIDAY.date() + timedelta(days=1)]})
    lakehouse.write(home, "cleaned/numbers", days, stamp="1")
    events = {**EVENTS, "cleaned/numbers": "date"}
    known = freshness.known(Report.open(home, {}), events, MONDAY)
    assert known.last_event == datetime(2024, 3, 30, tzinfo=UTC)
    known = freshness.known(Report.open(home, {}), events, FRIDAY)
    assert (known.last_event, known.ahead) == (FRIDAY, 0)
