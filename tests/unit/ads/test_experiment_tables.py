"""From exposures in the store to a verdict: tables without a JVM, recounted by hand."""

import json
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.ads.model.experiments import readout
from dmp_assets.ads.model.experiments.decide import on_reading
from dmp_assets.ads.model.experiments.definition import Guardrail
from dmp_assets.ads.model.experiments.exposures import units_of
from dmp_assets.ads.model.experiments.measures import metric_of
from dmp_assets.ads.model.experiments.moments import Moments
from dmp_assets.ads.model.experiments.written import (
    definition_json,
    definition_of,
    reading_json,
    reading_of,
)
from dmp_assets.ads.service.store import experiments
from dmp_assets.ads.service.store.experiments import ConflictError
from dmp_assets.ads.service.store.schema_experiments import ads_experiment_exposure
from dmp_assets.ads.service.units import UnitKey
from dmp_assets.ads.tables.experiment_log import experiment_exposures
from dmp_assets.definitions import defs
from dmp_assets.home import Home
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.privacy import erasure, suppression
from dmp_assets.platform.store import database
from dmp_assets.platform.store.schema import audit_event
from tests.support.experiment_home import STARTED, World, day, definition, names
from tests.support.materialized import failed_checks

CUSTOMERS = 400


@pytest.fixture
def world(tmp_path: Path, store_url: SecretStr, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    monkeypatch.setenv("DMP_STORE_URL", store_url.get_secret_value())
    store = database.engine(store_url)
    yield World.of(Home(tmp_path / "home").prepare("live"), store, monkeypatch)
    store.dispose()


def sides(count: int = CUSTOMERS) -> dict[str, list[str]]:
    """Customers of each variant."""
    return {"control": names("c", range(count)), "free": names("f", range(count))}


def trade(world: World, *, lift: float, seed: int = 3, count: int = CUSTOMERS) -> None:
    """Customers meet their variant over four days, and buy before and after; some send back."""
    random = np.random.default_rng(seed)
    number = 0
    for variant, customers in sides(count).items():
        chance = 0.3 * (1 + lift if variant == "free" else 1)
        for place, customer in enumerate(customers):
            met = day(place % 4, hour=9)
            world.expose([customer], variant, met)
            for after, wanted in ((False, 0.4), (True, chance)):
                if random.random() < wanted:
                    number += 1
                    at = met + timedelta(days=float(random.uniform(0.1, 2)) * (1 if after else -9))
                    amount = int(random.integers(20, 200))
                    world.order(f"o{number}", at, amount, customer=customer,
                                is_cancelled=number % 50 == 0)  # fmt: skip
                    if number % 9 == 0:
                        world.refund(f"o{number}", at + timedelta(days=1), amount // 2)


def newest(world: World) -> dict[str, Any]:
    (row,) = world.read(
        "SELECT * FROM modeled.experiment_readings "
        "QUALIFY row_number() OVER (ORDER BY version DESC) = 1"
    )
    return row


# what is written ---------------------------------------------------------------------------------
def test_a_reading_says_what_a_recount_by_hand_says(world: World) -> None:
    one = definition()
    world.begin(one)
    trade(world, lift=0.5)
    world.expose(["bot"], "free", day(1), is_bot=True)
    world.expose(["c1"], "free", day(2))  # met both
    world.expose(["stranger"], "gone", day(2))
    world.order("test", day(3), 1_000, customer="c2", is_test=True)
    world.order("theirs", day(3), 1_000, customer="c2", advertiser="bolt")
    world.order("late", day(9), 1_000, customer="c2")
    assert failed_checks(world.run(day(7))) == {}
    orders = world.rows["cleaned/shopify_orders"]
    ledger = world.rows["modeled/order_ledger"]
    end = day(7, hour=0)

    def amounts(variant: str) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {
            name: [] for name in ("has", "orders", "revenue", "contribution", "before")
        }
        for place, customer in enumerate(sides()[variant]):
            if customer == "c1":
                continue
            met, own = day(place % 4, hour=9), [
                o for o in orders
                if o["customer_id"] == customer and o["advertiser_id"] == "acme"
                and not o["is_test"] and o["processed_at"] < end
            ]  # fmt: skip
            after = [o["order_id"] for o in own if o["processed_at"] >= met]
            before = [o["order_id"] for o in own if o["processed_at"] < met]
            money = [e for e in ledger if e["order_id"] in after and e["date"] < end.date()]
            found["has"].append(float(bool(after)))
            found["orders"].append(float(len(after)))
            for name in ("revenue", "contribution"):
                found[name].append(float(sum(e[f"{name}_in_sums"] for e in money)))
            found["before"].append(
                float(sum(e["gross"] for e in ledger if e["order_id"] in before))
            )
        return found

    of = {variant: amounts(variant) for variant in one.variants}
    columns = {
        "conversion": ("has",), "contribution": ("contribution",),
        "revenue": ("revenue", "before"), "order_value": ("revenue", "orders"),
    }  # fmt: skip
    wanted = readout.read(
        one,
        [CUSTOMERS - 1, CUSTOMERS],
        {
            (metric, variant): Moments.of_values(
                *(of[variant][name] for name in taken), is_binary=metric == "conversion"
            )
            for metric, taken in columns.items() for variant in one.variants
        },
    )  # fmt: skip
    row = newest(world)
    assert (row["version"], row["last_day"]) == (1, day(6).date())
    assert row["units"] == list(wanted.counts)
    assert [row[name] for name in ("exposures", "bots", "mixed", "strangers")] == [
        2 * CUSTOMERS + 3, 1, 1, 1,
    ]  # fmt: skip
    assert row["mismatch_p_value"] == pytest.approx(wanted.mismatch_p_value)
    found = world.read("SELECT * FROM modeled.experiment_comparisons ORDER BY role, metric")
    by = {one.metric.name: one for one in wanted.comparisons}
    assert {row["metric"] for row in found} == set(by)
    for row in found:
        meant = by[row["metric"]]
        assert row["role"] == meant.role and row["treatment"] == "free"
        for name, value in (
            ("control_value", meant.control), ("difference", meant.difference), ("low", meant.low),
            ("high", meant.high), ("p_value", meant.p_value), ("lift", meant.lift),
            ("adjusted_p_value", meant.adjusted_p_value),
        ):  # fmt: skip
            assert row[name] == pytest.approx(value, rel=1e-9), (row["metric"], name)


def test_who_counts_is_whom_the_model_counts(world: World) -> None:
    random, key = np.random.default_rng(5), UnitKey.of(world.home)
    one = definition()
    world.begin(one)
    log = [
        (f"u{random.integers(60)}", str(random.choice(["control", "free", "gone"], p=[.6, .3, .1])),
         day(0) + timedelta(minutes=int(random.integers(5_000))), bool(random.random() < 0.05))
        for _ in range(150)
    ]  # fmt: skip
    kept = {(unit, variant, bot): at for unit, variant, at, bot in reversed(log)}
    for (unit, variant, bot), at in kept.items():
        world.expose([unit], variant, at, is_bot=bot)
    world.run(day(7))
    rows = [(key.unit(unit), variant, at, bot) for (unit, variant, bot), at in kept.items()]
    naive = [at.replace(tzinfo=None) for _, _, at, _ in rows]
    meant = units_of(
        [row[0] for row in rows], [row[1] for row in rows], naive, [row[3] for row in rows],
        one.variants,
    )  # fmt: skip
    found = world.read("SELECT * FROM cleaned.experiment_exposures ORDER BY unit")
    counted = [row for row in found if row["left_out"] is None]
    assert [row["unit"] for row in counted] == meant.unit.tolist()
    assert [row["variant"] for row in counted] == [one.variants[n] for n in meant.variant]
    excluded = meant.excluded
    for why, many in (
        ("bot", excluded.bots), ("mixed", excluded.mixed), ("stranger", excluded.strangers),
    ):  # fmt: skip
        assert many > 0 and sum(row["left_out"] == why for row in found) == many
    checks = world.run(day(7)).get_asset_check_evaluations()
    assert [one.check_name for one in checks if not one.passed] == ["assignment_sticks"]


@pytest.mark.parametrize("unit", ["customer", "visitor", "tag"])
def test_orders_are_found_by_the_kind_of_unit(world: World, unit: str) -> None:
    world.begin(definition(), unit=unit)
    for variant, people in {"control": ["a", "b"], "free": ["c", "d"]}.items():
        world.expose(people, variant, day(1))
    world.rows["cleaned/web_conversions"] = [{"conv_id": "conv-1", "user_id": "a"}]
    world.order("1", day(2), 50, customer="c", conversion="conv-1", tags='["x", "unit:d"]')
    world.run(day(4))
    (row,) = world.read(
        "SELECT variant, sums FROM modeled.experiment_metrics_daily "
        "WHERE metric = 'contribution' AND sums[1] > 0"
    )
    assert row == {"variant": "control" if unit == "visitor" else "free", "sums": [20.0]}
    visits = world.read("SELECT sum(units) AS n FROM modeled.experiment_metrics_daily "
                        "WHERE metric = 'conversion'")  # fmt: skip
    assert visits == [{"n": 4}]


def test_of_a_window_only_those_count_whose_time_has_passed_with_what_they_did_in_it(
    world: World,
) -> None:
    world.begin(definition(), window_days=2)
    world.expose(["a", "b"], "control", day(1, hour=0))
    world.expose(["c"], "free", day(4))
    world.order("in", day(2), 10, customer="a")
    world.order("out", day(3), 10, customer="b")
    world.order("young", day(4, hour=13), 10, customer="c")
    world.run(day(5, hour=3))
    found = world.read(
        "SELECT variant, units, sums FROM modeled.experiment_metrics_daily "
        "WHERE metric = 'conversion'"
    )
    assert found == [{"variant": "control", "units": 2, "sums": [1.0]}]
    assert newest(world)["units"] == [2, 1], "who is young is assigned all the same"


# what follows ------------------------------------------------------------------------------------
def test_readings_are_numbered_kept_and_judged_once(world: World) -> None:
    world.begin(definition())
    trade(world, lift=0.0)
    world.run(day(3))
    assert (newest(world)["version"], world.state().version) == (1, 1)
    kept = newest(world)
    world.run(day(3, hour=20))
    assert world.state().version == 1, "there is nothing more to say"
    world.run(day(4))
    assert (newest(world)["version"], newest(world)["last_day"]) == (2, day(3).date())
    first = next(e for e in world.rows["modeled/order_ledger"] if e["date"] > date(2026, 3, 2))
    world.refund(first["order_id"], day(3), 5)
    world.run(day(4, hour=15))
    assert (newest(world)["version"], newest(world)["last_day"]) == (3, day(3).date())
    assert world.state().version == 3
    assert world.read("SELECT * FROM modeled.experiment_readings WHERE version = 1") == [kept]
    with world.store.connect() as connection:
        judged = experiments.readings(connection, "acme", "shipping", limit=10)
    assert [one.version for one in judged] == [3, 2, 1]
    assert world.steps() == [("define", None), ("start", None)], "no news, no step"


def test_where_the_readings_were_lost_their_numbers_go_on(world: World) -> None:
    world.begin(definition())
    trade(world, lift=0.0)
    for n in (3, 4, 5):
        world.run(day(n))
    shutil.rmtree(world.home.lakehouse / "modeled" / "experiment_readings")
    world.run(day(5))
    assert newest(world)["version"] == world.state().version == 4


def test_a_winner_is_proposed_and_promoted_by_a_person_who_saw_the_newest_reading(
    world: World,
) -> None:
    world.begin(definition())
    trade(world, lift=1.0)
    world.run(day(5))
    assert world.state().state == "running", "seven full days have not passed"
    world.run(day(9))
    assert (world.state().state, world.state().winner) == ("proposed", "free")
    seen = world.state().version
    world.order("more", day(8), 33, customer="c3")
    world.run(day(10))

    def approve(version: int) -> None:
        with world.store.begin() as connection:
            experiments.say(
                connection, "acme", "shipping", "approve", version=version, by="ann",
                now=world.now, request_id=None,
            )  # fmt: skip

    with pytest.raises(ConflictError, match="newer reading than the one that you approved"):
        approve(seen)
    approve(world.state().version)
    assert (world.state().state, world.state().winner) == ("promoted", "free")
    before = world.state()
    world.run(day(12))
    assert world.state() == before
    assert world.steps()[2:] == [("judge", "winner"), ("approve", "person")]
    with world.store.connect() as connection:
        audited = connection.execute(
            sa.select(audit_event.c.actor, audit_event.c.action, audit_event.c.detail)
            .where(audit_event.c.action.like("% experiment")).order_by(audit_event.c.event_id)
        ).all()  # fmt: skip
    assert [(one.actor, one.action) for one in audited][2:] == [
        ("automation", "judge experiment"), ("ann", "approve experiment"),
    ]  # fmt: skip
    assert audited[2].detail["cause"] == "winner" and audited[2].detail["version"] == seen


def test_by_setting_a_winner_is_promoted_without_a_person(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_ADS_PROMOTES_BY_ITSELF", "true")
    world.begin(definition())
    trade(world, lift=1.0)
    world.run(day(9))
    assert (world.state().state, world.state().winner) == ("promoted", "free")
    assert world.steps()[-1] == ("judge", "winner")


def test_a_mismatch_stops_at_once_a_broken_guardrail_pauses_and_the_planned_days_end_it(
    world: World,
) -> None:
    for key, layer in (("lost", "a"), ("worse", "b"), ("nothing", "c")):
        guard = (Guardrail(metric_of("orders"), 0.05),) if key == "worse" else ()
        primary = metric_of("revenue" if key == "worse" else "conversion")
        world.begin(
            definition(key=key, layer=layer, guardrails=guard, primary=primary, secondary=())
        )
    control, free = sides().values()
    world.expose(control, "control", day(1), key="lost")
    world.expose(free[: CUSTOMERS // 2], "free", day(1), key="lost")
    for key in ("worse", "nothing"):
        world.expose(control, "control", day(1), key=key)
        world.expose(free, "free", day(1), key=key)
    for n, customer in enumerate(control):
        if n % 2:
            world.order(f"o{n}", day(2), 40, customer=customer)
    for n, customer in enumerate(free[: CUSTOMERS // 10]):  # fewer orders, the same revenue
        world.order(f"f{n}", day(2), 200, customer=customer)
    world.run(day(4))
    assert {key: world.state(key).state for key in ("lost", "worse", "nothing")} == {
        "lost": "stopped", "worse": "paused", "nothing": "paused",
    }  # fmt: skip
    assert world.steps("lost")[-1] == ("judge", "sample_ratio_mismatch")
    assert world.steps("worse")[-1] == ("judge", "guardrail_broken")
    assert world.steps("nothing")[-1] == ("judge", "all_worse")
    world.run(day(16))
    assert world.state("nothing").state == "ended"
    assert world.steps("nothing")[-1] == ("judge", "planned_end")
    assert world.state("lost").ended_at is not None


def test_two_advertisers_with_the_same_name_and_customers_are_two_experiments(
    world: World,
) -> None:
    for advertiser in ("acme", "bolt"):
        world.begin(definition(advertiser))
        for variant, people in (("control", ["a"]), ("free", ["b"])):
            world.expose(people, variant, day(1), advertiser=advertiser)
    world.order("1", day(2), 10, customer="b", advertiser="bolt")
    world.run(day(4))
    found = world.read(
        "SELECT advertiser_id, variant FROM modeled.experiment_metrics_daily "
        "WHERE metric = 'conversion' AND sums[1] > 0"
    )
    assert found == [{"advertiser_id": "bolt", "variant": "free"}]
    assert (world.state().version, world.state(advertiser="bolt").version) == (1, 1)


def test_a_definition_that_was_changed_behind_our_back_is_not_judged(world: World) -> None:
    world.begin(definition())
    world.begin(definition(key="other", layer="b"))
    trade(world, lift=0.0)
    world.expose(["c1"], "control", day(1), key="other")
    with world.store.begin() as connection:
        connection.execute(sa.text(
            "UPDATE ads_experiment SET definition = jsonb_set(definition, '{alpha}', '0.2') "
            "WHERE experiment = 'shipping'"
        ))  # fmt: skip
    failed = world.run(day(4), succeeds=False)
    told = str(failed.get_step_failure_events()[0].event_specific_data)
    assert "the definition of shipping is not the one that it started with" in told
    assert (world.state().version, world.state("other").version) == (0, 1)


def test_units_that_another_secret_hashed_are_not_taken_for_people_who_did_nothing(
    world: World,
) -> None:
    world.begin(definition())
    trade(world, lift=0.0, count=5)
    (world.home.secrets / "unit_key").unlink()
    (cause,) = failed_checks(world.run(day(4))).values()
    assert "units of shipping (acme) were hashed by another secret" in cause
    found = world.read("SELECT * FROM modeled.experiment_comparisons")
    assert found and {row["unknown"] for row in found} == {"too_few_units"}
    assert newest(world)["units"] == [5, 5]


# what is kept ------------------------------------------------------------------------------------
def logged(world: World) -> int:
    with world.store.connect() as connection:
        return connection.scalar(
            sa.select(sa.func.count()).select_from(ads_experiment_exposure)
        ) or 0  # fmt: skip


def test_exposures_of_what_is_over_leave_the_store_once_they_have_landed(world: World) -> None:
    world.begin(definition())
    world.expose(names("c", range(30)), "control", day(1))
    world.run(day(2))
    assert logged(world) == 30
    with world.store.begin() as connection:
        experiments.say(connection, "acme", "shipping", "stop", version=None, by="ann",
                        now=day(2), request_id=None)  # fmt: skip
    world.run(day(3))
    assert logged(world) == 0
    world.run(day(4))
    assert world.read("SELECT count(*) AS n FROM raw.experiment_exposures") == [{"n": 30}]


def test_who_is_to_be_forgotten_is_found_by_the_id_that_the_shop_knows(world: World) -> None:
    world.begin(definition())
    people = names("c", range(5))
    world.expose(people, "control", day(1))
    world.run(day(2), experiment_exposures)
    family = erasure.family(defs.get_repository_def().asset_graph, "user_id")
    assert "raw/experiment_exposures" in family.roots
    named = erasure.named(world.home, "user_id", ["c1", "nobody"])
    suppression.add(world.home, "user_id", named)
    assert erasure.delete_from_store(world.home, "user_id", ["c1", "nobody"], actor="ann") == {
        "ads_experiment_exposure": 1
    }
    assert erasure.delete(Lakehouse(), family.roots, "user_id", named) == {
        "raw/experiment_exposures": 1
    }
    world.expose(["c1", "c9"], "control", day(3))
    world.run(day(4), experiment_exposures)
    key = UnitKey.of(world.home)
    found = world.read("SELECT unit FROM raw.experiment_exposures")
    assert {row["unit"] for row in found} == {key.unit(o) for o in ("c0", "c2", "c3", "c4", "c9")}


def test_without_a_store_there_are_no_experiments_and_nothing_fails(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DMP_STORE_URL")
    world.run(day(2))
    for table in ("raw.experiments", "modeled.experiment_readings"):
        assert world.read(f"SELECT count(*) AS n FROM {table}") == [{"n": 0}]


# as JSON -----------------------------------------------------------------------------------------
def test_what_is_written_of_a_definition_and_of_a_reading_is_what_was_meant(
    world: World,
) -> None:
    one = definition()
    said = json.loads(json.dumps(definition_json(one)))
    assert definition_of(said) == one and definition_of(said).digest() == one.digest()
    world.begin(one)
    world.expose(["a"], "control", day(1))
    trade(world, lift=1.0)
    for last in (2, 9):
        world.run(day(last))
    for row in world.read("SELECT reading FROM modeled.experiment_readings"):
        found = json.loads(row["reading"])
        reading = reading_of(found, one)
        assert json.loads(json.dumps(reading_json(reading))) == found
        step = on_reading(one, replaced(world), reading)
        assert step.after.version == reading.version
    assert world.now > STARTED


def replaced(world: World) -> Any:
    """The state before any reading."""
    from dmp_assets.ads.model.experiments.decide import Run

    return Run()
