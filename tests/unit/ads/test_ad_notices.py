"""ml/ad_notices over small tables: each kind that they can show, and what there is no data for."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.ads.report.notice_delivery import stuck
from dmp_assets.ads.tables import ad_notices
from dmp_assets.ads.tables.ad_notices import NOTICES
from dmp_assets.ads.tables.notice_findings import DEPS
from dmp_assets.home import Home
from dmp_assets.platform.faces.lake import declared
from dmp_assets.platform.lake.columns import arrow_schema
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.store import database
from dmp_assets.platform.store.schema import service_connection
from tests.support.lake_writes import overwrite

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 6, 10, 8, tzinfo=UTC)  # 10:00 in Berlin
TODAY = date(2026, 6, 10)
DAYS = 70
Rows = dict[str, list[dict[str, Any]]]


def spend_of(day: date) -> Decimal:
    """Quiet: a weekday's level and a little noise."""
    noise = np.random.default_rng(day.toordinal()).normal(0, 0.05)
    return Decimal(f"{100 * (1 + day.weekday() / 10) * float(np.exp(noise)):.4f}")


@dataclass
class Lake:
    """A home with the tables that notices are found in; every table is there, most are empty."""

    home: Home
    monkeypatch: pytest.MonkeyPatch
    rows: Rows = field(default_factory=dict)

    @property
    def tables(self) -> Tables:
        return Tables.of(self.home)

    def account(
        self,
        advertiser: str = "acme",
        account: str = "1",
        zone: str = "Europe/Berlin",
        *,
        last: date = TODAY - timedelta(days=1),
        read: bool = True,
        clock: time = time(6),
        change: Callable[[dict[str, Any]], None] = lambda row: None,
    ) -> None:
        """An account that delivered every day up to `last`, each read on the next morning."""
        whose = {"advertiser_id": advertiser, "account_id": account}
        self.add("modeled/ad_accounts", {
            **whose, "name": f"Account {account}", "currency": "EUR", "timezone": zone,
            "account_status": "1", "is_listed": True,
        })  # fmt: skip
        for day in (last - timedelta(days=n) for n in range(DAYS)):
            row = {
                **whose, "ad_id": "a1", "campaign_id": "c1", "campaign_name": "Spring",
                "date": day, "spend": spend_of(day), "clicks": 200, "purchases": 40,
                "purchase_value": Decimal(400), "is_open": (TODAY - day).days <= 28,
            }  # fmt: skip
            change(row)
            self.add("modeled/ad_performance_daily", row)
            if read:
                self.read(day, day + timedelta(days=1), clock, **whose)

    def read(self, day: date, at: date, clock: time = time(6), **whose: Any) -> None:
        self.add("raw/meta_insight_readings", {
            **whose, "date": day, "breakdown": "", "read_at": datetime.combine(at, clock, UTC),
        })  # fmt: skip

    def add(self, key: str, *rows: dict[str, Any]) -> None:
        self.rows.setdefault(key, []).extend(rows)

    def look(self, now: datetime = NOW) -> list[dict[str, Any]]:
        """Write the tables and look; everything that was found so far."""
        self.monkeypatch.setattr(Home, "now", lambda own: now)
        known: Mapping[str, Any] = declared()
        for key in DEPS:
            columns = known[key]
            rows = [{name: row.get(name) for name in columns} for row in self.rows.get(key, [])]
            table = pa.Table.from_pylist(rows, schema=arrow_schema(columns))
            overwrite(self.tables, key, table)
        assert dg.materialize(
            [ad_notices.ad_notices],
            instance=dg.DagsterInstance.ephemeral(),
            resources={"lakehouse": Lakehouse(), "window": Window()},
        ).success
        return list(self.tables.sql("SELECT * FROM ml.ad_notices ORDER BY kind, day").to_pylist())

    def no_data(self) -> dict[tuple[str, str], str]:
        found = self.tables.sql("SELECT * FROM ml.ad_notice_coverage WHERE no_data IS NOT NULL")
        return {(row["account_id"], row["kind"]): row["no_data"] for row in found.to_pylist()}


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DMP_SHOPIFY_SHOPS", '{"some-shop.myshopify.com": "acme"}')
    return Lake(Home(tmp_path / "home").prepare("live"), monkeypatch)


