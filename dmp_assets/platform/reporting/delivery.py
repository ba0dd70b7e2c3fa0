"""Delivery of a message to Slack: exactly once per report, version and channel.

The intent is recorded before anything is sent, as `$DMP_HOME/outbox/<delivery_id>.json` with copies
of image and files beside it, and moves through the stages of `Stage`. A call whose outcome is
unknown (a kill, a broken connection, a 5xx) is looked up in Slack before it is made again: the
message by the delivery id in its metadata, the files by their names in the message's thread.

The order of the calls follows from what Slack allows: an image block may only show a file that is
already shared in the channel and processed, and sharing it there on its own would be a second
message. So: post the message, share image and files in its thread, then update the message with
the image inside. Where Slack keeps refusing the image block, the image stays in the thread.
Source: docs.slack.dev/reference/block-kit/composition-objects/slack-file-object and
docs.slack.dev/messaging/working-with-files.

Scopes of the token: chat:write, files:write, files:read, channels:history (groups:history for
private channels).
"""

import hashlib
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeVar

import filelock
from pydantic import BaseModel, Field, ValidationError
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from dmp_assets.platform.base import whole_file
from dmp_assets.platform.reporting.slack import UnreadableAnswer
from dmp_assets.platform.reporting.slack_answers import (
    FAILURES,
    detail,
    explain,
    objects_of,
    pages_of,
    refusal,
    text_of,
    timed_out,
    unknown_outcome,
)
from dmp_assets.platform.text.foreign_text import slack_link, visible

log = logging.getLogger(__name__)
T = TypeVar("T")

EVENT_TYPE = "dmp_delivery"
NOT_SET_UP = "no Slack token is set (DMP_SLACK_TOKEN)"
_TRIES = 4
PAUSE_SECONDS = 0.5
"""Before the second try; doubled before each further one."""
_READY_SECONDS = 20.0


@dataclass(frozen=True)
class Message:
    """One message to one channel; `report`, `version` and `channel` say whether it is the same.

    `blocks` come without the image, which is put in at index `image_at` (None: at the end).
    `files` are (path, title) pairs for the thread. `text` is what notifications show. `facts` are
    the numbers that it says, to be compared with later ones. `reply_to` is the delivery id of a
    message that this one corrects: it is shown in that message's thread and in the channel.
    """

    report: str
    version: str
    channel: str
    text: str
    blocks: tuple[dict[str, Any], ...] = ()
    image: Path | None = None
    image_alt: str = ""
    image_at: int | None = None
    files: tuple[tuple[Path, str], ...] = ()
    link: str | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    reply_to: str | None = None

    @property
    def delivery_id(self) -> str:
        """Stable name of this delivery: the same report, version and channel, the same id."""
        key = "\n".join((self.report, self.version, self.channel))
        return hashlib.sha256(key.encode(errors="backslashreplace")).hexdigest()[:20]


@dataclass(frozen=True)
class Delivery:
    """What became of a message. `kept` waits in the outbox for `flush`; `reason` says why."""

    delivery_id: str
    report: str
    version: str
    channel: str
    state: Literal["sent", "already_sent", "kept"]
    ts: str | None = None
    reason: str | None = None


class Stage(StrEnum):
    """How far a delivery has come; `…ing` means: tried, outcome unknown until looked up."""

    INTENDED = "intended"
    POSTING = "posting"
    POSTED = "posted"
    SHARING = "sharing"
    SHARED = "shared"
    SENT = "sent"


class Attachment(BaseModel):
    """A file that is shared in the message's thread, copied into the outbox."""

    file: str
    title: str
    alt: str | None = None
    slack_id: str | None = None


class Record(BaseModel):
    """The outbox's record of one delivery, one JSON file."""

    delivery_id: str
    report: str
    version: str
    channel: str
    text: str
    blocks: list[dict[str, Any]]
    image_at: int | None = None
    image: Attachment | None = None
    files: list[Attachment] = Field(default_factory=list)
    link: str | None = None
    facts: dict[str, float] = Field(default_factory=dict)
    reply_to: str | None = None
    created_at: datetime
    stage: Stage = Stage.INTENDED
    posting_since: datetime | None = None
    ts: str | None = None
    sent_at: datetime | None = None
    reason: str | None = None
    thread_ts: str | None = None

    @property
    def attachments(self) -> list[Attachment]:
        return ([self.image] if self.image else []) + self.files


