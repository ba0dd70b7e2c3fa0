"""modeled/promo_usage_by_user: how each user uses promo codes.

Grain: one user with at least one usage. Key: user_id.
Sources: cleaned/promo_usages, cleaned/users, cleaned/promo_codes.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset

COLUMNS = {
    "user_id": Column("string", "The user.", "identifier", "user_id"),
    "usages": Column("long", "Redemptions of the user.", "behaviour"),
    "codes": Column("long", "Different codes among them.", "behaviour"),
    "granted": Column("long", "Redemptions that the shop says it granted.", "behaviour"),
    "first_used_at": Column("timestamp", "Time of the first redemption (UTC).", "behaviour"),
    "last_used_at": Column("timestamp", "Time of the last redemption (UTC).", "behaviour"),
    "minutes_to_first_use": Column(
        "double", "Minutes from registration to the first redemption; negative before.", "behaviour"
    ),
    "usages_before_registration": Column(
        "long", "Redemptions dated before the registration.", "behaviour"
    ),
    "usages_first_day": Column(
        "long", "Redemptions in the 24 hours from registration on.", "behaviour"
    ),
    "usages_first_week": Column(
        "long", "Redemptions in the 7 × 24 hours from registration on.", "behaviour"
    ),
    "usages_over_limit": Column(
        "long",
        "Redemptions beyond their code's limit per user; 0 where none is known.",
        "behaviour",
    ),
    "usages_out_of_validity": Column(
        "long", "Redemptions outside their code's validity, where it is known.", "behaviour"
    ),
    "mean_discount_percent": Column(
        "double", "Mean of the percentage codes' discounts; null without any.", "behaviour"
    ),
}


def per_user(usages: DataFrame, users: DataFrame, codes: DataFrame) -> DataFrame:
    """One row per user of `usages`; attributes of users and codes are joined on their keys."""
    of_code = codes.select(
        "promo_code",
        "valid_from",
        "valid_until",
        F.col("max_uses_per_user").cast("long").alias("allowed"),
        F.when(F.col("discount_type") == "percentage", F.col("discount_value")).alias("percent"),
    )
    since = F.timestamp_diff("SECOND", F.col("created_at"), F.col("used_at"))
    per_code = (
        usages.select("user_id", "promo_code", "used_at", "used_promo")
        .join(users.select("user_id", "created_at"), "user_id", "left")
        .join(of_code, "promo_code", "left")
        .withColumn("seconds", since)
        .groupBy("user_id", "promo_code")
        .agg(
            F.count("*").alias("usages"),
            F.count_if("used_promo").alias("granted"),
            F.min("used_at").alias("first_used_at"),
            F.max("used_at").alias("last_used_at"),
            (F.min("seconds") / 60.0).alias("minutes_to_first_use"),
            F.count_if(F.expr("seconds < 0")).alias("usages_before_registration"),
            F.count_if(F.expr("seconds >= 0 AND seconds < 86400")).alias("usages_first_day"),
            F.count_if(F.expr("seconds >= 0 AND seconds < 604800")).alias("usages_first_week"),
            F.greatest(F.lit(0).cast("long"), F.count("*") - F.max("allowed")).alias(
                "usages_over_limit"
            ),
            F.count_if(F.expr("used_at < valid_from OR used_at > valid_until")).alias(
                "usages_out_of_validity"
            ),
            F.sum("percent").alias("percent_sum"),
            F.count("percent").alias("percent_count"),
        )
    )
    totals = (
        "usages", "granted", "usages_before_registration", "usages_first_day",
        "usages_first_week", "usages_over_limit", "usages_out_of_validity",
    )  # fmt: skip
    return (
        per_code.groupBy("user_id")
        .agg(
            *[F.sum(name).alias(name) for name in totals],
            F.count("*").alias("codes"),
            F.min("first_used_at").alias("first_used_at"),
            F.max("last_used_at").alias("last_used_at"),
            F.min("minutes_to_first_use").cast("double").alias("minutes_to_first_use"),
            F.try_divide(F.sum("percent_sum").cast("double"), F.sum("percent_count")).alias(
                "mean_discount_percent"
            ),
        )
        .select(*COLUMNS)
    )


@table_asset(
    "modeled",
    deps=["cleaned/promo_usages", "cleaned/users", "cleaned/promo_codes"],
    columns=COLUMNS,
    key=("user_id",),
    once="Each user is there once.",
    checks=(
        Check(
            "sums_agree",
            "SELECT abs(coalesce(sum(usages), 0) - (SELECT count(*) FROM cleaned.promo_usages)), "
            "sum(usages) AS usages FROM modeled.promo_usage_by_user",
            "The users' usages add up to the cleaned usages.",
            blocking=True,
        ),
    ),
)
def promo_usage_by_user(run: TableRun) -> None:
    """How each user uses promo codes.

    Grain: one user with at least one usage. Key: user_id.
    Sources: cleaned/promo_usages, cleaned/users, cleaned/promo_codes.
    """
    inputs = [run.read(f"cleaned/{name}") for name in ("promo_usages", "users", "promo_codes")]
    run.overwrite(per_user(*inputs))
