"""What the demo makes of its ads and orders, against what the stand-ins served, counted by SQL."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from dmp_assets.ads.domain import DOMAIN
from dmp_assets.ads.report import figures
from dmp_assets.demo.business.ads_world import ADVERTISERS, CHANNEL
from dmp_assets.platform.figures.catalogue import figure
from dmp_assets.platform.reporting.reader import Report
from tests.support.demo import Demo

TABLES = {
    "meta": ("account", "campaign", "ad", "delivery", "purchase"),
    "shopify": ("shop", "orders", "order_line", "order_transaction", "refund", "refund_line",
                "refund_adjustment", "variant"),
}  # fmt: skip
NAMES = tuple(one.advertiser_id for one in ADVERTISERS)
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def served(demo: Demo) -> Iterator[duckdb.DuckDBPyConnection]:
    """Schemas meta and shopify: what the stand-ins serve, with advertiser `whose` account."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for service, tables in TABLES.items():
            connection.execute(f"CREATE SCHEMA {service}")
            with closing(sqlite3.connect(demo.dmp.home.sandbox / service / "world.db")) as db:
                db.row_factory = sqlite3.Row
                for table in tables:
                    told = [dict(row) for row in db.execute(f"SELECT * FROM {table}")]
                    connection.register("told", pa.Table.from_pylist(told))
                    connection.execute(f"CREATE TABLE {service}.{table} AS FROM told")
        whose = pa.table({
            "account_id": [one.account_id for one in ADVERTISERS], "advertiser_id": list(NAMES),
        })  # fmt: skip
        connection.register("told", whose)
        connection.execute("CREATE TABLE whose AS FROM told")
        yield connection


def counted(served: duckdb.DuckDBPyConnection, query: str) -> Rows:
    return list(served.sql(query).to_arrow_table().to_pylist())


def modeled(demo: Demo, query: str) -> Rows:
    return list(demo.dmp.tables.sql(query).to_pylist())


def test_every_advertisers_spend_by_campaign_and_day_is_what_meta_serves(
    demo: Demo, served: duckdb.DuckDBPyConnection
) -> None:
    wanted = counted(served, """
        SELECT advertiser_id, c.name AS campaign_name, day::DATE AS date,
               (sum(spend_cents) / 100)::DECIMAL(18, 4) AS spend,
               sum(impressions)::BIGINT AS impressions
        FROM meta.delivery JOIN meta.ad a USING (ad_id) JOIN meta.campaign c USING (campaign_id)
        JOIN whose ON whose.account_id = a.account_id
        GROUP BY ALL HAVING sum(impressions) > 0 ORDER BY ALL
    """)  # fmt: skip
    found = modeled(demo, """
        SELECT advertiser_id, campaign_name, date, sum(spend) AS spend,
               sum(impressions)::BIGINT AS impressions
        FROM modeled.ad_performance_daily GROUP BY ALL HAVING sum(impressions) > 0 ORDER BY ALL
    """)  # fmt: skip
    assert {row["advertiser_id"] for row in wanted} == set(NAMES)
    assert found == wanted


ENTRIES = """
    WITH bought AS (
      SELECT o.order_id, advertiser_id, timezone, processed_at::TIMESTAMPTZ AS bought_at,
             total::DECIMAL(18, 4) AS total, tax::DECIMAL(18, 4) AS tax
      FROM shopify.orders o JOIN shopify.shop USING (shop) WHERE test = 0
    ),
    line AS (
      SELECT line_id, order_id, quantity, coalesce(unit_cost::DECIMAL(18, 4), 0) AS unit_cost
      FROM shopify.order_line LEFT JOIN shopify.variant USING (variant_id)
    ),
    goods AS (SELECT order_id, sum(quantity * unit_cost) AS cost FROM line GROUP BY 1),
    fee AS (
      SELECT order_id, sum(fee::DECIMAL(18, 4)) AS fee FROM shopify.order_transaction GROUP BY 1
    ),
    back AS (
      SELECT refund_id, sum(r.quantity * unit_cost) AS cost
      FROM shopify.refund_line r JOIN line USING (line_id) GROUP BY 1
    ),
    entry AS (
      SELECT advertiser_id, 'sale' AS kind, timezone(timezone, bought_at)::DATE AS date,
             total - tax AS revenue, coalesce(cost, 0) AS cost, coalesce(fee, 0) AS fee
      FROM bought LEFT JOIN goods USING (order_id) LEFT JOIN fee USING (order_id)
      UNION ALL
      SELECT advertiser_id, 'refund', timezone(timezone, created_at::TIMESTAMPTZ)::DATE,
             (r.total::DECIMAL(18, 4) * (tax / b.total - 1))::DECIMAL(18, 4),
             -coalesce(cost, 0), 0
      FROM shopify.refund r JOIN bought b USING (order_id) LEFT JOIN back USING (refund_id)
    )
    SELECT advertiser_id, kind, date, count(*) AS entries, sum(revenue) AS revenue,
           sum(revenue - cost - fee) AS contribution
    FROM entry GROUP BY ALL ORDER BY ALL
"""


