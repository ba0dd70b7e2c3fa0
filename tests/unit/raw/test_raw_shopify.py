"""raw/shopify_*: what is landed of shops at the first reading, and what the later ones add."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.demo.sandbox.shopify_world import text_of
from dmp_assets.home import Home
from dmp_assets.platform.connect import inbox
from dmp_assets.platform.connect.inbox import Webhook
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.privacy import suppression
from dmp_assets.platform.store import database
from dmp_assets.raw import shopify as raw
from dmp_assets.sources.shopify.access import SERVICE
from dmp_assets.sources.shopify.settings import ShopifySettings
from dmp_assets.sources.shopify.tables import CUSTOMER
from tests.support.materialized import failed_checks, materialized
from tests.support.shopify import ORDERS, OTHER, SHOP, Service, refill, running

Query = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def _shopify(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("shopify")) as service:
        yield service


@pytest.fixture
def service(_shopify: Service) -> Service:
    """The stand-in at the machine's time, with the small shop as it was filled."""
    refill(_shopify)
    _shopify.behave(clock=None)
    return _shopify


@pytest.fixture
def settings(service: Service) -> ShopifySettings:
    """Both shops, of two advertisers, by the app's own credentials."""
    assert service.settings.shopify_shops == {SHOP: "acme", OTHER: "other"}
    return service.with_settings(shopify_all_orders=True)


@pytest.fixture
def shops(
    settings: ShopifySettings,
    tmp_path: Path,
    store_url: SecretStr,
    monkeypatch: pytest.MonkeyPatch,
) -> Home:
    """A live home that reads them."""
    home = Home(tmp_path / "live").prepare("live")
    monkeypatch.setenv("DMP_HOME", str(home.root))
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    monkeypatch.setenv("DMP_STORE_URL", store_url.get_secret_value())
    monkeypatch.setattr("dmp_assets.raw.shopify.shopify_settings", lambda home: settings)
    return home


@pytest.fixture
def query(shops: Home) -> Query:
    def run(text: str) -> list[tuple[Any, ...]]:
        table = Tables.of(shops, shops.settings()).sql(text)
        return [tuple(row.values()) for row in table.to_pylist()]

    return run


def read() -> Any:
    """A run of what is read with orders."""
    return materialized(raw.shopify_orders)


def test_the_first_reading_brings_everything(shops: Home, query: Query) -> None:
    materialized(raw.shopify_orders, raw.shopify_variants)
    counts = {
        table: query(f"SELECT count(*) FROM raw.{table}")[0][0]
        for table in (raw.ORDERS, *raw.WITH_ORDERS, raw.VARIANTS)
    }
    assert counts == {
        "shopify_orders": ORDERS + 1,
        "shopify_order_lines": 2 * ORDERS + 10,
        "shopify_transactions": ORDERS + 1,
        "shopify_refunds": 3,
        "shopify_refund_lines": 4,
        "shopify_journeys": ORDERS - 1,
        "shopify_deleted_orders": 0,
        "shopify_shops": 2,
        "shopify_variants": 3,
    }
    zones = query("SELECT shop, timezone, currency FROM raw.shopify_shops ORDER BY shop DESC")
    assert zones == [(SHOP, "Europe/Berlin", "EUR"), (OTHER, "Asia/Tokyo", "JPY")]
    assert query("SELECT DISTINCT advertiser_id, shop FROM raw.shopify_orders ORDER BY 1") == [
        ("acme", SHOP),
        ("other", OTHER),
    ]
    ((total, shown, currency, refunded),) = query(
        "SELECT total, presentment_total, presentment_currency, refunded "
        "FROM raw.shopify_orders WHERE order_id = '1007'"
    )
    assert (total, shown, currency, refunded) == ("55.00", "60.50", "USD", "0")


