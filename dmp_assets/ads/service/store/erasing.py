"""What the operational store holds of customers and orders of a shop, deleted."""

from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from dmp_assets.platform.store.schema import webhook_inbox
from dmp_assets.sources.shopify.access import SERVICE
from dmp_assets.sources.shopify.tables import CUSTOMER, ORDER

_KINDS = {CUSTOMER: "Customer", ORDER: "Order"}
"""Kind of identifier → how Shopify's global ids name it."""


def erase(store: sa.Connection, subject: str, ids: Collection[str]) -> Mapping[str, int]:
    """Delete what was told of these customers or orders; table → how many rows.

    Of an order whatever names it: Shopify's requests of privacy list a customer's orders.
    """
    kind = _KINDS.get(subject)
    if kind is None or not ids:
        return {}
    named = [f"gid://shopify/{kind}/{one}" for one in ids]
    table = webhook_inbox.c
    about = table.subject.in_(named)
    if subject == ORDER:
        about |= table.told["orders"].has_any(sa.cast(named, ARRAY(sa.Text)))
    gone = store.execute(webhook_inbox.delete().where(table.service == SERVICE, about)).rowcount
    return {webhook_inbox.name: gone} if gone else {}
