"""What of promo-code abuse runs in the service: scoring with its log, and the review's counts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from dmp_assets.abuse.service.accounts import Accounts
from dmp_assets.abuse.service.metrics import AbuseMetrics
from dmp_assets.abuse.service.score_log import ScoreLog
from dmp_assets.abuse.service.scoring import Scoring
from dmp_assets.abuse.service.store import review_queue
from dmp_assets.abuse.settings import AbuseSettings
from dmp_assets.home import Home
from dmp_assets.platform.api.metrics import Metrics
from dmp_assets.platform.api.state import Recent, Service
from dmp_assets.platform.faces.service import Found
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.settings import Settings

log = structlog.get_logger("dmp.api")


@dataclass(kw_only=True)
class AbusePart:
    """Scoring and its log; `counted` is how many cases wait in the review, by why."""

    settings: Settings
    store: sa.Engine
    scoring: Scoring
    score_log: ScoreLog
    metrics: AbuseMetrics
    counted: Recent[Mapping[str, int]] = field(default_factory=lambda: Recent(60.0))

    @classmethod
    def of(
        cls, home: Home, settings: Settings, tables: Tables, store: sa.Engine, metrics: Metrics
    ) -> "AbusePart":
        own, score_log = AbuseMetrics(metrics.registry), ScoreLog.of(home, settings, store)
        scoring = Scoring(home, settings, tables, score_log, own)
        return cls(
            settings=settings, store=store, scoring=scoring, score_log=score_log, metrics=own
        )

    def start(self) -> None:
        self.scoring.start()

    def stop(self) -> None:
        self.scoring.stop()

    def when_loaded(self, work: Callable[[], object]) -> None:
        self.scoring.when_loaded(work)

    @property
    def live(self) -> Accounts | None:
        """The accounts and what the model says of them; None while they are being loaded."""
        return self.scoring.accounts if self.scoring.is_loaded else None

    @property
    def store_answers(self) -> bool:
        """Whether the store answered scoring last, which then hears others and logs there.

        True until scoring has asked.
        """
        return not self.scoring.is_loaded or self.score_log.live

    def checks(self) -> Sequence[Found]:
        """Whether a model scores; counts the review's queue for Prometheus now and then."""
        self._count_queue()
        scoring = self.scoring
        if not scoring.is_loaded:
            said = "is being loaded"
            return [Found(name="model", ok=False, detail=said, summary=said)]
        if scoring.problems:
            told = "snapshot or model cannot be used; the last good one serves"
            said = "; ".join(scoring.problems)
            return [Found(name="model", ok=False, detail=said, summary=told)]
        said = f"{scoring.accounts.model.version}, {len(scoring.accounts.index):,} accounts"
        if not self.score_log.live:
            told = "scores are not in the store"
            return [Found(name="model", ok=False, detail=f"{said}; {told}", summary=told)]
        return [Found(name="model", ok=True, detail=said, summary="scores")]

    def _count_queue(self) -> None:
        """Nothing fails because of it."""
        share = self.settings.of(AbuseSettings).review_sample_share

        def count() -> Mapping[str, int]:
            with self.store.begin() as connection:
                return review_queue.length(connection, share=share)

        try:
            lengths = self.counted.get(count)
        except (DBAPIError, PoolTimeout) as error:
            log.warning("the queue cannot be counted", error=type(error).__name__)
        else:
            self.metrics.note_queue(lengths)


def part_of(service: Service) -> AbusePart:
    """The domain's part of a running service."""
    part = service.parts["abuse"]
    assert isinstance(part, AbusePart)
    return part
