"""raw/meta_*: ad accounts of Meta, what is in them, and what their ads delivered, as received.

Every value is kept: a row is added when it differs from the last one of its key, with the time at
which it was read, so that what was believed on any day can be asked. Nothing here stops a run: an
account that cannot be read stays as it is, the check `meta_was_read` says why, and the next run
reads on where this one ended. An account is of one advertiser alone: the first that connected it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.cleaning.landed import LINEAGE_COLUMNS
from dmp_assets.platform.cleaning.received_columns import columns_of
from dmp_assets.platform.lake.columns import Column
from dmp_assets.platform.lake.file_statistics import harmless
from dmp_assets.platform.lake.lakehouse import Lakehouse
from dmp_assets.platform.lake.table_asset import Check, TableRun, table_asset
from dmp_assets.platform.lake.window import Window
from dmp_assets.raw.meta_readings import (
    ACCOUNT,
    ADVERTISER,
    INSIGHT_COLUMNS,
    OF_AD,
    OF_DAY,
    READ_AT,
    READING_COLUMNS,
    READINGS_TABLE,
    InsightsJob,
    Landing,
    after,
    latest,
    next_row_id,
    received,
    table,
)
from dmp_assets.sources.meta import objects, removed
from dmp_assets.sources.meta.config import is_connected
from dmp_assets.sources.meta.days import due, zone_of
from dmp_assets.sources.meta.holding import HeldElsewhereError, owners
from dmp_assets.sources.meta.resource import Connected, advertisers, holders
from dmp_assets.sources.meta.settings import MetaSettings
from dmp_assets.sources.meta.sync import Account, Reading, changes, readings, side_by_side, text
from dmp_assets.sources.meta.tables import OBJECTS

ACCOUNTS = "raw/meta_accounts"
CHECKS = (
    Check(
        "meta_was_read",
        None,
        "Every connected account could be read; one that could not stays as it was.",
    ),
)
VOLATILE = ("amount_spent", "balance", "budget_remaining", "timezone_offset_hours_utc")
"""Columns whose change alone adds no row: they are as of the row's `read_at`."""

Row = dict[str, Any]
Connections = Mapping[str, Connected]


def _state(lakehouse: Lakehouse, window: Window) -> dict[str, Any] | None:
    """Where Meta is connected it is asked in every run; that something changed it does not say."""
    if is_connected(lakehouse.home):
        return {"run": lakehouse.run_id}
    gone = removed.noted(lakehouse.home)
    return {"removed": [list(one) for one in gone]} if gone else None


def _read(
    run: TableRun,
    jobs: Callable[[Connections], list[Any]],
    work: Callable[[Any], Iterable[Any]],
    ended: Callable[[], list[str]] = list,
) -> Iterator[tuple[Any, Any]]:
    """What the jobs of all connections give; what went wrong is told when all have ended.

    ended: called then, while the connections are there; gives further problems.
    """
    problems: list[str] = []
    try:
        with advertisers(run.lakehouse.home) as connections:
            if not connections:
                run.log.info("no advertiser is connected to Meta")
            for job, found in side_by_side(jobs(connections), work):
                if isinstance(found, UserError):
                    account = job.account
                    problems.append(f"{account.advertiser_id} {account.path}: {found}")
                else:
                    yield job, found
            problems += ended()
    except UserError as error:  # the store is not there, or its keys
        problems.append(str(error))
    for problem in problems:
        run.log.error(problem)
    if problems:
        run.metadata["problem"] = "; ".join(dict.fromkeys(problems))


