"""Answers of the IHC attribution service: parsed, checked against what was asked, kept on disk.

A row of an answer is the credit of one session in one journey: `conversion_id`, `session_id`,
`initializer`, `holder`, `closer` and `ihc`, each credit in [0, 1] and rounded to 4 decimals. Over
a journey, `ihc` sums to 1.
"""

import json
import math
import re
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from dmp_assets.platform.text.foreign_text import cut, visible
from dmp_assets.sources.ihc.journeys import IhcError, Journey

CREDITS = ("initializer", "holder", "closer", "ihc")
Credits = Sequence[Sequence[float]]
"""Credits of one journey: `CREDITS` of each session, in the journey's order."""

_ROUNDING = 0.00005


class AnswerError(Exception):
    """An answer that cannot be trusted as a whole."""


class Row(BaseModel):
    """One row of an answer."""

    model_config = ConfigDict(strict=True, frozen=True)

    conversion_id: str
    session_id: str
    initializer: float
    holder: float
    closer: float
    ihc: float


class Answer(BaseModel):
    """The body of an answer. The shape of a partial failure is not documented: any is taken."""

    model_config = ConfigDict(strict=True)

    statusCode: int | None = None
    value: list[Row] | None = None
    partialFailureErrors: list[Any] | None = None

    @property
    def rows(self) -> list[Row]:
        return self.value or []


def parse(body: bytes) -> Answer:
    """The answer in a response's body. Raises AnswerError when it is malformed or cut off."""
    try:
        return Answer.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise AnswerError(f"unreadable answer: {where} {first['msg']}".replace("  ", " ")) from None


def check_sums(rows: Iterable[Row]) -> dict[str, float]:
    """The conversions whose `ihc` does not sum to 1, beyond the rounding of its rows, with the sum.

    A journey that was split over k requests sums to k.
    """
    credits = defaultdict(list)
    for row in rows:
        credits[row.conversion_id].append(row.ihc)
    sums = {conv_id: math.fsum(values) for conv_id, values in credits.items()}
    return {
        conv_id: total
        for conv_id, total in sums.items()
        if not abs(total - 1) <= _ROUNDING * len(credits[conv_id]) + 1e-9
    }


@dataclass(frozen=True)
class Verdict:
    """What an answer is good for: credits by conversion, and for the others the reason."""

    credits: dict[str, Credits]
    failed: dict[str, str]


def judge(batch: Sequence[Journey], answer: Answer) -> Verdict:
    """Check an answer against the journeys that were asked for.

    A conversion is good when each of its sessions has one row, with credits in [0, 1] that sum
    to 1. Raises AnswerError when there are rows that nobody asked for.
    """
    asked = {(journey.conv_id, session) for journey in batch for session in journey.session_ids}
    rows: dict[str, list[Row]] = {journey.conv_id: [] for journey in batch}
    foreign = 0
    for row in answer.rows:
        if (row.conversion_id, row.session_id) in asked:
            rows[row.conversion_id].append(row)
        else:
            foreign += 1
    if foreign:
        raise AnswerError(f"the answer holds {foreign} rows of sessions that were not asked for")
    credits: dict[str, Credits] = {}
    failed: dict[str, str] = {}
    for journey in batch:
        own = rows[journey.conv_id]
        by_session = {row.session_id: row for row in own}
        sums = check_sums(own)
        if not own:
            why = _left_out(journey.conv_id, answer.partialFailureErrors or [])
            failed[journey.conv_id] = shorten(unnamed(why, batch))
        elif len(by_session) < len(own) or len(by_session) < len(journey):
            failed[journey.conv_id] = (
                f"the answer has {len(own)} rows of {len(by_session)} sessions, "
                f"the journey has {len(journey)} sessions"
            )
        elif not all(0 <= credit <= 1 for row in own for credit in _credits(row)):
            failed[journey.conv_id] = "the answer has credits outside 0 to 1"
        elif sums:
            failed[journey.conv_id] = f"credits sum to {sums[journey.conv_id]:.4f}, not to 1"
        else:
            in_order = (by_session[session] for session in journey.session_ids)
            credits[journey.conv_id] = [_credits(row) for row in in_order]
    return Verdict(credits, failed)


