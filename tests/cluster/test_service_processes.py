"""Three processes of the API behind nginx as `docs/scale.md` has it; Redis comes and goes."""

import json
import os
import re
import signal
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from dmp_assets.home import Home
from dmp_assets.platform.store import access, database
from tests.support.debian import program
from tests.support.dmp import PROGRAM, ROOT
from tests.support.postgres import fresh_database, postgres_server
from tests.support.service import fill, free_port, published, until

PROCESSES = 3
RATE = 30
SURELY = 120
LOADED = "scoring with the store"
"""What a process logs once it knows what it scores with."""


@dataclass
class Process:
    """One `dmp api`, and what it logs."""

    port: int
    log: Path
    environment: dict[str, str]
    running: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        with self.log.open("ab") as said:
            loaded = len(self.events(LOADED))
            self.running = subprocess.Popen([PROGRAM, "api"], env=self.environment, stderr=said)
        until(self.lives, SURELY)
        until(lambda: len(self.events(LOADED)) > loaded, SURELY)

    def lives(self) -> bool:
        assert self.running is not None and self.running.poll() is None, self.log.read_text()[
            -2000:
        ]
        try:
            return httpx.get(
                f"http://127.0.0.1:{self.port}/health/live", trust_env=False
            ).is_success
        except httpx.TransportError:
            return False

    def stop(self) -> int:
        assert self.running is not None
        self.running.terminate()
        return self.running.wait(timeout=SURELY)

    def events(self, event: str) -> list[dict[str, Any]]:
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, lines) if line["event"] == event]


@dataclass
class Cluster:
    """The processes, the proxy's address and a client's key; `redis` can be stopped and started."""

    processes: list[Process]
    url: str
    trust: ssl.SSLContext
    keys: dict[str, str]
    redis: "Redis"
    used: set[str] = field(default_factory=set)

    def client(self, name: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.keys[name]}"}
        return httpx.Client(
            base_url=self.url, headers=headers, trust_env=False, verify=self.trust, timeout=60
        )

    def readiness(self, name: str) -> list[tuple[int, Any]]:
        """What each process says of itself."""
        found = []
        for process in self.processes:
            answer = httpx.get(
                f"http://127.0.0.1:{process.port}/health/ready", trust_env=False, timeout=60,
                headers={"Authorization": f"Bearer {self.keys[name]}"},
            )  # fmt: skip
            found.append((answer.status_code, answer.json()))
        return found


@dataclass
class Redis:
    """A Redis of Debian's on loopback."""

    port: int
    folder: Path
    running: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        self.running = program("redis-server").start(
            "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir",
            str(self.folder), log=self.folder / "redis.log",
        )  # fmt: skip
        said = self.folder / "redis.log"
        until(lambda: "Ready to accept connections" in said.read_text(), SURELY)

    def stop(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running.wait()
            (self.folder / "redis.log").unlink()
            self.running = None


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        url = stack.enter_context(fresh_database(server))
        keys = _store(url)
        redis = Redis(free_port(), folder)
        redis.start()
        stack.callback(redis.stop)
        home = Home(folder / "home").prepare("live")
        processes = []
        for number in range(PROCESSES):
            environment = os.environ | {
                "DMP_HOME": str(home.root), "DMP_PROJECT_DIR": str(folder),
                "DMP_API_PORT": str(free_port()), "DMP_STORE_URL": url.get_secret_value(),
                "DMP_API_BEHIND_PROXY": "true", "DMP_API_RATE_LIMIT": f"{RATE}/minute",
                "DMP_API_RATE_LIMIT_STORAGE": f"redis://127.0.0.1:{redis.port}/0",
            }  # fmt: skip
            process = Process(
                int(environment["DMP_API_PORT"]), folder / f"api-{number}.log", environment
            )
            process.start()
            stack.callback(_end, process)
            processes.append(process)
        address, trust = stack.enter_context(_proxy(folder, [p.port for p in processes]))
        yield Cluster(processes, address, trust, keys, redis)


def _end(process: Process) -> None:
    if process.running is not None:
        process.running.kill()
        process.running.wait()


def _store(url: SecretStr) -> dict[str, str]:
    """A store with published rows, and a client's key for each test."""
    with database.opened(url, checked=False) as store:
        database.migrate(store)
        fill(store, published())
        with store.begin() as connection:
            now = datetime.now(UTC)
            names = ("counted", "restarts", "fallback", "reader")
            return {
                name: access.add_client(connection, name, ["runs:read", "abuse:score"], now=now)
                for name in names
            }


@contextmanager
def _proxy(folder: Path, ports: list[int]) -> Iterator[tuple[str, ssl.SSLContext]]:
    """nginx with the configuration of the docs, of which addresses and files are put in place."""
    (said,) = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs" / "scale.md").read_text(), re.S)
    certificate, key = _certificate(folder)
    port = free_port()
    for number, own in enumerate(ports, 1):
        assert f"127.0.0.1:800{number} " in said
        said = said.replace(f"127.0.0.1:800{number} ", f"127.0.0.1:{own} ")
    for before, after in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/api.example.com.pem", str(certificate)),
        ("/etc/ssl/api.example.com.key", str(key)),
    ):
        assert said.count(before) == 1
        said = said.replace(before, after)
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    whole = (
        f"{user}\ndaemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\n"
        f"error_log {folder}/nginx.log;\nevents {{ worker_connections 256; }}\n"
        f"http {{\naccess_log off;\n{temporary}\n{said}\n}}\n"
    )
    (folder / "nginx.conf").write_text(whole)
    running = program("nginx").start(
        "-p", str(folder), "-c", str(folder / "nginx.conf"), log=folder / "nginx.log"
    )
    try:
        trust = ssl.create_default_context(cafile=str(certificate))
        address = f"https://127.0.0.1:{port}"

        def answers() -> bool:
            assert running.poll() is None, (folder / "nginx.log").read_text()
            try:
                return httpx.get(f"{address}/health/live", verify=trust, trust_env=False).is_success
            except httpx.TransportError:
                return False

        until(answers, SURELY)
        yield address, trust
    finally:
        running.send_signal(signal.SIGQUIT)
        running.wait(timeout=SURELY)


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "api.example.com")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "tls.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "tls.pem", folder / "tls.key"


