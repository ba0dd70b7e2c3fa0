"""All systems at once, by the settings of `docs/scale.md`: the same tables."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from dmp_assets.platform.lake import commit_stores, java, s3a
from dmp_assets.platform.lake.tables import Tables
from tests.support import s3
from tests.support.dmp import ROOT, Dmp
from tests.support.kafka import KafkaServer, kafka_server
from tests.support.postgres import fresh_database, postgres_server
from tests.support.service import free_port, until
from tests.support.shops import Shop
from tests.support.spark_cluster import SparkCluster, connect_server, spark_cluster
from tests.support.table_hashes import OF_A_RUN, table_hashes

LOGS = {"raw/abuse_predictions", "raw/abuse_decisions"}
"""Tables that only a home with an operational store of its own has."""
OF_A_MODEL = {
    "model_version", "ml/model_registry.sha256", "ml/model_registry.reference_sample",
    "ml/model_registry.data_versions",
}  # fmt: skip
"""A model is called by what it was made of, among it the log that only a home with a store has."""
SCORED = 60
SURELY = 120


@dataclass(frozen=True)
class Installation:
    """What is running, and the settings that lead there."""

    spark: SparkCluster
    bucket: s3.Server
    broker: KafkaServer
    settings: Mapping[str, str]

    def hashes(self, prefix: str) -> dict[str, str]:
        """Those of all tables below a prefix of the bucket."""
        return hashes_of(self.bucket.tables(prefix))


def documented(places: Mapping[str, str]) -> dict[str, str]:
    """The settings of the chapter, with what tests have in the place of each address."""
    (said,) = re.findall(
        r"## All at once\n.*?```sh\n(.*?)```", (ROOT / "docs" / "scale.md").read_text(), re.S
    )
    settings = dict(re.findall(r"^export (\w+)=(.*)$", said, re.M))
    assert settings.keys() == places.keys()
    return dict(places)


def hashes_of(tables: Tables) -> dict[str, str]:
    """Those of all tables, but for what a model is called, which is all over its card."""
    keys = {*tables.written()} - {"ml/model_card"}
    return table_hashes(tables, without=OF_A_RUN | OF_A_MODEL, keys=keys)


@pytest.fixture(scope="module")
def alone(here: dict[str, str], folder: Path) -> dict[str, str]:
    """The same of the run on this machine alone."""
    assert here
    return hashes_of(Tables(str(folder / "here" / "lakehouse")))


@pytest.fixture(scope="module")
def installation(folder: Path) -> Iterator[Installation]:
    with ExitStack() as stack:
        spark = stack.enter_context(spark_cluster(folder / "all-spark"))
        bucket = stack.enter_context(s3.moto())
        broker = stack.enter_context(kafka_server())
        server = stack.enter_context(postgres_server())
        store, history, leases = (
            stack.enter_context(fresh_database(server)).get_secret_value() for _ in range(3)
        )
        settings = documented(
            {
                "DMP_SPARK_MASTER": spark.url,
                "DMP_SPARK_CONF": json.dumps({"spark.executor.memory": "700m"}),
                "DMP_LAKEHOUSE_ROOT": f"s3://{s3.BUCKET}/all",
                "DMP_S3_ENDPOINT": bucket.url,
                "DMP_S3_ACCESS_KEY_ID": bucket.key_id,
                "DMP_S3_SECRET_ACCESS_KEY": bucket.secret,
                "DMP_STORE_URL": store,
                "DMP_DAGSTER_DATABASE_URL": history,
                "DMP_LEASE_DATABASE_URL": leases,
                "DMP_KAFKA_BOOTSTRAP_SERVERS": broker.servers,
                "DMP_KAFKA_REPLICATION": "1",
            }
        )
        yield Installation(spark, bucket, broker, settings)


@pytest.fixture(scope="module")
def home(shop: Shop, installation: Installation, folder: Path) -> Dmp:
    dmp = shop.home(folder / "all", folder / "project", installation.settings)
    for command in (("migrate",), ("stream", "topics")):
        done = dmp(*command)
        assert done.code == 0, done.text
    return dmp


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> set[str]:
    """Tables that are not the same in both, the service's logs aside."""
    keys = (one.keys() | other.keys()) - LOGS
    return {key for key in keys if one.get(key) != other.get(key)}


