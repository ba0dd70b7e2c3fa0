"""modeled/customer_journeys: for each conversion, the touchpoints that led to it.

Grain: one touchpoint of one conversion. Key: conv_id, position.
Sources: cleaned/web_conversions, cleaned/web_sessions.

A touchpoint is a session of the same user at or before the second of the conversion. Sessions of
the same second are in the order of their ids. By default every one of them counts, whatever its
age and whatever the user bought in between; settings narrow that. Two bounds keep a journey one
person's: of more than `journey_max_touchpoints` the latest count, and the rest is numbered; an id
under which far more was bought than one person buys is nobody's, and has no journeys.
"""

from dataclasses import dataclass

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from dmp_assets.attribution.settings import AttributionSettings
from dmp_assets.identity.evidence import CROWD_SHARE, LEAST_CROWD, most_holders_sql
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.settings import Settings

COLUMNS = {
    "conv_id": Column("string", "The conversion.", "identifier", "conv_id"),
    "position": Column("integer", "Place of the touchpoint in the journey, from 1."),
    "touchpoints": Column("long", "Length of the journey."),
    "touchpoints_left_out": Column("long", "Earlier sessions, beyond DMP_JOURNEY_MAX_TOUCHPOINTS."),
    "user_id": Column("string", "Who converted.", "identifier", "user_id"),
    "conversion_date": Column("date", "Day of the conversion (UTC)."),
    "converted_at": Column("timestamp", "Time of the conversion (UTC).", "behaviour"),
    "revenue": Column(
        "decimal(18,8)", "Revenue of the conversion in EUR; null: disputed.", "behaviour"
    ),
    "session_id": Column("string", "The session.", "identifier", "session_id"),
    "session_date": Column("date", "Day of the session (UTC)."),
    "session_at": Column("timestamp", "Start of the session (UTC).", "behaviour"),
    "hours_before": Column("double", "Hours from the touchpoint to the conversion."),
    "channel_name": Column("string", "Channel of the session."),
    "campaign_name": Column("string", "Campaign of the session, where the source names it."),
    "holder_engagement": Column(
        "boolean", "Whether the visitor engaged with the shop.", "behaviour"
    ),
    "closer_engagement": Column(
        "boolean", "Whether the visitor came close to a purchase.", "behaviour"
    ),
    "impression_interaction": Column(
        "boolean", "Whether an ad was only seen, not clicked.", "behaviour"
    ),
}


@dataclass(frozen=True)
class JourneyRules:
    """Which sessions of a user belong to a journey; see the settings of the same names."""

    lookback_days: int | None = None
    since_last_conversion: bool = False
    collapse_repeats: bool = False
    max_touchpoints: int = 200

    @classmethod
    def of(cls, settings: Settings) -> "JourneyRules":
        own = settings.of(AttributionSettings)
        return cls(
            own.lookback_days,
            own.journeys_since_last_conversion,
            own.journeys_collapse_repeats,
            own.journey_max_touchpoints,
        )


MOST_CONVERSIONS = 1_000
"""More than one person ever makes, in the largest shop (see `evidence.most_holders`)."""


def nobodies(conversions: DataFrame) -> DataFrame:
    """Ids (`user_id`) that hold far more conversions than one person makes: forms, tills, bots."""
    total = conversions.agg(F.count("user_id").alias("total"))
    held = conversions.where("user_id IS NOT NULL").groupBy("user_id").count()
    share = f"total div {CROWD_SHARE}"
    most = f"least({MOST_CONVERSIONS}, greatest({LEAST_CROWD}, {share}))"
    return held.crossJoin(F.broadcast(total)).where(f"count > {most}").select("user_id")


