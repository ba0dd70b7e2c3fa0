"""What kept a channel's ads from some: it is known to budgets, and claims orders."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import SecretStr

from dmp_assets.ads.model.experiments.definition import Definition, ExperimentError
from dmp_assets.ads.model.experiments.measures import metric_of
from dmp_assets.ads.model.experiments.written import definition_json, definition_of
from dmp_assets.ads.model.pooled.measures import LEAST_DEVIATION, belief
from dmp_assets.ads.service.store import pooled
from dmp_assets.ads.tables import budget_priors
from dmp_assets.ads.tables.ads_budget_forecasts import ads_budget_forecasts
from dmp_assets.ads.tables.conversion_claims import conversion_claims
from dmp_assets.ads.tables.experiment_log import EXPERIMENTS as LOG
from dmp_assets.ads.tables.experiment_readings import COLUMNS as READINGS
from dmp_assets.ads.tables.pooled_insights import COLUMNS as POOLED
from dmp_assets.cleaned.shopify import shopify_orders
from dmp_assets.home import Home
from dmp_assets.platform.lake.columns import Columns, arrow_schema
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.store import database
from tests.support import lakehouse
from tests.support.ads_days import FIRST, Days, DaysHome, varied
from tests.support.experiment_home import SHOP, World, columns, definition
from tests.support.materialized import materialized

JOURNEYS = columns(shopify_orders.shopify_journeys, "cleaned/shopify_journeys")
LIFT: dict[str, Any] = {
    "holdout_of": "meta",
    "guardrails": (),
    "secondary": (metric_of("contribution"),),
}


# what it is --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "changed",
    [
        {"secondary": ()},
        {"places": (0, 5_000)},
        {"variants": ("control", "a", "b"), "split": (4_000, 3_000, 3_000)},
        {"assigned_by": "platform"},
    ],
)
def test_a_holdout_that_could_say_nothing_of_a_channel_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ExperimentError, match="withholds the ads of meta"):
        definition(**LIFT | changed)


def test_experiments_that_began_before_there_were_holdouts_are_what_they_were() -> None:
    one = definition()
    written = definition_json(one)
    del written["holdout_of"]
    assert definition_of(written) == one
    assert "holdout_of" not in json.dumps(written)
    # of the definition as it was hashed by the version before
    assert replace(one, holdout_of=None).digest() == one.digest() == _digest(written)
    assert definition(**LIFT).digest() != definition(**LIFT | {"holdout_of": None}).digest()


def _digest(written: dict[str, Any]) -> str:
    import hashlib

    said = json.dumps(written, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(said.encode()).hexdigest()


# budgets -----------------------------------------------------------------------------------------
@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DaysHome:
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    return DaysHome(Home(tmp_path / "home").prepare("live"))


def steady(size: int = 150) -> Days:
    """Days on which one campaign always spent about the same: they cannot tell what it brings."""
    drawn = np.random.default_rng(3)
    spent = 100 + drawn.normal(0, 1, size)
    return Days("acme", (700 + drawn.normal(0, 20, size)).tolist(), {"c1": spent.tolist()})


def log(home: Home, one: Definition, last_day: date, **said: Any) -> None:
    """An experiment as it was started, and its newest reading."""
    comparison = {
        "metric": "contribution", "unknown": None, "difference": 0.0, "welch_low": None,
        "welch_high": None,
    }  # fmt: skip
    reading = {
        "counts": [1_000, 1_000], "mismatch_p_value": 1.0,
        "comparisons": [comparison | said.pop("comparison", {})], **said,
    }  # fmt: skip
    named = {"advertiser_id": one.advertiser_id, "experiment": one.key}
    started = {
        **named, "kind": "own", "unit": "customer", "state": "running",
        "definition": json.dumps(definition_json(one)),
    }  # fmt: skip
    newest = {**named, "version": 1, "last_day": last_day, "reading": json.dumps(reading)}
    for key, declared, row in (
        ("raw/experiments", LOG, started),
        ("modeled/experiment_readings", READINGS, newest),
    ):
        write(home, key, declared, [row])


def write(home: Home, key: str, columns: Columns, rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(
        [{name: row.get(name) for name in columns} for row in rows], arrow_schema(columns)
    )
    lakehouse.write(home, key, table, stamp=str(hash(str(rows))))


def advice(lake: DaysHome) -> dict[str, dict[str, Any]]:
    rows = Tables.of(lake.home).sql("SELECT * FROM ml.ads_budget_advice").to_pylist()
    return {row["campaign_id"]: row for row in rows}


def lift(**other: Any) -> Definition:
    return definition(**LIFT | {"starts_on": FIRST + timedelta(days=60), "days": 28} | other)


def test_budgets_know_what_a_holdout_found_where_days_cannot_tell(lake: DaysHome) -> None:
    lake.write(steady())
    materialized(ads_budget_forecasts)
    before = advice(lake)["c1"]
    assert before["priors"] == [] and "spend_hardly_varied" in before["reasons"]
    one = lift()
    # 28 days of 100 a day brought 2 for 1: of 1,000 who were shown ads 5,600, give or take 140
    found = {"difference": 5.6, "welch_low": 5.6 - 0.274, "welch_high": 5.6 + 0.274}
    log(lake.home, one, one.starts_on + timedelta(days=27), comparison=found)
    materialized(ads_budget_forecasts)
    after = advice(lake)["c1"]
    assert after["priors"] == ["experiment shipping, 2026-03-02 to 2026-03-29"]
    assert after["marginal_high"] - after["marginal_low"] < (
        (before["marginal_high"] - before["marginal_low"]) / 2
    )
    assert after["evidence_version"] != before["evidence_version"]
    assert advice(lake)[""]["priors"] == after["priors"]


@pytest.mark.parametrize(
    "said",
    [
        {"mismatch_p_value": 0.001},
        {"comparison": {"unknown": "too_few_units"}},
        {"comparison": {"welch_low": None, "welch_high": None}},
        {"comparison": {"metric": "revenue"}},
    ],
)
def test_a_holdout_that_says_nothing_is_not_known(lake: DaysHome, said: dict[str, Any]) -> None:
    lake.write(steady())
    said = {"comparison": {"difference": 5.6, "welch_low": 5.0, "welch_high": 6.2}} | said
    log(lake.home, lift(), FIRST + timedelta(days=87), **said)
    materialized(ads_budget_forecasts)
    assert advice(lake)["c1"]["priors"] == []


@pytest.mark.parametrize("other", [{"advertiser": "bolt"}, {"starts_on": date(2025, 6, 1)}])
def test_a_holdout_of_another_or_of_other_days_is_not_known(
    lake: DaysHome, other: dict[str, Any]
) -> None:
    lake.write(steady())
    told = {"difference": 5.6, "welch_low": 5.0, "welch_high": 6.2}
    log(lake.home, lift(**other), FIRST + timedelta(days=87), comparison=told)
    materialized(ads_budget_forecasts)
    assert advice(lake)["c1"]["priors"] == []


# pooled insights ---------------------------------------------------------------------------------
def test_a_pooled_return_is_never_as_sure_as_an_effect_would_be() -> None:
    alike = belief(2.0, 1.05)
    assert alike.deviation == pytest.approx(LEAST_DEVIATION * alike.mean)


@pytest.fixture
def stored(lake: DaysHome, store_url: SecretStr, monkeypatch: pytest.MonkeyPatch) -> DaysHome:
    monkeypatch.setenv("DMP_STORE_URL", store_url.get_secret_value())
    return lake


def test_budgets_of_who_takes_part_begin_with_what_shops_like_theirs_earn(
    stored: DaysHome, store_url: SecretStr
) -> None:
    earned, spent = varied(120)
    given = {name: of.tolist() for name, of in spent.items()}
    stored.write(Days("acme", earned.tolist(), given), Days("bolt", earned.tolist(), given))
    now = datetime(2026, 6, 1, tzinfo=UTC)
    engine = database.engine(store_url)
    with engine.begin() as connection:
        for name in ("acme", "gone"):
            assert pooled.give(
                connection, name, terms_version="2026-11", industry="food", size="small",
                by="ann", now=now, request_id=None,
            )  # fmt: skip
        assert pooled.withdraw(connection, "gone", by="ann", now=now, request_id=None)
    engine.dispose()
    cell = {"measure": "profit_roas", "advertisers": 10, "centre": 1.8, "spread": 2.0}
    write(stored.home, "modeled/pooled_insights", POOLED, [
        {**cell, "period": date(2026, month, 1), "industry": industry, "size": ""}
        for month in (3, 4) for industry in ("", "food", "toys")
    ])  # fmt: skip
    materialized(ads_budget_forecasts)
    found = Tables.of(stored.home).sql(
        "SELECT advertiser_id, priors FROM ml.ads_budget_advice WHERE campaign_id = ''"
    )
    told = {row["advertiser_id"]: row["priors"] for row in found.to_pylist()}
    assert told == {"acme": ["pooled insights of 10 shops or more, April 2026"], "bolt": []}


def test_the_narrowest_cell_that_is_shown_is_taken() -> None:
    cells = {one: {"centre": 1.0} for one in (("", ""), ("food", ""), ("food", "small"))}
    shops = {"a": ("food", "small"), "b": ("food", "large"), "c": ("toys", "small")}
    known = budget_priors.Known((), cells, shops)
    for name, cell in (("a", ("food", "small")), ("b", ("food", "")), ("c", ("", ""))):
        assert known._cell(name) is cells[cell]
    assert known._cell("d") is None


# claims ------------------------------------------------------------------------------------------
@pytest.fixture
def world(tmp_path: Path, store_url: SecretStr, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    monkeypatch.setenv("DMP_STORE_URL", store_url.get_secret_value())
    store = database.engine(store_url)
    yield World.of(Home(tmp_path / "home").prepare("live"), store, monkeypatch)
    store.dispose()


def test_each_order_of_a_holdouts_days_is_claimed_for_the_share_that_ads_brought(
    world: World,
) -> None:
    one = definition(**LIFT)
    world.begin(one)
    at = datetime(2026, 3, 2, 9, tzinfo=UTC)
    drawn, number = np.random.default_rng(5), 0
    for variant, chance in (("control", 0.2), ("free", 0.4)):
        for n in range(300):
            customer = f"{variant}-{n}"
            world.expose([customer], variant, at)
            if drawn.random() < chance:
                number += 1
                world.order(f"o{number}", at + timedelta(hours=2), 100, customer=customer)
    for row in world.rows["cleaned/shopify_orders"]:
        row |= {"total": Decimal(100)}
    world.order("after", at + timedelta(days=30), 100, customer="free-1")
    world.run(at + timedelta(days=3))
    (read,) = world.read("SELECT reading FROM modeled.experiment_readings")
    (found,) = [c for c in json.loads(read["reading"])["comparisons"]
                if c["metric"] == "contribution"]  # fmt: skip
    write(world.home, "cleaned/shopify_journeys", JOURNEYS, [])
    materialized(conversion_claims)
    claims = world.read("SELECT * FROM modeled.conversion_claims")
    assert len(claims) == number and {row["order_id"] for row in claims}.isdisjoint({"after"})
    # contribution is 40 an order; ads brought the difference for each who was shown them
    share = 300 * found["difference"] / (40 * number)
    for row in claims:
        assert (row["claimant"], row["channel"], row["is_meta"], row["shop"]) == (
            "experiment:shipping", "meta", True, SHOP
        )  # fmt: skip
        assert row["credit"] == pytest.approx(share)
        assert float(row["value"]) == pytest.approx(100 * share, abs=1e-3)
