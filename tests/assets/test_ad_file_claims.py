"""What Meta claims, by files that tell it in any language and by files that do not tell it; days
that no file can tell of."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from dmp_assets.ads.tables import conversion_bridge, conversion_claims
from dmp_assets.home import Home
from dmp_assets.platform.lake.columns import arrow_schema
from tests.assets.test_ads_files import OF_META, OF_SHOPIFY, not_passed, on, rows
from tests.assets.test_ads_files import apart as apart
from tests.support.exports import AD, ORDER, ad, line, order, taken, written
from tests.support.lakehouse import write
from tests.support.materialized import materialized

CLAIMED = (*AD, "Purchases", "Purchases conversion value")
GERMAN = (
    "Kampagnenname", "Name der Anzeigengruppe", "Name der Anzeige", "Tag",
    "Ausgegebener Betrag (EUR)", "Impressionen", "Kampagnen-ID", "Anzeigengruppen-ID",
    "Anzeigen-ID", "Konto-ID",
)  # fmt: skip


def claims(home: Home) -> list[tuple[date, int | None, Decimal | None]]:
    return [
        (row["date"], row["purchases"], row["purchase_value"])
        for row in rows(home, "SELECT date, purchases, purchase_value "
                              "FROM modeled.ad_performance_daily ORDER BY date")
    ]  # fmt: skip


def test_claims_that_files_do_not_tell_are_unknown_and_in_no_bridge(
    apart: Home, tmp_path: Path
) -> None:
    told = [[*ad(on(1)), "2", "80.00"], [*ad(on(2)), "", ""]]
    taken(apart, written(tmp_path / "a.csv", CLAIMED, told))
    taken(apart, written(tmp_path / "b.csv", AD, [ad(on(3))]))
    taken(apart, written(tmp_path / "c.csv", CLAIMED[:-1], [[*ad(on(4)), "3"]]))
    tests = [
        order(f"#{day}", Id=f"50{day}", **{"Created at": f"{on(day)} 10:00:00 +0100",
                                          "Payment Method": "Bogus"})
        for day in range(1, 5)
    ]  # fmt: skip
    taken(apart, written(tmp_path / "o.csv", ORDER, tests), timezone="Europe/Berlin")
    write(apart, "modeled/conversion_claims", arrow_schema(conversion_claims.COLUMNS).empty_table())
    rest = [one for one in OF_SHOPIFY if one not in OF_META]
    result = materialized(*OF_META, *rest, conversion_bridge.conversion_bridge)
    assert claims(apart) == [
        (date(2024, 3, 1), 2, Decimal(80)), (date(2024, 3, 2), 0, Decimal(0)),
        (date(2024, 3, 3), None, None), (date(2024, 3, 4), 3, None),
    ]  # fmt: skip
    assert "claims_known" in not_passed(result)
    assert "claims_agree" not in not_passed(result)
    bridge = rows(apart, "SELECT date, claimed_orders, test_orders FROM modeled.conversion_bridge "
                         "ORDER BY date")  # fmt: skip
    assert bridge == [
        {"date": date(2024, 3, 1), "claimed_orders": 2, "test_orders": 1},
        {"date": date(2024, 3, 2), "claimed_orders": 0, "test_orders": 1},
    ]


@pytest.mark.parametrize(
    ("header", "told", "claimed"),
    [
        (("Käufe", "Conversion-Wert für Käufe"), ("3", "1.234,50"), (3, Decimal("1234.5"))),
        (("Käufe", "ROAS (Return on Ad Spend) für Käufe"), ("3", "2,00"), (3, Decimal(25))),
        (("Website-Käufe", "Conversion-Wert für Website-Käufe"), ("1", "8,00"), (1, Decimal(8))),
        (("Kaufwert",), ("9,00",), (None, Decimal(9))),
    ],
)
def test_a_german_export_tells_claims_and_ids(
    apart: Home,
    tmp_path: Path,
    header: tuple[str, ...],
    told: tuple[str, ...],
    claimed: tuple[int | None, Decimal],
) -> None:
    ids = ["1201", "2201", "3201", "act_777"]
    row = ["Spring", "Set A", "Ad 1", "04.03.2024", "12,50", "1.000", *ids, *told]
    taken(apart, written(tmp_path / "a.csv", (*GERMAN, *header), [row], delimiter=";"))
    materialized(*OF_META)
    assert claims(apart) == [(date(2024, 3, 4), *claimed)]
    (one,) = rows(apart, "SELECT account_id, campaign_id, adset_id, ad_id "
                         "FROM modeled.ad_performance_daily")  # fmt: skip
    assert one == {"account_id": "777", "campaign_id": "1201", "adset_id": "2201", "ad_id": "3201"}


def test_goods_of_unknown_cost_cost_the_share_that_is_said(
    apart: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [
        order("#1", Id="501", Total="45.00", Taxes="4.00"),  # 40 of goods and 5 of sending, 4 tax
        line("#1", "1", "20.00"),
        order("#2", Id="502", Total="27.00", Taxes="2.00"),  # tax on top
    ]
    taken(apart, written(tmp_path / "o.csv", ORDER, given), timezone="Europe/Berlin")
    tables = [one for one in OF_SHOPIFY if one not in OF_META]
    query = ("SELECT order_id, revenue, cost_of_goods, goods_without_cost, contribution "
             "FROM modeled.order_ledger ORDER BY order_id")  # fmt: skip
    exchange = [one for one in OF_SHOPIFY if one in OF_META]
    materialized(*exchange, *tables)
    assert [(row["cost_of_goods"], row["contribution"]) for row in rows(apart, query)] == [
        (0, 41), (0, 25),
    ]  # fmt: skip
    monkeypatch.setenv("DMP_ADS_GOODS_SHARE", "0.25")
    materialized(*exchange, *tables)
    first, second = rows(apart, query)
    net = Decimal("40") * 41 / 45
    assert first["cost_of_goods"] == pytest.approx(net / 4, abs=Decimal("0.001"))
    assert first["contribution"] == first["revenue"] - first["cost_of_goods"]
    assert (second["cost_of_goods"], second["contribution"]) == (5, 20)
    assert [one["goods_without_cost"] for one in (first, second)] == [40, 20]


def test_days_of_the_future_are_put_aside_with_reason(apart: Home, tmp_path: Path) -> None:
    ads = [*(ad(on(day)) for day in range(1, 21)), ad("2099-03-04")]
    taken(apart, written(tmp_path / "a.csv", AD, ads))
    orders = [order(f"#{n}", Id=str(500 + n)) for n in range(1, 40)]
    later = order("#99", Id="599", **{"Created at": "2099-03-05 10:00:00 +0100"})
    cancelled = order("#98", Id="598", **{"Cancelled at": "2099-03-05 10:00:00 +0100"})
    file = written(tmp_path / "o.csv", ORDER, [*orders, later, cancelled])
    taken(apart, file, timezone="Europe/Berlin")
    materialized(*OF_META, *(one for one in OF_SHOPIFY if one not in OF_META))
    for table, lines in (("meta_exports", [22]), ("shopify_exports", [41, 42])):
        found = rows(apart, f"SELECT line, failed_rules FROM quarantine.{table} ORDER BY line")
        assert [(row["line"], row["failed_rules"]) for row in found] == [
            (line, ["in_the_future"]) for line in lines
        ]
    (last,) = rows(apart, "SELECT max(date) AS ads FROM modeled.ad_performance_daily")
    assert last["ads"] == date(2024, 3, 20)
    (last,) = rows(apart, "SELECT max(date) AS orders FROM modeled.order_ledger")
    assert last["orders"] == date(2024, 3, 5)
