"""The formats of images: each one's header, and how to load its pixels later.

PNG, JPEG, WebP, BMP and PNM go through Pillow, TIFF through tifffile, and 16-bit PNG through imagecodecs,
because Pillow reduces it to 8 bits. Nothing here decodes a pixel before `Found.load` is called, so that the
caller can refuse an image by its size. Errors are those of the libraries, or `Refused`.
"""

from __future__ import annotations

import io
import re
import struct
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.WebPImagePlugin import WebPImageFile

__all__ = ["SUFFIXES", "Found", "Refused", "find", "is_image"]


class Refused(Exception):
    """Says what was found and what was expected; the caller adds the key and the remedy."""


@dataclass(frozen=True)
class Found:
    """An image whose header was read: its size as stored, and how to load the pixels."""

    height: int
    width: int
    dtype: str
    load: Callable[[], NDArray[Any]]
    orientation: int = 1
    note: str = ""
    channels: int = 3


def find(data: bytes, *, whole: bool) -> Found | None:
    """Read the header of `data`; None if it is the beginning of a file that must be read whole."""
    if not data:
        raise Refused(f"the file is empty (0 bytes); expected {_NAMES}")
    found = next((row for row in _FORMATS if row.magic.match(data)), None)
    if found is None:
        raise Refused(f"the file begins with {data[:8]!r}, which is no image; expected {_NAMES}")
    if not whole and found.whole:
        return None
    return found.opener(data)


def is_image(beginning: bytes) -> bool:
    """Whether a file of any name begins as an image does; about a thousand bytes tell."""
    for row in _FORMATS:
        if magic := row.magic.match(beginning):
            if len(magic[0]) > 3 or not beginning[:1].isascii():
                return True
            try:  # so few letters a text may begin with too: the header decides
                row.opener(beginning)
            except Exception:
                return False
            return True
    return False


_quiet = threading.Lock()


def _probe(plugin: type[ImageFile.ImageFile], data: bytes) -> tuple[ImageFile.ImageFile, int, str]:
    """Open `data` by a class of Pillow: the image, its EXIF orientation, a note on its frames.

    Image.open() would add nothing but a limit on pixels of its own, process-wide, that warns; ours replaces
    it. Warnings about odd metadata are dropped; that state is process-wide too, hence the lock.
    """
    orientation: object = 1
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = plugin(io.BytesIO(data), "")
        with suppress(Exception):  # unreadable EXIF is no reason to refuse the pixels
            # Not image.getexif(), which for a PNG decodes the pixels to look for EXIF behind them.
            orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    frames = getattr(image, "n_frames", 1)
    note = f"animation of {frames} frames, first one used" if frames > 1 else ""
    return image, orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1, note


def _eight_bit(image: ImageFile.ImageFile, orientation: int, note: str) -> Found:
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK"):
        raise Refused(f"pixels of the kind {image.mode!r}; expected 8 or 16 bits, gray, color or palette")

    wanted = ("L" if image.mode in ("1", "L", "LA") else "RGB") + "A" * image.has_transparency_data

    def load() -> NDArray[Any]:
        return np.asarray(image.convert(wanted))

    return Found(image.height, image.width, "uint8", load, orientation, note, len(wanted))


def _open_png(data: bytes) -> Found:
    image, orientation, note = _probe(PngImageFile, data)
    width, height, depth = struct.unpack_from(">IIB", data, 16)  # IHDR comes first
    if data[12:16] != b"IHDR" or image.size != (width, height):
        raise Refused("the header (IHDR) is not at the beginning of this PNG; expected a valid PNG")
    if depth != 16:
        return _eight_bit(image, orientation, note)
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[data[25]] + (data[25] in (0, 2) and image.has_transparency_data)
    return Found(height, width, "uint16", lambda: imagecodecs.png_decode(data), orientation, note, channels)


def _open_jpeg(data: bytes) -> Found:
    return _eight_bit(*_probe(JpegImageFile, data))


def _open_webp(data: bytes) -> Found:
    return _eight_bit(*_probe(WebPImageFile, data))


def _open_bmp(data: bytes) -> Found:
    return _eight_bit(*_probe(BmpImageFile, data))


_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_PNM = re.compile(rb"P(?:[14](?:%b\d+){2}|([2356])%b(\d+)%b(\d+)%b(\d+))\s" % (_GAP, _GAP, _GAP, _GAP))


def _open_pnm(data: bytes) -> Found:
    header = _PNM.match(data)
    if header is None:
        raise Refused("the PNM header is broken; expected width, height and largest value")
    kind, width, height, largest = header.groups()
    if kind is None or int(largest) <= 255:
        return _eight_bit(*_probe(PpmImageFile, data))
    if kind not in b"56" or int(largest) != 65535:
        raise Refused(
            f"PNM of kind P{kind.decode()} with values up to {int(largest)}; "
            "expected up to 255, or 65535 in binary (P5, P6)"
        )
    shape = int(height), int(width), 1 if kind == b"5" else 3

    def load() -> NDArray[Any]:
        pixels = np.frombuffer(data, ">u2", int(np.prod(shape)), header.end())
        return pixels.reshape(shape).astype(np.uint16)

    return Found(shape[0], shape[1], "uint16", load, channels=shape[2])


