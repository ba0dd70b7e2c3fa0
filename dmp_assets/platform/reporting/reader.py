"""What a report's cells use: tables of one consistent state, charts, and the footer.

    from dmp_assets.platform.reporting.reader import Report

    report = Report.open()
    report.sql("SELECT count(*) AS users FROM cleaned.users")

The renderer tells a report three things through the environment, whichever engine runs it:
`DMP_HOME`, `DMP_REPORT_VERSIONS` (JSON, table → Delta version, to render as of then) and
`DMP_REPORT_RECORD` (a file into which the footer writes what was read).
"""

import html
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import pyarrow as pa
from deltalake import DeltaTable

from dmp_assets.home import Home
from dmp_assets.platform.figures.catalogue import figure as catalogued
from dmp_assets.platform.lake.tables import TableError, Tables, named_tables
from dmp_assets.platform.reporting import outputs, tabular
from dmp_assets.platform.reporting.freshness import Known, known
from dmp_assets.platform.text.foreign_text import visible
from dmp_assets.settings import Settings

VERSIONS = "DMP_REPORT_VERSIONS"
RECORD = "DMP_REPORT_RECORD"
SHOP_EVENTS: Mapping[str, str] = MappingProxyType(
    {"cleaned/users": "created_at", "cleaned/promo_usages": "used_at"}
)
WEB_EVENTS: Mapping[str, str] = MappingProxyType(
    {"cleaned/web_sessions": "event_at", "cleaned/web_conversions": "converted_at"}
)
"""Tables of what happened, and the column that says when."""
STALE = timedelta(days=3)
"""Data that ends so long before now is said to."""
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
UNKNOWN = "—"
"""What stands for a value that nobody knows; never 0."""


@dataclass(frozen=True)
class Html:
    """A piece of HTML as the value of a cell, in the form that the engine takes."""

    text: str

    def _repr_html_(self) -> str | None:
        return None if outputs.under_quarto() else self.text

    def _repr_markdown_(self) -> str | None:
        return outputs.raw_block(self.text) if outputs.under_quarto() else None


@dataclass(frozen=True)
class Tile:
    """One headline figure; `figure` names it for the page's script, which may change the value.

    `name` is its name in the figures catalogue, `about` the sentence that defines it there.
    """

    label: str
    value: Any
    note: str = ""
    figure: str = ""
    name: str = ""
    about: str = ""

    @classmethod
    def of(
        cls, name: str, value: Any, note: str = "", *, figure: str = "", currency: str = "EUR"
    ) -> "Tile":
        """The tile of a figure of the catalogue. Raises KeyError for a name that is not there."""
        entry = catalogued(name)
        return cls(entry.titled(currency), value, note, figure, name, entry.definition)

    def html(self) -> str:
        name = f' data-figure="{self.figure}"' if self.figure else ""
        known = f' data-name="{self.name}" title="{html.escape(self.about)}"' if self.name else ""
        return (
            f'<div class="tile"{known}><div class="tile-label">{html.escape(self.label)}</div>'
            f'<div class="tile-value"{name}>{html.escape(shown(self.value))}</div>'
            f'<div class="tile-note">{_unbroken(self.note)}</div></div>'
        )


