"""Formats that Pillow reads: WebP, BMP, GIF, AVIF, HEIC with its plugin. JPEG and JPEG 2000 share the way."""

from __future__ import annotations

import io
import struct
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.WebPImagePlugin import WebPImageFile

from dkmeans.images.formats.found import CONVERTED, Chunks, Found, Refused, density_chunk, profile_chunk
from dkmeans.images.formats.inks import ink_profile, inks_to_rgb, note_on_inks

__all__ = [
    "eight_bit",
    "open_avif",
    "open_bmp",
    "open_gif",
    "open_heif",
    "open_webp",
    "probe",
]

# The channels of an image of each mode of Pillow that has 8 bits, without what transparency it may have.
_CHANNELS = {"1": 1, "L": 1, "LA": 1, "P": 3, "PA": 3, "RGB": 3, "RGBA": 3, "RGBX": 3, "CMYK": 3, "YCbCr": 3}
_UNITS = {1: "inch", 2: "centimeter"}  # of JFIF
_UNSPECIFIED = 2  # color primaries and transfer characteristics, by the numbers of ITU-T H.273
_SRGB = 1, 13
_quiet = threading.Lock()


def probe(plugin: Callable[..., ImageFile.ImageFile], data: bytes) -> tuple[ImageFile.ImageFile, int, str]:
    """Open `data` by a class of Pillow: the image, its EXIF orientation, a note on its frames.

    Image.open() would add nothing but a limit on pixels of its own, process-wide, that warns; ours replaces
    it. Warnings about odd metadata are dropped; that state is process-wide too, hence the lock.
    """
    orientation: object = 1
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = plugin(io.BytesIO(data), "")
        with suppress(Exception):  # unreadable EXIF is no reason to refuse the pixels
            orientation = image.getexif().get(ExifTags.Base.Orientation)
        frames = getattr(image, "n_frames", 1)
    note = f"animation of {frames} frames, first one used" if frames > 1 else ""
    return image, orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1, note


def eight_bit(
    image: ImageFile.ImageFile,
    orientation: int,
    note: str,
    load: Callable[[], Image.Image] | None = None,
    tags: Callable[[], Chunks] = list,
) -> Found:
    """What was found in a header by Pillow.

    `load` loads the pixels if that takes more than the image; `tags` are what Pillow does not tell.
    """
    if image.mode not in _CHANNELS:
        raise Refused(f"pixels of the kind {image.mode!r}; expected 8 or 16 bits, gray, color or palette")
    icc = image.info.get("icc_profile")
    clear = image.has_transparency_data
    if image.mode == "CMYK":
        note = "; ".join(filter(None, [note, note_on_inks(icc)]))

    def pixels() -> NDArray[Any]:
        loaded = image if load is None else load()
        if image.mode == "CMYK":
            return inks_to_rgb(loaded, icc)
        return np.asarray(loaded.convert(("L" if _CHANNELS[image.mode] == 1 else "RGB") + "A" * clear))

    channels = _CHANNELS[image.mode] + clear
    return Found(
        image.height,
        image.width,
        channels,
        "uint8",
        pixels,
        orientation,
        note,
        lambda: _tags(image) + tags(),
    )


def _tags(image: ImageFile.ImageFile) -> Chunks:
    """Profile and density; instead of the profile of inks what they became."""
    info, icc = image.info, image.info.get("icc_profile")
    converted = CONVERTED if ink_profile(icc) else []
    chunks = converted if image.mode == "CMYK" else profile_chunk(icc)
    unit, density = "inch", info.get("dpi")
    if "jfif_density" in info:
        unit, density = _UNITS.get(info["jfif_unit"], "ratio"), info["jfif_density"]
    across, down = density or (0, 0)
    return chunks + density_chunk(across, down, unit)


def _media_colors(data: bytes) -> Chunks:
    """The colors that an ISO media file tells by numbers (nclx), as the same numbers in cICP."""
    at = data.find(b"colrnclx") + 8
    if at < 8 or len(data) < at + 4:
        return []
    primaries, transfer = struct.unpack_from(">HH", data, at)
    if not (primaries < 256 and transfer < 256) or _UNSPECIFIED in (primaries, transfer):
        return []
    return (
        [(b"sRGB", b"\0")]
        if (primaries, transfer) == _SRGB
        else [(b"cICP", bytes([primaries, transfer, 0, 1]))]
    )


def _gif_profile(data: bytes) -> Chunks:
    """The ICC profile of an application extension."""
    head = b"\x21\xff\x0bICCRGBG1012"
    at, parts = data.find(head) + len(head), []
    if at < len(head):
        return []
    while at < len(data) and (size := data[at]):
        parts.append(data[at + 1 : at + 1 + size])
        at += 1 + size
    return profile_chunk(b"".join(parts))


def open_webp(data: bytes) -> Found:
    """Read a WebP; of an animation the first frame."""
    return eight_bit(*probe(WebPImageFile, data))


def open_bmp(data: bytes) -> Found:
    """Read a BMP, if its palette is there: colors that are all gray make a gray image."""
    start = int.from_bytes(data[10:14], "little")
    if len(data) < start:
        raise Refused(f"BMP truncated at byte {len(data)}; expected pixels from byte {start} on")
    return eight_bit(*probe(BmpImageFile, data))


def open_gif(data: bytes) -> Found:
    """Read the first frame of a GIF, as it lies on its canvas."""
    return eight_bit(*probe(GifImageFile, data), tags=lambda: _gif_profile(data))


def open_avif(data: bytes) -> Found:
    """Read an AVIF."""
    return _media(AvifImageFile, data)


def open_heif(data: bytes) -> Found:
    """Read a HEIC or HEIF, where that is installed."""
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise Refused(
            "a HEIC image, which needs a package that is not installed; "
            "expected it after: pip install 'dkmeans[heif]'"
        ) from None
    return _media(HeifImageFile, data, "{} pictures in one file, the main one used")


def _media(plugin: Callable[..., ImageFile.ImageFile], data: bytes, several: str = "") -> Found:
    """Read an ISO media file; more than 8 bits become 8 there. `several`: the note on more pictures."""
    image, orientation, note = probe(plugin, data)
    if note and several:
        note = several.format(getattr(image, "n_frames", 1))
    at = data.find(b"pixi") + 8  # a version, then how many channels, then the bits of each
    bits = max(data[at + 1 : at + 1 + data[at]], default=8) if 8 <= at < len(data) else 8
    if bits > 8:
        note = "; ".join(filter(None, [note, f"{bits} bits reduced to 8"]))
    return eight_bit(image, orientation, note, tags=lambda: _media_colors(data))
