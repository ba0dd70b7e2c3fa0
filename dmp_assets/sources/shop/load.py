"""Loading CSV exports into a landing shop: text tables that take whatever an export holds.

Each load is one transaction and is written down in `dmp_shop_load`, so that the same files are
never loaded twice. A generation starts with the first load and with each replacement.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import psycopg
from psycopg import sql
from pydantic import SecretStr

from dmp_assets.sources.csv.export import (
    CsvExport,
    FileLoad,
    Utf8Blocks,
    inspect,
    unused,
    why_not_csv,
)
from dmp_assets.sources.csv.reading import HeaderError, Reading
from dmp_assets.sources.shop.connection import ShopError, connect, shop_name
from dmp_assets.sources.shop.probe import (
    check_schema,
    current_generation,
    is_landing_table,
    shop_columns,
)
from dmp_assets.sources.shop.tables import LOADS, RECEIVED_AT, ROW_ID, TABLES

Mode = Literal["refuse", "replace", "append"]
_LOAD_LOCK = 0x646D70  # any number, the same for every loader


@dataclass(frozen=True)
class LoadSummary:
    """What a load did; `changed` is False when these very files were there already."""

    shop: str
    changed: bool
    mode: Mode
    generation: str
    files: tuple[FileLoad, ...]

    @property
    def message(self) -> str:
        """One line per file, for people."""
        if not self.changed:
            return f"the shop {self.shop} holds these very files already; nothing was changed"
        return "\n".join(map(str, self.files))


def load_shop(
    url: str | SecretStr,
    directory: Path,
    *,
    mode: Mode = "refuse",
    schema: str = "public",
    reading: Reading | None = None,
) -> LoadSummary:
    """Load CSV exports into a landing shop, all in one transaction.

    `refuse` loads into an empty shop only, `replace` clears what is there and starts a new
    generation, `append` adds. Files that the shop's generation already holds (by content) are not
    loaded again. Raises ShopError, with nothing changed, for a missing file or column, malformed
    CSV, a shop that holds rows, or tables that are not ours.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"mode is one of {', '.join(get_args(Mode))}, not {mode!r}")
    reading = reading or Reading()
    files = _csv_files(Path(directory), reading, all_required=mode != "append")
    name = shop_name(url)
    with connect(url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOAD_LOCK,))
        connection.execute("SET LOCAL lock_timeout = '60s'")
        present = shop_columns(connection, schema)
        check_schema(connection, name, schema, present)
        _refuse_foreign(name, present)
        held = _held_files(connection, schema) if LOADS in present else {}
        generation = current_generation(connection, schema) if LOADS in present else None
        offered = {file.name: file.sha256 for file in files}
        same = [file for file in files if file.sha256 in held.get(file.name, ())]
        only_these = {n: [h] for n, h in offered.items()} == held
        if generation and len(same) == len(files) and (mode != "replace" or only_these):
            return LoadSummary(
                name,
                False,
                mode,
                generation,
                tuple(FileLoad.left_alone(f) for f in files),
            )
        if mode == "refuse":
            _refuse_filled(connection, name, schema, present)
        if mode != "append" or generation is None:
            generation, same = str(uuid.uuid4()), []
        if mode == "replace":
            present = _clear(connection, name, schema, present)
        done = tuple(
            FileLoad.left_alone(file)
            if file in same
            else _load_file(connection, schema, file, present.get(file.table))
            for file in files
        )
        _record(connection, schema, generation, mode, done)
    return LoadSummary(name, True, mode, generation, done)


def _csv_files(directory: Path, reading: Reading, *, all_required: bool) -> list[CsvExport]:
    if not directory.is_dir():
        raise ShopError(f"{directory} is not a folder")
    paths = {table: directory / f"{table}.csv" for table in TABLES}
    missing = [
        path.name
        for table, path in paths.items()
        if not path.is_file() and not TABLES[table].optional
    ]
    there = [table for table, path in paths.items() if path.is_file()]
    if not there or (missing and all_required):
        others = sorted(path.name for path in directory.glob("*.csv"))
        raise ShopError(
            f"{directory} lacks {', '.join(missing)} (it has: {', '.join(others) or 'no CSV file'})"
        )
    try:
        reading.check(tuple(TABLES))
    except HeaderError as error:
        raise ShopError(str(error)) from error
    files = [
        inspect(
            paths[table],
            table,
            known=TABLES[table].columns,
            elsewhere={column for spec in TABLES.values() for column in spec.columns},
            keeps_others=True,
            reserved=(ROW_ID, RECEIVED_AT),
            reading=reading,
        )
        for table in there
    ]
    if wrong := unused(files, reading):
        raise ShopError(wrong)
    return files


