"""`dmp doctor`: what is missing on this machine and in the settings, and how to get it."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import typer
from pydantic import ValidationError
from rich.markup import escape

from dmp_assets import execution
from dmp_assets.cli import service
from dmp_assets.cli.shared import EXPECTED, explained, out
from dmp_assets.home import Home, HomeError
from dmp_assets.resources import java
from dmp_assets.resources.postgres import EmbeddedPostgres


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
            ("Embedded PostgreSQL", lambda: postgres_state(home), False),
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


def postgres_state(home: Home) -> str:
    status = EmbeddedPostgres(home).status()
    where = f"on {status.endpoint.host}:{status.endpoint.port}" if status.endpoint else ""
    running = f"running {where} as {status.run_as}" if status.running else "not running"
    return f"{running}; data in {status.data}{f'; {status.note}' if status.note else ''}"


def _quarto() -> str:
    from dmp_assets.reporting.renderer import quarto_version

    found = quarto_version()
    return found or "not found; reports are rendered by the embedded renderer"
