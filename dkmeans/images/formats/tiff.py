"""TIFF through tifffile: what its tags say of the samples, and the gray, RGB and alpha made of them.

Alpha that colors were multiplied by is divided out, rounded to nearest. More than 8 bits become uint16, the
others uint8, each scaled to the whole range.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from dkmeans.images.channels import eight_bits
from dkmeans.images.formats.found import CONVERTED, Chunks, Found, Refused, density_chunk, profile_chunk
from dkmeans.images.formats.inks import ink_profile, inks_to_rgb, lab_to_rgb, note_on_inks

__all__ = ["open_tiff"]

# Else Python writes to stderr what tifffile logs of odd tags.
logging.getLogger("tifffile").addHandler(logging.NullHandler())
# CCITT, LZW, JPEG, deflate, packbits, LZMA, Zstandard: codecs that never write beyond a segment's size.
_CODECS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946, 34925, 50000)
_WHITE_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB, _ICC_LAB = 0, 2, 3, 5, 6, 8, 9
# Photometric: samples before alpha.
_SAMPLES = {_WHITE_IS_ZERO: 1, 1: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3, _LAB: 3, _ICC_LAB: 3}
_SIGNED = 2  # sample format
_PREMULTIPLIED, _ALPHA = 1, 2  # extra samples
_ACROSS, _DOWN, _UNIT = 282, 283, 296  # tags of the density
_SUBFILE, _SUB_IFDS, _ICC, _DNG, _ORIENTATION = 254, 330, 34675, 50706, 274  # other tags


@dataclass(frozen=True)
class _Layout:
    """What the samples of a page are."""

    photometric: int
    bits: int
    signed: bool
    colors: int  # samples of the color
    alpha: int | None  # which sample is alpha
    premultiplied: bool
    icc: bytes | None

    @property
    def channels(self) -> int:
        return (1 if self.photometric in (0, 1) else 3) + (self.alpha is not None)

    @property
    def dtype(self) -> type[np.unsignedinteger[Any]]:
        return np.uint16 if self.bits > 8 and self.photometric != _CMYK else np.uint8

    def tags(self) -> Chunks:
        """What the colors mean, as far as they are not converted."""
        if self.photometric in (_LAB, _ICC_LAB) or (self.photometric == _CMYK and ink_profile(self.icc)):
            return CONVERTED
        return [] if self.photometric == _CMYK else profile_chunk(self.icc)

    def note(self, samples: int) -> list[str]:
        """What to say aloud."""
        left_out = samples - self.colors - (self.alpha is not None)
        said = {
            note_on_inks(self.icc) if self.photometric == _CMYK else "": self.photometric == _CMYK,
            "16 bits of CMYK reduced to 8": self.photometric == _CMYK and self.bits == 16,
            "Lab, converted to sRGB": self.photometric in (_LAB, _ICC_LAB),
            "signed samples, taken for unsigned": self.signed,
            "32-bit integers, read where all fit into 16": self.bits == 32,
            f"{left_out} channels that are no alpha, left out": left_out > 0,
        }
        return [note for note, true in said.items() if true]


def open_tiff(data: bytes) -> Found:
    """Read the tags of the first page that is no thumbnail."""
    import tifffile  # here, as it takes a while to load

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        pages: Sequence[Any] = tiff.pages
        frames = len(pages)
        index = _first_picture(pages)
        page = pages[index]
        orientation = page.tags.valueof(_ORIENTATION, 1)
        layout = _layout(page)
        density = _density(page)
    _check_segments(page, data)
    notes = layout.note(page.samplesperpixel)
    if frames > 1:
        passed = f"the {index} before it, thumbnails, passed over" if index else "first one used"
        notes.insert(
            0, f"TIFF of {frames} pages, " + (f"page {index + 1} used and {passed}" if index else passed)
        )
    return Found(
        page.imagelength,
        page.imagewidth,
        layout.channels,
        np.dtype(layout.dtype).name,
        lambda: _load(data, index, layout),
        orientation if orientation in range(1, 9) else 1,
        "; ".join(notes),
        lambda: layout.tags() + density,
    )


def _first_picture(pages: Sequence[Any]) -> int:
    """The first page that does not say it is a reduced version of another; the first if all do."""
    first = pages[0]
    if _DNG in first.tags:
        raise Refused("a DNG, a raw photo of a camera; expected a developed photo")
    for index in range(len(pages)):
        if not int(pages[index].tags.valueof(_SUBFILE, 0)) & 1:
            return index
    if _SUB_IFDS in first.tags:
        raise Refused("TIFF of thumbnails, as raw photos of cameras have; expected a developed photo")
    return 0


def _layout(page: Any) -> _Layout:
    """What the samples are; refuse what `_load` cannot turn into 8 or 16 bits."""
    photometric, codec, bits = int(page.photometric), int(page.compression), page.bitspersample
    signed, extra = page.sampleformat == _SIGNED, [int(kind) for kind in page.extrasamples]
    colors = _SAMPLES.get(photometric, page.samplesperpixel)
    depths = {_PALETTE: range(1, 9), _CMYK: (8, 16), _YCBCR: (8,), _LAB: (8,), _ICC_LAB: (8,)}
    deep = bits == 32 and photometric < 2 and page.sampleformat != 3
    unsuitable = {
        f"photometric {photometric} ({_name(page.photometric)})": photometric not in _SAMPLES
        or (photometric == _YCBCR and codec != 7),
        f"{bits} bits of sample format {page.sampleformat}": not deep
        and (bits not in depths.get(photometric, range(1, 17)) or page.sampleformat not in (None, 1, 2, 4)),
        f"compression {codec} ({_name(page.compression)})": codec not in _CODECS,
        f"{page.samplesperpixel} samples per pixel": not colors <= page.samplesperpixel <= colors + 8,
        "a volume": page.axes not in ("YX", "YXS", "SYX"),
    }
    found = [name for name, bad in unsuitable.items() if bad]
    if found:
        raise Refused(
            f"TIFF with {', '.join(found)}; expected up to 16 bits, gray, color, palette, CMYK or 8-bit Lab"
        )
    extra += [_ALPHA] * (page.samplesperpixel == colors + 1 and not extra)  # as all readers take it
    alpha = next((place for place, kind in enumerate(extra) if kind in (_PREMULTIPLIED, _ALPHA)), None)
    return _Layout(
        photometric,
        bits,
        signed,
        colors,
        None if alpha is None else colors + alpha,
        alpha is not None and extra[alpha] == _PREMULTIPLIED,
        page.tags.valueof(_ICC),
    )


def _density(page: Any) -> Chunks:
    unit = {1: "ratio", 3: "centimeter"}.get(int(page.tags.valueof(_UNIT, 2)), "inch")
    try:
        across, down = (n / d for n, d in (page.tags.valueof(code) for code in (_ACROSS, _DOWN)))
    except (TypeError, ValueError, ZeroDivisionError):  # missing, or no numbers
        return []
    return density_chunk(across, down, unit)


def _name(value: Any) -> str:
    return getattr(value, "name", "unknown")


def _check_segments(page: Any, data: bytes) -> None:
    """Refuse what is not whole, and what could unpack beyond its size."""
    segment = (page.tilelength or page.imagelength) * (page.tilewidth or page.imagewidth)
    if segment > 4 * max(page.imagelength * page.imagewidth, 2**20):
        raise Refused("TIFF with tiles much larger than its image; expected tiles of at most its size")
    plain = -(-segment * page.bitspersample * page.samplesperpixel // 8)  # the most that a segment has
    for start, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        if page.compression == 1:  # some programs write a count that is far too large
            size = min(size, plain)
        if start + size > len(data):
            raise Refused(f"TIFF truncated at byte {len(data)}; expected at least {start + size} bytes")
        if page.compression == 7 and size:
            width, height = JpegImageFile(io.BytesIO(data[start : start + size])).size
            if width * height > segment:
                raise Refused(f"TIFF with a JPEG of {height} x {width} inside; expected its own size")


def _load(data: bytes, index: int, layout: _Layout) -> NDArray[Any]:
    import tifffile  # here, as it takes a while to load

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page: Any = tiff.pages[index]
        pixels: NDArray[Any] = page.asarray(maxworkers=1)  # the caller has its own threads
        if page.axes == "SYX":
            pixels = np.moveaxis(pixels, 0, 2)
        colormap = page.colormap
    pixels = _unsigned(pixels.reshape(page.imagelength, page.imagewidth, -1), layout)
    colors = pixels[..., : layout.colors]
    if layout.photometric == _PALETTE:
        colors = np.take(_entries(colormap), colors[..., 0], axis=0)
    elif layout.photometric == _CMYK:
        colors = inks_to_rgb(_image("CMYK", eight_bits(colors)), layout.icc)
    elif layout.photometric in (_LAB, _ICC_LAB):
        # Pillow takes a and b to be signed, as TIFF has them; those of ICC are moved by 128.
        moved = np.array([0, 128, 128] if layout.photometric == _ICC_LAB else [0, 0, 0], np.uint8)
        colors = lab_to_rgb(_image("LAB", colors ^ moved))
    else:
        colors = _scaled(colors, layout)
        if layout.photometric == _WHITE_IS_ZERO:
            colors = np.iinfo(colors.dtype).max - colors
    if layout.alpha is None:
        return colors
    alpha = _scaled(pixels[..., layout.alpha : layout.alpha + 1], layout)
    alpha = eight_bits(alpha) if colors.dtype == np.uint8 else alpha
    return np.concatenate([_divided(colors, alpha) if layout.premultiplied else colors, alpha], axis=2)


def _unsigned(pixels: NDArray[Any], layout: _Layout) -> NDArray[Any]:
    """Samples as uint8 or uint16.

    Those of 8 bits that are called signed are in fact unsigned, as other readers take them; negative ones of
    16 and 32 bits would be measurements.
    """
    if layout.bits <= 8:
        return pixels.view(np.uint8)
    if layout.signed or layout.bits == 32:
        low, high = int(pixels.min()), int(pixels.max())
        if low < 0 or high > 65535:
            raise Refused(f"TIFF with values from {low} to {high}; expected 0 to 65535")
    return pixels.astype(np.uint16, copy=False)


def _entries(colormap: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """The (n, 3) colors of a palette, whose values have 16 bits by the standard, but 8 from some programs."""
    eight = colormap if colormap.max(initial=0) < 256 else colormap >> 8
    return eight.astype(np.uint8).T


def _image(mode: str, pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), pixels.tobytes())


def _scaled(values: NDArray[Any], layout: _Layout) -> NDArray[Any]:
    """Values of any number of bits on the whole range of 8 or 16."""
    if layout.bits in (8, 16, 32):
        return values
    largest, top = 2**layout.bits - 1, 255 if layout.bits < 8 else 65535
    table = (np.arange(largest + 1) * top + largest // 2) // largest
    return np.take(table.astype(np.uint8 if layout.bits < 8 else np.uint16), values)


def _divided(colors: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Colors that alpha was multiplied into, rounded to nearest; 0 where alpha is 0."""
    top = np.iinfo(colors.dtype).max
    wide = alpha.astype(np.uint64)
    quotient = (colors * np.uint64(top) + wide // 2) // np.maximum(wide, 1)
    return np.where(wide > 0, np.minimum(quotient, top), 0).astype(colors.dtype)
