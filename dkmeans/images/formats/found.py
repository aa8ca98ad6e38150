"""What reading a header gives, and how a file is refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

__all__ = ["CONVERTED", "Chunks", "Found", "Refused", "density_chunk", "profile_chunk"]

Chunks = list[tuple[bytes, bytes]]
"""Names and bodies of chunks of a PNG."""
CONVERTED: Chunks = [(b"sRGB", b"\1")]
"""What can be said of pixels that were converted to sRGB, by relative colorimetry."""
_INCH, _CENTIMETER = 0.0254, 0.01  # meters


class Refused(Exception):
    """Says what was found and what was expected; the caller adds the key and the remedy."""


@dataclass(frozen=True)
class Found:
    """An image whose header was read: its size and channels as stored, and how to load the pixels.

    `load` gives a (height, width) or (height, width, channels) array of `dtype`, or raises `Refused` or what
    the library raises that decodes.
    """

    height: int
    width: int
    channels: int
    dtype: str
    load: Callable[[], NDArray[Any]]
    orientation: int = 1
    note: str = ""
    tags: Callable[[], Chunks] = list


def profile_chunk(icc: bytes | None) -> Chunks:
    """The iCCP of an ICC profile, if there is one."""
    return [(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc, 9))] if icc else []


def density_chunk(across: float, down: float, unit: str) -> Chunks:
    """The pHYs of pixels per inch or centimeter, or of their mere ratio; none if that says nothing."""
    if unit == "ratio":
        values = (round(across), round(down), 0)
    else:
        meters = _INCH if unit == "inch" else _CENTIMETER
        values = (round(across / meters), round(down / meters), 1)
    if not (0 < values[0] < 2**31 and 0 < values[1] < 2**31) or (unit == "ratio" and across == down):
        return []
    return [(b"pHYs", struct.pack(">IIB", *values))]
