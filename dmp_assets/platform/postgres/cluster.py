"""The database cluster of the embedded PostgreSQL: made once, then started and stopped.

Its user is `alone` with the files (`ServerFiles.alone`).
"""

import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from dmp_assets.platform.postgres import roles, server
from dmp_assets.platform.postgres.endpoint import Endpoint, PostgresError, explain, opened
from dmp_assets.platform.postgres.files import START_SECONDS, ServerFiles

USER = "dmp"
DATABASE = "shop"
SETTINGS = {
    "listen_addresses": server.HOST,
    "unix_socket_directories": "",
    "max_connections": "50",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
_PORT_ATTEMPTS = 5


class Cluster:
    """The server's data and its processes."""

    def __init__(self, files: ServerFiles, state_dir: Path) -> None:
        self._files, self._state_dir = files, state_dir

    def start(self) -> Endpoint:
        """Start the server unless it runs; data, roles and the database are made where missing."""
        known = self._files.known()
        running = server.server_of(self._files.data(known))
        if known and running:
            endpoint = self.endpoint(known, running[1])
            if "roles" not in known:
                self.with_roles(known, endpoint)
            return endpoint
        if not known or not self._files.data(known).exists():
            known = self._initialise()
        data = self._files.data(known)
        port = self._launch(data, known.get("port"))
        if port != known.get("port"):
            known |= {"port": port}
            self._files.remember(known)
        endpoint = self.endpoint(known, port)
        if "roles" not in known:
            self.with_roles(known, endpoint)
        roles.ensure_database(endpoint, endpoint.database)
        return endpoint

    def stop(self) -> bool:
        """Stop the server; False when it did not run."""
        stopped = server.stop_server(self._state_dir, self._files.data(self._files.known()))
        self._files.transient.unlink(missing_ok=True)
        return stopped

    def endpoint(self, known: dict[str, Any], port: int) -> Endpoint:
        """Where the administrator is answered."""
        return Endpoint(server.HOST, port, USER, SecretStr(known["password"]), DATABASE)

    def with_roles(self, known: dict[str, Any], endpoint: Endpoint) -> dict[str, Any]:
        """Make the roles; what earlier versions made in the databases becomes theirs."""
        passwords = roles.make(endpoint)
        for database in databases_of(endpoint):
            roles.own(endpoint, database)
        known = known | {"roles": passwords}
        self._files.remember(known)
        return known

    def _initialise(self) -> dict[str, Any]:
        """Make the data directory; half-made ones of a killed start are thrown away."""
        folder = self._files.folder
        if (folder / "data").exists():
            raise PostgresError(
                f"{folder / 'data'} holds a database, but {self._files.endpoint} with its password "
                "is missing; put that file back, or delete the folder to start with an empty one"
            )
        account = server.account_for(folder / "data")
        part, data = folder / "data.part", folder / "data"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        account.give(part, 0o700)
        password = secrets.token_urlsafe(24)
        binaries = server.binaries(self._state_dir, account)
        name, cwd = account.inside(part)
        with tempfile.NamedTemporaryFile() as file:
            file.write(f"{password}\n".encode())
            file.flush()
            account.give(Path(file.name), 0o600)
            settings = [arg for item in SETTINGS.items() for arg in ("-c", "=".join(item))]
            with Path(file.name).open("rb") as given:
                done = account.run(
                    binaries / "initdb",
                    *("-D", name, "-U", USER, "--pwfile=/dev/stdin", "--encoding=UTF8"),
                    *("--auth-host=scram-sha-256", "--auth-local=peer", "--locale=C", *settings),
                    timeout=300,
                    cwd=cwd,
                    stdin=given,
                )
        if done.returncode:
            shutil.rmtree(part, ignore_errors=True)
            raise PostgresError(explain(done.stdout, folder))
        # The password is on disk before the data is in place: no database without its password.
        known = {"host": server.HOST, "user": USER, "password": password, "database": DATABASE}
        known |= {"data": "data"}
        self._files.remember(known)
        part.replace(data)
        return known

    def _launch(self, data: Path, port: int | None) -> int:
        account = server.account_for(data)
        binaries = server.binaries(self._state_dir, account, data)
        server_log = data.parent / "server.log"
        server_log.touch(0o600)
        server_log.chmod(0o600)
        server.remove_stale_pid_file(data)
        name, cwd = account.inside(data)
        deadline = time.monotonic() + 15
        attempts = 0
        while True:
            port = server.free_port(port)
            seen = server_log.stat().st_size
            with server_log.open("ab") as output:
                done = account.run(
                    binaries / "pg_ctl",
                    *("start", "-s", "-w", "-t", str(START_SECONDS), "-D", name),
                    *("-o", f"-p {port}"),
                    timeout=START_SECONDS + 30,
                    cwd=cwd,
                    output=output,
                )
            if done.returncode == 0:
                return port
            said = server_log.read_bytes()[seen:].decode(errors="replace")
            if "could not create any TCP/IP sockets" in said and attempts < _PORT_ATTEMPTS:
                attempts, port = attempts + 1, None
            elif "shared memory block" in said and time.monotonic() < deadline:
                time.sleep(0.2)  # children of a killed server are still ending
            else:
                raise PostgresError(explain(said, data))


def databases_of(endpoint: Endpoint) -> list[str]:
    """Names of the server's databases that are ours."""
    with opened(endpoint) as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' "
            "ORDER BY datname"
        ).fetchall()
    return [str(name) for (name,) in rows]
