"""Figures that a report and its message share, computed from the tables that the report reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from dmp_assets.cleaned.shop.keys import EVENTS
from dmp_assets.platform.figures.catalogue import figure
from dmp_assets.platform.figures.short_ids import case_link, short_ids
from dmp_assets.platform.reporting import freshness
from dmp_assets.platform.reporting.freshness import Known, incomplete
from dmp_assets.platform.reporting.messages import Figure, ReportFigures, last_full_week
from dmp_assets.platform.reporting.reader import Report

DISCOUNT = """CASE discount_type
    WHEN 'fixed_amount' THEN discount_value
    WHEN 'percentage' THEN min_purchase_amount * least(discount_value, 100) / 100 END"""
"""SQL of the least discount that one redemption gives: orders are at least the code's minimum.

NULL where the terms of the code are unknown or disputed.
"""


@dataclass(frozen=True)
class Flagged:
    """Accounts to be reviewed or blocked, and what they have redeemed, as of the last scoring.

    `users_of_codes` of the accounts have redeemed something, `usages` times in all. `discounts` is
    the least that they got, in the shop's currency; `unpriced` redemptions are of codes whose terms
    are unknown and are not in it. None is unknown: no redemptions were read, or no terms.
    """

    scored: int
    accounts: int
    blocked: int
    users_of_codes: int | None = None
    usages: int | None = None
    discounts: Decimal | None = None
    unpriced: int = 0

    @property
    def reviewed(self) -> int:
        """Flagged, but not to be blocked."""
        return self.accounts - self.blocked


def flagged(report: Report) -> Flagged | None:
    """Flagged accounts as of now; None before the first scoring."""
    if not report.has("ml/abuse_scores"):
        return None
    counted = report.row(
        """SELECT count(*) AS scored, count(*) FILTER (decision <> 'allow') AS accounts,
        count(*) FILTER (decision = 'block') AS blocked FROM ml.abuse_scores"""
    )
    if not report.has("cleaned/promo_usages"):
        return Flagged(**counted)
    spent = report.row(
        """SELECT count(*) AS usages, count(DISTINCT user_id) AS users_of_codes
        FROM cleaned.promo_usages JOIN ml.abuse_scores USING (user_id) WHERE decision <> 'allow'"""
    )
    terms = {"discount_type", "discount_value", "min_purchase_amount"}
    if not terms <= set(report.columns("cleaned/promo_codes")):
        return Flagged(**counted, **spent, unpriced=spent["usages"])
    priced = report.row(
        f"""SELECT coalesce(sum({DISCOUNT}), 0)::DECIMAL(18, 2) AS discounts,
        count(*) FILTER (({DISCOUNT}) IS NULL) AS unpriced
        FROM cleaned.promo_usages JOIN ml.abuse_scores USING (user_id)
        LEFT JOIN cleaned.promo_codes USING (promo_code) WHERE decision <> 'allow'"""
    )
    if spent["usages"] and priced["unpriced"] == spent["usages"]:
        priced["discounts"] = None
    return Flagged(**counted, **spent, **priced)


def is_measured(report: Report) -> bool | None:
    """Whether what serves was measured against labels; None when nothing is registered."""
    if not report.has("ml/model_registry"):
        return None
    rows = report.rows("SELECT pr_auc_mean FROM ml.model_registry WHERE is_serving LIMIT 1")
    return rows[0]["pr_auc_mean"] is not None if rows else None


UNMEASURED = "unmeasured: too few labels to say how often this is right"
"""What stands beside scores of a model that no label has measured."""


TopUser = tuple[str, str, int, str | None]
"""Account id, what stands for it, uses in the week, what the model advises."""


def weekly(report: Report, *, as_of: datetime, problem: str | None = None) -> ReportFigures:
    """Figures of the last full week before `as_of` in the zone of the settings.

    Counts are of days of that zone, from `cleaned/users` and `cleaned/promo_usages`, which the
    report reads as well. `problem`: why the numbers cannot be trusted (a blocking check failed).
    """
    zone = report.settings.timezone
    start, end = last_full_week(as_of, zone)
    now, before = _week(report, start, zone), _week(report, start - timedelta(days=7), zone)
    top = _top_users(report, start, zone)
    headline = [
        Figure.of(name, value, before[name])
        if name != "new_flagged_accounts"
        else Figure.of(name, value, incomparable="not compared: young accounts have shown less")
        for name in ("registered_users", "promo_uses", "users_of_codes", "new_flagged_accounts")
        if (value := now[name]) is not None
    ]
    known = freshness.known(report, EVENTS, as_of)
    return ReportFigures(
        title="Promo-code abuse",
        period_start=start,
        period_end=end,
        data_through=known.through,
        headline=headline,
        table_headers=("Top users", "Used", "Risk"),
        table_rows=[(name, uses, decision or "—") for _, name, uses, decision in top],
        problem=problem or incomplete(known, end, zone),
        notes=_notes(report, known),
        links=_links(report.settings.public_url, top),
    )


def _links(public_url: str | None, top: Sequence[TopUser]) -> Sequence[tuple[str, str]]:
    """Where the service has an address: the queue, and the cases of the flagged top users."""
    queue = case_link(public_url, "")
    if queue is None:
        return ()
    cases = [
        (f"case {name}", case_link(public_url, user_id) or "")
        for user_id, name, _, decision in top
        if decision in ("review", "block")
    ]
    return [("cases to decide", queue.rpartition("/account?")[0]), *cases]


def _notes(report: Report, known: Known) -> Sequence[str]:
    notes = []
    now = flagged(report)
    if now is not None:
        entry, blocked = figure("flagged_accounts"), figure("accounts_to_block")
        notes.append(
            f"{entry.label}, {entry.when}: {now.accounts:,}, of these "
            f"{blocked.label.lower()} {now.blocked:,}."
        )
        if is_measured(report) is False:
            notes.append(f"Scores are {UNMEASURED}.")
    if known.ahead:
        notes.append(f"{known.ahead:,} rows are dated in the future and count for nothing here.")
    return notes


def _week(report: Report, monday: date, zone: str) -> Mapping[str, int | None]:
    days = [monday, monday + timedelta(days=7), zone]
    counts: dict[str, int | None] = dict.fromkeys(
        ("registered_users", "promo_uses", "users_of_codes", "new_flagged_accounts")
    )
    if report.has("cleaned/users"):
        counts |= report.row(
            f"SELECT count(*) AS registered_users FROM cleaned.users WHERE {_within('created_at')}",
            days,
        )
    if report.has("cleaned/promo_usages"):
        counts |= report.row(
            f"""SELECT count(*) AS promo_uses, count(DISTINCT user_id) AS users_of_codes
            FROM cleaned.promo_usages WHERE {_within("used_at")}""",
            days,
        )
    if report.has("cleaned/users", "ml/abuse_scores"):
        counts |= report.row(
            f"""SELECT count(*) AS new_flagged_accounts
            FROM cleaned.users JOIN ml.abuse_scores USING (user_id)
            WHERE decision <> 'allow' AND {_within("created_at")}""",
            days,
        )
    return counts


def _within(column: str) -> str:
    """SQL: the time lies in [$1, $2) as days of the zone $3."""
    return f"timezone($3, {column})::DATE >= $1 AND timezone($3, {column})::DATE < $2"


def _top_users(report: Report, monday: date, zone: str) -> Sequence[TopUser]:
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
    names = short_ids(rows["user_id"])
    return [(u, names[u], int(n), d) for u, n, d in rows.itertuples(index=False)]


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
