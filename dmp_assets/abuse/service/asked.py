"""What is asked of scoring: accounts, the request that they come in, and answers given before."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import structlog

from dmp_assets.abuse.model.received import ATTRIBUTES
from dmp_assets.abuse.service.store.predictions import IDEMPOTENT_FOR, Answer

log = structlog.get_logger("dmp.api")


@dataclass(frozen=True, slots=True)
class Asked:
    """One account to be scored: `user_id` for a known one, else `account_ref` with attributes."""

    account_id: str
    is_new: bool
    attributes: Mapping[str, Any]
    registered_at: datetime
    promo_code: str | None
    is_dated: bool = True
    """Whether the caller said when it registered."""

    def missing(self) -> list[str]:
        """Attributes that were not given."""
        return [name for name in ATTRIBUTES if self.attributes.get(name) is None]

    def as_json(self) -> dict[str, Any]:
        """For the log: what was given."""
        given = {name: value for name, value in self.attributes.items() if value is not None}
        if (born := given.get("date_of_birth")) is not None:
            given["date_of_birth"] = born.isoformat()
        if self.promo_code is not None:
            given["promo_code"] = self.promo_code
        return given | {"registered_at": self.registered_at.isoformat()}

    @classmethod
    def of_json(cls, account_id: str, logged: Mapping[str, Any]) -> "Asked":
        """What `as_json` made."""
        given = dict(logged)
        registered_at = datetime.fromisoformat(given.pop("registered_at"))
        promo_code = given.pop("promo_code", None)
        if (born := given.get("date_of_birth")) is not None:
            given["date_of_birth"] = date.fromisoformat(born)
        return cls(account_id, True, given, registered_at, promo_code)


@dataclass(slots=True)
class Request:
    """One call: its accounts, who waits for the answer, and what it comes to.

    `idempotency`: ((caller, Idempotency-Key), hash of the body).
    """

    accounts: Sequence[Asked]
    caller: str
    request_id: str
    sees_ids: bool
    dry_run: bool
    idempotency: tuple[tuple[str, str], bytes] | None
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[bytes]"
    body: bytes | None = None
    error: Exception | None = None

    def __len__(self) -> int:
        return len(self.accounts)

    @property
    def is_over(self) -> bool:
        """Whether it has come to something, or nobody waits for it any more."""
        return self.body is not None or self.error is not None or self.future.done()

    def answer(self, body: bytes) -> None:
        self.body = body

    def fail(self, error: Exception) -> None:
        self.error = error
        tell([self])


class BusyError(Exception):
    """More accounts wait than can be scored soon."""


class UnknownUserError(Exception):
    """A `user_id` that nobody knows, at this place of the request."""

    def __init__(self, place: int) -> None:
        super().__init__(f"account {place}")
        self.place = place


class UnscoredError(Exception):
    """None of a request's accounts could be scored."""


class ReusedKeyError(Exception):
    """An Idempotency-Key that came before with another request."""


class RecentAnswers:
    """Answers of this process, by (caller, Idempotency-Key), as long as memory for them lasts."""

    def __init__(self, most_bytes: int = 8_000_000) -> None:
        self._most, self._size = most_bytes, 0
        self._kept: dict[tuple[str, str], Answer] = {}

    def of(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Answer]:
        """Those of these that are not too old."""
        since = datetime.now(UTC) - IDEMPOTENT_FOR
        found = ((key, self._kept.get(key)) for key in keys)
        return {key: kept for key, kept in found if kept and kept.answered_at >= since}

    def add(self, answers: Iterable[Answer]) -> None:
        for answer in answers:
            self._forget((answer.caller, answer.idempotency_key))
            self._kept[(answer.caller, answer.idempotency_key)] = answer
            self._size += len(answer.answer)
        while self._size > self._most:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: tuple[str, str]) -> None:
        if (old := self._kept.pop(key, None)) is not None:
            self._size -= len(old.answer)


def tell(requests: Iterable[Request]) -> None:
    """Let those who wait know what their requests came to."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Request]] = {}
    for request in requests:
        by_loop.setdefault(request.loop, []).append(request)
    for loop, told in by_loop.items():
        try:
            loop.call_soon_threadsafe(_set, told)
        except RuntimeError:  # the loop has ended, and with it those who waited
            log.warning("an answer came too late", requests=len(told))


def _set(requests: list[Request]) -> None:
    for request in requests:
        if request.future.done():
            continue
        if request.error is not None:
            request.future.set_exception(request.error)
        elif request.body is not None:
            request.future.set_result(request.body)


def repeat(request: Request, before: Answer) -> None:
    """Answer a request as the one with its key was, if it is the same request."""
    assert request.idempotency is not None
    if before.request_sha256 == request.idempotency[1]:
        request.answer(before.answer)
    else:
        request.error = ReusedKeyError()


def sort_out(
    batch: Iterable[Request], known: Mapping[tuple[str, str], Answer]
) -> tuple[list[Request], list[tuple[Request, Request]]]:
    """(requests to be scored, those that repeat one of these, with that one).

    `known`: answers given before by (caller, Idempotency-Key); who repeats one of them is told.
    """
    requests: list[Request] = []
    repeats: list[tuple[Request, Request]] = []
    first: dict[tuple[str, str], Request] = {}
    for request in batch:
        if request.idempotency is None:
            requests.append(request)
            continue
        key = request.idempotency[0]
        if (before := known.get(key)) is not None:
            repeat(request, before)
            tell([request])
        elif (same := first.setdefault(key, request)) is request:
            requests.append(request)
        elif same.idempotency == request.idempotency:
            repeats.append((request, same))
        else:
            request.fail(ReusedKeyError())
            tell([request])
    return requests, repeats
