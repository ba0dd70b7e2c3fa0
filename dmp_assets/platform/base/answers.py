"""What other programs answer, read without trusting any of it: nothing here raises.

One reader for all clients (Slack, the IHC service, the OpenID provider, the API's health): the
wait that `Retry-After` asks for, the JSON object of a body, and what an answer says in one short
line, be it JSON, an HTML page or nothing.
"""

import html
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from dmp_assets.platform.text.foreign_text import cut, visible

UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What reading an answer raises that is not as it should be, in whichever library."""

LONGEST_WAIT = 86_400.0
_SECONDS = re.compile(r"\+?\d{1,15}(\.\d*)?|\.\d+", re.ASCII)
_MARKUP = re.compile(r"(?is)<(script|style)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>")
_TITLE = re.compile(r"(?is)<(title|h1)\b[^>]*>(.*?)</\1\s*>")
_SAYING = ("message", "error_description", "detail", "error", "title", "errorMessage", "reason")
_READ = 65_536


def retry_after(header: object, now: datetime) -> float | None:
    """Seconds to wait by a `Retry-After` header: seconds, also with a fraction, or an HTTP date.

    None for no header and for one that says nothing (garbage, a negative number); a moment that is
    over is 0; never more than `LONGEST_WAIT`. `now` has a time zone.
    """
    if isinstance(header, list | tuple):
        header = header[0] if header else None
    if header is None:
        return None
    text = str(header).strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        wait = (moment - now).total_seconds()
    except UNREADABLE:
        return None
    return min(max(0.0, wait), LONGEST_WAIT) if math.isfinite(wait) else None


def why_unanswered(error: BaseException) -> str:
    """Why no answer came, as the machine says it (`Connection refused`), else the error's kind.

    Whichever library raised it: of what it was raised from the first that is the system's.
    """
    found: BaseException | None = error
    for _ in range(10):
        if found is None:
            break
        if isinstance(found, OSError) and isinstance(found.strerror, str):
            return visible(found.strerror)
        inner = getattr(found, "reason", None)
        found = inner if isinstance(inner, BaseException) else found.__cause__ or found.__context__
    return type(error).__name__


def json_object(body: bytes | str) -> dict[str, Any] | None:
    """The JSON object that a body is; None for anything else."""
    try:
        found = json.loads(body)
    except UNREADABLE:
        return None
    return found if isinstance(found, dict) else None


def said(body: bytes | str, limit: int = 300) -> str:
    """What an answer says, on one line that shows all its characters; `nothing` for an empty one.

    Of JSON the first text among `message`, `detail` and their like; of a page its title or heading.
    """
    text = body[:_READ].decode("utf-8", errors="replace") if isinstance(body, bytes) else body
    found = json_object(body)
    if found is not None:
        text = _saying(found) or text
    elif text.lstrip()[:1] == "<":
        title = _TITLE.search(text[:_READ])
        text = html.unescape(_MARKUP.sub(" ", title[2] if title else text[:_READ]))
    return cut(" ".join(visible(text[:_READ]).split()), limit) or "nothing"


def _saying(found: Mapping[str, Any]) -> str | None:
    for name in _SAYING:
        value = found.get(name)
        if isinstance(value, Mapping):
            value = _saying(value) if value is not found else None
        if isinstance(value, str) and value.strip():
            return value
    return None
