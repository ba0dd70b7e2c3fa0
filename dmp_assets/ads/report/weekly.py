"""Figures of the weekly report on ad performance, and of its message; see docs/ads.md.

They are of all advertisers of the home together whose amounts are known in the currency of sums,
and of some days: those asked for, else the last full week before the data ends. Days are the ad
account's for spend and claims and the shop's for orders.
"""

from collections.abc import Sequence
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
    ROI, BRIDGE, figures.LEDGER, figures.ADS, "modeled/ad_accounts",
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
    """A campaign in the days and in as many before; None is not known."""

    advertiser_id: str
    campaign_id: str
    campaign_name: str
    spend: Decimal | None
    spend_before: Decimal | None
    platform_roas: float | None
    modelled_roas: float | None
    profit_roas: float | None
    platform_roas_before: float | None

    @property
    def change(self) -> Decimal | None:
        """How much more was spent than before."""
        if self.spend is None or self.spend_before is None:
            return None
        return self.spend - self.spend_before


def period(report: Report, start: str = "", end: str = "") -> Period | None:
    """The days asked for, else the last full week that the ads of somebody reach; None for none."""
    if start and end:
        return Period(date.fromisoformat(start), date.fromisoformat(end))
    if not report.has(ROI):
        return None
    last = report.row(
        "SELECT max(date) AS last FROM modeled.ad_roi_daily WHERE campaign_id = '' "
        "AND spend IS DISTINCT FROM 0"
    )["last"]
    return None if last is None else Period(*last_full_week(last + DAY, "UTC"))


def rated(report: Report, days: Period) -> Sequence[str]:
    """The advertisers whom sums of the days, and of those before, are of: all whose amounts are
    known in the currency of sums; all, where nobody's are."""
    every = figures.advertisers(report)
    lack = {one.advertiser_id for one in figures.unrated(report, _with_before(days))}
    return [one for one in every if one not in lack] or every


def _with_before(days: Period) -> Period:
    return Period(days.before().first, days.last)


def left_out(report: Report, days: Period) -> Sequence[str]:
    """What is in no sum, as it has no exchange rate, in sentences."""
    return [one.line for one in figures.unrated(report, _with_before(days))]


def incomparable(report: Report, days: Period) -> str:
    """Why no change is said; empty where the days before are known of everybody."""
    before, found = days.before(), []
    for one in rated(report, days):
        whole = figures.whole_from(report, one)
        known = 0 if whole is None else (before.last - max(before.first, whole)).days + 1
        found.append(max(known, 0))
    least = min(found, default=0)
    if least >= before.length:
        return ""
    some = f"only {least}" if least else "none"
    return f"{some} of {before.length} days before are known"


def totals(report: Report, days: Period, of: Sequence[str] | None = None) -> Totals:
    """Sums of the days over these advertisers, over all whose amounts are known without any.

    What is modelled, and what is sold, is of those of whom it is known.
    """
    whose = rated(report, days) if of is None else of
    found = [figures.totals(report, one, days) for one in whose]
    return Totals(**{
        one.name: _sum(one.name, [getattr(total, one.name) for total in found])
        for one in fields(Totals)
    })  # fmt: skip


_OF_ALL = ("spend", "platform_value")


def _sum(name: str, values: Sequence[Any]) -> Any:
    """None where nothing is known, or a part of what everybody has is not."""
    there = [value for value in values if value is not None]
    if not there or (name in _OF_ALL and len(there) < len(values)):
        return None
    return sum(there, start=type(there[0])(0))


