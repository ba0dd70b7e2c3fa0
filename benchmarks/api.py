"""Throughput and latency of the API's routes beside a bare FastAPI echo, on one core, in one run.

    .venv/bin/python -m benchmarks.api            # 5 s a route
    .venv/bin/python -m benchmarks.api 20         # 20 s a route

Each server is one process on the first core; the load comes from the second. Throughput is with 16
connections that each ask again at once; latency is at half of that rate, one connection asking at
even intervals. The store is a real PostgreSQL, filled with few rows: what is measured is the way
of a request, not the database.
"""

import asyncio
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from dmp_assets.api import serve
from dmp_assets.home import Home
from dmp_assets.store import access, database
from dmp_assets.store.roles import SCOPES
from tests.support.postgres import fresh_database, postgres_server
from tests.support.service import fill, now, published

CONNECTIONS = 16
ROUTES = {
    "/health/live": "no key, no store",
    "/v1/promo/usage?start=2024-01-01&end=2024-01-07": "key, rate limit, one query",
    "/v1/promo/top-users?limit=20": "the same, 20 rows, a sealed cursor",
    "/v1/channels?by=range&start=2024-01-01&end=2024-03-31": "the same, sums over 90 days",
}


def echo() -> FastAPI:
    """The bare app that all is compared with."""
    app = FastAPI()

    @app.get("/echo")
    async def answer(text: str) -> dict[str, str]:
        return {"text": text}

    return app


def on_first_core(factory: str, listening: socket.socket, environment: dict[str, str]) -> None:
    """Serve an app in this process."""
    os.environ.update(environment)
    os.sched_setaffinity(0, {0})
    config = uvicorn.Config(factory, factory=True, **serve.HARDENED)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the log's lines are made, and not kept
    uvicorn.Server(config).run(sockets=[listening])


class Asker(asyncio.Protocol):
    """One connection that sends a request and waits for the whole answer."""

    def __init__(self, request: bytes) -> None:
        self.request, self.buffer = request, b""
        self.done: asyncio.Future[None] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    async def ask(self) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(self.request)
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


async def measured(port: int, path: str, key: str, seconds: float) -> tuple[float, list[float]]:
    """(requests a second at most, latencies in ms at half of that rate)."""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\r\n"
    ).encode()
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

    latencies: list[float] = []
    free = list(askers)

    async def once() -> None:
        asker, sent = free.pop(), time.perf_counter()
        await asker.ask()
        latencies.append((time.perf_counter() - sent) * 1000)
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
    return rate, latencies


def row(name: str, rate: float, latencies: list[float], base: float | None) -> str:
    """One line of the table."""
    cuts = statistics.quantiles(latencies, n=100)
    ratio = f"{rate / base:.2f}" if base else ""
    return f"| {name} | {rate:,.0f} | {ratio} | {cuts[49]:.1f} | {cuts[94]:.1f} | {cuts[98]:.1f} |"


def main() -> None:
    """Print a table with a row per route."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dmp-benchmark-"))
        url = stack.enter_context(fresh_database(stack.enter_context(postgres_server())))
        store = database.engine(url)
        database.migrate(store)
        fill(store, published())
        with store.begin() as connection:
            key = access.add_client(connection, "benchmark", list(SCOPES), now=now())
        store.dispose()
        home = Home(Path(folder) / "home").prepare("live")
        environment = {
            "DMP_HOME": str(home.root), "DMP_STORE_URL": url.get_secret_value(),
            "DMP_API_RATE_LIMIT": "100000000/minute",
        }  # fmt: skip
        os.sched_setaffinity(0, {1 % (os.cpu_count() or 1)})
        print("| route | requests/s | ÷ echo | p50, ms | p95, ms | p99, ms |")
        print("|---|---:|---:|---:|---:|---:|")
        base: float | None = None
        for factory, routes in (
            ("benchmarks.api:echo", {"/echo?text=hello": "bare FastAPI"}),
            ("dmp_assets.api.serve:app_of_environment", ROUTES),
        ):
            listening = socket.create_server(("127.0.0.1", 0))
            port = listening.getsockname()[1]
            server = context.Process(target=on_first_core, args=(factory, listening, environment))
            server.start()
            for path, about in routes.items():
                rate, latencies = asyncio.run(measured(port, path, key, seconds))
                print(row(f"`{path.split('?')[0]}` ({about})", rate, latencies, base), flush=True)
                base = base or rate
            server.terminate()
            server.join()
            listening.close()


if __name__ == "__main__":
    main()
