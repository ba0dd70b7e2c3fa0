"""What later rows, days read again and another shop do to a lakehouse that is already there."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from pyarrow import csv

from dmp_assets.demo.business import shop as demo_shop
from tests.support.demo import USERS, Demo, source_url
from tests.support.dmp import Dmp
from tests.support.recount import recount, tally

TABLES = ("users", "promo_codes", "promo_usages")
RAW = 'key:"raw/*" and tag:domain=abuse'
ROWS = '(key:"raw/*" or key:"cleaned/*") and tag:domain=abuse'
DAYS = f'({ROWS}) or (key:"modeled/*" and group:abuse)'


@pytest.fixture(scope="module")
def changed(demo: Demo, folder: Path) -> Dmp:
    """A copy of the demo's home, which the tests of this file change one after the other."""
    demo.dmp.postgres.stop()
    copy = demo.dmp.copy(folder / "changed")
    for home in (demo.dmp, copy):
        home.postgres.start()
    return copy


@pytest.fixture
def source(changed: Dmp) -> Iterator[psycopg.Connection[tuple]]:
    with psycopg.connect(source_url(changed.home)) as connection:
        yield connection


def usages(dmp: Dmp) -> set[tuple[Any, ...]]:
    found = dmp.tables.sql(
        "SELECT user_id, promo_code, used_at, used_promo FROM cleaned.promo_usages"
    )
    return {tuple(row.values()) for row in found.to_pylist()}


def waiting(dmp: Dmp) -> int:
    """Usages in quarantine because nobody knows their user."""
    return int(
        dmp.tables.scalar(
            """SELECT count(*) FROM quarantine.promo_usages
            WHERE failed_rules = ['user_unknown']"""
        )
    )


def consistent(dmp: Dmp, source: psycopg.Connection[tuple]) -> None:
    recount(source)
    for table in TABLES:
        counted = tally(source, table)
        tables = dmp.tables
        assert tables.scalar(f"SELECT count(*) FROM raw.{table}") == counted["received"]
        assert tables.scalar(f"SELECT count(*) FROM cleaned.{table}") == counted["kept"]
        quarantined = tables.scalar(f"SELECT count(*) FROM quarantine.{table}")
        assert quarantined == counted["quarantined"]


def test_usages_of_late_users_leave_quarantine_and_nothing_else_changes(
    changed: Dmp, demo: Demo, source: psycopg.Connection[tuple]
) -> None:
    before, waited = usages(changed), waiting(changed)
    versions = changed.versions()
    loaded = changed("load-shop", str(demo.shop / "late"), "--append")
    assert loaded.code == 0, loaded.text
    late = {
        line.split(",")[0] for line in (demo.shop / "late" / "users.csv").read_text().splitlines()
    } - {"user_id"}
    ran = changed("run", "--json", "--select", ROWS)
    assert ran.code == 0, ran.text
    after = usages(changed)
    assert before <= after
    assert {row[0] for row in after - before} == late
    assert waiting(changed) == waited - len(after - before)
    assert changed.versions()["raw/promo_codes"] == versions["raw/promo_codes"]
    assert changed.versions()["cleaned/promo_codes"] == versions["cleaned/promo_codes"]
    consistent(changed, source)


@dataclass(frozen=True)
class Later:
    """One run after new rows of the shop and late rows of the web came, and what was before."""

    shop: demo_shop.Summary
    web: dict[str, list[dict[str, Any]]]
    tables: dict[str, pa.Table]
    reporting: dict[tuple[date, str], Decimal]
    line: dict[str, Any]


def cost_by_day(dmp: Dmp) -> dict[tuple[date, str], Decimal]:
    found = dmp.tables.sql(
        "SELECT date, channel_name, cost FROM modeled.channel_reporting WHERE model = 'ihc'"
    )
    return {(row["date"], row["channel_name"]): row["cost"] for row in found.to_pylist()}


def line(dmp: Dmp) -> dict[str, Any]:
    """How the conversions of the last attribution add up."""
    last = "SELECT * FROM modeled.attribution_runs ORDER BY committed_at DESC LIMIT 1"
    return dict(dmp.tables.sql(last).to_pylist()[0])


@pytest.fixture(scope="module")
def later(changed: Dmp, demo: Demo, folder: Path) -> Later:
    new = demo_shop.generate_increment(
        folder / "increment", users=USERS, seed=7, end=date(2024, 3, 31), days=14
    )
    late = demo.shop / "web" / "late"
    before = Later(
        new,
        {file.stem: csv.read_csv(file).to_pylist() for file in late.glob("*.csv")},
        {key: changed.tables.dataset(key).to_table() for key in changed.versions()},
        cost_by_day(changed),
        line(changed),
    )
    for command in (("load-shop", str(new.export)), ("web", "load", str(late))):
        loaded = changed(*command, "--append")
        assert loaded.code == 0, loaded.text
    ran = changed("run", "--json", "--select", f"({DAYS}) or tag:domain=attribution")
    assert ran.code == 0, ran.text
    return before


