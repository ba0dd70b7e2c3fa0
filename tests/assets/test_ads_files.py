"""Tables of ads and orders from files alone, recounted from these files; without a JVM."""

import csv
from collections import defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from dmp_assets.ads.domain import is_configured
from dmp_assets.ads.tables import ad_performance_daily, ads, exchange_rates, order_ledger
from dmp_assets.cleaned.meta import meta_breakdowns, meta_exports, meta_insights
from dmp_assets.cleaned.shopify import shopify_exports, shopify_orders
from dmp_assets.home import Home
from dmp_assets.platform.lake.columns import Columns, arrow_schema
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.raw import exports, meta, meta_readings, shopify
from dmp_assets.sources.exports import kept
from dmp_assets.sources.shopify.tables import TABLES
from tests.support.exports import (
    AD,
    ORDER,
    REAL,
    ad,
    like_the_real_one,
    line,
    order,
    taken,
    written,
)  # fmt: skip
from tests.support.lakehouse import write
from tests.support.materialized import failed_checks, materialized

OF_META = (
    exports.meta_exports, meta_exports.meta_exports, meta_insights.meta_insights,
    meta_breakdowns.by_age_gender, meta_breakdowns.by_placement, exchange_rates.exchange_rates,
    exchange_rates.rates, ads.ad_accounts, ads.ads, ad_performance_daily.ad_performance_daily,
)  # fmt: skip
OF_SHOPIFY = (
    exports.shopify_exports, shopify_exports.shopify_exports, exchange_rates.exchange_rates,
    exchange_rates.rates, shopify_orders.shopify_orders, shopify_orders.shopify_order_lines,
    shopify_orders.shopify_transactions, shopify_orders.shopify_refunds,
    shopify_orders.shopify_refund_lines, shopify_orders.shopify_variants, order_ledger.order_ledger,
)  # fmt: skip


def raw(home: Home, table: str, columns: Columns, *rows: dict[str, Any]) -> None:
    """Write a raw table of these rows, every other column null."""
    given = [{name: row.get(name) for name in columns} for row in rows]
    write(home, f"raw/{table}", pa.Table.from_pylist(given, schema=arrow_schema(columns)))


@pytest.fixture
def apart(home: Home) -> Home:
    """A home whose tables of the APIs are there and empty."""
    raw(home, "meta_insights", meta_readings.INSIGHT_COLUMNS)
    raw(home, "meta_insight_readings", meta_readings.READING_COLUMNS)
    for name, kind in (("accounts", meta._ACCOUNTS), ("campaigns", meta._CAMPAIGNS),
                       ("ad_sets", meta._AD_SETS), ("ads", meta._ADS),
                       ("creatives", meta._CREATIVES)):  # fmt: skip
        raw(home, f"meta_{name}", kind.columns)
    for name in TABLES:
        raw(home, name, shopify._columns(name))
    return home


def rows(home: Home, query: str) -> list[dict[str, Any]]:
    return list(Tables.of(home).sql(query).to_pylist())


def spend(home: Home) -> dict[tuple[date, str], Decimal]:
    """By day and name of the ad."""
    return {
        (row["date"], row["ad_name"]): row["spend"]
        for row in rows(home, "SELECT date, ad_name, sum(spend) AS spend "
                              "FROM modeled.ad_performance_daily GROUP BY ALL")
    }  # fmt: skip


def on(day: int) -> str:
    return f"2024-03-{day:02}"


