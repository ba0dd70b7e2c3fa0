"""`dmp`: the command line. Every command says what it did, or what is wrong and how to mend it."""

import os
import signal
from types import FrameType

import typer

from dmp_assets.cli import doctor, documents, homes, loads, runs, service, show, status, up
from dmp_assets.cli.shared import explained, out
from dmp_assets.foreign_text import guard_logs
from dmp_assets.resources import class_archive, java

app = typer.Typer(
    help="The lakehouse of a shop's marketing and risk people: from PostgreSQL to Slack.\n\n"
    "Start with `dmp demo`; then `dmp up` for Dagster's UI. Everything that a command makes lies "
    "in $DMP_HOME (default ./var). Settings: see .env.example.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(homes.db, name="db", no_args_is_help=True)
app.add_typer(loads.web, name="web", no_args_is_help=True)
app.add_typer(loads.ihc, name="ihc", no_args_is_help=True)
app.add_typer(service.client, name="client", no_args_is_help=True)
app.add_typer(service.user, name="user", no_args_is_help=True)
app.command()(doctor.doctor)
app.command()(status.status)
app.command()(runs.demo)
app.command()(runs.run)
app.command()(runs.attribution)
app.command()(show.show)
app.command()(loads.sample)
app.command("load-shop")(loads.load_shop_command)
app.command()(documents.report)
app.command()(up.up)
app.command()(service.migrate)
app.command()(service.api)
app.command()(documents.catalogue)
app.command("backup")(homes.backup_command)
app.command()(homes.restore)
app.command()(homes.reset)


@app.callback()
def main() -> None:
    """Let a plain `kill` end a command as Ctrl-C does, so that what it started stops with it.

    What a command makes, and whatever it starts makes, is for its owner only.
    """
    os.umask(0o077)
    guard_logs()
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@app.command()
def setup() -> None:
    """Find or install Java, and fetch the JARs that Spark needs (once)."""
    with explained():
        home = java.install_java(out.print)
        fetched = java.fetch_jars()
        out.print(f"Java: {home}; Spark's libraries (JARs): {fetched} fetched, all there")
        archive = class_archive.path(home)
        if not archive.exists():
            out.print("archiving Spark's classes (about 200 MB, once), so that runs start faster")
            if not class_archive.make(archive):
                out.print("this Java cannot archive classes; runs work, and start more slowly")
