"""How charts look: one light theme and colours that people with colour blindness tell apart.

Colours: Okabe & Ito (2008), darkened where a light background asks for more contrast.
"""

from datetime import datetime, timedelta
from typing import Any

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
PLOTLY_CONFIG = {"displaylogo": False, "responsive": True, "displayModeBar": False}
"""Without the toolbar, which lies on the data: a click on a legend, a drag and a double click do
the same."""
FEW = 10
"""Values on an axis of days up to which each is named."""


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