def deliver(slack: WebClient | None, outbox: Path, message: Message) -> Delivery:
    """Send the message once, or keep it in the outbox when Slack cannot take it now.

    `slack` is None when no token is set. Never raises for what Slack does or fails to do; raises
    OSError when the outbox cannot be written (then nothing was sent).
    """
    with _locked(outbox, message.delivery_id):
        path = outbox / f"{message.delivery_id}.json"
        record = _read(path) if path.exists() else _intend(outbox, message)
        return _send(slack, outbox, record)


def sent(outbox: Path, delivery_id: str) -> Record | None:
    """The record of a message that Slack has; None for one that it has not (or never had)."""
    try:
        record = _read(outbox / f"{delivery_id}.json")
    except (FileNotFoundError, ValidationError):
        return None
    return record if record.stage is Stage.SENT else None


def already_sent(outbox: Path, report: str, delivery_id: str) -> Delivery | None:
    """The message, when Slack has it and nothing else of its report waits; else None."""
    record = sent(outbox, delivery_id)
    if record is None or any(_about(waiting.report, report) for waiting in kept(outbox)):
        return None
    return _result(record, "already_sent")


def _about(report: str, other: str) -> bool:
    return report == other or report.startswith(f"{other}/") or report == "?"


def note_facts(outbox: Path, delivery_id: str, facts: Mapping[str, float]) -> None:
    """Note what was last said of a message that was sent, in its correction."""
    with _locked(outbox, delivery_id):
        record = sent(outbox, delivery_id)
        if record is not None:
            _save(outbox, record, facts=dict(facts))


def flush(slack: WebClient | None, outbox: Path) -> list[Delivery]:
    """Send what waits in the outbox, oldest first; what still cannot be sent stays."""
    done = []
    for waiting in kept(outbox):
        with _locked(outbox, waiting.delivery_id):
            try:
                record = _read(outbox / f"{waiting.delivery_id}.json")
            except ValidationError:
                done.append(waiting)
                continue
            done.append(_send(slack, outbox, record))
    return done


def kept(outbox: Path) -> list[Delivery]:
    """What waits in the outbox and why, oldest first, without sending anything."""
    waiting = []
    for path in outbox.glob("*.json"):
        try:
            record = _read(path)
        except ValidationError as error:
            reason = f"{path} is not a readable record ({error.error_count()} errors)"
            lost = Delivery(path.stem, "?", "?", "?", "kept", reason=reason)
            waiting.append((datetime.min.replace(tzinfo=UTC), lost))
            continue
        if record.stage is not Stage.SENT:
            waiting.append((record.created_at, _result(record, "kept")))
    return [delivery for _, delivery in sorted(waiting, key=lambda pair: pair[0])]


# the record --------------------------------------------------------------------------------------
def _locked(outbox: Path, delivery_id: str) -> filelock.BaseFileLock:
    """Two processes never work on one delivery at once."""
    outbox.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(outbox / f"{delivery_id}.lock", timeout=600)


def _intend(outbox: Path, message: Message) -> Record:
    folder = outbox / message.delivery_id
    folder.mkdir(exist_ok=True)
    names: set[str] = set()

    def copied(path: Path, title: str, alt: str | None = None) -> Attachment:
        name = path.name if path.name not in names else f"{len(names)}-{path.name}"
        names.add(name)
        shutil.copyfile(path, folder / name)
        return Attachment(file=name, title=title, alt=alt)

    image = None
    if message.image:
        image = copied(message.image, message.image_alt or message.image.stem, message.image_alt)
    record = Record(
        delivery_id=message.delivery_id,
        report=message.report,
        version=message.version,
        channel=message.channel,
        text=message.text,
        blocks=list(message.blocks),
        image_at=message.image_at,
        image=image,
        files=[copied(path, title) for path, title in message.files],
        link=message.link,
        facts=dict(message.facts),
        reply_to=message.reply_to,
        created_at=datetime.now(UTC),
    )
    return _save(outbox, record)


