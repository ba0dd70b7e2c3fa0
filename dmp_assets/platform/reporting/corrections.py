"""What is said of a message that turned out wrong: a correction in its thread and the channel."""

from collections.abc import Mapping
from pathlib import Path

from slack_sdk import WebClient

from dmp_assets.platform.reporting.blocks import section
from dmp_assets.platform.reporting.delivery import (
    Delivery,
    Message,
    Record,
    deliver,
    note_facts,
    sent,
)
from dmp_assets.platform.reporting.messages import number
from dmp_assets.platform.text.foreign_text import slack_text

SHARE = 0.02
"""A number that has changed by less than this share of what was said is not corrected."""


def changed(
    before: Mapping[str, float], now: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Label → (what was said, what holds now) of the numbers that are no longer right."""
    return {
        label: (said, now[label])
        for label, said in before.items()
        if label in now and abs(now[label] - said) > SHARE * abs(said)
    }


def correct(
    slack: WebClient | None, outbox: Path, message: Message, without_numbers: str
) -> list[Delivery]:
    """After `message` was delivered: correct what was said of its period before.

    `without_numbers` is the version of the same message that said why there are none; its thread
    learns that they are there. Where the message itself had been sent with numbers that differ
    from those of now, its thread learns which. Each is told once.
    """
    delivery_id = message.delivery_id
    now = sent(outbox, delivery_id)
    if now is None:
        return []
    done = []
    earlier = _version(message, without_numbers)
    wrong = sent(outbox, earlier.delivery_id)
    if wrong is not None:
        text = "Correction: the numbers of this period are there now, in the message of their own."
        done.append(deliver(slack, outbox, _reply(message, wrong, "numbers", text)))
    differing = changed(now.facts, message.facts)
    if differing:
        listed = "; ".join(
            f"{label} {number(new)} (was {number(old)})" for label, (old, new) in differing.items()
        )
        text = f"Correction to “{_first(now)}”: {listed}."
        mark = ",".join(f"{label}={new:.6g}" for label, (_, new) in differing.items())
        done.append(deliver(slack, outbox, _reply(message, now, mark, text)))
        note_facts(outbox, delivery_id, message.facts)
    return done


def _version(message: Message, version: str) -> Message:
    return Message(message.report, version, message.channel, message.text)


def _first(record: Record) -> str:
    """What the message is about: its text up to the first number."""
    return record.text.partition(": ")[0]


def _reply(message: Message, wrong: Record, mark: str, text: str) -> Message:
    shown = slack_text(text, 2_800)
    return Message(
        report=f"{message.report}/correction",
        version=f"{wrong.version}@{mark}",
        channel=message.channel,
        text=shown,
        blocks=(section(shown),),
        reply_to=wrong.delivery_id,
    )
