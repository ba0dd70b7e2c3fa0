"""From cleaned web tables to journeys, credits, reporting and CSV: rules, sums, runs, readers."""

import json
import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from csv import DictReader
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from dmp_assets.attribution.model import maturity
from dmp_assets.attribution.model.batches import credit_batches
from dmp_assets.attribution.model.crediting import credits, fit
from dmp_assets.attribution.model.journeys import COLUMNS as TOUCHPOINT
from dmp_assets.attribution.model.journeys import Journeys
from dmp_assets.attribution.model.models import IHC, models_of
from dmp_assets.attribution.model.parameters import Fitted
from dmp_assets.attribution.model.paths import Paths
from dmp_assets.attribution.partitions import partition_tags
from dmp_assets.attribution.report import channel_export
from dmp_assets.attribution.tables import (
    attribution,
    attribution_runs,
    channel_reporting,
    customer_journeys,
    customer_paths,
)
from dmp_assets.attribution.tables.attribution import ANSWERS, OWN_IHC, STATUS
from dmp_assets.attribution.tables.customer_journeys import JourneyRules, journeys
from dmp_assets.attribution.tables.customer_paths import paths
from dmp_assets.cleaned.web import web_conversions, web_session_costs, web_sessions
from dmp_assets.home import Home
from dmp_assets.identity.evidence import LEAST_CROWD
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.run.causes import first_cause
from dmp_assets.raw import web as raw_web
from dmp_assets.sources.web import resource as web
from dmp_assets.sources.web.database import WebSource
from tests.support.lakehouse import write
from tests.support.postgres import fresh_database
from tests.support.web import (
    START,
    Row,
    add_rows,
    conversion,
    cost,
    customers,
    session,
    write_database,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

UTC_TIME = pa.timestamp("us", tz="UTC")
MONEY = pa.decimal128(18, 8)
SESSIONS = pa.schema(
    [("session_id", pa.string()), ("user_id", pa.string()), ("event_at", UTC_TIME),
     ("channel_name", pa.string()), ("campaign_name", pa.string()),
     ("holder_engagement", pa.bool_()), ("closer_engagement", pa.bool_()),
     ("impression_interaction", pa.bool_())]
)  # fmt: skip
CONVERSIONS = pa.schema(
    [("conv_id", pa.string()), ("user_id", pa.string()), ("converted_at", UTC_TIME),
     ("revenue", MONEY)]
)  # fmt: skip
CREDITS = pa.schema(
    [("conv_id", pa.string()), ("channel_name", pa.string()), ("session_date", pa.date32()),
     ("model", pa.string()), ("credit", pa.float64())]
)  # fmt: skip
STATUSES = pa.schema([("conv_id", pa.string()), ("revenue", MONEY), ("is_promo_abuse", pa.bool_())])
COSTS = pa.schema([("session_id", pa.string()), ("cost", MONEY)])


def visit(
    name: str, hour: float, *, user: str | None = "u", channel: str = "seo"
) -> dict[str, Any]:
    """A cleaned session, so many hours after START."""
    return {
        "session_id": name, "user_id": user, "event_at": START + timedelta(hours=hour),
        "channel_name": channel, "campaign_name": None, "holder_engagement": False,
        "closer_engagement": False, "impression_interaction": False,
    }  # fmt: skip


def order(
    name: str, hour: float, *, user: str | None = "u", revenue: str | None = "10"
) -> dict[str, Any]:
    """A cleaned conversion, so many hours after START."""
    return {
        "conv_id": name, "user_id": user, "converted_at": START + timedelta(hours=hour),
        "revenue": None if revenue is None else Decimal(revenue),
    }  # fmt: skip


def table_of(schema: pa.Schema, rows: Sequence[Any]) -> pa.Table:
    """Rows as mappings or tuples."""
    named = [row if isinstance(row, dict) else dict(zip(schema.names, row, strict=True))
             for row in rows]  # fmt: skip
    return pa.Table.from_pylist(named, schema=schema)


def frame(spark: "SparkSession", schema: pa.Schema, rows: Sequence[Any]) -> "DataFrame":
    """Rows as mappings or tuples, in Spark."""
    return spark.createDataFrame(table_of(schema, rows))


class World:
    """Sessions and conversions, and what becomes of them."""

    def __init__(
        self, spark: "SparkSession", sessions: Sequence[Any], conversions: Sequence[Any]
    ) -> None:
        self.sessions = frame(spark, SESSIONS, sessions)
        self.conversions = frame(spark, CONVERSIONS, conversions)

    def journeys(self, **rules: Any) -> list[dict[str, Any]]:
        found = journeys(self.sessions, self.conversions, JourneyRules(**rules))
        rows: list[dict[str, Any]] = found.toArrow().to_pylist()
        return sorted(rows, key=lambda row: (row["conv_id"], row["position"]))

    def touchpoints(self, **rules: Any) -> dict[str, str]:
        """Session ids of each journey in order."""
        found: dict[str, list[str]] = {}
        for row in self.journeys(**rules):
            found.setdefault(row["conv_id"], []).append(row["session_id"])
        return {name: " ".join(ids) for name, ids in found.items()}

    def paths(self, **rules: Any) -> dict[str, tuple[int, int, Decimal, float | None]]:
        """Path → conversions, journeys without one, revenue, median hours."""
        chosen = JourneyRules(**rules)
        made = journeys(self.sessions, self.conversions, chosen)
        found = paths(made, self.sessions, self.conversions, chosen).toArrow().to_pylist()
        return {
            " ".join(row["path"]):
            (row["conversions"], row["nulls"], row["revenue"], row["median_hours"])
            for row in found
        }  # fmt: skip


# journeys ---------------------------------------------------------------------------------------


def test_a_journey_is_every_session_of_the_user_up_to_the_second_of_the_conversion(
    spark: "SparkSession",
) -> None:
    world = World(
        spark,
        [
            visit("years before", -20_000),
            visit("z", 1), visit("b", 1), visit("a", 1),
            visit("same second", 2), visit("a second later", 2 + 1 / 3600),
            visit("somebody", 1, user=None), visit("other", 1, user="v"),
        ],
        [order("first", 2), order("second", 3), order("single", 1, user="v"),
         order("none", 9, user="w"), order("too early", 0.5, user="v")],
    )  # fmt: skip
    before = "years before a b z same second"
    assert world.touchpoints() == {
        "first": before, "second": f"{before} a second later", "single": "other",
    }  # fmt: skip
    first = [row for row in world.journeys() if row["conv_id"] == "first"]
    assert [row["position"] for row in first] == [1, 2, 3, 4, 5]
    assert {row["touchpoints"] for row in first} == {5}
    assert [row["hours_before"] for row in first] == [20_002, 1, 1, 1, 0]
    assert first[0]["session_date"] == (START - timedelta(hours=20_000)).date()
    assert {row["conversion_date"] for row in first} == {START.date()}


def test_a_long_journey_keeps_its_latest_sessions_and_numbers_the_rest(
    spark: "SparkSession",
) -> None:
    world = World(spark, [visit(f"s{n}", n) for n in range(5)], [order("c", 9), order("d", 1)])
    rows = world.journeys(max_touchpoints=2)
    assert [(r["conv_id"], r["position"], r["session_id"], r["touchpoints"],
             r["touchpoints_left_out"]) for r in rows] == [
        ("c", 1, "s3", 2, 3), ("c", 2, "s4", 2, 3), ("d", 1, "s0", 2, 0), ("d", 2, "s1", 2, 0),
    ]  # fmt: skip


def test_conversions_of_an_id_that_is_nobodys_have_no_journey_and_still_count(
    spark: "SparkSession",
) -> None:
    sessions = [visit(f"g{n}", n, user="till") for n in range(40)] + [visit("a", 1, user="ann")]
    orders = [order(f"g{n}", 90, user="till") for n in range(LEAST_CROWD + 1)]
    orders += [order("ann", 2, user="ann"), order("guest", 2, user=None), order("new", 0, user="n")]
    world = World(spark, sessions, orders)
    assert world.touchpoints() == {"ann": "a"}
    made = journeys(world.sessions, world.conversions, JourneyRules())
    found = attribution.conversions(world.conversions, made, None, None).toArrow().to_pylist()
    assert len(found) == len(orders) and sum(row["revenue"] for row in found) == 10 * len(orders)
    reasons = {row["conv_id"]: (row["credit_source"], row["reason"]) for row in found}
    assert reasons["ann"] == ("own", None)
    assert reasons["g0"] == ("none", attribution.NOBODY)
    assert reasons["guest"] == ("none", attribution.NO_USER)
    assert reasons["new"] == ("none", attribution.NO_SESSION)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"lookback_days": 1}, {"c1": "s2 s3 s4", "c2": "s4 s5 s6 s7"}),
        ({"since_last_conversion": True}, {"c1": "s1 s2 s3 s4", "c2": "s5 s6 s7"}),
        ({"collapse_repeats": True}, {"c1": "s1 s3 s4", "c2": "s1 s3 s4 s5 s7"}),
        ({"lookback_days": 1, "collapse_repeats": True, "since_last_conversion": True},
         {"c1": "s2 s3 s4", "c2": "s5 s7"}),
    ],
    ids=["lookback window", "since the last conversion", "without repeats", "all of them"],
)  # fmt: skip
def test_settings_narrow_what_counts_as_a_touchpoint(
    spark: "SparkSession", rules: dict[str, Any], expected: dict[str, str]
) -> None:
    world = World(
        spark,
        [
            visit("s1", 0), visit("s2", 6), visit("s3", 7, channel="ads"), visit("s4", 30),
            visit("s5", 31, channel="ads"), visit("s6", 32, channel="ads"), visit("s7", 54),
        ],
        [order("c1", 30), order("c2", 54)],
    )  # fmt: skip
    assert world.touchpoints(**rules) == expected


