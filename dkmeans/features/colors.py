"""Pixels as counts of colors: at most 2^24 of 8-bit RGB, 2^8 of gray, however many pixels there are.

Exact k-means on the distinct colors, each counted as often as it occurs, is exact k-means on the pixels: the
sums are the same integers.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels import uses_gpu
from dkmeans.kernels.jit import inlined, jit

__all__ = ["color_labels", "count_colors", "countable", "merge_colors"]


def countable(dtype: np.dtype[Any], n_features: int) -> bool:
    """Whether rows of this kind are few enough colors to be counted: 8-bit gray or RGB."""
    return dtype == np.uint8 and n_features in (1, 3)


@inlined
def _number(colors: Any, row: Any) -> Any:
    """A color as a number, its first channel highest."""
    number = np.uint32(0)
    for channel in range(colors.shape[1]):
        number = number << np.uint32(8) | np.uint32(colors[row, channel])
    return number


@jit
def _count(pixels: Any, counts: Any) -> None:
    for pixel in range(pixels.shape[0]):
        counts[_number(pixels, pixel)] += 1


@jit
def _add(colors: Any, times: Any, counts: Any) -> None:
    for color in range(colors.shape[0]):
        counts[_number(colors, color)] += times[color]


@jit
def _list(counts: Any, colors: Any, times: Any) -> None:
    at = 0
    channels = colors.shape[1]
    for number in range(counts.size):
        if counts[number]:
            times[at] = counts[number]
            for channel in range(channels):
                colors[at, channel] = number >> 8 * (channels - 1 - channel) & 255
            at += 1


@jit
def _look_up(pixels: Any, colors: Any, labels: Any, table: Any, found: Any) -> None:
    for color in range(colors.shape[0]):
        table[_number(colors, color)] = labels[color]
    for pixel in range(pixels.shape[0]):
        found[pixel] = table[_number(pixels, pixel)]


def _cuda() -> Any:
    return importlib.import_module("dkmeans.kernels.cuda")


def _listed(counts: NDArray[Any], channels: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    n_colors = int(np.count_nonzero(counts))
    colors, times = np.empty((n_colors, channels), np.uint8), np.empty(n_colors, np.int64)
    _list(counts, colors, times)
    return colors, times


def count_colors(
    pixels: NDArray[np.uint8], device: str = "cpu"
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The distinct colors of some pixels, in lexicographic order, and how often each occurs.

    Parameters
    ----------
    pixels : ndarray of shape (n_pixels, channels), uint8, fewer than 2^32
        One channel or three.
    device : {"cpu", "gpu", "auto"}
        Where to count, as in `dkmeans.kernels.load`.

    Returns
    -------
    colors : ndarray of shape (n_colors, channels), uint8
    times : ndarray of shape (n_colors,), int64
    """
    channels = pixels.shape[1]
    if uses_gpu(device):
        counted: tuple[NDArray[np.uint8], NDArray[np.int64]]
        counted = _cuda().list_colors(_cuda().count_colors(pixels), channels)
        return counted
    counts = np.zeros(1 << 8 * channels, np.uint32)
    _count(pixels, counts)
    return _listed(counts, channels)


def merge_colors(
    parts: list[tuple[NDArray[np.uint8], NDArray[np.int64]]],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Several counts, as `count_colors` gives them, together."""
    if len(parts) == 1:
        return parts[0]
    channels = parts[0][0].shape[1]
    counts = np.zeros(1 << 8 * channels, np.int64)
    for colors, times in parts:
        _add(colors, times, counts)
    return _listed(counts, channels)


def color_labels(
    pixels: NDArray[np.uint8], colors: NDArray[np.uint8], labels: NDArray[Any], device: str = "cpu"
) -> NDArray[Any]:
    """The label of the color of each pixel: `labels` belong to `colors`, among which all pixels are."""
    if uses_gpu(device):
        looked_up: NDArray[Any] = _cuda().color_labels(pixels, colors, labels)
        return looked_up
    table = np.empty(1 << 8 * pixels.shape[1], labels.dtype)
    found = np.empty(len(pixels), labels.dtype)
    _look_up(pixels, colors, labels, table, found)
    return found
