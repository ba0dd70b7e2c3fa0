"""The shop as it is now: which tables and columns it has, and whether there is anything new.

Two kinds of shop are read. A *landing* shop was filled by `load_shop` from CSV exports: every
column is text, `_row_id` grows with each row received and `_received_at` tells when. A *foreign*
shop is somebody's own database, with its own types, and is only ever read.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import psycopg
from psycopg import sql
from pydantic import SecretStr

from dmp_assets.platform.text.spelling import meant
from dmp_assets.sources.names import targets
from dmp_assets.sources.postgres import listed, relations
from dmp_assets.sources.postgres_text import BASE_TYPE
from dmp_assets.sources.shop.connection import ShopError, connect, shop_name
from dmp_assets.sources.shop.tables import LOADS, RECEIVED_AT, ROW_ID, TABLES

Kind = Literal["landing", "foreign"]


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
