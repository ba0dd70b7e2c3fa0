"""cleaned/web_*: each rule, contradictions, clocks, channels, and that nothing falls between."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pytest

from dmp_assets.cleaned.web import web_conversions, web_session_costs, web_sessions
from dmp_assets.cleaned.web.web_values import AHEAD
from dmp_assets.demo.business import shop as demo_shop
from dmp_assets.demo.business import web as demo_web
from dmp_assets.sources.web.database import WebSource
from dmp_assets.sources.web.tables import SOURCES
from tests.support.web import NOW, Cleaned, Row, at, conversion, cost, raw, session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def clean_sessions(spark: "SparkSession", *given: Row, **mapping: str) -> Cleaned:
    frame = spark.createDataFrame(raw("web_sessions", given))
    return Cleaned(web_sessions.clean(frame, mapping, NOW), "session_id")


def clean_conversions(spark: "SparkSession", *given: Row) -> Cleaned:
    frame = spark.createDataFrame(raw("web_conversions", given))
    return Cleaned(web_conversions.clean(frame, NOW), "conv_id")


def clean_costs(spark: "SparkSession", known: list[str], *given: Row) -> Cleaned:
    sessions = pa.table({"session_id": known, "event_at": [NOW] * len(known)})
    frame = spark.createDataFrame(raw("web_session_costs", given))
    split = web_session_costs.clean(frame, spark.createDataFrame(sessions))
    return Cleaned(split, "session_id")


# sessions ---------------------------------------------------------------------------------------


def test_a_session_that_cannot_be_used_is_quarantined_with_every_reason(
    spark: "SparkSession",
) -> None:
    limit = NOW + AHEAD
    found = clean_sessions(
        spark,
        session("good"),
        session("unknown visitor", user_id=" "),
        session("unknown channel", channel_name="(not set)"),
        session(" "),
        session("no day", event_date=None),
        session("no time", event_time=""),
        session("bad day", event_date="2024-13-45"),
        session("bad time", event_time="25:61:00"),
        session("no channel", channel_name="  "),
        session("clock ahead", **at("event", limit)),
        session("future", **at("event", limit + timedelta(seconds=1))),
        session("two reasons", event_time=None, channel_name=None),
    )
    assert set(found.kept) == {"good", "unknown visitor", "unknown channel", "clock ahead"}
    assert found.kept["unknown visitor"]["user_id"] is None
    assert found.failed == {
        None: ["session_id_missing"],
        "no day": ["event_time_unreadable"],
        "no time": ["event_time_unreadable"],
        "bad day": ["event_time_unreadable"],
        "bad time": ["event_time_unreadable"],
        "no channel": ["channel_missing"],
        "future": ["event_in_future"],
        "two reasons": ["event_time_unreadable", "channel_missing"],
    }
    assert found.received == 12
    reasons = {row["session_id"]: row["reason"] for row in found.quarantined}
    assert reasons["two reasons"] == (
        "the day or the time of the session is missing or cannot be read; "
        "the session has no channel"
    )


def test_times_are_utc_to_the_second(spark: "SparkSession") -> None:
    found = clean_sessions(
        spark,
        session("plain", event_date="2024-03-10", event_time="02:30:00"),  # New York skipped it
        session("fraction", event_time="10:00:00.987654"),
        session("zone", event_time="10:00:00+02:00"),
        session("day first", event_date="01/03/2024", event_time="10:00"),
    )
    times = {name: row["event_at"].astimezone(UTC) for name, row in found.kept.items()}
    assert times == {
        "plain": datetime(2024, 3, 10, 2, 30, tzinfo=UTC),
        "fraction": datetime(2024, 3, 1, 10, tzinfo=UTC),
        "zone": datetime(2024, 3, 1, 8, tzinfo=UTC),
        "day first": datetime(2024, 3, 1, 10, tzinfo=UTC),
    }


def test_rows_of_one_session_are_one_and_what_they_dispute_is_unknown(
    spark: "SparkSession",
) -> None:
    found = clean_sessions(
        spark,
        session("twice"), session("twice"),
        session("users"), session("users", user_id="v"),
        session("channels", channel_name="mail"), session("channels", channel_name="ads"),
        session("gap", campaign_name="spring"), session("gap"),
    )  # fmt: skip
    kept = found.kept
    assert (kept["twice"]["received_rows"], kept["twice"]["is_ambiguous"]) == (2, False)
    assert (kept["users"]["user_id"], kept["users"]["is_ambiguous"]) == (None, True)
    assert (kept["channels"]["channel_name"], kept["channels"]["is_ambiguous"]) == ("ads", True)
    assert (kept["gap"]["campaign_name"], kept["gap"]["is_ambiguous"]) == ("spring", False)
    assert found.failed == {"users": ["contradictory"], "channels": ["contradictory"]}
    assert found.received == 8


def test_flags_are_read_from_words_and_numbers_and_unknown_is_no(spark: "SparkSession") -> None:
    words = ["1", "0.7", "TRUE", "-1", "x", "0", "0.0", "無し", "false", "no", "maybe", "", None]
    found = clean_sessions(
        spark, *(session(f"s{n}", holder_engagement=word) for n, word in enumerate(words))
    )
    assert [found.kept[f"s{n}"]["holder_engagement"] for n in range(len(words))] == (
        [True] * 5 + [False] * 8
    )


def test_channels_are_renamed_and_merged_as_mapped_and_others_keep_their_name(
    spark: "SparkSession",
) -> None:
    given = [session(name, channel_name=name) for name in ("fb", "insta", "seo", "it's")]
    found = clean_sessions(spark, *given, **{"fb": "social", "insta": "social", "it's": 'a"b'})
    channels = {name: row["channel_name"] for name, row in found.kept.items()}
    assert channels == {"fb": "social", "insta": "social", "seo": "seo", "it's": 'a"b'}
    assert all(row["channel_received"] == name for name, row in found.kept.items())


# conversions ------------------------------------------------------------------------------------


def test_a_conversion_that_cannot_be_used_is_quarantined_with_its_reason(
    spark: "SparkSession",
) -> None:
    found = clean_conversions(
        spark,
        conversion("good", revenue="12.3456"),
        conversion("free", revenue="0"),
        conversion(None),
        conversion("no user", user_id=""),
        conversion("no day", conv_date=None),
        conversion("no time", conv_time=" "),
        conversion("bad day", conv_date="0000-00-00"),
        conversion("future", **at("conv", NOW + timedelta(days=2))),
        conversion("no revenue", revenue=None),
        conversion("no number", revenue="12;50"),
        conversion("negative", revenue="-0.01"),
    )
    assert {name: row["revenue"] for name, row in found.kept.items()} == {
        "good": Decimal("12.3456"),
        "free": Decimal(0),
    }
    assert found.failed == {
        None: ["conv_id_missing"],
        "no user": ["user_id_missing"],
        "no day": ["conv_time_unreadable"],
        "no time": ["conv_time_unreadable"],
        "bad day": ["conv_time_unreadable"],
        "future": ["conv_in_future"],
        "no revenue": ["revenue_missing"],
        "no number": ["revenue_unreadable"],
        "negative": ["revenue_negative"],
    }
    assert found.received == 11


def test_conversions_are_one_a_key_and_a_disputed_revenue_is_unknown(
    spark: "SparkSession",
) -> None:
    found = clean_conversions(
        spark,
        conversion("twice"), conversion("twice"),
        conversion("disputed", revenue="10"), conversion("disputed", revenue="20"),
        conversion("mended", revenue=None), conversion("mended", revenue="30"),
    )  # fmt: skip
    assert {name: row["revenue"] for name, row in found.kept.items()} == {
        "twice": Decimal(100), "disputed": None, "mended": Decimal(30),
    }  # fmt: skip
    assert found.failed == {"disputed": ["contradictory"], "mended": ["revenue_missing"]}
    assert found.received == 6


# costs ------------------------------------------------------------------------------------------


def test_a_cost_that_cannot_be_used_is_quarantined_with_its_reasons(spark: "SparkSession") -> None:
    found = clean_costs(
        spark,
        ["good", "tiny", "absent", "no number", "negative", "two costs", "mended"],
        cost("good", "0.50"), cost("good", "0.5"),
        cost("tiny", "1.5e-05"),
        cost(None, "1"), cost(None, "2"), cost(" ", "2"),
        cost("absent", None),
        cost("no number", "12;50"),
        cost("negative", "-1"),
        cost("nobody", "3"),
        cost("two costs", "1"), cost("two costs", "2"), cost("two costs", "2"),
        cost("mended", "-4"), cost("mended", "4"),
    )  # fmt: skip
    assert {name: (row["cost"], row["received_rows"]) for name, row in found.kept.items()} == {
        "good": (Decimal("0.5"), 2),
        "tiny": (Decimal("0.000015"), 1),
        "mended": (Decimal(4), 1),
    }
    assert found.failed == {
        None: ["session_id_missing"],
        "absent": ["cost_missing"],
        "no number": ["cost_unreadable"],
        "negative": ["cost_negative"],
        "nobody": ["session_unknown"],
        "two costs": ["contradictory"],
        "mended": ["cost_negative"],
    }
    assert found.received == 15


# the simulated business -------------------------------------------------------------------------


@dataclass(frozen=True)
class Simulated:
    """The simulator's database, cleaned, and its ledger as rule → rows by table."""

    sessions: Cleaned
    conversions: Cleaned
    costs: Cleaned
    received: dict[str, list[Row]]
    ledger: dict[str, Counter[str]]