def _drop_removed(run: TableRun) -> int:
    """Drop the rows of accounts that were taken back from their advertisers; how many."""
    noted = removed.noted(run.lakehouse.home)
    if not noted:
        return 0
    try:
        in_use = holders(run.lakehouse.home)
    except UserError as error:  # whose they are cannot be told now
        run.log.warning(f"no rows of accounts that were taken back are dropped: {error}")
        return 0
    there = {(one.advertiser_id, one.account_id) for one in _accounts(run)}
    gone = [one for one in noted if one not in there or one[0] not in in_use]
    keys = pa.table({
        "advertiser_id": pa.array([whose for whose, _ in gone], pa.string()),
        "account_id": pa.array([account for _, account in gone], pa.string()),
    })  # fmt: skip
    dropped = sum(
        run.lakehouse.delete(key, keys, bounded=harmless(columns))
        for key, columns in run.tables.items()
        if gone and run.exists(key)
    )
    if dropped:
        run.metadata["rows_of_removed_accounts"] = dropped
        run.log.info(f"{dropped} rows of accounts that were taken back are dropped")
    return dropped


def _accounts(run: TableRun) -> list[Account]:
    """The accounts that are listed, by advertiser."""
    rows = latest(run, ACCOUNTS, ("advertiser_id", "account_id"))
    return [
        Account(row["advertiser_id"], row["account_id"], row["timezone_name"])
        for _, row in sorted(rows.items())
        if row["is_listed"]
    ]


# accounts and what is in them --------------------------------------------------------------------
@dataclass(frozen=True)
class _ObjectsJob:
    """The objects of an account, or the accounts of an advertiser."""

    connected: Connected
    account: Account


@dataclass(frozen=True)
class _Kind:
    """A kind of object: its edge in the API (`objects.FIELDS`) and what its id is called."""

    edge: str
    own_id: str

    @property
    def parent(self) -> tuple[str, ...]:
        """What a listing is complete for."""
        return ("advertiser_id",) if self.edge == "accounts" else ("advertiser_id", "account_id")

    @property
    def key(self) -> tuple[str, ...]:
        return (*self.parent, self.own_id)

    @property
    def columns(self) -> dict[str, Column]:
        ids = {"advertiser_id": ADVERTISER, "account_id": ACCOUNT}
        if self.own_id not in ids:
            ids[self.own_id] = Column("string", "Its id.")
        own = columns_of(OBJECTS[self.edge])
        return {
            **ids,
            **{name: column for name, column in own.items() if name not in ids},
            "is_listed": Column("boolean", "False: Meta did not list it any more."),
            "read_at": READ_AT,
            **LINEAGE_COLUMNS,
        }


def _object_table(kind: _Kind) -> Any:
    return table_asset(
        "raw",
        columns=kind.columns,
        key=(*kind.key, "read_at"),
        deps=[] if kind.edge == "accounts" else [ACCOUNTS],
        probe=_state,
        owner="team:marketing",
        kinds=("delta",),
        checks=CHECKS,
    )


def read_objects(run: TableRun, kind: _Kind) -> None:
    """Append what changed of the objects of a kind; without any the table is left as it is."""
    _drop_removed(run)
    known = latest(run, run.key, kind.key)
    now, rows = run.lakehouse.home.now(), list[Row]()
    others = (*kind.key, *VOLATILE, "read_at", *LINEAGE_COLUMNS)
    compared = [name for name in kind.columns if name not in others]

    def jobs(connections: Connections) -> list[_ObjectsJob]:
        if kind.edge == "accounts":
            return [_ObjectsJob(own, Account(name, "", "")) for name, own in connections.items()]
        return [
            _ObjectsJob(connections[account.advertiser_id], account)
            for account in _accounts(run)
            if account.advertiser_id in connections
        ]

    def work(job: _ObjectsJob) -> Iterator[list[Row]]:
        with job.connected.noting() as client:
            if kind.edge == "accounts":
                yield objects.accounts(client)
            else:
                yield list(objects.objects(client, job.account.path, kind.edge))

    def land(job: _ObjectsJob, listed: list[Row]) -> None:
        own = [_object(row, job.account, kind) for row in listed]
        there = {tuple(row[name] for name in kind.key) for row in own}
        of = tuple(getattr(job.account, name) for name in kind.parent)
        gone = [
            {**before, "is_listed": False}
            for name, before in known.items()
            if name not in there and before["is_listed"] and name[: len(of)] == of
        ]
        for row in [*changes(own, known, kind.key, compared), *gone]:
            before = known.get(tuple(row[name] for name in kind.key))
            rows.append(row | {"read_at": after(before, now)})

    if kind.edge == "accounts":
        for job, listed in _own_accounts(run, jobs, work, known):
            land(job, listed)
    else:
        for job, listed in _read(run, jobs, work):
            land(job, listed)
    if rows or not run.exists(run.key):
        run.append(table(received(rows, next_row_id(run)), kind.columns))
    else:
        run.keep()


