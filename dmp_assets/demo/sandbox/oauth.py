"""A sandbox service behind OAuth 2.0, of no vendor: consent, tokens that rotate, a paged list.

`GET authorize` gives consent at once, as the person would, and sends the browser back. `POST token`
takes a code, a refresh token or the client's own credentials; a refresh token that was used before
revokes all of its grant (RFC 9700, 4.14.2), or with `grace` is good until its successor is used.
`POST revoke` is RFC 7009, `POST introspect` RFC 7662. `GET items` is the list, by cursor in the
body and by `Link`; `POST items` adds to it and is not idempotent.

To misbehave, POST a `Manner` to `/oauth/_sandbox/manner`, and faults to `/_sandbox/faults`.
"""

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlencode

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

CLIENT_ID = "sandbox-client"
CLIENT_SECRET = "sandbox client's secret: +/&="  # noqa: S105 # nosec B105
REDIRECTS = ("https://dmp.example/connect/callback", "http://127.0.0.1/connect/callback")
KIND = "Bearer"
SCOPES = ("items:read", "items:write")


class Manner(BaseModel):
    """How the service behaves; what was added to its list is gone when it is set.

    `lifetime`: seconds of an access token. `rotates`: whether a refresh token opens once, `grace`
    until its successor is used. `withheld`: scopes that the person does not grant. `refuses`:
    consent is not given. `silent_scopes`: the answer does not say what was granted. `items`,
    `page`: how many, and how many a page; `empty_page`: one page is empty. `cursor`: `repeats` the
    same one, or `never` ends. `pads`: bytes that each item carries. `budget`: seconds to leave the
    service alone, as its header says.
    """

    model_config = ConfigDict(extra="forbid")

    lifetime: float | None = 3600
    rotates: bool = True
    grace: bool = False
    withheld: tuple[str, ...] = ()
    refuses: bool = False
    silent_scopes: bool = False
    items: int = 25
    page: int = 10
    empty_page: bool = False
    cursor: Literal["ends", "repeats", "never"] = "ends"
    pads: int = 0
    budget: float = 0


@dataclass
class _Grant:
    """What a person or a client granted; all tokens that come from it end together.

    `current`: the refresh token; `before`: the one that it replaced, until a token of the same
    answer is used; `used`: those that are over. `access`: token → when it ends.
    """

    scopes: tuple[str, ...]
    current: str | None = None
    before: str | None = None
    used: set[str] = field(default_factory=set)
    latest: str = ""
    access: dict[str, float] = field(default_factory=dict)


