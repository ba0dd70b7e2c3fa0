"""The outbox of e-mail: each message is sent once, or kept with the reason and tried again.

A record of each is `$DMP_HOME/outbox/mail/<delivery_id>.json`, written before anything is sent and
after every step (`Stage`). A process that was killed, or a connection that broke, while the server
had the message and had not answered leaves it at `handing over`: it may have been sent, nobody can
ask, and so it is not sent again (`unsure`). Whatever else goes wrong is tried again, ever later,
for five days (RFC 5321, 4.5.4.1). What has ended keeps no address and no text.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import filelock
from pydantic import BaseModel, ValidationError

from dmp_assets.platform.base import whole_file
from dmp_assets.platform.reporting.email import (
    Email,
    LaterError,
    NotSetUpError,
    RefusedError,
    UnsureError,
    send,
)
from dmp_assets.platform.reporting.mail_settings import MailSettings

log = logging.getLogger(__name__)

PAUSES = tuple(timedelta(minutes=n) for n in (5, 15, 30, 60, 120, 240))
"""After a try that may go better later; the last one repeats."""
GIVEN_UP_AFTER = timedelta(days=5)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Stage(StrEnum):
    """How far a message has come; the last four are its end."""

    KEPT = "kept"
    HANDING_OVER = "handing over"
    SENT = "sent"
    REFUSED = "refused"
    UNSURE = "unsure"
    GIVEN_UP = "given up"


ENDED = frozenset({Stage.SENT, Stage.REFUSED, Stage.UNSURE, Stage.GIVEN_UP})


class MailRecord(BaseModel):
    """The outbox's record of one message."""

    delivery_id: str
    about: str
    to: str = ""
    subject: str = ""
    text: str = ""
    html: str = ""
    preferences: str | None = None
    created_at: datetime
    stage: Stage = Stage.KEPT
    tries: int = 0
    next_try_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str | None = None

    @property
    def email(self) -> Email:
        return Email(
            self.delivery_id, self.about, self.to, self.subject, self.text, self.html,
            self.preferences,
        )  # fmt: skip


@dataclass(frozen=True)
class MailDelivery:
    """What became of a message: `stage`, and why where it was not sent."""

    delivery_id: str
    about: str
    stage: Stage
    reason: str | None = None
    next_try_at: datetime | None = None


def deliver(
    settings: MailSettings, outbox: Path, email: Email, *, now: datetime | None = None
) -> MailDelivery:
    """Send the message once, or keep it for `flush`.

    The same delivery id is the same message, whatever else differs: what has ended is only told.
    Raises OSError when the outbox cannot be written (then nothing was sent), ValueError for an id
    that is none.
    """
    if not _ID.fullmatch(email.delivery_id):
        raise ValueError("a delivery id is of letters, digits, dots, _ and -")
    now = now or datetime.now(UTC)
    with _locked(outbox, email.delivery_id):
        path = _file(outbox, email.delivery_id)
        if path.exists():
            return _tried(settings, outbox, _read(path), now)
        new = MailRecord(created_at=now, **email.__dict__)
        return _tried(settings, outbox, _save(outbox, new), now)


def flush(
    settings: MailSettings, outbox: Path, *, now: datetime | None = None
) -> list[MailDelivery]:
    """Try what is kept and due, the oldest first; what became of everything that had not ended."""
    now = now or datetime.now(UTC)
    done = []
    for waiting in kept(outbox):
        with _locked(outbox, waiting.delivery_id):
            try:
                record = _read(_file(outbox, waiting.delivery_id))
            except ValidationError:
                done.append(waiting)
                continue
            done.append(_tried(settings, outbox, record, now))
    return done


def drop(outbox: Path, delivery_id: str) -> None:
    """Send a message to nobody any more, unless it has ended or never was."""
    now = datetime.now(UTC)
    with _locked(outbox, delivery_id):
        if not (path := _file(outbox, delivery_id)).exists():
            return
        record = _read(path)
        if record.stage not in ENDED:
            _ended(outbox, record, Stage.GIVEN_UP, now, "it was taken back")