def _own_accounts(
    run: TableRun,
    jobs: Callable[[Connections], list[_ObjectsJob]],
    work: Callable[[_ObjectsJob], Iterable[list[Row]]],
    known: Mapping[tuple[Any, ...], Row],
) -> list[tuple[_ObjectsJob, list[Row]]]:
    """The accounts of each advertiser without those that another one has, which is told."""
    home, given, own = run.lakehouse.home, list[tuple[_ObjectsJob, list[Row]]](), []
    since = _since(run, known)
    in_use = list[str]()

    def begun(connections: Connections) -> list[_ObjectsJob]:
        in_use.extend(holders(home))
        return jobs(connections)

    def ended() -> list[str]:
        listed = {job.account.advertiser_id: {_id(row) for row in rows} for job, rows in given}
        owner, problems = owners(listed, since, in_use), list[str]()
        for job, rows in given:
            whose = job.account.advertiser_id
            foreign = {one for one in listed[whose] if owner[one] != whose}
            own.append((job, [row for row in rows if _id(row) not in foreign]))
            if foreign:
                error = HeldElsewhereError(foreign)
                job.connected.note(error)
                problems.append(f"{whose}: {error}")
        return problems

    for job, rows in _read(run, begun, work, ended):
        given.append((job, rows))
    removed.forget(home, [(j.account.advertiser_id, _id(row)) for j, rows in own for row in rows])
    return own


def _since(run: TableRun, known: Mapping[tuple[Any, ...], Row]) -> dict[tuple[str, str], datetime]:
    """Since when the accounts are there that are listed."""
    if not known:
        return {}
    found = run.sql(
        "SELECT advertiser_id, account_id, min(read_at) AS since FROM raw.meta_accounts "
        "GROUP BY advertiser_id, account_id"
    ).to_pylist()
    first = {(row["advertiser_id"], row["account_id"]): row["since"] for row in found}
    return {(whose, account): first[(whose, account)] for (whose, account), row in known.items()
            if row["is_listed"]}  # fmt: skip


def _id(row: Row) -> str:
    return str(row["account_id"])


def _object(given: Row, account: Account, kind: _Kind) -> Row:
    """An object as it is kept: its ids, and all else as text."""
    texts = {name: text(given.get(name)) for name in OBJECTS[kind.edge]}
    own = str(given["account_id"] if kind.edge == "accounts" else given["id"])
    ids = {"advertiser_id": account.advertiser_id, "account_id": account.account_id}
    return {**texts, **ids, kind.own_id: own, "is_listed": True}


_ACCOUNTS = _Kind("accounts", "account_id")
_CAMPAIGNS = _Kind("campaigns", "campaign_id")
_AD_SETS = _Kind("adsets", "adset_id")
_ADS = _Kind("ads", "ad_id")
_CREATIVES = _Kind("adcreatives", "creative_id")


@_object_table(_ACCOUNTS)
def meta_accounts(run: TableRun) -> None:
    """Ad accounts of the connected advertisers, every column as text.

    Grain: a state of an account. Key: advertiser_id, account_id, read_at. Source: Meta's API.
    """
    read_objects(run, _ACCOUNTS)


@_object_table(_CAMPAIGNS)
def meta_campaigns(run: TableRun) -> None:
    """Campaigns, every column as text.

    Grain: a state of a campaign. Key: advertiser_id, account_id, campaign_id, read_at. Source:
    Meta's API.
    """
    read_objects(run, _CAMPAIGNS)