def test_paths_count_what_converted_and_what_came_after_the_last_conversion(
    spark: "SparkSession",
) -> None:
    world = World(
        spark,
        [
            visit("u1", 0), visit("u2", 1, channel="ads"), visit("u3", 2, channel="ads"),
            visit("u4", 4, channel="ads"), visit("u5", 5, channel="ads"), visit("u6", 6),
            visit("v1", 0, user="v"), visit("v2", 4, user="v", channel="ads"),
            visit("v3", 4, user="v", channel="ads"),
            visit("w1", 0, user="w"),
            visit("nobody", 0, user=None),
        ],
        [order("c", 2), order("d", 4, user="v", revenue=None), order("none", 9, user="x")],
    )  # fmt: skip
    assert world.paths() == {
        "seo ads ads": (2, 0, Decimal(10), 3.0), "ads ads seo": (0, 1, Decimal(0), None),
        "seo": (0, 1, Decimal(0), None),
    }  # fmt: skip
    assert world.paths(collapse_repeats=True) == {
        "seo ads": (2, 0, Decimal(10), 3.0), "ads seo": (0, 1, Decimal(0), None),
        "seo": (0, 1, Decimal(0), None),
    }  # fmt: skip


# credits ----------------------------------------------------------------------------------------


def fitted_on(table: pa.Table) -> Fitted:
    found: dict[str, list[str]] = {}
    for conv_id, channel in zip(*(table[name].to_pylist() for name in TOUCHPOINT[:2]), strict=True):
        found.setdefault(conv_id, []).append(channel)
    counted = pa.table({
        "path": list(found.values()), "conversions": [1] * len(found), "nulls": [0] * len(found),
    })  # fmt: skip
    return fit(Paths.from_arrow(counted))


