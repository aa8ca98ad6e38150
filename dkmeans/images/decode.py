"""Bytes of an image file to an array of pixels.

Whatever the libraries that decode raise leaves this module as an `ImageError`. ICC profiles are not applied:
the stored numbers are the pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dkmeans.errors import ImageError
from dkmeans.images.formats import Found, Refused, find

__all__ = [
    "CHANNELS",
    "COLORS",
    "Color",
    "ImageHeader",
    "IncompleteHeader",
    "SkippedImage",
    "convert_color",
    "decode",
    "eight_bits",
    "read_header",
]

Color = Literal["auto", "gray", "gray-alpha", "rgb", "rgba"]
CHANNELS: dict[Color, int] = {"gray": 1, "gray-alpha": 2, "rgb": 3, "rgba": 4}
COLORS: dict[int, Color] = {channels: color for color, channels in CHANNELS.items()}


@dataclass(frozen=True)
class ImageHeader:
    """Facts of an image that its file tells.

    `height` and `width` are in pixels, after the EXIF orientation is applied; `dtype` is ``"uint8"`` or
    ``"uint16"``; `note` is something to say aloud, such as frames that are not used; `channels` are 1 to 4:
    gray, gray and alpha, RGB, RGBA; `profile` is the same for images whose numbers mean the same colors,
    empty for sRGB.
    """

    key: str
    height: int
    width: int
    dtype: str
    note: str = ""
    channels: int = 3
    profile: str = ""


@dataclass(frozen=True)
class SkippedImage:
    """An image that cannot be read, and why."""

    key: str
    reason: str


class IncompleteHeader(Exception):
    """The beginning of a file that was given does not hold its header: give the whole file."""


def read_header(data: bytes, key: str, *, max_pixels: int, whole: bool = True) -> ImageHeader:
    """Read the size and type of an image without decoding its pixels.

    Parameters
    ----------
    data : bytes
        The file, or its beginning when `whole` is False.
    key : str
        The name of the image in messages.
    max_pixels : int
        Largest height times width accepted, in pixels.
    whole : bool
        Whether `data` is the whole file.

    Returns
    -------
    ImageHeader

    Raises
    ------
    ImageError
        If the file is no image that `decode` could read, or has more than `max_pixels` pixels.
    IncompleteHeader
        If `data` is only a beginning and does not suffice to tell.
    """
    try:
        found = _open(data, key, max_pixels, whole)
    except ImageError:
        if whole:
            raise
        raise IncompleteHeader(key) from None
    height, width = found.height, found.width
    if found.orientation >= 5:  # these four exchange rows and columns
        height, width = width, height
    return ImageHeader(key, height, width, found.dtype, found.note, found.channels)


def decode(data: bytes, key: str, color: Color, *, max_pixels: int) -> NDArray[Any]:
    """Decode an image file.

    The EXIF orientation is applied where it precedes the pixels. 16-bit images stay uint16, exactly.
    Alpha is dropped for "rgb" and "gray" (not composited over anything) and opaque where the image has none.

    Parameters
    ----------
    data : bytes
        The whole file.
    key : str
        The name of the image in messages.
    color : {"rgb", "gray", "rgba"}
        The channels wanted; see `convert_color`.
    max_pixels : int
        Largest height times width accepted, in pixels; checked before any pixel is decoded.

    Returns
    -------
    (height, width, channels) uint8 or uint16 array, C-contiguous

    Raises
    ------
    ImageError
        If the file is no whole image of a format and type that can be read, or is too large.
    """
    found = _open(data, key, max_pixels, whole=True)
    with _named(key):
        pixels = found.load()
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        if pixels.shape[:2] != (found.height, found.width) or pixels.dtype != found.dtype:
            raise Refused(f"the pixels are {pixels.dtype} {pixels.shape}, not as its header says")
        wanted = COLORS[found.channels] if color == "auto" else color
        return np.ascontiguousarray(convert_color(_orient(pixels, found.orientation), wanted))


def convert_color(pixels: NDArray[Any], color: Color) -> NDArray[Any]:
    """Convert pixels between gray, gray+alpha, RGB and RGBA.

    Gray is the luma of ITU-R 601 in integers, (19595 R + 38470 G + 7471 B + 32768) >> 16, the same bits as
    Pillow's ``convert("L")`` for uint8. The weights add up to 65536, so gray maps to itself, and the sum of
    uint16 samples fits uint32.

    Parameters
    ----------
    pixels : (height, width, 1 | 2 | 3 | 4) uint8 or uint16 array
        Gray, gray+alpha, RGB or RGBA.
    color : {"rgb", "gray", "rgba"}
        The channels wanted. Alpha is dropped, or added as the largest value of the type.

    Returns
    -------
    (height, width, 1 | 3 | 4) array of the same type
    """
    if color == "auto":
        return pixels
    is_gray = pixels.shape[2] <= 2
    if color.startswith("gray"):
        rgb = pixels[..., :1] if is_gray else _luma(pixels)
    else:
        rgb = np.repeat(pixels[..., :1], 3, axis=2) if is_gray else pixels[..., :3]
    if color in ("gray", "rgb"):
        return rgb
    if pixels.shape[2] in (2, 4):
        alpha = pixels[..., -1:]
    else:
        alpha = np.full_like(pixels[..., :1], np.iinfo(pixels.dtype).max)
    return np.concatenate([rgb, alpha], axis=2)


def eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Reduce 16-bit pixels to 8 bits, rounded; 8-bit ones stay as they are."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels * np.uint32(255) + np.uint32(32767)) // np.uint32(65535)).astype(np.uint8)


def _luma(pixels: NDArray[Any]) -> NDArray[Any]:
    total = np.full(pixels.shape[:2], 32768, np.uint32)
    for channel, weight in enumerate((19595, 38470, 7471)):
        total += pixels[..., channel] * np.uint32(weight)
    return (total >> 16).astype(pixels.dtype)[..., np.newaxis]


def _orient(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """`pixels` turned upright: the eight values of the EXIF tag are the symmetries of the rectangle."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    down = -1 if orientation in (3, 4, 7, 8) else 1
    right = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::down, ::right]


@contextmanager
def _named(key: str) -> Iterator[None]:
    """Turn every error into an `ImageError`, except running out of memory: no fault of the image."""
    try:
        yield
    except (ImageError, IncompleteHeader, MemoryError):
        raise
    except Refused as error:
        raise ImageError(f"{key}: {error}. Convert the image or remove it.") from error
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(
            f"{key}: damaged, truncated or unsupported ({text[:200]}); expected a whole image file. "
            "Copy it again, convert it to PNG, or remove it."
        ) from error


def _open(data: bytes, key: str, max_pixels: int, whole: bool) -> Found:
    with _named(key):
        found = find(data, whole=whole)
        if found is None:
            raise IncompleteHeader(key)
        pixels = found.height * found.width
        if pixels < 1:
            raise Refused(f"{found.height} x {found.width} pixels; expected at least one")
        if pixels > max_pixels:
            raise ImageError(
                f"{key}: {found.height} x {found.width} = {pixels} pixels; expected at most {max_pixels}. "
                "Raise --max-image-pixels if you trust this image."
            )
        return found