def kinds(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["kind"], row["subject"]) for row in found]


# nothing, once -----------------------------------------------------------------------------------
def test_where_nothing_is_wrong_nothing_is_found_and_what_has_no_data_is_said(lake: Lake) -> None:
    lake.account()
    assert lake.look() == []
    said = lake.no_data()
    assert said[("1", "pacing")] == "no campaign has a budget for its whole life"
    assert said[("1", "budget_used_up")] == "no budget a day is set at the platform"
    assert "14 closed days" in said[("1", "restated_unusually")]
    assert said[("1", "throttled_long")] == "connections are not known"
    assert ("1", "spend_spike") not in said and ("1", "data_late") not in said


def test_without_accounts_and_days_nothing_is_said(lake: Lake) -> None:
    assert lake.look() == [] and lake.no_data() == {}
    lake.add("modeled/ad_accounts", {"advertiser_id": "acme", "account_id": "1",
                                     "timezone": "Mars/Olympus", "is_listed": False})  # fmt: skip
    assert lake.look() == []
    assert lake.no_data()[("1", "spend_spike")] == "no day was delivered"


def test_what_is_found_is_there_once_and_its_day_is_not_judged_again(lake: Lake) -> None:
    def spike(row: dict[str, Any]) -> None:
        if row["date"] == TODAY - timedelta(days=1):
            row["spend"] *= 5

    lake.account(change=spike)
    found = lake.look()
    assert kinds(found) == [
        ("cost_per_order_spike", "account:1"), ("spend_spike", "account:1"),
        ("spend_spike", "campaign:c1"),
    ]  # fmt: skip
    one = found[1]
    assert one["figure"] == 5 * spend_of(TODAY - timedelta(days=1))
    assert one["low"] < 5 * one["high"] / 4 < one["figure"] and one["currency"] == "EUR"
    assert (one["day"], one["since"]) == (TODAY - timedelta(days=1),) * 2
    for later in (timedelta(0), timedelta(hours=3), timedelta(hours=10)):
        assert lake.look(NOW + later) == found


def test_days_that_were_missed_are_caught_up_on(lake: Lake) -> None:
    lake.account()
    assert lake.look(NOW - timedelta(days=3)) == []
    for row in lake.rows["modeled/ad_performance_daily"]:
        if row["date"] == TODAY - timedelta(days=2):
            row["spend"] *= 5
    found = lake.look()
    assert {row["day"] for row in found} == {TODAY - timedelta(days=2)}


def test_two_advertisers_with_the_same_ids_stay_apart(lake: Lake) -> None:
    def spike(row: dict[str, Any]) -> None:
        if row["date"] == TODAY - timedelta(days=1):
            row["spend"] *= 5

    lake.account("acme")
    lake.account("bolt", change=spike)
    assert {row["advertiser_id"] for row in lake.look()} == {"bolt"}


# tracking ----------------------------------------------------------------------------------------
def test_clicks_without_purchases_are_found_with_since_when(lake: Lake) -> None:
    def broken(row: dict[str, Any]) -> None:
        if row["date"] >= TODAY - timedelta(days=2):
            row["purchases"] = 0

    lake.account(change=broken)
    found = {row["kind"]: row for row in lake.look()}
    assert found.keys() >= {"tracking_broken", "cost_per_order_spike"}
    one = found["tracking_broken"]
    assert (one["figure"], one["since"]) == (0, TODAY - timedelta(days=2)) and one["low"] > 1


def test_days_of_which_claims_are_unknown_are_no_days_without_purchases(lake: Lake) -> None:
    def untold(row: dict[str, Any]) -> None:
        if row["date"] >= TODAY - timedelta(days=2):
            row["purchases"] = row["purchase_value"] = None

    lake.account(change=untold)
    assert lake.look() == []


# delays ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("zone", "now", "is_late"),
    [
        ("Europe/Berlin", NOW, True),
        ("Europe/Berlin", NOW - timedelta(hours=2), False),
        ("America/Los_Angeles", NOW, False),
        ("America/Los_Angeles", NOW + timedelta(hours=9), True),
        ("Pacific/Kiritimati", NOW - timedelta(hours=12), True),
    ],
)
def test_yesterday_is_late_by_the_accounts_own_morning(
    lake: Lake, zone: str, now: datetime, is_late: bool
) -> None:
    local = now.astimezone(ZoneInfo(zone)).date()
    lake.account(zone=zone, last=local - timedelta(days=2), clock=time(12))
    found = [row for row in lake.look(now) if row["kind"] == "data_late"]
    assert bool(found) is is_late
    if found:
        assert (found[0]["figure"], found[0]["unit"]) == (1, "days")
        assert found[0]["since"] == local - timedelta(days=1)


