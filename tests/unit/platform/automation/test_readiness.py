"""The sensor that asks the API whether it is ready: real HTTP, and what Slack receives of it."""

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import httpx
import pytest
from pydantic import SecretStr

from dmp_assets.demo.sandbox.server import Endpoint
from dmp_assets.home import Home
from dmp_assets.platform.automation import readiness, sensors
from dmp_assets.platform.automation.readiness import Answer, Seen
from dmp_assets.platform.reporting.slack import SlackResource
from dmp_assets.platform.store import where
from tests.support.service import Api, now, running_api, served


@pytest.fixture
def api(
    home: Home, endpoint: Endpoint, store_url: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Api]:
    """A ready API of the home that the sensor works for, at the port that its settings name."""
    home.remember(**where.EMBEDDED)
    monkeypatch.setenv("DMP_HOME", str(home.root))
    for name in ("http_proxy", "HTTP_PROXY"):  # must not be asked
        monkeypatch.setenv(name, "http://192.0.2.1:1")
    with running_api(home, store_url) as api:
        monkeypatch.setenv("DMP_API_PORT", api.url.rpartition(":")[2])
        yield api


@pytest.fixture
def look(api: Api) -> Callable[[], str]:
    """One tick of the sensor, which remembers what the one before said; what it found."""
    cursor: list[str | None] = [None]

    def tick() -> str:
        api.forget()
        context = dg.build_sensor_context(cursor=cursor[0], resources={"slack": SlackResource()})
        result: Any = sensors.api_readiness(context)
        cursor[0] = result.cursor
        return str(result.skip_reason.skip_message)

    return tick


def told(endpoint: Endpoint) -> list[str]:
    """What Slack received, line by line."""
    with httpx.Client(trust_env=False, timeout=60) as client:
        messages = client.get(f"{endpoint.url}/_sandbox/messages").json()
    assert {message["channel"] for message in messages} <= {"C_ALERTS"}
    return [message["text"] for message in messages]


def test_it_is_told_once_when_the_api_turns_red_and_once_when_it_is_green_again(
    api: Api, endpoint: Endpoint, look: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = api.app.state.service.settings
    fresh = settings.freshness_hours
    assert look() == "ready"
    monkeypatch.setattr(settings, "freshness_hours", -1)
    assert look().startswith("not ready: published/account_score: older than it should be; ")
    assert told(endpoint) == []
    for _ in range(3):
        look()
    (red,) = told(endpoint)
    assert red.startswith("Not ready: API: since ")
    assert "published/account_score: older than it should be" in red
    monkeypatch.setattr(settings, "freshness_hours", fresh)
    assert [look(), look()] == ["ready", "ready"]
    assert told(endpoint)[1].startswith("Ready again: API: not ready since ")
    # The next time is another occasion, however soon it comes.
    monkeypatch.setattr(settings, "freshness_hours", -1)
    look(), look()
    monkeypatch.setattr(settings, "freshness_hours", fresh)
    look()
    assert [text.partition(":")[0] for text in told(endpoint)] == ["Not ready", "Ready again"] * 2


def test_a_blip_is_not_told(
    api: Api, endpoint: Endpoint, look: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    look()
    for _ in range(3):
        with monkeypatch.context() as red:
            red.setattr(api.app.state.service.settings, "freshness_hours", -1)
            assert look().startswith("not ready")
        assert look() == "ready"
    assert told(endpoint) == []


def test_an_api_that_is_gone_is_not_ready(
    api: Api, endpoint: Endpoint, look: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(api.app) as url, monkeypatch.context() as there:
        there.setenv("DMP_API_PORT", url.rpartition(":")[2])
        assert look() == "ready"
    at = url.partition("//")[2]
    monkeypatch.setenv("DMP_API_PORT", at.rpartition(":")[2])
    assert [look(), look()] == [f"not ready: no answer from {at} (Connection refused)"] * 2
    (red,) = told(endpoint)
    assert red.endswith("(Connection refused)")


def test_nothing_is_told_of_an_api_that_was_never_ready(
    api: Api, endpoint: Endpoint, look: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.app.state.service.settings, "freshness_hours", -1)
    for _ in range(3):
        assert look().startswith("not ready")
    assert told(endpoint) == []


def test_what_is_not_our_health_page_is_not_ready(api: Api) -> None:
    assert readiness.ask(f"{api.url}/health/live") == Answer(False, "answers with HTTP 200")
    assert readiness.ask(f"{api.url}/nowhere") == Answer(False, "answers with HTTP 404")
    unread = "no answer from an address that cannot be read (UnsupportedProtocol)"
    assert readiness.ask("no url") == Answer(False, unread)


def test_a_home_without_store_or_with_any_port_has_no_api(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert readiness.health_url(home) is None
    home.remember(**where.EMBEDDED)
    assert readiness.health_url(home) == "http://127.0.0.1:8000/health/ready"
    monkeypatch.setenv("DMP_API_PORT", "0")
    assert readiness.health_url(home) is None
    live = Home(home.root.parent / "live").prepare("live")
    monkeypatch.setenv("DMP_API_HEALTH_URL", "https://api.example.com/health/ready")
    assert readiness.health_url(live) == "https://api.example.com/health/ready"


def test_a_tick_that_is_repeated_tells_the_same_occasion() -> None:
    """A daemon that dies between the message and its cursor looks again from the old cursor."""
    once, _ = Seen(was_ready=True).after(Answer(False, "gone"), now())
    told = [once.after(Answer(False, "gone"), now())[1] for _ in range(2)]
    assert told[0] is not None and told[0] == told[1]
