"""Fixtures of the tests that need Spark: one session for all, started when a test asks for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dmp_assets.home import Home
from dmp_assets.platform.lake import spark as spark_module
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.postgres.embedded import Endpoint
from tests.support.postgres import postgres_server
from tests.support.things import Frame, arrow, spark_frame

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


ONE_TASK = {
    "spark.master": "local[1]",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "1",
}


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[SparkSession]":
    """The product's own Spark session, with one task at a time: its tables are of a few rows."""
    home = Home(tmp_path_factory.mktemp("spark_home")).prepare("sandbox")
    settings = home.settings().model_copy(update={"spark_memory": "1g", "spark_conf": ONE_TASK})
    session = spark_module.session(settings, home.root / "spark")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Endpoint]:
    """One embedded PostgreSQL for all tests that need one."""
    with postgres_server() as endpoint:
        yield endpoint


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty sandbox home of the test's own, named by DMP_HOME."""
    home = Home(tmp_path / "home").prepare("sandbox")
    monkeypatch.setenv("DMP_HOME", str(home.root))
    return home


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """No shop is small: Delta's own reader and writer do what they do for large ones."""
    monkeypatch.setattr(spark_module, "SMALL", -1)


@pytest.fixture
def lakehouse(home: Home, spark: "SparkSession") -> Lakehouse:
    """An empty lakehouse in that home, on the shared session."""
    return Lakehouse()


@pytest.fixture(params=["spark", "collected", "delta-rs"])
def frame(request: pytest.FixtureRequest, spark: "SparkSession", lakehouse: Lakehouse) -> Frame:
    """Makes rows that Spark writes, that it computes and delta-rs writes, or Arrow has."""
    lakehouse.expect(spark_module.SMALL + 1 if request.param == "spark" else 0)
    return arrow if request.param == "delta-rs" else spark_frame(spark)
