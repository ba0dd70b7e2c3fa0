"""The shop: a PostgreSQL database with users, promo codes and their usages.

Two kinds of shop are read. A *landing* shop was filled by `load_shop` from CSV exports: every
column is text, `_row_id` grows with each row received and `_received_at` tells when. A *foreign*
shop is somebody's own database, with its own types, and is only ever read.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Literal

import psycopg
from psycopg import sql
from pydantic import SecretStr

from dmp_assets.platform.text.spelling import meant
from dmp_assets.sources.names import targets
from dmp_assets.sources.parts import between, hash_parts, ranges
from dmp_assets.sources.postgres import listed, relations
from dmp_assets.sources.postgres_text import BASE_TYPE, TEXTS, TIMES, as_text
from dmp_assets.sources.shop.connection import ShopError, connect, shop_name

Kind = Literal["landing", "foreign"]

ROW_ID = "_row_id"
RECEIVED_AT = "_received_at"
LOADS = "dmp_shop_load"


@dataclass(frozen=True)
class TableSpec:
    """What is known of one table of a shop.

    `required` columns must be there; any other known column may be missing and is then unknown.
    `time` is the column that a date range bounds; an `optional` table may be missing.
    """

    name: str
    columns: tuple[str, ...]
    required: tuple[str, ...]
    time: str | None = None
    optional: bool = False


TABLES: Mapping[str, TableSpec] = {
    spec.name: spec
    for spec in (
        TableSpec(
            "users",
            (
                *("user_id", "created_at", "email", "is_email_verified", "phone"),
                *("is_phone_verified", "first_name", "last_name", "ip_address", "device_id"),
                *("user_agent", "city", "gender", "dob", "timezone", "is_abuser"),
            ),
            ("user_id", "created_at"),
            time="created_at",
        ),
        TableSpec(
            "promo_codes",
            (
                *("promo_code", "discount_type", "discount_value", "min_purchase_amount"),
                *("valid_from", "valid_until", "max_uses_per_user"),
            ),
            ("promo_code",),
        ),
        TableSpec(
            "promo_usages",
            ("user_id", "promo_code", "used_at", "used_promo"),
            ("user_id", "promo_code", "used_at"),
            time="used_at",
        ),
        TableSpec(
            "orders",
            ("order_id", "user_id", "ordered_at", "amount", "discount", "promo_code"),
            ("order_id",),
            time="ordered_at",
            optional=True,
        ),
    )
}


# looking --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ShopIdentity:
    """Which shop this is. `id` stays when its address changes and differs after a reload."""

    id: str
    name: str
    generation: str | None = None


@dataclass(frozen=True)
class TableState:
    """One table as it is now. `content_hash` changes whenever any row does.

    `columns` maps names to PostgreSQL types, in order, `domains` those of a domain to what it is
    made of. `max_row_id` is known of landing tables.
    """

    name: str
    exists: bool
    columns: Mapping[str, str] = field(default_factory=dict)
    row_count: int = 0
    max_row_id: int | None = None
    content_hash: str = "absent"
    domains: Mapping[str, str] = field(default_factory=dict)

    def kind(self, column: str) -> str:
        """The type that a column's values have."""
        return self.domains.get(column, self.columns[column])


@dataclass(frozen=True)
class ShopState:
    """A shop as it is now: all that decides whether there is anything new to read."""

    identity: ShopIdentity
    kind: Kind
    schema: str
    tables: Mapping[str, TableState]


def probe(url: str | SecretStr, schema: str = "public") -> ShopState:
    """Look at the shop in one consistent snapshot, by SQL alone.

    Raises ShopError naming what is wrong: address, password, database, schema, a missing table or
    required column.
    """
    name = shop_name(url)
    with connect(url, snapshot=True) as connection:
        columns = checked_tables(connection, name, schema)
        generation = current_generation(connection, schema) if _is_landing(columns) else None
        domains = _domains(connection, schema)
        return ShopState(
            identity=_identity(connection, name, schema, generation),
            kind="landing" if generation else "foreign",
            schema=schema,
            tables={
                table: _table_state(
                    connection, schema, table, columns.get(table), generation, domains.get(table)
                )
                for table in TABLES
            },
        )


def checked_tables(
    connection: psycopg.Connection[Any], name: str, schema: str
) -> dict[str, dict[str, str]]:
    """Columns of the shop's tables, as `shop_columns` has them.

    Raises ShopError for a missing schema, table or required column; `name` is the shop's.
    """
    columns = shop_columns(connection, schema)
    check_schema(connection, name, schema, columns)
    for table, spec in TABLES.items():
        if table in columns:
            check_columns(table, columns[table])
        elif not spec.optional:
            raise ShopError(_missing_table(connection, name, schema, table))
    return columns


def check_columns(table: str, columns: Sequence[str] | Mapping[str, str]) -> None:
    """Raise ShopError, naming it and what there is, when a required column is missing."""
    there = targets(columns, TABLES[table].columns).values()
    for column in TABLES[table].required:
        if column not in there:
            raise ShopError(
                f"the shop's table {table} lacks the required column {column} "
                f"(it has: {', '.join(_visible(columns)) or 'none'})"
            )


@dataclass(frozen=True)
class ColumnChanges:
    """How a table's columns differ from those remembered."""

    removed: tuple[str, ...]
    added: tuple[str, ...]
    retyped: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.removed or self.added or self.retyped)


def column_changes(before: Mapping[str, str], now: Mapping[str, str]) -> ColumnChanges:
    """Compare remembered columns with those of today."""
    return ColumnChanges(
        removed=tuple(name for name in before if name not in now),
        added=tuple(name for name in now if name not in before),
        retyped=tuple(name for name in now if name in before and now[name] != before[name]),
    )


