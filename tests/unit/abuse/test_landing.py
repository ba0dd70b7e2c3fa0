"""What the service logs reaches the lakehouse, once and in whole, and then leaves the store."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.abuse.lake import retrain
from dmp_assets.abuse.model.features import NAMES
from dmp_assets.abuse.service.store import landing
from dmp_assets.abuse.service.store.schema import (
    abuse_case_view,
    abuse_list_entry,
    abuse_prediction,
    idempotent_answer,
    review_revision,
)
from dmp_assets.abuse.tables import abuse_labels
from dmp_assets.abuse.tables import service_log as abuse
from dmp_assets.cli.service import migrate_home
from dmp_assets.home import Home
from dmp_assets.platform.lake.columns import Columns, arrow_schema
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres
from dmp_assets.platform.run import clearing
from dmp_assets.platform.store import access, database, where
from dmp_assets.platform.store.landing import BATCH
from dmp_assets.platform.store.schema import METADATA
from dmp_assets.platform.stream.stream import COLUMNS as KAFKA_COLUMNS
from tests.support import lakehouse
from tests.support.abuse_log import ATTRIBUTES, REASONS, answer, decide, predict
from tests.support.dmp import workplace
from tests.support.materialized import failed_checks, materialized
from tests.support.service import PASSWORD

LOGS = [abuse.abuse_predictions, abuse.abuse_decisions]
LONG_AGO = timedelta(days=91)
PEOPLE = (
    "abuse_prediction", "idempotent_answer", "abuse_decision", "abuse_list_entry",
    "abuse_case_view",
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    return Home(tmp_path / "home").prepare("live")


@pytest.fixture
def store(home: Home, store_url: SecretStr, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    monkeypatch.setenv("DMP_STORE_URL", store_url.get_secret_value())
    engine = database.engine(store_url)
    yield engine
    engine.dispose()


def run(*assets: Any, succeeds: bool = True) -> dg.ExecuteInProcessResult:
    return materialized(*(assets or LOGS), succeeds=succeeds)


def tables(home: Home) -> Tables:
    return Tables(str(home.lakehouse))


def ids(home: Home) -> list[int]:
    found = tables(home).sql("SELECT prediction_id FROM raw.abuse_predictions ORDER BY 1")
    return list(found.column(0).to_pylist())


def versions(home: Home) -> dict[str, int]:
    return {key: tables(home).version(key) for key in tables(home).written()}


def count(store: sa.Engine, name: str) -> int:
    with store.connect() as connection:
        table = METADATA.tables[name]
        return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


@pytest.mark.parametrize(
    ("schema", "log", "asset"),
    [
        (abuse.PREDICTIONS, "abuse_prediction", abuse.abuse_predictions),
        (abuse.DECISIONS, "abuse_decision", abuse.abuse_decisions),
    ],
)
def test_every_column_of_a_log_lands(schema: Columns, log: str, asset: dg.AssetsDefinition) -> None:
    assert list(schema) == list(METADATA.tables[log].columns.keys())
    spec, of_dead_letters = asset.specs
    described = spec.metadata["dagster/column_schema"]
    assert [column.name for column in described.columns] == [*schema, *KAFKA_COLUMNS]
    assert of_dead_letters.skippable and not spec.skippable


def test_scores_and_decisions_land_as_they_were_logged(home: Home, store: sa.Engine) -> None:
    predict(store, ["u-1"])
    predict(store, ["u-2"], is_new=False)
    decide(store, [("u-1", "block")])
    result = run()
    assert failed_checks(result) == {}
    new, known = (
        tables(home).sql("SELECT * FROM raw.abuse_predictions ORDER BY prediction_id").to_pylist()
    )
    assert json.loads(new["attributes"]) == ATTRIBUTES
    assert json.loads(new["reasons"]) == REASONS
    assert new["features"][:3] == [None, 0.5, 1.0] and len(new["features"]) == len(NAMES)
    assert new["linked_accounts"] == ["a-1", "a-2"]
    assert (known["attributes"], known["is_new"], known["account_id"]) == (None, False, "u-2")
    assert datetime.now(UTC) - new["predicted_at"] < timedelta(minutes=5)
    (decision,) = tables(home).sql("SELECT * FROM raw.abuse_decisions").to_pylist()
    assert decision["verdict"] == "block"
    assert json.loads(decision["evidence"]) == {"probability": 0.25}
    shown = " ".join(
        str(event.step_materialization_data.materialization.metadata["preview"].value)
        for event in result.get_asset_materialization_events()
    )
    assert "live_links" in shown
    for personal in ("u-1", "u-2", "a-1", "Secret", "device-secret", "secret person", "ann@shop"):
        assert personal not in shown


def test_only_what_is_new_is_appended(home: Home, store: sa.Engine) -> None:
    predict(store, [f"u-{n}" for n in range(3)])
    run()
    before = versions(home)
    run()
    assert versions(home) == before, "nothing new, nothing written"
    predict(store, ["u-3", "u-4"])
    run()
    assert ids(home) == [1, 2, 3, 4, 5]
    assert versions(home) == before | {"raw/abuse_predictions": before["raw/abuse_predictions"] + 1}


def test_more_rows_than_a_batch_land_in_one_commit(home: Home, store: sa.Engine) -> None:
    rows = BATCH + 7
    predict(store, [f"u-{n}" for n in range(rows)])
    run()
    assert ids(home) == list(range(1, rows + 1))
    assert versions(home)["raw/abuse_predictions"] == 0


def test_a_run_killed_between_landing_and_deleting_neither_repeats_nor_loses_a_score(
    home: Home, store: sa.Engine
) -> None:
    predict(store, ["old"], age=LONG_AGO)
    predict(store, ["young"])
    with store.begin() as connection:
        connection.execute(
            sa.text(
                "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE 'the power went off'; END $$"
            )
        )
        connection.execute(
            sa.text("CREATE TRIGGER off BEFORE DELETE ON abuse_prediction EXECUTE FUNCTION stop()")
        )
    run(abuse.abuse_predictions, succeeds=False)
    assert (ids(home), count(store, "abuse_prediction")) == ([1, 2], 2)
    with store.begin() as connection:
        connection.execute(sa.text("DROP TRIGGER off ON abuse_prediction"))
    run()
    assert (ids(home), count(store, "abuse_prediction")) == ([1, 2], 1)


def test_old_scores_and_answers_leave_the_store_once_they_have_landed(
    home: Home, store: sa.Engine
) -> None:
    predict(store, ["old"], age=LONG_AGO)
    predict(store, ["young"], age=timedelta(days=89))
    answer(store, "yesterday", age=timedelta(hours=25))
    answer(store, "today", age=timedelta(hours=23))
    run()
    with store.connect() as connection:
        kept = connection.scalars(sa.select(abuse_prediction.c.account_id)).all()
        answers = connection.scalars(sa.select(idempotent_answer.c.idempotency_key)).all()
    assert (kept, answers) == (["young"], ["today"])
    assert ids(home) == [1, 2]
    noted = tables(home).stamp("raw/abuse_predictions")["data_version"]
    answer(store, "another day", age=timedelta(hours=25))
    run()
    assert count(store, "idempotent_answer") == 1, "also when no score is new"
    run()
    assert ids(home) == [1, 2]
    assert tables(home).stamp("raw/abuse_predictions")["data_version"] == noted, "as before"


def test_the_log_may_be_kept_shorter(
    home: Home, store: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(store, ["old"], age=timedelta(days=2))
    run()
    assert count(store, "abuse_prediction") == 1
    monkeypatch.setenv("DMP_PREDICTION_LOG_DAYS", "1")
    run()
    assert (ids(home), count(store, "abuse_prediction")) == ([1], 0)
    predict(store, ["young"])
    run()
    assert ids(home) == [1, 2]


def test_a_score_that_has_not_landed_is_never_deleted(store: sa.Engine) -> None:
    predict(store, ["landed", "not yet"], age=LONG_AGO)
    with store.begin() as connection:
        assert landing.has_expired(connection, days=90)
        assert landing.delete_expired(connection, days=90, landed=1) == 1
    with store.connect() as connection:
        assert connection.scalars(sa.select(abuse_prediction.c.account_id)).all() == ["not yet"]


def test_a_home_without_a_store_has_empty_tables(home: Home) -> None:
    assert failed_checks(run()) == {}
    before = versions(home)
    for key, schema in (
        ("raw/abuse_predictions", abuse.PREDICTIONS),
        ("raw/abuse_decisions", abuse.DECISIONS),
    ):
        found = tables(home).sql(f"SELECT * FROM {key.replace('/', '.')}")
        assert (found.num_rows, found.schema.names) == (0, list(schema))
        assert found.schema.types == arrow_schema(schema).types
    run()
    assert versions(home) == before


def test_a_store_that_comes_later_lands_into_the_empty_tables(
    home: Home, shop_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    engine = database.engine(shop_url)
    database.migrate(engine)
    predict(engine, ["u-1"])
    engine.dispose()
    monkeypatch.setenv("DMP_STORE_URL", shop_url.get_secret_value())
    run()
    assert ids(home) == [1]


def test_a_store_that_does_not_answer_stops_nothing_and_is_told(
    home: Home, store: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lakehouse.write(home, "cleaned/users", lakehouse.tables(40)["cleaned/users"], stamp="1")
    predict(store, ["u-1"])
    run()
    url = store.url.render_as_string(hide_password=False)
    monkeypatch.setenv("DMP_STORE_URL", "postgresql://dmp:Secret-1@127.0.0.1:9/store")
    for _ in range(2):  # the second run has nothing to write, and says it all the same
        causes = failed_checks(run(*LOGS, abuse_labels.abuse_labels))
        assert set(causes) == {
            "abuse_predictions store_was_read", "abuse_decisions store_was_read"
        }  # fmt: skip
        for cause in causes.values():
            assert "no PostgreSQL serves the operational store at 127.0.0.1:9" in cause
            assert "Secret-1" not in cause
    assert ids(home) == [1]
    assert tables(home).exists("modeled/abuse_labels")
    monkeypatch.setenv("DMP_STORE_URL", url)
    predict(store, ["u-2"])
    assert failed_checks(run()) == {}
    assert ids(home) == [1, 2]


def test_a_store_that_was_not_migrated_is_told_in_words(home: Home, store: sa.Engine) -> None:
    database.migrate(store, "0001")
    assert "run `dmp migrate`" in failed_checks(run())["abuse_decisions store_was_read"]


def test_a_store_restored_from_an_older_copy_is_told_with_what_to_do(
    home: Home, store: sa.Engine
) -> None:
    predict(store, ["u-1", "u-2", "u-3"])
    run()
    with store.begin() as connection:
        connection.execute(abuse_prediction.delete().where(abuse_prediction.c.prediction_id > 1))
    cause = failed_checks(run())["abuse_predictions store_was_read"]
    assert "ends with 1, and 3 has landed before" in cause
    with store.begin() as connection:
        connection.execute(sa.text(cause.partition("count on: ")[2]))
    predict(store, ["u-4"])
    assert failed_checks(run()) == {}
    assert ids(home) == [1, 2, 3, 4]


def label(home: Home, user: str) -> tuple[bool, str] | None:
    found = tables(home).sql(
        "SELECT is_abuser, label_source, labelled_at FROM modeled.abuse_labels WHERE user_id = ?",
        [user],
    )
    if not found.num_rows:
        return None
    (row,) = found.to_pylist()
    assert (row["labelled_at"] is not None) == (row["label_source"] == "review")
    return row["is_abuser"], row["label_source"]


def test_the_last_decision_of_a_reviewer_wins_over_the_shops_label(
    home: Home, store: sa.Engine
) -> None:
    users = lakehouse.tables(40)["cleaned/users"]
    lakehouse.write(home, "cleaned/users", users, stamp="1")
    known = {row["user_id"]: row["is_abuser"] for row in users.to_pylist()}
    abuser = next(user for user, label in known.items() if label)
    honest = next(user for user, label in known.items() if label is False)
    unknown, another = [user for user, label in known.items() if label is None][:2]
    assets = (abuse.abuse_decisions, abuse_labels.abuse_labels)
    run(*assets)
    labelled = sum(label is not None for label in known.values())
    total = "SELECT count(*) FROM modeled.abuse_labels"
    assert tables(home).scalar(total) == labelled
    assert (label(home, abuser), label(home, honest)) == ((True, "shop"), (False, "shop"))
    assert label(home, unknown) is None
    decide(
        store,
        [(abuser, "allow"), (unknown, "allow"), (unknown, "block"), (another, "block"),
         ("not a user yet", "block")],
    )  # fmt: skip
    run(*assets)
    assert (label(home, abuser), label(home, honest)) == ((False, "review"), (False, "shop"))
    assert (label(home, unknown), label(home, another)) == ((True, "review"),) * 2
    assert tables(home).scalar(total) == labelled + 2
    decide(store, [(abuser, "undone"), (unknown, "undone")])
    run(*assets)
    assert label(home, abuser) == (True, "shop")
    assert label(home, unknown) is None, "not the decision before the one taken back"
    decide(store, [(unknown, "allow")])
    run(*assets)
    assert label(home, unknown) == (False, "review")


def test_training_by_hand_knows_the_decisions_of_today() -> None:
    from dmp_assets.definitions import defs

    job = defs.get_repository_def().get_job(retrain.name)
    made = {"/".join(key.path) for key in job.asset_layer.executable_asset_keys}
    assert {"raw/abuse_decisions", "modeled/abuse_labels", "ml/model_registry"} <= made


def fill(store: sa.Engine) -> None:
    """At least one row about a person in each table."""
    now = datetime.now(UTC)
    predict(store, ["u-1"])
    decide(store, [("u-1", "block")])
    answer(store, "a key", age=timedelta())
    with store.begin() as connection:
        person = access.add_person(connection, "ann@shop.example", "risk", PASSWORD, now=now)
        connection.execute(
            abuse_list_entry.insert().values(
                effect="block", kind="device", value="d-1", owner="ann", created_at=now
            )
        )
        connection.execute(
            abuse_case_view.insert().values(
                account_id="u-1", person_id=person, opened_at=now, seen_at=now
            )
        )
    assert [count(store, name) for name in PEOPLE] == [1] * len(PEOPLE)


def test_a_live_home_cleared_for_another_shop_keeps_what_people_decided(
    home: Home, store: sa.Engine
) -> None:
    fill(store)
    run()
    lakehouse.write(home, "raw/users", lakehouse.tables(40)["raw/users"])
    clearing.clear(home)
    assert tables(home).written() == ["raw/abuse_decisions", "raw/abuse_predictions"]
    assert [count(store, name) for name in PEOPLE] == [1] * len(PEOPLE)
    run()
    assert ids(home) == [1]


def test_a_sandbox_cleared_for_another_shop_forgets_its_people(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with workplace() as folder:
        home = Home(folder / "home").prepare("sandbox")
        monkeypatch.setenv("DMP_HOME", str(home.root))
        home.remember(**where.EMBEDDED)
        with EmbeddedPostgres(home).running() as endpoint:
            migrate_home(home)
            engine = database.engine(endpoint.url(where.DATABASE))
            fill(engine)
            run()
            assert ids(home) == [1]
            with engine.connect() as connection:
                revision = connection.scalar(sa.select(review_revision.c.revision))
            clearing.clear(home)
            assert tables(home).written() == []
            assert [count(engine, name) for name in PEOPLE] == [0] * len(PEOPLE)
            assert count(engine, "person") == 1, "who works there stays"
            with engine.connect() as connection:
                later = connection.scalar(sa.select(review_revision.c.revision))
            assert later == (revision or 0) + 1, "whoever scores sees that decisions are gone"
            predict(engine, ["of the new shop"])
            run()
            found = tables(home).sql("SELECT account_id FROM raw.abuse_predictions").to_pylist()
            assert found == [{"account_id": "of the new shop"}]
            engine.dispose()