def campaigns(report: Report, days: Period) -> Sequence[Change]:
    """Campaigns that cost anything in the days or before them, the greatest change first; those of
    which it is not known what last."""
    before = days.before()
    found = report.rows(
        f"""
        WITH named AS (
          SELECT *, date >= $2 AS is_now FROM modeled.ad_roi_daily
          WHERE campaign_id <> '' AND date BETWEEN $1 AND $3
        )
        SELECT advertiser_id, campaign_id,
               coalesce(arg_max(campaign_name, date), campaign_id) AS campaign_name,
               {_known("spend", "is_now")} AS spend,
               {_known("spend", "NOT is_now")} AS spend_before,
               {_known("platform_value", "is_now")} AS claimed,
               {_known("platform_value", "NOT is_now")} AS claimed_before,
               {_known("modelled_revenue", "is_now")} AS modelled,
               {_known("modelled_contribution", "is_now")} AS contribution
        FROM named GROUP BY advertiser_id, campaign_id
        HAVING sum(abs(named.spend)) > 0 OR count(*) > count(named.spend)
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
    return sorted(
        changes,
        key=lambda one: (
            one.change is None, -abs(one.change or Decimal(0)), one.advertiser_id, one.campaign_id,
        ),
    )  # fmt: skip


def _known(name: str, which: str) -> str:
    """SQL of the sum of some rows; null where one is."""
    rows = f"FILTER ({which})"
    return (
        f"CASE WHEN count(*) {rows} = count({name}) {rows} THEN coalesce(sum({name}) {rows}, 0) END"
    )


def by_day(report: Report, days: Period, *, back: timedelta = _LOOKS_BACK) -> pd.DataFrame:
    """A row per day, of `back` until the last of the days: date, spend, revenue, contribution,
    claimed, is_open (Meta may still change it), mer; days without a row are left out. They are of
    those whom sums of the days are of."""
    return report.sql(
        f"""
        SELECT date, ({_known("spend", "true")})::DOUBLE AS spend, sum(revenue)::DOUBLE AS revenue,
               sum(contribution)::DOUBLE AS contribution,
               ({_known("platform_value", "true")})::DOUBLE AS claimed, bool_or(is_open) AS is_open,
               sum(revenue)::DOUBLE / nullif(({_known("spend", "revenue IS NOT NULL")}), 0)::DOUBLE
                 AS mer
        FROM modeled.ad_roi_daily
        WHERE campaign_id = '' AND date > $1 AND date <= $2 AND list_contains($3, advertiser_id)
        GROUP BY date ORDER BY date
        """,
        [days.last - back, days.last, list(rated(report, days))],
    )


def drawn(report: Report, days: Period) -> tuple[Sequence[float], Sequence[float]]:
    """(spend, revenue) of each of the days, 0 where there is none; NaN where it is not known."""
    if not report.has(ROI):
        return [0.0] * days.length, [0.0] * days.length
    known = by_day(report, days, back=timedelta(days=days.length))
    found = {
        pd.Timestamp(row["date"]).date(): (float(row["spend"]), float(row["revenue"]))
        for row in known.to_dict("records")
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
    of, why = rated(report, days), incomparable(report, days)
    now, then = (totals(report, one, of).named() for one in (days, days.before()))
    headline = [
        Figure.of(
            name, value, None if why else then[name], currency=currency, incomparable=why
        )
        for name in HEADLINE
        if (value := now[name]) is not None
    ]  # fmt: skip
    return {
        "headline": headline,
        "table_headers": ("Campaign", currency, "Change", "ROAS"),
        "table_rows": _rows(report, days, of, "" if why else "before")[:_MOST],
        "notes": [*left_out(report, days), *_notes(report, days)],
    }


def _rows(
    report: Report, days: Period, of: Sequence[str], before: str
) -> Sequence[tuple[str, int, str, str]]:
    """Campaigns with most spend; of several advertisers each begins with its name and sums. Without
    `before` no change is said."""
    spent = [one for one in campaigns(report, days) if one.spend and one.advertiser_id in of]
    spent.sort(key=lambda one: -(one.spend or 0))
    whose = list(dict.fromkeys(one.advertiser_id for one in spent))
    rows = []
    for advertiser in whose:
        own = [one for one in spent if one.advertiser_id == advertiser]
        if len(whose) > 1:
            now, then = (figures.totals(report, advertiser, one) for one in (days, days.before()))
            rows.append(_row(advertiser, now.spend, then.spend, now.platform_roas, before))
        mark = "– " if len(whose) > 1 else ""
        rows += [
            _row(mark + one.campaign_name, one.spend, one.spend_before, one.platform_roas, before)
            for one in own
        ]
    return rows


def _row(
    name: str, spend: Decimal | None, then: Decimal | None, roas: float | None, before: str
) -> tuple[str, int, str, str]:
    changed = share(spend, then) if before else "—"
    return name, round(float(spend or 0)), changed, "—" if roas is None else f"{roas:.2f}"


def share(now: Decimal | None, then: Decimal | None) -> str:
    """By what share something changed: `▲ 12 %`, or `new`."""
    if now is None or then is None:
        return "—"
    if not then:
        return "new"
    percent = round(100 * (float(now) / float(then) - 1))
    return f"{'▲' if percent > 0 else '▼'} {abs(percent):,} %" if percent else "0 %"


def arrow(change: Decimal | None, places: int = 2) -> str:
    """A change as people read it; a plus before figures would look like a phone number."""
    if not change:
        return "—"
    return f"{'▲' if change > 0 else '▼'} {abs(float(change)):,.{places}f}"


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
