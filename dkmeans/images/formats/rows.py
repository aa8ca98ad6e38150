"""From the compressed stream of a PNG to its samples: inflate, undo the filters of the rows, interlace.

Filters are undone by libpng, which is given some rows at a time as a small PNG around them, stored and not
compressed. Whatever the stream holds, that PNG is well formed and no larger than it should be.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from dkmeans.images.formats.found import Refused

__all__ = ["SAMPLES", "SIGNATURE", "unpack"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by color type: gray, RGB, palette, gray and alpha, RGBA
# Adam7: first column, first row, step to the right, step down of each pass.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_STRIP = 2**20  # bytes of the rows that are unfiltered at a time


def unpack(stream: bytes, shape: tuple[int, int], depth: int, kind: int, *, interlaced: bool) -> NDArray[Any]:
    """Samples as they are stored.

    Parameters
    ----------
    stream : bytes
        The bodies of all IDAT.
    shape : (int, int)
        Height and width in pixels.
    depth : int
        Bits of a sample.
    kind : int
        The color type.
    interlaced : bool
        By Adam7.

    Returns
    -------
    (height, width, 1 | 2 | 3 | 4) array of uint8, or of uint16 if samples have 16 bits

    Raises
    ------
    Refused
        If pixels are missing.
    """
    samples = np.empty((*shape, SAMPLES[kind]), np.uint16 if depth == 16 else np.uint8)
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    parts = [samples[y::down, x::right] for x, y, right, down in passes]
    parts = [part for part in parts if part.size]
    lines = [1 + -(-part.shape[1] * depth * SAMPLES[kind] // 8) for part in parts]  # bytes, with the filter's
    lengths = [part.shape[0] * line for part, line in zip(parts, lines, strict=True)]
    raw = memoryview(_inflate(stream, sum(lengths)))
    at = 0
    for part, line, length in zip(parts, lines, lengths, strict=True):
        _unfilter(raw[at : at + length], line, part, depth, kind)
        at += length
    return samples


def _inflate(stream: bytes, length: int) -> bytes | bytearray:
    """Exactly `length` bytes; what the stream may have beyond them is not looked at."""
    try:
        raw: bytes | bytearray = imagecodecs.deflate_decode(stream, out=length)
    except imagecodecs.DeflateError:  # it takes nothing but a stream that is whole and of just this length
        raw = zlib.decompressobj().decompress(stream, length)
    if len(raw) != length:
        raise Refused(f"PNG with {len(raw)} of the {length} bytes of its pixels; expected all of them")
    return raw


def _unfilter(raw: memoryview, line: int, samples: NDArray[Any], depth: int, kind: int) -> None:
    """Undo the filters of rows of `line` bytes each, into `samples`."""
    rows, columns = samples.shape[:2]
    step = max(1, _STRIP // line)
    above = b""  # the row before a strip, which its first filter refers to
    for start in range(0, rows, step):
        strip = raw[start * line : (start + step) * line]
        before = b"\0" + above if above else b""
        found = _stored(b"".join([before, strip]), line, columns, depth, kind)
        above = found[-1].astype(">u2").tobytes() if depth == 16 else found[-1].tobytes()
        samples[start : start + step] = _spread(found[bool(before) :], samples.shape[1:], depth)


def _stored(raw: bytes, line: int, columns: int, depth: int, kind: int) -> NDArray[Any]:
    """Rows without their filters; filters know bytes only, so less than 8 bits pass as gray of 8."""
    width = columns if depth >= 8 else line - 1
    header = struct.pack(
        ">IIBBBBB", width, len(raw) // line, max(depth, 8), 0 if kind == 3 else kind, 0, 0, 0
    )
    file = [SIGNATURE]
    for name, body in [(b"IHDR", header), (b"IDAT", zlib.compress(raw, 0)), (b"IEND", b"")]:
        crc = zlib.crc32(body, zlib.crc32(name))
        file += [struct.pack(">I", len(body)), name, body, struct.pack(">I", crc)]
    found: NDArray[Any] = imagecodecs.png_decode(b"".join(file))
    return found


def _spread(rows: NDArray[Any], shape: tuple[int, ...], depth: int) -> NDArray[Any]:
    """Rows as samples of the shape (columns, samples of a pixel), one by one where a byte holds several."""
    if depth >= 8:
        return rows.reshape(-1, *shape)
    shifts = np.arange(8 - depth, -1, -depth, dtype=np.uint8)
    samples = (rows[:, :, np.newaxis] >> shifts) & np.uint8(2**depth - 1)
    return samples.reshape(len(rows), -1)[:, : shape[0], np.newaxis]
