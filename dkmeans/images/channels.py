"""Channels of pixels: gray, gray and alpha, RGB, RGBA, of 8 or 16 bits, and how one becomes another."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHANNELS", "COLORS", "Color", "convert_color", "eight_bits"]

Color = Literal["auto", "gray", "gray-alpha", "rgb", "rgba"]
"""Channels that are wanted; "auto" are those that the file of the image has."""
CHANNELS: dict[Color, int] = {"gray": 1, "gray-alpha": 2, "rgb": 3, "rgba": 4}
COLORS: dict[int, Color] = {channels: color for color, channels in CHANNELS.items()}


def convert_color(pixels: NDArray[Any], color: Color) -> NDArray[Any]:
    """Convert pixels between gray, gray+alpha, RGB and RGBA.

    Gray is the luma of ITU-R 601 in integers, (19595 R + 38470 G + 7471 B + 32768) >> 16, the same bits as
    Pillow's ``convert("L")`` for uint8. The weights add up to 65536, so gray maps to itself, and the sum of
    uint16 samples fits uint32.

    Parameters
    ----------
    pixels : (height, width, 1 | 2 | 3 | 4) uint8 or uint16 array
        Gray, gray+alpha, RGB or RGBA.
    color : {"auto", "gray", "gray-alpha", "rgb", "rgba"}
        The channels wanted; "auto" changes nothing. Alpha is dropped, or added as the largest value of the
        type.

    Returns
    -------
    (height, width, 1 | 2 | 3 | 4) array of the same type
    """
    channels = pixels.shape[2] if color == "auto" else CHANNELS[color]
    if channels == pixels.shape[2]:
        return pixels
    values = _gray(pixels) if channels <= 2 else _rgb(pixels)
    if channels in (1, 3):
        return values
    if pixels.shape[2] in (2, 4):
        alpha = pixels[..., -1:]
    else:
        alpha = np.full_like(pixels[..., :1], np.iinfo(pixels.dtype).max)
    return np.concatenate([values, alpha], axis=2)


def eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Reduce pixels of 16 bits to 8, rounded to nearest; pixels of 8 bits stay as they are.

    Parameters
    ----------
    pixels : uint8 or uint16 array

    Returns
    -------
    uint8 array of the same shape
        (v * 255 + 32767) // 65535 of each value v, which gives back v of 257 * v.
    """
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _rgb(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.repeat(pixels[..., :1], 3, axis=2) if pixels.shape[2] <= 2 else pixels[..., :3]


def _gray(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels[..., :1] if pixels.shape[2] <= 2 else _luma(pixels)


def _luma(pixels: NDArray[Any]) -> NDArray[Any]:
    total = np.full(pixels.shape[:2], 32768, np.uint32)
    for channel, weight in enumerate((19595, 38470, 7471)):
        total += pixels[..., channel] * np.uint32(weight)
    return (total >> 16).astype(pixels.dtype)[..., np.newaxis]