def test_an_increment_is_appended_to_raw_and_all_tables_stay_consistent(
    changed: Dmp, later: Later, source: psycopg.Connection[tuple]
) -> None:
    for table in TABLES:
        key = f"raw/{table}"
        delta = changed.tables.delta(key)
        (last,) = delta.history(1)
        assert last["operation"] == "WRITE"
        assert last["operationParameters"]["mode"] == "Append"
        last_known = later.tables[key]["_row_id"].to_numpy().max()
        added = f"SELECT count(*) FROM raw.{table} WHERE _row_id > {last_known}"
        assert changed.tables.scalar(added) == later.shop.rows[table]
        assert delta.count() == len(later.tables[key]) + later.shop.rows[table]
    consistent(changed, source)
    tables = changed.tables
    daily = tables.scalar("SELECT sum(usages)::BIGINT FROM modeled.promo_usage_daily")
    assert daily == tables.scalar("SELECT count(*) FROM cleaned.promo_usages")
    registered = tables.scalar("SELECT sum(registrations)::BIGINT FROM modeled.registrations_daily")
    assert registered == tables.scalar("SELECT count(*) FROM cleaned.users")


def test_late_sessions_costs_and_conversions_change_the_days_that_they_touch(
    changed: Dmp, later: Later
) -> None:
    assert all(later.web.values())
    now = line(changed)
    came = {row["conv_id"] for row in later.web["conversions"]}
    assert now["conversions"] - later.line["conversions"] == len(came)
    assert now["conversions"] == sum(
        now[part] for part in ("attributed", "without_touchpoint", "failed", "quarantined")
    )
    spent = {
        key: cost - later.reporting.get(key, Decimal(0))
        for key, cost in cost_by_day(changed).items()
        if cost != later.reporting.get(key)
    }
    owed = sum(Decimal(str(row["cost"])) for row in later.web["session_costs"])
    assert sum(spent.values()) == owed > 0
    days = {date.fromisoformat(str(row["event_date"])) for row in later.web["session_sources"]}
    assert {day for day, _ in spent} <= days


def test_a_range_reads_its_days_again_and_leaves_all_others(
    changed: Dmp, source: psycopg.Connection[tuple]
) -> None:
    first, last = date(2024, 1, 1), date(2024, 1, 31)
    inside = "date BETWEEN '2024-01-01' AND '2024-01-31'"
    daily = ("modeled.registrations_daily", "modeled.promo_usage_daily")

    def others() -> list[pa.Table]:
        return [
            changed.tables.sql(f"SELECT * FROM {t} WHERE NOT ({inside}) ORDER BY date")
            for t in daily
        ]

    source.execute(
        """UPDATE promo_usages SET used_promo = 'edited inside'
        WHERE used_at LIKE '2024-01-15 %' AND user_id <> ''"""
    )
    source.execute(
        """UPDATE promo_usages SET used_promo = 'edited outside'
        WHERE used_at LIKE '2023-06-1_ %' AND user_id <> ''"""
    )
    source.commit()
    marks = {t: changed.tables.stamp(f"raw/{t}")["max_row_id"] for t in TABLES}
    before, rows = others(), changed.versions()
    ran = changed(
        "run", "--json", "--start", str(first), "--end", str(last), "--select", DAYS
    )  # fmt: skip
    assert ran.code == 0, ran.text
    assert others() == before
    assert {t: changed.tables.stamp(f"raw/{t}")["max_row_id"] for t in TABLES} == marks
    said = "SELECT count(*) FROM raw.promo_usages WHERE used_promo = 'edited {}'"
    assert changed.tables.scalar(said.format("inside")) > 0
    assert changed.tables.scalar(said.format("outside")) == 0
    for table in daily:
        key = table.replace(".", "/")
        assert changed.versions()[key] > rows[key]
        (entry,) = changed.tables.delta(key).history(1)
        wanted = entry["operationParameters"]["predicate"]
        assert str(first) in wanted
        assert str(last + timedelta(days=1)) in wanted


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2024-02-01", "2024-01-01", "END 2024-01-01 is before START 2024-02-01"),
        ("2024-02-30", "2024-03-01", "START=2024-02-30 is not a date; write it as 2024-01-31"),
    ],
)
def test_a_bad_range_is_refused_before_anything_runs(
    changed: Dmp, start: str, end: str, message: str
) -> None:
    before = changed.versions()
    refused = changed("run", "--start", start, "--end", end)
    assert refused.code != 0
    assert message in refused.text
    assert "java" not in refused.watched.programs
    assert changed.versions() == before


def test_a_reloaded_shop_is_refused_until_replaced(changed: Dmp, demo: Demo, folder: Path) -> None:
    small = demo_shop.generate(folder / "small", users=100, seed=3, end=date(2024, 3, 31))
    refused = changed("load-shop", str(small.export))
    assert refused.code == 1
    assert "already holds rows in users; add --replace" in refused.text
    before = changed.versions()
    assert changed("load-shop", str(small.export), "--replace").code == 0
    ran = changed("run", "--json", "--select", RAW)
    assert ran.code != 0
    (cause, *_) = ran.summary["failures"]
    assert "was built from the shop" in cause
    assert "; that shop was loaded anew since" in cause
    assert "--replace" in cause
    assert changed.versions() == before
    replaced = changed("run", "--json", "--replace", "--select", RAW)
    assert replaced.code == 0, replaced.text
    assert changed.tables.scalar("SELECT count(*) FROM raw.users") == small.rows["users"]
    logs = {"raw/abuse_predictions", "raw/abuse_decisions"}
    assert set(changed.tables.written()) == {f"raw/{table}" for table in TABLES} | logs
