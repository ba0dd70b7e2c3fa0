"""One reading of one shop: all that is new there since the last, as rows of the received tables.

The first time by a bulk operation over everything that may be seen, then what changed, what
webhooks told of, journeys that were not ready, and once a week what was deleted. Nothing of it is
done before its rows are stored: a reading that ends early is begun anew from the same bookmark.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from dmp_assets.platform.connect.inbox import Webhook
from dmp_assets.sources.shopify import orders, webhooks
from dmp_assets.sources.shopify.access import ConnectedShop
from dmp_assets.sources.shopify.bulk import BulkReader
from dmp_assets.sources.shopify.graphql import Node
from dmp_assets.sources.shopify.orders import SEEN, Reading
from dmp_assets.sources.shopify.rows import Row, Rows

SWEPT_EVERY = timedelta(days=7)
FIRST_DAY = date(2006, 1, 1)
"""No shop is older: Shopify began in that year."""
_REFUNDED_AT_ONCE = 200


def _no_orders() -> Mapping[str, datetime]:
    return {}


@dataclass(frozen=True)
class Known:
    """What is there of a shop already.

    `bookmark`: from where on it is read; None: never read. `swept_at`: when deleted orders were
    looked for. `waiting`: ids of orders whose journey was not ready. `orders`: ids of those that
    are there, with the times of their creation; looked up when it is needed.
    """

    bookmark: datetime | None = None
    swept_at: datetime | None = None
    waiting: Sequence[str] = ()
    orders: Callable[[], Mapping[str, datetime]] = _no_orders


@dataclass
class ShopReading:
    """A reading. `sees_all`: orders older than `SEEN`, too; `bulk`: how the first one is done.

    After `rows` has ended, `bookmark` and `swept_at` are what to note with them, `came` what
    was acted on, and `withheld` the protected fields that were denied.
    """

    shop: ConnectedShop
    known: Known
    now: datetime
    bulk: BulkReader
    sees_all: bool = False
    came: Sequence[Webhook] = ()
    bookmark: datetime = field(init=False)
    swept_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        since = self.known.bookmark or datetime.min.replace(tzinfo=UTC)
        self.bookmark = Reading(since, self.now).bookmark
        self.swept_at = self.known.swept_at or self.now
        self._rows = Rows(self.shop.advertiser_id, self.shop.shop)

    @property
    def withheld(self) -> Sequence[str]:
        return sorted(self.shop.api.withheld)

    def rows(self) -> Iterator[tuple[str, Row]]:
        """(table, row), an order's together. Raises ConnectError."""
        seen: set[str] = set()
        yield self._rows.of_shop(orders.shop_of(self.shop.api))
        yield from self._of_orders(self._orders(), seen)
        yield from self._told(seen)
        waiting = [one for one in self.known.waiting if one not in seen]
        for order in orders.journeys_of(self.shop.api, waiting):
            yield from self._rows.of_journey(order)
        if self.known.swept_at and self.now - self.known.swept_at >= SWEPT_EVERY:
            known = self.known.orders()
            for order_id in orders.deleted_orders(self.shop.api, known, self.now):
                yield self._rows.of_deleted(order_id, self.now)
            self.swept_at = self.now

    def _orders(self) -> Iterator[Node]:
        bookmark = self.known.bookmark
        if bookmark is not None:
            return orders.changed_orders(self.shop.api, Reading(bookmark, self.now))
        first = FIRST_DAY if self.sees_all else (self.now - SEEN).date()
        return self.bulk.orders(first, self.now.astimezone(UTC).date() + timedelta(days=1))

    def _of_orders(self, found: Iterator[Node], seen: set[str]) -> Iterator[tuple[str, Row]]:
        refunded: dict[str, Node] = {}
        for order in found:
            seen.add(order["id"])
            yield from self._rows.of_order(order)
            if order.get("refunds"):
                refunded[order["id"]] = order
            if len(refunded) >= _REFUNDED_AT_ONCE:
                yield from self._refunds(refunded)
                refunded.clear()
        yield from self._refunds(refunded)

    def _refunds(self, refunded: Mapping[str, Node]) -> Iterator[tuple[str, Row]]:
        for refund in orders.refunds_of(self.shop.api, list(refunded)):
            yield from self._rows.of_refund(refund, refunded[refund["order"]])

    def _told(self, seen: set[str]) -> Iterator[tuple[str, Row]]:
        """Orders that webhooks told of and that did not come by themselves."""
        asked = [one for one in webhooks.orders_to_ask(self.came) if one not in seen]
        said = {one.subject for one in self.came if one.topic in webhooks.DELETED}
        there: list[Node] = []
        for order_id, order in orders.orders_by_id(self.shop.api, asked):
            if order is not None:
                there.append(order)
            elif order_id in said:
                yield self._rows.of_deleted(order_id, self.now)
        yield from self._of_orders(iter(there), seen)
