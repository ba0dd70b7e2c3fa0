"""Webhooks of the sandbox's Shopify: subscriptions, and deliveries really sent and signed."""

import json
import secrets
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict

from dmp_assets.demo.sandbox.shopify_grants import (
    CLIENT_SECRET,
    OLD_CLIENT_SECRET,
    Grants,
    body_hmac,
    fields_of,
)
from dmp_assets.demo.sandbox.shopify_graphql import Asking
from dmp_assets.demo.sandbox.shopify_lists import part_of
from dmp_assets.demo.sandbox.shopify_nodes import Listed, Node, gid, number_of
from dmp_assets.demo.sandbox.shopify_world import World, text_of
from dmp_assets.platform.base.addresses import is_loopback

VERSION = "2026-10"
_TIMEOUT = 5.0
_SECRETS = {"right": CLIENT_SECRET, "old": OLD_CLIENT_SECRET, "wrong": "no secret of ours"}
PRIVACY = frozenset({"customers/data_request", "customers/redact", "shop/redact"})
"""Topics of the app itself: nobody subscribes to them by GraphQL."""


class Order(BaseModel):
    """What is to be delivered.

    `id`: of the order or refund. `signature`: with which secret; `times`: how often the same
    delivery; `webhook_id`, `triggered_at`, `updated_at`: other ones than now, as of one that is
    late. `told`: in the place of the payload. `claims`: another shop than it is of, in the header.
    `to`: where, besides those that subscribed.
    """

    model_config = ConfigDict(extra="forbid")

    shop: str
    topic: str
    id: int | None = None
    signature: Literal["right", "old", "wrong", "none"] = "right"
    times: int = 1
    webhook_id: str | None = None
    triggered_at: datetime | None = None
    updated_at: datetime | None = None
    told: dict[str, Any] | None = None
    claims: str | None = None
    to: tuple[str, ...] = ()


