"""The log of scores: written before the answer, in few round trips, and never twice.

Works on a psycopg connection of its own (autocommit), because scoring counts milliseconds. Writers
take a lock for the length of their transaction, so that ids are committed in their order and a
reader that has seen up to an id has seen all before it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects import postgresql

from dmp_assets.abuse.rulings import ListEntry
from dmp_assets.store import review

_LOCK = 0x73636F7265  # "score"
IDEMPOTENT_FOR = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Prediction:
    """One row of `abuse_prediction`; see `store/schema.py`."""

    score_id: UUID
    predicted_at: datetime
    account_id: str
    is_new: bool
    attributes: Mapping[str, Any] | None
    probability: float
    model_decision: str
    decision: str
    decided_by: str
    reasons: list[dict[str, Any]]
    linked_accounts: list[str]
    cluster_id: str | None
    cluster_size: int
    expected_abusers: float
    model_version: str
    features: list[float] | None
    live_links: bool
    caller: str
    request_id: str

    def values(self) -> tuple[Any, ...]:
        """For COPY, in the order of `COLUMNS`."""
        row = [getattr(self, name) for name in COLUMNS]
        for place in _JSON:
            row[place] = None if row[place] is None else Jsonb(row[place])
        return tuple(row)

    def as_json(self) -> dict[str, Any]:
        """For the spool."""
        shown = asdict(self)
        return shown | {
            "score_id": str(self.score_id), "predicted_at": self.predicted_at.isoformat(),
        }  # fmt: skip

    @classmethod
    def of_json(cls, shown: Mapping[str, Any]) -> "Prediction":
        """What `as_json` made. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(**{
            **shown, "score_id": UUID(shown["score_id"]),
            "predicted_at": datetime.fromisoformat(shown["predicted_at"]),
        })  # fmt: skip


COLUMNS = tuple(field.name for field in fields(Prediction))
_JSON = (COLUMNS.index("attributes"), COLUMNS.index("reasons"))
_REVISION = "SELECT revision FROM review_revision"
_LAST_ID = "SELECT coalesce(max(prediction_id), 0) FROM abuse_prediction"
_INSERT = (
    f"INSERT INTO abuse_prediction ({', '.join(COLUMNS)}) "  # noqa: S608 - our own names
    f"VALUES ({', '.join(['%s'] * len(COLUMNS))})"
)
_IN_FORCE = review.in_force().subquery()
_VERDICTS = str(
    sa.select(_IN_FORCE.c.account_id, _IN_FORCE.c.verdict).compile(
        dialect=postgresql.dialect(),  # type: ignore[no-untyped-call]
        compile_kwargs={"literal_binds": True},
    )
)
FEW_ROWS = 32
_COPY = f"COPY abuse_prediction ({', '.join(COLUMNS)}) FROM STDIN"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to a request with an Idempotency-Key."""

    caller: str
    idempotency_key: str
    request_sha256: bytes
    answer: bytes
    answered_at: datetime


@dataclass(frozen=True, slots=True)
class NewAccount:
    """A new account as its caller described it when it was scored last."""

    prediction_id: int
    account_id: str
    attributes: Mapping[str, Any]
    probability: float
    predicted_at: datetime


class AnsweredError(Exception):
    """Somebody answered these keys meanwhile: nothing was logged."""

    def __init__(self, answers: Mapping[tuple[str, str], "Answer"]) -> None:
        super().__init__("answered meanwhile")
        self.answers = dict(answers)


@dataclass(frozen=True)
class News:
    """What happened since one looked last."""

    accounts: list[NewAccount]
    last_id: int
    revision: int


_NEWS = """
SELECT prediction_id, account_id, attributes, probability, predicted_at FROM abuse_prediction
WHERE prediction_id > %s AND is_new AND attributes IS NOT NULL ORDER BY prediction_id
"""


def news(connection: psycopg.Connection[Any], after: int) -> News:
    """New accounts scored since the prediction `after`, and the revision of decisions and lists."""
    with connection.pipeline(), connection.cursor() as cursor, connection.cursor() as state:
        cursor.execute(_NEWS, [after])
        state.execute(_REVISION)
        found = [NewAccount(*row) for row in cursor.fetchall()]
        (revision,) = state.fetchone() or (0,)
    last = found[-1].prediction_id if found else after
    return News(found, last, revision)


def accounts_since(
    connection: psycopg.Connection[Any], at: datetime
) -> tuple[list[NewAccount], int]:
    """New accounts scored since a time, each as scored last; and the last prediction's id."""
    (last_id,) = connection.execute(_LAST_ID).fetchone() or (0,)
    rows = connection.execute(
        """
        SELECT * FROM (
            SELECT DISTINCT ON (account_id)
                prediction_id, account_id, attributes, probability, predicted_at
            FROM abuse_prediction
            WHERE is_new AND attributes IS NOT NULL AND predicted_at >= %s AND prediction_id <= %s
            ORDER BY account_id, predicted_at DESC, prediction_id DESC
        ) latest ORDER BY predicted_at, prediction_id
        """,
        [at, last_id],
    ).fetchall()
    return [NewAccount(*row) for row in rows], last_id


