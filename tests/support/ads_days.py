"""The tables that budgets are learnt from, of made-up advertisers, written by delta-rs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from dmp_assets.ads.tables.ad_performance_daily import COLUMNS as PERFORMANCE
from dmp_assets.ads.tables.ads import ACCOUNT_COLUMNS
from dmp_assets.ads.tables.order_ledger import COLUMNS as LEDGER
from dmp_assets.home import Home
from dmp_assets.platform.lake.columns import Columns, arrow_schema
from dmp_assets.raw.meta_readings import READING_COLUMNS
from tests.support.lakehouse import write

FIRST = date(2026, 1, 1)


@dataclass
class Days:
    """An advertiser's days from `first` on: what was earned, and spent by campaign.

    `unread`: days that Meta was not asked for; `unrated`: days whose spend has no rate; `read_at`:
    when all were read, by default two days after the last.
    """

    advertiser_id: str
    earned: Sequence[float]
    spent: Mapping[str, Sequence[float]]
    first: date = FIRST
    unread: frozenset[date] = frozenset()
    unrated: frozenset[date] = frozenset()
    zone: str = "Europe/Berlin"
    read_at: datetime | None = None

    @property
    def dates(self) -> list[date]:
        return [self.first + timedelta(days=n) for n in range(len(self.earned))]


@dataclass
class DaysHome:
    """A home that holds such tables."""

    home: Home
    days: list[Days] = field(default_factory=list)

    def write(self, *days: Days) -> None:
        """Put these days in the place of all that was there."""
        self.days = list(days)
        rows: dict[str, list[dict[str, Any]]] = {"a": [], "p": [], "l": [], "r": []}
        for one in days:
            _add(one, rows)
        for name, key, columns in (
            ("a", "modeled/ad_accounts", ACCOUNT_COLUMNS),
            ("p", "modeled/ad_performance_daily", PERFORMANCE),
            ("l", "modeled/order_ledger", LEDGER),
            ("r", "raw/meta_insight_readings", READING_COLUMNS),
        ):
            write(self.home, key, _table(rows[name], columns), stamp=str(hash(str(rows[name]))))


def _table(rows: Sequence[Mapping[str, Any]], columns: Columns) -> pa.Table:
    whole = [{name: row.get(name) for name in columns} for row in rows]
    return pa.Table.from_pylist(whole, schema=arrow_schema(columns))


def _money(value: float) -> Decimal:
    return Decimal(f"{value:.4f}")


def _add(days: Days, rows: Mapping[str, list[dict[str, Any]]]) -> None:
    own = {"advertiser_id": days.advertiser_id, "account_id": f"{days.advertiser_id}-1"}
    rows["a"].append({**own, "currency": "EUR", "timezone": days.zone, "is_listed": True})
    last = days.dates[-1]
    read_at = days.read_at or datetime.combine(last + timedelta(days=2), time(), UTC)
    for at, day in enumerate(days.dates):
        if day not in days.unread:
            rows["r"].append(
                {**own, "breakdown": "", "date": day, "timezone_name": days.zone,
                 "read_at": read_at}
            )  # fmt: skip
            rows["p"] += [
                {**own, "ad_id": f"{name}-ad", "date": day, "campaign_id": name,
                 "campaign_name": f"campaign {name}", "spend": _money(of[at]),
                 "spend_in_sums": None if day in days.unrated else _money(of[at]),
                 "is_open": day > last - timedelta(days=28)}
                for name, of in days.spent.items()
            ]  # fmt: skip
        rows["l"].append(
            {"advertiser_id": days.advertiser_id, "shop": "shop", "order_id": f"o{at}",
             "entry": "sale", "date": day, "revenue_in_sums": _money(2 * days.earned[at]),
             "contribution_in_sums": _money(days.earned[at])}
        )  # fmt: skip


def varied(size: int, seed: int = 4) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    """What was earned on days on which two campaigns varied, one of them worth its spend."""
    drawn = np.random.default_rng(seed)
    spend = {
        name: 100 * np.repeat(drawn.uniform(0.4, 1.6, size // 10 + 1), 10)[:size]
        for name in ("c1", "c2")
    }
    earned = 500 + 2.5 * spend["c1"] + 0.1 * spend["c2"] + drawn.normal(0, 20, size)
    return earned, spend
