"""What the tests beyond one machine share: one simulated shop, and its tables as made here."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark import SparkContext

from tests.support.postgres import fresh_database, postgres_server
from tests.support.shops import Shop, simulated
from tests.support.table_hashes import table_hashes

USERS = 1_000
"""Of the simulated shop."""


@pytest.fixture(scope="module", autouse=True)
def _no_spark_of_others() -> Iterator[None]:
    """A module's session in this process ends with it: the next would be given the same."""
    yield
    if (left := SparkContext._active_spark_context) is not None:
        left.stop()


@pytest.fixture(scope="session")
def shop(folder: Path) -> Iterator[Shop]:
    """One simulated shop for all homes."""
    with postgres_server() as endpoint, fresh_database(endpoint) as url:
        yield simulated(folder / "shop", url.get_secret_value(), USERS)


@pytest.fixture(scope="session")
def here(folder: Path, shop: Shop) -> dict[str, str]:
    """The tables of a run on this machine alone, as hashes."""
    dmp = shop.home(folder / "here", folder / "project", {})
    ran = dmp("run", "--json")
    assert ran.code == 0, ran.text
    return table_hashes(dmp.tables)
