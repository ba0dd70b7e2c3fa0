"""Foreign text on its way out: one function for every kind of output that carries it.

Foreign is whatever a shop's customer, a table, a file, a setting or another program's answer wrote:
names, codes, ids, column names, error texts. Each function gives text that its output shows as
text, whatever it holds: `csv_cell` in a spreadsheet, `html_text` on a page, `markdown_text` in
Markdown, `slack_text`, `slack_code` and `slack_link` in Slack, `terminal_text` in a terminal that
knows rich's mark-up, `log_text` in a log line, `header_value` and `attachment` in an HTTP header.

All of them write what nobody can see, or what changes how the rest is seen, as an escape such as
`\\x1b` or `\\u202e`: control characters (ANSI sequences among them), the bidirectional overrides
and isolates, line separators other than the line feed, tags, lone surrogates.
"""

import csv
import html
import io
import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote, urlsplit

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u180e\u200b\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_SPACES = re.compile(r"[ \t\r\n]*[\t\r\n][ \t\r\n]*")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"-\d+(\.\d+)?([eE][+-]?\d+)?")
_PLAIN_MARKDOWN = re.compile(r"[A-Za-z0-9 ]+(?:[-,._:;/()+%][A-Za-z0-9 ]+)*[%)]?")
_MARKDOWN_MARK = re.compile(r"://|www\.|^\d+[.)] ", re.IGNORECASE)
_SLACK_MARK = re.compile(r"(?<![^\W_])[*_~`]|[*_~`](?![^\W_])|^>")
_LOOKS_LIKE = {"*": "∗", "_": "ˍ", "~": "∼", "`": "'", ">": "›"}
"""Slack has no escape for its marks; within a word (`user_id`) they are none and stay."""


