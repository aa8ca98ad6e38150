"""One image with its colors counted, to be painted with palettes, each painting measured, and made a file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from dkmeans.clustering.palette import Learned
from dkmeans.features.histogram import Histogram
from dkmeans.features.space import hide
from dkmeans.images.decode import COLORS, convert_color
from dkmeans.images.encode import DEFAULT_EFFORT, compact, encode_indexed_png
from dkmeans.images.measures import mse, psnr, ssim
from dkmeans.images.tags import NO_TAGS, ColorTags
from dkmeans.kernels.dither import diffuse, ordered

__all__ = ["PLAIN", "Canvas", "Painted", "Style", "as_channels", "channels_for"]


def channels_for(channels: int, colors: NDArray[np.uint8]) -> int:
    """Count the channels of an image of so many that is to hold colors of shape (n, 3 | 4), too."""
    if channels in (2, 4) or (colors.shape[1] == 4 and bool((colors[:, 3] < 255).any())):
        return 4
    return channels if (colors[:, :3] == colors[:, :1]).all() else 3


def as_channels(colors: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Give colors of shape (n, 3 | 4) so many channels: 1, 3 or 4."""
    converted: NDArray[np.uint8] = convert_color(colors[np.newaxis], COLORS[channels])[0]
    return converted


@dataclass(frozen=True)
class Style:
    """How images are painted and written, whatever their palettes.

    Attributes
    ----------
    dither : {"none", "floyd-steinberg", "ordered"}
        How pixels take colors that are not the nearest, so that their mean is right.
    strength : float
        Of the dithering, from 0 to 1.
    effort : int
        How hard to try for small files, see `dkmeans.images.effort`.
    """

    dither: Literal["none", "floyd-steinberg", "ordered"] = "none"
    strength: float = 1.0
    effort: int = DEFAULT_EFFORT


PLAIN = Style()
"""Without dithering, with the usual effort."""


@dataclass(frozen=True)
class Canvas:
    """An image that is to be painted in few colors.

    Attributes
    ----------
    image : ndarray of shape (height, width, channels), uint8
        Of clear pixels the color that hides behind all of them, else black.
    histogram : Histogram
        Of its pixels.
    style : Style
    tags : ColorTags
        What its colors mean.
    """

    image: NDArray[np.uint8]
    histogram: Histogram
    style: Style = PLAIN
    tags: ColorTags = NO_TAGS

    @classmethod
    def of(cls, image: NDArray[np.uint8], style: Style = PLAIN, tags: ColorTags = NO_TAGS) -> Self:
        """Count the colors of an image of shape (height, width, channels), uint8."""
        seen = image if _hides_one_color(image) else hide(image)
        return cls(seen, Histogram.of(seen.reshape(-1, image.shape[2])), style, tags)

    def holding(self, colors: NDArray[np.uint8]) -> Canvas:
        """The same image with as many channels as it and colors of shape (n, 3 | 4) need."""
        channels = channels_for(self.image.shape[2], colors)
        if channels == self.image.shape[2]:
            return self
        return Canvas.of(convert_color(self.image, COLORS[channels]), self.style, self.tags)

    def paint(self, learned: Learned) -> Painted:
        """Give each pixel one of some colors.

        Parameters
        ----------
        learned : Learned
            A palette, and which color of it is nearest to each of the histogram.
        """
        if self.style.dither == "floyd-steinberg":
            codes = diffuse(self.image, learned.palette, self.style.strength)
        elif self.style.dither == "ordered":
            codes = ordered(self.image, learned.palette, self.style.strength)
        else:
            pixels = self.image.reshape(-1, self.image.shape[2])
            codes = self.histogram.look_up(pixels, learned.labels.astype(np.uint8))
        codes, palette = compact(codes.reshape(self.image.shape[:2]), learned.palette)
        return Painted(self, learned, codes, palette)


def _hides_one_color(image: NDArray[np.uint8]) -> bool:
    """Whether all clear pixels have one color: then it costs nothing to keep what nobody sees."""
    hidden = image[image[..., -1] == 0] if image.shape[2] in (2, 4) else image[:0, 0]
    return bool((hidden == hidden[:1]).all())


@dataclass(frozen=True)
class Painted:
    """An image of few colors.

    Attributes
    ----------
    canvas : Canvas
        What it was before.
    learned : Learned
    codes : ndarray of shape (height, width), uint8
    palette : ndarray of shape (n_colors, channels), uint8
        The colors that occur, from dark to light.
    """

    canvas: Canvas
    learned: Learned
    codes: NDArray[np.uint8]
    palette: NDArray[np.uint8]

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The image; shape (height, width, channels), uint8."""
        found: NDArray[np.uint8] = np.take(self.palette, self.codes, axis=0)  # faster than by an index
        return found

    def psnr(self) -> float | None:
        """Measure the PSNR in dB, as `dkmeans.images.measures.compare` does; None where nothing is lost."""
        return psnr(mse(self.canvas.image, self.pixels), 255)

    def ssim(self) -> float | None:
        """Measure the SSIM, as `dkmeans.images.measures.compare` does; None for images too small for it."""
        return ssim(self.canvas.image, self.pixels)

    @cached_property
    def file(self) -> bytes:
        """The image as an indexed PNG."""
        return encode_indexed_png(self.codes, self.palette, self.canvas.tags, self.canvas.style.effort)
