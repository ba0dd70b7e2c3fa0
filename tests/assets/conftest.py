"""Fixtures of the tests that need Spark: one session for all, started when a test asks for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dmp_assets.home import Home
from dmp_assets.resources import spark as spark_module
from dmp_assets.resources.lakehouse import Lakehouse

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[SparkSession]":
    """The product's own Spark session, with one shuffle partition."""
    home = Home(tmp_path_factory.mktemp("spark_home")).prepare("sandbox")
    settings = home.settings().model_copy(
        update={"spark_memory": "1g", "spark_conf": {"spark.sql.shuffle.partitions": "1"}}
    )
    session = spark_module.session(settings, home.root / "spark")
    yield session
    session.stop()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty sandbox home of the test's own, named by DMP_HOME."""
    home = Home(tmp_path / "home").prepare("sandbox")
    monkeypatch.setenv("DMP_HOME", str(home.root))
    return home


@pytest.fixture
def lakehouse(home: Home, spark: "SparkSession") -> Lakehouse:
    """An empty lakehouse in that home, on the shared session."""
    return Lakehouse()
