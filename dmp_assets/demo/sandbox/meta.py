"""The sandbox's Meta over HTTP: login, Graph and Marketing API v27, and how to make it misbehave.

What it serves is a `World` (`meta_world.py`) in `<sandbox>/meta/world.db`, its tokens are in
`login.db` beside it. While it runs: POST a `Manner` to `/meta/_sandbox/manner`, a moment to
`/meta/_sandbox/clock` (`{"at": unix, "runs": false}` or `{"advance": seconds}`), a subcode to
`/meta/_sandbox/end_tokens`, an account to `/meta/_sandbox/untick`; what was asked is at
`/meta/_sandbox/calls`.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from dmp_assets.demo.sandbox.meta_calls import VERSION, Call, Graph
from dmp_assets.demo.sandbox.meta_login import Login
from dmp_assets.demo.sandbox.meta_manner import GraphError, Manner
from dmp_assets.demo.sandbox.meta_world import World

_VERSION = re.compile(r"v\d+\.\d+")


class Moment(BaseModel):
    """What the clock is set to: a moment (unix), or so many seconds later than it is."""

    model_config = ConfigDict(extra="forbid")

    at: float | None = None
    advance: float = 0
    runs: bool = False


class MetaSandbox:
    """Meta's login page and APIs over one world."""

    name = "meta"
    prefix = "meta"

    def __init__(self, root: Path) -> None:
        folder = root / "meta"
        self.world = World(folder / "world.db")
        self.world.resume()  # else a simulated business would lie further back each day
        self.login = Login(folder, self.world)
        self.graph = Graph(self.world, self.login)
        self._base = ""

    def settings(self, base_url: str) -> dict[str, Any]:
        self._base = base_url
        return {
            "meta_url": base_url.rstrip("/"),
            "meta_login_url": base_url.rstrip("/"),
            "meta_app_id": self.login.app_id,
            "meta_app_secret": self.login.app_secret,
        }

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/_sandbox/manner", self._set_manner, methods=["POST"]),
            Route("/_sandbox/clock", self._set_clock, methods=["POST"]),
            Route("/_sandbox/end_tokens", self._end_tokens, methods=["POST"]),
            Route("/_sandbox/untick", self._untick, methods=["POST"]),
            Route("/_sandbox/calls", lambda _: JSONResponse(self.graph.calls)),
            Route("/{path:path}", self._any, methods=["GET", "POST", "DELETE"]),
        ]

    def messages(self) -> list[dict[str, Any]]:
        return []

    def page(self) -> str:
        accounts = self.world.rows("SELECT count(*) AS n FROM account")[0]["n"]
        ads = self.world.rows("SELECT count(*) AS n FROM ad")[0]["n"]
        return (
            f"<h1>Meta</h1><p>{accounts:,} ad accounts with {ads:,} ads; "
            f"{len(self.graph.calls):,} calls, {self.login.count():,} tokens that open.</p>"
        )

    # HTTP ----------------------------------------------------------------------------------------
    async def _any(self, request: Request) -> Response:
        version, path = _split(request.path_params["path"])
        form = parse_qsl((await request.body()).decode(), keep_blank_values=True)
        query = request.query_params.multi_items()
        given = dict([*query, *form])
        if path == "dialog/oauth":
            return await run_in_threadpool(self._dialog, request.method, given, form)
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        token = given.pop("access_token", "") or bearer
        call = Call(request.method, path, given, token, version, self._base)
        return await run_in_threadpool(self._answer, call)

    def _answer(self, call: Call) -> Response:
        if call.path == "oauth/revoke":
            try:
                return self.login.revoke(call.given)
            except GraphError as error:
                return JSONResponse(error.body("revoke"), status_code=error.status)
        answer = self.graph.answer(call)
        headers = dict(answer.headers)
        if answer.html is not None:
            return HTMLResponse(answer.html, status_code=answer.status, headers=headers)
        return JSONResponse(answer.body, status_code=answer.status, headers=headers)

    def _dialog(self, method: str, given: dict[str, str], form: list[tuple[str, str]]) -> Response:
        if method == "GET":
            return self.login.page(given)
        chosen = {
            name: [value for key, value in form if key == name] for name in ("granted", "account")
        }
        return self.login.consented(given, chosen["granted"], chosen["account"])

    # what tests and people set -------------------------------------------------------------------
    async def _set_manner(self, request: Request) -> Response:
        try:
            self.graph.manner = Manner.model_validate_json(await request.body())
        except ValidationError as error:
            return Response(error.json(), status_code=422, media_type="application/json")
        self.graph.forget()
        return JSONResponse({"ok": True})

    async def _set_clock(self, request: Request) -> Response:
        try:
            moment = Moment.model_validate_json(await request.body())
        except ValidationError as error:
            return Response(error.json(), status_code=422, media_type="application/json")
        at = self.world.now() if moment.at is None else moment.at
        self.world.set_clock(at + moment.advance, runs=moment.runs)
        return JSONResponse({"now": self.world.now()})

    async def _end_tokens(self, request: Request) -> Response:
        asked = await request.json()
        self.login.end(int(asked["subcode"]), token=asked.get("token"))
        return JSONResponse({"ok": True})

    async def _untick(self, request: Request) -> Response:
        self.login.untick(str((await request.json())["account_id"]))
        return JSONResponse({"ok": True})


def _split(path: str) -> tuple[str, str]:
    """(version, the rest); without a version it is the app's."""
    first, _, rest = path.partition("/")
    return (first, rest.strip("/")) if _VERSION.fullmatch(first) else (VERSION, path.strip("/"))
