"""JPEG, with or without its end marker; of several pictures in one file (MPO) the first."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import suppress

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from dkmeans.images.formats.found import Found, Refused
from dkmeans.images.formats.pillow import eight_bit, probe

__all__ = ["open_jpeg"]

_END = b"\xff\xd9"
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)  # within what is coded, none but the next
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers that begin a frame
_READ = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # those of coefficients, in sequence or progressive
_SCAN = 0xDA
_NUMBER_OF_IMAGES = 0xB001  # in the index of an MPO
# What follows pixels that are whole does not change them, whatever bits it is.
_AFTER = [bytes([value]) * 64 + _END for value in (0x00, 0x5A, 0x93, 0xE6)]


def open_jpeg(data: bytes) -> Found:
    """Read the segments before the pixels."""
    _check_kind(data)
    image, orientation, note = probe(JpegImageFile, data)
    assert isinstance(image, JpegImageFile)
    if (pictures := _pictures(image)) > 1:
        note = f"{pictures} pictures in one file (MPO), first one used"
    return eight_bit(image, orientation, note, lambda: _loaded(image, data))


def _check_kind(data: bytes) -> None:
    """Refuse what Pillow cannot read, by its name."""
    frame = next(((marker, body[:1]) for marker, body in _segments(data) if marker in _FRAMES), None)
    if frame and (frame[0] not in _READ or frame[1] != b"\x08"):
        kind = f"{int.from_bytes(frame[1])} bits, of the kind SOF{frame[0] - 0xC0}"
        raise Refused(f"JPEG of {kind}, as in medicine; expected 8 bits, baseline or progressive")


def _pictures(image: JpegImageFile) -> int:
    """How many pictures the file says that it holds (MPO)."""
    with suppress(Exception):  # an index that is damaged is no reason to refuse the first picture
        return int((image._getmp() or {}).get(_NUMBER_OF_IMAGES, 1))
    return 1


def _loaded(image: ImageFile.ImageFile, data: bytes) -> Image.Image:
    """The image with its pixels, also if the end marker is all that the file lacks.

    Raises
    ------
    OSError, Refused
        If pixels are missing.
    """
    coded = data.rstrip(b"\0")
    if len(coded) < len(data) and not coded.endswith(_END):
        # Pillow would take zeros, which fill up a download that broke off, for pixels.
        if picture := _without_end(coded):
            return picture
        raise Refused("JPEG truncated: zeros stand in place of its last pixels; expected a whole image")
    try:
        image.load()
        return image
    except OSError:
        if picture := _without_end(coded):
            return picture
        raise


def _without_end(coded: bytes) -> JpegImageFile | None:
    """The image of a file without end marker; None if more than that is missing."""
    coded += b"\0" * coded.endswith(b"\xff")
    if not _all_coded(coded):
        return None
    pictures = [JpegImageFile(io.BytesIO(coded + after)) for after in _AFTER]
    # If it takes more bits to tell the pixels, they differ with what comes next.
    return pictures[0] if len({picture.tobytes() for picture in pictures}) == 1 else None


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The markers that have a segment behind them, with its body, up to the end of the first picture."""
    at = 2
    while (found := _MARKER.search(data, at)) and len(data) >= found.end() + 2:
        marker, start = found[1][0], found.end()
        if marker == _END[1]:
            return
        at = start + int.from_bytes(data[start : start + 2])
        yield marker, data[start + 2 : at]


def _all_coded(data: bytes) -> bool:
    """Whether the scans hold every coefficient of every component to its last bit."""
    missing: set[tuple[int, int]] = set()
    for marker, body in _segments(data):
        if marker in _FRAMES:
            missing = {(body[6 + 3 * i], k) for i in range(body[5]) for k in range(64)}
        elif marker == _SCAN:
            count = body[0]
            first, last, bits = body[1 + 2 * count : 4 + 2 * count]
            if bits & 15 == 0:
                missing -= {(body[1 + 2 * i], k) for i in range(count) for k in range(first, last + 1)}
    return not missing
