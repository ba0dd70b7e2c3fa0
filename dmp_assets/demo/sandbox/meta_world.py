"""What the sandbox's Meta knows: accounts, what is in them, what they delivered, and its clock.

One SQLite file. Who simulates a business fills it (`World.add`), the stand-in serves it. Numbers
are as they will be in the end; what is known of them at a moment follows from the clock: nothing of
days to come, of an account's today what its hours so far delivered, and of each purchase nothing
before `lag_days` have passed. So what is asked for again is restated, and after 28 days it stands.
"""

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

LONGEST_LAG = 28
"""Days after which a number does not change any more."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS clock(one INT PRIMARY KEY CHECK (one = 1), world_at REAL NOT NULL,
  real_at REAL NOT NULL, runs INT NOT NULL);
-- Who owns accounts and studies.
CREATE TABLE IF NOT EXISTS business(business_id TEXT PRIMARY KEY, name TEXT NOT NULL);
-- Digits only, without `act_`. spend_cap in the currency's minor unit, 0: none. Times are unix.
CREATE TABLE IF NOT EXISTS account(account_id TEXT PRIMARY KEY, business_id TEXT NOT NULL,
  name TEXT NOT NULL, currency TEXT NOT NULL, timezone_name TEXT NOT NULL,
  account_status INT NOT NULL DEFAULT 1, disable_reason INT NOT NULL DEFAULT 0,
  spend_cap INT NOT NULL DEFAULT 0, created_time INT NOT NULL);
-- Budgets in the currency's minor unit; null: none of that kind. status: ACTIVE, PAUSED, …
CREATE TABLE IF NOT EXISTS campaign(campaign_id TEXT PRIMARY KEY, account_id TEXT NOT NULL,
  name TEXT NOT NULL, objective TEXT NOT NULL, buying_type TEXT NOT NULL DEFAULT 'AUCTION',
  bid_strategy TEXT, status TEXT NOT NULL DEFAULT 'ACTIVE', daily_budget INT, lifetime_budget INT,
  spend_cap INT, start_time INT NOT NULL, stop_time INT, created_time INT NOT NULL,
  updated_time INT NOT NULL);
-- click_days, view_days: its attribution setting, 0: not counted.
CREATE TABLE IF NOT EXISTS adset(adset_id TEXT PRIMARY KEY, campaign_id TEXT NOT NULL,
  account_id TEXT NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'ACTIVE',
  optimization_goal TEXT NOT NULL, billing_event TEXT NOT NULL DEFAULT 'IMPRESSIONS',
  click_days INT NOT NULL DEFAULT 7, view_days INT NOT NULL DEFAULT 1, bid_amount INT,
  daily_budget INT, lifetime_budget INT, start_time INT NOT NULL, end_time INT,
  created_time INT NOT NULL, updated_time INT NOT NULL);
CREATE TABLE IF NOT EXISTS creative(creative_id TEXT PRIMARY KEY, account_id TEXT NOT NULL,
  name TEXT NOT NULL, title TEXT, body TEXT, url_tags TEXT, thumbnail_url TEXT);
-- review: approved, pending or disapproved.
CREATE TABLE IF NOT EXISTS ad(ad_id TEXT PRIMARY KEY, adset_id TEXT NOT NULL,
  campaign_id TEXT NOT NULL, account_id TEXT NOT NULL, creative_id TEXT, name TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'ACTIVE', review TEXT NOT NULL DEFAULT 'approved',
  created_time INT NOT NULL, updated_time INT NOT NULL);
CREATE INDEX IF NOT EXISTS ad_of_account ON ad(account_id);
-- day: of the account's time zone, YYYY-MM-DD. spend_cents: hundredths of the currency's main
-- unit, whatever the currency; may be negative (a correction).
CREATE TABLE IF NOT EXISTS delivery(ad_id TEXT NOT NULL, day TEXT NOT NULL,
  impressions INT NOT NULL, reach INT NOT NULL, clicks INT NOT NULL, link_clicks INT NOT NULL,
  spend_cents INT NOT NULL, PRIMARY KEY (ad_id, day)) WITHOUT ROWID;
-- Purchases of a day that the ad is credited with. touch: click, view or engaged_view; after_days:
-- full days between the touch and the purchase; lag_days: full days after the purchase's day until
-- it is reported (0 to 28).
CREATE TABLE IF NOT EXISTS purchase(ad_id TEXT NOT NULL, day TEXT NOT NULL, touch TEXT NOT NULL,
  after_days INT NOT NULL, lag_days INT NOT NULL, purchases INT NOT NULL, value_cents INT NOT NULL,
  PRIMARY KEY (ad_id, day, touch, after_days, lag_days)) WITHOUT ROWID;
-- How an ad's delivery and purchases are split. kind: person (age, gender), placement
-- (publisher_platform, platform_position, impression_device) or place (country, region); cell: JSON
-- object with these; share: 0 to 1. An ad without cells is shown to nobody that is known.
CREATE TABLE IF NOT EXISTS audience(ad_id TEXT NOT NULL, kind TEXT NOT NULL, cell TEXT NOT NULL,
  share REAL NOT NULL, PRIMARY KEY (ad_id, kind, cell)) WITHOUT ROWID;
-- Split tests; whether one runs follows from its times. entity: an ad set, campaign or account.
CREATE TABLE IF NOT EXISTS study(study_id TEXT PRIMARY KEY, business_id TEXT NOT NULL,
  name TEXT NOT NULL, description TEXT, type TEXT NOT NULL, start_time INT NOT NULL,
  end_time INT NOT NULL, cooldown_start_time INT, observation_end_time INT, canceled_time INT,
  created_time INT NOT NULL);
CREATE TABLE IF NOT EXISTS cell(cell_id TEXT PRIMARY KEY, study_id TEXT NOT NULL,
  name TEXT NOT NULL, treatment_percentage INT NOT NULL);
-- A report of insights that was asked for; ends: well, stuck, fails or skipped.
CREATE TABLE IF NOT EXISTS report(report_id TEXT PRIMARY KEY, account_id TEXT NOT NULL,
  asked TEXT NOT NULL, submitted_at REAL NOT NULL, seconds REAL NOT NULL, ends TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cell_entity(cell_id TEXT NOT NULL, kind TEXT NOT NULL,
  entity_id TEXT NOT NULL, PRIMARY KEY (cell_id, kind, entity_id)) WITHOUT ROWID;
"""
KEYS = {"account": "account_id", "campaign": "campaign_id", "adset": "adset_id", "ad": "ad_id",
        "creative": "creative_id", "study": "study_id", "cell": "cell_id"}  # fmt: skip
