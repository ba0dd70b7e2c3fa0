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
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
import structlog
from deltalake.exceptions import DeltaError
from pydantic_core import to_json

from dmp_assets.abuse import features, snapshot
from dmp_assets.abuse.clusters import Cluster
from dmp_assets.abuse.index import AccountIndex, LiveAccount
from dmp_assets.abuse.limits import DeviceLimit, stricter
from dmp_assets.abuse.received import normal_form
from dmp_assets.abuse.rulings import Ruling
from dmp_assets.abuse.snapshot import SnapshotError
from dmp_assets.abuse.store import RULES_ONLY, Model
from dmp_assets.abuse.view import VIEW
from dmp_assets.api.asked import Asked, RecentAnswers, Request, ReusedKeyError, tell
from dmp_assets.api.fair_queue import FairQueue
from dmp_assets.api.judged import Draft, Judged, Judgement, Prepared, Seen
from dmp_assets.api.metrics import Metrics
from dmp_assets.api.refs import Owners, former, name_of, named_publicly, public, with_known
from dmp_assets.api.score_log import ScoreLog
from dmp_assets.api.spool import Spool
from dmp_assets.api.told import not_scored, shown
from dmp_assets.home import Home
from dmp_assets.ml import registry
from dmp_assets.settings import Settings
from dmp_assets.store.predictions import Answer, NewAccount, Prediction
from dmp_assets.tables import TableError, Tables

log = structlog.get_logger("dmp.api")

MOST_KEPT = 100_000
"""Judgements on known accounts that are kept in memory."""
MOST_LINKED = 20
"""Linked accounts that an answer names."""
LOOK_EVERY = 1.0
RETRY_EVERY = 5.0
AT_ONCE = 10
"""Accounts that are taken or forgotten at once beside scoring: callers wait for as long."""
GIVE_WAY = 0.001
"""Seconds until the next of these: who lets go of a lock and takes it again lets nobody in."""
ANSWER_WITHIN = 30.0
"""Seconds after which a caller is told to come back: only while all is being loaded."""


class BusyError(Exception):
    """More accounts wait than can be scored soon."""


class UnknownUserError(Exception):
    """A `user_id` that nobody knows, at this place of the request."""

    def __init__(self, place: int) -> None:
        super().__init__(f"account {place}")
        self.place = place


class UnscoredError(Exception):
    """None of a request's accounts could be scored."""


