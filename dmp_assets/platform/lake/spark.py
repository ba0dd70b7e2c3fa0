"""The Spark session of a process: in a JVM of its own, on a cluster or by Spark Connect.

Only the DataFrame API and SQL are used, so that Spark Connect serves as well.
"""

import os
import shutil
import socket
import socketserver
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
from py4j.protocol import Py4JError, Py4JJavaError
from pyspark import SparkContext, __version__, accumulators
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import DataFrame, SparkSession

from dmp_assets.platform.lake import class_archive, java, s3a, spark_cluster, spark_conf, spark_lost
from dmp_assets.settings import Settings

_SHORT_RUN = (
    # The quick compiler alone, and soon: most code runs for a minute only. Its default code cache
    # is full after that minute, and a JVM with a full one interprets from then on.
    "-XX:TieredStopAtLevel=1 -XX:CompileThresholdScaling=0.2 -XX:ReservedCodeCacheSize=256m "
    "-XX:+UseSerialGC"
)
_LONG_RUN = (
    # Heap that Spark no longer needs goes back to the machine while DuckDB and Python work.
    "-XX:+UseG1GC -XX:G1PeriodicGCInterval=5000 -XX:MinHeapFreeRatio=10 -XX:MaxHeapFreeRatio=30"
)
SMALL = 200_000  # rows up to which planning and compiling cost more than the data itself

_LONG_AGO = 86_400  # seconds

COLLECTED_AT_MOST = "64m"
"""Size up to which the rows of a small frame are brought together in one place."""


_remote: list[Any] = []
"""This process's sessions by Spark Connect; of others there is one Spark context."""


def session(settings: Settings, scratch: Path, *, rows: int = 0) -> SparkSession:
    """Get or start the session of this process, tuned for a shop of about so many rows.

    `spark_remote` (Spark Connect) wins over `spark_master`; with neither, Spark runs here on all
    cores. Raises java.PrerequisiteError when Java or the JARs are missing, ClusterError where a
    cluster or server cannot be used.
    """
    is_small = rows <= SMALL
    if settings.spark_remote:
        from dmp_assets.platform.lake import spark_connect

        remote = spark_connect.session(settings, rows=rows, is_small=is_small)
        if remote not in _remote:
            _remote.append(remote)
        return remote
    java_home = java.environment()
    os.environ["TZ"] = "UTC"
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    root, scratch = scratch, _own_folder(scratch)
    is_here = spark_conf.runs_here(settings)
    cores = spark_conf.cores_here(settings) if is_here else None
    jars = [path for which in java.sets_of(settings) for path in java.jar_paths(which)]
    commits: dict[str, str] = {}
    if settings.lakehouse_root:  # where others may write, too
        from dmp_assets.platform.lake import commit_stores

        jars, commits = [*jars, str(commit_stores.jar(root))], dict(commit_stores.CONF)
    further = s3a.jar_paths(settings)
    quick = _SHORT_RUN if is_small else _LONG_RUN
    conf = {
        "spark.app.name": "dmp_assets",
        "spark.master": settings.spark_master or f"local[{cores}]",
        **commits,
        "spark.sql.extensions": spark_conf.EXTENSION,
        "spark.sql.catalog.spark_catalog": spark_conf.CATALOG,
        "spark.driver.memory": settings.spark_memory or ("2g" if is_small else "4g"),
        # On the class path, because only its classes can be archived.
        "spark.driver.extraClassPath": os.pathsep.join(jars),
        "spark.driver.extraJavaOptions": (
            f'{spark_conf.UTC} "-Dderby.system.home={scratch}" '
            f"{class_archive.jvm_options(java_home)} {quick}"
        ),
        "spark.executor.extraJavaOptions": f"{spark_conf.UTC} {quick}",
        "spark.log.level": "ERROR",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.local.dir": str(scratch),
        **spark_conf.of_session(),
        **spark_conf.by_size(rows, is_small=is_small, cores=cores),
        **_event_log(settings),
        **(
            _here(further, is_small=is_small)
            if is_here
            else spark_cluster.conf(settings, [*jars, *further])
        ),
    }
    conf = spark_conf.joined(conf, s3a.conf(settings, scratch))
    builder = SparkSession.builder
    for name, value in spark_conf.joined(conf, settings.spark_conf).items():
        builder = builder.config(name, value)
    try:
        with s3a.told_secrets(settings, scratch):
            started = builder.getOrCreate()
    except (PySparkRuntimeError, Py4JError) as error:
        raise _why_not_started(error, settings) from error
    for name, value in spark_conf.of_session().items():
        started.conf.set(name, value)  # also where the session is another's
    if not is_here:
        spark_cluster.watch(started)
    return started


