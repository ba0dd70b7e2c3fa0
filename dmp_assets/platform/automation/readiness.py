"""Whether the API is ready, asked from outside as its callers would, and when to tell people."""

from dataclasses import dataclass
from datetime import datetime

import httpx
from pydantic import BaseModel

from dmp_assets.home import Home
from dmp_assets.platform.base.addresses import is_loopback, place_of
from dmp_assets.platform.base.answers import UNREADABLE, json_object, why_unanswered
from dmp_assets.platform.reporting.alerts import Alert
from dmp_assets.platform.store import where
from dmp_assets.platform.text.foreign_text import visible

PATIENCE_SECONDS = 15.0
RED_BEFORE_ALERT = 2
"""Looks in a row that must fail before anybody is told: one may be a blip or a restart."""


@dataclass(frozen=True)
class Answer:
    """What the API said: ready, or why not."""

    ready: bool
    cause: str = ""


class Seen(BaseModel):
    """What the sensor remembers between two looks.

    Nothing is told of an API that was never ready: it is not there yet.
    """

    was_ready: bool = False
    red: int = 0
    since: datetime | None = None

    def after(self, answer: Answer, now: datetime) -> tuple["Seen", Alert | None]:
        """What to remember after one more look, and what to tell, if anything."""
        if answer.ready:
            told = None
            if self.red >= RED_BEFORE_ALERT:
                told = self._alert("api_ready_again", f"not ready since {self._minute}, ready now")
            return Seen(was_ready=True), told
        if not self.was_ready:
            return self, None
        seen = Seen(was_ready=True, red=self.red + 1, since=self.since or now)
        told = seen._alert("api_not_ready", f"since {seen._minute}: {answer.cause}")
        return seen, told if seen.red == RED_BEFORE_ALERT else None

    @property
    def _minute(self) -> str:
        assert self.since is not None
        return f"{self.since:%Y-%m-%d %H:%M} UTC"

    def _alert(self, kind: str, cause: str) -> Alert:
        assert self.since is not None
        return Alert(kind, "API", cause, occasion=self.since.isoformat())


def health_url(home: Home) -> str | None:
    """Where to ask; None when the home has no API."""
    settings = home.settings()
    if settings.api_health_url:
        return settings.api_health_url
    if not where.is_configured(home) or settings.api_port == 0:
        return None
    return f"http://127.0.0.1:{settings.api_port}/health/ready"


def ask(url: str) -> Answer:
    """Ask once. No answer, and any answer but that it is ready, means: not ready."""
    try:
        local = is_loopback(httpx.URL(url).host)  # where a proxy has no business
        with httpx.Client(timeout=PATIENCE_SECONDS, trust_env=not local) as client:
            answer = client.get(url)
    except (httpx.HTTPError, httpx.InvalidURL, *UNREADABLE) as error:
        return Answer(False, f"no answer from {place_of(url)} ({why_unanswered(error)})")
    body = json_object(answer.content) or {}
    if answer.status_code == 200 and body.get("ready") is True:
        return Answer(True)
    checks = body.get("checks")
    failed = [
        f"{visible(check.get('name', '?'))}: {visible(check.get('detail', 'failed'))}"
        for check in (checks if isinstance(checks, list) else [])
        if isinstance(check, dict) and not check.get("ok")
    ]
    return Answer(False, "; ".join(failed) or f"answers with HTTP {answer.status_code}")
