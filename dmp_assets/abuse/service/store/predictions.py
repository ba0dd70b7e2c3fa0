"""The log of scores: written before the answer, in few round trips, and never twice.

Works on a psycopg connection of its own (autocommit), because scoring counts milliseconds. Writers
take a lock for the length of their transaction, so that ids are committed in their order and a
reader that has seen up to an id has seen all before it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa
from pydantic_core import to_json
from sqlalchemy.dialects import postgresql

from dmp_assets.abuse.model.rulings import ListEntry
from dmp_assets.abuse.service.store import review
from dmp_assets.abuse.service.store.schema import abuse_prediction

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


_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_NAMES = [field.name for field in fields(Prediction)]
_COLUMNS = ", ".join(_NAMES)
_TYPED = ", ".join(f"{name} {abuse_prediction.c[name].type.compile(_DIALECT)}" for name in _NAMES)
_INSERT = (
    f"INSERT INTO abuse_prediction ({_COLUMNS}) SELECT {_COLUMNS} "  # noqa: S608 - our own names
    f"FROM json_to_recordset(%(rows)s::json) AS row_({_TYPED})"
)
_LOCKED = f"SELECT pg_advisory_xact_lock({0x73636F7265})"  # "score"
_REVISION = "SELECT revision FROM review_revision"
_LAST_ID = "SELECT coalesce(max(prediction_id), 0) FROM abuse_prediction"
_IN_FORCE = review.in_force().subquery()
_VERDICTS = str(
    sa.select(_IN_FORCE.c.account_id, _IN_FORCE.c.verdict).compile(
        dialect=_DIALECT, compile_kwargs={"literal_binds": True}
    )
)


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
    caller: str


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
SELECT prediction_id, account_id, attributes, probability, predicted_at, caller
FROM abuse_prediction
WHERE prediction_id > %(after)s AND is_new AND attributes IS NOT NULL ORDER BY prediction_id
"""


def news(connection: psycopg.Connection[Any], after: int) -> News:
    """New accounts scored since the prediction `after`, and the revision of decisions and lists."""
    with psycopg.ClientCursor(connection) as cursor:
        cursor.execute(f"{_NEWS}; {_REVISION}", {"after": after})
        found, revision = _heard(cursor)
    last = found[-1].prediction_id if found else after
    return News(found, last, revision)


def accounts_since(
    connection: psycopg.Connection[Any], at: datetime, most: int, most_of_one: int
) -> tuple[list[NewAccount], int]:
    """New accounts scored since a time, each as its client scored it last with these values, the
    latest last; and the last id.

    No more than the latest `most`, and of one client the latest `most_of_one`, whose share is the
    smaller the more others have.
    """
    (last_id,) = connection.execute(_LAST_ID).fetchone() or (0,)
    rows = connection.execute(
        """
        SELECT prediction_id, account_id, attributes, probability, predicted_at, caller FROM (
            SELECT *, row_number() OVER (
                PARTITION BY caller ORDER BY predicted_at DESC, prediction_id DESC
            ) AS place FROM (
                SELECT DISTINCT ON (account_id, caller, linking)
                    prediction_id, account_id, attributes, probability, predicted_at, caller,
                    jsonb_build_array(
                        attributes -> 'device_id', attributes -> 'email', attributes -> 'phone',
                        attributes -> 'ip'
                    ) AS linking
                FROM abuse_prediction
                WHERE is_new AND attributes IS NOT NULL AND predicted_at >= %s
                    AND prediction_id <= %s
                ORDER BY account_id, caller, linking, predicted_at DESC, prediction_id DESC
            ) scored
        ) placed WHERE place <= %s ORDER BY place, prediction_id DESC LIMIT %s
        """,
        [at, last_id, most_of_one, most],
    ).fetchall()
    accounts = sorted((NewAccount(*row) for row in rows), key=lambda a: a.prediction_id)
    return accounts, last_id


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
    if not answers:
        return _append(connection, rows, after)
    with connection.transaction():
        connection.execute(_LOCKED)
        keys = [(answer.caller, answer.idempotency_key) for answer in answers]
        if found := answers_to(connection, keys, answers[0].answered_at):
            raise AnsweredError(found)
        heard = _append(connection, rows, after)
        _keep(connection, answers)
    return heard


def _append(connection: psycopg.Connection[Any], rows: Sequence[Prediction], after: int) -> News:
    """One round trip and, outside of a transaction, one of its own."""
    with psycopg.ClientCursor(connection) as cursor:
        cursor.execute(
            f"{_LOCKED}; {_NEWS}; {_REVISION}; {_INSERT}; {_LAST_ID}",
            {"after": after, "rows": _as_recordset(rows)},
        )
        cursor.nextset()
        accounts, revision = _heard(cursor)
        cursor.nextset()
        cursor.nextset()
        (last_id,) = cursor.fetchone() or (after,)
    return News(accounts, last_id, revision)


def _heard(cursor: psycopg.Cursor[Any]) -> tuple[list[NewAccount], int]:
    """What `_NEWS` and `_REVISION` found."""
    accounts = [NewAccount(*row) for row in cursor.fetchall()]
    cursor.nextset()
    (revision,) = cursor.fetchone() or (0,)
    return accounts, revision


def _as_recordset(rows: Sequence[Prediction]) -> str:
    return to_json(list(rows), inf_nan_mode="strings").decode()


def absorb(
    connection: psycopg.Connection[Any], rows: Sequence[Prediction], answers: Sequence[Answer]
) -> int:
    """Log scores of which some may be there already; how many were not."""
    with connection.transaction():
        connection.execute(_LOCKED)
        done = connection.execute(
            f"{_INSERT} ORDER BY predicted_at ON CONFLICT (score_id) DO NOTHING",
            {"rows": _as_recordset(rows)},
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
