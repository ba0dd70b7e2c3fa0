"""A small made-up web: every table that the attribution report reads, consistent in itself.

`tables()` gives them by key. Deterministic. Journeys and credits are made by the attribution
package; sums by day are made here by SQL.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from dmp_assets.attribution.model.crediting import credits, fit
from dmp_assets.attribution.model.journeys import Journeys
from dmp_assets.attribution.model.paths import paths_of

FIRST_DAY = datetime(2024, 2, 1, tzinfo=UTC)
DAYS = 60  # 2024-02-01 … 2024-03-31
CHANNELS = ("direct", "email", "search_brand", "search_other", "social", "display", "affiliate")
PRICES = (0.0, 0.02, 0.35, 0.8, 0.6, 0.1, 0.4)
UTC_TIME = pa.timestamp("us", tz="UTC")


def tables(users: int = 240, seed: int = 3) -> dict[str, pa.Table]:
    """Every table by key."""
    rng = np.random.default_rng(seed)
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        db.register("sessions", _sessions(rng, users))
        db.register("conversions", _conversions(rng, users))
        journeys = db.sql(JOURNEYS).to_arrow_table()
        db.register("journeys", journeys)
        db.register("credit", _credits(journeys))
        made = {key: db.sql(query).to_arrow_table() for key, query in TABLES.items()}
        for key, table in made.items():
            db.register(key.replace("/", "_"), table)
        made["modeled/channel_reporting"] = db.sql(REPORTING).to_arrow_table()
        return made | _received(made) | {"modeled/attribution_runs": _run(db)}


def _sessions(rng: Any, users: int) -> pa.Table:
    user = np.repeat(np.arange(users), rng.integers(1, 7, users))
    count = len(user)
    channel = rng.choice(len(CHANNELS), count, p=(0.2, 0.15, 0.15, 0.15, 0.15, 0.1, 0.1))
    second = rng.integers(0, DAYS * 86_400, count)
    cost = np.round(np.array(PRICES)[channel] * rng.uniform(0.5, 1.5, count), 4)
    flags = rng.random((3, count)) < 0.3
    return pa.table(
        {
            "session_id": [f"s-{i:05d}" for i in range(count)],
            "user_id": [f"web-user-{i}" for i in user],
            "event_at": _times(second),
            "channel_name": [CHANNELS[i] for i in channel],
            "cost": pa.array(cost),
            "holder_engagement": flags[0],
            "closer_engagement": flags[1],
            "impression_interaction": flags[2],
        }
    )


def _conversions(rng: Any, users: int) -> pa.Table:
    """Of every other user one, some before the first session of their user."""
    who = np.arange(0, users, 2)
    return pa.table(
        {
            "conv_id": [f"c-{i:05d}" for i in who],
            "user_id": [f"web-user-{i}" for i in who],
            "converted_at": _times(rng.integers(20 * 86_400, DAYS * 86_400, len(who))),
            "revenue": np.round(rng.uniform(10, 120, len(who)), 2),
            "is_promo_abuse": pa.array([None if i % 5 == 0 else i % 7 == 0 for i in who]),
        }
    )


def _times(seconds: Any) -> pa.Array:
    start = np.datetime64(FIRST_DAY.replace(tzinfo=None), "us")
    return pa.array(start + seconds.astype("timedelta64[s]"), UTC_TIME)


JOURNEYS = """
    SELECT conv_id, row_number() OVER j AS position, count(*) OVER (PARTITION BY conv_id)
           AS touchpoints, user_id, converted_at::DATE AS conversion_date, converted_at, revenue,
           session_id, event_at::DATE AS session_date, event_at AS session_at,
           epoch(converted_at - event_at) / 3600 AS hours_before, channel_name,
           holder_engagement, closer_engagement, impression_interaction, is_promo_abuse
    FROM conversions JOIN sessions USING (user_id) WHERE event_at <= converted_at
    WINDOW j AS (PARTITION BY conv_id ORDER BY event_at, session_id) ORDER BY conv_id, position"""


def _credits(table: pa.Table) -> pa.Table:
    journeys = Journeys.from_arrow(table)
    given = credits(journeys, fit(paths_of(journeys)))
    given["ihc"] = given["initializer_holder_closer"]
    return pa.concat_tables(
        table.select(["conv_id", "session_id"])
        .append_column("model", pa.array([name] * len(table)))
        .append_column("credit", pa.array(credit))
        for name, credit in given.items()
    )


TABLES = {
    "cleaned/web_sessions": "SELECT * EXCLUDE (cost), 1::BIGINT AS received_rows FROM sessions",
    "cleaned/web_conversions": """
        SELECT conv_id, user_id, converted_at, revenue, 1::BIGINT AS received_rows
        FROM conversions""",
    "cleaned/web_session_costs": """
        SELECT session_id, cost::DECIMAL(18, 4) AS cost, 1::BIGINT AS received_rows FROM sessions
        WHERE cost > 0""",
    "modeled/customer_journeys": "SELECT * EXCLUDE (is_promo_abuse) FROM journeys",
    "modeled/attribution": """
        SELECT conv_id, session_id, channel_name, model, credit, position, session_date,
               conversion_date
        FROM credit JOIN journeys USING (conv_id, session_id) WHERE credit > 0""",
    "modeled/attributed_conversions": """
        SELECT conv_id, converted_at::DATE AS conversion_date, revenue::DECIMAL(18, 4) AS revenue,
               coalesce(n, 0)::INT AS touchpoints,
               CASE WHEN n IS NULL THEN 'none' ELSE 'own' END AS credit_source,
               NULL::VARCHAR AS reason, is_promo_abuse
        FROM conversions LEFT JOIN (SELECT conv_id, count(*) AS n FROM journeys GROUP BY conv_id)
        USING (conv_id) ORDER BY conv_id""",
    "modeled/customer_paths": """
        SELECT path, sum(converted)::BIGINT AS conversions, sum(1 - converted)::BIGINT AS nulls,
               coalesce(sum(revenue), 0)::DECIMAL(28, 4) AS revenue, median(hours) AS median_hours
        FROM (SELECT list(channel_name ORDER BY position) AS path, 1 AS converted,
                     any_value(revenue) AS revenue, max(hours_before) AS hours
              FROM journeys GROUP BY conv_id
              UNION ALL
              SELECT list(channel_name ORDER BY event_at), 0, NULL, NULL FROM sessions
              WHERE user_id NOT IN (SELECT user_id FROM conversions) GROUP BY user_id)
        GROUP BY path""",
}
REPORTING = """
    WITH earned AS (
        SELECT channel_name, session_date AS date, model, sum(credit) AS conversions,
               sum(credit * revenue::DOUBLE) AS revenue,
               sum(credit * (NOT coalesce(is_promo_abuse, false))::INT) AS honest,
               sum(credit * revenue::DOUBLE * (NOT coalesce(is_promo_abuse, false))::INT) AS worth
        FROM modeled_attribution JOIN modeled_attributed_conversions USING (conv_id) GROUP BY ALL
    ), spent AS (
        SELECT channel_name, event_at::DATE AS date, sum(cost::DECIMAL(18, 4)) AS cost
        FROM sessions GROUP BY ALL
    )
    SELECT channel_name, date, model, cost, coalesce(conversions, 0) AS conversions,
           coalesce(revenue, 0) AS revenue,
           CASE WHEN conversions > 0 THEN cost::DOUBLE / conversions END AS cpo,
           CASE WHEN cost > 0 THEN coalesce(revenue, 0) / cost::DOUBLE END AS roas,
           coalesce(honest, 0) AS conversions_without_abuse,
           coalesce(worth, 0) AS revenue_without_abuse,
           CASE WHEN honest > 0 THEN cost::DOUBLE / honest END AS cpo_without_abuse,
           CASE WHEN cost > 0 THEN coalesce(worth, 0) / cost::DOUBLE END AS roas_without_abuse,
           date > DATE '2024-03-01' AS is_open
    FROM spent CROSS JOIN (SELECT DISTINCT model FROM credit)
    LEFT JOIN earned USING (channel_name, date, model)"""


def _received(made: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """Raw rows: the kept ones and those in quarantine, all as text."""
    at = pa.scalar(FIRST_DAY + timedelta(days=DAYS), UTC_TIME)
    bad = {
        "web_sessions": ({"session_id": "bad"}, ["channel_missing"]),
        "web_conversions": (
            {"conv_id": "bad", "user_id": "web-user-1", "conv_date": "2024-03-28",
             "conv_time": "10:00:00", "revenue": "dear"},
            ["revenue_unreadable"],
        ),
        "web_session_costs": ({"session_id": "nobody", "cost": "1.2345"}, ["session_unknown"]),
    }  # fmt: skip
    found = {}
    for name, (row, rules) in bad.items():
        cleaned = made[f"cleaned/{name}"]
        columns = [key for key in row if key in cleaned.schema.names]
        kept = pa.table({key: cleaned[key].cast(pa.string()) for key in columns})
        raw = pa.concat_tables([kept, pa.Table.from_pylist([row])], promote_options="default")
        found[f"raw/{name}"] = raw.append_column("_loaded_at", pa.repeat(at, len(raw)))
        found[f"quarantine/{name}"] = pa.Table.from_pylist([row | {"failed_rules": rules}])
    return found


def _run(db: duckdb.DuckDBPyConnection) -> pa.Table:
    """The last run: over everything; one conversion is in quarantine."""
    parts = "attributed", "without_touchpoint", "failed", "quarantined"
    rows = db.sql(
        """SELECT credit_source = 'own' AS has, count(*), sum(revenue)::DOUBLE
        FROM modeled_attributed_conversions GROUP BY has ORDER BY has DESC"""
    ).fetchall()
    counts = [rows[0][1], rows[1][1], 0, 1]
    money = [rows[0][2], rows[1][2], 0.0, 0.0]
    return pa.table(
        {
            "run_id": ["run"],
            "committed_at": pa.array([FIRST_DAY + timedelta(days=DAYS)], UTC_TIME),
            "start": pa.array([None], pa.date32()),
            "end": pa.array([None], pa.date32()),
            "reporting_model": ["ihc"],
            "conversions": [sum(counts)],
            **{part: [count] for part, count in zip(parts, counts, strict=True)},
            "quarantined_undated": [0],
            "revenue": [sum(money)],
            **{f"{part}_revenue": [value] for part, value in zip(parts, money, strict=True)},
            "versions": pa.array(
                [[(f"modeled/{name}", 0) for name in
                  ("attribution", "attributed_conversions", "channel_reporting")]],
                pa.map_(pa.string(), pa.int64()),
            ),
        }
    )  # fmt: skip
