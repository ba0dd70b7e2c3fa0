"""Notices over the simulated business, day by day as its tables stood, by the real asset.

The tables are those of the day: what was not told yet is not in them, and Meta's values come in as
late as the simulated business has them come.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import pytest

from dmp_assets.ads.tables import ad_notices
from dmp_assets.ads.tables.ad_notices import COVERAGE, NOTICES
from dmp_assets.demo.business.ads_world import ADVERTISERS
from dmp_assets.home import Home
from dmp_assets.platform.lake.columns import arrow_schema
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.raw.meta_readings import INSIGHT_COLUMNS, READING_COLUMNS
from dmp_assets.sources.meta.days import OPEN_DAYS
from tests.support.ads_home import LAST, AdsHome, ads_home
from tests.support.lake_writes import overwrite

LOOKED = 45
"""Days that are lived through; before them there is the history that the usual takes."""

MORNING = time(9, tzinfo=UTC)
KEPT = ("modeled/ad_performance_daily", "modeled/ad_roi_daily")


class Time:
    """The tables as they stood on each day, and the clock of that day."""

    def __init__(self, made: AdsHome, monkeypatch: pytest.MonkeyPatch) -> None:
        self._made, self._monkeypatch = made, monkeypatch
        self.final = {key: made.tables.dataset(key).to_table() for key in KEPT}
        with closing(sqlite3.connect(made.simulated / "meta.sqlite")) as db:
            names = ("account_id", "ad_id", "day", "lag", "purchases")
            told = db.execute(
                "SELECT account_id, ad_id, day, lag_days, sum(purchases) FROM purchase "
                "JOIN ad USING (ad_id) GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
            ).fetchall()
        self.told = pa.Table.from_pylist([dict(zip(names, one, strict=True)) for one in told])
        self._insights, self._readings = self._raw()

    def _raw(self) -> tuple[pa.Table, pa.Table]:
        """What Meta would have told, and when it was asked: each open day every morning."""
        whose = {one.account_id: one for one in ADVERTISERS}
        rows: list[dict[str, Any]] = []
        sums: dict[tuple[str, str], int] = {}
        for one in self.told.to_pylist():
            day, key = date.fromisoformat(one["day"]), (one["ad_id"], one["day"])
            sums[key] = sums.get(key, 0) + one["purchases"]
            read_at = datetime.combine(day + timedelta(days=1 + one["lag"]), MORNING)
            rows.append({
                "advertiser_id": whose[one["account_id"]].advertiser_id,
                "account_id": one["account_id"], "ad_id": one["ad_id"], "date": day,
                "breakdown": "", "cell": "", "purchase_type": "purchase", "is_idle": False,
                "actions": f'[{{"action_type":"purchase","value":"{sums[key]}"}}]',
                "read_at": read_at, "_row_id": len(rows),
            })  # fmt: skip
        first = min(row["date"] for row in rows)
        readings = [
            {
                "advertiser_id": one.advertiser_id, "account_id": one.account_id, "breakdown": "",
                "date": day, "timezone_name": one.account_zone,
                "read_at": datetime.combine(day + timedelta(days=1 + age), MORNING),
            }
            for one in ADVERTISERS
            for day in (first + timedelta(days=n) for n in range((LAST - first).days + 1))
            for age in range(OPEN_DAYS + 1)
        ]  # fmt: skip
        return _table(rows, INSIGHT_COLUMNS), _table(readings, READING_COLUMNS)

    def _known(self) -> dict[str, pa.Table]:
        """All there is, by the names that the SQL of `set` has for it."""
        performance, roi = (self.final[key] for key in KEPT)
        return {
            "performance": performance, "roi": roi, "told": self.told,
            "insights": self._insights, "readings": self._readings,
        }  # fmt: skip

    def set(self, day: date, **changed: str) -> None:
        """Let it be noon of the day after `day`. `changed`: column of the performance → SQL in its
        place on the last days, of `date` and the column itself."""
        now = datetime.combine(day + timedelta(days=1), time(12, tzinfo=UTC))
        self._monkeypatch.setattr(Home, "now", lambda own: now)
        replaced = "".join(f", {sql} AS {name}" for name, sql in changed.items())
        open_from = day - timedelta(days=OPEN_DAYS - 1)
        with duckdb.connect() as db:
            db.execute("SET TimeZone = 'UTC'")
            for name, table in self._known().items():
                db.register(name, table)

            def write(key: str, query: str) -> None:
                like = self._made.tables.dataset(key).schema
                found = db.sql(query).to_arrow_table().select(like.names).cast(like)
                overwrite(self._made.tables, key, found)

            seen = (
                "SELECT ad_id, day::DATE AS date, sum(purchases)::BIGINT AS seen FROM told "
                f"WHERE day::DATE + lag::INTEGER <= DATE '{day}' GROUP BY ALL"
            )
            write(
                KEPT[0],
                f"""
                SELECT * REPLACE (date >= DATE '{open_from}' AS is_open {replaced}) FROM (
                  SELECT p.* REPLACE (coalesce(seen, 0) AS purchases) FROM performance p
                  LEFT JOIN ({seen}) USING (ad_id, date) WHERE date <= DATE '{day}')
            """,
            )
            write(KEPT[1], f"SELECT * FROM roi WHERE date <= DATE '{day}'")
            write("raw/meta_insights", f"SELECT * FROM insights WHERE read_at <= '{now}'")
            write("raw/meta_insight_readings", f"SELECT * FROM readings WHERE read_at <= '{now}'")

    @property
    def tables(self) -> Tables:
        return self._made.tables

    def look(self) -> list[dict[str, Any]]:
        """What the asset adds."""
        tables = self._made.tables
        before = tables.sql("FROM ml.ad_notices").num_rows if tables.exists(NOTICES) else 0
        assert dg.materialize(
            [ad_notices.ad_notices],
            instance=dg.DagsterInstance.ephemeral(),
            resources={"lakehouse": Lakehouse(), "window": Window()},
        ).success
        rows = tables.sql("SELECT * FROM ml.ad_notices ORDER BY found_at, day").to_pylist()
        return list(rows[before:])


def _table(rows: list[dict[str, Any]], columns: Any) -> pa.Table:
    whole = [{name: row.get(name) for name in columns} for row in rows]
    return pa.Table.from_pylist(whole, schema=arrow_schema(columns))


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, postgres: Endpoint) -> Iterator[Time]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = tmp_path_factory.mktemp("notices")
        with ads_home(folder, postgres, monkeypatch, users=4_000) as made:
            assert made.run().success
            yield Time(made, monkeypatch)


@pytest.fixture(scope="module")
def quiet(lived: Time) -> list[dict[str, Any]]:
    """What was found on all days in which nothing was wrong."""
    found = []
    for n in range(LOOKED):
        lived.set(LAST - timedelta(days=LOOKED - n))
        found += lived.look()
    return found


def test_over_weeks_of_the_simulated_business_next_to_nothing_is_found(
    quiet: list[dict[str, Any]],
) -> None:
    """At most as often as docs/experiments.md measured: 0.25 for each account and month."""
    told = {(one["advertiser_id"], one["subject"], one["kind"], one["since"]) for one in quiet}
    assert len(told) <= 0.25 * len(ADVERTISERS) * LOOKED / 30, quiet


def test_every_kind_that_there_is_data_for_was_judged(
    lived: Time, quiet: list[dict[str, Any]]
) -> None:
    tables = lived.tables
    said = {
        (row["kind"], row["no_data"])
        for row in tables.sql("SELECT kind, no_data FROM ml.ad_notice_coverage").to_pylist()
    }
    without = {kind for kind, why in said if why}
    assert without == {"budget_used_up", "pacing"}
    assert {kind for kind, _ in said} - without == {
        "spend_spike", "cost_per_order_spike", "tracking_broken", "roas_outside_forecast",
        "mer_outside_forecast", "data_late", "restated_unusually", "throttled_long", "ad_rejected",
        "access_expiring",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        (
            {"purchases": "CASE WHEN date > DATE '2024-03-24' THEN 0 ELSE purchases END"},
            ("main", "tracking_broken"),
        ),
        (
            {"spend": "CASE WHEN date = DATE '2024-03-31' THEN 4 * spend ELSE spend END"},
            ("main", "spend_spike"),
        ),
    ],
)
def test_an_incident_is_found_on_the_next_day(
    lived: Time, quiet: list[dict[str, Any]], changed: dict[str, str], wanted: tuple[str, str]
) -> None:
    """The last day is lived through anew, with what went wrong in it."""
    overwrite(
        lived.tables,
        COVERAGE,
        lived.tables.sql(
            "SELECT * REPLACE (CASE WHEN judged_through > DATE '2024-03-30' "
            "THEN DATE '2024-03-30' ELSE judged_through END AS judged_through) "
            "FROM ml.ad_notice_coverage"
        ),
    )
    lived.set(LAST, **changed)
    found = lived.look()
    assert wanted in {(one["advertiser_id"], one["kind"]) for one in found}
    for one in found:
        assert (
            one["figure"] > one["high"] if one["high"] is not None else one["figure"] < one["low"]
        )
