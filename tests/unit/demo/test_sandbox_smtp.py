"""The sandbox's mail server beside its HTTP: settings that lead there, what people see, manners."""

import json
import urllib.error
import urllib.request
from datetime import UTC, datetime

import pytest

from dmp_assets.demo.sandbox.server import Endpoint, Sandbox
from dmp_assets.home import Home
from dmp_assets.platform.reporting.email import Email, LaterError, send

NOW = datetime(2026, 6, 10, 9, tzinfo=UTC)
MAIL = Email("d-1", "news", "ann@shop.example", "<b>Up</b>", "Spend is up & away", "<p>Up</p>")


def get(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        return str(answer.read().decode())


def behave(endpoint: Endpoint, manner: str) -> None:
    url = f"{endpoint.url}/smtp/_sandbox/manner"
    urllib.request.urlopen(urllib.request.Request(url, manner.encode(), method="POST")).close()


def test_a_sandbox_home_sends_there_and_people_see_what_was_sent(
    home: Home, endpoint: Endpoint
) -> None:
    settings = home.settings()
    assert (settings.smtp_host, settings.smtp_port) == (
        "127.0.0.1", endpoint.settings["smtp_port"],
    )  # fmt: skip
    send(settings, MAIL, NOW)
    [message] = json.loads(get(f"{endpoint.url}/_sandbox/messages"))
    assert message["to"] == "ann@shop.example" and "Spend is up" in message["text"]
    for page in ("/", "/sandbox/e-mail"):
        shown = get(f"{endpoint.url}{page}")
        assert "&lt;b&gt;Up&lt;/b&gt;" in shown and "up &amp; away" in shown


def test_whatever_the_environment_says_mail_stays_on_loopback(
    home: Home, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("HOST", "mail.example.com"), ("PORT", "587"), ("USER", "boss"),
                        ("PASSWORD", "hunter2"), ("SECURITY", "tls")):  # fmt: skip
        monkeypatch.setenv(f"DMP_SMTP_{name}", value)
    settings = home.settings()
    assert (settings.smtp_host, settings.smtp_user) == ("127.0.0.1", None)
    send(settings, MAIL, NOW)
    assert "Spend is up" in get(f"{endpoint.url}/_sandbox/messages")


def test_it_misbehaves_as_it_is_told(home: Home, endpoint: Endpoint) -> None:
    behave(endpoint, '{"greylist": 0}')
    with pytest.raises(LaterError, match="451"):
        send(home.settings(), MAIL, NOW)
    send(home.settings(), MAIL, NOW)
    with pytest.raises(urllib.error.HTTPError, match="422"):
        behave(endpoint, '{"greylists": 0}')


def test_mails_stay_and_the_port_holds_when_it_is_started_again(home: Home) -> None:
    ports = []
    for n in range(2):
        with Sandbox(home).running() as endpoint:
            ports.append(endpoint.settings["smtp_port"])
            send(home.settings(), Email(f"d-{n}", *list(MAIL.__dict__.values())[1:]), NOW)
            assert len(json.loads(get(f"{endpoint.url}/_sandbox/messages"))) == n + 1
    assert ports[0] == ports[1]
