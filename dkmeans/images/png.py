"""PNG files: what the header says, chunks in the order of the standard, and rows of samples in few bytes."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["GRAY", "GRAY_ALPHA", "PALETTE", "RGB", "RGBA", "Form"]

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""Color types."""
_SAMPLES = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Form:
    """One of the ways to write an image.

    Attributes
    ----------
    color_type : int
    bits : int
        Of a sample.
    width : int
        Pixels of a row.
    rows : (height, n) uint8 array
        Bytes of the samples, not yet filtered.
    chunks : tuple of (bytes, bytes)
        Name and data of what lies between the header and the pixels.
    """

    color_type: int
    bits: int
    width: int
    rows: NDArray[np.uint8]
    chunks: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def step(self) -> int:
        """Bytes from a pixel to the next, at least 1: what filters look back by."""
        return max(1, _SAMPLES[self.color_type] * self.bits // 8)

    @property
    def overhead(self) -> int:
        """Bytes of the chunks that this form needs."""
        return sum(12 + len(data) for _, data in self.chunks)

    def file(self, compressed: bytes) -> bytes:
        """Put the file together around its compressed pixels; it holds no time and no name."""
        header = struct.pack(">IIBBBBB", self.width, len(self.rows), self.bits, self.color_type, 0, 0, 0)
        chunks = ((b"IHDR", header), *self.chunks, *_data_chunks(compressed), (b"IEND", b""))
        return b"".join([_SIGNATURE, *(_chunk(name, data) for name, data in chunks)])


_MOST_BYTES = 2**31 - 1  # of a chunk


def _data_chunks(compressed: bytes) -> list[tuple[bytes, bytes]]:
    starts = range(0, len(compressed), _MOST_BYTES)
    return [(b"IDAT", compressed[start : start + _MOST_BYTES]) for start in starts]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))