def test_orders_refunds_and_contribution_are_a_recount_of_what_shopify_serves(
    demo: Demo, served: duckdb.DuckDBPyConnection
) -> None:
    wanted = counted(served, ENTRIES)
    found = modeled(demo, """
        SELECT advertiser_id, split_part(entry, ' ', 1) AS kind, date, count(*) AS entries,
               sum(revenue) AS revenue, sum(contribution) AS contribution
        FROM modeled.order_ledger GROUP BY ALL ORDER BY ALL
    """)  # fmt: skip
    assert {(row["advertiser_id"], row["kind"]) for row in wanted} == {
        (name, kind) for name in NAMES for kind in ("sale", "refund")
    }
    names = ("advertiser_id", "kind", "date", "entries")
    assert [[row[n] for n in names] for row in found] == [[row[n] for n in names] for row in wanted]
    for one, other in zip(found, wanted, strict=True):
        for amount in ("revenue", "contribution"):
            assert one[amount] == pytest.approx(other[amount], abs=Decimal("0.005")), (one, amount)


def test_the_bridge_adds_up_to_the_cent_for_each_advertiser_and_day(demo: Demo) -> None:
    found = modeled(demo, "FROM modeled.conversion_bridge")
    assert {row["advertiser_id"] for row in found} == set(NAMES)
    for row in found:
        for what in ("orders", "value"):
            parts = [row[f"{part}_{what}"] for part in figures.PARTS]
            assert row[f"claimed_{what}"] == sum(parts), row
    claimed = {row["advertiser_id"] for row in found if row["claimed_value"]}
    assert claimed == set(NAMES)


def test_no_row_of_one_advertiser_is_of_the_others_account_or_shop(demo: Demo) -> None:
    own = {one.advertiser_id: (one.account_id, one.shop) for one in ADVERTISERS}
    tables = demo.dmp.tables
    seen = 0
    for key in tables.written():
        columns = tables.columns(key)
        for place, column in enumerate(("account_id", "shop")):
            if "advertiser_id" in columns and column in columns:
                rows = modeled(demo, f"SELECT DISTINCT advertiser_id, {column} AS own "
                                     f"FROM {key.replace('/', '.')}")  # fmt: skip
                named = [row for row in rows if row["own"]]  # else a row of all that it has
                wrong = [row for row in named if row["own"] != own[row["advertiser_id"]][place]]
                assert wrong == [], key
                seen += bool(rows)
    assert seen > 10


def test_the_people_who_click_ads_are_those_of_the_web_and_of_the_shop(demo: Demo) -> None:
    """Orders of the tracked shop are the web's conversions; its users are the shop's."""
    (found,) = modeled(demo, f"""
        SELECT count(*) AS orders, count(conv_id) AS on_the_web, count(u.user_id) AS users,
               count(*) FILTER (channel IS NOT NULL) AS clicked
        FROM cleaned.shopify_orders o
        LEFT JOIN cleaned.web_conversions w ON conv_id = conversion_id
        LEFT JOIN cleaned.users u ON u.user_id = w.user_id
        LEFT JOIN (SELECT DISTINCT order_id, channel FROM modeled.conversion_claims
                   WHERE claimant = 'model:linear' AND channel = '{CHANNEL}') USING (order_id)
        WHERE o.advertiser_id = 'main' AND NOT is_test
    """)  # fmt: skip
    assert found["orders"] > 500
    assert found["on_the_web"] > 0.95 * found["orders"]
    assert found["users"] > 0.95 * found["orders"]
    assert found["clicked"] > 50


