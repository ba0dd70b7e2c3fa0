"""Scoring accounts while a caller waits: index, model, rulings, and the log before the answer.

One thread scores. It takes all requests that wait and scores their accounts one after the other
(each sees those before it); a second one logs them in one durable transaction and then answers
(`answering.py`): whoever asks at the same time shares the cost. A third thread looks once a second
for a new snapshot or model, prepares it and takes it over between two batches. Without the store,
scores go to a synced local file and say `live_links: false`, until the store takes them.
"""

import asyncio
import gc
import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from dmp_assets.abuse.model import registry, snapshot
from dmp_assets.abuse.model.clusters import Cluster
from dmp_assets.abuse.model.index import AccountIndex, LiveAccount
from dmp_assets.abuse.model.limits import DeviceLimit
from dmp_assets.abuse.model.rulings import Ruling
from dmp_assets.abuse.model.store import RULES_ONLY, Model
from dmp_assets.abuse.service.answering import Answering, Batch
from dmp_assets.abuse.service.asked import (
    Asked,
    BusyError,
    Request,
    UnknownUserError,
    sort_out,
)
from dmp_assets.abuse.service.fair_queue import FairQueue
from dmp_assets.abuse.service.judged import Draft, Judged, Judgement, Prepared, Seen
from dmp_assets.abuse.service.judging import Judge
from dmp_assets.abuse.service.news import RETRY_EVERY, News
from dmp_assets.abuse.service.present import Present, most_of_one, prepare_for_new_accounts
from dmp_assets.abuse.service.refs import named_publicly, public
from dmp_assets.abuse.service.score_log import ScoreLog
from dmp_assets.abuse.service.spool import Spool
from dmp_assets.abuse.service.store.predictions import NewAccount
from dmp_assets.abuse.service.told import answer_of
from dmp_assets.home import Home
from dmp_assets.platform.api.metrics import Metrics
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.values import words
from dmp_assets.settings import Settings

log = structlog.get_logger("dmp.api")

LOOK_EVERY = 1.0
AT_ONCE = 10
"""Accounts that are taken or forgotten at once beside scoring: callers wait for as long."""
GIVE_WAY = 0.001
"""Seconds until the next of these: who lets go of a lock and takes it again lets nobody in."""
ANSWER_WITHIN = 30.0
"""Seconds after which a caller is told to come back: only while all is being loaded."""