def test_everything_at_once_makes_the_same_tables(
    home: Dmp, installation: Installation, alone: dict[str, str]
) -> None:
    ran = home("run", "--json")
    assert ran.code == 0, ran.text
    assert differing(installation.hashes("all"), alone) == set()
    assert "Registered app dmp_assets" in installation.spark.said("master")
    assert not (home.root / "lakehouse").exists()
    assert not list(home.home.dagster.glob("history/**/*.db"))
    doctor = home("doctor").text
    for word in ("2 cores on", "may list, write, read and delete", "Kafka"):
        assert word in doctor, doctor
    again = home("run", "--json")
    assert again.code == 0, again.text
    assert "java" not in again.watched.programs


@contextmanager
def serving(home: Dmp) -> Iterator[str]:
    """Address of `dmp api` of the home."""
    port = free_port()
    log = home.root / "api.log"
    with log.open("wb") as said:
        child = subprocess.Popen(
            [str(Path(ROOT) / ".venv" / "bin" / "dmp"), "api"],
            env=home.env({"DMP_API_PORT": str(port)}), stdout=said, stderr=said,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert child.poll() is None, log.read_text()[-2000:]
        try:
            return httpx.get(f"{address}/health/live", trust_env=False).is_success
        except httpx.TransportError:
            return False

    try:
        until(answers, SURELY)
        yield address
    finally:
        child.terminate()
        child.wait(timeout=SURELY)


def test_scores_of_a_service_on_it_reach_the_bucket_once(
    home: Dmp, installation: Installation
) -> None:
    added = home("client", "add", "checkout", "--scope", "abuse:score")
    assert added.code == 0, added.text
    key = added.out.split()[-1]
    with serving(home) as address:
        accounts = [{"account_ref": f"new-{n}", "email": f"n{n}@example.org"} for n in
                    range(SCORED)]  # fmt: skip

        def scores() -> bool:
            answer = httpx.post(
                f"{address}/v1/abuse/score", json={"accounts": accounts}, timeout=60,
                headers={"Authorization": f"Bearer {key}", "Idempotency-Key": "once"},
                trust_env=False,
            )  # fmt: skip
            assert answer.status_code in (200, 503), answer.text
            return answer.status_code == 200

        until(scores, SURELY)
        until(lambda: "0 rows wait" in home("stream", "status").text, SURELY)
    landed = home("stream", "--once")
    assert landed.code == 0, landed.text
    tables = installation.bucket.tables("all")
    counted = "SELECT count(*), count(DISTINCT prediction_id), count(kafka_offset) FROM {}"
    (row,) = tables.sql(counted.format("raw.abuse_predictions")).to_pylist()
    assert set(row.values()) == {SCORED}
    again = home("run", "--json")
    assert again.code == 0, again.text
    assert installation.bucket.tables("all").scalar(
        "SELECT count(*) FROM raw.abuse_predictions"
    ) == SCORED  # fmt: skip


def test_a_connect_server_on_the_cluster_makes_them_too(
    shop: Shop, installation: Installation, alone: dict[str, str], folder: Path
) -> None:
    """Its master is the cluster; it has S3's JARs, credentials and our way to commit itself."""
    root = f"s3://{s3.BUCKET}/connected"
    settings = {
        name: value
        for name, value in installation.settings.items()
        if not name.startswith(("DMP_SPARK", "DMP_KAFKA"))
    } | {"DMP_LAKEHOUSE_ROOT": root}
    dmp = shop.home(folder / "all-connected", folder / "project", settings)
    told = {
        **commit_stores.CONF,
        "spark.executor.memory": "700m",
        "spark.hadoop.fs.s3a.endpoint": installation.bucket.url,
        "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        "spark.hadoop.fs.s3a.checksum.generation": "false",
        "spark.hadoop.fs.s3a.access.key": installation.bucket.key_id,
        "spark.hadoop.fs.s3a.secret.key": installation.bucket.secret,
    }
    jars = [*java.jar_paths(), *java.jar_paths(s3a.JARS),
            str(commit_stores.jar(folder / "commits"))]  # fmt: skip
    told |= {"spark.jars": ",".join(jars)}
    with connect_server(
        folder / "all-connect", conf=told, jars=jars, master=installation.spark.url
    ) as url:
        ran = dmp("run", "--json", env={"DMP_SPARK_REMOTE": url})
        assert ran.code == 0, ran.text
    assert differing(installation.hashes("connected"), alone) == set()
    assert "java" not in ran.watched.programs
