"""The Spark session: tuned for small local Delta tables, or the user's own cluster.

Only the DataFrame API and SQL are used, so that Spark Connect serves as well.
"""

import os
import shutil
import socket
import socketserver
import sys
import time
from pathlib import Path

import psutil
import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark import accumulators
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import DataFrame, SparkSession

from dmp_assets.platform.lake import class_archive, file_statistics, java
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

_OLD_READS_REFUSED = (
    "spark.databricks.delta.vacuum.enforceTimeTravelWithinDeletedFileRetentionDuration"
)

COLLECTED_AT_MOST = "64m"
"""Size up to which the rows of a small frame are brought together in one place."""


def session(settings: Settings, scratch: Path, *, rows: int = 0) -> SparkSession:
    """Get or start the session of this process, tuned for a shop of about so many rows.

    `spark_remote` (Spark Connect) wins over `spark_master`; with neither, Spark runs here on all
    cores. Raises java.PrerequisiteError when Java or the JARs are missing.
    """
    if settings.spark_remote:
        builder = SparkSession.builder.remote(settings.spark_remote)
        return _utc(builder.getOrCreate())
    java_home = java.find_java()
    os.environ["JAVA_HOME"] = str(java_home)
    os.environ["TZ"] = "UTC"
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    scratch = _own_folder(scratch)
    cores = str(os.cpu_count() or 2)
    local = settings.spark_master is None
    if local:  # Spark would look up the machine's own name, which a container may not know
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        _know_localhost()
    jvm = f'-Duser.timezone=UTC "-Dderby.system.home={scratch}"'
    jars = ",".join(java.jar_paths(java.sets_of(settings)))
    if local:  # on the class path, because only its classes can be archived
        java_path = {"spark.driver.extraClassPath": jars.replace(",", os.pathsep)}
        jvm += f" {class_archive.jvm_options(java_home)}"
        jvm += f" {_SHORT_RUN if rows <= SMALL else _LONG_RUN}"
    else:
        java_path = {"spark.jars": jars}
    conf = {
        "spark.app.name": "dmp_assets",
        "spark.master": settings.spark_master or f"local[{cores}]",
        **java_path,
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.driver.memory": settings.spark_memory or ("2g" if rows <= SMALL else "4g"),
        "spark.driver.extraJavaOptions": jvm,
        "spark.executor.extraJavaOptions": "-Duser.timezone=UTC",
        "spark.log.level": "ERROR",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **{
            name.replace("delta.", "spark.databricks.delta.properties.defaults."): value
            for name, value in file_statistics.NONE.items()
        },
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.local.dir": str(scratch),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.databricks.delta.snapshotPartitions": "1" if local else "10",
        "spark.databricks.delta.properties.defaults.enableDeletionVectors": "false",
    }
    if local:
        conf |= {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.sql.shuffle.partitions": cores,
            "spark.sql.sources.parallelPartitionDiscovery.parallelism": cores,
        }
    if local and rows <= SMALL:
        conf |= {
            "spark.sql.adaptive.enabled": "false",
            "spark.sql.codegen.wholeStage": "false",
            "spark.sql.codegen.factoryMode": "NO_CODEGEN",
            "spark.sql.inMemoryColumnarStorage.compressed": "false",
            "spark.driver.maxResultSize": COLLECTED_AT_MOST,
        }
    builder = SparkSession.builder
    for name, value in (conf | settings.spark_conf).items():
        builder = builder.config(name, value)
    try:
        return _utc(builder.getOrCreate())
    except PySparkRuntimeError as error:
        if error.getCondition() != "JAVA_GATEWAY_EXITED":
            raise
        raise java.PrerequisiteError(
            f"Spark's JVM ({os.environ['JAVA_HOME']}) ended before it was ready; what it said is "
            "in the newest log below $DMP_HOME/dagster/logs"
        ) from error


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

    The classes that it will need are loaded by what nobody needs: of a small shop rows brought
    together, of a large one a table of Delta's written and read.
    """
    spark = session(settings, scratch, rows=rows)
    if rows <= SMALL:
        collected(spark.range(1))
    else:
        path = str(_own_folder(scratch) / "warm-up")
        spark.range(1).write.format("delta").mode("overwrite").save(path)
        spark.read.format("delta").load(path).collect()
    return spark


def _utc(spark: SparkSession) -> SparkSession:
    """Set what also holds where the session is another's."""
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    # An asset reads its inputs as they stood when it began. Delta would refuse one that had not
    # changed for the length of the retention and was written by another run since.
    spark.conf.set(_OLD_READS_REFUSED, "false")
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
