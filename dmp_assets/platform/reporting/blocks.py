"""Slack's Block Kit, the few blocks that our messages are made of.

The text of a mrkdwn block is already Slack's: foreign text in it came through `foreign_text`.
`verbatim` keeps Slack from making links and mentions of what merely looks like one.
"""

from typing import Any

from dmp_assets.platform.text.foreign_text import cut, visible

SECTION_LIMIT = 2_900
HEADER_LIMIT = 150


def header(text: str) -> dict[str, Any]:
    """A title of plain text."""
    shown = cut(visible(text).strip() or "—", HEADER_LIMIT)
    return {"type": "header", "text": {"type": "plain_text", "text": shown, "emoji": False}}


def section(text: str) -> dict[str, Any]:
    """A paragraph of mrkdwn."""
    return {"type": "section", "text": mrkdwn(text)}


def fields(texts: list[str]) -> dict[str, Any]:
    """Up to ten short texts in two columns."""
    return {"type": "section", "fields": [mrkdwn(text) for text in texts[:10]]}


def context(text: str) -> dict[str, Any]:
    """Small print."""
    return {"type": "context", "elements": [mrkdwn(text)]}


def mrkdwn(text: str) -> dict[str, Any]:
    """A text object of Slack's own mark-up."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}
