"""modeled/promo_usage_by_code: how much each promo code is used.

Grain: one known code, unused ones included. Key: promo_code.
Sources: cleaned/promo_codes, cleaned/promo_usages.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset

COLUMNS = {
    "promo_code": Column("string", "The code."),
    "usages": Column("long", "Redemptions of the code; 0 when it was never used."),
    "users": Column("long", "Different users among them."),
    "first_used_at": Column(
        "timestamp", "Time of the first redemption (UTC); null when never used.", "behaviour"
    ),
    "last_used_at": Column(
        "timestamp", "Time of the last redemption (UTC); null when never used.", "behaviour"
    ),
    "discount_type": Column("string", "percentage or fixed_amount; null when unknown or disputed."),
    "discount_value": Column("decimal(12,2)", "Percent or amount, by discount_type."),
    "min_purchase_amount": Column(
        "decimal(12,2)", "Smallest order that the code is good for, in the shop's currency."
    ),
}


def per_code(codes: DataFrame, usages: DataFrame) -> DataFrame:
    """One row per code of `codes`, with its usages counted."""
    counted = usages.groupBy("promo_code").agg(
        F.count("*").alias("usages"),
        F.count_distinct("user_id").alias("users"),
        F.min("used_at").alias("first_used_at"),
        F.max("used_at").alias("last_used_at"),
    )
    return (
        codes.select("promo_code", "discount_type", "discount_value", "min_purchase_amount")
        .join(counted, "promo_code", "left")
        .fillna(0, subset=["usages", "users"])
        .select(*COLUMNS)
    )


@table_asset(
    "modeled",
    deps=["cleaned/promo_codes", "cleaned/promo_usages"],
    columns=COLUMNS,
    key=("promo_code",),
    once="Each code is there once.",
    checks=(
        Check(
            "sums_agree",
            "SELECT abs(coalesce(sum(usages), 0) - (SELECT count(*) FROM cleaned.promo_usages)), "
            "sum(usages) AS usages FROM modeled.promo_usage_by_code",
            "The codes' usages add up to the cleaned usages.",
            blocking=True,
        ),
        Check(
            "every_code_there",
            "SELECT count(*) FROM cleaned.promo_codes "
            "ANTI JOIN modeled.promo_usage_by_code USING (promo_code)",
            "Every known code has its row, used or not.",
            blocking=True,
        ),
    ),
)
def promo_usage_by_code(run: TableRun) -> None:
    """How much each promo code is used.

    Grain: one known code, unused ones included. Key: promo_code.
    Sources: cleaned/promo_codes, cleaned/promo_usages.
    """
    run.overwrite(per_code(run.read("cleaned/promo_codes"), run.read("cleaned/promo_usages")))
