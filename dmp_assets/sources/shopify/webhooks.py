"""Webhooks of Shopify: are they from it, what are they about, and what follows.

The signature is over the raw body, so it is checked before anything is read of it. Orders are only
signs to ask for them. Headers are not signed: what they say of the shop must agree with the body
where that says so, too, and has no effect on a shop that the body does not name. Numbers and times
are taken within bounds alone.
"""

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from dmp_assets.platform.base.answers import json_object
from dmp_assets.platform.connect import inbox
from dmp_assets.platform.connect.errors import NeedsConsentError
from dmp_assets.platform.connect.inbox import Webhook
from dmp_assets.platform.connect.tokens import Connections
from dmp_assets.platform.store.schema import service_connection
from dmp_assets.sources.shopify import documents
from dmp_assets.sources.shopify.access import SERVICE
from dmp_assets.sources.shopify.errors import BusinessError, WebhookRefusedError
from dmp_assets.sources.shopify.graphql import ShopApi
from dmp_assets.sources.shopify.shops import ShopDomainError, shop_domain
from dmp_assets.sources.shopify.signatures import Secrets

WEBHOOKS = "/webhooks/shopify"
"""Where the service hears of changes."""
ORDERS = ("orders/create", "orders/updated", "orders/paid", "orders/cancelled", "refunds/create")
"""Signs to ask for an order."""
DELETED = ("orders/delete",)
UNINSTALLED = "app/uninstalled"
PRIVACY = ("customers/data_request", "customers/redact", "shop/redact")
"""Shopify sends these to every public app; what they ask for has to be done within 30 days."""
SUBSCRIBED = {
    "ORDERS_CREATE": ["id", "admin_graphql_api_id", "updated_at"],
    "ORDERS_UPDATED": ["id", "admin_graphql_api_id", "updated_at"],
    "ORDERS_CANCELLED": ["id", "admin_graphql_api_id", "updated_at"],
    "ORDERS_DELETE": ["id"],
    "REFUNDS_CREATE": ["id", "order_id", "created_at"],
    "APP_UNINSTALLED": ["id", "myshopify_domain"],
}
"""Topic → the fields that are sent, nothing of the buyer among them."""
NAMES_SHOP = {UNINSTALLED: "myshopify_domain", **dict.fromkeys(PRIVACY, "shop_domain")}
"""Topic → the field of its body that must name the shop: they say something of it as a whole, or
of its people, and a header alone could name any other."""
MOST_BYTES = 4 * 1024 * 1024
_LONGEST_ID = 200
_DIGITS, _MOST = 19, 2**63
"""Shopify's ids have 64 bits."""
_ORDER = re.compile(rf"gid://shopify/Order/([0-9]{{1,{_DIGITS}}})", re.ASCII)

Outcome = Literal["new", "repeated", "older", "unknown"]


@dataclass(frozen=True)
class Receiver:
    """What a route that receives webhooks calls. `store`: the operational one."""

    store: sa.Engine
    connections: Connections

    def receive(
        self, headers: Mapping[str, str], body: bytes, secrets: Secrets, now: datetime
    ) -> Outcome:
        """Check a webhook and note what it is about; answer 200 whatever the outcome is.

        `headers`: by their names in lower case. An uninstall ends the shop's connection at once,
        unless somebody has connected the shop anew since. `unknown`: a topic, or a shop, that
        nobody here has to do with. Raises WebhookRefusedError: answer 401.
        """
        webhook = read(headers, body, secrets)
        if webhook is None:
            return "unknown"
        with self.store.begin() as store:
            known = store.execute(
                sa.select(service_connection.c.connection_id, service_connection.c.consented_at)
                .where(service_connection.c.service == SERVICE)
                .where(service_connection.c.account == webhook.account)
            ).one_or_none()
            if known is None and webhook.topic not in PRIVACY:
                return "unknown"
            outcome = inbox.note(store, webhook, now)
        if webhook.topic == UNINSTALLED and known is not None:
            self._uninstalled(webhook, known.connection_id, known.consented_at, now)
        return outcome

    def _uninstalled(
        self, webhook: Webhook, connection_id: uuid.UUID, consented_at: datetime, now: datetime
    ) -> None:
        """End the connection; also when it is told again, after a kill the first time."""
        if webhook.triggered_at is None or webhook.triggered_at >= consented_at:
            error = NeedsConsentError(f"{webhook.account} has uninstalled the app", "uninstalled")
            self.connections.note_failure(connection_id, error)
        with self.store.begin() as store:
            inbox.take(store, [webhook], now)


