"""A small shop at the sandbox's Shopify, and our client to it: everything over HTTP on loopback."""

import json
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from dmp_assets.demo.sandbox.oauth import REDIRECTS
from dmp_assets.demo.sandbox.server import Sandbox
from dmp_assets.demo.sandbox.shopify import GRANTS, WORLD, ShopifySandbox
from dmp_assets.demo.sandbox.shopify_grants import Grants
from dmp_assets.demo.sandbox.shopify_world import World, text_of
from dmp_assets.home import Home
from dmp_assets.platform.connect.http import Patience
from dmp_assets.platform.connect.tokens import ConnectionCredentials
from dmp_assets.sources.shopify.graphql import ShopApi
from dmp_assets.sources.shopify.settings import ShopifySettings
from dmp_assets.sources.shopify.shops import address_of

SHOP = "small-shop.myshopify.com"
OTHER = "other-shop.myshopify.com"
QUICK = Patience(attempts=4, pause=0.001, longest_pause=0.01, total=5)
REDIRECT = REDIRECTS[0]
BEGIN = datetime(2026, 10, 12, 9, 0, tzinfo=UTC)
NOW = datetime(2026, 11, 28, 10, 0, tzinfo=UTC)
ORDERS = 12
"""Orders 1001 … 1012 of SHOP, one a day; see `fill` for what is special of which."""


def fill(world: World) -> None:
    """Two shops: a small one with an order of every kind, and another with one order.

    1003 is a test; 1004 is cancelled and refunded in full; 1005 has a partial refund of two lines
    next month; 1006 one without lines (goodwill); 1007 was paid in USD; 1008 has no customer, no
    journey (a sale at a counter); 1009 holds 12 lines; 1010 was edited; 1011 is not attributed yet;
    1012 holds a gift card and is a product's whose cost nobody knows.
    """
    names = ("shop", "shop_id", "name", "currency", "timezone", "advertiser_id")
    shops = [
        (SHOP, 1, "Small", "EUR", "Europe/Berlin", "acme"),
        (OTHER, 2, "Other", "JPY", "Asia/Tokyo", "other"),
    ]
    world.fill("shop", [dict(zip(names, one, strict=True)) for one in shops])
    world.fill("product", [_product(n) for n in (1, 2)])
    world.fill("variant", [_variant(n) for n in (11, 12, 21)])
    orders = [_order(1000 + n) for n in range(1, ORDERS + 1)]
    other = _order(2001) | {"shop": OTHER, "total": "1200", "subtotal": "1200", "shipping": "0"}
    world.fill("orders", [*orders, other])
    lines = [line for order in orders for line in _lines(order["order_id"])]
    world.fill("order_line", lines)
    world.fill("order_transaction", [_sale(order) for order in (*orders, other)])
    world.fill("refund", [_refund(9004, 1004, "55.00"), _refund(9005, 1005, "30.00"),
                          _refund(9006, 1006, "5.00")])  # fmt: skip
    world.fill("refund_line", [_refund_line(n, 9005, 100_500 + n, "15.00") for n in (1, 2)])
    world.fill("refund_line", [_refund_line(3, 9004, 100_401, "50.00")])
    world.fill(
        "refund_adjustment",
        [
            {
                "adjustment_id": 7,
                "refund_id": 9006,
                "reason": "CUSTOMER",
                "amount": "-5.00",
            }
        ],
    )
    special = [order["order_id"] for order in orders if order["order_id"] != 1008]
    world.fill("journey", [_journey(one) for one in special])
    world.fill("visit", [_visit(one, place) for one in special for place in ("first", "last")])


def _product(number: int) -> dict[str, Any]:
    at = text_of(BEGIN - timedelta(days=30))
    return {"product_id": number, "shop": SHOP, "title": f"Thing {number}", "created_at": at,
            "updated_at": at}  # fmt: skip


def _variant(number: int) -> dict[str, Any]:
    at = text_of(BEGIN - timedelta(days=30))
    return {
        "variant_id": number, "shop": SHOP, "product_id": number // 10, "sku": f"SKU-{number}",
        "title": "Default", "price": "25.00", "inventory_item_id": 500 + number,
        "unit_cost": None if number == 21 else "9.40", "created_at": at, "updated_at": at,
    }  # fmt: skip