def visible(value: object, *, lines: bool = False) -> str:
    """The text on one line, with what cannot be seen written as an escape; `lines`: on several."""
    text = str(value)
    text = text.replace("\r\n", "\n") if lines else _SPACES.sub(" ", text)
    return _UNSEEN.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def cut(text: str, width: int) -> str:
    """The text in at most `width` characters, with an ellipsis where something is left out."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


# files -------------------------------------------------------------------------------------------
def csv_cell(value: Any) -> Any:
    """A value as a cell that no spreadsheet takes for a formula: text such as `=1+1` gets a `'`.

    Numbers stay numbers, also those that come as text (`-12.50`); a line feed stays a line feed.
    """
    if not isinstance(value, str):
        return value
    text = visible(value, lines=True)
    starts = value.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA)
    return f"'{text}" if starts and not _NUMBER.fullmatch(text) else text


def write_csv(
    out: TextIO, names: Sequence[str], rows: Iterable[Sequence[Any]], *, end: str = "\r\n"
) -> int:
    """Write a header and the rows as CSV (RFC 4180) with every cell guarded; how many rows."""
    writer = csv.writer(out, lineterminator=end)
    writer.writerow([csv_cell(name) for name in names])
    count = 0
    for row in rows:
        writer.writerow([csv_cell(value) for value in row])
        count += 1
    return count


def csv_text(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """The same as a string."""
    out = io.StringIO()
    write_csv(out, names, rows)
    return out.getvalue()


# pages -------------------------------------------------------------------------------------------
def html_text(value: object) -> str:
    """Text between tags or in a quoted attribute of a page."""
    return html.escape(visible(value, lines=True), quote=True)


def page_value(value: Any) -> Any:
    """What a template shows, before it is escaped (jinja's `finalize`)."""
    return visible(value, lines=True) if type(value) is str else value


def markdown_text(value: object) -> str:
    """Text in a Markdown paragraph, heading or table cell; what could be mark-up becomes code.

    Inside of a code span nothing is mark-up, HTML, an entity or an address that is made a link.
    """
    text = visible(value).strip()
    if not text:
        return ""
    if _PLAIN_MARKDOWN.fullmatch(text) and not _MARKDOWN_MARK.search(text):
        return text
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def markdown_table(names: Sequence[str], rows: Iterable[Sequence[Any]], *, width: int = 60) -> str:
    """A Markdown table whose names and cells are text; longer ones are cut."""

    def line(cells: Iterable[Any]) -> str:
        shown = ("" if cell is None else cut(visible(cell), width) for cell in cells)
        return "| " + " | ".join(markdown_text(cell).replace("|", "\\|") for cell in shown) + " |"

    return "\n".join([line(names), "|" + "---|" * len(names), *(line(row) for row in rows)])


# Slack -------------------------------------------------------------------------------------------
def slack_escape(text: str) -> str:
    """Slack's three control characters (docs.slack.dev/messaging/formatting-message-text)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def slack_text(value: object, limit: int | None = None) -> str:
    """Text in a mrkdwn object or a message's `text`: no mention, link, quote or emphasis.

    `limit`: characters that the result may have, entities counted as Slack counts them.
    """
    text = _SLACK_MARK.sub(lambda found: _LOOKS_LIKE[found[0]], visible(value))
    return _fit(text, limit)


def slack_code(value: object, limit: int = 2_900) -> str:
    """Text as a block of code of a mrkdwn object, at most `limit` characters with its fence."""
    text = visible(value, lines=True).replace("`", "'")
    return f"```\n{_fit(text, limit - 8)}\n```"


def slack_link(url: str, text: object) -> str:
    """A link of a mrkdwn object; only its text where the address is none of the web's."""
    shown = slack_text(text).replace("|", "¦")
    try:
        parts = urlsplit(url)
    except ValueError:
        return shown
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return shown
    return f"<{quote(url, safe=':/?#[]@!$&()*+,;=%~').replace('&', '&amp;')}|{shown}>"


def _fit(text: str, limit: int | None) -> str:
    """Escaped for Slack and cut so that no entity is cut through."""
    escaped = slack_escape(text)
    if limit is None or len(escaped) <= limit:
        return escaped
    out, length = [], 1
    for character in text:
        piece = slack_escape(character)
        if length + len(piece) > limit:
            break
        out.append(piece)
        length += len(piece)
    return "".join(out) + "…"


# terminals and logs ------------------------------------------------------------------------------
def terminal_text(value: object, *, lines: bool = False) -> str:
    """Text for a rich console that takes mark-up: `[red]` and `\\x1b[31m` are shown as written."""
    from rich.markup import escape

    return escape(visible(value, lines=lines))


def log_text(value: object) -> str:
    """Text in a log: what follows a line feed is set in, so that nothing passes for a new line."""
    return visible(value, lines=True).replace("\n", "\n    ")


class GuardedRecord(logging.LogRecord):
    """A log record whose message is `log_text`, whichever handler writes it."""

    def getMessage(self) -> str:
        return log_text(super().getMessage())


def guard_logs() -> None:
    """From now on every record of `logging` in this process is guarded."""
    logging.setLogRecordFactory(GuardedRecord)


def guard_event(_: object, __: str, event: Any) -> Any:
    """structlog's processor: the event's name and all its texts are guarded, at every depth."""
    return _guarded(event)


def _guarded(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value, lines=True)
    if isinstance(value, dict):
        return {_guarded(name): _guarded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_guarded(item) for item in value]
    return value


# HTTP headers ------------------------------------------------------------------------------------
def header_value(value: object) -> str:
    """Text as an HTTP header's value: one line of ASCII, the rest percent-encoded."""
    return quote(visible(value).strip(), safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")


def attachment(name: object) -> str:
    """`Content-Disposition` of a download of this name (RFC 6266); folders are left out."""
    base = Path(visible(name).replace("\\", "/").replace("%", "_")).name.strip(". ") or "download"
    plain = "".join(c if c.isascii() and (c.isalnum() or c in " ._-()") else "_" for c in base)
    encoded = quote(base, safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


# terminals ---------------------------------------------------------------------------------------
_TERMINAL_CODES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


def without_colours(text: str) -> str:
    """The text without terminal codes; a carriage return counts as the end of a line."""
    return _TERMINAL_CODES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
