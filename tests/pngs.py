"""PNG files written by the rules of the format alone: numpy and zlib, no library that reads images."""

from __future__ import annotations

import itertools
import struct
import zlib

import numpy as np

__all__ = ["SAMPLES", "SIGNATURE", "chunk", "chunks_of", "write_png"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # per pixel, by color type
PASSES = [  # rows and columns of Adam7
    (slice(0, None, 8), slice(0, None, 8)),
    (slice(0, None, 8), slice(4, None, 8)),
    (slice(4, None, 8), slice(0, None, 4)),
    (slice(0, None, 4), slice(2, None, 4)),
    (slice(2, None, 4), slice(0, None, 2)),
    (slice(0, None, 2), slice(1, None, 2)),
    (slice(1, None, 2), slice(0, None, 1)),
]


def chunk(name, body, *, crc=None):
    """One chunk; `crc` replaces its checksum."""
    right = zlib.crc32(name + body)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", right if crc is None else crc)


def chunks_of(data):
    """Names and bodies of all chunks."""
    at, found = 8, []
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def write_png(
    samples,
    kind,
    depth=8,
    *,
    interlaced=False,
    palette=None,
    clear=None,
    before=(),
    after=(),
    parts=1,
    idat=None,
):
    """A PNG of raw samples (height, width, samples of the color type).

    The filters of its rows go through all five. `clear` is the body of tRNS; `before` and `after` are chunks
    around IDAT, which is split into `parts`; `idat` replaces what is compressed.
    """
    height, width = samples.shape[:2]
    samples = samples.reshape(height, width, SAMPLES[kind])
    wanted = [samples[part] for part in PASSES] if interlaced else [samples]
    lines = [line for part in wanted if part.size for line in _filtered(part, depth)]
    stream = zlib.compress(b"".join(lines)) if idat is None else idat
    size = -(-len(stream) // parts)
    found = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced)))]
    found += list(before)
    found += [] if palette is None else [chunk(b"PLTE", np.asarray(palette, np.uint8).tobytes())]
    found += [] if clear is None else [chunk(b"tRNS", clear)]
    found += [chunk(b"IDAT", stream[at : at + size]) for at in range(0, len(stream), size)]
    return SIGNATURE + b"".join([*found, *after, chunk(b"IEND", b"")])


def _filtered(samples, depth):
    step = max(1, samples.shape[2] * depth // 8)
    above = None
    for kind, row in zip(itertools.cycle(range(5)), samples, strict=False):
        line = _packed(row.reshape(-1), depth)
        above = np.zeros_like(line) if above is None else above
        left, corner = (np.concatenate([np.zeros(step, int), of[:-step]])[: len(of)] for of in (line, above))
        near = [left, above, corner]
        distance = np.stack([np.abs(left + above - corner - of) for of in near])
        paeth = np.choose(
            distance.argmin(axis=0), near
        )  # argmin takes the first, as the standard orders them
        guess = [0, left, above, (left + above) // 2, paeth][kind]
        yield bytes([kind]) + ((line - guess) % 256).astype(np.uint8).tobytes()
        above = line


def _packed(values, depth):
    if depth == 16:
        packed = values.astype(">u2").tobytes()
    elif depth == 8:
        packed = values.astype(np.uint8).tobytes()
    else:
        bits = values[:, None].astype(int) >> np.arange(depth - 1, -1, -1) & 1
        packed = np.packbits(bits.reshape(-1).astype(np.uint8)).tobytes()
    return np.frombuffer(packed, np.uint8).astype(int)
