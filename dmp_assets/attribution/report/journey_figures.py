"""Figures of journeys: the paths that people took before they converted."""

from dataclasses import dataclass

import pandas as pd

from dmp_assets.platform.reporting.period import Period
from dmp_assets.platform.reporting.reader import Report

STEPS = 3
OTHER, CONVERTED, FURTHER = "other channels", "conversion", "more"
INSIDE = "FROM modeled.customer_journeys WHERE conversion_date BETWEEN $1 AND $2"


@dataclass(frozen=True)
class Flow:
    """The first steps of journeys, as a Sankey diagram takes them.

    `labels` and `steps` (from 1; after the last step: the ends) describe nodes; `sources`,
    `targets` and `values` (conversions) describe the links between them.
    """

    labels: tuple[str, ...]
    steps: tuple[int, ...]
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    values: tuple[int, ...]


def first_steps(report: Report, days: Period, *, steps: int = STEPS, channels: int = 6) -> Flow:
    """How the journeys of the period's conversions begin.

    A journey goes on to its next touchpoint, ends in the conversion, or has more than `steps`
    touchpoints. Channels beside those with most touchpoints count as one.
    """
    top = report.sql(
        f"SELECT channel_name {INSIDE} GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT {channels}",
        [*days.bounds],
    )
    links = report.sql(
        f"""
        WITH step AS (
            SELECT conv_id, position, touchpoints,
                   CASE WHEN channel_name IN (SELECT unnest($3)) THEN channel_name
                   ELSE '{OTHER}' END AS channel {INSIDE} AND position <= {steps}
        )
        SELECT a.position AS at, a.channel AS source, a.position + 1 AS next, b.channel AS target,
               count(*) AS journeys
        FROM step a JOIN step b ON a.conv_id = b.conv_id AND b.position = a.position + 1
        GROUP BY ALL
        UNION ALL
        SELECT position, channel, {steps} + 1,
               CASE WHEN position = touchpoints THEN '{CONVERTED}' ELSE '{FURTHER}' END, count(*)
        FROM step WHERE position = touchpoints OR position = {steps} GROUP BY ALL
        ORDER BY ALL""",
        [*days.bounds, top["channel_name"].tolist()],
    )
    ends = [
        *zip(links["at"], links["source"], strict=True),
        *zip(links["next"], links["target"], strict=True),
    ]
    nodes = {node: number for number, node in enumerate(sorted(set(ends)))}
    half = len(links)
    return Flow(
        labels=tuple(label for _, label in nodes),
        steps=tuple(int(step) for step, _ in nodes),
        sources=tuple(nodes[node] for node in ends[:half]),
        targets=tuple(nodes[node] for node in ends[half:]),
        values=tuple(int(n) for n in links["journeys"]),
    )


def frequent_paths(report: Report, days: Period, *, count: int = 12) -> pd.DataFrame:
    """The most frequent converting paths: path, touchpoints, conversions, revenue, median_hours."""
    return report.sql(
        f"""
        WITH journey AS (
            SELECT conv_id, string_agg(channel_name, ' → ' ORDER BY position) AS path,
                   count(*) AS touchpoints, any_value(revenue) AS revenue,
                   max(hours_before) AS hours {INSIDE} GROUP BY conv_id
        )
        SELECT path, any_value(touchpoints) AS touchpoints, count(*) AS conversions,
               coalesce(sum(revenue), 0)::DOUBLE AS revenue, median(hours) AS median_hours
        FROM journey GROUP BY path ORDER BY conversions DESC, path LIMIT {count}""",
        [*days.bounds],
    )


def lengths(report: Report, days: Period, *, most: int = 10) -> pd.DataFrame:
    """touchpoints (1 to `most`, which stands for more), conversions."""
    return report.sql(
        f"""SELECT least(touchpoints, {most}) AS touchpoints, count(*) AS conversions
        {INSIDE} AND position = 1 GROUP BY 1 ORDER BY 1""",
        [*days.bounds],
    )


TIMES = ("< 1 h", "< 24 h", "1–3 d", "3–7 d", "7–30 d", "> 30 d")


def times(report: Report, days: Period) -> pd.DataFrame:
    """From the first touchpoint to the conversion: bin (position in `TIMES`), conversions."""
    return report.sql(
        f"""SELECT CASE WHEN hours_before < 1 THEN 0 WHEN hours_before < 24 THEN 1
                   WHEN hours_before < 72 THEN 2 WHEN hours_before < 168 THEN 3
                   WHEN hours_before <= 720 THEN 4 ELSE 5 END AS bin, count(*) AS conversions
        {INSIDE} AND position = 1 GROUP BY 1 ORDER BY 1""",
        [*days.bounds],
    )
