"""What of the checks is news: a check that starts to fail, or that passes again.

A blocking (ERROR) check is told when its state changes, all changes of one look in one message per
channel. A warning is told in one digest a day, from `DIGEST_HOUR` on in the zone of the settings,
if there are new ones since the last. A check that goes on failing is not told again. What is known
is kept in `$DMP_HOME/outbox/alerts/checks.json`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import filelock
from pydantic import BaseModel, Field, ValidationError
from slack_sdk import WebClient

from dmp_assets.platform.base import whole_file
from dmp_assets.platform.reporting.alerts import channel_of
from dmp_assets.platform.reporting.blocks import SECTION_LIMIT, context, section
from dmp_assets.platform.reporting.delivery import Delivery, Message, deliver
from dmp_assets.platform.reporting.privacy import redact
from dmp_assets.platform.text.foreign_text import slack_link, slack_text
from dmp_assets.settings import Settings

DIGEST_HOUR = 8
_SHOWN = 20
"""Checks of one message; of more, their number is said."""


class Result(Protocol):
    """One evaluation of a check."""

    @property
    def key(self) -> str: ...
    @property
    def asset(self) -> str: ...
    @property
    def check(self) -> str: ...
    @property
    def passed(self) -> bool: ...
    @property
    def error(self) -> bool: ...
    @property
    def finding(self) -> str: ...
    @property
    def advice(self) -> str: ...
    @property
    def run_id(self) -> str | None: ...


class Standing(BaseModel):
    """What is known of one check that fails, or did and whose end is still to be told.

    `told`: whether people know that it fails. `waits`: whether its state is still to be told.
    """

    asset: str
    check: str
    error: bool
    failed: bool = True
    since: datetime
    finding: str = ""
    advice: str = ""
    owner: str | None = None
    link: str | None = None
    told: bool = False
    waits: bool = True


class Book(BaseModel):
    """What is known of all checks."""

    checks: dict[str, Standing] = Field(default_factory=dict)
    digest_on: date | None = None

    def take(
        self, result: Result, now: datetime, owner: str | None = None, link: str | None = None
    ) -> None:
        """Note one evaluation; only a change of state is left to be told."""
        known = self.checks.get(result.key)
        if result.passed:
            if known is None or not known.failed:
                return
            if not known.told:
                del self.checks[result.key]
                return
            known.failed, known.waits, known.since = False, True, now
            return
        same = known is not None and known.failed and known.error == result.error
        if known is None or not same:
            told = known is not None and known.told
            known = Standing(
                asset=result.asset, check=result.check, error=result.error, since=now, told=told
            )
            self.checks[result.key] = known
        known.finding, known.advice = result.finding, result.advice
        known.owner, known.link = owner, link

    def news(self, *, error: bool) -> list[Standing]:
        """What is to be told of checks of this severity."""
        waiting = (s for s in self.checks.values() if s.waits and s.error == error)
        return sorted(waiting, key=lambda s: (not s.failed, s.asset, s.check))

    def tell(self, told: Iterable[Standing]) -> None:
        """Note that people know; what passes again is forgotten."""
        for standing in told:
            standing.waits, standing.told = False, True
        self.checks = {key: s for key, s in self.checks.items() if s.failed or s.waits}

    def digest_is_due(self, now: datetime, zone: str) -> bool:
        """Whether today's digest is to be sent; on the very first look only from the next one on.

        So a new home's warnings come together, in the morning.
        """
        here = now.astimezone(ZoneInfo(zone))
        last_due = here.date() if here.hour >= DIGEST_HOUR else date.fromordinal(
            here.date().toordinal() - 1
        )  # fmt: skip
        if self.digest_on is None:
            self.digest_on = last_due
        return self.digest_on < last_due

    def digested(self, now: datetime, zone: str) -> None:
        """Note that today's digest has been dealt with."""
        self.digest_on = now.astimezone(ZoneInfo(zone)).date()


