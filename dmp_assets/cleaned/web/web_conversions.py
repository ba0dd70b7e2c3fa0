"""cleaned/web_conversions: one row per conversion, with its revenue.

Grain: one conversion. Key: conv_id. Source: raw/web_conversions.
"""

from collections.abc import Mapping
from datetime import datetime

from pyspark.sql import DataFrame

from dmp_assets.cleaned.web import web_values
from dmp_assets.cleaned.web.web_values import MONEY
from dmp_assets.platform.cleaning import formats, reading, rules, unread
from dmp_assets.platform.cleaning.reading import Reading
from dmp_assets.platform.cleaning.received import words_of, written_of
from dmp_assets.platform.cleaning.rules import Rule, Split
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import TableRun, table_asset
from dmp_assets.platform.values.readers import USUAL, Format
from dmp_assets.platform.values.words import STANDARD, Kind, Words
from dmp_assets.sources.web.tables import TABLES

RECEIVED = TABLES["conversions"]
KINDS: dict[str, Kind] = {
    **words_of(RECEIVED),
    **dict.fromkeys(("user_id", "conv_date", "conv_time", "revenue"), "as received"),
}
READERS = written_of(RECEIVED)
RULES = (
    Rule("conv_id_missing", "conv_id IS NOT NULL", "the conversion has no id", required=True),
    Rule("user_id_missing", "user_id IS NOT NULL", "the conversion has no user", required=True),
    Rule(
        "conv_time_unreadable",
        "converted_at IS NOT NULL",
        "the day or the time of the conversion is missing or cannot be read",
        required=True,
    ),
    Rule("revenue_missing", "revenue IS NOT NULL", "the revenue is missing", required=True),
    Rule(
        "revenue_unreadable",
        "revenue IS NULL OR amount IS NOT NULL",
        "the revenue is no number",
        required=True,
    ),
    Rule("revenue_negative", "amount >= 0", "the revenue is negative"),
)
COLUMNS = {
    "conv_id": Column("string", "Id of the conversion.", "identifier", "conv_id"),
    "user_id": Column(
        "string",
        "Who converted; null for a guest, whose id says nothing (`(not set)`).",
        "identifier",
        "user_id",
    ),
    "converted_at": Column(
        "timestamp", "Time of the conversion (UTC), to the second.", "behaviour"
    ),
    "revenue": Column(
        "decimal(18,8)",
        "Revenue in EUR; null where rows of one conversion contradict each other.",
        "behaviour",
    ),
    "is_ambiguous": Column("boolean", "Rows contradict each other; disputed attributes are null."),
    "received_rows": Column(
        "long", "How many received rows this one stands for (itself and its duplicates)."
    ),
}


def clean(
    raw: DataFrame,
    now: datetime,
    no_value: Words = STANDARD,
    forms: Mapping[str, Format] | None = None,
) -> Split:
    """Type and deduplicate conversions; what is said to come after `now` is unusable.

    A conversion whose user is a word that means nothing (`(not set)`, `guest`) is one without a
    user: its revenue counts, and no journey leads to it.
    """
    future = Rule(
        "conv_in_future",
        web_values.not_in_future("converted_at", now),
        "the conversion is said to be later than now",
    )
    read = readings_of(forms or {}) | {"visitor": reading.given_as("user_id", "visitor", no_value)}
    received = rules.received(raw, RECEIVED, reading.given(KINDS, no_value) | read)
    judged = rules.split_by_rules(received, (*RULES, future))
    usable = judged.kept.select(*RECEIVED, *read, *rules.LINEAGE)
    single = rules.one_row_per_key(usable, ["conv_id"], ["user_id", "conv_date", "conv_time"], read)
    kept = single.kept.drop("revenue", "user_id").withColumnsRenamed(
        {"amount": "revenue", "visitor": "user_id"}
    )
    return Split(
        kept.select(*COLUMNS), rules.quarantine(RECEIVED, judged.quarantined, single.quarantined)
    )


def readings_of(forms: Mapping[str, Format]) -> dict[str, Reading]:
    """By what the received columns of time and money are read."""
    of = {name: USUAL[reader] for name, reader in READERS.items()} | dict(forms)
    return {
        "converted_at": web_values.moment(
            "conv_date", "conv_time", of["conv_date"], of["conv_time"]
        ),
        "amount": reading.amount("revenue", of["revenue"], MONEY),
    }


@table_asset(
    "cleaned",
    deps=["raw/web_conversions"],
    owner="team:marketing",
    columns=COLUMNS,
    key=("conv_id",),
    also={
        "quarantine/web_conversions": rules.quarantine_columns(RECEIVED)
    },
    settings=["max_bad_share", "no_values", "column_formats"],
    checks=rules.standard_checks("web_conversions"),
)  # fmt: skip
def web_conversions(run: TableRun) -> None:
    """One row per conversion, with its revenue.

    Grain: one conversion. Key: conv_id. Source: raw/web_conversions.
    """
    no_value, now = run.settings.no_value_words, run.lakehouse.home.now()
    forms = formats.found(run, "web_conversions", READERS)
    unread.note(run, "web_conversions", KINDS, readings_of(forms), no_value)
    rules.write_split(run, clean(run.read("raw/web_conversions"), now, no_value, forms))
