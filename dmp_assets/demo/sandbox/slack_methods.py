"""The methods of Slack's Web API that we use, as strict as Slack.

Limits and error names: https://docs.slack.dev/reference (methods, Block Kit, file uploads). As at
Slack, an image block's `slack_file` is refused (`invalid_blocks`) while the file is not shared in
the channel or is still being processed.
"""

import json
import mimetypes
import secrets
import sqlite3
import time
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PIL import Image

from dmp_assets.demo.sandbox.slack_blocks import block_errors
from dmp_assets.demo.sandbox.slack_page import IMAGE_TYPES
from dmp_assets.demo.sandbox.slack_workspace import BOT, Refusal, Workspace, is_ready

PROCESSING_SECONDS = 0.3
TEAM = "T_SANDBOX"


class Methods:
    """The methods of one call, in one transaction; each takes parameters and gives the answer.

    Raise Refusal.
    """

    def __init__(self, db: sqlite3.Connection, files: Path, base_url: str) -> None:
        self._db, self._workspace = db, Workspace(db)
        self._files, self._base_url = files, base_url

    def auth_test(self, params: dict[str, Any]) -> dict[str, Any]:
        return {
            "url": "https://sandbox.invalid/",
            "team": "Sandbox",
            "team_id": TEAM,
            "user_id": BOT["user"],
            "bot_id": BOT["bot_id"],
            "user": BOT["username"],
        }

    def post_message(self, params: dict[str, Any]) -> dict[str, Any]:
        channel = self._workspace.channel(params)
        body = self._content(channel, params, text_limit=40_000)
        thread = params.get("thread_ts")
        if thread and self._workspace.message(channel, str(thread)) is None:
            raise Refusal("thread_not_found")
        if thread and _true(params.get("reply_broadcast")):
            body |= {"reply_broadcast": True, "subtype": "thread_broadcast"}
        message = self._workspace.store(channel, body, thread)
        return {"channel": channel, "ts": message["ts"], "message": message}

    def update(self, params: dict[str, Any]) -> dict[str, Any]:
        channel = self._workspace.channel(params)
        message = self._workspace.message(channel, str(params.get("ts", "")))
        if message is None:
            raise Refusal("message_not_found")
        message |= self._content(channel, params, text_limit=4_000)
        message["edited"] = {"user": BOT["user"], "ts": f"{time.time():.6f}"}
        self._workspace.save(channel, message)
        return {"channel": channel, "ts": message["ts"], "text": message["text"]}

    def info(self, params: dict[str, Any]) -> dict[str, Any]:
        row = self._workspace.known(str(params.get("channel", "")))
        about = {"id": row["id"], "name": row["name"], "is_member": bool(row["member"])}
        return {"channel": about | {"is_channel": True, "is_im": False, "is_archived": False}}

    def history(self, params: dict[str, Any]) -> dict[str, Any]:
        channel = self._workspace.channel(params)
        rows = self._db.execute(
            "SELECT body FROM message WHERE channel = ? AND (coalesce(thread_ts, ts) = ts"
            " OR body ->> '$.reply_broadcast') ORDER BY ts DESC",
            (channel,),
        ).fetchall()
        return self._page(rows, params)

    def replies(self, params: dict[str, Any]) -> dict[str, Any]:
        channel = self._workspace.channel(params)
        ts = str(params.get("ts", ""))
        rows = self._db.execute(
            "SELECT body FROM message WHERE channel = ? AND (ts = ? OR thread_ts = ?) ORDER BY ts",
            (channel, ts, ts),
        ).fetchall()
        if not rows:
            raise Refusal("thread_not_found")
        return self._page(rows, params)

    def get_upload_url(self, params: dict[str, Any]) -> dict[str, Any]:
        name, length = params.get("filename"), str(params.get("length", ""))
        if not name or not length.isdigit() or int(length) == 0:
            raise Refusal("invalid_arguments", "filename and a positive length are required")
        if len(params.get("alt_txt", "")) > 1_000:
            raise Refusal("alt_txt_too_large")
        file_id = f"F{secrets.token_hex(5).upper()}"
        self._db.execute(
            "INSERT INTO file(id, name, alt, size, shares) VALUES (?, ?, ?, ?, '{}')",
            (file_id, name, params.get("alt_txt"), int(length)),
        )
        return {"file_id": file_id, "upload_url": f"{self._base_url}_upload/{file_id}"}

    def complete_upload(self, params: dict[str, Any]) -> dict[str, Any]:
        wanted = _parsed(params.get("files"), "files")
        if not isinstance(wanted, list) or not wanted:
            raise Refusal("invalid_arguments", "files must be a non-empty list")
        channel = self._workspace.channel(params, "channel_id") if "channel_id" in params else None
        thread = params.get("thread_ts")
        if thread and (channel is None or self._workspace.message(channel, str(thread)) is None):
            raise Refusal("invalid_thread_ts")
        for item in wanted:
            row = self._workspace.file(str(item.get("id")))
            if not row["uploaded"] or row["ready_at"] is not None:
                raise Refusal("file_not_found")
        ready_at = time.time() + PROCESSING_SECONDS
        for item in wanted:
            self._db.execute(
                "UPDATE file SET title = coalesce(?, name), ready_at = ? WHERE id = ?",
                (item.get("title"), ready_at, item["id"]),
            )
        if channel:
            rows = [self._workspace.file(item["id"]) for item in wanted]
            listed = [{name: row[name] for name in ("id", "name", "title")} for row in rows]
            body = {"text": params.get("initial_comment", ""), "files": listed, "upload": True}
            message = self._workspace.store(channel, body, thread)
            share = {"ts": message["ts"]} | ({"thread_ts": thread} if thread else {})
            for item in wanted:
                self._db.execute(
                    "UPDATE file SET shares = ? WHERE id = ?",
                    (json.dumps({"public": {channel: [share]}}), item["id"]),
                )
        return {"files": [self._describe(self._workspace.file(item["id"])) for item in wanted]}

    def file_info(self, params: dict[str, Any]) -> dict[str, Any]:
        row = self._workspace.file(str(params.get("file", "")))
        if row["ready_at"] is None:
            raise Refusal("file_not_found")
        return {"file": self._describe(row)}

    def _content(self, channel: str, params: dict[str, Any], text_limit: int) -> dict[str, Any]:
        text = str(params.get("text", ""))
        blocks = _parsed(params.get("blocks"), "blocks")
        if not text and not blocks:
            raise Refusal("no_text")
        if len(text) > text_limit:
            raise Refusal("msg_too_long")
        body: dict[str, Any] = {"text": text}
        if blocks is not None:
            errors = list(block_errors(blocks, lambda f: self._image_problem(channel, f)))
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

    def _image_problem(self, channel: str, slack_file: dict[str, Any]) -> str | None:
        row = self._db.execute(
            "SELECT * FROM file WHERE id = ?", (slack_file.get("id"),)
        ).fetchone()
        usable = (
            row is not None
            and is_ready(row)
            and channel in json.loads(row["shares"]).get("public", {})
            and mimetypes.guess_type(row["name"])[0] in IMAGE_TYPES
        )
        return None if usable else "invalid slack file"

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
        if is_ready(row):
            about["mimetype"] = mimetypes.guess_type(row["name"])[0] or "text/plain"
            about["filetype"] = Path(row["name"]).suffix.lstrip(".")
            about["shares"] = json.loads(row["shares"])
            about["channels"] = list(about["shares"].get("public", {}))
            if about["mimetype"] in IMAGE_TYPES:
                with Image.open(self._files / row["id"]) as image:
                    about["original_w"], about["original_h"] = image.size
        return about


METHODS = MappingProxyType(
    {
        "auth.test": Methods.auth_test,
        "chat.postMessage": Methods.post_message,
        "chat.update": Methods.update,
        "conversations.info": Methods.info,
        "conversations.history": Methods.history,
        "conversations.replies": Methods.replies,
        "files.getUploadURLExternal": Methods.get_upload_url,
        "files.completeUploadExternal": Methods.complete_upload,
        "files.info": Methods.file_info,
    }
)
"""By their names at Slack."""


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
