"""Webhooks really sent by the stand-in: signed, twice, late, out of order and forged."""

import json
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.home import Home
from dmp_assets.platform.connect import inbox
from dmp_assets.platform.connect.inbox import Webhook
from dmp_assets.platform.connect.keys import KeyRing
from dmp_assets.platform.connect.tokens import Connections
from dmp_assets.platform.store import database
from dmp_assets.platform.store.schema import webhook_inbox
from dmp_assets.sources.shopify import orders, webhooks
from dmp_assets.sources.shopify.access import SERVICE, client_of
from dmp_assets.sources.shopify.errors import WebhookRefusedError
from dmp_assets.sources.shopify.graphql import ShopApi
from dmp_assets.sources.shopify.signatures import Secrets, body_hmac
from dmp_assets.sources.shopify.webhooks import Receiver, orders_to_ask, subscribe
from tests.support.shopify import NOW, OTHER, SHOP, Hooked, Service, hooked

ORDER = "gid://shopify/Order/1001"
EVERY = (*webhooks.ORDERS, *webhooks.DELETED, webhooks.UNINSTALLED, *webhooks.PRIVACY)


@pytest.fixture
def store(store_url: SecretStr) -> Iterator[sa.Engine]:
    engine = database.engine(store_url)
    yield engine
    engine.dispose()


@pytest.fixture
def receiver(service: Service, store: sa.Engine, home: Home) -> Receiver:
    """A receiver of a home to which the small shop is connected since an hour before NOW."""
    connections = Connections(store, KeyRing.of(home), clock=lambda: NOW - timedelta(hours=1))
    connections.connect(client_of(service.settings, SHOP, loopback_only=True), SHOP)
    return Receiver(store, connections)


@pytest.fixture
def hook() -> Iterator[Hooked]:
    with hooked() as found:
        yield found


def secrets(service: Service, **more: Any) -> Secrets:
    return Secrets.of(service.with_settings(**more), NOW)


def received(
    receiver: Receiver, service: Service, hook: Hooked, given: Secrets | None = None
) -> list[str]:
    """The outcome of each delivery that came, in its order."""
    came, hook.came[:] = list(hook.came), []
    return [
        receiver.receive(*one, given or secrets(service), NOW + timedelta(seconds=place))
        for place, one in enumerate(came, 1)
    ]


def waiting(store: sa.Engine, shop: str = SHOP) -> list[Webhook]:
    with store.connect() as rows:
        return list(inbox.waiting(rows, SERVICE, shop, EVERY))


# subscribing -------------------------------------------------------------------------------------
def test_what_we_need_is_subscribed_to_once(api: ShopApi) -> None:
    with hooked() as hook:
        assert subscribe(api, hook.url) == list(webhooks.SUBSCRIBED)
        assert subscribe(api, hook.url) == []


def test_a_subscription_sends_nothing_of_the_buyer(
    service: Service, api: ShopApi, hook: Hooked
) -> None:
    subscribe(api, hook.url)
    assert service.deliver(topic="orders/updated", id=1001) == [200]
    ((_, body),) = hook.came
    assert set(json.loads(body)) == {"id", "admin_graphql_api_id", "updated_at"}


# deliveries --------------------------------------------------------------------------------------
def test_a_delivery_is_a_sign_to_ask_for_the_order(
    service: Service, api: ShopApi, hook: Hooked, receiver: Receiver, store: sa.Engine
) -> None:
    subscribe(api, hook.url)
    service.deliver(topic="orders/updated", id=1001)
    service.deliver(topic="refunds/create", id=9005)
    assert received(receiver, service, hook) == ["new", "new"]
    found = waiting(store)
    assert orders_to_ask(found) == [ORDER, "gid://shopify/Order/1005"]
    assert found[1].told == {"refund": "gid://shopify/Refund/9005"}
    asked = dict(orders.orders_by_id(api, orders_to_ask(found)))
    assert [one["name"] for one in asked.values() if one] == ["#1001", "#1005"]
    with store.begin() as rows:
        inbox.take(rows, found, NOW)
    assert waiting(store) == []


