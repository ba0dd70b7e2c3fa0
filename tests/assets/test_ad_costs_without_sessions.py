"""What campaigns cost that no visit carries reaches the web's channels once; without a JVM."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from dmp_assets.ads.tables import ad_costs_without_sessions as costs
from dmp_assets.ads.tables.ad_performance_daily import COLUMNS as ADS
from dmp_assets.attribution.tables import channel_reporting
from dmp_assets.home import Home
from dmp_assets.platform.lake.columns import arrow_schema
from dmp_assets.platform.lake.tables import Tables
from tests.assets.test_attribution_tables import COSTS, CREDITS, SESSIONS, STATUSES, table_of
from tests.support.lakehouse import write
from tests.support.materialized import failed_checks, materialized

FIRST = date(2024, 3, 1)


def spent(campaign: str, day: int, amount: str | None, advertiser: str = "acme") -> dict[str, Any]:
    return {
        "advertiser_id": advertiser, "account_id": "7", "ad_id": f"{campaign} ad",
        "campaign_id": f"{campaign} id", "campaign_name": campaign,
        "date": FIRST + timedelta(days=day - 1), "spend": Decimal(amount or 1),
        "spend_in_sums": None if amount is None else Decimal(amount),
    }  # fmt: skip


def ads(home: Home, *rows: dict[str, Any]) -> None:
    given = [{name: row.get(name) for name in ADS} for row in rows]
    table = pa.Table.from_pylist(given, schema=arrow_schema(ADS))
    write(home, "modeled/ad_performance_daily", table)


def web(home: Home, *visits: tuple[str, int, str]) -> None:
    """Visits by (campaign, day, cost) of the channel of Meta's ads; one of another in days 1, 9."""
    rows = [
        {"session_id": f"s{n}", "campaign_name": campaign, "channel_name": "meta_social",
         "event_at": datetime(2024, 3, day, 12, tzinfo=UTC)}
        for n, (campaign, day, _) in enumerate(visits)
    ] + [
        {"session_id": f"other{day}", "channel_name": "seo", "event_at":
         datetime(2024, 3, day, 12, tzinfo=UTC)} for day in (1, 9)
    ]  # fmt: skip
    write(home, "cleaned/web_sessions", table_of(SESSIONS, rows))
    own = [(f"s{n}", Decimal(cost)) for n, (_, _, cost) in enumerate(visits)]
    write(home, "cleaned/web_session_costs", table_of(COSTS, own))


def found(home: Home) -> dict[tuple[str, int], Decimal]:
    rows = Tables.of(home).sql("FROM modeled.ad_costs_without_sessions").to_pylist()
    assert {row["channel_name"] for row in rows} <= {"meta_social"}
    return {(row["campaign_name"], row["date"].day): row["cost"] for row in rows}


def test_what_the_webs_own_costs_hold_is_not_counted_twice(home: Home) -> None:
    ads(home, *(spent("seen", day, "5.00") for day in (1, 2)), spent("clicked", 4, "8.00"),
        spent("clicked", 5, "8.00"), spent("clicked", 7, "8.00"), spent("free", 4, "3.00"),
        spent("unpriced", 4, None))  # fmt: skip
    web(home, ("clicked", 4, "7.90"), ("free", 4, "0"))
    materialized(costs.ad_costs_without_sessions)
    assert found(home) == {
        ("seen", 1): Decimal(5), ("seen", 2): Decimal(5), ("clicked", 4): Decimal("0.10"),
        ("clicked", 5): Decimal(8), ("clicked", 7): Decimal(8), ("free", 4): Decimal(3),
    }  # fmt: skip


def test_days_of_which_the_web_has_no_visits_are_left_out(home: Home) -> None:
    ads(home, spent("seen", 1, "5.00"), spent("seen", 9, "5.00"), spent("seen", 10, "5.00"))
    web(home)
    materialized(costs.ad_costs_without_sessions)
    assert found(home).keys() == {("seen", 1), ("seen", 9)}


def test_what_visits_carry_more_than_was_paid_is_made_up_for(home: Home) -> None:
    """The account's days are not the web's."""
    ads(home, spent("c", 1, "10.00"), spent("c", 2, "2.00"))
    web(home, ("c", 1, "4.00"), ("c", 2, "7.00"), ("c", 9, "3.00"))  # the ads were read until 2
    materialized(costs.ad_costs_without_sessions)
    assert found(home) == {("c", 1): Decimal(6), ("c", 2): Decimal(-5)}


def test_without_a_web_nothing_is_added(home: Home) -> None:
    ads(home, spent("seen", 1, "5.00"))
    materialized(costs.ad_costs_without_sessions)
    assert found(home) == {}


def test_whose_the_web_is_must_be_said_where_there_are_several(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    ads(home, spent("seen", 1, "5.00"), spent("seen", 1, "70.00", "other"))
    web(home)
    assert "DMP_WEB_ADVERTISER" in str(failed_checks(materialized(costs.ad_costs_without_sessions)))
    assert found(home) == {}
    monkeypatch.setenv("DMP_WEB_ADVERTISER", "other")
    assert failed_checks(materialized(costs.ad_costs_without_sessions)) == {}
    assert found(home) == {("seen", 1): Decimal(70)}


def test_sums_of_another_currency_are_not_added(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_ADS_CURRENCY", "USD")
    ads(home, spent("seen", 1, "5.00"))
    web(home)
    assert "DMP_CURRENCY" in str(failed_checks(materialized(costs.ad_costs_without_sessions)))
    assert found(home) == {}


def test_they_are_cost_of_their_channel_by_every_model(home: Home) -> None:
    ads(home, spent("seen", 1, "5.00"), spent("seen", 2, "6.00"))
    web(home, ("clicked", 2, "0.25"))
    write(home, "modeled/attribution", table_of(CREDITS, []))
    write(home, "modeled/attributed_conversions", table_of(STATUSES, []))
    materialized(costs.ad_costs_without_sessions)
    tables, told = Tables.of(home), {"models": ["linear", "ihc"], "days": 1}
    of_sessions, of_all = (
        tables.sql(channel_reporting.report(without_sessions=one), told) for one in (False, True)
    )
    assert {(r["date"].day, r["model"]): r["cost"] for r in of_sessions.to_pylist()} == {
        (2, "linear"): Decimal("0.25"), (2, "ihc"): Decimal("0.25"),
    }  # fmt: skip
    assert {(r["date"].day, r["model"]): r["cost"] for r in of_all.to_pylist()} == {
        (1, "linear"): Decimal(5), (1, "ihc"): Decimal(5),
        (2, "linear"): Decimal("6.25"), (2, "ihc"): Decimal("6.25"),
    }  # fmt: skip
    (check,) = (one for one in channel_reporting.CHECKS if one.name == "cost_agrees")
    for reported, agrees in ((of_all, True), (of_sessions, False)):
        write(home, "modeled/channel_reporting", reported.select(list(channel_reporting.COLUMNS)))
        sql = check.sql_of(Tables.of(home).exists)
        assert (Tables.of(home).scalar(sql) == 0) is agrees


def test_a_renamed_campaign_costs_what_it_cost(home: Home) -> None:
    renamed = spent("after", 3, "5.00") | {"campaign_id": "before id"}
    ads(home, spent("before", 2, "5.00"), renamed)
    web(home, ("before", 2, "1.00"), ("after", 3, "2.00"))
    materialized(costs.ad_costs_without_sessions)
    assert found(home) == {("before", 2): Decimal(4), ("after", 3): Decimal(3)}
