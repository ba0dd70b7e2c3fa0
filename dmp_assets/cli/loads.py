"""Commands that fill the shop and the web database, and export for the IHC service."""

import shutil
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from dmp_assets.cli.shared import err, explained, out, tables
from dmp_assets.home import Home
from dmp_assets.platform.run.outside import outside_systems
from dmp_assets.sources.csv.reading import Reading
from dmp_assets.sources.shop.connection import ShopError
from dmp_assets.sources.shop.load import load_shop
from dmp_assets.sources.shop.settings import ShopSettings
from dmp_assets.sources.web.settings import WebSettings

if TYPE_CHECKING:
    from dmp_assets.sources.web.database import WebSource

web = typer.Typer(
    help="The web database (DMP_WEB_DATABASE): sessions, conversions and costs.",
    no_args_is_help=True,
)
ihc = typer.Typer(help="The IHC attribution API.", no_args_is_help=True)


Delimiter = Annotated[
    str | None,
    typer.Option(help="What parts the fields, e.g. ';' or tab; else it is found out."),
]
Names = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        help="COLUMN=NAME: what the files call a column, or FILE.COLUMN=NAME for one; repeatable.",
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(help="How the files are written, e.g. shift_jis; else it is found out."),
]


class LoadMode(StrEnum):
    REFUSE = "refuse"
    REPLACE = "replace"
    APPEND = "append"


def load_shop_command(
    directory: Annotated[
        Path, typer.Argument(help="Folder with users.csv, promo_codes.csv, promo_usages.csv.")
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Clear the shop's rows first.")
    ] = False,
    append: Annotated[bool, typer.Option("--append", help="Add to the shop's rows.")] = False,
    delimiter: Delimiter = None,
    names: Names = None,
    encoding: Encoding = None,
) -> None:
    """Load CSV exports into the shop database (the embedded PostgreSQL unless configured).

    Refuses a shop that holds other rows unless --replace or --append. The same files again change
    nothing.
    """
    from dmp_assets.sources.shop.resource import loading_url

    with explained():
        if replace and append:
            raise ShopError("--replace and --append exclude each other")
        reading = Reading.of(delimiter, names or (), encoding)
        mode = LoadMode.REPLACE if replace else LoadMode.APPEND if append else LoadMode.REFUSE
        home = Home.current().prepare()
        with outside_systems(home):
            done = load_shop(
                loading_url(home),
                directory,
                mode=mode.value,
                schema=home.settings().of(ShopSettings).shop_schema,
                reading=reading,
            )
            out.print(done.message, markup=False, soft_wrap=True)


def sample(
    directory: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
    users: Annotated[int, typer.Option(min=100, help="Users of the simulated shop.")] = 1_000,
) -> None:
    """Write a simulated shop's CSV exports, as `dmp load-shop` takes them, to try that out."""
    with explained():
        from dmp_assets.demo.business.shop import generate

        if directory.exists():
            raise ShopError(f"{directory} is there already; name another folder")
        settings = Home.current().settings()
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "shop"
            generate(made, users=users, seed=settings.demo_seed, end=settings.demo_end)
            shutil.copytree(made / "export", directory)
        names = ", ".join(sorted(path.name for path in directory.iterdir()))
        out.print(f"{directory}: {names}", highlight=False, soft_wrap=True)


NO_WEB_DATABASE = (
    "no web database is configured; set DMP_WEB_DATABASE to an SQLite file or a PostgreSQL URL "
    "(make an empty one: dmp web init)"
)


def _web_source() -> "WebSource":
    from dmp_assets.sources.web.database import WebError, WebSource

    configured = Home.current().settings().of(WebSettings).web_database
    if configured is None:
        raise WebError(NO_WEB_DATABASE)
    return WebSource(configured.get_secret_value())


@web.command("init")
def web_init() -> None:
    """Create the tables session_sources, conversions and session_costs where they are missing."""
    with explained():
        source = _web_source()
        made = source.init()
        what = f"created {', '.join(made)}" if made else "all tables are there"
        out.print(f"{source.name}: {what}", highlight=False)


@web.command("check")
def web_check() -> None:
    """Say whether the database has the tables and columns that attribution needs."""
    with explained():
        source = _web_source()
        problems = source.check()
        for problem in problems:
            err.print(f"[bold red]✗[/] {escape(problem)}", highlight=False)
        if problems:
            raise typer.Exit(1)
        state = source.probe()
        for name, table in state.tables.items():
            out.print(f"[green]✓[/] {name}: {table.row_count:,} rows", highlight=False)


@web.command("load")
def web_load(
    directory: Annotated[
        Path,
        typer.Argument(help="Folder with session_sources.csv, conversions.csv, session_costs.csv."),
    ],
    replace: Annotated[bool, typer.Option("--replace", help="Clear the tables first.")] = False,
    append: Annotated[bool, typer.Option("--append", help="Add to the tables.")] = False,
    delimiter: Delimiter = None,
    names: Names = None,
    encoding: Encoding = None,
) -> None:
    """Load CSV files into the web database, all or nothing. The same files again change nothing."""
    with explained():
        reading = Reading.of(delimiter, names or (), encoding)
        source = _web_source()
        source.init()
        done = source.load(directory, replace=replace, append=append, reading=reading)
        out.print(done.message, markup=False, soft_wrap=True)


@ihc.command("export-training")
def ihc_export_training(
    file: Annotated[Path, typer.Argument(help="A .json or .csv file to write.")],
) -> None:
    """Write the journeys as the IHC service takes them to train a conversion type."""
    from dmp_assets.sources.ihc.journeys import export_training

    with explained():
        rows = tables(Home.current()).sql(
            """SELECT conv_id, session_id, session_at AS "timestamp", channel_name,
            holder_engagement, closer_engagement, impression_interaction
            FROM modeled.customer_journeys ORDER BY conv_id, position"""
        )
        out.print(f"{export_training(rows, file):,} sessions in {file}", highlight=False)
