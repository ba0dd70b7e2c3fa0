"""raw/meta_*: what is read of the stand-in for Meta, at first, restated, killed and refused."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from dmp_assets import settings as settings_module
from dmp_assets.demo.sandbox.meta import MetaSandbox
from dmp_assets.demo.sandbox.server import Sandbox
from dmp_assets.home import Home
from dmp_assets.platform.connect.keys import KeyRing
from dmp_assets.platform.connect.tokens import Connections
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.store import database
from dmp_assets.raw import meta as raw
from dmp_assets.sources.meta.connection import READING
from dmp_assets.sources.meta.days import Days
from tests.support.meta import (
    BERLIN,
    BUDAPEST,
    HONOLULU,
    NOW,
    REDIRECT,
    TOKYO,
    ZONES,
    Meta,
    consent_at,
    environment,
    fill,
    running,
    with_settings,
)
from tests.support.postgres import fresh_database

HISTORY = 60
OBJECTS = (raw.meta_accounts, raw.meta_campaigns, raw.meta_ad_sets, raw.meta_ads,
           raw.meta_creatives)  # fmt: skip
ALL = (*OBJECTS, raw.meta_insights)
Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def meta(tmp_path: Path) -> Iterator[Meta]:
    with running(tmp_path / "meta") as meta:
        yield meta


@pytest.fixture
def store_url(postgres: Endpoint) -> Iterator[SecretStr]:
    with fresh_database(postgres) as url:
        engine = database.engine(url)
        database.migrate(engine)
        engine.dispose()
        yield url


@pytest.fixture
def home(meta: Meta, store_url: SecretStr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A live home that reaches the stand-in, whose clock is ours too."""
    for name, value in environment(meta, tmp_path / "live", store_url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(settings_module, "Settings", with_settings())
    monkeypatch.setattr(Home, "now", lambda own: meta.now())
    return Home(tmp_path / "live").prepare("live")


@pytest.fixture
def connect(home: Home, meta: Meta, store_url: SecretStr) -> Callable[..., None]:
    """Connects an advertiser whose person ticks these accounts."""

    def connect(advertiser: str = "shop-1", accounts: tuple[str, ...] = tuple(ZONES)) -> None:
        store = database.engine(store_url)
        connections, client = Connections(store, KeyRing.of(home)), meta.oauth(READING)
        begun = connections.begin(client, advertiser, REDIRECT)
        back = consent_at(begun.url, accounts=accounts, scopes=READING)
        connections.finish(client, begun.cookie, back)
        store.dispose()

    meta.behave(long_life=10 * 365 * 86_400, data_life=10 * 365 * 86_400)
    return connect


@pytest.fixture
def sql(home: Home) -> Sql:
    """Rows that a query of the lakehouse gives."""

    def rows(query: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in Tables.of(home).sql(query).to_pylist()]

    return rows


def run(*assets: Any) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        list(assets or ALL),
        instance=dg.DagsterInstance.ephemeral(),
        resources={"lakehouse": Lakehouse(), "window": Window()},
    )


def versions(result: dg.ExecuteInProcessResult) -> dict[str, str | None]:
    """Data version of each table."""
    return {
        event.asset_key.to_user_string(): (event.materialization.tags or {}).get(
            "dagster/data_version"
        )
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }


