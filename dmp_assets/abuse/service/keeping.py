"""Keeping the present: loaded at the start, then new snapshots and models, and what is old goes.

Callers wait while the lock is held, so whatever takes long takes it for a few accounts at a time.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from dmp_assets.abuse.model import registry
from dmp_assets.abuse.model.index import AccountIndex, LiveAccount
from dmp_assets.abuse.model.store import RULES_ONLY
from dmp_assets.abuse.service.judged import Prepared
from dmp_assets.abuse.service.metrics import AbuseMetrics
from dmp_assets.abuse.service.news import RETRY_EVERY, News
from dmp_assets.abuse.service.present import Present, prepare_for_new_accounts
from dmp_assets.abuse.service.refs import public
from dmp_assets.abuse.service.score_log import ScoreLog
from dmp_assets.abuse.service.store.predictions import NewAccount

log = structlog.get_logger("dmp.api")

LOOK_EVERY = 1.0
AT_ONCE = 10
"""Accounts that are taken or forgotten at once beside scoring: callers wait for as long."""
GIVE_WAY = 0.001
"""Seconds until the next of these: who lets go of a lock and takes it again lets nobody in."""


class Keeper:
    """Keeps the present up to date beside scoring.

    `when_loaded` is called once all is there, before anybody is answered.
    """

    def __init__(
        self,
        present: Present,
        news: News,
        score_log: ScoreLog,
        keep: timedelta,
        metrics: AbuseMetrics,
    ) -> None:
        self.when_loaded: Callable[[], object] = lambda: None
        self._present, self._news, self._log = present, news, score_log
        self._keep, self._metrics = keep, metrics
        self._stopping = threading.Event()
        self._loaded = threading.Event()

    @property
    def is_loaded(self) -> bool:
        """Whether there is a present."""
        return self._loaded.is_set()

    @property
    def problems(self) -> list[str]:
        """What of snapshot and model could not be read lately."""
        return self._news.problems

    def go_on(self) -> None:
        """Undo `stop`."""
        self._stopping.clear()

    def stop(self) -> None:
        """Let `load` and `look_forever` end."""
        self._stopping.set()

    def load(self) -> None:
        """Load snapshot, model and the accounts scored lately; again until it succeeds."""
        while not self.is_loaded and not self._stopping.is_set():
            try:
                self._load()
            except Exception as error:  # the file may come, the disk may be mounted
                log.error("scoring cannot start", error=type(error).__name__, exc_info=error)
                self._stopping.wait(RETRY_EVERY)

    def _load(self) -> None:
        rules_only = registry.rule_list(RULES_ONLY, registry.limits(self._present.settings))
        self._present.now = Prepared.of(AccountIndex(), rules_only, None, datetime.now(UTC))
        self._look()
        self._log.connect(self._present.take)
        prepare_for_new_accounts(self._present.settings)
        self.when_loaded()
        self._loaded.set()

    def _take_locked(self, accounts: Sequence[NewAccount]) -> None:
        for start in range(0, len(accounts), AT_ONCE):
            with self._present.lock:
                self._present.take(accounts[start : start + AT_ONCE])
            self._stopping.wait(GIVE_WAY)

    def look_forever(self) -> None:
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
            with self._present.lock:
                forgotten = self._present.forget_some(since, AT_ONCE)
            if forgotten < AT_ONCE or self._stopping.wait(GIVE_WAY):
                return

    def _look(self) -> None:
        """Take over a new snapshot or model, if there is one."""
        now = self._present.now
        known, model, promoted_at = self._news.look(now.index.snapshot, now.model, now.promoted_at)
        self._metrics.spooled.set(self._log.spool.waiting)
        if promoted_at is not None:
            self._metrics.model_age.set((datetime.now(UTC) - promoted_at).total_seconds())
        if known is now.index.snapshot and model is now.model:
            return
        index, taken_at = AccountIndex(known), datetime.now(UTC)
        index.keep(
            live for live in self._giving_way(self._recent_live())
            if known.row_of(public(live.account_id)) is None
        )  # fmt: skip
        prepared = Prepared.of(index, model, promoted_at, taken_at)
        with self._present.lock:
            self._present.take_over(prepared)

    def _recent_live(self) -> list[LiveAccount]:
        with self._present.lock:
            live = list(self._present.index.live())
        since = datetime.now(UTC) - self._keep
        return [account for account in live if account.scored_at >= since]

    def _giving_way(self, accounts: Iterable[LiveAccount]) -> Iterator[LiveAccount]:
        """These, and a chance for callers after every few."""
        for number, account in enumerate(accounts, 1):
            yield account
            if number % AT_ONCE == 0:
                self._stopping.wait(GIVE_WAY)
