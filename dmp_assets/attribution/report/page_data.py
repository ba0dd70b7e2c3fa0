"""What the date filter of the attribution report sums in the page."""

from typing import Any

import pandas as pd

from dmp_assets.platform.reporting.look import labels
from dmp_assets.platform.reporting.period import Period
from dmp_assets.platform.reporting.reader import Report
from dmp_assets.platform.text.foreign_text import visible

MOST_ROWS = 40_000
"""Rows of a channel and a day that a page carries."""
MOST_CHANNELS = 30
"""Channels of one chart."""
_OTHERS = {True: "other paid channels", False: "other channels without cost"}


def attribution_data(report: Report, model: str, days: Period, *, adjusted: bool) -> dict[str, Any]:
    """Cost and credit by channel and day of the reporting model, as the page's script sums them.

    `days` bounds what can be chosen; all days together hold what lies outside of it, too. Above
    MOST_ROWS rows the smallest channels are summed into two others, by day.
    """
    found = report.sql(
        """SELECT channel_name, date, coalesce(sum(cost), 0)::DOUBLE AS cost,
        coalesce(sum(conversions), 0) AS conversions, coalesce(sum(revenue), 0) AS revenue,
        coalesce(sum(conversions_without_abuse), 0) AS clean_conversions,
        coalesce(sum(revenue_without_abuse), 0) AS clean_revenue,
        date - $2::DATE AS day, bool_or(is_open) AS is_open
        FROM modeled.channel_reporting WHERE model = $1 AND date BETWEEN $3 AND $4
        GROUP BY channel_name, date
        HAVING sum(cost) > 0 OR sum(conversions) > 0 OR bool_or(is_open)
        ORDER BY date, channel_name""",
        [model, days.first, *days.bounds],
    )
    opened = found.loc[found["is_open"].astype(bool), "day"]
    earned = found[(found["cost"] > 0) | (found["conversions"] > 0)]
    earned = _bounded(earned)
    names = sorted(earned["channel_name"].unique())
    at = {name: place for place, name in enumerate(names)}
    shown = labels(names)
    return {
        "first": days.first.isoformat(),
        "days": days.length,
        "open": int(opened.min()) if len(opened) else None,
        "adjusted": adjusted,
        "most": MOST_CHANNELS,
        "channels": [visible(name) for name in names],
        "labels": [shown[name] for name in names],
        "channel": [at[name] for name in earned["channel_name"]],
        "day": [int(day) for day in earned["day"]],
        "cost": _rounded(earned["cost"]),
        "conversions": _rounded(earned["conversions"]),
        "revenue": _rounded(earned["revenue"]),
        "cleanConversions": _rounded(earned["clean_conversions"]),
        "cleanRevenue": _rounded(earned["clean_revenue"]),
    }


def _bounded(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, the smallest channels summed so that at most MOST_ROWS are left."""
    if len(rows) <= MOST_ROWS:
        return rows
    by_channel = rows.groupby("channel_name").agg(
        worth=("revenue", "sum"), cost=("cost", "sum"), rows=("day", "size")
    )
    ranked = by_channel.sort_values("worth", ascending=False)
    kept = set(ranked.index[ranked["rows"].cumsum() <= MOST_ROWS // 2])
    paid = by_channel["cost"] > 0
    named = [name if name in kept else _OTHERS[bool(paid[name])] for name in rows["channel_name"]]
    summed = rows.assign(channel_name=named).groupby(["day", "channel_name"], as_index=False)
    return summed.sum(numeric_only=True)


def _rounded(values: pd.Series) -> list[float]:
    return [round(float(value), 6) for value in values]
