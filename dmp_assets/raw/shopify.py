"""raw/shopify_*: orders of shops at Shopify and what hangs on them, as received.

Every received value is kept as text, and every state of an order that was seen: a row is added when
it says something new, and none is ever changed. From where on a shop is read the next time is noted
with the orders, in the same commit: a run that is killed is begun anew from where the last one was.
A shop that cannot be read keeps nobody from the others.
"""

import json
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dmp_assets.home import Home
from dmp_assets.platform.cleaning.received_columns import columns_of
from dmp_assets.platform.connect import inbox
from dmp_assets.platform.connect.errors import ConnectError
from dmp_assets.platform.connect.inbox import Webhook
from dmp_assets.platform.lake.columns import Column, arrow_schema
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.table_asset import Check, TableRun, source_checks, table_asset
from dmp_assets.platform.lake.window import Window
from dmp_assets.platform.store import database, where
from dmp_assets.sources.shopify import orders, webhooks
from dmp_assets.sources.shopify.access import SERVICE, ConnectedShop, shop_at_work
from dmp_assets.sources.shopify.bulk import BulkReader
from dmp_assets.sources.shopify.orders import JOURNEY_WINDOW
from dmp_assets.sources.shopify.reading import Known, ShopReading
from dmp_assets.sources.shopify.resource import shopify_settings, shops_read
from dmp_assets.sources.shopify.rows import Row, Rows, state_of
from dmp_assets.sources.shopify.settings import ShopifySettings
from dmp_assets.sources.shopify.tables import TABLES

LINEAGE_COLUMNS = {
    "_state": Column("string", "Hash of what was received; the same again is not kept twice."),
    "_row_id": Column("long", "Number of the row in the order in which rows came."),
    "_received_at": Column("timestamp", "Null: Shopify does not say when it received a row."),
    "_source": Column("string", "Name of the service."),
    "_loaded_at": Column("timestamp", "When the row was read into the lakehouse (UTC)."),
}
ORDERS = "shopify_orders"
WITH_ORDERS = tuple(name for name in TABLES if name not in (ORDERS, "shopify_variants"))
VARIANTS = "shopify_variants"
_THINGS = {VARIANTS: "shop, variant_id", "shopify_shops": "shop"}
"""Tables that are not of orders → what tells their things apart."""
_BATCH = 20_000
WEBHOOKS_USABLE = Check(
    "webhooks_were_usable",
    None,
    "Every webhook that was noted could be acted on; others were set aside.",
    noted="webhooks_set_aside",
)
_SENT_AGAIN = timedelta(days=30)
"""Beyond it no webhook comes again, so that its id need not be known."""


def _columns(table: str) -> dict[str, Column]:
    return {**columns_of(TABLES[table]), **LINEAGE_COLUMNS}


CHECKS = (
    Check(
        "shopify_was_read",
        None,
        "Every shop could be read; one that could not stays as it was.",
    ),
)


def _asked(lakehouse: Lakehouse, window: Window) -> dict[str, Any] | None:
    """Shopify is asked in every run; whether anything is new, only the asking shows."""
    settings = shopify_settings(lakehouse.home)
    shops = shops_read(settings)
    return {"shops": dict(shops), "run": lakehouse.run_id} if shops else None


def _shopify_table(
    table: str,
    key: str,
    *,
    identified_by: Sequence[str] = (),
    also: Sequence[str] = (),
    checks: Sequence[Check] = (),
) -> Any:
    return table_asset(
        "raw",
        columns=_columns(table),
        key=identified_by,
        once="No state is kept twice.",
        also={f"raw/{name}": _columns(name) for name in also},
        probe=_asked,
        owner="team:marketing",
        kinds=("delta",),
        checks=(*source_checks(table, key), *CHECKS, *checks),
    )


