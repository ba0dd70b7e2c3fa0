"""Landing: records of a topic become rows of a table, each once, by Spark Structured Streaming.

A round reads what is there (`availableNow`) in batches; the query's checkpoint lies beside the
tables, on the lakehouse's root, in a folder of the table as it was made and of the topic as it was
made: either made anew begins from the oldest record. Of a batch those rows are added whose ids are
not there, so what a killed round, a killed sender or a lost checkpoint brings again changes
nothing.

The table's lease is the query's: nobody reads by the same checkpoint meanwhile.
"""

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dmp_assets.home import Home
from dmp_assets.platform.lake.columns import Columns, arrow_schema
from dmp_assets.platform.lake.file_statistics import harmless
from dmp_assets.platform.lake.files import CHECKPOINTS
from dmp_assets.platform.postgres.embedded import PostgresError
from dmp_assets.platform.privacy.suppression import Suppressed
from dmp_assets.platform.store import where
from dmp_assets.platform.store.errors import StoreError
from dmp_assets.platform.stream import kafka, records
from dmp_assets.platform.stream import stream as streams
from dmp_assets.platform.stream.kafka import Extent, StreamError, Topic
from dmp_assets.platform.stream.stream import Stream

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.streaming.query import StreamingQuery

    from dmp_assets.platform.lake.lakehouse import Lakehouse, PinnedLakehouse
    from dmp_assets.platform.lake.tables import Tables

RECORDS_AT_ONCE = 200_000
NOTED = "stream"
"""Name in a table's stamp of how far its stream has landed."""
_LOST = ("KAFKA_DATA_LOSS", "failOnDataLoss", "Some data may have been lost")


@dataclass(frozen=True)
class Landed:
    """What a round did.

    rows: new in the table. dead_letters: new among those. offsets: the next one of each partition.
    lag: records that came since. through: the id up to which all rows of the log have landed;
    None where no store says so.
    """

    topic: Topic
    records: int
    rows: int
    dead_letters: int
    offsets: Mapping[str, int]
    lag: int
    through: int | None

    def noted(self) -> dict[str, Any]:
        """The same for the table's stamp."""
        return {"topic_id": self.topic.id, "offsets": dict(self.offsets), "through": self.through}


def noted(tables: "Tables", stream: Stream, topic: Topic) -> Mapping[int, int]:
    """The next offset of each partition as the table notes it; {} for another topic."""
    known = tables.stamp(stream.table).get(NOTED) or {}
    if known.get("topic_id") != topic.id:
        return {}
    return {int(partition): int(at) for partition, at in known["offsets"].items()}


def lag(extent: Extent, landed: Mapping[int, int]) -> int:
    """How many records that Kafka keeps have not landed."""
    return sum(
        max(0, following - max(landed.get(partition, 0), extent.oldest[partition]))
        for partition, following in extent.next.items()
    )


def lost(extent: Extent, landed: Mapping[int, int]) -> int:
    """How many records Kafka has deleted before they landed."""
    return sum(max(0, extent.oldest[p] - at) for p, at in landed.items() if p in extent.oldest)


def state(home: Home, stream: Stream) -> dict[str, Any]:
    """Where a topic ends, by which an asset knows of news; or what is wrong with it."""
    settings = home.settings()
    try:
        topic, extent = kafka.topic_of(settings, stream.topic(settings.kafka_topic_prefix))
    except StreamError as error:
        return {"problem": str(error)}
    ends = {str(partition): at for partition, at in sorted(extent.next.items())}
    return {"topic_id": topic.id, "ends": ends}