def test_an_account_from_files_is_never_late_and_judged_all_the_same(lake: Lake) -> None:
    def spike(row: dict[str, Any]) -> None:
        if row["date"] == TODAY - timedelta(days=3):
            row["spend"] *= 5

    lake.account(last=TODAY - timedelta(days=3), read=False, change=spike)
    found = {kind for kind, _ in kinds(lake.look())}
    assert "spend_spike" in found and "data_late" not in found
    assert "files" in lake.no_data()[("1", "data_late")]


def test_a_day_that_changed_more_than_its_age_explains_is_found(lake: Lake) -> None:
    lake.account(read=False)
    whose = {"advertiser_id": "acme", "account_id": "1", "ad_id": "a1", "breakdown": "",
             "cell": "", "purchase_type": "purchase"}  # fmt: skip
    first = TODAY - timedelta(days=DAYS)
    for n in range(DAYS):
        day = first + timedelta(days=n)
        for age, count in ((0, 70), (1, 90), (3, 100)):
            at = day + timedelta(days=age + 1)
            if at <= TODAY:
                lake.add("raw/meta_insights", _told(whose, day, at, count))
        for age in range(30):
            if day + timedelta(days=age + 1) <= TODAY:
                lake.read(day, day + timedelta(days=age + 1), advertiser_id="acme",
                          account_id="1")  # fmt: skip
    assert [row for row in lake.look() if row["kind"] == "restated_unusually"] == []
    old = TODAY - timedelta(days=10)
    lake.add("raw/meta_insights", _told(whose, old, TODAY, 55))
    [found] = [row for row in lake.look() if row["kind"] == "restated_unusually"]
    assert (found["day"], found["figure"], found["subject"]) == (old, 55, "account:1")
    assert 85 < found["low"] < 100


def _told(whose: dict[str, Any], day: date, at: date, count: int) -> dict[str, Any]:
    actions = f'[{{"action_type":"purchase","value":"{count}"}}]'
    read_at = datetime.combine(at, time(6), UTC)
    return {**whose, "date": day, "read_at": read_at, "actions": actions}


# budgets -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("spent", "clock", "is_found"), [(96, 10, True), (96, 19, False),
                                                        (80, 10, False)])  # fmt: skip
def test_a_budget_that_is_gone_before_the_evening_is_found(
    lake: Lake, spent: int, clock: int, is_found: bool
) -> None:
    lake.account()
    lake.add("modeled/ad_performance_daily", {
        "advertiser_id": "acme", "account_id": "1", "ad_id": "a1", "campaign_id": "c1",
        "campaign_name": "Spring", "date": TODAY, "spend": Decimal(spent), "clicks": 1,
        "purchases": 1, "is_open": True,
    })  # fmt: skip
    lake.read(TODAY, TODAY, time(clock), advertiser_id="acme", account_id="1")
    lake.add("raw/meta_campaigns", campaign(daily_budget="10000"))
    found = [row for row in lake.look(NOW.replace(hour=20)) if row["kind"] == "budget_used_up"]
    assert bool(found) is is_found
    if found:
        assert (found[0]["figure"], found[0]["day"]) == (Decimal("0.5000"), TODAY)


