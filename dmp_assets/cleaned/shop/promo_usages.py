"""cleaned/promo_usages: one row per redemption of a promo code.

Grain: one redemption. Key: user_id, promo_code, used_at. Source: raw/promo_usages.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from dmp_assets.platform.cleaning import formats, reading, rules, unread
from dmp_assets.platform.cleaning.reading import Reading
from dmp_assets.platform.cleaning.received import words_of, written_of
from dmp_assets.platform.cleaning.rules import Rule, Split
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.platform.values.readers import USUAL, Format
from dmp_assets.platform.values.words import STANDARD, Kind, Words
from dmp_assets.sources.shop.tables import TABLES

RECEIVED = TABLES["promo_usages"].columns
KINDS: dict[str, Kind] = {**words_of(RECEIVED), "used_at": "as received"}
READERS = written_of(RECEIVED)
RULES = (
    Rule("user_id_missing", "user_id IS NOT NULL", "the redemption has no user", required=True),
    Rule(
        "promo_code_missing", "promo_code IS NOT NULL", "the redemption has no code", required=True
    ),
    Rule(
        "used_at_unreadable",
        "used_at IS NOT NULL",
        "the time of redemption is missing or cannot be read",
        required=True,
    ),
    Rule(
        "user_unknown",
        "user_id IS NULL OR registered_at IS NOT NULL",
        "no usable user has this id (yet)",
        required=True,
    ),
    Rule(
        "promo_code_unknown",
        "promo_code IS NULL OR known_code IS NOT NULL",
        "no usable promo code has this name (yet)",
        required=True,
    ),
)
COLUMNS = {
    "user_id": Column("string", "Who redeemed the code.", "identifier", "user_id"),
    "promo_code": Column("string", "Which code was redeemed."),
    "used_at": Column("timestamp", "Time of redemption (UTC).", "behaviour"),
    "used_promo": Column(
        "boolean", "Whether the shop granted the discount; null when unknown.", "behaviour"
    ),
    "is_before_registration": Column(
        "boolean", "Redeemed before the user's registration: kept, and a signal.", "behaviour"
    ),
    "is_ambiguous": Column(
        "boolean", "Rows of one load contradict each other; disputed attributes are null."
    ),
    "received_rows": Column(
        "long", "How many received rows this one stands for (itself and its duplicates)."
    ),
    "received_at": Column("timestamp", "When the source received the row (UTC), where it says so."),
}
KEY = ["user_id", "promo_code", "used_at"]


def clean(
    raw: DataFrame,
    users: DataFrame,
    codes: DataFrame,
    no_value: Words = STANDARD,
    used_at: Format = USUAL["time"],
) -> Split:
    """Type, key and deduplicate redemptions; those of unknown users or codes go to quarantine."""
    read = {f"{name}_read": by for name, by in readings_of(used_at).items()}
    used = {"used_promo_read": read["used_promo_read"]}
    timed = rules.received(raw, RECEIVED, reading.given(KINDS, no_value) | read).withColumnsRenamed(
        {"used_at": "used_at_received", "used_at_read": "used_at"}
    )
    known = timed.join(
        users.select("user_id", F.col("created_at").alias("registered_at")), "user_id", "left"
    ).join(codes.select("promo_code", F.lit(True).alias("known_code")), "promo_code", "left")
    judged = rules.split_by_rules(known, RULES)
    unusable = judged.quarantined.drop("used_at").withColumnsRenamed(
        {"used_at_received": "used_at"}
    )
    usable = judged.kept.select(*RECEIVED, *used, *rules.LINEAGE)
    single = rules.one_row_per_key(usable, KEY, read=used)
    kept = (
        single.kept.drop("used_promo")
        .withColumnsRenamed({"used_promo_read": "used_promo"})
        .join(
            users.select("user_id", F.col("created_at").alias("registered_at")), "user_id", "left"
        )
        .withColumns(
            {
                "is_before_registration": F.col("used_at") < F.col("registered_at"),
            }
        )
        .withColumnsRenamed({"_received_at": "received_at"})
        .select(*COLUMNS)
    )
    return Split(kept, rules.quarantine(RECEIVED, unusable, single.quarantined))


def readings_of(used_at: Format) -> dict[str, Reading]:
    """By what each received column is read."""
    return {
        "used_promo": reading.flag("used_promo"), "used_at": reading.time("used_at", used_at)
    }  # fmt: skip


@table_asset(
    "cleaned",
    deps=["raw/promo_usages", "cleaned/users", "cleaned/promo_codes"],
    columns=COLUMNS,
    key=KEY,
    also={"quarantine/promo_usages": rules.quarantine_columns(RECEIVED)},
    settings=["max_bad_share", "no_values", "column_formats"],
    checks=(
        *rules.standard_checks("promo_usages"),
        Check(
            "users_known",
            "SELECT count(*) FROM cleaned.promo_usages ANTI JOIN cleaned.users USING (user_id)",
            "Every redemption's user is in cleaned/users.",
            blocking=True,
        ),
        Check(
            "promo_codes_known",
            "SELECT count(*) FROM cleaned.promo_usages "
            "ANTI JOIN cleaned.promo_codes USING (promo_code)",
            "Every redeemed code is in cleaned/promo_codes.",
            blocking=True,
        ),
    ),
)
def promo_usages(run: TableRun) -> None:
    """One row per redemption of a promo code.

    Grain: one redemption. Key: user_id, promo_code, used_at. Source: raw/promo_usages.
    Redemptions of a user or code that is not there yet wait in quarantine and are tried again.
    """
    raw = run.read("raw/promo_usages")
    no_value = run.settings.no_value_words
    form = formats.found(run, "promo_usages", READERS)["used_at"]
    users, codes = run.read("cleaned/users"), run.read("cleaned/promo_codes")
    unread.note(run, "promo_usages", KINDS, readings_of(form), no_value)
    split = clean(raw, users, codes, no_value, form)
    rules.write_split(run, split)
