"""The tables of ad performance, made over HTTP, recounted from what the stand-ins serve."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from dmp_assets.demo.business.ads_world import ADVERTISERS, NO_UNIT_COST, REACH_ONLY
from dmp_assets.platform.postgres.embedded import Endpoint
from tests.support.ads_home import RATES, SHIPPING, AdsHome, ads_home

ACCOUNT = {one.account_id: one for one in ADVERTISERS}
SHOP = {one.shop: one for one in ADVERTISERS}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, postgres: Endpoint) -> Iterator[AdsHome]:
    """All of it, made once."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = tmp_path_factory.mktemp("ads")
        with ads_home(folder, postgres, monkeypatch, users=1_600) as home:
            assert home.run().success
            yield home


def served(made: AdsHome, name: str, query: str) -> list[sqlite3.Row]:
    """Rows of what a stand-in serves."""
    with closing(sqlite3.connect(made.simulated / f"{name}.sqlite")) as db:
        db.row_factory = sqlite3.Row
        return db.execute(query).fetchall()


def rows(made: AdsHome, query: str) -> list[dict[str, Any]]:
    return list(made.tables.sql(query).to_pylist())


def local_day(moment: str, zone: str) -> date:
    return datetime.fromisoformat(moment).astimezone(ZoneInfo(zone)).date()


def test_spend_by_campaign_and_day_is_that_of_the_account(made: AdsHome) -> None:
    wanted = {
        (ACCOUNT[row["account_id"]].advertiser_id, row["name"], date.fromisoformat(row["day"])):
        Decimal(row["cents"]) / 100
        for row in served(made, "meta", """
            SELECT a.account_id, c.name, day, sum(spend_cents) AS cents
            FROM delivery JOIN ad a USING (ad_id) JOIN campaign c USING (campaign_id)
            GROUP BY 1, 2, 3 HAVING sum(spend_cents) > 0
        """)
    }  # fmt: skip
    found = {
        (row["advertiser_id"], row["campaign_name"], row["date"]): row["spend"]
        for row in rows(made, """
            SELECT advertiser_id, campaign_name, date, sum(spend) AS spend
            FROM modeled.ad_performance_daily GROUP BY ALL HAVING sum(spend) > 0
        """)
    }  # fmt: skip
    assert found == wanted
    assert any(campaign == REACH_ONLY for _, campaign, _ in wanted)


def test_amounts_in_the_currency_of_sums_are_by_the_rate_of_their_day(made: AdsHome) -> None:
    found = rows(made, "SELECT date, spend, rate, spend_in_sums, currency "
                       "FROM modeled.ad_performance_daily WHERE spend > 0")  # fmt: skip
    assert {row["currency"] for row in found} == {"EUR", "USD"}
    for row in found:
        rate = Decimal(1) if row["currency"] == "EUR" else Decimal(RATES[row["date"]])
        assert row["rate"] == rate
        assert row["spend_in_sums"] == pytest.approx(row["spend"] * rate, abs=Decimal("0.0001"))


def test_purchases_are_those_that_the_ad_sets_setting_counts_as_far_as_they_are_told(
    made: AdsHome,
) -> None:
    """All click claims are within seven days and all views within one, as the ad sets count."""
    wanted: dict[str, Decimal] = defaultdict(Decimal)
    for row in served(made, "meta", """
        SELECT account_id, day, lag_days, purchases, value_cents
        FROM purchase JOIN ad USING (ad_id)
    """):  # fmt: skip
        told_on = date.fromisoformat(row["day"]).toordinal() + row["lag_days"]
        if told_on < date(2024, 4, 1).toordinal():
            wanted[ACCOUNT[row["account_id"]].advertiser_id] += row["value_cents"]
    found = {
        row["advertiser_id"]: row["value"] * 100
        for row in rows(made, "SELECT advertiser_id, sum(purchase_value) AS value "
                              "FROM modeled.ad_performance_daily GROUP BY ALL")
    }  # fmt: skip
    assert found.keys() == wanted.keys()
    for name, cents in wanted.items():
        assert 0 < found[name] <= cents
        assert found[name] >= cents * Decimal("0.9")  # of the last day some is yet to come


