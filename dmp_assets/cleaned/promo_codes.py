"""cleaned/promo_codes: one row per promo code.

Grain: one promo code. Key: promo_code. Source: raw/promo_codes.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from dmp_assets.cleaned import rules
from dmp_assets.cleaned.rules import QUARANTINE_COLUMNS, Rule, Split
from dmp_assets.sources.shop import TABLES
from dmp_assets.table_asset import TableRun, table_asset

RECEIVED = TABLES["promo_codes"].columns
RULES = (Rule("promo_code_missing", "promo_code IS NOT NULL", "the code is empty", required=True),)
COLUMNS = {
    "promo_code": "The code that a customer enters.",
    "discount_type": "percentage or fixed_amount; null when unknown or disputed.",
    "discount_value": "Percent or amount, by discount_type.",
    "min_purchase_amount": "Smallest order that the code is good for, in the shop's currency.",
    "valid_from": "First moment at which the code is good (UTC).",
    "valid_until": "Moment from which the code is no longer good (UTC).",
    "max_uses_per_user": "How often one user may redeem it.",
    "terms_received": "Type, value, minimum, validity and limit as received (JSON).",
    "is_terms_valid": "Whether every received term could be read.",
    "is_ambiguous": "Rows of one load contradict each other; disputed attributes are null.",
    "received_rows": "How many received rows this one stands for (itself and its duplicates).",
    "received_at": "When the source received the row (UTC), where it says so.",
}


def read_amount(column: str) -> str:
    """SQL that reads an amount; `12,50` is read as 12.50, anything else that is odd as NULL."""
    pointed = f"if({column} RLIKE '^-?[0-9]+,[0-9]{{1,2}}$', replace({column}, ',', '.'), {column})"
    return f"try_cast({pointed} AS DECIMAL(12, 2))"


def clean(raw: DataFrame) -> Split:
    """Type and deduplicate codes; a code defined twice stays once, disputed attributes null."""
    received = rules.blank_to_null(rules.with_columns(raw, RECEIVED), RECEIVED)
    judged = rules.split_by_rules(received, RULES)
    single = rules.one_row_per_key(judged.kept.select(*RECEIVED, *rules.LINEAGE), ["promo_code"])
    kind = "lower(discount_type)"
    read = {
        "discount_type": f"CASE WHEN {kind} IN ('percentage', 'fixed_amount') THEN {kind} END",
        "discount_value": read_amount("discount_value"),
        "min_purchase_amount": read_amount("min_purchase_amount"),
        "valid_from": rules.read_time("valid_from"),
        "valid_until": rules.read_time("valid_until"),
        "max_uses_per_user": "try_cast(max_uses_per_user AS INT)",
    }
    unread = " OR ".join(f"({name} IS NOT NULL AND ({sql}) IS NULL)" for name, sql in read.items())
    typed = single.kept.withColumns(
        {
            "terms_received": F.to_json(F.struct(*read)),
            "is_terms_valid": F.expr(f"NOT ({unread})"),
            **{name: F.expr(sql) for name, sql in read.items()},
        }
    ).withColumnsRenamed({"_received_at": "received_at"})
    return Split(
        typed.select(*COLUMNS), rules.quarantine(RECEIVED, judged.quarantined, single.quarantined)
    )


@table_asset(
    "cleaned",
    deps=["raw/promo_codes"],
    columns=COLUMNS,
    also={
        "quarantine/promo_codes": {**dict.fromkeys(RECEIVED, "As received."), **QUARANTINE_COLUMNS}
    },
    settings=["max_bad_share"],
    uses=[rules],
    checks=rules.standard_checks("promo_codes", ["promo_code"]),
)
def promo_codes(run: TableRun) -> None:
    """One row per promo code.

    Grain: one promo code. Key: promo_code. Source: raw/promo_codes. A code that one load defines
    in several ways stays once, with the disputed attributes null and `is_ambiguous`.
    """
    rules.write_split(run, clean(run.read("raw/promo_codes")))
