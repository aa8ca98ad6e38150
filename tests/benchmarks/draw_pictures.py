"""The pictures of README.md and docs/performance.md: a photo before and after, and plots of measured figures.

python tests/benchmarks/draw_pictures.py

The plots show what figures.toml beside this file records; nothing is measured here.
"""

from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage import data

import dkmeans

__all__ = ["FIGURES", "PICTURES", "draw_before_and_after", "draw_plot", "draw_plots", "read_figures"]

FIGURES = Path(__file__).with_name("figures.toml")
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
_COLORS = 16
_GAP, _STRIP, _TEXT = 12, 44, 30
_OURS, _OTHERS = "#1f5fa8", ("#c0562b", "#6f8f3a", "#7b5aa6", "#8a8a8a", "#b59a2d")


def read_figures(path: Path = FIGURES) -> dict[str, dict[str, Any]]:
    """Read the recorded figures; each has a title, its hardware and its command."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


# The photo


def _reduced(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give the photo in few colors, as ``dkmeans quantize`` makes it."""
    with tempfile.TemporaryDirectory() as folder:
        source, destination = Path(folder, "photo.png"), Path(folder, "small.png")
        Image.fromarray(photo).save(source)
        config = dkmeans.QuantizeConfig(source=str(source), destination=str(destination), n_clusters=_COLORS)
        dkmeans.quantize(config, dkmeans.ClusterConfig(scheduler="sync"))
        return np.asarray(Image.open(destination).convert("RGB"))


def _palette_of(image: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    """List the colors of an image, the lightest first."""
    colors = np.unique(image.reshape(-1, 3), axis=0)
    return [tuple(color) for color in colors[np.argsort(-colors.sum(axis=1))].tolist()]


def draw_before_and_after(path: Path) -> None:
    """Draw a photo of scikit-image beside the same in 16 colors, with its palette below."""
    photo = np.ascontiguousarray(data.coffee()[20:380, 90:510])
    small = _reduced(photo)
    height, width, _ = photo.shape
    page = Image.new("RGB", (2 * width + _GAP, height + _TEXT + _STRIP), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(18)
    for number, (pixels, text) in enumerate(
        [
            (photo, f"before: {len(_palette_of(photo)):,} colors"),
            (small, f"after: {_COLORS} colors"),
        ]
    ):
        left = number * (width + _GAP)
        draw.text((left, 4), text, "black", font)
        page.paste(Image.fromarray(pixels), (left, _TEXT))
    palette, left = _palette_of(small), width + _GAP
    for number, color in enumerate(palette):
        begin, end = (left + width * at // len(palette) for at in (number, number + 1))
        draw.rectangle((begin, height + _TEXT + 6, end - 2, height + _TEXT + _STRIP), color)
    page.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


# The plots


def _draw_lines(axes: Any, figure: dict[str, Any], colors: list[str]) -> None:
    for (name, values), color in zip(figure["series"].items(), colors, strict=False):
        axes.plot(figure["x"][: len(values)], values, "o-", color=color, label=name)
    axes.set_xscale("log")
    axes.set_xticks(figure["x"], [f"{x:,}" for x in figure["x"]])
    axes.minorticks_off()
    if figure["log_y"]:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)


def _draw_curves(axes: Any, figure: dict[str, Any], colors: list[str]) -> None:
    for (name, points), color in zip(figure["series"].items(), colors, strict=False):
        axes.plot(*zip(*points, strict=True), "o-", color=color, label=name)


def _draw_bars(axes: Any, figure: dict[str, Any], colors: list[str]) -> None:
    width = 0.8 / len(figure["series"])
    for number, ((name, values), color) in enumerate(zip(figure["series"].items(), colors, strict=False)):
        places = np.arange(len(values)) + number * width
        axes.bar_label(axes.bar(places, values, width * 0.95, color=color, label=name))
    middles = np.arange(len(figure["groups"])) + 0.4 - width / 2
    axes.set_xticks(middles, [group.replace(", ", "\n") for group in figure["groups"]])


_DRAWN = {"lines": _draw_lines, "curves": _draw_curves, "bars": _draw_bars}


def draw_plot(figure: dict[str, Any], path: Path) -> None:
    """Draw one of the recorded figures; the same figure gives the same file."""
    style = {"svg.hashsalt": "dkmeans", "svg.fonttype": "path", "font.size": 10}
    with matplotlib.rc_context(style):
        page = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = page.subplots()
        _DRAWN[figure["kind"]](axes, figure, [_OURS, *_OTHERS])
        axes.set(title=figure["title"], xlabel=figure["x_label"], ylabel=figure["y_label"])
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if len(figure["series"]) > 1:
            axes.legend(frameon=False)
        page.savefig(path, metadata={"Date": None}, facecolor="white")


def draw_plots(folder: Path) -> list[Path]:
    """Draw all recorded figures into a folder, and give the files."""
    paths = []
    for name, figure in read_figures().items():
        paths.append(folder / f"performance_{name}.svg")
        draw_plot(figure, paths[-1])
    return paths


if __name__ == "__main__":
    draw_before_and_after(PICTURES / "before_after.png")
    draw_plots(PICTURES)
