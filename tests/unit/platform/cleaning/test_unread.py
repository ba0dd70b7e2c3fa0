"""What a received column is: how it writes its times of day, and whether it can be read at all."""

from types import SimpleNamespace
from typing import Any, cast

import duckdb
import pyarrow as pa
import pytest

from dmp_assets.cleaned.shop import (
    promo_codes,
    promo_usages,
    users,
)
from dmp_assets.cleaned.web import (
    web_conversions,
    web_sessions,
)
from dmp_assets.platform.cleaning import (
    formats,
    unread,
)
from dmp_assets.platform.lake.table_asset import TableRun
from dmp_assets.platform.values.readers import USUAL, Format
from dmp_assets.platform.values.words import STANDARD
from dmp_assets.sources.web.tables import WRITTEN as WEB

FLAG = ["is_email_verified", "is_phone_verified", "is_abuser"]


def run_over(table: str, **columns: list[str | None]) -> TableRun:
    """A run whose raw/<table> has these columns."""
    rows = len(next(iter(columns.values())))
    received = pa.table(
        {"_row_id": list(range(rows))}
        | {name: pa.array(texts, pa.string()) for name, texts in columns.items()}
    )
    connection = duckdb.connect()
    connection.register("received", received)
    connection.execute(f"CREATE SCHEMA raw; CREATE TABLE raw.{table} AS FROM received")
    tables = SimpleNamespace(
        columns=lambda _: received.column_names,
        stamp=lambda _: {},
        sql=lambda query: connection.sql(query).to_arrow_table(),
    )
    made: Any = SimpleNamespace(
        lakehouse=SimpleNamespace(tables=tables),
        settings=SimpleNamespace(column_formats={}),
        sql=tables.sql,
        metadata={},
    )
    return cast(TableRun, made)


def readings(table: str) -> Any:
    return {
        "users": lambda: (users.KINDS, users.readings_of("US", {})),
        "promo_codes": lambda: (promo_codes.KINDS, promo_codes.readings_of({})),
        "promo_usages": lambda: (promo_usages.KINDS, promo_usages.readings_of(USUAL["time"])),
        "web_sessions": lambda: (
            web_sessions.KINDS, web_sessions.readings_of(USUAL["time"], USUAL["clock"])
        ),
        "web_conversions": lambda: (web_conversions.KINDS, web_conversions.readings_of({})),
    }[table]()  # fmt: skip


COLUMNS = {
    "users": ["created_at", "email", "phone", "ip_address", "dob", "timezone", *FLAG],
    "promo_codes": [*promo_codes.TERMS],
    "promo_usages": ["used_at", "used_promo"],
    "web_sessions": [*web_sessions.FLAGS],
    "web_conversions": ["revenue"],
}


@pytest.mark.parametrize("table", COLUMNS)
def test_every_column_that_is_read_is_named_when_most_of_it_cannot_be(table: str) -> None:
    kinds, by = readings(table)
    names = COLUMNS[table]
    run = run_over(table, **{name: [*["zzz!"] * 11, None, "未設定"] for name in names})
    unread.note(run, table, kinds, by, STANDARD)
    said = run.metadata["unread"].split("; ")
    assert sorted(said) == sorted(f"11 of 11 values of {table}.{n} cannot be read" for n in names)


def test_a_day_and_a_time_that_cannot_be_read_are_named_together() -> None:
    kinds, by = readings("web_sessions")
    run = run_over("web_sessions", event_date=["2024-03-01"] * 10, event_time=["noon"] * 10)
    unread.note(run, "web_sessions", kinds, by, STANDARD)
    assert run.metadata["unread"] == (
        "10 of 10 values of web_sessions.event_date and web_sessions.event_time cannot be read"
    )


def test_of_few_values_and_of_as_many_that_are_read_nothing_is_said() -> None:
    kinds, by = readings("users")
    run = run_over(
        "users", dob=["x"] * 9 + [None] * 11, email=["a@x.org", "x"] * 10, phone=["none"] * 20
    )
    unread.note(run, "users", kinds, by, STANDARD)
    assert run.metadata == {}


@pytest.mark.parametrize(
    ("days", "times", "wanted", "problem"),
    [
        (["45356", "45357"], ["0.25", "14:30"], Format("part", 1), None),
        (["2024-03-05"] * 2, ["0.30", "14.30"], Format("clock", 1), None),
        (["2024-03-05"] * 2, ["0.30", "14:30"], Format(None, 1), "clock-time"),
    ],
)  # fmt: skip
def test_a_time_beside_a_spreadsheets_day_is_its_part_and_a_doubtful_one_is_named(
    days: list[str | None], times: list[str | None], wanted: Format, problem: str | None
) -> None:
    run = run_over("web_sessions", event_date=days, event_time=times)
    found = formats.found(run, "web_sessions", WEB["web_sessions"])
    assert found["event_time"] == wanted
    said = run.metadata.get("problem", "")
    assert (f'{{"web_sessions.event_time": "{problem}"}}' in said) if problem else said == ""
