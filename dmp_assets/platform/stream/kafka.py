"""Kafka as we use it: how its clients are configured, and what is asked of it beside the records.

All that goes wrong there is a StreamError that says what to do; no password is in any of them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.stream.settings import KafkaSettings

if TYPE_CHECKING:
    pass

PATIENCE_SECONDS = 5.0
DELIVERY_SECONDS = 15.0
"""How long a record waits to be acknowledged before it counts as not sent."""
_SPARK_WAITS = {"kafka.request.timeout.ms": "15000", "kafka.default.api.timeout.ms": "20000"}
_LOGIN = "org.apache.kafka.common.security"
_LOGINS = {
    "PLAIN": f"{_LOGIN}.plain.PlainLoginModule",
    "SCRAM-SHA-256": f"{_LOGIN}.scram.ScramLoginModule",
    "SCRAM-SHA-512": f"{_LOGIN}.scram.ScramLoginModule",
}


class StreamError(UserError):
    """Something is wrong with Kafka or a topic; the message says what to do."""


@dataclass(frozen=True)
class Topic:
    """A topic as it is now. `id` is new whenever one of the name is made."""

    name: str
    id: str
    partitions: int


@dataclass(frozen=True)
class Extent:
    """Of each partition the oldest offset that is kept, and the one that the next record gets."""

    oldest: Mapping[int, int]
    next: Mapping[int, int]


def is_configured(settings: KafkaSettings) -> bool:
    """Whether the service's logs go by Kafka."""
    return settings.kafka_bootstrap_servers is not None


def library() -> ModuleType:
    """confluent_kafka. Raises StreamError where the extra is not installed."""
    try:
        import confluent_kafka
    except ImportError as error:
        raise StreamError(
            "DMP_KAFKA_BOOTSTRAP_SERVERS is set and the client of Kafka is not installed: "
            "`uv sync --frozen --inexact --extra kafka`"
        ) from error
    return confluent_kafka


def client_conf(settings: KafkaSettings) -> dict[str, Any]:
    """What librdkafka is told of brokers and login. Raises StreamError for a half-set login."""
    conf: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "security.protocol": settings.kafka_security_protocol,
        "client.id": "dmp_assets",
        "socket.timeout.ms": 10_000,
        "log_level": 0,  # what concerns us is raised
    }
    if settings.kafka_security_protocol.startswith("SASL"):
        name, password = _login(settings)
        conf |= {
            "sasl.mechanism": settings.kafka_sasl_mechanism,
            "sasl.username": name,
            "sasl.password": password,
        }
    if settings.kafka_ca_file is not None:
        conf["ssl.ca.location"] = str(settings.kafka_ca_file)
    return conf


def producer_conf(settings: KafkaSettings) -> dict[str, Any]:
    """What a producer is told: each record once and in order, held by all replicas in sync."""
    return client_conf(settings) | {
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "zstd",
        "linger.ms": 20,
        "delivery.timeout.ms": int(DELIVERY_SECONDS * 1000),
        "queue.buffering.max.messages": 10_000,
        "queue.buffering.max.kbytes": 65_536,
    }


def spark_options(settings: KafkaSettings) -> dict[str, str]:
    """The same for Spark's source."""
    options = {
        "kafka.bootstrap.servers": str(settings.kafka_bootstrap_servers),
        "kafka.security.protocol": settings.kafka_security_protocol,
        **_SPARK_WAITS,
    }
    if settings.kafka_security_protocol.startswith("SASL"):
        name, password = (_quoted(text) for text in _login(settings))
        module = _LOGINS[settings.kafka_sasl_mechanism]
        options |= {
            "kafka.sasl.mechanism": settings.kafka_sasl_mechanism,
            "kafka.sasl.jaas.config": f"{module} required username={name} password={password};",
        }
    if settings.kafka_ca_file is not None:
        options |= {
            "kafka.ssl.truststore.type": "PEM",
            "kafka.ssl.truststore.location": str(settings.kafka_ca_file),
        }
    return options