def test_refunds_equal_a_recount_of_the_shops_own(service: Service, query: Query) -> None:
    read()
    ours = query(
        "SELECT refund_id, order_id, refunded::DECIMAL(18, 2) FROM raw.shopify_refunds ORDER BY 1"
    )
    theirs = service.world.rows("SELECT refund_id, order_id, total FROM refund ORDER BY 1")
    assert [(a, b, str(c)) for a, b, c in ours] == [
        (str(row["refund_id"]), str(row["order_id"]), row["total"]) for row in theirs
    ]
    kinds = query("SELECT kind, cause, amount FROM raw.shopify_refund_lines WHERE refund_id='9006'")
    assert kinds == [("adjustment", "CUSTOMER", "-5.00")]


def test_nothing_new_adds_nothing_and_leaves_the_data_version(shops: Home, query: Query) -> None:
    materialized(raw.shopify_orders, raw.shopify_variants)
    tables = Tables.of(shops, shops.settings())
    keys = [f"raw/{name}" for name in (raw.ORDERS, *raw.WITH_ORDERS, raw.VARIANTS)]
    before = {key: tables.stamp(key)["data_version"] for key in keys}
    rows = query("SELECT count(*) FROM raw.shopify_orders")
    materialized(raw.shopify_orders, raw.shopify_variants)
    assert {key: tables.stamp(key)["data_version"] for key in keys} == before
    assert query("SELECT count(*) FROM raw.shopify_orders") == rows


def test_every_state_of_an_order_is_kept(service: Service, query: Query) -> None:
    read()
    service.change({"order_id": 1002, "set": {"tags": '["late"]', "current_total": "40.00"}})
    refund = {"refund_id": 9010, "order_id": 1001, "total": "12.00"}
    service.world.fill("refund", [refund | {"created_at": text_of(datetime.now(UTC))}])
    service.change({"order_id": 1001})
    read()
    states = query(
        "SELECT current_total FROM raw.shopify_orders WHERE order_id = '1002' ORDER BY _row_id"
    )
    assert states == [("55.00",), ("40.00",)]
    assert query("SELECT refund_id FROM raw.shopify_refunds WHERE order_id = '1001'") == [("9010",)]
    assert query("SELECT count(*) FROM raw.shopify_orders") == [(ORDERS + 3,)]
    assert query("SELECT count(DISTINCT _row_id) FROM raw.shopify_orders") == [(ORDERS + 3,)]


def test_a_cost_that_comes_back_is_a_new_state(service: Service, query: Query) -> None:
    materialized(raw.shopify_variants)
    for cost in ("11.00", "9.40", "9.40"):
        with service.world.opened() as db:
            db.execute("UPDATE variant SET unit_cost = ? WHERE variant_id = 11", (cost,))
        materialized(raw.shopify_variants)
    costs = query(
        "SELECT unit_cost FROM raw.shopify_variants WHERE variant_id='11' ORDER BY _row_id"
    )
    assert costs == [("9.40",), ("11.00",), ("9.40",)]


def test_a_journey_that_was_not_ready_comes_later(service: Service, query: Query) -> None:
    lately = text_of(datetime.now(UTC) - timedelta(days=1))
    service.change({"order_id": 1011, "set": {"created_at": lately}})
    service.behave(clock=None, ready=False)
    read()
    assert query("SELECT DISTINCT is_ready FROM raw.shopify_journeys") == [("false",)]
    service.behave(clock=None, ready=True)
    read()
    states = query(
        "SELECT is_ready, last_utm_campaign FROM raw.shopify_journeys WHERE order_id = '1011' "
        "ORDER BY _row_id"
    )
    assert states == [("false", None), ("true", "c1")]