@pytest.mark.parametrize(("usual", "is_found"), [(10, False), (16, True)])
def test_a_budget_that_is_gone_as_early_as_ever_is_not_found(
    lake: Lake, usual: int, is_found: bool
) -> None:
    lake.account()
    whose = {"advertiser_id": "acme", "account_id": "1"}
    ad = {**whose, "ad_id": "a1", "campaign_id": "c1", "breakdown": "", "cell": ""}
    for day in (TODAY - timedelta(days=n) for n in range(1, 12)):
        lake.rows["raw/meta_insight_readings"].insert(0, {
            **whose, "date": day, "breakdown": "",
            "read_at": datetime.combine(day, time(usual), UTC),
        })  # fmt: skip
        for clock, spent in ((usual - 4, "40"), (usual, "97")):
            at = datetime.combine(day, time(clock), UTC)
            lake.add("raw/meta_insights", {**ad, "date": day, "spend": spent, "read_at": at})
    lake.add("modeled/ad_performance_daily", {
        **whose, "ad_id": "a1", "campaign_id": "c1", "date": TODAY, "spend": Decimal(96),
        "clicks": 1, "purchases": 1, "is_open": True,
    })  # fmt: skip
    lake.read(TODAY, TODAY, time(10), **whose)
    lake.add("raw/meta_campaigns", campaign(daily_budget="10000"))
    found = [row for row in lake.look(NOW.replace(hour=20)) if row["kind"] == "budget_used_up"]
    assert bool(found) is is_found
    if found:
        assert found[0]["low"] == Decimal("0.7500")  # 18:00 in Berlin


def test_the_budgets_of_ad_sets_are_their_campaigns(lake: Lake) -> None:
    lake.account()
    lake.add("modeled/ad_performance_daily", {
        "advertiser_id": "acme", "account_id": "1", "ad_id": "a1", "campaign_id": "c1",
        "date": TODAY, "spend": Decimal(96), "clicks": 1, "purchases": 1, "is_open": True,
    })  # fmt: skip
    lake.read(TODAY, TODAY, time(10), advertiser_id="acme", account_id="1")
    lake.add("raw/meta_campaigns", campaign())
    for adset, status, budget in (("s1", "ACTIVE", "6000"), ("s2", "ACTIVE", "4000"),
                                  ("s3", "PAUSED", "9000")):  # fmt: skip
        lake.add("raw/meta_ad_sets", {
            "advertiser_id": "acme", "account_id": "1", "adset_id": adset, "campaign_id": "c1",
            "effective_status": status, "daily_budget": budget, "is_listed": True,
            "read_at": NOW,
        })  # fmt: skip
    assert ("budget_used_up", "campaign:c1") in kinds(lake.look())


def campaign(**given: Any) -> dict[str, Any]:
    return {
        "advertiser_id": "acme", "account_id": "1", "campaign_id": "c1", "name": "Spring",
        "effective_status": "ACTIVE", "is_listed": True, "read_at": NOW - timedelta(hours=3),
    } | given  # fmt: skip


@pytest.mark.parametrize(("budget", "is_found"), [("430000", False), ("200000", True),
                                                  ("nonsense", False)])  # fmt: skip
def test_a_flight_that_will_miss_its_budget_is_found(
    lake: Lake, budget: str, is_found: bool
) -> None:
    lake.account()
    starts, ends = TODAY - timedelta(days=16), TODAY + timedelta(days=16)
    lake.add("raw/meta_campaigns", campaign(
        lifetime_budget=budget, start_time=f"{starts}T00:00:00+0200",
        stop_time=f"{ends}T23:59:59+0200",
    ))  # fmt: skip
    found = [row for row in lake.look() if row["kind"] == "pacing"]
    assert bool(found) is is_found
    if found:
        assert 3_500 < found[0]["figure"] < 5_000 and found[0]["since"] == starts


# events ------------------------------------------------------------------------------------------
def test_a_rejected_ad_is_found_since_it_was_rejected_and_not_one_that_is_shown(
    lake: Lake,
) -> None:
    lake.account()
    whose = {"advertiser_id": "acme", "account_id": "1"}
    for ad, statuses in (("a1", ["DISAPPROVED", "ACTIVE", "DISAPPROVED", "DISAPPROVED"]),
                         ("a2", ["DISAPPROVED", "ACTIVE"]), ("a3", ["ACTIVE"])):  # fmt: skip
        for n, status in enumerate(statuses):
            at = datetime(2026, 6, 1 + n, 8, tzinfo=UTC)
            lake.add("raw/meta_ads", {**whose, "ad_id": ad, "effective_status": status,
                                      "is_listed": True, "read_at": at})  # fmt: skip
        lake.add("modeled/ads", {**whose, "ad_id": ad, "ad_name": f"Ad {ad}", "is_listed": True,
                                 "effective_status": statuses[-1]})  # fmt: skip
    [found] = lake.look()
    assert (found["kind"], found["subject"], found["subject_name"]) == (
        "ad_rejected", "ad:a1", "Ad a1",
    )  # fmt: skip
    assert (found["since"], found["day"], found["high"]) == (date(2026, 6, 3), TODAY, 0)


