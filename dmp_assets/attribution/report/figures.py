"""Figures of attribution that the report and its message share.

Tables of results are read as of the versions that the last complete run committed together.
Conversions count on their day, channels on the day of the session that cost or earned something.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

import pandas as pd

from dmp_assets.attribution.model import maturity
from dmp_assets.attribution.model.models import IHC, models_of
from dmp_assets.attribution.settings import AttributionSettings
from dmp_assets.cleaned.web.keys import EVENTS
from dmp_assets.home import Home
from dmp_assets.platform.reporting import freshness
from dmp_assets.platform.reporting.freshness import incomplete
from dmp_assets.platform.reporting.messages import Figure, ReportFigures, last_full_week
from dmp_assets.platform.reporting.period import DAY, Period
from dmp_assets.platform.reporting.reader import Report
from dmp_assets.settings import Settings

NEEDED = ("modeled/attribution_runs", "modeled/channel_reporting", "modeled/attribution")
PARTS = ("attributed", "without_touchpoint", "failed", "quarantined")
SUMS = """
    coalesce(sum(cost), 0)::DOUBLE AS cost,
    coalesce(sum(conversions), 0) AS conversions,
    coalesce(sum(revenue), 0) AS revenue,
    coalesce(sum(conversions_without_abuse), 0) AS conversions_without_abuse,
    coalesce(sum(revenue_without_abuse), 0) AS revenue_without_abuse"""


@dataclass(frozen=True)
class Totals:
    """Cost and credit of a period, in the shop's currency.

    `…_without_abuse` leaves scored accounts out; `paid_…` is of the channels that cost something
    in the period.
    """

    cost: float
    conversions: float
    revenue: float
    conversions_without_abuse: float
    revenue_without_abuse: float
    paid_conversions: float
    paid_revenue: float

    @property
    def cpo(self) -> float | None:
        """Cost per order of all channels; None without orders or without cost."""
        return ratio(self.cost, self.conversions) if self.cost else None

    @property
    def roas(self) -> float | None:
        """Return on ad spend, free channels' revenue included; None without cost."""
        return ratio(self.revenue, self.cost)

    @property
    def paid_cpo(self) -> float | None:
        """Cost per order of the paid channels; None without orders of theirs."""
        return ratio(self.cost, self.paid_conversions)

    @property
    def paid_roas(self) -> float | None:
        """Return on ad spend of the paid channels alone; None without cost."""
        return ratio(self.paid_revenue, self.cost)


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
        for key, version in dict((last and last["versions"]) or {}).items():
            report.versions.setdefault(key, version)
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
    own = models_of(settings.of(AttributionSettings).markov_orders)
    return {IHC: "IHC", **{name: model.title for name, model in own.items()}}


def totals(report: Report, model: str, days: Period) -> Totals:
    """Cost and credit of the days by one model."""
    (found,) = report.rows(
        """
        WITH channel AS (
            SELECT channel_name, sum(cost) AS cost, fsum(conversions) AS conversions,
                   fsum(revenue) AS revenue,
                   fsum(conversions_without_abuse) AS conversions_without_abuse,
                   fsum(revenue_without_abuse) AS revenue_without_abuse
            FROM modeled.channel_reporting
            WHERE model = $1 AND date BETWEEN $2 AND $3 GROUP BY channel_name
        )
        SELECT coalesce(sum(cost), 0)::DOUBLE AS cost,
               coalesce(fsum(conversions ORDER BY channel_name), 0) AS conversions,
               coalesce(fsum(revenue ORDER BY channel_name), 0) AS revenue,
               coalesce(fsum(conversions_without_abuse ORDER BY channel_name), 0)
                   AS conversions_without_abuse,
               coalesce(fsum(revenue_without_abuse ORDER BY channel_name), 0)
                   AS revenue_without_abuse,
               coalesce(fsum(conversions ORDER BY channel_name) FILTER (cost > 0), 0)
                   AS paid_conversions,
               coalesce(fsum(revenue ORDER BY channel_name) FILTER (cost > 0), 0) AS paid_revenue
        FROM channel""",
        [model, *days.bounds],
    )
    return Totals(**found)


