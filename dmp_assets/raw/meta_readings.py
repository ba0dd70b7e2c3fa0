"""Readings of Meta's insights on their way into raw/meta_insights and raw/meta_insight_readings."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from dmp_assets.platform.cleaning.landed import LINEAGE_COLUMNS
from dmp_assets.platform.cleaning.received_columns import columns_of
from dmp_assets.platform.lake.columns import Column, Columns, arrow_schema
from dmp_assets.platform.lake.table_asset import TableRun
from dmp_assets.sources.meta import purchases
from dmp_assets.sources.meta.connection import SERVICE
from dmp_assets.sources.meta.insights import COUNTS, with_idle_days
from dmp_assets.sources.meta.resource import Connected
from dmp_assets.sources.meta.sync import Account, Reading, changes, text
from dmp_assets.sources.meta.tables import INSIGHTS

INSIGHTS_TABLE, READINGS_TABLE = "raw/meta_insights", "raw/meta_insight_readings"
FLUSH_SECONDS, FLUSH_ROWS = 10.0, 50_000
"""After so long, or so many rows, what was read is written."""
ADVERTISER = Column("string", "The advertiser, whose connection it was read by.")
ACCOUNT = Column("string", "The ad account, without `act_`.")
READ_AT = Column("timestamp", "When it was asked for (UTC).")
_BREAKDOWN = Column("string", "By what it is broken down, as Meta names it; empty: by nothing.")
OF_AD = ("advertiser_id", "account_id", "ad_id", "date", "breakdown", "cell")
OF_DAY = ("advertiser_id", "account_id", "breakdown", "date")
INSIGHT_COLUMNS = {
    "advertiser_id": ADVERTISER,
    "account_id": ACCOUNT,
    "ad_id": Column("string", "The ad."),
    "date": Column("date", "Its day, of the account's time zone."),
    "breakdown": _BREAKDOWN,
    "cell": Column("string", "The part of the breakdown (JSON); empty: the whole."),
    **columns_of(INSIGHTS),
    "purchase_type": Column("string", "The type of action that holds its purchases, if any."),
    "is_idle": Column("boolean", "Meta told nothing of this ad and day: all counts are 0."),
    "read_at": READ_AT,
    **LINEAGE_COLUMNS,
}
READING_COLUMNS = {
    "advertiser_id": ADVERTISER,
    "account_id": ACCOUNT,
    "breakdown": _BREAKDOWN,
    "date": Column("date", "The day that was read, of the account's time zone."),
    "timezone_name": Column("string", "The account's time zone when it was read."),
    "ads": Column("long", "Ads that delivered something."),
    "changed_rows": Column("long", "Rows that were not as they had been read before."),
    "purchase_type": Column("string", "The widest type of action that held purchases, if any."),
    "is_too_old": Column("boolean", "Meta does not keep the day any more (37 months)."),
    "read_at": READ_AT,
}
_COMPARED = [name for name in INSIGHT_COLUMNS if name not in (*OF_AD, "read_at", *LINEAGE_COLUMNS)]
_NEAR = timedelta(days=28)
"""An ad that delivered so near a day is told of on it, by zeros where it was idle."""
_WITHIN = "advertiser_id = ? AND account_id = ? AND breakdown = ? AND date BETWEEN ? AND ?"
_TICK = timedelta(microseconds=1)

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class InsightsJob:
    """An account's insights by a breakdown ("" for none). `last`: when its days were read last."""

    connected: Connected
    account: Account
    breakdown: str
    last: Mapping[date, datetime] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.breakdown.split(",")) if self.breakdown else ()


def table(rows: Sequence[Row], columns: Columns) -> pa.Table:
    """Rows as a table of these columns."""
    return pa.Table.from_pylist(
        [{name: row.get(name) for name in columns} for row in rows], schema=arrow_schema(columns)
    )


