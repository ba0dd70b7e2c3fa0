"""From cleaned web tables to journeys, credits, reporting and CSV: rules, sums, runs, readers."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from dmp_assets.attribution.batches import credit_batches
from dmp_assets.attribution.journeys import COLUMNS as TOUCHPOINT
from dmp_assets.attribution.journeys import Journeys
from dmp_assets.attribution.models import Fitted, credits, fit, models_of
from dmp_assets.attribution.paths import Paths
from dmp_assets.modeled import attribution, channel_reporting
from dmp_assets.modeled.attribution import ANSWERS, IHC, OWN_IHC, STATUS
from dmp_assets.modeled.customer_journeys import JourneyRules, journeys
from dmp_assets.modeled.customer_paths import paths
from tests.support.web import START

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


def order(name: str, hour: float, *, user: str = "u", revenue: str | None = "10") -> dict[str, Any]:
    """A cleaned conversion, so many hours after START."""
    return {
        "conv_id": name, "user_id": user, "converted_at": START + timedelta(hours=hour),
        "revenue": None if revenue is None else Decimal(revenue),
    }  # fmt: skip


def frame(spark: "SparkSession", schema: pa.Schema, rows: Sequence[Any]) -> "DataFrame":
    """Rows as mappings or tuples."""
    named = [row if isinstance(row, dict) else dict(zip(schema.names, row, strict=True))
             for row in rows]  # fmt: skip
    return spark.createDataFrame(pa.Table.from_pylist(named, schema=schema))


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
    assert found.column_names == [*table.column_names, *models_of(fitted.parameters)]
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
    made = journeys(world.sessions, world.conversions, JourneyRules()).persist()
    counted = paths(made, world.sessions, world.conversions, JourneyRules()).toArrow()
    fitted = fit(Paths.from_arrow(counted.select(["path", "conversions", "nulls"])))
    names = (*models_of(fitted.parameters), IHC)
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
        "none": (ten, 0, "none", None, None),
    }
    assert {row[2] for row in told(None, None).values()} == {"own", "none"}


# reporting --------------------------------------------------------------------------------------


def reported(
    spark: "SparkSession", credited: Sequence[Any], costs: Sequence[Any], *models: str
) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The report's rows by channel, day of March and model."""
    found = channel_reporting.report(
        frame(spark, CREDITS, credited),
        frame(spark, STATUSES, [("c", Decimal(100), False), ("d", Decimal(50), True),
                                ("e", Decimal(10), None)]),
        frame(spark, COSTS, costs),
        frame(spark, SESSIONS, [visit("s1", 0), visit("s2", 13.9), visit("s3", 14),
                                visit("s4", 0, channel="ads", user=None)]),
        models,
    )  # fmt: skip
    rows = found.toArrow().to_pylist()
    assert len(rows) == len({(row["channel_name"], row["date"], row["model"]) for row in rows})
    return {(row["channel_name"], f"{row['date']:%d}", row["model"]): row for row in rows}


def test_cost_and_credit_meet_by_channel_and_day_of_the_session(spark: "SparkSession") -> None:
    day = START.date()
    found = reported(
        spark,
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


def test_cost_is_reported_though_nobody_converted(spark: "SparkSession") -> None:
    found = reported(spark, [], [("s1", Decimal(1))], "linear", IHC)
    assert {key: (row["cost"], row["roas"]) for key, row in found.items()} == {
        ("seo", "01", "linear"): (1, 0), ("seo", "01", IHC): (1, 0),
    }  # fmt: skip
