"""Rows of PNG compressed: those of a large image in pieces, at once where there are threads for it.

What a piece is depends on the image alone, so the bytes of a file are the same on any number of threads. Each
is a deflate stream that knows nothing of the others, which costs at most 0.3 % of the bytes; they are put one
behind the other as pigz does it, with an empty block between two that ends at a whole byte.
"""

from __future__ import annotations

import zlib
from itertools import pairwise
from typing import NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from dkmeans.compute.threads import share
from dkmeans.images.scanlines import Choose, filtered

__all__ = ["compressed", "deflated"]

_PIECE = 6 << 20
"""Bytes of rows that are compressed by themselves; of 4 MiB a photo of 24 megapixels grows by up to 0.4 %."""
_HEADER = b"\x78\xda"
_EMPTY = b"\x00\x00\xff\xff"
"""Of a block without bytes, what lies behind its header."""
_ADLER = 65521


def deflated(rows: NDArray[np.uint8], level: int) -> bytes:
    """Compress rows that are filtered, in the format of zlib, by libdeflate at a level from 1 to 12."""
    return bytes(imagecodecs.deflate_encode(rows.tobytes(), level))


def compressed(rows: NDArray[np.uint8], step: int, choose: Choose, level: int) -> bytes:
    """Filter and compress rows, in the format of zlib.

    Parameters
    ----------
    rows, step, choose
        As of `dkmeans.images.scanlines.filtered`.
    level : int
        Of libdeflate.
    """
    n_pieces = -(-rows.size // _PIECE)
    if n_pieces == 1:
        return deflated(filtered(rows, step, choose), level)
    cuts = [len(rows) * number // n_pieces for number in range(n_pieces + 1)]
    pairs = [(start, stop) for start, stop in pairwise(cuts) if stop > start]
    pieces = share(_compress, [(rows, step, choose, level, start, stop) for start, stop in pairs])
    check = 1
    for piece in pieces:
        check = _joined(check, piece.check, piece.n_bytes)
    return b"".join([_HEADER, *(piece.stream for piece in pieces), check.to_bytes(4, "big")])


class _Piece(NamedTuple):
    """A part of the rows: its stream, and the length and Adler-32 of what it holds."""

    stream: bytes
    n_bytes: int
    check: int


def _compress(
    rows: NDArray[np.uint8], step: int, choose: Choose, level: int, start: int, stop: int
) -> _Piece:
    data = filtered(rows, step, choose, start, stop).tobytes()
    stream = bytes(imagecodecs.deflate_encode(data, level, raw=True))
    if stop < len(rows):
        stream = _open_ended(stream)
    return _Piece(stream, len(data), zlib.adler32(data))


def _open_ended(stream: bytes) -> bytes:
    """The same stream up to a whole byte, and with no block that is marked as the last one."""
    from dkmeans.kernels.deflate import last_block  # here, as it is for large images alone

    begin, end = last_block(stream)
    found = bytearray(stream)
    found[begin >> 3] &= ~(1 << (begin & 7))
    if not 1 <= end & 7 <= 5:  # the header of the empty block, three zeros, takes a byte of its own
        found.append(0)
    return bytes(found) + _EMPTY


def _joined(one: int, other: int, n_bytes: int) -> int:
    """Compute the Adler-32 of bytes from that of their beginning and that of the other `n_bytes`."""
    sums = [check & 0xFFFF for check in (one, other)]
    low = (sums[0] + sums[1] - 1) % _ADLER
    high = ((one >> 16) + (other >> 16) + n_bytes * (sums[0] - 1)) % _ADLER
    return high << 16 | low