def problems(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """Asset → whether the check that Meta was read warns."""
    return {
        check.asset_key.to_user_string(): not check.passed
        for check in result.get_asset_check_evaluations()
        if check.check_name == "meta_was_read"
    }


READ = "SELECT account_id, count(DISTINCT date) FROM raw.meta_insight_readings GROUP BY 1"
CURRENT = """
    SELECT * FROM raw.meta_insights QUALIFY row_number() OVER (
    PARTITION BY advertiser_id, account_id, ad_id, date, breakdown, cell ORDER BY read_at DESC) = 1
"""


def spent(meta: Meta, account: str, today: date) -> dict[tuple[str, str], Decimal]:
    """(ad, day) → what it spent by the stand-in's world, of days before this one."""
    rows = meta.world.rows(
        "SELECT ad_id, day, spend_cents FROM delivery JOIN ad USING (ad_id) WHERE account_id = ? "
        "AND day < ? AND day > ?",
        account, today.isoformat(), (today - timedelta(days=HISTORY)).isoformat(),
    )  # fmt: skip
    return {(row["ad_id"], row["day"]): Decimal(row["spend_cents"]) / 100 for row in rows}


def test_all_that_was_delivered_is_there_to_the_cent_and_again_costs_nothing(
    meta: Meta, connect: Callable[..., None], sql: Sql
) -> None:
    connect()
    first = run()
    for account, today in ((BERLIN, "2026-11-28"), (TOKYO, "2026-11-29"), (HONOLULU, "2026-11-28")):
        found = sql(
            f"SELECT ad_id, date::VARCHAR, spend FROM ({CURRENT}) WHERE account_id = '{account}' "
            f"AND date < '{today}' AND NOT is_idle"
        )
        wanted = spent(meta, account, date.fromisoformat(today))
        assert {(ad, day): Decimal(spend) for ad, day, spend in found} == wanted
    days = dict(
        sql("SELECT account_id, count(DISTINCT date) FROM raw.meta_insight_readings GROUP BY 1")
    )
    assert days == dict.fromkeys(ZONES, HISTORY)
    assert sql("SELECT count(*) FROM raw.meta_insights WHERE account_id = '404'") == [(0,)]
    assert sql("SELECT count(*) FROM raw.meta_insights WHERE is_idle AND spend = '0'")[0][0] > 30
    counts = sql("SELECT (SELECT count(*) FROM raw.meta_accounts), (SELECT count(*) FROM "
                 "raw.meta_campaigns), (SELECT count(*) FROM raw.meta_ad_sets), (SELECT count(*) "
                 "FROM raw.meta_ads), (SELECT count(*) FROM raw.meta_creatives)")  # fmt: skip
    assert counts == [(4, 6, 6, 12, 3)]
    asked = len(meta.calls("insights"))
    second = run()
    assert len(meta.calls("insights")) == asked
    assert versions(second) == versions(first)
    assert not any(problems(first).values()) and not any(problems(second).values())


def test_every_restated_value_is_kept_so_that_what_was_believed_can_be_asked(
    meta: Meta, connect: Callable[..., None], sql: Sql
) -> None:
    connect(accounts=(BERLIN,))
    run(raw.meta_accounts, raw.meta_insights)

    def believed(at: datetime) -> Decimal:
        rows = sql(
            "SELECT actions FROM raw.meta_insights WHERE date = '2026-11-20' "
            f"AND read_at <= TIMESTAMPTZ '{at.isoformat()}' "
            "QUALIFY row_number() OVER (PARTITION BY ad_id ORDER BY read_at DESC) = 1"
        )
        actions = [one for (text,) in rows for one in json.loads(text)]
        own = [one for one in actions if one["action_type"] == "omni_purchase"]
        return sum((Decimal(one.get("28d_click", "0")) for one in own), Decimal())

    before = believed(NOW)
    seen = [before]
    for days in (1, 10, 25):
        meta.set_clock(NOW + timedelta(days=days))
        run(raw.meta_accounts, raw.meta_insights)
        seen.append(believed(NOW + timedelta(days=days)))
    assert seen == sorted(seen) and seen[-1] > seen[0]
    assert believed(NOW) == before


def test_an_hour_later_three_days_are_read_and_what_changed_of_them_is_added(
    meta: Meta, connect: Callable[..., None], sql: Sql
) -> None:
    connect(accounts=(BERLIN,))
    run(raw.meta_accounts, raw.meta_insights)
    meta.behave()
    meta.set_clock(NOW + timedelta(hours=2))
    run(raw.meta_accounts, raw.meta_insights)
    asked = [json.loads(call["given"]["time_range"])["since"] for call in meta.calls("insights")]
    assert asked == ["2026-11-28", "2026-11-27", "2026-11-26"]
    added = sql("SELECT date::VARCHAR, count(*) FROM raw.meta_insights WHERE read_at > "
                f"TIMESTAMPTZ '{NOW.isoformat()}' GROUP BY 1")  # fmt: skip
    assert added == [("2026-11-28", 4)]  # the day that runs
    noted = sql("SELECT sum(changed_rows), count(*) FROM raw.meta_insight_readings WHERE read_at > "
                f"TIMESTAMPTZ '{NOW.isoformat()}'")  # fmt: skip
    assert noted == [(4, 3)]


def test_a_change_adds_a_row_and_what_is_not_listed_any_more_says_so(
    meta: Meta, connect: Callable[..., None], sql: Sql
) -> None:
    connect(accounts=(BERLIN, TOKYO))
    first = run(*OBJECTS)
    assert versions(run(*OBJECTS)) == versions(first)
    meta.world.add("adset", [
        row | {"daily_budget": 1_700}
        for row in meta.world.rows("SELECT * FROM adset WHERE adset_id = ?", f"{BERLIN}20")
    ])  # fmt: skip
    meta.post("untick", {"account_id": TOKYO})
    meta.pass_(60)
    run(*OBJECTS)
    history = "SELECT daily_budget FROM raw.meta_ad_sets WHERE adset_id = '10120' ORDER BY read_at"
    assert sql(history) == [("1500",), ("1700",)]
    listed = "SELECT is_listed FROM raw.meta_accounts WHERE account_id = '202' ORDER BY read_at"
    assert sql(listed) == [(True,), (False,)]
    assert sql("SELECT count(*) FROM raw.meta_campaigns WHERE account_id = '202'") == [(2,)]


def test_an_account_that_changes_its_zone_and_currency_is_read_by_the_new_ones(
    meta: Meta, connect: Callable[..., None], sql: Sql
) -> None:
    connect(accounts=(BERLIN,))
    run(raw.meta_accounts, raw.meta_insights)
    row = meta.world.rows("SELECT * FROM account WHERE account_id = ?", BERLIN)[0]
    meta.world.add("account", [row | {"timezone_name": "Asia/Tokyo", "currency": "USD"}])
    meta.set_clock(NOW + timedelta(hours=2))
    run(raw.meta_accounts, raw.meta_insights)
    accounts = "SELECT timezone_name, currency FROM raw.meta_accounts ORDER BY read_at"
    assert sql(accounts) == [("Europe/Berlin", "EUR"), ("Asia/Tokyo", "USD")]
    read = sql("SELECT timezone_name, max(date)::VARCHAR, count(*) FROM raw.meta_insight_readings "
               "GROUP BY 1 ORDER BY 2")  # fmt: skip
    assert read == [("Europe/Berlin", "2026-11-28", HISTORY), ("Asia/Tokyo", "2026-11-29", 3)]
    kept = sql("SELECT account_currency, min(date)::VARCHAR FROM raw.meta_insights "
               "WHERE NOT is_idle GROUP BY 1 ORDER BY 2")  # fmt: skip
    assert kept == [("EUR", "2026-09-30"), ("USD", "2026-11-27")]


@pytest.mark.parametrize(
    "refusal",
    [{"code": 80_000, "subcode": 2_446_079, "minutes": 60}, {"code": 200, "status": 403},
     {"code": 100, "blames": ("level",)}],
)  # fmt: skip
def test_an_account_that_cannot_be_read_stops_no_other_and_is_read_by_the_next_run(
    meta: Meta, connect: Callable[..., None], sql: Sql, refusal: dict[str, Any]
) -> None:
    connect(accounts=(BERLIN, TOKYO))
    life = {"long_life": 10 * 365 * 86_400, "data_life": 10 * 365 * 86_400}
    meta.behave(**life, refusals=[{"path": f"act_{TOKYO}/insights", "after": 3, "times": 99,
                                   **refusal}])  # fmt: skip
    result = run(raw.meta_accounts, raw.meta_insights)
    assert problems(result)["raw/meta_insights"]
    assert dict(sql(READ)) == {BERLIN: HISTORY, TOKYO: 3}
    meta.behave(**life)
    if "minutes" in refusal:  # the account's queue still holds
        assert problems(run(raw.meta_accounts, raw.meta_insights))["raw/meta_insights"]
        return
    assert not problems(run(raw.meta_accounts, raw.meta_insights))["raw/meta_insights"]
    assert dict(sql(READ)) == {BERLIN: HISTORY, TOKYO: HISTORY}
    assert len(meta.calls(f"act_{BERLIN}/insights")) == 0


def test_a_token_that_is_revoked_in_the_middle_keeps_what_was_read(
    meta: Meta, connect: Callable[..., None], sql: Sql
) -> None:
    connect(accounts=(BERLIN,))
    meta.behave(refusals=[{"path": "insights", "after": 5, "times": 99, "code": 190,
                           "subcode": 458}])  # fmt: skip
    assert problems(run(raw.meta_accounts, raw.meta_insights))["raw/meta_insights"]
    assert sql("SELECT count(*) FROM raw.meta_insight_readings") == [(5,)]
    result = run(raw.meta_accounts, raw.meta_insights)  # nobody is connected any more
    assert not any(problems(result).values())
    assert sql("SELECT count(*) FROM raw.meta_insight_readings") == [(5,)]


def test_breakdowns_are_read_besides(
    meta: Meta, connect: Callable[..., None], sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_META_BREAKDOWNS", '["age,gender"]')
    connect(accounts=(BERLIN,))
    run(raw.meta_accounts, raw.meta_insights)
    sums = sql(f"SELECT breakdown, sum(spend::DECIMAL(18, 2)) FROM ({CURRENT}) GROUP BY 1")
    assert len(sums) == 2 and sums[0][1] == sums[1][1]
    cells = sql("SELECT count(DISTINCT cell) FROM raw.meta_insights WHERE breakdown <> ''")
    assert cells == [(3,)]


def test_a_change_of_the_type_of_action_is_warned_of(
    meta: Meta, connect: Callable[..., None], sql: Sql, capsys: pytest.CaptureFixture[str]
) -> None:
    connect(accounts=(BERLIN,))
    run(raw.meta_accounts, raw.meta_insights)
    meta.behave(purchase_types=["purchase"])
    meta.set_clock(NOW + timedelta(hours=2))
    run(raw.meta_accounts, raw.meta_insights)
    assert "purchases are taken from purchase now, and were from omni_purchase" in (
        capsys.readouterr().err
    )
    kinds = sql("SELECT DISTINCT purchase_type FROM raw.meta_insight_readings "
                "WHERE purchase_type IS NOT NULL ORDER BY 1")  # fmt: skip
    assert kinds == [("omni_purchase",), ("purchase",)]


def test_a_system_users_token_of_the_settings_needs_no_store(
    meta: Meta, home: Home, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DMP_STORE_URL")
    monkeypatch.setenv("DMP_META_SYSTEM_USER_TOKEN", meta.token(accounts=(BERLIN,)))
    monkeypatch.setenv("DMP_META_ADVERTISER_ID", "own-shop")
    assert not any(problems(run(*OBJECTS)).values())
    assert sql("SELECT DISTINCT advertiser_id, account_id FROM raw.meta_ads") == [
        ("own-shop", BERLIN)
    ]


class WithStore:
    """What tells a sandbox home of a store beside it."""

    name = prefix = "store"

    def __init__(self, url: SecretStr) -> None:
        self._url = url

    def settings(self, base_url: str) -> dict[str, Any]:
        return {"store_url": self._url.get_secret_value()}

    def routes(self) -> list[Any]:
        return []

    def messages(self) -> list[dict[str, Any]]:
        return []

    def page(self) -> str:
        return ""


def test_in_a_sandbox_home_time_stands_still_and_states_have_an_order_all_the_same(
    store_url: SecretStr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_module, "Settings", with_settings())
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DMP_META_HISTORY_DAYS", str(HISTORY))
    home = Home(tmp_path / "home").prepare("sandbox")
    made: list[MetaSandbox] = []

    def make(root: Path) -> MetaSandbox:
        made.append(MetaSandbox(root))
        return made[0]

    with Sandbox(home, (make, lambda _: WithStore(store_url))).running() as endpoint:
        world = made[0].world
        world.set_clock(home.now().timestamp(), runs=False)
        fill(world, accounts=(BERLIN,), now=home.now())
        meta = Meta(endpoint.url, endpoint.settings, world)
        store = database.engine(store_url)
        connections, client = Connections(store, KeyRing.of(home)), meta.oauth(READING)
        begun = connections.begin(client, "shop-1", REDIRECT)
        back = consent_at(begun.url, accounts=(BERLIN,), scopes=READING)
        connections.finish(client, begun.cookie, back)
        store.dispose()
        first = run()
        assert versions(run()) == versions(first) and not any(problems(first).values())
        world.add("campaign", [
            row | {"name": "Another"}
            for row in world.rows("SELECT * FROM campaign WHERE campaign_id = ?", f"{BERLIN}10")
        ])  # fmt: skip
        assert run(*OBJECTS).success
    names = Tables.of(home).sql(
        "SELECT name FROM raw.meta_campaigns WHERE campaign_id = '10110' ORDER BY read_at"
    )
    assert names["name"].to_pylist() == ["Campaign 0", "Another"]
    days = Tables.of(home).scalar("SELECT count(DISTINCT date) FROM raw.meta_insight_readings")
    assert days == HISTORY


def test_an_account_without_anything_and_a_home_without_advertisers_have_empty_tables(
    home: Home, connect: Callable[..., None], sql: Sql
) -> None:
    first = run()
    assert sql("SELECT count(*) FROM raw.meta_accounts") == [(0,)]
    assert versions(run()) == versions(first)
    connect(accounts=(BUDAPEST,))
    run()
    assert sql("SELECT count(*) FROM raw.meta_accounts") == [(1,)]
    assert sql("SELECT count(*), max(ads) FROM raw.meta_insight_readings") == [(HISTORY, 0)]


# kill and resume ---------------------------------------------------------------------------------
KILLED = """
import os
from datetime import datetime
import dagster as dg
from dmp_assets import settings
from dmp_assets.home import Home
from tests.support.meta import with_settings
settings.Settings = with_settings()
Home.now = lambda own: datetime.fromisoformat(os.environ["TEST_NOW"])
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.window import Window
from dmp_assets.raw import meta as raw
dg.materialize([raw.meta_accounts, raw.meta_insights], instance=dg.DagsterInstance.ephemeral(),
               resources={"lakehouse": Lakehouse(), "window": Window()})
"""


def reports(meta: Meta) -> list[str]:
    """The ranges that were asked for by reports, in order."""
    return [call["given"]["time_range"] for call in meta.calls("insights", "POST")]


def days_of(text: str) -> Iterator[date]:
    asked = json.loads(text)
    first, last = (date.fromisoformat(asked[name]) for name in ("since", "until"))
    return iter(Days(first, last))


def test_a_back_fill_that_is_killed_goes_on_and_does_not_ask_again_for_what_is_there(
    meta: Meta, home: Home, connect: Callable[..., None], sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("DMP_META_HISTORY_DAYS", "450")
    connect(accounts=(BERLIN,))
    meta.faults({"method": "insights", "kind": "slow", "seconds": 0.15, "times": 60})
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED], start_new_session=True,
        env={**os.environ, "TEST_NOW": NOW.isoformat(), "PYTHONPATH": os.getcwd()},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while len(reports(meta)) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    meta.faults()
    before = reports(meta)
    assert 4 <= len(before) < 14
    there = {day for (day,) in sql("SELECT date FROM raw.meta_insight_readings")}
    assert 29 <= len(there) < 450
    meta.behave()
    run(raw.meta_accounts, raw.meta_insights)
    again = {day for text in reports(meta) for day in days_of(text)}
    assert not again & there
    days = sql("SELECT count(*), count(DISTINCT date) FROM raw.meta_insight_readings")
    assert days == [(450, 450)]
    numbers = sql("SELECT count(*), count(DISTINCT _row_id), max(_row_id) + 1 FROM "
                  "raw.meta_insights")  # fmt: skip
    assert len(set(numbers[0])) == 1
    keys = "ad_id, date, breakdown, cell"
    assert sql(f"SELECT count(*) - count(DISTINCT ({keys})) FROM raw.meta_insights") == [(0,)]


def test_the_clock_of_the_tests_is_the_stand_ins(home: Home) -> None:
    assert home.now() == NOW and datetime.now(UTC) != NOW
