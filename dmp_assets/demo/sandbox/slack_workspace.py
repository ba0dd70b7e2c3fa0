"""The workspace of the sandbox's Slack: channels, messages and files, kept in SQLite."""

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

BOT = {"user": "U_BOT", "bot_id": "B_BOT", "username": "dmp_assets"}
CHANNELS = (
    ("C_REPORTS", "reports", True),
    ("C_ALERTS", "alerts", True),
    ("C_WITHOUT_US", "without-us", False),
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS setting(name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS channel(id TEXT PRIMARY KEY, name TEXT NOT NULL, member INT NOT NULL);
CREATE TABLE IF NOT EXISTS message(channel TEXT NOT NULL, ts TEXT NOT NULL, thread_ts TEXT,
  body TEXT NOT NULL, PRIMARY KEY (channel, ts));
CREATE TABLE IF NOT EXISTS file(id TEXT PRIMARY KEY, name TEXT NOT NULL, title TEXT, alt TEXT,
  size INT NOT NULL, uploaded INT NOT NULL DEFAULT 0, ready_at REAL, shares TEXT NOT NULL);
"""


class Refusal(Exception):
    """An `{"ok": false}` answer."""

    def __init__(self, error: str, *details: str) -> None:
        super().__init__(error)
        self.error, self.details = error, details


class Workspace:
    """What one transaction sees and changes."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def channel(self, params: dict[str, Any], name: str = "channel") -> str:
        """The channel that the parameters name. Raises Refusal for one that we are not in."""
        wanted = str(params.get(name, ""))
        if not self.known(wanted)["member"]:
            raise Refusal("not_in_channel")
        return wanted

    def known(self, channel: str) -> sqlite3.Row:
        """A channel, also one that we are not in. Raises Refusal where there is none."""
        row = self._db.execute("SELECT * FROM channel WHERE id = ?", (channel,)).fetchone()
        if row is None:
            raise Refusal("channel_not_found")
        return row  # type: ignore[no-any-return]

    def message(self, channel: str, ts: str) -> dict[str, Any] | None:
        """A message by its time; None when there is none."""
        row = self._db.execute(
            "SELECT body FROM message WHERE channel = ? AND ts = ?", (channel, ts)
        ).fetchone()
        return json.loads(row["body"]) if row else None

    def store(self, channel: str, body: dict[str, Any], thread: Any) -> dict[str, Any]:
        """Keep a new message of ours; what it is then."""
        last = self._db.execute("SELECT max(ts) AS ts FROM message").fetchone()["ts"]
        ts = f"{max(time.time(), float(last or 0) + 0.000_1):.6f}"
        message = {"type": "message", "ts": ts} | BOT | body
        if thread:
            message["thread_ts"] = str(thread)
        self.save(channel, message)
        return message

    def save(self, channel: str, message: dict[str, Any]) -> None:
        """Keep a message, or replace the one of its time."""
        self._db.execute(
            "INSERT OR REPLACE INTO message VALUES (?, ?, ?, ?)",
            (channel, message["ts"], message.get("thread_ts"), json.dumps(message)),
        )

    def file(self, file_id: str) -> sqlite3.Row:
        """A file by its id. Raises Refusal."""
        row = self._db.execute("SELECT * FROM file WHERE id = ?", (file_id,)).fetchone()
        if row is None:
            raise Refusal("file_not_found")
        return row  # type: ignore[no-any-return]


class Database:
    """The file of a workspace: one transaction at a time. `token`: what opens its Web API."""

    def __init__(self, folder: Path) -> None:
        self._file, self._lock = folder / "slack.db", threading.Lock()
        with self.begin() as db:
            db.executescript(_SCHEMA)
            db.executemany("INSERT OR IGNORE INTO channel VALUES (?, ?, ?)", CHANNELS)
            db.execute(
                "INSERT OR IGNORE INTO setting VALUES ('token', ?)",
                (f"xoxb-sandbox-{secrets.token_hex(16)}",),
            )
            self.token: str = db.execute("SELECT value FROM setting").fetchone()["value"]

    @contextmanager
    def begin(self) -> Iterator[sqlite3.Connection]:
        """A transaction."""
        with self._lock, closing(sqlite3.connect(self._file, timeout=30)) as db:
            db.row_factory = sqlite3.Row
            with db:
                yield db


def is_ready(row: sqlite3.Row) -> bool:
    """Whether a file has been processed."""
    return row["ready_at"] is not None and time.time() >= row["ready_at"]