def counted(made: AdsHome) -> dict[tuple[str, str, date], dict[str, Decimal]]:
    """Sales and refunds by advertiser, entry and day, from what the shop serves."""
    cost: dict[int, Decimal | None] = {
        row["variant_id"]: None if row["unit_cost"] is None else Decimal(row["unit_cost"])
        for row in served(made, "shopify", "SELECT variant_id, unit_cost FROM variant")
    }
    sums: dict[tuple[str, str, date], dict[str, Decimal]] = defaultdict(
        lambda: defaultdict(Decimal)
    )
    orders = {
        row["order_id"]: row
        for row in served(made, "shopify", "SELECT * FROM orders WHERE test = 0")
    }
    fees = {
        row["order_id"]: Decimal(row["fee"])
        for row in served(made, "shopify", "SELECT * FROM order_transaction WHERE fee > 0")
    }
    lines = {row["line_id"]: row for row in served(made, "shopify", "SELECT * FROM order_line")}
    goods: dict[int, Decimal] = defaultdict(Decimal)
    for line in lines.values():
        goods[line["order_id"]] += (cost[line["variant_id"]] or 0) * line["quantity"]
    for order in orders.values():
        shop = SHOP[order["shop"]]
        day = local_day(order["processed_at"], shop.shop_zone)
        own = sums[shop.advertiser_id, "sale", day]
        own["orders"] += 1
        revenue = Decimal(order["total"]) - Decimal(order["tax"])
        own["revenue"] += revenue
        own["cost"] += goods[order["order_id"]]
        own["fees"] += fees.get(order["order_id"], Decimal(0))
    for refund in served(made, "shopify", "SELECT * FROM refund"):
        order = orders[refund["order_id"]]
        shop = SHOP[order["shop"]]
        own = sums[shop.advertiser_id, "refund", local_day(refund["created_at"], shop.shop_zone)]
        back = Decimal(refund["total"])
        own["orders"] += 1
        own["revenue"] -= back - back * Decimal(order["tax"]) / Decimal(order["total"])
    for part in served(made, "shopify", "SELECT * FROM refund_line JOIN refund USING (refund_id)"):
        line = lines[part["line_id"]]
        shop = SHOP[orders[line["order_id"]]["shop"]]
        own = sums[shop.advertiser_id, "refund", local_day(part["created_at"], shop.shop_zone)]
        own["cost"] -= (cost[line["variant_id"]] or 0) * part["quantity"]
    return sums


def test_orders_refunds_and_contribution_are_those_of_the_shop(made: AdsHome) -> None:
    wanted = counted(made)
    found = {
        (row["advertiser_id"], row["kind"], row["date"]): row
        for row in rows(made, """
            SELECT advertiser_id, split_part(entry, ' ', 1) AS kind, date, count(*) AS orders,
                   sum(revenue) AS revenue, sum(cost_of_goods) AS cost,
                   sum(payment_fees) AS fees, sum(shipping_cost) AS shipping,
                   sum(contribution) AS contribution
            FROM modeled.order_ledger GROUP BY ALL
        """)
    }  # fmt: skip
    assert found.keys() == wanted.keys()
    for key, sums in wanted.items():
        row, exactly = found[key], Decimal("0.01")
        for name in ("orders", "revenue", "cost", "fees"):
            assert row[name] == pytest.approx(sums[name], abs=exactly), (key, name)
        if key[0] == "main" and key[1] == "sale":
            assert row["shipping"] == Decimal(SHIPPING) * row["orders"]
        assert row["contribution"] == row["revenue"] - row["cost"] - row["fees"] - row["shipping"]


def test_goods_of_unknown_cost_are_named(made: AdsHome) -> None:
    wanted = served(made, "shopify", f"""
        SELECT sum(discounted_total) AS total FROM order_line
        JOIN orders USING (order_id) JOIN product ON product_id = variant_id
        WHERE title = '{NO_UNIT_COST}' AND test = 0
    """)[0]["total"]  # fmt: skip
    (found,) = rows(made, "SELECT sum(goods_without_cost) AS total FROM modeled.order_ledger")
    assert float(found["total"]) == pytest.approx(wanted)


def test_the_bridge_adds_up_to_the_cent_on_every_day(made: AdsHome) -> None:
    found = rows(made, "SELECT * FROM modeled.conversion_bridge")
    parts = ("matched", "reversed", "test", "boundary", "view_through", "unexplained")
    assert found
    for what in ("orders", "value"):
        for row in found:
            assert row[f"claimed_{what}"] == sum(row[f"{part}_{what}"] for part in parts)
        for part in parts:
            assert any(row[f"{part}_{what}"] for row in found), (part, what)
        for part in ("boundary",):  # days are shifted, and nothing is lost by it
            assert sum(row[f"{part}_{what}"] for row in found) == 0


def test_views_are_what_meta_says_of_them(made: AdsHome) -> None:
    (found,) = rows(made, "SELECT sum(view_through_orders) AS n FROM modeled.conversion_bridge")
    counted, left_out = (
        row["n"]
        for row in served(made, "meta", """
            SELECT sum(purchases) AS n FROM purchase JOIN ad USING (ad_id)
            JOIN adset USING (adset_id) WHERE touch = 'view'
            GROUP BY view_days ORDER BY view_days DESC
        """)
    )  # fmt: skip
    assert left_out > 0
    assert 0.8 * counted <= found["n"] <= counted


