"""An archive of the classes that Spark loads, so that every later JVM starts with them parsed.

A Spark run loads some 20,000 classes; reading and verifying them takes a third of a small run.
The JVM can keep them in a file (application class-data sharing, https://openjdk.org/jeps/350),
which `dmp setup` makes once for this Java, this Spark and these JARs. Without the file, or after
an upgrade of Java, everything works the same and starts more slowly.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from dmp_assets.platform.lake import java

DUMP_VARIABLE = "DMP_CLASS_ARCHIVE_TO"


def path(home: Path) -> Path:
    """Where the archive for the Java at `home`, this Spark and these JARs is, made or not."""
    release = home / "release"
    parts = [str(home), version("pyspark"), *java.jar_paths()]
    if release.exists():
        parts.append(release.read_text())
    name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return java.jars_dir() / f"spark-{name}.jsa"


def jvm_options(home: Path) -> str:
    """Options by which a JVM uses the archive, or makes it in the process that `make` started."""
    if target := os.environ.get(DUMP_VARIABLE):
        return f'"-XX:ArchiveClassesAtExit={target}" -Xlog:disable'
    archive = path(home)
    return (
        f'"-XX:SharedArchiveFile={archive}" -Xlog:disable -Xlog:all=error:stderr'
        if archive.exists()
        else ""
    )


def make(archive: Path) -> bool:
    """Make the archive at its `path`; False where this JVM cannot."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        part = Path(folder) / archive.name
        done = subprocess.run(
            [sys.executable, "-m", __name__, folder],
            env=os.environ | {DUMP_VARIABLE: str(part)},
            capture_output=True,
        )
        if done.returncode or not part.exists():
            return False
        for old in archive.parent.glob("spark-*.jsa"):
            old.unlink()
        shutil.move(part, archive)
    return True


def _rehearse(scratch: Path) -> None:
    """Use what the tables use: Delta writes and reads, windows, joins, text, times, Arrow."""
    from pyspark.sql import SparkSession, Window
    from pyspark.sql import functions as F

    from dmp_assets.home import Home
    from dmp_assets.platform.lake import spark as sessions

    session: SparkSession = sessions.start_ahead(
        Home(scratch / "home").prepare("sandbox").settings(), scratch
    )
    table = str(scratch / "table")
    rows = pa.table({"id": ["1", "2", "2", None], "said": ["a ", "2024-01-31T10:00:00Z", "", "1"]})
    read = session.createDataFrame(rows).withColumns(
        {
            "text": F.expr("nullif(trim(said), '')"),
            "at": F.expr("CASE WHEN said RLIKE '^[0-9]{4}-' THEN try_cast(said AS TIMESTAMP) END"),
            "day": F.expr("try_to_timestamp(said, 'd/M/yyyy H:mm')"),
            "amount": F.expr("try_cast(replace(said, ',', '.') AS DECIMAL(12, 2))"),
            "failed": F.filter(F.array(F.lit(None), F.lit("x")), lambda name: name.isNotNull()),
        }
    )
    ranked = read.withColumn(
        "rank", F.row_number().over(Window.partitionBy("id").orderBy(F.desc("said")))
    ).persist()
    grouped = ranked.groupBy("id").agg(
        F.count(F.lit(1)).alias("rows"),
        F.sum("rank").alias("sum"),
        F.min_by("said", "rank").alias("first"),
        F.sort_array(F.collect_list(F.struct("rank", "said"))).alias("all"),
        F.to_json(F.struct(F.max("at"), F.min("said"))).alias("json"),
    )
    joined = ranked.join(grouped, "id", "left").unionByName(ranked.join(grouped, "id", "left"))
    passed = joined.mapInArrow(_same, joined.schema)
    passed.write.format("delta").mode("overwrite").option("userMetadata", "{}").save(table)
    written = session.read.format("delta").load(table)
    written.where("id IS NOT NULL").groupBy(F.to_date("at")).count().toArrow()
    written.where("rank = 1").write.format("delta").mode("overwrite").option(
        "replaceWhere", "rank = 1"
    ).save(table)
    grouped.createOrReplaceTempView("news")
    session.sql(
        f"MERGE INTO delta.`{table}` t USING (SELECT id, sum FROM news WHERE id = '1') s "
        "ON t.id = s.id WHEN MATCHED THEN UPDATE SET t.sum = s.sum"
    ).collect()
    gateway: Any = session.sparkContext._gateway
    session.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()  # the archive is written as the JVM ends


def _same(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from batches


if __name__ == "__main__":
    _rehearse(Path(sys.argv[1]))