def test_what_ads_earn_is_believable(demo: Demo) -> None:
    report = Report.open(demo.dmp.home, {})
    for name in NAMES:
        days = figures.period(report, name)
        assert days is not None
        assert days.length >= 85
        total = figures.totals(report, name, days)
        assert total.platform_roas and 1 < total.platform_roas < 6, name
        assert total.mer and total.mer > total.platform_roas
        assert total.contribution and total.revenue
        assert 0 < total.contribution < total.revenue
        assert (total.modelled_roas is None) == (name != "main"), "only the web's shop has visits"
        assert total.cac and 2 < total.cac < 100


def test_the_summary_says_the_figures_of_every_advertiser_as_the_tables_count_them(
    demo: Demo,
) -> None:
    report, lines = Report.open(demo.dmp.home, {}), DOMAIN.summary(demo.dmp.home)
    for name in NAMES:
        (line,) = (one for one in lines if one.startswith(f"Ads of {name} "))
        (row,) = modeled(demo, f"""
            SELECT sum(spend_in_sums)::DOUBLE AS spend,
                   sum(purchase_value_in_sums)::DOUBLE AS claimed, min(date) AS first,
                   max(date) AS last
            FROM modeled.ad_performance_daily WHERE advertiser_id = '{name}'
              AND date >= (SELECT min(date) FROM modeled.ad_performance_daily
                           WHERE advertiser_id = '{name}' AND spend > 0)
        """)  # fmt: skip
        shown = {
            one: float(found[1].replace(",", ""))
            for one in ("ad_spend", "platform_roas", "mer")
            if (found := re.search(rf"{figure(one).titled()} ([\d,.]+)", line))
        }
        assert shown["ad_spend"] == pytest.approx(row["spend"], abs=0.01)
        assert shown["platform_roas"] == pytest.approx(row["claimed"] / row["spend"], abs=0.006)
        days = figures.period(report, name)
        assert days is not None
        for bridge in figures.bridges(report, name, days):
            assert f"  {bridge.line}" in lines
            assert sum(bridge.value.values()) == bridge.claimed_value
            assert sum(bridge.orders.values()) == bridge.claimed_orders


# connections -------------------------------------------------------------------------------------
def handed_out(demo: Demo) -> set[str]:
    """Every token that a stand-in has given to us."""
    found: set[str] = set()
    for file, table in (
        ("meta/login.db", "token"), ("shopify/grants.db", "access_token"),
        ("shopify/grants.db", "refresh_token"),
    ):  # fmt: skip
        with closing(sqlite3.connect(demo.dmp.home.sandbox / file)) as db:
            found |= {token for (token,) in db.execute(f"SELECT token FROM {table}")}
    return found


def test_connections_were_consented_to_and_no_token_lies_about(demo: Demo) -> None:
    home = demo.dmp.home
    tokens = handed_out(demo)
    assert len(tokens) >= 2 * len(ADVERTISERS)
    for folder in (home.dagster, home.outbox, home.reports, home.lakehouse, home.exports):
        for file in folder.rglob("*"):
            if file.is_file():
                content = file.read_bytes()
                assert [one for one in tokens if one.encode() in content] == [], file
    listed = demo.dmp("connect", "list")
    assert listed.code == 0, listed.text
    assert len(re.findall(r"^(?:Meta|Shopify)\t\S+\tactive", listed.out, re.MULTILINE)) == 4
    assert "never" not in listed.out
    assert [one for one in tokens if one in listed.text] == []


def test_a_second_demo_connects_nothing_anew(demo: Demo) -> None:
    before = handed_out(demo)
    ran = demo.dmp("demo")
    assert ran.code == 0, ran.text
    assert "connected as their people would" not in ran.text
    assert handed_out(demo) == before
    assert all(f"Ads of {name} " in ran.text for name in NAMES)
    assert "dmp show modeled/ad_roi_daily" in ran.text