@contextmanager
def connections(lake: Lake, url: SecretStr, *given: dict[str, Any]) -> Iterator[None]:
    lake.monkeypatch.setenv("DMP_STORE_URL", url.get_secret_value())
    with database.opened(url) as store, store.begin() as connection:
        for one in given:
            connection.execute(service_connection.insert().values(
                connection_id=sa.func.gen_random_uuid(), scopes=[],
                consented_at=NOW - timedelta(days=60), **{"state": "active"} | one,
            ))  # fmt: skip
    yield


def test_access_that_ends_and_accounts_that_are_held_up_are_found(
    lake: Lake, store_url: SecretStr
) -> None:
    day = timedelta(days=1)
    lake.account("acme")
    lake.account("bolt", "2")
    lake.account("calm", "3")
    with connections(
        lake, store_url,
        {"service": "Meta", "account": "acme", "consent_ends_at": NOW + 5 * day,
         "last_success_at": NOW},
        {"service": "Meta", "account": "bolt", "expires_at": NOW + 40 * day,
         "last_success_at": NOW - 2 * day, "last_failure_at": NOW,
         "last_failure_kind": "throttled"},
        {"service": "Meta", "account": "calm", "consent_ends_at": NOW + 80 * day,
         "last_success_at": NOW, "last_failure_at": NOW - day, "last_failure_kind": "throttled"},
        {"service": "Shopify", "account": "some-shop.myshopify.com", "expires_at": NOW,
         "state": "needs_consent", "last_failure_at": NOW - 3 * day},
    ):  # fmt: skip
        found = lake.look()
    assert {(row["advertiser_id"], row["kind"], int(row["figure"])) for row in found} == {
        ("acme", "access_expiring", 5), ("acme", "access_expiring", 0),
        ("bolt", "throttled_long", 172_800),
    }  # fmt: skip


def test_without_its_store_the_tables_are_judged_and_connections_are_not(lake: Lake) -> None:
    lake.monkeypatch.setenv("DMP_STORE_URL", "postgresql://u:p@127.0.0.1:1/store")
    lake.account()
    assert lake.look() == []
    assert lake.no_data()[("1", "throttled_long")] == "connections are not known"


def test_a_job_that_takes_far_longer_than_usual_is_found_for_every_advertiser() -> None:
    began = datetime(2026, 6, 10, 4, 30, tzinfo=UTC)
    with dg.DagsterInstance.ephemeral() as instance:
        for n in range(8):
            at = began - timedelta(days=n + 1)
            _run(instance, "daily_refresh", at, at + timedelta(minutes=10 + n % 3))
        _run(instance, "daily_refresh", began, None)
        _run(instance, "another_job", began - timedelta(days=3), None)
        assert stuck(instance, began + timedelta(minutes=20), ["acme"]) == []
        found = stuck(instance, began + timedelta(hours=2), ["acme", "bolt"])
    assert [(row["advertiser_id"], row["kind"], row["subject"]) for row in found] == [
        ("acme", "job_stuck", "job:daily_refresh"), ("bolt", "job_stuck", "job:daily_refresh"),
    ]  # fmt: skip
    assert found[0]["figure"] == 7_200 > found[0]["high"] > 1_800


def _run(instance: dg.DagsterInstance, job: str, began: datetime, ended: datetime | None) -> None:
    """A run of a job as Dagster's history has it."""
    run = dg.DagsterRun(job_name=job, run_id=f"{job}-{began:%Y%m%d}")
    instance.run_storage.add_run(run)
    for kind, at in (("STARTED", began), ("SUCCESS", ended)):
        if at is None:
            continue
        event_type = dg.DagsterEventType[f"RUN_{'START' if kind == 'STARTED' else kind}"]
        event = dg.DagsterEvent(event_type_value=event_type.value, job_name=job)
        instance.run_storage.handle_run_event(run.run_id, event, update_timestamp=at)


def test_the_table_is_made_once_there_is_nothing_yet(lake: Lake) -> None:
    lake.look()
    assert lake.tables.exists(NOTICES)
