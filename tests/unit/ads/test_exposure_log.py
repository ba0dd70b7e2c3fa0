"""The log of exposures: nothing is lost on a stop or while the store is gone, nothing is twice."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.ads.service import exposure_log
from dmp_assets.ads.service.exposure_log import ExposureLog
from dmp_assets.ads.service.store.exposures import Exposure
from dmp_assets.ads.service.store.schema_experiments import ads_experiment_exposure
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres
from dmp_assets.platform.store import database
from tests.support.postgres import fresh_database, stoppable_server

AT = datetime(2026, 3, 1, tzinfo=UTC)


def met(n: int, variant: str = "control") -> Exposure:
    return Exposure("acme", "shipping", f"{n:032x}", variant, False, AT)


@pytest.fixture
def store(store_url: SecretStr) -> Iterator[sa.Engine]:
    engine = database.engine(store_url)
    yield engine
    engine.dispose()


def logged(store: sa.Engine) -> list[str]:
    with store.connect() as connection:
        units = sa.select(ads_experiment_exposure.c.unit)
        return list(connection.scalars(units.order_by(ads_experiment_exposure.c.exposure_id)))


def test_what_was_told_is_written_soon_and_all_of_it_on_a_stop(
    store: sa.Engine, tmp_path: Path
) -> None:
    log = ExposureLog(store, tmp_path / "aside")
    log.start()
    threads = [
        threading.Thread(target=lambda n=n: [log.tell(met(n * 1_000 + k)) for k in range(700)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.stop()
    assert len(logged(store)) == len(set(logged(store))) == 5_600
    assert not (tmp_path / "aside").exists()


def test_an_exposure_is_written_once_by_however_many_processes_it_is_told(
    store: sa.Engine, tmp_path: Path
) -> None:
    logs = [ExposureLog(store, tmp_path / "aside") for _ in range(2)]
    for log in logs:
        assert [log.tell(met(n)) for n in (1, 2, 1)] == [True, True, False]
        assert log.flush()
    logs[0].tell(met(1, "free"))
    logs[0].flush()
    assert logged(store) == [met(n).unit for n in (1, 2, 1)]


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    with stoppable_server() as found:
        yield found


def test_while_the_store_is_gone_nothing_is_lost_and_the_next_process_writes_it(
    server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposure_log, "EVERY", 0.02)
    monkeypatch.setattr(exposure_log, "MOST_WAITING", 100)
    endpoint = server.endpoint()
    with fresh_database(endpoint) as url:
        engine = database.engine(url)
        database.migrate(engine)
        aside = tmp_path / "aside"
        log = ExposureLog(engine, aside)
        log.start()
        server.stop()
        for n in range(250):
            log.tell(met(n))
        for _ in range(1_000):
            if aside.exists() and list(aside.glob("*.jsonl")):
                break
            threading.Event().wait(0.02)
        assert log.is_late and log.waiting <= 250
        log.stop()
        kept = [line for path in aside.glob("*.jsonl") for line in path.read_text().splitlines()]
        assert len(kept) == 250 and all(len(json.loads(line)) == 6 for line in kept)
        assert {path.stat().st_mode & 0o777 for path in aside.glob("*.jsonl")} == {0o600}
        server.start()
        (aside / "broken.jsonl").write_text('["acme"]\n')
        again = ExposureLog(engine, aside)
        again.start()
        for _ in range(1_000):
            if not list(aside.glob("*.jsonl")):
                break
            threading.Event().wait(0.02)
        again.stop()
        assert sorted(logged(engine)) == sorted(met(n).unit for n in range(250))
        assert [path.name for path in aside.iterdir()] == ["broken.damaged"]
        engine.dispose()


def test_ids_are_committed_in_their_order(store: sa.Engine, tmp_path: Path) -> None:
    """Who has read up to an id has read all before it, however many processes write."""
    logs = [ExposureLog(store, tmp_path / "aside") for _ in range(4)]
    seen: list[int] = []
    done = threading.Event()

    def write(log: ExposureLog, first: int) -> None:
        for n in range(40):
            log.tell(met(first + n))
            log.flush()

    def look() -> None:
        own = ads_experiment_exposure.c.exposure_id
        while not done.is_set():
            with store.connect() as connection:
                newest = connection.scalar(sa.select(sa.func.max(own))) or 0
                many = connection.scalar(
                    sa.select(sa.func.count()).where(own <= newest)
                ) or 0  # fmt: skip
            seen.append(newest - many)

    watching = threading.Thread(target=look)
    watching.start()
    threads = [threading.Thread(target=write, args=(log, 1_000 * n)) for n, log in enumerate(logs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    watching.join()
    assert set(seen) == {0}
