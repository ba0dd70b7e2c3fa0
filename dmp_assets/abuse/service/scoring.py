"""Scoring accounts while a caller waits: index, model, rulings, and the log before the answer.

One thread scores. It takes all requests that wait and scores their accounts one after the other
(each sees those before it); a second one logs them in one durable transaction and then answers
(`answering.py`): whoever asks at the same time shares the cost. A third thread looks once a second
for a new snapshot or model, prepares it and takes it over between two batches (`keeping.py`).
Without the store, scores go to a synced local file and say `live_links: false`, until the store
takes them.
"""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from dmp_assets.abuse.model.limits import DeviceLimit
from dmp_assets.abuse.service.accounts import Accounts
from dmp_assets.abuse.service.answering import Answering, Batch
from dmp_assets.abuse.service.asked import Asked, BusyError, Request, sort_out
from dmp_assets.abuse.service.fair_queue import FairQueue
from dmp_assets.abuse.service.judging import Judge
from dmp_assets.abuse.service.keeping import Keeper
from dmp_assets.abuse.service.metrics import AbuseMetrics
from dmp_assets.abuse.service.news import News
from dmp_assets.abuse.service.present import Present
from dmp_assets.abuse.service.request_judging import RequestJudge
from dmp_assets.abuse.service.score_log import ScoreLog
from dmp_assets.abuse.service.told import answer_of
from dmp_assets.abuse.settings import AbuseSettings
from dmp_assets.home import Home
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.settings import Settings

log = structlog.get_logger("dmp.api")

ANSWER_WITHIN = 30.0
"""Seconds after which a caller is told to come back: only while all is being loaded."""


class Scoring:
    """The scorer of one process; `start` it before the first request, `stop` it after the last.

    `accounts` answers questions about what is known at the moment.
    """

    def __init__(
        self,
        home: Home,
        settings: Settings,
        tables: Tables,
        score_log: ScoreLog,
        metrics: AbuseMetrics,
    ) -> None:
        self._log = score_log
        self._waiting: FairQueue[Request] = FairQueue()
        self._answering = Answering(score_log, metrics)
        self._present = Present(settings)
        own = settings.of(AbuseSettings)
        judge = Judge(self._present, DeviceLimit(own.device_day_review, own.device_day_block))
        self._judge = RequestJudge(self._present, judge, score_log)
        self._keeper = Keeper(
            self._present, News(home, settings, tables), score_log,
            timedelta(days=own.live_account_days), metrics,
        )  # fmt: skip
        self.accounts = Accounts(self._present, judge)
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
        self._keeper.go_on()
        self._waiting.open()
        self._log.start()
        self._answering.start()
        self._threads = [
            threading.Thread(target=work, name=work.__name__, daemon=True)
            for work in (self._score_forever, self._keeper.look_forever)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Answer what waits, and end with the last of those who started it."""
        self._started -= 1
        if self._started > 0:
            return
        self._keeper.stop()
        self._waiting.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=10)
        self._answering.stop()
        self._log.stop()

    @property
    def is_loaded(self) -> bool:
        """Whether it can score already."""
        return self._keeper.is_loaded

    @property
    def problems(self) -> list[str]:
        """What of snapshot and model could not be read lately."""
        return self._keeper.problems

    def when_loaded(self, work: Callable[[], object]) -> None:
        """Have something done once, when all is loaded; say it before `start`."""
        self._keeper.when_loaded = work

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

    # the scoring thread --------------------------------------------------------------------------
    def _score_forever(self) -> None:
        self._keeper.load()
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
        with self._present.lock:
            self._present.take(self._log.hear())
            requests, repeats = self._not_yet_answered(batch)
            now = datetime.now(UTC)
            done = [
                (request, *answer_of(request, judged, self._present.now, self._log.live, now))
                for request, judged in self._judge.all_judged(requests, now)
            ]
        self._answering.give(Batch(done, repeats, now))

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
