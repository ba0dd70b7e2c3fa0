"""Throughput and latency of the API's routes beside a bare FastAPI echo, on one core, in one run.

    .venv/bin/python -m benchmarks.api            # 5 s a route
    .venv/bin/python -m benchmarks.api 20         # 20 s a route
    .venv/bin/python -m benchmarks.api --runs 5   # new accounts alone, by five servers

Each server is one process on the first core; the load comes from the second. Throughput is with 16
connections that each ask again at once; latency is at half of that rate, one connection asking at
even intervals. The store is a real PostgreSQL that waits for its disk, filled with few rows: what
is measured is the way of a request, not the database. With `--runs` the disk is measured, too: what
one synced write takes there; and whether the machine stood still (`tests/support/machine.py`).
"""

import argparse
import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import psutil
from pydantic import SecretStr

from dmp_assets.home import Home
from dmp_assets.platform.postgres.embedded import Endpoint
from dmp_assets.platform.store import access, database
from dmp_assets.platform.store.roles import SCOPES
from tests.support import serving
from tests.support.machine import watched
from tests.support.postgres import fresh_database, stoppable_server
from tests.support.service import fill, now, published

ROOT = Path(__file__).resolve().parent.parent
CONNECTIONS = 16
USERS = 10_000
AGENTS = [
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/{version}.0.0.0 Safari/537.36"
    for version in range(100, 125)
]
CITIES = ["Berlin", "Hamburg", "Köln", "Leipzig", "Wien", "Graz", "Bern"]
ROUTES = {
    "/health/live": "no key, no store",
    "/v1/promo/usage?start=2024-01-01&end=2024-01-07": "key, rate limit, one query",
    "/v1/promo/top-users?limit=20": "the same, 20 rows, a sealed cursor",
    "/v1/channels?by=range&start=2024-01-01&end=2024-03-31": "the same, sums over 90 days",
}


@contextmanager
def server(name: str, environment: dict[str, str]) -> Iterator[tuple[int, psutil.Process]]:
    """(port, process) of a server on the first core, stopped afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.api_server", name, str(listening.fileno())],
            cwd=ROOT,
            env=os.environ | environment,
            pass_fds=[listening.fileno()],
            stderr=subprocess.DEVNULL,  # the log's lines are made, and not kept
        )
        try:
            yield listening.getsockname()[1], psutil.Process(child.pid)
        finally:
            child.terminate()
            child.wait()


class Asker(asyncio.Protocol):
    """One connection that sends a request and waits for the whole answer."""

    def __init__(self, request: Callable[[], bytes]) -> None:
        self.request, self.buffer = request, b""
        self.done: asyncio.Future[None] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    async def ask(self) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(self.request())
        await self.done

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(body) >= length and self.done is not None:
            if b" 200 " not in head.split(b"\r\n")[0]:
                raise SystemExit(self.buffer.decode())
            self.buffer = b""
            self.done.set_result(None)


def get(path: str, key: str) -> Callable[[], bytes]:
    """The same GET each time."""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\r\n"
    ).encode()
    return lambda: request


def post(key: str, accounts: Callable[[], list[dict[str, Any]]]) -> Callable[[], bytes]:
    """A request to score other accounts each time."""

    def request() -> bytes:
        body = json.dumps({"accounts": accounts()}).encode()
        head = (
            f"POST /v1/abuse/score HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    return request


class Shop:
    """Accounts to be scored: known ones by id, new ones as a shop's sign-up form gives them."""

    def __init__(self, users: list[str], seed: int = 1) -> None:
        self.users, self.random, self.count = users, random.Random(seed), 0

    def known(self) -> list[dict[str, Any]]:
        return [{"user_id": self.random.choice(self.users)}]

    def new(self, number: int = 1) -> list[dict[str, Any]]:
        found = []
        for _ in range(number):
            self.count += 1
            n, pick = self.count, self.random
            name = "".join(pick.choices("abcdefghijklmnoprstuvz", k=7))
            found.append({
                "account_ref": f"new-{n}", "email": f"{name}.{n % 97}@gmail.com",
                "phone": f"+4915{pick.randrange(10**9):09}", "device_id": f"d-{n - n % 2}",
                "first_name": name.title(), "last_name": f"{name[::-1].title()}",
                "ip": f"{pick.randrange(11, 99)}.{pick.randrange(256)}.{pick.randrange(256)}.9",
                "user_agent": pick.choice(AGENTS), "city": pick.choice(CITIES),
                "timezone": "Europe/Berlin", "date_of_birth": f"{pick.randrange(1950, 2005)}-05-17",
                "email_verified": True, "promo_code": "SPRING10",
            })  # fmt: skip
        return found


