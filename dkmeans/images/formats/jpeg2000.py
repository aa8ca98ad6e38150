"""JPEG 2000: of 8 bits by Pillow, of more by imagecodecs, as Pillow would make them 8."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

from dkmeans.images.formats.found import Chunks, Found, Refused, profile_chunk
from dkmeans.images.formats.pillow import eight_bit, probe

__all__ = ["open_jpeg2000"]

_CODESTREAM = b"\xff\x4f\xff\x51"
_SIGNED = 128


def open_jpeg2000(data: bytes) -> Found:
    """Read the boxes, if there are any, and the size at the beginning of the code stream."""
    image, orientation, note = probe(Jpeg2KImageFile, data)
    start = data.find(_CODESTREAM) + 40  # how many components, then three bytes for each
    count = int.from_bytes(data[start : start + 2])
    depths = set(data[start + 2 : start + 2 + 3 * count : 3])
    if max(depths, default=0) < 8:  # one less than the bits
        return eight_bit(image, orientation, note, tags=lambda: _profile(data))
    if len(depths) > 1 or max(depths) > 15 or image.mode not in ("I;16", "LA", "RGB", "RGBA"):
        kinds = ", ".join(
            f"{'signed' if d & _SIGNED else 'unsigned'} {d % _SIGNED + 1}" for d in sorted(depths)
        )
        raise Refused(f"JPEG 2000 of {kinds} bits, {image.mode}; expected up to 16, gray or RGB")
    largest = 2 ** (max(depths) + 1) - 1

    def load() -> NDArray[Any]:
        pixels: NDArray[Any] = imagecodecs.jpeg2k_decode(data)
        scaled: NDArray[Any] = (pixels.astype(np.uint32) * 65535 + largest // 2) // largest
        return scaled.astype(np.uint16)

    return Found(image.height, image.width, count, "uint16", load, orientation, note, lambda: _profile(data))


def _profile(data: bytes) -> Chunks:
    """The ICC profile of a color box, whose method is 2."""
    at = data.find(b"colr\2")
    if at < 4:
        return []
    return profile_chunk(data[at + 7 : at - 4 + int.from_bytes(data[at - 4 : at])])
