"""The model's tables: made from cleaned tables by Dagster's own run, without a JVM."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from deltalake import CommitProperties, write_deltalake
from pydantic import SecretStr

from dmp_assets.abuse.lake import retrain
from dmp_assets.abuse.model import (
    models,
    registry,
    view,
)
from dmp_assets.abuse.model.features import COLUMN, FEATURES
from dmp_assets.abuse.settings import AbuseSettings
from dmp_assets.abuse.tables import (
    abuse_drift,
    abuse_features,
    abuse_labels,
    abuse_scores,
    cost_to_incriminate,
    drift,
    model_registry,
)
from dmp_assets.abuse.tables import service_log as abuse
from dmp_assets.demo.business import shop
from dmp_assets.home import Home
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.tables import STAMP, Tables
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.store import database
from tests.support import accounts
from tests.support.abuse_log import decide, predict

ASSETS = [
    abuse.abuse_predictions,
    abuse.abuse_decisions,
    abuse_labels.abuse_labels,
    abuse_features.abuse_features,
    model_registry.model_registry,
    abuse_scores.abuse_scores,
]


@pytest.fixture
def two_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests are about what happens to models, and boosting takes most of the time."""
    monkeypatch.delitem(models.CANDIDATES, "gradient_boosting")


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    folder = tmp_path_factory.mktemp("shop")
    written = shop.generate(folder, users=2_000, seed=3, end=date(2024, 3, 31), labelled=0.4)
    connection = accounts.shop(accounts.received(written.export))
    yield connection
    connection.close()


@dataclass
class Place:
    """A home of its own with the cleaned tables, and runs of the model's assets in it."""

    home: Home

    @property
    def tables(self) -> Tables:
        return Tables(str(self.home.lakehouse))

    def write(self, key: str, table: pa.Table, version: str) -> None:
        stamp = CommitProperties(custom_metadata={STAMP: json.dumps({"data_version": version})})
        path = str(self.home.lakehouse / key)
        write_deltalake(
            path, table, mode="overwrite", schema_mode="overwrite", commit_properties=stamp
        )

    def run(self, *assets: Any, tags: Mapping[str, Any] | None = None) -> dg.ExecuteInProcessResult:
        result = dg.materialize(
            list(assets or ASSETS),
            tags=tags,
            resources={"lakehouse": Lakehouse(), "window": Window()},
            instance=dg.DagsterInstance.ephemeral(),
        )
        assert result.success
        return result

    def column(self, query: str) -> list[Any]:
        return self.tables.sql(query).column(0).to_pylist()


