"""What a report's page is made of: charts, tables, headline figures, notes, data of scripts."""

import html
import json
import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dmp_assets.platform.figures.catalogue import figure as catalogued
from dmp_assets.platform.reporting import outputs, tabular
from dmp_assets.platform.reporting.wording import shown

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


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
class PageParts:
    """Makes the parts of one page, which are numbered, and have its chart library in it once."""

    _charts: int = 0
    _tables: int = 0
    _has_library: bool = False

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

    def tiles(self, *tiles: Tile) -> Html:
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
