"""`python -m dmp_assets.platform.gate.serve`: Dagster's UI behind the gate, in one process.

Dagster's app listens nowhere by itself: the gate calls it, so nobody can go around it.
"""

import logging
from contextlib import suppress
from typing import Any

import dagster as dg
import structlog
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._utils.log import configure_loggers
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__

from dmp_assets.home import Home
from dmp_assets.platform.api.serve import HARDENED, check_address, log_as_json, tls_options
from dmp_assets.platform.gate.app import create_gate
from dmp_assets.platform.gate.gate import may_launch
from dmp_assets.platform.gate.origins import Origins
from dmp_assets.settings import Settings, project_dir

# As Dagster's own webserver has them.
_STATEMENT_MILLISECONDS, _POOL_RECYCLE, _POOL_OVERFLOW = 15_000, 3_600, 20
_POLL_MILLISECONDS = 2_000


class Workspace(WorkspaceProcessContext):
    """Dagster's workspace, read-only for requests that the gate let through to look only."""

    def create_request_context(self, source: object | None = None) -> WorkspaceRequestContext:
        """The context of one request; `source` is its HTTP connection."""
        scope: Any = getattr(source, "scope", {})
        return WorkspaceRequestContext(
            instance=self.instance,
            current_workspace=self.get_current_workspace(),
            process_context=self,
            version=self.version,
            source=source,
            read_only=not may_launch(scope),
        )


def is_secure(settings: Settings) -> bool:
    """Whether people reach the UI by TLS, here or at a proxy."""
    return settings.api_tls_certificate is not None or settings.api_behind_proxy


def origins(settings: Settings, port: int) -> Origins:
    """Where people reach the UI."""
    urls = (settings.webserver_url, settings.public_url or "")
    return Origins.of(settings.webserver_host, port, secure=is_secure(settings), urls=urls)


def serve(home: Home) -> None:
    """Serve until stopped. Raises HomeError for an address that must not be used."""
    settings = home.settings()
    check_address(home, settings.webserver_host, "Dagster's UI")
    log_as_json()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    configure_loggers(log_level="WARNING")
    with (
        dg.DagsterInstance.get() as instance,
        Workspace(
            instance,
            version=__version__,
            workspace_load_target=WorkspaceFileTarget([str(project_dir() / "workspace.yaml")]),
            code_server_log_level="WARNING",
        ) as workspace,
        suppress(KeyboardInterrupt),  # uvicorn raises it anew after it has ended in good order
    ):
        instance.optimize_for_webserver(_STATEMENT_MILLISECONDS, _POOL_RECYCLE, _POOL_OVERFLOW)
        dagster = create_app_from_workspace_process_context(
            workspace, live_data_poll_rate=_POLL_MILLISECONDS
        )
        port = settings.webserver_port
        config = uvicorn.Config(
            create_gate(home, dagster, origins(settings, port), secure=is_secure(settings)),
            host=settings.webserver_host,
            port=port,
            proxy_headers=settings.api_behind_proxy,
            forwarded_allow_ips=settings.api_proxies,
            **HARDENED,
            **tls_options(settings),
        )
        uvicorn.Server(config).run()


if __name__ == "__main__":
    serve(Home.current())
