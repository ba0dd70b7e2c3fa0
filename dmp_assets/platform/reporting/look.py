"""How charts look: colours that people with colour blindness tell apart, light and dark.

Colours: Okabe & Ito (2008), darkened where a light background asks for more contrast.
"""

import html
import json
import textwrap
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from dmp_assets.platform.text.foreign_text import cut, visible

BLUE, ORANGE, GREEN, RED, PURPLE, SKY = (
    "#1f5fbf",
    "#d9730d",
    "#0a8f6c",
    "#c2410c",
    "#9d4edd",
    "#56b4e9",
)
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)
INK, MUTED, LINE = "#1b2430", "#5b6778", "#e4e8ee"
FONT = "Inter, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"
DARK = {
    INK: "#e6ebf0", LINE: "#33404c", MUTED: "#9aa7b4", BLUE: "#5b93e6", ORANGE: "#e8913a",
    GREEN: "#2fb08a", RED: "#ee7b52", PURPLE: "#bb86f0", "#9db4d3": "#3f5b80", "#0a7a5c": "#2fb08a",
}  # fmt: skip
"""Colour of a chart → what stands for it where the reader's screen is dark."""
PLOTLY_CONFIG = {"displaylogo": False, "responsive": True, "displayModeBar": False}
"""Without the toolbar, which lies on the data: a click on a legend, a drag and a double click do
the same."""
FEW = 10
"""Values on an axis of days up to which each is named."""


def labels(names: Iterable[object], width: int = 28) -> dict[Any, str]:
    """Name → what stands for it in a chart: text, not mark-up, and cut so that no two look alike.

    Plotly takes `<b>` and `%{x}` in names for its own; long names would leave no room for bars.
    """
    shown: dict[Any, str] = {}
    taken: set[str] = set()
    for name in names:
        if name in shown:
            continue
        text = visible(name)
        short, number = cut(text, width), 2
        while short in taken:
            end = f" ({number})"
            short, number = cut(text, width - len(end)) + end, number + 1
        taken.add(short)
        shown[name] = html.escape(short, quote=False).replace("%{", "%&#123;")
    return shown


def wrapped(text: object, width: int = 26, lines: int = 3) -> str:
    """Words of a chart on a few lines, each of about `width` characters."""
    parts = textwrap.wrap(visible(text), width, max_lines=lines, placeholder=" …")
    return "<br>".join(html.escape(part, quote=False) for part in parts)


def colours_script() -> str:
    """JavaScript: `dmpColours(text)` is JSON or a colour as the reader's screen wants it."""
    swaps = json.dumps({**DARK, '"bgcolor":"white"': '"bgcolor":"#1e262e"'})
    return (
        "function dmpColours(text){if(!matchMedia('screen and (prefers-color-scheme: dark)')"
        f".matches)return text;for(const [light,dark] of Object.entries({swaps}))"
        "text=text.replaceAll(light,dark);return text}"
    )


def themed(figure: Any, *, height: int = 320) -> Any:
    """The figure with the product's look; what the figure set for itself wins."""
    own = figure.layout.to_plotly_json()
    own.pop("template", None)
    axis = {
        "gridcolor": LINE,
        "linecolor": LINE,
        "zerolinecolor": LINE,
        "automargin": True,
    }
    figure.update_layout(
        template="none",
        height=height,
        colorway=list(COLOURS),
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        bargap=0.25,
        hoverlabel={"bgcolor": "white", "bordercolor": LINE, "font": {"color": INK}},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    figure.update_xaxes(title_font_size=12.5, **axis)
    figure.update_yaxes(title_font_size=12.5, **axis)
    figure.update_layout(**own)
    _name_few_days(figure)
    return figure


def _name_few_days(figure: Any) -> None:
    """Name each day of an axis that has few: Plotly would divide a single day into hours."""
    if figure.layout.xaxis.type != "date":
        return
    given = [value for trace in figure.data for value in (trace.x if trace.x is not None else ())]
    days = sorted({str(value)[:10] for value in given})
    if not 0 < len(days) <= FEW:
        return
    first, last = (datetime.fromisoformat(day) for day in (days[0], days[-1]))
    edge = timedelta(hours=18)
    figure.update_xaxes(
        tickmode="array",
        tickvals=days,
        ticktext=[f"{datetime.fromisoformat(day):%-d %b %Y}" for day in days],
        range=[(first - edge).isoformat(), (last + edge).isoformat()],
    )
