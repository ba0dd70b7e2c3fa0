"""Real S3 servers for tests, on loopback: moto, and versitygw where it or Go is.

moto (Python) keeps objects in its memory, so all of it is gone with the server. versitygw (Go)
keeps them as plain files, checks who asks, and refuses to remove a folder that holds something.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from dmp_assets.platform.lake.s3 import S3
from dmp_assets.platform.lake.tables import Tables

BUCKET = "bucket"
KEY_ID, SECRET = "dmp-tests", "s3cret:=of#tests!"
VERSITYGW = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
_READY_SECONDS = 60
_BUILD_SECONDS = 900


@dataclass(frozen=True)
class Server:
    """A server that answers at `url`, with an empty bucket."""

    url: str

    @property
    def s3(self) -> S3:
        """How tests reach it."""
        return S3(
            endpoint=self.url, region="us-east-1", access_key_id=KEY_ID,
            secret_access_key=SECRET, path_style=True,
        )  # fmt: skip

    def settings(self, prefix: str) -> dict[str, str]:
        """The environment of a `dmp` whose tables lie below a prefix of the bucket."""
        return {
            "DMP_LAKEHOUSE_ROOT": f"s3://{BUCKET}/{prefix}",
            "DMP_S3_ENDPOINT": self.url,
            "DMP_S3_ACCESS_KEY_ID": KEY_ID,
            "DMP_S3_SECRET_ACCESS_KEY": SECRET,
        }

    def tables(self, prefix: str) -> Tables:
        """The tables below a prefix."""
        return Tables(f"s3a://{BUCKET}/{prefix}", s3=self.s3)

    def keys(self, prefix: str) -> list[str]:
        """Keys of all objects below a prefix."""
        return [key for key, _, _ in self.s3.objects(f"s3a://{BUCKET}/{prefix}")]


@contextmanager
def moto() -> Iterator[Server]:
    """A server of moto's."""
    port = _free_port()
    command = [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, port, {}) as server:
        yield server


@contextmanager
def versitygw() -> Iterator[Server]:
    """A server of versitygw's. Its program must be there, or be built (`program`)."""
    found = program()
    assert found is not None
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="dmp-versitygw-") as folder:
        for name in ("objects", "accounts"):
            Path(folder, name).mkdir()
        command = [
            found, "--port", f"127.0.0.1:{port}", "--iam-dir", f"{folder}/accounts", "--quiet",
            "posix", f"{folder}/objects",
        ]  # fmt: skip
        keys = {"ROOT_ACCESS_KEY": KEY_ID, "ROOT_SECRET_KEY": SECRET}
        with _running(command, port, keys) as server:
            yield server


def program() -> str | None:
    """versitygw's program, built once where Go is; None without either."""
    known = Path.home() / ".cache" / "dmp_assets" / "go" / "bin" / "versitygw"
    if found := shutil.which("versitygw") or (str(known) if known.exists() else None):
        return found
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        return None
    places = {"GOBIN": str(known.parent), "GOFLAGS": "-p=1"}
    subprocess.run(
        [go, "install", VERSITYGW],
        env=os.environ | places,
        check=True,
        capture_output=True,
        timeout=_BUILD_SECONDS,
    )
    return str(known)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def _running(command: list[str], port: int, more: Mapping[str, str]) -> Iterator[Server]:
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            command, env=os.environ | more, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        try:
            _wait(child, url)
            server = Server(url)
            server.s3.client().create_bucket(Bucket=BUCKET)
            yield server
        finally:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _wait(child: "subprocess.Popen[Any]", url: str) -> None:
    until = time.monotonic() + _READY_SECONDS
    while time.monotonic() < until:
        assert child.poll() is None, "the server ended before it answered"
        try:
            httpx.get(url, trust_env=False, timeout=5)
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise TimeoutError(f"nothing answered at {url}")