def test_what_comes_twice_is_noted_once(
    service: Service, hook: Hooked, receiver: Receiver, store: sa.Engine
) -> None:
    service.deliver(topic="orders/updated", id=1001, times=3, to=[hook.url])
    assert received(receiver, service, hook) == ["new", "repeated", "repeated"]
    assert len(waiting(store)) == 1


def test_what_comes_twice_at_the_same_time_is_noted_once(
    service: Service, hook: Hooked, receiver: Receiver, store: sa.Engine
) -> None:
    service.deliver(topic="orders/updated", id=1001, times=8, to=[hook.url])
    came, outcomes = list(hook.came), []
    given = secrets(service)

    def receive(one: tuple[dict[str, str], bytes]) -> None:
        outcomes.append(receiver.receive(*one, given, NOW))

    threads = [threading.Thread(target=receive, args=(one,)) for one in came]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["new", *["repeated"] * 7]


def test_what_is_older_than_what_is_known_is_left_alone(
    service: Service, hook: Hooked, receiver: Receiver, store: sa.Engine
) -> None:
    late = {"topic": "orders/updated", "id": 1001, "to": [hook.url]}
    for hours in (2, 5, 1):
        at = NOW - timedelta(hours=hours)
        service.deliver(**late, updated_at=at.isoformat())
    assert received(receiver, service, hook) == ["new", "older", "new"]
    assert orders_to_ask(waiting(store)) == [ORDER]
    assert len(waiting(store)) == 2


def test_an_order_that_was_deleted_is_not_brought_back_by_what_comes_late(
    service: Service, api: ShopApi, hook: Hooked, receiver: Receiver, store: sa.Engine
) -> None:
    late = {"topic": "orders/updated", "id": 1001, "to": [hook.url]}
    service.deliver(topic="orders/delete", id=1001, to=[hook.url])
    service.deliver(**late)
    service.change({"order_id": 1001, "delete": True})
    assert received(receiver, service, hook) == ["new", "new"]
    assert dict(orders.orders_by_id(api, orders_to_ask(waiting(store)))) == {ORDER: None}


@pytest.mark.parametrize("signature", ["wrong", "none", "old"])
def test_what_shopify_did_not_sign_is_refused(
    service: Service, hook: Hooked, receiver: Receiver, store: sa.Engine, signature: str
) -> None:
    service.deliver(topic="orders/updated", id=1001, signature=signature, to=[hook.url])
    with pytest.raises(WebhookRefusedError, match="did not sign"):
        received(receiver, service, hook)
    assert waiting(store) == []


def test_the_old_secret_is_taken_for_an_hour_after_its_rotation(
    service: Service, hook: Hooked, receiver: Receiver
) -> None:
    from dmp_assets.demo.sandbox.shopify_grants import OLD_CLIENT_SECRET

    old = {"shopify_old_client_secret": SecretStr(OLD_CLIENT_SECRET)}
    order = {"topic": "orders/updated", "id": 1001, "signature": "old", "to": [hook.url]}
    service.deliver(**order)
    lately = secrets(service, **old, shopify_secret_rotated_at=NOW - timedelta(minutes=59))
    assert received(receiver, service, hook, lately) == ["new"]
    service.deliver(**order)
    long_ago = secrets(service, **old, shopify_secret_rotated_at=NOW - timedelta(minutes=61))
    with pytest.raises(WebhookRefusedError):
        received(receiver, service, hook, long_ago)


def test_a_body_that_was_changed_on_its_way_is_refused(
    service: Service, hook: Hooked, receiver: Receiver
) -> None:
    service.deliver(topic="orders/updated", id=1001, to=[hook.url])
    ((headers, body),) = hook.came
    hook.came[:] = [(headers, body.replace(b"1001", b"1002"))]
    with pytest.raises(WebhookRefusedError):
        received(receiver, service, hook)
    hook.came[:] = [(headers, body + b" ")]  # the raw body, not what it means
    with pytest.raises(WebhookRefusedError):
        received(receiver, service, hook)