def _order(number: int) -> dict[str, Any]:
    at = text_of(BEGIN + timedelta(days=number % 1000))
    is_cancelled, counter = number == 1004, number == 1008
    return {
        "order_id": number, "shop": SHOP, "name": f"#{number}", "created_at": at,
        "processed_at": at, "updated_at": at, "cancelled_at": at if is_cancelled else None,
        "cancel_reason": "CUSTOMER" if is_cancelled else None, "closed_at": None,
        "test": int(number == 1003),
        "financial_status": "REFUNDED" if is_cancelled else "PAID",
        "source_name": "pos" if counter else "web",
        "presentment_currency": "USD" if number == 1007 else None,
        "presentment_rate": "1.10" if number == 1007 else "1",
        "discount_codes": json.dumps(["WELCOME"] if number == 1002 else []),
        "tags": json.dumps(["vip", "a, b"] if number == 1002 else []),
        "customer_id": None if counter else 700 + number % 5,
        "customer_orders": 1 + number % 3, "total": "55.00", "subtotal": "50.00",
        "discounts": "5.00" if number == 1002 else "0.0", "shipping": "5.00", "tax": "8.78",
        "current_total": "30.00" if number == 1010 else None,
        "current_subtotal": "25.00" if number == 1010 else None,
    }  # fmt: skip


def _lines(order: int) -> list[dict[str, Any]]:
    count = 12 if order == 1009 else 2
    return [
        {
            "line_id": order * 100 + n, "order_id": order,
            "variant_id": 21 if order == 1012 else (11, 12)[n % 2], "sku": f"SKU-{n}",
            "quantity": 1, "current_quantity": 0 if (order, n) == (1010, 2) else None,
            "unit_price": "25.00", "discounted_total": "25.00",
            "gift_card": int((order, n) == (1012, 1)),
        }
        for n in range(1, count + 1)
    ]  # fmt: skip


def _sale(order: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "transaction_id": 40_000 + order["order_id"], "order_id": order["order_id"],
        "kind": "SALE", "processed_at": order["processed_at"], "amount": order["total"],
        "gateway": "cash" if order["order_id"] == 1008 else "shopify_payments",
        "fee": None if order["order_id"] == 1008 else "1.85",
    }  # fmt: skip


def _refund(number: int, order: int, total: str) -> dict[str, Any]:
    at = BEGIN + timedelta(days=order % 1000 + (20 if order == 1005 else 2))
    return {"refund_id": number, "order_id": order, "created_at": text_of(at), "total": total}


def _refund_line(number: int, refund: int, line: int, subtotal: str) -> dict[str, Any]:
    return {"refund_line_id": number, "refund_id": refund, "line_id": line, "quantity": 1,
            "subtotal": subtotal}  # fmt: skip


def _journey(order: int) -> dict[str, Any]:
    ready = datetime(2027, 1, 1, tzinfo=UTC) if order == 1011 else BEGIN
    return {"order_id": order, "ready_at": text_of(ready), "order_index": 1 + order % 3,
            "days_to_conversion": 2}  # fmt: skip


def _visit(order: int, place: str) -> dict[str, Any]:
    at = BEGIN + timedelta(days=order % 1000, hours=-30 if place == "first" else -1)
    names = ("utm_source", "utm_medium", "utm_campaign")
    utm = ("facebook", "paid", f"c{order % 2}") if place == "last" else (None, None, None)
    return {
        "order_id": order, "place": place, "occurred_at": text_of(at), "source": "Facebook",
        "landing_page": "https://small.example/?utm_source=facebook",
        **dict(zip(names, utm, strict=True)),
    }  # fmt: skip


