"""The whole job on a real standalone cluster and over Spark Connect: the same tables as here.

And what is lost on the way: workers, the driver, the master, JARs, packages.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from dmp_assets.home import Home
from dmp_assets.platform.lake import spark as engine
from dmp_assets.platform.lake import spark_cluster as cluster_module
from dmp_assets.platform.lake.spark_cluster import ClusterError
from tests.support.dmp import Dmp
from tests.support.shops import Shop
from tests.support.spark_cluster import (
    SparkCluster,
    connect_server,
    free_port,
    spark_cluster,
    stop,
)
from tests.support.table_hashes import table_hashes

EXECUTORS = json.dumps({"spark.executor.memory": "700m", "spark.executor.cores": "1"})
OF_SHOP = ("--select", "group:shop")
"""What Spark does of the shop: received and cleaned tables."""


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[SparkCluster]:
    """Two workers of a core each."""
    with spark_cluster(folder / "spark") as started:
        yield started


@pytest.fixture(scope="module")
def connect(folder: Path) -> Iterator[str]:
    """URL of a Spark Connect server on two cores."""
    with connect_server(folder / "connect-server") as url:
        yield url


def at(cluster: SparkCluster, **more: str) -> dict[str, str]:
    """The settings of a home whose Spark is that cluster."""
    return {"DMP_SPARK_MASTER": cluster.url, "DMP_SPARK_CONF": EXECUTORS, **more}


def differing(one: dict[str, str], other: dict[str, str]) -> set[str]:
    """Tables that are not the same in both."""
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


def until(is_so: Callable[[], object], seconds: float = 240.0) -> None:
    last = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < last, "it did not come about"
        time.sleep(0.2)


def jvms_of(pid: int) -> list[int]:
    """The JVMs below a process."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(pid).children(recursive=True)
        return [one.pid for one in family if one.name() == "java"]
    return []


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
    shop: Shop, here: dict[str, str], connect: str, folder: Path
) -> None:
    conf = json.dumps({"spark.executor.memory": "4g", "spark.sql.shuffle.partitions": "3"})
    dmp = shop.home(
        folder / "connect",
        folder / "project",
        {"DMP_SPARK_REMOTE": connect, "DMP_SPARK_CONF": conf},
    )
    ran = dmp("run", "--json")
    assert ran.code == 0, ran.text
    assert differing(table_hashes(dmp.tables), here) == set()
    assert "java" not in ran.watched.programs


def test_doctor_says_what_a_cluster_offers(shop: Shop, cluster: SparkCluster, folder: Path) -> None:
    dmp = shop.home(folder / "doctor", folder / "project", at(cluster))
    said = next(line for line in dmp("doctor").out.splitlines() if " Spark:" in line)
    assert said.startswith("✓") and "2 cores on" in said and "700m an executor" in said, said


def test_doctor_says_what_executors_lack_and_the_packed_file_gives_it(
    shop: Shop, cluster: SparkCluster, folder: Path
) -> None:
    """A Python of the system has neither our packages nor pyarrow."""
    dmp = shop.home(folder / "packed", folder / "project", at(cluster))
    bare = next(line for line in _doctor(dmp, PYSPARK_PYTHON=_bare_python()) if " Spark:" in line)
    assert bare.startswith("✗") and "dmp spark pack" in bare, bare
    file = folder / "executors.pex"
    packed = dmp("spark", "pack", str(file))
    assert packed.code == 0, packed.text
    told = _doctor(dmp, DMP_SPARK_ARCHIVE=str(file), PYSPARK_PYTHON=_bare_python())
    good = next(line for line in told if " Spark:" in line)
    assert good.startswith("✓"), good
    with connect_server(folder / "bare-python", memory="600m", python=_bare_python()) as url:
        remote = {"DMP_SPARK_MASTER": "", "DMP_SPARK_REMOTE": url}
        bare = next(line for line in _doctor(dmp, **remote) if " Spark:" in line)
        assert bare.startswith("✗") and "dmp spark pack" in bare, bare
        told = _doctor(dmp, **remote, DMP_SPARK_ARCHIVE=str(file))
        good = next(line for line in told if " Spark:" in line)
        assert good.startswith("✓"), good


def _bare_python() -> str:
    """The interpreter under this environment, without its packages."""
    return os.path.realpath(f"{os.environ.get('VIRTUAL_ENV', '.venv')}/bin/python")


def _doctor(dmp: Dmp, **more: str) -> list[str]:
    return dmp("doctor", env=more).out.splitlines()


