"""The data that the dashboard carries in its page, so that its date filter needs no server.

Per day the registrations and usages; per day and user, and per day and code, the usages. The page
sums them over the chosen days. Above `MOST_ROWS` rows only candidates for the top lists are
carried: those with the most usages in all, and in any one month; the page says so.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from dmp_assets.platform.figures.short_ids import short_ids
from dmp_assets.platform.reporting.look import labels
from dmp_assets.platform.reporting.reader import Report

MOST_ROWS = 40_000
TOP = 10


@dataclass(frozen=True)
class Carried:
    """Who is carried by day: labels, and rows of (day, index of the label, usages).

    `of` is how many there are in all, `sizes` how many of them have each number of usages in all.
    """

    labels: tuple[str, ...]
    rows: tuple[tuple[int, int, int], ...]
    of: int
    sizes: dict[int, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return len(self.labels) == self.of


def bounds(report: Report) -> tuple[date, date] | None:
    """First and last day (UTC) with a registration or a usage; None when there is none."""
    found: list[date] = []
    for key in ("modeled.registrations_daily", "modeled.promo_usage_daily"):
        if report.has(key.replace(".", "/")):
            row = report.row(f"SELECT min(date) AS first, max(date) AS last FROM {key}")
            found += [day for day in row.values() if day]
    return (min(found), max(found)) if found else None


def page_data(report: Report, start: str = "", end: str = "") -> dict[str, Any]:
    """Everything that the page's script needs; `start` and `end` (ISO dates) preset the filter."""
    known = bounds(report)
    if known is None:
        return {"days": 0}
    first, last = known
    days = (last - first).days + 1
    usages = _daily(report, "modeled.promo_usage_daily", "usages", first, days)
    users = carried(report, "user_id", first)
    codes = carried(report, "promo_code", first)
    return {
        "first": first.isoformat(),
        "days": days,
        "start": start or first.isoformat(),
        "end": end or last.isoformat(),
        "registrations": _daily(
            report, "modeled.registrations_daily", "registrations", first, days
        ),
        "usages": usages,
        "top": TOP,
        "users": _packed(users),
        "codes": _packed(codes),
    }


def _packed(who: Carried) -> dict[str, Any]:
    day, index, count = (
        (list(column) for column in zip(*who.rows, strict=True))
        if who.rows
        else (
            [],
            [],
            [],
        )
    )
    return {
        "labels": who.labels,
        "day": day,
        "index": index,
        "count": count,
        "sizes": who.sizes,
        "complete": who.complete,
        "of": who.of,
    }


def _daily(report: Report, table: str, column: str, first: date, days: int) -> list[int]:
    counts = [0] * days
    if report.has(table.replace(".", "/")):
        frame = report.sql(f"SELECT date - ? AS day, {column} AS n FROM {table}", [first])
        for day, n in frame.itertuples(index=False):
            counts[int(day)] = int(n)
    return counts


def carried(report: Report, key: str, first: date, most: int = MOST_ROWS) -> Carried:
    """Usages per day of users (`user_id`, shortened) or codes (`promo_code`), most used first."""
    if not report.has("cleaned/promo_usages"):
        return Carried((), (), 0)
    ranked = report.sql(
        f"""
        WITH by_day AS (
            SELECT {key} AS who, used_at::DATE AS day FROM cleaned.promo_usages GROUP BY ALL
        ), by_month AS (
            SELECT {key} AS who, date_trunc('month', used_at) AS month, count(*) AS n
            FROM cleaned.promo_usages GROUP BY ALL
        ), placed AS (
            SELECT who, sum(n) AS total, min(place) AS place FROM (
                SELECT *, row_number() OVER (PARTITION BY month ORDER BY n DESC, who) AS place
                FROM by_month) GROUP BY who
        ), sized AS (
            SELECT placed.*, (SELECT count(*) FROM by_day d WHERE d.who = placed.who) AS size,
                   row_number() OVER (ORDER BY total DESC, who) AS overall
            FROM placed
        ), ordered AS (
            SELECT who, total, count(*) OVER () AS of,
                   sum(size) OVER (ORDER BY least(overall / 5.0, place), overall) AS size_so_far
            FROM sized
        )
        SELECT who, of FROM ordered WHERE size_so_far <= ? ORDER BY total DESC, who
        """,
        [most],
    )
    if ranked.empty:
        return Carried((), (), 0)
    index = {who: i for i, who in enumerate(ranked["who"])}
    rows = report.sql(
        f"""
        SELECT used_at::DATE - ? AS day, {key} AS who, count(*) AS n FROM cleaned.promo_usages
        WHERE {key} IN (SELECT unnest(?)) GROUP BY ALL ORDER BY day, who
        """,
        [first, list(index)],
    )
    sizes = report.sql(
        f"""SELECT n, count(*) AS many FROM (
            SELECT count(*) AS n FROM cleaned.promo_usages GROUP BY {key}) GROUP BY n ORDER BY n"""
    )
    names = short_ids(map(str, index)) if key == "user_id" else labels(map(str, index))
    return Carried(
        tuple(names[str(who)] for who in index),
        tuple((int(d), index[w], int(n)) for d, w, n in rows.itertuples(index=False)),
        int(ranked["of"].iloc[0]),
        {int(n): int(many) for n, many in sizes.itertuples(index=False)},
    )
