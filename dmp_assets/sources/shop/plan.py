"""How Spark reads a table of the shop: one query, split, of all rows or of those that are new."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from psycopg import sql

from dmp_assets.sources.parts import between, hash_parts, ranges
from dmp_assets.sources.postgres_text import TEXTS, TIMES, as_text
from dmp_assets.sources.shop.connection import ShopError
from dmp_assets.sources.shop.probe import ShopState, names_in_lakehouse
from dmp_assets.sources.shop.tables import RECEIVED_AT, ROW_ID, TABLES


@dataclass(frozen=True)
class ReadPlan:
    """How Spark reads one table: `spark.read.jdbc(url, plan.dbtable, predicates=plan.predicates)`.

    Every column arrives as text; landing tables add `_row_id` (bigint) and `_received_at`
    (timestamptz). Known columns that the shop lacks are `absent` and arrive as null. The
    predicates are disjoint and together cover the subquery; when `empty`, there is nothing to read.
    """

    table: str
    sql: str
    columns: tuple[str, ...]
    absent: tuple[str, ...]
    predicates: tuple[str, ...]
    empty: bool

    @property
    def dbtable(self) -> str:
        return f"({self.sql}) t"


def read_plan(
    state: ShopState,
    table: str,
    *,
    after_row_id: int | None = None,
    window: tuple[date, date] | None = None,
    watermark: tuple[str, str | int | date | datetime] | None = None,
    partitions: int = 2,
) -> ReadPlan:
    """Plan the read of one table.

    `after_row_id` (landing): only rows received later; rows above the probed `max_row_id` are left
    to the next run. `window` (start, end exclusive; UTC): only rows whose time lies in it, and
    those whose time PostgreSQL cannot place. `watermark` (foreign): a typed column and the value
    from which on, itself included, to read. Raises ShopError for an unknown column or table.
    """
    known = state.tables[table]
    spec = TABLES[table]
    if not known.exists:
        raise ShopError(f"the shop {state.identity.name} has no table {table}")
    landing = state.kind == "landing"
    received = names_in_lakehouse(state, table)
    absent = tuple(name for name in spec.columns if name not in received.values())
    selected: list[sql.Composable] = [
        sql.SQL("{} AS {}").format(as_text(name, known.kind(name)), sql.Identifier(target))
        for name, target in received.items()
    ]
    selected += [sql.SQL("NULL::text AS {}").format(sql.Identifier(name)) for name in absent]
    conditions: list[sql.Composable] = []
    low, high = after_row_id or 0, known.max_row_id or 0
    empty = known.row_count == 0
    if landing:
        selected += [sql.Identifier(ROW_ID), sql.Identifier(RECEIVED_AT)]
        empty = high <= low
        conditions.append(between(ROW_ID, low, high))
    times = [name for name, target in received.items() if target == spec.time]
    if window is not None and times:
        conditions.append(_in_window(times[0], known.kind(times[0]), *window))
    if watermark is not None:
        conditions.append(_from_watermark(table, known.columns, watermark))
    query = sql.SQL("SELECT {} FROM {}").format(
        sql.SQL(", ").join(selected), sql.Identifier(state.schema, table)
    )
    if conditions:
        query = sql.SQL("{} WHERE {}").format(query, sql.SQL(" AND ").join(conditions))
    split = (
        ranges(ROW_ID, low, high, partitions) if landing else hash_parts(spec.required, partitions)
    )
    return ReadPlan(
        table=table,
        sql=query.as_string(None),
        columns=(*received.values(), *absent, *((ROW_ID, RECEIVED_AT) if landing else ())),
        absent=absent,
        predicates=tuple(part.as_string(None) for part in split),
        empty=empty,
    )


def _in_window(column: str, kind: str, start: date, end: date) -> sql.Composable:
    """Whether the time lies in [start, end) of UTC; true where that cannot be told.

    Text in ISO order is compared as text, which no bad value can break; with an offset behind it
    the day may be off by one, so it gets a day of leeway.
    """
    name = sql.Identifier(column)
    day = timedelta(days=1)
    if kind in TIMES:
        zone = "+00" if kind == "timestamp with time zone" else ""
        return sql.SQL("({0} IS NULL OR ({0} >= {1}::{3} AND {0} < {2}::{3}))").format(
            name, sql.Literal(f"{start}{zone}"), sql.Literal(f"{end}{zone}"), sql.SQL(kind)
        )
    if kind not in TEXTS:
        return sql.SQL("TRUE")
    return sql.SQL(
        "CASE WHEN {t} !~ '^[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]' THEN TRUE"
        " WHEN translate(substr({t}, 11), '0123456789:.,TZ ', '') = ''"
        " THEN left({t}, 10) >= {start} AND left({t}, 10) < {end}"
        " WHEN {t} IS NOT NULL"
        " THEN left({t}, 10) >= {early} AND left({t}, 10) < {late} ELSE TRUE END"
    ).format(
        t=sql.SQL('btrim({}::text) COLLATE "C"').format(name),
        start=sql.Literal(str(start)),
        end=sql.Literal(str(end)),
        early=sql.Literal(str(start - day)),
        late=sql.Literal(str(end + day)),
    )


def _from_watermark(
    table: str, columns: Mapping[str, str], watermark: tuple[str, Any]
) -> sql.Composable:
    column, value = watermark
    if column not in columns:
        raise ShopError(
            f"the shop's table {table} lacks the watermark column {column} "
            f"(it has: {', '.join(columns)}); correct DMP_SHOP_WATERMARK_COLUMNS"
        )
    if columns[column] in TEXTS:
        raise ShopError(
            f"the watermark column {table}.{column} is text, which does not grow in order; "
            "name a time or number column in DMP_SHOP_WATERMARK_COLUMNS"
        )
    # A row without a value can be new at any time; what was read before is left out afterwards.
    return sql.SQL("({0} >= {1}::{2} OR {0} IS NULL)").format(
        sql.Identifier(column),
        sql.Literal(str(value)),
        sql.SQL(columns[column]),  # type: ignore[arg-type]
    )
