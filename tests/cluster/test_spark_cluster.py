"""The whole job on a real standalone cluster and over Spark Connect: the same tables as here."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import fresh_database, postgres_server
from tests.support.shops import Shop, simulated
from tests.support.spark_cluster import SparkCluster, connect_server, spark_cluster
from tests.support.table_hashes import table_hashes

USERS = 1_000
EXECUTORS = json.dumps({"spark.executor.memory": "700m", "spark.executor.cores": "1"})


@pytest.fixture(scope="module")
def shop(folder: Path) -> Iterator[Shop]:
    """One simulated shop for all homes."""
    with postgres_server() as endpoint, fresh_database(endpoint) as url:
        yield simulated(folder / "shop", url.get_secret_value(), USERS)


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[SparkCluster]:
    """Two workers of a core each."""
    with spark_cluster(folder / "spark") as started:
        yield started


@pytest.fixture(scope="module")
def here(folder: Path, shop: Shop) -> dict[str, str]:
    """The tables of a run on this machine alone, as hashes."""
    dmp = shop.home(folder / "here", folder / "project", {})
    ran = dmp("run", "--json")
    assert ran.code == 0, ran.text
    return table_hashes(dmp.tables)


def at(cluster: SparkCluster, **more: str) -> dict[str, str]:
    """The settings of a home whose Spark is that cluster."""
    return {"DMP_SPARK_MASTER": cluster.url, "DMP_SPARK_CONF": EXECUTORS, **more}


def differing(one: dict[str, str], other: dict[str, str]) -> set[str]:
    """Tables that are not the same in both."""
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


def test_a_cluster_makes_the_same_tables(
    shop: Shop, here: dict[str, str], cluster: SparkCluster, folder: Path
) -> None:
    events = folder / "events"
    dmp = shop.home(
        folder / "cluster", folder / "project", at(cluster, DMP_SPARK_EVENT_LOG=str(events))
    )
    ran = dmp("run", "--json")
    assert ran.code == 0, ran.text
    assert differing(table_hashes(dmp.tables), here) == set()
    assert "Registered app dmp_assets" in cluster.said("master")
    assert list(events.iterdir())
    again = dmp("run", "--json")
    assert again.code == 0 and not {key for key in again.made() if key.startswith("cleaned/")}


def test_spark_connect_makes_the_same_tables(
    shop: Shop, here: dict[str, str], folder: Path
) -> None:
    with connect_server(folder / "connect-server") as url:
        conf = json.dumps({"spark.executor.memory": "4g", "spark.sql.shuffle.partitions": "3"})
        dmp = shop.home(
            folder / "connect", folder / "project",
            {"DMP_SPARK_REMOTE": url, "DMP_SPARK_CONF": conf},
        )  # fmt: skip
        ran = dmp("run", "--json")
        assert ran.code == 0, ran.text
        assert differing(table_hashes(dmp.tables), here) == set()
