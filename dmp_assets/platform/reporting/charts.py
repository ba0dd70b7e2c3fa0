"""Charts as PNG for messages: readable on a phone, scales that start at zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from dmp_assets.platform.base import whole_file

if TYPE_CHECKING:  # loaded when a chart is drawn: most runs draw none
    from matplotlib.axes import Axes

INK, QUIET, GRID = "#1d1c1d", "#5f6368", "#e6e6e6"
BLUE, ORANGE = "#2a6fb0", "#c26a1b"


@dataclass(frozen=True)
class Panel:
    """One chart of an image: a title and a bar per day."""

    title: str
    values: Sequence[float]
    color: str


def daily_chart(days: Sequence[date], panels: Sequence[Panel], path: Path) -> Path:
    """The panels one above the other, as a PNG at `path`.

    Each has its own scale from zero, because they differ in size. Written whole; the bytes depend
    on the numbers alone. Raises ValueError when a panel has not one value per day.
    """
    if any(len(panel.values) != len(days) for panel in panels):
        raise ValueError("days and the values of every panel must have the same length")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(h_pad=0.12, w_pad=0.1)
    figure = Figure(figsize=(6, 2.6 * len(panels)), dpi=200, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(rows, panels, strict=True):
        _panel(axes, days, panel.values, panel.title, panel.color)
    _date_axis(rows[-1], days)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file.replacing(path) as part:
        figure.savefig(part, format="png", metadata={"Software": None})
    return path


def _panel(
    axes: "Axes", days: Sequence[date], values: Sequence[float], title: str, color: str
) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axes.set_title(title, loc="left", fontsize=15, color=INK, fontweight="bold", pad=10)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=GRID, linewidth=1)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(QUIET)
    axes.tick_params(colors=QUIET, labelsize=13, length=0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    if not days:
        axes.text(
            0.5, 0.5, "No data", transform=axes.transAxes, ha="center", fontsize=15, color=QUIET
        )
        return
    bars = axes.bar([day.toordinal() for day in days], list(values), width=0.8, color=color)
    axes.set_ylim(0, max(1, *values, 0) * 1.18)
    if len(days) <= 10:
        axes.bar_label(bars, fmt="{:,.0f}", fontsize=13, color=INK, padding=2)


def _date_axis(axes: "Axes", days: Sequence[date]) -> None:
    """Each day by name up to ten days, else at most six dates."""
    step = 1 if len(days) <= 10 else ceil(len(days) / 6)
    pattern = "%a\n%d %b" if len(days) <= 10 else "%d %b" if len(days) <= 366 else "%b %Y"
    ticks = days[::step]
    axes.set_xticks([day.toordinal() for day in ticks], [f"{day:{pattern}}" for day in ticks])
