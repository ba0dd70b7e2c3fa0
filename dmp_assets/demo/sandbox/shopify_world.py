"""What the sandbox's Shopify serves: shops, products, orders, in one SQLite file.

The simulated business fills it, and tests do; the stand-in (`shopify`) reads it. Money is decimal
text in the shop's currency, times are text like `2026-11-28T09:55:00Z` (UTC), ids are whole numbers
that are unique in their table. A world that ends in the past says in `clock` what time it is there.
What is changed by `change` gets a later `updated_at`, as Shopify
does it; what is deleted is gone.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS clock(now TEXT NOT NULL);  -- no row: the world ends today
CREATE TABLE IF NOT EXISTS shop(
  shop TEXT PRIMARY KEY,             -- some-shop.myshopify.com
  shop_id INTEGER NOT NULL, name TEXT NOT NULL, currency TEXT NOT NULL, timezone TEXT NOT NULL,
  plan TEXT NOT NULL DEFAULT 'Basic',  -- Advanced, Plus, Enterprise: its bucket is larger
  advertiser_id TEXT);               -- whose it is: no knowledge of Shopify's, a setting of ours
CREATE TABLE IF NOT EXISTS product(
  product_id INTEGER PRIMARY KEY, shop TEXT NOT NULL, title TEXT NOT NULL, product_type TEXT,
  vendor TEXT, status TEXT NOT NULL DEFAULT 'ACTIVE', created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS variant(
  variant_id INTEGER PRIMARY KEY, shop TEXT NOT NULL, product_id INTEGER NOT NULL, sku TEXT,
  title TEXT NOT NULL, price TEXT NOT NULL, inventory_item_id INTEGER NOT NULL,
  unit_cost TEXT,                    -- null: the shop does not say
  created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS orders(
  order_id INTEGER PRIMARY KEY, shop TEXT NOT NULL, name TEXT NOT NULL, created_at TEXT NOT NULL,
  processed_at TEXT NOT NULL, updated_at TEXT NOT NULL, cancelled_at TEXT, cancel_reason TEXT,
  closed_at TEXT, test INTEGER NOT NULL DEFAULT 0, confirmed INTEGER NOT NULL DEFAULT 1,
  financial_status TEXT NOT NULL DEFAULT 'PAID', source_name TEXT NOT NULL DEFAULT 'web',
  presentment_currency TEXT,         -- null: the shop's
  presentment_rate TEXT NOT NULL DEFAULT '1',  -- presentment money of one unit of the shop's
  taxes_included INTEGER NOT NULL DEFAULT 1, discount_codes TEXT NOT NULL DEFAULT '[]',  -- JSON
  tags TEXT NOT NULL DEFAULT '[]',   -- JSON
  customer_id INTEGER, customer_orders INTEGER,  -- orders of the customer so far
  total TEXT NOT NULL, subtotal TEXT NOT NULL, discounts TEXT NOT NULL DEFAULT '0.0',
  shipping TEXT NOT NULL DEFAULT '0.0', tax TEXT NOT NULL DEFAULT '0.0',
  current_total TEXT, current_subtotal TEXT);  -- null: as placed
CREATE INDEX IF NOT EXISTS orders_updated ON orders(shop, updated_at, order_id);
CREATE INDEX IF NOT EXISTS orders_created ON orders(shop, created_at, order_id);
CREATE INDEX IF NOT EXISTS orders_processed ON orders(shop, processed_at, order_id);
CREATE TABLE IF NOT EXISTS order_line(
  line_id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL, variant_id INTEGER, sku TEXT,
  quantity INTEGER NOT NULL, current_quantity INTEGER,  -- null: as placed
  unit_price TEXT NOT NULL, discounted_total TEXT NOT NULL, gift_card INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS order_line_order ON order_line(order_id);
CREATE TABLE IF NOT EXISTS order_transaction(
  transaction_id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL, kind TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'SUCCESS', gateway TEXT NOT NULL DEFAULT 'shopify_payments',
  processed_at TEXT NOT NULL, amount TEXT NOT NULL, fee TEXT);  -- fee null: another gateway's
CREATE INDEX IF NOT EXISTS order_transaction_order ON order_transaction(order_id);
CREATE TABLE IF NOT EXISTS refund(
  refund_id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL, created_at TEXT NOT NULL,
  total TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS refund_order ON refund(order_id);
CREATE TABLE IF NOT EXISTS refund_line(
  refund_line_id INTEGER PRIMARY KEY, refund_id INTEGER NOT NULL, line_id INTEGER NOT NULL,
  quantity INTEGER NOT NULL, subtotal TEXT NOT NULL, tax TEXT NOT NULL DEFAULT '0.0',
  restock_type TEXT NOT NULL DEFAULT 'RETURN');
CREATE INDEX IF NOT EXISTS refund_line_refund ON refund_line(refund_id);
CREATE TABLE IF NOT EXISTS refund_adjustment(
  adjustment_id INTEGER PRIMARY KEY, refund_id INTEGER NOT NULL, reason TEXT NOT NULL,
  amount TEXT NOT NULL, tax TEXT NOT NULL DEFAULT '0.0');
CREATE INDEX IF NOT EXISTS refund_adjustment_refund ON refund_adjustment(refund_id);
CREATE TABLE IF NOT EXISTS journey(  -- none: of an order that Shopify does not attribute
  order_id INTEGER PRIMARY KEY, ready_at TEXT NOT NULL, order_index INTEGER NOT NULL,
  days_to_conversion INTEGER);
CREATE TABLE IF NOT EXISTS visit(
  order_id INTEGER NOT NULL, place TEXT NOT NULL CHECK (place IN ('first', 'last')),
  occurred_at TEXT NOT NULL, source TEXT NOT NULL, source_type TEXT, landing_page TEXT,
  referrer_url TEXT, utm_source TEXT, utm_medium TEXT, utm_campaign TEXT, utm_content TEXT,
  utm_term TEXT, PRIMARY KEY (order_id, place));
"""
OF_AN_ORDER = ("order_line", "order_transaction", "journey", "visit")
OF_A_REFUND = ("refund_line", "refund_adjustment")
_CHUNK = 500

