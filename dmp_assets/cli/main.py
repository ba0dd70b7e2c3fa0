"""`dmp`: the command line. Every command says what it did, or what is wrong and how to mend it."""

import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import duckdb
import typer
from pydantic import ValidationError
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from dmp_assets import backup, execution
from dmp_assets.cli import service
from dmp_assets.cli.shared import EXPECTED, err, explained, out
from dmp_assets.date_range import parse_range
from dmp_assets.execution import Progress, RunSummary
from dmp_assets.home import Home, HomeError
from dmp_assets.resources import class_archive, java
from dmp_assets.resources.postgres import EmbeddedPostgres
from dmp_assets.resources.shop import shop_url
from dmp_assets.settings import project_dir
from dmp_assets.sources.ihc_journeys import export_training
from dmp_assets.sources.shop_connection import ShopError
from dmp_assets.sources.shop_load import load_shop
from dmp_assets.sources.web import WebError, WebSource
from dmp_assets.tables import TableError, Tables

app = typer.Typer(
    help="The lakehouse of a shop's marketing and risk people: from PostgreSQL to Slack.\n\n"
    "Start with `dmp demo`; then `dmp up` for Dagster's UI. Everything that a command makes lies "
    "in $DMP_HOME (default ./var). Settings: see .env.example.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
db = typer.Typer(help="The embedded PostgreSQL: used as the shop when none is configured.")
app.add_typer(db, name="db", no_args_is_help=True)
web = typer.Typer(help="The web database (DMP_WEB_DATABASE): sessions, conversions and costs.")
app.add_typer(web, name="web", no_args_is_help=True)
ihc = typer.Typer(help="The IHC attribution API.")
app.add_typer(ihc, name="ihc", no_args_is_help=True)
app.add_typer(service.client, name="client", no_args_is_help=True)
app.add_typer(service.user, name="user", no_args_is_help=True)
app.command()(service.migrate)
app.command()(service.api)


@app.callback()
def main() -> None:
    """Let a plain `kill` end a command as Ctrl-C does, so that what it started stops with it."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class LoadMode(StrEnum):
    REFUSE = "refuse"
    REPLACE = "replace"
    APPEND = "append"


@app.command()
def setup() -> None:
    """Find or install Java, and fetch the JARs that Spark needs (once)."""
    with explained():
        home = java.install_java(out.print)
        fetched = java.fetch_jars(out.print)
        out.print(f"Java: {home}; JARs: {fetched} fetched, all there")
        archive = class_archive.path(home)
        if not archive.exists():
            out.print("archiving Spark's classes (about 200 MB, once), so that runs start faster")
            if not class_archive.make(archive):
                out.print("this Java cannot archive classes; runs work, and start more slowly")


@app.command()
def doctor() -> None:
    """Say what is missing on this machine and in the settings, and how to get it."""
    with explained():
        home = Home.current()
        problems = 0
        checks: list[tuple[str, Callable[[], str], bool]] = [
            ("Python", lambda: sys.version.split()[0], True),
            ("Java", lambda: str(java.find_java()), True),
            ("JARs", lambda: f"{len(java.jar_paths())} in {java.jars_dir()}", True),
            ("Home", lambda: f"{home.root} ({home.profile})", True),
            ("Home is writable", lambda: _writable(home), True),
            ("Free disk", lambda: _free_disk(home), True),
            ("Settings", lambda: str(home.settings() and "readable"), True),
            ("Quarto", _quarto, False),
            ("Embedded PostgreSQL", lambda: _postgres(home), False),
            ("Operational store", lambda: service.store_state(home), False),
        ]
        for name, look, needed in checks:
            try:
                out.print(f"[green]✓[/] {name}: {look()}", highlight=False)
            except (*EXPECTED, ValidationError, OSError) as error:
                problems += needed
                mark = "[red]✗[/]" if needed else "[yellow]–[/]"
                out.print(f"{mark} {name}: {escape(str(error))}", highlight=False)
        for part in execution.missing_parts(home):
            out.print(f"[yellow]–[/] not configured: {part}", highlight=False)
        raise typer.Exit(1 if problems else 0)


def _nearest_folder(home: Home) -> Path:
    """The home, or the closest folder above it that is there."""
    return next(path for path in (home.root, *home.root.parents) if path.exists())


def _writable(home: Home) -> str:
    nearest = _nearest_folder(home)
    if not os.access(nearest, os.W_OK):
        raise HomeError(
            f"cannot write to {nearest}; set DMP_HOME to a folder that you can write to"
        )
    return "yes"


def _free_disk(home: Home) -> str:
    nearest = _nearest_folder(home)
    free = shutil.disk_usage(nearest).free / 2**30
    if free < 2:
        raise HomeError(f"{free:.1f} GiB free at {nearest}; at least 2 GiB are needed")
    return f"{free:.0f} GiB"


def _postgres(home: Home) -> str:
    status = EmbeddedPostgres(home).status()
    where = f"on {status.endpoint.host}:{status.endpoint.port}" if status.endpoint else ""
    running = f"running {where} as {status.run_as}" if status.running else "not running"
    return f"{running}; data in {status.data}{f'; {status.note}' if status.note else ''}"


def _quarto() -> str:
    from dmp_assets.reporting.renderer import quarto_version

    found = quarto_version()
    return found or "not found; reports are rendered by the embedded renderer"


def _simulate(make: Callable[..., object], folder: Path, *arguments: object, **named: Any) -> None:
    """Fill a folder, all or nothing, in a process whose memory the run does not carry along."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(make, part, *arguments, **named).result()
    part.replace(folder)


@app.command()
def demo(
    users: Annotated[int | None, typer.Option(help="Users of the simulated shop.")] = None,
    web: Annotated[bool, typer.Option(help="Their visits on the web too, and attribution.")] = True,
    json_output: Annotated[bool, typer.Option("--json", help="Summary for machines.")] = False,
) -> None:
    """Run the whole job on a simulated shop, with a stand-in for Slack; needs nothing else.

    Again: loads nothing twice and redoes only what changed. Never touches a real system, whatever
    is configured.
    """
    with explained():
        from dmp_assets.demo.shop import generate
        from dmp_assets.demo.web import generate_web

        home = Home.current().prepare("sandbox")
        settings = home.settings()
        seed, last = settings.demo_seed, settings.demo_end
        count = users or settings.demo_users
        folder = home.sandbox / f"shop-{count}-{seed}-{last}"
        with execution.outside_systems(home):
            if not folder.exists():
                _say(json_output, f"simulating a shop of {count:,} users …")
                _simulate(generate, folder, users=count, seed=seed, end=last)
            if web and not (folder / "web").exists():
                _say(json_output, "simulating their visits on the web …")
                _simulate(generate_web, folder / "web", folder / "export", seed=seed, end=last)
            database = home.sandbox / "web.sqlite"  # results are written back into it
            if web and not database.exists():
                copied = database.with_suffix(".part")
                shutil.copyfile(folder / "web" / "web.sqlite", copied)
                copied.replace(database)
            loaded = load_shop(shop_url(home), folder / "export", mode="refuse")
            _say(json_output, loaded.message)
            service.migrate_home(home)
            summary = _run_with_bar(home, quiet=json_output)
        _print_summary(home, summary, json_output)
        raise typer.Exit(0 if summary.success else 1)


@app.command()
def run(
    start: Annotated[str, typer.Option(help="First day to read again, e.g. 2024-01-01.")] = "",
    end: Annotated[str, typer.Option(help="Last day (included), UTC.")] = "",
    select: Annotated[
        str, typer.Option(help='Dagster asset selection, e.g. "group:cleaned" or "*".')
    ] = "*",
    replace: Annotated[
        bool, typer.Option("--replace", help="Clear what came from another shop first.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a busy lakehouse.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Summary for machines.")] = False,
) -> None:
    """Bring the lakehouse up to the shop, then model, report and deliver.

    `--start/--end` read those days' registrations and usages again and replace them in the daily
    tables and reports; everything per user is always as of now. Exits 0 only when all went well.
    """
    with explained():
        parse_range(start, end)
        home = Home.current().prepare()
        if replace:
            execution.clear(home)
        with execution.outside_systems(home):
            summary = _run_with_bar(
                home, start=start, end=end, select=select, wait=wait, quiet=json_output
            )
        _print_summary(home, summary, json_output)
        raise typer.Exit(0 if summary.success else 1)


ATTRIBUTION_ASSETS = "tag:domain=attribution"


@app.command()
def attribution(
    start: Annotated[str, typer.Option(help="First day of the conversions, UTC.")] = "",
    end: Annotated[str, typer.Option(help="Last day (included), UTC.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a busy lakehouse.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Summary for machines.")] = False,
) -> None:
    """Attribute the conversions of the web database, all of them or those of some days.

    Needs neither a shop nor Slack nor a key of the IHC API; what is not configured is skipped and
    named. Writes exports/channel_reporting.csv and the report `attribution`.
    """
    with explained():
        parse_range(start, end)
        home = Home.current().prepare()
        if home.settings().web_database is None:
            raise WebError(_NO_WEB_DATABASE)
        with execution.outside_systems(home, shop=False):
            summary = _run_with_bar(
                home, start=start, end=end, select=ATTRIBUTION_ASSETS, wait=wait, shop=False,
                quiet=json_output,
            )  # fmt: skip
        _print_summary(home, summary, json_output)
        raise typer.Exit(0 if summary.success else 1)


_NO_WEB_DATABASE = (
    "no web database is configured; set DMP_WEB_DATABASE to an SQLite file or a PostgreSQL URL "
    "(make an empty one: dmp web init)"
)


def _web_source() -> WebSource:
    configured = Home.current().settings().web_database
    if configured is None:
        raise WebError(_NO_WEB_DATABASE)
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
            err.print(f"[bold red]✗[/] {problem}", highlight=False)
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
) -> None:
    """Load CSV files into the web database, all or nothing. The same files again change nothing."""
    with explained():
        source = _web_source()
        source.init()
        out.print(source.load(directory, replace=replace, append=append).message)


