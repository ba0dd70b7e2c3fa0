"""Delivery to Slack over real HTTP: once and only once, whatever Slack or the machine does."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from slack_sdk import WebClient

from dmp_assets.abuse.report.charts import usage_chart
from dmp_assets.demo.sandbox.server import Endpoint, Sandbox
from dmp_assets.home import Home
from dmp_assets.platform.reporting import delivery
from dmp_assets.platform.reporting.alerts import WINDOW, Alert, raise_alert
from dmp_assets.platform.reporting.delivery import Message, deliver, flush, kept
from dmp_assets.platform.reporting.slack import build_client

Faulty = Callable[..., None]


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PAUSE_SECONDS", 0.05)


@pytest.fixture
def slack(home: Home, endpoint: Endpoint) -> WebClient:
    return client_of(home)


@pytest.fixture
def faulty(endpoint: Endpoint) -> Faulty:
    def set_faults(*faults: dict[str, Any]) -> None:
        request = urllib.request.Request(
            f"{endpoint.url}/_sandbox/faults", data=json.dumps(faults).encode(), method="POST"
        )
        urllib.request.urlopen(request).close()

    return set_faults


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    days = [date(2024, 3, 18) + timedelta(days=i) for i in range(7)]
    path = tmp_path_factory.mktemp("chart") / "chart.png"
    return usage_chart(days, range(1, 8), range(2, 9), path)


@pytest.fixture
def message(tmp_path: Path, chart: Path) -> Message:
    return a_message(tmp_path, chart)


def client_of(home: Home, timeout: int = 30) -> WebClient:
    client = build_client(home.settings(), timeout=timeout, pause=0.02)
    assert client is not None
    return client


def a_message(folder: Path, chart: Path) -> Message:
    page = folder / "promo_abuse.html"
    page.write_text("<!doctype html><title>Promo abuse</title>")
    return Message(
        report="promo_abuse",
        version="2024-W12",
        channel="C_REPORTS",
        text="Promo abuse: 12 codes used",
        blocks=(
            {"type": "section", "text": {"type": "mrkdwn", "text": "*12* codes used"}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": "Data through …"}]},
        ),
        image=Path(shutil.copy(chart, folder)),
        image_alt="Codes used per day",
        image_at=1,
        files=((page, "Promo abuse, week 12"),),
        link="https://reports.example/promo_abuse.html",
    )


def received(endpoint: Endpoint) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{endpoint.url}/_sandbox/messages") as answer:
        return list(json.load(answer))


def assert_delivered_once(endpoint: Endpoint) -> None:
    """One message with the chart inside; one reply in its thread with image and page."""
    parent, reply = received(endpoint)
    assert [b["type"] for b in parent["blocks"]] == ["section", "image", "context"]
    assert reply["thread_ts"] == parent["ts"]
    assert [f["name"] for f in reply["files"]] == ["chart.png", "promo_abuse.html"]
    assert parent["blocks"][1]["slack_file"]["id"] == reply["files"][0]["id"]
    assert "https://reports.example" in reply["text"]


def test_a_message_arrives_once_with_chart_inside_and_page_in_its_thread(
    slack: WebClient, home: Home, endpoint: Endpoint, message: Message
) -> None:
    first = deliver(slack, home.outbox, message)
    assert (first.state, first.reason) == ("sent", None)
    assert_delivered_once(endpoint)
    again = deliver(slack, home.outbox, message)
    assert (again.state, again.ts) == ("already_sent", first.ts)
    assert flush(slack, home.outbox) == []
    assert_delivered_once(endpoint)
    assert not (home.outbox / message.delivery_id).exists()


def test_another_version_or_channel_is_another_message(
    slack: WebClient, home: Home, endpoint: Endpoint
) -> None:
    for version, channel in (("1", "C_REPORTS"), ("2", "C_REPORTS"), ("1", "C_ALERTS")):
        sent = deliver(slack, home.outbox, Message("r", version, channel, "text"))
        assert sent.state == "sent"
    assert len(received(endpoint)) == 3


METHODS = (
    "chat.postMessage",
    "files.getUploadURLExternal",
    "files.completeUploadExternal",
    "files.info",
    "chat.update",
)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["429", "500", "truncated", "drop"])
def test_a_passing_fault_neither_loses_nor_doubles_the_message(
    slack: WebClient,
    home: Home,
    endpoint: Endpoint,
    message: Message,
    faulty: Faulty,
    method: str,
    kind: str,
) -> None:
    faulty({"method": method, "kind": kind, "retry_after": 0})
    result = deliver(slack, home.outbox, message)
    if result.state == "kept":
        assert result.reason
        (result,) = flush(slack, home.outbox)
    assert result.state == "sent"
    assert_delivered_once(endpoint)


def test_retry_after_is_waited_for(
    slack: WebClient, home: Home, endpoint: Endpoint, message: Message, faulty: Faulty
) -> None:
    faulty({"method": "chat.postMessage", "kind": "429", "retry_after": 2})
    started = time.monotonic()
    assert deliver(slack, home.outbox, message).state == "sent"
    assert time.monotonic() - started >= 2
    assert_delivered_once(endpoint)


def test_a_wait_of_an_hour_does_not_hold_the_run(
    slack: WebClient, home: Home, endpoint: Endpoint, message: Message, faulty: Faulty
) -> None:
    faulty({"method": "chat.postMessage", "kind": "429", "retry_after": 3600})
    result = deliver(slack, home.outbox, message)
    assert result.state == "kept"
    assert "429" in str(result.reason)
    assert [d.state for d in flush(slack, home.outbox)] == ["sent"]
    assert_delivered_once(endpoint)


@pytest.mark.parametrize("after", [True, False])
def test_no_answer_in_time_is_looked_up_before_it_is_sent_again(
    home: Home, endpoint: Endpoint, message: Message, faulty: Faulty, after: bool
) -> None:
    faulty({"method": "chat.postMessage", "kind": "slow", "seconds": 1.5, "after": after})
    result = deliver(client_of(home, timeout=1), home.outbox, message)
    assert result.state == "kept"
    assert "in time" in str(result.reason)
    time.sleep(1)
    assert [d.state for d in flush(client_of(home), home.outbox)] == ["sent"]
    assert_delivered_once(endpoint)


@pytest.mark.parametrize(
    ("method", "messages_before_the_kill"),
    [("chat.postMessage", 1), ("files.completeUploadExternal", 2), ("chat.update", 2)],
)
def test_a_kill_between_sending_and_recording_does_not_send_twice(
    home: Home,
    endpoint: Endpoint,
    tmp_path: Path,
    chart: Path,
    faulty: Faulty,
    method: str,
    messages_before_the_kill: int,
) -> None:
    faulty({"method": method, "kind": "slow", "seconds": 600, "after": True})
    code = (
        "from pathlib import Path\n"
        "from tests.unit.platform.reporting.test_delivery import *\n"
        "root, folder, chart = map(Path, sys.argv[1:])\n"
        "deliver(client_of(Home(root)), Home(root).outbox, a_message(folder, chart))\n"
    )
    command = [sys.executable, "-c", code, str(home.root), str(tmp_path), str(chart)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[4])
    try:
        deadline = time.monotonic() + 120
        while not done_by(method, received(endpoint), messages_before_the_kill):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.2)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    (waiting,) = kept(home.outbox)
    assert waiting.report == "promo_abuse"
    assert deliver(client_of(home), home.outbox, a_message(tmp_path, chart)).state == "sent"
    assert_delivered_once(endpoint)


def done_by(method: str, messages: list[dict[str, Any]], count: int) -> bool:
    return len(messages) == count and (method != "chat.update" or "edited" in messages[0])


def test_without_a_token_the_message_waits_and_is_sent_once_later(
    home: Home, message: Message, tmp_path: Path
) -> None:
    result = deliver(build_client(home.settings()), home.outbox, message)
    assert result.state == "kept"
    assert "DMP_SLACK_TOKEN" in str(result.reason)
    assert kept(home.outbox) == [result]
    (tmp_path / "promo_abuse.html").write_text("rendered again")
    (tmp_path / "chart.png").unlink()
    with Sandbox(home).running() as endpoint:
        assert [d.state for d in flush(client_of(home), home.outbox)] == ["sent"]
        assert flush(client_of(home), home.outbox) == []
        assert_delivered_once(endpoint)
        page = received(endpoint)[1]["files"][1]
        url = f"{endpoint.url}/api/_view/{page['id']}/{page['name']}"
        with urllib.request.urlopen(url) as answer:
            assert b"<title>Promo abuse</title>" in answer.read()


def test_a_refused_token_keeps_the_message_and_says_so(
    slack: WebClient, home: Home, endpoint: Endpoint, message: Message, faulty: Faulty
) -> None:
    stranger = WebClient(token="xoxb-wrong", base_url=slack.base_url)
    result = deliver(stranger, home.outbox, message)
    assert result.state == "kept"
    assert "invalid_auth" in str(result.reason) and "DMP_SLACK_TOKEN" in str(result.reason)
    faulty({"method": "files.completeUploadExternal", "kind": "token_expired"})
    assert "token_expired" in str(flush(slack, home.outbox)[0].reason)
    assert [d.state for d in flush(slack, home.outbox)] == ["sent"]
    assert_delivered_once(endpoint)


def test_slack_being_down_keeps_the_message(home: Home, message: Message) -> None:
    down = WebClient(token="xoxb-any", base_url="http://127.0.0.1:9/api/")
    result = deliver(down, home.outbox, message)
    assert result.state == "kept"
    assert "cannot be reached" in str(result.reason)
    assert "xoxb" not in (home.outbox / f"{message.delivery_id}.json").read_text()


def test_a_channel_without_us_keeps_the_message_and_says_what_to_do(
    slack: WebClient, home: Home
) -> None:
    result = deliver(slack, home.outbox, Message("r", "1", "C_WITHOUT_US", "text"))
    assert result.state == "kept"
    assert "invite" in str(result.reason)


def test_when_slack_keeps_refusing_the_image_it_stays_in_the_thread(
    slack: WebClient,
    home: Home,
    endpoint: Endpoint,
    message: Message,
    tmp_path: Path,
) -> None:
    disguised = tmp_path / "chart.txt"
    disguised.write_bytes((tmp_path / "chart.png").read_bytes())
    image = Message(**{**message.__dict__, "image": disguised})
    result = deliver(slack, home.outbox, image)
    assert result.state == "sent"
    assert "in the thread" in str(result.reason)
    parent, reply = received(endpoint)
    assert [b["type"] for b in parent["blocks"]] == ["section", "context"]
    assert reply["files"][0]["name"] == "chart.txt"


def test_an_unreadable_record_is_shown_and_stops_nothing_else(slack: WebClient, home: Home) -> None:
    deliver(None, home.outbox, Message("r", "1", "C_REPORTS", "text"))
    (home.outbox / "broken.json").write_text("{")
    states = {d.delivery_id: d.state for d in flush(slack, home.outbox)}
    assert states.pop("broken") == "kept"
    assert list(states.values()) == ["sent"]


def test_a_missing_image_is_an_error_before_anything_is_sent(
    slack: WebClient, home: Home, endpoint: Endpoint, message: Message, tmp_path: Path
) -> None:
    (tmp_path / "chart.png").unlink()
    with pytest.raises(FileNotFoundError):
        deliver(slack, home.outbox, message)
    assert received(endpoint) == []


def test_alerts_are_told_once_per_window_and_counted_meanwhile(
    slack: WebClient, home: Home, endpoint: Endpoint
) -> None:
    settings = home.settings()
    now = datetime(2024, 3, 31, 6, tzinfo=UTC)
    alert = Alert(
        "run_failure",
        "cleaned/users",
        "row 17 of jane@example.com is bad",
        "team:data-platform",
        "abcdef123456",
        "http://127.0.0.1:3000/runs/abc",
    )
    other_row = Alert("run_failure", "cleaned/users", "row 99 of jane@example.com is bad")

    def told(one: Alert, at: datetime) -> str | None:
        delivery = raise_alert(slack, home.outbox, one, settings, now=at)
        return delivery.state if delivery else None

    assert told(alert, now) == "sent"
    assert told(other_row, now + timedelta(hours=1)) is None
    assert told(alert, now + timedelta(hours=2)) is None
    assert told(Alert("run_failure", "cleaned/users", "no space left"), now) == "sent"
    assert told(alert, now + WINDOW) == "sent"
    first, _, last = received(endpoint)
    assert first["channel"] == "C_ALERTS"
    assert "2 more times" in json.dumps(last["blocks"])
    shown = json.dumps(first, ensure_ascii=False)
    assert "cleaned/users" in shown and "team:data-platform" in shown and "runs/abc" in shown
    assert "jane@example.com" not in shown


def test_alerts_go_to_their_owners_channel(slack: WebClient, home: Home) -> None:
    settings = home.settings().model_copy(
        update={"slack_owner_channels": {"team:risk": "C_REPORTS"}}
    )
    told = raise_alert(
        slack, home.outbox, Alert("drift", "ml/x", "it drifts", "team:risk"), settings
    )
    assert told is not None and (told.channel, told.state) == ("C_REPORTS", "sent")


def test_an_alert_waits_in_the_outbox_like_any_message(home: Home) -> None:
    told = raise_alert(None, home.outbox, Alert("drift", "ml/x", "it drifts"), home.settings())
    assert told is not None and told.state == "kept"
    assert [d.report for d in kept(home.outbox)] == ["alert/drift/ml/x"]


def test_a_proxy_in_the_environment_never_sees_what_stays_on_this_machine(
    home: Home, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://192.0.2.1:1")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    client = client_of(home, timeout=2)
    assert deliver(client, home.outbox, Message("r", "1", "C_REPORTS", "text")).state == "sent"


def test_a_real_token_in_the_environment_is_not_used_by_a_sandbox_home(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMP_SLACK_TOKEN", "xoxb-looks-real")
    assert build_client(home.settings()) is None


def test_the_event_type_is_stable() -> None:
    """Messages that were sent by an older version are still found."""
    assert delivery.EVENT_TYPE == "dmp_delivery"
    assert Message("r", "1", "C", "t").delivery_id == "22a6bc010e3f805c7946"