Row = dict[str, Any]


def text_of(moment: datetime) -> str:
    """A time as the file and Shopify's answers write it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class World:
    """The file; made with its tables where it is not there. For several threads."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        with self.opened() as db:
            db.executescript(SCHEMA)

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """One transaction; it need not survive a power failure."""
        with self._lock, closing(sqlite3.connect(self.file, timeout=30)) as db:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA synchronous = OFF")
            with db:
                yield db

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """What a query finds."""
        with self.opened() as db:
            return [dict(row) for row in db.execute(query, parameters)]

    def of(self, table: str, column: str, ids: Sequence[int]) -> dict[int, list[Row]]:
        """Rows of a table by the value of one column, for these values of it."""
        found: dict[int, list[Row]] = {}
        for start in range(0, len(ids), _CHUNK):
            part = ids[start : start + _CHUNK]
            places = ", ".join("?" * len(part))
            query = f"SELECT * FROM {table} WHERE {column} IN ({places}) ORDER BY rowid"
            for row in self.rows(query, part):
                found.setdefault(row[column], []).append(row)
        return found

    def now(self) -> datetime | None:
        """What time it is in a world that ends in the past; None: the machine's."""
        found = self.rows("SELECT now FROM clock")
        return datetime.fromisoformat(found[0]["now"]) if found else None

    def fill(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows, in the place of those with the same key; all with the same columns."""
        with self.opened() as db:
            names: list[str] = []
            for row in rows:
                names = names or list(row)
                db.execute(
                    f"INSERT OR REPLACE INTO {table}({', '.join(names)}) "
                    f"VALUES ({', '.join('?' * len(names))})",
                    [row[name] for name in names],
                )

    def take(self, file: Path) -> None:
        """Become a copy of another world, whoever has this one open."""
        with self.opened() as db, closing(sqlite3.connect(file)) as other:
            other.backup(db)

    def change(self, order_id: int, at: datetime, **changes: Any) -> None:
        """Set columns of an order, which was updated at that moment."""
        wanted = {**changes, "updated_at": text_of(at)}
        with self.opened() as db:
            db.execute(
                f"UPDATE orders SET {', '.join(f'{name} = ?' for name in wanted)} "
                "WHERE order_id = ?",
                [*wanted.values(), order_id],
            )

    def delete(self, order_id: int) -> None:
        """Delete an order with all that hangs on it."""
        with self.opened() as db:
            for table in OF_A_REFUND:
                db.execute(
                    f"DELETE FROM {table} WHERE refund_id IN "
                    "(SELECT refund_id FROM refund WHERE order_id = ?)",
                    [order_id],
                )
            for table in (*OF_AN_ORDER, "refund", "orders"):
                db.execute(f"DELETE FROM {table} WHERE order_id = ?", [order_id])
