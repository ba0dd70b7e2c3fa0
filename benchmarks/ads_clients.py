"""How many rows a second our clients of Meta and Shopify take, of a service that refuses nothing.

    python -m benchmarks.ads_clients                # 6,000 orders, 30,000 insights
    python -m benchmarks.ads_clients 1000 5000

The sandbox answers over HTTP, in a process of its own, without throttling. What its processor took
is told apart: where it and not the client sets the pace, `rows / s of ours` says what a faster
service would see.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from dmp_assets.demo.sandbox.shopify_grants import CLIENT_SECRET
from dmp_assets.demo.sandbox.shopify_world import text_of
from dmp_assets.sources.meta.days import Days
from dmp_assets.sources.meta.insights import InsightsReader
from dmp_assets.sources.meta.usage import Governor, Pace
from dmp_assets.sources.shopify.bulk import BulkReader
from dmp_assets.sources.shopify.orders import Reading, changed_orders
from dmp_assets.sources.shopify.rows import Rows
from dmp_assets.sources.shopify.settings import ShopifySettings
from tests.support import meta as metas
from tests.support import shopify as shops

DAYS = 50
SERVER = """
import json, sys
from pathlib import Path
from tests.support import {module} as support
with support.running(Path(sys.argv[1]){more}) as service:
    token = {token}
    print(json.dumps({{"root": service.root, "token": token,
                      "settings": dict(service.settings)}}, default=str),
          flush=True)
    sys.stdin.read()
"""


def filled(service: shops.Service, orders: int) -> str:
    """So many orders more, of two lines, a payment and a journey each; a token to read them."""
    world = service.world
    made = [shops._order(10_000 + n) for n in range(orders)]
    for n, order in enumerate(made):
        at = text_of(shops.BEGIN + timedelta(days=n % 40, seconds=n))
        order |= {"created_at": at, "processed_at": at, "updated_at": at}
    world.fill("orders", made)
    ids = [order["order_id"] for order in made]
    world.fill("order_line", [line for one in ids for line in shops._lines(one)])
    world.fill("order_transaction", [shops._sale(order) for order in made])
    world.fill("journey", [shops._journey(one) for one in ids])
    world.fill("visit", [shops._visit(one, place) for one in ids for place in ("first", "last")])
    return shops.own_token(service)


class Running:
    """The sandbox in a process of its own, and what it says of itself."""

    def __init__(self, module: str, folder: Path, *, token: str, more: str = "") -> None:
        code = SERVER.format(module=module, more=more, token=token)
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout
        self.told = json.loads(self._process.stdout.readline())

    def seconds(self) -> float:
        """What its processor took so far."""
        used = psutil.Process(self._process.pid).cpu_times()
        return used.user + used.system

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def timed(name: str, server: Running, rows: Callable[[], Iterable[object]]) -> None:
    """Print how long the rows took."""
    began, own, its = time.perf_counter(), time.process_time(), server.seconds()
    count = sum(1 for _ in rows())
    took = time.perf_counter() - began
    ours, theirs = time.process_time() - own, server.seconds() - its
    print(
        f"{name:<28}{count:>8,}{took:>8.1f}{count / took:>10,.0f}{count / ours:>14,.0f}"
        f"{ours:>8.1f}{theirs:>10.1f}"
    )


def shopify(folder: Path, orders: int) -> None:
    """Orders by the list of changes, and by a bulk operation."""
    token = f"__import__('benchmarks.ads_clients').ads_clients.filled(service, {orders})"
    with Running("shopify", folder, token=token) as server:
        settings = ShopifySettings.model_validate(
            server.told["settings"] | {"shopify_client_secret": CLIENT_SECRET}
        )
        unused: Any = None
        service = shops.Service(server.told["root"], unused, unused, settings)
        service.behave(bucket=1e12, restore=1e12)
        made = Rows("acme", shops.SHOP)
        with shops.api_of(service, server.told["token"]) as api:
            since = datetime(2020, 1, 1, tzinfo=UTC)
            timed("Shopify, list of orders", server, lambda: (
                row for order in changed_orders(api, Reading(since, shops.NOW))
                for row in made.of_order(order)
            ))  # fmt: skip
            bulk, until = BulkReader(api, loopback_only=True), date(2027, 1, 1)
            timed("Shopify, bulk operation", server, lambda: (
                row for order in bulk.orders(since.date(), until) for row in made.of_order(order)
            ))  # fmt: skip


def meta(folder: Path, insights: int) -> None:
    """Insights by the day, and by reports."""
    ads = max(1, insights // DAYS)
    of = f"accounts=('{metas.BERLIN}',)"
    more, token = f", ads={ads}, {of}", f"service.token({of})"
    with Running("meta", folder, more=more, token=token) as server:
        unused: Any = None
        service = metas.Meta(server.told["root"], server.told["settings"], unused)
        last = metas.NOW.date() - timedelta(days=1)
        days = Days(last - timedelta(days=DAYS - 1), last)
        with service.client(server.told["token"], governor=Governor(Pace())) as client:
            reader = InsightsReader(client, f"act_{metas.BERLIN}")
            timed("Meta, day by day", server, lambda: (
                row for day in days for part in reader.day(day) for row in part.rows
            ))  # fmt: skip
            timed("Meta, reports", server, lambda: (
                row for part in reader.history(days) for row in part.rows
            ))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("orders", nargs="?", type=int, default=6_000)
    parser.add_argument("insights", nargs="?", type=int, default=30_000)
    given = parser.parse_args()
    print(f"{'':<28}{'rows':>8}{'s':>8}{'rows / s':>10}{'rows / s of ours':>18}"
          f"{'ours, s':>8}{'its, s':>8}")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        shopify(Path(folder) / "shopify", given.orders)
        meta(Path(folder) / "meta", given.insights)


if __name__ == "__main__":
    main()