class Scoring:
    """The scorer of one process; `start` it before the first request, `stop` it after the last."""

    def __init__(
        self, home: Home, settings: Settings, tables: Tables, store: sa.Engine, metrics: Metrics
    ) -> None:
        self.home, self.settings, self.tables, self.metrics = home, settings, tables, metrics
        self.problems: list[str] = []
        self._keep = timedelta(days=settings.live_account_days)
        self._log = ScoreLog(
            store,
            Spool(home.spool, settings.spool_scores, settings.spool_scores_per_client),
            self._keep,
            settings.live_accounts,
            self._most_of_one,
        )
        self._waiting: FairQueue[Request] = FairQueue()
        self._owners = Owners()
        self._formers = 0
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
        self._waiting.open()
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
        _prepare_for_new_accounts(self.settings)
        gc.freeze()  # what is loaded stays: to look through it again and again holds up callers
        self._loaded.set()

    def stop(self) -> None:
        """Answer what waits, and end with the last of those who started it."""
        self._started -= 1
        if self._started > 0:
            return
        self._stopping.set()
        self._waiting.close()
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
        loop = asyncio.get_running_loop()
        request = Request(
            accounts, caller, request_id, sees_ids, dry_run,
            None if idempotency_key is None or dry_run
            else ((caller, idempotency_key), hashlib.sha256(body).digest()),
            loop, loop.create_future(),
        )  # fmt: skip
        if not self._waiting.put(request):
            raise BusyError
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
            return self._now.index.attributes(self._owners.latest(account_id))

    @property
    def snapshot(self) -> snapshot.Snapshot:
        """The known accounts."""
        return self._now.index.snapshot

    def codes(self, account_id: str) -> list[str]:
        """Codes that the account redeemed by the snapshot, or is about to redeem."""
        with self._lock:
            index = self._now.index
            row = index.snapshot.row_of(account_id)
            if row is not None:
                return list(index.snapshot.value_of(row, "codes_used") or ())
            live = index.live_of(self._owners.latest(account_id))
            return [live.promo_code] if live is not None and live.promo_code else []

    def search(self, text: str) -> list[str]:
        """Accounts by id, e-mail, phone, device or IP, at most 50."""
        with self._lock:
            found = self._now.index.search(text, self.settings.phone_region)
            if self._now.index.number(name := self._owners.latest(text.strip())) is not None:
                found.insert(0, name)
        return list(dict.fromkeys(map(public, found)))

    def cluster(self, account_id: str, at_most: int = 60) -> Cluster:
        """The account's cluster; that of an account that nobody knows is itself."""
        with self._lock:
            name = self._owners.latest(account_id)
            if self._now.index.number(name) is None:
                return Cluster((account_id,), (), 1)
            return named_publicly(self._now.index.cluster(name, at_most))

    def judge(self, account_id: str) -> Judgement | None:
        """What the model says of an account now; None when nobody knows it. Logs nothing."""
        with self._lock:
            number = self._now.index.number(self._owners.latest(account_id))
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
        while batch := self._together():
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

    def _together(self) -> list[Request]:
        """Requests that wait and whose callers do; none when it is time to end."""
        while batch := self._waiting.take():
            if wanted := [request for request in batch if not request.is_over]:
                return wanted  # who was told to come back does so
        return []

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
        tell([*requests, *(request for request, _ in repeats)])
        for request, _, rows in done:
            if not request.dry_run and request.error is None:
                for row in rows:
                    known = "no" if row.is_new else "yes"
                    self.metrics.scores.labels(row.decision, known).inc()

    def _make_durable(
        self, done: list[tuple["Request", bytes, list[Prediction]]], now: datetime
    ) -> None:
        """Log what was scored; then it is the answer."""
        self._spare_the_disk(done)
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

    def _spare_the_disk(self, done: list[tuple["Request", bytes, list[Prediction]]]) -> None:
        """While the store is gone, refuse those whose part of the disk is full."""
        if not self._log.live:
            for request, _, rows in done:
                if rows and not self._log.spool.has_room(request.caller, len(rows)):
                    request.fail(OSError("the spool has no room for more of this client"))
        done[:] = [entry for entry in done if entry[0].error is None]

    def _take(self, accounts: Sequence[NewAccount]) -> None:
        """Add accounts that others scored, unless a later word of theirs is known."""
        index = self._now.index
        for account in accounts:
            name = name_of(account.account_id, account.caller)
            known = index.live_of(name)
            if index.is_known(account.account_id) or (
                known is not None and known.scored_at >= account.predicted_at
            ):
                continue
            try:
                asked = Asked.of_json(account.account_id, account.attributes)
                self._admit(asked, name, account.predicted_at)
            except Exception as error:  # of that account alone
                log.error(
                    "a logged account cannot be read", error=type(error).__name__, exc_info=error
                )
                continue
            self._probability[name] = account.probability

    def _take_locked(self, accounts: Sequence[NewAccount]) -> None:
        for start in range(0, len(accounts), AT_ONCE):
            with self._lock:
                self._take(accounts[start : start + AT_ONCE])
            self._stopping.wait(GIVE_WAY)

    def _take_over(self, prepared: Prepared) -> None:
        """Make what was prepared the present. Between two batches."""
        held = {live.account_id: live for live in prepared.index.live()}
        prepared.index.keep(
            live for live in self._now.index.live()
            if held.get(live.account_id) is not live and live.scored_at >= prepared.taken_at
            and prepared.index.snapshot.row_of(public(live.account_id)) is None
        )  # fmt: skip
        self._now = prepared
        self._owners.again(live.account_id for live in prepared.index.live())
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
                tell([request])
            elif (same := first.setdefault(key, request)) is request:
                requests.append(request)
            elif same.idempotency == request.idempotency:
                repeats.append((request, same))
            else:
                request.fail(ReusedKeyError())
                tell([request])
        return requests, repeats

    # judging -------------------------------------------------------------------------------------
    def _all_judged(
        self, requests: Sequence[Request], now: datetime
    ) -> list[tuple[Request, list[Judged]]]:
        """The judgements on the accounts of each request, in order; unknown users fail theirs."""
        index = self._now.index
        places: list[tuple[Request, range]] = []
        judged: list[Judgement | None] = []
        seen: list[Seen] = []
        drafts: list[Draft] = []
        drafted: list[int] = []
        for request in requests:
            names = [self._name(request, asked) for asked in request.accounts]
            if (unknown := _unknown(request, [index.number(name) for name in names])) is not None:
                request.fail(UnknownUserError(unknown))
                continue
            replaced: list[tuple[str, LiveAccount | None]] = []
            first = len(judged)
            for asked, name in zip(request.accounts, names, strict=True):
                try:
                    number, told = self._seen(asked, name, replaced, now)
                    if number < index.snapshot.size and not index.touched(number):
                        found = self._known(number, keep=not request.dry_run)
                    else:
                        found = None
                        drafts.append(self._draft(number, is_dry=request.dry_run))
                        drafted.append(len(judged))
                except Exception as error:  # of this account alone
                    if len(request.accounts) == 1:
                        raise
                    log.error(
                        "an account cannot be scored", error=type(error).__name__, exc_info=error
                    )
                    found, told = None, Seen(asked, None, True)
                judged.append(found)
                seen.append(told)
            places.append((request, range(first, len(judged))))
            if request.dry_run:
                self._take_back(replaced)
        for place, judgement in zip(drafted, self._of_all_drafts(drafts), strict=True):
            judged[place] = judgement
        return [(request, [(judged[n], seen[n]) for n in span]) for request, span in places]

    def _name(self, request: Request, asked: Asked) -> str:
        """By what the index knows an account that is asked for.

        A `user_id` that the shop does not have is a reference of the caller's own, or for who
        may see ids, anybody's.
        """
        if self._now.index.is_known(asked.account_id):
            return asked.account_id
        own = name_of(asked.account_id, request.caller)
        if asked.is_new or not request.sees_ids or self._now.index.number(own) is not None:
            return own
        return self._owners.latest(asked.account_id)

    def _seen(
        self, asked: Asked, name: str, replaced: list[tuple[str, LiveAccount | None]],
        now: datetime,
    ) -> tuple[int, "Seen"]:  # fmt: skip
        """(the account's number, what is to be said of it); a new one is in the index then."""
        number = self._now.index.number(name)
        unreadable: tuple[str, ...] = ()
        if asked.is_new and not self._now.index.is_known(name):
            number, asked, unreadable = self._admit(asked, name, replaced=replaced)
        assert number is not None  # or the request would have failed
        is_new = number >= self._now.index.snapshot.size
        return number, Seen(asked, self._ruling(asked.account_id, name, number, now), is_new,
                            unreadable)  # fmt: skip

    def _admit(
        self, asked: Asked, name: str, at: datetime | None = None,
        replaced: list[tuple[str, LiveAccount | None]] | None = None,
    ) -> tuple[int, Asked, tuple[str, ...]]:  # fmt: skip
        """Put a new account into the index: (its number, all that is known of it, what is not
        readable). `replaced` is told what was there before."""
        index = self._now.index
        before = index.live_of(name)
        if before is not None:
            asked = with_known(asked, before)
        live, unreadable = self._readable(replace(asked, account_id=name), at)
        if unreadable:
            asked = replace(asked, attributes={**asked.attributes, **dict.fromkeys(unreadable)})
        replaced = [] if replaced is None else replaced
        if before is not None and (gone := former(before, live, self._formers)) is not None:
            self._formers += 1
            replaced.append((gone.account_id, index.live_of(gone.account_id)))
            self._put(gone)
        replaced.append((name, before))
        return self._put(live), asked, unreadable

    def _readable(self, asked: Asked, at: datetime | None) -> tuple[LiveAccount, tuple[str, ...]]:
        """The account without those of its attributes that nothing can be made of, and these."""
        try:
            return live_account(asked, self.settings, at), ()
        except Exception as error:
            attributes, unreadable = dict(asked.attributes), []
            for name, value in asked.attributes.items():
                alone = replace(asked, attributes={name: value})
                try:
                    live_account(alone, self.settings, at)
                except Exception as own:
                    log.warning(
                        "an attribute cannot be read", name=name, error=type(own).__name__,
                        exc_info=own,
                    )  # fmt: skip
                    unreadable.append(name)
                    attributes[name] = None
            if not unreadable or len(unreadable) == len(attributes):
                raise error
            kept = replace(asked, attributes=attributes)
            return live_account(kept, self.settings, at), tuple(unreadable)

    def _put(self, live: LiveAccount) -> int:
        if self._now.index.live_of(live.account_id) is not None:
            self._remove(live.account_id)
        number = self._now.index.put(live)
        self._owners.add(live.account_id)
        self._links_changed(number)
        return number

    def _remove(self, account_id: str) -> None:
        number = self._now.index.number(account_id)
        if number is not None:
            self._links_changed(number)
            self._now.index.remove(account_id)
            self._owners.remove(account_id)

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
            linked, cluster_id = self._named(row), public(now.index.first_of(members))
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
        named = (public(index.id_of(other)) for other in index.neighbours(number))
        return list(islice(dict.fromkeys(named), MOST_LINKED))

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
            cluster_id=public(index.first_of(members)) if len(members) > 1 else None,
            others=self._rows_and_ids(members[1:]),
        )

    def _of_all_drafts(self, drafts: Sequence["Draft"]) -> list[Judgement | None]:
        """The judgements on these; None on those that alone cannot be judged."""
        try:
            return list(self._of_drafts(drafts))
        except Exception:
            if len(drafts) == 1:
                raise
        judged: list[Judgement | None] = []
        for draft in drafts:
            try:
                judged += self._of_drafts([draft])
            except Exception as error:  # of this account alone
                log.error("an account cannot be scored", error=type(error).__name__, exc_info=error)
                judged.append(None)
        return judged

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

    def _ruling(self, account_id: str, name: str, number: int, now: datetime) -> Ruling | None:
        attributes: Mapping[str, Any] = {}
        if self._log.rulings.need_attributes:
            live = self._now.index.live_of(name)
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
        for judgement, seen in judged:
            asked, ruling, is_new = seen.asked, seen.ruling, seen.is_new
            score_id = uuid4()
            if judgement is None:
                results.append(not_scored(seen, str(score_id)))
                continue
            decision = judgement.decision
            decided_by = "limit" if judgement.is_limited else "model"
            if ruling is not None:
                decision, decided_by = ruling.decision, ruling.by
            results.append(shown(request, seen, judgement, str(score_id), decision, decided_by))
            if not request.dry_run:
                rows.append(Prediction(
                    score_id=score_id, predicted_at=now, account_id=asked.account_id,
                    is_new=is_new,
                    attributes=asked.as_json() if asked.is_new and is_new else None,
                    probability=judgement.probability, model_decision=judgement.decision,
                    decision=decision, decided_by=decided_by, reasons=judgement.reasons,
                    linked_accounts=judgement.linked, cluster_id=judgement.cluster_id,
                    cluster_size=judgement.cluster_size,
                    expected_abusers=judgement.expected_abusers,
                    model_version=judgement.model_version,
                    features=None if judgement.features is None else judgement.features.tolist(),
                    live_links=self.live, caller=request.caller, request_id=request.request_id,
                ))  # fmt: skip
        if all(judgement is None for judgement, _ in judged):
            request.fail(UnscoredError())
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

    @property
    def _most_of_one(self) -> int:
        """Live accounts of one client."""
        own = self.settings.live_accounts_per_client
        return min(own or self.settings.live_accounts, self.settings.live_accounts)

    def _forget_old(self) -> None:
        """Forget live accounts that are too old, and some where there are too many.

        Those of the client that has the most go first: one client's many push out no other's.
        """
        since = datetime.now(UTC) - self._keep
        while True:
            with self._lock:
                forgotten = [
                    live.account_id
                    for live in islice(self._now.index.live(), AT_ONCE)
                    if live.scored_at < since
                ]
                for name in forgotten:
                    self._forget(name)
                while len(forgotten) < AT_ONCE and (owner := self._has_too_many()) is not None:
                    forgotten.append(self._least_missed(owner))
                    self._forget(forgotten[-1])
            if len(forgotten) < AT_ONCE or self._stopping.wait(GIVE_WAY):
                return

    def _has_too_many(self) -> str | None:
        """The client that is to lose a live account."""
        index, busiest = self._now.index, self._owners.busiest()
        too_many = len(index) - index.snapshot.size > self.settings.live_accounts
        if busiest is not None and (too_many or self._owners.count(busiest) > self._most_of_one):
            return busiest
        return None

    def _least_missed(self, owner: str) -> str:
        """The oldest of a client's accounts that is linked with nobody, of the oldest few."""
        index, oldest = self._now.index, self._owners.oldest(owner, 50)
        for name in oldest:
            number = index.number(name)
            if number is None or not index.neighbours(number):
                return name
        return oldest[0]

    def _forget(self, name: str) -> None:
        self._remove(name)
        self._probability.pop(name, None)

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
        index.keep(
            live for live in self._giving_way(self._recent_live())
            if known.row_of(public(live.account_id)) is None
        )  # fmt: skip
        prepared = Prepared.of(index, model, promoted_at, taken_at)
        with self._lock:
            self._take_over(prepared)

    def _recent_live(self) -> list[LiveAccount]:
        with self._lock:
            live = list(self._now.index.live())
        since = datetime.now(UTC) - self._keep
        return [account for account in live if account.scored_at >= since]

    def _giving_way(self, accounts: Iterable[LiveAccount]) -> Iterator[LiveAccount]:
        """These, and a chance for callers after every few."""
        for number, account in enumerate(accounts, 1):
            yield account
            if number % AT_ONCE == 0:
                self._stopping.wait(GIVE_WAY)

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


def live_account(
    asked: Asked, settings: Settings, scored_at: datetime | None = None
) -> LiveAccount:
    """The normal forms of a new account."""
    account = normal_form(
        asked.account_id, asked.attributes, asked.registered_at, settings.phone_region,
        settings.no_value_words,
    )  # fmt: skip
    promo_code = settings.no_value_words.given("code", asked.promo_code)
    return LiveAccount.of(account, promo_code, scored_at)


def _prepare_for_new_accounts(settings: Settings) -> None:
    """Load the tables of browsers, phones and zones, or the first one would wait a second."""
    given = {"user_agent": "Mozilla/5.0", "phone": "+12025550143", "timezone": "Europe/Berlin"}
    account = live_account(Asked("", True, given, datetime.now(UTC), None), settings).account
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
