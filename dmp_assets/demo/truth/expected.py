"""Which findings of the checks are the dirt that the simulator put in on purpose.

For the demo's own command, which may read the ledger; no product code does.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import pyarrow.parquet as pq

from dmp_assets.demo.business.ads_world import ADVERTISERS, TRACKED


class Finding(Protocol):
    """What a check found."""

    @property
    def asset(self) -> str: ...
    @property
    def check(self) -> str: ...
    @property
    def passed(self) -> bool: ...
    @property
    def error(self) -> bool: ...
    @property
    def offending(self) -> int | None: ...


F = TypeVar("F", bound=Finding)

_OF_LOST_USERS = ("conversions", "of a user whose row cannot be used")
_WITHOUT_COST = ("orders", "of goods whose cost the shop does not say")
_UNTRACKED = ("accounts", "of an advertiser whose site nobody tracks")
_PUT = {
    ("raw/users", "required_columns_filled"): (("users", "user_id_missing"),),
    ("raw/promo_codes", "required_columns_filled"): (("promo_codes", "promo_code_missing"),),
    ("raw/promo_usages", "required_columns_filled"): (("promo_usages", "user_id_missing"),),
    ("raw/web_sessions", "required_columns_filled"): (("session_sources", "session_id_missing"),),
    ("raw/web_conversions", "required_columns_filled"): (("conversions", "conv_id_missing"),),
    ("raw/web_session_costs", "required_columns_filled"): (
        ("session_costs", "session_id_missing"),
    ),
    ("cleaned/web_sessions", "visitors_known"): (("session_sources", "user_id_missing"),),
    ("modeled/customer_journeys", "no_session_just_after_conversion"): (
        ("session_sources", "clock_skew"),
    ),
    ("modeled/attribution", "users_known"): (("conversions", "user_unknown"), _OF_LOST_USERS),
    ("modeled/order_ledger", "unit_costs_known"): (_WITHOUT_COST,),
    ("modeled/conversion_bridge", "little_is_unexplained"): (_UNTRACKED,),
}
"""(asset, check) → the ledger's (table, rule) that it finds."""
_ORDERS_WITHOUT_COST = """
SELECT count(DISTINCT order_id) FROM order_line JOIN orders USING (order_id)
JOIN variant USING (variant_id) WHERE unit_cost IS NULL AND test = 0
"""
_LOSE_THEIR_USER = ("user_id_missing", "created_at_unreadable")


@dataclass(frozen=True)
class Expected:
    """How much of each kind of dirt a simulated shop holds: (table, rule) → rows."""

    put: Counter[tuple[str, str]]

    @classmethod
    def of(cls, folder: Path) -> "Expected":
        """Of the shop in the folder, with its visits on the web and its ads where they were
        simulated."""
        put: Counter[tuple[str, str]] = Counter()
        lost: list[str] = []
        for ledger in (folder / "truth/ledger.parquet", folder / "web/truth/web_ledger.parquet"):
            if ledger.exists():
                for entry in pq.read_table(ledger, columns=["table", "rule", "key"]).to_pylist():
                    put[entry["table"], entry["rule"]] += 1
                    if entry["table"] == "users" and entry["rule"] in _LOSE_THEIR_USER:
                        lost.append(entry["key"])
        web = folder / "web/web.sqlite"
        if web.exists():
            with closing(sqlite3.connect(web)) as database:
                users = Counter(
                    row[0] for row in database.execute("SELECT user_id FROM conversions")
                )
            put[_OF_LOST_USERS] = sum(users[user] for user in lost)
        shops = folder / "ads/shopify.sqlite"
        if shops.exists():
            with closing(sqlite3.connect(shops)) as database:
                put[_WITHOUT_COST] = database.execute(_ORDERS_WITHOUT_COST).fetchone()[0]
            put[_UNTRACKED] = sum(one.advertiser_id != TRACKED for one in ADVERTISERS)
        return cls(put)

    def among(self, findings: Iterable[F]) -> list[F]:
        """Those of the failed warnings that found no more than was put in."""
        return [
            found for found in findings
            if not found.passed and not found.error and found.offending is not None
            and 0 < found.offending <= sum(
                self.put[kind] for kind in _PUT.get((found.asset, found.check), ())
            )
        ]  # fmt: skip