def test_a_master_that_is_not_there_is_named_and_nothing_is_lost(shop: Shop, folder: Path) -> None:
    dmp = shop.home(folder / "nowhere", folder / "project", {})
    assert dmp("run", *OF_SHOP, "--json").code == 0
    before = table_hashes(dmp.tables)
    port = free_port()
    wrong = {"DMP_SPARK_MASTER": f"spark://127.0.0.1:{port}", "DMP_PHONE_REGION": "FR"}
    began = time.monotonic()
    failed = dmp("run", *OF_SHOP, env=wrong)
    assert failed.code == 1
    assert f"nothing answers at 127.0.0.1:{port}" in failed.text
    assert "DMP_SPARK_MASTER" in failed.text and "Traceback" not in failed.out
    assert time.monotonic() - began < 120
    assert table_hashes(dmp.tables) == before


def test_a_worker_that_is_killed_is_replaced_and_the_run_goes_on(
    shop: Shop, here: dict[str, str], cluster: SparkCluster, folder: Path
) -> None:
    dmp = shop.home(folder / "killed-worker", folder / "project", at(cluster))
    apps = cluster.said("master").count("Registered app dmp_assets")
    child = dmp.start("run", *OF_SHOP, "--json")
    until(lambda: cluster.said("master").count("Registered app dmp_assets") > apps)
    until(lambda: any(key.startswith("raw/") for key in dmp.tables.written()))
    for worker in list(cluster.workers):
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    cluster.start_worker()
    cluster.start_worker()
    out, err = child.communicate(timeout=600)
    assert child.returncode == 0, f"{out}{err}"
    found = table_hashes(dmp.tables)
    assert differing(found, {key: here[key] for key in found}) == set()


def test_a_driver_that_is_killed_leaves_good_tables_and_the_next_run_goes_on(
    shop: Shop, here: dict[str, str], cluster: SparkCluster, folder: Path
) -> None:
    dmp = shop.home(folder / "killed-driver", folder / "project", at(cluster))
    child = dmp.start("run", *OF_SHOP)
    until(lambda: any(key.startswith("cleaned/") for key in dmp.tables.written()))
    for pid in jvms_of(child.pid):
        os.kill(pid, signal.SIGKILL)
    out, err = child.communicate(timeout=600)
    assert child.returncode == 1, f"{out}{err}"
    said = " ".join(f"{out} {err}".split())
    assert "Spark's JVM ended" in said, said
    found = table_hashes(dmp.tables)
    assert differing(found, {key: here[key] for key in found}) == set()
    again = dmp("run", *OF_SHOP, "--json")
    assert again.code == 0, again.text
    whole = table_hashes(dmp.tables)
    assert whole.keys() > found.keys()
    assert differing(whole, {key: here[key] for key in whole}) == set()


def test_a_connect_server_without_delta_is_told_so(shop: Shop, folder: Path) -> None:
    with connect_server(folder / "bare-server", jars=[], memory="600m") as url:
        dmp = shop.home(folder / "no-jars", folder / "project", {"DMP_SPARK_REMOTE": url})
        failed = dmp("run", *OF_SHOP)
        assert failed.code == 1
        assert "was started without Delta Lake" in failed.text, failed.text
        (spark,) = [line for line in _doctor(dmp) if " Spark:" in line]
        assert spark.startswith("✗") and "Delta Lake" in spark


def test_what_an_earlier_version_wrote_with_a_collation_is_mended_by_the_next_run(
    shop: Shop, connect: str, folder: Path
) -> None:
    dmp = shop.home(folder / "collated", folder / "project", {})
    assert dmp("run", *OF_SHOP, "--json").code == 0
    before = table_hashes(dmp.tables)
    path = Path(dmp.tables.path("cleaned/promo_codes"))
    log = sorted((path / "_delta_log").glob("*.json"))
    schema = log[0].read_text()
    log[0].write_text(schema.replace('\\"string\\"', '\\"string collate UTF8_BINARY\\"'))
    told = dmp("show", "cleaned/promo_codes")
    assert told.code == 1 and "only Spark reads" in told.text, told.text
    mended = dmp("run", *OF_SHOP, "--json", env={"DMP_SPARK_REMOTE": connect})
    assert mended.code == 0, mended.text
    assert differing(table_hashes(dmp.tables), before) == set()


def test_jobs_that_nobody_does_are_cancelled_in_words(folder: Path, tmp_path: Path) -> None:
    with spark_cluster(folder / "no-workers", workers=0) as alone:
        settings = (
            Home(tmp_path)
            .settings()
            .model_copy(update={"spark_master": alone.url, "spark_memory": "600m"})
        )
        spark = engine.session(settings, tmp_path / "scratch")
        try:
            cluster_module.watch(spark, patience=5)
            with pytest.raises(Exception, match="the cluster has given no executor for 5 s"):
                spark.range(1).count()
        finally:
            spark.stop()


def test_a_driver_whose_master_is_gone_says_so(folder: Path, tmp_path: Path) -> None:
    with spark_cluster(folder / "gone", workers=0) as leaving:
        stop(leaving.master)
        settings = Home(tmp_path).settings().model_copy(update={"spark_master": leaving.url})
        with pytest.raises(ClusterError, match="nothing answers at"):
            engine.session(settings, tmp_path / "scratch")
