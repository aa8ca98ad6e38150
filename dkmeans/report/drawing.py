"""The look of all plots: colors, axes, legend, marks, and the way to an SVG."""

from __future__ import annotations

import io
import re
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from dkmeans.events import words
from dkmeans.report.figures import Picture

__all__ = [
    "COLORS",
    "DARK",
    "FILL",
    "FONT_SIZE",
    "INK",
    "LEGEND_LINE",
    "MARKERS",
    "dress",
    "legend",
    "mark",
    "new_figure",
    "scale",
    "to_pair",
]

FONT_SIZE = 10.5  # points
LEGEND_LINE = 17
INK, FILL = "#4a5261", "#a9b8d0"  # of text and of an area
_GRID = "#d9dde5"
# Any two are far apart for people who see no red, no green or no blue too, and each stands out from the
# page. The shapes of the markers tell curves apart without any color.
COLORS = ("#1d5fd0", "#de6907", "#5a9777", "#671a2d", "#ab7da7", "#6a5f69", "#a72216", "#333463")
MARKERS = "osD^vPX*"
_ON_DARK = ("#7fb0ff", "#f18800", "#c5e1a9", "#b34f2a", "#ded1dc", "#71707d", "#9d9689", "#4c66d3")
DARK = {INK: "#b4bccb", _GRID: "#383f4c", FILL: "#4f6180"} | dict(zip(COLORS, _ON_DARK, strict=True))
"""The color on a dark page of each color on a light one."""

_STEPS = (1, 2, 2.5, 5, 10)  # from tick to tick
_ASIDE = (12, 15)  # points from a marked point to its name
_CORNERS = ((1, 1), (-1, 1), (1, -1), (-1, -1))


def new_figure(width: int, height: int, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """An empty figure of a size in points, of which matplotlib has 72 in an inch: the units of its SVG."""
    figure = Figure(figsize=(width / 72, height / 72), layout=layout)
    FigureCanvasAgg(figure)
    figure.patch.set_alpha(0)
    return figure


def scale(axes: Axes, which: Literal["x", "y"], values: NDArray[np.float64], *, log: bool = False) -> None:
    """Make one axis fit these values, with few round ticks. Values that it has no place for do not count."""
    shown = values[np.isfinite(values) & ((values > 0) | (not log))]
    axis = axes.xaxis if which == "x" else axes.yaxis
    if log and len(shown):
        axes.set(**{f"{which}scale": "log"})
        axis.set_minor_locator(NullLocator())
    ratio = shown.max() / shown.min() if log and len(shown) else 1.0
    if ratio >= 8:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if ratio < 2000 else (1,), numticks=12))
    else:
        whole = bool((shown == np.rint(shown)).all())
        axis.set_major_locator(MaxNLocator(integer=whole, nbins=7, steps=_STEPS, min_n_ticks=1))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _tell(value)))


def _tell(value: float) -> str:
    if value == 0 or 1e-4 <= abs(value) < 1e7:
        return f"{value:,.10g}"
    return words.number(value).replace("1.00 × ", "")


def dress(axes: Axes, x_label: str, y_label: str) -> None:
    """The quiet look of all plots."""
    axes.patch.set_alpha(0)
    axes.set_xlabel(x_label, color=INK, size=FONT_SIZE)
    axes.set_ylabel(y_label, color=INK, size=FONT_SIZE)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0, labelsize=FONT_SIZE)
    axes.spines[:].set_visible(False)


def legend(figure: Figure) -> None:
    """Names of all curves below the plot, two in a line."""
    figure.legend(
        loc="outside lower center", ncols=2, frameon=False, labelcolor=INK, fontsize=FONT_SIZE, borderpad=0.3
    )


def mark(axes: Axes, name: str, point: tuple[float, float]) -> None:
    """Circle a point and name it, in the corner beside it where the least is drawn."""
    axes.plot(*point, marker="o", markersize=11, color=INK, markerfacecolor="none", zorder=4)
    corner = _emptiest_corner(axes, point, 0.6 * FONT_SIZE * len(name))
    axes.annotate(
        name,
        point,
        xytext=tuple(corner * _ASIDE),
        textcoords="offset points",
        color=INK,
        size=FONT_SIZE,
        ha="left" if corner[0] > 0 else "right",
        va="bottom" if corner[1] > 0 else "top",
        arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 6},
    )


def _emptiest_corner(axes: Axes, point: tuple[float, float], width: float) -> NDArray[np.int64]:
    """Signs of x and y: where a text of `width` points lies inside, and on no other text and few lines."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # which settles where everything lies
    unit = figure.dpi / 72
    drawn = [line.get_transform().transform_path(line.get_path()).interpolated(20) for line in axes.lines]
    texts = [text.get_window_extent() for text in axes.texts]

    def crowd(corner: NDArray[np.int64]) -> int:
        near = axes.transData.transform(point) + unit * corner * _ASIDE
        box = Bbox([near, near + unit * corner * (width, 1.2 * FONT_SIZE)])
        hidden = not all(axes.bbox.contains(x, y) for x, y in box.corners()) or box.count_overlaps(texts)
        return 10_000 * bool(hidden) + sum(box.count_contains(path.vertices) for path in drawn)

    return min(np.array(_CORNERS), key=crowd)


def to_pair(figure: Figure) -> tuple[Picture, Picture]:
    """The figure as an SVG for a light page, and with the colors exchanged for a dark one."""
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "dkmeans", "svg.fonttype": "path"}):  # always the same bytes
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    light = file.getvalue()
    any_color = "|".join(DARK).encode()
    dark = re.sub(any_color, lambda found: DARK[found[0].decode()].encode(), light)
    width, height = (round(72 * inches) for inches in figure.get_size_inches())
    return Picture(light, width, height, "image/svg+xml"), Picture(dark, width, height, "image/svg+xml")
