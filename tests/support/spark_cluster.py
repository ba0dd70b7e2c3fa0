"""Real Spark beyond this process: a standalone cluster's master and workers, a Connect server.

Started from pyspark's own package, on loopback and free ports, with small heaps; each process is
stopped by its id.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyspark

from dmp_assets.platform.lake import java, spark_conf

SPARK_HOME = Path(pyspark.__file__).parent
READY_SECONDS = 120.0


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether somebody listens on that port of loopback."""
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


@dataclass
class SparkCluster:
    """A standalone cluster on this machine. `workers`: those that were started, in order."""

    folder: Path
    port: int
    master: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"spark://127.0.0.1:{self.port}"

    def start_worker(self, *, cores: int = 1, memory: str = "1g") -> subprocess.Popen[bytes]:
        """One more worker, registered with the master."""
        before = self.said("master").count("Registering worker")
        name = f"worker-{len(self.workers)}"
        worker = _start(
            self.folder, name, "spark-class", "org.apache.spark.deploy.worker.Worker",
            "--host", "127.0.0.1", "--port", "0", "--webui-port", "0", "--cores", str(cores),
            "--memory", memory, "--work-dir", str(self.folder / f"{name}-work"), self.url,
        )  # fmt: skip
        self.workers.append(worker)
        _until(lambda: self.said("master").count("Registering worker") > before, worker, name)
        return worker

    def said(self, name: str) -> str:
        """What a process of the cluster has logged (`master`, `worker-0`)."""
        return (self.folder / f"{name}.log").read_text(errors="replace")


@contextmanager
def spark_cluster(folder: Path, *, workers: int = 2, memory: str = "1g") -> Iterator[SparkCluster]:
    """A master with so many workers of a core each; logs and scratch lie in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    master = _start(
        folder, "master", "spark-class", "org.apache.spark.deploy.master.Master",
        "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0",
    )  # fmt: skip
    cluster = SparkCluster(folder, port, master)
    with ExitStack() as ended:
        ended.callback(stop, master)
        ended.callback(lambda: stop(*cluster.workers))
        _until(lambda: answers(port), master, "master")
        for _ in range(workers):
            cluster.start_worker(memory=memory)
        yield cluster


@contextmanager
def connect_server(
    folder: Path, *, conf: Mapping[str, str] | None = None, jars: Sequence[str] | None = None,
    master: str = "local[2]", memory: str = "1g", python: str = sys.executable,
) -> Iterator[str]:  # fmt: skip
    """URL of a Spark Connect server; `conf` over what it needs, `jars`: those of `dmp setup`."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    listed = java.jar_paths() if jars is None else jars
    told = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.local.dir": str(folder),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.driver.extraJavaOptions": spark_conf.UTC,
    }
    if listed:
        told |= {
            "spark.sql.extensions": spark_conf.EXTENSION,
            "spark.sql.catalog.spark_catalog": spark_conf.CATALOG,
        }
    told |= conf or {}
    options = [part for item in told.items() for part in ("--conf", "=".join(item))]
    server = _start(
        folder, "connect", "spark-submit",
        "--class", "org.apache.spark.sql.connect.service.SparkConnectServer",
        "--master", master, "--driver-memory", memory,
        *(["--driver-class-path", os.pathsep.join(listed)] if listed else []), *options,
        "spark-internal", memory=memory, python=python,
    )  # fmt: skip
    try:
        _until(lambda: answers(port), server, "connect")
        yield f"sc://127.0.0.1:{port}"
    finally:
        stop(server)


def stop(*processes: subprocess.Popen[bytes]) -> None:
    """End processes that were started here, by their ids."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _start(
    folder: Path,
    name: str,
    program: str,
    *words: str,
    memory: str = "256m",
    python: str = sys.executable,
) -> subprocess.Popen[bytes]:
    """A program of Spark's `bin`, which becomes the JVM itself: its id is the JVM's."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("DMP_")
    } | {
        "SPARK_HOME": str(SPARK_HOME),
        "JAVA_HOME": str(java.find_java()),
        "SPARK_DAEMON_MEMORY": memory,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder),
        "PYSPARK_PYTHON": python,
        "TZ": "UTC",
    }
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [str(SPARK_HOME / "bin" / program), *words],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _until(is_so: Callable[[], bool], process: subprocess.Popen[bytes], name: str) -> None:
    last = time.monotonic() + READY_SECONDS
    while not is_so():
        assert process.poll() is None, f"{name} ended with {process.returncode}; see its log"
        assert time.monotonic() < last, f"{name} was not ready within {READY_SECONDS:.0f} s"
        time.sleep(0.2)