@_object_table(_AD_SETS)
def meta_ad_sets(run: TableRun) -> None:
    """Ad sets, every column as text.

    Grain: a state of an ad set. Key: advertiser_id, account_id, adset_id, read_at. Source: Meta's
    API.
    """
    read_objects(run, _AD_SETS)


@_object_table(_ADS)
def meta_ads(run: TableRun) -> None:
    """Ads, every column as text.

    Grain: a state of an ad. Key: advertiser_id, account_id, ad_id, read_at. Source: Meta's API.
    """
    read_objects(run, _ADS)


@_object_table(_CREATIVES)
def meta_creatives(run: TableRun) -> None:
    """Creatives, every column as text; `url_tags` are the UTM parameters of their links.

    Grain: a state of a creative. Key: advertiser_id, account_id, creative_id, read_at. Source:
    Meta's API.
    """
    read_objects(run, _CREATIVES)


# insights ----------------------------------------------------------------------------------------
def _insight_jobs(run: TableRun) -> Callable[[Connections], list[InsightsJob]]:
    """Every listed account of the connections, by each breakdown."""
    last: dict[tuple[str, ...], dict[date, datetime]] = {}
    for (*whose, day), row in latest(run, READINGS_TABLE, OF_DAY).items():
        last.setdefault(tuple(whose), {})[day] = row["read_at"].astimezone(UTC)
    breakdowns: Sequence[str] = ("", *run.settings.of(MetaSettings).meta_breakdowns)

    def made(connections: Connections) -> list[InsightsJob]:
        return [
            InsightsJob(
                connections[account.advertiser_id],
                account,
                breakdown,
                last.get((account.advertiser_id, account.account_id, breakdown), {}),
            )
            for account in _accounts(run)
            if account.advertiser_id in connections
            for breakdown in breakdowns
        ]

    return made


@table_asset(
    "raw",
    columns=INSIGHT_COLUMNS,
    key=(*OF_AD, "read_at"),
    also={READINGS_TABLE: READING_COLUMNS},
    deps=[ACCOUNTS],
    probe=_state,
    settings=("meta_history_days", "meta_breakdowns"),
    owner="team:marketing",
    kinds=("delta",),
    checks=CHECKS,
)
def meta_insights(run: TableRun) -> None:
    """What each ad delivered on each day, every value that Meta ever told of it.

    Grain: a value of an ad, day and part of a breakdown. Key: advertiser_id, account_id, ad_id,
    date, breakdown, cell, read_at. Source: Meta's API. What holds is the last row of a key without
    read_at; a day in raw/meta_insight_readings of which an ad has no row is a day of zeros.
    """
    for key, columns in run.tables.items():
        if not run.exists(key):
            run.append(table([], columns), key)
    dropped = _drop_removed(run)
    home, landing = run.lakehouse.home, Landing(run)
    now, history = home.now(), run.settings.of(MetaSettings).meta_history_days
    clock = home.now if home.profile == "live" else lambda: now

    def work(job: InsightsJob) -> Iterator[Reading]:
        wanted = due(job.last, zone_of(job.account.zone), now, history_days=history)
        if wanted.count:
            with job.connected.noting() as client:
                yield from readings(client, job.account, job.names, wanted, clock)

    for job, reading in _read(run, _insight_jobs(run), work):
        landing.add(job, reading)
    landing.flush()
    for warning in landing.warnings:
        run.log.warning(warning)
    if landing.warnings:
        run.metadata["purchase_types"] = "; ".join(dict.fromkeys(landing.warnings))
    run.metadata |= {"days_read": landing.days, "rows_added": landing.changed}
    _end(run, is_new=bool(landing.changed or dropped))


def _end(run: TableRun, *, is_new: bool) -> None:
    """Note that both tables are as far as they can be now; where no row came or went nothing is
    new."""
    if not is_new:
        before = run.lakehouse.tables.stamp(run.key)
        run.stamp["data_version"] = before.get("data_version") or run.stamp["data_version"]
    for key in run.tables:
        run.written[key] = run.lakehouse.note(key, stamp=run.stamp)
