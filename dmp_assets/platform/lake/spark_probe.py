"""What a cluster or a Spark Connect server offers, found out by a small job on it.

For `dmp doctor`. The job reads and writes nothing.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmp_assets.platform.lake import fingerprint, spark_connect, spark_lost
from dmp_assets.platform.lake.spark_cluster import ClusterError
from dmp_assets.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MOST_SKEW_SECONDS = 30.0
"""Clocks further apart spoil leases, signatures of requests and times of tables."""
_READER = "dmp_assets.platform.cleaning.reading"  # what executors run of ours
_SETTLE_SECONDS = 2.0
_TASKS = 64
_COLUMNS = "host string, python string, spark string, code string, lacks string, clock double"
_JARS = {
    "PostgreSQL's driver": ("reflect('org.postgresql.Driver', 'isRegistered')", "true"),
    "Delta Lake": ("reflect('io.delta.package', 'VERSION')", version("delta-spark")),
}
"""What tells that executors have a JAR: an expression, and what it gives."""


@dataclass(frozen=True)
class Found:
    """What a cluster is like. `hosts`: machines of executors; `skew`: seconds their clocks are off
    at most; `problems`: what keeps a run from working there."""

    spark: str
    cores: int
    hosts: tuple[str, ...]
    memory: str
    python: str
    skew: float
    problems: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"Spark {self.spark}, {self.cores} cores on {', '.join(self.hosts)}, {self.memory} an "
            f"executor, Python {self.python} with dmp_assets, Delta Lake and PostgreSQL's driver, "
            f"clocks {self.skew:.1f} s apart"
        )


def found(settings: Settings, scratch: Path) -> Found:
    """Start a session as a run does, look, and end it.

    Raises ClusterError, its message in words, where no session or no task comes about.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    from dmp_assets.platform.lake import spark as engine

    spark = engine.session(settings, scratch)
    try:
        return _look(spark)
    except (PySparkException, Py4JError) as error:
        raise ClusterError(spark_lost.why(error) or spark_connect.innermost(error)) from error
    finally:
        spark.stop()


def _look(spark: "SparkSession") -> Found:
    spark.range(1).count()  # brings executors up
    time.sleep(_SETTLE_SECONDS)
    before = time.time()
    rows = spark.range(_TASKS).mapInArrow(_teller(_READER), _COLUMNS).collect()
    after = time.time()
    # A task begins when it begins: what is out of the time that the job took is the clocks'.
    skew = max(max(before - row["clock"], row["clock"] - after, 0.0) for row in rows)
    return Found(
        spark=spark.version,
        cores=len(rows),
        hosts=tuple(sorted({row["host"] for row in rows})),
        memory=spark.conf.get("spark.executor.memory", "1g") or "1g",
        python=", ".join(sorted({row["python"] for row in rows})),
        skew=skew,
        problems=tuple(_problems(spark, rows, skew)),
    )


def _problems(spark: "SparkSession", rows: list[Any], skew: float) -> Iterator[str]:
    import pyspark

    for there in sorted({spark.version, *(row["spark"] for row in rows)}):
        if there != pyspark.__version__:
            yield f"Spark {there} there, {pyspark.__version__} here: they should be the same"
    for lacks in sorted({row["lacks"] for row in rows} - {None}):
        yield (
            f"executors' Python lacks {lacks}; give them this program's packages: "
            "`dmp spark pack`, and DMP_SPARK_ARCHIVE"
        )
    own = fingerprint.code(_READER)
    if any(row["code"] not in (None, own) for row in rows):
        yield (
            "executors have another version of dmp_assets than this machine; pack it again: "
            "`dmp spark pack`"
        )
    for name, (expression, wanted) in _JARS.items():
        said = _said(spark, expression)
        if said is None:
            yield f"the JARs of {name} are not there"
        elif said != wanted:
            yield f"{name} is {said} there and {wanted} here: they should be the same"
    if skew > MOST_SKEW_SECONDS:
        yield f"clocks are {skew:.0f} s apart; let both machines follow a time server"


def _said(spark: "SparkSession", expression: str) -> str | None:
    """What a class on executors says, None where there is no such class."""
    from pyspark.errors import PySparkException

    try:
        return str(spark.range(1).selectExpr(f"{expression} AS said").collect()[0][0])
    except PySparkException as error:
        if re.search("ClassNotFound|NoClassDefFound|UNEXPECTED_CLASS_TYPE", str(error)):
            return None
        raise


def _teller(module: str) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """What a task says of where it runs, pickled as it stands: executors may lack this module."""

    def tell(batches: Iterator[Any]) -> Iterator[Any]:
        import platform
        import socket
        import time

        import pyarrow
        import pyspark

        code, lacks = None, None
        try:
            from importlib import import_module

            from dmp_assets.platform.lake import fingerprint

            import_module(module)
            code = fingerprint.code(module)
        except ImportError as error:
            lacks = error.name
        for _ in batches:
            pass
        yield pyarrow.RecordBatch.from_pydict(
            {
                "host": [socket.gethostname()],
                "python": [platform.python_version()],
                "spark": [pyspark.__version__],
                "code": pyarrow.array([code], pyarrow.string()),
                "lacks": pyarrow.array([lacks], pyarrow.string()),
                "clock": [time.time()],
            }
        )

    return tell
