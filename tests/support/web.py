"""Web data for tests: rows as raw has them, small databases, and what a clean one would hold."""

import csv
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from dmp_assets.platform.cleaning.rules import Split
from dmp_assets.raw.web import LINEAGE
from dmp_assets.sources.web.tables import SOURCES, TABLES

Row = Mapping[str, Any]
NOW = datetime(2024, 4, 1, 12, tzinfo=UTC)
START = datetime(2024, 3, 1, 10, tzinfo=UTC)


def raw(table: str, given: Sequence[Row]) -> pa.Table:
    """Rows of raw/<table>, all values text."""
    received = list(TABLES[SOURCES[table]])
    schema = pa.schema([*((name, pa.string()) for name in received), *LINEAGE])
    rows = [
        {
            **{name: row.get(name) for name in received},
            "_row_id": number,
            "_source": "test",
            "_loaded_at": NOW,
        }
        for number, row in enumerate(given, 1)
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def session(session_id: str | None, **given: Any) -> dict[str, Any]:
    """A row of session_sources: user `u`, 2024-03-01 10:00:00, channel `seo` unless said so."""
    return {
        "session_id": session_id,
        "user_id": "u",
        "event_date": "2024-03-01",
        "event_time": "10:00:00",
        "channel_name": "seo",
        "holder_engagement": "0",
        "closer_engagement": "0",
        "impression_interaction": "0",
        **given,
    }


def conversion(conv_id: str | None, **given: Any) -> dict[str, Any]:
    """A row of conversions: user `u`, 2024-03-02 10:00:00, 100 EUR unless said so."""
    return {
        "conv_id": conv_id,
        "user_id": "u",
        "conv_date": "2024-03-02",
        "conv_time": "10:00:00",
        "revenue": "100",
        **given,
    }


def cost(session_id: str | None, amount: str | None = "1") -> dict[str, Any]:
    """A row of session_costs."""
    return {"session_id": session_id, "cost": amount}


def at(column: str, moment: datetime) -> dict[str, str]:
    """`<column>_date` and `<column>_time` of a time."""
    return {f"{column}_date": f"{moment:%Y-%m-%d}", f"{column}_time": f"{moment:%H:%M:%S}"}


def write_database(path: Path, **tables: Sequence[Row]) -> Path:
    """An SQLite file with the three source tables and these rows in them (in text columns)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        for name, columns in TABLES.items():
            connection.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
            add_rows(connection, name, tables.get(name, ()))
    return path


def add_rows(connection: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    """Add rows to a source table."""
    columns = list(TABLES[table])
    connection.executemany(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
        [tuple(row.get(name) for name in columns) for row in rows],
    )


def customers(number: int, *, channels: Sequence[str] = ("seo", "ads", "mail")) -> dict[str, Any]:
    """Clean source tables of so many customers, one a day from START on.

    Customer n has 1 + n % 4 sessions, an hour apart, the last in the second of the conversion,
    each with a cost but those of `channels[0]`; revenue is 10 n + 10 EUR.
    """
    sessions, conversions, costs = [], [], []
    for n in range(number):
        bought = START + timedelta(days=n)
        conversions.append(
            conversion(f"c{n}", user_id=f"u{n}", revenue=str(10 * n + 10), **at("conv", bought))
        )
        for step in range(1 + n % 4):
            name = f"s{n}.{step}"
            when = at("event", bought - timedelta(hours=n % 4 - step))
            channel = channels[(n + step) % len(channels)]
            sessions.append(session(name, user_id=f"u{n}", channel_name=channel, **when))
            if channel != channels[0]:
                costs.append(cost(name, f"0.{n + 1:02}5"))
    return {"session_sources": sessions, "conversions": conversions, "session_costs": costs}


class Cleaned:
    """A split, looked at in Python: kept rows by key, quarantined rows, rules by received key."""

    def __init__(self, split: Split, key: str) -> None:
        self.rows = split.kept.toArrow().to_pylist()
        self.kept = {row[key]: row for row in self.rows}
        self.quarantined = split.quarantined.toArrow().to_pylist()
        self.failed = {row[key]: row["failed_rules"] for row in self.quarantined}

    @property
    def received(self) -> int:
        """Rows that the kept ones stand for, and the quarantined."""
        return sum(row["received_rows"] for row in self.rows) + len(self.quarantined)


def write_csv(folder: Path, **tables: Sequence[Row]) -> Path:
    """`<table>.csv` of each of the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return folder