def journeys(sessions: DataFrame, conversions: DataFrame, rules: JourneyRules) -> DataFrame:
    """The touchpoints of every conversion, with the columns `COLUMNS`."""
    by_user = Window.partitionBy("user_id").orderBy("converted_at", "conv_id")
    people = conversions.join(F.broadcast(nobodies(conversions)), "user_id", "left_anti")
    converted = people.where("user_id IS NOT NULL").select(
        "conv_id",
        "user_id",
        "converted_at",
        F.to_date("converted_at").alias("conversion_date"),
        "revenue",
        F.lag("converted_at").over(by_user).alias("previous_at"),
    )
    touched = sessions.where("user_id IS NOT NULL").select(
        "user_id", "session_id", F.col("event_at").alias("session_at"), "channel_name",
        "campaign_name", "holder_engagement", "closer_engagement", "impression_interaction",
    )  # fmt: skip
    found = touched.join(converted, "user_id").where("session_at <= converted_at")
    if rules.lookback_days is not None:
        found = found.where(f"session_at >= converted_at - INTERVAL {rules.lookback_days} DAYS")
    if rules.since_last_conversion:
        found = found.where("previous_at IS NULL OR session_at > previous_at")
    in_order = Window.partitionBy("conv_id").orderBy("session_at", "session_id")
    if rules.collapse_repeats:
        before = F.lag("channel_name").over(in_order)
        found = found.withColumn("before", before).where("NOT (channel_name <=> before)")
    seconds = F.unix_seconds("converted_at") - F.unix_seconds("session_at")
    most = rules.max_touchpoints
    counted = found.withColumns(
        {
            "place": F.row_number().over(in_order),
            "sessions": F.count(F.lit(1)).over(Window.partitionBy("conv_id")),
        }
    ).withColumn("touchpoints_left_out", F.expr(f"greatest(sessions - {most}, 0)"))
    return (
        counted.where("place > touchpoints_left_out")
        .withColumns(
            {
                "position": F.expr("place - CAST(touchpoints_left_out AS INT)"),
                "touchpoints": F.expr("sessions - touchpoints_left_out"),
                "session_date": F.to_date("session_at"),
                "hours_before": seconds / F.lit(3600.0),
            }
        )
        .select(*COLUMNS)
    )


@table_asset(
    "modeled",
    deps=["cleaned/web_conversions", "cleaned/web_sessions"],
    owner="team:marketing",
    columns=COLUMNS,
    key=("conv_id", "position"),
    once="conv_id, position identifies a touchpoint.",
    settings=[
        "lookback_days",
        "journeys_since_last_conversion",
        "journeys_collapse_repeats",
        "journey_max_touchpoints",
    ],
    daily="conversion_date",
    first_day="web_first_day",
    checks=(
        Check(
            "no_touchpoint_after_conversion",
            "SELECT count(*) FROM modeled.customer_journeys WHERE hours_before < 0",
            "Touchpoints are at or before their conversion.",
            blocking=True,
        ),
        Check(
            "visitors_are_people",
            f"""WITH held AS (
              SELECT user_id, count(*) AS n FROM cleaned.web_conversions
              WHERE user_id IS NOT NULL GROUP BY user_id
            )
            SELECT count(*), coalesce(sum(n), 0)::BIGINT AS conversions_without_journey,
              string_agg(left(user_id, 2) || '…: ' || n, '; ' ORDER BY n DESC) AS ids FROM held
            WHERE n > {most_holders_sql(MOST_CONVERSIONS, "SELECT sum(n) FROM held")}""",
            "No id holds far more conversions than one person makes; one that does is nobody's "
            "and has no journeys. A word that means no user belongs into DMP_NO_VALUES.",
        ),
        Check(
            "journeys_within_bound",
            """SELECT count(*) FILTER (touchpoints_left_out > 0),
            coalesce(sum(touchpoints_left_out), 0)::BIGINT AS touchpoints_left_out
            FROM modeled.customer_journeys WHERE position = 1""",
            "No journey is longer than DMP_JOURNEY_MAX_TOUCHPOINTS; of a longer one the earliest "
            "sessions are left out.",
        ),
        Check(
            "no_session_just_after_conversion",
            """SELECT count(*) FROM cleaned.web_sessions s JOIN cleaned.web_conversions c
            ON s.user_id = c.user_id AND s.event_at > c.converted_at
            AND s.event_at <= c.converted_at + INTERVAL 60 SECONDS""",
            "No session starts within a minute after its user's conversion, which would be a sign "
            "of clocks that differ.",
        ),
    ),
)
def customer_journeys(run: TableRun) -> None:
    """For each conversion, the touchpoints that led to it.

    Grain: one touchpoint of one conversion. Key: conv_id, position.
    Sources: cleaned/web_conversions, cleaned/web_sessions. A range is one of conversion days.
    """
    conversions = run.read("cleaned/web_conversions")
    found = journeys(run.read("cleaned/web_sessions"), conversions, JourneyRules.of(run.settings))
    run.replace_window(found, column="conversion_date")
