"""modeled/registrations_daily: how many users registered each day.

Grain: one day (UTC) with registrations. Key: date. Source: cleaned/users.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset

COLUMNS = {
    "date": Column("date", "Day of registration (UTC); days without registrations have no row."),
    "registrations": Column("long", "Users that registered on the day."),
    "verified_email": Column("long", "Those of them whose e-mail address is verified by now."),
    "verified_phone": Column("long", "Those of them whose phone number is verified by now."),
    "labelled_abusers": Column("long", "Those of them that the shop labels abusers by now."),
}


def per_day(users: DataFrame) -> DataFrame:
    """Count users by day of registration."""
    return users.groupBy(F.to_date("created_at").alias("date")).agg(
        F.count("*").alias("registrations"),
        F.count_if("is_email_verified").alias("verified_email"),
        F.count_if("is_phone_verified").alias("verified_phone"),
        F.count_if("is_abuser").alias("labelled_abusers"),
    )


@table_asset(
    "modeled",
    deps=["cleaned/users"],
    columns=COLUMNS,
    key=("date",),
    once="Each day is there once.",
    windowed=True,
    checks=(
        Check(
            "sums_agree",
            "SELECT abs(coalesce(sum(registrations), 0) - (SELECT count(*) FROM cleaned.users)), "
            "sum(registrations) AS registrations FROM modeled.registrations_daily",
            "The days' registrations add up to the users (not so while a range run has replaced "
            "only some of the days).",
        ),
    ),
)
def registrations_daily(run: TableRun) -> None:
    """How many users registered each day.

    Grain: one day (UTC) with registrations. Key: date. Source: cleaned/users.
    """
    run.replace_window(per_day(run.read("cleaned/users")), column="date")
