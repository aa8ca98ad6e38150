"""Pictures of the report, each as the bytes of one PNG or SVG file.

Pure: arrays in, `Picture` out. No pyplot, so nothing global is drawn on and no window is opened.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Picture", "curve", "eight_bits", "gallery", "photo", "share_strip"]

_LARGEST = (480, 640)  # width and height in pixels of a picture that is shown whole
_GALLERY_WIDTH = 1080
_TILE_WIDTH = 36  # pixels, of many tiles
_GAP = 2
_CURVE_SIZE = (400, 220)  # points, of which matplotlib has 72 in an inch: the units of its SVG
_FONT_SIZE = 10.5
_LIGHT = ("#1d5fd0", "#4a5261", "#d9dde5")  # of line, text and grid
_DARK = ("#7fb0ff", "#b4bccb", "#383f4c")


@dataclass(frozen=True)
class Picture:
    """One encoded picture and its size in pixels; `scale` is how many times it was made smaller."""

    data: bytes
    width: int
    height: int
    media: str = "image/png"
    scale: float = 1.0

    @property
    def uri(self) -> str:
        """The picture as a data URI, for ``<img src>``."""
        return f"data:{self.media};base64,{base64.b64encode(self.data).decode('ascii')}"


def eight_bits(values: NDArray[Any], limit: float) -> NDArray[np.uint8]:
    """Values scaled for display: 0 to `limit` becomes 0 to 255.

    Parameters
    ----------
    values : ndarray of shape (..., channels)
        Pixels, or centers, which are no integers.
    limit : float
        The value that is shown as 255: 255 itself leaves 8-bit values as they are. The alpha of RGBA is
        a share, not a brightness: above 255 it is scaled by the largest 16-bit value instead.
    """
    largest = np.full(values.shape[-1], limit, np.float64)
    if values.shape[-1] == 4:
        largest[3] = 255 if limit <= 255 else 65535
    return np.clip(np.rint(values * (255 / largest)), 0, 255).astype(np.uint8)


def _to_image(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else np.ascontiguousarray(pixels))


def _to_png(image: Image.Image, scale: float = 1.0) -> Picture:
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return Picture(file.getvalue(), image.width, image.height, scale=scale)


def photo(pixels: NDArray[np.uint8]) -> Picture:
    """An image as a PNG, made smaller by area averaging where it is larger than the page can show.

    Parameters
    ----------
    pixels : (height, width, 1 | 3 | 4) uint8 array
    """
    image = _to_image(pixels)
    scale = max(1.0, image.width / _LARGEST[0], image.height / _LARGEST[1])
    if scale > 1:
        size = max(1, round(image.width / scale)), max(1, round(image.height / scale))
        image = image.resize(size, Image.Resampling.BOX)
    return _to_png(image, scale)


def gallery(tiles: NDArray[np.uint8], side: int = 64) -> Picture:
    """Tiles in rows from left to right, enlarged without smoothing, with thin transparent gaps.

    Parameters
    ----------
    tiles : (n, height, width, 1 | 3 | 4) uint8 array
    side : int
        Most pixels of the longer side of an enlarged tile.
    """
    n_tiles, height, width, channels = tiles.shape
    columns = _columns(n_tiles, height, width)
    rows = -(-n_tiles // columns)
    zoom = max(1, min((_GALLERY_WIDTH // columns - _GAP) // width, side // max(height, width)))
    colors = np.repeat(tiles, 3, axis=3) if channels == 1 else tiles[..., :3]
    alpha = tiles[..., 3:] if channels == 4 else np.full_like(tiles[..., :1], 255)
    large = np.concatenate([colors, alpha], axis=3).repeat(zoom, axis=1).repeat(zoom, axis=2)
    step_y, step_x = height * zoom + _GAP, width * zoom + _GAP
    canvas = np.zeros((rows * step_y - _GAP, columns * step_x - _GAP, 4), np.uint8)
    for position, tile in enumerate(large):
        top, left = (position // columns) * step_y, (position % columns) * step_x
        canvas[top : top + height * zoom, left : left + width * zoom] = tile
    return _to_png(_to_image(canvas))


def _columns(n_tiles: int, height: int, width: int) -> int:
    """Tiles in one row: the whole about three times as wide as high, the last row as full as can be."""
    widest = max(1, _GALLERY_WIDTH // max(width, _TILE_WIDTH))
    wanted = min(math.sqrt(3 * n_tiles * height / width), widest, n_tiles)
    near = range(max(1, math.floor(0.75 * wanted)), math.ceil(1.25 * wanted) + 1)
    return min(near, key=lambda columns: (-n_tiles % columns, abs(columns - wanted)))


def share_strip(colors: NDArray[np.uint8], counts: NDArray[np.int64], width: int = 1080) -> Picture:
    """One row of pixels in which each color takes its share of the width, in the order given.

    Parameters
    ----------
    colors : (k, 1 | 3 | 4) uint8 array
    counts : (k,) int64 array
    width : int
        Pixels; each shows the color in which its middle falls.
    """
    borders = np.cumsum(counts) / max(1, int(counts.sum()))
    middles = (np.arange(width) + 0.5) / width
    chosen = np.minimum(np.searchsorted(borders, middles, side="right"), len(colors) - 1)
    return _to_png(_to_image(colors[chosen][np.newaxis]))


def curve(values: NDArray[np.float64], label: str, *, percent: bool = False) -> tuple[Picture, Picture]:
    """A line over the iterations 1 to n, as an SVG without background for a light and for a dark page.

    Parameters
    ----------
    values : (n,) float64 array
        One per iteration. With `percent`, shares from 0 to 1 on a logarithmic axis, which has no place
        for zeros: these are left out.
    label : str
        What the values are.
    percent : bool
    """
    line, ink, grid = _LIGHT
    figure = Figure(figsize=(_CURVE_SIZE[0] / 72, _CURVE_SIZE[1] / 72))
    FigureCanvasAgg(figure)
    figure.patch.set_alpha(0)
    axes = figure.add_axes((0.18, 0.19, 0.8, 0.72))  # the same in all figures, so that they line up
    axes.patch.set_alpha(0)
    iterations = np.arange(1, len(values) + 1)
    shown = values > 0 if percent else np.ones(len(values), bool)
    axes.plot(iterations[shown], values[shown], color=line, linewidth=1.8, marker="o", markersize=3.5)
    if not percent:
        axes.ticklabel_format(axis="y", useMathText=True)
        axes.yaxis.get_offset_text().set(color=ink, size=_FONT_SIZE)
    elif shown.any():
        few_decades = values[shown].max() < 2000 * values[shown].min()
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few_decades else (1,), numticks=12))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        axes.minorticks_off()
    axes.set_xlabel("iteration", color=ink, size=_FONT_SIZE)
    axes.set_ylabel(label, color=ink, size=_FONT_SIZE)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.set_xlim(0.5, len(values) + 0.5)
    axes.grid(color=grid, linewidth=0.8)
    axes.tick_params(colors=ink, length=0, labelsize=_FONT_SIZE)
    axes.spines[:].set_visible(False)
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": label, "svg.fonttype": "path"}):  # equal data, equal bytes
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    light = dark = file.getvalue()
    for here, there in zip(_LIGHT, _DARK, strict=True):
        dark = dark.replace(here.encode(), there.encode())
    width, height = _CURVE_SIZE
    return Picture(light, width, height, "image/svg+xml"), Picture(dark, width, height, "image/svg+xml")
