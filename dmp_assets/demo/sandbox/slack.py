"""The sandbox's Slack: the Web API methods that we use, as strict as Slack, kept in SQLite.

Limits and error names: https://docs.slack.dev/reference (methods, Block Kit, file uploads). As at
Slack, an image block's `slack_file` is refused (`invalid_blocks`) while the file is not shared in
the channel or is still being processed.
"""

import json
import mimetypes
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from dmp_assets.demo.sandbox import slack_page as sandbox_slack_page
from dmp_assets.demo.sandbox.slack_blocks import block_errors
from dmp_assets.demo.sandbox.slack_page import IMAGE_TYPES
from dmp_assets.platform.text.foreign_text import attachment

FILE_HEADERS = {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}
"""Of a file: what it holds runs nowhere."""
PROCESSING_SECONDS = 0.3
BOT = {"user": "U_BOT", "bot_id": "B_BOT", "username": "dmp_assets"}
TEAM = "T_SANDBOX"
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


class SlackSandbox:
    """Channels, messages, threads and files of one sandbox workspace."""

    name = "slack"
    prefix = "api"

    def __init__(self, root: Path) -> None:
        self.folder = root / "slack"
        self.files = self.folder / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        with self._db() as db:
            db.executescript(_SCHEMA)
            db.executemany("INSERT OR IGNORE INTO channel VALUES (?, ?, ?)", CHANNELS)
            db.execute(
                "INSERT OR IGNORE INTO setting VALUES ('token', ?)",
                (f"xoxb-sandbox-{secrets.token_hex(16)}",),
            )
            self._token: str = db.execute("SELECT value FROM setting").fetchone()["value"]
        self._base_url = ""
        self._methods: dict[str, Callable[[sqlite3.Connection, dict[str, Any]], dict[str, Any]]] = {
            "auth.test": self._auth_test,
            "chat.postMessage": self._post_message,
            "chat.update": self._update,
            "conversations.history": self._history,
            "conversations.replies": self._replies,
            "files.getUploadURLExternal": self._get_upload_url,
            "files.completeUploadExternal": self._complete_upload,
            "files.info": self._file_info,
        }

    @contextmanager
    def _db(self) -> Iterator[sqlite3.Connection]:
        """One transaction at a time."""
        with self._lock, closing(sqlite3.connect(self.folder / "slack.db", timeout=30)) as db:
            db.row_factory = sqlite3.Row
            with db:
                yield db

    # the sandbox's side ------------------------------------------------------------------------
    def settings(self, base_url: str) -> dict[str, Any]:
        self._base_url = base_url
        return {"slack_base_url": base_url, "slack_token": self._token}

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/_upload/{file_id}", self._receive_upload, methods=["POST"]),
            Route("/_view/{file_id}/{name}", self._view),
            Route("/{method}", self._call, methods=["GET", "POST"]),
        ]

    def messages(self) -> list[dict[str, Any]]:
        with self._db() as db:
            rows = db.execute("SELECT channel, body FROM message ORDER BY ts").fetchall()
        return [{"service": "slack", "channel": r["channel"]} | json.loads(r["body"]) for r in rows]

    # HTTP --------------------------------------------------------------------------------------
    async def _call(self, request: Request) -> Response:
        params: dict[str, Any] = dict(request.query_params)
        kind = request.headers.get("content-type", "")
        if kind.startswith("application/json"):
            try:
                params |= json.loads(await request.body() or b"{}")
            except ValueError:
                return JSONResponse({"ok": False, "error": "invalid_json"})
        elif request.method == "POST":
            params |= dict(await request.form())
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        token = bearer or str(params.pop("token", ""))
        fault = request.scope.get("sandbox_fault")
        try:
            if not token:
                raise Refusal("not_authed")
            if fault:
                raise Refusal(fault)
            if not secrets.compare_digest(token, self._token):
                raise Refusal("invalid_auth")
            method = self._methods.get(request.path_params["method"])
            if method is None:
                raise Refusal("unknown_method")
            return JSONResponse({"ok": True} | await run_in_threadpool(self._run, method, params))
        except Refusal as no:
            answer: dict[str, Any] = {"ok": False, "error": no.error}
            if no.details:
                answer["errors"] = list(no.details)
                answer["response_metadata"] = {"messages": [f"[ERROR] {d}" for d in no.details]}
            return JSONResponse(answer)

    def _run(self, method: Callable[..., dict[str, Any]], params: dict[str, Any]) -> dict[str, Any]:
        with self._db() as db:
            return method(db, {k: v for k, v in params.items() if v is not None})

    async def _receive_upload(self, request: Request) -> Response:
        file_id = request.path_params["file_id"]
        if request.headers.get("content-type", "").startswith("multipart/"):
            part = next(iter((await request.form()).values()))
            content = part.encode() if isinstance(part, str) else await part.read()
        else:
            content = await request.body()

        def store() -> Response:
            with self._db() as db:
                row = db.execute("SELECT * FROM file WHERE id = ?", (file_id,)).fetchone()
                if row is None or row["ready_at"] is not None:
                    return PlainTextResponse("no such upload", status_code=404)
                if len(content) != row["size"]:
                    return PlainTextResponse("length differs from the one given", status_code=400)
                (self.files / file_id).write_bytes(content)
                db.execute("UPDATE file SET uploaded = 1 WHERE id = ?", (file_id,))
            return PlainTextResponse(f"OK - {len(content)}")

        return await run_in_threadpool(store)

    def _view(self, request: Request) -> Response:
        path = self.files / Path(request.path_params["file_id"]).name
        if not path.is_file():
            return PlainTextResponse("no such file", status_code=404)
        name = request.path_params["name"]
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        shown = {} if kind in IMAGE_TYPES else {"Content-Disposition": attachment(name)}
        return FileResponse(path, media_type=kind, headers=FILE_HEADERS | shown)

    # methods -----------------------------------------------------------------------------------
    def _auth_test(self, db: sqlite3.Connection, params: dict[str, Any]) -> dict[str, Any]:
        return {
            "url": "https://sandbox.invalid/",
            "team": "Sandbox",
            "team_id": TEAM,
            "user_id": BOT["user"],
            "bot_id": BOT["bot_id"],
            "user": BOT["username"],
        }

    def _post_message(self, db: sqlite3.Connection, params: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(db, params)
        body = self._content(db, channel, params, text_limit=40_000)
        thread = params.get("thread_ts")
        if thread and self._message(db, channel, str(thread)) is None:
            raise Refusal("thread_not_found")
        if thread and _true(params.get("reply_broadcast")):
            body |= {"reply_broadcast": True, "subtype": "thread_broadcast"}
        message = self._store(db, channel, body, thread)
        return {"channel": channel, "ts": message["ts"], "message": message}

    def _update(self, db: sqlite3.Connection, params: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(db, params)
        message = self._message(db, channel, str(params.get("ts", "")))
        if message is None:
            raise Refusal("message_not_found")
        message |= self._content(db, channel, params, text_limit=4_000)
        message["edited"] = {"user": BOT["user"], "ts": f"{time.time():.6f}"}
        self._save(db, channel, message)
        return {"channel": channel, "ts": message["ts"], "text": message["text"]}

    def _history(self, db: sqlite3.Connection, params: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(db, params)
        rows = db.execute(
            "SELECT body FROM message WHERE channel = ? AND (coalesce(thread_ts, ts) = ts"
            " OR body ->> '$.reply_broadcast') ORDER BY ts DESC",
            (channel,),
        ).fetchall()
        return self._page(rows, params)

    def _replies(self, db: sqlite3.Connection, params: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(db, params)
        ts = str(params.get("ts", ""))
        rows = db.execute(
            "SELECT body FROM message WHERE channel = ? AND (ts = ? OR thread_ts = ?) ORDER BY ts",
            (channel, ts, ts),
        ).fetchall()
        if not rows:
            raise Refusal("thread_not_found")
        return self._page(rows, params)

    def _get_upload_url(self, db: sqlite3.Connection, params: dict[str, Any]) -> dict[str, Any]:
        name, length = params.get("filename"), str(params.get("length", ""))
        if not name or not length.isdigit() or int(length) == 0:
            raise Refusal("invalid_arguments", "filename and a positive length are required")
        if len(params.get("alt_txt", "")) > 1_000:
            raise Refusal("alt_txt_too_large")
        file_id = f"F{secrets.token_hex(5).upper()}"
        db.execute(
            "INSERT INTO file(id, name, alt, size, shares) VALUES (?, ?, ?, ?, '{}')",
            (file_id, name, params.get("alt_txt"), int(length)),
        )
        return {"file_id": file_id, "upload_url": f"{self._base_url}_upload/{file_id}"}

    def _complete_upload(self, db: sqlite3.Connection, params: dict[str, Any]) -> dict[str, Any]:
        wanted = _parsed(params.get("files"), "files")
        if not isinstance(wanted, list) or not wanted:
            raise Refusal("invalid_arguments", "files must be a non-empty list")
        channel = self._channel(db, params, "channel_id") if "channel_id" in params else None
        thread = params.get("thread_ts")
        if thread and (channel is None or self._message(db, channel, str(thread)) is None):
            raise Refusal("invalid_thread_ts")
        for item in wanted:
            row = self._file(db, str(item.get("id")))
            if not row["uploaded"] or row["ready_at"] is not None:
                raise Refusal("file_not_found")
        ready_at = time.time() + PROCESSING_SECONDS
        for item in wanted:
            db.execute(
                "UPDATE file SET title = coalesce(?, name), ready_at = ? WHERE id = ?",
                (item.get("title"), ready_at, item["id"]),
            )
        if channel:
            rows = [self._file(db, item["id"]) for item in wanted]
            listed = [{name: row[name] for name in ("id", "name", "title")} for row in rows]
            body = {"text": params.get("initial_comment", ""), "files": listed, "upload": True}
            message = self._store(db, channel, body, thread)
            share = {"ts": message["ts"]} | ({"thread_ts": thread} if thread else {})
            for item in wanted:
                db.execute(
                    "UPDATE file SET shares = ? WHERE id = ?",
                    (json.dumps({"public": {channel: [share]}}), item["id"]),
                )
        return {"files": [self._describe(self._file(db, item["id"])) for item in wanted]}

    def _file_info(self, db: sqlite3.Connection, params: dict[str, Any]) -> dict[str, Any]:
        row = self._file(db, str(params.get("file", "")))
        if row["ready_at"] is None:
            raise Refusal("file_not_found")
        return {"file": self._describe(row)}

    # what the methods share --------------------------------------------------------------------
    def _channel(
        self, db: sqlite3.Connection, params: dict[str, Any], name: str = "channel"
    ) -> str:
        wanted = str(params.get(name, ""))
        row = db.execute("SELECT * FROM channel WHERE id = ?", (wanted,)).fetchone()
        if row is None:
            raise Refusal("channel_not_found")
        if not row["member"]:
            raise Refusal("not_in_channel")
        return wanted

    def _content(
        self, db: sqlite3.Connection, channel: str, params: dict[str, Any], text_limit: int
    ) -> dict[str, Any]:
        text = str(params.get("text", ""))
        blocks = _parsed(params.get("blocks"), "blocks")
        if not text and not blocks:
            raise Refusal("no_text")
        if len(text) > text_limit:
            raise Refusal("msg_too_long")
        body: dict[str, Any] = {"text": text}
        if blocks is not None:
            errors = list(block_errors(blocks, lambda f: self._image_problem(db, channel, f)))
            if errors:
                raise Refusal("invalid_blocks", *errors)
            body["blocks"] = blocks
        metadata = _parsed(params.get("metadata"), "metadata")
        if metadata is not None:
            if (
                not isinstance(metadata, dict)
                or not isinstance(metadata.get("event_type"), str)
                or not isinstance(metadata.get("event_payload"), dict)
            ):
                raise Refusal("invalid_metadata_format")
            if len(json.dumps(metadata)) > 16_000:
                raise Refusal("metadata_too_large")
            body["metadata"] = metadata
        return body

    def _image_problem(
        self, db: sqlite3.Connection, channel: str, slack_file: dict[str, Any]
    ) -> str | None:
        row = db.execute("SELECT * FROM file WHERE id = ?", (slack_file.get("id"),)).fetchone()
        usable = (
            row is not None
            and _ready(row)
            and channel in json.loads(row["shares"]).get("public", {})
            and mimetypes.guess_type(row["name"])[0] in IMAGE_TYPES
        )
        return None if usable else "invalid slack file"

    def _message(self, db: sqlite3.Connection, channel: str, ts: str) -> dict[str, Any] | None:
        row = db.execute(
            "SELECT body FROM message WHERE channel = ? AND ts = ?", (channel, ts)
        ).fetchone()
        return json.loads(row["body"]) if row else None

    def _store(
        self, db: sqlite3.Connection, channel: str, body: dict[str, Any], thread: Any
    ) -> dict[str, Any]:
        last = db.execute("SELECT max(ts) AS ts FROM message").fetchone()["ts"]
        ts = f"{max(time.time(), float(last or 0) + 0.000_1):.6f}"
        message = {"type": "message", "ts": ts} | BOT | body
        if thread:
            message["thread_ts"] = str(thread)
        self._save(db, channel, message)
        return message

    def _save(self, db: sqlite3.Connection, channel: str, message: dict[str, Any]) -> None:
        db.execute(
            "INSERT OR REPLACE INTO message VALUES (?, ?, ?, ?)",
            (channel, message["ts"], message.get("thread_ts"), json.dumps(message)),
        )

    def _page(self, rows: list[sqlite3.Row], params: dict[str, Any]) -> dict[str, Any]:
        messages = [json.loads(row["body"]) for row in rows]
        oldest, latest = params.get("oldest"), params.get("latest")
        equal = _true(params.get("inclusive"))
        messages = [
            m
            for m in messages
            if (oldest is None or float(m["ts"]) > float(oldest) or (equal and m["ts"] == oldest))
            and (latest is None or float(m["ts"]) < float(latest) or (equal and m["ts"] == latest))
        ]
        limit = int(params.get("limit", 100))
        if not 1 <= limit <= 999:
            raise Refusal("invalid_limit")
        cursor = str(params.get("cursor") or "0")
        if not cursor.isdigit():
            raise Refusal("invalid_cursor")
        start = int(cursor)
        page = messages[start : start + limit]
        if not _true(params.get("include_all_metadata")):
            page = [{k: v for k, v in m.items() if k != "metadata"} for m in page]
        more = start + limit < len(messages)
        return {
            "messages": page,
            "has_more": more,
            "response_metadata": {"next_cursor": str(start + limit) if more else ""},
        }

    def _file(self, db: sqlite3.Connection, file_id: str) -> sqlite3.Row:
        row = db.execute("SELECT * FROM file WHERE id = ?", (file_id,)).fetchone()
        if row is None:
            raise Refusal("file_not_found")
        return row  # type: ignore[no-any-return]

    def _describe(self, row: sqlite3.Row) -> dict[str, Any]:
        """A file object; type, size of the picture and shares only appear once processed."""
        about: dict[str, Any] = {
            "id": row["id"],
            "name": row["name"],
            "title": row["title"],
            "size": row["size"],
            "mimetype": "",
            "filetype": "",
            "shares": {},
            "channels": [],
            "url_private": f"{self._base_url}_view/{row['id']}/{row['name']}",
        }
        if _ready(row):
            about["mimetype"] = mimetypes.guess_type(row["name"])[0] or "text/plain"
            about["filetype"] = Path(row["name"]).suffix.lstrip(".")
            about["shares"] = json.loads(row["shares"])
            about["channels"] = list(about["shares"].get("public", {}))
            if about["mimetype"] in IMAGE_TYPES:
                with Image.open(self.files / row["id"]) as image:
                    about["original_w"], about["original_h"] = image.size
        return about

    # the human page ----------------------------------------------------------------------------
    def page(self) -> str:
        return self._drawn(lambda file: f"/{self.prefix}/_view/{file['id']}/{file['name']}")

    def write_page(self) -> Path:
        """The page as a file with all that it shows beside it, to be opened without a server."""
        target = self.folder / "page"
        target.mkdir(exist_ok=True)

        def beside(file: dict[str, Any]) -> str:
            name = f"{file['id']}-{Path(file['name']).name}"
            copy = target / name
            if not copy.exists() and (self.files / file["id"]).exists():
                shutil.copyfile(self.files / file["id"], copy)
            return f"page/{quote(name)}"

        whole = self.folder / "index.html"
        part = whole.with_suffix(".part")
        part.write_text(sandbox_slack_page.document(self._drawn(beside)), encoding="utf-8")
        part.replace(whole)
        return whole

    def _drawn(self, path: Callable[[dict[str, Any]], str]) -> str:
        with self._db() as db:
            files = {r["id"]: dict(r) for r in db.execute("SELECT * FROM file")}
            channels = [dict(r) for r in db.execute("SELECT * FROM channel WHERE member")]
        return sandbox_slack_page.draw(channels, self.messages(), files, path)


def _ready(row: sqlite3.Row) -> bool:
    return row["ready_at"] is not None and time.time() >= row["ready_at"]


def _true(value: object) -> bool:
    return str(value).lower() in {"1", "true"}


def _parsed(value: Any, name: str) -> Any:
    """A structured argument, which forms carry as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise Refusal(f"invalid_{name}_format" if name == "blocks" else "invalid_json") from error
