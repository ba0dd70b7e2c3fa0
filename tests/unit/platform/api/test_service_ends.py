"""How `dmp api` ends: stopped or killed while it scores, it keeps its word to every caller."""

import json
import os
import socket
import subprocess
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from dmp_assets.abuse.service.store.schema import abuse_prediction
from dmp_assets.home import Home
from dmp_assets.platform.api.app import create_app
from dmp_assets.platform.store import access, database
from tests.support.dmp import PROGRAM
from tests.support.postgres import stoppable_server
from tests.support.service import free_port, served, until

SCORE = "/v1/abuse/score"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A live home, whose store is the one that `DMP_STORE_URL` names."""
    monkeypatch.setenv("DMP_PROJECT_DIR", str(tmp_path))  # nobody's .env is read
    return Home(tmp_path / "live").prepare("live")


def made(url: SecretStr) -> str:
    """A key of the store at this address, which is made."""
    with database.opened(url, checked=False) as store:
        database.migrate(store)
        with store.begin() as connection:
            now = datetime.now(UTC)
            return access.add_client(connection, "checkout", ["abuse:score"], now=now)


def logged(url: SecretStr) -> list[sa.Row]:
    """Every score of the log."""
    with database.opened(url) as store, store.connect() as connection:
        row = abuse_prediction.c
        return list(connection.execute(sa.select(row.score_id, row.account_id)))


def client_of(address: str, key: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=address, headers=headers, trust_env=False, timeout=30)


@dataclass
class Running:
    """`dmp api` as systemd starts it, and a client's key."""

    process: subprocess.Popen[bytes]
    port: int
    key: str

    def client(self) -> httpx.Client:
        return client_of(f"http://127.0.0.1:{self.port}", self.key)

    def listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionError:
            return False
        return True


@contextmanager
def running(home: Home, url: SecretStr, key: str) -> Iterator[Running]:
    """The service in a process of its own, once it listens."""
    port = free_port()
    environment = os.environ | {
        "DMP_HOME": str(home.root), "DMP_API_PORT": str(port),
        "DMP_STORE_URL": url.get_secret_value(),
    }  # fmt: skip
    process = subprocess.Popen([PROGRAM, "api"], env=environment, cwd=home.root)
    service = Running(process, port, key)

    def listens() -> bool:
        assert process.poll() is None
        return service.listens()

    try:
        until(listens, 60)
        yield service
    finally:
        process.kill()
        process.wait()


@dataclass
class Call:
    """A request, as its caller can send it again, and the answer to it."""

    account: str = field(default_factory=lambda: f"new-{uuid.uuid4().hex[:12]}")
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    answer: httpx.Response | None = None

    @property
    def body(self) -> bytes:
        accounts = [{"account_ref": self.account, "device_id": "one-of-all"}]
        return json.dumps({"accounts": accounts}).encode()

    def send(self, client: httpx.Client) -> httpx.Response:
        headers = {"Content-Type": "application/json", "Idempotency-Key": self.key}
        return client.post(SCORE, content=self.body, headers=headers)


@contextmanager
def callers(service: Running, count: int = 4) -> Iterator[list[Call]]:
    """Callers that ask again at once until they get no answer; all calls, also those cut off."""
    calls: list[Call] = []
    stop = threading.Event()

    def ask() -> None:
        with service.client() as client:
            while not stop.is_set():
                calls.append(call := Call())
                try:
                    call.answer = call.send(client)
                except httpx.TransportError:
                    return

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield calls
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def answered(calls: list[Call]) -> list[dict[str, Any]]:
    """What was said to the calls that got an answer, each of which is a score."""
    answers = [call.answer for call in calls if call.answer is not None]
    assert {answer.status_code for answer in answers} == {200}
    return [answer.json() for answer in answers]


def score_id(answer: dict[str, Any]) -> str:
    (result,) = answer["results"]
    return str(result["score_id"])


# stopped -----------------------------------------------------------------------------------------
def begun(service: Running, call: Call) -> socket.socket:
    """A request whose head was sent and whose body the service has asked for: it is in flight."""
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=30)
    head = (
        f"POST {SCORE} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {service.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(call.body)}\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    connection.sendall(head.encode())
    go_on = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert connection.recv(len(go_on), socket.MSG_WAITALL) == go_on
    return connection


def ended(connection: socket.socket, call: Call) -> dict[str, Any]:
    """The answer to such a request, whose body is sent now."""
    with connection:
        connection.sendall(call.body)
        answer = HTTPResponse(connection)
        answer.begin()
        body = answer.read()
    assert answer.status == 200, body
    said: dict[str, Any] = json.loads(body)
    return said


def test_a_stopped_service_answers_what_it_has_taken_and_logs_what_it_answers(
    home: Home, shop_url: SecretStr
) -> None:
    key = made(shop_url)
    with running(home, shop_url, key) as service, callers(service) as calls:
        until(lambda: len(calls) > 40, 60)
        taken = [Call() for _ in range(12)]
        connections = [begun(service, call) for call in taken]
        service.process.terminate()
        until(lambda: not service.listens())
        late = [ended(*each) for each in zip(connections, taken, strict=True)]
        assert service.process.wait(timeout=60) == 0
    said = Counter(score_id(answer) for answer in [*answered(calls), *late])
    assert Counter(str(row.score_id) for row in logged(shop_url)) == said
    assert not home.spool.exists()


# killed ------------------------------------------------------------------------------------------
def test_what_was_answered_without_the_store_is_logged_once_after_kill_9(home: Home) -> None:
    first = Call()
    with stoppable_server() as server:
        url = server.endpoint().url("postgres")
        key = made(url)
        with running(home, url, key) as service:
            with service.client() as client:
                assert first.send(client).json()["live_links"]
            server.stop()
            with callers(service) as calls:
                until(lambda: len(calls) > 60, 60)
                service.process.kill()
        assert {answer["live_links"] for answer in answered(calls)} == {False}
        server.start()
        url = server.endpoint().url("postgres")
        with served(create_app(home, store=database.engine(url))) as address:
            until(lambda: not list(home.spool.glob("*.jsonl")))
            found = {str(row.score_id) for row in logged(url)}
            assert {score_id(answer) for answer in answered(calls)} <= found
            with client_of(address, key) as client:
                for call in calls:  # whoever was cut off asks again, as documented
                    again = call.send(client)
                    assert again.status_code == 200, again.text
                    assert call.answer is None or again.content == call.answer.content
        accounts = Counter(row.account_id for row in logged(url))
    assert accounts == Counter(call.account for call in [first, *calls])
    assert not list(home.spool.iterdir())
