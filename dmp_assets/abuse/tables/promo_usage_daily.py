"""modeled/promo_usage_daily: how much promo codes were used each day.

Grain: one day (UTC) with usages. Key: date. Source: cleaned/promo_usages.
"""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset

COLUMNS = {
    "date": Column("date", "Day of usage (UTC); days without usages have no row."),
    "usages": Column("long", "Redemptions on the day."),
    "users": Column("long", "Users that redeemed on the day."),
    "codes": Column("long", "Codes that were redeemed on the day."),
    "first_usages": Column(
        "long", "Redemptions that are their user's first ever (ties: the smaller code)."
    ),
}


def per_day(usages: DataFrame) -> DataFrame:
    """Count redemptions by day; which one is a user's first is decided over all days."""
    turn = F.row_number().over(Window.partitionBy("user_id").orderBy("used_at", "promo_code"))
    return (
        usages.select("user_id", "promo_code", "used_at", turn.alias("turn"))
        .groupBy(F.to_date("used_at").alias("date"))
        .agg(
            F.count("*").alias("usages"),
            F.count_distinct("user_id").alias("users"),
            F.count_distinct("promo_code").alias("codes"),
            F.count_if(F.col("turn") == 1).alias("first_usages"),
        )
    )


@table_asset(
    "modeled",
    deps=["cleaned/promo_usages"],
    columns=COLUMNS,
    key=("date",),
    once="Each day is there once.",
    windowed=True,
    checks=(
        Check(
            "sums_agree",
            "SELECT abs(coalesce(sum(usages), 0) - (SELECT count(*) FROM cleaned.promo_usages)), "
            "sum(usages) AS usages FROM modeled.promo_usage_daily",
            "The days' usages add up to the cleaned usages (not so while a range run has "
            "replaced only some of the days).",
        ),
    ),
)
def promo_usage_daily(run: TableRun) -> None:
    """How much promo codes were used each day.

    Grain: one day (UTC) with usages. Key: date. Source: cleaned/promo_usages.
    """
    run.replace_window(per_day(run.read("cleaned/promo_usages")), column="date")