def test_a_shop_that_is_not_connected_is_unknown(
    service: Service, hook: Hooked, receiver: Receiver, store: sa.Engine
) -> None:
    service.deliver(topic="orders/updated", id=1001, claims=OTHER, to=[hook.url])
    service.deliver(topic="carts/update", told={"id": 1}, to=[hook.url])
    assert received(receiver, service, hook) == ["unknown", "unknown"]
    assert waiting(store, OTHER) == []


def test_what_says_it_is_of_another_shop_is_refused(
    service: Service, hook: Hooked, receiver: Receiver
) -> None:
    service.deliver(topic="app/uninstalled", claims=OTHER, to=[hook.url])
    with pytest.raises(WebhookRefusedError, match="another shop"):
        received(receiver, service, hook)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"x-shopify-shop-domain": "evil.example"}, "of no shop"),
        ({"x-shopify-webhook-id": ""}, "without an id"),
        ({"x-shopify-webhook-id": "x" * 201}, "without an id"),
    ],
)
def test_headers_that_cannot_be_are_refused(
    service: Service, hook: Hooked, receiver: Receiver, changed: dict[str, str], said: str
) -> None:
    service.deliver(topic="orders/updated", id=1001, to=[hook.url])
    hook.came[:] = [(headers | changed, body) for headers, body in hook.came]
    with pytest.raises(WebhookRefusedError, match=said):
        received(receiver, service, hook)


def signed(service: Service, body: bytes, topic: str, **more: str) -> dict[str, str]:
    """The headers of a body that Shopify signed, with which it comes."""
    secret = service.settings.shopify_client_secret
    assert secret is not None
    return {
        "x-shopify-hmac-sha256": body_hmac(body, secret),
        "x-shopify-shop-domain": SHOP,
        "x-shopify-webhook-id": str(uuid.uuid4()),
        "x-shopify-topic": topic,
    } | more


LONG_ID = b'{"id": 1%s}'
OF_CUSTOMER = b'{"shop_domain": "%s", "customer": {"id": 1}, %%s}' % SHOP.encode()


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        *(
            ("orders/updated", body)
            for body in (
                b"[1]", b"{", b'{"id": "x"}', b'{"id": true}', b"{}", b'{"id": 0}', b'{"id": -1}',
                b'{"id": 9223372036854775808}', b'{"id": 1e400}', LONG_ID % (b"0" * 400),
                LONG_ID % (b"0" * 5000), b'{"id": "%s"}' % (b"1" * 5000),
            )
        ),
        ("refunds/create", b'{"id": 1, "order_id": 9223372036854775808}'),
        *(
            ("customers/redact", OF_CUSTOMER % more)
            for more in (
                b'"orders_to_redact": 5', b'"orders_to_redact": {"a": 1}',
                b'"orders_to_redact": ["a@example.com"]',
                b'"data_request": {"id": {"email": "a@example.com"}}',
                b'"data_request": {"id": "a@example.com"}',
            )
        ),
    ],
)  # fmt: skip
def test_a_signed_body_that_means_nothing_is_refused(
    service: Service, receiver: Receiver, store: sa.Engine, topic: str, body: bytes
) -> None:
    with pytest.raises(WebhookRefusedError) as told:
        receiver.receive(signed(service, body, topic), body, secrets(service), NOW)
    assert "example.com" not in str(told.value)
    assert waiting(store) == []


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (b'{"id": 1001}', "9999-12-31T23:59:59-14:00"),
        (b'{"id": 1001}', "0001-01-01T00:00:00+14:00"),
        (b'{"id": 1001, "updated_at": "9999-12-31T23:59:59-14:00"}', None),
        (b'{"id": 1001, "updated_at": "1969-01-01T00:00:00Z"}', None),
    ],
)
def test_a_time_that_cannot_be_is_refused(
    service: Service, receiver: Receiver, store: sa.Engine, body: bytes, header: str | None
) -> None:
    more = {} if header is None else {"x-shopify-triggered-at": header}
    headers = signed(service, body, "orders/updated", **more)
    with pytest.raises(WebhookRefusedError, match="of a time that cannot be"):
        receiver.receive(headers, body, secrets(service), NOW)
    assert waiting(store) == []


