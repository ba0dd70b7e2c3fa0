"""Figures of attribution that the report and its message share.

Tables of results are read as of the versions that the last complete run committed together.
Conversions count on their day, channels on the day of the session that cost or earned something.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pandas as pd

from dmp_assets.attribution.models import Parameters, models_of
from dmp_assets.home import Home
from dmp_assets.reporting.figures import data_through
from dmp_assets.reporting.messages import Figure, ReportFigures, last_full_week
from dmp_assets.reporting.reader import WEB_EVENTS, Report
from dmp_assets.settings import Settings

NEEDED = ("modeled/attribution_runs", "modeled/channel_reporting", "modeled/attribution")
PARTS = ("attributed", "without_touchpoint", "failed", "quarantined")
DAY = timedelta(days=1)
SUMS = """
    coalesce(sum(cost), 0)::DOUBLE AS cost,
    coalesce(sum(conversions), 0) AS conversions,
    coalesce(sum(revenue), 0) AS revenue,
    coalesce(sum(conversions_without_abuse), 0) AS conversions_without_abuse,
    coalesce(sum(revenue_without_abuse), 0) AS revenue_without_abuse"""


@dataclass(frozen=True)
class Period:
    """Days, both included. `whole`: everything that is stored, also what lies outside of them."""

    first: date
    last: date
    whole: bool = False

    @property
    def bounds(self) -> tuple[date, date]:
        """First and last day that count."""
        return (date(1, 1, 1), date(9999, 12, 31)) if self.whole else (self.first, self.last)

    @property
    def length(self) -> int:
        return (self.last - self.first).days + 1

    def days(self) -> list[date]:
        return [self.first + DAY * i for i in range(self.length)]

    def before(self) -> "Period":
        """As many days, just before."""
        return Period(self.first - DAY * self.length, self.first - DAY)

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


@dataclass(frozen=True)
class Totals:
    """Cost and credit of a period, in EUR; `…_without_abuse` leaves scored accounts out."""

    cost: float
    conversions: float
    revenue: float
    conversions_without_abuse: float
    revenue_without_abuse: float

    @property
    def cpo(self) -> float | None:
        """Cost per order; None without orders."""
        return ratio(self.cost, self.conversions)

    @property
    def roas(self) -> float | None:
        """Return on ad spend; None without cost."""
        return ratio(self.revenue, self.cost)


@dataclass(frozen=True)
class AddedUp:
    """What became of all conversions of a period, and of their revenue in EUR."""

    conversions: Mapping[str, int]
    revenue: Mapping[str, float]

    def lines(self, currency: str) -> tuple[str, str]:
        """One line each for conversions and revenue: the parts, and the sum that they make."""

        def line(values: Mapping[str, float], pattern: str, unit: str) -> str:
            parts = (f"{values[p]:{pattern}} {p.replace('_', ' ')}" for p in PARTS)
            total = sum(values[p] for p in PARTS)
            return f"{' + '.join(parts)} = {total:{pattern}} {unit}"

        return (
            line(self.conversions, ",", "conversions"),
            line(self.revenue, ",.2f", f"{currency} of revenue"),
        )


def ratio(above: float, below: float) -> float | None:
    """above / below; None where that means nothing."""
    return above / below if below > 0 else None


def opened(home: Home | None = None, versions: Mapping[str, int] | None = None) -> Report:
    """A report that reads results as of the last complete run, or as of what was asked for."""
    report = Report.open(home, versions)
    if report.has("modeled/attribution_runs"):
        last = _last_run(report)
        report.versions = (dict(last["versions"]) if last else {}) | report.versions
    return report


def _last_run(report: Report) -> dict[str, Any] | None:
    rows = report.rows("FROM modeled.attribution_runs ORDER BY committed_at DESC LIMIT 1")
    return rows[0] if rows else None


def period(report: Report, start: str = "", end: str = "") -> Period | None:
    """The days asked for, else those of the last run; None when there is nothing.

    A run without a range stands for all days, shown from the first with credit to the last with a
    conversion.
    """
    last = _last_run(report) if report.has(*NEEDED) else None
    if last is None:
        return None
    if start and end:
        return Period(date.fromisoformat(start), date.fromisoformat(end))
    if last["start"] is not None:
        return Period(last["start"], last["end"])
    days = report.row(
        """SELECT min(conversion_date) AS first, max(conversion_date) AS last,
        (SELECT min(date) FROM modeled.channel_reporting WHERE conversions > 0) AS earned
        FROM modeled.attributed_conversions"""
    )
    if days["first"] is None:
        return None
    return Period(min(days["first"], days["earned"] or days["first"]), days["last"], whole=True)


def titles(settings: Settings) -> dict[str, str]:
    """Name → title of every model, the service's first."""
    own = models_of(Parameters(markov_orders=tuple(settings.markov_orders)))
    return {"ihc": "IHC", **{name: model.title for name, model in own.items()}}