class Webhooks:
    """The subscriptions of all shops, in the file of the grants."""

    def __init__(self, grants: Grants, world: World) -> None:
        self._grants, self._world = grants, world

    def roots(self, asking: Asking) -> dict[str, Callable[..., Any]]:
        """What GraphQL asks of them."""
        shop = asking.shop["shop"]

        def create(topic: str, webhookSubscription: Mapping[str, Any]) -> Node:
            uri = webhookSubscription.get("uri") or ""
            told = _wrong_address(uri)
            if told is None:
                told = self._add(shop, topic, uri, webhookSubscription.get("includeFields") or [])
            if told is not None:
                error = {"field": ["webhookSubscription", "uri"], "message": told}
                return {"webhookSubscription": None, "userErrors": [error]}
            made = next(n for n in self._nodes(shop) if (n["topic"], n["uri"]) == (topic, uri))
            return {"webhookSubscription": made, "userErrors": []}

        def delete(id: str) -> Node:
            with self._grants.opened() as db:
                gone = db.execute(
                    "DELETE FROM subscription WHERE shop = ? AND subscription_id = ?",
                    (shop, number_of(id, "WebhookSubscription")),
                ).rowcount
            if not gone:
                told = [{"field": ["id"], "message": "Webhook subscription does not exist"}]
                return {"deletedWebhookSubscriptionId": None, "userErrors": told}
            return {"deletedWebhookSubscriptionId": id, "userErrors": []}

        return {
            "webhookSubscriptions": lambda **asked: part_of(self._nodes(shop), asked),
            "webhookSubscriptionCreate": create,
            "webhookSubscriptionDelete": delete,
        }

    def _add(self, shop: str, topic: str, uri: str, fields: list[str]) -> str | None:
        with self._grants.opened() as db:
            taken = db.execute(
                "SELECT 1 FROM subscription WHERE shop = ? AND topic = ? AND uri = ?",
                (shop, topic, uri),
            ).fetchone()
            if taken:
                return "Address for this topic has already been taken"
            db.execute(
                "INSERT INTO subscription(shop, topic, uri, include_fields) VALUES (?, ?, ?, ?)",
                (shop, topic, uri, json.dumps(fields)),
            )
        return None

    def _nodes(self, shop: str) -> Listed:
        with self._grants.opened() as db:
            rows = db.execute(
                "SELECT * FROM subscription WHERE shop = ? ORDER BY subscription_id", (shop,)
            )
            return Listed(
                {
                    "__typename": "WebhookSubscription",
                    "id": gid("WebhookSubscription", row["subscription_id"]),
                    "topic": row["topic"],
                    "uri": row["uri"],
                    "format": "JSON",
                    "includeFields": fields_of(row["include_fields"]),
                }
                for row in rows
            )

    def forget(self, shop: str) -> None:
        """Delete the subscriptions of a shop, as an uninstall does."""
        with self._grants.opened() as db:
            db.execute("DELETE FROM subscription WHERE shop = ?", (shop,))

    # deliveries ----------------------------------------------------------------------------------
    def deliver(self, order: Order, now: datetime) -> list[int]:
        """Send a delivery to everybody who wants it; the status of each answer, 0 for none."""
        wanted = [
            (node["uri"], node["includeFields"])
            for node in self._nodes(order.shop)
            if _slashed(node["topic"]) == order.topic
        ]
        wanted += [(address, []) for address in order.to]
        payload = order.told if order.told is not None else self._payload(order, now)
        webhook_id = order.webhook_id or str(uuid.uuid4())
        answers = []
        for address, fields in wanted:
            body = json.dumps(
                {name: payload[name] for name in fields if name in payload} if fields else payload
            ).encode()
            headers = {
                "Content-Type": "application/json",
                "X-Shopify-Topic": order.topic,
                "X-Shopify-Shop-Domain": order.claims or order.shop,
                "X-Shopify-API-Version": VERSION,
                "X-Shopify-Webhook-Id": webhook_id,
                "X-Shopify-Event-Id": secrets.token_hex(8),
                "X-Shopify-Triggered-At": text_of(order.triggered_at or now),
            }
            if order.signature != "none":
                headers["X-Shopify-Hmac-Sha256"] = body_hmac(body, _SECRETS[order.signature])
            answers += [_sent(address, body, headers) for _ in range(order.times)]
        return answers

    def _payload(self, order: Order, now: datetime) -> dict[str, Any]:
        (shop,) = self._world.rows("SELECT * FROM shop WHERE shop = ?", [order.shop])
        if order.topic == "orders/delete":
            return {"id": order.id}
        if order.topic.startswith("orders/"):
            (row,) = self._world.rows("SELECT * FROM orders WHERE order_id = ?", [order.id])
            updated = text_of(order.updated_at) if order.updated_at else row["updated_at"]
            return {
                "id": row["order_id"],
                "admin_graphql_api_id": gid("Order", row["order_id"]),
                "email": "buyer@sandbox.example",
                "name": row["name"],
                "created_at": row["created_at"],
                "updated_at": updated,
                "total_price": row["total"],
                "currency": shop["currency"],
            }
        if order.topic == "refunds/create":
            (row,) = self._world.rows("SELECT * FROM refund WHERE refund_id = ?", [order.id])
            return {
                "id": row["refund_id"],
                "admin_graphql_api_id": gid("Refund", row["refund_id"]),
                "order_id": row["order_id"],
                "created_at": row["created_at"],
            }
        about = {"shop_id": shop["shop_id"], "shop_domain": order.shop}
        if order.topic in PRIVACY:
            if order.topic == "shop/redact":
                return about
            customer = {"id": order.id, "email": "buyer@sandbox.example", "phone": "+4930123456"}
            orders = self._world.rows(
                "SELECT order_id FROM orders WHERE customer_id = ? AND shop = ?",
                [order.id, order.shop],
            )
            ids = [row["order_id"] for row in orders]
            if order.topic == "customers/redact":
                return {**about, "customer": customer, "orders_to_redact": ids}
            request = {"id": int(now.timestamp())}
            return {
                **about,
                "orders_requested": ids,
                "customer": customer,
                "data_request": request,
            }
        if order.topic == "app/uninstalled":
            return {
                "id": shop["shop_id"],
                "name": shop["name"],
                "myshopify_domain": order.shop,
                "email": "owner@sandbox.example",
            }
        return {}


def _sent(address: str, body: bytes, headers: Mapping[str, str]) -> int:
    """The status of the answer; 0 where nobody answers."""
    try:
        with httpx.Client(trust_env=False, timeout=_TIMEOUT) as http:
            return http.post(address, content=body, headers=dict(headers)).status_code
    except httpx.HTTPError:
        return 0


def _slashed(topic: str) -> str:
    """`ORDERS_UPDATED` as deliveries name it; of the kind only the last word is apart."""
    begin = next(
        (one for one in ("BULK_OPERATIONS", "ORDERS", "REFUNDS", "APP") if topic.startswith(one)),
        topic,
    )
    return f"{begin}/{topic[len(begin) + 1 :]}".lower()


def _wrong_address(uri: str) -> str | None:
    try:
        address = httpx.URL(uri)
    except httpx.InvalidURL:
        return "Address is invalid"
    safe = address.scheme == "https" or is_loopback(address.host)
    return None if safe and address.host else "Address protocol http:// is not supported"
