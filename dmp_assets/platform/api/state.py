"""What the routes of one app share."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import limits.aio
import sqlalchemy as sa
import structlog
from cryptography.fernet import Fernet
from fastapi import Request
from jinja2 import Environment

from dmp_assets.home import Home
from dmp_assets.platform.api.attempts import Logins
from dmp_assets.platform.api.denials import Denials
from dmp_assets.platform.api.known import Known
from dmp_assets.platform.api.metrics import Metrics
from dmp_assets.platform.api.sessions import Ended
from dmp_assets.platform.faces.service import Part
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.settings import Settings

if TYPE_CHECKING:
    from dmp_assets.platform.api.oidc import Issuer

T = TypeVar("T")


@dataclass
class Recent(Generic[T]):
    """What is slow to find and good for `seconds`; who asks at the same time gets the same."""

    seconds: float
    _found: tuple[float, T] | None = None
    _finding: threading.Lock = field(default_factory=threading.Lock)

    def get(self, find: Callable[[], T]) -> T:
        """What was found, or is found now. What `find` raises is raised and not kept."""
        with self._finding:
            if self._found is None or time.monotonic() - self._found[0] > self.seconds:
                value = find()
                self._found = (time.monotonic(), value)
            return self._found[1]

    def forget(self) -> None:
        """Find it anew."""
        self._found = None


@dataclass(kw_only=True)
class Entrance:
    """What it takes to know who calls: store, settings, and what is held in memory of callers."""

    home: Home
    settings: Settings
    store: sa.Engine
    seal: Fernet
    limiter: "limits.aio.strategies.RateLimiter"
    pages: Environment
    known: Known
    secure: bool
    issuer: "Issuer | None"
    metrics: Metrics
    is_host_told: bool = True
    """Whether a request that is answered names one of our own hosts."""
    denials: Denials = field(default_factory=Denials)
    ended: Ended = field(default_factory=Ended)
    log: Any = field(default_factory=lambda: structlog.get_logger("dmp.api"))

    def __post_init__(self) -> None:
        self.logins = Logins(self.limiter, self.seal)

    @property
    def store_answers(self) -> bool:
        """Whether the store answered who hears of it at every moment; nobody does here."""
        return True

    def now(self) -> datetime:
        """The clock's time in UTC: keys and sessions expire by it, in a sandbox too."""
        return datetime.now(UTC)

    def in_store(self, read: Callable[[sa.Connection], T]) -> T:
        """Read the store as it is at one moment, whatever is published meanwhile."""
        moment = self.store.execution_options(isolation_level="REPEATABLE READ")
        with moment.begin() as connection:
            return read(connection)

    def change(self, work: Callable[[sa.Connection], T]) -> T:
        """Change the store in a transaction."""
        with self.store.begin() as connection:
            return work(connection)


@dataclass(kw_only=True)
class Service(Entrance):
    """The whole service: an entrance, what domains run in it, and the lakehouse (`tables`)."""

    parts: Mapping[str, Part]
    tables: Tables
    checks: Recent[list[Any]] = field(default_factory=lambda: Recent(1.0))
    """What `/health/ready` says."""
    written: Recent[list[Any]] = field(default_factory=lambda: Recent(5.0))
    """The lakehouse's tables, as `/v1/runs` lists them."""

    @property
    def store_answers(self) -> bool:
        """Whether the store answered every part of ours that asks it at every moment."""
        return all(part.store_answers for part in self.parts.values())

    def when_loaded(self, work: Callable[[], object]) -> None:
        """Have something done once, when all parts are loaded; say it before they start."""
        for part in self.parts.values():
            work = partial(part.when_loaded, work)
        work()


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
