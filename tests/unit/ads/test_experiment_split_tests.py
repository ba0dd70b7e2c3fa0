"""Split tests at Meta over real HTTP: made once, read, stopped by the machine, ended once."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from pydantic import SecretStr, ValidationError

from dmp_assets.ads.model.experiments import cells, readout
from dmp_assets.ads.model.experiments.definition import Definition, ExperimentError
from dmp_assets.ads.model.experiments.measures import metric_of
from dmp_assets.ads.service import split_tests
from dmp_assets.ads.service.experiment_bodies import ExperimentBody
from dmp_assets.ads.service.split_tests import Settled
from dmp_assets.ads.service.store import experiments
from dmp_assets.ads.service.store.schema_experiments import ads_experiment
from dmp_assets.home import Home
from dmp_assets.platform.store import database
from dmp_assets.sources.meta import studies
from dmp_assets.sources.meta.studies import Study
from tests.support.experiment_home import STARTED, World, day, definition
from tests.support.experiments import split_body
from tests.support.materialized import failed_checks
from tests.support.meta import BERLIN, NOW, TOKYO, Meta, environment, running
from tests.support.service import fill, running_api, until

CELLS = {"control": [f"{BERLIN}20"], "free": [f"{BERLIN}21"]}
SETTLED = "experiment_readings split_tests_were_settled"
STUDY = {"business_id": "501", "account_id": BERLIN, "entities": "adsets", "cells": CELLS}


@pytest.fixture(scope="module")
def _meta(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meta]:
    with running(tmp_path_factory.mktemp("meta"), accounts=(BERLIN,)) as meta:
        yield meta


@pytest.fixture
def meta(_meta: Meta) -> Meta:
    _meta.behave()
    _meta.faults()
    _meta.set_clock(NOW)
    with _meta.world.begin() as db:
        for table in ("cell_entity", "cell", "study"):
            db.execute(f"DELETE FROM {table}")
    return _meta


def published(accounts: tuple[tuple[str, str], ...] = (("acme", BERLIN),)) -> dict[str, pa.Table]:
    """Published rows of accounts by advertiser, each with an ad in both ad sets of `CELLS`."""
    own = [{"advertiser_id": whose, "account_id": account} for whose, account in accounts]
    return {
        "ad_accounts": pa.Table.from_pylist(
            [one | {"name": "A", "currency": "EUR", "timezone": "Europe/Berlin",
                    "account_status": "1", "is_listed": True} for one in own]
        ),
        "ads": pa.Table.from_pylist([
            one | {"ad_id": f"{one['account_id']}30000{n}", "ad_name": "Ad",
                   "adset_id": f"{one['account_id']}2{n}", "adset_name": "Set",
                   "campaign_id": f"{one['account_id']}1{n}", "campaign_name": "Campaign",
                   "objective": "OUTCOME_SALES", "effective_status": "ACTIVE",
                   "creative_title": "T", "creative_body": "B", "is_listed": True}
            for one in own for n in range(2)
        ]),
    }  # fmt: skip


@pytest.fixture
def world(
    meta: Meta, tmp_path: Path, store_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    for name, value in environment(meta, tmp_path / "home", store_url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DMP_META_SYSTEM_USER_TOKEN", meta.token(accounts=(BERLIN,)))
    monkeypatch.setenv("DMP_META_ADVERTISER_ID", "acme")
    store = database.engine(store_url)
    found = World.of(Home(tmp_path / "home").prepare("live"), store, monkeypatch)
    fill(store, published())
    clock(found, meta, STARTED)
    yield found
    store.dispose()


def clock(world: World, meta: Meta, now: datetime) -> None:
    world.now = now
    meta.set_clock(now)


def split(**other: Any) -> Definition:
    return definition(
        assigned_by="platform", primary=metric_of("purchases"), guardrails=(),
        secondary=(metric_of("clicks"),), **other,
    )  # fmt: skip


def settle(world: World) -> list[Settled]:
    return split_tests.settle(world.home, world.store)


def at_meta(meta: Meta) -> list[Study]:
    """The studies that there are."""
    with meta.client(meta.token(accounts=(BERLIN,))) as client:
        listed = studies.of(client, f"act_{BERLIN}", CELLS["control"][0])
        return [studies.read(client, one.study_id) for one in listed]


def writes(meta: Meta) -> list[str]:
    """Calls that made or changed a study."""
    wanted = ("ad_studies", *(one.study_id for one in at_meta(meta)))
    return [
        call["method"] for call in meta.calls()
        if call["method"] in ("POST", "DELETE") and call["path"].rsplit("/", 1)[-1] in wanted
    ]  # fmt: skip


def note(world: World, **values: Any) -> None:
    with world.store.begin() as connection:
        connection.execute(ads_experiment.update().values(**values))


def stop(world: World) -> None:
    with world.store.begin() as connection:
        experiments.say(connection, "acme", "shipping", "stop", version=None, by="ann",
                        now=world.now, request_id=None)  # fmt: skip


# making ------------------------------------------------------------------------------------------
def test_it_is_made_once_from_the_first_full_day_of_the_account_on(
    world: World, meta: Meta
) -> None:
    world.begin(split(), study=STUDY)
    assert settle(world) == [Settled("acme", "shipping", "made")]
    (made,) = at_meta(meta)
    assert world.state().study_id == made.study_id
    first = datetime.combine(split().starts_on, time(), ZoneInfo("Europe/Berlin"))
    assert (made.start, made.end) == (first, first + timedelta(days=14))
    assert made.cells == (("control", 50), ("free", 50))
    assert settle(world) == [] and writes(meta) == ["POST"]


def test_one_whose_answer_is_lost_is_found_and_not_made_again(world: World, meta: Meta) -> None:
    world.begin(split(), study=STUDY)
    meta.faults({"method": "ad_studies", "kind": "drop"})
    assert settle(world) == [Settled("acme", "shipping", "made")]
    assert len(at_meta(meta)) == 1 and writes(meta) == ["POST"]


def test_after_a_kill_between_write_and_record_it_is_found_by_reading(
    world: World, meta: Meta
) -> None:
    world.begin(split(), study=STUDY)
    settle(world)
    note(world, study_id=None, study_state="creating")
    assert settle(world) == [Settled("acme", "shipping", "made")]
    assert world.state().study_id == at_meta(meta)[0].study_id and writes(meta) == ["POST"]


def test_after_a_kill_before_the_write_it_is_made(world: World, meta: Meta) -> None:
    world.begin(split(), study=STUDY)
    note(world, study_state="creating")
    assert settle(world) == [Settled("acme", "shipping", "made")]
    assert len(at_meta(meta)) == 1


def test_what_meta_refuses_is_told_and_tried_again(world: World, meta: Meta) -> None:
    world.begin(split(), study=STUDY | {"business_id": "999"})
    (found,) = settle(world)
    assert found.problem and world.state().study_state is None
    assert world.state().study_problem == found.problem
    note(world, study=STUDY)
    assert settle(world) == [Settled("acme", "shipping", "made")]
    assert world.state().study_problem is None


def test_what_meta_refuses_of_one_keeps_no_others_waiting_and_is_told(
    world: World, meta: Meta
) -> None:
    world.begin(split(key="foreign"), study=STUDY | {"business_id": "999"})
    world.begin(split(), study=STUDY)
    result = world.run(STARTED)
    told = failed_checks(result)
    assert set(told) == {SETTLED}, told
    (done,) = result.asset_materializations_for_node("published__experiment_readings")
    assert done.metadata["problems"].value == 1
    assert world.state("foreign").study_problem and world.state().study_state == "made"


OF_ANOTHER = [
    ({"account_id": TOKYO}, "account_id", f"{TOKYO} is no ad account of acme"),
    ({"cells": {"control": [f"{TOKYO}20"], "free": [f"{BERLIN}21"]}}, "cells",
     f"no ad sets {TOKYO}20"),
    ({"entities": "campaigns"}, "cells", f"no campaigns {BERLIN}20"),
]  # fmt: skip


@pytest.mark.parametrize(("study", "field", "said"), OF_ANOTHER)
def test_one_of_what_is_not_the_advertisers_is_neither_defined_nor_started(
    world: World, meta: Meta, store_url: SecretStr, study: dict[str, Any], field: str, said: str
) -> None:
    route, own = "/v1/ads/experiments", split_body(CELLS, BERLIN)
    foreign = own | {"study": own["study"] | study}
    with running_api(world.home, store_url) as api, api.as_role("admin") as client:
        fill(world.store, published((("acme", BERLIN), ("bolt", TOKYO))), "v2")

        def refused(method: str, path: str, prefix: str, **json: Any) -> None:
            answer = client.request(method, f"{route}{path}", json=json or None)
            assert answer.status_code == 422, answer.text
            ((wrong, text),) = [(e["field"], e["message"]) for e in answer.json()["errors"]]
            assert wrong == f"{prefix}.{field}" and said in text

        refused("POST", "", "body.study", experiment="shipping", **foreign)
        assert client.get(f"{route}/shipping").status_code == 404
        made = client.post(route, json={"experiment": "shipping", **own})
        assert made.status_code == 201, made.text
        refused("PUT", "/shipping", "body.study", **foreign)
        note(world, study=foreign["study"])  # as it could be defined before
        refused("POST", "/shipping/start", "study")
        assert client.get(f"{route}/shipping").json()["state"] == "draft"


@pytest.mark.parametrize(("study", "field", "said"), OF_ANOTHER)
def test_one_that_was_started_so_before_is_not_asked_of_meta(
    world: World, meta: Meta, study: dict[str, Any], field: str, said: str
) -> None:
    world.begin(split(), study=STUDY | study)
    before = len(meta.calls())
    assert set(failed_checks(world.run(day(3)))) == {SETTLED}
    assert said in str(world.state().study_problem)
    assert len(meta.calls()) == before


def test_its_page_says_why_it_is_not_made(world: World, meta: Meta, store_url: SecretStr) -> None:
    world.begin(split(), study=STUDY | {"business_id": "999"})
    settle(world)
    with running_api(world.home, store_url) as api:
        with api.as_role("admin") as client:
            told = client.get("/v1/ads/experiments/shipping").json()
        assert told["study_state"] is None and "Meta" in told["study_problem"]
        with api.logged_in("admin") as browser:
            page = browser.get("/ads/experiments", params={"experiment": "shipping"}).text
        assert "not made" in page and "waits" in page and told["study_problem"][:30] in page
    stop(world)
    assert world.state().study_problem is None


def test_without_a_connection_it_waits_and_says_so(
    world: World, meta: Meta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_META_ADVERTISER_ID", "bolt")
    world.begin(split(), study=STUDY)
    (found,) = settle(world)
    assert found.problem is not None and "Meta is not connected" in found.problem
    assert at_meta(meta) == []


# ending ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("lost", [False, True])
def test_a_stop_ends_it_at_meta_once(world: World, meta: Meta, lost: bool) -> None:
    world.begin(split(), study=STUDY)
    settle(world)
    clock(world, meta, day(3))
    stop(world)
    if lost:
        meta.faults({"method": at_meta(meta)[0].study_id, "kind": "drop", "times": 1})
    for _ in range(2):  # one whose answer is lost is told, and looked up by the next
        settle(world)
    (ended,) = at_meta(meta)
    assert ended.state(day(3)) == "finished" and ended.end == day(3)
    assert world.state().study_state == "ended"
    assert settle(world) == [] and len(writes(meta)) == 2


def test_one_that_has_not_begun_is_called_off(world: World, meta: Meta) -> None:
    world.begin(split(), study=STUDY)
    settle(world)
    stop(world)
    assert settle(world) == [Settled("acme", "shipping", "ended")]
    assert at_meta(meta)[0].state(world.now) == "canceled"


def test_after_a_kill_between_end_and_record_nothing_is_written_again(
    world: World, meta: Meta
) -> None:
    world.begin(split(), study=STUDY)
    settle(world)
    clock(world, meta, day(3))
    stop(world)
    settle(world)
    note(world, study_state="ending")
    assert settle(world) == [Settled("acme", "shipping", "ended")]
    assert writes(meta) == ["POST", "POST"]


# reading -----------------------------------------------------------------------------------------
def deliver(world: World, days: int, *, spend: str = "10", is_open: bool = False) -> None:
    """What Meta told of the ad sets; the second brings twice the purchases."""
    for n in range(1, days + 1):
        for times, (entity,) in enumerate(CELLS.values(), start=1):
            world.rows["modeled/ad_performance_daily"].append({
                "advertiser_id": "acme", "account_id": BERLIN, "ad_id": f"{BERLIN}30000{times - 1}",
                "adset_id": entity, "campaign_id": f"{BERLIN}10", "date": day(n).date(),
                "reach": 900, "purchases": 20 * times, "inline_link_clicks": 100 + n,
                "spend": Decimal(spend), "is_open": is_open,
            })  # fmt: skip


def test_a_reading_is_of_the_cells_own_sums_and_of_whom_they_reached(
    world: World, meta: Meta
) -> None:
    one = split()
    world.begin(one, study=STUDY)
    settle(world)
    deliver(world, 10)
    world.rows["modeled/ad_performance_daily"][-1]["is_open"] = True
    clock(world, meta, NOW)
    assert failed_checks(world.run(NOW)) == {}
    reached = {row["variant"]: row["reach"] for row in world.read(
        "SELECT * FROM raw.experiment_reach"
    )}  # fmt: skip
    assert all(reached.values())
    people = [reached[name] for name in one.variants]
    last = NOW.date() - timedelta(days=1)
    days = (last - one.starts_on).days + 1
    events = {
        "purchases": [[20, 40]] * 10 + [[0, 0]] * (days - 10),
        "clicks": [[100 + n, 100 + n] for n in range(1, 11)] + [[0, 0]] * (days - 10),
    }
    wanted = readout.read(one, people, {
        (metric, variant): moments
        for metric, counts in events.items()
        for variant, moments in zip(
            one.variants, cells.of_cells(counts, people).moments, strict=True
        )
    })  # fmt: skip
    found = world.read("SELECT * FROM modeled.experiment_comparisons ORDER BY role")
    for row, meant in zip(found, wanted.comparisons, strict=True):
        assert (row["role"], row["metric"]) == (meant.role, meant.metric.name)
        assert row["low"] == pytest.approx(meant.low) and row["lift"] == pytest.approx(meant.lift)
    (row,) = world.read("SELECT * FROM modeled.experiment_readings")
    assert row["mismatch_p_value"] is None and row["spent"] == Decimal(200)
    assert row["open_days"] == days - 9, "what is open, and what was not told of yet"


@pytest.mark.parametrize("cause", ["overspend", "ad_disapproved"])
def test_what_stops_at_once_is_ended_at_meta_in_the_same_run(
    world: World, meta: Meta, cause: str
) -> None:
    world.begin(split(spend_cap=Decimal(100)), study=STUDY)
    settle(world)
    deliver(world, 2, spend="30" if cause == "overspend" else "1", is_open=True)
    world.rows["modeled/ads"] = [
        {"advertiser_id": "acme", "account_id": BERLIN, "ad_id": f"{BERLIN}300001",
         "adset_id": CELLS["free"][0], "is_listed": True,
         "effective_status": "DISAPPROVED" if cause == "ad_disapproved" else "ACTIVE"}
    ]  # fmt: skip
    clock(world, meta, day(3))
    world.run(day(3))
    assert (world.state().state, world.state().study_state) == ("stopped", "ended")
    assert world.steps()[-1] == ("judge", cause)
    assert at_meta(meta)[0].state(day(3)) == "finished"


# by the API --------------------------------------------------------------------------------------
def test_who_starts_and_stops_one_by_the_api_makes_and_ends_it_at_meta(
    world: World, meta: Meta, store_url: SecretStr
) -> None:
    clock(world, meta, datetime.now(UTC))
    route = "/v1/ads/experiments"
    with running_api(world.home, store_url) as api, api.as_role("admin") as client:
        fill(world.store, published(), "v2")

        def study_state() -> str:
            return str(client.get(f"{route}/shipping").json()["study_state"])

        made = client.post(route, json={"experiment": "shipping", **split_body(CELLS, BERLIN)})
        assert made.status_code == 201, made.text
        assert client.post(f"{route}/shipping/start").json()["state"] == "running"
        until(lambda: study_state() == "made")
        begun = client.post("/v1/experiments/shipping/assign", json={"unit": "u"})
        assert begun.status_code == 409 and "by the ad platform" in begun.json()["detail"]
        assert client.post(f"{route}/shipping/stop").json()["state"] == "stopped"
        until(lambda: study_state() == "ended")
    assert at_meta(meta)[0].state(world.now) == "canceled"
    assert writes(meta) == ["POST", "DELETE"]


@pytest.mark.parametrize(
    ("study", "said"),
    [
        ({"cells": {"control": [f"{BERLIN}20"]}}, "a cell for each variant"),
        ({"cells": {"control": ["1"], "free": ["1"]}}, "nothing may be in two cells"),
        ({"account_id": "act_1"}, "study.account_id"),
        ({"entities": "ads"}, "study.entities"),
    ],
)
def test_a_study_that_meta_would_refuse_is_refused(study: dict[str, Any], said: str) -> None:
    given = split_body(CELLS, BERLIN)
    given["study"] |= study
    with pytest.raises((ExperimentError, ValidationError), match=said):
        ExperimentBody(**given).draft("acme", "shipping", STARTED.date())


def test_a_split_that_is_no_whole_percent_is_refused() -> None:
    given = split_body(CELLS, BERLIN, split=[3333, 6667])
    with pytest.raises(ExperimentError, match="whole percent"):
        ExperimentBody(**given).draft("acme", "shipping", STARTED.date())
