"""cleaned/promo_codes: one row per promo code.

Grain: one promo code. Key: promo_code. Source: raw/promo_codes.
"""

from collections.abc import Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from dmp_assets.platform.cleaning import formats, reading, rules, unread
from dmp_assets.platform.cleaning.reading import Reading
from dmp_assets.platform.cleaning.received import words_of, written_of
from dmp_assets.platform.cleaning.rules import Rule, Split
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import TableRun, table_asset
from dmp_assets.platform.values.readers import USUAL, Format
from dmp_assets.platform.values.words import STANDARD, Words
from dmp_assets.sources.shop.tables import TABLES

RECEIVED = TABLES["promo_codes"].columns
KINDS = words_of(RECEIVED)
READERS = written_of(RECEIVED)
RULES = (Rule("promo_code_missing", "promo_code IS NOT NULL", "the code is empty", required=True),)
COLUMNS = {
    "promo_code": Column("string", "The code that a customer enters."),
    "discount_type": Column("string", "percentage or fixed_amount; null when unknown or disputed."),
    "discount_value": Column("decimal(12,2)", "Percent or amount, by discount_type."),
    "min_purchase_amount": Column(
        "decimal(12,2)", "Smallest order that the code is good for, in the shop's currency."
    ),
    "valid_from": Column("timestamp", "First moment at which the code is good (UTC)."),
    "valid_until": Column("timestamp", "Moment from which the code is no longer good (UTC)."),
    "max_uses_per_user": Column("integer", "How often one user may redeem it."),
    "terms_received": Column(
        "string", "Type, value, minimum, validity and limit as received (JSON)."
    ),
    "is_terms_valid": Column("boolean", "Whether every received term could be read."),
    "is_ambiguous": Column(
        "boolean", "Rows of one load contradict each other; disputed attributes are null."
    ),
    "received_rows": Column(
        "long", "How many received rows this one stands for (itself and its duplicates)."
    ),
    "received_at": Column("timestamp", "When the source received the row (UTC), where it says so."),
}


MONEY = "DECIMAL(12, 2)"
_PERCENTAGE, _FIXED = "percentage", "fixed_amount"
DISCOUNT_TYPES = {
    **dict.fromkeys(("percentage", "percent", "percent off", "pct", "%", "prozent"), _PERCENTAGE),
    **dict.fromkeys(
        (
            "fixed amount",
            "fixed",
            "amount",
            "amount off",
            "fixed cart",
            "fixed product",
            "absolute",
        ),
        _FIXED,
    ),
}
"""What shops call the two types, with spaces for `_` and `-`."""
TERMS = (
    "discount_type", "discount_value", "min_purchase_amount", "valid_from", "valid_until",
    "max_uses_per_user",
)  # fmt: skip


def clean(
    raw: DataFrame, no_value: Words = STANDARD, forms: Mapping[str, Format] | None = None
) -> Split:
    """Type and deduplicate codes; a code defined twice stays once, disputed attributes null."""
    terms = readings_of(forms or {})
    read = {f"{name}_read": terms[name] for name in TERMS}
    received = rules.received(raw, RECEIVED, reading.given(KINDS, no_value) | read)
    judged = rules.split_by_rules(received, RULES)
    usable = judged.kept.select(*RECEIVED, *read, *rules.LINEAGE)
    single = rules.one_row_per_key(usable, ["promo_code"], read=read)
    unread = " OR ".join(f"({name} IS NOT NULL AND {name}_read IS NULL)" for name in TERMS)
    kept = (
        single.kept.withColumns(
            {
                "terms_received": F.to_json(F.struct(*TERMS)),
                "is_terms_valid": F.expr(f"NOT ({unread})"),
            }
        )
        .drop(*TERMS)
        .withColumnsRenamed({f"{name}_read": name for name in TERMS})
        .withColumnsRenamed({"_received_at": "received_at"})
    )
    return Split(
        kept.select(*COLUMNS), rules.quarantine(RECEIVED, judged.quarantined, single.quarantined)
    )


def readings_of(forms: Mapping[str, Format]) -> dict[str, Reading]:
    """By what each received term is read."""
    of = {name: USUAL[reader] for name, reader in READERS.items()} | dict(forms)
    return {
        "discount_type": reading.one_of("discount_type", DISCOUNT_TYPES),
        "discount_value": reading.amount("discount_value", of["discount_value"], MONEY),
        "min_purchase_amount": reading.amount(
            "min_purchase_amount", of["min_purchase_amount"], MONEY
        ),
        "valid_from": reading.time("valid_from", of["valid_from"]),
        "valid_until": reading.time("valid_until", of["valid_until"]),
        "max_uses_per_user": reading.whole("max_uses_per_user", of["max_uses_per_user"]),
    }


@table_asset(
    "cleaned",
    deps=["raw/promo_codes"],
    columns=COLUMNS,
    key=("promo_code",),
    also={"quarantine/promo_codes": rules.quarantine_columns(RECEIVED)},
    settings=["max_bad_share", "no_values", "column_formats"],
    checks=rules.standard_checks("promo_codes"),
)
def promo_codes(run: TableRun) -> None:
    """One row per promo code.

    Grain: one promo code. Key: promo_code. Source: raw/promo_codes. A code that one load defines
    in several ways stays once, with the disputed attributes null and `is_ambiguous`.
    """
    no_value = run.settings.no_value_words
    forms = formats.found(run, "promo_codes", READERS)
    unread.note(run, "promo_codes", KINDS, readings_of(forms), no_value)
    rules.write_split(run, clean(run.read("raw/promo_codes"), no_value, forms))