def touchpoints(lengths: Sequence[int]) -> pa.Table:
    """Journeys of these lengths over three channels."""
    rows = [(f"c{n:03}", n, step, length) for n, length in enumerate(lengths)
            for step in range(length)]  # fmt: skip
    return pa.table(
        {
            "conv_id": [name for name, *_ in rows],
            "channel_name": [("seo", "ads", "direct")[(n * step) % 3] for _, n, step, _ in rows],
            "hours_before": [float(length - step) for *_, step, length in rows],
            "holder_engagement": [step % 2 == 0 for *_, step, _ in rows],
            "closer_engagement": [step % 3 == 0 for *_, step, _ in rows],
            "impression_interaction": [step % 5 == 0 for *_, step, _ in rows],
            "extra": list(range(len(rows))),
        }
    )


@pytest.mark.parametrize("seed", range(20))
def test_credits_are_the_same_wherever_batches_cut_the_journeys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = touchpoints(rng.integers(1, 9, 12).tolist())
    fitted = fitted_on(table)
    at_once = credits(Journeys.from_arrow(table.select(TOUCHPOINT)), fitted)
    cuts = [0, *np.sort(rng.integers(0, len(table) + 1, 9)).tolist(), len(table)]
    cut = [table.slice(a, b - a).combine_chunks() for a, b in pairwise(cuts)]
    pieces = [piece.to_batches()[0] for piece in cut if len(piece)]
    pieces.insert(1, pieces[0].slice(0, 0))  # Spark sends empty batches, too
    found = pa.Table.from_batches(credit_batches(iter(pieces), fitted))
    assert found.select(table.column_names) == table
    assert found.column_names == [*table.column_names, *models_of(fitted.parameters.markov_orders)]
    for name, expected in at_once.items():
        np.testing.assert_allclose(found[name].to_numpy(), expected, atol=1e-12, err_msg=name)


def test_no_batches_and_empty_ones_give_no_credits() -> None:
    table = touchpoints([2])
    fitted = fitted_on(table)
    assert list(credit_batches(iter([]), fitted)) == []
    empty = table.slice(0, 0).combine_chunks().to_batches() or [table.to_batches()[0].slice(0, 0)]
    assert sum(batch.num_rows for batch in credit_batches(iter(empty), fitted)) == 0


def test_a_user_with_ten_thousand_sessions_has_one_journey_whose_credits_sum_to_one(
    spark: "SparkSession",
) -> None:
    many = [visit(f"s{n:05}", n / 60, channel=("seo", "ads", "mail")[n % 3]) for n in range(10_000)]
    few = [visit("v1", 0, user="v"), visit("v2", 1, user="v", channel="ads")]
    world = World(spark, [*many, *few], [order("long", 200), order("short", 1, user="v")])
    rules = JourneyRules(max_touchpoints=10_000)
    made = journeys(world.sessions, world.conversions, rules).persist()
    counted = paths(made, world.sessions, world.conversions, rules).toArrow()
    fitted = fit(Paths.from_arrow(counted.select(["path", "conversions", "nulls"])))
    names = (*models_of(fitted.parameters.markov_orders), IHC)
    wide = attribution.with_ihc(attribution.credited(made, fitted), None, None)
    found = attribution.long_form(wide, names).toArrow()
    made.unpersist()
    sums = found.group_by(["conv_id", "model"]).aggregate([("credit", "sum"), ("credit", "count")])
    assert sums.num_rows == 2 * len(names)
    np.testing.assert_allclose(sums["credit_sum"].to_numpy(), 1, atol=1e-9)
    by_model = {
        row["model"]: row["credit_count"] for row in sums.to_pylist() if row["conv_id"] == "long"
    }
    assert (by_model["linear"], by_model["last_touch"]) == (10_000, 1)


