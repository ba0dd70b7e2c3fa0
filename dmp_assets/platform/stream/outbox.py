"""The outbox of a stream: rows of its log that Kafka has not acknowledged yet.

The log in the operational store is the truth. A row is in it before its caller is answered, and
waits there for however long the brokers are away. Ids are committed in their order (writers hold a
lock), so a position says all: what has a greater id is to be sent. Whoever sends holds the
position's row until its records are acknowledged; a sender that is killed lets go of it, and the
next one sends the same rows again. The lakehouse takes each id once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as insert_into

from dmp_assets.platform.store.schema import every, stream_position
from dmp_assets.platform.stream.kafka import StreamError
from dmp_assets.platform.stream.stream import Stream

_AS_TEXT = (JSONB, sa.Uuid)
"""Kinds of columns that land as the text that PostgreSQL writes."""


@dataclass(frozen=True)
class Waiting:
    """How far a log has been sent. `rows`: those that are not acknowledged yet."""

    newest: int
    acknowledged: int
    rows: int


def acknowledged(store: sa.Connection, stream: Stream, topic_id: str | None) -> int:
    """The id up to which all rows of a log are in Kafka; 0: none is. No topic: in any of it."""
    of = _is(stream, topic_id) if topic_id else (stream_position.c.stream == stream.name,)
    found = store.scalar(sa.select(sa.func.max(stream_position.c.last_id)).where(*of))
    return int(found or 0)


def waiting(store: sa.Connection, stream: Stream, topic_id: str | None) -> Waiting:
    """What of a log waits to be sent to a topic; by what is known of any where there is none."""
    key = _log(stream).c[stream.key]
    sent = acknowledged(store, stream, topic_id)
    newest, rows = store.execute(
        sa.select(sa.func.max(key), sa.func.count().filter(key > sent)).where(key >= sent)
    ).one()
    return Waiting(int(newest or 0), sent, int(rows))


def hold(store: sa.Connection, stream: Stream, topic_id: str) -> int | None:
    """The position, held until the transaction ends; None where another sender holds it.

    Raises StreamError where the log ends before it: it is another store, or an older copy.
    """
    store.execute(
        insert_into(stream_position)
        .values(stream=stream.name, topic_id=topic_id, last_id=0)
        .on_conflict_do_nothing()
    )
    held = (
        sa.select(stream_position.c.last_id)
        .where(*_is(stream, topic_id))
        .with_for_update(skip_locked=True)
    )
    position = store.scalar(held)
    if position is None:
        return None
    newest = store.scalar(sa.select(sa.func.max(_log(stream).c[stream.key])))
    if newest is not None and newest < position:
        raise StreamError(
            f"the operational store's {stream.name} ends with {newest}, and {position} was sent to "
            "Kafka before: it is another store or an older copy. Let it count on: ALTER TABLE "
            f"{stream.name} ALTER {stream.key} RESTART WITH {position + 1}"
        )
    return int(position)


def rows_after(
    store: sa.Connection, stream: Stream, position: int, most: int
) -> Sequence[tuple[int, str]]:
    """The next rows of a log, in order: id, and the row as JSON.

    Values are such that they land as they do when the log is read: JSON and UUIDs as text.
    """
    log = _log(stream)
    columns = [
        sa.cast(column, sa.Text).label(column.name) if isinstance(column.type, _AS_TEXT) else column
        for column in log.columns
    ]
    key = log.c[stream.key]
    rows = sa.select(*columns).where(key > position).order_by(key).limit(most).subquery("r")
    as_json = sa.cast(sa.func.row_to_json(sa.literal_column("r")), sa.Text)
    found = store.execute(sa.select(rows.c[stream.key], as_json).order_by(rows.c[stream.key]))
    return [(int(number), str(row)) for number, row in found]


def advance(store: sa.Connection, stream: Stream, topic_id: str, position: int) -> None:
    """Note that Kafka holds all rows up to this id."""
    store.execute(
        stream_position.update()
        .where(*_is(stream, topic_id))
        .values(last_id=position, acknowledged_at=sa.func.now())
    )


def rewind(store: sa.Connection, stream: Stream, topic_id: str) -> int:
    """Send all again that the log still holds; how many rows that are."""
    store.execute(stream_position.update().where(*_is(stream, topic_id)).values(last_id=0))
    return int(store.scalar(sa.select(sa.func.count()).select_from(_log(stream))) or 0)


def _log(stream: Stream) -> sa.Table:
    return every().tables[stream.name]


def _is(stream: Stream, topic_id: str) -> Sequence[sa.ColumnElement[bool]]:
    return (stream_position.c.stream == stream.name, stream_position.c.topic_id == topic_id)
