"""Which variant a unit gets while a caller waits: definitions are known, bots are told apart."""

import threading
import time
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import sqlalchemy as sa
from ua_parser import parse_device, parse_user_agent

from dmp_assets.ads.model.experiments import assignment
from dmp_assets.ads.model.experiments.decide import State
from dmp_assets.ads.service.exposure_log import ExposureLog
from dmp_assets.ads.service.store import experiments
from dmp_assets.ads.service.store.experiments import ConflictError, Experiment
from dmp_assets.ads.service.store.exposures import Exposure
from dmp_assets.ads.service.units import UnitKey
from dmp_assets.platform.base.errors import UserError

KNOWN_SECONDS = 3.0
"""How long a definition is not looked up again: a stop is heard of at most so late."""
MOST_KNOWN = 10_000
SCRIPTS = frozenset({
    "Apache-HttpClient", "Go-http-client", "HeadlessChrome", "PhantomJS", "Python Requests",
    "Scrapy", "Wget", "axios", "curl", "libwww-perl",
})  # fmt: skip
"""Programs that show a page to nobody, as ua-parser calls them."""
_COUNTS = (State.RUNNING.value, State.PROPOSED.value)


class KeyLostError(UserError):
    """The secret by which the experiment's units are hashed is not the one at its start."""


@dataclass(frozen=True)
class Assigned:
    """What a unit gets. `variant`: None where it is not in the experiment; `is_exposed`: whether
    that counts."""

    variant: str | None
    state: str
    is_exposed: bool


class Assigning:
    """Assigns units, and has their exposures logged. For several threads."""

    def __init__(self, store: sa.Engine, key: UnitKey, log: ExposureLog) -> None:
        self._store, self._key, self._log = store, key, log
        self._known: dict[tuple[str, str], tuple[float, Experiment | None]] = {}
        self._looking = threading.Lock()

    def assign(
        self, advertiser_id: str, experiment: str, unit: str, user_agent: str | None, now: datetime
    ) -> Assigned | None:
        """The variant of a unit, which is the same at every ask; None: no such experiment.

        While it runs the unit's exposure is logged, once for each variant. Paused, stopped or
        ended without a winner everybody gets the control, and a promoted winner everybody.
        Raises ConflictError for an experiment that the ad platform assigns, or that has not begun;
        KeyLostError.
        """
        recent = self._recent(advertiser_id, experiment)
        found = recent[1] if recent else self.learn(advertiser_id, experiment)
        if found is None:
            return None
        if found.kind != "own":
            raise ConflictError(f"{experiment} is assigned by the ad platform, not here")
        if found.state == experiments.DRAFT:
            raise ConflictError(f"{experiment} has not been started")
        if found.state == State.PROMOTED:
            return Assigned(found.winner, found.state, is_exposed=False)
        variant = assignment.variant(found.definition, unit)
        if found.state not in _COUNTS:
            shown = None if variant is None else found.definition.control
            return Assigned(shown, found.state, is_exposed=False)
        if variant is not None:
            if found.keyed_by != self._key.known_as:
                raise KeyLostError(
                    f"units of {experiment} cannot be counted: secrets/unit_key is not the one "
                    "that it started with; restore it from a backup, or stop the experiment"
                )
            self._log.tell(
                Exposure(
                    advertiser_id, experiment, self._key.unit(unit), variant,
                    user_agent is not None and is_bot(user_agent), now,
                )
            )  # fmt: skip
        return Assigned(variant, found.state, is_exposed=variant is not None)

    def knows(self, advertiser_id: str, experiment: str) -> bool:
        """Whether `assign` answers without the store."""
        return self._recent(advertiser_id, experiment) is not None

    def learn(self, advertiser_id: str, experiment: str) -> Experiment | None:
        """Look an experiment up; who asks at the same time waits for the same answer."""
        with self._looking:
            recent = self._recent(advertiser_id, experiment)
            if recent is not None:
                return recent[1]
            with self._store.connect() as connection:
                found = experiments.one(connection, advertiser_id, experiment)
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[advertiser_id, experiment] = (time.monotonic(), found)
        return found

    def _recent(
        self, advertiser_id: str, experiment: str
    ) -> tuple[float, Experiment | None] | None:
        known = self._known.get((advertiser_id, experiment))
        return known if known and time.monotonic() - known[0] < KNOWN_SECONDS else None


@lru_cache(maxsize=10_000)
def is_bot(user_agent: str) -> bool:
    """Whether a user agent is no person's: a crawler or a script by ua-parser, or empty."""
    device, program = parse_device(user_agent), parse_user_agent(user_agent)
    is_crawler = device is not None and device.family == "Spider"
    is_script = program is not None and program.family in SCRIPTS
    return is_crawler or is_script or not user_agent.strip()
