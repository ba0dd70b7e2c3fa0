"""A Spark cluster as a run uses it: is its master there, how executors reach us, what they need.

Only for `DMP_SPARK_MASTER`; over Spark Connect (`spark_connect.py`) the server cares for these.
"""

import logging
import os
import socket
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JError

from dmp_assets.platform.base.errors import UserError
from dmp_assets.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
NO_EXECUTOR_SECONDS = 180.0
"""So long a run waits for a first or a new executor; its jobs are cancelled then."""
_LOOK_EVERY_SECONDS = 5.0
_DEFAULT_PORT = 7077
_PATIENCE = "dmp_patience"  # on a Spark context: seconds that its jobs wait for executors


class ClusterError(UserError):
    """A Spark cluster that cannot be used; the message says what to look at."""


def masters(address: str) -> list[tuple[str, int]]:
    """Hosts and ports of a standalone cluster's masters, none of any other kind of cluster."""
    scheme, _, listed = address.partition("://")
    if scheme != "spark":
        return []
    parts = [one.partition(":") for one in listed.split(",")]
    return [(host, int(port or _DEFAULT_PORT)) for host, _, port in parts]


def reached(addresses: Sequence[tuple[str, int]], setting: str) -> str:
    """Our own address as the first of these that answers sees it.

    Raises ClusterError where none does. Spark itself would try for a minute and then tell of a
    stopped context.
    """
    said = []
    for host, port in addresses:
        try:
            with socket.create_connection((host, port), timeout=PATIENCE_SECONDS) as connection:
                return str(connection.getsockname()[0])
        except OSError as error:
            said.append(f"nothing answers at {host}:{port} ({error.strerror or error})")
    raise ClusterError(f"{'; '.join(said)}; see {setting}")


def conf(settings: Settings, jars: Sequence[str]) -> dict[str, str]:
    """What a session on the cluster is told beside what all are.

    Raises ClusterError where no master answers, or the executors' archive is not there.
    """
    found = {"spark.jars": ",".join(jars)}
    listed = masters(settings.spark_master or "")
    own = reached(listed, "DMP_SPARK_MASTER") if listed else None
    if host := settings.spark_driver_host or own:
        found["spark.driver.host"] = host
    if archive := settings.spark_archive:
        found["spark.files"] = archive
        os.environ["PYSPARK_PYTHON"] = f"./{packed(archive)}"  # what pyspark tells executors
    return found


def packed(archive: str) -> str:
    """Name of what `dmp spark pack` made, as it lies in an executor's folder.

    Raises ClusterError where that is a file which is not there.
    """
    if "://" not in archive and not Path(archive).is_file():
        raise ClusterError(
            f"there is no file {archive} (DMP_SPARK_ARCHIVE); make it by `dmp spark pack {archive}`"
        )
    return archive.rstrip("/").rpartition("/")[2]


def watch(spark: "SparkSession", patience: float = NO_EXECUTOR_SECONDS) -> None:
    """Cancel a cluster's jobs when nobody has been there to do them for so many seconds.

    Spark itself waits for ever, and with it the run and its lease. Of a context that is watched
    already only how long that is changes.
    """
    context: Any = spark.sparkContext
    is_new = not hasattr(context, _PATIENCE)
    setattr(context, _PATIENCE, patience)
    if is_new:
        look = partial(_look, context, threading.Event())
        threading.Thread(target=look, daemon=True, name="spark-watch").start()


def _look(context: Any, never: threading.Event) -> None:
    alone = 0.0
    while not never.wait(_LOOK_EVERY_SECONDS):
        patience = getattr(context, _PATIENCE)
        if context._jsc is None:  # it was stopped
            return
        try:
            jobs = list(context.statusTracker().getActiveJobsIds())
            executors = context._jsc.sc().getExecutorMemoryStatus().size() - 1  # with the driver
        except (Py4JError, OSError, AttributeError):  # stopped, or its JVM ended, meanwhile
            return
        alone = alone + _LOOK_EVERY_SECONDS if jobs and not executors else 0.0
        if alone >= patience:
            why = f"the cluster has given no executor for {patience:.0f} s"  # see spark_lost.py
            log.error(why)
            for job in jobs:
                context._jsc.sc().cancelJob(job, why)
