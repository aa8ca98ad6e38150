"""Colors of 8-bit gray and RGB counted and looked up by a table, in Numba on the CPU or in CuPy on a GPU.

A table has a place for each of 2^8 or 2^24 colors; see `dkmeans.features.histogram` for when it pays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels import uses_gpu
from dkmeans.kernels.jit import inlined, jit

__all__ = ["color_labels", "count_colors", "find_labels", "label_table", "merge_colors", "note_labels"]


@inlined
def _number(colors: Any, row: Any) -> Any:
    """A color as a number, its first channel highest."""
    number = np.uint32(0)
    for channel in range(colors.shape[1]):
        number = number << np.uint32(8) | np.uint32(colors[row, channel])
    return number


@jit
def _count(pixels: Any, table: Any) -> None:
    for pixel in range(pixels.shape[0]):
        table[_number(pixels, pixel)] += 1


@jit
def _add(colors: Any, counts: Any, table: Any) -> None:
    for color in range(colors.shape[0]):
        table[_number(colors, color)] += counts[color]


@jit
def _list(table: Any, colors: Any, counts: Any) -> None:
    at = 0
    channels = colors.shape[1]
    for number in range(table.size):
        if table[number]:
            counts[at] = table[number]
            for channel in range(channels):
                colors[at, channel] = number >> 8 * (channels - 1 - channel) & 255
            at += 1


@jit
def _look_up(pixels: Any, colors: Any, labels: Any, table: Any, found: Any) -> None:
    for color in range(colors.shape[0]):
        table[_number(colors, color)] = labels[color]
    for pixel in range(pixels.shape[0]):
        found[pixel] = table[_number(pixels, pixel)]


@jit
def _find(pixels: Any, table: Any, found: Any, unknown: Any) -> Any:
    n_unknown = 0
    for pixel in range(pixels.shape[0]):
        label = table[_number(pixels, pixel)]  # read once: another thread may note it meanwhile
        found[pixel] = label
        if label < 0:
            unknown[n_unknown] = pixel
            n_unknown += 1
    return n_unknown


@jit
def note_labels(numbers: Any, labels: Any, table: Any) -> None:
    """Note the labels of colors, given by their numbers: uint32, int32 and `label_table`."""
    for color in range(numbers.size):
        table[numbers[color]] = labels[color]


def label_table(channels: int) -> NDArray[np.int32]:
    """Make a table of the labels of all colors, of which none is known: -1."""
    return np.full(1 << 8 * channels, -1, np.int32)


def find_labels(
    pixels: NDArray[np.uint8], table: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.uint32]]:
    """Look up the labels of pixels, -1 where it is not known; and where that is."""
    found, unknown = np.empty(len(pixels), np.int32), np.empty(len(pixels), np.uint32)
    n_unknown = _find(pixels, table, found, unknown)
    return found, unknown[:n_unknown]


def _listed(table: NDArray[Any], channels: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    n_colors = int(np.count_nonzero(table))
    colors, counts = np.empty((n_colors, channels), np.uint8), np.empty(n_colors, np.int64)
    _list(table, colors, counts)
    return colors, counts


def count_colors(
    pixels: NDArray[np.uint8], device: str = "cpu"
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Count the distinct colors of some pixels.

    Parameters
    ----------
    pixels : ndarray of shape (n_pixels, channels), uint8, fewer than 2^32
        One channel or three.
    device : {"cpu", "gpu", "auto"}
        Where to count, as in `dkmeans.kernels.load`.

    Returns
    -------
    colors : ndarray of shape (n_colors, channels), uint8
        In lexicographic order.
    counts : ndarray of shape (n_colors,), int64
        How often each occurs.
    """
    channels = pixels.shape[1]
    if uses_gpu(device):
        from dkmeans.kernels import cuda

        return cuda.list_colors(cuda.count_colors(pixels), channels)
    table = np.zeros(1 << 8 * channels, np.uint32)
    _count(pixels, table)
    return _listed(table, channels)


def merge_colors(
    parts: list[tuple[NDArray[np.uint8], NDArray[np.int64]]],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Add several counts, as `count_colors` gives them."""
    channels = parts[0][0].shape[1]
    table = np.zeros(1 << 8 * channels, np.int64)
    for colors, counts in parts:
        _add(colors, counts, table)
    return _listed(table, channels)


def color_labels(
    pixels: NDArray[np.uint8], colors: NDArray[np.uint8], labels: NDArray[Any], device: str = "cpu"
) -> NDArray[Any]:
    """Give each pixel the label of its color: `labels` belong to `colors`, among which all pixels are.

    Parameters
    ----------
    pixels : ndarray of shape (n_pixels, channels), uint8
    colors : ndarray of shape (n_colors, channels), uint8
    labels : ndarray of shape (n_colors,), integer
    device : {"cpu", "gpu", "auto"}

    Returns
    -------
    ndarray of shape (n_pixels,), type of `labels`
    """
    if uses_gpu(device):
        from dkmeans.kernels import cuda

        return cuda.color_labels(pixels, colors, labels)
    table = np.empty(1 << 8 * pixels.shape[1], labels.dtype)
    found = np.empty(len(pixels), labels.dtype)
    _look_up(pixels, colors, labels, table, found)
    return found
