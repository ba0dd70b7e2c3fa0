"""The simulated web business: repeatable, plausible, with an exact ledger and a causal truth."""

import hashlib
import re
import shutil
from collections import Counter
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dmp_assets.demo.business.shop import generate
from dmp_assets.demo.business.web import Summary, generate_web
from dmp_assets.demo.business.web_dirt import PLANS, UNKNOWN_CHANNELS
from dmp_assets.demo.business.web_world import CAMPAIGNS, CHANNEL_NAMES
from dmp_assets.sources.web.database import WebSource

END = date(2024, 3, 31)
USERS = 4_000


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("shop"), users=USERS, seed=7, end=END).export


@pytest.fixture(scope="module")
def dirty(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return generate_web(tmp_path_factory.mktemp("dirty"), export, seed=7, end=END, dirt=3)


@pytest.fixture(scope="module")
def clean(export: Path, tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return generate_web(tmp_path_factory.mktemp("clean"), export, seed=7, end=END, dirt=0)


@pytest.fixture(scope="module")
def soiled(dirty: Summary, export: Path) -> duckdb.DuckDBPyConnection:
    return opened(dirty, export)


@pytest.fixture(scope="module")
def spotless(clean: Summary, export: Path) -> duckdb.DuckDBPyConnection:
    return opened(clean, export)


def opened(web: Summary, export: Path) -> duckdb.DuckDBPyConnection:
    """The tables as text, read as a product would, the ledger and the truth; times as `moment`."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    source = WebSource(web.database)
    for table in ("session_sources", "conversions", "session_costs"):
        schema, batches = source.read_batches(table)
        connection.register("rows", pa.Table.from_batches(batches, schema))
        connection.execute(f"CREATE TABLE {table} AS SELECT * FROM rows")
    for table, prefix in (("session_sources", "event"), ("conversions", "conv")):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN moment TIMESTAMP")
        connection.execute(
            f"UPDATE {table} SET moment = "
            f"try_strptime({prefix}_date || ' ' || {prefix}_time, '%Y-%m-%d %H:%M:%S')"
        )
    connection.execute(f"CREATE TABLE ledger AS FROM '{web.truth / 'web_ledger.parquet'}'")
    connection.execute(f"CREATE TABLE effects AS FROM '{web.truth / 'channel_effects.parquet'}'")
    connection.execute(f"CREATE TABLE people AS FROM '{export.parent / 'truth' / 'users.parquet'}'")
    return connection


def one(sql: duckdb.DuckDBPyConnection, query: str) -> float:
    [(value,)] = sql.execute(query).fetchall()
    return value or 0


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# what is written ------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    export: Path, tmp_path: Path
) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        generate_web(tmp_path / name, export, seed=seed, end=END)
    first, again, other = (digests(tmp_path / name) for name in "abc")
    assert len(first) == 6
    assert first == again
    assert all(first[name] != other[name] for name in first)


def test_arguments_that_make_no_sense_are_refused(export: Path, tmp_path: Path) -> None:
    for options in ({"dirt": -1}, {"days": 0}, {"without": "radio"}):
        with pytest.raises(ValueError, match=r"dirt|channel"):
            generate_web(tmp_path, export, seed=1, end=END, **options)


def test_the_database_is_one_that_the_product_reads(clean: Summary) -> None:
    source = WebSource(clean.database)
    assert source.check() == []
    state = source.probe()
    assert {name: table.row_count for name, table in state.tables.items()} == {
        name: count for name, count in clean.rows.items() if not name.startswith("late/")
    }


def test_late_rows_are_of_old_days_bring_their_costs_and_can_be_appended(
    dirty: Summary, tmp_path: Path
) -> None:
    database = tmp_path / "web.sqlite"
    shutil.copy(dirty.database, database)
    source = WebSource(database)
    before = source.probe()
    loaded = source.load(dirty.late, append=True)
    assert loaded.changed and not source.load(dirty.late, append=True).changed
    after = source.probe()
    for file in loaded.files:
        assert file.rows == dirty.rows[f"late/{file.table}"] > 0
        total = before.tables[file.table].row_count + file.rows
        assert after.tables[file.table].row_count == total
    late = duckdb.connect()
    sessions = f"read_csv('{dirty.late / 'session_sources.csv'}')"
    costs = f"read_csv('{dirty.late / 'session_costs.csv'}')"
    assert one(late, f"SELECT max(event_date) <= '2024-03-24' FROM {sessions}")
    assert one(late, f"SELECT count(*) = 0 FROM {costs} ANTI JOIN {sessions} USING (session_id)")


# plausible ------------------------------------------------------------------------------------


def test_people_have_about_six_sessions_and_a_third_of_a_conversion(
    clean: Summary, spotless: duckdb.DuckDBPyConnection
) -> None:
    assert 5 < clean.rows["session_sources"] / clean.people < 7
    assert 0.28 < clean.rows["conversions"] / clean.people < 0.42
    buyers = spotless.execute("SELECT count(*) FROM conversions GROUP BY user_id").fetchall()
    assert sum(bought > 1 for (bought,) in buyers) > 100
    quiet = one(
        spotless,
        "SELECT avg((c.user_id IS NULL)::int) "
        "FROM (SELECT DISTINCT user_id FROM session_sources) s "
        "LEFT JOIN (SELECT DISTINCT user_id FROM conversions) c USING (user_id)",
    )
    assert 0.5 < quiet < 0.9  # journeys without a conversion are the rule
    assert set(re.findall(r"\w+\.no_session", " ".join(clean.dirty))) == {"conversions.no_session"}


def test_every_row_lies_within_the_days_and_belongs_to_a_person_of_the_shop(
    spotless: duckdb.DuckDBPyConnection,
) -> None:
    for table in ("session_sources", "conversions"):
        assert one(
            spotless,
            f"SELECT count(*) = 0 FROM {table} ANTI JOIN people USING (user_id)",
        )
        [days] = spotless.execute(
            f"SELECT min(moment)::date, max(moment)::date FROM {table}"
        ).fetchall()
        assert days == (date(2024, 1, 2), END)


def test_weekends_are_busier(spotless: duckdb.DuckDBPyConnection) -> None:
    rows = spotless.execute(
        "SELECT count(*) / count(DISTINCT moment::date) FROM session_sources "
        "GROUP BY isodow(moment) ORDER BY isodow(moment)"
    ).fetchall()
    daily = [sessions for (sessions,) in rows]
    assert min(daily[5:]) > 1.03 * max(daily[:4])


def test_sessions_follow_the_clock_of_the_persons_time_zone(
    spotless: duckdb.DuckDBPyConnection, export: Path
) -> None:
    for name in ("Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata"):
        times = spotless.execute(
            f"SELECT moment FROM session_sources SEMI JOIN (FROM read_csv('{export}/users.csv', "
            f"all_varchar = true) WHERE timezone = '{name}') USING (user_id)"
        ).fetchall()
        zone = ZoneInfo(name)
        hours = np.array(
            [at.replace(tzinfo=ZoneInfo("UTC")).astimezone(zone).hour for (at,) in times]
        )
        assert np.mean((hours >= 2) & (hours < 6)) < 0.04
        assert np.mean((hours >= 18) & (hours < 22)) > 0.2


def test_engagement_and_views_are_consistent(spotless: duckdb.DuckDBPyConnection) -> None:
    flags = "closer_engagement, holder_engagement, impression_interaction"
    combinations = set(spotless.execute(f"SELECT DISTINCT {flags} FROM session_sources").fetchall())
    assert combinations == {("0", "0", "0"), ("0", "0", "1"), ("0", "1", "0"), ("1", "1", "0")}
    viewing = spotless.execute(
        "SELECT DISTINCT channel_name FROM session_sources WHERE impression_interaction = '1'"
    ).fetchall()
    assert {name for (name,) in viewing} == {"display_prospecting", "display_retargeting"}


def test_only_paid_channels_cost_and_views_are_far_cheaper_than_clicks(
    spotless: duckdb.DuckDBPyConnection,
) -> None:
    mean = dict(
        spotless.execute(
            "SELECT channel_name || impression_interaction, avg(cost::double) FROM session_costs "
            "JOIN session_sources USING (session_id) GROUP BY 1"
        ).fetchall()
    )
    assert not {"direct0", "organic_search0", "referral0"} & set(mean)
    assert mean["display_retargeting1"] * 10 < mean["display_retargeting0"]
    assert mean["google_brand0"] < mean["google_nonbrand0"]
    assert one(spotless, "SELECT count(*) = count(DISTINCT session_id) FROM session_costs")


def test_campaigns_belong_to_one_channel_each(spotless: duckdb.DuckDBPyConnection) -> None:
    owners = spotless.execute(
        "SELECT campaign_name, list(DISTINCT channel_name) FROM session_sources "
        "WHERE campaign_name IS NOT NULL GROUP BY campaign_name"
    ).fetchall()
    assert all(len(channels) == 1 for _, channels in owners)
    assert {name for _, [name] in owners} == set(CAMPAIGNS)


def test_abusers_buy_for_less_and_come_by_coupon(spotless: duckdb.DuckDBPyConnection) -> None:
    def by_abuse(query: str) -> dict[bool, float]:
        return dict(spotless.execute(f"SELECT is_abuser, {query} GROUP BY is_abuser").fetchall())

    worth = by_abuse("avg(revenue::double) FROM conversions JOIN people USING (user_id)")
    coupon = by_abuse(
        "avg((channel_name = 'affiliate_coupon')::int) FROM session_sources "
        "JOIN people USING (user_id)"
    )
    assert worth[True] < 0.85 * worth[False]
    assert coupon[True] > 1.5 * coupon[False]


# the truth ------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["meta_social", "google_brand", "direct"])
def test_a_business_without_a_channel_loses_what_the_truth_says(
    clean: Summary, export: Path, tmp_path: Path, spotless: duckdb.DuckDBPyConnection, channel: str
) -> None:
    other = generate_web(tmp_path, export, seed=7, end=END, dirt=0, without=channel)
    without = opened(other, export)
    [(conversions, revenue)] = spotless.execute(
        "SELECT incremental_conversions, incremental_revenue FROM effects WHERE channel_name = ?",
        [channel],
    ).fetchall()
    assert clean.rows["conversions"] - other.rows["conversions"] == conversions > 0
    earned = "SELECT sum(revenue::decimal(18, 2))::double FROM conversions"
    assert one(spotless, earned) - one(without, earned) == pytest.approx(revenue, abs=0.01)
    assert (
        one(without, f"SELECT count(*) FROM session_sources WHERE channel_name = '{channel}'") == 0
    )
    for table, key in (("session_sources", "session_id"), ("conversions", "conv_id")):
        spotless.register("other", without.sql(f"SELECT {key} FROM {table}").to_arrow_table())
        assert one(spotless, f"SELECT count(*) = 0 FROM other ANTI JOIN {table} USING ({key})")


def test_what_happened_is_close_to_what_was_to_be_expected(
    spotless: duckdb.DuckDBPyConnection,
) -> None:
    for caused, expected in spotless.execute(
        "SELECT incremental_conversions, expected_conversions FROM effects"
    ).fetchall():
        assert abs(caused - expected) < 4 * np.sqrt(expected) + 3


def test_exposures_and_cost_of_the_truth_are_those_of_the_tables(
    spotless: duckdb.DuckDBPyConnection,
) -> None:
    assert one(
        spotless,
        "SELECT count(*) FROM effects JOIN (SELECT channel_name, count(*) AS exposures, "
        "coalesce(sum(cost::decimal(18, 4)), 0)::double AS cost FROM session_sources "
        "LEFT JOIN session_costs USING (session_id) GROUP BY channel_name) t USING (channel_name) "
        "WHERE effects.exposures = t.exposures AND abs(effects.cost - t.cost) < 0.001",
    ) == len(CHANNEL_NAMES)


def test_last_touch_credits_brand_search_and_retargeting_far_beyond_their_effect(
    spotless: duckdb.DuckDBPyConnection,
) -> None:
    credited = dict(
        spotless.execute(
            "SELECT channel_name, count(*) FROM (SELECT c.conv_id, "
            "arg_max(channel_name, s.moment) AS channel_name "
            "FROM conversions c JOIN session_sources s ON s.user_id = c.user_id "
            "AND s.moment BETWEEN c.moment - INTERVAL 30 DAY AND c.moment "
            "GROUP BY c.conv_id) GROUP BY channel_name"
        ).fetchall()
    )
    caused = dict(
        spotless.execute("SELECT channel_name, expected_conversions FROM effects").fetchall()
    )
    for channel in ("google_brand", "display_retargeting", "direct"):
        assert caused[channel] < 0.25 * credited[channel], channel
    for channel in ("meta_social", "email_newsletter", "google_nonbrand"):
        assert caused[channel] > 0.6 * credited[channel], channel


def test_demand_is_woken_early_and_harvested_late(spotless: duckdb.DuckDBPyConnection) -> None:
    before = dict(
        spotless.execute(
            "SELECT channel_name, median(date_diff('minute', s.moment, c.moment)) "
            "FROM conversions c JOIN session_sources s ON s.user_id = c.user_id "
            "AND s.moment BETWEEN c.moment - INTERVAL 14 DAY AND c.moment GROUP BY channel_name"
        ).fetchall()
    )
    assert before["google_brand"] < before["google_nonbrand"] < before["meta_social"] * 1.5
    assert before["google_brand"] * 3 < before["meta_social"]


# the ledger -----------------------------------------------------------------------------------

NOTHING = "coalesce(trim({}), '') = ''"
NUMBER = "TRY_CAST({} AS DOUBLE)"


def recount(sql: duckdb.DuckDBPyConnection, table: str, condition: str) -> set[int]:
    rows = sql.execute(f"SELECT _row_number FROM {table} WHERE {condition}").fetchall()
    return {row for (row,) in rows}


def told(sql: duckdb.DuckDBPyConnection, table: str, rule: str) -> set[int]:
    rows = sql.execute(
        'SELECT row_number FROM ledger WHERE "table" = ? AND rule = ?', [table, rule]
    ).fetchall()
    return {row for (row,) in rows}


@pytest.mark.parametrize(
    ("table", "rule", "condition"),
    [
        ("session_sources", "session_id_missing", NOTHING.format("session_id")),
        ("session_sources", "user_id_missing", NOTHING.format("user_id")),
        ("session_sources", "event_time_unreadable", "moment IS NULL"),
        ("session_sources", "event_in_future", "moment >= '2024-04-01'"),
        ("session_sources", "channel_missing", NOTHING.format("channel_name")),
        ("session_sources", "channel_unknown", f"channel_name IN {UNKNOWN_CHANNELS}"),
        ("conversions", "conv_id_missing", NOTHING.format("conv_id")),
        ("conversions", "user_id_missing", NOTHING.format("user_id")),
        ("conversions", "conv_time_unreadable", "moment IS NULL"),
        ("conversions", "revenue_missing", NOTHING.format("revenue")),
        (
            "conversions",
            "revenue_unreadable",
            f"NOT {NOTHING.format('revenue')} AND {NUMBER.format('revenue')} IS NULL",
        ),
        ("conversions", "revenue_negative", f"{NUMBER.format('revenue')} < 0"),
        (
            "conversions",
            "user_unknown",
            f"NOT {NOTHING.format('user_id')} AND user_id NOT IN (SELECT user_id FROM people)",
        ),
        ("session_costs", "session_id_missing", NOTHING.format("session_id")),
        ("session_costs", "cost_missing", NOTHING.format("cost")),
        (
            "session_costs",
            "cost_unreadable",
            f"NOT {NOTHING.format('cost')} AND {NUMBER.format('cost')} IS NULL",
        ),
        ("session_costs", "cost_negative", f"{NUMBER.format('cost')} < 0"),
        (
            "session_costs",
            "session_unknown",
            f"NOT {NOTHING.format('session_id')} AND session_id NOT IN "
            "(SELECT session_id FROM session_sources WHERE session_id IS NOT NULL)",
        ),
    ],
)
def test_the_ledger_names_the_very_rows_that_a_recount_finds(
    soiled: duckdb.DuckDBPyConnection, table: str, rule: str, condition: str
) -> None:
    found = recount(soiled, table, condition)
    assert found == told(soiled, table, rule)
    assert len(found) > 0


@pytest.mark.parametrize(
    ("table", "key", "columns"),
    [
        ("session_sources", "session_id", "COLUMNS(* EXCLUDE (_row_number, moment))"),
        ("conversions", "conv_id", "COLUMNS(* EXCLUDE (_row_number, moment))"),
        ("session_costs", "session_id", "COLUMNS(* EXCLUDE (_row_number))"),
    ],
)
def test_copies_and_contradictions_are_those_that_a_recount_finds(
    soiled: duckdb.DuckDBPyConnection, table: str, key: str, columns: str
) -> None:
    known = f"NOT {NOTHING.format(key)}"
    soiled.execute(
        f"CREATE OR REPLACE TEMP TABLE ids AS SELECT {key} AS id, count(*) AS n, "
        f"count(DISTINCT row_text) AS kinds FROM (SELECT {key}, concat_ws('|', "
        f"{columns.replace('COLUMNS', '*COLUMNS')}) AS row_text FROM {table} WHERE {known}) "
        f"GROUP BY {key}"
    )
    for rule, condition in (
        ("duplicate", "n = 2 AND kinds = 1"),
        ("contradictory", "n = 2 AND kinds = 2"),
    ):
        found = {id for (id,) in soiled.execute(f"SELECT id FROM ids WHERE {condition}").fetchall()}
        entries = soiled.execute(
            'SELECT key FROM ledger WHERE "table" = ? AND rule = ?', [table, rule]
        ).fetchall()
        assert len(entries) == len(found) > 0
        assert {entry for (entry,) in entries} == found
    assert one(soiled, "SELECT max(n) FROM ids") == 2


def test_conversions_without_a_session_are_those_that_a_recount_finds(
    soiled: duckdb.DuckDBPyConnection,
) -> None:
    found = recount(
        soiled,
        "conversions c",
        "NOT EXISTS (FROM session_sources s WHERE s.user_id = c.user_id "
        "AND s.moment <= c.moment + INTERVAL 1 MINUTE)",
    )
    others = soiled.execute(
        "SELECT conv_id FROM ledger l JOIN conversions c ON l.key = c.conv_id "
        "WHERE l.rule <> 'no_session'"
    ).fetchall()
    touched = recount(soiled, "conversions", "conv_id IS NULL OR trim(conv_id) = '' OR conv_id IN "
                      f"{tuple(key for (key,) in others)}")  # fmt: skip
    assert found - touched == told(soiled, "conversions", "no_session")
    assert len(found - touched) > 5


def test_skewed_sessions_come_seconds_after_their_conversion(
    soiled: duckdb.DuckDBPyConnection,
) -> None:
    rows = soiled.execute(
        "SELECT s.user_id = c.user_id, date_diff('second', c.moment, s.moment) FROM ledger "
        "JOIN session_sources s ON s.session_id = key JOIN conversions c ON c.conv_id = detail "
        "WHERE rule = 'clock_skew' AND c.moment IS NOT NULL"
    ).fetchall()
    lags = [lag for same, lag in rows if same]
    assert len(lags) > 0.9 * len(rows) > 0
    assert all(0 < lag <= 20 for lag in lags)


def test_every_planned_rule_is_in_the_ledger_and_a_row_has_one_kind_of_dirt(
    dirty: Summary, soiled: duckdb.DuckDBPyConnection
) -> None:
    planned = {f"{table}.{rule}" for table, plan in PLANS.items() for rule in plan}
    assert set(dirty.dirty) == planned | {"conversions.no_session", "session_costs.late_arrival"}
    ledger = pq.read_table(dirty.truth / "web_ledger.parquet")
    assert ledger.column_names == ["table", "rule", "key", "row_number", "detail"]
    tally = Counter(
        (row["table"], row["row_number"]) for row in ledger.to_pylist() if row["row_number"]
    )
    assert max(tally.values()) == 1
    assert one(soiled, "SELECT count(*) FROM ledger") == sum(dirty.dirty.values())


def test_a_clean_business_has_nothing_in_the_ledger_but_conversions_without_a_session(
    clean: Summary,
) -> None:
    assert set(clean.dirty) == {"conversions.no_session"}
    assert all(clean.rows[f"late/{table}"] == 0 for table in PLANS)
