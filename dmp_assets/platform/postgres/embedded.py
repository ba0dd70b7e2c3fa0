"""The embedded PostgreSQL: a server of the home's own, from binaries in a Python wheel.

It is owned by `dmp db start|stop|status`; runs that need it start it and leave it as they found
it. Only loopback is listened to, and every connection needs a generated password; all of them lie
in `$DMP_HOME/postgres/endpoint.json` (0600). The running server is found through the server's own
`postmaster.pid`, so it is found again after the process that started it was killed.

Homes of earlier versions may keep their data below the system's state directory: what lies there
says which home it belongs to (`resources/postgres_outside.py`), and no other one opens it.
"""

import json
import logging
import os
import secrets
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import psutil
from pydantic import SecretStr

from dmp_assets.home import Home
from dmp_assets.platform.postgres import roles, server
from dmp_assets.platform.postgres.endpoint import Endpoint, PostgresError, explain, opened
from dmp_assets.platform.postgres.outside import Outside
from dmp_assets.platform.postgres.roles import Role

__all__ = ["EmbeddedPostgres", "Endpoint", "PostgresError", "Role", "Status"]

STATE_DIR = Path("/var/lib/dmp_assets")
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
_START_SECONDS = 120
_PORT_ATTEMPTS = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Status:
    """What `dmp db status` tells. `note` says where the data lies when not in the home."""

    running: bool
    pid: int | None
    endpoint: Endpoint | None
    data: Path
    log: Path
    run_as: str
    note: str