def next_row_id(run: TableRun) -> int:
    """The number of the next row of the run's own table; 0 for the first."""
    if not run.exists(run.key):
        return 0
    name = run.key.replace("/", ".")
    found = run.sql(f"SELECT coalesce(max(_row_id) + 1, 0) AS next FROM {name}")
    return int(found["next"][0].as_py())


def received(rows: Sequence[Row], first: int) -> list[Row]:
    """The rows with where they came from, numbered from `first` on."""
    now = datetime.now(UTC)
    return [
        {**row, "_row_id": first + n, "_received_at": None, "_source": SERVICE, "_loaded_at": now}
        for n, row in enumerate(rows)
    ]


def latest(
    run: TableRun,
    key: str,
    identifies: Sequence[str],
    condition: str = "TRUE",
    values: Sequence[Any] = (),
) -> dict[tuple[Any, ...], Row]:
    """The last row of each key of a table, of those that meet a condition; {} without a table."""
    if not run.exists(key):
        return {}
    found = run.sql(
        f"SELECT * FROM {key.replace('/', '.')} WHERE {condition} "
        f"QUALIFY row_number() OVER (PARTITION BY {', '.join(identifies)} ORDER BY read_at DESC) "
        "= 1",
        list(values) or None,
    )
    return {tuple(row[name] for name in identifies): row for row in found.to_pylist()}


def after(known: Row | None, read_at: datetime) -> datetime:
    """The moment of a reading, later than that of the row before: a clock may stand still."""
    before = None if known is None else known["read_at"].astimezone(UTC)
    return read_at if before is None or before < read_at else before + _TICK


class Landing:
    """Readings on their way into the two tables: the rows first, then that they were read.

    A run killed between both reads those days once more, and adds no row for it. `days`, `changed`:
    how many days were read, and rows added; `warnings`: what people are to be told.
    """

    def __init__(self, run: TableRun) -> None:
        self._run = run
        self._waiting: list[tuple[InsightsJob, Reading]] = []
        self._rows, self._since = 0, time.monotonic()
        self._next_row_id = next_row_id(run)
        self.days = self.changed = 0
        self.warnings: list[str] = []

    def add(self, job: InsightsJob, reading: Reading) -> None:
        """Take a reading; written at once where it was dear, else with its neighbours."""
        self._waiting.append((job, reading))
        self._rows += len(reading.part.rows)
        is_late = time.monotonic() - self._since > FLUSH_SECONDS
        if reading.part.days.count > 1 or is_late or self._rows > FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        rows: list[Row] = []
        noted: list[Row] = []
        for job in dict.fromkeys(job for job, _ in self._waiting):
            own = [reading for other, reading in self._waiting if other is job]
            changed, read = self._landed(job, own)
            rows += changed
            noted += read
        if rows:
            self._run.append(table(received(rows, self._next_row_id), INSIGHT_COLUMNS))
            self._next_row_id += len(rows)
        if noted:
            self._run.append(table(noted, READING_COLUMNS), READINGS_TABLE)
        self.days += len(noted)
        self.changed += len(rows)
        self._waiting.clear()
        self._rows, self._since = 0, time.monotonic()

    def _landed(self, job: InsightsJob, own: Sequence[Reading]) -> tuple[list[Row], list[Row]]:
        """(rows that changed, what was read) of a job."""
        days = [day for one in own for day in one.part.days]
        whose = [job.account.advertiser_id, job.account.account_id, job.breakdown]
        known = latest(self._run, INSIGHTS_TABLE, OF_AD, _WITHIN, [*whose, min(days), max(days)])
        near = [] if job.breakdown else self._run.sql(
            "SELECT DISTINCT account_id, campaign_id, adset_id, ad_id FROM raw.meta_insights "
            f"WHERE {_WITHIN}", [*whose, min(days) - _NEAR, max(days) + _NEAR],
        ).to_pylist()  # fmt: skip
        told = [row for one in own for row in one.part.rows]
        ads = {str(row["ad_id"]): row for row in [*near, *told]}
        changed: list[Row] = []
        noted: list[Row] = []
        for reading in own:
            found = _rows(job, reading, ads)
            new = changes(found, known, OF_AD, _COMPARED) + _vanished(found, known, reading)
            for row in new:
                key = tuple(row[name] for name in OF_AD)
                row["read_at"] = after(known.get(key), reading.read_at)
                known[key] = row
            changed += new
            noted += _noted(job, reading, found, new)
        self._warn(job, whose, noted)
        return changed, noted

    def _warn(self, job: InsightsJob, whose: Sequence[str], noted: Sequence[Row]) -> None:
        """Tell where the purchases of an account are of another type of action than before."""
        found = purchases.widest(row["purchase_type"] for row in noted)
        if found is None:
            return
        before = self._run.sql(
            "SELECT purchase_type FROM raw.meta_insight_readings WHERE advertiser_id = ? "
            "AND account_id = ? AND breakdown = ? AND purchase_type IS NOT NULL "
            "ORDER BY read_at DESC, date DESC LIMIT 1",
            list(whose),
        )["purchase_type"].to_pylist()
        if before and before[0] != found:
            self.warnings.append(
                f"{job.account.advertiser_id} {job.account.path}: purchases are taken from "
                f"{found} now, and were from {before[0]}: the figures may jump"
            )


