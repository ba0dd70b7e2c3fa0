"""The Slack message of a report: enough by itself on a phone, honest about what is missing.

Figures come in as plain numbers, read from the same tables as the report; nothing is computed
here but changes and formats. The period is the last full week (Monday to Sunday) in the zone of
`DMP_TIMEZONE`. When data does not reach the period's end, or a blocking check failed, the message
says so in its first line and shows no numbers; it is still sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as clock
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from dmp_assets.reporting.delivery import Message

PHONE_WIDTH = 34
"""Characters of a code block's line on a phone before Slack wraps it."""

MAX_ROWS = 8


@dataclass(frozen=True)
class Figure:
    """A headline number; `previous` is the same number of the period of equal length before.

    `unit` is shown behind the number; with `%` the change is in percentage points.
    """

    label: str
    value: float | int
    previous: float | int | None = None
    unit: str = ""


@dataclass(frozen=True)
class ReportFigures:
    """All that the message of a report says.

    `period_start` and `period_end` are both included. `data_through` is the moment up to which the
    source was read, with time zone (None: never). `problem` is set when a blocking check failed.
    `before` names the period before; `notes` are sentences below the table.
    """

    title: str
    period_start: date
    period_end: date
    data_through: datetime | None
    headline: Sequence[Figure] = ()
    table_headers: Sequence[str] = ()
    table_rows: Sequence[Sequence[str | int | float]] = ()
    problem: str | None = None
    before: str = "week before"
    notes: Sequence[str] = ()


def last_full_week(today: date | datetime, tz: str) -> tuple[date, date]:
    """Monday and Sunday of the last week that is over in the zone; `today` may be an aware time."""
    if isinstance(today, datetime):
        today = today.astimezone(ZoneInfo(tz)).date()
    monday = today - timedelta(days=today.weekday() + 7)
    return monday, monday + timedelta(days=6)


def warning(figures: ReportFigures, tz: str) -> str | None:
    """Why the numbers of this period cannot be shown; None when they can."""
    if figures.problem:
        return figures.problem
    if figures.data_through is None:
        return "No data has been loaded yet."
    end = datetime.combine(figures.period_end + timedelta(days=1), clock(), ZoneInfo(tz))
    if figures.data_through < end:
        return (
            f"The data is not complete: it reaches {_moment(figures.data_through, tz)}, "
            f"the period ends {figures.period_end:%a %d %b %Y}."
        )
    return None


def report_message(
    figures: ReportFigures,
    *,
    report: str,
    version: str,
    channel: str,
    tz: str,
    image: Path | None = None,
    image_alt: str = "",
    files: Sequence[tuple[Path, str]] = (),
    link: str | None = None,
) -> Message:
    """The message of one report: numbers with change, chart, short table, how fresh, link."""
    period = _period(figures)
    problem = warning(figures, tz)
    blocks: list[dict[str, Any]]
    if problem:
        text = f"⚠ {figures.title}, {period}: no numbers. {problem}"
        blocks = [_section(f"*{escape(_cut(text, 2_500))}*")]
        image = None
        image_at = None
    else:
        text = f"{figures.title}, {period}: " + ", ".join(
            f"{f.label} {number(f.value, f.unit)} ({change(f, figures.before)})"
            for f in figures.headline
        )
        blocks = [_header(figures.title), _section(f"*{escape(period)}*")]
        fields = [_field(figure, figures.before) for figure in figures.headline[:10]]
        if fields:
            blocks.append({"type": "section", "fields": fields})
        image_at = len(blocks)
        table = text_table(figures.table_headers, figures.table_rows)
        if table:
            blocks.append(_section(f"```\n{table}\n```"))
        else:
            blocks.append(_section("_Nothing to list in this period._"))
        if figures.notes:
            blocks.append(_section(_cut(escape("\n".join(figures.notes)), 2_900)))
    blocks.append(_context(_freshness(figures, tz, bool(files)), link))
    return Message(
        report=report,
        version=version,
        channel=channel,
        text=_cut(text, 3_000),
        blocks=tuple(blocks),
        image=image,
        image_alt=_cut(image_alt or f"Chart: {figures.title}, {period}", 1_000),
        image_at=image_at,
        files=tuple(files),
        link=link,
    )


def number(value: float | int, unit: str = "") -> str:
    """`12,345`, `3.2 %`, `1,250.5 EUR`, `4.27`: below 10 with cents, but not percentages."""
    places = 0 if float(value).is_integer() else 2 if abs(value) < 10 and unit != "%" else 1
    text = f"{value:,.{places}f}"
    return f"{text} {unit}".rstrip()


def change(figure: Figure, before: str = "week before") -> str:
    """The change against the period before, in words that hold for zero and for nothing."""
    if figure.previous is None:
        return f"no {before} to compare"
    delta = figure.value - figure.previous
    if delta == 0:
        return f"same as the {before}"
    arrow = "▲" if delta > 0 else "▼"
    if figure.unit == "%":
        return f"{arrow} {delta:+.1f} points"
    if figure.previous == 0:
        return f"{arrow} from 0"
    share = f"{100 * delta / abs(figure.previous):+,.0f}"
    return f"{arrow} {share} %" if share not in ("+0", "-0") else f"{arrow} under 1 %"


def text_table(headers: Sequence[str], rows: Sequence[Sequence[str | int | float]]) -> str:
    """A monospaced table that fits a phone; the first column gives way, numbers align right."""
    if not rows:
        return ""
    shown = [[_cell(cell) for cell in row] for row in rows[:MAX_ROWS]]
    right = [all(isinstance(row[i], int | float) for row in rows) for i in range(len(headers))]
    lines = [list(headers), *shown]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headers))]
    over = sum(widths) + 2 * (len(widths) - 1) - PHONE_WIDTH
    widths[0] = max(6, widths[0] - max(0, over))
    out = []
    for line in lines:
        cells = [
            _cut(cell, width).rjust(width) if is_number else _cut(cell, width).ljust(width)
            for cell, width, is_number in zip(line, widths, right, strict=True)
        ]
        out.append("  ".join(cells).rstrip())
    if len(rows) > MAX_ROWS:
        out.append(f"… and {len(rows) - MAX_ROWS} more in the report")
    return escape("\n".join(out)).replace("`", "'")


def escape(text: str) -> str:
    """Slack's three control characters (docs.slack.dev/messaging/formatting-message-text)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cell(value: str | int | float) -> str:
    return " ".join(value.split()) if isinstance(value, str) else number(value)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _period(figures: ReportFigures) -> str:
    start, end = figures.period_start, figures.period_end
    return f"{start:%a %d %b} to {end:%a %d %b %Y}"


def _moment(moment: datetime, tz: str) -> str:
    return f"{moment.astimezone(ZoneInfo(tz)):%a %d %b %Y %H:%M} ({tz})"


def _freshness(figures: ReportFigures, tz: str, has_files: bool) -> str:
    through = _moment(figures.data_through, tz) if figures.data_through else "never loaded"
    return f"Data through {through}" + (" · full report in the thread" if has_files else "")


def _field(figure: Figure, before: str) -> dict[str, str]:
    value = escape(number(figure.value, figure.unit))
    return {
        "type": "mrkdwn",
        "text": f"{escape(figure.label)}\n*{value}*  {change(figure, before)}",
    }


def _header(text: str) -> dict[str, Any]:
    return {"type": "header", "text": {"type": "plain_text", "text": _cut(text, 150)}}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _context(text: str, link: str | None) -> dict[str, Any]:
    text = escape(text) + (f" · <{link}|open the report>" if link else "")
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text}]}