class EmbeddedPostgres:
    """The home's own PostgreSQL server."""

    def __init__(self, home: Home, *, state_dir: Path = STATE_DIR) -> None:
        self.folder = home.postgres
        self._home = home
        self._state_dir = state_dir
        self._file = self.folder / "endpoint.json"
        self._users = self.folder / "users"
        self._transient = self.folder / "transient"

    # what people call ---------------------------------------------------------------------------
    def start(self) -> Endpoint:
        """Start the server unless it runs, and keep it until `stop`. Raises PostgresError."""
        with self._alone():
            endpoint = self._start()
            self._transient.unlink(missing_ok=True)
            return endpoint

    def stop(self) -> bool:
        """Stop the server; False when it did not run. Raises PostgresError."""
        if not self.folder.exists():
            return False
        with self._alone():
            return self._stop()

    def status(self) -> Status:
        """What is known of the server, without starting it."""
        known = self._known()
        data = self._data(known)
        found = server.server_of(data)
        elsewhere = data.parent != self.folder
        return Status(
            running=found is not None,
            pid=found[0] if found else None,
            endpoint=self._endpoint(known, found[1]) if found and known else None,
            data=data,
            log=data.parent / "server.log",
            run_as=server.account_for(data).name,
            note=f"an earlier version put the data outside the home: {data}" if elsewhere else "",
        )

    def endpoint(self) -> Endpoint:
        """Where the running server answers. Raises PostgresError when it does not run."""
        endpoint = self.status().endpoint
        if endpoint is None:
            raise PostgresError(
                f"the embedded PostgreSQL of {self.folder.parent} does not run; `dmp db start`"
            )
        return endpoint

    def access(self, role: Role) -> Endpoint:
        """Where the running server answers somebody without its administrator's rights.

        Raises PostgresError when it does not run.
        """
        endpoint = self.endpoint()
        known = self._known() or {}
        password = known.get("roles", {}).get(role)
        if password is None:  # started by an earlier version, and running since
            with self._alone():
                known = self._with_roles(known, endpoint)
            password = known["roles"][role]
        return Endpoint(endpoint.host, endpoint.port, role, SecretStr(password), DATABASE)

    def create(self, database: str) -> None:
        """Make a database of the running server unless it is there. Raises PostgresError."""
        self.access("dmp_owner")  # who is to own it
        roles.ensure_database(self.endpoint(), database)

    def claim(self) -> None:
        """Make data outside the home this home's, whoever's it was. Raises PostgresError."""
        known = self._known()
        if known is None or known["data"] == "data":
            raise PostgresError(f"the databases of {self._home.root} lie in it and are its own")
        data = self.folder / known["data"]
        if not data.exists():
            raise PostgresError(f"there is nothing in {data}; restore it from a backup")
        if server.server_of(data) is not None:
            raise PostgresError(
                f"the server of {data} runs for the other home; `dmp db stop` it there first"
            )
        Outside(self._home, data.parent).claim()

    def exists(self) -> bool:
        """Whether this home has a server of its own, running or not."""
        return self._known() is not None

    def databases(self) -> list[str]:
        """Names of the running server's databases that are ours."""
        return self._databases(self.endpoint())

    @staticmethod
    def _databases(endpoint: Endpoint) -> list[str]:
        with opened(endpoint) as connection:
            rows = connection.execute(
                "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' "
                "ORDER BY datname"
            ).fetchall()
        return [str(name) for (name,) in rows]

    def dump(self, database: str, file: Path) -> Path:
        """Write a database of the running server into a file. Raises PostgresError."""
        roles.own(self.endpoint(), database)
        self._client("pg_dump", database, "--format=custom", f"--file={file}")
        return file

    def load(self, database: str, file: Path) -> None:
        """Fill an empty database of the running server from such a file. Raises PostgresError.

        What the file says is done by a role that can neither run programs nor read or write files
        of this machine: it may come from anybody.
        """
        self.create(database)
        self._client(
            "pg_restore",
            database,
            "--exit-on-error",
            "--no-owner",
            "--no-privileges",
            file,
        )

    def _client(self, program: str, database: str, *arguments: str | Path) -> None:
        endpoint = self.access("dmp_owner")
        done = subprocess.run(
            [server.install_of(self.status().data) / "bin" / program, *arguments, "--dbname",
             f"host={endpoint.host} port={endpoint.port} user={endpoint.user} dbname={database}"],
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C",
                 "PGPASSWORD": endpoint.password.get_secret_value()},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise PostgresError(explain(done.stderr, self.folder))

    @contextmanager
    def running(self) -> Iterator[Endpoint]:
        """A running server; one that was started for this is stopped by its last user."""
        with self._alone():
            found = server.server_of(self._data(self._known())) is not None
            endpoint = self._start()
            if not found:
                self._transient.touch(0o600)
            self._users.mkdir(exist_ok=True, mode=0o700)
            ticket = self._users / f"{os.getpid()}-{uuid.uuid4().hex}"
            ticket.touch(0o600)
        try:
            yield endpoint
        finally:
            with self._alone():
                ticket.unlink(missing_ok=True)
                if self._transient.exists() and not self._has_users():
                    self._stop()

    def destroy(self) -> None:
        """Stop the server and delete its data, wherever it lies.

        Raises PostgresError, with nothing deleted, where that is another home's.
        """
        self.stop()
        data = self._data(self._known())
        if data.parent != self.folder:
            shutil.rmtree(data.parent, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    # files --------------------------------------------------------------------------------------
    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            if not self.folder.exists():
                self.folder.mkdir(parents=True, mode=0o700)
            with filelock.FileLock(self.folder / "lock", mode=0o600, timeout=2 * _START_SECONDS):
                yield
        except filelock.Timeout as error:
            raise PostgresError(
                f"another process is starting or stopping the PostgreSQL in {self.folder} for "
                "minutes; see who with `dmp db status`, end it and try again"
            ) from error
        except OSError as error:
            raise PostgresError(explain(str(error), self.folder)) from error

    def _known(self) -> dict[str, Any] | None:
        try:
            return dict(json.loads(self._file.read_text()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            raise PostgresError(
                f"{self._file} belongs to another user; run as that user, "
                "or set DMP_HOME to a folder of your own"
            ) from error
        except json.JSONDecodeError as error:
            raise PostgresError(
                f"{self._file} is not readable JSON ({error}); restore it, or `dmp reset`"
            ) from error

    def _remember(self, known: dict[str, Any]) -> None:
        part = self._file.with_suffix(".part")
        part.unlink(missing_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(known, file, indent=2)
        if os.geteuid() == 0:
            owner = self.folder.stat()
            os.chown(part, owner.st_uid, owner.st_gid)
        part.replace(self._file)

    def _data(self, known: dict[str, Any] | None) -> Path:
        """Where the data lies. Raises PostgresError for that of another home."""
        data = self.folder / (known["data"] if known else "data")
        if data.parent != self.folder:
            Outside(self._home, data.parent).check()
        return data

    def _endpoint(self, known: dict[str, Any], port: int) -> Endpoint:
        return Endpoint(server.HOST, port, USER, SecretStr(known["password"]), DATABASE)

    def _has_users(self) -> bool:
        alive = False
        for ticket in self._users.iterdir() if self._users.exists() else ():
            if psutil.pid_exists(int(ticket.name.partition("-")[0])):
                alive = True
            else:
                ticket.unlink(missing_ok=True)
        return alive

    # the server ---------------------------------------------------------------------------------
    def _start(self) -> Endpoint:
        known = self._known()
        running = server.server_of(self._data(known))
        if known and running:
            endpoint = self._endpoint(known, running[1])
            if "roles" not in known:
                self._with_roles(known, endpoint)
            return endpoint
        if not known or not self._data(known).exists():
            known = self._initialise()
        data = self._data(known)
        port = self._launch(data, known.get("port"))
        if port != known.get("port"):
            known |= {"port": port}
            self._remember(known)
        endpoint = self._endpoint(known, port)
        if "roles" not in known:
            self._with_roles(known, endpoint)
        roles.ensure_database(endpoint, endpoint.database)
        return endpoint

    def _with_roles(self, known: dict[str, Any], endpoint: Endpoint) -> dict[str, Any]:
        """Make the roles; what earlier versions made in the databases becomes theirs."""
        passwords = roles.make(endpoint)
        for database in self._databases(endpoint):
            roles.own(endpoint, database)
        known = known | {"roles": passwords}
        self._remember(known)
        return known

    def _initialise(self) -> dict[str, Any]:
        """Make the data directory; half-made ones of a killed start are thrown away."""
        if (self.folder / "data").exists():
            raise PostgresError(
                f"{self.folder / 'data'} holds a database, but {self._file} with its password is "
                "missing; put that file back, or delete the folder to start with an empty one"
            )
        account = server.account_for(self.folder / "data")
        part, data = self.folder / "data.part", self.folder / "data"
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
            raise PostgresError(explain(done.stdout, self.folder))
        # The password is on disk before the data is in place: no database without its password.
        known = {"host": server.HOST, "user": USER, "password": password, "database": DATABASE}
        known |= {"data": "data"}
        self._remember(known)
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
                    *("start", "-s", "-w", "-t", str(_START_SECONDS), "-D", name),
                    *("-o", f"-p {port}"),
                    timeout=_START_SECONDS + 30,
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

    def _stop(self) -> bool:
        stopped = server.stop_server(self._state_dir, self._data(self._known()))
        self._transient.unlink(missing_ok=True)
        return stopped
