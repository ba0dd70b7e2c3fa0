"""Whole tables that assets compute and the API serves: replaced in one transaction.

Readers see the old rows until the commit and the new ones after it, never half.
"""

from collections.abc import Mapping

import pyarrow as pa
import sqlalchemy as sa

from dmp_assets.platform.store.schema import PUBLISHED_TABLES, publication


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
    table = PUBLISHED_TABLES[name]
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
    for table in (*PUBLISHED_TABLES.values(), publication):
        connection.execute(table.delete())


def versions(connection: sa.Connection) -> Mapping[str, str]:
    """Data version of each published table."""
    found = connection.execute(sa.select(publication.c.table_name, publication.c.data_version))
    return {row.table_name: row.data_version for row in found}