def _read(path: Path) -> Record:
    return Record.model_validate_json(path.read_text())


def _save(outbox: Path, record: Record, **changes: Any) -> Record:
    """Write the record whole, so that a kill leaves the one before."""
    record = record.model_copy(update=changes)
    path = outbox / f"{record.delivery_id}.json"
    whole_file.write(path, record.model_dump_json(indent=2) + "\n")
    return record


def _result(record: Record, state: Literal["sent", "already_sent", "kept"]) -> Delivery:
    return Delivery(
        record.delivery_id,
        record.report,
        record.version,
        record.channel,
        state,
        record.ts,
        record.reason,
    )


# the stages --------------------------------------------------------------------------------------
def _send(slack: WebClient | None, outbox: Path, record: Record) -> Delivery:
    if record.stage is Stage.SENT:
        return _result(record, "already_sent")
    if slack is None:
        return _result(_save(outbox, record, reason=NOT_SET_UP), "kept")
    try:
        _advance(slack, outbox, record)
    except FAILURES as error:
        # What was reached is on disk already; only the reason is added.
        current = _read(outbox / f"{record.delivery_id}.json")
        current = _save(outbox, current, reason=explain(error))
        log.warning("%s is kept in the outbox: %s", record.report, current.reason)
        return _result(current, "kept")
    sent = _read(outbox / f"{record.delivery_id}.json")
    shutil.rmtree(outbox / record.delivery_id, ignore_errors=True)
    log.info("%s was delivered to %s", record.report, record.channel)
    return _result(sent, "sent")


def _advance(slack: WebClient, outbox: Path, record: Record) -> None:
    """Take the record through the stages that are left."""
    if record.stage in (Stage.INTENDED, Stage.POSTING):
        unsure = record.stage is Stage.POSTING
        since = record.posting_since or datetime.now(UTC)
        corrected = sent(outbox, record.reply_to) if record.reply_to else None
        thread = record.thread_ts or (corrected.ts if corrected else None)
        record = _save(outbox, record, stage=Stage.POSTING, posting_since=since, thread_ts=thread)
        ts = _once(lambda: _find_post(slack, record), lambda: _post(slack, record), unsure)
        record = _save(outbox, record, stage=Stage.POSTED, ts=ts)
    if record.stage in (Stage.POSTED, Stage.SHARING) and record.attachments:
        unsure = record.stage is Stage.SHARING
        record = _save(outbox, record, stage=Stage.SHARING)
        ids = _once(
            lambda: _find_files(slack, record), lambda: _share(slack, outbox, record), unsure
        )
        for attachment in record.attachments:
            attachment.slack_id = ids[attachment.file]
        record = _save(outbox, record, stage=Stage.SHARED)
    reason = None
    if record.image and not _show_image(slack, record):
        reason = "Slack did not take the chart into the message; it is in the thread"
    _save(outbox, record, stage=Stage.SENT, sent_at=datetime.now(UTC), reason=reason)


def _once(find: Callable[[], T | None], act: Callable[[], T], unsure: bool) -> T:
    """Do what must not be done twice; whenever the outcome is unknown, look first.

    No answer in time may mean that Slack is still at work: then nothing is repeated now, and the
    next delivery or flush looks it up.
    """
    for attempt in range(_TRIES):
        if unsure:
            found = find()
            if found is not None:
                return found
        try:
            return act()
        except FAILURES as error:
            if attempt == _TRIES - 1 or timed_out(error) or not unknown_outcome(error):
                raise
            unsure = True
            time.sleep(PAUSE_SECONDS * 2**attempt)
    raise AssertionError("unreachable")


def _metadata(record: Record) -> dict[str, Any]:
    payload = {"delivery_id": record.delivery_id, "report": record.report}
    return {"event_type": EVENT_TYPE, "event_payload": payload}


