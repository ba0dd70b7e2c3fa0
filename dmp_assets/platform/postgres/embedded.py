"""The embedded PostgreSQL: a server of the home's own, from binaries in a Python wheel.

It is owned by `dmp db start|stop|status`; runs that need it start it and leave it as they found
it. Only loopback is listened to, and every connection needs a generated password; all of them lie
in `$DMP_HOME/postgres/endpoint.json` (0600). The running server is found through the server's own
`postmaster.pid`, so it is found again after the process that started it was killed.

Homes of earlier versions may keep their data below the system's state directory: what lies there
says which home it belongs to (`resources/postgres_outside.py`), and no other one opens it.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from dmp_assets.home import Home
from dmp_assets.platform.postgres import roles, server
from dmp_assets.platform.postgres.cluster import DATABASE, Cluster, databases_of
from dmp_assets.platform.postgres.endpoint import Endpoint, PostgresError, explain
from dmp_assets.platform.postgres.files import ServerFiles
from dmp_assets.platform.postgres.outside import Outside
from dmp_assets.platform.postgres.roles import Role

__all__ = ["EmbeddedPostgres", "Endpoint", "PostgresError", "Role", "Status"]


STATE_DIR = Path("/var/lib/dmp_assets")


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
        self._home, self.folder = home, home.postgres
        self._files = ServerFiles(home)
        self._cluster = Cluster(self._files, state_dir)

    def start(self) -> Endpoint:
        """Start the server unless it runs, and keep it until `stop`. Raises PostgresError."""
        with self._files.alone():
            endpoint = self._cluster.start()
            self._files.transient.unlink(missing_ok=True)
            return endpoint

    def stop(self) -> bool:
        """Stop the server; False when it did not run. Raises PostgresError."""
        if not self.folder.exists():
            return False
        with self._files.alone():
            return self._cluster.stop()

    def status(self) -> Status:
        """What is known of the server, without starting it."""
        known = self._files.known()
        data = self._files.data(known)
        found = server.server_of(data)
        elsewhere = data.parent != self.folder
        return Status(
            running=found is not None,
            pid=found[0] if found else None,
            endpoint=self._cluster.endpoint(known, found[1]) if found and known else None,
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
        known = self._files.known() or {}
        password = known.get("roles", {}).get(role)
        if password is None:  # started by an earlier version, and running since
            with self._files.alone():
                known = self._cluster.with_roles(known, endpoint)
            password = known["roles"][role]
        return Endpoint(endpoint.host, endpoint.port, role, SecretStr(password), DATABASE)

    def create(self, database: str) -> None:
        """Make a database of the running server unless it is there. Raises PostgresError."""
        self.access("dmp_owner")  # who is to own it
        roles.ensure_database(self.endpoint(), database)

    def claim(self) -> None:
        """Make data outside the home this home's, whoever's it was. Raises PostgresError."""
        known = self._files.known()
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
        return self._files.known() is not None

    def databases(self) -> list[str]:
        """Names of the running server's databases that are ours."""
        return databases_of(self.endpoint())

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
        with self._files.alone():
            found = server.server_of(self._files.data(self._files.known())) is not None
            endpoint = self._cluster.start()
            if not found:
                self._files.transient.touch(0o600)
            ticket = self._files.new_user()
        try:
            yield endpoint
        finally:
            with self._files.alone():
                ticket.unlink(missing_ok=True)
                if self._files.transient.exists() and not self._files.has_users():
                    self._cluster.stop()

    def destroy(self) -> None:
        """Stop the server and delete its data, wherever it lies.

        Raises PostgresError, with nothing deleted, where that is another home's.
        """
        self.stop()
        data = self._files.data(self._files.known())
        if data.parent != self.folder:
            shutil.rmtree(data.parent, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)