def by_channel(report: Report, model: str, days: Period) -> pd.DataFrame:
    """A row per channel: channel_name, the sums, cpo and roas with and without abuse.

    A channel without any cost has no cost per order: what it cost is not known to be nothing.
    """
    return report.sql(
        f"""
        WITH summed AS (
            SELECT channel_name, {SUMS} FROM modeled.channel_reporting
            WHERE model = $1 AND date BETWEEN $2 AND $3 GROUP BY channel_name
        )
        SELECT *,
               CASE WHEN conversions > 0 AND cost > 0 THEN cost / conversions END AS cpo,
               CASE WHEN cost > 0 THEN revenue / cost END AS roas,
               CASE WHEN conversions_without_abuse > 0 AND cost > 0
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
        from dmp_assets.attribution.tables import attribution_runs

        tables = report.pinned(
            "modeled/attributed_conversions",
            "cleaned/web_conversions",
            "quarantine/web_conversions",
            "raw/web_conversions",
        )
        window = None if days.whole else (days.first, days.last + DAY)
        last = attribution_runs.added_up(tables, window, report.settings.column_formats)
    return AddedUp(
        {part: int(last[part]) for part in PARTS},
        {part: float(last[f"{part}_revenue"]) for part in PARTS},
    )


def message(
    report: Report, *, as_of: datetime, days: Period | None = None, problem: str | None = None
) -> ReportFigures:
    """Figures of some days, or of the last full week (UTC) before `as_of`, for the message.

    The period before is shown as it stood at the same age: with the conversions that had come as
    long after its end as those of this period have been able to.
    """
    chosen = days or Period(*last_full_week(as_of, "UTC"))
    ends = datetime.combine(chosen.last + DAY, time(), UTC)
    # of a period that is long over, only its own end has to be reached
    reached = freshness.known(report, EVENTS, min(as_of, ends))
    until = freshness.known(report, EVENTS, as_of).through or as_of
    figures = _figures(report, chosen, until) if report.has(*NEEDED) else {}
    return ReportFigures(
        title="Attribution",
        period_start=chosen.first,
        period_end=chosen.last,
        data_through=max(reached.through, until) if reached.through else None,
        problem=problem or incomplete(reached, chosen.last, "UTC"),
        before="days before at the same age" if days else "week before at the same age",
        **figures,
    )


def _figures(report: Report, days: Period, until: datetime) -> dict[str, Any]:
    model = report.settings.of(AttributionSettings).reporting_model
    currency = report.settings.currency
    earlier = days.before()
    now = matured(report, model, days, until)
    then = matured(report, model, earlier, until - DAY * days.length)
    there = _reaches(report, earlier)
    why = "" if there else "no days before of which all is known"
    headline = [
        Figure.of(name, value, before if there else None, currency=currency, incomparable=why)
        for name, value, before in (
            ("paid_roas", now.paid_roas, then.paid_roas),
            ("roas", now.roas, then.roas),
            ("paid_cost_per_order", now.paid_cpo, then.paid_cpo),
            ("cost_per_order", now.cpo, then.cpo),
            ("attributed_revenue", now.revenue, then.revenue),
            ("attributed_conversions", now.conversions, then.conversions),
        )
        if value is not None
    ]
    paid = by_channel(report, model, days).query("cost > 0")
    rows = [
        (name, "—" if pd.isna(cpo) else _two(cpo), _two(roas))
        for name, cpo, roas in zip(paid["channel_name"], paid["cpo"], paid["roas"], strict=True)
    ]
    return {
        "headline": headline,
        "table_headers": ("Paid channel", "CPO", "ROAS"),
        "table_rows": rows,
        "notes": _notes(report, model, days),
    }


def _two(value: float) -> str:
    """A ratio of a message's table: always two places, so that a column can be read down."""
    return f"{value:,.2f}"


def matured(report: Report, model: str, days: Period, until: datetime) -> Totals:
    """Cost and credit of the days by one model, with the conversions before `until` (UTC) alone.

    This is what the days had earned by then; `totals` is what they have earned by now.
    """
    (found,) = report.rows(
        """
        WITH earned AS (
          SELECT channel_name, fsum(credit) AS conversions,
                 fsum(credit * a.revenue::DOUBLE) AS revenue,
                 fsum(credit) FILTER (is_promo_abuse IS NOT TRUE) AS conversions_without_abuse,
                 fsum(credit * a.revenue::DOUBLE) FILTER (is_promo_abuse IS NOT TRUE)
                   AS revenue_without_abuse
          FROM modeled.attribution JOIN modeled.attributed_conversions AS a USING (conv_id)
          LEFT JOIN cleaned.web_conversions AS c USING (conv_id)
          WHERE model = $1 AND session_date BETWEEN $2 AND $3
            AND coalesce(c.converted_at, a.conversion_date) < $4
          GROUP BY channel_name
        ), spent AS (
          SELECT channel_name, sum(cost)::DOUBLE AS cost FROM modeled.channel_reporting
          WHERE model = $1 AND date BETWEEN $2 AND $3 GROUP BY channel_name
        ), channels AS (FROM spent FULL JOIN earned USING (channel_name))
        SELECT coalesce(sum(cost), 0) AS cost,
               coalesce(sum(conversions), 0) AS conversions, coalesce(sum(revenue), 0) AS revenue,
               coalesce(sum(conversions_without_abuse), 0) AS conversions_without_abuse,
               coalesce(sum(revenue_without_abuse), 0) AS revenue_without_abuse,
               coalesce(sum(conversions) FILTER (cost > 0), 0) AS paid_conversions,
               coalesce(sum(revenue) FILTER (cost > 0), 0) AS paid_revenue
        FROM channels""",
        [model, *days.bounds, until],
    )
    return Totals(**found)


def weeks(report: Report, model: str, days: Period, *, count: int = 8) -> pd.DataFrame:
    """The last full weeks (Monday to Sunday, UTC) of the days, the newest first.

    monday, cost, revenue and paid_roas by now; paid_roas_at_age as it was at the week's end,
    paid_roas_before of the week before at its own end, and the change between those two.
    """
    monday = days.last + DAY - DAY * ((days.last + DAY).weekday() + 7)
    rows: list[dict[str, Any]] = []
    while len(rows) <= count and monday >= days.first:
        week = Period(monday, monday + 6 * DAY)
        now = totals(report, model, week)
        ended = datetime.combine(week.last + DAY, time(), UTC)
        rows.append(
            {
                "monday": monday,
                "cost": now.cost,
                "revenue": now.revenue,
                "paid_roas": now.paid_roas,
                "paid_roas_at_age": matured(report, model, week, ended).paid_roas,
            }
        )
        monday -= 7 * DAY
    frame = pd.DataFrame(rows)
    if frame.empty:
        return frame
    numbers = frame["paid_roas_at_age"].astype("float64")
    frame["paid_roas_before"] = numbers.shift(-1)
    frame["change"] = numbers / frame["paid_roas_before"].where(frame["paid_roas_before"] > 0) - 1
    return frame.head(count)


def open_after(report: Report) -> int:
    """Days after which a day is closed: nine in ten touchpoints had their conversion by then."""
    there = report.has("modeled/customer_journeys")
    measured = report.row(maturity.DELAY)["days"] if there else None
    return maturity.open_days(measured, report.settings.of(AttributionSettings).lookback_days)


def left_edge(report: Report, days: Period) -> date | None:
    """First day of the web's data where it lies so near that journeys of these days are cut off."""
    if not report.has("cleaned/web_sessions"):
        return None
    first: date | None = report.row(
        "SELECT quantile_disc(event_at, 0.001)::DATE AS day FROM cleaned.web_sessions"
    )["day"]  # not the least: clocks are wrong
    near = first is not None and (days.first - first).days < open_after(report)
    return first if near else None


def _reaches(report: Report, days: Period) -> bool:
    """Whether the web's data begins before these days, so that all of them is known."""
    if not report.has("cleaned/web_sessions"):
        return False
    first = report.row("SELECT min(event_at)::DATE AS day FROM cleaned.web_sessions")["day"]
    return first is not None and first <= days.first


def _notes(report: Report, model: str, days: Period) -> Sequence[str]:
    added = added_up(report, days)
    notes = [
        f"By the model {titles(report.settings).get(model, model)}. Credit counts on the day of "
        "the session that earned it, whenever the conversion came.",
        "Conversions that happened on these days, most of them earned by earlier sessions: "
        f"{added.lines(report.settings.currency)[0]}.",
    ]
    open_days = report.row(
        """SELECT count(DISTINCT date) AS n FROM modeled.channel_reporting
        WHERE is_open AND date BETWEEN $1 AND $2""",
        [*days.bounds],
    )["n"]
    if open_days:
        notes.append(
            f"{open_days} of the days are still open: later conversions will add to them (nine in "
            f"ten touchpoints lead to theirs within {open_after(report)} days)."
        )
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
            [report.settings.of(AttributionSettings).reporting_model, *days.bounds],
        )
        found = {day: (revenue, cost) for day, revenue, cost in rows.itertuples(index=False)}
    values = [found.get(day.isoformat(), (0.0, 0.0)) for day in every]
    return every, [revenue for revenue, _ in values], [cost for _, cost in values]
