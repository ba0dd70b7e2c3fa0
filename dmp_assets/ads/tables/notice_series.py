"""The series that notices are looked for in: accounts, campaigns and shops by day, as they stand.

A day of an account is judged once it was read after its end, in the account's own time zone; a day
of a shop once the shop was read beyond it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from dmp_assets.ads.model.notices.series import Daily
from dmp_assets.cleaned.meta.meta_insights import PURCHASES_SQL, TOLD_SQL
from dmp_assets.platform.lake.table_asset import TableRun
from dmp_assets.sources.meta.days import OPEN_DAYS, ZoneError, zone_of

LOOKED_AT = 120
"""Days of which series are made: the usual's history, the open days, and a run of findings."""

_DELIVERY = """
SELECT advertiser_id, account_id, campaign_id, any_value(campaign_name) AS campaign_name, date,
       sum(spend)::DOUBLE AS spend, sum(clicks)::DOUBLE AS clicks,
       CASE WHEN bool_or(purchases IS NULL) THEN 'nan'::DOUBLE ELSE sum(purchases)::DOUBLE END
         AS purchases,
       CASE WHEN bool_or(purchase_value IS NULL) THEN 'nan'::DOUBLE
            ELSE sum(purchase_value)::DOUBLE END AS value,
       bool_or(is_open) AS is_open
FROM modeled.ad_performance_daily WHERE date >= ? GROUP BY ALL ORDER BY ALL
"""
_READINGS = """
SELECT advertiser_id, account_id, date, read_at FROM raw.meta_insight_readings
WHERE coalesce(breakdown, '') = '' AND date >= ? ORDER BY ALL
"""
_CHANGES = f"""
WITH told AS (
  SELECT advertiser_id, account_id, ad_id, date, read_at, {PURCHASES_SQL} AS purchases
  FROM (SELECT *, {TOLD_SQL} FROM raw.meta_insights)
  WHERE coalesce(breakdown, '') = '' AND date >= ?
)
SELECT advertiser_id, account_id, date, read_at, sum(purchases - before)::DOUBLE AS change
FROM (
  SELECT *, coalesce(lag(purchases) OVER (
    PARTITION BY advertiser_id, account_id, ad_id, date ORDER BY read_at
  ), 0) AS before FROM told
) GROUP BY ALL ORDER BY ALL
"""
_SPENT = """
SELECT date, read_at, sum(spend - before)::DOUBLE AS change FROM (
  SELECT date, read_at, spend, coalesce(lag(spend) OVER (
    PARTITION BY ad_id, date ORDER BY read_at
  ), 0) AS before
  FROM (
    SELECT ad_id, date, read_at, coalesce(TRY_CAST(spend AS DOUBLE), 0) AS spend
    FROM raw.meta_insights
    WHERE coalesce(breakdown, '') = '' AND advertiser_id = ? AND account_id = ?
      AND campaign_id = ? AND date BETWEEN ? AND ?
  )
) GROUP BY ALL ORDER BY ALL
"""
_WHOLE = """
SELECT advertiser_id, date, spend::DOUBLE AS spend, revenue::DOUBLE AS revenue,
       orders::DOUBLE AS orders
FROM modeled.ad_roi_daily WHERE campaign_id = '' AND date >= ? ORDER BY ALL
"""
_SHOPS = """
SELECT advertiser_id, shop, max(date) AS newest FROM modeled.order_ledger
WHERE entry = 'sale' GROUP BY ALL ORDER BY ALL
"""

Row = dict[str, Any]


def local(name: str | None) -> ZoneInfo:
    """A time zone by its name; UTC where it is not known."""
    try:
        return zone_of(name or "UTC")
    except ZoneError:
        return ZoneInfo("UTC")


