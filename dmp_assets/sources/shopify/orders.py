"""Orders of a shop as they change: what is new since last time, what was refunded, what is gone.

A list is read by the time of the last change. An order that changes while it is read moves to the
list's end, so it comes twice, never not at all; what overlaps with the time before is read again.
Deleted orders are in no list: they are found by comparing ids, and asked for before they are given
up.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dmp_assets.platform.connect.errors import UnreadableAnswerError
from dmp_assets.sources.shopify import documents
from dmp_assets.sources.shopify.errors import GoneError, ListChangedError
from dmp_assets.sources.shopify.graphql import Node, ShopApi

OVERLAP = timedelta(minutes=10)
"""How far the next reading goes back before the beginning of this one."""
SEEN = timedelta(days=60)
"""How far back `read_orders` alone sees."""
SWEEP = timedelta(days=59)
"""How far back a sweep looks: what is about to leave the window is not taken for deleted."""
JOURNEY_WINDOW = timedelta(days=30)
"""How long Shopify attributes an order; what is not ready then never is."""
_AT_ONCE = 100
_BY_ID = 25
_DEEP = 20_000
"""Objects of one list that are read before it is begun anew further on (Shopify ends at 25,000)."""
_TRIES = 3
_OF_A_REFUND = (
    ("refundLineItems", documents.REFUND_LINES),
    ("orderAdjustments", documents.REFUND_ADJUSTMENTS),
)


def written(moment: datetime) -> str:
    """A time as Shopify's search takes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_time(given: Any) -> datetime:
    """A time of Shopify's. Raises UnreadableAnswerError."""
    try:
        return datetime.fromisoformat(given).astimezone(UTC)
    except (ValueError, TypeError, AttributeError):
        raise UnreadableAnswerError("a time of Shopify's cannot be read") from None


@dataclass(frozen=True)
class Reading:
    """From where on a list is read, and from where on it is the next time.

    `begun`: before the first request; the bookmark is that less the overlap, never the latest
    change that was seen, which may be of a clock or a page ahead of others.
    """

    since: datetime
    begun: datetime

    @property
    def bookmark(self) -> datetime:
        return max(self.since, self.begun - OVERLAP)


def changed_orders(api: ShopApi, reading: Reading) -> Iterator[Node]:
    """Every order that changed since then, with all its lines; one that changes meanwhile comes
    again. Raises ConnectError."""
    since = reading.since
    while True:
        count, latest = 0, since
        query = f"updated_at:>='{written(since)}'"
        for page in api.pages(documents.ORDERS, "orders", {"query": query}, first=_AT_ONCE):
            for order in page:
                latest = max(latest, read_time(order["updatedAt"]))
                if (whole := with_lines(api, order)) is not None:
                    yield whole
            count += len(page)
            if count >= _DEEP and latest > since:
                break
        else:
            return
        since = latest


def orders_by_id(api: ShopApi, ids: Sequence[str]) -> Iterator[tuple[str, Node | None]]:
    """(id, order with all its lines) of each id; None where there is none (any more)."""
    for order_id, order in api.by_ids(documents.ORDERS_BY_ID, ids, at_once=_BY_ID):
        yield order_id, with_lines(api, order) if order else None


def with_lines(api: ShopApi, order: Node) -> Node | None:
    """The order with all its lines as a plain list; None where it was deleted meanwhile."""
    try:
        order["lineItems"] = _whole(
            api, order.get("lineItems"), documents.LINES, "order.lineItems", order["id"]
        )
    except GoneError:
        return None
    return order


def refunds_of(api: ShopApi, ids: Sequence[str]) -> Iterator[Node]:
    """The refunds of these orders with all their lines and adjustments, each with its `order`.

    No bulk operation and no list of orders can have the lines, so they are asked for where there is
    a refund. A refund may have none (goodwill, shipping): then its adjustments say what for.
    """
    for order_id, order in api.by_ids(documents.REFUNDS, ids, at_once=_BY_ID):
        for refund in (order or {}).get("refunds") or ():
            try:
                for field, document in _OF_A_REFUND:
                    refund[field] = _whole(
                        api, refund.get(field), document, f"refund.{field}", refund["id"]
                    )
            except GoneError:
                continue  # its order was deleted meanwhile
            yield refund | {"order": order_id}


def _whole(api: ShopApi, begun: Any, document: str, field: str, owner: str) -> list[Node]:
    """All of a list that hangs on an object and of which the first page is there."""
    if not isinstance(begun, dict) or not isinstance(begun.get("nodes"), list):
        raise UnreadableAnswerError(f"Shopify's answer holds no {field}")
    if not (begun.get("pageInfo") or {}).get("hasNextPage"):
        return begun["nodes"]
    pages = api.pages(document, field, {"id": owner}, first=_AT_ONCE)
    return [node for page in pages for node in page]


def journeys_of(api: ShopApi, ids: Sequence[str]) -> Iterator[Node]:
    """Orders with nothing but `customerJourneySummary`, of which some were not ready before."""
    for _, order in api.by_ids(documents.JOURNEYS, ids, at_once=_AT_ONCE):
        if order is not None:
            yield order


def variants(api: ShopApi) -> Iterator[Node]:
    """Every variant of every product, with what it costs; a new cost changes no product's time."""
    for page in api.pages(documents.VARIANTS, "productVariants", {}, first=_AT_ONCE):
        yield from page


def shop_of(api: ShopApi) -> Node:
    """The shop itself: `ianaTimezone`, in which its days are, and its `currencyCode`."""
    found = api.query(documents.SHOP).get("shop")
    if not isinstance(found, dict):
        raise UnreadableAnswerError("Shopify's answer holds no shop")
    return found


def deleted_orders(api: ShopApi, known: Mapping[str, datetime], now: datetime) -> list[str]:
    """Of the orders that are known, with the times of their creation, those that were deleted.

    Those of the last `SWEEP` are compared. The list must be whole (as many ids as Shopify counts
    before and after); what is not in it is asked for by its id before it is taken for deleted.
    Raises ListChangedError when the list never stands still, and ConnectError.
    """
    since = now - SWEEP
    listed = _listed_ids(api, f"created_at:>='{written(since)}'")
    missing = [one for one, at in known.items() if since <= at <= now and one not in listed]
    return [
        one
        for one, node in api.by_ids(documents.ORDERS_THERE, missing, at_once=_AT_ONCE)
        if node is None
    ]


def _listed_ids(api: ShopApi, query: str) -> Collection[str]:
    for _ in range(_TRIES):
        before = _count(api, query)
        pages = api.pages(documents.ORDER_IDS, "orders", {"query": query}, first=250)
        found = {node["id"] for page in pages for node in page}
        if len(found) >= min(before, _count(api, query)):
            return found
    raise ListChangedError(f"{api.shop}: the list of orders changes faster than it can be read")


def _count(api: ShopApi, query: str) -> int:
    found = (api.query(documents.ORDERS_COUNT, {"query": query}).get("ordersCount") or {}).get(
        "count"
    )
    if not isinstance(found, int):
        raise UnreadableAnswerError("Shopify's answer holds no count")
    return found