@dataclass(frozen=True)
class Service:
    """A running stand-in; `root`: of the sandbox, `settings`: that lead to it."""

    root: str
    world: World
    grants: Grants
    settings: ShopifySettings

    def behave(self, **manner: Any) -> None:
        """Behave so, at `NOW` unless another clock is given."""
        self._post("manner", {"clock": NOW.isoformat()} | manner)

    def faults(self, *faults: Mapping[str, Any]) -> None:
        post(f"{self.root}/_sandbox/faults", list(faults))

    def change(self, *changes: Mapping[str, Any]) -> None:
        self._post("change", list(changes))

    def deliver(self, **order: Any) -> list[int]:
        return self._post("deliver", {"shop": SHOP} | order)["answers"]

    def uninstall(self, shop: str = SHOP) -> None:
        self._post("uninstall", {"shop": shop})

    def drain(self, left: float) -> None:
        self._post("drain", {"left": left})

    def calls(self) -> list[dict[str, Any]]:
        """Documents that were answered."""
        return self._get("calls")

    def token_requests(self) -> list[dict[str, Any]]:
        return self._get("tokens")

    def with_settings(self, **more: Any) -> ShopifySettings:
        return self.settings.model_copy(update=more)

    def base(self, shop: str = SHOP) -> str:
        return address_of(self.settings.shopify_url, shop)

    def _get(self, name: str) -> Any:
        with urllib.request.urlopen(f"{self.root}/shopify/_sandbox/{name}") as answer:
            return json.load(answer)

    def _post(self, name: str, body: Any) -> Any:
        return post(f"{self.root}/shopify/_sandbox/{name}", body)


def post(url: str, body: Any) -> Any:
    """JSON to the sandbox; what it answers."""
    request = urllib.request.Request(url, data=json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


@contextmanager
def running(folder: Path) -> Iterator[Service]:
    """The stand-in with its small shop on a free port of loopback."""
    home = Home(folder / "home").prepare("sandbox")
    world = World(home.sandbox / "shopify" / WORLD)
    fill(world)
    with Sandbox(home, (ShopifySandbox,)).running() as endpoint:
        settings = ShopifySettings.model_validate(endpoint.settings | {"shopify_all_orders": False})
        yield Service(endpoint.url, world, Grants(world.file.with_name(GRANTS)), settings)


def refill(service: Service) -> None:
    """The small shop as it was, at NOW, behaving well."""
    with service.world.opened() as db:
        tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            db.execute(f"DELETE FROM {table}")
    fill(service.world)
    with service.grants.opened() as db:
        db.execute("DELETE FROM subscription")
    service.behave()
    service.faults()


def browse(url: str) -> dict[str, str]:
    """What a browser brings back from the consent page."""
    with httpx.Client(trust_env=False) as browser:
        answer = browser.get(url)
    assert answer.status_code == 302, answer.text
    back = answer.headers["location"]
    assert back.startswith(REDIRECT)
    return dict(parse_qsl(urlsplit(back).query))


@dataclass(frozen=True)
class Token:
    """Credentials that are one token and cannot be renewed."""

    token: str

    def headers(self) -> Mapping[str, str]:
        return {"X-Shopify-Access-Token": self.token}

    def renew(self, refused: Mapping[str, str]) -> bool:
        return False


def own_token(service: Service, shop: str = SHOP) -> str:
    """A token by the app's own credentials, asked for without our client."""
    secret = service.settings.shopify_client_secret
    assert secret is not None
    form = {
        "grant_type": "client_credentials",
        "client_id": service.settings.shopify_client_id,
        "client_secret": secret.get_secret_value(),
    }
    answer = httpx.post(
        f"{service.base(shop)}/admin/oauth/access_token", data=form, trust_env=False
    )
    return str(answer.raise_for_status().json()["access_token"])


def api_of(service: Service, token: str, shop: str = SHOP, **more: Any) -> ShopApi:
    """Our client with this token."""
    named = {"patience": QUICK, "loopback_only": True} | more
    return ShopApi.of(shop, service.base(shop), Token(token), **named)


@contextmanager
def connected_api(
    service: Service, credentials: ConnectionCredentials, shop: str = SHOP
) -> Iterator[ShopApi]:
    """Our client with the tokens of a connection."""
    base = service.base(shop)
    with ShopApi.of(shop, base, credentials, patience=QUICK, loopback_only=True) as api:
        yield api


@dataclass
class Hooked:
    """An address that webhooks are sent to, and what came."""

    url: str
    came: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def hooked() -> Iterator[Hooked]:
    """A server on loopback that keeps what it receives, with its raw body."""
    came: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            came.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Hooked(f"http://127.0.0.1:{server.server_port}/hooks", came)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
