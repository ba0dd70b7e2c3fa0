"""cleaned/web_session_costs: what each session cost.

Grain: one session that has a cost. Key: session_id. Sources: raw/web_session_costs,
cleaned/web_sessions. Received cost = kept + duplicates + quarantined.
"""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from dmp_assets.cleaned import rules, web_values
from dmp_assets.cleaned.rules import QUARANTINE_COLUMNS, Rule, Split
from dmp_assets.cleaned.web_values import MONEY
from dmp_assets.sources.web_tables import TABLES
from dmp_assets.table_asset import ATTRIBUTION, Check, TableRun, table_asset

RECEIVED = tuple(TABLES["session_costs"])
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
    "session_id": "Id of the session.",
    "cost": "Its cost in EUR.",
    "received_rows": "How many received rows this one stands for (itself and its duplicates).",
}


def clean(raw: DataFrame, sessions: DataFrame) -> Split:
    """Type and deduplicate costs; of a session with several different costs none is used."""
    received = rules.blank_to_null(rules.with_columns(raw, RECEIVED), RECEIVED)
    usable = F.when(F.col("amount") >= 0, F.col("amount"))
    amounts = F.size(F.collect_set(usable).over(Window.partitionBy("session_id")))
    typed = (
        received.join(sessions.select("session_id", "event_at"), "session_id", "left")
        .withColumn("amount", F.expr(f"try_cast(cost AS {MONEY})"))
        .withColumn("amounts", amounts)
    )
    judged = rules.split_by_rules(typed, RULES)
    kept = judged.kept.groupBy("session_id").agg(
        F.first("amount").alias("cost"), F.count(F.lit(1)).alias("received_rows")
    )
    return Split(kept.select(*COLUMNS), rules.quarantine(RECEIVED, judged.quarantined))


@table_asset(
    "cleaned",
    deps=["raw/web_session_costs", "cleaned/web_sessions"],
    owner="team:marketing",
    tags=ATTRIBUTION,
    columns=COLUMNS,
    also={
        "quarantine/web_session_costs": {
            **dict.fromkeys(RECEIVED, "As received."), **QUARANTINE_COLUMNS
        }
    },
    settings=["max_bad_share"],
    uses=[rules, web_values],
    checks=(
        *rules.standard_checks("web_session_costs", ["session_id"]),
        Check(
            "cost_adds_up",
            f"""
            WITH counted AS (
              SELECT (SELECT coalesce(sum(try_cast(trim(cost) AS {MONEY})), 0)
                      FROM raw.web_session_costs) AS received,
                     (SELECT coalesce(sum(cost * received_rows), 0)
                      FROM cleaned.web_session_costs) AS kept_with_duplicates,
                     (SELECT coalesce(sum(try_cast(cost AS {MONEY})), 0)
                      FROM quarantine.web_session_costs) AS quarantined
            )
            SELECT round(abs(received - kept_with_duplicates - quarantined) * 100)::BIGINT
                     AS offending, * FROM counted
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
    rules.write_split(
        run, clean(run.read("raw/web_session_costs"), run.read("cleaned/web_sessions"))
    )