@ihc.command("export-training")
def ihc_export_training(
    file: Annotated[Path, typer.Argument(help="A .json or .csv file to write.")],
) -> None:
    """Write the journeys as the IHC service takes them to train a conversion type."""
    with explained():
        rows = _tables(Home.current()).sql(
            """SELECT conv_id, session_id, session_at AS "timestamp", channel_name,
            holder_engagement, closer_engagement, impression_interaction
            FROM modeled.customer_journeys ORDER BY conv_id, position"""
        )
        out.print(f"{export_training(rows, file):,} sessions in {file}", highlight=False)


def _say(quiet: bool, text: str) -> None:
    if not quiet:
        out.print(text, highlight=False)


def _run_with_bar(home: Home, *, quiet: bool, **options: Any) -> RunSummary:
    if quiet:
        return execution.run(home, **options)
    with Bar(
        TextColumn("{task.description:<38}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=out,
    ) as bar:
        task = bar.add_task("starting", total=None)

        def show(progress: Progress) -> None:
            bar.update(
                task,
                description=progress.current,
                completed=progress.done,
                total=progress.total or None,
            )

        return execution.run(home, report=show, **options)


def _print_summary(home: Home, summary: RunSummary, as_json: bool) -> None:
    if as_json:
        print(summary.as_json())
        return
    state = "[green]done[/]" if summary.success else "[bold red]failed[/]"
    made = [t for t in summary.tables if not t.unchanged]
    out.print(
        f"\nRun {summary.run_id[:8]} {state} in {summary.seconds:.0f} s: "
        f"{len(made)} assets made, {len(summary.tables) - len(made)} unchanged"
    )
    layers = Table("layer", "tables", "rows", "quarantined", "seconds", box=None, pad_edge=False)
    for column in layers.columns[1:]:
        column.justify = "right"
    spent = summary.seconds_by_layer()
    for layer, rows in summary.rows_by_layer().items():
        members = [t for t in summary.tables if t.key.startswith(f"{layer}/")]
        bad = sum(t.quarantined or 0 for t in members)
        layers.add_row(
            layer,
            str(len(members)),
            f"{rows:,}",
            f"{bad:,}" if bad else "",
            f"{spent[layer]:.1f}" if layer in spent else "",
        )
    out.print(layers)
    for line in (*_model_quality(home), *_attribution(home)):
        out.print(line, highlight=False)
    for line in _checks(summary):
        out.print(line, highlight=False)
    for failure in summary.failures:
        out.print(f"[bold red]✗[/] {failure}", highlight=False)
    for part in summary.skipped:
        out.print(f"[dim]skipped: {part}[/]", highlight=False)
    if (home.reports / "promo_abuse.html").exists():
        out.print(f"Dashboard  {home.reports / 'promo_abuse.html'}", highlight=False)
        out.print(f"Reports    {home.reports / 'index.html'}", highlight=False)
    if (exported := home.exports / "channel_reporting.csv").exists():
        out.print(f"CSV        {exported}", highlight=False)
    out.print("Tables     dmp show cleaned/users · dmp show ml/abuse_scores", highlight=False)
    out.print("Dagster    make up  (and the API: docs/api.md)", highlight=False)


def _model_quality(home: Home) -> list[str]:
    store = _tables(home)
    if not store.exists("ml/model_registry"):
        return []
    from dmp_assets.ml.registry import headline

    return [headline(store)]


def _checks(summary: RunSummary) -> list[str]:
    """One line a check, with the tables that it found something in."""
    tables: dict[tuple[str, str], list[str]] = {}
    for failed in summary.failed_checks:
        table, name, severity = failed.split(" ")
        tables.setdefault((severity.strip("()"), name), []).append(table)
    words = {"ERROR": "[bold red]check failed[/]", "WARN": "[yellow]check warns[/]"}
    return [f"{words[s]} {name}: {', '.join(where)}" for (s, name), where in tables.items()]


def _attribution(home: Home) -> list[str]:
    """How the last attribution adds up, and what it found."""
    if not _tables(home).exists("modeled/attribution_runs"):
        return []
    from dmp_assets.reporting import attribution_figures as figures

    report = figures.opened(home)
    days = figures.period(report)
    if days is None:
        return []
    settings = home.settings()
    found = figures.totals(report, settings.reporting_model, days)
    cpo = "—" if found.cpo is None else f"{found.cpo:.2f} {settings.currency}"
    roas = "—" if found.roas is None else f"{found.roas:.2f}"
    conversions, _ = figures.added_up(report, days).lines(settings.currency)
    return [f"attribution {days}: CPO {cpo}, ROAS {roas}; {conversions}"]


def _tables(home: Home) -> Tables:
    settings = home.settings()
    return Tables(settings.lakehouse_root or str(home.lakehouse), memory=settings.duckdb_memory)


@app.command()
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
        store = _tables(home)
        if not table:
            _list_tables(store)
            return
        key = table.replace(".", "/", 1)
        pinned = Tables(
            store.root, memory=store.memory, versions={} if version is None else {key: version}
        )
        layer, _, name = key.partition("/")
        store.path(key)
        condition = f"WHERE {where}" if where else ""
        try:
            found = pinned.sql(f"SELECT * FROM {layer}.{name} {condition} LIMIT {limit}")
            total = pinned.scalar(f"SELECT count(*) FROM {layer}.{name} {condition}")
        except duckdb.Error as error:
            raise TableError(f"--where {where!r}: {error}") from error
        if csv:
            found.to_pandas().to_csv(sys.stdout, index=False)
            return
        _print_rows(found.column_names, found.to_pylist())
        out.print(f"{found.num_rows} of {total:,} rows, version {pinned.version(key)}")


def _print_rows(names: list[str], rows: list[dict[str, Any]]) -> None:
    """As a table where it fits, else one value a line."""
    cells = [["" if value is None else str(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    if sum(widths) + 2 * len(names) <= out.width:
        shown = Table(*names, box=None, pad_edge=False)
        for row in cells:
            shown.add_row(*row)
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


@app.command("load-shop")
def load_shop_command(
    directory: Annotated[
        Path, typer.Argument(help="Folder with users.csv, promo_codes.csv, promo_usages.csv.")
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Clear the shop's rows first.")
    ] = False,
    append: Annotated[bool, typer.Option("--append", help="Add to the shop's rows.")] = False,
) -> None:
    """Load CSV exports into the shop database (the embedded PostgreSQL unless configured).

    Refuses a shop that holds other rows unless --replace or --append. The same files again change
    nothing.
    """
    with explained():
        if replace and append:
            raise ShopError("--replace and --append exclude each other")
        mode = LoadMode.REPLACE if replace else LoadMode.APPEND if append else LoadMode.REFUSE
        home = Home.current().prepare()
        with execution.outside_systems(home):
            out.print(load_shop(shop_url(home), directory, mode=mode.value).message)


@app.command()
def report(
    name: Annotated[str, typer.Argument(help="Report below reports/, or `all`.")] = "promo_abuse",
    as_of: Annotated[
        Path | None, typer.Option(help="A footer's versions (JSON) to render again as of.")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Render a report from the tables as they are, and print its path."""
    with explained():
        from dmp_assets.reporting.renderer import Renderer, RenderError
        from dmp_assets.reporting.report_assets import READS

        home = Home.current()
        versions = json.loads(as_of.read_text()) if as_of else None
        names = list(READS) if name == "all" else [name]
        try:
            with Renderer(project_dir(), home) as renderer:
                for each in names:
                    rendered = renderer.render(each, versions=versions)
                    print(rendered.path)
        except RenderError as error:
            raise HomeError(str(error)) from error
        if open_it:
            webbrowser.open(rendered.path.as_uri())


class Part(StrEnum):
    WEBSERVER = "webserver"
    DAEMON = "daemon"
    API = "api"


@app.command()
def up(
    only: Annotated[
        Part | None, typer.Option(help="Start one of the three, e.g. in compose.")
    ] = None,
) -> None:
    """Start Dagster's webserver and daemon, and the API, with what they need; Ctrl-C stops all."""
    with explained():
        home = Home.current().prepare()
        settings = home.settings()
        execution.prepare_instance(home)
        workspace = str(project_dir() / "workspace.yaml")
        programs = Path(sys.executable).parent
        commands: list[list[str | Path]] = []
        if only in (None, Part.WEBSERVER):
            host = settings.webserver_host
            port = _port(host, settings.webserver_port, "DMP_WEBSERVER_PORT")
            server: list[str | Path] = [
                programs / "dagster-webserver",
                "-h",
                host,
                "-p",
                str(port),
                "-w",
                workspace,
            ]
            commands.append(server)
            out.print(f"Dagster: http://{host}:{port}  (Ctrl-C stops it)", highlight=False)
        if only in (None, Part.DAEMON):
            commands.append([programs / "dagster-daemon", "run", "-w", workspace])
        if only in (None, Part.API):
            host, port = (
                settings.api_host,
                _port(settings.api_host, settings.api_port, "DMP_API_PORT"),
            )
            service.prepare(home)
            os.environ["DMP_API_PORT"] = str(port)
            commands.append([programs / "dmp", "api"])
            scheme = "http" if settings.api_tls_certificate is None else "https"
            out.print(f"API:     {scheme}://{host}:{port}", highlight=False)
        with ExitStack() as stack:
            stack.enter_context(execution.outside_systems(home))
            if only is not Part.API:
                import dagster as dg

                with dg.DagsterInstance.get() as instance:
                    execution.bury_dead_runs(instance)
            children = [subprocess.Popen(command, start_new_session=True) for command in commands]
            stack.callback(_stop, children)
            try:
                while all(child.poll() is None for child in children):
                    time.sleep(0.5)
            except KeyboardInterrupt:
                out.print("stopping …")
                return
            raise HomeError("one of them ended by itself; see its output above")


def _port(host: str, port: int, setting: str) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise HomeError(
                f"port {port} of {host} is taken ({error.strerror}); set {setting} to another one"
            ) from error
        return int(probe.getsockname()[1])


def _stop(children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)
    for child in children:
        try:
            child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)


@app.command()
def catalogue() -> None:
    """Print docs/assets.md from the code: every asset, its columns, inputs, checks and owner."""
    from dmp_assets.automation import catalogue as assets
    from dmp_assets.definitions import defs

    print(assets.markdown(defs.get_repository_def().asset_graph), end="")


@app.command("backup")
def backup_command(
    file: Annotated[Path, typer.Argument(help="A new file, e.g. dmp-2024-03-31.tar.gz.")],
) -> None:
    """Write the home with its own databases into one file. It holds secrets and personal data."""
    with explained():
        size = backup.back_up(Home.current(), file)
        out.print(f"{file}: {size / 2**20:.1f} MB, readable by its owner only", highlight=False)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="What `dmp backup` wrote.", exists=True)],
) -> None:
    """Make the home from a backup; DMP_HOME must be a folder that is empty or not there."""
    with explained():
        home = Home.current()
        backup.restore(file, home)
        out.print(f"{home.root} is as it was", highlight=False)


@app.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove the home with everything in it. Asks first."""
    with explained():
        home = Home.current()
        if not home.root.exists():
            out.print(f"{home.root} is not there; nothing to remove")
            return
        if not yes and not typer.confirm(f"Remove {home.root} with all tables and reports?"):
            raise typer.Exit(1)
        execution.clear(home, everything=True)
        out.print(f"removed {home.root}")


@db.command("start")
def db_start() -> None:
    """Start the home's embedded PostgreSQL and leave it running."""
    with explained():
        endpoint = EmbeddedPostgres(Home.current().prepare()).start()
        out.print(f"PostgreSQL on {endpoint.host}:{endpoint.port}; password in endpoint.json")


@db.command("stop")
def db_stop() -> None:
    """Stop the home's embedded PostgreSQL."""
    with explained():
        stopped = EmbeddedPostgres(Home.current()).stop()
        out.print("stopped" if stopped else "was not running")


@db.command("status")
def db_status() -> None:
    """Say whether the home's embedded PostgreSQL runs, and where."""
    with explained():
        out.print(_postgres(Home.current()), highlight=False)
