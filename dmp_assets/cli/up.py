"""`dmp up`: Dagster's webserver and daemon and the API, until Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmp_assets import execution
from dmp_assets.cli import service
from dmp_assets.cli.shared import explained, out
from dmp_assets.home import Home, HomeError
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
) -> None:
    """Start Dagster's webserver and daemon, and the API, with what they need; Ctrl-C stops all."""
    with explained():
        home = Home.current().prepare()
        settings = home.settings()
        execution.prepare_instance(home)
        workspace = str(project_dir() / "workspace.yaml")
        programs = Path(sys.executable).parent
        commands: list[list[str | Path]] = []
        address = ""
        if only in (None, Part.WEBSERVER):
            host = settings.webserver_host
            port = _port(host, settings.webserver_port, "DMP_WEBSERVER_PORT")
            service.prepare(home, host, "Dagster's UI")
            os.environ["DMP_WEBSERVER_PORT"] = str(port)
            commands.append([sys.executable, "-m", "dmp_assets.gate.serve"])
            scheme = "http" if settings.api_tls_certificate is None else "https"
            address = f"{scheme}://{host}:{port}"
            out.print(f"Dagster: {address}  (Ctrl-C stops it)", highlight=False)
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
            if address:
                _say_how_to_log_in(home, address)
            children = [subprocess.Popen(command, start_new_session=True) for command in commands]
            stack.callback(_stop, children)
            try:
                while all(child.poll() is None for child in children):
                    time.sleep(0.5)
            except KeyboardInterrupt:
                out.print("stopping …")
                return
            raise HomeError("one of them ended by itself; see its output above")


def _say_how_to_log_in(home: Home, address: str) -> None:
    """A sandbox is open to who started it, by a link; elsewhere people have accounts."""
    from dmp_assets.store import login_links

    if home.profile == "sandbox":
        path = service.in_store(home, lambda s: login_links.for_sandbox(s, now=datetime.now(UTC)))
        minutes = login_links.GOOD_FOR // timedelta(minutes=1)
        out.print("Log in:  by this link, once, within "
                  f"{minutes} minutes (another: dmp user link)", highlight=False)  # fmt: skip
        out.print(f"         {address}{path}", highlight=False, soft_wrap=True)
    elif service.in_store(home, _has_no_people):
        out.print("Log in:  nobody can yet; dmp user add you@example.com --role admin",
                  highlight=False)  # fmt: skip


def _has_no_people(store: "sa.Connection") -> bool:
    from dmp_assets.store.schema import person

    return store.execute(person.select().limit(1)).first() is None


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
