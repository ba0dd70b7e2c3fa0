"""Figures of the weekly report on ad performance, and of its message; see docs/ads.md.

They are of all advertisers of the home together, in the currency of sums, and of some days: those
asked for, else the last full week before the data ends. Days are the ad account's for spend and
claims and the shop's for orders.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd

from dmp_assets.ads.report import figures
from dmp_assets.ads.report.figures import BRIDGE, ROI, Totals
from dmp_assets.ads.settings import currency_of_sums
from dmp_assets.platform.reporting import freshness
from dmp_assets.platform.reporting.freshness import incomplete
from dmp_assets.platform.reporting.messages import Figure, ReportFigures, last_full_week
from dmp_assets.platform.reporting.period import DAY, Period
from dmp_assets.platform.reporting.reader import Report

EVENTS = {"cleaned/shopify_orders": "processed_at"}
"""By what is told how far the data goes: days of ads are told by a day, which has no time."""
RECORD = "ml/ads_forecast_scores"
READS = (
    ROI, BRIDGE, figures.LEDGER, "modeled/conversion_claims", "modeled/ad_accounts",
    "cleaned/shopify_orders", "cleaned/meta_insights", "raw/shopify_orders", RECORD,
)  # fmt: skip
HEADLINE = (
    "ad_spend", "mer", "platform_roas", "modelled_roas", "ads_contribution", "cac",
)  # fmt: skip
"""What the message begins with."""
_LOOKS_BACK = timedelta(days=56)
_MOST = 40


@dataclass(frozen=True)
class Change:
    """A campaign in the days and in as many before."""

    advertiser_id: str
    campaign_id: str
    campaign_name: str
    spend: Decimal
    spend_before: Decimal
    platform_roas: float | None
    modelled_roas: float | None
    profit_roas: float | None
    platform_roas_before: float | None

    @property
    def change(self) -> Decimal:
        """How much more was spent than before."""
        return self.spend - self.spend_before


def period(report: Report, start: str = "", end: str = "") -> Period | None:
    """The days asked for, else the last full week that the ads of somebody reach; None for none."""
    if start and end:
        return Period(date.fromisoformat(start), date.fromisoformat(end))
    if not report.has(ROI):
        return None
    last = report.row(
        "SELECT max(date) AS last FROM modeled.ad_roi_daily WHERE campaign_id = '' AND spend <> 0"
    )["last"]
    return None if last is None else Period(*last_full_week(last + DAY, "UTC"))


def totals(report: Report, days: Period) -> Totals:
    """Sums of the days over all advertisers; what is modelled of none is None."""
    found = [figures.totals(report, one, days) for one in figures.advertisers(report)]
    return Totals(**{
        one.name: _sum(one.name, (getattr(total, one.name) for total in found))
        for one in fields(Totals)
    })  # fmt: skip


def _sum(name: str, values: Iterable[Any]) -> Any:
    """Of nothing that is modelled None, since no model is no 0; of nothing else 0."""
    there = [value for value in values if value is not None]
    if not there:
        return None if name.startswith("modelled_") else 0
    return sum(there, start=type(there[0])(0))


def campaigns(report: Report, days: Period) -> Sequence[Change]:
    """Campaigns that cost anything in the days or before them, the greatest change first."""
    before = days.before()
    found = report.rows(
        """
        WITH named AS (
          SELECT *, date >= $2 AS is_now FROM modeled.ad_roi_daily
          WHERE campaign_id <> '' AND date BETWEEN $1 AND $3
        )
        SELECT advertiser_id, campaign_id,
               coalesce(arg_max(campaign_name, date), campaign_id) AS campaign_name,
               coalesce(sum(spend) FILTER (is_now), 0) AS spend,
               coalesce(sum(spend) FILTER (NOT is_now), 0) AS spend_before,
               coalesce(sum(platform_value) FILTER (is_now), 0) AS claimed,
               coalesce(sum(platform_value) FILTER (NOT is_now), 0) AS claimed_before,
               coalesce(sum(modelled_revenue) FILTER (is_now), 0) AS modelled,
               coalesce(sum(modelled_contribution) FILTER (is_now), 0) AS contribution
        FROM named GROUP BY advertiser_id, campaign_id HAVING sum(abs(named.spend)) > 0
        """,
        [before.first, days.first, days.last],
    )
    changes = [
        Change(
            row["advertiser_id"], row["campaign_id"], row["campaign_name"], row["spend"],
            row["spend_before"], figures.ratio(row["claimed"], row["spend"]),
            figures.ratio(row["modelled"], row["spend"]),
            figures.ratio(row["contribution"], row["spend"]),
            figures.ratio(row["claimed_before"], row["spend_before"]),
        )
        for row in found
    ]  # fmt: skip
    return sorted(changes, key=lambda one: (-abs(one.change), one.advertiser_id, one.campaign_id))


def by_day(report: Report, last: date, *, back: timedelta = _LOOKS_BACK) -> pd.DataFrame:
    """A row per day, of `back` until the last: date, spend, revenue, contribution, claimed, is_open
    (Meta may still change it), mer; days without a row are left out."""
    return report.sql(
        """
        SELECT date, sum(spend)::DOUBLE AS spend, sum(revenue)::DOUBLE AS revenue,
               sum(contribution)::DOUBLE AS contribution, sum(platform_value)::DOUBLE AS claimed,
               bool_or(is_open) AS is_open,
               CASE WHEN sum(spend) > 0 THEN sum(revenue)::DOUBLE / sum(spend)::DOUBLE END AS mer
        FROM modeled.ad_roi_daily
        WHERE campaign_id = '' AND date > $1 AND date <= $2 GROUP BY date ORDER BY date
        """,
        [last - back, last],
    )


def drawn(report: Report, days: Period) -> tuple[Sequence[float], Sequence[float]]:
    """(spend, revenue) of each of the days, 0 where nothing is known."""
    if not report.has(ROI):
        return [0.0] * days.length, [0.0] * days.length
    found = {
        row["date"]: (row["spend"], row["revenue"] or 0.0)
        for row in report.rows(
            "SELECT date, sum(spend)::DOUBLE AS spend, sum(revenue)::DOUBLE AS revenue "
            "FROM modeled.ad_roi_daily WHERE campaign_id = '' AND date BETWEEN $1 AND $2 "
            "GROUP BY date",
            [*days.bounds],
        )
    }
    every = [found.get(day, (0.0, 0.0)) for day in days.days()]
    return [spend for spend, _ in every], [revenue for _, revenue in every]


def open_days(report: Report, days: Period) -> Sequence[date]:
    """Those of the days that Meta may still restate."""
    found = report.rows(
        "SELECT DISTINCT date FROM modeled.ad_roi_daily WHERE campaign_id = '' AND is_open "
        "AND date BETWEEN $1 AND $2 ORDER BY date",
        [*days.bounds],
    )
    return [row["date"] for row in found]


def record(report: Report) -> pd.DataFrame:
    """How good forecasts were, by advertiser and horizon; empty where none is scored yet.

    Columns: advertiser_id, horizon, forecasts, wape, naive_wape, mase, totals_within_80 (share of
    totals within their interval of 80 %), totals_within_95, last_day.
    """
    if not report.has(RECORD):
        return pd.DataFrame()
    return report.sql(
        """
        SELECT advertiser_id, horizon, count(*) AS forecasts, avg(wape) AS wape,
               avg(naive_wape) AS naive_wape, avg(mase) AS mase,
               avg(within_80::INTEGER) AS totals_within_80,
               avg(within_95::INTEGER) AS totals_within_95,
               max(last_day) AS last_day
        FROM ml.ads_forecast_scores GROUP BY ALL ORDER BY advertiser_id, horizon
        """
    )


def message(
    report: Report, *, as_of: datetime, days: Period | None = None, problem: str | None = None
) -> ReportFigures:
    """Figures of some days, or of the last full week before `as_of`, for the message."""
    chosen = days or Period(*last_full_week(as_of, "UTC"))
    known = freshness.known(report, EVENTS, as_of)
    there = report.has(ROI)
    return ReportFigures(
        title="Ad performance",
        period_start=chosen.first,
        period_end=chosen.last,
        data_through=known.through,
        problem=problem or incomplete(known, chosen.last, "UTC"),
        before="days before" if days else "week before",
        **(_figures(report, chosen) if there else {}),
    )


def _figures(report: Report, days: Period) -> dict[str, Any]:
    currency = currency_of_sums(report.settings)
    now, then = totals(report, days).named(), totals(report, days.before()).named()
    is_known = bool(then["ad_spend"] or then["ads_revenue"])
    headline = [
        Figure.of(
            name, value, then[name] if is_known else None, currency=currency,
            incomparable="" if is_known else "no days before with ads or orders",
        )
        for name in HEADLINE
        if (value := now[name]) is not None
    ]  # fmt: skip
    rows = [
        (one.campaign_name, round(float(one.spend)), arrow(one.change, 0),
         "—" if one.platform_roas is None else f"{one.platform_roas:.2f}")
        for one in sorted(campaigns(report, days), key=lambda one: -one.spend)
        if one.spend
    ]  # fmt: skip
    return {
        "headline": headline,
        "table_headers": ("Campaign", currency, "Change", "ROAS"),
        "table_rows": rows[:_MOST],
        "notes": _notes(report, days),
    }


def arrow(change: Decimal, places: int = 2) -> str:
    """A change as people read it; a plus before figures would look like a phone number."""
    shown = f"{abs(float(change)):,.{places}f}"
    return f"{'▲' if change > 0 else '▼'} {shown}" if change else "—"


def _notes(report: Report, days: Period) -> Sequence[str]:
    """What has to be known of the figures."""
    notes = []
    if late := open_days(report, days):
        notes.append(
            f"{len(late)} of the {days.length} days are open: Meta restates spend and claims for "
            "28 days."
        )
    for advertiser in figures.advertisers(report):
        notes += [one.line for one in figures.bridges(report, advertiser, days)
                  if one.claimed_value]  # fmt: skip
    return notes