class Scoring:
    """The scorer of one process; `start` it before the first request, `stop` it after the last."""

    def __init__(
        self, home: Home, settings: Settings, tables: Tables, store: sa.Engine, metrics: Metrics
    ) -> None:
        self.settings, self.metrics = settings, metrics
        self._keep = timedelta(days=settings.live_account_days)
        self._log = ScoreLog(
            store,
            Spool(home.spool, settings.spool_scores, settings.spool_scores_per_client),
            self._keep,
            settings.live_accounts,
            most_of_one(settings),
        )
        self._waiting: FairQueue[Request] = FairQueue()
        self._lock = threading.Lock()  # of the index: held for a batch, or for a question
        self._stopping = threading.Event()
        self._loaded = threading.Event()
        self._answering = Answering(self._log, metrics)
        self._news = News(home, settings, tables)
        self._present = Present(settings)
        limit = DeviceLimit(settings.device_day_review, settings.device_day_block)
        self._judge = Judge(self._present, limit)
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
        self._answering.start()
        self._threads = [
            threading.Thread(target=work, name=work.__name__, daemon=True)
            for work in (self._score_forever, self._look_forever)
        ]
        for thread in self._threads:
            thread.start()

    def _load(self) -> None:
        rules_only = registry.rule_list(RULES_ONLY, registry.limits(self.settings))
        self._present.now = Prepared.of(AccountIndex(), rules_only, None, datetime.now(UTC))
        self._look()
        self._log.connect(self._present.take)
        prepare_for_new_accounts(self.settings)
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
        self._answering.stop()
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
    def problems(self) -> list[str]:
        """What of snapshot and model could not be read lately."""
        return self._news.problems

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
        return self._present.index

    @property
    def model(self) -> Model:
        return self._present.now.model

    @property
    def promoted_at(self) -> datetime | None:
        return self._present.now.promoted_at

    def attributes(self, account_id: str) -> dict[str, Any] | None:
        """The account's own attributes and `is_new`; None when nobody knows it."""
        with self._lock:
            return self._present.index.attributes(self._present.owners.latest(account_id))

    @property
    def snapshot(self) -> snapshot.Snapshot:
        """The known accounts."""
        return self._present.index.snapshot

    def codes(self, account_id: str) -> list[str]:
        """Codes that the account redeemed by the snapshot, or is about to redeem."""
        with self._lock:
            index = self._present.index
            row = index.snapshot.row_of(account_id)
            if row is not None:
                return list(index.snapshot.value_of(row, "codes_used") or ())
            live = index.live_of(self._present.owners.latest(account_id))
            return [live.promo_code] if live is not None and live.promo_code else []

    def search(self, text: str) -> list[str]:
        """Accounts by id, e-mail, phone, device or IP, at most 50."""
        with self._lock:
            found = self._present.index.search(text, self.settings.phone_region)
            name = self._present.owners.latest(words.plain("id", text))
            if self._present.index.number(name) is not None:
                found.insert(0, name)
        return list(dict.fromkeys(map(public, found)))

    def cluster(self, account_id: str, at_most: int = 60) -> Cluster:
        """The account's cluster; that of an account that nobody knows is itself."""
        with self._lock:
            name = self._present.owners.latest(account_id)
            if self._present.index.number(name) is None:
                return Cluster((account_id,), (), 1)
            return named_publicly(self._present.index.cluster(name, at_most))

    def judge(self, account_id: str) -> Judgement | None:
        """What the model says of an account now; None when nobody knows it. Logs nothing."""
        with self._lock:
            return self._judge.now(account_id)

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
        """Judge a batch, and have it logged and answered while the next one is judged."""
        with self._lock:
            self._present.take(self._log.hear())
            requests, repeats = self._not_yet_answered(batch)
            now = datetime.now(UTC)
            done = [
                (request, *answer_of(request, judged, self._present.now, self.live, now))
                for request, judged in self._all_judged(requests, now)
            ]
        self._answering.give(Batch(done, repeats, now))

    def _take_locked(self, accounts: Sequence[NewAccount]) -> None:
        for start in range(0, len(accounts), AT_ONCE):
            with self._lock:
                self._present.take(accounts[start : start + AT_ONCE])
            self._stopping.wait(GIVE_WAY)

    # requests that came before -------------------------------------------------------------------
    def _not_yet_answered(
        self, batch: list[Request]
    ) -> tuple[list[Request], list[tuple[Request, Request]]]:
        """(requests to be scored, those that repeat one of these, with that one)."""
        keyed = {request.idempotency[0] for request in batch if request.idempotency is not None}
        known = self._answering.recent.of(keyed)
        if asked := [key for key in keyed if key not in known]:
            known |= self._log.answers_to(asked)
        return sort_out(batch, known)

    # judging -------------------------------------------------------------------------------------
    def _all_judged(
        self, requests: Sequence[Request], now: datetime
    ) -> list[tuple[Request, list[Judged]]]:
        """The judgements on the accounts of each request, in order; unknown users fail theirs."""
        index = self._present.index
        places: list[tuple[Request, range]] = []
        judged: list[Judgement | None] = []
        seen: list[Seen] = []
        drafts: list[Draft] = []
        drafted: list[int] = []
        for request in requests:
            names = [self._present.name(request, asked) for asked in request.accounts]
            if (unknown := _unknown(request, [index.number(name) for name in names])) is not None:
                request.fail(UnknownUserError(unknown))
                continue
            replaced: list[tuple[str, LiveAccount | None]] = []
            first = len(judged)
            for asked, name in zip(request.accounts, names, strict=True):
                try:
                    number, told = self._seen(asked, name, replaced, now)
                    if number < index.snapshot.size and not index.touched(number):
                        found = self._judge.known(number, keep=not request.dry_run)
                    else:
                        found = None
                        drafts.append(self._judge.draft(number, is_dry=request.dry_run))
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
                self._present.take_back(replaced)
        for place, judgement in zip(drafted, self._judge.of_all_drafts(drafts), strict=True):
            judged[place] = judgement
        return [(request, [(judged[n], seen[n]) for n in span]) for request, span in places]

    def _seen(
        self, asked: Asked, name: str, replaced: list[tuple[str, LiveAccount | None]],
        now: datetime,
    ) -> tuple[int, "Seen"]:  # fmt: skip
        """(the account's number, what is to be said of it); a new one is in the index then."""
        number = self._present.index.number(name)
        unreadable: tuple[str, ...] = ()
        if asked.is_new and not self._present.index.is_known(name):
            number, asked, unreadable = self._present.admit(asked, name, replaced=replaced)
        assert number is not None  # or the request would have failed
        is_new = number >= self._present.index.snapshot.size
        return number, Seen(asked, self._ruling(asked.account_id, name, number, now), is_new,
                            unreadable)  # fmt: skip

    def _ruling(self, account_id: str, name: str, number: int, now: datetime) -> Ruling | None:
        attributes: Mapping[str, Any] = {}
        if self._log.rulings.need_attributes:
            live = self._present.index.live_of(name)
            attributes = (
                {name: self._present.index.snapshot.value_of(number, name)
                 for name in ("device_id", "ip", "email_domain")}
                if live is None else live.account
            )  # fmt: skip
        return self._log.rulings.on(account_id, attributes, now)

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
        since = datetime.now(UTC) - self._keep
        while True:
            with self._lock:
                forgotten = self._present.forget_some(since, AT_ONCE)
            if forgotten < AT_ONCE or self._stopping.wait(GIVE_WAY):
                return

    def _look(self) -> None:
        """Take over a new snapshot or model, if there is one."""
        now = self._present.now
        known, model, promoted_at = self._news.look(now.index.snapshot, now.model, now.promoted_at)
        self.metrics.spooled.set(self.spooled)
        if promoted_at is not None:
            self.metrics.model_age.set((datetime.now(UTC) - promoted_at).total_seconds())
        if known is now.index.snapshot and model is now.model:
            return
        index, taken_at = AccountIndex(known), datetime.now(UTC)
        index.keep(
            live for live in self._giving_way(self._recent_live())
            if known.row_of(public(live.account_id)) is None
        )  # fmt: skip
        prepared = Prepared.of(index, model, promoted_at, taken_at)
        with self._lock:
            self._present.take_over(prepared)

    def _recent_live(self) -> list[LiveAccount]:
        with self._lock:
            live = list(self._present.index.live())
        since = datetime.now(UTC) - self._keep
        return [account for account in live if account.scored_at >= since]

    def _giving_way(self, accounts: Iterable[LiveAccount]) -> Iterator[LiveAccount]:
        """These, and a chance for callers after every few."""
        for number, account in enumerate(accounts, 1):
            yield account
            if number % AT_ONCE == 0:
                self._stopping.wait(GIVE_WAY)


def _unknown(request: Request, numbers: Sequence[int | None]) -> int | None:
    """Place of the first `user_id` that nobody knows."""
    for place, (asked, number) in enumerate(zip(request.accounts, numbers, strict=True)):
        if number is None and not asked.is_new:
            return place
    return None
