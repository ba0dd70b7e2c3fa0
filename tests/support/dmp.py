"""The real command line for tests: `dmp` in a subprocess, watched by what it starts and calls."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from dmp_assets.home import Home
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.postgres.embedded import EmbeddedPostgres

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = Path(sys.executable).parent / "dmp"
LOOPBACK = ("127.", "::1", "::ffff:127.")
_LISTENS = "0A"  # as /proc/net/tcp says it
_HOOK = """
import os, sys

def _note(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        with open(os.environ["CONNECTIONS_LOG"], "a") as log:
            log.write(f"{arguments[1][0]}\\n")
    elif event == "socket.getaddrinfo":
        with open(os.environ["CONNECTIONS_LOG"], "a") as log:
            log.write(f"{arguments[0]}\\n")

sys.addaudithook(_note)
"""


@dataclass
class Watched:
    """What a process and its children did: programs started, addresses called."""

    programs: set[str] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)

    def outside(self) -> set[str]:
        """Addresses beyond this machine."""
        return {
            a
            for a in self.addresses
            if a not in ("localhost", "None", "", "0.0.0.0", "::") and not a.startswith(LOOPBACK)
        }


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    code: int
    out: str
    err: str
    watched: Watched

    @property
    def summary(self) -> dict[str, Any]:
        """What `--json` printed."""
        assert self.out.lstrip().startswith("{"), f"{self.out}\n{self.err}"
        return dict(json.loads(self.out))

    @property
    def text(self) -> str:
        """All that was said, without line breaks."""
        return " ".join(f"{self.out} {self.err}".split())

    def table(self, key: str) -> dict[str, Any]:
        return next(t for t in self.summary["tables"] if t["key"] == key)

    def made(self) -> set[str]:
        """Keys of the assets that were written."""
        return {t["key"] for t in self.summary["tables"] if not t["unchanged"]}


@dataclass(frozen=True)
class Dmp:
    """`dmp` for one home. `environment` is added to what every command sees."""

    root: Path
    project: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Home:
        return Home(self.root)

    @property
    def postgres(self) -> EmbeddedPostgres:
        """The home's own database server."""
        return EmbeddedPostgres(self.home)

    @property
    def tables(self) -> Tables:
        return Tables(str(self.root / "lakehouse"))

    def versions(self) -> dict[str, int]:
        """Delta version of every table."""
        return {key: self.tables.version(key) for key in self.tables.written()}

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        known = {"DMP_HOME": str(self.root), "DMP_PROJECT_DIR": str(self.project)}
        return {**os.environ, "COLUMNS": "200", **known, **self.environment, **(more or {})}

    def start(
        self, *arguments: str, env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start `dmp …` and return at once."""
        return subprocess.Popen(
            [str(PROGRAM), *arguments],
            env=self.env(env),
            cwd=self.project,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def __call__(
        self, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 800
    ) -> Ran:
        """Run `dmp …` to its end, watching it."""
        with tempfile.TemporaryDirectory(prefix="dmp-watch-") as folder:
            (Path(folder) / "sitecustomize.py").write_text(_HOOK)
            log = Path(folder) / "connections"
            log.touch()
            path = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
            hooked = {"PYTHONPATH": path, "CONNECTIONS_LOG": str(log), **(env or {})}
            child = self.start(*arguments, env=hooked)
            watched = Watched()
            over = threading.Event()
            watcher = threading.Thread(target=_watch, args=(child.pid, watched, over))
            watcher.start()
            try:
                out, err = child.communicate(timeout=timeout)
            finally:
                child.kill()
                over.set()
                watcher.join()
            watched.addresses.update(log.read_text().split())
        return Ran(child.returncode, out, err, watched)

    def copy(self, to: Path) -> "Dmp":
        """The same home elsewhere, for a test that changes it; its database must be stopped."""
        subprocess.run(["cp", "-a", str(self.root), str(to)], check=True)
        return Dmp(to, self.project, self.environment)


def _watch(pid: int, watched: Watched, over: threading.Event) -> None:
    """Sample the process tree: libpq and the JVM are not seen by Python's audit hooks.

    The kernel's tables are read only while a socket is open of which it is not known where it
    leads to: each reading takes milliseconds from what is watched.
    """
    known: set[str] = set()
    while not over.wait(0.2):
        try:
            family = psutil.Process(pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return
        held: set[str] = set()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                watched.programs.add(process.name())
            held |= _sockets_of(process.pid)
        if held - known:
            leads = _leads("tcp", "tcp6")
            known.update(leads, _of_no_network())
            leads |= _leads("udp", "udp6")  # which may be connected again, to elsewhere
            watched.addresses.update(filter(None, (leads.get(inode) for inode in held)))


def _leads(*tables: str) -> dict[str, str | None]:
    """To which address every socket of these tables leads, by inode.

    None for one that listens; one that may yet connect is not among them.
    """
    found: dict[str, str | None] = {}
    for table in tables:
        with contextlib.suppress(FileNotFoundError):  # a machine without IPv6
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                columns = line.split()
                address, _, port = columns[2].partition(":")
                if int(port, 16):
                    found[columns[9]] = _readable(address)
                elif columns[3] == _LISTENS:
                    found[columns[9]] = None
    return found


def _of_no_network() -> list[str]:
    """Inodes of the sockets between processes of this machine."""
    return [line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines()[1:]]


def _readable(address: str) -> str:
    """An address as `/proc/net` writes it: words of four bytes, each of this machine's order."""
    packed = bytes.fromhex(address)
    if sys.byteorder == "little":
        packed = b"".join(packed[n : n + 4][::-1] for n in range(0, len(packed), 4))
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _sockets_of(pid: int) -> set[str]:
    """Inodes of a process's sockets; none when it has ended."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(entry.path)
                if target.startswith("socket:["):
                    found.add(target[8:-1])
    return found


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder with a `project` as `DMP_PROJECT_DIR` inside.

    The project is a copy, so that no `.env` or `config.yaml` of a developer is read and a test
    may break a report. Databases of homes below are stopped and removed afterwards.
    """
    folder = Path(tempfile.mkdtemp(prefix="dmp-integration-"))
    project = folder / "project"
    project.mkdir()
    shutil.copytree(ROOT / "reports", project / "reports")
    shutil.copy(ROOT / "workspace.yaml", project)
    try:
        yield folder
    finally:
        for state in folder.glob("*/home.json"):
            EmbeddedPostgres(Home(state.parent)).destroy()
        shutil.rmtree(folder, ignore_errors=True)
