"""cleaned/web_sessions: one row per session on the web, its channel by the shop's own names.

Grain: one session. Key: session_id. Source: raw/web_sessions.
"""

from collections.abc import Mapping
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from dmp_assets.cleaned.web import web_values
from dmp_assets.platform.cleaning import formats, reading, rules, unread
from dmp_assets.platform.cleaning.reading import Reading
from dmp_assets.platform.cleaning.received import words_of, written_of
from dmp_assets.platform.cleaning.rules import Rule, Split
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.platform.values.readers import USUAL, Format
from dmp_assets.platform.values.words import STANDARD, Kind, Words
from dmp_assets.sources.web.settings import WebSettings
from dmp_assets.sources.web.tables import TABLES

RECEIVED = TABLES["session_sources"]
FLAGS = ("holder_engagement", "closer_engagement", "impression_interaction")
NEVER_NULL = ("event_date", "event_time", "channel_name")
KINDS: dict[str, Kind] = {**words_of(RECEIVED), **dict.fromkeys(NEVER_NULL, "as received")}
READERS = written_of(RECEIVED)
RULES = (
    Rule("session_id_missing", "session_id IS NOT NULL", "the session has no id", required=True),
    Rule(
        "event_time_unreadable",
        "event_at IS NOT NULL",
        "the day or the time of the session is missing or cannot be read",
        required=True,
    ),
    Rule(
        "channel_missing", "channel_name IS NOT NULL", "the session has no channel", required=True
    ),
)
COLUMNS = {
    "session_id": Column("string", "Id of the session.", "identifier", "session_id"),
    "user_id": Column(
        "string",
        "Who came; null when the visitor is unknown, or the id says nothing: cost counts, "
        "no journey has it.",
        "identifier",
        "user_id",
    ),
    "event_at": Column("timestamp", "Start of the session (UTC), to the second.", "behaviour"),
    "channel_name": Column(
        "string",
        "Channel, after the shop's mapping (DMP_CHANNEL_MAPPING); `unknown` for words "
        "that mean nothing.",
    ),
    "channel_received": Column("string", "Channel as received."),
    "campaign_name": Column("string", "Campaign, where the source names it."),
    "holder_engagement": Column(
        "boolean", "Whether the visitor engaged with the shop; unknown counts as no.", "behaviour"
    ),
    "closer_engagement": Column(
        "boolean",
        "Whether the visitor came close to a purchase; unknown counts as no.",
        "behaviour",
    ),
    "impression_interaction": Column(
        "boolean", "Whether an ad was only seen, not clicked; unknown counts as no.", "behaviour"
    ),
    "is_ambiguous": Column("boolean", "Rows contradict each other; disputed attributes are null."),
    "received_rows": Column(
        "long", "How many received rows this one stands for (itself and its duplicates)."
    ),
}


def clean(
    raw: DataFrame,
    mapping: Mapping[str, str],
    now: datetime,
    no_value: Words = STANDARD,
    day: Format = USUAL["time"],
    clock: Format = USUAL["clock"],
) -> Split:
    """Type, deduplicate and name the channels of sessions; those after `now` are unusable."""
    future = Rule(
        "event_in_future",
        web_values.not_in_future("event_at", now),
        "the session is said to be later than now",
    )
    read = {
        **readings_of(day, clock),
        "mapped": web_values.mapped("channel_name", mapping, no_value),
    }
    received = rules.received(raw, RECEIVED, reading.given(KINDS, no_value) | read)
    judged = rules.split_by_rules(received, (*RULES, future))
    usable = judged.kept.select(*RECEIVED, *read, *rules.LINEAGE)
    single = rules.one_row_per_key(usable, ["session_id"], NEVER_NULL, read)
    kept = (
        single.kept.withColumnsRenamed(
            {"channel_name": "channel_received", "mapped": "channel_name"}
        )
        .withColumns({name: F.coalesce(f"{name}_read", F.lit(False)) for name in FLAGS})
        .select(*COLUMNS)
    )
    return Split(kept, rules.quarantine(RECEIVED, judged.quarantined, single.quarantined))


def readings_of(day: Format, clock: Format) -> dict[str, Reading]:
    """By what the received columns of time and flags are read."""
    return {
        "event_at": web_values.moment("event_date", "event_time", day, clock),
        **{f"{name}_read": reading.flag(name, is_count=True) for name in FLAGS},
    }


@table_asset(
    "cleaned",
    deps=["raw/web_sessions"],
    owner="team:marketing",
    columns=COLUMNS,
    key=("session_id",),
    also={"quarantine/web_sessions": rules.quarantine_columns(RECEIVED)},
    settings=["max_bad_share", "channel_mapping", "no_values", "column_formats"],
    checks=(
        *rules.standard_checks("web_sessions"),
        Check(
            "visitors_known",
            "SELECT count(*) FILTER (user_id IS NULL), count(*) AS sessions "
            "FROM cleaned.web_sessions",
            "Every session has a user id; one without has a cost and is on no journey.",
        ),
    ),
)
def web_sessions(run: TableRun) -> None:
    """One row per session on the web, its channel by the shop's own names.

    Grain: one session. Key: session_id. Source: raw/web_sessions.
    """
    raw, mapping = run.read("raw/web_sessions"), run.settings.of(WebSettings).channel_mapping
    forms = formats.found(run, "web_sessions", READERS)
    day, clock = forms["event_date"], forms["event_time"]
    no_value = run.settings.no_value_words
    unread.note(run, "web_sessions", KINDS, readings_of(day, clock), no_value)
    rules.write_split(run, clean(raw, mapping, run.lakehouse.home.now(), no_value, day, clock))
