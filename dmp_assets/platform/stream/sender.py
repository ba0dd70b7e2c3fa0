"""Sending: what waits in the outboxes goes to Kafka, beside the service and never in its way.

Any process may send; of one stream one at a time does. A record is one row of a log. Records of a
batch are acknowledged by all replicas in sync before the position moves.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from dmp_assets.platform.stream import kafka, outbox
from dmp_assets.platform.stream.kafka import Broker, StreamError, Topic
from dmp_assets.platform.stream.settings import KafkaSettings
from dmp_assets.platform.stream.stream import Stream

if TYPE_CHECKING:
    from confluent_kafka import Producer

log = structlog.get_logger("dmp.api")
ROWS_AT_ONCE = 5_000
LOOK_SECONDS = 1.0
AGAIN_SECONDS = 10.0
"""How long a sender waits after brokers or store were away."""


class StreamMetrics:
    """What Prometheus is told of sending."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.waiting = Gauge(
            "dmp_stream_waiting_rows",
            "Rows of a log that Kafka has not acknowledged yet.",
            ("stream",),
            registry=registry,
        )
        self.sent = Counter(
            "dmp_stream_sent_total",
            "Records that this process sent and Kafka acknowledged.",
            ("stream",),
            registry=registry,
        )
        self.ready = Gauge(
            "dmp_stream_ready", "1 when Kafka took what was sent last.", registry=registry
        )


class Sender:
    """Sends what waits in the outboxes of these streams. Not for several threads at once."""

    def __init__(
        self, settings: KafkaSettings, store: sa.Engine, streams: Sequence[Stream]
    ) -> None:
        self.streams = streams
        self._settings, self._store = settings, store
        self._producer: Producer | None = None
        self._broker: Broker | None = None
        self._topics: dict[str, Topic] = {}

    def topic(self, stream: Stream) -> Topic:
        """The stream's topic as it is now. Raises StreamError."""
        if self._broker is None:
            self._broker = Broker(self._settings)
        return self._broker.topic(stream.topic(self._settings.kafka_topic_prefix))

    def waiting(self, stream: Stream) -> outbox.Waiting:
        """What of a stream waits; asks the store alone."""
        topic = self._topics.get(stream.name)
        with self._store.connect() as connection:
            return outbox.waiting(connection, stream, topic.id if topic else None)

    def is_known(self, stream: Stream) -> bool:
        """Whether the stream's topic was there when it was last sent to."""
        return stream.name in self._topics

    def send(self, stream: Stream, stop: Callable[[], bool] = lambda: False) -> int:
        """Send all that waits of a stream; how many records Kafka acknowledged.

        None are sent where another process is at it. What Kafka does not take waits on. Raises
        StreamError, and what the store raises.
        """
        sent = 0
        while not stop():
            topic = self._topics[stream.name] = self.topic(stream)
            with self._store.begin() as connection:
                position = outbox.hold(connection, stream, topic.id)
                if position is None:
                    break
                rows = outbox.rows_after(connection, stream, position, ROWS_AT_ONCE)
                if not rows:
                    break
                taken, problem = self._sent(stream, topic, rows)
                if taken:
                    outbox.advance(connection, stream, topic.id, rows[taken - 1][0])
            sent += taken
            if problem is not None:
                raise problem
            if len(rows) < ROWS_AT_ONCE:
                break
        return sent

    def _sent(
        self, stream: Stream, topic: Topic, rows: Sequence[tuple[int, str]]
    ) -> tuple[int, StreamError | None]:
        """How many of the first rows are in Kafka for certain, and what kept the next one out."""
        refused: dict[int, Any] = {}
        done: set[int] = set()
        with kafka.told(self._settings.kafka_bootstrap_servers, topic.name):
            if self._producer is None:
                self._producer = kafka.library().Producer(kafka.producer_conf(self._settings))
            for place, (number, row) in enumerate(rows):

                def note(error: Any, record: Any, place: int = place) -> None:
                    done.add(place)
                    if error is not None:
                        refused[place] = error

                self._produce(topic, str(number), stream.record(number, row), note)
            self._producer.flush(kafka.DELIVERY_SECONDS + 5)
        if not refused and len(done) == len(rows):
            return len(rows), None
        self._producer = None  # its numbers of records are of no use any more
        first = min({*refused, *(set(range(len(rows))) - done)})
        error = refused.get(first)
        said = error.str() if error is not None else "no answer"
        return first, StreamError(
            f"Kafka at {self._settings.kafka_bootstrap_servers} does not take records for "
            f"{topic.name} ({said}); they wait in the operational store"
        )

    def _produce(self, topic: Topic, key: str, value: str, note: Any) -> None:
        """Hand over a record; where the producer's queue is full, wait until some of it is gone."""
        assert self._producer is not None
        while True:
            try:
                self._producer.produce(topic.name, value, key, on_delivery=note)
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return


class SenderThread:
    """A sender that works in a thread of its own, beside the service, until it is stopped."""

    def __init__(self, sender: Sender, metrics: StreamMetrics) -> None:
        self._sender, self._metrics = sender, metrics
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._send_forever, name="kafka", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the batch that is under way; what was not sent waits."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=kafka.DELIVERY_SECONDS)

    def _send_forever(self) -> None:
        pause = 0.0
        told: Mapping[str, str] = {}
        while not self._stopping.wait(pause):
            problems = self.once()
            for name, problem in problems.items():
                if told.get(name) != problem:
                    log.warning("records wait in the store", stream=name, problem=problem)
            told = problems
            self._metrics.ready.set(not problems)
            pause = AGAIN_SECONDS if problems else LOOK_SECONDS

    def once(self) -> Mapping[str, str]:
        """Send what waits; stream → what is in the way."""
        problems: dict[str, str] = {}
        for stream in self._sender.streams:
            try:
                self._once(stream)
            except StreamError as error:
                problems[stream.name] = str(error)
            except (DBAPIError, PoolTimeout) as error:
                problems[stream.name] = f"the store does not answer ({type(error).__name__})"
            except Exception as error:  # the thread lives on; the rows wait
                log.error("sending failed", stream=stream.name, exc_info=error)
                problems[stream.name] = type(error).__name__
        return problems

    def _once(self, stream: Stream) -> None:
        waiting = self._sender.waiting(stream).rows
        self._metrics.waiting.labels(stream.name).set(waiting)
        if waiting or not self._sender.is_known(stream):
            sent = self._sender.send(stream, self._stopping.is_set)
            self._metrics.sent.labels(stream.name).inc(sent)
            self._metrics.waiting.labels(stream.name).set(self._sender.waiting(stream).rows)
