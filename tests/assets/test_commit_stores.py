"""How Spark commits to a shared folder: of many who write a version, one does, and whole."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyspark
import pytest
from py4j import java_gateway, protocol
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway
from py4j.protocol import Py4JJavaError

from dmp_assets.platform.lake import commit_stores, java

RACERS = 8


@pytest.fixture(scope="module")
def jvm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A JVM with Hadoop, Delta's storage and our classes."""
    jars = Path(pyspark.__file__).with_name("jars")
    (py4j,) = jars.glob("py4j-*.jar")
    ours = commit_stores.jar(tmp_path_factory.mktemp("commits"))
    port, token = launch_gateway(
        jarpath=str(py4j),
        classpath=os.pathsep.join([f"{jars}/*", *java.jar_paths(), str(ours)]),
        java_path=str(java.find_java() / "bin" / "java"),
        die_on_exit=True,
        enable_auth=True,
    )
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token))
    with pytest.MonkeyPatch.context() as patch:
        # PySpark puts a function there that asks Spark's own JVM about every exception.
        patch.setattr(java_gateway, "get_return_value", protocol.get_return_value)
        yield gateway.jvm
    gateway.shutdown()


def write(jvm: Any, path: Path, line: str, *, overwrite: bool = False) -> None:
    conf = jvm.org.apache.hadoop.conf.Configuration()
    lines = jvm.java.util.ArrayList()
    for part in (line, "the end"):
        lines.add(part)
    target = jvm.org.apache.hadoop.fs.Path(path.as_uri())
    jvm.dmp.commits.LinkedLogStore(conf).write(target, lines.iterator(), overwrite, conf)


def test_of_many_who_write_a_version_one_does(jvm: Any, tmp_path: Path) -> None:
    for version in range(5):
        path = tmp_path / f"{version:020}.json"

        def racer(number: int, path: Path = path) -> str:
            try:
                write(jvm, path, f"{number}: grüße")
            except Py4JJavaError as error:
                return str(error.java_exception.getClass().getName())
            return f"{number}: grüße"

        with ThreadPoolExecutor(RACERS) as pool:
            said = list(pool.map(racer, range(RACERS)))
        refused = "java.nio.file.FileAlreadyExistsException"
        (winner,) = [one for one in said if one != refused]
        assert path.read_text("utf-8") == f"{winner}\nthe end\n"
    assert len(list(tmp_path.iterdir())) == 5  # nothing is left beside


def test_what_may_be_written_over_is(jvm: Any, tmp_path: Path) -> None:
    path = tmp_path / "_last_checkpoint"
    for line in ("first", "second"):
        write(jvm, path, line, overwrite=True)
    assert path.read_text() == "second\nthe end\n"


def test_a_log_that_is_not_there_is_told(jvm: Any, tmp_path: Path) -> None:
    with pytest.raises(Py4JJavaError, match="FileNotFoundException"):
        write(jvm, tmp_path / "gone" / f"{0:020}.json", "line")


@pytest.mark.parametrize("locale", ["C", "de_DE.ISO-8859-1", ""])
def test_folders_are_called_as_people_call_them_whatever_the_locale(
    tmp_path: Path, locale: str
) -> None:
    folder = tmp_path / "läden день"
    code = (
        "import sys; from pathlib import Path; from dmp_assets.platform.lake import commit_stores;"
        "print(commit_stores.jar(Path(sys.argv[1])).stat().st_size)"
    )
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code, str(folder)],
        env=os.environ | {"LC_ALL": locale, "LC_CTYPE": "C", "LANG": "C"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1_000


def test_the_classes_are_compiled_once(tmp_path: Path) -> None:
    made = commit_stores.jar(tmp_path)
    before = made.stat().st_mtime_ns
    assert commit_stores.jar(tmp_path) == made
    assert made.stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == [made.name]