def _post(slack: WebClient, record: Record) -> str:
    answer = slack.chat_postMessage(
        channel=record.channel,
        thread_ts=record.thread_ts,
        reply_broadcast=True if record.thread_ts else None,
        text=record.text,
        blocks=record.blocks or None,
        metadata=_metadata(record),
        unfurl_links=False,
        unfurl_media=False,
    )
    return text_of(answer, "ts")


def _find_post(slack: WebClient, record: Record) -> str | None:
    """Timestamp of the message that carries our delivery id; a day of clock skew is allowed."""
    assert record.posting_since is not None
    oldest = (record.posting_since - timedelta(days=1)).timestamp()
    found: dict[str, Any] = {"channel": record.channel, "limit": 200, "include_all_metadata": True}
    pages = (
        slack.conversations_replies(ts=record.thread_ts, **found)
        if record.thread_ts
        else slack.conversations_history(oldest=f"{oldest:.6f}", **found)
    )
    for page in pages_of(pages):
        for message in objects_of(page, "messages"):
            metadata = message.get("metadata")
            payload = metadata.get("event_payload") if isinstance(metadata, dict) else None
            ours = isinstance(payload, dict) and payload.get("delivery_id") == record.delivery_id
            if ours:
                return text_of(message, "ts")
    return None


def _share(slack: WebClient, outbox: Path, record: Record) -> dict[str, str]:
    """Image and files as one reply in the thread; Slack's ids by file name."""
    folder = outbox / record.delivery_id
    answer = slack.files_upload_v2(
        channel=record.channel,
        thread_ts=record.ts,
        initial_comment=slack_link(record.link, "Open the report") if record.link else None,
        file_uploads=[
            {"file": str(folder / a.file), "filename": a.file, "title": a.title, "alt_txt": a.alt}
            for a in record.attachments
        ],
    )
    uploaded = objects_of(answer, "files")
    if len(uploaded) != len(record.attachments):
        raise UnreadableAnswer("its answer names another number of files")
    return {a.file: text_of(f, "id") for a, f in zip(record.attachments, uploaded, strict=True)}


def _find_files(slack: WebClient, record: Record) -> dict[str, str] | None:
    """The ids of our files when they are in the thread already."""
    assert record.ts is not None
    found = {}
    pages = slack.conversations_replies(channel=record.channel, ts=record.ts, limit=200)
    for page in pages_of(pages):
        for message in objects_of(page, "messages"):
            for file in objects_of(message, "files") if "files" in message else ():
                found[text_of(file, "name")] = text_of(file, "id")
    return found if {a.file for a in record.attachments} <= found.keys() else None


def _show_image(slack: WebClient, record: Record) -> bool:
    """Put the shared image into the message; False when Slack keeps refusing the block."""
    assert record.image is not None and record.image.slack_id is not None
    _wait_until_processed(slack, record.image.slack_id)
    block = {
        "type": "image",
        "slack_file": {"id": record.image.slack_id},
        "alt_text": record.image.alt or record.image.title,
    }
    blocks = list(record.blocks)
    blocks.insert(len(blocks) if record.image_at is None else record.image_at, block)
    for attempt in range(_TRIES):
        try:
            slack.chat_update(
                channel=record.channel,
                ts=str(record.ts),
                text=record.text,
                blocks=blocks,
                metadata=_metadata(record),
            )
            return True
        except SlackApiError as error:
            if refusal(error)[1] != "invalid_blocks":
                raise
            log.info("Slack refuses the image block: %s", visible(detail(error, "errors")))
            if attempt < _TRIES - 1:
                time.sleep(PAUSE_SECONDS * 2**attempt)
    return False


def _wait_until_processed(slack: WebClient, file_id: str) -> None:
    """Wait, for a bounded time, until Slack knows the file's type and where it is shared."""
    deadline = time.monotonic() + _READY_SECONDS
    pause = 0.2
    while time.monotonic() < deadline:
        file = slack.files_info(file=file_id).get("file")
        if isinstance(file, dict) and file.get("mimetype") and file.get("shares"):
            return
        time.sleep(pause)
        pause = min(2.0, pause * 1.5)
