"""PNG by its own rules: chunks, palette and transparency are read here, rows by `rows`.

A decoder is given nothing but rows of bytes to unfilter, so text of any length, a damaged profile or any
other chunk that the pixels do not need cannot stop it, and no library has anything to warn about. Inflating
by libdeflate and unfiltering by libpng is also faster than libpng alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from dkmeans.images.formats.found import Found, Refused
from dkmeans.images.formats.rows import SAMPLES, SIGNATURE, unpack

__all__ = ["Chunk", "chunks", "open_png"]

_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_TEXT_LIMIT = 2**20  # bytes of EXIF in a text; an orientation takes some dozens
_NOT_READ = "its transparency (tRNS) is damaged and left out"


class Chunk(NamedTuple):
    """One chunk: whether all of it is in the file, and the checksum that it has there."""

    name: bytes
    body: bytes
    whole: bool
    crc: int

    @property
    def intact(self) -> bool:
        """Whether its checksum is right; computed when it is asked for, as pixels can be most of a file."""
        return self.whole and zlib.crc32(self.body, zlib.crc32(self.name)) == self.crc


def chunks(data: bytes) -> Iterator[Chunk]:
    """Walk the chunks of a PNG up to IEND, or to where the file ends."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        end = at + 8 + size
        body = data[at + 8 : end]
        whole = end + 4 <= len(data)
        crc = int.from_bytes(data[end : end + 4])
        yield Chunk(name, body, whole, crc)
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
        return SAMPLES[self.kind] + (self.clear is not None)


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
    if len(body) != 2 * SAMPLES[kind]:
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
    stream = []
    for chunk in chunks(data):
        if chunk.name == b"IDAT":
            _check(chunk)
            stream.append(chunk.body)
    shape = header.height, header.width
    samples = unpack(b"".join(stream), shape, header.depth, header.kind, interlaced=header.interlaced)
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