def kept(outbox: Path) -> list[MailDelivery]:
    """What has not ended, the oldest first, and why; nothing is sent."""
    return [told for _, told in sorted(_kept(outbox), key=lambda pair: pair[0])]


def _kept(outbox: Path) -> Iterator[tuple[datetime, MailDelivery]]:
    for path in (outbox / "mail").glob("*.json"):
        try:
            record = _read(path)
        except ValidationError as error:
            reason = f"{path.name} is no readable record ({error.error_count()} errors)"
            lost = MailDelivery(path.stem, "?", Stage.KEPT, reason)
            yield datetime.min.replace(tzinfo=UTC), lost
            continue
        if record.stage not in ENDED:
            yield record.created_at, _told(record)


def _tried(settings: MailSettings, outbox: Path, record: MailRecord, now: datetime) -> MailDelivery:
    """Send the record's message if it is its turn; the caller holds its lock."""
    if record.stage in ENDED:
        return _told(record)
    if record.stage is Stage.HANDING_OVER:  # by a process that is no more
        reason = "it ended while the message was handed over: it may have been sent, and is not "
        return _ended(outbox, record, Stage.UNSURE, now, f"{reason}sent again")
    if now - record.created_at >= GIVEN_UP_AFTER:
        return _ended(outbox, record, Stage.GIVEN_UP, now, record.reason)
    if record.next_try_at is not None and now < record.next_try_at:
        return _told(record)

    def hand_over() -> None:
        _save(outbox, record, stage=Stage.HANDING_OVER)

    try:
        send(settings, record.email, record.created_at, hand_over)
    except LaterError as error:
        is_set_up = not isinstance(error, NotSetUpError)
        pause = PAUSES[min(record.tries, len(PAUSES) - 1)]
        later = _save(
            outbox, record, stage=Stage.KEPT, tries=record.tries + is_set_up, reason=str(error),
            next_try_at=now + pause if is_set_up else None,
        )  # fmt: skip
        log.warning("%s is kept in the outbox: %s", record.about, error)
        return _told(later)
    except RefusedError as error:
        return _ended(outbox, record, Stage.REFUSED, now, str(error))
    except UnsureError as error:
        return _ended(outbox, record, Stage.UNSURE, now, str(error))
    return _ended(outbox, record, Stage.SENT, now, None)


def _ended(
    outbox: Path, record: MailRecord, stage: Stage, now: datetime, reason: str | None
) -> MailDelivery:
    """Note the end; address and text are not needed any more."""
    if stage is Stage.SENT:
        log.info("%s was sent by e-mail", record.about)
    else:
        log.warning("%s is not sent by e-mail: %s", record.about, reason)
    ended = _save(
        outbox, record, stage=stage, reason=reason, ended_at=now, tries=record.tries + 1,
        next_try_at=None, to="", subject="", text="", html="", preferences=None,
    )  # fmt: skip
    return _told(ended)


def _told(record: MailRecord) -> MailDelivery:
    return MailDelivery(
        record.delivery_id, record.about, record.stage, record.reason, record.next_try_at
    )


def _locked(outbox: Path, delivery_id: str) -> filelock.BaseFileLock:
    """Two processes never work on one message at once."""
    folder = outbox / "mail"
    folder.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(folder / f"{delivery_id}.lock", timeout=900)


def _file(outbox: Path, delivery_id: str) -> Path:
    return outbox / "mail" / f"{delivery_id}.json"


def _read(path: Path) -> MailRecord:
    return MailRecord.model_validate_json(path.read_text())


def _save(outbox: Path, record: MailRecord, **changes: Any) -> MailRecord:
    """Write the record whole, so that a kill leaves the one before."""
    record = record.model_copy(update=changes)
    path = _file(outbox, record.delivery_id)
    whole_file.write(path, record.model_dump_json(indent=2) + "\n")
    return record