def read(headers: Mapping[str, str], body: bytes, secrets: Secrets) -> Webhook | None:
    """The webhook, of a topic that is known; None for any other. Raises WebhookRefusedError."""
    if len(body) > MOST_BYTES or not secrets.signed_body(
        body, headers.get("x-shopify-hmac-sha256", "")
    ):
        raise WebhookRefusedError("a webhook that Shopify did not sign")
    try:
        shop = shop_domain(headers.get("x-shopify-shop-domain", ""))
    except ShopDomainError:
        raise WebhookRefusedError("a webhook of no shop") from None
    topic = headers.get("x-shopify-topic", "")
    webhook_id = headers.get("x-shopify-webhook-id", "")
    if not webhook_id or len(webhook_id) > _LONGEST_ID or not webhook_id.isprintable():
        raise WebhookRefusedError("a webhook without an id")
    told = json_object(body)
    if told is None:
        raise WebhookRefusedError("a webhook that holds no object")
    for field in ("shop_domain", "myshopify_domain"):
        named = told.get(field)
        if named is None and NAMES_SHOP.get(topic) == field:
            raise WebhookRefusedError(f"a webhook {topic} whose body names no shop ({field})")
        if named is not None and (not isinstance(named, str) or named.lower() != shop):
            raise WebhookRefusedError("a webhook of another shop than it says")
    about = _ABOUT.get(topic)
    if about is None:
        return None
    subject, changed, ids = about(told)
    return Webhook(
        service=SERVICE,
        webhook_id=webhook_id,
        account=shop,
        topic=topic,
        subject=subject,
        changed_at=_time(changed),
        triggered_at=_time(headers.get("x-shopify-triggered-at")),
        told=ids,
    )


About = tuple[str, Any, dict[str, Any]]


def _order(told: Mapping[str, Any]) -> About:
    return f"gid://shopify/Order/{_id(told.get('id'))}", told.get("updated_at"), {}


def _refund(told: Mapping[str, Any]) -> About:
    """About its order; its own time is not when that changed."""
    refund = {"refund": f"gid://shopify/Refund/{_id(told.get('id'))}"}
    return f"gid://shopify/Order/{_id(told.get('order_id'))}", None, refund


def _app(told: Mapping[str, Any]) -> About:
    return "app", None, {}


def _person(told: Mapping[str, Any]) -> About:
    """Of a customer the id alone: address and number are nowhere kept here."""
    customer = told.get("customer")
    customer_id = customer.get("id") if isinstance(customer, dict) else None
    listed = told.get("orders_to_redact") or told.get("orders_requested") or []
    if not isinstance(listed, list):
        raise WebhookRefusedError("a webhook whose orders are no list")
    orders = [f"gid://shopify/Order/{_id(one)}" for one in listed]
    request = told.get("data_request")
    asked = request.get("id") if isinstance(request, dict) else None
    subject = f"gid://shopify/Customer/{_id(customer_id)}"
    return subject, None, {"orders": orders} | ({"data_request": _id(asked)} if asked else {})


def _shop(told: Mapping[str, Any]) -> About:
    """About all of a shop; a body about one customer is not, whatever the header says."""
    if "customer" in told:
        raise WebhookRefusedError("a webhook about a customer that says it is about a shop")
    return "shop", None, {}


_ABOUT: Mapping[str, Callable[[Mapping[str, Any]], About]] = {
    **dict.fromkeys((*ORDERS[:-1], *DELETED), _order),
    "refunds/create": _refund,
    UNINSTALLED: _app,
    **dict.fromkeys(PRIVACY[:2], _person),
    "shop/redact": _shop,
}


def _id(given: Any) -> int:
    if isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) <= _DIGITS:
        given = int(given)
    if isinstance(given, bool) or not isinstance(given, int) or not 0 < given < _MOST:
        raise WebhookRefusedError("a webhook that does not say what it is about: no id of 64 bits")
    return given


def _time(given: Any) -> datetime | None:
    """A time; None where none is said that can be read. Raises WebhookRefusedError for one that
    cannot be."""
    try:
        found = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        return None
    if found.tzinfo is None:
        return None
    if not inbox.is_plausible(found):
        raise WebhookRefusedError(
            f"a webhook of a time that cannot be: from {inbox.FROM.year} to {inbox.BEFORE.year} "
            "is taken"
        )
    return found


def subscribe(api: ShopApi, address: str) -> list[str]:
    """Have what we need sent to `address`; the topics that were not subscribed to before.

    Subscribing is not idempotent, so what there is is listed first. Raises BusinessError, e.g. for
    an address that is not https, and ConnectError.
    """
    pages = api.pages(documents.SUBSCRIPTIONS, "webhookSubscriptions", {}, first=100)
    known = {node.get("topic") for page in pages for node in page if node.get("uri") == address}
    added = [topic for topic in SUBSCRIBED if topic not in known]
    for topic in added:
        what = {"uri": address, "format": "JSON", "includeFields": SUBSCRIBED[topic]}
        try:
            api.change(
                documents.SUBSCRIBE, {"topic": topic, "what": what}, "webhookSubscriptionCreate"
            )
        except BusinessError as error:
            if "already been taken" not in str(error):  # somebody else did it meanwhile
                raise
    return added


def orders_to_ask(came: Iterable[Webhook]) -> list[str]:
    """Global ids of the orders that webhooks are about, each once, the first told of first."""
    return list(dict.fromkeys(one.subject for one in came))


def is_usable(one: Webhook) -> bool:
    """Whether a noted webhook about an order can be acted on; what came before it was checked on
    its receipt may not."""
    found = _ORDER.fullmatch(one.subject)
    return one.is_plausible and found is not None and 0 < int(found[1]) < _MOST
