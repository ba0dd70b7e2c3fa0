"""What is not known of ads is null in their tables and never 0; without a JVM."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from dmp_assets.ads.tables import ad_roi_daily, publications
from dmp_assets.ads.tables import pooled_insights as pooled
from dmp_assets.ads.tables.notice_series import ShopDays
from dmp_assets.home import Home
from dmp_assets.platform.lake.tables import Tables
from tests.support.declared import types
from tests.support.lakehouse import write
from tests.support.materialized import failed_checks, materialized

DAY = date(2024, 3, 1)
RATED, UNRATED, NO_SHOP = "rated", "unrated", "no_shop"


def table(home: Home, key: str, rows: list[dict[str, Any]]) -> None:
    schema = pa.schema(list(types()[key].items()))
    given = [{name: row.get(name) for name in schema.names} for row in rows]
    write(home, key, pa.Table.from_pylist(given, schema=schema), stamp="1")


def spent(
    advertiser: str, campaign: str, in_sums: str | None, amount: str = "10"
) -> dict[str, Any]:
    return {
        "advertiser_id": advertiser, "account_id": "7", "ad_id": f"{campaign} ad", "date": DAY,
        "campaign_id": campaign, "campaign_name": campaign, "purchases": 2,
        "spend": Decimal(amount), "purchase_value": Decimal(amount), "is_open": False,
        "spend_in_sums": None if in_sums is None else Decimal(in_sums),
        "purchase_value_in_sums": None if in_sums is None else Decimal(in_sums),
    }  # fmt: skip


def sold(advertiser: str, rate: str | None = "1") -> dict[str, Any]:
    amounts = {"revenue": Decimal(100), "contribution": Decimal(40)}
    in_sums = {
        f"{name}_in_sums": None if rate is None else value * Decimal(rate)
        for name, value in amounts.items()
    }
    return {
        "advertiser_id": advertiser, "shop": "s", "order_id": "1", "entry": "sale", "date": DAY,
        "is_new_customer": True, "rate": None if rate is None else Decimal(rate),
        **amounts, **in_sums,
    }  # fmt: skip


def claim(advertiser: str, claimant: str) -> dict[str, Any]:
    return {
        "advertiser_id": advertiser, "shop": "s", "order_id": "1", "claimant": claimant,
        "channel": "meta_social", "campaign": "c1", "is_meta": True, "credit": 0.5,
        "value": Decimal(60), "clicked_at": datetime(2024, 3, 1, tzinfo=UTC),
    }  # fmt: skip


@pytest.fixture
def made(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DMP_REPORTING_MODEL", "linear")
    table(home, "modeled/ad_performance_daily", [
        spent(RATED, "c1", "10"), spent(RATED, "c2", "20"),
        spent(UNRATED, "c1", "10"), spent(UNRATED, "c2", None), spent(UNRATED, "c3", None, "0"),
        spent(NO_SHOP, "c1", "10"), spent("unsold", "c1", "10"),
    ])  # fmt: skip
    table(home, "modeled/order_ledger", [sold(RATED), sold(UNRATED), sold("unsold", None)])
    table(home, "modeled/conversion_claims", [
        claim(RATED, "model:linear"), claim(UNRATED, "last_utm"), claim("unsold", "model:linear"),
        claim(UNRATED, "model:first_touch"),
    ])  # fmt: skip
    assert failed_checks(materialized(ad_roi_daily.ad_roi_daily)) == {}
    return home


def rows(home: Home, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = Tables.of(home).sql(query).to_pylist()
    return found


def whole(home: Home, advertiser: str) -> dict[str, Any]:
    [row] = rows(home, "SELECT * FROM modeled.ad_roi_daily WHERE campaign_id = '' AND "
                       f"advertiser_id = '{advertiser}'")  # fmt: skip
    return row


def test_a_spend_of_which_a_part_has_no_rate_is_not_known(made: Home) -> None:
    row = whole(made, UNRATED)
    assert row["spend"] is None and row["platform_value"] is None
    assert [row[name] for name in ("mer", "platform_roas", "cac")] == [None] * 3
    assert row["revenue"] == 100 and row["platform_purchases"] == 6
    spend = {
        row["campaign_id"]: row["spend"]
        for row in rows(made, "SELECT * FROM modeled.ad_roi_daily WHERE campaign_id <> '' "
                              f"AND advertiser_id = '{UNRATED}'")
    }  # fmt: skip
    assert spend == {"c1": 10, "c2": None, "c3": 0}, "nothing spent is 0 in any currency"


def test_what_no_model_can_claim_is_not_known(made: Home) -> None:
    tracked, untracked = whole(made, RATED), whole(made, UNRATED)
    assert tracked["modelled_revenue"] == 50 and tracked["modelled_roas"] == pytest.approx(50 / 30)
    names = ("modelled_revenue", "modelled_contribution", "modelled_orders", "profit_roas")
    assert [untracked[name] for name in names] == [None] * 4


def test_orders_without_a_rate_and_shops_that_are_not_there_sold_nothing_known(made: Home) -> None:
    unsold, no_shop = whole(made, "unsold"), whole(made, NO_SHOP)
    assert unsold["revenue"] is None and unsold["orders"] == 1 and unsold["mer"] is None
    assert unsold["modelled_revenue"] is None and unsold["modelled_orders"] == 0.5
    names = ("revenue", "contribution", "orders", "new_customers", "mer", "cac")
    assert [no_shop[name] for name in names] == [None] * 6 and no_shop["spend"] == 10


def test_what_is_published_is_not_known_either(made: Home) -> None:
    def published(name: str) -> list[dict[str, Any]]:
        [one] = [one for one in publications.PUBLICATIONS if one.name == name]
        return rows(made, one.sql)

    for name in ("ad_performance_daily", "ads_campaigns_daily"):
        spend = {
            (row["advertiser_id"], row["campaign_id"]): row["spend"] for row in published(name)
        }
        assert spend[UNRATED, "c2"] is None and spend[UNRATED, "c3"] == 0, name
        assert spend[RATED, "c2"] == 20
    value = {row["advertiser_id"]: row["value"] for row in published("ads_claims_daily")}
    assert value == {RATED: 60, UNRATED: 60, "unsold": None}
    known = {row["advertiser_id"]: row for row in published("ads_advertisers")}
    assert known.keys() == {RATED, UNRATED, NO_SHOP, "unsold"}
    assert all(row["whole_from"] == DAY for row in known.values())


def test_a_month_with_a_day_that_is_not_known_is_in_no_pooled_figure(made: Home) -> None:
    told = {"first": DAY, "end": date(2024, 4, 1)}
    found = {
        row["advertiser_id"]: row for row in Tables.of(made).sql(pooled._VALUES, told).to_pylist()
    }
    assert found[UNRATED]["mer"] is None and found[UNRATED]["modelled_roas"] is None
    assert found[RATED]["mer"] == pytest.approx(100 / 30)


def test_a_day_without_a_rate_is_judged_by_no_notice() -> None:
    """Spend that is not known would look like a collapse of the costs, and MER like a rise."""
    given = [
        {"date": DAY + timedelta(days=n), "spend": spend, "revenue": 100.0}
        for n, spend in enumerate((10.0, None, 12.0))
    ]
    last = DAY + timedelta(days=2)
    found = ShopDays("acme", given, last, {}).series(DAY, last, lambda row: row["spend"])
    assert found.is_read.tolist() == [True, False, True]
    assert found.values.tolist() == [10.0, 0.0, 12.0]
