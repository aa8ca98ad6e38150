"""Images made again: from codes that are stored, or by a palette, in a task; each with what it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.coded import CodedPart
from dkmeans.artefacts.folder import read_file
from dkmeans.errors import ImageError
from dkmeans.features.histogram import Histogram
from dkmeans.features.space import hide
from dkmeans.images.collections import Images, Part
from dkmeans.images.decode import SkippedImage
from dkmeans.images.encode import compact
from dkmeans.images.palettes import PNG_COLORS
from dkmeans.images.picture import Picture
from dkmeans.images.tags import NO_TAGS, ColorTags
from dkmeans.kernels import exact
from dkmeans.stages.shared.canvas import PLAIN, Canvas, Style
from dkmeans.stages.shared.palettes import Palettes
from dkmeans.storage.store import Store

__all__ = [
    "Copying",
    "Decoding",
    "Made",
    "Quantizing",
    "Remaking",
    "n_colors",
]

_UNCOMPRESSED = (b"P", b"BM")
"""First bytes of PNM and BMP files."""
_SLICE = 1 << 16
"""Rows whose distances are computed at a time."""


@dataclass(frozen=True)
class Made:
    """An image made again.

    Attributes
    ----------
    pixels : ndarray of shape (height, width, channels), uint8 or uint16
    codes, palette : ndarray of shape (height, width), and (n_colors, channels), uint8; or None
        The same as at most 256 colors, from dark to light; behind them those that are kept and do not occur.
    original : ndarray of the shape of `pixels`, or None
        The image before, where it is to be compared.
    n_source_colors : int or None
        Distinct colors of the original.
    inertia : float or None
        Sum of the squared distances of its pixels, or patches, to their centers before these are rounded.
    n_iter : int or None
        Iterations to a palette of its own.
    converged : bool or None
        Whether these ended before the most that are allowed.
    file : bytes or None
        The image as a file, where it is one already.
    tags : ColorTags
        Profile and density, for the file that is made.
    """

    pixels: NDArray[Any]
    codes: NDArray[np.uint8] | None = None
    palette: NDArray[Any] | None = None
    original: NDArray[Any] | None = None
    n_source_colors: int | None = None
    inertia: float | None = None
    n_iter: int | None = None
    converged: bool | None = None
    file: bytes | None = None
    tags: ColorTags = NO_TAGS


class Remaking(Protocol):
    """How a task makes some images again."""

    def images(self) -> Iterator[Made | SkippedImage]:
        """Yield each image, or why it cannot be decoded."""

    def original(self, position: int) -> bytes | None:
        """The file of one image as it was found, where that may take the place of what is made of it."""


@dataclass(frozen=True)
class Quantizing:
    """Images that are reduced to few colors in the task.

    Attributes
    ----------
    names : tuple of str
        Of the images.
    part : Part
        The images.
    palettes : Palettes
    style : Style
        How they are painted and written.
    """

    names: tuple[str, ...]
    part: Part
    palettes: Palettes
    style: Style = PLAIN

    def images(self) -> Iterator[Made | SkippedImage]:
        """Yield each image; see `Remaking`. One that has no palette of so few colors is skipped."""
        for name, image in zip(self.names, self.part.read(), strict=True):
            if isinstance(image, SkippedImage):
                yield image
                continue
            try:
                yield self._made(image)
            except ImageError as error:
                yield SkippedImage(name, str(error))

    def original(self, position: int) -> bytes | None:
        """The file of one image; None of one in a stack, or of a format without compression.

        Such a file is smaller than a PNG only where the image is tiny, and PNG files were asked for.
        """
        file = self.part.file(position)
        return None if file is None or file.startswith(_UNCOMPRESSED) else file

    def _made(self, image: Picture) -> Made:
        painted = self.palettes.paint(Canvas.of(image.pixels, self.style, image.tags))
        canvas, learned = painted.canvas, painted.learned
        return Made(
            painted.pixels,
            painted.codes,
            painted.palette,
            canvas.image,
            len(canvas.histogram.colors),
            learned.inertia,
            learned.n_iter,
            learned.converged,
            painted.file,
        )


@dataclass(frozen=True)
class Decoding:
    """Images that are put together from codes.

    Attributes
    ----------
    part : CodedPart
    originals : Images or None
        The images before, where they are to be compared.
    centers : ndarray of shape (n_clusters, n_features), float32, or None
        Of the codes, before they are rounded, where the inertia of each image is wanted.
    indexed : bool
        Whether codes of few colors are wanted besides the pixels.
    """

    part: CodedPart
    originals: Images | None = None
    centers: NDArray[np.float32] | None = None
    indexed: bool = True

    def original(self, position: int) -> bytes | None:
        """None: codes of a dataset or an archive have no file."""
        return None

    def images(self) -> Iterator[Made | SkippedImage]:
        """Yield each image; see `Remaking`."""
        originals = repeat(None) if self.originals is None else self.originals.images()
        palette = self.part.coded.palette
        small = palette is not None and palette.dtype == np.uint8 and len(palette) <= PNG_COLORS
        for position, (pixels, original) in enumerate(zip(self.part.images(), originals, strict=False)):
            codes = colors = None
            if self.indexed and small and palette is not None:
                codes, colors = compact(self.part.codes_of(position).reshape(pixels.shape[:2]), palette)
            made = Made(pixels, codes, colors, original, tags=self.part.tags[position])
            if self.centers is None or original is None:
                yield made
                continue
            space = self.part.coded.manifest.space
            assert space is not None
            inertia = _inertia(space.to_rows(original), self.part.codes_of(position), self.centers)
            inertia /= space.unit**2
            yield replace(made, n_source_colors=n_colors(original), inertia=inertia)


@dataclass(frozen=True)
class Copying:
    """Images that are files already, of so many `channels`, 0 if not known; `checks` are their CRC-32C."""

    folder: Store
    keys: tuple[str, ...]
    checks: tuple[int, ...]
    channels: tuple[int, ...]

    def original(self, position: int) -> bytes | None:
        """None: the file is copied already."""
        return None

    def images(self) -> Iterator[Made | SkippedImage]:
        """Yield each image as the file that it is; see `Remaking`."""
        for key, check, channels in zip(self.keys, self.checks, self.channels, strict=True):
            yield Made(np.empty((0, 0, channels), np.uint8), file=read_file(self.folder, key, check))


def n_colors(image: NDArray[Any]) -> int:
    """Distinct colors of an image of shape (height, width, channels); what is clear is one of them."""
    pixels = hide(image).reshape(-1, image.shape[2])
    return len(Histogram.of(pixels).colors if image.dtype == np.uint8 else np.unique(pixels, axis=0))


def _inertia(rows: NDArray[Any], codes: NDArray[Any], centers: NDArray[np.float32]) -> float:
    """Sum of the squared distances of rows to their centers: of integers, so whatever the order."""
    bits, total = exact.fraction_bits(rows.dtype), 0
    integers = exact.grid_integers(centers, rows.dtype)
    for start in range(0, len(rows), _SLICE):
        part = slice(start, start + _SLICE)
        gaps = (rows[part].astype(np.int64) << bits) - integers[codes[part]]
        squares = np.einsum("ij,ij->i", gaps, gaps)  # below 2^63, as in `dkmeans.kernels.exact`
        high, low = squares >> 32, squares & ((1 << 32) - 1)
        total += (int(high.sum()) << 32) + int(low.sum())
    return total / (1 << 2 * bits)
