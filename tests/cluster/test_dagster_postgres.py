"""Real runs whose history is in PostgreSQL, which is restarted meanwhile; two homes share it."""

import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psycopg
import pytest

from dmp_assets.demo.business import shop as demo_shop
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres, Endpoint
from tests.support.dmp import Dmp
from tests.support.postgres import fresh_database, postgres_server, stoppable_server

SHOP, RAW = "group:shop", 'key:"raw/*" and group:shop'


@pytest.fixture(scope="module")
def server() -> Iterator[Endpoint]:
    with postgres_server() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def history() -> Iterator[EmbeddedPostgres]:
    """The server of the history, whose disk is waited for as an installation's is."""
    with stoppable_server(durable=True) as running:
        yield running


@pytest.fixture(scope="module")
def homes(folder: Path, server: Endpoint, history: EmbeddedPostgres) -> Iterator[tuple[Dmp, Dmp]]:
    made = demo_shop.generate(folder / "shop", users=150, seed=3, end=date(2024, 3, 31), dirt=0)
    with fresh_database(server) as shop:
        given = {
            "DMP_SHOP_DATABASE_URL": shop.get_secret_value(),
            "DMP_SPARK_MEMORY": "700m",
            "DMP_DAGSTER_DATABASE_URL": history.endpoint().url("postgres").get_secret_value(),
            "DMP_SOURCE_LIMITS": '{"shop": 1}',
        }
        one, two = (Dmp(folder / name, folder / "project", given) for name in ("h-one", "h-two"))
        loaded = one("load-shop", str(made.export))
        assert loaded.code == 0, loaded.text
        yield one, two


def test_a_run_goes_on_when_its_history_was_away(
    homes: tuple[Dmp, Dmp], history: EmbeddedPostgres
) -> None:
    dmp, _ = homes
    restarted = threading.Event()

    def restart() -> None:
        while not (dmp.root / "lakehouse" / "raw").exists():
            time.sleep(0.05)
        history.stop()
        time.sleep(3)
        history.start()
        restarted.set()

    threading.Thread(target=restart, daemon=True).start()
    ran = dmp("run", "--json", "--select", SHOP)
    assert restarted.is_set()
    assert ran.code == 0, ran.text
    assert "cleaned/users" in ran.made()
    again = dmp("run", "--json", "--select", SHOP)
    assert again.code == 0, again.text
    assert not again.made()
    assert "java" not in again.watched.programs
    assert not list(dmp.home.dagster.glob("history/**/*.db"))


def test_two_homes_share_a_history_and_the_limit_of_a_source(
    homes: tuple[Dmp, Dmp], history: EmbeddedPostgres
) -> None:
    url = history.endpoint().url("postgres").get_secret_value()
    running = [dmp.start("run", "--select", RAW, env={"DMP_MAX_BAD_SHARE": "0.3"})
               for dmp in reversed(homes)]  # fmt: skip
    most, connections = 0, 0
    with psycopg.connect(url, autocommit=True) as connection:
        while any(process.poll() is None for process in running):
            most = max(
                most,
                _count(
                    connection,
                    "SELECT count(*) FROM concurrency_slots "
                    "WHERE run_id IS NOT NULL AND deleted = false",
                ),
            )
            connections = max(connections, _count(
                connection, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dmp'"
            ))  # fmt: skip
            time.sleep(0.05)
        assert [_code(process) for process in running] == [0, 0]
        runs = _count(connection, "SELECT count(*) FROM runs WHERE status = 'SUCCESS'")
        assert most == 1
        assert 0 < connections <= 4 * 4  # a parent and a child each
        assert runs == 4


def _count(connection: psycopg.Connection[tuple[int]], query: str) -> int:
    (count,) = connection.execute(query).fetchone() or (0,)
    return count


def _code(process: "subprocess.Popen[str]") -> int:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, f"{out}\n{err}"
    return process.returncode