def test_a_deleted_order_is_marked_once_a_week(
    service: Service, shops: Home, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    lately = text_of(now - timedelta(days=9))
    service.change({"order_id": 1001, "set": {"created_at": lately}},
                   {"order_id": 1002, "set": {"created_at": lately}})  # fmt: skip
    monkeypatch.setattr(Home, "now", lambda self: now - timedelta(days=8))
    read()
    service.change({"order_id": 1001, "delete": True})
    monkeypatch.setattr(Home, "now", lambda self: now - timedelta(days=2))
    read()
    assert query("SELECT order_id FROM raw.shopify_deleted_orders") == []
    monkeypatch.setattr(Home, "now", lambda self: now)
    read()
    assert query("SELECT advertiser_id, order_id FROM raw.shopify_deleted_orders") == [
        ("acme", "1001")
    ]
    read()
    assert query("SELECT count(*) FROM raw.shopify_deleted_orders") == [(1,)]
    assert query("SELECT count(*) FROM raw.shopify_orders WHERE order_id = '1001'") == [(1,)]


def test_what_webhooks_told_of_is_asked_for_and_acted_on_once(
    service: Service, store_url: SecretStr, query: Query
) -> None:
    read()
    store = database.engine(store_url)
    told = {"1003": "orders/delete", "1004": "orders/updated"}
    now = datetime.now(UTC)
    with store.begin() as rows:
        for number, topic in told.items():
            subject = f"gid://shopify/Order/{number}"
            one = Webhook(service=SERVICE, webhook_id=number, account=SHOP, topic=topic,
                           subject=subject)  # fmt: skip
            inbox.note(rows, one, now)
    service.change({"order_id": 1003, "delete": True})
    service.world.change(1004, now - timedelta(days=3), tags='["a list that lagged"]')
    read()
    assert query("SELECT order_id FROM raw.shopify_deleted_orders") == [("1003",)]
    assert query("SELECT count(*) FROM raw.shopify_orders WHERE order_id = '1004'") == [(2,)]
    with store.connect() as rows:
        waiting = sa.text("SELECT count(*) FROM webhook_inbox WHERE taken_at IS NULL")
        assert rows.scalar(waiting) == 0
    store.dispose()


def test_a_webhook_that_cannot_be_is_set_aside_and_told(
    service: Service, store_url: SecretStr, query: Query
) -> None:
    read()
    store = database.engine(store_url)
    now = datetime.now(UTC)
    subjects = {"1": f"gid://shopify/Order/{'9' * 400}", "2": "app", "3": "gid://shopify/Order/1004",
                "4": "gid://shopify/Order/1004"}  # fmt: skip
    with store.begin() as rows:
        for number, subject in subjects.items():
            one = Webhook(service=SERVICE, webhook_id=number, account=SHOP, topic="orders/updated",
                           subject=subject)  # fmt: skip
            inbox.note(rows, one, now)
        poisoned = "UPDATE webhook_inbox SET triggered_at = '9999-12-31T23:59:59-14:00'"
        rows.execute(sa.text(f"{poisoned} WHERE webhook_id = '3'"))
    service.world.change(1004, now - timedelta(days=3), tags='["a list that lagged"]')
    result = read()
    assert query("SELECT count(*) FROM raw.shopify_orders WHERE order_id = '1004'") == [(2,)]
    told = result.asset_materializations_for_node("raw__shopify_orders")
    metadata = {key: value for one in told for key, value in one.metadata.items()}
    assert metadata["webhooks_set_aside"].value == f"{SHOP}: 3"
    assert "shops_not_read" not in metadata
    (check,) = [
        one for one in result.get_asset_check_evaluations()
        if one.check_name == "webhooks_were_usable"
    ]  # fmt: skip
    assert not check.passed
    with store.connect() as rows:
        waiting = sa.text("SELECT count(*) FROM webhook_inbox WHERE taken_at IS NULL")
        assert rows.scalar(waiting) == 0
    store.dispose()


def test_a_shop_that_cannot_be_read_keeps_nobody_from_the_others(
    service: Service, shops: Home, query: Query
) -> None:
    with service.world.opened() as db:
        db.execute("DELETE FROM shop WHERE shop = ?", (OTHER,))
    result = read()
    told = result.asset_materializations_for_node("raw__shopify_orders")
    metadata = {key: value for one in told for key, value in one.metadata.items()}
    assert metadata["problem"].value.startswith(f"{OTHER}: ")
    assert "shopify_orders shopify_was_read" in failed_checks(result)
    assert query("SELECT DISTINCT shop FROM raw.shopify_orders") == [(SHOP,)]
    noted = Tables.of(shops, shops.settings()).stamp("raw/shopify_orders")["read"]
    assert set(noted) == {SHOP}
    refill(service)
    assert "shopify_orders shopify_was_read" not in failed_checks(materialized(raw.shopify_orders))


def test_a_shop_that_fails_half_way_leaves_nothing_of_itself(
    service: Service, shops: Home, query: Query
) -> None:
    of_the_other, of_its_own = 3, 3  # the shop, a bulk operation and a look at it; then refunds
    service.behave(clock=None, status=402, status_after=of_the_other + of_its_own)
    result = materialized(raw.shopify_orders)
    assert result.success
    rows = dict(query("SELECT shop, count(*) FROM raw.shopify_orders GROUP BY shop"))
    assert rows == {OTHER: 1} and query("SELECT * FROM raw.shopify_refunds") == []
    service.behave(clock=None)
    read()
    assert dict(query("SELECT shop, count(*) FROM raw.shopify_orders GROUP BY shop")) == {
        SHOP: ORDERS,
        OTHER: 1,
    }


def test_when_no_shop_can_be_read_the_run_fails_and_the_tables_stay(
    service: Service, query: Query
) -> None:
    read()
    service.behave(clock=None, status=402)
    materialized(raw.shopify_orders, succeeds=False)
    assert query("SELECT count(*) FROM raw.shopify_orders") == [(ORDERS + 1,)]


def test_without_a_shop_the_tables_are_empty_and_nobody_is_asked(
    service: Service, shops: Home, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "dmp_assets.raw.shopify.shopify_settings", lambda home: ShopifySettings.model_validate({})
    )
    before = len(service.token_requests())
    read()
    assert query("SELECT count(*) FROM raw.shopify_orders") == [(0,)]
    assert len(service.token_requests()) == before


def test_rows_of_forgotten_customers_never_land_again(shops: Home, query: Query) -> None:
    suppression.add(shops, CUSTOMER, ["701"])
    read()
    found = query("SELECT count(*) FROM raw.shopify_orders WHERE customer_id = '701'")
    assert found == [(0,)]
    assert query("SELECT count(*) FROM raw.shopify_orders")[0][0] < ORDERS


_RUNS = """
import json, sys
from dmp_assets.raw import shopify as raw
from dmp_assets.sources.shopify.settings import ShopifySettings
from tests.support.materialized import materialized

settings = ShopifySettings.model_validate(json.loads(sys.argv[1]))
raw.shopify_settings = lambda home: settings
materialized(raw.shopify_orders)
"""


def test_a_kill_in_the_middle_of_the_back_fill_loses_and_doubles_nothing(
    service: Service, settings: ShopifySettings, query: Query
) -> None:
    service.behave(clock=None, bulk_seconds=30)
    assert settings.shopify_client_secret is not None
    given = settings.model_dump_json(exclude={"shopify_client_secret"})[:-1]
    given += f', "shopify_client_secret": "{settings.shopify_client_secret.get_secret_value()}"}}'
    before = len(service.calls())
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", _RUNS, given], env={**os.environ, "PYTHONPATH": str(root)}
    ) as process:
        deadline = time.monotonic() + 30
        while len(service.calls()) < before + 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert len(service.calls()) >= before + 2
    service.behave(clock=None)
    read()
    assert query("SELECT count(*), count(DISTINCT order_id) FROM raw.shopify_orders") == [
        (ORDERS + 1, ORDERS + 1)
    ]