@dataclass(frozen=True)
class CheckNews:
    """The book of one home's checks."""

    outbox: Path

    @property
    def _file(self) -> Path:
        return self.outbox / "alerts" / "checks.json"

    def book(self) -> Book:
        """What is known; an unreadable book counts as none."""
        try:
            return Book.model_validate_json(self._file.read_text())
        except (FileNotFoundError, ValidationError):
            return Book()

    def tell(
        self,
        slack: WebClient | None,
        results: Sequence[Result],
        settings: Settings,
        *,
        now: datetime | None = None,
        owner: Callable[[str], str | None] = lambda _: None,
        link: Callable[[Result], str | None] = lambda _: None,
    ) -> list[Delivery]:
        """Note the results and send what is news of them."""
        now = now or datetime.now(UTC)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self._file.with_suffix(".lock"), timeout=600):
            book = self.book()
            for result in results:
                book.take(result, now, owner(result.asset), link(result))
            self._save(book)
            news = book.news(error=True)
            done = self._send(slack, news, settings, digest=False)
            book.tell(news)
            if book.digest_is_due(now, settings.timezone):
                news = book.news(error=False)
                done += self._send(slack, news, settings, digest=True)
                book.tell(news)
                book.digested(now, settings.timezone)
            self._save(book)
        return done

    def accept(self, results: Iterable[Result], now: datetime | None = None) -> None:
        """Note findings that are as they should be: they are no news, nor is their end."""
        now = now or datetime.now(UTC)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self._file.with_suffix(".lock"), timeout=600):
            book = self.book()
            for result in results:
                if not result.passed:
                    book.take(result, now)
                    book.checks[result.key].waits = False
            self._save(book)

    def _send(
        self,
        slack: WebClient | None,
        news: Sequence[Standing],
        settings: Settings,
        *,
        digest: bool,
    ) -> list[Delivery]:
        by_channel: dict[str, list[Standing]] = {}
        for standing in news:
            by_channel.setdefault(channel_of(standing.owner, settings), []).append(standing)
        return [
            deliver(slack, self.outbox, message(told, channel, digest=digest))
            for channel, told in by_channel.items()
        ]

    def _save(self, book: Book) -> None:
        whole_file.write(self._file, book.model_dump_json(indent=1))


def message(told: Sequence[Standing], channel: str, *, digest: bool) -> Message:
    """One message of all that changed: failing checks first, each with what to do."""
    failing = [s for s in told if s.failed]
    passing = [s for s in told if not s.failed]
    one, many = ("warning", "warnings") if digest else ("check failed", "checks failed")
    parts = []
    if failing:
        new = "new " if digest else ""
        parts.append(f"{len(failing)} {new}{one if len(failing) == 1 else many}")
    if passing:
        parts.append(f"{len(passing)} {'passes' if len(passing) == 1 else 'pass'} again")
    title = f"{'Daily digest of checks: ' if digest else ''}{', '.join(parts)}"
    blocks = [section(f"{'⚠' if failing else '✓'} *{slack_text(title)}*")]
    for standing in told[:_SHOWN]:
        blocks.append(section(_line(standing)))
    if len(told) > _SHOWN:
        blocks.append(context(f"… and {len(told) - _SHOWN} more, in Dagster's UI"))
    owners = sorted({s.owner or "nobody" for s in told})
    blocks.append(context(f"Owner {slack_text(', '.join(owners), 300)}"))
    named = ", ".join(s.asset for s in told[:5]) + (", …" if len(told) > 5 else "")
    mark = "\n".join(f"{s.asset} {s.check} {s.failed} {s.since.isoformat()}" for s in told)
    return Message(
        report="alert/checks/digest" if digest else "alert/checks",
        version=mark,
        channel=channel,
        text=slack_text(f"{title}: {named}", 1_500),
        blocks=tuple(blocks),
    )


def _line(standing: Standing) -> str:
    name = f"*{slack_text(standing.asset, 200)}* {slack_text(standing.check, 200)}"
    if not standing.failed:
        return f"✓ {name} passes again"
    finding = slack_text(redact(standing.finding), SECTION_LIMIT - 1_500)
    opened = f" · {slack_link(standing.link, 'open the run')}" if standing.link else ""
    return f"{name}: {finding}\n→ {_with_code(standing.advice)}{opened}"


def _with_code(advice: str) -> str:
    """Our own words with commands in backticks, which Slack shows as code."""
    pieces = advice.split("`")
    return "".join(
        f"`{slack_text(piece, 400)}`" if i % 2 else slack_text(piece, 400)
        for i, piece in enumerate(pieces)
    )
