"""Answering what was judged: logged in one durable transaction first, in a thread of its own.

While a batch waits for the disk of the store the next one is judged, but no third: what comes
meanwhile is scored together. Batches are logged in the order in which they were judged.
"""

import threading
from dataclasses import dataclass
from datetime import datetime

import structlog

from dmp_assets.abuse.service.asked import RecentAnswers, Request, repeat, tell
from dmp_assets.abuse.service.metrics import AbuseMetrics
from dmp_assets.abuse.service.score_log import Key, ScoreLog
from dmp_assets.abuse.service.store.predictions import Answer, Prediction

log = structlog.get_logger("dmp.api")

Scored = tuple[Request, bytes, list[Prediction]]
"""A request, its answer, and what of it is to be logged."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests that were judged together at a time.

    `repeats`: requests that get the answer of the second one.
    """

    judged: list[Scored]
    repeats: list[tuple[Request, Request]]
    at: datetime


class Answering:
    """Logs batches and answers them. `recent`: answers given lately, by Idempotency-Key."""

    def __init__(self, score_log: ScoreLog, metrics: AbuseMetrics) -> None:
        self.recent = RecentAnswers()
        self._log, self._metrics = score_log, metrics
        self._held: Batch | None = None
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to take batches."""
        self._is_closed = False
        self._thread = threading.Thread(target=self._answer_forever, name="answering", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End with the batch that is held."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def give(self, batch: Batch) -> None:
        """Have a batch logged and answered, as soon as the one before is."""
        with self._changed:
            self._changed.wait_for(lambda: self._held is None)
            self._held = batch
            self._changed.notify_all()

    def _answer_forever(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._held is not None or self._is_closed)
                batch = self._held
            if batch is None:
                return
            try:
                self._answer(batch)
            except Exception as error:  # the thread lives on; who waits is told
                log.error("answering failed", error=type(error).__name__, exc_info=error)
                for request, _, _ in batch.judged:
                    request.fail(error)
            with self._changed:
                self._held = None
                self._changed.notify_all()

    def _answer(self, batch: Batch) -> None:
        done = list(batch.judged)
        try:
            self._make_durable(done, batch.at)
        except Exception as error:
            log.error("scores cannot be logged", error=type(error).__name__, exc_info=error)
            self._one_by_one(done, batch.at, error)
        for request, first in batch.repeats:
            if first.error is not None:
                request.fail(first.error)
            elif first.body is not None:
                request.answer(first.body)
        tell([
            *(request for request, _, _ in batch.judged),
            *(request for request, _ in batch.repeats),
        ])  # fmt: skip
        for request, _, rows in done:
            if not request.dry_run and request.error is None:
                for row in rows:
                    known = "no" if row.is_new else "yes"
                    self._metrics.scores.labels(row.decision, known).inc()

    def _one_by_one(self, done: list[Scored], at: datetime, error: Exception) -> None:
        """Find the request at fault, so that the others of its batch are answered."""
        for judged in [judged for judged in done if not judged[0].is_over]:
            if len(done) == 1:
                judged[0].fail(error)
                return
            try:
                self._make_durable([judged], at)
            except Exception as own:
                log.error("scores cannot be logged", error=type(own).__name__, exc_info=own)
                judged[0].fail(own)

    def _make_durable(self, done: list[Scored], at: datetime) -> None:
        """Log what was scored; then it is the answer. Whoever is over is left out of `done`."""
        self._spare_the_disk(done)
        keys = {request.idempotency[0] for request, _, _ in done if request.idempotency}
        before = self.recent.of(keys)  # the batch before had them, too
        answers: list[Answer] = []
        while True:
            done[:] = [judged for judged in done if not _is_repeat(judged[0], before)]
            rows = [row for request, _, rows in done if not request.dry_run for row in rows]
            answers = [
                Answer(*request.idempotency[0], request.idempotency[1], body, at)
                for request, body, _ in done
                if request.idempotency is not None
            ]
            if not rows or not (before := self._log.append(rows, answers)):
                break  # otherwise another process was faster
        self.recent.add(answers)
        for request, body, _ in done:
            request.answer(body)

    def _spare_the_disk(self, done: list[Scored]) -> None:
        """While the store is gone, refuse those whose part of the disk is full."""
        if not self._log.live:
            for request, _, rows in done:
                if rows and not self._log.spool.has_room(request.caller, len(rows)):
                    request.fail(OSError("the spool has no room for more of this client"))
        done[:] = [judged for judged in done if judged[0].error is None]


def _is_repeat(request: Request, before: dict[Key, Answer]) -> bool:
    """Whether the request's key was answered before; it has that answer then."""
    if request.idempotency is None or request.idempotency[0] not in before:
        return False
    repeat(request, before[request.idempotency[0]])
    return True