def _here(further: Sequence[str], *, is_small: bool) -> dict[str, str]:
    """What a JVM of this machine alone is told."""
    # Spark would look up the machine's own name, which a container may not know.
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    _know_localhost()
    conf = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    if further:  # not on the class path, whose classes are archived
        conf["spark.jars"] = ",".join(further)
    if is_small:
        conf["spark.driver.maxResultSize"] = COLLECTED_AT_MOST
    return conf


def _event_log(settings: Settings) -> dict[str, str]:
    """Settings of the event log, whose folder is made where it is one of this machine."""
    folder = settings.spark_event_log
    if folder and "://" not in folder:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)  # plans may quote data
    return spark_conf.event_log(settings)


def _why_not_started(error: Exception, settings: Settings) -> Exception:
    """What a JVM or a cluster that did not come up is to be told as."""
    if isinstance(error, PySparkRuntimeError) and error.getCondition() == "JAVA_GATEWAY_EXITED":
        return java.PrerequisiteError(
            f"Spark's JVM ({os.environ['JAVA_HOME']}) ended before it was ready; what it said is "
            "in the newest log below $DMP_HOME/dagster/logs"
        )
    why = None if spark_conf.runs_here(settings) else spark_lost.why(error)
    if why is None:
        return error
    return spark_lost.SparkLostError(
        f"{settings.spark_master} did not take this run, as when no master of Spark answers there, "
        f"or one of another version than {__version__} ({why}); see DMP_SPARK_MASTER"
    )


def interrupt() -> None:
    """End what this process's sessions are doing, wherever they do it; starts none."""
    for remote in _remote:
        if not remote.is_stopped:
            remote.interruptAll()
    if (context := SparkContext._active_spark_context) is not None:
        context.cancelAllJobs()


def _own_folder(scratch: Path) -> Path:
    """This process's folder for what Spark lays aside; those of processes that are gone go.

    A JVM that is killed leaves there what it had of the rows.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    for folder in scratch.iterdir():
        kind, _, number = folder.name.partition("-")
        if kind == "process" and number.isdecimal() and not psutil.pid_exists(int(number)):
            shutil.rmtree(folder, ignore_errors=True)
        elif kind in ("spark", "blockmgr") and time.time() - folder.stat().st_mtime > _LONG_AGO:
            shutil.rmtree(folder, ignore_errors=True)  # of an earlier version of this program
    own = scratch / f"process-{os.getpid()}"
    own.mkdir(exist_ok=True)
    return own


def _know_localhost() -> None:
    """Let PySpark listen on loopback by number where the name `localhost` is not known.

    A bare root without /etc/hosts is such a machine; PySpark has no setting for it.
    """
    try:
        socket.gethostbyname("localhost")
    except OSError:
        accumulators.AccumulatorTCPServer.server_bind = _bind_by_number  # type: ignore


def _bind_by_number(server: socketserver.TCPServer) -> None:
    server.server_address = ("127.0.0.1", server.server_address[1])
    socketserver.TCPServer.server_bind(server)


def start_ahead(settings: Settings, scratch: Path, rows: int = 0) -> SparkSession:
    """Start the session beside other work, for a shop of about so many rows.

    The classes that it will need are loaded by what nobody needs: of a small shop, or on a cluster,
    rows brought together, of a large one here a table of Delta's written and read.
    """
    spark = session(settings, scratch, rows=rows)
    if rows <= SMALL or not spark_conf.runs_here(settings):
        collected(spark.range(1))
    else:
        path = str(_own_folder(scratch) / "warm-up")
        spark.range(1).write.format("delta").mode("overwrite").save(path)
        spark.read.format("delta").load(path).collect()
    return spark


def collected(frame: DataFrame) -> pa.Table | None:
    """The rows of a frame as Arrow, of columns that may all be null, as Delta's own writer has it.

    None where they are more than `COLLECTED_AT_MOST`. Raises what Spark raises of them.
    """
    try:
        rows = frame.toArrow()
    except Py4JJavaError as error:
        if "spark.driver.maxResultSize" not in str(error):
            raise
        return None
    return rows.cast(pa.schema([_plain(field) for field in rows.schema]))


def _plain(field: pa.Field) -> pa.Field:
    """It may be null, and keeps nothing of what Spark noted of the source's column."""
    kind = field.type
    if pa.types.is_struct(kind):
        kind = pa.struct([_plain(part) for part in kind])
    elif pa.types.is_list(kind):
        kind = pa.list_(_plain(kind.value_field))
    elif pa.types.is_map(kind):
        kind = pa.map_(kind.key_field, _plain(kind.item_field))
    return pa.field(field.name, kind)
