"""What the routes of one app share."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import limits.aio
import sqlalchemy as sa
import structlog
from cryptography.fernet import Fernet
from fastapi import Request
from jinja2 import Environment

from dmp_assets.api.metrics import Metrics
from dmp_assets.home import Home
from dmp_assets.settings import Settings
from dmp_assets.tables import Tables

if TYPE_CHECKING:
    from dmp_assets.api.access import Known

T = TypeVar("T")


@dataclass
class Service:
    """Store, lakehouse, settings and what is held in memory."""

    home: Home
    settings: Settings
    store: sa.Engine
    seal: Fernet
    limiter: "limits.aio.strategies.RateLimiter"
    pages: Environment
    known: "Known"
    secure: bool
    scoring: Any = None
    metrics: Metrics = field(default_factory=Metrics)
    looking: threading.Lock = field(default_factory=threading.Lock)
    looked: tuple[float, list[Any]] = (float("-inf"), [])
    counted: float = float("-inf")
    log: Any = field(default_factory=lambda: structlog.get_logger("dmp.api"))

    @property
    def tables(self) -> Tables:
        """The lakehouse, read without a JVM."""
        root = self.settings.lakehouse_root or str(self.home.lakehouse)
        return Tables(root, memory=self.settings.duckdb_memory)

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


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