def _credits(row: Row) -> tuple[float, ...]:
    return row.initializer, row.holder, row.closer, row.ihc


def _left_out(conv_id: str, errors: Sequence[Any]) -> str:
    """Why a conversion is not in the answer: the errors that name it, else all of them."""
    texts = [e if isinstance(e, str) else json.dumps(e, ensure_ascii=False) for e in errors]
    name = re.compile(rf"(?<![\w-]){re.escape(conv_id)}(?![\w-])")
    reasons = [text for text in texts if name.search(text)] or texts
    if not reasons:
        return "the answer leaves it out without a reason"
    return "the service failed on it: " + "; ".join(reasons)


_WORD = re.compile(r"[^\s\"'`,;:()\[\]{}<>=]+")


def unnamed(text: str, batch: Sequence[Journey]) -> str:
    """What the service says, without the ids of conversions and sessions that it was asked about.

    Reasons stand in events, logs and messages, and such an id leads to one person.
    """
    ids = {name for journey in batch for name in (journey.conv_id, *journey.session_ids)}
    for name in ids:
        if not _WORD.fullmatch(name):  # an id of several words
            text = text.replace(name, "…")
    return _WORD.sub(
        lambda word: "…" if word[0] in ids or word[0].rstrip(".!?") in ids else word[0], text
    )


def shorten(text: str, limit: int = 300) -> str:
    """Text of the service on one line, with all its characters to see, and of bounded length."""
    return cut(" ".join(visible(text).split()), limit)


class AnswerStore:
    """Answers that were paid for, on disk in `<folder>/answers.db`, each under its request's key.

    What `keep` returned from survives the end of the process at any moment and a power failure.
    One store may be used by several threads and processes at once. Raises IhcError when the file
    cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = folder / "answers.db"
        self._lock = threading.Lock()
        with self._errors():
            self._db = sqlite3.connect(self.path, timeout=30, check_same_thread=False)
            self.path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS answer"
                " (key TEXT PRIMARY KEY, conv_id TEXT NOT NULL, credits TEXT NOT NULL,"
                " at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) WITHOUT ROWID"
            )
            self._db.execute("CREATE INDEX IF NOT EXISTS answer_of ON answer (conv_id)")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise IhcError(
                f"the answer store {self.path} fails: {error}; check the disk, or move the file "
                "away (its answers are then asked for again)"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._errors(), self._db:
            yield self._db

    def keep(self, answers: Mapping[str, tuple[str, Credits]]) -> None:
        """Add answers, all or none: request key → (conv_id, credits). Returns once on disk."""
        with self._transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO answer (key, conv_id, credits) VALUES (?, ?, ?)",
                [(key, conv_id, json.dumps(own)) for key, (conv_id, own) in answers.items()],
            )

    def find(self, keys: Iterable[str]) -> dict[str, Credits]:
        """The credits kept under these keys; keys without an answer are left out."""
        with self._transaction() as db:
            found = db.execute(
                "SELECT key, credits FROM answer WHERE key IN (SELECT value FROM json_each(?))",
                (json.dumps(list(keys)),),
            ).fetchall()
        return {key: json.loads(credits) for key, credits in found}

    def forget(self, conv_ids: Iterable[str]) -> int:
        """Delete every answer about these conversions, also from the disk; returns how many."""
        with self._transaction() as db:
            count = db.execute(
                "DELETE FROM answer WHERE conv_id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(conv_ids)),),
            ).rowcount
        with self._lock, self._errors():
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return count

    def __len__(self) -> int:
        with self._transaction() as db:
            return int(db.execute("SELECT count(*) FROM answer").fetchone()[0])

    def close(self) -> None:
        with self._lock, closing(self._db):
            pass

    def __enter__(self) -> "AnswerStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