@dataclass
class AccountDays:
    """An account: its rows by day and campaign, when each day was read, how its days changed.

    `readings`: day → local days on which it was read, the first one first. `changes`: day → local
    day → by how many purchases it changed then.
    """

    advertiser_id: str
    account_id: str
    name: str
    currency: str
    zone: ZoneInfo
    is_listed: bool
    rows: list[Row] = field(default_factory=list)
    readings: dict[date, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    changes: dict[date, dict[date, float]] = field(default_factory=lambda: defaultdict(dict))

    @property
    def subject(self) -> str:
        return f"account:{self.account_id}"

    def today(self, now: datetime) -> date:
        return now.astimezone(self.zone).date()

    def is_full(self, day: date) -> bool:
        """The day was read after its end; of accounts that are never read but loaded, any day up
        to the last."""
        if not self.readings:
            return bool(self.rows) and self.rows[0]["date"] <= day <= self.newest_row
        read = self.readings.get(day)
        return read is not None and read[-1].astimezone(self.zone).date() > day

    @property
    def newest_row(self) -> date:
        return max(row["date"] for row in self.rows)

    def series(
        self, now: datetime, value: Callable[[Row], float], rows: Iterable[Row] | None = None
    ) -> Daily | None:
        """A series of the account, or of some of its rows, up to yesterday; None without rows."""
        given = list(self.rows if rows is None else rows)
        last = self.today(now) - timedelta(days=1)
        days = [row["date"] for row in self.rows if row["date"] <= last]
        if not days:
            return None
        return _daily(given, min(days), last, value, self.is_full)

    def shown(self, now: datetime) -> tuple[list[list[float]], list[float]]:
        """(what closed days showed at each age, what they show now), of those that were read on
        the morning after."""
        seen, final = [], []
        for day, read in sorted(self.readings.items()):
            on = [one.astimezone(self.zone).date() for one in read]
            if day + timedelta(days=1) not in on or on[-1] < day + timedelta(days=OPEN_DAYS):
                continue
            changed = self.changes.get(day, {})
            ages = [day + timedelta(days=age + 1) for age in range(OPEN_DAYS)]
            seen.append([sum(v for at, v in changed.items() if at <= age) for age in ages])
            final.append(sum(changed.values()))
        return seen, final

    def restated(self, on: date) -> list[tuple[date, float, float, tuple[int, int]]]:
        """(day, before, after, its ages then) of each full day that changed on a local day."""
        found = []
        for day, changed in sorted(self.changes.items()):
            read = {one.astimezone(self.zone).date() for one in self.readings.get(day, ())}
            before = max((one for one in read if day < one < on), default=None)
            if on not in changed or before is None or not changed[on]:
                continue
            then = sum(value for at, value in changed.items() if at <= before)
            ages = ((before - day).days - 1, (on - day).days - 1)
            found.append((day, then, then + changed[on], ages))
        return found


def _daily(
    rows: Sequence[Row],
    first: date,
    last: date,
    value: Callable[[Row], float | None],
    is_read: Callable[[date], bool],
) -> Daily:
    size = (last - first).days + 1
    values, is_open = np.zeros(size), np.zeros(size, dtype=np.bool_)
    for row in rows:
        place = (row["date"] - first).days
        if 0 <= place < size:
            values[place] += value(row) or 0.0
            is_open[place] |= bool(row.get("is_open"))
    read = np.array([is_read(first + timedelta(days=n)) for n in range(size)], dtype=np.bool_)
    is_unknown = np.isnan(values)  # files of ads that have no column of what Meta claims
    return Daily(first, np.where(is_unknown, 0.0, values), read & ~is_unknown, is_open)


def accounts_of(run: TableRun, now: datetime) -> list[AccountDays]:
    """Every account with what its days say."""
    since = [now.date() - timedelta(days=LOOKED_AT)]
    found = {
        (row["advertiser_id"], row["account_id"]): AccountDays(
            row["advertiser_id"], row["account_id"], row["name"] or row["account_id"],
            row["currency"] or "", local(row["timezone"]), bool(row["is_listed"]),
        )
        for row in run.sql("SELECT * FROM modeled.ad_accounts ORDER BY ALL").to_pylist()
    }  # fmt: skip
    for row in run.sql(_DELIVERY, since).to_pylist():
        if account := found.get((row["advertiser_id"], row["account_id"])):
            account.rows.append(row)
    for row in run.sql(_READINGS, since).to_pylist():
        if account := found.get((row["advertiser_id"], row["account_id"])):
            account.readings[row["date"]].append(row["read_at"].astimezone(UTC))
    for row in run.sql(_CHANGES, since).to_pylist():
        if account := found.get((row["advertiser_id"], row["account_id"])):
            on = row["read_at"].astimezone(account.zone).date()
            changed = account.changes[row["date"]]
            changed[on] = changed.get(on, 0.0) + row["change"]
    for account in found.values():
        account.rows.sort(key=lambda row: row["date"])
    return list(found.values())


def shares_used_up(
    run: TableRun, account: AccountDays, campaign_id: str, spent: float, before: date
) -> list[float]:
    """At which share of each past day a campaign was seen to have spent so much, 1 where it was
    not; of the days before `before` that were read while they lasted."""
    first = before - timedelta(days=OPEN_DAYS)
    given = [account.advertiser_id, account.account_id, campaign_id, first,
             before - timedelta(days=1)]  # fmt: skip
    sums: dict[date, float] = defaultdict(float)
    seen: dict[date, float] = {}
    for day, read in account.readings.items():
        if first <= day < before and read[0].astimezone(account.zone).date() == day:
            seen[day] = 1.0
    for row in run.sql(_SPENT, given).to_pylist():
        day, at = row["date"], row["read_at"].astimezone(account.zone)
        sums[day] += row["change"]
        if day in seen and at.date() == day and sums[day] >= spent:
            seen[day] = min(seen[day], share_of_day(at))
    return [seen[day] for day in sorted(seen)]


def share_of_day(at: datetime) -> float:
    """How much of its local day has passed at a moment."""
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return min(max((at - midnight) / timedelta(days=1), 0.0), 1.0)


@dataclass(frozen=True)
class ShopDays:
    """The shops of an advertiser together: spend, revenue and orders, full up to `through`.

    `late`: shop → (last full day, zone), of those that are read by us.
    """

    advertiser_id: str
    rows: Sequence[Row]
    through: date
    late: Mapping[str, tuple[date, ZoneInfo]]

    def series(self, first: date, last: date, value: Callable[[Row], float | None]) -> Daily:
        """A series of days none of which changes any more: refunds have days of their own. A day
        whose value is not known, as an amount has no rate, is as one that was not read."""
        unknown = {row["date"] for row in self.rows if value(row) is None}
        return _daily(
            self.rows, first, last, value,
            lambda day: day <= self.through and day not in unknown,
        )  # fmt: skip


def shops_of(run: TableRun, now: datetime, bookmarks: Mapping[str, Any]) -> list[ShopDays]:
    """Every advertiser that has orders. `bookmarks`: shop → until when it was read (ISO 8601)."""
    since = [now.date() - timedelta(days=LOOKED_AT)]
    zones = {
        row["shop"]: local(row["timezone"])
        for row in run.sql(
            "SELECT shop, any_value(timezone) AS timezone FROM cleaned.shopify_orders GROUP BY shop"
        ).to_pylist()
    }
    through: dict[str, list[date]] = defaultdict(list)
    late: dict[str, dict[str, tuple[date, ZoneInfo]]] = defaultdict(dict)
    for row in run.sql(_SHOPS).to_pylist():
        advertiser, shop = row["advertiser_id"], row["shop"]
        noted = (bookmarks.get(shop) or {}).get("bookmark")
        full = row["newest"]
        if noted:
            zone = zones.get(shop, ZoneInfo("UTC"))
            full = datetime.fromisoformat(noted).astimezone(zone).date() - timedelta(days=1)
            late[advertiser][shop] = full, zone
        through[advertiser].append(full)
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in run.sql(_WHOLE, since).to_pylist():
        rows[row["advertiser_id"]].append(row)
    return [
        ShopDays(advertiser, rows[advertiser], min(days), late[advertiser])
        for advertiser, days in sorted(through.items())
    ]
