"""`dmp doctor`: what is missing on this machine and in the settings, and how to get it."""

import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer
from rich.markup import escape

from dmp_assets.cli import reach, secret_keys, service
from dmp_assets.cli.ports import free_port
from dmp_assets.cli.shared import explained, out, typed
from dmp_assets.home import Home, HomeError
from dmp_assets.platform.base.addresses import is_loopback
from dmp_assets.platform.base.errors import UserError
from dmp_assets.platform.faces.probes import USUAL_SECONDS, NotKnownError
from dmp_assets.platform.lake import java
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres
from dmp_assets.platform.run.outside import missing_parts
from dmp_assets.platform.store import where
from dmp_assets.sources.shop.settings import ShopSettings

Verdict = Literal["good", "note", "bad"]
_MARKS = {"good": "[green]✓[/]", "note": "[yellow]–[/]", "bad": "[red]✗[/]"}


@dataclass(frozen=True)
class Check:
    """One thing to look at. `need` is the verdict when it is not as it should be, or takes longer
    than `longest` seconds; what cannot be known is a note."""

    name: str
    look: Callable[[], str]
    need: Literal["note", "bad"] = "bad"
    longest: float = USUAL_SECONDS


def doctor() -> None:
    """Say what is missing, here and at everything that is configured, and what to do about it.

    Each configured database, service and folder is tried once. Exits 1 when something that is
    needed or configured does not work.
    """
    with explained():
        home = Home.current()
        bad = 0
        checks, is_readable = _checks(home)
        for name, verdict, text in examined(checks):
            bad += verdict == "bad"
            out.print(
                f"{_MARKS[verdict]} {name}: {escape(typed(text))}", highlight=False, soft_wrap=True
            )
        for part in missing_parts(home) if is_readable and (home.state() or not bad) else ():
            out.print(
                f"{_MARKS['note']} not configured: {escape(typed(part))}",
                highlight=False,
                soft_wrap=True,
            )
        raise typer.Exit(1 if bad else 0)


def _checks(home: Home) -> tuple[list[Check], bool]:
    """What to look at, and whether the settings can be read: without them the rest is unknown."""
    checks = [
        Check("Python", lambda: sys.version.split()[0]),
        Check("Java", lambda: str(java.find_java())),
        Check("JARs", lambda: f"{len(java.jar_paths())} in {java.jars_dir()}"),
        Check("Home", lambda: f"{home.root} ({home.profile})"),
        Check("Home is writable", lambda: _writable(home)),
        Check("Secrets", lambda: _private(home)),
        Check("Free disk", lambda: _free_disk(home)),
        Check("Settings", lambda: str(home.settings() and "readable")),
        Check("Quarto", _quarto, "note"),
    ]
    try:
        settings = home.settings()
        outside = reach.probes(home)
    except UserError:
        return checks, False  # what the check of the settings says comes first
    checks += [Check(probe.name, probe.look, longest=probe.longest) for probe in outside]
    configured = settings.store_url is not None
    if settings.of(ShopSettings).shop_database_url is None or where.is_embedded(home):
        checks.append(Check("Embedded PostgreSQL", lambda: postgres_state(home), "note"))
    checks += [
        Check(
            "Operational store", lambda: service.store_state(home), "bad" if configured else "note"
        ),
        *(
            [
                Check("Connections", lambda: secret_keys.connections_state(home)),
                Check("Token keys", lambda: secret_keys.keys_state(home)),
            ]
            if configured or (where.is_embedded(home) and EmbeddedPostgres(home).status().running)
            else []
        ),
        Check("Who is served", lambda: _served(home)),
        Check(
            "Dagster's port",
            lambda: _port(settings.webserver_host, settings.webserver_port, "DMP_WEBSERVER_PORT"),
            "note",
        ),
        Check(
            "API's port",
            lambda: _port(settings.api_host, settings.api_port, "DMP_API_PORT"),
            "note",
        ),
    ]
    return checks, True


def examined(checks: list[Check]) -> Iterator[tuple[str, Verdict, str]]:
    """Name, verdict and words of each check, in order; they run beside each other."""
    pool = ThreadPoolExecutor(len(checks))
    try:
        for check, future in [(check, pool.submit(check.look)) for check in checks]:
            try:
                yield check.name, "good", future.result(timeout=check.longest)
            except NotKnownError as error:
                yield check.name, "note", str(error)
            except LateError:
                yield check.name, check.need, f"no answer within {check.longest:.0f} s"
            except (UserError, OSError) as error:
                yield check.name, check.need, str(error)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


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


def _private(home: Home) -> str:
    """Whether nobody else can read what is in the home's folder of secrets."""
    if not home.secrets.exists():
        return "none yet"
    paths = [home.secrets, *sorted(home.secrets.iterdir())]
    opened = [path for path in paths if stat.S_IMODE(path.lstat().st_mode) & 0o077]
    if opened:
        names = ", ".join(str(path) for path in opened)
        raise HomeError(
            f"others may read or change {names}: `chmod -R go= {home.secrets}`, and change what "
            "they may have read"
        )
    return "nobody else reads them"


def _served(home: Home) -> str:
    """What `dmp up` would refuse to serve, which is said before it does."""
    from dmp_assets.platform.api import serve

    settings = home.settings()
    serve.check_address(home)
    serve.check_address(home, settings.webserver_host, "Dagster's UI")
    hosts = {settings.api_host, settings.webserver_host}
    if all(is_loopback(host) for host in hosts):
        return "this machine alone"
    return f"whoever reaches {' and '.join(sorted(hosts))}"


def _free_disk(home: Home) -> str:
    nearest = _nearest_folder(home)
    free = shutil.disk_usage(nearest).free / 2**30
    if free < 2:
        raise HomeError(f"{free:.1f} GiB free at {nearest}; at least 2 GiB are needed")
    return f"{free:.0f} GiB"


def postgres_state(home: Home) -> str:
    """Whether the home's embedded PostgreSQL runs, where, and where its data lies."""
    status = EmbeddedPostgres(home).status()
    where = f"on {status.endpoint.host}:{status.endpoint.port}" if status.endpoint else ""
    running = f"running {where} as {status.run_as}" if status.running else "not running"
    return f"{running}; data in {status.data}{f'; {status.note}' if status.note else ''}"


def _quarto() -> str:
    from dmp_assets.platform.reporting.renderer import quarto_version

    found = quarto_version()
    return found or "not found; reports are rendered by the embedded renderer"


def _port(host: str, port: int, setting: str) -> str:
    return f"{free_port(host, port, setting)} of {host} is free"