def test_the_service_answers_first_our_own_model_stands_in_and_a_failure_has_no_credit(
    spark: "SparkSession",
) -> None:
    def touch(conv_id: str, session_id: str, own: float) -> dict[str, Any]:
        return {
            "conv_id": conv_id, "session_id": session_id, "channel_name": "seo",
            "campaign_name": None, "position": 1, "session_date": START.date(),
            "conversion_date": START.date(), "linear": 0.5, OWN_IHC: own,
        }  # fmt: skip

    schema = pa.schema(
        [("conv_id", pa.string()), ("session_id", pa.string()), ("channel_name", pa.string()),
         ("campaign_name", pa.string()), ("position", pa.int32()), ("session_date", pa.date32()),
         ("conversion_date", pa.date32()), ("linear", pa.float64()), (OWN_IHC, pa.float64())]
    )  # fmt: skip
    wide = frame(
        spark, schema,
        [touch("api", "s1", 1), touch("api", "s2", 0), touch("failed", "s3", 1),
         touch("long", "s4", 1), touch("long", "s5", 0)],
    )  # fmt: skip
    answers = frame(spark, ANSWERS, [("api", "s1", 0.0), ("api", "s2", 1.0)])
    status = frame(
        spark, STATUS,
        [("api", "api", None), ("failed", "failed", "no answer"), ("long", "own", "too long")],
    )  # fmt: skip
    found = attribution.long_form(attribution.with_ihc(wide, answers, status), ("linear", IHC))
    rows = found.toArrow().to_pylist()
    assert list(rows[0]) == list(attribution.COLUMNS)
    given = {(row["session_id"], row["model"]): row["credit"] for row in rows}
    linear = {(f"s{n}", "linear"): 0.5 for n in range(1, 6)}
    assert given == linear | {
        ("s1", IHC): 0.0, ("s2", IHC): 1.0, ("s4", IHC): 1.0, ("s5", IHC): 0.0,
    }  # fmt: skip


def test_every_conversion_says_where_its_credit_is_from_and_whether_its_user_abuses(
    spark: "SparkSession",
) -> None:
    world = World(
        spark,
        [visit("s1", 0), visit("s2", 1), visit("s3", 0, user="v"), visit("s4", 0, user="w")],
        [order("api", 2), order("failed", 3, user="v"), order("own", 3, user="w", revenue=None),
         order("none", 4, user="x")],
    )  # fmt: skip
    made = journeys(world.sessions, world.conversions, JourneyRules())
    status = frame(
        spark, STATUS,
        [("api", "api", None), ("failed", "failed", "no answer"), ("own", "own", "too long")],
    )  # fmt: skip
    decisions = pa.schema([("user_id", pa.string()), ("decision", pa.string())])
    scores = frame(spark, decisions, [("u", "block"), ("v", "review"), ("w", "allow")])

    def told(*given: Any) -> dict[str, tuple[Any, ...]]:
        found = attribution.conversions(world.conversions, made, *given).toArrow().to_pylist()
        assert list(found[0]) == list(attribution.CONVERSION_COLUMNS)
        return {row["conv_id"]: tuple(row.values())[2:] for row in found}

    ten = Decimal(10)
    assert told(status, scores) == {
        "api": (ten, 2, "api", None, True),
        "failed": (ten, 1, "failed", "no answer", True),
        "own": (Decimal(0), 1, "own", "too long", False),
        "none": (ten, 0, "none", "no session of its user before it", None),
    }
    assert {row[2] for row in told(None, None).values()} == {"own", "none"}


# reporting --------------------------------------------------------------------------------------


def reported(
    folder: Path, credited: Sequence[Any], costs: Sequence[Any], *models: str
) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The report's rows by channel, day of March and model."""
    home = Home(folder).prepare("sandbox")
    revenue = [("c", Decimal(100), False), ("d", Decimal(50), True), ("e", Decimal(10), None)]
    visits = [visit("s1", 0), visit("s2", 13.9), visit("s3", 14),
              visit("s4", 0, channel="ads", user=None)]  # fmt: skip
    write(home, "modeled/attribution", table_of(CREDITS, credited))
    write(home, "modeled/attributed_conversions", table_of(STATUSES, revenue))
    write(home, "cleaned/web_session_costs", table_of(COSTS, costs))
    write(home, "cleaned/web_sessions", table_of(SESSIONS, visits))
    found = Tables(str(home.lakehouse)).sql(
        channel_reporting.report(without_sessions=False), {"models": list(models), "days": 1}
    )
    assert set(found.column_names) == set(channel_reporting.COLUMNS)
    rows = found.to_pylist()
    assert len(rows) == len({(row["channel_name"], row["date"], row["model"]) for row in rows})
    return {(row["channel_name"], f"{row['date']:%d}", row["model"]): row for row in rows}


def test_cost_and_credit_meet_by_channel_and_day_of_the_session(tmp_path: Path) -> None:
    day = START.date()
    found = reported(
        tmp_path,
        [("c", "seo", day, "linear", 0.5), ("c", "ads", day, "linear", 0.5),
         ("d", "seo", day, "linear", 1.0), ("e", "mail", day, "linear", 1.0),
         ("c", "seo", day, "last_touch", 1.0)],
        [("s1", Decimal("0.5")), ("s2", Decimal("0.0000001")), ("s3", Decimal(2)),
         ("s4", Decimal(4))],
        "linear", "shapley",
    )  # fmt: skip
    assert {model for *_, model in found} == {"linear", "shapley", "last_touch"}
    assert len(found) == 4 * 3
    seo = found["seo", "01", "linear"]
    assert seo["cost"] == Decimal("0.5000001")
    assert (seo["conversions"], seo["revenue"]) == (1.5, 100.0)
    assert (seo["cpo"], seo["roas"]) == pytest.approx((0.5000001 / 1.5, 100 / 0.5000001))
    honest = {name: seo[f"{name}_without_abuse"] for name in ("conversions", "revenue", "roas")}
    assert honest == pytest.approx({"conversions": 0.5, "revenue": 50, "roas": 50 / 0.5000001})
    assert seo["cpo_without_abuse"] == pytest.approx(0.5000001 / 0.5)
    without_cost = found["mail", "01", "linear"]
    assert (without_cost["cost"], without_cost["cpo"], without_cost["roas"]) == (0, 0, None)
    for without_credit in (found["seo", "02", "linear"], found["ads", "01", "shapley"]):
        assert (without_credit["conversions"], without_credit["revenue"]) == (0, 0)
        assert (without_credit["cpo"], without_credit["roas"]) == (None, 0)
    assert found["ads", "01", "linear"]["cost"] == found["ads", "01", "shapley"]["cost"] == 4
    assert {day: row["is_open"] for (_, day, _), row in found.items()} == {"01": False, "02": True}


