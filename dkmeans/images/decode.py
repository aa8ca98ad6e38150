"""Bytes of an image file to an array of pixels.

Whatever the libraries that decode raise leaves this module as an `ImageError`. The stored numbers of
gray and RGB are the pixels: their ICC profiles are not applied, see `dkmeans.images.tags`. CMYK and Lab,
which no PNG can hold, become sRGB by their profile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.errors import ImageError
from dkmeans.images.channels import CHANNELS, COLORS, Color, convert_color, eight_bits
from dkmeans.images.formats import Found, Refused, find
from dkmeans.images.tags import NO_TAGS, ColorTags, tags_of

__all__ = [
    "CHANNELS",
    "COLORS",
    "Color",
    "ImageHeader",
    "IncompleteHeader",
    "SkippedImage",
    "convert_color",
    "decode",
    "decode_tagged",
    "eight_bits",
    "read_header",
]


@dataclass(frozen=True)
class ImageHeader:
    """Facts of an image that its file tells.

    `height` and `width` are in pixels, after the EXIF orientation is applied; `dtype` is ``"uint8"`` or
    ``"uint16"``; `note` is something to say aloud, such as frames that are not used; `channels` are those of
    the file: 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA, where a palette counts as its colors; `tags` are the
    profile and the density.
    """

    key: str
    height: int
    width: int
    dtype: str
    note: str = ""
    channels: int = 3
    tags: ColorTags = NO_TAGS


@dataclass(frozen=True)
class SkippedImage:
    """An image that cannot be read, and why."""

    key: str
    reason: str


class IncompleteHeader(Exception):
    """The beginning of a file that was given does not hold its header: give the whole file."""


def read_header(data: bytes, key: str, *, max_pixels: int, whole: bool = True) -> ImageHeader:
    """Read the size, type and tags of an image without decoding its pixels.

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
    return ImageHeader(key, height, width, found.dtype, found.note, found.channels, tags_of(found))


def decode(data: bytes, key: str, color: Color, *, max_pixels: int) -> NDArray[Any]:
    """Decode an image file; the pixels of `decode_tagged`."""
    return decode_tagged(data, key, color, max_pixels=max_pixels)[0]


def decode_tagged(data: bytes, key: str, color: Color, *, max_pixels: int) -> tuple[NDArray[Any], ColorTags]:
    """Decode an image file, and read what it says of its numbers.

    The EXIF orientation is applied where it precedes the pixels. 16-bit images stay uint16, exactly.
    Alpha is dropped for "gray" and "rgb" (not composited over anything) and opaque where the image has none.

    Parameters
    ----------
    data : bytes
        The whole file.
    key : str
        The name of the image in messages.
    color : {"auto", "gray", "gray-alpha", "rgb", "rgba"}
        The channels wanted; see `convert_color`. "auto" gives those of the file, as its header tells them.
    max_pixels : int
        Largest height times width accepted, in pixels; checked before any pixel is decoded.

    Returns
    -------
    pixels : (height, width, channels) uint8 or uint16 array, C-contiguous
    tags : ColorTags

    Raises
    ------
    ImageError
        If the file is no whole image of a format and type that can be read, or is too large.
    """
    found = _open(data, key, max_pixels, whole=True)
    with _named(key):
        pixels = found.load()
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        if pixels.shape != (found.height, found.width, found.channels) or pixels.dtype != found.dtype:
            raise Refused(f"the pixels are {pixels.dtype} {pixels.shape}, not as its header says")
        upright = np.ascontiguousarray(convert_color(_orient(pixels, found.orientation), color))
    return upright, tags_of(found)


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
