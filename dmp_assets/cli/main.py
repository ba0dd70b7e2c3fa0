"""`dmp`: the command line. Every command says what it did, or what is wrong and how to mend it."""

import os
import signal
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from dmp_assets import domains
from dmp_assets.platform.text.foreign_text import guard_logs

COMMANDS = {
    "doctor": "doctor:doctor",
    "status": "status:status",
    "demo": "runs:demo",
    "run": "runs:run",
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
    "spark": "spark:spark",
    "client": "service:client",
    "user": "service:user",
    "advertiser": "advertisers:advertiser",
    "secrets": "secret_keys:secrets",
    "forget": "forget:forget",
    "stream": "stream:stream",
}
"""What each command of no domain is, as module below `dmp_assets.cli` and name in it; in the order
of `dmp --help`."""
DOMAINS_AFTER = "run"
"""The command after which those of the domains are listed."""


class _Loaded(MutableMapping[str, Any]):
    """The commands by name; each is imported when it is looked at, so that `dmp` starts at once.

    A domain's are the functions, or Typers of several, in `COMMANDS` of its room `commands`: name →
    function. These rooms are imported when a name is none of ours, and to list all.
    """

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            if name in COMMANDS:
                module, _, attribute = COMMANDS[name].partition(":")
                found = getattr(import_module(f"dmp_assets.cli.{module}"), attribute)
            else:
                found = _brought()[name]
            self._made[name] = _command(name, found)
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        raise TypeError("no command is taken away")

    def __iter__(self) -> Iterator[str]:
        for name in COMMANDS:
            yield name
            if name == DOMAINS_AFTER:
                yield from _brought()

    def __len__(self) -> int:
        return len(COMMANDS) + len(_brought())


def _brought() -> dict[str, Any]:
    """The commands of the domains. Raises ValueError for one that is there already."""
    found: dict[str, Any] = {}
    for domain, room in domains.rooms("commands").items():
        for name, made in room.COMMANDS.items():
            if name in COMMANDS or name in found:
                raise ValueError(f"{domain} brings the command {name}, which is there already")
            found[name] = made
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
        self.commands = _Loaded()


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
