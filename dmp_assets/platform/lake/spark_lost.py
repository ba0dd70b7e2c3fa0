"""Spark that went away, or never came, told in words: its own errors speak of sockets and contexts.

Imports no Spark, so that what only reads does not either.
"""

import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dmp_assets.platform.base.errors import UserError

_ENDING_SECONDS = 3.0  # a process whose sockets are closed may be still there
_GOES_ON = "Every table is as its last good version; the next run goes on"
_SIGNS = {
    r"cluster has given no executor for \d+ s": "the cluster has given no executor: no worker "
    "lives, or none has the cores and memory that are asked for (spark.executor.cores and "
    "spark.executor.memory in DMP_SPARK_CONF)",
    "PYTHON_VERSION_MISMATCH": "executors have another Python than this one "
    f"({platform.python_version()}); see DMP_SPARK_ARCHIVE",
    r"org\.postgresql\.Driver": "Spark there has no PostgreSQL driver: its JAR belongs on the "
    "server's class path",
    r"DATA_SOURCE_NOT_FOUND.*\bdelta\b": "Spark there has no Delta Lake: its JARs belong on the "
    "server's class path",
    "InvalidClassException|serialVersionUID": "the cluster runs another version of Spark",
    "All masters are unresponsive": "what answers as the cluster's master is none, or is of "
    "another version of Spark; see DMP_SPARK_MASTER",
    "Master removed our application": "the cluster's master has dropped this run",
    "stopped SparkContext|SparkContext (was|has been) shut ?down": "this run's Spark was ended: "
    "the cluster's master dropped it, or is gone",
}


class SparkLostError(UserError):
    """Spark that a run cannot use, or lost; the message says what to look at."""


@contextmanager
def told_in_words() -> Iterator[None]:
    """Raise SparkLostError for what Spark raises when it is gone; any other error is as it was."""
    try:
        yield
    except Exception as error:
        if (said := why(error)) is None:
            raise
        raise SparkLostError(f"{said}. {_GOES_ON}") from None  # its own text may quote values


def why(error: BaseException) -> str | None:
    """What became of Spark, in one line; None where the error tells of something else."""
    if isinstance(error, UserError):
        return None
    is_cut_off = isinstance(error, ConnectionError) or _is_of(error, "py4j")
    if is_cut_off and type(error).__name__ != "Py4JJavaError" and _is_jvm_gone():
        return "Spark's JVM ended: it was killed, or the machine had no memory left for it"
    if not (_is_of(error, "py4j") or _is_of(error, "pyspark")):
        return None
    said = str(error)
    if "StatusCode.UNAVAILABLE" in said or "failed to connect to all addresses" in said:
        return "the Spark Connect server does not answer any more; see DMP_SPARK_REMOTE"
    if lacks := re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", said):
        return (
            f"the executors' Python lacks {lacks[1]}: give them this program's packages "
            "(`dmp spark pack`, DMP_SPARK_ARCHIVE)"
        )
    if missing := re.search(r'Cannot run program "([^"]+)"', said):
        return f"executors have no Python at {missing[1]}; see DMP_SPARK_ARCHIVE"
    return next((told for sign, told in _SIGNS.items() if re.search(sign, said)), None)


def _is_of(error: BaseException, package: str) -> bool:
    return type(error).__module__.partition(".")[0] == package


def _is_jvm_gone() -> bool:
    """Whether the JVM that this process started for Spark has ended, or is at its end."""
    spark: Any = sys.modules.get("pyspark")
    gateway = spark.SparkContext._gateway if spark else None
    if gateway is None:
        return False
    try:
        gateway.proc.wait(timeout=_ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True
