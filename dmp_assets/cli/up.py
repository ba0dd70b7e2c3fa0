"""`dmp up`: Dagster's webserver and daemon and the API, until Ctrl-C."""

import os
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmp_assets.cli import service
from dmp_assets.cli.children import Program, running, to_terminal
from dmp_assets.cli.ports import answers, free_port
from dmp_assets.cli.shared import explained, out
from dmp_assets.home import Home
from dmp_assets.platform.run.ends import bury_dead_runs
from dmp_assets.platform.run.instance import prepare_instance
from dmp_assets.platform.run.outside import outside_systems
from dmp_assets.settings import project_dir

if TYPE_CHECKING:
    import sqlalchemy as sa


class Part(StrEnum):
    WEBSERVER = "webserver"
    DAEMON = "daemon"
    API = "api"


def up(
    only: Annotated[
        Part | None, typer.Option(help="Start one of the three, e.g. in compose.")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show all that they log, not errors only.")
    ] = False,
) -> None:
    """Start Dagster's webserver and daemon, and the API, with what they need; Ctrl-C stops all.

    What they log is in the home's dagster/logs; one that is started alone shows it too.
    """
    with explained():
        home = Home.current().prepare()
        settings = home.settings()
        prepare_instance(home)
        workspace = str(project_dir() / "workspace.yaml")
        programs = Path(sys.executable).parent
        started: list[Program] = []
        listening: list[tuple[str, int]] = []
        told: list[str] = []
        address = ""
        if only in (None, Part.WEBSERVER):
            host = settings.webserver_host
            port = free_port(host, settings.webserver_port, "DMP_WEBSERVER_PORT")
            service.prepare(home, host, "Dagster's UI")
            os.environ["DMP_WEBSERVER_PORT"] = str(port)
            started.append(
                Program("webserver", [sys.executable, "-m", "dmp_assets.platform.gate.serve"])
            )
            scheme = "http" if settings.api_tls_certificate is None else "https"
            address = f"{scheme}://{host}:{port}"
            listening.append((host, port))
            told.append(f"Dagster: {address}  (Ctrl-C stops it)")
        if only in (None, Part.DAEMON):
            daemon: list[str | Path] = [programs / "dagster-daemon", "run", "-w", workspace]
            started.append(Program("daemon", daemon))
        if only in (None, Part.API):
            host, port = (
                settings.api_host,
                free_port(settings.api_host, settings.api_port, "DMP_API_PORT"),
            )
            service.prepare(home)
            os.environ["DMP_API_PORT"] = str(port)
            started.append(Program("api", [programs / "dmp", "api"]))
            scheme = "http" if settings.api_tls_certificate is None else "https"
            listening.append((host, port))
            told.append(f"API:     {scheme}://{host}:{port}")
        with ExitStack() as stack:
            stack.enter_context(outside_systems(home))
            if only is not Part.API:
                import dagster as dg

                with dg.DagsterInstance.get() as instance:
                    bury_dead_runs(instance)
            shown = verbose or only is not None
            logs = home.dagster / "logs"
            out.print("starting …")
            children = stack.enter_context(running(started, logs, to_terminal, verbose=shown))
            try:
                children.watch(until=lambda: all(answers(*place) for place in listening))
                for line in told:
                    out.print(line, highlight=False)
                if address:
                    _say_how_to_log_in(home, address)
                _say_where_messages_are(home)
                children.watch()
            except KeyboardInterrupt:
                out.print("stopping …")


def _say_how_to_log_in(home: Home, address: str) -> None:
    """A sandbox is open to who started it, by a link; elsewhere people have accounts."""
    from dmp_assets.platform.store import login_links

    if home.profile == "sandbox":
        path = service.in_store(home, lambda s: login_links.for_sandbox(s, now=datetime.now(UTC)))
        minutes = login_links.GOOD_FOR // timedelta(minutes=1)
        out.print("Log in:  by this link, once, within "
                  f"{minutes} minutes (another: dmp user link)", highlight=False)  # fmt: skip
        out.print(f"         {address}{path}", highlight=False, soft_wrap=True)
    elif service.in_store(home, _has_no_people):
        out.print("Log in:  nobody can yet; dmp user add you@example.com --role admin",
                  highlight=False)  # fmt: skip


def _say_where_messages_are(home: Home) -> None:
    """A sandbox's messages go to its stand-in for Slack, which has a page."""
    if home.profile == "sandbox":
        from dmp_assets.demo.sandbox.server import PAGES, Sandbox

        if (endpoint := Sandbox(home).living()) is not None:
            out.print(f"Slack:   {endpoint.url}{PAGES}/slack  (the sandbox's)", highlight=False)


def _has_no_people(store: "sa.Connection") -> bool:
    from dmp_assets.platform.store.schema import person

    return store.execute(person.select().limit(1)).first() is None
