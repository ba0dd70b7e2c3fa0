"""modeled/channel_reporting: cost per order and return on ad spend, by channel, day and model.

Grain: one channel on one day by one model. Key: channel_name, date, model.
Sources: modeled/attribution, modeled/attributed_conversions, cleaned/web_session_costs,
cleaned/web_sessions.

The day is the session's: cost and the credit that it earned, whenever the conversion came. A
channel is there on every day on which it has cost or credit. Every run computes all days from all
credits stored so far, so the days that new journeys touch are always right.
"""

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from dmp_assets.attribution.models import models_of
from dmp_assets.cleaned.web_values import MONEY
from dmp_assets.modeled.attribution import IHC, parameters
from dmp_assets.table_asset import ATTRIBUTION, Check, TableRun, table_asset

OPEN_DAYS = 30
"""Days after which a day counts as closed where no lookback window is set."""

COLUMNS = {
    "channel_name": "Channel.",
    "date": "Day of the sessions (UTC).",
    "model": "Attribution model that shared the conversions out.",
    "cost": "Cost of the channel's sessions of the day in EUR; the same by every model.",
    "conversions": "Conversions credited to them.",
    "revenue": "Revenue credited to them in EUR.",
    "cpo": "Cost per order: cost / conversions; null without conversions.",
    "roas": "Return on ad spend: revenue / cost; null without cost.",
    "conversions_without_abuse": "As conversions, without those of accounts scored as abuse.",
    "revenue_without_abuse": "As revenue, without those of accounts scored as promo abuse.",
    "cpo_without_abuse": "As cpo, of these conversions.",
    "roas_without_abuse": "As roas, of this revenue.",
    "is_open": "Younger than the lookback window (30 days without one): later conversions add to "
    "it.",
}


def report(
    credits: DataFrame,
    conversions: DataFrame,
    costs: DataFrame,
    sessions: DataFrame,
    models: Sequence[str],
) -> DataFrame:
    """Cost and credit by channel, day and model; without `is_open`.

    Cost is there by each of `models` (and those of `credits`), though nothing was converted.
    """
    earned = (
        credits.join(conversions.select("conv_id", "revenue", "is_promo_abuse"), "conv_id")
        .withColumn("honest", F.when(F.coalesce("is_promo_abuse", F.lit(False)), 0.0).otherwise(1))
        .groupBy("channel_name", F.col("session_date").alias("date"), "model")
        .agg(
            F.sum("credit").alias("conversions"),
            F.sum(F.expr("credit * double(revenue)")).alias("revenue"),
            F.sum(F.expr("credit * honest")).alias("conversions_without_abuse"),
            F.sum(F.expr("credit * honest * double(revenue)")).alias("revenue_without_abuse"),
        )
    )
    spent = (
        costs.join(sessions.select("session_id", "channel_name", "event_at"), "session_id")
        .groupBy("channel_name", F.to_date("event_at").alias("date"))
        .agg(F.sum("cost").cast(MONEY).alias("cost"))
    )
    keys = ["channel_name", "date"]
    named = earned.sparkSession.createDataFrame([(name,) for name in models], "model string")
    everything = (
        earned.select(*keys)
        .union(spent.select(*keys))
        .distinct()
        .crossJoin(earned.select("model").union(named).distinct())
    )
    zero = F.lit(0.0)
    figures = ("conversions", "revenue", "conversions_without_abuse", "revenue_without_abuse")
    joined = everything.join(spent, keys, "left").join(earned, [*keys, "model"], "left")
    return joined.withColumns(
        {
            "cost": F.coalesce("cost", F.lit(0).cast(MONEY)),
            **{name: F.coalesce(name, zero) for name in figures},
        }
    ).withColumns(
        {
            "cpo": _ratio("cost", "conversions"),
            "roas": _ratio("revenue", "cost"),
            "cpo_without_abuse": _ratio("cost", "conversions_without_abuse"),
            "roas_without_abuse": _ratio("revenue_without_abuse", "cost"),
        }
    )


def _ratio(above: str, below: str) -> Column:
    return F.expr(f"CASE WHEN {below} > 0 THEN double({above}) / double({below}) END")


@table_asset(
    "modeled",
    deps=[
        "modeled/attribution", "modeled/attributed_conversions", "cleaned/web_session_costs",
        "cleaned/web_sessions",
    ],
    owner="team:marketing",
    tags=ATTRIBUTION,
    columns=COLUMNS,
    settings=["lookback_days", "markov_orders"],
    daily="date",
    checks=(
        Check(
            "key_unique",
            "SELECT count(*) - count(DISTINCT (channel_name, date, model)) "
            "FROM modeled.channel_reporting",
            "channel_name, date, model identifies a row.",
            blocking=True,
        ),
        Check(
            "cost_agrees",
            """
            WITH reported AS (
              SELECT date, channel_name, min(cost) AS least, max(cost) AS most
              FROM modeled.channel_reporting GROUP BY ALL
            ), spent AS (
              SELECT s.event_at::DATE AS date, s.channel_name, sum(c.cost) AS cost
              FROM cleaned.web_session_costs c JOIN cleaned.web_sessions s USING (session_id)
              GROUP BY ALL
            )
            SELECT count(*) FROM spent FULL JOIN reported USING (date, channel_name)
            WHERE coalesce(spent.cost, 0) IS DISTINCT FROM least OR least <> most
            """,
            "Every channel's cost of every day is reported to the last decimal.",
            blocking=True,
        ),
        Check(
            "revenue_agrees",
            """
            WITH given AS (
              SELECT model, sum(revenue) AS revenue, sum(conversions) AS conversions
              FROM modeled.channel_reporting GROUP BY model
            ), had AS (
              SELECT a.model, sum(c.revenue)::DOUBLE AS revenue, count(*) AS conversions
              FROM (SELECT DISTINCT conv_id, model FROM modeled.attribution) a
              JOIN modeled.attributed_conversions c USING (conv_id) GROUP BY a.model
            )
            SELECT count(*) FROM had LEFT JOIN given USING (model)
            WHERE coalesce(abs(had.conversions - given.conversions), 1)
                  > 1e-4 * had.conversions + 1e-6
               OR coalesce(abs(had.revenue - given.revenue), 1) > 1e-4 * had.revenue + 1e-6
            """,
            "Credited revenue and conversions are those of the attributed conversions.",
            blocking=True,
        ),
    ),
)  # fmt: skip
def channel_reporting(run: TableRun) -> None:
    """Cost per order and return on ad spend, by channel, day and model.

    Grain: one channel on one day by one model. Key: channel_name, date, model.
    Sources: modeled/attribution, modeled/attributed_conversions, cleaned/web_session_costs,
    cleaned/web_sessions.
    """
    sessions = run.read("cleaned/web_sessions")
    found = report(
        run.read("modeled/attribution"),
        run.read("modeled/attributed_conversions"),
        run.read("cleaned/web_session_costs"),
        sessions,
        (*models_of(parameters(run.settings)), IHC),
    )
    last: date | None = sessions.agg(F.max(F.to_date("event_at"))).collect()[0][0]
    days = run.settings.lookback_days or OPEN_DAYS
    still = F.lit(False) if last is None else F.col("date") > F.date_sub(F.lit(last), days)
    run.overwrite(found.withColumn("is_open", still).select(*COLUMNS))
