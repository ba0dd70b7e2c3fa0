"""What all commands share: where they write, and errors that a user can mend in one clear line."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from dmp_assets.date_range import RangeError
from dmp_assets.home import Home, HomeError
from dmp_assets.resources import java
from dmp_assets.resources.postgres import PostgresError
from dmp_assets.sources.ihc_journeys import IhcError
from dmp_assets.sources.shop_connection import ShopError
from dmp_assets.sources.web import WebError
from dmp_assets.store.errors import AccessError, StoreError
from dmp_assets.tables import TableError, Tables

out = Console()
err = Console(stderr=True)

EXPECTED = (
    HomeError, PostgresError, ShopError, WebError, IhcError, RangeError, TableError, StoreError,
    AccessError, java.PrerequisiteError,
)  # fmt: skip


@contextmanager
def explained() -> Iterator[None]:
    """Turn the errors that a user can mend into one clear line and exit code 1."""
    try:
        yield
    except EXPECTED as error:
        err.print(f"[bold red]✗[/] {escape(str(error))}", highlight=False)
        raise typer.Exit(1) from error
    except ValidationError as error:
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"])
            err.print(f"[bold red]✗[/] setting DMP_{name.upper()}: {escape(problem['msg'])}")
        raise typer.Exit(2) from error
    except ValueError as error:
        err.print(f"[bold red]✗[/] {escape(str(error))}", highlight=False)
        raise typer.Exit(2) from error


def tables(home: Home) -> Tables:
    """The home's Delta tables, read without a JVM."""
    settings = home.settings()
    return Tables(settings.lakehouse_root or str(home.lakehouse), memory=settings.duckdb_memory)
