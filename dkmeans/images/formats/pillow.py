"""Formats that Pillow reads: WebP, BMP, GIF, AVIF, JPEG 2000, HEIC with its plugin; JPEG shares the way."""

from __future__ import annotations

import io
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
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.WebPImagePlugin import WebPImageFile

from dkmeans.images.formats.found import Found, Refused
from dkmeans.images.formats.inks import inks_to_rgb, note_on_inks

__all__ = [
    "eight_bit",
    "open_avif",
    "open_bmp",
    "open_gif",
    "open_heif",
    "open_jpeg2000",
    "open_webp",
    "probe",
]

# The channels of an image of each mode of Pillow that has 8 bits, without what transparency it may have.
_CHANNELS = {"1": 1, "L": 1, "LA": 1, "P": 3, "PA": 3, "RGB": 3, "RGBA": 3, "RGBX": 3, "CMYK": 3, "YCbCr": 3}
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
) -> Found:
    """What was found in a header by Pillow; `load` loads the pixels if that takes more than the image."""
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
    return Found(image.height, image.width, channels, "uint8", pixels, orientation, note)


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
    return eight_bit(*probe(GifImageFile, data))


def open_avif(data: bytes) -> Found:
    """Read an AVIF; more than 8 bits become 8."""
    return eight_bit(*probe(AvifImageFile, data))


def open_heif(data: bytes) -> Found:
    """Read a HEIC or HEIF, where that is installed."""
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise Refused(
            "a HEIC image, which needs a package that is not installed; "
            "expected it after: pip install 'dkmeans[heif]'"
        ) from None
    return eight_bit(*probe(HeifImageFile, data))


def open_jpeg2000(data: bytes) -> Found:
    """Read a JPEG 2000."""
    return eight_bit(*probe(Jpeg2KImageFile, data))