def _login(settings: KafkaSettings) -> tuple[str, str]:
    password = settings.kafka_sasl_password
    if not settings.kafka_sasl_username or password is None:
        raise StreamError(
            f"DMP_KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol} needs "
            "DMP_KAFKA_SASL_USERNAME and DMP_KAFKA_SASL_PASSWORD"
        )
    return settings.kafka_sasl_username, password.get_secret_value()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class Broker:
    """What is asked of Kafka beside records; every call raises StreamError."""

    def __init__(self, settings: KafkaSettings) -> None:
        kafka = library()
        from confluent_kafka.admin import AdminClient

        self._kafka, self._servers = kafka, settings.kafka_bootstrap_servers
        self._said = ""
        conf = client_conf(settings) | {"error_cb": self._note}
        with told(self._servers):
            self._admin: AdminClient = AdminClient(conf)

    def _note(self, error: Any) -> None:
        self._said = error.str()

    def topic(self, name: str) -> Topic:
        """A topic as it is now; one that is not there is an error, and is not made."""
        kafka = self._kafka
        with self._told(name):
            asked = kafka.TopicCollection([name])
            found = self._admin.describe_topics(asked, request_timeout=PATIENCE_SECONDS)
            described = found[name].result(PATIENCE_SECONDS + 1)
            return Topic(name, str(described.topic_id), len(described.partitions))

    def extent(self, topic: Topic) -> Extent:
        """Which offsets of a topic there are."""
        from confluent_kafka.admin import OffsetSpec

        def ends(spec: Any) -> Mapping[int, int]:
            asked = {
                self._kafka.TopicPartition(topic.name, number): spec
                for number in range(topic.partitions)
            }
            found = self._admin.list_offsets(asked, request_timeout=PATIENCE_SECONDS)
            return {at.partition: f.result(PATIENCE_SECONDS + 1).offset for at, f in found.items()}

        with self._told(topic.name):
            patiently = Retrying(
                retry=retry_if_exception(_is_between_leaders), stop=stop_after_delay(10),
                wait=wait_fixed(0.2), reraise=True,
            )  # fmt: skip
            oldest, following = (
                patiently(ends, spec) for spec in (OffsetSpec.earliest(), OffsetSpec.latest())
            )
        return Extent(oldest, following)

    def make(self, name: str, settings: KafkaSettings) -> bool:
        """Make a topic as the settings have it; False where it is there already."""
        from confluent_kafka.admin import NewTopic

        new = NewTopic(
            name,
            num_partitions=settings.kafka_partitions,
            replication_factor=settings.kafka_replication,
            config={"retention.ms": str(settings.kafka_retention_days * 86_400_000)},
        )
        try:
            made = self._admin.create_topics([new], request_timeout=PATIENCE_SECONDS * 2)
            made[name].result(PATIENCE_SECONDS * 2 + 1)
        except self._kafka.KafkaException as error:
            if error.args[0].code() == self._kafka.KafkaError.TOPIC_ALREADY_EXISTS:
                return False
            raise _in_words(error.args[0], self._servers, name, self._said) from None
        return True

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        with told(self._servers, name, self._last_said):
            yield

    def _last_said(self) -> str:
        """What the client told of itself last, such as why no broker can be reached."""
        self._admin.poll(0)
        return self._said


def _is_between_leaders(error: BaseException) -> bool:
    """Whether a partition is just about to have a leader, as after it was made or a broker went."""
    kafka = library()
    kinds = kafka.KafkaError
    between = (
        kinds.NOT_LEADER_FOR_PARTITION, kinds.LEADER_NOT_AVAILABLE, kinds.UNKNOWN_LEADER_EPOCH,
        kinds.FENCED_LEADER_EPOCH,
    )  # fmt: skip
    return isinstance(error, kafka.KafkaException) and error.args[0].code() in between


@contextmanager
def told(servers: str | None, topic: str = "", said: Any = str) -> Iterator[None]:
    """Raise StreamError for what librdkafka raises. `said`: what it told of itself last."""
    kafka = library()
    try:
        yield
    except kafka.KafkaException as error:
        raise _in_words(error.args[0], servers, topic, said()) from None
    except TimeoutError:
        raise StreamError(_away(servers, said())) from None


def _in_words(error: Any, servers: str | None, topic: str, said: str) -> StreamError:
    kinds = library().KafkaError
    code = error.code()
    if code in (kinds.UNKNOWN_TOPIC_OR_PART, kinds._UNKNOWN_TOPIC, kinds._UNKNOWN_PARTITION):
        return StreamError(
            f"there is no topic {topic} at {servers}: make it with `dmp stream topics`, or have it "
            "made as docs/scale.md says"
        )
    if code in (kinds.TOPIC_AUTHORIZATION_FAILED, kinds.CLUSTER_AUTHORIZATION_FAILED):
        return StreamError(
            f"DMP_KAFKA_SASL_USERNAME may not use the topic {topic} at {servers}: it needs READ, "
            "WRITE and DESCRIBE"
        )
    if code in (kinds._TRANSPORT, kinds._ALL_BROKERS_DOWN, kinds._TIMED_OUT, kinds._RESOLVE,
                kinds._AUTHENTICATION, kinds._SSL):  # fmt: skip
        return StreamError(_away(servers, said or error.str()))
    return StreamError(f"Kafka at {servers} refuses{f' {topic}' if topic else ''}: {error.str()}")


def _away(servers: str | None, said: str) -> str:
    return (
        f"no Kafka answers at {servers}{f' ({said})' if said else ''}; see "
        "DMP_KAFKA_BOOTSTRAP_SERVERS and DMP_KAFKA_SECURITY_PROTOCOL"
    )


def topic_of(settings: KafkaSettings, name: str) -> tuple[Topic, Extent]:
    """A topic and which offsets of it there are. Raises StreamError."""
    broker = Broker(settings)
    topic = broker.topic(name)
    return topic, broker.extent(topic)