def test_cost_is_reported_though_nobody_converted(tmp_path: Path) -> None:
    found = reported(tmp_path, [], [("s1", Decimal(1))], "linear", IHC)
    assert {key: (row["cost"], row["roas"]) for key, row in found.items()} == {
        ("seo", "01", "linear"): (1, 0), ("seo", "01", IHC): (1, 0),
    }  # fmt: skip


# runs -------------------------------------------------------------------------------------------

ASSETS = (
    raw_web.web_sessions, raw_web.web_conversions, raw_web.web_session_costs,
    web_sessions.web_sessions, web_conversions.web_conversions,
    web_session_costs.web_session_costs, customer_journeys.customer_journeys,
    customer_paths.customer_paths, attribution.attribution, channel_reporting.channel_reporting,
    attribution_runs.attribution_runs, channel_export.channel_export,
)  # fmt: skip
DAILY = ("modeled/customer_journeys", "modeled/attribution", "modeled/channel_reporting")
OWN_TABLES = (*DAILY, "modeled/attributed_conversions")


def run(*assets: dg.AssetsDefinition, start: str = "", end: str = "") -> dg.ExecuteInProcessResult:
    """A run of the home named by DMP_HOME, as `dmp attribution` makes it."""
    return dg.materialize(
        list(assets or ASSETS),
        instance=dg.DagsterInstance.ephemeral(),
        resources={"lakehouse": Lakehouse(), "window": Window(start=start, end=end)},
        tags=partition_tags(Home.current(), start, end),
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    return [first_cause(e.step_failure_data) for e in result.get_step_failure_events()]


def failed_checks(result: dg.ExecuteInProcessResult) -> set[str]:
    return {e.check_name for e in result.get_asset_check_evaluations() if not e.passed}


def metadata(result: dg.ExecuteInProcessResult, key: str) -> dict[str, Any]:
    return {
        name: value.value
        for event in result.get_asset_materialization_events()
        if "/".join(event.step_materialization_data.materialization.asset_key.path) == key
        for name, value in event.step_materialization_data.materialization.metadata.items()
    }


def partitions(result: dg.ExecuteInProcessResult, key: str) -> list[str]:
    found = [
        event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
    ]
    return sorted(m.partition or "" for m in found if "/".join(m.asset_key.path) == key)


@dataclass(frozen=True)
class Seen:
    """A run, and what it left."""

    result: dg.ExecuteInProcessResult
    versions: dict[str, int]
    tables: dict[str, list[dict[str, Any]]]
    line: dict[str, Any]
    csv: list[dict[str, str]]
    credits: dict[tuple[str, str], float]
    reporting: dict[tuple[str, str], tuple[float, ...]]


@dataclass(frozen=True)
class Shop:
    """A home with a web database."""

    home: Home

    @property
    def tables(self) -> Tables:
        return Tables(str(self.home.lakehouse))

    @property
    def database(self) -> Path:
        return self.home.sandbox / "web.sqlite"

    def add(self, **tables: Sequence[Row]) -> None:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            for name, rows in tables.items():
                add_rows(connection, name, rows)

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """SQL on the web database."""
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query).fetchall()

    def versions(self) -> dict[str, int]:
        return {key: self.tables.version(key) for key in self.tables.written()}

    def look(self, result: dg.ExecuteInProcessResult) -> Seen:
        last = "FROM modeled.attribution_runs ORDER BY committed_at DESC LIMIT 1"
        with (self.home.exports / "channel_reporting.csv").open() as file:
            csv = list(DictReader(file))
        credits = self.sql("SELECT * FROM attribution_customer_journey")
        reporting = self.sql("SELECT * FROM channel_reporting")
        return Seen(
            result,
            self.versions(),
            {key: self.tables.dataset(key).to_table().to_pylist() for key in OWN_TABLES},
            self.tables.sql(last).to_pylist()[0],
            csv,
            {(conv_id, session_id): ihc for conv_id, session_id, ihc in credits},
            {(channel, day): tuple(rest) for channel, day, *rest in reporting},
        )


