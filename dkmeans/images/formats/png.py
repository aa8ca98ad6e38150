"""PNG by its own rules: chunks, palette, transparency and interlace are read here.

A decoder is given nothing but rows of bytes to unfilter, so text of any length, a damaged profile or any
other chunk that the pixels do not need cannot stop it, and no library has anything to warn about. Inflating
by libdeflate and unfiltering stored rows by libpng is also faster than libpng alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from dkmeans.images.formats.found import Found, Refused

__all__ = ["SIGNATURE", "Chunk", "chunks", "open_png"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by color type: gray, RGB, palette, gray and alpha, RGBA
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# Adam7: first column, first row, step to the right, step down of each pass.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_TEXT_LIMIT = 2**20  # bytes of EXIF in a text; an orientation takes some dozens
_NOT_READ = "its transparency (tRNS) is damaged and left out"


class Chunk(NamedTuple):
    """One chunk: whether all of it is in the file, and its checksum right."""

    name: bytes
    body: bytes
    whole: bool
    intact: bool


def chunks(data: bytes) -> Iterator[Chunk]:
    """Walk the chunks of a PNG up to IEND, or to where the file ends."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        end = at + 8 + size
        body = data[at + 8 : end]
        whole = end + 4 <= len(data)
        crc = int.from_bytes(data[end : end + 4])
        yield Chunk(name, body, whole, whole and zlib.crc32(body, zlib.crc32(name)) == crc)
        if name == b"IEND":
            return
        at = end + 4


@dataclass(frozen=True)
class _Header:
    """IHDR with what else the pixels need. `clear`: samples of tRNS; `palette`: RGB, or RGBA with it."""

    width: int
    height: int
    depth: int
    kind: int
    interlaced: bool
    palette: NDArray[np.uint8] | None = None
    clear: tuple[int, ...] | None = None

    @property
    def channels(self) -> int:
        if self.palette is not None:
            return int(self.palette.shape[1])
        return _SAMPLES[self.kind] + (self.clear is not None)


def open_png(data: bytes) -> Found:
    """Read the chunks before the pixels."""
    if data[12:16] != b"IHDR":
        raise Refused("the header (IHDR) is not at the beginning of this PNG; expected a valid PNG")
    seen: dict[bytes, bytes] = {}
    notes = []
    for chunk in chunks(data):
        if chunk.name == b"IDAT":
            break
        _check(chunk)
        if chunk.intact:
            seen.setdefault(*_as_exif(chunk))
        elif chunk.name == b"tRNS":
            notes.append(_NOT_READ)
    else:
        raise Refused("PNG truncated before its pixels (IDAT); expected a whole PNG")
    header, note = _header(seen)
    notes += [note] if note else []
    frames = int.from_bytes(seen.get(b"acTL", b"")[:4])
    if frames > 1:
        notes.append(f"animation of {frames} frames, first one used")
    dtype = "uint16" if header.depth == 16 else "uint8"
    return Found(
        header.height,
        header.width,
        header.channels,
        dtype,
        lambda: _load(header, data),
        _orientation(seen.get(b"eXIf", b"")),
        "; ".join(notes),
        lambda: list(seen.items()),
    )


def _check(chunk: Chunk) -> None:
    """Refuse a chunk that ends too early, and one that cannot be used though the pixels depend on it."""
    if not chunk.whole:
        raise Refused(f"PNG truncated in its chunk {_shown(chunk.name)}; expected a whole PNG")
    if chunk.name[:1].isupper():  # the case tells
        if not chunk.intact:
            raise Refused(f"the checksum of the chunk {_shown(chunk.name)} is wrong; expected an intact PNG")
        if chunk.name not in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
            kind = "Apple's own, made for phones" if chunk.name == b"CgBI" else "of an unknown kind"
            raise Refused(f"PNG {kind}, with the chunk {_shown(chunk.name)}; expected a standard PNG")


def _shown(name: bytes) -> str:
    return name.decode("ascii") if name.isalpha() else repr(name)


def _header(seen: dict[bytes, bytes]) -> tuple[_Header, str]:
    """The header with palette and transparency, and a note if the latter is left out."""
    if len(seen[b"IHDR"]) != 13:
        raise Refused(f"the header (IHDR) has {len(seen[b'IHDR'])} bytes; expected 13")
    width, height, depth, kind, compression, filters, interlace = struct.unpack(">IIBBBBB", seen[b"IHDR"])
    if depth not in _DEPTHS.get(kind, ()) or compression or filters or interlace > 1:
        raise Refused(
            f"PNG of color type {kind}, {depth} bits, compression {compression}, filters {filters} and "
            f"interlace {interlace}, which does not exist; expected a valid PNG"
        )
    header = _Header(width, height, depth, kind, bool(interlace))
    body = seen.get(b"tRNS", b"")
    if kind == 3:
        return replace(header, palette=_palette(seen.get(b"PLTE", b""), body)), ""
    if kind in (4, 6) or b"tRNS" not in seen:
        return header, ""
    if len(body) != 2 * _SAMPLES[kind]:
        return header, _NOT_READ
    # Samples as stored, of which only the bits of the depth count.
    clear = tuple(value & (2**depth - 1) for (value,) in struct.iter_unpack(">H", body))
    return replace(header, clear=clear), ""


