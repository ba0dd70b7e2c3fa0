"""Orders of long ago by bulk operations: one query over a range of days, answered by a file.

A range whose operation fails is halved, to a day at the least; what came of it is kept. The file's
lines are flat and in any order, so lines of orders are kept on disk until their order is known.
"""

import json
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from dmp_assets.platform.connect.download import download
from dmp_assets.platform.connect.errors import UnreadableAnswerError
from dmp_assets.platform.connect.http import Patience
from dmp_assets.sources.shopify import documents
from dmp_assets.sources.shopify.errors import BulkBusyError, BulkFailedError, BusinessError
from dmp_assets.sources.shopify.graphql import OPTIONAL, Node, ShopApi

_ENDED = frozenset({"COMPLETED", "CANCELED", "FAILED", "EXPIRED"})
_MOST_BYTES = 64 * 1024**3
_TRIES = 3
_DAY = timedelta(days=1)
_SCHEMA = "CREATE TABLE child(parent TEXT NOT NULL, line BLOB NOT NULL)"
_INSERTED = 10_000


@dataclass(frozen=True)
class BulkPatience:
    """How long an operation is waited for, in seconds.

    `pause`: between two looks at it, doubled up to `longest_pause`; `busy`: until there is room for
    one more operation, `total`: until it has ended.
    """

    pause: float = 1.0
    longest_pause: float = 60.0
    busy: float = 1_800.0
    total: float = 6 * 3_600.0


@dataclass
class BulkReader:
    """Reads orders of one shop by bulk operations.

    `waiting`: for operations, `patience`: with downloads; `stop`: ends waiting when it is set.
    `with_protected`: protected customer data, too; off once that was denied.
    """

    api: ShopApi
    waiting: BulkPatience = field(default_factory=BulkPatience)
    patience: Patience = field(default_factory=Patience)
    loopback_only: bool = False
    stop: threading.Event | None = None
    with_protected: bool = True

    def orders(self, first: date, end: date) -> Iterator[Node]:
        """Every order that was created from `first` to before `end` (days of UTC), with all its
        lines as a list; of a range that failed first some come twice.

        Raises BulkFailedError for a day that cannot be had, BulkBusyError, BusinessError, and other
        ConnectErrors. `refunds` have no lines yet: see `orders.refunds_of`.
        """
        query = f"created_at:>='{first}T00:00:00Z' created_at:<'{end}T00:00:00Z'"
        try:
            yield from self._of(documents.bulk_orders(query, with_protected=self.with_protected))
        except BulkFailedError as error:
            if error.code == "ACCESS_DENIED" and self.with_protected:
                self.with_protected = False
                yield from self.orders(first, end)
                self.api.withheld |= OPTIONAL
                return
            if end - first <= _DAY or error.code == "ACCESS_DENIED":
                raise
            middle = first + (end - first) // 2
            yield from self.orders(first, middle)
            yield from self.orders(middle, end)

    def _of(self, query: str) -> Iterator[Node]:
        """What an operation finds. Raises BulkFailedError after what came of it."""
        operation = self._ended(self._begun(query))
        status, url = operation["status"], operation.get("url")
        if status == "COMPLETED":
            if url is not None:
                yield from self._file(url, _whole(operation))
            return
        partial = operation.get("partialDataUrl")
        if partial is not None:
            yield from self._file(partial, None)
        code = operation.get("errorCode")
        raise BulkFailedError(
            f"{self.api.shop}: a bulk operation ended as {status} ({code or 'no reason'})",
            status,
            code,
        )

    def _begun(self, query: str) -> str:
        """The id of an operation, once there is room for it."""
        until = time.monotonic() + self.waiting.busy
        for pause in self._pauses():
            try:
                payload = self.api.change(
                    documents.BULK_RUN, {"query": query}, "bulkOperationRunQuery"
                )
            except BusinessError as error:
                if error.code != "OPERATION_IN_PROGRESS":
                    raise
                if time.monotonic() + pause > until or self._sleep(pause):
                    raise BulkBusyError(
                        f"{self.api.shop}: other bulk operations of this app run already, five are "
                        "the most; try again later"
                    ) from None
                continue
            begun = payload.get("bulkOperation")
            if not isinstance(begun, dict) or not isinstance(begun.get("id"), str):
                raise UnreadableAnswerError(f"{self.api.shop}: no bulk operation came of it")
            return begun["id"]
        raise AssertionError("pauses do not end")

    def _ended(self, operation_id: str) -> Node:
        """The operation, once it has ended; one that takes too long is cancelled."""
        until = time.monotonic() + self.waiting.total
        for pause in self._pauses():
            found = self.api.query(documents.BULK_OPERATION, {"id": operation_id})
            operation = found.get("bulkOperation")
            if not isinstance(operation, dict):
                raise UnreadableAnswerError(f"{self.api.shop}: a bulk operation is gone")
            if operation.get("status") in _ENDED:
                return operation
            if time.monotonic() + pause > until or self._sleep(pause):
                self.api.change(documents.BULK_CANCEL, {"id": operation_id}, "bulkOperationCancel")
                raise BulkFailedError(
                    f"{self.api.shop}: a bulk operation took longer than we wait, and was "
                    "cancelled",
                    "CANCELED",
                    "TIMEOUT",
                )
        raise AssertionError("pauses do not end")

    def _pauses(self) -> Iterator[float]:
        pause = self.waiting.pause
        while True:
            yield pause
            pause = min(2 * pause, self.waiting.longest_pause)

    def _sleep(self, seconds: float) -> bool:
        """Whether waiting was ended."""
        if self.stop is not None:
            return self.stop.wait(seconds)
        time.sleep(seconds)
        return False

    def _file(self, url: str, whole: "Whole | None") -> Iterator[Node]:
        """What a file holds; fetched again from its beginning where it is not whole."""
        with tempfile.TemporaryDirectory(prefix="dmp-bulk-") as folder:
            file = Path(folder) / "orders.jsonl"
            for attempt in range(_TRIES):
                size = download(
                    url,
                    file,
                    limit=_MOST_BYTES,
                    patience=self.patience,
                    loopback_only=self.loopback_only,
                )
                if whole is None or whole.is_met(file, size):
                    break
                if attempt == _TRIES - 1:
                    raise UnreadableAnswerError(
                        f"{self.api.shop}: the file of a bulk operation holds less than it should"
                    )
            yield from read_orders(file, is_whole=whole is not None)


