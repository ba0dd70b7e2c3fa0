"""`dmp show`: any table's rows, or which tables there are."""

import sys
from dataclasses import replace
from typing import Annotated, Any

import duckdb
import typer
from rich.markup import escape
from rich.table import Table

from dmp_assets.cli.shared import explained, out, tables
from dmp_assets.home import Home
from dmp_assets.platform.lake.tables import TableError, Tables
from dmp_assets.platform.text.foreign_text import visible, write_csv


def show(
    table: Annotated[str, typer.Argument(help="layer/table, e.g. quarantine/promo_usages.")] = "",
    where: Annotated[str, typer.Option(help="SQL condition, e.g. \"promo_code = '1623'\".")] = "",
    version: Annotated[int | None, typer.Option(help="Delta version; default: newest.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many rows.")] = 20,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Print any table, quarantine included; without a name, list the tables."""
    with explained():
        home = Home.current()
        store = tables(home)
        if not table:
            _list_tables(store)
            return
        key = table.replace(".", "/", 1)
        pinned = replace(store, versions={} if version is None else {key: version})
        layer, _, name = key.partition("/")
        store.path(key)
        condition = f"WHERE {where}" if where else ""
        try:
            found = pinned.sql(f"SELECT * FROM {layer}.{name} {condition} LIMIT {limit}")
            total = pinned.scalar(f"SELECT count(*) FROM {layer}.{name} {condition}")
        except duckdb.Error as error:
            raise TableError(f"--where {where!r}: {error}") from error
        if csv:
            rows = (list(row.values()) for row in found.to_pylist())
            write_csv(sys.stdout, found.column_names, rows, end="\n")
            return
        _print_rows(found.column_names, found.to_pylist())
        out.print(f"{found.num_rows} of {total:,} rows, version {pinned.version(key)}")


def _print_rows(names: list[str], rows: list[dict[str, Any]]) -> None:
    """As a table where it fits, else one value a line."""
    names = [visible(name) for name in names]
    cells = [["" if value is None else visible(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    if sum(widths) + 2 * len(names) <= out.width:
        shown = Table(*map(escape, names), box=None, pad_edge=False)
        for row in cells:
            shown.add_row(*map(escape, row))
        out.print(shown)
        return
    margin = max(map(len, names))
    for number, row in enumerate(cells, 1):
        out.print(f"[dim]row {number}[/]")
        for name, cell in zip(names, row, strict=True):
            out.print(f"{name:<{margin}}  {cell}", highlight=False, markup=False)


def _list_tables(store: Tables) -> None:
    shown = Table("table", "rows", "version", "written (UTC)", box=None, pad_edge=False)
    for key in store.written():
        rows = store.scalar(f"SELECT count(*) FROM {key.replace('/', '.')}")
        written = f"{store.written_at(key):%Y-%m-%d %H:%M}"
        shown.add_row(key, f"{rows:,}", str(store.version(key)), written)
    if not shown.row_count:
        raise TableError(f"there are no tables in {store.root} yet; make some: dmp demo, dmp run")
    out.print(shown)