def land(
    lakehouse: "Lakehouse | PinnedLakehouse",
    stream: Stream,
    columns: Columns,
    *,
    log: Any,
    accept_loss: bool = False,
) -> Landed:
    """Land what a topic holds; under the lease of the stream's tables.

    `columns` are those that the table has of itself. accept_loss: go on although Kafka has deleted
    records that never landed. Raises StreamError, and what Spark raises.
    """
    settings = lakehouse.settings
    if settings.spark_remote:
        raise StreamError(
            "records are landed by a Spark driver of this process: unset DMP_SPARK_REMOTE, "
            "DMP_SPARK_MASTER names a cluster"
        )
    broker = kafka.Broker(settings)
    topic = broker.topic(stream.topic(settings.kafka_topic_prefix))
    through = _acknowledged(lakehouse.home, stream, topic)  # first: all up to it is in the extent
    extent = broker.extent(topic)
    round_ = _Round(lakehouse, stream, columns, topic, log)
    if not lakehouse.tables.exists(stream.table):
        empty = arrow_schema({**columns, **streams.COLUMNS}).empty_table()
        lakehouse.overwrite(stream.table, empty, stamp=round_.stamp(), bounded=harmless(columns))
    before = noted(lakehouse.tables, stream, topic)
    if not accept_loss and (gone := lost(extent, before)):
        raise _loss(stream, topic, f"{gone:,} records")
    offsets = before
    if waiting := lag(extent, before):
        lakehouse.expect(waiting)
        offsets = round_.run(accept_loss=accept_loss) or before
    after = {str(partition): at for partition, at in sorted(offsets.items())}
    left = lag(broker.extent(topic), offsets)
    return Landed(topic, round_.records, round_.rows, round_.dead, after, left, through)


def _acknowledged(home: Home, stream: Stream, topic: Topic) -> int | None:
    """The id up to which the store's log is in Kafka; None where no store says so."""
    if not where.is_configured(home):
        return None
    from dmp_assets.platform.store import database
    from dmp_assets.platform.stream import outbox

    try:
        with database.opened(where.store_url(home)) as store, store.connect() as connection:
            return outbox.acknowledged(connection, stream, topic.id)
    except (StoreError, PostgresError):
        return None


