"""`dmp`: the command line. Every command says what it did, or what is wrong and how to mend it."""

import os
import signal
from collections import UserDict
from importlib import import_module
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from dmp_assets.platform.text.foreign_text import guard_logs

COMMANDS = {
    "doctor": "doctor:doctor",
    "status": "status:status",
    "demo": "runs:demo",
    "run": "runs:run",
    "attribution": "runs:attribution",
    "show": "show:show",
    "sample": "loads:sample",
    "load-shop": "loads:load_shop_command",
    "report": "documents:report",
    "up": "up:up",
    "migrate": "service:migrate",
    "api": "service:api",
    "catalogue": "documents:catalogue",
    "backup": "homes:backup_command",
    "restore": "homes:restore",
    "reset": "homes:reset",
    "setup": "setup:setup",
    "db": "homes:db",
    "web": "loads:web",
    "ihc": "loads:ihc",
    "client": "service:client",
    "user": "service:user",
    "secrets": "secret_keys:secrets",
    "forget": "forget:forget",
}
"""What each command is, as module below `dmp_assets.cli` and name in it; in the order of
`dmp --help`."""


class _Loaded(UserDict[str, Any]):
    """The commands by name; each is imported when it is looked at, so that `dmp` starts at once."""

    def __getitem__(self, name: str) -> Any:
        found = super().__getitem__(name)
        if isinstance(found, str):
            module, _, attribute = found.partition(":")
            found = _command(name, getattr(import_module(f"dmp_assets.cli.{module}"), attribute))
            self[name] = found
        return found


def _command(name: str, made: Any) -> Any:
    """A function, or a Typer of several, as what Typer's groups hold."""
    several = isinstance(made, typer.Typer)
    single = made if several else typer.Typer(rich_markup_mode="markdown", add_completion=False)
    if not several:
        single.command(name)(made)
    command = (typer.main.get_group if several else typer.main.get_command)(single)
    command.name = name
    return command


class _Commands(TyperGroup):
    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self.commands = _Loaded(COMMANDS)


app = typer.Typer(
    cls=_Commands,
    help="The lakehouse of a shop's marketing and risk people: from PostgreSQL to Slack.\n\n"
    "Start with `dmp demo`; then `dmp up` for Dagster's UI. Everything that a command makes lies "
    "in $DMP_HOME (default ./var). Settings: see .env.example.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


@app.callback()
def main() -> None:
    """Let a plain `kill` end a command as Ctrl-C does, so that what it started stops with it.

    Called when the command has been loaded. What it makes, and whatever it starts makes, is for
    its owner only.
    """
    os.umask(0o077)
    guard_logs()
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
