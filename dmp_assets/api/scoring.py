"""Scoring accounts while a caller waits: index, model, rulings, and the log before the answer.

One thread scores. It takes all requests that wait, scores their accounts one after the other
(each sees those before it), logs them in one durable transaction and then answers: whoever asks at
the same time shares the cost. A second thread looks once a second for a new snapshot or model,
prepares it and takes it over between two batches. Without the store, scores go to a synced local
file and say `live_links: false`, until the store takes them.
"""

import asyncio
import hashlib
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa
import sqlalchemy as sa
import structlog
from deltalake.exceptions import DeltaError
from pydantic_core import to_json

from dmp_assets.abuse import features, snapshot
from dmp_assets.abuse.clusters import Cluster
from dmp_assets.abuse.features import Floats
from dmp_assets.abuse.index import AccountIndex, LiveAccount
from dmp_assets.abuse.limits import DeviceLimit, stricter
from dmp_assets.abuse.received import ATTRIBUTES, normal_form
from dmp_assets.abuse.rulings import Ruling, Rulings
from dmp_assets.abuse.snapshot import SnapshotError
from dmp_assets.abuse.store import RULES_ONLY, Model
from dmp_assets.abuse.view import VIEW
from dmp_assets.api.metrics import Metrics
from dmp_assets.api.spool import Spool
from dmp_assets.home import Home
from dmp_assets.ml import registry
from dmp_assets.reporting.privacy import mask_id
from dmp_assets.settings import Settings
from dmp_assets.store import predictions
from dmp_assets.store.predictions import Answer, NewAccount, Prediction
from dmp_assets.tables import TableError, Tables

log = structlog.get_logger("dmp.api")

MOST_WAITING = 5_000
"""Accounts that may wait; beyond, callers are told to come back."""
MOST_TOGETHER = 1_000
"""Accounts that are scored in one batch, a larger request apart."""
MOST_KEPT = 100_000
"""Judgements on known accounts that are kept in memory."""
MOST_LINKED = 20
"""Linked accounts that an answer names."""
LOOK_EVERY = 1.0
RETRY_EVERY = 5.0
ANSWER_WITHIN = 30.0
"""Seconds after which a caller is told to come back: only while all is being loaded."""
PATIENCE = 2.0
"""Seconds after which a store that is silent counts as gone."""


class BusyError(Exception):
    """More accounts wait than can be scored soon."""


class ReusedKeyError(Exception):
    """An Idempotency-Key that came before with another request."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One account to be scored: `user_id` for a known one, else `account_ref` with attributes."""

    account_id: str
    is_new: bool
    attributes: Mapping[str, Any]
    registered_at: datetime
    promo_code: str | None

    def missing(self) -> list[str]:
        """Attributes that were not given."""
        return [name for name in ATTRIBUTES if self.attributes.get(name) is None]

    def as_json(self) -> dict[str, Any]:
        """For the log: what was given."""
        given = {name: value for name, value in self.attributes.items() if value is not None}
        if (born := given.get("date_of_birth")) is not None:
            given["date_of_birth"] = born.isoformat()
        if self.promo_code is not None:
            given["promo_code"] = self.promo_code
        return given | {"registered_at": self.registered_at.isoformat()}

    @classmethod
    def of_json(cls, account_id: str, logged: Mapping[str, Any]) -> "Asked":
        """What `as_json` made."""
        given = dict(logged)
        registered_at = datetime.fromisoformat(given.pop("registered_at"))
        promo_code = given.pop("promo_code", None)
        if (born := given.get("date_of_birth")) is not None:
            given["date_of_birth"] = date.fromisoformat(born)
        return cls(account_id, True, given, registered_at, promo_code)


@dataclass(slots=True)
class Request:
    """One call: its accounts, and who waits for the answer."""

    accounts: Sequence[Asked]
    caller: str
    request_id: str
    sees_ids: bool
    dry_run: bool
    idempotency: tuple[str, bytes] | None
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[bytes]"


@dataclass(frozen=True)
class Judgement:
    """What the model, and limits where they are stricter, say of one account."""

    probability: float
    decision: str
    is_limited: bool
    reasons: list[dict[str, str | float]]
    linked: list[str]
    cluster_size: int
    expected_abusers: float
    model_version: str
    features: Floats | None = None


