"""Pixels as a histogram of colors: at most 2^24 of 8-bit RGB, 2^8 of gray, however many pixels there are.

Exact k-means on the distinct colors, each counted as often as it occurs, is exact k-means on the pixels: the
sums are the same integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dkmeans.compute.threads import share
from dkmeans.kernels.colors import color_labels, count_colors, merge_colors

__all__ = ["COUNTED", "Histogram", "countable", "is_worth_counting", "pack_colors", "unpack_colors"]

COUNTED = 1 << 19
"""Rows of one block from which a table of all colors costs less than sorting them, or working on each."""

_PART = 1 << 23
"""Pixels that a thread looks up at a time, where there are several: a table is filled for each."""


def countable(dtype: np.dtype[Any], n_features: int) -> bool:
    """Whether a table can hold all colors of such rows: 8-bit gray or RGB."""
    return dtype == np.uint8 and n_features in (1, 3)


def is_worth_counting(dtype: np.dtype[Any], n_features: int, n_rows: int) -> bool:
    """Whether a block of so many rows is worked on faster by its distinct colors."""
    return countable(dtype, n_features) and n_rows >= COUNTED


def pack_colors(colors: NDArray[Any]) -> NDArray[np.uint32]:
    """Make each color of shape (n, channels) a number, its first channel highest; shape (n,)."""
    wide = np.zeros((len(colors), 4), np.uint8)
    wide[:, 4 - colors.shape[1] :] = colors
    return wide.view(">u4").ravel().astype(np.uint32)


def unpack_colors(numbers: NDArray[np.uint32], channels: int) -> NDArray[np.uint8]:
    """Make colors of shape (n, channels) of their numbers."""
    return np.ascontiguousarray(numbers.astype(">u4").view(np.uint8).reshape(-1, 4)[:, 4 - channels :])


@dataclass(frozen=True)
class Histogram:
    """The distinct colors of some pixels, gray, RGB or RGBA, and how often each occurs.

    Attributes
    ----------
    colors : ndarray of shape (n_colors, channels), uint8
        In lexicographic order.
    counts : ndarray of shape (n_colors,), int64
    """

    colors: NDArray[np.uint8]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, pixels: NDArray[np.uint8], device: str = "cpu") -> Self:
        """Count the colors of pixels of shape (n_pixels, 1 | 3 | 4), fewer than 2^32.

        Parameters
        ----------
        pixels : ndarray of shape (n_pixels, channels), uint8
        device : {"cpu", "gpu", "auto"}
            Where many pixels are counted, as in `dkmeans.kernels.load`. Few ones, and RGBA, are sorted here.
        """
        channels = pixels.shape[1]
        if is_worth_counting(pixels.dtype, channels, len(pixels)):
            return cls(*count_colors(pixels, device))
        numbers, counts = np.unique(pack_colors(pixels), return_counts=True)
        return cls(unpack_colors(numbers, channels), counts.astype(np.int64, copy=False))

    @classmethod
    def merge(cls, parts: list[Self]) -> Self:
        """Add the histograms of several parts of the pixels, at least one."""
        if len(parts) == 1:
            return parts[0]
        channels = parts[0].colors.shape[1]
        if countable(parts[0].colors.dtype, channels):
            return cls(*merge_colors([(part.colors, part.counts) for part in parts]))
        packed = pack_colors(np.concatenate([part.colors for part in parts]))
        numbers, inverse = np.unique(packed, return_inverse=True)
        counts = np.zeros(len(numbers), np.int64)
        np.add.at(counts, inverse, np.concatenate([part.counts for part in parts]))
        return cls(unpack_colors(numbers, channels), counts)

    def look_up(self, pixels: NDArray[np.uint8], labels: NDArray[Any], device: str = "cpu") -> NDArray[Any]:
        """Give each of the pixels, of which these are the colors, the label of its color.

        Parameters
        ----------
        pixels : ndarray of shape (n_pixels, channels), uint8
            No color that the histogram lacks is among them.
        labels : ndarray of shape (n_colors,), integer
            int32 if `device` is a GPU.
        device : {"cpu", "gpu", "auto"}

        Returns
        -------
        ndarray of shape (n_pixels,), type of `labels`
        """
        if countable(pixels.dtype, pixels.shape[1]):
            parts = [pixels[start : start + _PART] for start in range(0, len(pixels), _PART)] or [pixels]
            return np.concatenate(
                share(color_labels, [(part, self.colors, labels, device) for part in parts])
            )
        return np.asarray(labels[np.searchsorted(pack_colors(self.colors), pack_colors(pixels))])