def test_a_second_run_with_nothing_new_writes_nothing(made: AdsHome) -> None:
    tables = made.tables
    before = {key: tables.version(key) for key in tables.written() if not key.startswith("raw/")}
    assert made.run().success
    assert before == {key: tables.version(key) for key in before}


def test_each_advertiser_has_rows_of_its_own_accounts_and_shops_alone(made: AdsHome) -> None:
    for one in ADVERTISERS:
        accounts = rows(made, "SELECT DISTINCT account_id FROM modeled.ad_performance_daily "
                              f"WHERE advertiser_id = '{one.advertiser_id}'")  # fmt: skip
        shops = rows(made, "SELECT DISTINCT shop FROM modeled.order_ledger "
                           f"WHERE advertiser_id = '{one.advertiser_id}'")  # fmt: skip
        assert [row["account_id"] for row in accounts] == [one.account_id]
        assert [row["shop"] for row in shops] == [one.shop]


def test_returns_are_by_their_formulas(made: AdsHome) -> None:
    found = rows(made, "SELECT * FROM modeled.ad_roi_daily")
    modelled = {
        row["advertiser_id"]
        for row in rows(made, "SELECT DISTINCT advertiser_id FROM modeled.conversion_claims "
                              "WHERE claimant LIKE 'model:%'")
    }  # fmt: skip
    assert {row["campaign_id"] == "" for row in found} == {True, False}
    for row in found:
        spend = float(row["spend"])
        for name, over in (("platform_roas", "platform_value"), ("modelled_roas",
                                                                "modelled_revenue")):  # fmt: skip
            if spend and row[over] is not None:
                assert row[name] == pytest.approx(float(row[over]) / spend)
            else:
                assert row[name] is None
        is_known = row["modelled_revenue"] is not None
        assert is_known == (row["advertiser_id"] in modelled), "no visits, no model"
        if row["campaign_id"] == "" and spend:
            assert row["mer"] == pytest.approx(float(row["revenue"]) / spend)


def test_budgets_are_those_of_the_account_in_its_currency_and_that_of_sums(made: AdsHome) -> None:
    wanted = {
        (ACCOUNT[row["account_id"]].advertiser_id, row["campaign_id"]):
        Decimal(row["daily_budget"]) / 100
        for row in served(made, "meta", "SELECT * FROM campaign WHERE daily_budget IS NOT NULL")
    }  # fmt: skip
    found = {
        (row["advertiser_id"], row["object_id"]): row
        for row in rows(made, "SELECT * FROM modeled.ad_budgets")
    }
    assert {key: row["daily_budget"] for key, row in found.items()} == wanted and wanted
    for row in found.values():
        assert row["object_kind"] == "campaign" and row["campaign_id"] == row["object_id"]
        rate = Decimal(1) if row["currency"] == "EUR" else Decimal(RATES[date(2024, 4, 1)])
        in_sums = row["daily_budget"] * rate
        assert row["daily_budget_in_sums"] == pytest.approx(in_sums, abs=Decimal("0.0001"))


def test_every_advertiser_has_a_forecast_and_an_advice_of_its_own_campaigns(made: AdsHome) -> None:
    campaigns = {
        (ACCOUNT[row["account_id"]].advertiser_id, row["campaign_id"])
        for row in served(made, "meta", "SELECT account_id, campaign_id FROM campaign")
    }
    found = rows(made, "SELECT * FROM ml.ads_budget_advice")
    lines = {(row["advertiser_id"], row["campaign_id"]) for row in found}
    assert lines == campaigns | {(one.advertiser_id, "") for one in ADVERTISERS}
    present = dict[tuple[str, str], Decimal]()
    for row in rows(made, """
        SELECT advertiser_id, campaign_id, sum(spend_in_sums) / 28 AS spend
        FROM modeled.ad_performance_daily
        WHERE date BETWEEN DATE '2024-03-30' - 27 AND DATE '2024-03-30' GROUP BY ALL
    """):  # fmt: skip
        present[row["advertiser_id"], row["campaign_id"]] = Decimal(row["spend"])
    for row in found:
        assert row["status"] in ("advised", "no_advice"), row["reason"]
        assert row["learnt_until"] == date(2024, 3, 30)  # the shop told of the 31st
        if row["campaign_id"]:
            own = present[row["advertiser_id"], row["campaign_id"]]
            assert float(row["present"]) == pytest.approx(float(own), abs=0.01)
    ahead = rows(made, "SELECT advertiser_id, min(day) AS first, count(*) AS rows "
                       "FROM ml.ads_budget_forecasts GROUP BY ALL")  # fmt: skip
    assert {row["advertiser_id"] for row in ahead} == {one.advertiser_id for one in ADVERTISERS}
    assert all((row["first"], row["rows"]) == (date(2024, 3, 31), 31) for row in ahead)
