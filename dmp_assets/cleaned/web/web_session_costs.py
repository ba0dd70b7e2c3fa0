"""cleaned/web_session_costs: what each session cost.

Grain: one session that has a cost. Key: session_id. Sources: raw/web_session_costs,
cleaned/web_sessions. Received cost = kept + duplicates + quarantined.
"""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from dmp_assets.cleaned.web.web_values import MONEY
from dmp_assets.platform.cleaning import formats, reading, rules, unread
from dmp_assets.platform.cleaning.received import words_of, written_of
from dmp_assets.platform.cleaning.rules import Rule, Split
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.platform.values import readers
from dmp_assets.platform.values.readers import USUAL, Format
from dmp_assets.platform.values.words import STANDARD, Kind, Words
from dmp_assets.sources.web.tables import TABLES

RECEIVED = TABLES["session_costs"]
KINDS: dict[str, Kind] = {**words_of(RECEIVED), "cost": "as received"}
READERS = written_of(RECEIVED)
RULES = (
    Rule("session_id_missing", "session_id IS NOT NULL", "the cost has no session", required=True),
    Rule("cost_missing", "cost IS NOT NULL", "the cost is missing", required=True),
    Rule(
        "cost_unreadable",
        "cost IS NULL OR amount IS NOT NULL",
        "the cost is no number",
        required=True,
    ),
    Rule("cost_negative", "amount >= 0", "the cost is negative"),
    Rule(
        "session_unknown",
        "session_id IS NULL OR event_at IS NOT NULL",
        "no usable session has this id (yet)",
        required=True,
    ),
    Rule(
        "contradictory",
        "session_id IS NULL OR amount IS NULL OR amounts <= 1",
        "other rows name another cost of this session",
    ),
)
COLUMNS = {
    "session_id": Column("string", "Id of the session.", "identifier", "session_id"),
    "cost": Column("decimal(18,8)", "Its cost in EUR.", "behaviour"),
    "received_rows": Column(
        "long", "How many received rows this one stands for (itself and its duplicates)."
    ),
}


_SIDES: tuple[readers.Side | None, ...] = ("point", "comma", None)


def clean(
    raw: DataFrame,
    sessions: DataFrame,
    no_value: Words = STANDARD,
    form: Format = USUAL["amount"],
) -> Split:
    """Type and deduplicate costs; of a session with several different costs none is used."""
    readings = reading.given(KINDS, no_value) | {"amount": reading.amount("cost", form, MONEY)}
    received = rules.received(raw, RECEIVED, readings)
    usable = F.when(F.col("amount") >= 0, F.col("amount"))
    amounts = F.size(F.collect_set(usable).over(Window.partitionBy("session_id")))
    typed = received.join(
        sessions.select("session_id", "event_at"), "session_id", "left"
    ).withColumn("amounts", amounts)
    judged = rules.split_by_rules(typed, RULES)
    kept = judged.kept.groupBy("session_id").agg(
        F.first("amount").alias("cost"), F.count(F.lit(1)).alias("received_rows")
    )
    return Split(kept.select(*COLUMNS), rules.quarantine(RECEIVED, judged.quarantined))


def _sums(layer: str, cost: str) -> str:
    """DuckDB: the layer's cost, read in each way in which a column can write it."""
    return ", ".join(
        f"(SELECT coalesce(sum({readers.amount(cost, MONEY, Format(side))}), 0) "
        f"FROM {layer}.web_session_costs)"
        for side in _SIDES
    )


@table_asset(
    "cleaned",
    deps=["raw/web_session_costs", "cleaned/web_sessions"],
    owner="team:marketing",
    columns=COLUMNS,
    key=("session_id",),
    also={
        "quarantine/web_session_costs": rules.quarantine_columns(RECEIVED)
    },
    settings=["max_bad_share", "no_values", "column_formats"],
    checks=(
        *rules.standard_checks("web_session_costs"),
        Check(
            "cost_adds_up",
            f"""
            WITH counted AS (
              SELECT unnest([{_sums("raw", "trim(cost)")}]) AS received,
                     (SELECT coalesce(sum(cost * received_rows), 0)
                      FROM cleaned.web_session_costs) AS kept_with_duplicates,
                     unnest([{_sums("quarantine", "cost")}]) AS quarantined
            ), judged AS (
              SELECT *, abs(received - kept_with_duplicates - quarantined) AS off FROM counted
            )
            SELECT round(min(off) * 100)::BIGINT AS offending,
                   arg_min(received, off) AS received,
                   any_value(kept_with_duplicates) AS kept_with_duplicates,
                   arg_min(quarantined, off) AS quarantined
            FROM judged
            """,
            "Cost received = kept + duplicates + quarantined, to the cent.",
            blocking=True,
        ),
    ),
)  # fmt: skip
def web_session_costs(run: TableRun) -> None:
    """What each session cost.

    Grain: one session that has a cost. Key: session_id. Sources: raw/web_session_costs,
    cleaned/web_sessions. Costs of a session that is not there yet wait in quarantine.
    """
    form = formats.found(run, "web_session_costs", READERS)["cost"]
    raw, sessions = run.read("raw/web_session_costs"), run.read("cleaned/web_sessions")
    no_value = run.settings.no_value_words
    unread.note(
        run, "web_session_costs", KINDS, {"cost": reading.amount("cost", form, MONEY)}, no_value
    )
    rules.write_split(run, clean(raw, sessions, no_value, form))
