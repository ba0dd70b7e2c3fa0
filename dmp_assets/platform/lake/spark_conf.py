"""What a Spark session is told: by how large the data is, and by where Spark runs.

Names and meanings are Spark's (https://spark.apache.org/docs/latest/configuration.html) and Delta
Lake's. Nothing here starts or imports Spark.
"""

import math
import os
import re
from collections.abc import Mapping

from dmp_assets.platform.lake import file_statistics
from dmp_assets.settings import Settings

EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
CATALOG = "org.apache.spark.sql.delta.catalog.DeltaCatalog"
UTC = "-Duser.timezone=UTC"

_ROWS_PER_TASK = 500_000
"""Of a shuffle on a cluster. A cleaned row has some 300 bytes, so this is Spark's own advice of 100
to 200 MB a task; adaptive execution joins tasks that have less."""
_ROWS_PER_TASK_HERE = 2_000_000  # one machine's tasks wait for its cores: no more than must be
_ROWS_PER_SNAPSHOT_PARTITION = 50_000_000  # some 100 files of a table
_MOST_SNAPSHOT_PARTITIONS = 50  # Delta's default
_LEAST_ELSEWHERE = 2
_JOINED = {
    "spark.jars": ",",
    "spark.files": ",",
    "spark.sql.extensions": ",",
    "spark.driver.extraClassPath": os.pathsep,
    "spark.driver.extraJavaOptions": " ",
    "spark.executor.extraJavaOptions": " ",
}
"""Settings that are lists, with what parts them: what a user gives is added to ours."""


def runs_here(settings: Settings) -> bool:
    """Whether Spark runs in this machine's own JVM: no cluster and no Spark Connect."""
    if settings.spark_remote:
        return False
    return not settings.spark_master or settings.spark_master.startswith("local")


def cores_here(settings: Settings) -> int:
    """Cores that a Spark on this machine uses (`local[2]`: 2)."""
    named = re.fullmatch(r"local(?:\[(\d+).*\])?", settings.spark_master or "local[*]")
    return int(named[1] or 1) if named else os.cpu_count() or 2


def by_size(rows: int, *, is_small: bool, cores: int | None) -> dict[str, str]:
    """What suits a home whose largest received table has so many rows, wherever Spark runs.

    `is_small`: planning and compiling cost more than the data itself. `cores`: of the machine,
    where Spark runs here; of a cluster nobody knows them before the session.
    All of it can be set on a session that runs.
    """
    a_task = _ROWS_PER_TASK if cores is None else _ROWS_PER_TASK_HERE
    tasks = str(max(cores or _LEAST_ELSEWHERE, math.ceil(rows / a_task)))
    snapshot = min(_MOST_SNAPSHOT_PARTITIONS, 1 + rows // _ROWS_PER_SNAPSHOT_PARTITION)
    conf = {
        "spark.sql.shuffle.partitions": tasks,
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": tasks,
        "spark.databricks.delta.snapshotPartitions": str(snapshot),
    }
    if is_small:
        conf |= {
            "spark.sql.adaptive.enabled": "false",
            "spark.sql.codegen.wholeStage": "false",
            "spark.sql.codegen.factoryMode": "NO_CODEGEN",
            "spark.sql.inMemoryColumnarStorage.compressed": "false",
        }
    return conf


def of_session() -> dict[str, str]:
    """What every session of ours needs so that tables come out the same everywhere."""
    return {
        **{
            name.replace("delta.", "spark.databricks.delta.properties.defaults."): value
            for name, value in file_statistics.NONE.items()
        },
        "spark.databricks.delta.properties.defaults.enableDeletionVectors": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        # An asset reads its inputs as they stood when it began. Delta would refuse one that had not
        # changed for the length of the retention and was written by another run since.
        "spark.databricks.delta.vacuum.enforceTimeTravelWithinDeletedFileRetentionDuration": (
            "false"
        ),
    }


def event_log(settings: Settings) -> dict[str, str]:
    """Where Spark notes what it does, for its history server."""
    if not settings.spark_event_log:
        return {}
    return {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": settings.spark_event_log,
        "spark.eventLog.compress": "true",
    }


def joined(ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str]:
    """Our settings, those of a user over them; of lists both."""
    found = dict(ours) | dict(theirs)
    for name, between in _JOINED.items():
        if name in ours and name in theirs:
            parts = [ours[name], theirs[name]]
            found[name] = between.join(part for part in parts if part.strip())
    return found
