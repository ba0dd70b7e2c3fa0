"""Figures that a report and its message share, computed from the tables that the report reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from dmp_assets.reporting.messages import Figure, ReportFigures, last_full_week
from dmp_assets.reporting.privacy import mask_id
from dmp_assets.reporting.reader import SHOP_EVENTS, Report

DISCOUNT = """CASE discount_type
    WHEN 'fixed_amount' THEN discount_value
    WHEN 'percentage' THEN min_purchase_amount * least(discount_value, 100) / 100 END"""
"""SQL of the least discount that one redemption gives: orders are at least the code's minimum.

NULL where the terms of the code are unknown or disputed.
"""


@dataclass(frozen=True)
class Flagged:
    """Accounts to be reviewed or blocked, and what they have redeemed.

    `discounts` is the least that they cost, in the shop's currency; `unpriced` redemptions are of
    codes whose terms are unknown and count as nothing.
    """

    accounts: int
    blocked: int
    usages: int
    discounts: Decimal
    unpriced: int


def flagged(report: Report) -> Flagged | None:
    """Flagged accounts as of now; None before the first scoring."""
    if not report.has("ml/abuse_scores"):
        return None
    counted = report.row(
        """SELECT count(*) FILTER (decision <> 'allow') AS accounts,
        count(*) FILTER (decision = 'block') AS blocked FROM ml.abuse_scores"""
    )
    if not report.has("cleaned/promo_usages", "cleaned/promo_codes"):
        return Flagged(**counted, usages=0, discounts=Decimal(0), unpriced=0)
    spent = report.row(
        f"""SELECT count(*) AS usages, coalesce(sum({DISCOUNT}), 0)::DECIMAL(18, 2) AS discounts,
        count(*) FILTER (({DISCOUNT}) IS NULL) AS unpriced
        FROM cleaned.promo_usages JOIN ml.abuse_scores USING (user_id)
        LEFT JOIN cleaned.promo_codes USING (promo_code) WHERE decision <> 'allow'"""
    )
    return Flagged(**counted, **spent)


def data_through(
    report: Report, as_of: datetime, events: Mapping[str, str] = SHOP_EVENTS
) -> datetime | None:
    """Up to when the source's events are known: when it was last read, unless it had long been
    still.

    A source whose last event is more than `freshness_hours` older than that counts as known up to
    its last event only: nobody can tell a quiet shop from an export that stopped.
    """
    last = report.data_through(events)
    read: list[datetime] = []
    for key in events:
        table = key.partition("/")[2]
        if "_loaded_at" in report.columns(f"raw/{table}"):
            at = report.row(f"SELECT max(_loaded_at) AS at FROM raw.{table}")["at"]
            read += [at] if at else []
    if last is None or not read:
        return last
    known = min(max(read), as_of)
    return known if known - last <= timedelta(hours=report.settings.freshness_hours) else last


def weekly(report: Report, *, as_of: datetime, problem: str | None = None) -> ReportFigures:
    """Figures of the last full week before `as_of` in the zone of the settings.

    Counts are of days of that zone, from `cleaned/users` and `cleaned/promo_usages`, which the
    report reads as well. `problem`: why the numbers cannot be trusted (a blocking check failed).
    """
    zone = report.settings.timezone
    start, end = last_full_week(as_of, zone)
    now, before = _week(report, start, zone), _week(report, start - timedelta(days=7), zone)
    headline = [
        Figure(label, value, before[name])
        for label, name in (
            ("Registrations", "registrations"),
            ("Promo usages", "usages"),
            ("Users of promo codes", "users"),
            ("Newly registered, flagged", "flagged"),
        )
        if (value := now[name]) is not None
    ]
    return ReportFigures(
        title="Promo-code abuse",
        period_start=start,
        period_end=end,
        data_through=data_through(report, as_of),
        headline=headline,
        table_headers=("Top users", "Used", "Risk"),
        table_rows=_top_users(report, start, zone),
        problem=problem,
    )


def _week(report: Report, monday: date, zone: str) -> Mapping[str, int | None]:
    days = [monday, monday + timedelta(days=7), zone]
    counts: dict[str, int | None] = dict.fromkeys(("registrations", "usages", "users", "flagged"))
    if report.has("cleaned/users"):
        counts |= report.row(
            f"SELECT count(*) AS registrations FROM cleaned.users WHERE {_within('created_at')}",
            days,
        )
    if report.has("cleaned/promo_usages"):
        counts |= report.row(
            f"""SELECT count(*) AS usages, count(DISTINCT user_id) AS users
            FROM cleaned.promo_usages WHERE {_within("used_at")}""",
            days,
        )
    if report.has("cleaned/users", "ml/abuse_scores"):
        counts |= report.row(
            f"""SELECT count(*) AS flagged FROM cleaned.users JOIN ml.abuse_scores USING (user_id)
            WHERE decision <> 'allow' AND {_within("created_at")}""",
            days,
        )
    return counts


def _within(column: str) -> str:
    """SQL: the time lies in [$1, $2) as days of the zone $3."""
    return f"timezone($3, {column})::DATE >= $1 AND timezone($3, {column})::DATE < $2"


def _top_users(report: Report, monday: date, zone: str) -> Sequence[tuple[str, int, str]]:
    if not report.has("cleaned/promo_usages"):
        return ()
    scored = report.has("ml/abuse_scores")
    decision = "any_value(decision)" if scored else "NULL"
    join = "LEFT JOIN ml.abuse_scores USING (user_id)" if scored else ""
    rows = report.sql(
        f"""SELECT user_id, count(*) AS usages, {decision} AS decision
        FROM cleaned.promo_usages {join} WHERE {_within("used_at")}
        GROUP BY user_id ORDER BY usages DESC, user_id LIMIT 5""",
        [monday, monday + timedelta(days=7), zone],
    )
    return [(mask_id(u), int(n), d or "—") for u, n, d in rows.itertuples(index=False)]


def by_day(report: Report, figures: ReportFigures) -> tuple[list[date], list[int], list[int]]:
    """Days of the figures' period with usages and registrations of each, for the chart."""
    start, end = figures.period_start, figures.period_end
    days = [start + timedelta(days=i) for i in range((end - start).days + 1)]
    zone = report.settings.timezone

    def counted(table: str, column: str) -> list[int]:
        if not report.has(table.replace(".", "/")):
            return [0] * len(days)
        found: dict[Any, int] = {}
        rows = report.sql(
            f"""SELECT timezone($3, {column})::DATE::VARCHAR AS day, count(*) AS n FROM {table}
            WHERE {_within(column)} GROUP BY day""",
            [start, end + timedelta(days=1), zone],
        )
        for day, n in rows.itertuples(index=False):
            found[day] = int(n)
        return [found.get(day.isoformat(), 0) for day in days]

    return days, counted("cleaned.promo_usages", "used_at"), counted("cleaned.users", "created_at")