def _rows(job: InsightsJob, reading: Reading, ads: Mapping[str, Row]) -> list[Row]:
    """The rows of a reading as they are kept, with a zero for each day that an ad was idle."""
    part = reading.part
    if part.is_too_old:
        return []
    told = [dict(row) for row in part.rows]
    whole = told if job.breakdown else with_idle_days(told, part.days, ads)
    return [
        {
            **{name: text(row.get(name)) for name in INSIGHTS},
            "advertiser_id": job.account.advertiser_id,
            "account_id": job.account.account_id,
            "ad_id": str(row["ad_id"]),
            "date": date.fromisoformat(str(row["date_start"])),
            "breakdown": job.breakdown,
            "cell": text({name: row.get(name) for name in job.names}) if job.names else "",
            "purchase_type": purchases.purchases(row).type,
            "is_idle": n >= len(told),
        }
        for n, row in enumerate(whole)
    ]


def _vanished(
    found: Sequence[Row], known: Mapping[tuple[Any, ...], Row], reading: Reading
) -> list[Row]:
    """Zeros for what was there of these days before and is not any more."""
    there = {tuple(row[name] for name in OF_AD) for row in found}
    days = set() if reading.part.is_too_old else set(reading.part.days)
    return [
        {
            **dict.fromkeys(INSIGHT_COLUMNS),
            **{name: row[name] for name in (*OF_AD, "campaign_id", "adset_id")},
            **dict.fromkeys(COUNTS, "0"),
            "is_idle": True,
        }
        for key, row in known.items()
        if key not in there and row["date"] in days and not row["is_idle"]
    ]


def _noted(
    job: InsightsJob, reading: Reading, found: Sequence[Row], new: Sequence[Row]
) -> list[Row]:
    """That the days of a reading were read."""
    noted = []
    for day in reading.part.days:
        own = [row for row in found if row["date"] == day]
        row = {
            "advertiser_id": job.account.advertiser_id,
            "account_id": job.account.account_id,
            "breakdown": job.breakdown,
            "date": day,
            "timezone_name": job.account.zone,
            "ads": len({row["ad_id"] for row in own if not row["is_idle"]}),
            "changed_rows": sum(row["date"] == day for row in new),
            "purchase_type": purchases.widest(row["purchase_type"] for row in own),
            "is_too_old": reading.part.is_too_old,
        }
        before = job.last.get(day)
        known = None if before is None else {"read_at": before}
        noted.append(row | {"read_at": after(known, reading.read_at)})
    return noted