class _Round:
    """One query: reads what a topic holds from its checkpoint on, and counts what it landed."""

    def __init__(
        self,
        lakehouse: "Lakehouse | PinnedLakehouse",
        stream: Stream,
        columns: Columns,
        topic: Topic,
        log: Any,
    ) -> None:
        self.records = self.rows = self.dead = 0
        self._lakehouse, self._stream, self._topic, self._log = lakehouse, stream, topic, log
        self._columns = columns
        self._ends = dict(noted(lakehouse.tables, stream, topic))
        self._failed: Exception | None = None
        self._query_id = ""
        self._begun = threading.Event()

    @property
    def checkpoint(self) -> str:
        """Where the query notes how far it is."""
        tables = self._lakehouse.tables
        made = tables.standing(self._stream.table).id
        root = tables.root.rstrip("/")
        return f"{root}/{CHECKPOINTS}/{self._stream.name}/{made}-{self._topic.id.replace('/', '_')}"

    def stamp(self) -> dict[str, Any]:
        """What a batch notes: new data, and nothing that says that this was all of it."""
        tables, key = self._lakehouse.tables, self._stream.table
        old = {n: said for n, said in tables.stamp(key).items() if n != "delta_version"}
        version = tables.version(key) if tables.exists(key) else -1
        made_of = json.dumps([old.get("data_version"), version, self._lakehouse.run_id])
        new = hashlib.sha256(made_of.encode()).hexdigest()[:20]
        return {
            **old, "fingerprint": None, "data_version": new, "run_id": self._lakehouse.run_id,
            NOTED: {
                "topic_id": self._topic.id, "through": (old.get(NOTED) or {}).get("through"),
                "offsets": {str(part): at for part, at in sorted(self._ends.items())},
            },
        }  # fmt: skip

    def run(self, *, accept_loss: bool) -> Mapping[int, int] | None:
        """Land all that is there; the next offset of each partition, None where nothing was new."""
        settings = self._lakehouse.settings
        frame = (
            self._lakehouse.spark.readStream.format("kafka")
            .options(**kafka.spark_options(settings))
            .option("subscribe", self._topic.name)
            .option("startingOffsets", "earliest")
            .option("failOnDataLoss", str(not accept_loss).lower())
            .option("maxOffsetsPerTrigger", RECORDS_AT_ONCE)
            .load()
        )
        query = (
            frame.writeStream.foreachBatch(self._batch)
            .option("checkpointLocation", self.checkpoint)
            .trigger(availableNow=True)
            .start()
        )
        self._query_id = str(query.id)  # that of the checkpoint, however often it is begun again
        self._begun.set()
        try:
            self._until_end(query)
        finally:
            query.stop()
        return self._offsets(query)

    def _until_end(self, query: "StreamingQuery") -> None:
        from pyspark.errors import StreamingQueryException

        try:
            while not query.awaitTermination(1):
                pass
        except StreamingQueryException as error:
            if self._failed is not None:
                raise self._failed from None
            said = str(error)
            if any(word in said for word in _LOST):
                raise _loss(self._stream, self._topic, "records") from None
            if "TimeoutException" in said or "DisconnectException" in said:
                servers = self._lakehouse.settings.kafka_bootstrap_servers
                raise StreamError(
                    f"Kafka at {servers} went away while {self._topic.name} was read; what has "
                    "landed stays, the next run goes on from there"
                ) from None
            raise

    def _batch(self, frame: "DataFrame", number: int) -> None:
        try:
            self._begun.wait()
            self._land(frame, (self._query_id, number))
        except Exception as error:  # Spark tells of it as text only
            self._failed = error
            raise

    def _land(self, frame: "DataFrame", transaction: tuple[str, int]) -> None:
        read = records.read(frame, self._stream, self._columns).persist()
        try:
            places = records.places(read, self._stream)
            last = places.group_by("kafka_partition").aggregate([("kafka_offset", "max")])
            for part in last.to_pylist():
                self._ends[part["kafka_partition"]] = part["kafka_offset_max"] + 1
            numbers = places.column("number").drop_null()
            if len(numbers) < places.num_rows:
                self._keep_dead_letters(read)
            if len(numbers):
                self._add_rows(read, numbers, transaction)
            self.records += places.num_rows
        finally:
            read.unpersist()

    def _keep_dead_letters(self, read: "DataFrame") -> None:
        key, columns = self._stream.dead_letters, streams.dead_letter_columns(self._columns)
        letters = self._kept(records.dead_letters(read, self._columns), columns)
        before = self._rows(key)
        self._lakehouse.merge(
            key, letters, keys=streams.DEAD_LETTER_KEY, only_new=True, bounded=harmless(columns)
        )
        self.dead += self._rows(key) - before

    def _add_rows(
        self, read: "DataFrame", numbers: pa.ChunkedArray, transaction: tuple[str, int]
    ) -> None:
        """Append rows that are all new, as most are; else insert those that are."""
        lakehouse, key, number = self._lakehouse, self._stream.table, self._stream.key
        columns = {**self._columns, **streams.COLUMNS}
        noted: dict[str, Any] = {"stamp": self.stamp(), "bounded": harmless(columns)}
        before, least = self._rows(key), pc.min(numbers).as_py()
        there = lakehouse.tables.sql(
            f"SELECT {number} FROM {key.replace('/', '.')} WHERE {number} >= ?", [least]
        )
        are_new = not pc.any(pc.is_in(numbers, there.column(0).combine_chunks())).as_py()
        if are_new and pc.count_distinct(numbers).as_py() == len(numbers):
            rows = self._kept(records.rows(read), columns)
            lakehouse.append(key, rows, transaction=transaction, **noted)
        else:
            rows = self._kept(records.first_rows(read, self._stream, self._columns), columns)
            among = f"t.`{number}` >= {least}"
            lakehouse.merge(key, rows, keys=(number,), only_new=True, among=among, **noted)
        self.rows += self._rows(key) - before

    def _rows(self, key: str) -> int:
        return self._lakehouse.written(key).rows if self._lakehouse.tables.exists(key) else 0

    def _kept(self, frame: "DataFrame", columns: Columns) -> "DataFrame":
        """Rows of nobody who was forgotten."""
        return Suppressed.of(self._lakehouse.home).without(frame, columns, self._left_out)

    def _left_out(self, rows: int) -> None:
        self._log.info(
            f"{self._stream.table}: {rows} rows of people who were forgotten are left out"
        )

    def _offsets(self, query: "StreamingQuery") -> Mapping[int, int] | None:
        progress = query.lastProgress
        if progress is None:
            return None
        ends = progress["sources"][0]["endOffset"]
        found = json.loads(ends) if isinstance(ends, str) else ends
        landed = (found or {}).get(self._topic.name)
        return {int(p): int(at) for p, at in landed.items()} if landed else None


def _loss(stream: Stream, topic: Topic, what: str) -> StreamError:
    return StreamError(
        f"Kafka has deleted {what} of {topic.name} before they landed in {stream.table}: its "
        "retention is shorter than runs were apart. Rows that the operational store still holds "
        f"are sent again by `dmp stream resend {stream.name}`; then go on, without what is lost, "
        "by `dmp stream --once --accept-loss`, and let the topic keep records longer"
    )