def test_a_real_export_goes_through_as_it_is(apart: Home, tmp_path: Path) -> None:
    """The one that lies beside the project where it does, else one of the same columns."""
    file = REAL if REAL.exists() else like_the_real_one(tmp_path / "export.csv")
    with file.open(encoding="utf-8-sig", newline="") as text:
        header, *given = list(csv.reader(text))
    place = {name: header.index(name) for name in header}
    wanted: dict[tuple[date, str], Decimal] = defaultdict(Decimal)
    cells: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in given:
        amount = Decimal(row[place["Amount spent (USD)"]] or "0")
        wanted[date.fromisoformat(row[place["Day"]]), row[place["Ad name"]]] += amount
        cells[row[place["Age"]], row[place["Gender"]]] += amount
    assert not is_configured(apart)
    taken(apart, file)
    assert is_configured(apart)
    materialized(*OF_META)
    found = spend(apart)
    assert found.keys() == wanted.keys()
    for key, amount in wanted.items():
        assert found[key] == pytest.approx(amount, abs=Decimal("0.0005"))
    assert sum(found.values()) == pytest.approx(sum(wanted.values()), abs=Decimal("0.005"))
    by_cell = {
        (row["age"], row["gender"]): row["spend"]
        for row in rows(apart, "SELECT age, gender, sum(spend) AS spend "
                               "FROM cleaned.meta_insights_by_age_gender GROUP BY ALL")
    }  # fmt: skip
    assert by_cell.keys() == cells.keys()
    for cell, amount in cells.items():
        assert by_cell[cell] == pytest.approx(amount, abs=Decimal("0.01"))
    (one,) = rows(apart, "SELECT sum(impressions) AS shown, count(DISTINCT ad_id) AS ads, "
                         "any_value(attribution_setting) AS setting, any_value(currency) AS money "
                         "FROM modeled.ad_performance_daily")  # fmt: skip
    assert one["shown"] == sum(int(row[place["Impressions"]] or 0) for row in given)
    assert (one["setting"], one["money"]) == ("7d_click_1d_view", "USD")
    named = {
        tuple(row[place[name]] for name in ("Campaign name", "Ad Set Name", "Ad name"))
        for row in given
    }
    assert one["ads"] == len(named)
    assert rows(apart, "FROM quarantine.meta_exports") == []


def test_of_files_that_overlap_the_newest_holds(apart: Home, tmp_path: Path) -> None:
    first = written(tmp_path / "a.csv", AD, [ad(on(1), "10.00"), ad(on(2), "20.00"),
                                             ad(on(2), "7.00", name="Ad 2")])  # fmt: skip
    second = written(tmp_path / "b.csv", AD, [ad(on(2), "21.00"), ad(on(3), "30.00")])
    taken(apart, first, second)
    materialized(*OF_META)
    holds = {
        (date(2024, 3, 1), "Ad 1"): Decimal(10),
        (date(2024, 3, 2), "Ad 1"): Decimal(21),
        (date(2024, 3, 2), "Ad 2"): Decimal(7),
        (date(2024, 3, 3), "Ad 1"): Decimal(30),
    }
    assert spend(apart) == holds
    before = {key: Tables.of(apart).version(key) for key in Tables.of(apart).written()}
    taken(apart, first)  # there already: it does not become the newest
    materialized(*OF_META)
    assert spend(apart) == holds
    assert before == {key: Tables.of(apart).version(key) for key in before}


def test_a_file_that_is_taken_back_goes_with_its_rows(apart: Home, tmp_path: Path) -> None:
    taken(apart, written(tmp_path / "a.csv", AD, [ad(on(1), "10.00")]))
    (wrong,) = taken(apart, written(tmp_path / "b.csv", AD, [ad(on(1), "99.00")]))
    materialized(*OF_META)
    assert spend(apart) == {(date(2024, 3, 1), "Ad 1"): Decimal(99)}
    kept.remove(apart, wrong.kept)
    materialized(*OF_META)
    assert spend(apart) == {(date(2024, 3, 1), "Ad 1"): Decimal(10)}
    assert {row["file"] for row in rows(apart, "SELECT DISTINCT file FROM raw.meta_exports")} != {
        wrong.kept.sha256
    }


def test_the_same_row_twice_counts_once_and_parts_add_up(apart: Home, tmp_path: Path) -> None:
    twice = [ad(on(1), "10.00"), ad(on(1), "10.00"), ad(on(1), "2.50")]
    taken(apart, written(tmp_path / "a.csv", AD, [["", "", "", "", "12.50", "200"], *twice]))
    materialized(*OF_META)
    assert spend(apart) == {(date(2024, 3, 1), "Ad 1"): Decimal("12.5")}


def test_an_ad_without_id_has_that_of_the_same_names(apart: Home, tmp_path: Path) -> None:
    taken(apart, written(tmp_path / "a.csv", AD, [ad(on(1)), ad(on(2), "9.00")]))
    ids = written(tmp_path / "b.csv", (*AD, "Ad ID", "Campaign ID"),
                  [[*ad(on(2), "8.00"), "23851", "2384"]])  # fmt: skip
    taken(apart, ids)
    materialized(*OF_META)
    found = rows(apart, "SELECT date, ad_id, campaign_id, spend FROM modeled.ad_performance_daily")
    assert {row["ad_id"] for row in found} == {"23851"}
    assert {row["campaign_id"] for row in found} == {"2384"}
    assert [row["spend"] for row in found] == [Decimal("12.5"), Decimal(8)]