@dataclass
class Report:
    """Reads the lakehouse for one report.

    The first read of a table fixes its Delta version for the rest of the report, so that a run
    which writes meanwhile cannot make two figures disagree. `versions` fixes them from outside.
    """

    home: Home
    versions: dict[str, int] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    _opened: ExitStack = field(default_factory=ExitStack)
    _connection: Any = None
    _shown: set[str] = field(default_factory=set)
    _charts: int = 0
    _tables: int = 0
    _known: dict[str, Known] = field(default_factory=dict)
    _has_library: bool = False

    @classmethod
    def open(cls, home: Home | None = None, versions: Mapping[str, int] | None = None) -> "Report":
        """The report of the current home, as of the versions that the renderer asked for."""
        outputs.adapt()
        asked = json.loads(os.environ.get(VERSIONS) or "{}") if versions is None else versions
        return cls(home or Home.current(), dict(asked))

    @property
    def settings(self) -> Settings:
        return self.home.settings()

    @property
    def tables(self) -> Tables:
        """The tables, as of the versions fixed so far."""
        settings = self.settings
        root = settings.lakehouse_root or str(self.home.lakehouse)
        return Tables(root, memory=settings.duckdb_memory, versions=self.versions)

    # reading -------------------------------------------------------------------------------------
    def has(self, *keys: str) -> bool:
        """Whether all these tables have been written (`modeled/account_clusters`)."""
        return all(self.tables.exists(key) for key in keys)

    def columns(self, key: str) -> tuple[str, ...]:
        """Names of a table's columns; none for a table that has not been written."""
        return tuple(self.tables.columns(key)) if self.has(key) else ()

    def sql(self, query: str, parameters: Any = None) -> pd.DataFrame:
        """Run SQL over `layer.table` names.

        Raises TableError for a table that is not there, or a version that retention has removed
        (the message names the oldest that is left).
        """
        frame: pd.DataFrame = self._arrow(query, parameters).to_pandas()
        return frame

    def rows(self, query: str, parameters: Any = None) -> list[dict[str, Any]]:
        """The rows of a query as dicts of Python values."""
        found: list[dict[str, Any]] = self._arrow(query, parameters).to_pylist()
        return found

    def row(self, query: str, parameters: Any = None) -> dict[str, Any]:
        """The only row of a query, as a dict of Python values."""
        return self.rows(query, parameters)[0]

    def pinned(self, *keys: str) -> Tables:
        """The tables, these fixed like those that `sql` reads."""
        self._fix(keys)
        return self.tables

    def _arrow(self, query: str, parameters: Any) -> pa.Table:
        keys = named_tables(query)
        self._fix(keys)
        with self._explained(keys):
            if self._connection is None:  # one for all queries: versions are fixed
                self._connection = self._opened.enter_context(self.tables.connect())
            for key in keys:
                if key not in self._shown:
                    self.tables.show(self._connection, key)
                    self._shown.add(key)
            return self._connection.sql(query, params=parameters).to_arrow_table()

    def _fix(self, keys: tuple[str, ...]) -> None:
        unpinned = replace(self.tables, versions={})
        for key in keys:
            if key not in self.read:
                self.versions[key] = int(unpinned.delta(key, self.versions.get(key)).version())
                self.read[key] = self.versions[key]

    @contextmanager
    def _explained(self, keys: tuple[str, ...]) -> Iterator[None]:
        """Turn a data file that retention has deleted into an error that says so."""
        try:
            yield
        except Exception as error:
            gone = [key for key in keys if not _complete(self._delta(key))]
            if not gone:
                raise
            key = gone[0]
            raise TableError(
                f"{key} can no longer be read as of version {self.versions[key]}: its files are "
                f"past the retention of {self.settings.retention_days} days; "
                f"the oldest version that can be read is {self._oldest(key)}"
            ) from error

    def _delta(self, key: str) -> DeltaTable:
        return self.tables.delta(key, self.versions[key])

    def _oldest(self, key: str) -> int:
        unpinned = replace(self.tables, versions={})
        known = sorted(entry["version"] for entry in unpinned.delta(key).history())
        return int(next(v for v in known if _complete(unpinned.delta(key, v))))

    # what a page is made of ----------------------------------------------------------------------
    def embed(self, name: str, data: Any) -> Html:
        """Data for the page's own script, as `<script type="application/json" id=name>`."""
        text = outputs.as_json(data)
        return Html(f'<script type="application/json" id="{name}">{text}</script>')

    def script(self, name: str) -> Html:
        """A script that lies beside the report, inlined, after the chart library."""
        from dmp_assets.settings import project_dir

        text = (project_dir() / "reports" / name).read_text()
        return Html(f"{self._library()}<script>\n{text}\n</script>")

    def chart(self, figure: Any, *, height: int = 320, wide: int = 0) -> Html:
        """A plotly figure, drawn in the page by the library that is inlined once.

        `wide`: pixels that it needs; where there are less, it scrolls.
        """
        from dmp_assets.platform.reporting.look import PLOTLY_CONFIG, themed

        self._charts += 1
        name = f"chart-{self._charts}"
        spec = outputs.safe_json(themed(figure, height=height).to_json())
        config = json.dumps(PLOTLY_CONFIG)
        least = f";min-width:{wide}px" if wide else ""
        box = (
            f'{self._library()}<div class="chart" id="{name}" style="height:{height}px{least}">'
            "</div>"
            f'<script type="application/json" id="{name}-spec">{spec}</script>'
            f"<script>(function(){{const s=JSON.parse(dmpColours(document.getElementById("
            f"'{name}-spec').textContent));if(matchMedia('(hover: none)').matches)"
            f"s.layout.dragmode=false;Plotly.newPlot('{name}',s.data,s.layout,{config});}})()</script>"
        )
        return Html(f'<div class="table-scroll" tabindex="0">{box}</div>' if wide else box)

    def _library(self) -> str:
        """The chart library, the first time that a page needs it."""
        if self._has_library:
            return ""
        from plotly.offline import get_plotlyjs

        from dmp_assets.platform.reporting.look import colours_script

        self._has_library = True
        return f"<script>{get_plotlyjs()}</script><script>{colours_script()}</script>"

    def table(self, frame: pd.DataFrame, *, empty: str = "No rows.", name: str = "") -> Html:
        """A frame as a table, numbers set to the right; `empty` stands for a frame without rows.

        A value that is `Html` (a link) stands as it is, any other is escaped.
        See `tabular`: cards or scrolling on a phone, and the table as CSV; `name` is the file's.
        """
        if frame.empty:
            return self.nothing(empty)
        self._tables += 1
        file = name or f"table-{self._tables}"
        return Html(tabular.drawn(frame, _plain, _marked, file=file))

    def tiles(self, *tiles: "Tile") -> Html:
        """Headline figures side by side, and below them what they mean."""
        meant = "".join(
            f"<dt>{html.escape(tile.label)}</dt><dd>{html.escape(tile.about)}</dd>"
            for tile in tiles
            if tile.about
        )
        below = (
            '<details class="meanings"><summary>What these figures mean</summary>'
            f"<dl>{meant}</dl></details>"
        )
        shown_tiles = "".join(tile.html() for tile in tiles)
        few = ' data-of="4"' if len(tiles) in (4, 8) else ""
        return Html(f'<div class="tiles"{few}>{shown_tiles}</div>{below if meant else ""}')

    def warned(self, text: str) -> Html:
        """What has to be known before the figures below it are read."""
        return Html(f'<p class="nothing" role="note"><strong>{html.escape(text)}</strong></p>')

    def nothing(self, text: str) -> Html:
        """What stands in the place of a chart or table that has no data, and why."""
        return Html(f'<p class="nothing">{html.escape(text)}</p>')

    # the foot ------------------------------------------------------------------------------------
    def known(self, events: Mapping[str, str] = SHOP_EVENTS) -> Known:
        """Up to when it is known what happened at the source of these tables; see `freshness`."""
        if str(sorted(events)) not in self._known:
            self._known[str(sorted(events))] = known(self, events, self.home.now())
        return self._known[str(sorted(events))]

    def data_through(self, events: Mapping[str, str] = SHOP_EVENTS) -> datetime | None:
        """Time (UTC) up to which everything that happened at the source is known."""
        return self.known(events).through

    def stale(self, events: Mapping[str, str] = SHOP_EVENTS) -> str | None:
        """What a reader has to know before the numbers: that the data ends long before now, that
        its source fell silent, that rows are dated in the future; None when there is nothing.
        """
        found = self.known(events)
        said = []
        if found.through and self.home.now() - found.through > STALE:
            days = (self.home.now() - found.through).days
            said.append(
                f"The data ends {moment(found.through)}, {plural(days, 'day')} before this page "
                "was made" + (f": {found.silent}." if found.silent else ".")
            )
        if found.ahead:
            rows = "1 row is" if found.ahead == 1 else f"{found.ahead:,} rows are"
            said.append(f"{rows} dated in the future and move nothing.")
        return " ".join(said) or None

    def footer(self, events: Mapping[str, str] = SHOP_EVENTS) -> Html:
        """The Delta version of every table read, data through, rendered at; ends every report."""
        through = self.data_through(events)
        at = datetime.now(UTC)
        if record := os.environ.get(RECORD):
            noted = {
                "table_versions": dict(sorted(self.read.items())),
                "data_through": through.isoformat() if through else None,
                "rendered_at": at.isoformat(),
            }
            Path(record).write_text(json.dumps(noted))
        versions = "".join(
            f"<li><code>{key}</code> version {version}</li>"
            for key, version in sorted(self.read.items())
        )
        return Html(
            '<footer class="report-foot"><p>'
            f"Data through <strong>{moment(through)}</strong> · "
            f'rendered at <span class="rendered-at">{moment(at)}</span> · all times UTC</p>'
            f"<details><summary>Tables read ({len(self.read)})</summary>"
            f"<ul>{versions}</ul></details></footer>"
        )


