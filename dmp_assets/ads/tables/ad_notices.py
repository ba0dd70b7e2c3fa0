"""ml/ad_notices: what is not as usual, each day that it is so; ml/ad_notice_coverage: what was
judged, and of which kinds there is no data.

Sources: the modeled tables of ads and orders, what Meta told and when (raw/meta_*), and how the
connections are (operational store). The rules are in `ads/model/notices`; see docs/experiments.md.
"""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from dmp_assets.ads.domain import is_configured
from dmp_assets.ads.tables.notice_findings import DEPS, Found, Judged, Watch
from dmp_assets.platform.cleaning.machine_values import AMOUNT
from dmp_assets.platform.lake.columns import Column, Columns, arrow_schema
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.platform.lake.window import Window

NOTICES, COVERAGE = "ml/ad_notices", "ml/ad_notice_coverage"
_ADVERTISER = Column("string", "The advertiser.")
_KIND = Column("string", "What is not as usual, e.g. `spend_spike`.")
KEY = ("advertiser_id", "subject", "kind", "day")
COLUMNS = {
    "advertiser_id": _ADVERTISER,
    "subject": Column("string", "Of what: `account:<id>`, `campaign:<id>`, `ad:<id>`, `shop:…`, "
                                "`connection:…`, or `advertiser` for all."),
    "kind": _KIND,
    "day": Column("date", "The day that is not as usual, of the account or shop."),
    "subject_name": Column("string", "What the subject is called."),
    "account_id": Column("string", "The ad account that it is of, if any."),
    "figure": Column(AMOUNT, "What was found, counted in `unit`."),
    "low": Column(AMOUNT, "The least that is usual; null: there is no such bound."),
    "high": Column(AMOUNT, "The most that is usual; null: there is no such bound."),
    "unit": Column("string", "money, ratio, count, days, seconds, or share of the day."),
    "currency": Column("string", "Of money: its currency (ISO 4217)."),
    "since": Column("date", "The first day on which it was so."),
    "link": Column("string", "Path of the page that shows it."),
    "found_at": Column("timestamp", "When it was found first (UTC)."),
}  # fmt: skip
COVERAGE_COLUMNS = {
    "advertiser_id": _ADVERTISER,
    "account_id": Column("string", "The ad account; empty: the advertiser's shops together."),
    "kind": _KIND,
    "judged_through": Column("date", "The last day that was judged; null: none ever."),
    "no_data": Column("string", "Why nothing can be said; null: it was judged."),
}
_PLACES = Decimal("0.0001")
_LARGEST = Decimal(10) ** 14
_LINK = "/ads/notices"


def _state(lakehouse: Lakehouse, window: Window) -> dict[str, Any] | None:
    """What is late, or expires, becomes so by the clock: looked at anew each hour."""
    if not is_configured(lakehouse.home):
        return None
    return {"hour": lakehouse.home.now().strftime("%Y-%m-%dT%H")}


@table_asset(
    "ml",
    deps=DEPS,
    columns=COLUMNS,
    key=KEY,
    also={COVERAGE: COVERAGE_COLUMNS},
    probe=_state,
    settings=["currency", "ads_currency", "shopify_shops"],
    owner="team:marketing",
    kinds=("scipy", "delta"),
    checks=(
        Check(
            "accounts_judged",
            """
            SELECT count(*) AS offending, string_agg(DISTINCT account_id, ', ') AS accounts
            FROM modeled.ad_accounts a
            ANTI JOIN ml.ad_notice_coverage c USING (advertiser_id, account_id)
            """,
            "Every ad account was looked at.",
        ),
    ),
)
def ad_notices(run: TableRun) -> None:
    """What is not as usual, with its figure and its usual range.

    Grain: a day on which a kind of thing was found of a subject, as it was found first. Key:
    advertiser_id, subject, kind, day. Sources: modeled/ad_performance_daily, modeled/ad_roi_daily,
    modeled/order_ledger, modeled/ads, modeled/ad_accounts, cleaned/shopify_orders,
    raw/shopify_orders, raw/meta_insights, raw/meta_insight_readings, raw/meta_campaigns,
    raw/meta_ad_sets, raw/meta_ads, and the connections of the operational store.
    """
    now = run.lakehouse.home.now()
    watch = Watch(run, now, _before(run))
    watch.look()
    new = _new(run, watch.found)
    rows = [{**row, "found_at": now} for row in new]
    run.metadata |= {
        "found": len(rows),
        "kinds_without_data": ", ".join(sorted({one.kind for one in watch.judged if one.why})),
    }
    of = {(one.advertiser_id, one.account_id, one.kind): _coverage(one) for one in watch.judged}
    run.overwrite(_table([of[key] for key in sorted(of)], COVERAGE_COLUMNS), COVERAGE)
    if rows or not run.exists(NOTICES):
        run.append(_table(rows, COLUMNS), NOTICES)
    else:
        _keep(run)


def _keep(run: TableRun) -> None:
    """Nothing was found: who depends on the notices has nothing new."""
    before = run.lakehouse.tables.stamp(NOTICES)
    run.stamp["data_version"] = before.get("data_version") or run.stamp["data_version"]
    run.written[NOTICES] = run.lakehouse.note(NOTICES, stamp=run.stamp)


def _before(run: TableRun) -> dict[tuple[str, str], date]:
    """Up to which day each account was judged."""
    if not run.exists(COVERAGE):
        return {}
    found = run.sql(
        """
        SELECT advertiser_id, account_id, max(judged_through) AS through FROM ml.ad_notice_coverage
        WHERE kind IN ('spend_spike', 'mer_outside_forecast') AND judged_through IS NOT NULL
        GROUP BY ALL
        """
    ).to_pylist()
    return {(row["advertiser_id"], row["account_id"]): row["through"] for row in found}


def _new(run: TableRun, found: Iterable[Found]) -> list[dict[str, Any]]:
    """Rows that are not there yet, each once."""
    rows = {tuple(row[name] for name in KEY): row for row in map(row_of, found)}
    if run.exists(NOTICES):
        names = ", ".join(KEY)
        there = run.sql(f"SELECT {names} FROM ml.ad_notices").to_pylist()
        for row in there:
            rows.pop(tuple(row[name] for name in KEY), None)
    return [rows[key] for key in sorted(rows)]


def row_of(given: Found) -> dict[str, Any]:
    """A finding as a row, but for when it was found."""
    found = given.finding
    return {
        "advertiser_id": found.subject.advertiser_id,
        "subject": found.subject.of,
        "kind": found.kind,
        "day": found.day,
        "subject_name": given.name,
        "account_id": given.account_id,
        "figure": _decimal(found.figure),
        "low": _decimal(found.low),
        "high": _decimal(found.high),
        "unit": given.unit,
        "currency": given.currency or None,
        "since": found.since,
        "link": f"{_LINK}?advertiser={quote(found.subject.advertiser_id, safe='')}",
    }


def _decimal(value: float | None) -> Decimal | None:
    """A figure as it is kept; the largest that can be for what is larger."""
    if value is None:
        return None
    exact = Decimal(repr(value))
    return max(min(exact, _LARGEST - 1), 1 - _LARGEST).quantize(_PLACES)


def _coverage(one: Judged) -> dict[str, Any]:
    return {
        "advertiser_id": one.advertiser_id,
        "account_id": one.account_id,
        "kind": one.kind,
        "judged_through": one.through,
        "no_data": one.why,
    }


def _table(rows: Iterable[dict[str, Any]], columns: Columns) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=arrow_schema(columns))