def test_days_that_the_api_told_of_go_before_files(apart: Home, tmp_path: Path) -> None:
    own = {"advertiser_id": "acme", "account_id": "7", "breakdown": ""}
    read_at = datetime(2024, 3, 9, tzinfo=UTC)
    raw(apart, "meta_insights", meta_readings.INSIGHT_COLUMNS, {
        **own, "ad_id": "1", "date": date(2024, 3, 2), "cell": "", "account_currency": "EUR",
        "spend": "5.00", "impressions": "9", "is_idle": False, "read_at": read_at,
    })  # fmt: skip
    raw(apart, "meta_insight_readings", meta_readings.READING_COLUMNS, *(
        {**own, "date": date(2024, 3, day), "ads": 1, "changed_rows": 1, "is_too_old": day == 1,
         "read_at": read_at} for day in (1, 2)
    ))  # fmt: skip
    taken(apart, written(tmp_path / "a.csv", AD, [ad(on(day)) for day in (1, 2, 3)]), account="7")
    materialized(*OF_META)
    assert spend(apart) == {
        (date(2024, 3, 1), "Ad 1"): Decimal("12.5"),
        (date(2024, 3, 2), None): Decimal(5),
        (date(2024, 3, 3), "Ad 1"): Decimal("12.5"),
    }


def test_breakdowns_of_the_api_are_told_by_their_parts(apart: Home, tmp_path: Path) -> None:
    own = {"advertiser_id": "acme", "account_id": "7", "ad_id": "1", "date": date(2024, 3, 2),
           "account_currency": "EUR", "is_idle": False}  # fmt: skip
    read_at = datetime(2024, 3, 9, tzinfo=UTC)
    told = {
        "": [("", "7.50")],
        "age,gender": [('{"age": "18-24", "gender": "female"}', "5.00"),
                       ('{"age": "25-34", "gender": "male"}', "2.50")],
        "publisher_platform,platform_position": [
            ('{"publisher_platform": "facebook", "platform_position": "feed"}', "7.50")],
    }  # fmt: skip
    raw(apart, "meta_insights", meta_readings.INSIGHT_COLUMNS, *(
        {**own, "breakdown": breakdown, "cell": cell, "spend": spent, "impressions": "9",
         "read_at": at}
        for breakdown, cells in told.items() for cell, amount in cells
        for at, spent in ((read_at.replace(day=3), "1.00"), (read_at, amount))
    ))  # fmt: skip
    raw(apart, "meta_insight_readings", meta_readings.READING_COLUMNS, *(
        {**own, "breakdown": breakdown, "is_too_old": False, "read_at": read_at}
        for breakdown in told
    ))  # fmt: skip
    parts = [[*ad(on(day)), "18-24", "male"] for day in (2, 3)]
    taken(apart, written(tmp_path / "a.csv", (*AD, "Age", "Gender"), parts), account="7")
    materialized(*OF_META)
    assert rows(apart, "SELECT date, age, gender, spend FROM cleaned.meta_insights_by_age_gender "
                       "ORDER BY ALL") == [
        {"date": date(2024, 3, 2), "age": "18-24", "gender": "female", "spend": Decimal(5)},
        {"date": date(2024, 3, 2), "age": "25-34", "gender": "male", "spend": Decimal("2.5")},
        {"date": date(2024, 3, 3), "age": "18-24", "gender": "male", "spend": Decimal("12.5")},
    ]  # fmt: skip
    assert rows(apart, "SELECT publisher_platform, platform_position, spend "
                       "FROM cleaned.meta_insights_by_placement") == [
        {"publisher_platform": "facebook", "platform_position": "feed", "spend": Decimal("7.5")},
    ]  # fmt: skip
    assert [row["spend"] for row in rows(apart, "SELECT spend FROM cleaned.meta_insights "
                                                "ORDER BY date")] == [Decimal("7.5"),
                                                                      Decimal("12.5")]  # fmt: skip