def _complete(table: DeltaTable) -> bool:
    """Whether the files of this version are there (object stores are not asked: assumed so)."""
    paths = table.file_uris()
    return all("://" in p or os.path.exists(p) for p in paths)


def _unbroken(text: str) -> str:
    """Text as HTML whose dates stay on one line."""
    return _DAY.sub(lambda day: f'<span class="day">{day[0]}</span>', html.escape(text))


def _marked(value: Any) -> str:
    """A value of a table as HTML."""
    return value.text if isinstance(value, Html) else html.escape(shown(value))


def _plain(value: Any) -> str:
    """What a reader sees of a value of a table."""
    if not isinstance(value, Html):
        return shown(value)
    return html.unescape(re.sub(r"<[^>]*>", "", value.text))


def missing(value: Any) -> bool:
    """Whether a value is unknown: None, NaN, NaT or pandas' NA."""
    return value is None or value is pd.NA or value is pd.NaT or value != value


def formatted(value: Any, pattern: str = ",") -> str:
    """A value in a format (`.1%`, `,.2f`, `%Y-%m-%d`), `—` where it is unknown."""
    return UNKNOWN if missing(value) else format(value, pattern)


def moment(at: datetime | None) -> str:
    """A time for people, `2024-03-31 18:05 UTC`."""
    return "— (no data yet)" if missing(at) else f"{at:%Y-%m-%d %H:%M} UTC"


def shown(value: Any) -> str:
    """A value for people: 12,345 · 0.873 · — for unknown."""
    if missing(value):
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, int) or (isinstance(value, Decimal) and value % 1 == 0):
        return f"{int(value):,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 10 else f"{value:,.3g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return visible(value)


def duration(minutes: float | None) -> str:
    """A stretch of time for people: `40 seconds`, `12 minutes`, `5.2 hours`, `31 days`, `—`."""
    if minutes is None or missing(minutes):
        return UNKNOWN
    for size, unit in ((1440 * 2, "days"), (120, "hours"), (2, "minutes")):
        if abs(minutes) >= size:
            value = minutes / {"days": 1440, "hours": 60, "minutes": 1}[unit]
            return f"{value:,.0f} {unit}" if abs(value) >= 10 else f"{value:,.1f} {unit}"
    return f"{minutes * 60:,.0f} seconds"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 user`, `27 users`, `1 box`, `2 boxes` (with `many`)."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
