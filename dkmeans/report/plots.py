"""Plots, each as an SVG without background for a light page and the same for a dark one.

Pure: arrays in, pairs of `Picture` out. No pyplot, so nothing global is drawn on and no window is opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from dkmeans.events import words
from dkmeans.report.drawing import (
    COLORS,
    FILL,
    FONT_SIZE,
    INK,
    LEGEND_LINE,
    MARKERS,
    dress,
    legend,
    mark,
    new_figure,
    scale,
    to_pair,
)
from dkmeans.report.figures import Picture

__all__ = ["bars", "curve", "histogram", "lines"]

_CURVE_SIZE = (400, 220)  # points
_PLOT_SIZE = (420, 250)  # without its legend; small, so that a phone can show it without small print


def curve(values: NDArray[np.float64], label: str, *, percent: bool = False) -> tuple[Picture, Picture]:
    """A line over the iterations 1 to n.

    Parameters
    ----------
    values : (n,) float64 array
        One per iteration. With `percent`, shares from 0 to 1 on a logarithmic axis, which has no place
        for zeros: these are left out.
    label : str
        What the values are.
    percent : bool
    """
    figure = new_figure(*_CURVE_SIZE, layout=None)
    axes = figure.add_axes((0.18, 0.19, 0.8, 0.72))  # the same in all figures, so that they line up
    iterations = np.arange(1, len(values) + 1)
    shown = values > 0 if percent else np.ones(len(values), bool)
    axes.plot(iterations[shown], values[shown], color=COLORS[0], linewidth=1.8, marker="o", markersize=3.5)
    if not percent:
        axes.ticklabel_format(axis="y", useMathText=True)
        axes.yaxis.get_offset_text().set(color=INK, size=FONT_SIZE)
    elif shown.any():
        few_decades = values[shown].max() < 2000 * values[shown].min()
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few_decades else (1,), numticks=12))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        axes.minorticks_off()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    axes.set_xlim(0.5, len(values) + 0.5)
    dress(axes, "iteration", label)
    return to_pair(figure)


def lines(
    x: ArrayLike | Mapping[str, ArrayLike],
    series: Mapping[str, ArrayLike],
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
    marks: Mapping[str, tuple[float, float]] | None = None,
    steps: bool = False,
) -> tuple[Picture, Picture]:
    """Labelled curves with a marker at each value.

    Parameters
    ----------
    x : array_like of shape (n,), or a mapping of such
        Shared by all curves, or of each curve by its name.
    series : mapping of str to array_like of shape (n,)
        At most 8 curves. A value that is not finite, or not above 0 on a logarithmic axis, leaves a gap.
    x_label, y_label : str
    log_x, log_y : bool
        Logarithmic axes.
    marks : mapping of str to (x, y), optional
        Points to circle and name, such as an elbow.
    steps : bool
        Each value holds until the next, instead of a straight line between the two.

    Raises
    ------
    ValueError
        For no curve or too many, or one whose x and y differ in length.
    """
    curves = _curves(x, series)
    legend_rows = -(-len(curves) // 2) if len(curves) > 1 else 0
    figure = new_figure(_PLOT_SIZE[0], _PLOT_SIZE[1] + LEGEND_LINE * legend_rows)
    axes = figure.add_subplot()
    style = "steps-post" if steps else "default"
    for (name, (xs, ys)), color, marker in zip(curves.items(), COLORS, MARKERS, strict=False):
        shown = np.where(np.isfinite(ys) & ((ys > 0) | (not log_y)), ys, np.nan)
        axes.plot(xs, shown, color=color, marker=marker, lw=1.8, ms=4.5, drawstyle=style, label=name)
    scale(axes, "x", np.concatenate([xs for xs, _ in curves.values()]), log=log_x)
    scale(axes, "y", np.concatenate([ys for _, ys in curves.values()]), log=log_y)
    dress(axes, x_label, y_label)
    for name, point in (marks or {}).items():
        mark(axes, name, point)
    if legend_rows:
        legend(figure)
    return to_pair(figure)


def bars(
    labels: Sequence[str], values: ArrayLike, *, y_label: str, percent: bool = False
) -> tuple[Picture, Picture]:
    """A bar for each label, with its value above it.

    Parameters
    ----------
    labels : sequence of str
    values : array_like of shape (n,)
        Not negative; with `percent`, shares from 0 to 1.
    y_label : str
    percent : bool

    Raises
    ------
    ValueError
        If there is not one value for each label.
    """
    heights = np.asarray(values, np.float64)
    if heights.shape != (len(labels),):
        raise ValueError(f"found values of shape {heights.shape} for {len(labels)} labels")
    tell = words.share if percent else words.number
    figure = new_figure(*_PLOT_SIZE)
    axes = figure.add_subplot()
    drawn = axes.bar(range(len(labels)), heights, color=COLORS[0], width=0.7)
    if len(labels) <= 12:
        axes.bar_label(drawn, [tell(height) for height in heights], padding=2, color=INK, size=FONT_SIZE - 2)
    scale(axes, "y", heights)
    axes.set_ylim(0, max(1.1 * heights.max(initial=0), 1e-9))
    if percent:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    dress(axes, "", y_label)
    crowded = sum(map(len, labels)) > 50
    axes.set_xticks(
        range(len(labels)), labels, rotation=35 if crowded else 0, ha="right" if crowded else "center"
    )
    axes.grid(False, axis="x")
    return to_pair(figure)


def histogram(
    counts: ArrayLike | tuple[ArrayLike, ArrayLike],
    *,
    lines: Mapping[str, ArrayLike] | None = None,
    x_label: str,
    y_label: str = "pixels",
) -> tuple[Picture, Picture]:
    """How often each value occurs, with vertical lines over it.

    Parameters
    ----------
    counts : array_like of shape (256,), or (edges, counts)
        Of the gray values 0 to 255; or n + 1 edges of bins and what lies in each of the n.
    lines : mapping of str to array_like of shape (m,), optional
        Where to draw lines, such as borders and centers of clusters. The first are dashed, others are not.
    x_label, y_label : str

    Raises
    ------
    ValueError
        If edges and counts do not fit.
    """
    given = counts if isinstance(counts, tuple) else (np.arange(257) - 0.5, counts)
    edges, heights = (np.asarray(values, np.float64) for values in given)
    if heights.ndim != 1 or edges.shape != (len(heights) + 1,):
        raise ValueError(f"found edges of shape {edges.shape} for counts of shape {heights.shape}")
    figure = new_figure(_PLOT_SIZE[0], _PLOT_SIZE[1] + (LEGEND_LINE if lines else 0))
    axes = figure.add_subplot()
    axes.stairs(heights, edges, fill=True, color=FILL)
    scale(axes, "x", edges)
    scale(axes, "y", heights)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, max(1.05 * heights.max(initial=0), 1e-9))
    styles = [(INK, (0, (3, 2))), *((color, "-") for color in COLORS[1:])]
    for (name, positions), (color, style) in zip((lines or {}).items(), styles, strict=False):
        at = np.asarray(positions, np.float64)
        axes.vlines(at, 0, 1, transform=axes.get_xaxis_transform(), color=color, linestyle=style, label=name)
    dress(axes, x_label, y_label)
    if lines:
        legend(figure)
    return to_pair(figure)


def _curves(
    x: ArrayLike | Mapping[str, ArrayLike], series: Mapping[str, ArrayLike]
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """The x and y of each curve, checked."""
    if not 1 <= len(series) <= len(COLORS):
        raise ValueError(f"found {len(series)} curves; expected 1 to {len(COLORS)}")
    found = {}
    for name, values in series.items():
        xs = np.asarray(x[name] if isinstance(x, Mapping) else x, np.float64)
        ys = np.asarray(values, np.float64)
        if xs.ndim != 1 or xs.shape != ys.shape:
            raise ValueError(f"{name}: found x of shape {xs.shape} and y of shape {ys.shape}")
        found[name] = xs, ys
    return found