def test_two_advertisers_may_give_the_same_file(apart: Home, tmp_path: Path) -> None:
    from dmp_assets.sources.exports.taking import Said, take
    from tests.support.exports import NOBODY

    file = written(tmp_path / "a.csv", AD, [ad(on(1))])
    for advertiser in ("acme", "other"):
        take(apart, [file], Said(advertiser), NOBODY)
    materialized(*OF_META)
    found = rows(apart, "SELECT advertiser_id, spend FROM modeled.ad_performance_daily")
    assert found == [
        {"advertiser_id": name, "spend": Decimal("12.5")} for name in ("acme", "other")
    ]


def test_rows_that_cannot_be_used_are_put_aside_with_reason_and_line(
    apart: Home, tmp_path: Path
) -> None:
    header = (*AD, "Purchases", "Purchase ROAS (return on ad spend)")
    good = [[*ad(on(day)), "2", "3.2"] for day in range(1, 9)]
    bad = [[*ad(on(9), "a lot"), "1", ""], [*ad("2024-02-31"), "1", ""]]
    taken(apart, written(tmp_path / "a.csv", header, [*good, *bad]))
    result = materialized(*OF_META)
    assert rows(apart, "SELECT line, spend, day, failed_rules FROM quarantine.meta_exports") == [
        {"line": 10, "spend": "a lot", "day": on(9), "failed_rules": ["spend_unread",
                                                                   "spend_missing"]},
        {"line": 11, "spend": "12.50", "day": "2024-02-31", "failed_rules": ["day_unread",
                                                                          "not_of_one_day"]},
    ]  # fmt: skip
    assert "meta_exports all_rows_used" in {
        f"{e.asset_key.path[-1]} {e.check_name}"
        for e in result.get_asset_check_evaluations()
        if not e.passed
    }
    (one,) = rows(apart, "SELECT sum(purchases) AS n, sum(purchase_value) AS value "
                         "FROM modeled.ad_performance_daily")  # fmt: skip
    assert (one["n"], one["value"]) == (16, 8 * Decimal(40))


def test_totals_that_differ_are_told_by_a_check(apart: Home, tmp_path: Path) -> None:
    rows_ = [["", "", "", "", "99.00", "100"], ad(on(1))]
    taken(apart, written(tmp_path / "a.csv", AD, rows_))
    result = materialized(exports.meta_exports)
    assert failed_checks(result) == {
        "meta_exports totals_agree": "a.csv: spend: rows add up to 12.500000000, its total is "
        "99.000000000"
    }


# orders ------------------------------------------------------------------------------------------
def ledger(home: Home) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (row["order_id"], row["entry"]): row
        for row in rows(home, "SELECT * FROM modeled.order_ledger")
    }


def test_an_order_of_several_lines_is_one_order(apart: Home, tmp_path: Path) -> None:
    given = [
        order("#1", Id="501", Total="45.00", Taxes="4.00", Discount_Amount="5.00",
              Tags="vip, conversion:c7", **{"Created at": "2024-03-05 00:30:00 +0100"}),
        line("#1", "1", "20.00"),
        order("#2", Id="502", Total="25.00", Refunded_Amount="25.00",
              **{"Cancelled at": "2024-03-09 09:00:00 +0100"}),
        order("#3", Id="503", **{"Payment Method": "(for testing) Bogus Gateway"}),
    ]  # fmt: skip
    taken(apart, written(tmp_path / "o.csv", ORDER, given), timezone="Europe/Berlin")
    materialized(*OF_SHOPIFY)
    found = ledger(apart)
    assert found.keys() == {("501", "sale"), ("502", "sale"), ("502", "refund file")}
    sale = found["501", "sale"]
    assert (sale["date"], sale["gross"], sale["discounts"], sale["tax"], sale["revenue"]) == (
        date(2024, 3, 5), Decimal(50), Decimal(5), Decimal(4), Decimal(41),
    )  # fmt: skip
    assert sale["goods_without_cost"] == Decimal(40)
    assert [found[key]["is_new_customer"] for key in sorted(found)] == [True, None, False]
    assert found["502", "refund file"]["date"] == date(2024, 3, 9)
    (one,) = rows(apart, "SELECT conversion_id, sold_on FROM cleaned.shopify_orders "
                         "WHERE order_id = '501'")  # fmt: skip
    assert one == {"conversion_id": "c7", "sold_on": date(2024, 3, 5)}


