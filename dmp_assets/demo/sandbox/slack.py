"""The sandbox's Slack over HTTP: its Web API, uploads, and a page for people."""

import json
import mimetypes
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from dmp_assets.demo.sandbox import slack_page as sandbox_slack_page
from dmp_assets.demo.sandbox.slack_methods import METHODS, Methods
from dmp_assets.demo.sandbox.slack_page import IMAGE_TYPES
from dmp_assets.demo.sandbox.slack_workspace import Database, Refusal
from dmp_assets.platform.base import whole_file
from dmp_assets.platform.text.foreign_text import attachment

FILE_HEADERS = {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}
"""Of a file: what it holds runs nowhere."""


class SlackSandbox:
    """Channels, messages, threads and files of one sandbox workspace."""

    name = "slack"
    prefix = "api"

    def __init__(self, root: Path) -> None:
        self.folder = root / "slack"
        self.files = self.folder / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self._database = Database(self.folder)
        self._base_url = ""

    # the sandbox's side ------------------------------------------------------------------------
    def settings(self, base_url: str) -> dict[str, Any]:
        self._base_url = base_url
        return {"slack_base_url": base_url, "slack_token": self._database.token}

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/_upload/{file_id}", self._receive_upload, methods=["POST"]),
            Route("/_view/{file_id}/{name}", self._view),
            Route("/{method}", self._call, methods=["GET", "POST"]),
        ]

    def messages(self) -> list[dict[str, Any]]:
        with self._database.begin() as db:
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
            if not secrets.compare_digest(token, self._database.token):
                raise Refusal("invalid_auth")
            method = METHODS.get(request.path_params["method"])
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
        with self._database.begin() as db:
            given = {name: value for name, value in params.items() if value is not None}
            return method(Methods(db, self.files, self._base_url), given)

    async def _receive_upload(self, request: Request) -> Response:
        file_id = request.path_params["file_id"]
        if request.headers.get("content-type", "").startswith("multipart/"):
            part = next(iter((await request.form()).values()))
            content = part.encode() if isinstance(part, str) else await part.read()
        else:
            content = await request.body()

        def store() -> Response:
            with self._database.begin() as db:
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
        whole_file.write(whole, sandbox_slack_page.document(self._drawn(beside)), mode=None)
        return whole

    def _drawn(self, path: Callable[[dict[str, Any]], str]) -> str:
        with self._database.begin() as db:
            files = {r["id"]: dict(r) for r in db.execute("SELECT * FROM file")}
            channels = [dict(r) for r in db.execute("SELECT * FROM channel WHERE member")]
        return sandbox_slack_page.draw(channels, self.messages(), files, path)