def _open_tiff(data: bytes) -> Found:
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page: Any = tiff.pages[0]  # Any: its type admits the frames of series, which the first page is not
        frames = len(tiff.pages)
        orientation = page.tags.valueof(274, 1)
    _check_tiff(page, data)
    note = f"TIFF of {frames} pages, first one used" if frames > 1 else ""
    dtype = "uint16" if page.bitspersample == 16 else "uint8"
    if orientation not in range(1, 9):
        orientation = 1
    channels = 1 if page.photometric in (0, 1) else 3
    channels += 2 in map(int, page.extrasamples)
    load = partial(_load_tiff, data)
    return Found(page.imagelength, page.imagewidth, dtype, load, orientation, note, channels)


# CCITT, LZW, JPEG, deflate, packbits, LZMA, Zstandard: codecs that never write beyond a segment's size.
_TIFF_CODECS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946, 34925, 50000)
_TIFF_SAMPLES = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}  # photometric: channels before alpha


def _check_tiff(page: Any, data: bytes) -> None:
    """Refuse what `_load_tiff` cannot turn into 8 or 16 bits, and what could unpack beyond its size."""
    photometric, codec, bits = int(page.photometric), int(page.compression), page.bitspersample
    extra = page.samplesperpixel - _TIFF_SAMPLES.get(photometric, page.samplesperpixel + 1)
    unsuitable = {
        f"{bits} bits of sample format {page.sampleformat}": bits not in (1, 2, 4, 8, 16)
        or page.sampleformat not in (None, 1),
        f"photometric {photometric}": photometric not in _TIFF_SAMPLES
        or (photometric == 6 and codec != 7)
        or (photometric in (3, 5) and bits > 8),
        f"compression {codec}": codec not in _TIFF_CODECS,
        f"{page.samplesperpixel} samples per pixel": extra not in (0, 1) or (extra == 1 and photometric > 2),
        "colors multiplied by alpha": 1 in map(int, page.extrasamples),
        "a volume": page.axes not in ("YX", "YXS", "SYX"),
    }
    found = [name for name, bad in unsuitable.items() if bad]
    if found:
        raise Refused(f"TIFF with {', '.join(found)}; expected unsigned 8 or 16 bits, gray, color or palette")
    segment = (page.tilelength or page.imagelength) * (page.tilewidth or page.imagewidth)
    if segment > 4 * max(page.imagelength * page.imagewidth, 2**20):
        raise Refused("TIFF with tiles much larger than its image; expected tiles of at most its size")
    for start, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        if start + size > len(data):
            raise Refused(f"TIFF truncated at byte {len(data)}; expected at least {start + size} bytes")
        if codec == 7 and size:
            width, height = JpegImageFile(io.BytesIO(data[start : start + size])).size
            if width * height > segment:
                raise Refused(f"TIFF with a JPEG of {height} x {width} inside; expected its own size")


def _load_tiff(data: bytes) -> NDArray[Any]:
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page: Any = tiff.pages[0]
        pixels: NDArray[Any] = page.asarray(maxworkers=1)  # the caller has its own threads
        if page.axes == "SYX":
            pixels = np.moveaxis(pixels, 0, 2)
        if page.photometric == 3:
            # The color map is uint16 by the standard, and 8-bit values are its high bytes.
            palette: NDArray[Any] = (page.colormap >> 8).astype(np.uint8).T
            return palette[pixels.astype(np.intp)]
    if page.bitspersample < 8:
        pixels = pixels.astype(np.uint8) * np.uint8(255 // (2**page.bitspersample - 1))
    if page.photometric == 0:  # white is zero
        pixels = pixels.reshape(page.imagelength, page.imagewidth, -1)
        pixels[..., 0] = np.iinfo(pixels.dtype).max - pixels[..., 0]
    if page.photometric == 5:
        size = page.imagewidth, page.imagelength
        return np.asarray(Image.frombytes("CMYK", size, pixels.tobytes()).convert("RGB"))
    if page.extrasamples and int(page.extrasamples[0]) != 2:  # a channel that is no alpha
        pixels = pixels[..., :-1]
    return pixels


class _Format(NamedTuple):
    """One format of image files.

    Attributes
    ----------
    name : str
        For messages.
    suffixes : tuple of str
        Of the files that are taken for images, lower case.
    magic : re.Pattern
        How the bytes of such a file begin.
    opener : callable
        Reads the header of all the bytes.
    whole : bool
        Whether that takes the whole file, as what it tells may lie behind the pixels.
    """

    name: str
    suffixes: tuple[str, ...]
    magic: re.Pattern[bytes]
    opener: Callable[[bytes], Found]
    whole: bool = False


_FORMATS = (
    _Format("PNG", (".png",), re.compile(rb"\x89PNG\r\n\x1a\n"), _open_png),
    _Format("JPEG", (".jpg", ".jpeg"), re.compile(rb"\xff\xd8\xff"), _open_jpeg),
    _Format("TIFF", (".tif", ".tiff"), re.compile(rb"II[*+]\0|MM\0[*+]"), _open_tiff, whole=True),
    _Format("WebP", (".webp",), re.compile(rb"RIFF....WEBP", re.DOTALL), _open_webp, whole=True),
    _Format("BMP", (".bmp",), re.compile(rb"BM"), _open_bmp),
    _Format("PGM/PPM/PBM", (".pgm", ".ppm", ".pbm", ".pnm"), re.compile(rb"P[1-6][\s#]"), _open_pnm),
)
"""A new format is one row here, and its opener."""
_NAMES = " or ".join([", ".join(row.name for row in _FORMATS[:-1]), _FORMATS[-1].name])
SUFFIXES = tuple(suffix for row in _FORMATS for suffix in row.suffixes)
"""Of the files that are taken for images, lower case."""