def _visible(columns: Sequence[str] | Mapping[str, str]) -> list[str]:
    return [name for name in columns if name not in (ROW_ID, RECEIVED_AT)]


def shop_columns(connection: psycopg.Connection[Any], schema: str) -> dict[str, dict[str, str]]:
    """Table → column → type, of the shop's tables (views too) that exist in the schema."""
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in connection.execute(
        """
        SELECT c.relname, a.attname, format_type(a.atttypid, NULL)
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE n.nspname = %s AND c.relname = ANY(%s) AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
        ORDER BY c.relname, a.attnum
        """,
        (schema, [*TABLES, LOADS]),
    ):
        found.setdefault(table, {})[column] = kind
    return found


def _domains(connection: psycopg.Connection[Any], schema: str) -> dict[str, dict[str, str]]:
    """Table → column → underlying type, of columns whose type is a domain."""
    found: dict[str, dict[str, str]] = {}
    query = BASE_TYPE + " AND n.nspname = %s"
    for table, column, kind in connection.execute(query.encode(), ([*TABLES], schema)):
        found.setdefault(table, {})[column] = kind
    return found


def names_in_lakehouse(state: "ShopState", table: str) -> dict[str, str]:
    """Column of the shop → its name in the lakehouse (see `names`), without what a load added."""
    own = (ROW_ID, RECEIVED_AT) if state.kind == "landing" else ()
    received = [name for name in state.tables[table].columns if name not in own]
    return targets(received, TABLES[table].columns)


def is_landing_table(columns: Mapping[str, str]) -> bool:
    """Whether a table with these columns is one that a load made."""
    return (
        columns.get(ROW_ID) == "bigint"
        and columns.get(RECEIVED_AT) == "timestamp with time zone"
        and all(columns[name] == "text" for name in _visible(columns))
    )


def _is_landing(columns: Mapping[str, Mapping[str, str]]) -> bool:
    return LOADS in columns and all(
        is_landing_table(columns[table]) for table in TABLES if table in columns
    )


def current_generation(connection: psycopg.Connection[Any], schema: str) -> str | None:
    """Which load the landing tables started with; needs the table of loads."""
    row = connection.execute(
        sql.SQL("SELECT generation FROM {} ORDER BY loaded_at DESC LIMIT 1").format(
            sql.Identifier(schema, LOADS)
        )
    ).fetchone()
    return str(row[0]) if row else None


def check_schema(
    connection: psycopg.Connection[Any], name: str, schema: str, columns: Mapping[str, Any]
) -> None:
    """Raise ShopError, naming those there are, when there is no such schema."""
    if columns:
        return
    schemas = [
        row[0]
        for row in connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' "
            "AND nspname <> 'information_schema' ORDER BY nspname"
        )
    ]
    if schema not in schemas:
        raise ShopError(
            f"the shop {name} has no schema {schema} (it has: {', '.join(schemas)}); "
            "set DMP_SHOP_SCHEMA"
        )


def _missing_table(connection: psycopg.Connection[Any], name: str, schema: str, table: str) -> str:
    elsewhere = [
        row[0]
        for row in connection.execute(
            "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relname = %s AND c.relkind IN ('r', 'v', 'm', 'p', 'f') ORDER BY 1",
            (table,),
        )
    ]
    advice = (
        f"there is one in schema {', '.join(elsewhere)}: set DMP_SHOP_SCHEMA"
        if elsewhere
        else f"make a view {table}, load CSV exports with `dmp load-shop DIR`, or set "
        "DMP_SHOP_DATABASE_URL"
    )
    there = relations(connection, schema)
    return (
        f"the shop {name} has no table {table} in schema {schema} (it has: {listed(there)})"
        f"{meant(table, there)}; {advice}"
    )


def _identity(
    connection: psycopg.Connection[Any], name: str, schema: str, generation: str | None
) -> ShopIdentity:
    try:
        with connection.transaction():
            row = connection.execute(
                "SELECT system_identifier, d.oid FROM pg_control_system(), pg_database d "
                "WHERE d.datname = current_database()"
            ).fetchone()
        assert row is not None
        place = f"{row[0]}/{row[1]}"
    except psycopg.errors.InsufficientPrivilege:
        place = name.rpartition("@")[2]
    shown = name if schema == "public" else f"{name} (schema {schema})"
    parts = [place, schema, *([generation] if generation else [])]
    return ShopIdentity("/".join(parts), shown, generation)


def _table_state(
    connection: psycopg.Connection[Any],
    schema: str,
    table: str,
    columns: Mapping[str, str] | None,
    generation: str | None,
    domains: Mapping[str, str] | None,
) -> TableState:
    if columns is None:
        return TableState(table, exists=False)
    # An order-independent hash of all rows; a landing table's rows are only ever added.
    measure = (
        sql.SQL("coalesce(max({}), 0)").format(sql.Identifier(ROW_ID))
        if generation
        else sql.SQL("coalesce(sum(hashtextextended(ROW(t.*)::text, 0)), 0)")
    )
    row = connection.execute(
        sql.SQL("SELECT count(*), {} FROM {} t").format(measure, sql.Identifier(schema, table))
    ).fetchone()
    assert row is not None
    shape = hashlib.sha256(json.dumps(list(columns.items())).encode()).hexdigest()[:12]
    return TableState(
        table,
        exists=True,
        columns=dict(columns),
        row_count=row[0],
        max_row_id=(row[1] or None) if generation else None,
        content_hash=":".join(str(part) for part in (generation or "foreign", *row, shape)),
        domains=domains or {},
    )


# reading --------------------------------------------------------------------------------------


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
