"""A real Kafka for tests: one broker in KRaft mode, on loopback, from JARs of Maven Central.

The JARs are pinned by their SHA-256 (`kafka_jars.toml`, 44 MB) and fetched once into the user's
cache (`$XDG_CACHE_HOME/dmp_assets/kafka`), as those of Spark are.
"""

import os
import signal
import socket
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from dmp_assets.platform.lake import java

READY_SECONDS = 90
_MEMORY = "-Xmx384m"
_ONE_BROKER = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
log.retention.check.interval.ms=500
log.segment.delete.delay.ms=100
"""


def jars() -> Path:
    """Folder of the broker's JARs, all of them there and as pinned. Raises PrerequisiteError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    pinned = tomllib.loads(Path(__file__).with_name("kafka_jars.toml").read_text())["jar"]
    folder = cache / "dmp_assets" / "kafka"
    java.fetch([java.Jar(entry["path"], entry["sha256"]) for entry in pinned], folder)
    return folder


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class KafkaServer:
    """One broker with its data in a folder of its own; it can be stopped and begun again."""

    folder: Path
    port: int = field(default_factory=free_port)
    controller: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Begin, with what was there before, and wait until it answers."""
        settings = self.folder / "server.properties"
        if not settings.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            settings.write_text(
                _ONE_BROKER.format(
                    port=self.port, controller=self.controller, data=self.folder / "data"
                )
            )
            self._java("kafka.tools.StorageTool", "format", "--standalone", "-t", _id(), "-c",
                       str(settings)).wait(60)  # fmt: skip
        self._process = self._java("kafka.Kafka", str(settings))
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(KafkaException):
                if self.admin().list_topics(timeout=2).brokers:
                    return
        raise RuntimeError(f"no broker after {READY_SECONDS} s; see {self.folder / 'broker.log'}")

    def _java(self, *words: str) -> subprocess.Popen[bytes]:
        logging = self.folder / "log4j2.properties"
        logging.write_text("rootLogger.level=warn\nrootLogger.appenderRef.c.ref=c\n"
                           "appender.c.type=Console\nappender.c.name=c\n")  # fmt: skip
        command = [
            str(java.find_java() / "bin" / "java"), _MEMORY, "-Xms64m", "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={logging}",
            "-cp", f"{jars()}/*", *words,
        ]  # fmt: skip
        with (self.folder / "broker.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it by a signal; its data stay."""
        if self._process is not None:
            self._process.send_signal(number)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
            self._process = None

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.servers, "log_level": 0})

    def make(self, topic: str, partitions: int = 3, **config: str) -> None:
        """Make a topic."""
        new = NewTopic(topic, partitions, 1, config=config)
        admin = self.admin()  # which must outlive its answer
        admin.create_topics([new])[topic].result(20)

    def drop(self, topic: str) -> None:
        """Delete a topic."""
        admin = self.admin()
        admin.delete_topics([topic])[topic].result(20)

    def produce(self, topic: str, values: list[bytes | None]) -> None:
        """Put records there as anybody could."""
        producer = Producer({"bootstrap.servers": self.servers, "log_level": 0})
        for value in values:
            producer.produce(topic, value)
        assert producer.flush(20) == 0

    def environment(self, **more: str) -> Mapping[str, str]:
        """The settings by which a home uses it."""
        return {
            "DMP_KAFKA_BOOTSTRAP_SERVERS": self.servers, "DMP_KAFKA_REPLICATION": "1",
            "DMP_KAFKA_PARTITIONS": "3", **more,
        }  # fmt: skip


def _id() -> str:
    import base64

    return base64.urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")


@contextmanager
def kafka_server() -> Iterator[KafkaServer]:
    """A running broker, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="dmp-kafka-") as folder:
        server = KafkaServer(Path(folder) / "kafka")
        try:
            server.start()
            yield server
        finally:
            server.stop(signal.SIGKILL)
