"""Colors counted and looked up on the device; see `dkmeans.kernels.colors`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.cuda.compiled import source

__all__ = ["color_defines", "color_labels", "count_colors", "list_colors", "look_up"]

_CHUNK, _THREADS, _EACH = 1 << 15, 512, 16  # as in colors.cu
_LABELS = {"uint8": "unsigned char", "uint16": "unsigned short", "int32": "int"}


def color_defines(channels: int, label: str) -> dict[str, str]:
    """Describe pixels and labels to the compiler."""
    return {"CHANNELS": str(channels), "LABEL": _LABELS[label]}


@lru_cache
def _module(channels: int, label: str) -> Any:
    told = (f"-D{name}={value}" for name, value in color_defines(channels, label).items())
    return cupy.RawModule(code=source("colors.cu"), options=("--std=c++17", *told))


def _on_device(pixels: Any) -> Any:
    """Bring pixels to the device, where the kernels can read 16 bytes of them at a time."""
    pixels = cupy.ascontiguousarray(cupy.asarray(pixels))
    return pixels.copy() if pixels.data.ptr % 16 else pixels


def count_colors(pixels: Any) -> Any:
    """Count how often each color occurs.

    Parameters
    ----------
    pixels : array of shape (n_pixels, channels), uint8
        On the device or on the host; one channel or three.

    Returns
    -------
    cupy array of shape (2^(8 channels),), int64
        By the number of the color, its first channel highest.
    """
    pixels = _on_device(pixels)
    n_pixels, channels = pixels.shape
    counts = cupy.zeros(1 << 8 * channels, np.int64)
    if n_pixels:
        function = _module(channels, "uint8").get_function("count_colors")
        function((-(-n_pixels // _CHUNK),), (_THREADS,), (pixels, np.int64(n_pixels), counts))
    return counts


def look_up(pixels: Any, table: Any) -> Any:
    """Look up the label of the color of each pixel.

    Parameters
    ----------
    pixels : array of shape (n_pixels, channels), uint8
        On the device or on the host.
    table : cupy array of shape (2^(8 channels),), uint8, uint16 or int32

    Returns
    -------
    cupy array of shape (n_pixels,), of the type of `table`
    """
    pixels = _on_device(pixels)
    n_pixels, channels = pixels.shape
    labels = cupy.empty(n_pixels, table.dtype)
    if n_pixels:
        function = _module(channels, str(table.dtype)).get_function("look_up")
        grid = (-(-n_pixels // (_THREADS * _EACH)),)
        function(grid, (_THREADS,), (pixels, np.int64(n_pixels), table, labels))
    return labels


def list_colors(counts: Any, channels: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """List the colors that occur, in lexicographic order, and how often each does; on the host."""
    numbers = cupy.flatnonzero(counts)
    shifts = np.arange(8 * (channels - 1), -1, -8)
    colors = (np.asarray(cupy.asnumpy(numbers))[:, None] >> shifts).astype(np.uint8)
    return colors, np.asarray(cupy.asnumpy(counts[numbers]))


def color_labels(
    pixels: NDArray[np.uint8], colors: NDArray[np.uint8], labels: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Look up the label of each pixel's color, on the host; `labels` belong to `colors`, all there are."""
    channels = pixels.shape[1]
    numbers = colors.astype(np.int64) @ (1 << np.arange(8 * (channels - 1), -1, -8))
    table = cupy.zeros(1 << 8 * channels, np.int32)
    table[cupy.asarray(numbers)] = cupy.asarray(labels)
    return np.asarray(cupy.asnumpy(look_up(pixels, table)))