@dataclass(frozen=True)
class Whole:
    """What a whole file has: bytes, and lines."""

    size: int | None
    lines: int | None

    def is_met(self, file: Path, size: int) -> bool:
        """Whether a file is whole: by its bytes, and by its lines where nobody said how many."""
        if self.size is not None:
            return size == self.size
        if self.lines is None:
            return True
        with file.open("rb") as opened:
            return sum(1 for line in opened if line.strip()) == self.lines


def _whole(operation: Node) -> Whole:
    """As the operation tells, in text."""
    return Whole(_count(operation.get("fileSize")), _count(operation.get("objectCount")))


def _count(given: Any) -> int | None:
    text = str(given)
    return int(text) if text.isascii() and text.isdecimal() else None


def read_orders(file: Path, *, is_whole: bool = True) -> Iterator[Node]:
    """The orders of a file of lines, each with its `lineItems`, wherever in the file these are.

    Raises UnreadableAnswerError for a line that is no JSON object and for lines that belong to no
    order; of a file that is not whole (`is_whole`) the last line may be cut off, and lines whose
    order did not come are left out.
    """
    with _children(file.with_suffix(".children")) as children, file.open("rb") as opened:
        for line, has_end in _lines(opened):
            found = _object(line, may_be_cut=not is_whole and not has_end)
            if found is None:
                continue
            parent = found.get("__parentId")
            if parent is not None:
                children.add(str(parent), line)
        children.sort()
        taken = 0
        opened.seek(0)
        for line, has_end in _lines(opened):
            found = _object(line, may_be_cut=not is_whole and not has_end)
            if found is None or "__parentId" in found:
                continue
            own = [json.loads(one) for one in children.of(found.get("id"))]
            taken += len(own)
            for one in own:
                del one["__parentId"]
            yield found | {"lineItems": own}
        if is_whole and taken != children.count:
            raise UnreadableAnswerError("a file of a bulk operation has lines of no order")


def _lines(opened: Any) -> Iterator[tuple[bytes, bool]]:
    """(line, whether its end is there) of all that hold something."""
    for line in opened:
        if line.strip():
            yield line, line.endswith(b"\n")


def _object(line: bytes, *, may_be_cut: bool) -> Node | None:
    try:
        found = json.loads(line)
    except ValueError:
        if may_be_cut:
            return None
        raise UnreadableAnswerError("a file of a bulk operation ends in mid-line") from None
    if not isinstance(found, dict):
        raise UnreadableAnswerError("a file of a bulk operation holds what is no object")
    return found


class _Children:
    """Lines by what they belong to, on disk."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._waiting: list[tuple[str, bytes]] = []
        self.count = 0

    def add(self, parent: str, line: bytes) -> None:
        self._waiting.append((parent, line))
        self.count += 1
        if len(self._waiting) >= _INSERTED:
            self._write()

    def _write(self) -> None:
        self._db.executemany("INSERT INTO child VALUES (?, ?)", self._waiting)
        self._waiting.clear()

    def sort(self) -> None:
        self._write()
        self._db.execute("CREATE INDEX child_parent ON child(parent)")

    def of(self, parent: Any) -> list[bytes]:
        rows = self._db.execute("SELECT line FROM child WHERE parent = ? ORDER BY rowid", (parent,))
        return [row[0] for row in rows]


@contextmanager
def _children(file: Path) -> Iterator[_Children]:
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        db.execute(_SCHEMA)
        yield _Children(db)
