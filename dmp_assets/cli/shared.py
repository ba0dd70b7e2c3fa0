"""What all commands share: where they write, and errors that a user can mend in one clear line."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape

from dmp_assets.home import Home
from dmp_assets.platform.base.errors import GivenError, UserError
from dmp_assets.platform.base.leaving import INTERRUPTED
from dmp_assets.platform.text.foreign_text import visible
from dmp_assets.settings import unknown_names

if TYPE_CHECKING:
    from dmp_assets.platform.lake.tables import Tables


class GuardedConsole(Console):
    """A console that shows control characters instead of obeying them; mark-up is rich's."""

    def print(self, *objects: Any, **options: Any) -> None:
        shown = (visible(o, lines=True) if isinstance(o, str) else o for o in objects)
        super().print(*shown, **options)


out = GuardedConsole()
err = GuardedConsole(stderr=True)

_COMMAND = re.compile(r"(?<![\w/.-])dmp (?=[a-z])")


@cache
def program() -> str:
    """What a person types here to run `dmp`: the word alone only where the shell finds this one."""
    here = Path(sys.executable).parent / "dmp"
    if not here.exists():
        return "dmp"
    found = shutil.which("dmp")
    if found is not None and os.path.realpath(found) == os.path.realpath(here):
        return "dmp"
    relative = os.path.relpath(here)
    return str(here) if relative.startswith("..") else relative


def typed(text: str) -> str:
    """The text with every `dmp …` in it as it can be typed here."""
    return _COMMAND.sub(f"{program()} ", text)


def fail(message: str) -> None:
    """Say on standard error what is wrong."""
    err.print(f"[bold red]✗[/] {escape(typed(message))}", highlight=False, soft_wrap=True)


@contextmanager
def explained() -> Iterator[None]:
    """Turn the errors that a user can mend into one clear line and exit code 1 (2: as given).

    Ctrl-C and a plain `kill` end with one line and 130.
    """
    try:
        for line in unknown_names():
            err.print(f"[yellow]![/] {escape(line)}", highlight=False)
        yield
    except KeyboardInterrupt:
        err.print("stopped")
        raise typer.Exit(INTERRUPTED) from None
    except UserError as error:
        fail(str(error))
        raise typer.Exit(2 if isinstance(error, GivenError) else 1) from error


def tables(home: Home) -> "Tables":
    """The home's Delta tables, read without a JVM."""
    from dmp_assets.platform.lake.tables import Tables

    return Tables.of(home)
