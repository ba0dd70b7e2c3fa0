"""Shopify really delivers to the running service."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.ads.domain import DOMAIN
from dmp_assets.demo.sandbox.server import Sandbox
from dmp_assets.demo.sandbox.shopify import WORLD, ShopifySandbox
from dmp_assets.demo.sandbox.shopify_world import World
from dmp_assets.home import Home
from dmp_assets.platform.connect.own import connections_of
from dmp_assets.platform.privacy import erasure
from dmp_assets.platform.store import where
from dmp_assets.platform.store.schema import webhook_inbox
from dmp_assets.sources.shopify.access import client_of
from dmp_assets.sources.shopify.resource import shopify_settings
from dmp_assets.sources.shopify.tables import CUSTOMER, ORDER
from tests.support.service import Api, running_api
from tests.support.shopify import OTHER, SHOP, fill, post


@dataclass(frozen=True)
class Delivering:
    """The running service, and the stand-in that delivers to it."""

    api: Api
    root: str

    def deliver(self, topic: str, number: int | None = None, **more: object) -> list[int]:
        """The status of each answer."""
        address = f"{self.api.url}/webhooks/shopify"
        order = {"shop": SHOP, "topic": topic, "id": number, "to": [address]} | more
        return list(post(f"{self.root}/shopify/_sandbox/deliver", order)["answers"])

    def noted(self) -> list[tuple[str, str]]:
        """(topic, subject) of what is noted."""
        table = webhook_inbox.c
        with self.api.store.connect() as store:
            asked = sa.select(table.topic, table.subject).order_by(table.received_at)
            return [(row.topic, row.subject) for row in store.execute(asked)]


@pytest.fixture
def service(
    home: Home, store_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Delivering]:
    """A service that the small shop has let in."""
    monkeypatch.setattr(where, "is_configured", lambda home: True)
    monkeypatch.setattr(where, "store_url", lambda home: store_url)
    fill(World(home.sandbox / "shopify" / WORLD))
    with (
        Sandbox(home, (ShopifySandbox,)).running() as endpoint,
        running_api(home, store_url) as api,
    ):
        with connections_of(home, "tests") as connections:
            settings = shopify_settings(home)
            connections.connect(client_of(settings, SHOP, loopback_only=True), SHOP)
        yield Delivering(api, endpoint.url)


def test_a_delivery_is_answered_and_noted_once(service: Delivering) -> None:
    assert service.deliver("orders/updated", 1001, times=2) == [200, 200]
    assert service.noted() == [("orders/updated", "gid://shopify/Order/1001")]


@pytest.mark.parametrize("signature", ["wrong", "none"])
def test_what_shopify_did_not_sign_is_refused_and_not_noted(
    service: Delivering, signature: str
) -> None:
    assert service.deliver("orders/updated", 1001, signature=signature) == [401]
    assert service.deliver("customers/redact", 701, signature=signature) == [401]
    assert service.noted() == []


def test_what_nobody_here_has_to_do_with_is_answered_all_the_same(service: Delivering) -> None:
    assert service.deliver("carts/update", told={"id": 1}) == [200]
    assert service.deliver("orders/updated", 2001, shop=OTHER) == [200]
    assert service.noted() == []


def test_an_uninstall_ends_the_connection(service: Delivering, home: Home) -> None:
    assert service.deliver("app/uninstalled") == [200]
    with connections_of(home, "tests") as connections:
        (health,) = connections.health()
    assert (health.state, health.last_failure_kind) == ("needs_consent", "uninstalled")


def test_a_signed_body_with_other_headers_ends_no_connection(
    service: Delivering, home: Home
) -> None:
    order = {"id": 2001, "updated_at": "2026-11-28T09:00:00Z"}
    assert service.deliver("app/uninstalled", told=order) == [401]
    with connections_of(home, "tests") as connections:
        assert [one.state for one in connections.health()] == ["active"]


@pytest.mark.parametrize(
    ("topic", "told"),
    [
        ("orders/updated", {"id": 10**400}),
        ("orders/updated", {"id": 1001, "updated_at": "9999-12-31T23:59:59-14:00"}),
        ("customers/redact", {"customer": {"id": 1}, "orders_to_redact": 5}),
        ("customers/redact", {"shop_domain": SHOP, "customer": {"id": 1}, "orders_to_redact": 5}),
    ],
)
def test_what_cannot_be_is_refused_and_not_noted(
    service: Delivering, topic: str, told: dict[str, object]
) -> None:
    assert service.deliver(topic, told=told) == [401]
    assert service.noted() == []


def test_of_a_body_without_a_secret_of_ours_nothing_is_believed(api: Api) -> None:
    with api.client() as client:
        answer = client.post("/webhooks/shopify", content=b"{}")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_was_told_of_a_customer_is_erased(service: Delivering, home: Home) -> None:
    for customer in (701, 702):
        assert service.deliver("customers/redact", customer) == [200]
    service.deliver("orders/updated", 1001)
    service.deliver("orders/updated", 1002)
    about = "gid://shopify/Customer/"
    assert sum(subject.startswith(about) for _, subject in service.noted()) == 2
    gone = erasure.delete_from_store(home, CUSTOMER, ["701"], actor="tests")
    assert gone == {"webhook_inbox": 1}
    gone = erasure.delete_from_store(home, ORDER, ["1001"], actor="tests")
    assert gone == {"webhook_inbox": 1}
    assert service.noted() == [
        ("customers/redact", f"{about}702"), ("orders/updated", "gid://shopify/Order/1002"),
    ]  # fmt: skip
    assert {CUSTOMER, ORDER} <= set(DOMAIN.forgets)
