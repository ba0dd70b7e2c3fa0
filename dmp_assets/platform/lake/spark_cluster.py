"""A Spark cluster as a run uses it: is its master there, how executors reach us, what they need.

Only for `DMP_SPARK_MASTER`; over Spark Connect (`spark_connect.py`) the server cares for these.
"""

import logging
import os
import re
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


def why_lost(error: BaseException) -> str | None:
    """What Spark says of a cluster that did not take us or dropped us; None for other errors."""
    said = str(error)
    for sign, told in _LOST.items():
        if re.search(sign, said):
            return told
    return None


_LOST = {
    "All masters are unresponsive": "the cluster's master does not answer as Spark's does, or is "
    "of another version of Spark",
    "InvalidClassException|serialVersionUID": "the cluster runs another version of Spark",
    "Master removed our application": "the cluster's master has dropped this run",
    "stopped SparkContext|SparkContext was shut down|SparkContext has been shutdown": "the "
    "cluster has ended this run's Spark: its master dropped it, or its driver was stopped",
}


_watched: set[int] = set()


def watch(spark: "SparkSession", patience: float = NO_EXECUTOR_SECONDS) -> None:
    """Cancel a cluster's jobs when nobody has been there to do them for so many seconds.

    Spark itself waits for ever, and with it the run and its lease. Once a Spark context.
    """
    context: Any = spark.sparkContext
    if id(context) not in _watched:
        _watched.add(id(context))
        look = partial(_look, context, patience, threading.Event())
        threading.Thread(target=look, daemon=True, name="spark-watch").start()


def _look(context: Any, patience: float, never: threading.Event) -> None:
    alone = 0.0
    while not never.wait(_LOOK_EVERY_SECONDS):
        if context._jsc is None:  # it was stopped
            return
        try:
            jobs = list(context.statusTracker().getActiveJobsIds())
            executors = context._jsc.sc().getExecutorMemoryStatus().size() - 1  # with the driver
        except (Py4JError, OSError, AttributeError):  # stopped, or its JVM ended, meanwhile
            return
        alone = alone + _LOOK_EVERY_SECONDS if jobs and not executors else 0.0
        if alone >= patience:
            why = (
                f"the cluster has given no executor for {patience:.0f} s: no worker lives, or none "
                "has the cores and memory that are asked for (spark.executor.cores and "
                "spark.executor.memory in DMP_SPARK_CONF)"
            )
            log.error(why)
            for job in jobs:
                context._jsc.sc().cancelJob(job, why)