def _beginning_of_a_minute() -> None:
    """A fixed window is a minute of the clock: one that has just begun lasts."""
    while time.time() % 60 > 40:
        time.sleep(0.2)


def _checks(said: Any) -> dict[str, str]:
    """What is said of each check, but for how long ago it was: one is asked after the other."""
    return {
        check["name"]: re.sub(r"[\d.]+ (hours|minutes|seconds)", r"some \1", check["detail"])
        for check in said["checks"]
    }


def test_all_processes_share_the_work_and_count_together(cluster: Cluster) -> None:
    _beginning_of_a_minute()
    before = [len(process.events("request")) for process in cluster.processes]
    with cluster.client("counted") as client:
        answers = [client.get("/v1/runs") for _ in range(RATE + 15)]
    assert Counter(answer.status_code for answer in answers) == {200: RATE, 429: 15}
    for process, known in zip(cluster.processes, before, strict=True):
        assert len(process.events("request")) > known  # each had its part
    assert answers[0].headers["strict-transport-security"]


def test_every_process_says_the_same_of_what_all_share(cluster: Cluster) -> None:
    said = cluster.readiness("reader")
    shared = [
        (status, {name: text for name, text in _checks(body).items() if name != "model"})
        for status, body in said
    ]
    assert "counted for all processes" in shared[0][1]["rate-limits"]
    told = {name: {str(one.get(name)) for _, one in shared} for _, one in shared for name in one}
    differ = {name: said for name, said in told.items() if len(said) > 1}
    assert (differ, len({status for status, _ in shared})) == ({}, 1)


def test_a_forwarded_address_that_a_caller_claims_is_not_believed(cluster: Cluster) -> None:
    """Else wrong keys could be tried without end, each from another address."""
    answers = []
    for number in range(40):
        headers = {"Authorization": "Bearer dmp_wrong", "X-Forwarded-For": f"203.0.113.{number}"}
        answers.append(
            httpx.get(f"{cluster.url}/v1/runs", headers=headers, verify=cluster.trust,
                      trust_env=False).status_code
        )  # fmt: skip
    assert set(answers) == {401, 429}


PASSED_OVER = 2.5
"""Seconds after which nginx gives a process work again that was not there (`fail_timeout`)."""


def test_processes_are_restarted_one_after_the_other_and_no_call_is_lost(cluster: Cluster) -> None:
    stop = threading.Event()
    failed: list[Any] = []
    answered = [0]

    def ask() -> None:
        with httpx.Client(base_url=cluster.url, verify=cluster.trust, trust_env=False,
                          timeout=60) as client:  # fmt: skip
            while not stop.is_set():
                try:
                    answer = client.get("/health/live")
                except httpx.TransportError as error:
                    failed.append(error)
                else:
                    answered[0] += 1
                    if answer.status_code != 200:
                        failed.append(answer.status_code)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for process in cluster.processes:
            until(lambda at=answered[0]: answered[0] > at + 20, SURELY)  # type: ignore[misc]
            assert process.stop() == 0
            process.start()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert answered[0] > 60
    assert not failed
    time.sleep(PASSED_OVER)


def test_without_redis_each_process_counts_for_itself_and_says_so(cluster: Cluster) -> None:
    cluster.redis.stop()
    _beginning_of_a_minute()
    with cluster.client("fallback") as client:
        answers = [client.get("/v1/runs") for _ in range((RATE + 10) * PROCESSES)]
    counted = Counter(answer.status_code for answer in answers)
    assert counted == {200: RATE * PROCESSES, 429: 10 * PROCESSES}
    slow = max(answer.elapsed.total_seconds() for answer in answers)
    assert slow < 30
    for process, (_, body) in zip(cluster.processes, cluster.readiness("reader"), strict=True):
        assert "in this process alone" in _checks(body)["rate-limits"]
        alone = process.events("calls are counted in this process alone")
        assert len(alone) == 1
        assert "redis" not in json.dumps(alone).lower()

    cluster.redis.start()

    def together() -> bool:
        with cluster.client("reader") as client:
            client.get("/v1/runs")
        return all(
            "for all processes" in _checks(body)["rate-limits"]
            for _, body in cluster.readiness("reader")
        )

    until(together, SURELY)
    for process in cluster.processes:
        assert len(process.events("calls are counted for all processes again")) == 1
