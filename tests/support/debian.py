"""Programs of Debian's that tests start: the machine's own, else unpacked and not installed."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path.home() / ".cache" / "dmp_assets" / "debian"
PACKAGES = {
    "nginx": ("nginx",),
    "redis-server": (
        "redis-server", "redis-tools", "liblua5.1-0", "libjemalloc2", "liblzf1", "lua-cjson",
        "lua-bitop", "libatomic1",
    ),
}  # fmt: skip
"""Program → its package and those libraries that a minimal system may lack."""


@dataclass(frozen=True)
class Program:
    """Where it is, and what its process's environment needs."""

    path: str
    environment: dict[str, str]

    def start(self, *arguments: str, log: Path) -> "subprocess.Popen[bytes]":
        """Start it; what it says goes to the file."""
        with log.open("ab") as said:
            return subprocess.Popen(
                [self.path, *arguments], env=os.environ | self.environment, stdout=said, stderr=said
            )


def program(name: str) -> Program:
    """The program. Raises AssertionError, saying what to do, where it cannot be had."""
    if (found := shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")) is not None:
        return Program(found, {})
    folder = FOLDER / name
    unpacked = [folder / "usr" / place / name for place in ("bin", "sbin")]
    if not any(path.exists() for path in unpacked):
        _unpack(name, folder)
    path = next(path for path in unpacked if path.exists())
    libraries = ":".join(str(place) for place in sorted(folder.glob("usr/lib/*-linux-gnu")))
    return Program(str(path), {"LD_LIBRARY_PATH": libraries})


def _unpack(name: str, folder: Path) -> None:
    how = f"install it (Debian: apt-get install {name}); these tests start one of their own"
    assert shutil.which("apt-get") and shutil.which("dpkg-deb"), f"there is no {name}: {how}"
    folder.mkdir(parents=True, exist_ok=True)
    command = ["apt-get", "download", *PACKAGES[name]]
    fetched = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if fetched.returncode:  # the machine's lists of packages may be old, or none
        subprocess.run(["apt-get", "update", "-qq"], capture_output=True)
        fetched = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert fetched.returncode == 0, f"{name} cannot be fetched: {fetched.stderr}\n{how}"
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
