"""What of ad performance runs in the service: assignment in experiments, with its log."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import sqlalchemy as sa

from dmp_assets.ads.service.assigning import Assigning
from dmp_assets.ads.service.exposure_log import ExposureLog
from dmp_assets.ads.service.seen import Seen
from dmp_assets.ads.service.units import UnitKey
from dmp_assets.home import Home
from dmp_assets.platform.api.metrics import Metrics
from dmp_assets.platform.api.state import Service
from dmp_assets.platform.faces.service import Found
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.settings import Settings


@dataclass(kw_only=True)
class AdsPart:
    """Assignment and the log of exposures; `seen`: whom callers see; `now`: the home's clock,
    which stands in a sandbox."""

    assigning: Assigning
    exposures: ExposureLog
    now: Callable[[], datetime]
    seen: Seen = field(default_factory=Seen)

    @classmethod
    def of(
        cls, home: Home, settings: Settings, tables: Tables, store: sa.Engine, metrics: Metrics
    ) -> "AdsPart":
        exposures, stands = ExposureLog(store, home.serving / "exposures"), home.now()
        return cls(
            assigning=Assigning(store, UnitKey.of(home), exposures),
            exposures=exposures,
            now=(lambda: datetime.now(UTC)) if home.profile == "live" else (lambda: stands),
        )

    def start(self) -> None:
        self.exposures.start()

    def stop(self) -> None:
        self.exposures.stop()

    def when_loaded(self, work: Callable[[], object]) -> None:
        work()

    @property
    def store_answers(self) -> bool:
        """Nothing here asks the store at every moment."""
        return True

    def checks(self) -> Sequence[Found]:
        """Whether exposures reach the store."""
        waiting = self.exposures.waiting
        if not self.exposures.is_late:
            return [Found("exposures", True, f"{waiting:,} wait", "are written")]
        told = "exposures wait for the store"
        return [Found("exposures", False, f"{waiting:,} wait for the store", told)]


def part_of(service: Service) -> AdsPart:
    """The domain's part of a running service."""
    part = service.parts["ads"]
    assert isinstance(part, AdsPart)
    return part