@dataclass
class Prepared:
    """A snapshot, a model, and what the model says of the snapshot's accounts.

    `taken_at`: live accounts of before are in the index.
    """

    index: AccountIndex
    model: Model
    promoted_at: datetime | None
    probabilities: Floats
    linked: npt.NDArray[np.bool_]
    taken_at: datetime
    judged: dict[int, Judgement] = field(default_factory=dict)

    @classmethod
    def of(
        cls, index: AccountIndex, model: Model, promoted_at: datetime | None, taken_at: datetime
    ) -> "Prepared":
        """Score all known accounts with the model."""
        from dmp_assets.abuse.models import probability

        known = index.snapshot
        scored = [probability(model.pipeline, rows) for rows in known.feature_batches()]
        linked = [
            batch.column("cluster_size").is_valid().to_numpy(zero_copy_only=False)
            for batch in known.batches
        ]
        return cls(
            index=index,
            model=model,
            promoted_at=promoted_at,
            probabilities=np.concatenate(scored) if scored else np.empty(0),
            linked=np.concatenate(linked) if linked else np.empty(0, dtype=bool),
            taken_at=taken_at,
        )


class Scoring:
    """The scorer of one process; `start` it before the first request, `stop` it after the last."""

    def __init__(
        self, home: Home, settings: Settings, tables: Tables, store: sa.Engine, metrics: Metrics
    ) -> None:
        self.home, self.settings, self.tables, self.metrics = home, settings, tables, metrics
        self.spool = Spool(home.spool)
        self.problems: list[str] = []
        self.live = False
        self._engine = store
        self._connection: psycopg.Connection[Any] | None = None
        self._calling_since: float | None = None
        self._last_id = 0
        self._revision = -1
        self._rulings = Rulings()
        self._waiting: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._accounts_waiting = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._now: Prepared  # set by `_load`
        self._loaded = threading.Event()
        self._recent: dict[tuple[str, str], tuple[bytes, bytes]] = {}
        self._registry_version = -1
        self._model_problems: list[str] = []
        self._live_for = timedelta(days=settings.live_account_days)
        self._limit = DeviceLimit(settings.device_day_review, settings.device_day_block)
        self._probability: dict[str, float] = {}
        self._threads: list[threading.Thread] = []

    # life ----------------------------------------------------------------------------------------
    def start(self) -> None:
        """Begin to load snapshot, model, rulings and the accounts scored lately.

        Requests that come meanwhile wait for it.
        """
        self._stopping.clear()
        self._threads = [
            threading.Thread(target=work, name=work.__name__, daemon=True)
            for work in (self._score_forever, self._look_forever)
        ]
        for thread in self._threads:
            thread.start()

    def _load(self) -> None:
        rules_only = registry.rule_list(RULES_ONLY, registry.limits(self.settings))
        self._now = Prepared.of(AccountIndex(), rules_only, None, datetime.now(UTC))
        self._look()
        self._connect()
        self._loaded.set()

    @property
    def is_loaded(self) -> bool:
        """Whether it can score already."""
        return self._loaded.is_set()

    def stop(self) -> None:
        """Answer what waits, and end."""
        self._stopping.set()
        self._waiting.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=10)
        self.spool.close()
        if self._connection is not None:
            self._connection.close()
            self._connection, self.live = None, False

    # asking --------------------------------------------------------------------------------------
    async def score(
        self,
        accounts: Sequence[Asked],
        *,
        caller: str,
        request_id: str,
        sees_ids: bool,
        dry_run: bool = False,
        idempotency_key: str | None = None,
        body: bytes = b"",
    ) -> bytes:
        """The answer to a request, as JSON; it is logged when this returns.

        Raises BusyError, ReusedKeyError, and KeyError with the place of an unknown `user_id`.
        """
        if self._accounts_waiting + len(accounts) > MOST_WAITING:
            raise BusyError
        loop = asyncio.get_running_loop()
        request = Request(
            accounts, caller, request_id, sees_ids, dry_run,
            None if idempotency_key is None or dry_run
            else (idempotency_key, hashlib.sha256(body).digest()),
            loop, loop.create_future(),
        )  # fmt: skip
        self._accounts_waiting += len(accounts)
        self._waiting.put(request)
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                return await request.future
        except TimeoutError as error:
            raise BusyError from error
        finally:
            self._accounts_waiting -= len(accounts)

    @property
    def index(self) -> AccountIndex:
        """The accounts, for who is sure that nothing is scored meanwhile."""
        return self._now.index

    @property
    def model(self) -> Model:
        return self._now.model

    @property
    def promoted_at(self) -> datetime | None:
        return self._now.promoted_at

    def attributes(self, account_id: str) -> dict[str, Any] | None:
        """The account's own attributes and `is_new`; None when nobody knows it."""
        with self._lock:
            return self._now.index.attributes(account_id)

    def search(self, text: str) -> list[str]:
        """Accounts by id, e-mail, phone, device or IP, at most 50."""
        with self._lock:
            return self._now.index.search(text, self.settings.phone_region)

    def cluster(self, account_id: str, at_most: int = 60) -> Cluster:
        """The account's cluster; that of an account that nobody knows is itself."""
        with self._lock:
            if self._now.index.number(account_id) is None:
                return Cluster((account_id,), (), 1)
            return self._now.index.cluster(account_id, at_most)

    def judge(self, account_id: str) -> Judgement | None:
        """What the model says of an account now; None when nobody knows it. Logs nothing."""
        with self._lock:
            number = self._now.index.number(account_id)
            if number is None:
                return None
            if number < self._now.index.snapshot.size and not self._now.index.touched(number):
                return self._known(number)
            return self._of_drafts([self._draft(number)])[0]

    # the scoring thread --------------------------------------------------------------------------
    def _score_forever(self) -> None:
        while not self.is_loaded and not self._stopping.is_set():
            try:
                self._load()
            except Exception as error:  # the file may come, the disk may be mounted
                log.error("scoring cannot start", error=type(error).__name__, exc_info=error)
                self._stopping.wait(RETRY_EVERY)
        while (batch := self._together()) is not None:
            try:
                self._score(batch)
            except Exception as error:  # the thread lives on; the callers are told
                log.error("scoring failed", error=type(error).__name__, exc_info=error)
                for request in batch:
                    _fail(request, error)

    def _together(self) -> list[Request] | None:
        """All requests that wait, at least one; None when it is time to end."""
        first = self._waiting.get()
        if first is None:
            return None
        batch, size = [first], len(first.accounts)
        while size < MOST_TOGETHER:
            try:
                request = self._waiting.get_nowait()
            except queue.Empty:
                break
            if request is None:
                self._waiting.put(None)
                break
            batch.append(request)
            size += len(request.accounts)
        return batch

    def _score(self, batch: list[Request]) -> None:
        with self._lock:
            self._hear()
            requests, repeated = self._not_yet_answered(batch)
            answered: list[tuple[Request, bytes]] = []
            rows: list[Prediction] = []
            answers: list[Answer] = []
            now = datetime.now(UTC)
            for request, judged in self._all_judged(requests, now):
                body, logged = self._answer(request, judged, now)
                answered.append((request, body))
                if not request.dry_run:
                    rows += logged
                    if request.idempotency is not None:
                        key, digest = request.idempotency
                        answers.append(Answer(request.caller, key, digest, body, now))
            if rows:
                self._log(rows, answers)
        for row in rows:
            self.metrics.scores.labels(row.decision, "no" if row.is_new else "yes").inc()
        given = {(a.caller, a.idempotency_key): a.answer for a in answers}
        self._remember(answers)
        for request, other in repeated:
            answered.append((request, given.get(other, b"")))
        _resolve(answered)

    def _take_over(self, prepared: Prepared) -> None:
        """Make what was prepared the present. Between two batches."""
        held = {live.account_id: live for live in prepared.index.live()}
        prepared.index.keep(
            live for live in self._now.index.live()
            if held.get(live.account_id) is not live and live.scored_at >= prepared.taken_at
        )  # fmt: skip
        self._now = prepared
        self._probability = {
            live.account_id: self._probability.get(live.account_id, 0.0)
            for live in prepared.index.live()
        }
        log.info(
            "scoring with", snapshot=prepared.index.snapshot.version,
            model=prepared.model.version, accounts=len(prepared.index),
        )  # fmt: skip

    # requests that came before -------------------------------------------------------------------
    def _not_yet_answered(
        self, batch: list[Request]
    ) -> tuple[list[Request], list[tuple[Request, tuple[str, str]]]]:
        """(requests to be scored, those that repeat one of these with its caller and key)."""
        keyed = {
            (request.caller, request.idempotency[0])
            for request in batch
            if request.idempotency is not None
        }
        known = {key: held for key in keyed if (held := self._recent.get(key)) is not None}
        asked = [key for key in keyed if key not in known]
        if asked and self.live:
            found = self._call(
                lambda store: predictions.answers_to(store, asked, datetime.now(UTC)), {}
            )
            known |= {key: (held.request_sha256, held.answer) for key, held in found.items()}
        requests, repeated = [], []
        first: dict[tuple[str, str], bytes] = {}
        for request in batch:
            if request.idempotency is None:
                requests.append(request)
                continue
            key, digest = (request.caller, request.idempotency[0]), request.idempotency[1]
            before = known.get(key)
            if before is not None:
                if before[0] == digest:
                    _resolve([(request, before[1])])
                else:
                    _fail(request, ReusedKeyError())
            elif first.setdefault(key, digest) != digest:
                _fail(request, ReusedKeyError())
            elif any(r.idempotency == request.idempotency and r.caller == key[0] for r in requests):
                repeated.append((request, key))
            else:
                requests.append(request)
        return requests, repeated

    def _remember(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            self._recent[(answer.caller, answer.idempotency_key)] = (
                answer.request_sha256, answer.answer,
            )  # fmt: skip
        while len(self._recent) > 1_000:
            self._recent.pop(next(iter(self._recent)))

    # judging -------------------------------------------------------------------------------------
    def _all_judged(
        self, requests: Sequence[Request], now: datetime
    ) -> list[tuple[Request, list[tuple[Judgement, Ruling | None]]]]:
        """The judgements on the accounts of each request, in order; unknown users fail theirs."""
        index = self._now.index
        places: list[tuple[Request, range]] = []
        judged: list[Judgement | None] = []
        rulings: list[Ruling | None] = []
        drafts: list[Draft] = []
        drafted: list[int] = []
        for request in requests:
            unknown = self._unknown(request)
            if unknown is not None:
                _fail(request, KeyError(unknown))
                continue
            replaced: list[tuple[str, LiveAccount | None]] = []
            first = len(judged)
            for asked in request.accounts:
                if asked.is_new and not index.is_known(asked.account_id):
                    replaced.append((asked.account_id, index.live_of(asked.account_id)))
                    number = self._put(live_account(asked, self.settings.phone_region))
                else:
                    number = index.number(asked.account_id) or 0
                rulings.append(self._ruling(asked.account_id, number, now))
                if number < index.snapshot.size and not index.touched(number):
                    judged.append(self._known(number))
                else:
                    drafted.append(len(judged))
                    drafts.append(self._draft(number))
                    judged.append(None)
            places.append((request, range(first, len(judged))))
            if request.dry_run:
                self._take_back(replaced)
        for place, judgement in zip(drafted, self._of_drafts(drafts), strict=True):
            judged[place] = judgement
        whole = [judgement for judgement in judged if judgement is not None]
        return [(request, [(whole[n], rulings[n]) for n in span]) for request, span in places]

    def _unknown(self, request: Request) -> int | None:
        """Place of the first `user_id` that nobody knows."""
        index = self._now.index
        for place, asked in enumerate(request.accounts):
            if not asked.is_new and index.number(asked.account_id) is None:
                return place
        return None

    def _put(self, live: LiveAccount) -> int:
        number = self._now.index.put(live)
        if self._now.judged and self._now.index.neighbours(number):
            self._now.judged.clear()  # a cluster of known accounts may have grown
        return number

    def _take_back(self, replaced: list[tuple[str, LiveAccount | None]]) -> None:
        for account_id, before in reversed(replaced):
            if before is None:
                self._now.index.remove(account_id)
            else:
                self._put(before)

    def _known(self, row: int) -> Judgement:
        """A known account with which no live one shares a value, as the tables have it."""
        from dmp_assets.abuse.explain import explain

        now = self._now
        found = now.judged.get(row)
        if found is not None:
            return found
        likely = now.probabilities[row : row + 1]
        decision = str(now.model.thresholds.decide(likely)[0])
        linked: list[str] = []
        size, expected = 1, float(likely[0])
        if now.linked[row]:
            members = now.index.members(row)
            linked = self._named(row)
            size, expected = len(members), self._expected(self._rows_and_ids(members))
        reasons = (
            []
            if decision == "allow"
            else explain(now.model, now.index.snapshot.features_of(row)).of(0)
        )
        found = Judgement(
            float(likely[0]), decision, False, reasons, linked, size, expected, now.model.version
        )
        if len(now.judged) < MOST_KEPT:
            now.judged[row] = found
        return found

    def _named(self, number: int) -> list[str]:
        index = self._now.index
        return [index.id_of(other) for other in index.neighbours(number)[:MOST_LINKED]]

    def _rows_and_ids(self, numbers: list[int]) -> list[int | str]:
        """Known accounts by their row, live ones by their id, which outlives their number."""
        index = self._now.index
        return [n if n < index.snapshot.size else index.id_of(n) for n in numbers]

    def _expected(self, members: Sequence[int | str]) -> float:
        """How many of these accounts abuse, by the sum of their probabilities."""
        now = self._now
        return sum(
            float(now.probabilities[member])
            if isinstance(member, int)
            else self._probability.get(member, 0.0)
            for member in members
        )

    def _draft(self, number: int) -> "Draft":
        index = self._now.index
        others = self._rows_and_ids(index.members(number)[1:])
        return Draft(number, index.view_of(number), self._named(number), others)

    def _of_drafts(self, drafts: Sequence["Draft"]) -> list[Judgement]:
        from dmp_assets.abuse.explain import explain
        from dmp_assets.abuse.models import probability

        if not drafts:
            return []
        now = self._now
        view = pa.Table.from_pylist([draft.view for draft in drafts], schema=VIEW)
        found = features.matrix(view)
        likely = probability(now.model.pipeline, found)
        decisions = now.model.thresholds.decide(likely).tolist()
        flagged = [n for n, decision in enumerate(decisions) if decision != "allow"]
        explained = explain(now.model, found[flagged]) if flagged else None
        reasons: dict[int, list[dict[str, str | float]]] = {}
        if explained is not None:
            reasons = {n: explained.of(place) for place, n in enumerate(flagged)}
        judged = []
        scored = list(zip(drafts, likely.tolist(), decisions, strict=True))
        live = [draft.number >= now.index.snapshot.size for draft in drafts]
        for is_live, (draft, p, _) in zip(live, scored, strict=True):
            if is_live:
                self._probability[str(draft.view["user_id"])] = p
        for n, (draft, p, decision) in enumerate(scored):
            why, limit = reasons.get(n, []), self._limit.on(draft.view) if live[n] else "allow"
            if limit != "allow":
                why = [self._limit.reason(draft.view), *why]
            is_limited = stricter(limit, decision)
            judged.append(
                Judgement(
                    probability=p,
                    decision=limit if is_limited else decision,
                    is_limited=is_limited,
                    reasons=why,
                    linked=draft.linked,
                    cluster_size=1 + len(draft.others),
                    expected_abusers=p + self._expected(draft.others),
                    model_version=now.model.version,
                    features=found[n],
                )
            )
        for draft in drafts:  # of a dry run
            if now.index.number(str(draft.view["user_id"])) is None:
                del self._probability[str(draft.view["user_id"])]
        return judged

    def _ruling(self, account_id: str, number: int, now: datetime) -> Ruling | None:
        attributes: Mapping[str, Any] = {}
        if self._rulings.need_attributes:
            live = self._now.index.live_of(account_id)
            attributes = (
                {name: self._now.index.snapshot.value_of(number, name)
                 for name in ("device_id", "ip", "email_domain")}
                if live is None else live.account
            )  # fmt: skip
        return self._rulings.on(account_id, attributes, now)

    # the answer ----------------------------------------------------------------------------------
    def _answer(
        self, request: Request, judged: list[tuple[Judgement, Ruling | None]], now: datetime
    ) -> tuple[bytes, list[Prediction]]:
        results, rows = [], []
        index = self._now.index
        for asked, (judgement, ruling) in zip(request.accounts, judged, strict=True):
            is_new = asked.is_new and not index.is_known(asked.account_id)
            decision = judgement.decision
            decided_by = "limit" if judgement.is_limited else "model"
            if ruling is not None:
                decision, decided_by = ruling.decision, ruling.by
            linked = judgement.linked
            score_id = uuid4()
            results.append({
                ("account_ref" if asked.is_new else "user_id"): asked.account_id,
                "score_id": str(score_id),
                "is_known": not is_new,
                "probability": judgement.probability,
                "decision": decision,
                "decided_by": decided_by,
                "reasons": judgement.reasons,
                "linked_accounts": linked if request.sees_ids else [mask_id(a) for a in linked],
                "cluster_size": judgement.cluster_size,
                "missing": asked.missing() if is_new else [],
            })  # fmt: skip
            if not request.dry_run:
                rows.append(Prediction(
                    score_id=score_id, predicted_at=now, account_id=asked.account_id,
                    is_new=is_new, attributes=asked.as_json() if is_new else None,
                    probability=judgement.probability, model_decision=judgement.decision,
                    decision=decision, decided_by=decided_by, reasons=judgement.reasons,
                    linked_accounts=linked, cluster_size=judgement.cluster_size,
                    expected_abusers=judgement.expected_abusers,
                    model_version=judgement.model_version,
                    features=None if judgement.features is None else judgement.features.tolist(),
                    live_links=self.live, caller=request.caller, request_id=request.request_id,
                ))  # fmt: skip
        body = to_json({
            "model_version": self._now.model.version,
            "snapshot_at": index.snapshot.made_at,
            "live_links": self.live,
            "dry_run": request.dry_run,
            "results": results,
        })  # fmt: skip
        return body, rows

    # the store -----------------------------------------------------------------------------------
    def _log(self, rows: list[Prediction], answers: list[Answer]) -> None:
        """Make the scores durable, in the store or beside it."""
        others = self._call(
            lambda store: predictions.append(store, rows, answers, after=self._last_id), None
        )
        if others is None:
            self.spool.append(rows, answers)
        else:
            self._apply(others.accounts)
            self._last_id = others.last_id

    def _hear(self) -> None:
        """Learn what other processes scored and people decided since the last batch."""
        heard = self._call(lambda store: predictions.news(store, self._last_id), None)
        if heard is None:
            return
        self._apply(heard.accounts)
        self._last_id = heard.last_id
        if heard.revision != self._revision:
            read = self._call(
                lambda store: (predictions.verdicts(store), predictions.list_entries(store)), None
            )
            if read is not None:
                self._rulings = Rulings(*read)
                self._revision = heard.revision

    def _apply(self, accounts: Sequence[NewAccount]) -> None:
        for account in accounts:
            if not self._now.index.is_known(account.account_id):
                asked = Asked.of_json(account.account_id, account.attributes)
                self._put(live_account(asked, self.settings.phone_region))
                self._probability[account.account_id] = account.probability

    def _call(self, work: Callable[[psycopg.Connection[Any]], Any], otherwise: Any) -> Any:
        """What `work` finds in the store; `otherwise` while the store is gone."""
        connection = self._connection
        if not self.live or connection is None:
            return otherwise
        self._calling_since = time.monotonic()
        try:
            return work(connection)
        except psycopg.Error as error:
            self.live = False
            log.warning("scoring goes on without the store", error=type(error).__name__)
            return otherwise
        finally:
            self._calling_since = None

    def _open(self) -> psycopg.Connection[Any]:
        url = self._engine.url.set(drivername="postgresql")
        return psycopg.connect(
            url.render_as_string(hide_password=False), autocommit=True, connect_timeout=2,
            options="-c timezone=UTC -c statement_timeout=10000 -c lock_timeout=5000",
        )  # fmt: skip

    def _connect(self) -> None:
        """Find the store again: hear what was scored meanwhile, and give it what waits here."""
        try:
            connection = self._open()
            accounts, last_id = predictions.accounts_since(
                connection, datetime.now(UTC) - self._live_for
            )
            self._drain()
        except psycopg.Error as error:
            log.warning("the store does not answer", error=type(error).__name__)
            return
        for start in range(0, len(accounts), 100):
            with self._lock:
                self._apply(accounts[start : start + 100])
        with self._lock:
            old, self._connection = self._connection, connection
            self._last_id, self._revision = last_id, -1
            self.live = True
        if old is not None:
            old.close()
        log.info("scoring with the store", accounts_scored_lately=len(accounts))

    def _drain(self) -> None:
        with self._open() as connection:
            given = self.spool.drain(
                lambda rows, answers: predictions.absorb(connection, rows, answers)
            )
        if given:
            log.info("spooled scores are in the store", scores=given)

    # looking for something new -------------------------------------------------------------------
    def _look_forever(self) -> None:
        while not self._stopping.wait(LOOK_EVERY):
            if not self.is_loaded:
                continue
            try:
                self._watch()
                if not self.live:
                    self._connect()
                elif self.spool.waiting:
                    self._drain()
                self._look()
            except Exception as error:  # the thread lives on, and tries again
                log.error("looking for news failed", error=type(error).__name__, exc_info=error)

    def _watch(self) -> None:
        """Cut a connection on which the scoring thread has waited too long."""
        since, connection = self._calling_since, self._connection
        if since is not None and connection is not None and time.monotonic() - since > PATIENCE:
            with socket.socket(fileno=os.dup(connection.fileno())) as silent:
                silent.shutdown(socket.SHUT_RDWR)

    def _look(self) -> None:
        """Take over a new snapshot or model, if there is one."""
        problems: list[str] = []
        known, model, promoted_at = self._now.index.snapshot, self._now.model, self.promoted_at
        try:
            if snapshot.current(self.home.serving) not in (known.version, None):
                known = snapshot.open_current(self.home.serving)
        except SnapshotError as error:
            problems.append(str(error))
        found = self._promoted(problems)
        if found is not None:
            model, promoted_at = found
        self.problems = problems
        self.metrics.spooled.set(self.spool.waiting)
        if promoted_at is not None:
            self.metrics.model_age.set((datetime.now(UTC) - promoted_at).total_seconds())
        if known is self._now.index.snapshot and model is self._now.model:
            return
        index, taken_at = AccountIndex(known), datetime.now(UTC)
        index.keep(self._recent_live())
        prepared = Prepared.of(index, model, promoted_at, taken_at)
        with self._lock:
            self._take_over(prepared)

    def _recent_live(self) -> list[LiveAccount]:
        with self._lock:
            live = list(self._now.index.live())
        since = datetime.now(UTC) - self._live_for
        return [account for account in live if account.scored_at >= since]

    def _promoted(self, problems: list[str]) -> tuple[Model, datetime | None] | None:
        """The promoted model when it is another one than before; the last good one serves on."""
        try:
            if not self.tables.exists(registry.KEY):
                return None
            version = self.tables.version(registry.KEY)
            if version == self._registry_version and not self._model_problems:
                return None
            rows = registry.rows(self.tables)
            wanted = next((row for row in rows if row["is_serving"]), None)
            if wanted is None or (
                wanted["model_version"] == self._now.model.version and self.promoted_at is not None
            ):
                self._registry_version, self._model_problems = version, []
                return None
            model, self._model_problems = registry.serving(self.tables, self.home, self.settings)
            self._registry_version = version
        except (TableError, DeltaError, OSError) as error:
            problems.append(f"the model registry cannot be read ({type(error).__name__})")
            return None
        problems += self._model_problems
        if self._model_problems and self.promoted_at is not None:
            return None
        promoted = {row["model_version"]: row["promoted_at"] for row in rows}
        return model, promoted.get(model.version)


@dataclass(frozen=True, slots=True)
class Draft:
    """An account that is to be judged, as it was when its turn came."""

    number: int
    view: dict[str, Any]
    linked: list[str]
    others: list[int | str]


def live_account(asked: Asked, phone_region: str) -> LiveAccount:
    """The normal forms of a new account."""
    account = normal_form(asked.account_id, asked.attributes, asked.registered_at, phone_region)
    return LiveAccount.of(account, asked.promo_code)


def _resolve(answered: Sequence[tuple[Request, bytes]]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Request, bytes]]] = {}
    for request, body in answered:
        by_loop.setdefault(request.loop, []).append((request, body))
    for loop, pairs in by_loop.items():
        loop.call_soon_threadsafe(_set, pairs)


def _set(pairs: list[tuple[Request, bytes]]) -> None:
    for request, body in pairs:
        if not request.future.done():
            request.future.set_result(body)


def _fail(request: Request, error: Exception) -> None:
    def tell() -> None:
        if not request.future.done():
            request.future.set_exception(error)

    request.loop.call_soon_threadsafe(tell)