def append(
    connection: psycopg.Connection[Any],
    rows: Sequence[Prediction],
    answers: Sequence[Answer],
    *,
    after: int,
) -> News:
    """Log scores and answers in one durable transaction.

    Returns what others logged since the prediction `after`, with the last id of all. Raises
    AnsweredError, and logs nothing, when one of the keys was answered before.
    """
    if len(rows) <= FEW_ROWS and not answers:
        return _append_few(connection, rows, after)
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        keys = [(answer.caller, answer.idempotency_key) for answer in answers]
        if answers and (found := answers_to(connection, keys, answers[0].answered_at)):
            raise AnsweredError(found)
        others = news(connection, after)
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for row in rows:
                copy.write_row(row.values())
        _keep(connection, answers)
        last = connection.execute(_LAST_ID).fetchone()
    return News(others.accounts, last[0] if last else others.last_id, others.revision)


def _append_few(
    connection: psycopg.Connection[Any], rows: Sequence[Prediction], after: int
) -> News:
    """The same in one round trip, which COPY is not."""
    with (
        connection.cursor() as said,
        connection.cursor() as state,
        connection.cursor() as write,
        connection.cursor() as last,
        connection.pipeline(),
        connection.transaction(),
    ):
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        said.execute(_NEWS, [after])
        state.execute(_REVISION)
        write.executemany(_INSERT, [row.values() for row in rows])
        last.execute(_LAST_ID)
        accounts = [NewAccount(*row) for row in said.fetchall()]
        (revision,) = state.fetchone() or (0,)
        (last_id,) = last.fetchone() or (after,)
    return News(accounts, last_id, revision)


def absorb(
    connection: psycopg.Connection[Any], rows: Iterable[Prediction], answers: Sequence[Answer]
) -> int:
    """Log scores of which some may be there already; how many were not."""
    names = ", ".join(COLUMNS)
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        connection.execute("CREATE TEMPORARY TABLE spooled (LIKE abuse_prediction) ON COMMIT DROP")
        connection.execute("ALTER TABLE spooled ALTER prediction_id DROP NOT NULL")
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY spooled ({names}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row(row.values())
        done = connection.execute(
            f"INSERT INTO abuse_prediction ({names}) SELECT {names} FROM spooled "  # noqa: S608
            "ORDER BY predicted_at ON CONFLICT (score_id) DO NOTHING"
        )
        _keep(connection, answers)
    return done.rowcount


def _keep(connection: psycopg.Connection[Any], answers: Sequence[Answer]) -> None:
    if answers:
        with connection.cursor() as cursor:
            cursor.executemany(
                """
                INSERT INTO idempotent_answer
                    (caller, idempotency_key, request_sha256, answer, answered_at)
                VALUES (%s, %s, %s, %s, %s)
                ON CONFLICT (caller, idempotency_key) DO UPDATE SET
                    request_sha256 = excluded.request_sha256, answer = excluded.answer,
                    answered_at = excluded.answered_at
                WHERE idempotent_answer.answered_at < excluded.answered_at - %s
                """,
                [(*astuple(answer), IDEMPOTENT_FOR) for answer in answers],
            )


def answers_to(
    connection: psycopg.Connection[Any], asked: Sequence[tuple[str, str]], now: datetime
) -> dict[tuple[str, str], Answer]:
    """Answers of the last 24 hours to (caller, Idempotency-Key)."""
    if not asked:
        return {}
    rows = connection.execute(
        """
        SELECT caller, idempotency_key, request_sha256, answer, answered_at FROM idempotent_answer
        WHERE (caller, idempotency_key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
            AND answered_at >= %s
        """,
        [[caller for caller, _ in asked], [key for _, key in asked], now - IDEMPOTENT_FOR],
    ).fetchall()
    return {(row[0], row[1]): Answer(*row) for row in rows}


def verdicts(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """What people decided: account → `allow` or `block`; taken back decisions are not there."""
    return dict(connection.execute(_VERDICTS).fetchall())


def list_entries(connection: psycopg.Connection[Any]) -> list[ListEntry]:
    """The entries in force, and those that expired but were not removed."""
    rows = connection.execute(
        "SELECT effect, kind, value, expires_at FROM abuse_list_entry WHERE removed_at IS NULL"
    ).fetchall()
    return [ListEntry(*row) for row in rows]


def spool_line(rows: Sequence[Prediction], answers: Sequence[Answer]) -> bytes:
    """One batch as a line of the spool."""
    held = [
        {
            "caller": answer.caller, "idempotency_key": answer.idempotency_key,
            "request_sha256": answer.request_sha256.hex(), "answer": answer.answer.decode(),
            "answered_at": answer.answered_at.isoformat(),
        }
        for answer in answers
    ]  # fmt: skip
    return json.dumps({"rows": [row.as_json() for row in rows], "answers": held}).encode() + b"\n"


def of_spool_line(line: bytes) -> tuple[list[Prediction], list[Answer]]:
    """What `spool_line` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    read = json.loads(line)
    answers = [
        Answer(
            answer["caller"], answer["idempotency_key"], bytes.fromhex(answer["request_sha256"]),
            answer["answer"].encode(), datetime.fromisoformat(answer["answered_at"]),
        )
        for answer in read["answers"]
    ]  # fmt: skip
    return [Prediction.of_json(row) for row in read["rows"]], answers