def totals(report: Report, model: str, days: Period) -> Totals:
    """Cost and credit of the days by one model."""
    return Totals(
        **report.row(
            f"SELECT {SUMS} FROM modeled.channel_reporting "
            "WHERE model = $1 AND date BETWEEN $2 AND $3",
            [model, *days.bounds],
        )
    )


def by_channel(report: Report, model: str, days: Period) -> pd.DataFrame:
    """A row per channel: channel_name, the sums, cpo and roas with and without abuse."""
    return report.sql(
        f"""
        WITH summed AS (
            SELECT channel_name, {SUMS} FROM modeled.channel_reporting
            WHERE model = $1 AND date BETWEEN $2 AND $3 GROUP BY channel_name
        )
        SELECT *,
               CASE WHEN conversions > 0 THEN cost / conversions END AS cpo,
               CASE WHEN cost > 0 THEN revenue / cost END AS roas,
               CASE WHEN conversions_without_abuse > 0
                    THEN cost / conversions_without_abuse END AS cpo_without_abuse,
               CASE WHEN cost > 0 THEN revenue_without_abuse / cost END AS roas_without_abuse
        FROM summed WHERE cost > 0 OR conversions > 0 ORDER BY revenue DESC, channel_name""",
        [model, *days.bounds],
    )


def added_up(report: Report, days: Period) -> AddedUp:
    """What became of the conversions of the days: the run's own count where it is of these days."""
    last = _last_run(report)
    run_of = (None, None) if days.whole else (days.first, days.last)
    if last is None or (last["start"], last["end"]) != run_of:
        from dmp_assets.modeled import attribution_runs

        tables = report.pinned(
            "modeled/attributed_conversions",
            "cleaned/web_conversions",
            "quarantine/web_conversions",
        )
        window = None if days.whole else (days.first, days.last + DAY)
        last = attribution_runs.added_up(tables, window)
    return AddedUp(
        {part: int(last[part]) for part in PARTS},
        {part: float(last[f"{part}_revenue"]) for part in PARTS},
    )


def message(
    report: Report, *, as_of: datetime, days: Period | None = None, problem: str | None = None
) -> ReportFigures:
    """Figures of some days, or of the last full week (UTC) before `as_of`, for the message."""
    chosen = days or Period(*last_full_week(as_of, "UTC"))
    ends = datetime.combine(chosen.last + DAY, time(), UTC)
    figures = _figures(report, chosen) if report.has(*NEEDED) else {}
    return ReportFigures(
        title="Attribution",
        period_start=chosen.first,
        period_end=chosen.last,
        data_through=data_through(report, min(as_of, ends), WEB_EVENTS),
        problem=problem,
        before="days before" if days else "week before",
        **figures,
    )


def _figures(report: Report, days: Period) -> dict[str, Any]:
    settings = report.settings
    model, currency = settings.reporting_model, settings.currency
    now, then = totals(report, model, days), totals(report, model, days.before())
    there = then.conversions > 0 or then.cost > 0
    headline = [
        Figure(label, value, before if there else None, unit)
        for label, value, before, unit in (
            ("Cost per order", now.cpo, then.cpo, currency),
            ("ROAS", now.roas, then.roas, ""),
            ("Attributed revenue", now.revenue, then.revenue, currency),
            ("Attributed conversions", now.conversions, then.conversions, ""),
        )
        if value is not None
    ]
    paid = by_channel(report, model, days).query("cost > 0")
    rows = [
        (name, "—" if pd.isna(cpo) else float(cpo), float(roas))
        for name, cpo, roas in zip(paid["channel_name"], paid["cpo"], paid["roas"], strict=True)
    ]
    return {
        "headline": headline,
        "table_headers": ("Paid channel", "CPO", "ROAS"),
        "table_rows": rows,
        "notes": _notes(report, model, days),
    }


def _notes(report: Report, model: str, days: Period) -> Sequence[str]:
    notes = [f"By the model {titles(report.settings).get(model, model)}."]
    notes += [f"{line}." for line in added_up(report, days).lines(report.settings.currency)]
    open_days = report.row(
        """SELECT count(DISTINCT date) AS n FROM modeled.channel_reporting
        WHERE is_open AND date BETWEEN $1 AND $2""",
        [*days.bounds],
    )["n"]
    if open_days:
        notes.append(f"{open_days} of the days are still open: later conversions will add to them.")
    return notes


def by_day(report: Report, days: Period) -> tuple[list[date], list[float], list[float]]:
    """Every day of the period with credited revenue and cost by the reporting model."""
    every = days.days()
    found: dict[str, tuple[float, float]] = {}
    if report.has(*NEEDED):
        rows = report.sql(
            """SELECT date::VARCHAR AS day, sum(revenue) AS revenue, sum(cost)::DOUBLE AS cost
            FROM modeled.channel_reporting WHERE model = $1 AND date BETWEEN $2 AND $3
            GROUP BY day""",
            [report.settings.reporting_model, *days.bounds],
        )
        found = {day: (revenue, cost) for day, revenue, cost in rows.itertuples(index=False)}
    values = [found.get(day.isoformat(), (0.0, 0.0)) for day in every]
    return every, [revenue for revenue, _ in values], [cost for _, cost in values]
