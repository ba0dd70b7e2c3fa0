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

from dmp_assets.platform.figures.catalogue import figure as catalogued
from dmp_assets.platform.reporting import blocks as blocks_
from dmp_assets.platform.reporting.delivery import Message
from dmp_assets.platform.text.foreign_text import cut, slack_code, slack_link, slack_text, visible

PHONE_WIDTH = 34
"""Characters of a code block's line on a phone before Slack wraps it."""

MAX_ROWS = 8


@dataclass(frozen=True)
class Figure:
    """A headline number; `previous` is the same number of the period of equal length before.

    `unit` is shown behind the number; with `%` the change is in percentage points. `name` is its
    name in the figures catalogue. `incomparable` says why there is no change to show.
    """

    label: str
    value: float | int
    previous: float | int | None = None
    unit: str = ""
    name: str = ""
    incomparable: str = ""

    @classmethod
    def of(
        cls,
        name: str,
        value: float | int,
        previous: float | int | None = None,
        *,
        currency: str = "EUR",
        incomparable: str = "",
    ) -> "Figure":
        """A figure of the catalogue. Raises KeyError for a name that is not there."""
        entry = catalogued(name)
        unit = currency if entry.unit == "money" else ""
        return cls(entry.label, value, previous, unit, name, incomparable)


@dataclass(frozen=True)
class ReportFigures:
    """All that the message of a report says.

    `period_start` and `period_end` are both included. `data_through` is the moment up to which the
    source was read, with time zone (None: never). `problem` is set when a blocking check failed.
    `before` names the period before; `notes` are sentences below the table. `links` are (text,
    address) pairs: where to go from here.
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
    links: Sequence[tuple[str, str]] = ()


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
        text = slack_text(f"⚠ {figures.title}, {period}: no numbers. {problem}", 2_800)
        blocks = [blocks_.section(f"*{text}*")]
        image = None
        image_at = None
    else:
        said = ", ".join(
            f"{f.label} {number(f.value, f.unit)} ({change(f, figures.before)})"
            for f in figures.headline
        )
        text = slack_text(f"{figures.title}, {period}: {said}", 2_800)
        blocks = [blocks_.header(figures.title), blocks_.section(f"*{slack_text(period)}*")]
        if figures.headline:
            shown = [_field(figure, figures.before) for figure in figures.headline]
            blocks.append(blocks_.fields(shown))
        image_at = len(blocks)
        table = text_table(figures.table_headers, figures.table_rows)
        if table:
            blocks.append(blocks_.section(slack_code(table)))
        else:
            blocks.append(blocks_.section("_Nothing to list in this period._"))
        if figures.notes:
            blocks.append(blocks_.section(_lines(figures.notes)))
    if figures.links:
        shown = [slack_link(url, cut(text, 60)) for text, url in figures.links[:MAX_ROWS]]
        blocks.append(blocks_.context(" · ".join(shown)))
    fresh = slack_text(_freshness(figures, tz, bool(files)))
    opened = f" · {slack_link(link, 'open the report')}" if link else ""
    blocks.append(blocks_.context(fresh + opened))
    return Message(
        report=report,
        version=version,
        channel=channel,
        text=text,
        blocks=tuple(blocks),
        image=image,
        image_alt=cut(visible(image_alt or f"Chart: {figures.title}, {period}"), 1_000),
        image_at=image_at,
        files=tuple((path, visible(title)) for path, title in files),
        link=link,
        facts={} if problem else {f.label: float(f.value) for f in figures.headline},
    )


def number(value: float | int, unit: str = "") -> str:
    """`12,345`, `3.2 %`, `1,250 EUR`, `46.30 EUR`, `111`, `4.27`: what is large is whole."""
    whole = float(value).is_integer() or abs(value) >= (1_000 if unit else 100)
    places = 0 if whole else 1 if unit == "%" else 2
    text = f"{value:,.{places}f}"
    return f"{text} {unit}".rstrip()


def change(figure: Figure, before: str = "week before") -> str:
    """The change against the period before, in words that hold for zero and for nothing."""
    if figure.previous is None:
        return figure.incomparable or f"no {before} to compare"
    delta = figure.value - figure.previous
    if delta == 0:
        return f"same as the {before}"
    arrow = "▲" if delta > 0 else "▼"
    if figure.unit == "%":
        return f"{arrow} {abs(delta):.1f} points"
    if figure.previous == 0:
        return f"{arrow} from 0"
    share = f"{100 * abs(delta) / abs(figure.previous):,.0f}"
    return f"{arrow} {share} %" if share != "0" else f"{arrow} under 1 %"


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
    names = _told_apart([line[0] for line in lines], widths[0])
    for name, line in zip(names, lines, strict=True):
        line[0] = name
        cells = [
            cut(cell, width).rjust(width) if is_number else cut(cell, width).ljust(width)
            for cell, width, is_number in zip(line, widths, right, strict=True)
        ]
        out.append("  ".join(cells).rstrip())
    if len(rows) > MAX_ROWS:
        out.append(f"… and {len(rows) - MAX_ROWS} more in the report")
    return "\n".join(out)


def _told_apart(names: Sequence[str], width: int) -> list[str]:
    """Names in at most `width` characters; those that would be cut to the same keep their ends."""
    short = [cut(name, width) for name in names]
    whose: dict[str, set[str]] = {}
    for name, one in zip(names, short, strict=True):
        whose.setdefault(one, set()).add(name)
    head = (width - 1) // 2
    return [
        f"{name[:head]}…{name[head + 1 - width :]}" if len(whose[one]) > 1 else one
        for name, one in zip(names, short, strict=True)
    ]


def _lines(notes: Sequence[str]) -> str:
    """Sentences, a line each, as many as a block holds."""
    shown: list[str] = []
    for note in notes:
        line = slack_text(note, 1_000)
        if sum(map(len, shown)) + len(shown) + len(line) > blocks_.SECTION_LIMIT:
            break
        shown.append(line)
    return "\n".join(shown)


def _cell(value: str | int | float) -> str:
    return " ".join(visible(value).split()) if isinstance(value, str) else number(value)


def _period(figures: ReportFigures) -> str:
    start, end = figures.period_start, figures.period_end
    return f"{start:%a %d %b} to {end:%a %d %b %Y}"


def _moment(moment: datetime, tz: str) -> str:
    return f"{moment.astimezone(ZoneInfo(tz)):%a %d %b %Y %H:%M} ({tz})"


def _freshness(figures: ReportFigures, tz: str, has_files: bool) -> str:
    through = _moment(figures.data_through, tz) if figures.data_through else "never loaded"
    return f"Data through {through}" + (" · full report in the thread" if has_files else "")


def _field(figure: Figure, before: str) -> str:
    value = slack_text(number(figure.value, figure.unit), 300)
    changed = slack_text(change(figure, before))
    return f"{slack_text(figure.label, 300)}\n*{value}*  {changed}"
