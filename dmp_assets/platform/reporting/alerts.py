"""Alerts about what failed: routed to the owner, told once per window.

The same alert (kind, asset, cause) within `WINDOW` is only counted; the next message after the
window says how often it happened meanwhile. Counts are kept in `$DMP_HOME/outbox/alerts/`.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import filelock
from pydantic import BaseModel, ValidationError
from slack_sdk import WebClient

from dmp_assets.platform.base import whole_file
from dmp_assets.platform.reporting.blocks import context, section
from dmp_assets.platform.reporting.delivery import Delivery, Message, deliver
from dmp_assets.platform.reporting.privacy import redact
from dmp_assets.platform.text.foreign_text import cut, slack_code, slack_link, slack_text, visible
from dmp_assets.settings import Settings

WINDOW = timedelta(hours=6)

_TITLES = {
    "run_failure": "Run failed",
    "check_failure": "Check failed",
    "drift": "Drift persists",
    "api_not_ready": "Not ready",
    "api_ready_again": "Ready again",
}
_GOOD_NEWS = frozenset({"api_ready_again"})
_VARIABLE = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\d+", re.I)


@dataclass(frozen=True)
class Alert:
    """Something that a person should look at.

    `kind` is run_failure, check_failure, drift or a name of its own; `asset` is the table or job;
    `cause` is the first cause, not the last wrapper; `owner` an owner of the asset. `occasion`:
    what is told again within the window because it is another time, e.g. when it began.
    """

    kind: str
    asset: str
    cause: str
    owner: str | None = None
    run_id: str | None = None
    run_url: str | None = None
    occasion: str | None = None

    @property
    def fingerprint(self) -> str:
        """The same for the same kind, asset and cause, whatever numbers and ids the cause names."""
        about = [self.kind, visible(self.asset), _VARIABLE.sub("#", visible(self.cause))]
        about += [self.occasion] if self.occasion else []
        return hashlib.sha256("\n".join(about).encode()).hexdigest()[:20]


class _Count(BaseModel):
    """What was told of one fingerprint: since when, and how often it happened after that."""

    told_at: datetime
    repeats: int = 0


def raise_alert(
    slack: WebClient | None,
    outbox: Path,
    alert: Alert,
    settings: Settings,
    *,
    now: datetime | None = None,
) -> Delivery | None:
    """Tell the owner's channel, once per window; None when it was only counted.

    Kept in the outbox like any message when Slack cannot take it.
    """
    now = now or datetime.now(UTC)
    folder = outbox / "alerts"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{alert.fingerprint}.json"
    with filelock.FileLock(path.with_suffix(".lock"), timeout=600):
        before = _counted(path)
        if before and now - before.told_at < WINDOW:
            before.repeats += 1
            _save(path, before)
            return None
        message = alert_message(alert, settings, now, before.repeats if before else 0)
        delivery = deliver(slack, outbox, message)
        _save(path, _Count(told_at=now))
        return delivery


def alert_message(alert: Alert, settings: Settings, now: datetime, repeats: int = 0) -> Message:
    """The alert as a message; personal data in the cause is masked."""
    title = _TITLES.get(alert.kind, alert.kind.replace("_", " ").capitalize())
    cause = redact(alert.cause).strip() or "no cause was given"
    first = f"{title}: {alert.asset}"
    mark = "✓" if alert.kind in _GOOD_NEWS else "⚠"
    blocks: list[dict[str, Any]] = [
        section(f"{mark} *{slack_text(first, 500)}*"),
        section(slack_code(cause, 2_500)),
    ]
    about = [f"Owner {slack_text(alert.owner or 'nobody', 200)}"]
    if alert.run_url:
        about.append(slack_link(alert.run_url, "open the run"))
    elif alert.run_id:
        about.append(f"run {slack_text(alert.run_id[:8])}")
    if repeats:
        about.append(f"happened {repeats} more times since it was last told")
    blocks.append(context(" · ".join(about)))
    return Message(
        report=f"alert/{alert.kind}/{alert.asset}",
        version=f"{alert.fingerprint}@{now.isoformat()}",
        channel=channel_of(alert.owner, settings),
        text=slack_text(f"{first}: {cut(cause.splitlines()[0], 300)}", 1_500),
        blocks=tuple(blocks),
    )


def channel_of(owner: str | None, settings: Settings) -> str:
    """The owner's channel (`DMP_SLACK_OWNER_CHANNELS`), else the channel for alerts."""
    return settings.slack_owner_channels.get(owner or "", settings.slack_alert_channel)


def _counted(path: Path) -> _Count | None:
    """What was told before; an unreadable count means: tell again."""
    try:
        return _Count.model_validate_json(path.read_text())
    except (FileNotFoundError, ValidationError):
        return None


def _save(path: Path, count: _Count) -> None:
    whole_file.write(path, count.model_dump_json())