@pytest.fixture(scope="module")
def simulated(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    folder = tmp_path_factory.mktemp("web")
    end = NOW.date() - timedelta(days=1)
    demo_shop.generate(folder, users=400, seed=7, end=end)
    made = demo_web.generate_web(folder / "web", folder / "export", seed=7, end=end, dirt=3)
    received = {table: rows_of(WebSource(made.database), table) for table in SOURCES.values()}
    sessions, conversions, costs = (
        spark.createDataFrame(raw(table, received[source])) for table, source in SOURCES.items()
    )
    clean = web_sessions.clean(sessions, {}, NOW)
    known = clean.kept.persist()
    ledger: dict[str, Counter[str]] = {table: Counter() for table in received}
    file = made.truth / "web_ledger.parquet"
    query = f"SELECT \"table\", rule, count(*) FROM '{file}' GROUP BY ALL"
    for table, rule, count in duckdb.execute(query).fetchall():
        ledger[table][rule] = count
    return Simulated(
        sessions=Cleaned(clean, "session_id"),
        conversions=Cleaned(web_conversions.clean(conversions, NOW), "conv_id"),
        costs=Cleaned(web_session_costs.clean(costs, known), "session_id"),
        received=received,
        ledger=ledger,
    )


def rows_of(source: WebSource, table: str) -> list[Row]:
    _, batches = source.read_batches(table)
    return [row for batch in batches for row in batch.to_pylist()]


def rules_of(found: Cleaned) -> Counter[str]:
    return Counter(rule for row in found.quarantined for rule in row["failed_rules"])


def duplicates(found: Cleaned) -> int:
    return sum(row["received_rows"] - 1 for row in found.rows)


def noted(ledger: Counter[str], *apart: str) -> Counter[str]:
    return Counter({rule: count for rule, count in ledger.items() if rule not in apart})


def test_every_simulated_row_is_kept_a_duplicate_or_in_quarantine(simulated: Simulated) -> None:
    received = [len(simulated.received[table]) for table in SOURCES.values()]
    found = (simulated.sessions, simulated.conversions, simulated.costs)
    assert [cleaned.received for cleaned in found] == received
    assert min(received) > 100


def test_simulated_sessions_fail_the_rules_that_the_ledger_names(simulated: Simulated) -> None:
    ledger, found = simulated.ledger["session_sources"], simulated.sessions
    limit = f"{NOW + AHEAD:%Y-%m-%d %H:%M:%S}"
    still_now = sum(
        f"{NOW:%Y-%m-%d} 00" < f"{row['event_date']} {row['event_time']}" <= limit
        for row in simulated.received["session_sources"]
        if row["session_id"] in found.kept
    )
    usable = ("user_id_missing", "channel_unknown", "duplicate", "clock_skew", "late_arrival")
    expected = noted(ledger, *usable) - Counter(event_in_future=still_now)
    assert rules_of(found) == expected
    assert len(expected) == 5
    assert sum(row["user_id"] is None for row in found.rows) == ledger["user_id_missing"]
    assert duplicates(found) == ledger["duplicate"]
    assert sum(row["is_ambiguous"] for row in found.rows) == ledger["contradictory"]


def test_simulated_conversions_fail_the_rules_that_the_ledger_names(simulated: Simulated) -> None:
    ledger, found = simulated.ledger["conversions"], simulated.conversions
    usable = ("duplicate", "user_unknown", "no_session", "late_arrival")
    assert rules_of(found) == noted(ledger, *usable)
    assert duplicates(found) == ledger["duplicate"]
    assert sum(row["revenue"] is None for row in found.rows) == ledger["contradictory"]


def test_simulated_costs_fail_the_rules_that_the_ledger_names(simulated: Simulated) -> None:
    ledger, found = simulated.ledger["session_costs"], simulated.costs
    rules = rules_of(found)
    orphans = [
        row for row in simulated.received["session_costs"]
        if row["session_id"] and row["session_id"].strip()
        and row["session_id"] not in simulated.sessions.kept
    ]  # fmt: skip
    assert rules.pop("session_unknown") == len(orphans) > ledger["session_unknown"]
    contradictory = rules.pop("contradictory")
    assert contradictory == 2 * ledger["contradictory"]  # none of the two is used
    assert rules == noted(ledger, "session_unknown", "contradictory", "duplicate", "late_arrival")
    twice_unusable = sum(
        count - 1
        for count in Counter(
            row["session_id"] for row in found.quarantined
            if row["failed_rules"] == ["session_unknown"]
        ).values()
    )  # fmt: skip
    assert duplicates(found) + twice_unusable == ledger["duplicate"]


def test_simulated_cost_is_kept_or_in_quarantine_to_the_cent_on_every_day(
    simulated: Simulated,
) -> None:
    day_of = {
        row["session_id"]: row["event_date"]
        for row in simulated.received["session_sources"]
        if row["session_id"] and row["session_id"].strip()
    }
    received: Counter[str | None] = Counter()
    found: Counter[str | None] = Counter()
    for row in simulated.received["session_costs"]:
        received[day_of.get(row["session_id"])] += amount(row["cost"])
    for row in simulated.costs.rows:
        event_at = simulated.sessions.kept[row["session_id"]]["event_at"]
        found[f"{event_at.astimezone(UTC):%Y-%m-%d}"] += row["cost"] * row["received_rows"]
    for row in simulated.costs.quarantined:
        found[day_of.get(row["session_id"])] += amount(row["cost"])
    assert found == received
    assert len(received) > 90


def amount(text: str | None) -> Decimal:
    try:
        return Decimal(text or 0)
    except ArithmeticError:
        return Decimal(0)
