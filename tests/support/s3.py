"""Real S3 servers for tests, on loopback: moto, and versitygw where it or Go is.

moto (Python) keeps objects in its memory, so all of it is gone with the server. versitygw (Go)
keeps them as plain files, checks who asks, and refuses to remove a folder that holds something.
"""

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import httpx

from dmp_assets.platform.lake.s3 import S3
from dmp_assets.platform.lake.tables import Tables
from tests.support.tls import certificate

BUCKET = "bucket"
KEY_ID, SECRET = "dmp-tests", "s3cret:=of#tests!"
VERSITYGW = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
_MOTO = [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1"]
_LATE_HANDSHAKE = """
import functools, ssl
from moto.server import main
ssl.SSLContext.wrap_socket = functools.partialmethod(
    ssl.SSLContext.wrap_socket, do_handshake_on_connect=False
)
main()
"""
"""moto over TLS, each handshake in its own thread. werkzeug accepts nobody while one lasts: a
thread that waited for Python's lock with a connection open, while delta-rs held it to connect, held
up both."""
_BUILT = Path.home() / ".cache" / "dmp_assets" / "go" / "bin" / "versitygw"
_READY_SECONDS = 60
_BUILD_SECONDS = 900


@dataclass(frozen=True)
class Server:
    """A server that answers at `url`, with an empty bucket; over TLS with this certificate."""

    url: str
    certificate: str = ""
    key_id: str = KEY_ID
    secret: str = SECRET

    @property
    def s3(self) -> S3:
        """How tests reach it."""
        return S3(
            endpoint=self.url, region="us-east-1", access_key_id=self.key_id,
            secret_access_key=self.secret, path_style=True, ca_file=self.certificate,
        )  # fmt: skip

    def settings(self, prefix: str) -> dict[str, str]:
        """The environment of a `dmp` whose tables lie below a prefix of the bucket."""
        return {
            "DMP_LAKEHOUSE_ROOT": f"s3://{BUCKET}/{prefix}",
            "DMP_S3_ENDPOINT": self.url,
            "DMP_S3_ACCESS_KEY_ID": self.key_id,
            "DMP_S3_SECRET_ACCESS_KEY": self.secret,
            "DMP_S3_CA_FILE": self.certificate,
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
    command = [*_MOTO, "-p", str(port)]
    with _running(command, Server(f"http://127.0.0.1:{port}")) as server:
        yield server


@contextmanager
def moto_that_asks() -> Iterator[Server]:
    """The same for one user, whose signature it looks at; any other is refused."""
    with moto() as server:
        iam = boto3.client(
            "iam", endpoint_url=server.url, region_name="us-east-1",
            aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET,
        )  # fmt: skip
        allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.create_user(UserName="dmp")
        iam.put_user_policy(UserName="dmp", PolicyName="all", PolicyDocument=policy)
        made = iam.create_access_key(UserName="dmp")["AccessKey"]
        httpx.post(f"{server.url}/moto-api/reset-auth", content=b"0", trust_env=False)
        yield replace(server, key_id=made["AccessKeyId"], secret=made["SecretAccessKey"])


@contextmanager
def moto_over_tls() -> Iterator[Server]:
    """The same with a certificate that nobody trusts who is not told to."""
    with tempfile.TemporaryDirectory(prefix="dmp-tls-") as folder:
        cert, key = certificate(Path(folder))
        port = _free_port()
        start = [sys.executable, "-c", _LATE_HANDSHAKE, *_MOTO[1:]]
        command = [*start, "-p", str(port), "-s", "-c", str(cert), "-k", str(key)]
        with _running(command, Server(f"https://127.0.0.1:{port}", str(cert))) as server:
            yield server


@contextmanager
def versitygw() -> Iterator[Server]:
    """A server of versitygw's; see `can_run_versitygw`."""
    found = _program()
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="dmp-versitygw-") as folder:
        for name in ("objects", "accounts"):
            Path(folder, name).mkdir()
        command = [
            found, "--port", f"127.0.0.1:{port}", "--iam-dir", f"{folder}/accounts", "--quiet",
            "posix", f"{folder}/objects",
        ]  # fmt: skip
        keys = {"ROOT_ACCESS_KEY": KEY_ID, "ROOT_SECRET_KEY": SECRET}
        with _running(command, Server(f"http://127.0.0.1:{port}"), keys) as server:
            yield server


def can_run_versitygw() -> bool:
    """Whether its program, or Go to build it, is here."""
    return bool(shutil.which("versitygw") or _BUILT.exists() or _go())


def _go() -> str | None:
    return shutil.which("go") or shutil.which("/usr/local/go/bin/go")


def _program() -> str:
    """versitygw's program, built once where it is not there (two minutes on one core)."""
    if found := shutil.which("versitygw"):
        return found
    if _BUILT.exists():
        return str(_BUILT)
    go = _go()
    assert go is not None, "neither versitygw nor Go is here"
    places = {"GOBIN": str(_BUILT.parent), "GOFLAGS": "-p=1"}
    subprocess.run(
        [go, "install", VERSITYGW],
        env=os.environ | places,
        check=True,
        capture_output=True,
        timeout=_BUILD_SECONDS,
    )
    return str(_BUILT)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def _running(
    command: list[str], server: Server, more: Mapping[str, str] | None = None
) -> Iterator[Server]:
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            command,
            env=os.environ | dict(more or {}),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        try:
            _wait(child, server)
            server.s3.client().create_bucket(Bucket=BUCKET)
            yield server
        finally:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _wait(child: "subprocess.Popen[Any]", server: Server) -> None:
    trusted = ssl.create_default_context(cafile=server.certificate or None)
    until = time.monotonic() + _READY_SECONDS
    while time.monotonic() < until:
        assert child.poll() is None, "the server ended before it answered"
        try:
            httpx.get(server.url, trust_env=False, timeout=5, verify=trusted)
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise TimeoutError(f"nothing answered at {server.url}")
