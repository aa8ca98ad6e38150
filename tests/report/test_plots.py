"""Plots: what matplotlib was told to draw, and colors that everybody can tell apart."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.text import Text
from skimage.color import deltaE_ciede2000, rgb2lab

from dkmeans.report import drawing, plots


@pytest.fixture
def drawn(monkeypatch):
    """The figure of the last plot."""
    figures = []

    def keep(figure):
        figures.append(figure)
        return drawing.to_pair(figure)

    monkeypatch.setattr(plots, "to_pair", keep)
    return lambda: figures[-1]


def legend_of(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def ticks(axis):
    axis.figure.canvas.draw()
    return [label.get_text() for label in axis.get_ticklabels() if label.get_text()]


def check_pair(pair):
    for picture in pair:
        root = ElementTree.fromstring(picture.data)
        box = [float(number) for number in root.get("viewBox").split()]
        assert box == pytest.approx([0, 0, picture.width, picture.height])
        assert picture.uri.startswith("data:image/svg+xml;base64,")


@pytest.mark.parametrize("values", [[5.0], [4.0, 2.0, 1.0], [1.0, 1e-3, 1e-7, 0.0], [0.0], [3.0, 3.0]])
@pytest.mark.parametrize("percent", [False, True])
def test_curve_draws_any_history(values, percent):
    check_pair(plots.curve(np.array(values), "inertia", percent=percent))


def test_a_single_iteration_has_a_whole_number(drawn):
    plots.curve(np.array([5.0]), "inertia")
    assert all(label.isdigit() for label in ticks(drawn().axes[0].xaxis))


def draw_all():
    """One plot of each kind; together they use every color."""
    eight = {f"method {number}": np.arange(3.0) + number for number in range(8)}
    return [
        plots.curve(np.array([3.0, 2.0, 1.5]), "inertia"),
        plots.lines([1, 2, 3], eight, x_label="bits", y_label="PSNR", marks={"here": (2, 4.0)}),
        plots.bars(["few", "many"], [0.25, 0.75], y_label="share", percent=True),
        plots.histogram(np.arange(256), lines={"borders": [64, 128], "centers": [30]}, x_label="gray value"),
    ]


def test_plots_are_the_same_bytes_every_time_and_in_the_dark_only_their_colors_differ():
    first = draw_all()
    assert first == draw_all()
    used = set()
    for light, dark in first:
        check_pair((light, dark))
        found = [re.findall(rb"#[0-9a-f]{6}\b", picture.data) for picture in (light, dark)]
        used |= set(found[0])
        assert [drawing.DARK[color.decode()].encode() for color in found[0]] == found[1]
        bare = [re.sub(rb"#[0-9a-f]{6}\b", b"", picture.data) for picture in (light, dark)]
        assert bare[0] == bare[1]
    assert used == {color.encode() for color in drawing.DARK}


def test_lines_draw_every_series_with_its_own_color_marker_and_name(drawn):
    x = {"a": [1, 2, 4], "b": [2, 3]}
    check_pair(plots.lines(x, {"a": [9.0, 5.0, 4.0], "b": [7.0, 1.0]}, x_label="bits", y_label="error"))
    (axes,) = drawn().axes
    assert [line.get_xydata().tolist() for line in axes.lines] == [
        [[1, 9], [2, 5], [4, 4]],
        [[2, 7], [3, 1]],
    ]
    assert len({line.get_marker() for line in axes.lines}) == 2
    assert [line.get_color() for line in axes.lines] == list(drawing.COLORS[:2])
    assert legend_of(drawn()) == ["a", "b"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("bits", "error")


def test_a_single_line_needs_no_legend(drawn):
    plots.lines([1, 2], {"a": [3, 4]}, x_label="x", y_label="y", steps=True)
    assert legend_of(drawn()) == []
    assert drawn().axes[0].lines[0].get_drawstyle() == "steps-post"


def test_lines_leave_gaps_where_an_axis_has_no_place(drawn):
    values = [0.0, -1.0, np.inf, np.nan, 5.0]
    plots.lines(range(5), {"a": values}, x_label="x", y_label="y", log_y=True)
    assert np.isfinite(drawn().axes[0].lines[0].get_ydata()).tolist() == [False] * 4 + [True]
    plots.lines(range(5), {"a": values}, x_label="x", y_label="y")
    assert np.isfinite(drawn().axes[0].lines[0].get_ydata()).tolist() == [True, True, False, False, True]


def test_axes_have_few_round_ticks(drawn):
    counts = np.array([100, 1000, 10_000])
    plots.lines(counts, {"a": 1 / counts}, x_label="clusters", y_label="y", log_x=True)
    (axes,) = drawn().axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    shown = ticks(axes.xaxis)
    assert {"100", "200", "500", "1,000", "10,000"} <= set(shown)
    assert "400" not in shown
    plots.lines([1, 2, 3], {"a": [1e9, 5e12, 1e3]}, x_label="x", y_label="y", log_y=True)
    assert {"1,000", "10⁹"} <= set(ticks(drawn().axes[0].yaxis))
    assert {"1", "2", "3"} == set(ticks(drawn().axes[0].xaxis)) - {"0", "4"}  # no 1.5
    plots.lines([1, 2, 3], {"a": [1.1, 1.2, 1.3]}, x_label="x", y_label="y", log_y=True)
    assert len(ticks(drawn().axes[0].yaxis)) >= 3  # though no power of ten is among them


def test_marks_circle_their_points_and_hide_nothing(drawn):
    x = np.arange(1, 30)
    marks = {"elbow": (5, 1 / 5), "another": (6, 1 / 6), "last of all": (29, 1 / 29), "first": (1, 1.0)}
    plots.lines(x, {"a": 1 / x}, x_label="x", y_label="y", marks=marks)
    (axes,) = drawn().axes
    circles = [tuple(line.get_xydata()[0]) for line in axes.lines[1:]]
    assert circles == list(marks.values())
    assert [text.get_text() for text in axes.texts] == list(marks)
    drawn().canvas.draw()
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the line to the point
    curve = axes.transData.transform(np.column_stack([x, 1 / x]))
    for position, box in enumerate(boxes):
        assert box.count_contains(curve) == 0
        assert box.count_overlaps(boxes[:position]) == 0
        assert all(drawn().bbox.contains(*corner) for corner in box.corners())


@pytest.mark.parametrize(
    ("x", "series", "message"),
    [
        ([1, 2], {}, "found 0 curves; expected 1 to 8"),
        ([1], {str(number): [1] for number in range(9)}, "found 9 curves"),
        ([1, 2], {"a": [1, 2, 3]}, r"a: found x of shape \(2,\) and y of shape \(3,\)"),
    ],
)
def test_lines_refuse_what_they_cannot_draw(x, series, message):
    with pytest.raises(ValueError, match=message):
        plots.lines(x, series, x_label="x", y_label="y")


def test_bars_are_as_high_as_their_values(drawn):
    check_pair(plots.bars(["0–1", "2–5", "6–9"], [0.125, 0.8, 0.075], y_label="share", percent=True))
    (axes,) = drawn().axes
    assert [bar.get_height() for bar in axes.patches] == [0.125, 0.8, 0.075]
    assert [text.get_text() for text in axes.texts] == ["12.5 %", "80.0 %", "7.50 %"]
    assert ticks(axes.xaxis) == ["0–1", "2–5", "6–9"]
    assert "50 %" in ticks(axes.yaxis) or "40 %" in ticks(axes.yaxis)


@pytest.mark.parametrize("values", [[0.0, 0.0], [1e7, 3.0]])
def test_bars_of_any_values(values):
    check_pair(plots.bars(["a", "b"], values, y_label="rows"))


def test_many_bars_are_not_labelled_with_their_values(drawn):
    plots.bars([f"orientation {number}" for number in range(20)], np.arange(20), y_label="patches")
    assert list(drawn().axes[0].texts) == []


def test_bars_need_one_value_each():
    with pytest.raises(ValueError, match=r"found values of shape \(3,\) for 2 labels"):
        plots.bars(["a", "b"], [1, 2, 3], y_label="y")


def test_histogram_of_gray_values_with_borders_and_centers(drawn):
    counts = np.arange(256) ** 2
    borders, centers = [64, 128, 192], [40, 100]
    check_pair(plots.histogram(counts, lines={"borders": borders, "centers": centers}, x_label="gray value"))
    (axes,) = drawn().axes
    heights, edges, _ = axes.patches[0].get_data()
    np.testing.assert_array_equal(heights, counts)
    np.testing.assert_array_equal(edges, np.arange(257) - 0.5)  # the bar of a value has it in its middle
    first, second = axes.collections
    assert [segment[0, 0] for segment in first.get_segments()] == borders
    assert [segment[0, 0] for segment in second.get_segments()] == centers
    assert to_hex(first.get_color()[0]) != to_hex(second.get_color()[0])
    assert first.get_linestyle() != second.get_linestyle()
    assert legend_of(drawn()) == ["borders", "centers"]


def test_histogram_of_given_bins(drawn):
    check_pair(plots.histogram(([0.0, 1.0, 5.0], [7, 3]), x_label="ink"))
    heights, edges, _ = drawn().axes[0].patches[0].get_data()
    assert (heights.tolist(), edges.tolist()) == ([7, 3], [0, 1, 5])
    with pytest.raises(ValueError, match=r"edges of shape \(2,\) for counts of shape \(2,\)"):
        plots.histogram(([0, 1], [7, 3]), x_label="ink")


# Colors. Matrices for linear RGB of Machado, Oliveira and Fernandes 2009: no red, no green, no blue.
NO_RED = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
NO_GREEN = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
NO_BLUE = [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]
LIGHT = (drawing.COLORS, "#ffffff")
DARK = ([drawing.DARK[color] for color in drawing.COLORS], "#1a1e26")


def linear(colors):
    values = np.array([to_rgb(color) for color in colors])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def gamma(values):
    values = np.clip(values, 0, 1)
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize(("colors", "page"), [LIGHT, DARK])
@pytest.mark.parametrize(
    "sight", [np.eye(3), NO_RED, NO_GREEN, NO_BLUE], ids=["full", "red", "green", "blue"]
)
def test_any_two_colors_are_far_apart_for_every_kind_of_sight(colors, page, sight):
    lab = rgb2lab(gamma(linear(colors) @ np.array(sight).T))
    distances = deltaE_ciede2000(lab[:, np.newaxis], lab[np.newaxis])
    assert distances[np.triu_indices(len(colors), 1)].min() > 13


@pytest.mark.parametrize(("colors", "page"), [LIGHT, DARK])
def test_every_color_stands_out_from_the_page(colors, page):
    luminance = linear([page, *colors]) @ [0.2126, 0.7152, 0.0722] + 0.05
    contrast = np.maximum(luminance[1:] / luminance[0], luminance[0] / luminance[1:])
    assert contrast.min() >= 3  # WCAG 1.4.11


def test_the_page_has_the_color_that_these_contrasts_are_for():
    assets = Path(plots.__file__).with_name("assets")
    style = "".join((assets / f"{name}.css").read_text(encoding="utf-8") for name in ("page", "dark"))
    assert re.findall(r"--card: (#[0-9a-f]{6})", style) == [LIGHT[1], DARK[1]]
