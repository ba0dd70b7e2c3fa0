"""Scoring accounts while a caller waits: index, model, rulings, and the log before the answer.

One thread scores. It takes all requests that wait, scores their accounts one after the other
(each sees those before it), logs them in one durable transaction and then answers: whoever asks at
the same time shares the cost. A second thread looks once a second for a new snapshot or model,
prepares it and takes it over between two batches. Without the store, scores go to a synced local
file and say `live_links: false`, until the store takes them.
"""

import asyncio
import gc
import hashlib
import queue
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
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
from dmp_assets.abuse.rulings import Ruling
from dmp_assets.abuse.snapshot import SnapshotError
from dmp_assets.abuse.store import RULES_ONLY, Model
from dmp_assets.abuse.view import VIEW
from dmp_assets.api.metrics import Metrics
from dmp_assets.api.score_log import ScoreLog
from dmp_assets.api.spool import Spool
from dmp_assets.home import Home
from dmp_assets.ml import registry
from dmp_assets.reporting.privacy import mask_id
from dmp_assets.settings import Settings
from dmp_assets.store.predictions import IDEMPOTENT_FOR, Answer, NewAccount, Prediction
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
    """One call: its accounts, who waits for the answer, and what it comes to.

    `idempotency`: ((caller, Idempotency-Key), hash of the body).
    """

    accounts: Sequence[Asked]
    caller: str
    request_id: str
    sees_ids: bool
    dry_run: bool
    idempotency: tuple[tuple[str, str], bytes] | None
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[bytes]"
    body: bytes | None = None
    error: Exception | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has come to something, or nobody waits for it any more."""
        return self.body is not None or self.error is not None or self.future.done()

    def answer(self, body: bytes) -> None:
        self.body = body

    def fail(self, error: Exception) -> None:
        self.error = error
        _tell([self])


class RecentAnswers:
    """Answers of this process, by (caller, Idempotency-Key), as long as memory for them lasts."""

    def __init__(self, most_bytes: int = 8_000_000) -> None:
        self._most, self._size = most_bytes, 0
        self._kept: dict[tuple[str, str], Answer] = {}

    def of(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Answer]:
        """Those of these that are not too old."""
        since = datetime.now(UTC) - IDEMPOTENT_FOR
        found = ((key, self._kept.get(key)) for key in keys)
        return {key: kept for key, kept in found if kept and kept.answered_at >= since}

    def add(self, answers: Iterable[Answer]) -> None:
        for answer in answers:
            self._forget((answer.caller, answer.idempotency_key))
            self._kept[(answer.caller, answer.idempotency_key)] = answer
            self._size += len(answer.answer)
        while self._size > self._most:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: tuple[str, str]) -> None:
        if (old := self._kept.pop(key, None)) is not None:
            self._size -= len(old.answer)


@dataclass(frozen=True)
class Judgement:
    """What the model, and limits where they are stricter, say of one account."""

    probability: float
    decision: str
    is_limited: bool
    reasons: list[dict[str, str | float]]
    linked: list[str]
    cluster_id: str | None
    cluster_size: int
    expected_abusers: float
    model_version: str
    features: Floats | None = None


Judged = tuple[Judgement, Ruling | None, bool]
"""What the model and people say of an account, and whether the shop does not have it yet."""


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


class UnknownUserError(Exception):
    """A `user_id` that nobody knows, at this place of the request."""

    def __init__(self, place: int) -> None:
        super().__init__(f"account {place}")
        self.place = place


class Scoring:
    """The scorer of one process; `start` it before the first request, `stop` it after the last."""

    def __init__(
        self, home: Home, settings: Settings, tables: Tables, store: sa.Engine, metrics: Metrics
    ) -> None:
        self.home, self.settings, self.tables, self.metrics = home, settings, tables, metrics
        self.problems: list[str] = []
        self._keep = timedelta(days=settings.live_account_days)
        self._log = ScoreLog(store, Spool(home.spool), self._keep, settings.live_accounts)
        self._waiting: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._accounts_waiting = 0
        self._counting = threading.Lock()
        self._lock = threading.Lock()  # of the index: held for a batch, or for a question
        self._stopping = threading.Event()
        self._loaded = threading.Event()
        self._now: Prepared  # set by `_load`
        self._recent = RecentAnswers()
        self._registry_version = -1
        self._model_problems: list[str] = []
        self._model_looked_at = float("-inf")
        self._limit = DeviceLimit(settings.device_day_review, settings.device_day_block)
        self._probability: dict[str, float] = {}  # of live accounts
        self._threads: list[threading.Thread] = []
        self._started = 0

    # life ----------------------------------------------------------------------------------------
    def start(self) -> None:
        """Begin to load snapshot, model, rulings and the accounts scored lately.

        Requests that come meanwhile wait for it.
        """
        self._started += 1
        if self._started > 1:  # the app is served at two addresses
            return
        self._stopping.clear()
        self._log.start()
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
        self._log.connect(self._take)
        _prepare_for_new_accounts(self.settings.phone_region)
        gc.freeze()  # what is loaded stays: to look through it again and again holds up callers
        self._loaded.set()

    def stop(self) -> None:
        """Answer what waits, and end with the last of those who started it."""
        self._started -= 1
        if self._started > 0:
            return
        self._stopping.set()
        self._waiting.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=10)
        self._log.stop()
        gc.unfreeze()

    @property
    def is_loaded(self) -> bool:
        """Whether it can score already."""
        return self._loaded.is_set()

    @property
    def live(self) -> bool:
        """Whether the store answers: what others score is heard, and scores are logged there."""
        return self._log.live

    @property
    def spooled(self) -> int:
        """Scores of this process that wait on the disk."""
        return self._log.spool.waiting

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

        Raises BusyError, ReusedKeyError, UnknownUserError, and OSError when it cannot be logged.
        """
        with self._counting:
            if self._accounts_waiting + len(accounts) > MOST_WAITING:
                raise BusyError
            self._accounts_waiting += len(accounts)
        loop = asyncio.get_running_loop()
        request = Request(
            accounts, caller, request_id, sees_ids, dry_run,
            None if idempotency_key is None or dry_run
            else ((caller, idempotency_key), hashlib.sha256(body).digest()),
            loop, loop.create_future(),
        )  # fmt: skip
        self._waiting.put(request)
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                return await request.future
        except TimeoutError as error:
            raise BusyError from error

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
            except Exception as error:
                log.error("scoring failed", error=type(error).__name__, exc_info=error)
                self._score_one_by_one(batch, error)

    def _score_one_by_one(self, batch: list[Request], error: Exception) -> None:
        """Find the request at fault, so that the others of its batch are answered."""
        for request in batch:
            try:
                if len(batch) > 1 and not request.is_over:
                    self._score([request])
                else:
                    request.fail(error)
            except Exception as own:
                log.error("scoring failed", error=type(own).__name__, exc_info=own)
                request.fail(own)

    def _together(self) -> list[Request] | None:
        """Requests that wait and whose callers do, at least one; None when it is time to end."""
        batch: list[Request] = []
        size = 0
        while size < MOST_TOGETHER:
            try:
                request = self._waiting.get(block=not batch)
            except queue.Empty:
                break
            if request is None:
                if batch:
                    self._waiting.put(None)
                    break
                return None
            with self._counting:
                self._accounts_waiting -= len(request.accounts)
            if not request.is_over:  # who was told to come back does so
                batch.append(request)
                size += len(request.accounts)
        return batch

    def _score(self, batch: list[Request]) -> None:
        with self._lock:
            self._take(self._log.hear())
            requests, repeats = self._not_yet_answered(batch)
            now = datetime.now(UTC)
            done = [
                (request, *self._answer(request, judged, now))
                for request, judged in self._all_judged(requests, now)
            ]
            self._make_durable(done, now)
        for request, first in repeats:
            if first.error is not None:
                request.fail(first.error)
            elif first.body is not None:
                request.answer(first.body)
        _tell([*requests, *(request for request, _ in repeats)])
        for request, _, rows in done:
            if not request.dry_run and request.error is None:
                for row in rows:
                    known = "no" if row.is_new else "yes"
                    self.metrics.scores.labels(row.decision, known).inc()

    def _make_durable(
        self, done: list[tuple["Request", bytes, list[Prediction]]], now: datetime
    ) -> None:
        """Log what was scored; then it is the answer."""
        while True:
            rows = [row for request, _, rows in done if not request.dry_run for row in rows]
            answers = [
                Answer(*request.idempotency[0], request.idempotency[1], body, now)
                for request, body, _ in done
                if request.idempotency is not None
            ]
            if not rows:
                break
            others, before = self._log.append(rows, answers)
            self._take(others)
            if not before:
                break
            for request, _, _ in done:  # another process was faster
                if request.idempotency is not None and request.idempotency[0] in before:
                    _repeat(request, before[request.idempotency[0]])
            done[:] = [entry for entry in done if not entry[0].is_over]
        self._recent.add(answers)
        for request, body, _ in done:
            request.answer(body)

    def _take(self, accounts: Sequence[NewAccount]) -> None:
        """Add accounts that others scored, unless a later word of theirs is known."""
        index = self._now.index
        for account in accounts:
            known = index.live_of(account.account_id)
            if index.is_known(account.account_id) or (
                known is not None and known.scored_at >= account.predicted_at
            ):
                continue
            asked = Asked.of_json(account.account_id, account.attributes)
            self._put(live_account(asked, self.settings.phone_region, account.predicted_at))
            self._probability[account.account_id] = account.probability

    def _take_locked(self, accounts: Sequence[NewAccount]) -> None:
        with self._lock:
            self._take(accounts)

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
    ) -> tuple[list[Request], list[tuple[Request, Request]]]:
        """(requests to be scored, those that repeat one of these, with that one)."""
        keyed = {request.idempotency[0] for request in batch if request.idempotency is not None}
        known = self._recent.of(keyed)
        if asked := [key for key in keyed if key not in known]:
            known |= self._log.answers_to(asked)
        requests: list[Request] = []
        repeats: list[tuple[Request, Request]] = []
        first: dict[tuple[str, str], Request] = {}
        for request in batch:
            if request.idempotency is None:
                requests.append(request)
                continue
            key = request.idempotency[0]
            if (before := known.get(key)) is not None:
                _repeat(request, before)
                _tell([request])
            elif (same := first.setdefault(key, request)) is request:
                requests.append(request)
            elif same.idempotency == request.idempotency:
                repeats.append((request, same))
            else:
                request.fail(ReusedKeyError())
                _tell([request])
        return requests, repeats

    # judging -------------------------------------------------------------------------------------
    def _all_judged(
        self, requests: Sequence[Request], now: datetime
    ) -> list[tuple[Request, list[Judged]]]:
        """The judgements on the accounts of each request, in order; unknown users fail theirs."""
        index = self._now.index
        places: list[tuple[Request, range]] = []
        judged: list[Judgement | None] = []
        rulings: list[tuple[Ruling | None, bool]] = []
        drafts: list[Draft] = []
        drafted: list[int] = []
        for request in requests:
            numbers = [index.number(asked.account_id) for asked in request.accounts]
            if (unknown := _unknown(request, numbers)) is not None:
                request.fail(UnknownUserError(unknown))
                continue
            replaced: list[tuple[str, LiveAccount | None]] = []
            first = len(judged)
            for asked, before in zip(request.accounts, numbers, strict=True):
                if before is not None and before < index.snapshot.size:
                    number = before
                elif asked.is_new:
                    replaced.append((asked.account_id, index.live_of(asked.account_id)))
                    number = self._put(live_account(asked, self.settings.phone_region))
                else:  # of the live ones of this request it may be another one than before
                    number = index.number(asked.account_id) or 0
                is_new = number >= index.snapshot.size
                rulings.append((self._ruling(asked.account_id, number, now), is_new))
                if number < index.snapshot.size and not index.touched(number):
                    judged.append(self._known(number, keep=not request.dry_run))
                else:
                    drafted.append(len(judged))
                    drafts.append(self._draft(number, is_dry=request.dry_run))
                    judged.append(None)
            places.append((request, range(first, len(judged))))
            if request.dry_run:
                self._take_back(replaced)
        for place, judgement in zip(drafted, self._of_drafts(drafts), strict=True):
            judged[place] = judgement
        whole = [judgement for judgement in judged if judgement is not None]
        return [(request, [(whole[n], *rulings[n]) for n in span]) for request, span in places]

    def _put(self, live: LiveAccount) -> int:
        if self._now.index.live_of(live.account_id) is not None:
            self._remove(live.account_id)
        number = self._now.index.put(live)
        self._links_changed(number)
        return number

    def _remove(self, account_id: str) -> None:
        number = self._now.index.number(account_id)
        if number is not None:
            self._links_changed(number)
            self._now.index.remove(account_id)

    def _links_changed(self, number: int) -> None:
        """What is remembered of known accounts may not hold when a linked one comes or goes."""
        if self._now.judged and self._now.index.neighbours(number):
            self._now.judged.clear()

    def _take_back(self, replaced: list[tuple[str, LiveAccount | None]]) -> None:
        for account_id, before in reversed(replaced):
            if before is None:
                self._remove(account_id)
            else:
                self._put(before)

    def _known(self, row: int, *, keep: bool = True) -> Judgement:
        """A known account with which no live one shares a value, as the tables have it."""
        from dmp_assets.abuse.explain import explain

        now = self._now
        found = now.judged.get(row)
        if found is not None:
            return found
        likely = now.probabilities[row : row + 1]
        decision = str(now.model.thresholds.decide(likely)[0])
        linked: list[str] = []
        cluster_id: str | None = None
        size, expected = 1, float(likely[0])
        if now.linked[row]:
            members = now.index.members(row)
            linked, cluster_id = self._named(row), now.index.first_of(members)
            size, expected = len(members), self._expected(self._rows_and_ids(members))
        reasons = (
            []
            if decision == "allow"
            else explain(now.model, now.index.snapshot.features_of(row)).of(0)
        )
        found = Judgement(
            probability=float(likely[0]),
            decision=decision,
            is_limited=False,
            reasons=reasons,
            linked=linked,
            cluster_id=cluster_id,
            cluster_size=size,
            expected_abusers=expected,
            model_version=now.model.version,
        )
        if keep and len(now.judged) < MOST_KEPT:
            now.judged[row] = found
        return found

    def _named(self, number: int) -> list[str]:
        index = self._now.index
        return [index.id_of(other) for other in index.neighbours(number)[:MOST_LINKED]]

    def _rows_and_ids(self, numbers: list[int]) -> list[int | str]:
        """Known accounts by their row, live ones by their id, which outlives their number."""
        index = self._now.index
        return [n if n < index.snapshot.size else index.id_of(n) for n in numbers]

    def _expected(
        self, members: Sequence[int | str], ours: Mapping[str, float] = MappingProxyType({})
    ) -> float:
        """How many of these accounts abuse, by the sum of their probabilities.

        `ours`: probabilities that were found just now.
        """
        now = self._now
        return sum(
            float(now.probabilities[member])
            if isinstance(member, int)
            else ours.get(member, self._probability.get(member, 0.0))
            for member in members
        )

    def _draft(self, number: int, *, is_dry: bool = True) -> "Draft":
        index = self._now.index
        members = index.members(number)
        return Draft(
            is_live=number >= index.snapshot.size,
            is_dry=is_dry,
            view=index.view_of(number),
            linked=self._named(number),
            cluster_id=index.first_of(members) if len(members) > 1 else None,
            others=self._rows_and_ids(members[1:]),
        )

    def _of_drafts(self, drafts: Sequence["Draft"]) -> list[Judgement]:
        from dmp_assets.abuse.explain import explain
        from dmp_assets.abuse.models import probability

        if not drafts:
            return []
        now = self._now
        columns = {name: [draft.view.get(name) for draft in drafts] for name in VIEW.names}
        found = features.matrix(columns)
        likely = probability(now.model.pipeline, found)
        decisions = now.model.thresholds.decide(likely).tolist()
        flagged = [n for n, decision in enumerate(decisions) if decision != "allow"]
        explained = explain(now.model, found[flagged]) if flagged else None
        reasons: dict[int, list[dict[str, str | float]]] = {}
        if explained is not None:
            reasons = {n: explained.of(place) for place, n in enumerate(flagged)}
        ours = {
            str(draft.view["user_id"]): p
            for draft, p in zip(drafts, likely.tolist(), strict=True)
            if draft.is_live
        }
        judged = []
        for n, (draft, p, decision) in enumerate(
            zip(drafts, likely.tolist(), decisions, strict=True)
        ):
            why = reasons.get(n, [])
            limit = self._limit.on(draft.view) if draft.is_live else "allow"
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
                    cluster_id=draft.cluster_id,
                    cluster_size=1 + len(draft.others),
                    expected_abusers=p + self._expected(draft.others, ours),
                    model_version=now.model.version,
                    features=found[n],
                )
            )
            if draft.is_live and not draft.is_dry:
                self._probability[str(draft.view["user_id"])] = p
                if draft.others:
                    now.judged.clear()  # their expected abusers count this one
        return judged

    def _ruling(self, account_id: str, number: int, now: datetime) -> Ruling | None:
        attributes: Mapping[str, Any] = {}
        if self._log.rulings.need_attributes:
            live = self._now.index.live_of(account_id)
            attributes = (
                {name: self._now.index.snapshot.value_of(number, name)
                 for name in ("device_id", "ip", "email_domain")}
                if live is None else live.account
            )  # fmt: skip
        return self._log.rulings.on(account_id, attributes, now)

    # the answer ----------------------------------------------------------------------------------
    def _answer(
        self, request: Request, judged: list[Judged], now: datetime
    ) -> tuple[bytes, list[Prediction]]:
        results, rows = [], []
        index = self._now.index
        for asked, (judgement, ruling, is_new) in zip(request.accounts, judged, strict=True):
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
                "missing": asked.missing() if asked.is_new and is_new else [],
            })  # fmt: skip
            if not request.dry_run:
                rows.append(Prediction(
                    score_id=score_id, predicted_at=now, account_id=asked.account_id,
                    is_new=is_new,
                    attributes=asked.as_json() if asked.is_new and is_new else None,
                    probability=judgement.probability, model_decision=judgement.decision,
                    decision=decision, decided_by=decided_by, reasons=judgement.reasons,
                    linked_accounts=linked, cluster_id=judgement.cluster_id,
                    cluster_size=judgement.cluster_size,
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

    # looking for something new -------------------------------------------------------------------
    def _look_forever(self) -> None:
        while not self._stopping.wait(LOOK_EVERY):
            if not self.is_loaded:
                continue
            try:
                if not self._log.live:
                    self._log.connect(self._take_locked)
                self._log.drain()
                self._forget_old()
                self._look()
            except Exception as error:  # the thread lives on, and tries again
                log.error("looking for news failed", error=type(error).__name__, exc_info=error)

    def _forget_old(self) -> None:
        """Forget live accounts that are too old, and the oldest when there are too many."""
        since = datetime.now(UTC) - self._keep
        while True:
            with self._lock:  # for a few at a time: callers wait
                index = self._now.index
                too_many = len(index) - index.snapshot.size - self.settings.live_accounts
                forgotten = [
                    live.account_id
                    for place, live in enumerate(islice(index.live(), 100))
                    if place < too_many or live.scored_at < since
                ]
                for account_id in forgotten:
                    self._remove(account_id)
                    self._probability.pop(account_id, None)
            if len(forgotten) < 100:
                return

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
        self.metrics.spooled.set(self.spooled)
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
        since = datetime.now(UTC) - self._keep
        return [account for account in live if account.scored_at >= since]

    def _promoted(self, problems: list[str]) -> tuple[Model, datetime | None] | None:
        """The promoted model when it is another one than before; the last good one serves on."""
        try:
            if not self.tables.exists(registry.KEY):
                return None
            version = self.tables.version(registry.KEY)
            waited = time.monotonic() - self._model_looked_at
            if version == self._registry_version and (
                not self._model_problems or waited < RETRY_EVERY
            ):
                problems += self._model_problems
                return None
            self._model_looked_at = time.monotonic()
            rows = registry.rows(self.tables)
            wanted = next((row for row in rows if row["is_serving"]), None)
            if wanted is None or wanted["model_version"] == self._now.model.version:
                self._registry_version, self._model_problems = version, []
                return None
            model, self._model_problems = registry.serving(self.tables, self.home, self.settings)
            self._registry_version = version
        except (TableError, DeltaError, OSError) as error:
            problems.append(f"the model registry cannot be read ({type(error).__name__})")
            return None
        problems += self._model_problems
        if self._model_problems and (
            self.promoted_at is not None or model.version == self._now.model.version
        ):
            return None
        promoted = {row["model_version"]: row["promoted_at"] for row in rows}
        return model, promoted.get(model.version)


@dataclass(frozen=True, slots=True)
class Draft:
    """An account that is to be judged, as it was when its turn came."""

    is_live: bool
    is_dry: bool
    view: dict[str, Any]
    linked: list[str]
    cluster_id: str | None
    others: list[int | str]


def live_account(asked: Asked, phone_region: str, scored_at: datetime | None = None) -> LiveAccount:
    """The normal forms of a new account."""
    account = normal_form(asked.account_id, asked.attributes, asked.registered_at, phone_region)
    return LiveAccount.of(account, asked.promo_code, scored_at)


def _prepare_for_new_accounts(phone_region: str) -> None:
    """Load the tables of browsers, phones and zones, or the first one would wait a second."""
    given = {"user_agent": "Mozilla/5.0", "phone": "+12025550143", "timezone": "Europe/Berlin"}
    account = live_account(Asked("", True, given, datetime.now(UTC), None), phone_region).account
    features.matrix({name: [account.get(name)] for name in VIEW.names})


def _unknown(request: Request, numbers: Sequence[int | None]) -> int | None:
    """Place of the first `user_id` that nobody knows."""
    for place, (asked, number) in enumerate(zip(request.accounts, numbers, strict=True)):
        if number is None and not asked.is_new:
            return place
    return None


def _repeat(request: Request, before: Answer) -> None:
    """Answer a request as the one with its key was, if it is the same request."""
    assert request.idempotency is not None
    if before.request_sha256 == request.idempotency[1]:
        request.answer(before.answer)
    else:
        request.error = ReusedKeyError()


def _tell(requests: Iterable[Request]) -> None:
    """Let those who wait know what their requests came to."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Request]] = {}
    for request in requests:
        by_loop.setdefault(request.loop, []).append(request)
    for loop, told in by_loop.items():
        try:
            loop.call_soon_threadsafe(_set, told)
        except RuntimeError:  # the loop has ended, and with it those who waited
            log.warning("an answer came too late", requests=len(told))


def _set(requests: list[Request]) -> None:
    for request in requests:
        if request.future.done():
            continue
        if request.error is not None:
            request.future.set_exception(request.error)
        elif request.body is not None:
            request.future.set_result(request.body)
