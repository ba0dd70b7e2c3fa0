"""How Spark commits where several processes write one lakehouse: a commit is made once, or refused.

Delta's own stores for S3 and for local folders look whether a commit of that number is there and
write theirs then, which is safe within one JVM alone. `LinkedLogStore.java` (a folder: a hard link)
and `ConditionalS3LogStore.java` (S3: a put with If-None-Match) ask the storage itself, as delta-rs
does. Other storages (Azure, Google, HDFS) have stores of Delta's that do.

The two classes are compiled by Janino, which is among Spark's JARs, so no JDK is needed.
"""

import hashlib
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pyspark
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway

from dmp_assets.platform.lake import java

CONF = {
    "spark.delta.logStore.file.impl": "dmp.commits.LinkedLogStore",
    "spark.delta.logStore.s3a.impl": "dmp.commits.ConditionalS3LogStore",
    "spark.delta.logStore.s3.impl": "dmp.commits.ConditionalS3LogStore",
}
"""Settings of a Spark session that commits so; a Spark Connect server is started with them."""

_SOURCES = ("LinkedLogStore.java", "ConditionalS3LogStore.java")
_COMPILES = ("janino-", "commons-compiler-")
_KNOWN = ("delta-storage-", "hadoop-client-api-", "slf4j-api-")


def jar(folder: Path) -> Path:
    """The JAR of both classes in the folder, compiled there once. Takes two seconds then.

    Raises java.PrerequisiteError when Java or the JARs are missing.
    """
    sources = [Path(__file__).with_name(name) for name in _SOURCES]
    mark = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    target = folder / f"commits-{mark}.jar"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix="process-") as place:
            _compile(sources, Path(place))
            whole = Path(place) / "whole.jar"
            with zipfile.ZipFile(whole, "w") as archive:
                for path in sorted(Path(place).rglob("*.class")):
                    archive.write(path, path.relative_to(place))
            whole.replace(target)
    return target


def _compile(sources: Sequence[Path], to: Path) -> None:
    program = java.environment() / "bin" / "java"
    jars = [*Path(pyspark.__file__).with_name("jars").glob("*.jar"), *map(Path, java.jar_paths())]
    (py4j,) = _named(jars, ("py4j-",))
    port, token = launch_gateway(
        jarpath=str(py4j),
        classpath=os.pathsep.join(map(str, _named(jars, _COMPILES))),
        java_path=str(program),
        die_on_exit=True,
        enable_auth=True,
    )
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token))
    try:
        compiler = gateway.jvm.org.codehaus.janino.Compiler()
        compiler.setClassPath(_files(gateway, _named(jars, _KNOWN)))
        compiler.setDestinationDirectory(gateway.jvm.java.io.File(str(to)), False)
        compiler.compile(_files(gateway, sources))
    finally:
        gateway.shutdown()


def _named(jars: Sequence[Path], beginnings: tuple[str, ...]) -> list[Path]:
    return [path for path in jars if path.name.startswith(beginnings)]


def _files(gateway: JavaGateway, paths: Sequence[Path]) -> object:
    made = gateway.new_array(gateway.jvm.java.io.File, len(paths))
    for place, path in enumerate(paths):
        made[place] = gateway.jvm.java.io.File(str(path))
    return made