Span = tuple[float, float]
"""When something began and ended, by `time.perf_counter`."""


def percentiles(spans: Sequence[Span]) -> list[float]:
    """The 1st to the 99th percentile of how long they took, ms."""
    return statistics.quantiles([(end - begin) * 1000 for begin, end in spans], n=100)


async def measured(
    port: int, request: Callable[[], bytes], seconds: float
) -> tuple[float, list[Span]]:
    """(requests a second at most, when each was sent and answered at half of that rate)."""
    loop = asyncio.get_running_loop()
    askers = [
        (await loop.create_connection(lambda: Asker(request), "127.0.0.1", port))[1]
        for _ in range(CONNECTIONS)
    ]
    counted = 0

    async def flood(asker: Asker, until: float) -> None:
        nonlocal counted
        while time.perf_counter() < until:
            await asker.ask()
            counted += 1

    await asyncio.gather(*(flood(asker, time.perf_counter() + 1) for asker in askers))
    counted, began = 0, time.perf_counter()
    await asyncio.gather(*(flood(asker, began + seconds) for asker in askers))
    rate = counted / (time.perf_counter() - began)

    spans: list[Span] = []
    free = list(askers)

    async def once() -> None:
        asker, sent = free.pop(), time.perf_counter()
        await asker.ask()
        spans.append((sent, time.perf_counter()))
        free.append(asker)

    tasks, due = [], time.perf_counter()
    until = due + seconds
    while due < until:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if free:
            tasks.append(asyncio.create_task(once()))
        due += 2 / rate
    await asyncio.gather(*tasks)
    for asker in askers:
        asker.transport.close()
    return rate, spans


async def ready(port: int) -> None:
    """Wait until the server answers, and what it loads at its start is loaded."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/health/ready", trust_env=False)
        except httpx.HTTPError:
            await asyncio.sleep(0.1)
            continue
        checks = {check["name"]: check["ok"] for check in answer.json().get("checks", [])}
        if answer.status_code == 404 or checks.get("model"):  # the echo has none
            return
        await asyncio.sleep(0.2)
    raise SystemExit("the server does not become ready")


async def once(port: int, request: Callable[[], bytes]) -> None:
    """One request."""
    loop = asyncio.get_running_loop()
    transport, asker = await loop.create_connection(lambda: Asker(request), "127.0.0.1", port)
    await asker.ask()
    transport.close()


def row(name: str, rate: float, spans: Sequence[Span], base: float | None) -> str:
    """One line of the table."""
    cuts = percentiles(spans)
    ratio = f"{rate / base:.2f}" if base else ""
    return f"| {name} | {rate:,.0f} | {ratio} | {cuts[49]:.1f} | {cuts[94]:.1f} | {cuts[98]:.1f} |"


def memory(process: psutil.Process) -> float:
    """Resident memory in MiB, files that are mapped included."""
    return float(process.memory_info().rss / 2**20)


def disk(folder: Path, seconds: float) -> list[Span]:
    """Synced writes of a page, at even intervals as in a log."""
    page, found = bytes(8192), []
    file = os.open(folder / "page", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.write(file, page * 512)  # as PostgreSQL's log: a file that has its size
        os.fsync(file)
        until, place = time.perf_counter() + seconds, 0
        while (began := time.perf_counter()) < until:
            os.pwrite(file, page, place % 512 * len(page))
            os.fdatasync(file)
            found.append((began, time.perf_counter()))
            place += 1
            time.sleep(0.005)
    finally:
        os.close(file)
    return found


def filled(url: SecretStr) -> str:
    """Fill a new store; a client's key."""
    store = database.engine(url)
    database.migrate(store)
    fill(store, published())
    with store.begin() as connection:
        key = access.add_client(connection, "benchmark", list(SCOPES), now=now())
    store.dispose()
    return key


