"""What a report's cells use: tables of one consistent state, charts, and the footer.

    from dmp_assets.platform.reporting.reader import Report

    report = Report.open()
    report.sql("SELECT count(*) AS users FROM cleaned.users")

The renderer tells a report three things through the environment, whichever engine runs it:
`DMP_HOME`, `DMP_REPORT_VERSIONS` (JSON, table → Delta version, to render as of then) and
`DMP_REPORT_RECORD` (a file into which the footer writes what was read).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from dmp_assets.home import Home
from dmp_assets.platform.faces.domain import known_domains
from dmp_assets.platform.lake.tables import Tables
from dmp_assets.platform.reporting import freshness, outputs
from dmp_assets.platform.reporting.freshness import Known
from dmp_assets.platform.reporting.page_parts import Html as Html
from dmp_assets.platform.reporting.page_parts import PageParts
from dmp_assets.platform.reporting.page_parts import Tile as Tile
from dmp_assets.platform.reporting.pinned_tables import PinnedTables
from dmp_assets.platform.reporting.wording import duration as duration
from dmp_assets.platform.reporting.wording import formatted as formatted
from dmp_assets.platform.reporting.wording import missing as missing
from dmp_assets.platform.reporting.wording import moment as moment
from dmp_assets.platform.reporting.wording import plural as plural
from dmp_assets.platform.reporting.wording import shown as shown
from dmp_assets.settings import Settings

VERSIONS = "DMP_REPORT_VERSIONS"
RECORD = "DMP_REPORT_RECORD"
STALE = timedelta(days=3)
"""Data that ends so long before now is said to."""


@dataclass
class Report:
    """All that the cells of one report use; `open` makes it.

    The first read of a table fixes its Delta version for the rest of the report (`PinnedTables`):
    `versions` fixes them from outside, `read` tells what was read. Its methods are the words of
    an analyst's document; what they do is done by the two that it is put together from.
    """

    home: Home
    versions: dict[str, int]
    read: dict[str, int]
    _pinned: PinnedTables
    _parts: PageParts = field(default_factory=PageParts)
    _known: dict[str, Known] = field(default_factory=dict)

    @classmethod
    def open(cls, home: Home | None = None, versions: Mapping[str, int] | None = None) -> "Report":
        """The report of the current home, as of the versions that the renderer asked for."""
        outputs.adapt()
        asked = json.loads(os.environ.get(VERSIONS) or "{}") if versions is None else versions
        pinned = PinnedTables(home or Home.current(), dict(asked))
        return cls(pinned.home, pinned.versions, pinned.read, pinned)

    @property
    def settings(self) -> Settings:
        return self._pinned.settings

    @property
    def tables(self) -> Tables:
        """The tables, as of the versions fixed so far."""
        return self._pinned.tables

    # reading -------------------------------------------------------------------------------------
    def has(self, *keys: str) -> bool:
        """Whether all these tables have been written (`modeled/account_clusters`)."""
        return self._pinned.has(*keys)

    def columns(self, key: str) -> tuple[str, ...]:
        """Names of a table's columns; none for a table that has not been written."""
        return self._pinned.columns(key)

    def sql(self, query: str, parameters: Any = None) -> pd.DataFrame:
        """Run SQL over `layer.table` names.

        Raises TableError for a table that is not there, or a version that retention has removed
        (the message names the oldest that is left).
        """
        return self._pinned.sql(query, parameters)

    def rows(self, query: str, parameters: Any = None) -> list[dict[str, Any]]:
        """The rows of a query as dicts of Python values."""
        return self._pinned.rows(query, parameters)

    def row(self, query: str, parameters: Any = None) -> dict[str, Any]:
        """The only row of a query, as a dict of Python values."""
        return self._pinned.row(query, parameters)

    def pinned(self, *keys: str) -> Tables:
        """The tables, these fixed like those that `sql` reads."""
        return self._pinned.pinned(*keys)

    # what a page is made of ----------------------------------------------------------------------
    def embed(self, name: str, data: Any) -> Html:
        """Data for the page's own script, as `<script type="application/json" id=name>`."""
        return self._parts.embed(name, data)

    def script(self, name: str) -> Html:
        """A script that lies beside the report, inlined, after the chart library."""
        return self._parts.script(name)

    def chart(self, figure: Any, *, height: int = 320, wide: int = 0) -> Html:
        """A plotly figure, drawn in the page by the library that is inlined once.

        `wide`: pixels that it needs; where there are less, it scrolls.
        """
        return self._parts.chart(figure, height=height, wide=wide)

    def table(self, frame: pd.DataFrame, *, empty: str = "No rows.", name: str = "") -> Html:
        """A frame as a table, numbers set to the right; `empty` stands for a frame without rows.

        A value that is `Html` (a link) stands as it is, any other is escaped.
        See `tabular`: cards or scrolling on a phone, and the table as CSV; `name` is the file's.
        """
        return self._parts.table(frame, empty=empty, name=name)

    def tiles(self, *tiles: Tile) -> Html:
        """Headline figures side by side, and below them what they mean."""
        return self._parts.tiles(*tiles)

    def warned(self, text: str) -> Html:
        """What has to be known before the figures below it are read."""
        return self._parts.warned(text)

    def nothing(self, text: str) -> Html:
        """What stands in the place of a chart or table that has no data, and why."""
        return self._parts.nothing(text)

    # the foot ------------------------------------------------------------------------------------
    def known(self, events: Mapping[str, str] | None = None) -> Known:
        """Up to when it is known what happened at the source of these tables; see `freshness`.

        `events`: table → the column that says when; those of all domains unless said.
        """
        if events is None:
            events = {
                key: at for domain in known_domains() for key, at in domain.all_events.items()
            }
        if str(sorted(events)) not in self._known:
            self._known[str(sorted(events))] = freshness.known(
                self._pinned, events, self.home.now()
            )
        return self._known[str(sorted(events))]

    def data_through(self, events: Mapping[str, str] | None = None) -> datetime | None:
        """Time (UTC) up to which everything that happened at the source is known."""
        return self.known(events).through

    def stale(self, events: Mapping[str, str] | None = None) -> str | None:
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

    def footer(self, events: Mapping[str, str] | None = None) -> Html:
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
