"""The sandbox's service behind OAuth, running, and what a connector would say of it."""

import json
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
from pydantic import SecretStr

from dmp_assets.demo.sandbox.oauth import CLIENT_ID, CLIENT_SECRET, REDIRECTS, OAuthSandbox
from dmp_assets.demo.sandbox.server import Sandbox
from dmp_assets.home import Home
from dmp_assets.platform.connect.http import Patience
from dmp_assets.platform.connect.oauth import OAuthClient, OAuthService

QUICK = Patience(attempts=4, pause=0.001, longest_pause=0.01, total=5)


@dataclass(frozen=True)
class Service:
    """A running stand-in; `url`: of the service, `root`: of the sandbox."""

    root: str

    @property
    def url(self) -> str:
        return f"{self.root}/oauth"

    def behave(self, **manner: Any) -> None:
        self._post(f"{self.url}/_sandbox/manner", manner)

    def faults(self, *faults: Mapping[str, Any]) -> None:
        self._post(f"{self.root}/_sandbox/faults", list(faults))

    def calls(self, path: str) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.url}/_sandbox/calls") as answer:
            return [call for call in json.load(answer) if call["path"] == path]

    def declared(self, **more: Any) -> OAuthService:
        return OAuthService(
            **{
                "name": "Sandbox",
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "revocation_endpoint": f"{self.url}/revoke",
                "scopes": ("items:read",),
                "patience": QUICK,
                "timeout": 2.0,
            }
            | more
        )

    def client(self, **more: Any) -> OAuthClient:
        return OAuthClient(
            self.declared(**more), CLIENT_ID, SecretStr(CLIENT_SECRET), loopback_only=True
        )

    def _post(self, url: str, body: Any) -> None:
        request = urllib.request.Request(url, data=json.dumps(body).encode(), method="POST")
        urllib.request.urlopen(request).close()


@contextmanager
def running(folder: Path) -> Iterator[Service]:
    """The stand-in on a free port of loopback."""
    home = Home(folder / "home").prepare("sandbox")
    with Sandbox(home, (OAuthSandbox,)).running() as endpoint:
        yield Service(endpoint.url)


def browse(url: str) -> dict[str, str]:
    """What a browser brings back from the consent page."""
    with httpx.Client(trust_env=False) as browser:
        answer = browser.get(url)
    assert answer.status_code in (302, 307), answer.text
    back = answer.headers["location"]
    assert back.startswith(REDIRECTS[0])
    return dict(parse_qsl(urlsplit(back).query))
