"""People deleted from the service's logs, in the store and where they landed."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.abuse.service.store.schema import (
    abuse_list_entry,
    abuse_prediction,
    idempotent_answer,
    review_revision,
)
from dmp_assets.definitions import defs
from dmp_assets.home import Home
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.privacy import erasure
from dmp_assets.platform.privacy.erasure import Family
from dmp_assets.platform.store import database
from dmp_assets.platform.store.schema import audit_event
from tests.support.abuse_log import answer, decide, predict
from tests.support.materialized import failed_checks
from tests.unit.abuse.test_landing import ids, run

SUBJECT = "user_id"
ROOTS = {
    "raw/users", "raw/promo_usages", "raw/abuse_predictions", "raw/abuse_decisions",
    "quarantine/abuse_predictions", "quarantine/abuse_decisions",
    "raw/experiment_exposures", "quarantine/experiment_exposures",
}  # fmt: skip


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


@pytest.fixture(scope="module")
def family() -> Family:
    return erasure.family(defs.get_repository_def().asset_graph, SUBJECT)


def test_the_declared_columns_say_which_tables_hold_people_and_which_are_their_roots(
    family: Family,
) -> None:
    assert set(family.roots) == ROOTS
    assert {
        "cleaned/users", "quarantine/users", "cleaned/promo_usages", "quarantine/promo_usages",
        "modeled/account_links", "modeled/account_clusters", "modeled/account_cluster_history",
        "modeled/abuse_labels", "modeled/promo_usage_by_user", "ml/abuse_features",
        "ml/abuse_scores",
    } <= set(family.derived)  # fmt: skip


def test_what_is_made_anew_is_all_of_the_domain_that_reads_and_tells_nobody(
    family: Family,
) -> None:
    graph = defs.get_repository_def().asset_graph
    chosen = dg.AssetSelection.from_string(erasure.selection(family, graph)).resolve(graph)
    keys = {"/".join(key.path) for key in chosen}
    assert set(family.derived) <= keys
    assert {"published/account_snapshot", "reports/promo_abuse"} <= keys
    assert {key for key in keys if key.startswith(("raw/", "delivery/"))} == set()
    assert keys.isdisjoint(ROOTS), "what reads a source is not asked again"


def test_all_rows_that_lead_to_them_go_from_store_and_lakehouse_and_none_comes_back(
    home: Home, store: sa.Engine, family: Family
) -> None:
    predict(store, ["u-1", "u-2", "u-3"])
    decide(store, [("u-1", "block"), ("u-2", "allow")])
    run()
    of, lakehouse = ["u-1", "nobody"], Lakehouse()
    assert erasure.held(lakehouse.tables, family.roots, SUBJECT, of) == {
        "raw/abuse_predictions": 1, "raw/abuse_decisions": 1
    }  # fmt: skip
    assert erasure.unknown(lakehouse.tables, family.tables, SUBJECT, of) == {"nobody"}
    gone = {"abuse_prediction": 1, "abuse_decision": 1}
    audited = sa.select(audit_event.c.actor, audit_event.c.action, audit_event.c.detail)
    assert erasure.delete_from_store(home, SUBJECT, of, actor="ann") == gone
    assert erasure.delete(lakehouse, family.roots, SUBJECT, of) == {
        "raw/abuse_predictions": 1, "raw/abuse_decisions": 1
    }  # fmt: skip
    assert erasure.held(lakehouse.tables, family.tables, SUBJECT, of) == {}
    with store.connect() as connection:
        noted = [tuple(row) for row in connection.execute(audited)]
    assert noted == [("ann", "forget people", {"people": 2, **gone})]
    assert failed_checks(run()) == {}, "the store's log is the one that landed"
    assert ids(home) == [2, 3]
    predict(store, ["u-4"])
    assert failed_checks(run()) == {}
    assert ids(home) == [2, 3, 4]


def test_a_log_whose_last_row_was_deleted_goes_on(
    home: Home, store: sa.Engine, family: Family
) -> None:
    predict(store, ["u-1", "u-2"])
    run()
    erasure.delete_from_store(home, SUBJECT, ["u-2"], actor="ann")
    erasure.delete(Lakehouse(), family.roots, SUBJECT, ["u-2"])
    assert failed_checks(run()) == {}
    predict(store, ["u-3"])
    assert failed_checks(run()) == {}
    assert ids(home) == [1, 3]


def test_a_score_of_another_that_names_them_goes_too(
    home: Home, store: sa.Engine, family: Family
) -> None:
    predict(store, ["u-1", "u-2"])
    with store.begin() as connection:
        connection.execute(
            abuse_prediction.update()
            .where(abuse_prediction.c.account_id == "u-2")
            .values(linked_accounts=["a-9"], cluster_id="a-7")
        )
    run()
    for name, rows in (("a-1", 1), ("a-7", 1)):
        assert erasure.delete_from_store(home, SUBJECT, [name], actor="ann") == {
            "abuse_prediction": rows
        }
        assert erasure.delete(Lakehouse(), family.roots, SUBJECT, [name]) == {
            "raw/abuse_predictions": rows
        }
    assert ids(home) == []


def test_lists_answers_and_the_reviews_state_forget_them(home: Home, store: sa.Engine) -> None:
    kept = (
        ("one", b'{"account":"u-1"}'), ("two", b'{"account":"\xc3\xbc-2"}'),
        ("other", b'{"account":"u-11"}'),
    )  # fmt: skip
    for key, said in kept:
        answer(store, key, age=timedelta())
        with store.begin() as connection:
            held = idempotent_answer.c.idempotency_key == key
            connection.execute(idempotent_answer.update().where(held).values(answer=said))
    entries = [("account", "u-1"), ("account", "u-2"), ("email_domain", "u-1")]
    with store.begin() as connection:
        for kind, value in entries:
            connection.execute(
                abuse_list_entry.insert().values(
                    effect="block", kind=kind, value=value, owner="ann", created_at=sa.func.now()
                )
            )
        before = connection.scalar(sa.select(review_revision.c.revision))
    assert erasure.delete_from_store(home, SUBJECT, ["u-1", "ü-2", "u"], actor="ann") == {
        "abuse_list_entry": 1, "idempotent_answer": 2
    }  # fmt: skip
    with store.connect() as connection:
        left = connection.execute(sa.select(idempotent_answer.c.idempotency_key)).scalars().all()
        assert left == ["other"]
        assert connection.scalar(sa.select(review_revision.c.revision)) == (before or 0) + 1


def test_a_home_without_a_store_forgets_in_its_tables(home: Home) -> None:
    assert erasure.delete_from_store(home, SUBJECT, ["u-1"], actor="ann") == {}