def test_an_order_that_is_told_again_is_as_it_was_told_last(apart: Home, tmp_path: Path) -> None:
    first = [order("#1", Id="501"), line("#1", "1", "20.00"), order("#9", Id="509")]
    later = [order("#1", Id="501", Refunded_Amount="5.00"), line("#1", "1", "20.00")]
    twice = [*first, order("#9", Id="509", Total="30.00")]
    taken(apart, written(tmp_path / "a.csv", ORDER, twice), timezone="Europe/Berlin")
    taken(apart, written(tmp_path / "b.csv", ORDER, later), timezone="Europe/Berlin")
    materialized(*OF_SHOPIFY)
    found = ledger(apart)
    assert found.keys() == {("501", "sale"), ("501", "refund file"), ("509", "sale")}
    assert found["509", "sale"]["gross"] == Decimal(30)
    assert found["501", "refund file"]["refunds"] == Decimal(5)
    lines = rows(apart, "SELECT order_id, count(*) AS n FROM cleaned.shopify_order_lines "
                        "GROUP BY ALL ORDER BY ALL")  # fmt: skip
    assert lines == [{"order_id": "501", "n": 2}, {"order_id": "509", "n": 1}]


def test_orders_that_the_api_told_of_go_before_files(apart: Home, tmp_path: Path) -> None:
    own = {"advertiser_id": "acme", "shop": "s.myshopify.com", "order_id": "501",
           "order_updated_at": "2024-03-06T00:00:00Z", "_row_id": 0}  # fmt: skip
    raw(apart, "shopify_orders", shopify._columns("shopify_orders"), {
        **own, "order_name": "#1", "currency": "EUR", "total": "77.00", "is_test": "false",
        "created_at": "2024-03-05T09:00:00Z", "processed_at": "2024-03-05T09:00:00Z",
    })  # fmt: skip
    given = [order("#1"), order("#2", Id="502")]
    taken(apart, written(tmp_path / "o.csv", ORDER, given), timezone="Europe/Berlin",
          account="s.myshopify.com")  # fmt: skip
    materialized(*OF_SHOPIFY)
    found = ledger(apart)
    assert {key: row["gross"] for key, row in found.items()} == {
        ("501", "sale"): Decimal(77), ("502", "sale"): Decimal(25),
    }  # fmt: skip


def test_lines_of_an_order_whose_first_line_is_missing_are_put_aside(
    apart: Home, tmp_path: Path
) -> None:
    given = [order(f"#{n}", Id=str(n)) for n in range(2, 9)] + [line("#1", "1", "20.00")]
    taken(apart, written(tmp_path / "o.csv", ORDER, given), timezone="Europe/Berlin")
    materialized(*OF_SHOPIFY)
    (one,) = rows(apart, "SELECT line, failed_rules FROM quarantine.shopify_exports")
    assert one["line"] == 9
    assert {"order_without_first_line", "time_missing"} <= set(one["failed_rules"])
    assert len(ledger(apart)) == 7


def filled(further: list[str], first: list[str], *names: str) -> list[str]:
    """A further line on which a file fills these columns of the order, too."""
    return [one if name in names else own for name, one, own in zip(ORDER, first, further,
                                                                    strict=True)]  # fmt: skip


def not_passed(result: dg.ExecuteInProcessResult) -> set[str]:
    """Names of the checks that did not pass."""
    return {e.check_name for e in result.get_asset_check_evaluations() if not e.passed}


OF_EVERY_LINE = [name for name in ORDER if not name.startswith("Lineitem")]


def add_up(home: Home, table: str) -> None:
    """Every row that was received is kept, a duplicate or in quarantine; counted here anew."""
    (one,) = rows(home, f"""
        SELECT (SELECT count(*) FROM raw.{table} WHERE NOT is_total) AS received,
               (SELECT sum(received_rows) FROM (
                  SELECT received_rows FROM cleaned.{table} UNION ALL
                  SELECT received_rows FROM quarantine.{table})) AS told
    """)  # fmt: skip
    assert one["received"] == one["told"]


