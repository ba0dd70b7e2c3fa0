"""Spark Connect: a session on somebody's Spark server, over gRPC.

The server brings Spark, Delta's JARs and the PostgreSQL driver; of the settings those of a session
are ours. Protocol: https://spark.apache.org/docs/latest/spark-connect-overview.html.
"""

import logging
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.errors import AnalysisException, PySparkException, PySparkImportError

from dmp_assets.platform.lake import spark_cluster, spark_conf
from dmp_assets.platform.lake.spark_cluster import ClusterError
from dmp_assets.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

_DEFAULT_PORT = 15002
_TRIES = 6
"""Of one request that finds no server: half a minute in all. The client's own are ten minutes."""
_HADOOP = "spark.hadoop."
_PYTHON = "spark.sql.execution.pyspark.python"
CLASSES = {
    "org.postgresql.Driver": "the PostgreSQL driver (postgresql-…jar)",
    "io.delta.sql.DeltaSparkSessionExtension": "Delta Lake (delta-spark_…jar, delta-storage-…jar)",
}


def session(settings: Settings, *, rows: int, is_small: bool) -> "SparkSession":
    """A session on the server of `spark_remote`, tuned for a shop of about so many rows.

    What the server decides alone stays as it is there and is named in the log. Raises ClusterError
    where no server answers, the client's packages are missing, or the server has no Delta Lake.
    """
    from pyspark.sql import SparkSession

    address = settings.spark_remote or ""
    parts = urllib.parse.urlsplit(address.partition("/;")[0])
    place = (str(parts.hostname), parts.port or _DEFAULT_PORT)
    spark_cluster.reached([place], "DMP_SPARK_REMOTE")
    try:
        spark = SparkSession.builder.remote(address).getOrCreate()
        patient(spark)
        version = spark.version
    except PySparkImportError as error:
        raise ClusterError(
            "Spark Connect needs further Python packages (grpcio-status, zstandard); install the "
            "extra `connect`: `.venv/bin/uv sync --frozen --inexact --extra connect`"
        ) from error
    except PySparkException as error:
        raise ClusterError(
            f"{place[0]}:{place[1]} does not answer as a Spark Connect server "
            f"({innermost(error)}); see DMP_SPARK_REMOTE"
        ) from error
    log.info("Spark %s by Spark Connect", version)
    if extension_missing(spark):
        raise ClusterError(
            f"the Spark Connect server at {place[0]}:{place[1]} was started without Delta Lake: "
            f"it needs the JARs and spark.sql.extensions={spark_conf.EXTENSION}, "
            f"spark.sql.catalog.spark_catalog={spark_conf.CATALOG}"
        )
    ours = spark_conf.of_session() | spark_conf.by_size(rows, is_small=is_small, cores=None)
    wanted = spark_conf.joined(ours | spark_conf.event_log(settings), settings.spark_conf)
    if refused := configured(spark, wanted):
        log.warning(
            "the Spark Connect server decides these itself, so no setting of ours does: %s; they "
            "belong where it is started",
            ", ".join(refused),
        )
    if settings.spark_archive:
        _send(spark, settings.spark_archive)
    return spark


def patient(spark: "SparkSession") -> None:
    """Bound how long a request waits for a server that is gone."""
    from pyspark.sql.connect.client.retries import DefaultPolicy

    client: Any = spark.client
    client.set_retry_policies([DefaultPolicy(max_retries=_TRIES, max_backoff=8_000)])


def configured(spark: "SparkSession", conf: Mapping[str, str]) -> list[str]:
    """Set what a session may set; the names of what it may not.

    Hadoop's settings (`spark.hadoop.…`) are known to a session without that beginning.
    """
    refused = []
    for name, value in conf.items():
        if spark.conf.get(name, None) == value:
            continue
        try:
            spark.conf.set(name.removeprefix(_HADOOP), value)
        except AnalysisException:
            refused.append(name)
    return refused


def extension_missing(spark: "SparkSession") -> bool:
    """Whether the server was started without Delta's part of SQL."""
    return spark_conf.EXTENSION not in (spark.conf.get("spark.sql.extensions", "") or "")


def _send(spark: "SparkSession", archive: str) -> None:
    """Give what `dmp spark pack` made to the session's executors, once."""
    name = spark_cluster.packed(archive)
    if not Path(archive).is_file():
        raise ClusterError(
            f"DMP_SPARK_ARCHIVE={archive}: over Spark Connect this is a file of this machine, "
            "which is sent to the server"
        )
    spark.addArtifacts(archive, file=True)
    spark.conf.set(_PYTHON, f"./{name}")


def innermost(error: BaseException) -> str:
    """The last cause of an error in words, in one line."""
    chain: list[BaseException] = list(_chain(error))
    said = [line.strip() for line in str(chain[-1]).splitlines() if line.strip()]
    return (said[0] if said else type(chain[-1]).__name__)[:300]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