class Collected:
    """Rows as they come from the shops, in a file; what a shop gave that failed is dropped."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "rows.jsonl").open("w+b")
        self.orders: set[str] = set()

    def __enter__(self) -> "Collected":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def keep(self, rows: Iterable[tuple[str, Row]]) -> None:
        """Write the rows of a shop: all or none of them."""
        begin = self._file.tell()
        try:
            for table, row in rows:
                self._file.write(json.dumps([table, row]).encode() + b"\n")
                self.orders.add(row.get("order_id") or "")
        except ConnectError:
            self._file.seek(begin)
            self._file.truncate()
            raise

    def rows(self) -> Iterator[tuple[str, Row]]:
        """What was kept."""
        self._file.seek(0)
        for line in self._file:
            table, row = json.loads(line)
            yield table, row


class Spool:
    """Rows that are new, as files of columns: the same state once, and nothing that is there."""

    def __init__(
        self, run: TableRun, folder: Path, tables: Sequence[str], among: Collection[str]
    ) -> None:
        self._folder = folder
        self._now = datetime.now(UTC)
        self._there = {name: _states(run, name, among) for name in tables}
        self._next = {name: _rows(run, name) for name in tables}
        self._waiting: dict[str, list[dict[str, Any]]] = {name: [] for name in tables}
        self._writers: dict[str, pq.ParquetWriter] = {}

    def add(self, table: str, row: Row) -> None:
        """Add a row, unless its very state is there."""
        state = state_of(row)
        if state in self._there[table]:
            return
        self._there[table].add(state)
        lineage = {
            "_state": state,
            "_row_id": self._next[table],
            "_received_at": None,
            "_source": SERVICE,
            "_loaded_at": self._now,
        }
        self._next[table] += 1
        self._waiting[table].append({**row, **lineage})
        if len(self._waiting[table]) >= _BATCH:
            self._write(table)

    def _write(self, table: str) -> None:
        schema = arrow_schema(_columns(table))
        if table not in self._writers:
            self._writers[table] = pq.ParquetWriter(self._folder / f"{table}.parquet", schema)
        self._writers[table].write_table(pa.Table.from_pylist(self._waiting[table], schema))
        self._waiting[table].clear()

    def reader(self, table: str) -> pa.RecordBatchReader | None:
        """What was added, once; None for nothing."""
        if self._waiting[table]:
            self._write(table)
        writer = self._writers.pop(table, None)
        if writer is None:
            return None
        writer.close()
        file = pq.ParquetFile(self._folder / f"{table}.parquet")
        schema = arrow_schema(_columns(table))
        return pa.RecordBatchReader.from_batches(schema, file.iter_batches(_BATCH))


def _states(run: TableRun, table: str, among: Collection[str]) -> set[str]:
    """What is there of these orders; of other things their latest states: a cost may come back."""
    if not run.exists(f"raw/{table}"):
        return set()
    if table in _THINGS:
        found = run.sql(
            f"SELECT arg_max(_state, _row_id) AS _state FROM raw.{table} GROUP BY {_THINGS[table]}"
        )
    else:
        found = run.sql(
            f"SELECT _state FROM raw.{table} WHERE order_id IN (SELECT unnest(?::VARCHAR[]))",
            [list(among)],
        )
    return set(found.column("_state").to_pylist())


def _rows(run: TableRun, table: str) -> int:
    """The number of the next row."""
    if not run.exists(f"raw/{table}"):
        return 0
    found = run.sql(f"SELECT coalesce(max(_row_id) + 1, 0) AS n FROM raw.{table}")
    return int(found.column("n")[0].as_py())


@dataclass
class Shops:
    """The shops of a home in one run: which could not be read; of which webhooks were set aside."""

    home: Home
    settings: ShopifySettings
    failed: dict[str, ConnectError] = field(default_factory=dict)
    aside: dict[str, int] = field(default_factory=dict)

    def each(self, read: Callable[[ConnectedShop], None]) -> None:
        """Work with every shop; one that cannot be read is noted and keeps nobody else.

        Raises the first error when none could be read.
        """
        shops = shops_read(self.settings)
        for shop, advertiser_id in shops.items():
            try:
                with shop_at_work(self.home, self.settings, shop, advertiser_id) as work:
                    read(work)
            except ConnectError as error:
                self.failed[shop] = error
        if self.failed and len(self.failed) == len(shops):
            raise next(iter(self.failed.values()))

    def tell(self, run: TableRun) -> None:
        """Say which shops were not read, and why, and which webhooks were set aside."""
        for error in self.failed.values():
            run.log.warning(f"a shop was not read: {error}")
        if self.failed:
            told = [f"{shop}: {error}" for shop, error in self.failed.items()]
            run.metadata["problem"] = "; ".join(told)
        if self.aside:
            noted = ", ".join(f"{shop}: {count}" for shop, count in self.aside.items())
            run.log.warning(
                f"webhooks with times or ids that cannot be were set aside ({noted}); what changed "
                "is read all the same"
            )
            run.metadata["webhooks_set_aside"] = noted


@_shopify_table(
    ORDERS, "order_id", identified_by=("_state",), also=WITH_ORDERS, checks=(WEBHOOKS_USABLE,)
)
def shopify_orders(run: TableRun) -> None:
    """Every state of an order that was seen, every column as text.

    Grain: one state of an order. Key: _state. Source: the Admin API of the shops in
    DMP_SHOPIFY_SHOPS.
    """
    home = run.lakehouse.home
    shops = Shops(home, shopify_settings(home))
    noted: dict[str, dict[str, str]] = dict(run.lakehouse.tables.stamp(run.key).get("read") or {})
    acted: list[Webhook] = []

    def read(work: ConnectedShop, collected: Collected) -> None:
        came = _came(home, work.shop)
        usable = [one for one in came if webhooks.is_usable(one)]
        reading = _reading(run, work, shops.settings, noted.get(work.shop, {}), usable)
        collected.keep(reading.rows())
        noted[work.shop] = {
            "bookmark": reading.bookmark.isoformat(),
            "swept_at": reading.swept_at.isoformat(),
        }
        acted.extend(came)
        if len(usable) < len(came):
            shops.aside[work.shop] = len(came) - len(usable)
        if reading.withheld:
            run.log.warning(f"{work.shop} keeps back {', '.join(reading.withheld)}")

    _land(run, shops, read, (*WITH_ORDERS, ORDERS), {"read": noted})  # the bookmark last
    _take(home, acted)


@_shopify_table(VARIANTS, "variant_id")
def shopify_variants(run: TableRun) -> None:
    """Every state of a variant of a product that was seen, every column as text.

    Grain: one state of a variant. Key: none, a state may come back; the latest is that of the
    greatest _row_id. Source: the Admin API of the shops in DMP_SHOPIFY_SHOPS.
    """
    home = run.lakehouse.home

    def read(work: ConnectedShop, collected: Collected) -> None:
        rows = Rows(work.advertiser_id, work.shop)
        collected.keep((VARIANTS, rows.of_variant(one)) for one in orders.variants(work.api))

    _land(run, Shops(home, shopify_settings(home)), read, (VARIANTS,), {})


def _land(
    run: TableRun,
    shops: Shops,
    read: Callable[[ConnectedShop, Collected], None],
    tables: Sequence[str],
    noted: Mapping[str, Any],
) -> None:
    """Read every shop and append what is new; `noted` with the last of the tables, the run's own.

    Raises ConnectError when no shop could be read.
    """
    with (
        tempfile.TemporaryDirectory(prefix="dmp-shopify-") as folder,
        Collected(Path(folder)) as collected,
    ):
        shops.each(lambda work: read(work, collected))
        shops.tell(run)
        spool = Spool(run, Path(folder), tables, collected.orders)
        for table, row in collected.rows():
            spool.add(table, row)
        run.stamp.update(noted)
        for table in tables:
            _append(run, table, spool.reader(table))


def _append(run: TableRun, table: str, rows: pa.RecordBatchReader | None) -> None:
    key = f"raw/{table}"
    if rows is not None:
        run.append(rows, key)
    elif not run.exists(key):
        run.append(arrow_schema(_columns(table)).empty_table(), key)
    elif key == run.key:
        run.keep()


def _reading(
    run: TableRun,
    work: ConnectedShop,
    settings: ShopifySettings,
    noted: Mapping[str, str],
    came: Sequence[Webhook],
) -> ShopReading:
    home = run.lakehouse.home
    now = home.now()
    return ShopReading(
        shop=work,
        known=Known(
            bookmark=_moment(noted.get("bookmark")),
            swept_at=_moment(noted.get("swept_at")),
            waiting=_waiting(run, work.shop, now),
            orders=lambda: _known_orders(run, work.shop),
        ),
        now=now,
        bulk=BulkReader(work.api, loopback_only=home.profile == "sandbox"),
        sees_all=settings.shopify_all_orders,
        came=came,
    )


def _waiting(run: TableRun, shop: str, now: datetime) -> list[str]:
    """Orders of the time that Shopify attributes whose latest journey was not ready."""
    if not run.exists(f"raw/{ORDERS}"):
        return []
    since = orders.written(now - JOURNEY_WINDOW)
    found = run.sql(
        """
        WITH latest AS (
          SELECT order_id, arg_max(is_ready, _row_id) AS is_ready FROM raw.shopify_journeys
          WHERE shop = ? GROUP BY order_id
        )
        SELECT DISTINCT order_id FROM latest JOIN raw.shopify_orders USING (order_id)
        WHERE is_ready = 'false' AND shop = ? AND created_at >= ? ORDER BY order_id
        """,
        [shop, shop, since],
    )
    return [f"gid://shopify/Order/{one}" for one in found.column("order_id").to_pylist()]


def _known_orders(run: TableRun, shop: str) -> dict[str, datetime]:
    """Orders that are there and were not found deleted, with the times of their creation."""
    found = run.sql(
        """
        SELECT order_id, min(created_at) AS created_at FROM raw.shopify_orders
        WHERE shop = ? AND order_id NOT IN (
          SELECT order_id FROM raw.shopify_deleted_orders WHERE shop = ?)
        GROUP BY order_id
        """,
        [shop, shop],
    ).to_pylist()
    return {
        f"gid://shopify/Order/{row['order_id']}": orders.read_time(row["created_at"])
        for row in found
    }


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _came(home: Home, shop: str) -> list[Webhook]:
    """What webhooks told of the shop's orders and nobody has acted on."""
    topics = (*webhooks.ORDERS, *webhooks.DELETED)
    with database.opened(where.store_url(home)) as store, store.connect() as rows:
        return list(inbox.waiting(rows, SERVICE, shop, topics))


def _take(home: Home, came: Sequence[Webhook]) -> None:
    """Note that these were acted on, and drop those that nobody sends again."""
    if not came:
        return
    now = datetime.now(UTC)
    with database.opened(where.store_url(home)) as store, store.begin() as rows:
        inbox.take(rows, came, now)
        inbox.drop_older(rows, now - _SENT_AGAIN)
