"""Reading many accounts: side by side, each by its own queue, what changed and what is due.

Knows no table: who keeps what was read says what was there before.
"""

import json
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from dmp_assets.platform.base.errors import UserError
from dmp_assets.sources.meta.client import MetaClient
from dmp_assets.sources.meta.days import Due
from dmp_assets.sources.meta.insights import InsightsReader, Part

WORKERS = 4
"""Accounts that are read at once; each has one request at a time."""
_WAITING = 4

J = TypeVar("J")
T = TypeVar("T")
Row = dict[str, Any]


@dataclass(frozen=True)
class Account:
    """An account of an advertiser. `account_id`: without `act_`; `zone`: name of its time zone."""

    advertiser_id: str
    account_id: str
    zone: str

    @property
    def path(self) -> str:
        """As the API names it."""
        return f"act_{self.account_id}"


def side_by_side(
    jobs: Sequence[J], work: Callable[[J], Iterable[T]], *, workers: int = WORKERS
) -> Iterator[tuple[J, T | UserError]]:
    """What the jobs give, each with its job, in the order in which it comes.

    A job that ends by a UserError gives that last, and stops no other; any other exception is
    raised here. Who reads slowly holds the jobs back; who stops reading ends them.
    """
    waiting: queue.SimpleQueue[J] = queue.SimpleQueue()
    given: queue.Queue[tuple[J, T | UserError] | Exception | None] = queue.Queue(_WAITING)
    over = threading.Event()
    for job in jobs:
        waiting.put(job)

    def put(one: tuple[J, T | UserError] | Exception | None) -> None:
        while not over.is_set():
            try:
                given.put(one, timeout=0.2)
                return
            except queue.Full:
                continue

    def run(job: J) -> None:
        try:
            for one in work(job):
                put((job, one))
                if over.is_set():
                    return
        except UserError as error:
            put((job, error))
        except Exception as error:  # noqa: BLE001  # raised by who reads
            put(error)
        finally:
            put(None)

    def serve() -> None:
        while not over.is_set():
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                return
            run(job)

    # Daemons: one that waits for an allowance holds up nobody who stops.
    for _ in range(min(workers, len(jobs))):
        threading.Thread(target=serve, name="meta", daemon=True).start()
    try:
        running = len(jobs)
        while running:
            one = given.get()
            if one is None:
                running -= 1
            elif isinstance(one, Exception):
                raise one
            else:
                yield one
    finally:
        over.set()


@dataclass(frozen=True)
class Reading:
    """A part that was read. `read_at`: just before it was asked for (UTC)."""

    part: Part
    read_at: datetime


def readings(
    client: MetaClient,
    account: Account,
    breakdowns: tuple[str, ...],
    due: Due,
    clock: Callable[[], datetime],
) -> Iterator[Reading]:
    """What is due of an account: its open days one by one, then its history by reports."""
    reader = InsightsReader(client, account.path, breakdowns)
    for day in due.single:
        read_at = clock()
        for part in reader.day(day):
            yield Reading(part, read_at)
    for days in due.ranges:
        read_at = clock()
        for part in reader.history(days):
            yield Reading(part, read_at)
            read_at = clock()


def text(value: Any) -> str | None:
    """A value as it is kept: text as received, lists and objects as JSON in one order."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        value = sorted(value, key=lambda one: str(one.get("action_type", "")))
    return json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)


def changes(
    rows: Iterable[Row],
    known: Mapping[tuple[Any, ...], Row],
    key: Sequence[str],
    compared: Sequence[str],
) -> list[Row]:
    """The rows that differ in a compared column from the one that is known by their key, or are
    not known."""
    found = []
    for row in rows:
        before = known.get(tuple(row[name] for name in key))
        if before is None or any(row[name] != before[name] for name in compared):
            found.append(row)
    return found