"""What can be asked for by its id: table → its key."""

Row = dict[str, Any]


class World:
    """The file, and what of it is known now. For several threads at once."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(file, timeout=30, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("PRAGMA journal_mode = WAL")
        with self.begin() as db:
            db.executescript(SCHEMA)

    @contextmanager
    def begin(self) -> Iterator[sqlite3.Connection]:
        """One transaction at a time; it need not survive a power failure."""
        with self._lock, self._db:
            yield self._db

    def close(self) -> None:
        self._db.close()

    # filling -------------------------------------------------------------------------------------
    def add(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows to a table of the schema, in place of those of the same key.

        All have the columns of the first; what a column's default is need not be said.
        """
        given = list(rows)
        if not given:
            return
        names = list(given[0])
        marks = ", ".join("?" for _ in names)
        with self.begin() as db:
            db.executemany(
                f"INSERT OR REPLACE INTO {table}({', '.join(names)}) VALUES ({marks})",
                [tuple(row[name] for name in names) for row in given],
            )

    def take(self, file: Path) -> None:
        """Become a copy of another world, whoever has this one open."""
        with self._lock, closing(sqlite3.connect(file)) as other:
            other.backup(self._db)

    # the clock -----------------------------------------------------------------------------------
    def now(self) -> float:
        """Unix time of the stand-in: the real one, unless it was set."""
        with self.begin() as db:
            row = db.execute("SELECT world_at, real_at, runs FROM clock").fetchone()
        if row is None:
            return time.time()
        return float(row["world_at"]) + (time.time() - row["real_at"] if row["runs"] else 0.0)

    def set_clock(self, at: float, *, runs: bool) -> None:
        """Let it be this moment (unix); from then on the clock stands still unless it `runs`."""
        with self.begin() as db:
            db.execute(
                "INSERT OR REPLACE INTO clock VALUES (1, ?, ?, ?)", (at, time.time(), int(runs))
            )

    def resume(self) -> None:
        """Let a clock that runs go on from the moment that it was set to."""
        with self.begin() as db:
            db.execute("UPDATE clock SET real_at = ? WHERE runs", (time.time(),))

    def local(self, timezone_name: str) -> datetime:
        """Now, in an account's time zone."""
        return datetime.fromtimestamp(self.now(), UTC).astimezone(ZoneInfo(timezone_name))

    def today(self, timezone_name: str) -> date:
        """The day that it is in an account's time zone."""
        return self.local(timezone_name).date()

    # looking -------------------------------------------------------------------------------------
    def rows(self, sql: str, *values: Any) -> list[Row]:
        """What a query gives."""
        with self.begin() as db:
            return [dict(row) for row in db.execute(sql, values)]

    def found(self, object_id: str) -> tuple[str, Row] | None:
        """(table, row) of what has this id; None for nothing. An account's has `act_` before it."""
        for table, key in KEYS.items():
            wanted = object_id.removeprefix("act_") if table == "account" else object_id
            if (table == "account") != object_id.startswith("act_"):
                continue
            rows = self.rows(f"SELECT * FROM {table} WHERE {key} = ?", wanted)
            if rows:
                return table, rows[0]
        return None