def _refuse_foreign(name: str, present: Mapping[str, Mapping[str, str]]) -> None:
    for table in TABLES:
        if table in present and not (LOADS in present and is_landing_table(present[table])):
            raise ShopError(
                f"the database {name} has a table {table} that load-shop did not make; CSV exports "
                "are never loaded into a foreign shop: name an empty database"
            )


def _refuse_filled(
    connection: psycopg.Connection[Any], name: str, schema: str, present: Mapping[str, Any]
) -> None:
    for table in TABLES:
        if table not in present:
            continue
        row = connection.execute(
            sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(schema, table))
        ).fetchone()
        if row:
            raise ShopError(
                f"the shop {name} already holds rows in {table}; add --replace to clear it first "
                "or --append to add to it"
            )


def _held_files(connection: psycopg.Connection[Any], schema: str) -> dict[str, list[str]]:
    """File name → hashes of what the current generation holds."""
    held: dict[str, list[str]] = {}
    loads = sql.Identifier(schema, LOADS)
    query = sql.SQL(
        "SELECT files FROM {0} WHERE generation = "
        "(SELECT generation FROM {0} ORDER BY loaded_at DESC LIMIT 1)"
    )
    for (files,) in connection.execute(query.format(loads)):
        for file in files:
            held.setdefault(file["name"], []).append(file["sha256"])
    return held


def _clear(
    connection: psycopg.Connection[Any], name: str, schema: str, present: dict[str, dict[str, str]]
) -> dict[str, dict[str, str]]:
    """Drop the landing tables, so that no column of the old shop stays."""
    try:
        for table in TABLES:
            if table in present:
                connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(schema, table)))
    except psycopg.errors.DependentObjectsStillExist as error:
        raise ShopError(
            f"the shop {name} cannot be replaced: {error.diag.message_detail}; drop that first"
        ) from error
    return {table: columns for table, columns in present.items() if table == LOADS}


def _load_file(
    connection: psycopg.Connection[Any],
    schema: str,
    file: CsvExport,
    present: Mapping[str, str] | None,
) -> FileLoad:
    table = sql.Identifier(schema, file.table)
    if present is None:
        connection.execute(
            sql.SQL(
                "CREATE TABLE {} ({} bigserial PRIMARY KEY, {} timestamptz NOT NULL DEFAULT now())"
            ).format(table, sql.Identifier(ROW_ID), sql.Identifier(RECEIVED_AT))
        )
    for column in file.loaded:
        if column not in (present or {}):
            connection.execute(
                sql.SQL("ALTER TABLE {} ADD COLUMN {} text").format(table, sql.Identifier(column))
            )
    command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, HEADER true, DELIMITER {})").format(
        table, sql.SQL(", ").join(map(sql.Identifier, file.loaded)), sql.Literal(file.delimiter)
    )
    cursor = connection.cursor()
    try:
        with file.path.open("rb") as source, cursor.copy(command) as copy:
            text = Utf8Blocks(source, file)
            for block in text.picked():
                copy.write(block)
    except (psycopg.errors.DataError, psycopg.errors.ProgramLimitExceeded) as error:
        raise ShopError(why_not_csv(file, text, error)) from None
    except OSError as error:
        raise ShopError(f"{file.path} cannot be read: {error.strerror}") from error
    return FileLoad.done(file, cursor.rowcount, text)


def _record(
    connection: psycopg.Connection[Any],
    schema: str,
    generation: str,
    mode: Mode,
    files: Sequence[FileLoad],
) -> None:
    loads = sql.Identifier(schema, LOADS)
    connection.execute(
        sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} (load_id uuid PRIMARY KEY, generation uuid NOT NULL, "
            "loaded_at timestamptz NOT NULL DEFAULT clock_timestamp(), mode text NOT NULL, "
            "files jsonb NOT NULL)"
        ).format(loads)
    )
    loaded = [
        {"name": f.name, "sha256": f.sha256, "rows": f.rows, "replaced": f.replaced}
        for f in files
        if f.loaded
    ]
    connection.execute(
        sql.SQL("INSERT INTO {} (load_id, generation, mode, files) VALUES (%s, %s, %s, %s)").format(
            loads
        ),
        (uuid.uuid4(), generation, mode, json.dumps(loaded)),
    )