@pytest.mark.parametrize(
    "names",
    [(), ("Created at",), ("Created at", "Currency", "Financial Status"), OF_EVERY_LINE],
    ids=["bare", "created_at", "status", "all"],
)
def test_an_order_is_whole_whatever_files_fill_on_its_further_lines(
    apart: Home, tmp_path: Path, names: list[str]
) -> None:
    first = order("#1", Id="501", Total="50.00")
    further = [filled(line("#1", "1", price, sku), first, *names)
               for price, sku in (("20.00", "CUP"), ("5.00", "PEN"))]  # fmt: skip
    given = [first, *further, order("#2", Id="502")]
    taken(apart, written(tmp_path / "o.csv", ORDER, given), timezone="Europe/Berlin")
    result = materialized(*OF_SHOPIFY)
    assert not_passed(result).isdisjoint({"rows_add_up", "all_rows_used"})
    add_up(apart, "shopify_exports")
    assert {key: row["gross"] for key, row in ledger(apart).items()} == {
        ("501", "sale"): Decimal(50), ("502", "sale"): Decimal(25),
    }  # fmt: skip
    found = rows(apart, "SELECT order_id, line_sku, total FROM cleaned.shopify_exports "
                        "ORDER BY line")  # fmt: skip
    assert [(row["order_id"], row["line_sku"], row["total"]) for row in found] == [
        ("501", "MUG", Decimal(50)), ("501", "CUP", Decimal(50)), ("501", "PEN", Decimal(50)),
        ("502", "MUG", Decimal(25)),
    ]  # fmt: skip
    assert rows(apart, "FROM quarantine.shopify_exports") == []


@pytest.mark.parametrize("names", [(), ("Created at",), OF_EVERY_LINE])
def test_an_order_that_a_file_has_twice_is_one_and_its_rows_are_counted(
    apart: Home, tmp_path: Path, names: list[str]
) -> None:
    both = [order("#1", Id="501", Total=total) for total in ("50.00", "60.00")]
    told = [[first, filled(line("#1", "1", "20.00"), first, *names)] for first in both]
    given = [*told[0], *told[1], *told[1], order("#2", Id="502")]
    taken(apart, written(tmp_path / "o.csv", ORDER, given), timezone="Europe/Berlin")
    materialized(*OF_SHOPIFY)
    add_up(apart, "shopify_exports")
    found = rows(apart, "SELECT order_id, total, received_rows FROM cleaned.shopify_exports "
                        "ORDER BY line")  # fmt: skip
    assert [(row["order_id"], row["total"], row["received_rows"]) for row in found] == [
        ("501", Decimal(60), 5), ("501", Decimal(60), 1), ("502", Decimal(25), 1),
    ]  # fmt: skip


def test_no_row_of_a_file_is_lost_however_it_was_sorted_or_broken(
    apart: Home, tmp_path: Path
) -> None:
    given = [
        line("#1", "1", "20.00"), order("#1", Id="501", Total="45.00"),  # sorted by a person
        order("#2", Id="502"), order("#2", Id="902"),  # two shops whose names are the same
        order("", Id="503"), order("", Id="504"), line("", "1", "3.00"),  # no name
        order("#5", Id="505"), [*order("#5", Id="505"), "beyond"],  # broken
        *(order(f"#{n}", Id=f"5{n}") for n in range(10, 90)),
    ]  # fmt: skip
    taken(apart, written(tmp_path / "a.csv", ORDER, given), timezone="Europe/Berlin")
    no_ids = [name for name in ORDER if name != "Id"]
    later = [one[: ORDER.index("Id")] + one[ORDER.index("Id") + 1 :]
             for one in (order("#1", Total="46.00"), order("#2", Total="26.00"))]  # fmt: skip
    taken(apart, written(tmp_path / "b.csv", no_ids, later), timezone="Europe/Berlin")
    result = materialized(*OF_SHOPIFY)
    assert "rows_add_up" not in not_passed(result)
    add_up(apart, "shopify_exports")
    assert len(rows(apart, "FROM quarantine.shopify_exports")) == 4
    found = {key[0]: row["gross"] for key, row in ledger(apart).items() if len(key[0]) == 3}
    assert found["501"] == Decimal(46), "a file without ids tells of the order of that name"
    assert (found["502"], found["902"]) == (Decimal(25), Decimal(25))
    assert found["505"] == Decimal(25)
