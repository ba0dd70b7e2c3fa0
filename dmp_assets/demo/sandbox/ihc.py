"""The sandbox's IHC attribution service: the API's contract and limits, credits really computed.

The real service learns how to credit. Here: the initializer's credit fades within hours of the
first session, holders share by engagement, closers by engagement and nearness to the conversion,
and `ihc` weighs the three as real answers do. As there, credits are normalised within one request,
sum to 1 and are rounded to 4 decimals.

Requests are kept in SQLite. To misbehave, POST a `Behaviour` to `/ihc/_sandbox/behaviour`.
"""

import asyncio
import html
import json
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

CONVERSION_TYPE = "sandbox_orders"
MAX_JOURNEYS = 100
MAX_SESSIONS = 3_000
MAX_BYTES = 6_000_000
WEIGHTS = (0.345, 0.380, 0.275)
"""Of initializer, holder and closer, as measured on real answers."""

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS setting(name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS call(id INTEGER PRIMARY KEY, at TEXT NOT NULL, status INT NOT NULL,
  sessions INT NOT NULL, conversions TEXT NOT NULL);
"""


class Behaviour(BaseModel):
    """How the next `times` requests are answered; `latency` seconds later, until changed.

    partial: 206, the first conversion fails. half: half of the conversions are left out. foreign:
    the answer is about other conversions. sums: credits sum to 0.98. malformed: no JSON. Numbers:
    refused with this status. Where `conversions` are named, the kinds partial and 400 are about
    those, in every request that holds one.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["well", "partial", "half", "foreign", "sums", "malformed", "400", "401", "413",
                  "429", "500"] = "well"  # fmt: skip
    times: int = 1_000_000_000
    latency: float = Field(default=0, ge=0, le=60)
    conversions: tuple[str, ...] = ()


class Session(BaseModel):
    """One session of a request."""

    model_config = ConfigDict(extra="forbid", strict=True)

    conversion_id: str = Field(min_length=1)
    session_id: str = Field(min_length=1)
    timestamp: str = Field(pattern=r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d([+-]\d\d:?\d\d)?$")
    channel_label: str = Field(min_length=1)
    holder_engagement: Literal[0, 1]
    closer_engagement: Literal[0, 1]
    conversion: Literal[0, 1]
    impression_interaction: Literal[0, 1] = 0

    @property
    def hours(self) -> float:
        """Hours since 1970; without an offset the time is UTC."""
        moment = datetime.fromisoformat(self.timestamp)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() / 3600


class Rule(BaseModel):
    """How one part of the credit is redistributed."""

    model_config = ConfigDict(extra="forbid")

    direction: Literal["earlier_sessions_only", "any_session", "later_sessions_only"]
    receive_threshold: float = Field(ge=0, le=1)
    redistribution_channel_labels: list[str]


class Rules(BaseModel):
    """A request's `redistribution_parameter`."""

    model_config = ConfigDict(extra="forbid")

    initializer: Rule
    holder: Rule
    closer: Rule


class Order(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid")

    customer_journeys: list[Session] = Field(min_length=1)
    redistribution_parameter: Rules | None = None

    def journeys(self) -> dict[str, list[Session]]:
        found: dict[str, list[Session]] = {}
        for session in self.customer_journeys:
            found.setdefault(session.conversion_id, []).append(session)
        return found


class Refusal(Exception):
    """An answer without credits."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def credit(sessions: list[Session], rules: Rules | None = None) -> list[Row]:
    """The rows of one journey's answer, earliest session first."""
    sessions = sorted(sessions, key=lambda s: s.hours)
    hours = np.array([s.hours for s in sessions])
    seen = np.array([1 - 0.5 * s.impression_interaction for s in sessions])
    holds = np.array([s.holder_engagement for s in sessions], dtype=float)
    closes = np.array([s.closer_engagement for s in sessions], dtype=float)
    if len(sessions) == 1:
        holds[:] = 0
    if not closes.any():
        closes[-1] = 1
    parts = {
        "initializer": _shares(np.exp2(-(hours - hours[0]) / 6) * seen),
        "holder": _shares(holds * seen),
        "closer": _shares(closes * seen * np.exp2(-(hours[-1] - hours) / (7 * 24)).clip(1e-9)),
    }
    if rules:
        labels = [s.channel_label for s in sessions]
        parts = {
            name: _redistribute(share, labels, getattr(rules, name))
            for name, share in parts.items()
        }
    weights = np.array(WEIGHTS) * [share.any() for share in parts.values()]
    parts["ihc"] = _shares(weights @ np.array(list(parts.values())))
    columns = {name: _rounded(share) for name, share in parts.items()}
    return [
        {"conversion_id": session.conversion_id, "session_id": session.session_id}
        | {name: float(share[place]) for name, share in columns.items()}
        for place, session in enumerate(sessions)
    ]


def _shares(weights: Floats) -> Floats:
    total = weights.sum()
    return weights / total if total > 0 else weights


def _rounded(shares: Floats) -> Floats:
    """Rounded to 4 decimals, what is missing to the sum added to the largest."""
    if not shares.any():
        return shares
    parts = np.rint(shares * 10_000)
    parts[parts.argmax()] += 10_000 - parts.sum()
    return parts / 10_000


def _redistribute(shares: Floats, labels: list[str], rule: Rule) -> Floats:
    """Credit of the rule's channels goes to the sessions that may receive, by their credit."""
    gives = np.isin(labels, rule.redistribution_channel_labels)
    receives = ~gives & (shares > 0) & (shares >= rule.receive_threshold)
    places = np.arange(len(shares))
    result = shares.copy()
    for giver in places[gives]:
        allowed = (
            receives
            & {
                "earlier_sessions_only": places < giver,
                "later_sessions_only": places > giver,
                "any_session": places >= 0,
            }[rule.direction]
        )
        if allowed.any():
            result += shares[giver] * _shares(np.where(allowed, shares, 0))
            result[giver] -= shares[giver]
    return result


class IhcSandbox:
    """Counts and answers the requests of one sandbox."""

    name = "ihc"
    prefix = "ihc"

    def __init__(self, root: Path) -> None:
        self.folder = root / "ihc"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        with self._db() as db:
            db.executescript(_SCHEMA)
            db.execute(
                "INSERT OR IGNORE INTO setting VALUES ('key', ?)",
                (f"ihc-sandbox-{secrets.token_hex(16)}",),
            )
            self._key: str = db.execute("SELECT value FROM setting").fetchone()["value"]
        self.behaviour = Behaviour()

    @contextmanager
    def _db(self) -> Iterator[sqlite3.Connection]:
        """One transaction at a time; it need not survive a power failure."""
        with self._lock, closing(sqlite3.connect(self.folder / "ihc.db", timeout=30)) as db:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA synchronous = OFF")
            with db:
                yield db

    def settings(self, base_url: str) -> dict[str, Any]:
        return {
            "ihc_url": base_url,
            "ihc_api_key": self._key,
            "ihc_conversion_type": CONVERSION_TYPE,
        }

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/v1/compute_ihc", self._compute, methods=["POST"]),
            Route("/_sandbox/behaviour", self._behave, methods=["POST"]),
            Route("/_sandbox/calls", lambda _: JSONResponse(self.calls())),
        ]

    def calls(self) -> list[dict[str, Any]]:
        """Every request so far: at, status, sessions and the conversions that it asked about."""
        with self._db() as db:
            rows = db.execute("SELECT at, status, sessions, conversions FROM call ORDER BY id")
            return [dict(r) | {"conversions": json.loads(r["conversions"])} for r in rows]

    def messages(self) -> list[dict[str, Any]]:
        return []

    def page(self) -> str:
        calls = self.calls()
        good = [call for call in calls if call["status"] in (200, 206)]
        lines = "".join(
            f"<tr><td>{html.escape(call['at'])}<td>{call['status']}"
            f"<td>{len(call['conversions']):,}<td>{call['sessions']:,}"
            for call in calls[-20:]
        )
        return (
            f"<h1>IHC attribution</h1><p>{len(calls):,} requests, {len(good):,} answered. "
            "The last ones (conversions, sessions):</p>"
            f"<table><tr><th>at<th>status<th>conversions<th>sessions{lines}</table>"
        )

    # HTTP --------------------------------------------------------------------------------------
    async def _behave(self, request: Request) -> Response:
        try:
            self.behaviour = Behaviour.model_validate_json(await request.body())
        except ValidationError as error:
            return Response(error.json(), status_code=422, media_type="application/json")
        return JSONResponse({"ok": True})

    async def _compute(self, request: Request) -> Response:
        body = await request.body()
        if self.behaviour.latency:
            await asyncio.sleep(self.behaviour.latency)
        return await run_in_threadpool(self._respond, request, body)

    def _respond(self, request: Request, body: bytes) -> Response:
        asked: dict[str, list[Session]] = {}
        headers = {}
        try:
            self._admit(request, body)
            order = self._order(body)
            asked = order.journeys()
            kind = self._kind(set(asked))
            if kind.isdecimal():
                headers = {"Retry-After": "0"} if kind == "429" else {}
                raise Refusal(int(kind), f"the sandbox was told to answer {kind}")
            status, answer = self._answer(kind, asked, order.redistribution_parameter)
        except Refusal as no:
            status, answer = no.status, {"statusCode": no.status, "message": no.message}
        with self._db() as db:
            db.execute(
                "INSERT INTO call(at, status, sessions, conversions) VALUES (?, ?, ?, ?)",
                (datetime.now(UTC).isoformat(" ", "seconds"), status,
                 sum(map(len, asked.values())), json.dumps(list(asked))),
            )  # fmt: skip
        if answer is None:
            return Response('{"statusCode": 200, "value": [{"conv', media_type="application/json")
        return JSONResponse(answer, status_code=status, headers=headers)

    def _admit(self, request: Request, body: bytes) -> None:
        if not secrets.compare_digest(request.headers.get("x-api-key", "").encode(),
                                      self._key.encode()):  # fmt: skip
            raise Refusal(403, "Forbidden")
        conversion_type = request.query_params.get("conv_type_id")
        if conversion_type != CONVERSION_TYPE:
            raise Refusal(400, f"conv_type_id {conversion_type!r} is no trained conversion type")
        if len(body) > MAX_BYTES:
            raise Refusal(413, f"the request is larger than {MAX_BYTES:,} bytes")

    def _order(self, body: bytes) -> Order:
        try:
            order = Order.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(step) for step in first["loc"])
            raise Refusal(400, f"{where}: {first['msg']}") from None
        sessions = order.customer_journeys
        if len(sessions) > MAX_SESSIONS:
            raise Refusal(413, f"{len(sessions)} sessions, allowed are {MAX_SESSIONS:,}")
        journeys = order.journeys()
        if len(journeys) > MAX_JOURNEYS:
            raise Refusal(400, f"{len(journeys)} journeys, allowed are {MAX_JOURNEYS}")
        for name, own in journeys.items():
            if len({s.session_id for s in own}) < len(own):
                raise Refusal(400, f"conversion {name} holds a session twice")
            if not any(s.conversion for s in own):
                raise Refusal(400, f"conversion {name} has no session that converts")
            try:
                [s.hours for s in own]
            except ValueError as error:
                raise Refusal(400, f"conversion {name}: {error}") from None
        return order

    def _kind(self, asked: set[str]) -> str:
        with self._lock:
            told = self.behaviour
            if told.times <= 0 or (told.conversions and not asked & set(told.conversions)):
                return "well"
            told.times -= 1
            return told.kind

    def _answer(
        self, kind: str, asked: dict[str, list[Session]], rules: Rules | None
    ) -> tuple[int, dict[str, Any] | None]:
        """Status and body; no body stands for one that is no JSON."""
        if kind == "malformed":
            return 200, None
        names, errors = list(asked), []
        if kind == "partial":
            named = [name for name in names if name in self.behaviour.conversions] or names[:1]
            errors = [{"conversion_id": name, "error": "journey not understood"} for name in named]
            names = [name for name in names if name not in named]
        elif kind == "half":
            names = names[: len(names) // 2]
        rows = [row for name in names for row in credit(asked[name], rules)]
        change = _CHANGES.get(kind)
        status = 206 if errors else 200
        return status, {
            "statusCode": status,
            "value": [change(row) for row in rows] if change else rows,
            "partialFailureErrors": errors,
        }


_CHANGES: dict[str, Callable[[Row], Row]] = {
    "foreign": lambda row: row | {"conversion_id": f"another-{row['conversion_id']}"},
    "sums": lambda row: row | {"ihc": round(0.98 * row["ihc"], 4)},
}