@contextmanager
def shop_at(root: Path, **rows: Sequence[Row]) -> Iterator[Shop]:
    """A sandbox home with these rows in its web database, named by DMP_HOME."""
    home = Home(root).prepare("sandbox")
    write_database(home.sandbox / "web.sqlite", **rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DMP_HOME", str(home.root))
        patch.setenv("DMP_MAX_BAD_SHARE", "1")
        yield Shop(home)


EXTRA = {
    "session_sources": [session("stray", user_id=None, channel_name="ads")],
    "conversions": [
        conversion("alone", user_id="x", conv_date="2024-03-04", revenue="7"),
        conversion("bad", user_id="u4", conv_date="2024-03-05", revenue="n/a"),
        conversion("negative", user_id="u4", conv_date="2024-03-05", revenue="-2"),
        conversion("undated", user_id="u4", conv_date=None, revenue="3"),
        conversion("c3", user_id="u3", revenue="-40"),  # beside a usable row
    ],
    "session_costs": [cost("stray", "0.001"), cost("stray", "0.0010"), cost("nobody", "9")],
}


@pytest.fixture(scope="module")
def shop(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Ten customers, one of each day from 1 March on, and what does not fit in."""
    clean = customers(10)
    rows = {name: [*clean[name], *EXTRA[name]] for name in clean}
    with shop_at(tmp_path_factory.mktemp("shop") / "home", **rows) as shop:
        decisions = [{"user_id": f"u{n}", "decision": "block" if n == 1 else "allow"}
                     for n in range(10)]  # fmt: skip
        Lakehouse().overwrite("ml/abuse_scores", pa.Table.from_pylist(decisions))
        yield shop


@pytest.fixture(scope="module")
def whole(shop: Shop) -> Seen:
    """Everything, from nothing."""
    return shop.look(run())


@pytest.fixture(scope="module")
def ranged(shop: Shop, whole: Seen) -> Seen:
    """Two sessions came late, one of a conversion in range and one of another."""
    shop.add(
        session_sources=[
            session("late2", user_id="u2", channel_name="tv"),
            session("late8", user_id="u8", channel_name="tv"),
        ],
        session_costs=[cost("late2", "5"), cost("late8", "6")],
    )
    return shop.look(run(start="2024-03-03", end="2024-03-05"))


@pytest.fixture(scope="module")
def broken_off(shop: Shop, ranged: Seen) -> Seen:
    """A run that ended between the two tables of results, and what readers then see."""
    shop.add(session_sources=[session("late9", user_id="u9", channel_name="radio")])
    assert run(*ASSETS[:9]).success
    return shop.look(run(channel_export.channel_export))


@pytest.fixture(scope="module")
def whole_again(shop: Shop, broken_off: Seen) -> Seen:
    """Everything, after all that."""
    return shop.look(run())


def test_a_run_over_everything_succeeds_and_only_says_what_is_odd(whole: Seen) -> None:
    assert failures(whole.result) == []
    assert failed_checks(whole.result) == {"visitors_known", "users_known"}


def test_attributed_without_touchpoint_failed_and_quarantined_are_all_conversions(
    whole: Seen,
) -> None:
    line = whole.line
    counts = {part: line[part] for part in attribution_runs.PARTS}
    assert counts == {"attributed": 10, "without_touchpoint": 1, "failed": 0, "quarantined": 3}
    assert (line["conversions"], line["quarantined_undated"]) == (14, 1)
    money = {part: line[f"{part}_revenue"] for part in attribution_runs.PARTS}
    assert money == {
        "attributed": 550.0, "without_touchpoint": 7.0, "failed": 0.0, "quarantined": 1.0,
    }  # fmt: skip
    assert line["revenue"] == 558.0
    assert (line["start"], line["end"], line["reporting_model"]) == (None, None, IHC)


def test_credits_of_every_conversion_sum_to_one_by_every_model(whole: Seen) -> None:
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for row in whole.tables["modeled/attribution"]:
        sums[row["conv_id"], row["model"]] += row["credit"]
    models = {*models_of(), IHC}
    assert set(sums) == {(f"c{n}", model) for n in range(10) for model in models}
    assert max(abs(total - 1) for total in sums.values()) < 1e-9


def test_the_csv_and_the_web_database_hold_cost_and_credit_of_the_reporting_model(
    shop: Shop, whole: Seen
) -> None:
    expected = {
        (channel, day): (money, ihc, revenue)
        for channel, day, money, ihc, revenue in shop_reporting(shop)
    }
    assert set(whole.reporting) == set(expected)
    for key, figures in whole.reporting.items():
        assert figures == pytest.approx(expected[key]), key
    assert list(whole.csv[0]) == [
        "channel_name",
        "date",
        "cost",
        "ihc",
        "ihc_revenue",
        "CPO",
        "ROAS",
    ]
    assert len(whole.csv) == len(expected)
    for row in whole.csv:
        money, ihc, revenue = expected[row["channel_name"], row["date"]]
        found = [float(row[name]) for name in ("cost", "ihc", "ihc_revenue")]
        assert found == pytest.approx([money, ihc, revenue])
        ratios = [money / ihc if ihc else None, revenue / money if money else None]
        assert [float(row[name]) if row[name] else None for name in ("CPO", "ROAS")] == (
            pytest.approx(ratios)
        )
    assert any(row["ROAS"] == "" for row in whole.csv)
    received = "SELECT sum(cost) - 9 - 0.001 FROM session_costs WHERE session_id NOT LIKE 'late%'"
    assert sum(money for money, _, _ in expected.values()) == pytest.approx(
        shop.sql(received)[0][0]
    )


def shop_reporting(shop: Shop) -> list[tuple[Any, ...]]:
    """Channel, day, cost, credit and revenue, by SQLite from the source and the credits."""
    return shop.sql(
        """WITH spent AS (SELECT DISTINCT session_id, cost + 0.0 AS cost FROM session_costs),
        told AS (
          SELECT channel_name, event_date AS day, 0 AS cost, ihc, ihc * revenue AS revenue
          FROM attribution_customer_journey JOIN session_sources USING (session_id)
          JOIN conversions USING (conv_id) WHERE revenue + 0 > 0
          UNION ALL
          SELECT channel_name, event_date, cost, 0, 0 FROM spent
          JOIN session_sources USING (session_id)
        )
        SELECT channel_name, day, sum(cost), sum(ihc), sum(revenue) FROM told GROUP BY 1, 2"""
    )


def test_conversions_of_abusers_are_marked_and_left_out_apart(whole: Seen) -> None:
    marked = {
        row["conv_id"]: row["is_promo_abuse"]
        for row in whole.tables["modeled/attributed_conversions"]
    }
    assert [name for name, abuse in marked.items() if abuse] == ["c1"]
    assert marked["alone"] is None
    rows = [r for r in whole.tables["modeled/channel_reporting"] if r["model"] == "linear"]
    assert sum(row["conversions"] for row in rows) == pytest.approx(10)
    assert sum(row["conversions_without_abuse"] for row in rows) == pytest.approx(9)
    assert sum(row["revenue_without_abuse"] for row in rows) == pytest.approx(550 - 20)


def test_days_younger_than_the_measured_delay_to_conversion_are_open(whole: Seen) -> None:
    hours = [row["hours_before"] for row in whole.tables["modeled/customer_journeys"]]
    open_days = maturity.open_days(math.ceil(float(np.quantile(hours, 0.9)) / 24), None)
    rows = whole.tables["modeled/channel_reporting"]
    newest = max(row["date"] for row in rows)
    for row in rows:
        assert row["is_open"] is (row["date"] > newest - timedelta(days=open_days)), row


@pytest.mark.parametrize(
    ("measured", "lookback", "days"),
    [(50, None, 50), (50, 30, 30), (3, 30, 3), (0, None, 1), (None, None, 30), (None, 14, 14)],
)
def test_a_day_is_open_for_the_measured_delay_or_the_lookback_window(
    measured: int | None, lookback: int | None, days: int
) -> None:
    assert maturity.open_days(measured, lookback) == days


def test_a_run_over_everything_makes_the_partition_of_every_day_with_a_conversion(
    whole: Seen,
) -> None:
    days = [f"2024-03-{day:02}" for day in range(1, 11)]
    for key in DAILY:
        assert partitions(whole.result, key) == days


def test_a_range_is_one_run_with_every_partition_of_it_made(ranged: Seen) -> None:
    assert failures(ranged.result) == []
    for key in DAILY:
        assert partitions(ranged.result, key) == ["2024-03-03", "2024-03-04", "2024-03-05"]
    found = metadata(ranged.result, "modeled/customer_journeys")
    assert (found["rows_in_range"], found["dagster/row_count"]) == (4 + 4 + 1, 23 + 1)


def test_a_range_replaces_the_credits_of_its_conversions_and_no_others(
    whole: Seen, ranged: Seen
) -> None:
    inside = {"c2", "c3", "c4"}
    for key in ("modeled/attribution", "modeled/customer_journeys"):
        before, after = (
            [row for row in seen.tables[key] if row["conv_id"] not in inside]
            for seen in (whole, ranged)
        )
        assert by_conversion(after) == by_conversion(before)
        sessions = {
            (row["conv_id"], row["session_id"])
            for row in ranged.tables[key]
            if row["session_id"].startswith("late")
        }
        assert sessions == {("c2", "late2")}
    line = ranged.line
    counts = {part: line[part] for part in attribution_runs.PARTS}
    assert counts == {"attributed": 3, "without_touchpoint": 1, "failed": 0, "quarantined": 3}
    assert (line["start"], line["end"]) == (date(2024, 3, 3), date(2024, 3, 5))


def by_conversion(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted(tuple(map(str, row.values())) for row in rows)


def test_late_sessions_and_costs_are_in_the_days_that_they_touch(shop: Shop, ranged: Seen) -> None:
    late = [
        row for row in ranged.tables["modeled/channel_reporting"]
        if row["channel_name"] == "tv" and row["model"] == "linear"
    ]  # fmt: skip
    assert [(row["date"], row["cost"], row["conversions"]) for row in late] == [
        (START.date(), Decimal(11), 1 / 4)
    ]
    assert ranged.reporting["tv", "2024-03-01"][0] == 11
    assert {row["date"] for row in ranged.csv} == {"2024-03-03", "2024-03-04", "2024-03-05"}
    assert set(whole_days(ranged)) == {f"2024-03-{day:02}" for day in range(1, 11)}


def whole_days(seen: Seen) -> set[str]:
    return {day for _, day in seen.reporting}


def test_readers_of_a_broken_off_run_see_what_the_last_complete_one_left(
    shop: Shop, ranged: Seen, broken_off: Seen
) -> None:
    assert broken_off.versions["modeled/attribution"] > ranged.versions["modeled/attribution"]
    assert any(row["session_id"] == "late9" for row in broken_off.tables["modeled/attribution"])
    assert broken_off.credits == ranged.credits
    assert broken_off.reporting == ranged.reporting
    assert {row["channel_name"] for row in broken_off.csv} == {"seo", "ads", "mail", "tv"}


def test_the_run_after_it_finishes_the_work(shop: Shop, whole_again: Seen) -> None:
    assert failures(whole_again.result) == []
    assert {key for key in whole_again.credits if key[1].startswith("late")} == {
        ("c2", "late2"), ("c8", "late8"), ("c9", "late9"),
    }  # fmt: skip
    assert whole_again.line["attributed"] == 10
    assert attribution_runs.committed(shop.tables) == {}  # nothing was written since


def test_a_run_with_nothing_new_writes_no_table(shop: Shop, whole_again: Seen) -> None:
    result = run()
    assert failures(result) == []
    assert shop.versions() == whole_again.versions
    assert all(metadata(result, key)["unchanged"] for key in OWN_TABLES)


@pytest.mark.parametrize(
    ("key", "tampered", "asset", "check"),
    [
        ("modeled/attribution", "SELECT * REPLACE (credit * 0.999 AS credit)",
         attribution.attribution, "credits_sum_to_one"),
        ("modeled/attributed_conversions", "SELECT * REPLACE ('failed' AS credit_source)",
         attribution.attribution, "nothing_failed"),
        ("modeled/channel_reporting", "SELECT * REPLACE (cost + 0.01 AS cost)",
         channel_reporting.channel_reporting, "cost_agrees"),
        ("modeled/channel_reporting", "SELECT * REPLACE (revenue * 1.01 AS revenue)",
         channel_reporting.channel_reporting, "revenue_agrees"),
        ("modeled/attribution_runs", "SELECT * REPLACE (attributed - 1 AS attributed)",
         attribution_runs.attribution_runs, "conversions_add_up"),
        ("modeled/attribution_runs", "SELECT * REPLACE (conversions - 1 AS conversions)",
         attribution_runs.attribution_runs, "all_received_are_there"),
        ("modeled/customer_journeys", "SELECT * REPLACE (1 AS position)",
         customer_journeys.customer_journeys, "key_unique"),
        ("modeled/customer_paths", "SELECT * REPLACE (conversions + 1 AS conversions)",
         customer_paths.customer_paths, "conversions_agree"),
        ("cleaned/web_session_costs", "SELECT * REPLACE (cost + 0.005 AS cost)",
         web_session_costs.web_session_costs, "cost_adds_up"),
        ("cleaned/web_sessions", "SELECT * REPLACE (received_rows + 1 AS received_rows)",
         web_sessions.web_sessions, "rows_add_up"),
    ],
)  # fmt: skip
def test_each_check_fails_when_its_rule_is_broken(
    shop: Shop, whole_again: Seen, key: str, tampered: str, asset: Any, check: str
) -> None:
    lakehouse, table = Lakehouse(), shop.tables.dataset(key).to_table()
    stamp = shop.tables.stamp(key)
    broken = shop.tables.sql(f"{tampered} FROM {key.replace('/', '.')}").cast(table.schema)
    lakehouse.overwrite(key, broken, stamp=stamp)
    try:
        assert check in failed_checks(run(asset))
    finally:
        lakehouse.overwrite(key, table, stamp=stamp)


# the web database -------------------------------------------------------------------------------


def test_a_locked_database_is_named_and_the_csv_is_there_all_the_same(
    shop: Shop, whole_again: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "WebSource", partial(WebSource, busy_seconds=0.1))
    file = shop.home.exports / "channel_reporting.csv"
    file.unlink()
    with closing(sqlite3.connect(shop.database, isolation_level=None)) as other:
        other.execute("DELETE FROM channel_reporting")  # so that there is something to write
        other.execute("BEGIN IMMEDIATE")
        (said,) = failures(run(channel_export.channel_export))
    assert said.startswith(f"the web database {shop.database} is locked by another program")
    assert len(file.read_text().splitlines()) == 1 + len(whole_again.csv)
    assert run(channel_export.channel_export).success


def test_a_database_that_may_only_be_read_is_left_and_the_csv_says_the_same(
    shop: Shop, whole_again: Seen, postgres: Endpoint
) -> None:
    with fresh_database(postgres) as url:
        WebSource(url).init()
        read_only = f"{url.get_secret_value()}&options=-cdefault_transaction_read_only%3Don"
        endpoint = shop.home.sandbox / "endpoint.json"
        endpoint.write_text(json.dumps({"settings": {"web_database": read_only}}))
        try:
            result = run(channel_export.channel_export)
        finally:
            endpoint.unlink()
    assert failures(result) == []
    assert metadata(result, "exports/channel_reporting")["web_database"].startswith("not written: ")
    assert metadata(result, "exports/channel_reporting")["dagster/row_count"] == len(
        whole_again.csv
    )


# little or nothing ------------------------------------------------------------------------------


def test_a_range_of_empty_tables_leaves_every_table_there(
    spark: "SparkSession", tmp_path: Path
) -> None:
    with shop_at(tmp_path / "home") as shop:
        empty = shop.look(run(start="2024-01-01", end="2024-01-31"))
        assert failures(empty.result) == []
        assert failed_checks(empty.result) == {"not_empty"}
        assert (empty.line["conversions"], empty.line["revenue"]) == (0, 0)
        assert (empty.csv, empty.credits, empty.reporting) == ([], {}, {})
        assert set(OWN_TABLES) <= set(empty.versions)