@pytest.fixture
def place(
    cleaned: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Place:
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DMP_DRIFT_PERSISTENT_RUNS", "2")
    place = Place(Home.current().prepare("live"))
    for key in view.TABLES:
        layer, _, table = key.partition("/")
        place.write(key, cleaned.sql(f"FROM {layer}.{table}").to_arrow_table(), "1")
    return place


@pytest.fixture
def log(store_url: SecretStr, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    """The operational store of the home."""
    monkeypatch.setenv("DMP_STORE_URL", store_url.get_secret_value())
    engine = database.engine(store_url)
    yield engine
    engine.dispose()


def users_with(place: Place, labels: pa.Array, version: str) -> None:
    users = place.tables.sql("SELECT * EXCLUDE (is_abuser) FROM cleaned.users")
    place.write("cleaned/users", users.append_column("is_abuser", labels), version)


def test_every_account_has_one_score_and_the_flagged_ones_readable_reasons(place: Place) -> None:
    result = place.run()
    checks = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert all(checks.values()), checks
    scores = place.tables.sql("SELECT * FROM ml.abuse_scores").to_pylist()
    assert len(scores) == place.tables.scalar("SELECT count(*) FROM cleaned.users")
    flagged = [row for row in scores if row["decision"] != "allow"]
    assert flagged
    assert all(row["reasons"] and row["reasons"][0]["text"] for row in flagged)
    assert {row["model_version"] for row in scores} == set(
        place.column("SELECT model_version FROM ml.model_registry WHERE is_serving")
    )
    card = json.loads(place.column("SELECT card FROM ml.model_card")[0])
    assert card["calibration"] and card["cost_curve"] and card["ablations"]
    assert registry.headline(place.tables)


@pytest.mark.usefixtures("two_candidates")
def test_a_second_run_with_nothing_new_changes_nothing(place: Place) -> None:
    place.run()
    keys = ("ml/abuse_features", "ml/model_registry", "ml/abuse_scores", "ml/model_card")
    before = {key: place.tables.version(key) for key in keys}
    place.run()
    assert {key: place.tables.version(key) for key in keys} == before


@pytest.mark.usefixtures("two_candidates")
def test_what_it_costs_to_incriminate_is_asked_once_of_a_model(place: Place) -> None:
    place.run(*ASSETS, cost_to_incriminate.cost_to_incriminate)
    key = "ml/cost_to_incriminate"
    rows, files = (
        place.tables.sql(f"FROM {key.replace('/', '.')}"),
        place.tables.delta(key).file_uris(),
    )
    said = place.tables.stamp(key)["data_version"]
    users = place.tables.sql("SELECT * FROM cleaned.users")
    place.write("cleaned/users", users, "read again")
    place.run(*ASSETS, cost_to_incriminate.cost_to_incriminate)
    assert place.tables.sql(f"FROM {key.replace('/', '.')}") == rows
    assert set(files) <= set(place.tables.delta(key).file_uris())
    assert place.tables.stamp(key)["data_version"] == said


@pytest.mark.usefixtures("two_candidates")
def test_retraining_on_the_same_data_gives_the_same_version(place: Place) -> None:
    place.run()
    version = place.column("SELECT model_version FROM ml.model_registry")
    for file in place.home.models.iterdir():
        file.unlink()
    place.run()
    assert place.column("SELECT model_version FROM ml.model_registry") == version
    assert place.column("SELECT count(*) FROM ml.model_card") == [1]


@pytest.mark.usefixtures("two_candidates")
def test_without_labels_the_rule_list_scores_from_the_first_run(place: Place) -> None:
    count = place.tables.scalar("SELECT count(*) FROM cleaned.users")
    users_with(place, pa.nulls(count, pa.bool_()), "none")
    place.run()
    row = registry.rows(place.tables)[0]
    assert row["candidate"] == "rule_list"
    assert "0 accounts are labelled abusers" in row["reason"]
    assert row["pr_auc_mean"] is None
    assert place.tables.scalar("SELECT count(*) FROM ml.abuse_scores WHERE decision <> 'allow'")
    assert "not measured" in registry.headline(place.tables)


@pytest.mark.usefixtures("two_candidates")
def test_labels_of_one_class_leave_the_rule_list_serving(place: Place) -> None:
    count = place.tables.scalar("SELECT count(*) FROM cleaned.users")
    users_with(place, pa.array([True] * count), "one class")
    place.run()
    assert registry.rows(place.tables)[0]["candidate"] == "rule_list"


@pytest.mark.usefixtures("two_candidates")
def test_a_corrupt_model_file_is_named_and_the_next_run_recovers(place: Place) -> None:
    place.run()
    version = place.column("SELECT model_version FROM ml.model_registry")[0]
    file = place.home.models / f"{version}.joblib"
    file.write_bytes(b"not a model")
    model, problems = registry.serving(place.tables, place.home, place.home.settings())
    assert model.candidate == "rule_list", "the rule list serves when nothing else can"
    assert "corrupt or was changed" in problems[0]
    place.run()
    model, problems = registry.serving(place.tables, place.home, place.home.settings())
    assert (model.version, problems) == (version, [])


@pytest.mark.usefixtures("two_candidates")
def test_few_new_labels_keep_the_model_and_many_or_the_retrain_job_replace_it(
    place: Place,
) -> None:
    serving = "SELECT model_version FROM ml.model_registry WHERE is_serving"
    place.run()
    first = place.column(serving)
    labels = place.tables.sql("SELECT is_abuser FROM cleaned.users").column(0)
    unknown = [row for row, label in enumerate(labels.to_pylist()) if label is None]

    def more(count: int) -> pa.Array:
        changed = labels.to_pylist()
        for row in unknown[:count]:
            changed[row] = False
        return pa.array(changed, pa.bool_())

    users_with(place, more(10), "2")
    place.run()
    assert place.column(serving) == first
    assert registry.new_labels(place.tables) == 10
    place.run(tags=retrain.tags)
    second = place.column(serving)
    assert second != first
    assert registry.new_labels(place.tables) == 0
    users_with(place, more(80), "3")
    place.run()
    assert place.column(serving) not in (first, second)
    assert place.column("SELECT count(*) FROM ml.model_registry") == [3]
    assert registry.new_labels(place.tables) == 0


@pytest.mark.usefixtures("two_candidates")
def test_labels_that_reviewers_overrule_train_the_next_model(place: Place, log: sa.Engine) -> None:
    place.run()
    (first,) = registry.rows(place.tables)
    honest = place.column(
        "SELECT user_id FROM modeled.abuse_labels WHERE NOT is_abuser ORDER BY user_id LIMIT 50"
    )
    decide(log, [(user, "block") for user in honest[:49]])
    place.run()
    assert registry.new_labels(place.tables) == 49
    assert registry.rows(place.tables) == [first], "too few yet"
    decide(log, [(honest[49], "block")])
    place.run()
    second, _ = registry.rows(place.tables)
    assert second["model_version"] != first["model_version"]
    assert second["labels_known"] == first["labels_known"], "none is new, fifty are other ones"
    assert second["labelled_abusers"] == first["labelled_abusers"] + 50
    assert second["labelled_honest"] == first["labelled_honest"] - 50
    assert registry.new_labels(place.tables) == 0
    sample = pq.read_table(place.home.models / second["reference_sample"])
    labels = dict(zip(sample["user_id"].to_pylist(), sample["label"].to_pylist(), strict=True))
    assert {labels[user] for user in honest} == {True}


@pytest.mark.usefixtures("two_candidates")
def test_drift_is_measured_against_the_training_sample_and_persists_after_some_runs(
    place: Place,
) -> None:
    place.run(*ASSETS, abuse_drift.abuse_drift)
    at_first = place.tables.sql("SELECT * FROM ml.abuse_drift").to_pylist()
    assert not [row for row in at_first if row["is_drifted"]]
    assert (place.home.root / at_first[0]["report"]).is_file()
    settings = place.home.settings()
    assert not drift.persistent_drift(place.tables, settings)

    users = place.tables.sql("SELECT * FROM cleaned.users")
    shared = pa.array([f"family-{n // 4}" for n in range(len(users))])
    for number in range(settings.of(AbuseSettings).drift_persistent_runs):
        later = pc.add(users["created_at"], pa.scalar(timedelta(hours=9 + number)))
        changed = users.set_column(
            users.column_names.index("created_at"), "created_at", later
        ).set_column(users.column_names.index("device_id"), "device_id", shared)
        place.write("cleaned/users", changed, f"moved {number}")
        place.run(*ASSETS, abuse_drift.abuse_drift)
    last = place.tables.sql(
        "SELECT * FROM ml.abuse_drift "
        "WHERE evaluated_at = (SELECT max(evaluated_at) FROM ml.abuse_drift)"
    ).to_pylist()
    drifted = {row["feature"] for row in last if row["is_drifted"]}
    assert "device_others" in drifted
    assert drift.persistent_drift(place.tables, settings)


def last_drift(place: Place) -> list[dict[str, Any]]:
    """The figures of a new evaluation, after what the service logged has landed."""
    place.run(abuse.abuse_predictions, abuse_drift.abuse_drift)
    return list(
        place.tables.sql(
            "SELECT * FROM ml.abuse_drift "
            "WHERE evaluated_at = (SELECT max(evaluated_at) FROM ml.abuse_drift)"
        ).to_pylist()
    )


@pytest.mark.usefixtures("two_candidates")
def test_drift_of_new_accounts_that_the_service_scored_is_told_apart(
    place: Place, log: sa.Engine
) -> None:
    place.run()
    (version,) = place.column("SELECT model_version FROM ml.model_registry")
    rows = place.tables.sql("SELECT * EXCLUDE (user_id) FROM ml.abuse_features").to_pylist()
    features = [list(row.values()) for row in rows]
    probabilities = place.column("SELECT probability FROM ml.abuse_scores")
    everyone = len(features)
    redeemed = [COLUMN[feature.name] for feature in FEATURES if feature.kind == "redemption"]
    for row in features:  # as of an account that has just registered
        for column in redeemed:
            row[column] = None

    def score(count: int, name: str, **options: Any) -> None:
        ids = [f"{name}-{n}" for n in range(count)]
        given = {"model_version": version, "probabilities": probabilities, "features": features}
        predict(log, ids, **(given | options))

    score(everyone, "long before", age=timedelta(days=8))
    score(everyone, "known", is_new=False)
    score(everyone, "other model", model_version="m-other")
    for _ in range(2):
        score(99, "too few")
    assert not [row for row in last_drift(place) if row["kind"].startswith("live")]

    score(everyone, "as ever")
    found = [row for row in last_drift(place) if row["kind"].startswith("live")]
    assert {row["kind"] for row in found} == {
        "live_feature", "live_prediction", "live_quality", "live_dataset"
    }  # fmt: skip
    assert {row["current_rows"] for row in found if row["feature"] == "*"} == {everyone + 99}
    assert not [row["feature"] for row in found if row["is_drifted"]]
    assert "usages" not in {row["feature"] for row in found}

    for row in features:
        for column in range(0, len(row), 2):
            row[column] = 50.0
    score(everyone, "other people", probabilities=[0.9] * everyone)
    last = last_drift(place)
    drifted = {row["kind"] for row in last if row["is_drifted"]}
    assert drifted >= {"live_feature", "live_prediction", "live_dataset"}
    assert not {kind for kind in drifted if not kind.startswith("live")}, "the shop is as ever"
    assert len([row for row in last if row["kind"] == "dataset"]) == 1
    assert not drift.persistent_drift(place.tables, place.home.settings())


@pytest.mark.usefixtures("two_candidates")
def test_drift_says_which_figures_have_too_few_values(place: Place) -> None:
    place.run()
    sample = place.tables.sql(
        f"SELECT l.*, s.probability FROM ({model_registry.LATEST}) l "
        "JOIN ml.abuse_scores s USING (user_id) LIMIT 50"
    )
    rows = abuse_drift.measure(sample, sample, None)
    assert {row["method"] for row in rows if row["measure"] == "distance"} == {"none"}
    assert not [row for row in rows if row["is_drifted"]]


@pytest.mark.usefixtures("two_candidates")
def test_decisions_follow_todays_costs_without_training(place: Place) -> None:
    place.run()
    settings = place.home.settings()
    cheap, _ = registry.serving(place.tables, place.home, settings)
    dear, _ = registry.serving(
        place.tables, place.home, settings.model_copy(update={"review_cost": 10.0})
    )
    assert dear.thresholds.review_from > cheap.thresholds.review_from
    assert replace(dear, thresholds=cheap.thresholds).version == cheap.version
