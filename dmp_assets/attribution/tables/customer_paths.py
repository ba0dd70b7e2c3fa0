"""modeled/customer_paths: the distinct sequences of channels, and how often each one converted.

Grain: one path. Key: path. Sources: modeled/customer_journeys, cleaned/web_sessions,
cleaned/web_conversions.

A converting path is a conversion's whole journey. A non-converting one is what a user did after
the last conversion, or ever: it may still convert.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from dmp_assets.attribution.tables.customer_journeys import JourneyRules
from dmp_assets.cleaned.web.web_values import MONEY
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset

COLUMNS = {
    "path": Column("array<string>", "Channels in order."),
    "conversions": Column("long", "Journeys along the path that ended in a conversion."),
    "nulls": Column("long", "Journeys along the path without a conversion so far."),
    "revenue": Column("decimal(28,8)", "Revenue of the conversions in EUR."),
    "median_hours": Column(
        "double", "Median time from the first touchpoint to the conversion, in hours."
    ),
}


def paths(
    journeys: DataFrame, sessions: DataFrame, conversions: DataFrame, rules: JourneyRules
) -> DataFrame:
    """The distinct paths of all journeys, converting or not."""
    steps = F.array_sort(F.collect_list(F.struct("position", "channel_name")))
    converting = (
        journeys.groupBy("conv_id")
        .agg(
            steps.alias("steps"),
            F.first("revenue").alias("revenue"),
            F.max("hours_before").alias("hours"),
        )
        .select(
            F.col("steps.channel_name").alias("path"),
            F.lit(1).alias("converted"),
            "revenue",
            "hours",
        )
    )
    last = conversions.groupBy("user_id").agg(F.max("converted_at").alias("last_at"))
    open_sessions = (
        sessions.where("user_id IS NOT NULL")
        .join(last, "user_id", "left")
        .where("last_at IS NULL OR event_at > last_at")
    )
    in_order = F.array_sort(F.collect_list(F.struct("event_at", "session_id", "channel_name")))
    names = F.col("steps.channel_name")
    if rules.collapse_repeats:
        names = F.transform(
            F.filter(
                F.transform(names, lambda name, i: F.struct(name.alias("name"), i.alias("i"))),
                lambda step: (step["i"] == 0) | (names[step["i"] - 1] != step["name"]),
            ),
            lambda step: step["name"],
        )
    unconverted = (
        open_sessions.groupBy("user_id")
        .agg(in_order.alias("steps"))
        .select(
            names.alias("path"),
            F.lit(0).alias("converted"),
            F.lit(None).cast(MONEY).alias("revenue"),
            F.lit(None).cast("double").alias("hours"),
        )
    )
    return (
        converting.unionByName(unconverted)
        .groupBy("path")
        .agg(
            F.sum("converted").alias("conversions"),
            F.sum(1 - F.col("converted")).alias("nulls"),
            F.coalesce(F.sum("revenue"), F.lit(0).cast(MONEY)).alias("revenue"),
            F.median("hours").alias("median_hours"),
        )
        .select(*COLUMNS)
    )


@table_asset(
    "modeled",
    deps=["modeled/customer_journeys", "cleaned/web_sessions", "cleaned/web_conversions"],
    owner="team:marketing",
    columns=COLUMNS,
    key=("path",),
    settings=["journeys_collapse_repeats"],
    checks=(
        Check(
            "conversions_agree",
            """SELECT abs((SELECT coalesce(sum(conversions), 0) FROM modeled.customer_paths)
            - (SELECT count(DISTINCT conv_id) FROM modeled.customer_journeys))::BIGINT""",
            "The paths' conversions are those of the journeys.",
            blocking=True,
        ),
    ),
)
def customer_paths(run: TableRun) -> None:
    """The distinct sequences of channels, and how often each one converted.

    Grain: one path. Key: path. Sources: modeled/customer_journeys, cleaned/web_sessions,
    cleaned/web_conversions. Models that learn are fitted on this table.
    """
    run.overwrite(
        paths(
            run.read("modeled/customer_journeys"),
            run.read("cleaned/web_sessions"),
            run.read("cleaned/web_conversions"),
            JourneyRules.of(run.settings),
        )
    )
