"""Whole tables that assets compute and the API serves: replaced in one transaction.

Readers see the old rows until the commit and the new ones after it, never half.
"""

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex

from dmp_assets.platform.store.schema import PUBLISHED, publication, published_tables


def replace(
    connection: sa.Connection,
    name: str,
    rows: pa.Table | pa.RecordBatchReader,
    *,
    data_version: str,
    run_id: str,
) -> int:
    """Put `rows`, which have the table's columns, in the place of all that it held; their number.

    Two that publish the same table wait for each other. Raises KeyError for an unknown table,
    ValueError for rows that lack a column.
    """
    table = published_tables()[name]
    columns = list(table.columns.keys())
    missing = [column for column in columns if column not in rows.schema.names]
    if missing:
        raise ValueError(f"published/{name} lacks {', '.join(missing)}")
    connection.execute(sa.text(f"LOCK TABLE {table.fullname} IN SHARE ROW EXCLUSIVE MODE"))
    connection.execute(table.delete())
    written = 0
    raw = connection.connection.driver_connection
    assert raw is not None
    listed = ", ".join(f'"{column}"' for column in columns)
    with (
        raw.cursor() as cursor,
        cursor.copy(f"COPY {table.fullname} ({listed}) FROM STDIN") as copy,
    ):
        for batch in _batches(rows):
            lists = [batch.column(column).to_pylist() for column in columns]
            for values in zip(*lists, strict=True):
                copy.write_row(values)
            written += batch.num_rows
    connection.execute(sa.text(f"ANALYZE {table.fullname}"))
    connection.execute(publication.delete().where(publication.c.table_name == name))
    connection.execute(
        publication.insert().values(
            table_name=name,
            data_version=data_version,
            rows=written,
            run_id=run_id,
            published_at=sa.func.now(),
        )
    )
    return written


def misfits(connection: sa.Connection) -> list[str]:
    """Published tables that are not there, or are otherwise than this program's: in their columns,
    in what may be null, in keys or indexes."""
    columns: dict[str, list[tuple[str, str, bool]]] = {}
    for table, column, kind, required in connection.execute(_COLUMNS, {"schema": PUBLISHED}):
        columns.setdefault(table, []).append((column, kind, required))
    keys: dict[str, set[str]] = {}
    for table, definition in connection.execute(_KEYS, {"schema": PUBLISHED}):
        keys.setdefault(table, set()).add(definition.replace(" USING btree", ""))
    return [
        name
        for name, table in published_tables().items()
        if columns.get(name) != [(c.name, _kind(c), not c.nullable) for c in table.columns]
        or keys.get(name, set()) != _keys(table)
    ]


_COLUMNS = sa.text(
    "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull "
    "FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid "
    "WHERE n.nspname = :schema AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped "
    "ORDER BY c.relname, a.attnum"
)
_KEYS = sa.text(
    "SELECT c.relname, CASE WHEN k.oid IS NULL THEN pg_get_indexdef(i.indexrelid) "
    "ELSE pg_get_constraintdef(k.oid) END FROM pg_index i "
    "JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
    "LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = c.oid "
    "WHERE n.nspname = :schema AND c.relkind = 'r'"
)
"""Keys as constraints, other indexes as the statement that makes them."""


def _keys(table: sa.Table) -> set[str]:
    """A table's keys and indexes as `_KEYS` says them."""
    quoted = _DIALECT.identifier_preparer.format_column
    found = {str(CreateIndex(index).compile(dialect=_DIALECT)) for index in table.indexes}
    for constraint in table.constraints:
        if isinstance(constraint, sa.PrimaryKeyConstraint | sa.UniqueConstraint):
            word = "PRIMARY KEY" if isinstance(constraint, sa.PrimaryKeyConstraint) else "UNIQUE"
            if columns := ", ".join(quoted(column) for column in constraint.columns):
                found.add(f"{word} ({columns})")
    return found


_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def _kind(column: sa.Column[Any]) -> str:
    """A column's type as `format_type` says it."""
    said = column.type.compile(_DIALECT).lower().replace(", ", ",")
    word = re.match(r"[a-z]+(?: precision)?", said)
    return said.replace(word[0], _WORDS.get(word[0], word[0]), 1) if word else said


_WORDS = {
    "float": "double precision", "varchar": "character varying", "char": "character",
    "decimal": "numeric", "int": "integer",
}  # fmt: skip
"""Words of SQLAlchemy's for types that PostgreSQL calls otherwise."""
_MAKING = 0x7075626C  # "publ": one at a time makes published tables


def make(owner: sa.Connection, only: str | None = None) -> list[str]:
    """Make the published tables that do not fit anew, as their owner; which ones.

    They hold only what can be published again, so no migration keeps their rows. `only` that one;
    else those go, too, that nobody publishes any more. Raises ValueError for one whose declaration
    PostgreSQL does not give back as it is.
    """
    owner.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MAKING})
    wanted = [name for name in misfits(owner) if only in (None, name)]
    if only is None:
        _drop_what_nobody_publishes(owner)
    for name in wanted:
        table = published_tables()[name]
        owner.execute(sa.text(f"DROP TABLE IF EXISTS {table.fullname}"))
        table.create(owner)
        owner.execute(publication.delete().where(publication.c.table_name == name))
    if still := set(wanted) & set(misfits(owner)):
        raise ValueError(
            f"published.{min(still)} has a column, a key or an index that is not told as declared"
        )
    return wanted


def _drop_what_nobody_publishes(owner: sa.Connection) -> None:
    known = set(published_tables())
    there = {table for table, *_ in owner.execute(_COLUMNS, {"schema": PUBLISHED})}
    for name in sorted(there - known):
        owner.execute(sa.text(f'DROP TABLE {PUBLISHED}."{name}"'))
    owner.execute(publication.delete().where(publication.c.table_name.not_in(known)))


def _batches(rows: pa.Table | pa.RecordBatchReader):  # type: ignore[no-untyped-def]
    return rows.to_batches(max_chunksize=10_000) if isinstance(rows, pa.Table) else rows


def confirm(connection: sa.Connection, name: str, *, run_id: str) -> int:
    """Note that a published table is still what it should be; its rows."""
    rows = connection.scalar(
        publication.update()
        .where(publication.c.table_name == name)
        .values(published_at=sa.func.now(), run_id=run_id)
        .returning(publication.c.rows)
    )
    return int(rows or 0)


def clear(connection: sa.Connection) -> None:
    """Publish nothing any more."""
    for table in (*published_tables().values(), publication):
        connection.execute(table.delete())


def versions(connection: sa.Connection) -> Mapping[str, str]:
    """Data version of each published table."""
    found = connection.execute(sa.select(publication.c.table_name, publication.c.data_version))
    return {row.table_name: row.data_version for row in found}
