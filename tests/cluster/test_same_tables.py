"""Tables do not depend on the order in which rows lie in files, nor on how many tasks read them."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import CommitProperties, write_deltalake

from dmp_assets.platform.lake.tables import STAMP, Tables
from tests.support.shops import Shop
from tests.support.table_hashes import table_hashes

FILES = 3


def scattered(rows: pa.Table, seed: int) -> Iterator[pa.Table]:
    """The rows in another order, in several parts."""
    mixed = rows.take(pa.array(np.random.default_rng(seed).permutation(rows.num_rows)))
    size = max(1, -(-mixed.num_rows // FILES))
    for start in range(0, max(mixed.num_rows, 1), size):
        yield mixed.slice(start, size)


def scatter(tables: Tables, key: str, seed: int) -> None:
    """Write a table's rows once more as such parts; its stamp says that nothing is new."""
    stamp = {name: said for name, said in tables.stamp(key).items() if name != "delta_version"}
    noted = CommitProperties(custom_metadata={STAMP: json.dumps(stamp)})
    rows = tables.dataset(key).to_table()
    for n, part in enumerate(scattered(rows, seed)):
        write_deltalake(
            tables.path(key), part, mode="append" if n else "overwrite", commit_properties=noted
        )


@pytest.mark.parametrize("seed", [1])
def test_rows_in_another_order_and_other_tasks_make_the_same_tables(
    shop: Shop, here: dict[str, str], folder: Path, seed: int
) -> None:
    dmp = shop.home(folder / f"scattered-{seed}", folder / "project", {})
    received = dmp("run", "--select", 'key:"raw/*"', "--json")
    assert received.code == 0, received.text
    for key in dmp.tables.written():
        scatter(dmp.tables, key, seed)
    other = {
        "DMP_SPARK_MASTER": "local[1]",
        "DMP_SPARK_CONF": json.dumps({"spark.sql.shuffle.partitions": "5"}),
    }
    ran = dmp("run", "--json", env=other)
    assert ran.code == 0, ran.text
    assert not {key for key in ran.made() if key.startswith("raw/")}
    found = table_hashes(dmp.tables)
    assert {key for key in here.keys() | found.keys() if here.get(key) != found.get(key)} == set()