def environment(home: Home, url: SecretStr) -> dict[str, str]:
    """Of the service: no limit that the load would meet."""
    return {
        "DMP_HOME": str(home.root), "DMP_STORE_URL": url.get_secret_value(),
        "DMP_API_RATE_LIMIT": "100000000/minute",
        "DMP_API_SCORE_RATE_LIMIT": "100000000/minute",
    }  # fmt: skip


def new_accounts(
    home: Home, endpoint: Endpoint, users: list[str], runs: int, seconds: float
) -> None:
    """Score new accounts, each time by a new server with a new store; a line for each time.

    The last columns: the share of time in which the machine stood still, and the p99 of what was
    asked and answered outside of it.
    """
    print(
        "| run | requests/s | p50, ms | p95, ms | p99, ms | disk p50 | disk p99 | machine stood "
        "still | p99 without that |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    )
    for run in range(1, runs + 1):
        with fresh_database(endpoint) as url:
            request = post(filled(url), Shop(users, seed=run).new)
            synced = percentiles(disk(home.root, 2.0))
            with server("service", environment(home, url)) as (port, _):
                asyncio.run(ready(port))
                with watched(home.root) as stops:
                    rate, spans = asyncio.run(measured(port, request, seconds))
        cuts, outside = percentiles(spans), percentiles(stops.outside(spans))
        print(
            f"| {run} | {rate:,.0f} | {cuts[49]:.1f} | {cuts[94]:.1f} | {cuts[98]:.1f} "
            f"| {synced[49]:.1f} | {synced[98]:.1f} | {stops.share:.1%} | {outside[98]:.1f} |",
            flush=True,
        )


def all_routes(home: Home, endpoint: Endpoint, users: list[str], seconds: float) -> None:
    """Print a table with a row per route; then how long 1,000 accounts take, and memory."""
    with fresh_database(endpoint) as url:
        key, shop = filled(url), Shop(users)
        scored = {
            f"score a known account, one of {len(shop.users):,}": shop.known,
            "score a new account": shop.new,
            "score 100 new accounts at once": lambda: shop.new(100),
        }
        print("| route | requests/s | ÷ echo | p50, ms | p95, ms | p99, ms |")
        print("|---|---:|---:|---:|---:|---:|")
        routes = {
            f"`{path.split('?')[0]}` ({about})": get(path, key) for path, about in ROUTES.items()
        }
        routes |= {about: post(key, accounts) for about, accounts in scored.items()}
        with server("echo", {}) as (port, _):
            asyncio.run(ready(port))
            base, spans = asyncio.run(measured(port, get("/echo?text=hello", key), seconds))
            print(row("bare FastAPI", base, spans, None), flush=True)
        with server("service", environment(home, url)) as (port, process):
            asyncio.run(ready(port))
            loaded = memory(process)
            for about, request in routes.items():
                rate, spans = asyncio.run(measured(port, request, seconds))
                print(row(about, rate, spans, base), flush=True)
            began = time.perf_counter()
            asyncio.run(once(port, post(key, lambda: shop.new(1000))))
            print(f"\n1,000 new accounts in one request: {time.perf_counter() - began:.2f} s")
            before, count = memory(process), 0
            while count < 100_000 and seconds >= 5:
                rate, _ = asyncio.run(measured(port, post(key, shop.known), seconds))
                count += round(rate * 1.5 * seconds)
            print(
                f"memory: {loaded:.0f} MiB once loaded, {before:.0f} after {shop.count:,} new "
                f"accounts, {memory(process):.0f} after {count:,} more requests"
            )


def main() -> None:
    """Measure all routes, or with `--runs` new accounts alone so many times."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("seconds", nargs="?", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--runs", type=int, help="measure new accounts alone, so many times")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dmp-benchmark-"))
        endpoint = stack.enter_context(stoppable_server(durable=True)).endpoint()
        home = Home(Path(folder) / "home").prepare("live")
        tables = serving.simulated(Path(folder) / "shop", users=USERS)
        serving.write_tables(home, tables)
        with redirect_stderr(StringIO()):
            serving.train(home)
        serving.write_snapshot(home, tables)
        users = [user for (user,) in tables.sql("SELECT user_id FROM cleaned.users").fetchall()]
        os.sched_setaffinity(0, {1 % (os.cpu_count() or 1)})
        if given.runs:
            new_accounts(home, endpoint, users, given.runs, given.seconds)
        else:
            all_routes(home, endpoint, users, given.seconds)


if __name__ == "__main__":
    main()
