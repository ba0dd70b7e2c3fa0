"""One call of the sandbox's Graph API: who asks, may they, what is there, how it is paged."""

import base64
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from dmp_assets.demo.sandbox import meta_insights
from dmp_assets.demo.sandbox.meta_graph import EDGES, Objects, names
from dmp_assets.demo.sandbox.meta_limits import Kind, Usage
from dmp_assets.demo.sandbox.meta_login import Access, Login
from dmp_assets.demo.sandbox.meta_manner import GraphError, Manner, Refusal, bad
from dmp_assets.demo.sandbox.meta_reports import Reports
from dmp_assets.demo.sandbox.meta_studies import KINDS, Studies
from dmp_assets.demo.sandbox.meta_world import KEYS, World

VERSION = "v27.0"
"""The newest, and what a call without a version gets."""
SERVED = ("v25.0", "v26.0", "v27.0")
_REFUSED = ("ids", "date_format", "method", "callback", "pretty", "debug")
"""Parameters that new apps may not use any more (v26, v27)."""
_MOST_BATCHED = 50
_PAGE = 25

Row = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """Status, JSON and headers. `html`: a page in place of the JSON."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    html: str | None = None


@dataclass(frozen=True)
class Call:
    """A call: method, path without version, parameters of query and form together.

    `base`: address of the API, to be named in `next`.
    """

    method: str
    path: str
    given: Mapping[str, str]
    token: str
    version: str
    base: str

    @property
    def parts(self) -> list[str]:
        return [part for part in self.path.split("/") if part]


class Graph:
    """Answers calls. What it was asked is in `calls`, without tokens."""

    def __init__(self, world: World, login: Login) -> None:
        self.manner = Manner()
        self.usage = Usage(world.now)
        self.calls: list[Row] = []
        self._world, self._login = world, login
        self._objects, self._studies, self._reports = Objects(world), Studies(world), Reports(world)

    def forget(self) -> None:
        """Begin anew with counters and calls."""
        self.usage.forget()
        self._objects.forget()
        self.calls.clear()

    def answer(self, call: Call) -> Answer:
        """What the call gets, errors included."""
        trace = uuid.uuid4().hex[:11]
        told = {"facebook-api-version": VERSION, "x-fb-trace-id": trace}
        self._note(call)
        account: str | None = None
        refusal = self.manner.refusal(call.method, call.path)
        try:
            told |= self._version(call)
            self._check(call)
            account = self._account_of(call)
            if refusal is not None and not refusal.done:
                raise _error(refusal)
            body = self._admitted(call, account)
            if refusal is not None:
                raise _error(refusal)
            status = 200
        except GraphError as error:
            status, body = error.status, error.body(trace)
            said = error.message.encode("ascii", "replace").decode().replace('"', "'")
            told["www-authenticate"] = f'OAuth "Facebook Platform" "{said}"'
        if refusal is not None and refusal.html:
            return Answer(refusal.status, None, told, "<html><h1>Sorry, something went wrong.</h1>")
        if self.manner.headers:
            told |= self._usage(call, account, refusal)
        return Answer(status, body, told)

    def _note(self, call: Call) -> None:
        hidden = ("access_token", "client_secret", "appsecret_proof", "fb_exchange_token",
                  "input_token", "revoke_token", "code")  # fmt: skip
        self.calls.append({
            "method": call.method, "path": call.path, "at": self._world.now(),
            "given": {name: value for name, value in call.given.items() if name not in hidden},
        })  # fmt: skip

    def _version(self, call: Call) -> Row:
        if call.version in SERVED:
            return {}
        if self.manner.ended_version == "upgraded":
            return {
                "X-Ad-Api-Version-Warning": f"The call has been auto-upgraded to {SERVED[0]} as "
                f"{call.version} has been deprecated"
            }
        raise GraphError(2635, f"(#2635) You are calling a deprecated version of the Ads API. "
                         f"Please update to the latest version: {VERSION}.")  # fmt: skip

    def _check(self, call: Call) -> None:
        for name in _REFUSED:
            if name in call.given:
                raise bad(f"The parameter {name} is not supported", name)
        if ".as(" in call.given.get("fields", ""):
            raise bad("Field aliases are not supported", "fields")

    # who asks ------------------------------------------------------------------------------------
    def _account_of(self, call: Call) -> str | None:
        """Whose allowance the call uses."""
        first = call.parts[0] if call.parts else ""
        if found := self._world.found(first):
            return found[1].get("account_id")
        report = self._reports.found(first)
        return report["account_id"] if report else None

    def _admitted(self, call: Call, account: str | None) -> Any:
        name = "/".join(call.parts)
        if name == "oauth/access_token":
            return self._login.exchange(call.given, self.manner)
        access = self._login.access(
            call.token, call.given.get("appsecret_proof"), needs_proof=self.manner.proof
        )
        if name == "debug_token":
            if access.kind != "APP":
                raise bad("You must provide an app access token")
            return self._login.debug(call.given.get("input_token", ""))
        if call.method == "POST" and not call.parts:
            return self._batch(call)
        self.usage.admit(
            account, _kind(call), self.manner.limits, self._ads(account),
            writes=call.method != "GET",
        )  # fmt: skip
        if call.parts and call.parts[-1].endswith("_tokens"):
            return self._login.mint(access, call.given, self.manner)
        return self._done(call, access)

    def _ads(self, account: str | None) -> int:
        sql = "SELECT count(*) AS n FROM ad WHERE account_id = ? AND status = 'ACTIVE'"
        return int(self._world.rows(sql, account)[0]["n"])

    def _usage(self, call: Call, account: str | None, refusal: Refusal | None) -> Row:
        kind = _kind(call)
        told: Row = dict(self.usage.headers(account, kind, self.manner.limits, self._ads(account)))
        if refusal is not None and refusal.minutes is not None and account is not None:
            told["X-Business-Use-Case-Usage"] = json.dumps({account: [{
                "type": kind, "call_count": 100, "total_cputime": 0, "total_time": 0,
                "estimated_time_to_regain_access": refusal.minutes,
                "ads_api_access_tier": self.manner.limits.tier,
            }]})  # fmt: skip
        return told

    # what is done --------------------------------------------------------------------------------
    def _done(self, call: Call, access: Access) -> Any:
        match (call.method, *call.parts):
            case ("GET", "me"):
                me = {"id": access.user_id, "name": "Sandbox person", "client_business_id": "501"}
                return {
                    n: me[n] for n in ("id", *call.given.get("fields", "").split(",")) if n in me
                }
            case ("GET", "me", "adaccounts"):
                guarded = self.manner.guards_business and "business" in call.given.get("fields", "")
                if guarded and "business_management" not in access.scopes:
                    raise GraphError(200, "(#200) Requires business_management permission to "
                                     "manage the object", status=403)  # fmt: skip
                return self._paged(call, self._objects.accounts(access, call.given, None))
            case ("GET", business, "owned_ad_accounts" | "client_ad_accounts"):
                return self._paged(call, self._objects.accounts(access, call.given, business))
            case ("POST", business, "ad_studies"):
                return self._studies.create(access, business, call.given)
            case ("GET", one, *edge) if (report := self._reports.found(one)) is not None:
                self._objects.seen(access, f"act_{report['account_id']}")
                if edge == ["insights"]:
                    offset, limit = self._place(call)
                    made = self._reports.rows(report, self.manner)
                    found, is_more = made[offset : offset + limit], len(made) > offset + limit
                    return self._page(call, found, offset, has_more=is_more)
                return self._reports.progress(report, self.manner)
            case (method, one, *edge) if len(edge) < 2:
                return self._object(call, access, method, one, *edge)
        raise GraphError(2500, f"Unknown path components: /{call.path}")

    def _object(
        self, call: Call, access: Access, method: str, one: str, edge: str | None = None
    ) -> Any:
        found = self._world.found(one)
        if found is not None and found[0] in ("study", "cell"):
            return self._study(call, access, found, edge)
        if method == "POST" and edge is None:
            return self._objects.write(access, one, call.given)
        table, row = self._objects.seen(access, one)
        fields = call.given.get("fields", "")
        if method == "POST" and edge == "insights":
            return {"report_run_id": self._reports.submit(call.given, (table, row), self.manner)}
        if method != "GET":
            raise GraphError(3, "Unsupported method", kind="GraphMethodException")
        if edge is None:
            return self._objects.shown(table, row, names(call.given, table))
        if edge in EDGES:
            return self._paged(call, self._objects.listed(edge, (table, row), call.given))
        if edge == "insights":
            asked = self._reports.asked(call.given, (table, row), self.manner)
            return self._rows(call, asked)
        kind = "adaccounts" if table == "account" else f"{table}s"
        if edge == "ad_studies" and kind in KINDS:
            own = one if table == "account" else row[KEYS[table]]
            return self._paged(call, self._studies.of(kind, own, fields))
        raise bad(f"Tried accessing nonexisting field ({edge})")

    def _study(self, call: Call, access: Access, found: tuple[str, Row], edge: str | None) -> Any:
        table, row = found
        fields = call.given.get("fields", "")
        if call.method == "GET" and edge is not None:
            return self._paged(call, self._studies.edge(table, row, edge, fields))
        if call.method == "GET":
            return self._studies.shown(table, row, fields)
        if table != "study" or edge is not None:
            raise GraphError(3, "Unsupported method", kind="GraphMethodException")
        if call.method == "DELETE":
            return self._studies.cancel(access, row)
        return self._studies.change(access, row, call.given)

    def _rows(self, call: Call, asked: meta_insights.Asked) -> Row:
        """A page of insights."""
        offset, limit = self._place(call)
        found = meta_insights.rows(self._world, asked, self.manner, offset, limit + 1)
        return self._page(call, found[:limit], offset, has_more=len(found) > limit)

    # pages and batches ---------------------------------------------------------------------------
    def _paged(self, call: Call, rows: list[Row]) -> Row:
        offset, limit = self._place(call)
        has_more = len(rows) > offset + limit
        return self._page(call, rows[offset : offset + limit], offset, has_more=has_more)

    def _place(self, call: Call) -> tuple[int, int]:
        text = call.given.get("limit", str(_PAGE))
        if not text.isdecimal() or not int(text):
            raise bad("param limit must be a positive number", "limit")
        after = call.given.get("after")
        try:
            offset = int(base64.urlsafe_b64decode(after).split(b":")[0]) if after else 0
        except ValueError:
            raise bad("Invalid cursors values", "after") from None
        return offset, min(int(text), self.manner.page)

    def _page(self, call: Call, rows: list[Row], offset: int, *, has_more: bool) -> Row:
        """A page; the cursors echo the whole query, the token included."""
        if self.manner.empty_pages > 0 and (rows or has_more):
            self.manner.empty_pages -= 1
            rows, has_more, end = [], True, offset
        else:
            end = offset + len(rows)
        if not rows and not has_more:
            return {"data": []}
        after = _cursor(end)
        paging: Row = {"cursors": {"before": _cursor(offset), "after": after}}
        if has_more:
            query = {**call.given, "access_token": call.token, "after": after}
            paging["next"] = f"{call.base}{call.version}/{call.path}?{urlencode(query)}"
        return {"data": rows, "paging": paging}

    def _batch(self, call: Call) -> list[Row | None]:
        try:
            elements = json.loads(call.given.get("batch", ""))
            wanted = [(one["method"], urlsplit(one["relative_url"]), one.get("body", ""))
                      for one in elements]  # fmt: skip
        except (ValueError, KeyError, TypeError):
            raise bad("param batch must be an array of requests", "batch") from None
        if len(wanted) > _MOST_BATCHED:
            raise bad(f"Too many requests in batch message. Maximum batch size is {_MOST_BATCHED}")
        answers: list[Row | None] = []
        for method, url, body in wanted:
            if self.manner.null_elements > 0:
                self.manner.null_elements -= 1
                answers.append(None)
                continue
            given = {name: value for name, value in call.given.items() if name == "appsecret_proof"}
            given |= dict(parse_qsl(url.query)) | dict(parse_qsl(body))
            answer = self.answer(Call(method, url.path, given, call.token, call.version, call.base))
            answers.append({
                "code": answer.status,
                "headers": [{"name": n, "value": v} for n, v in answer.headers.items()],
                "body": json.dumps(answer.body),
            })  # fmt: skip
        return answers


def _kind(call: Call) -> Kind:
    is_report = len(call.parts) == 1 and call.parts[0].startswith("6") and len(call.parts[0]) == 13
    return "ads_insights" if "insights" in call.path or is_report else "ads_management"


def _cursor(offset: int) -> str:
    return base64.urlsafe_b64encode(f"{offset}:{uuid.uuid4().hex[:6]}".encode()).decode()


def _error(refusal: Refusal) -> GraphError:
    return GraphError(
        refusal.code,
        f"(#{refusal.code}) {refusal.message}",
        subcode=refusal.subcode,
        status=refusal.status,
        is_transient=refusal.is_transient,
        blames=refusal.blames,
        as_text=refusal.as_text,
    )
