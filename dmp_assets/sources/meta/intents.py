"""What was about to be written to a service, noted before it is: a journal of one line a step.

Meta has no idempotency keys. After a kill between a write and its record the journal knows what may
have been done; who reads back then finds out which, and nothing is written twice.
"""

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import filelock

State = Literal["intended", "done", "not done"]


@dataclass(frozen=True)
class Intent:
    """A change that was about to be made. `before`, `after`: in the service's words."""

    intent_id: str
    account: str
    object_id: str
    field: str
    before: str | None
    after: str
    at: str


class Intents(Protocol):
    """Where intents are kept. What `begin` returns is durable before anything is written."""

    def begin(
        self, account: str, object_id: str, field: str, before: str | None, after: str
    ) -> Intent:
        """Note a change that is about to be made."""

    def end(self, intent: Intent, state: State) -> None:
        """Note how it ended."""

    def open(self) -> list[Intent]:
        """Those of which nobody knows the end, the oldest first."""


class Journal:
    """Intents in a file of JSON lines, on the disk before a call returns; for several processes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def begin(
        self, account: str, object_id: str, field: str, before: str | None, after: str
    ) -> Intent:
        at = datetime.now(UTC).isoformat()
        intent = Intent(uuid.uuid4().hex, account, object_id, field, before, after, at)
        self._add({"state": "intended", **asdict(intent)})
        return intent

    def end(self, intent: Intent, state: State) -> None:
        self._add({"state": state, "intent_id": intent.intent_id})

    def open(self) -> list[Intent]:
        begun: dict[str, Intent] = {}
        if not self._file.exists():
            return []
        for line in self._file.read_text().splitlines():
            step = _step(line)
            if step is None:
                continue
            if step.pop("state") == "intended":
                begun[step["intent_id"]] = Intent(**step)
            else:
                begun.pop(step["intent_id"], None)
        return list(begun.values())

    def _add(self, step: Mapping[str, Any]) -> None:
        line = f"\n{json.dumps(step)}\n"  # a line that a kill cut short ends here
        with filelock.FileLock(self._file.with_suffix(".lock"), mode=0o600):
            journal = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(journal, line.encode())
                os.fsync(journal)
            finally:
                os.close(journal)


def _step(line: str) -> dict[str, Any] | None:
    """A line's step; None for an empty one and for one that a kill cut short."""
    try:
        step = json.loads(line)
    except ValueError:
        return None
    return step if isinstance(step, dict) and {"state", "intent_id"} <= set(step) else None