class OAuthSandbox:
    """The service; in memory, so a new sandbox knows nobody.

    A domain's stand-in is a subclass with another name, prefix, list (`item`) and settings.
    """

    name = "oauth"
    prefix = "oauth"

    def __init__(self, folder: Path) -> None:
        self.manner = Manner()
        self._codes: dict[str, tuple[_Grant, str, str | None]] = {}
        self._grants: list[_Grant] = []
        self._calls: list[dict[str, Any]] = []
        self._added: list[dict[str, Any]] = []

    def settings(self, base_url: str) -> dict[str, Any]:
        """None: no setting of the product leads here."""
        return {}

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/authorize", self._authorize),
            Route("/token", self._token, methods=["GET", "POST"]),
            Route("/revoke", self._revoke, methods=["POST"]),
            Route("/introspect", self._introspect, methods=["POST"]),
            Route("/items", self._items),
            Route("/items", self._add, methods=["POST"]),
            Route("/elsewhere", self._elsewhere),
            Route("/moved", self._moved, methods=["GET", "POST"]),
            Route("/_sandbox/manner", self._set_manner, methods=["POST"]),
            Route("/_sandbox/calls", self._show_calls),
        ]

    def messages(self) -> list[dict[str, Any]]:
        return []

    def page(self) -> str:
        return f"<h2>{self.name}</h2><p>{len(self._grants)} grants</p>"

    # consent and tokens --------------------------------------------------------------------------
    async def _authorize(self, request: Request) -> Response:
        asked = request.query_params
        target = asked.get("redirect_uri", "")
        if asked.get("client_id") != CLIENT_ID or target not in REDIRECTS:
            return JSONResponse({"error": "invalid_request"}, status_code=400)
        back = {"state": asked.get("state", "")}
        if asked.get("response_type") != "code" or asked.get("code_challenge_method") not in (
            None,
            "S256",
        ):
            return RedirectResponse(f"{target}?{urlencode({'error': 'invalid_request'} | back)}")
        if self.manner.refuses:
            return RedirectResponse(f"{target}?{urlencode({'error': 'access_denied'} | back)}")
        wanted = asked.get("scope", "").split()
        granted = tuple(s for s in wanted if s in SCOPES and s not in self.manner.withheld)
        code = secrets.token_urlsafe(16)
        self._codes[code] = (_Grant(granted), target, asked.get("code_challenge"))
        return RedirectResponse(f"{target}?{urlencode({'code': code} | back)}")

    async def _token(self, request: Request) -> Response:
        sent = request.url.query if request.method == "GET" else (await request.body()).decode()
        form = dict(parse_qsl(sent))
        grant = form.get("grant_type", "")
        self._calls.append({"path": "token", "grant": grant})
        if not _is_client(request, form):
            return JSONResponse({"error": "invalid_client"}, status_code=401)
        found = self._granted(grant, form)
        if found is None:
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        return JSONResponse(self._issue(found, refreshes=grant != "client_credentials"))

    def _granted(self, grant: str, form: dict[str, str]) -> _Grant | None:
        if grant == "client_credentials":
            asked = tuple(form.get("scope", "").split())
            self._grants.append(_Grant(tuple(s for s in asked if s not in self.manner.withheld)))
            return self._grants[-1]
        if grant == "authorization_code":
            known = self._codes.pop(form.get("code", ""), None)
            if known is None or known[1] != form.get("redirect_uri"):
                return None
            if known[2] is not None and known[2] != _challenge(form.get("code_verifier", "")):
                return None
            self._grants.append(known[0])
            return known[0]
        if grant == "exchange":
            return next((g for g in self._grants if form.get("token", "") in g.access), None)
        return self._refreshed(form.get("refresh_token", "")) if grant == "refresh_token" else None

    def _refreshed(self, token: str) -> _Grant | None:
        for grant in self._grants:
            if token and token == grant.current:
                if grant.before:
                    grant.used.add(grant.before)
                return grant
            if self.manner.grace and token and token == grant.before:
                return grant
            if token and (token in grant.used or token == grant.before):
                self._grants.remove(grant)  # somebody has stolen it, or lost an answer
                return None
        return None

    def _issue(self, grant: _Grant, *, refreshes: bool) -> dict[str, Any]:
        life = self.manner.lifetime
        access = grant.latest = secrets.token_urlsafe(16)
        grant.access[access] = time.monotonic() + (3600 if life is None else life)
        answer: dict[str, Any] = {"access_token": access, "token_type": KIND}
        if life is not None:
            answer["expires_in"] = life
        if refreshes and (grant.current is None or self.manner.rotates):
            grant.before, grant.current = grant.current, secrets.token_urlsafe(16)
            answer["refresh_token"] = grant.current
        if not self.manner.silent_scopes:
            answer["scope"] = " ".join(s for s in grant.scopes if s not in self.manner.withheld)
        return answer

    async def _revoke(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        if not _is_client(request, form):
            return JSONResponse({"error": "invalid_client"}, status_code=401)
        token = form.get("token", "")
        self._grants = [
            grant for grant in self._grants if token != grant.current and token not in grant.access
        ]
        return Response(status_code=200)

    async def _introspect(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        if not _is_client(request, form):
            return JSONResponse({"error": "invalid_client"}, status_code=401)
        token = form.get("token", "")
        grant = next((one for one in self._grants if token in one.access), None)
        if grant is None:
            return JSONResponse({"active": False})
        left = grant.access[token] - time.monotonic()
        return JSONResponse(
            {"active": left > 0, "scope": " ".join(grant.scopes), "exp": int(time.time() + left)}
        )

    # the list ------------------------------------------------------------------------------------
    def item(self, number: int) -> dict[str, Any]:
        """A row of the list; what a domain's stand-in lists otherwise."""
        return {"id": str(number), "amount": f"{number}.50"}

    def _grant_of(self, request: Request) -> _Grant | None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if request.scope.get("sandbox_fault") == "token_expired" or kind.lower() != "bearer":
            return None
        for grant in self._grants:
            if grant.access.get(token, 0.0) > time.monotonic():
                if token == grant.latest and grant.before:
                    grant.used.add(grant.before)
                    grant.before = None
                return grant
        return None

    async def _items(self, request: Request) -> Response:
        self._calls.append({"path": "items", "cursor": request.query_params.get("after")})
        if self._grant_of(request) is None:
            return JSONResponse({"error": "invalid_token"}, status_code=401)
        manner = self.manner
        first = int(request.query_params.get("after", "0"))
        last = min(first + manner.page, manner.items)
        rows: list[dict[str, Any]] = [
            self.item(number) | ({"pad": "x" * manner.pads} if manner.pads else {})
            for number in range(first, last)
        ]
        rows += self._added if last == manner.items else []
        after: int | None = last if last < manner.items else None
        if manner.cursor == "repeats":
            after = manner.page
        elif manner.cursor == "never":
            after = (after or manner.items) + first + 1
        if manner.empty_page and first == manner.page:
            rows = []
        headers = {"X-Budget-Seconds": str(manner.budget)}
        body: dict[str, Any] = {"data": rows}
        if after is not None:
            body["paging"] = {"after": str(after)}
            headers["Link"] = f'<{request.url.path}?after={after}>; rel="next"'
        return JSONResponse(body, headers=headers)

    async def _add(self, request: Request) -> Response:
        if self._grant_of(request) is None:
            return JSONResponse({"error": "invalid_token"}, status_code=401)
        self._added.append(await request.json())
        return JSONResponse({"id": len(self._added)}, status_code=201)

    async def _elsewhere(self, request: Request) -> Response:
        port = request.url.port
        return RedirectResponse(f"http://localhost:{port}/{self.prefix}/items", status_code=302)

    async def _moved(self, request: Request) -> Response:
        return RedirectResponse(f"/{self.prefix}/items", status_code=302)

    # what tests and people set -------------------------------------------------------------------
    async def _set_manner(self, request: Request) -> Response:
        try:
            self.manner = Manner.model_validate_json(await request.body())
        except ValidationError as error:
            return Response(error.json(), status_code=422, media_type="application/json")
        self._added.clear()
        return JSONResponse({"ok": True})

    async def _show_calls(self, request: Request) -> Response:
        return JSONResponse(self._calls)


def _is_client(request: Request, form: dict[str, str]) -> bool:
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            name, _, secret = base64.b64decode(given).decode().partition(":")
        except ValueError:
            return False
        return name == CLIENT_ID and CLIENT_SECRET in (secret, unquote(secret))
    return form.get("client_id") == CLIENT_ID and form.get("client_secret") == CLIENT_SECRET


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
