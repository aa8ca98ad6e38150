"""Pictures made of pixels, each as the bytes of one PNG file. Pure: arrays in, `Picture` out."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dkmeans.images.encode import encode_png

__all__ = ["Picture", "eight_bits", "gallery", "grid", "photo", "share_strip", "share_strips"]

_LARGEST = (800, 640)  # width and height in pixels of a picture that is shown whole
_GALLERY_WIDTH = 1080
_TILE_WIDTH = 36  # pixels, of many tiles
_GAP = 2
_STRIP_HEIGHT = 24


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
        The value that is shown as 255: 255 itself leaves 8-bit values as they are. Alpha is a share, not
        a brightness: above 255 it is scaled by the largest 16-bit value instead.
    """
    largest = np.full(values.shape[-1], limit, np.float64)
    if values.shape[-1] in (2, 4):
        largest[-1] = 255 if limit <= 255 else 65535
    return np.clip(np.rint(values * (255 / largest)), 0, 255).astype(np.uint8)


def _to_image(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else np.ascontiguousarray(pixels))


def _to_png(image: Image.Image, scale: float = 1.0) -> Picture:
    pixels = np.asarray(image)
    data = encode_png(pixels[..., np.newaxis] if pixels.ndim == 2 else pixels)  # few colors as a palette
    return Picture(data, image.width, image.height, scale=scale)


def photo(pixels: NDArray[np.uint8], largest: tuple[int, int] = _LARGEST) -> Picture:
    """An image as a PNG, made smaller by area averaging where it is larger than the page can show.

    Parameters
    ----------
    pixels : (height, width, 1 | 2 | 3 | 4) uint8 array
    largest : (int, int)
        Width and height in pixels that the picture is made to fit into.
    """
    image = _to_image(pixels)
    scale = max(1.0, image.width / largest[0], image.height / largest[1])
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
    n_tiles, height, width, _ = tiles.shape
    columns = _columns(n_tiles, height, width)
    zoom = max(1, min((_GALLERY_WIDTH // columns - _GAP) // width, side // max(height, width)))
    return grid(tiles, columns, zoom)


def grid(tiles: NDArray[np.uint8], columns: int, zoom: int) -> Picture:
    """Tiles in rows of `columns`, each pixel enlarged to `zoom` x `zoom`, with thin transparent gaps.

    Parameters
    ----------
    tiles : (n, height, width, 1 | 3 | 4) uint8 array
        From left to right, then from top to bottom. The end of the last row may stay empty.
    columns : int
    zoom : int
    """
    n_tiles, height, width, channels = tiles.shape
    rows = -(-n_tiles // columns)
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
    return _to_png(_to_image(_shares(colors, counts, width)[np.newaxis]))


def share_strips(palettes: Sequence[tuple[NDArray[np.uint8], NDArray[np.int64]]]) -> Picture:
    """Several such rows, 24 pixels high, below each other."""
    rows = [_shares(colors, counts, _GALLERY_WIDTH) for colors, counts in palettes]
    return grid(np.stack(rows)[:, np.newaxis].repeat(_STRIP_HEIGHT, axis=1), columns=1, zoom=1)


def _shares(colors: NDArray[np.uint8], counts: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    borders = np.cumsum(counts) / max(1, int(counts.sum()))
    middles = (np.arange(width) + 0.5) / width
    return colors[np.minimum(np.searchsorted(borders, middles, side="right"), len(colors) - 1)]
