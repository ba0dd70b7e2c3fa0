"""What Spark is told: by the size of the data, by where it runs, by the user; without a JVM."""

import re
import socket
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pyspark.errors import PySparkException

from dmp_assets.platform.config import connection_urls
from dmp_assets.platform.lake import spark_cluster, spark_conf, spark_lost, spark_pack
from dmp_assets.platform.lake.spark_cluster import ClusterError
from dmp_assets.settings import load

DOCS = Path(__file__).resolve().parents[4] / "docs" / "scale.md"


def test_a_small_shop_is_tuned_alike_on_a_cluster_and_here() -> None:
    here = spark_conf.by_size(1_000, is_small=True, cores=2)
    assert spark_conf.by_size(1_000, is_small=True, cores=None) == here
    assert here["spark.sql.shuffle.partitions"] == "2"
    assert here["spark.sql.adaptive.enabled"] == "false"


def test_tasks_grow_with_the_rows_and_never_fall_below_the_cores() -> None:
    def tasks(rows: int, cores: int | None) -> int:
        conf = spark_conf.by_size(rows, is_small=False, cores=cores)
        assert "spark.sql.adaptive.enabled" not in conf
        return int(conf["spark.sql.shuffle.partitions"])

    assert [tasks(rows, 8) for rows in (300_000, 1_000_000, 40_000_000)] == [8, 8, 20]
    assert tasks(40_000_000, None) == 80


def test_the_documentation_names_the_tuning_by_size() -> None:
    listed = re.findall(
        r"^\| (?:up to )?([\d,]+) \| ([\d,]+) \| \w+ \| (\d+) \|", DOCS.read_text(), re.M
    )
    assert len(listed) == 5
    for rows, tasks, parts in listed:
        count = int(rows.replace(",", ""))
        conf = spark_conf.by_size(count, is_small=count <= 200_000, cores=None)
        assert conf["spark.sql.shuffle.partitions"] == tasks.replace(",", "")
        assert conf["spark.databricks.delta.snapshotPartitions"] == parts


@pytest.mark.parametrize(
    ("given", "is_here"),
    [
        ({}, True),
        ({"spark_master": ""}, True),
        ({"spark_master": "local[3]"}, True),
        ({"spark_master": "spark://a:7077"}, False),
        ({"spark_remote": "sc://a"}, False),
        ({"spark_master": "local[3]", "spark_remote": "sc://a"}, False),
    ],
)
def test_where_spark_runs_follows_from_the_settings(given: dict[str, str], is_here: bool) -> None:
    settings = load(sandbox=False, overrides=given)
    assert spark_conf.runs_here(settings) is is_here
    if is_here:
        wanted = 3 if settings.spark_master else spark_conf.cores_here(load(sandbox=False))
        assert spark_conf.cores_here(settings) == wanted


def test_lists_of_a_user_are_added_to_ours_and_all_else_replaces_it() -> None:
    ours = {"spark.jars": "a.jar", "spark.driver.memory": "2g", "spark.sql.extensions": "Delta"}
    theirs = {"spark.jars": "b.jar", "spark.driver.memory": "8g", "spark.files": "f"}
    assert spark_conf.joined(ours, theirs) == {
        "spark.jars": "a.jar,b.jar", "spark.driver.memory": "8g", "spark.sql.extensions": "Delta",
        "spark.files": "f",
    }  # fmt: skip


def test_several_masters_are_tried_and_ours_is_the_address_that_one_of_them_sees() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listens, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed, port = nobody.getsockname()[1], listens.getsockname()[1]
        address = connection_urls.spark_master(f"spark://127.0.0.1:{closed},127.0.0.1:{port}")
        listed = spark_cluster.masters(address)
        assert listed == [("127.0.0.1", closed), ("127.0.0.1", port)]
        assert spark_cluster.reached(listed, "DMP_SPARK_MASTER") == "127.0.0.1"
        with pytest.raises(ClusterError, match=rf"127.0.0.1:{closed}.*see DMP_SPARK_MASTER"):
            spark_cluster.reached(listed[:1], "DMP_SPARK_MASTER")
    assert spark_cluster.masters("yarn") == spark_cluster.masters("k8s://https://a:443") == []


def test_an_archive_that_is_not_there_is_named_with_how_to_make_it(tmp_path: Path) -> None:
    file = tmp_path / "executors.pex"
    with pytest.raises(ClusterError, match="dmp spark pack"):
        spark_cluster.packed(str(file))
    file.write_bytes(b"")
    assert spark_cluster.packed(str(file)) == "executors.pex"
    assert spark_cluster.packed("hdfs://nodes/dmp/executors.pex") == "executors.pex"


_EXECUTED = (
    "dmp_assets.platform.cleaning.reading", "dmp_assets.cleaned.shop.normal_batches",
    "dmp_assets.attribution.model.batches", "pyspark.worker",
)  # fmt: skip


def test_what_executors_import_is_packed() -> None:
    listed = (
        f"import sys, {', '.join(_EXECUTED)}; print(*{{m.partition('.')[0] for m in sys.modules}})"
    )
    said = subprocess.run(
        [sys.executable, "-c", listed], capture_output=True, text=True, check=True
    )
    known = packages_distributions()
    wanted = {canonicalize_name(name) for top in said.stdout.split() for name in known.get(top, ())}
    packed = {canonicalize_name(Requirement(text).name) for text in spark_pack.PACKAGES}
    # pyspark and what lies in its own archives come from the executors' Spark.
    brought = {"dmp-assets", "pyspark", "py4j", "cloudpickle", "setuptools", "ua-parser-rs"}
    assert wanted - brought <= packed


def test_a_jvm_that_is_killed_is_told_in_words_and_no_value_with_it(tmp_path: Path) -> None:
    """In a process of its own: the session of this one is others', too."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path)], capture_output=True, text=True
    )
    assert done.stdout.strip().endswith(
        "Spark's JVM ended: it was killed, or the machine had no memory left for it. Every table "
        "is as its last good version; the next run goes on"
    ), f"{done.stdout}{done.stderr}"


_KILLED = """
import os, signal, sys
from pathlib import Path
from dmp_assets.home import Home
from dmp_assets.platform.lake import spark
from dmp_assets.platform.lake.spark_lost import SparkLostError, told_in_words

home = Home(Path(sys.argv[1]) / "home").prepare("sandbox")
settings = home.settings().model_copy(
    update={"spark_memory": "600m", "spark_conf": {"spark.master": "local[1]"}}
)
started = spark.session(settings, home.root / "spark")
process = started.sparkContext._gateway.proc
os.kill(process.pid, signal.SIGKILL)
process.wait()
try:
    with told_in_words():
        started.range(1).count()
except SparkLostError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("ModuleNotFoundError: No module named 'dmp_assets'", "lacks dmp_assets.*dmp spark pack"),
        ('Cannot run program "./executors.pex"', "no Python at ./executors.pex"),
        ("[PYTHON_VERSION_MISMATCH] Python in worker", "another Python"),
        ("java.io.InvalidClassException: local class incompatible", "another version of Spark"),
        ("Job 3 cancelled the cluster has given no executor for 180 s", "no worker lives"),
        ("division by 'ann@example.org'", None),
    ],
)
def test_what_spark_says_of_a_cluster_is_told_in_words(said: str, told: str | None) -> None:
    found = spark_lost.why(PySparkException(said))
    assert (found is None) is (told is None)
    assert told is None or re.search(told, str(found))
    assert spark_lost.why(ValueError(said)) is None
