"""A stream: a log of the service that can go by Kafka, and what a record of it is.

A record's value is a CloudEvent (https://cloudevents.io, version 1.0, structured JSON): `id` is the
row's number in its log, `type` names the log and the version of its shape, `data` is the row. The
record's key is that number too, which is no personal datum.
"""

from dataclasses import dataclass

from dmp_assets.platform.lake.columns import Column, Columns

COLUMNS: Columns = {
    "kafka_topic": Column(
        "string", "Kafka topic by which it came; null: it was read from the store.", optional=True
    ),
    "kafka_partition": Column("integer", "Partition of that topic.", optional=True),
    "kafka_offset": Column("long", "Offset in that partition.", optional=True),
}
"""What a landed row has beside its own columns, where it came by Kafka."""

_DEAD_LETTER: Columns = {
    "kafka_topic": Column("string", "Kafka topic of the record."),
    "kafka_partition": Column("integer", "Partition of that topic."),
    "kafka_offset": Column("long", "Offset in that partition."),
    "recorded_at": Column("timestamp", "When Kafka took it (UTC)."),
    "reason": Column("string", "Why it cannot be used: no_value, not_json, schema_unknown, "
                     "field_unreadable or id_missing."),
    "record_type": Column("string", "The type and version that it says it has.", "free text"),
    "value": Column("string", "The record as it came.", "free text"),
}  # fmt: skip
DEAD_LETTER_KEY = ("kafka_topic", "kafka_partition", "kafka_offset", "recorded_at")
"""What identifies a dead letter; a topic that is made anew counts from 0 again."""


@dataclass(frozen=True)
class Stream:
    """A log of the operational store and where its rows land.

    name: of the log's table in the store; the topic is called so, after `kafka_topic_prefix`.
    table: key of the table of the lakehouse that takes its rows. key: the log's growing number, by
    which a row is there once. version: grows when a field is taken away or means something else;
    a further field is no new version.
    """

    name: str
    table: str
    key: str
    version: int = 1

    @property
    def dead_letters(self) -> str:
        """Key of the table of records that cannot be used."""
        return f"quarantine/{self.table.partition('/')[2]}"

    @property
    def type(self) -> str:
        """A record's `type`."""
        return f"dmp.{self.name}.v{self.version}"

    def topic(self, prefix: str) -> str:
        """Name of its topic."""
        return f"{prefix}{self.name}"

    def record(self, number: int, row: str) -> str:
        """The value of a record: `row` is the log's row as JSON."""
        return (
            f'{{"specversion":"1.0","id":"{number}","source":"dmp_assets","type":"{self.type}",'
            f'"datacontenttype":"application/json","data":{row}}}'
        )


def dead_letter_columns(columns: Columns) -> Columns:
    """Columns of a stream's dead letters: `columns` are those of the rows that they would be.

    Whoever a record is about is found by it as far as the record can be read.
    """
    return {**_DEAD_LETTER, **subjects(columns)}


def subjects(columns: Columns) -> Columns:
    """Those of the columns by which a person's rows are found, and that hold one text each."""
    return {n: c for n, c in columns.items() if c.subject is not None and c.type == "string"}
