"""Publishing: from lakehouse tables, written without a JVM, into a real PostgreSQL."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.home import Home
from dmp_assets.platform.faces.lake import declared, lakes
from dmp_assets.platform.lake.columns import arrow_schema
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.published import tables as published
from dmp_assets.platform.run import clearing
from dmp_assets.platform.run.causes import first_cause
from dmp_assets.platform.store import database
from dmp_assets.platform.store.schema import publication, published_tables
from tests.support import lakehouse
from tests.support.service import published as some_rows

LONG_AGO = timedelta(days=3)

PUBLICATIONS = [p for given in lakes().values() for p in given.publications]
ALL = [published.asset(publication) for publication in PUBLICATIONS]


@pytest.fixture
def home(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DMP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))
    home = Home(tmp_path / "home").prepare("live")
    for key, rows in lakehouse.tables().items():
        lakehouse.write(home, key, rows, stamp="1")
    columns = declared()
    for key in {key for one in PUBLICATIONS for key in one.deps} - lakehouse.tables().keys():
        lakehouse.write(home, key, arrow_schema(columns[key]).empty_table(), stamp="1")
    channels = some_rows()["channel_reporting"]
    lakehouse.write(home, "modeled/channel_reporting", channels, stamp="1")
    return home


@pytest.fixture
def store(home: Home, store_url: SecretStr, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    monkeypatch.setenv("DMP_STORE_URL", store_url.get_secret_value())
    engine = database.engine(store_url)
    yield engine
    engine.dispose()


def run() -> dg.ExecuteInProcessResult:
    return dg.materialize(
        ALL,
        instance=dg.DagsterInstance.ephemeral(),
        resources={"lakehouse": Lakehouse()},
        raise_on_error=False,
    )


def made(result: dg.ExecuteInProcessResult) -> dict[str, tuple[int, bool]]:
    """Per table its rows, and whether it was left as it was."""
    found: dict[str, tuple[Any, Any]] = {}
    for event in result.get_asset_materialization_events():
        told = event.step_materialization_data.materialization
        values = {name: value.value for name, value in told.metadata.items()}
        found[told.asset_key.path[-1]] = (values["dagster/row_count"], values["unchanged"])
    return found


def failure(result: dg.ExecuteInProcessResult) -> str:
    """What a person is told of the first failed step."""
    event = next(e for e in result.all_events if e.is_step_failure)
    return first_cause(event.step_failure_data)


def test_every_table_of_the_schema_has_its_asset() -> None:
    assert {p.name for p in PUBLICATIONS} == set(published_tables())
    for asset in ALL:
        for spec in asset.specs:
            assert spec.description
            assert spec.owners


def test_what_is_published_is_what_the_lakehouse_holds(home: Home, store: sa.Engine) -> None:
    result = run()
    assert result.success
    tables = Tables(str(home.lakehouse))
    with store.connect() as connection:

        def total(sql: str) -> int:
            return int(connection.execute(sa.text(sql)).scalar_one())

        usages = tables.scalar("SELECT count(*) FROM cleaned.promo_usages")
        for name in ("user_usage", "code_usage", "daily_activity"):
            assert total(f"SELECT sum(usages) FROM published.{name}") == usages
        assert total("SELECT count(*) FROM published.code_usage") == tables.scalar(
            "SELECT count(*) FROM cleaned.promo_codes"
        )
        assert total("SELECT sum(registrations) FROM published.daily_activity") == tables.scalar(
            "SELECT count(*) FROM cleaned.users"
        )
        assert total("SELECT count(*) FROM published.user_usage WHERE decision <> 'allow'") == (
            tables.scalar(
                "SELECT count(*) FROM ml.abuse_scores SEMI JOIN modeled.promo_usage_by_user "
                "USING (user_id) WHERE decision <> 'allow'"
            )
        )
        rows = {
            name: total(f"SELECT count(*) FROM published.{name}") for name in published_tables()
        }
        noted = connection.execute(sa.select(publication)).all()
    assert made(result) == {name: (count, False) for name, count in rows.items()}
    assert {row.table_name: row.rows for row in noted} == rows
    assert {row.run_id for row in noted} == {result.run_id}


def test_only_what_is_new_is_published_again(home: Home, store: sa.Engine) -> None:
    first = made(run())
    with store.begin() as connection:
        connection.execute(publication.update().values(published_at=sa.func.now() - LONG_AGO))
    second = run()
    assert made(second) == {name: (rows, True) for name, (rows, _) in first.items()}
    with store.connect() as connection:  # known to be up to date as of now
        old = connection.scalar(sa.select(sa.func.now() - sa.func.min(publication.c.published_at)))
        runs = connection.scalars(sa.select(publication.c.run_id)).all()
    assert old is not None and old < LONG_AGO / 2
    assert set(runs) == {second.run_id}
    fewer = some_rows()["channel_reporting"].slice(0, 10)
    lakehouse.write(home, "modeled/channel_reporting", fewer, stamp="another")
    again = made(run())
    assert again.pop("channel_reporting") == (10, False)
    assert all(unchanged for _, unchanged in again.values())


def test_without_a_store_nothing_is_published_and_the_run_is_fine(home: Home) -> None:
    result = run()
    assert result.success
    assert made(result) == {}


def test_a_store_of_another_schema_is_refused_in_words(home: Home, store: sa.Engine) -> None:
    database.migrate(store, "base")
    assert "run `dmp migrate`" in failure(run())


def test_a_store_that_does_not_answer_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMP_STORE_URL", "postgresql://dmp:Secret-1@127.0.0.1:9/store")
    said = failure(run())
    assert "no PostgreSQL serves the operational store at 127.0.0.1:9" in said
    assert "Secret-1" not in said


def test_a_home_that_is_cleared_for_another_shop_publishes_nothing(
    home: Home, store: sa.Engine
) -> None:
    run()
    clearing.clear(home)
    with store.connect() as connection:
        for name in published_tables():
            assert connection.scalar(sa.text(f"SELECT count(*) FROM published.{name}")) == 0
        assert connection.scalar(sa.select(sa.func.count()).select_from(publication)) == 0
