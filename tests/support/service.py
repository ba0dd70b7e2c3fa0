"""The API as callers reach it: real HTTP on loopback, a real PostgreSQL behind it."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import httpx
import pyarrow as pa
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from dmp_assets.abuse.service.part import AbusePart, part_of
from dmp_assets.abuse.service.score_log import ScoreLog
from dmp_assets.abuse.service.scoring import Scoring
from dmp_assets.home import Home
from dmp_assets.platform.api.app import create_app
from dmp_assets.platform.api.serve import HARDENED
from dmp_assets.platform.store import access, database, publish
from dmp_assets.platform.store.roles import ROLES
from dmp_assets.platform.store.schema import person
from tests.support.ads_budget_rows import budget_rows
from tests.support.ads_rows import ads_rows, pooled_rows

PASSWORD = "correct horse battery"
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
FIRST = date(2024, 1, 1)
USERS = 25


def usage_rows(users: int = USERS) -> pa.Table:
    """Users 0, 1, …; every third has as many usages as the one before."""
    return pa.Table.from_pylist(
        [
            {
                "user_id": f"user-{n:06}", "rank": n + 1, "usages": 100 - n // 3, "codes": n % 5,
                "first_used_at": NOON - timedelta(days=n), "last_used_at": NOON,
                "decision": ("allow", "review", "block", None)[n % 4],
                "probability": None if n % 4 == 3 else n / users,
            }
            for n in range(users)
        ]
    )  # fmt: skip


def published() -> dict[str, pa.Table]:
    """Rows for every published table."""
    codes = [
        {
            "promo_code": name, "rank": n + 1, "usages": 50 - n, "users": 40 - n,
            "flagged_usages": n, "discount_type": "percentage", "discount_value": Decimal("10.50"),
            "first_used_at": NOON, "last_used_at": None if n else NOON,
        }
        for n, name in enumerate(("SPRING10", "=1+1", "Grüße"))
    ]  # fmt: skip
    days = [
        {
            "date": FIRST + timedelta(days=n), "registrations": n, "verified_email": n // 2,
            "verified_phone": n // 3, "usages": 2 * n, "users": n, "first_usages": n // 4,
        }
        for n in range(120)
    ]  # fmt: skip
    channels = [
        {
            "date": FIRST + timedelta(days=n), "channel_name": channel, "model": model,
            "cost": Decimal(cost), "conversions": 0.0 if channel == "display" else 2.0,
            "revenue": 0.0 if channel == "display" else 100.0 + (model == "linear"),
            "conversions_without_abuse": 1.0, "revenue_without_abuse": 50.0, "is_open": n >= 100,
        }
        for n in range(120)
        for channel, cost in (("search", "10.5"), ("display", "4"), ("direct", "0"))
        for model in ("ihc", "linear")
    ]  # fmt: skip
    scores = [
        {
            "user_id": f"user-{n:06}", "registered_at": NOON - timedelta(days=n),
            "probability": n / USERS, "decision": ("allow", "review", "block")[n * 3 // USERS],
            "reasons": json.dumps([{"code": "SHARED_DEVICE", "text": "shares", "weight": 1.5}]),
            "cluster_id": f"user-{n // 5 * 5:06}" if n < 10 else None,
            "cluster_size": 5 if n < 10 else 1, "expected_abusers": n / USERS,
            "model_version": "m-1", "scored_at": NOON,
        }
        for n in range(USERS)
    ]  # fmt: skip
    return {
        "account_score": pa.Table.from_pylist(scores),
        "user_usage": usage_rows(),
        "code_usage": pa.Table.from_pylist(codes),
        "daily_activity": pa.Table.from_pylist(days),
        "channel_reporting": pa.Table.from_pylist(channels),
        **ads_rows(),
        **budget_rows("acme"),
        **pooled_rows(),
    }


def fill(store: sa.Engine, tables: dict[str, pa.Table], version: str = "v1") -> None:
    with store.begin() as connection:
        for name, rows in tables.items():
            publish.replace(connection, name, rows, data_version=version, run_id="run-1")


def free_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for what happens a moment later. Raises AssertionError when it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@dataclass
class Api:
    """A served app, with a key and a logged-in person for every role."""

    app: FastAPI
    url: str
    store: sa.Engine
    home: Home
    keys: dict[str, str]

    @property
    def abuse(self) -> AbusePart:
        """The domain's part of the running service."""
        return part_of(self.app.state.service)

    @property
    def scoring(self) -> Scoring:
        return self.abuse.scoring

    @property
    def score_log(self) -> ScoreLog:
        return self.abuse.score_log

    def client(self, key: str | None = None, **options: object) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        patient = {"timeout": 60.0, **options}  # the machine may be busy
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, **patient)

    def as_role(self, role: str) -> httpx.Client:
        """A client whose key has a role's scopes."""
        return self.client(self.keys[role])

    @contextmanager
    def logged_in(self, role: str) -> Iterator[httpx.Client]:
        """A client with the cookie of a person with this role."""
        with self.client() as client:
            answer = client.post("/login", data={"email": email(role), "password": PASSWORD})
            assert answer.status_code == 303, answer.text
            yield client

    def forget(self) -> None:
        """Look every credential up again, and count calls from 0."""
        self.app.state.service.known.found.clear()
        self.app.state.service.limiter.storage.storage.clear()
        self.app.state.service.denials.forget()
        self.app.state.service.checks.forget()
        self.app.state.service.written.forget()


def email(role: str) -> str:
    return f"{role}@shop.example"


def now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def served(app: FastAPI, **options: Any) -> Iterator[str]:
    """The app behind a real server on loopback; its URL."""
    config = uvicorn.Config(app, **(HARDENED | {"host": "127.0.0.1", "port": 0} | options))
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive() and time.monotonic() < deadline
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)


@cache
def _hash_of_password() -> str | None:
    """As it is stored; one for all, because to make one takes a quarter of a second on purpose."""
    return access._hashed(PASSWORD)


@contextmanager
def running_api(home: Home, url: SecretStr) -> Iterator[Api]:
    """The service of a home on a migrated, filled store."""
    store = database.engine(url, pool_size=10)
    database.migrate(store)
    fill(store, published())
    with store.begin() as connection:
        keys = {
            role: access.add_client(connection, f"key-{role}", scopes, now=now())
            for role, scopes in ROLES.items()
        }
        for role in ROLES:
            access.add_person(connection, email(role), role, None, now=now())
        connection.execute(person.update().values(password_hash=_hash_of_password()))
    home.reports.mkdir(exist_ok=True)
    (home.reports / "promo_abuse.html").write_text("<h1>Promo-code abuse</h1>")
    (home.reports.parent / "outside.html").write_text("not a report")
    app = create_app(home, store=store)
    with served(app) as address:
        until(lambda: part_of(app.state.service).scoring.is_loaded)
        yield Api(app, address, store, home, keys)
    store.dispose()
