"""How charts look: one light theme and colours that people with colour blindness tell apart.

Colours: Okabe & Ito (2008), darkened where a light background asks for more contrast.
"""

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
PLOTLY_CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "displayModeBar": "hover",
    "modeBarButtonsToRemove": [
        "lasso2d",
        "select2d",
        "autoScale2d",
        "zoomIn2d",
        "zoomOut2d",
    ],
}


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
    return figure
