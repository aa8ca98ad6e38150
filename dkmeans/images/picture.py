"""An image as a source gives it: its pixels, and what their numbers mean."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from dkmeans.images.tags import NO_TAGS, ColorTags

__all__ = ["Picture", "in_srgb", "profile_of"]


@dataclass(frozen=True)
class Picture:
    """An image as a source gives it.

    Attributes
    ----------
    pixels : ndarray of shape (height, width, channels), uint8 or uint16
        One to four channels: gray, gray and alpha, RGB, RGBA.
    tags : ColorTags
        The profile and the density that its file tells.
    """

    pixels: NDArray[Any]
    tags: ColorTags = NO_TAGS


def profile_of(tags: ColorTags) -> str:
    """Name what the numbers of an image mean: equal for equal profiles, empty for sRGB, or none.

    A profile that calls itself sRGB is that, whoever wrote it; PNG's chunk sRGB is stronger than its gAMA and
    cHRM, and an ICC profile stronger than all.
    """
    chunks = {name: body for name, body in tags.chunks if name != b"pHYs"}
    if b"iCCP" in chunks:
        icc = zlib.decompress(chunks[b"iCCP"].partition(b"\0")[2][1:])
        named_srgb = b"sRGB" in icc or "sRGB".encode("utf-16-be") in icc
        return "" if named_srgb else hashlib.sha256(icc).hexdigest()
    if not chunks or b"sRGB" in chunks:
        return ""
    return hashlib.sha256(repr(sorted(chunks.items())).encode()).hexdigest()


def in_srgb(tags: ColorTags) -> ColorTags:
    """Give the tags of an image that was converted to sRGB: the density stays, and no tags stay none."""
    if not tags.chunks:
        return tags
    density = (chunk for chunk in tags.chunks if chunk[0] == b"pHYs")
    return ColorTags(((b"sRGB", b"\1"), *density))  # converted relative to the colors of the medium