# uninstalled -------------------------------------------------------------------------------------
def test_an_uninstall_ends_the_connection_at_once(
    service: Service, api: ShopApi, hook: Hooked, receiver: Receiver, store: sa.Engine
) -> None:
    subscribe(api, hook.url)
    service.uninstall()
    assert received(receiver, service, hook) == ["new"]
    (health,) = receiver.connections.health()
    assert (health.state, health.last_failure_kind) == ("needs_consent", "uninstalled")
    assert waiting(store) == []


def test_an_uninstall_of_before_the_last_consent_ends_nothing(
    service: Service, hook: Hooked, receiver: Receiver
) -> None:
    late = {"triggered_at": (NOW - timedelta(days=2)).isoformat()}
    service.deliver(topic="app/uninstalled", to=[hook.url], **late)
    assert received(receiver, service, hook) == ["new"]
    assert receiver.connections.health()[0].state == "active"


@pytest.mark.parametrize("topic", webhooks.NAMES_SHOP)
@pytest.mark.parametrize(
    "body",
    [
        b'{"id": 2001, "updated_at": "2026-11-28T09:00:00Z"}',  # an order of another shop
        b'{"id": 2001, "customer": {"id": 7}}',
        b'{"myshopify_domain": 5, "shop_domain": 5, "customer": {"id": 7}}',
        b'{"shop_domain": "%s", "myshopify_domain": "%s"}' % (SHOP.encode(), OTHER.encode()),
    ],
)
def test_headers_alone_say_nothing_of_a_whole_shop(
    service: Service, receiver: Receiver, store: sa.Engine, topic: str, body: bytes
) -> None:
    with pytest.raises(WebhookRefusedError, match=r"names no shop|of another shop"):
        receiver.receive(signed(service, body, topic), body, secrets(service), NOW)
    assert receiver.connections.health()[0].state == "active"
    assert waiting(store) == []


@pytest.mark.parametrize("topic", [webhooks.UNINSTALLED, "shop/redact"])
def test_what_was_asked_of_a_customer_is_not_said_of_the_shop(
    service: Service, receiver: Receiver, store: sa.Engine, topic: str
) -> None:
    body = OF_CUSTOMER % b'"orders_to_redact": []'
    with pytest.raises(WebhookRefusedError):
        receiver.receive(signed(service, body, topic), body, secrets(service), NOW)
    assert receiver.connections.health()[0].state == "active"
    assert waiting(store) == []


# privacy -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("topic", "subject", "told"),
    [
        ("customers/redact", "gid://shopify/Customer/701", {"orders"}),
        ("customers/data_request", "gid://shopify/Customer/701", {"orders", "data_request"}),
        ("shop/redact", "shop", set()),
    ],
)
def test_a_privacy_topic_is_queued_with_ids_alone_also_of_a_shop_that_has_left(
    service: Service,
    hook: Hooked,
    store: sa.Engine,
    home: Home,
    topic: str,
    subject: str,
    told: set[str],
) -> None:
    nobody = Receiver(store, Connections(store, KeyRing.of(home)))
    service.deliver(topic=topic, id=701, to=[hook.url])
    assert received(nobody, service, hook) == ["new"]
    (found,) = waiting(store)
    assert (found.topic, found.subject, set(found.told)) == (topic, subject, told)
    if "orders" in told:
        assert found.told["orders"] == [f"gid://shopify/Order/{n}" for n in (1001, 1006, 1011)]
    with store.connect() as rows:
        stored = repr(rows.execute(sa.select(webhook_inbox)).all())
    assert "@" not in stored and "+49" not in stored
