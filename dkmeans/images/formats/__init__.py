"""The formats of images, one row each: how its files begin, and what reads their headers.

Formats are told by content, never by a file's name. Nothing here decodes a pixel before `Found.load` is
called, so that the caller can refuse an image by its size. Errors are those of the libraries, or `Refused`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from dkmeans.images.formats.found import Found, Refused
from dkmeans.images.formats.icon import open_icon
from dkmeans.images.formats.jpeg import open_jpeg
from dkmeans.images.formats.jpeg2000 import open_jpeg2000
from dkmeans.images.formats.pillow import (
    open_avif,
    open_bmp,
    open_gif,
    open_heif,
    open_webp,
)
from dkmeans.images.formats.png import open_png
from dkmeans.images.formats.pnm import open_pnm
from dkmeans.images.formats.tiff import open_tiff

__all__ = ["FORMATS", "SUFFIXES", "Found", "Refused", "find", "kind_of"]


class _Format(NamedTuple):
    """One format of image files that can be read.

    Attributes
    ----------
    name : str
        For messages.
    suffixes : tuple of str
        What names of its files usually end with, lower case; for messages.
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


def _begins(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.DOTALL)


_BEGINNING = 1024  # bytes that tell what a file is
_BRANDS = rb"....ftyp(?:....){0,30}?"  # of an ISO media file: its main one, a version, others it goes by
FORMATS = (
    _Format("PNG", (".png",), _begins(rb"\x89PNG\r\n\x1a\n"), open_png),
    _Format("JPEG", (".jpg", ".jpeg", ".jfif", ".jpe", ".mpo"), _begins(rb"\xff\xd8\xff"), open_jpeg),
    _Format("TIFF", (".tif", ".tiff"), _begins(rb"II[*+]\0(?!.{4}CR)|MM\0[*+]"), open_tiff, whole=True),
    _Format("WebP", (".webp",), _begins(rb"RIFF....WEBP"), open_webp, whole=True),
    _Format("GIF", (".gif",), _begins(rb"GIF8[79]a"), open_gif, whole=True),
    _Format("AVIF", (".avif",), _begins(_BRANDS + rb"avi[fs]"), open_avif, whole=True),
    _Format("HEIC", (".heic", ".heif"), _begins(rb"....ftyp(?:hei|hev|mif1|msf1)"), open_heif, whole=True),
    _Format(
        "JPEG 2000",
        (".jp2", ".j2k"),
        _begins(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
        open_jpeg2000,
        whole=True,
    ),
    _Format("ICO", (".ico", ".cur"), _begins(rb"\0\0[\x01\x02]\0[^\0]\0"), open_icon, whole=True),
    _Format("BMP", (".bmp",), _begins(rb"BM.{12}[\x0c-\xff]\0\0\0"), open_bmp),
    _Format(
        "PGM/PPM/PBM", (".pgm", ".ppm", ".pbm", ".pnm"), _begins(rb"P[1-6](?:\s*#|\s+(?:\d|\Z))"), open_pnm
    ),
)
"""A new format is one row here, and its opener."""

_OTHERS = {
    "an SVG drawing": rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*|<!DOCTYPE[^>]*>\s*)*<svg[\s>]",
    "a PDF document": rb"%PDF-",
    "a PostScript document": rb"%!PS|\xc5\xd0\xd3\xc6",
    "a Photoshop document (PSD)": rb"8BPS",
    "a JPEG XL image": rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n",
    "an OpenEXR image": rb"\x76\x2f\x31\x01",
    "a Radiance HDR image": rb"#\?(?:RADIANCE|RGBE)",
    "a GIMP image (XCF)": rb"gimp xcf",
    "a DirectDraw texture (DDS)": rb"DDS ",
    "an MNG animation": rb"\x8a[MJ]NG",
    "a PAM image (P7)": rb"P7\n",
    "a floating-point image (PFM)": rb"P[fF]\n",
    "a raw photo of a camera": rb"....ftypcrx |II\*\0.{4}CR|IIRO|IIRS|IIU\0|FUJIFILMCCD-RAW|FOVb|\0MRM",
    "a video": rb"....(?:ftyp|moov|mdat)|RIFF....AVI |\x1aE\xdf\xa3|\0\0\x01[\xba\xb3]|FLV\x01|0&\xb2",
}
"""What is known by its beginning and not read, in the words of a message."""
_KNOWN = {name: _begins(magic) for name, magic in _OTHERS.items()}
_NAMES = " or ".join([", ".join(row.name for row in FORMATS[:-1]), FORMATS[-1].name])
SUFFIXES = tuple(suffix for row in FORMATS for suffix in row.suffixes)
"""What names of images usually end with, lower case; for messages."""


def find(data: bytes, *, whole: bool) -> Found | None:
    """Read the header of `data`; None if it is the beginning of a file that must be read whole."""
    if not data:
        raise Refused(f"the file is empty (0 bytes); expected {_NAMES}")
    found = _format_of(data)
    if found is None:
        known = next((name for name, magic in _KNOWN.items() if magic.match(data[:_BEGINNING])), None)
        what = (
            f"this is {known}, which is not read"
            if known
            else f"the file begins with {data[:8]!r}, which is no image"
        )
        raise Refused(f"{what}; expected {_NAMES}")
    if not whole and found.whole:
        return None
    return found.opener(data)


def kind_of(data: bytes) -> str | None:
    """The name of the format that a file is in, by its beginning; None if that cannot be read.

    Parameters
    ----------
    data : bytes
        The beginning of a file; 1024 bytes always suffice.
    """
    found = _format_of(data)
    return None if found is None else found.name


def _format_of(data: bytes) -> _Format | None:
    return next((row for row in FORMATS if row.magic.match(data)), None)