def _palette(colors: bytes, alphas: bytes) -> NDArray[np.uint8]:
    """256 entries of RGB, or RGBA if one is not opaque; those that the file lacks are black."""
    if not colors or len(colors) % 3 or len(colors) > 768:
        raise Refused(f"a palette (PLTE) of {len(colors)} bytes; expected three for each of 1 to 256 colors")
    palette = np.zeros((256, 4), np.uint8)
    palette[:, 3] = 255
    palette[: len(colors) // 3, :3] = np.frombuffer(colors, np.uint8).reshape(-1, 3)
    alpha = np.frombuffer(alphas[: len(colors) // 3], np.uint8)
    palette[: len(alpha), 3] = alpha
    return palette if (alpha < 255).any() else palette[:, :3]


def _as_exif(chunk: Chunk) -> tuple[bytes, bytes]:
    """A chunk's name and body; as eXIf the text in which programs kept EXIF before there was that chunk."""
    keyword, _, text = chunk.body.partition(b"\0")
    if chunk.name not in (b"tEXt", b"zTXt") or keyword not in (
        b"Raw profile type exif",
        b"Raw profile type APP1",
    ):
        return chunk.name, chunk.body
    with suppress(ValueError, zlib.error):
        if chunk.name == b"zTXt":
            text = zlib.decompressobj().decompress(text[1:], _TEXT_LIMIT)
        # A name and a length on lines of their own, then hexadecimal digits.
        return b"eXIf", bytes.fromhex("".join(text.decode("ascii").split()[2:]))
    return chunk.name, chunk.body


def _orientation(exif: bytes) -> int:
    """The EXIF orientation, 1 to 8; 1 if there is none or it cannot be read."""
    found = Image.Exif()
    with suppress(Exception):  # unreadable EXIF is no reason to refuse the pixels
        found.load(exif)
        value = found.get(ExifTags.Base.Orientation)
        return value if isinstance(value, int) and 1 <= value <= 8 else 1
    return 1


def _load(header: _Header, data: bytes) -> NDArray[Any]:
    samples = _samples(header, data)
    if header.palette is not None:
        return np.take(header.palette, samples[..., 0], axis=0)
    top = np.iinfo(samples.dtype).max
    alpha = None
    if header.clear is not None:
        hidden = (samples == np.array(header.clear, samples.dtype)).all(axis=2, keepdims=True)
        alpha = np.where(hidden, 0, top).astype(samples.dtype)
    if header.depth < 8:
        samples = samples * np.uint8(255 // (2**header.depth - 1))
    return samples if alpha is None else np.concatenate([samples, alpha], axis=2)


def _samples(header: _Header, data: bytes) -> NDArray[Any]:
    """Samples as stored: (height, width, 1 | 2 | 3 | 4) of uint8, or uint16 if they have 16 bits."""
    width, height, depth = header.width, header.height, header.depth
    stream = []
    for chunk in chunks(data):
        if chunk.name == b"IDAT":
            _check(chunk)
            stream.append(chunk.body)
    passes = _ADAM7 if header.interlaced else ((0, 0, 1, 1),)
    bits = depth * _SAMPLES[header.kind]
    sizes = [(-(-(height - y) // down), -(-(width - x) // right)) for x, y, right, down in passes]
    lengths = [rows * (1 + -(-columns * bits // 8)) if columns > 0 else 0 for rows, columns in sizes]
    raw = memoryview(_inflate(b"".join(stream), sum(max(length, 0) for length in lengths)))
    samples = np.empty((height, width, _SAMPLES[header.kind]), np.uint16 if depth == 16 else np.uint8)
    at = 0
    for (x, y, right, down), (rows, columns), length in zip(passes, sizes, lengths, strict=True):
        if length > 0:
            part = raw[at : at + length]
            samples[y::down, x::right] = _unfilter(part, rows, columns, depth, header.kind)
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


def _unfilter(raw: memoryview, rows: int, columns: int, depth: int, kind: int) -> NDArray[Any]:
    """Undo the filters of the rows of one pass, by a PNG around them that is stored, not compressed.

    Filters know bytes, not pixels: less than 8 bits pass as gray of 8, a palette as gray.
    """
    count = -(-columns * depth // 8) if depth < 8 else columns
    header = struct.pack(">IIBBBBB", count, rows, max(depth, 8), 0 if kind == 3 else kind, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(raw, 0)), (b"IEND", b"")]
    file = [SIGNATURE]
    for name, body in parts:
        crc = zlib.crc32(body, zlib.crc32(name))
        file += [struct.pack(">I", len(body)), name, body, struct.pack(">I", crc)]
    found: NDArray[Any] = imagecodecs.png_decode(b"".join(file))
    if depth >= 8:
        return found.reshape(rows, columns, -1)
    shifts = np.arange(8 - depth, -1, -depth, dtype=np.uint8)
    samples = (found.reshape(rows, count, 1) >> shifts) & np.uint8(2**depth - 1)
    return samples.reshape(rows, -1)[:, :columns, np.newaxis]
