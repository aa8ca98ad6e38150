"""For each home the centers near it, in about ascending distance; built on the device."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import cupy
import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.cuda.compiled import Kernels
from dkmeans.kernels.exact import fraction_bits

__all__ = ["LISTS_BYTES", "Lists", "make_lists", "near_centers", "on_grid", "padded"]

LISTS_BYTES = 1 << 29
"""Device memory that lists may take: all centers near each of 11,000, the nearest 1,336 of 100,000."""
_DISTANCES = 1 << 26
"""Distances from homes to centers that are on the device at a time."""


class Lists(NamedTuple):
    """Arrays on the device, in the order of the parameters of ``search`` in `lloyd.cu`; see `layout.cu`."""

    homes: Any
    centers: Any
    integers: Any
    home_words: Any
    halves: Any
    biases: Any
    norm: Any
    members: Any
    lows: Any
    listed: Any
    reach: Any
    most: int
    n_clusters: int


def padded(values: NDArray[np.float32], width: int) -> Any:
    """`values` on the device, each row filled up with zeros."""
    filled = np.zeros((len(values), width), np.float32)
    filled[:, : values.shape[1]] = values
    return cupy.asarray(filled)


def on_grid(centers: Any, dtype: np.dtype[Any]) -> Any:
    """The integers of centers on the device on their grid; int32, which float32 gives exactly."""
    return cupy.rint(centers * np.float32(1 << fraction_bits(dtype))).astype(np.int32)


def _for_tensor_cores(kernels: Kernels, homes: Any, centers: Any) -> tuple[Any, Any, Any]:
    """Homes as words of bytes, centers as halves, and the largest norm; see `scores_tensor.cu`."""
    values = np.float32(128) - centers
    values[:, kernels.n_features :] = 0
    high = values.astype(np.float16)
    low = (values - high.astype(np.float32)).astype(np.float16)
    shape = (len(centers), kernels.width // 4, 4)
    halves = cupy.ascontiguousarray(cupy.concatenate([high.reshape(shape), low.reshape(shape)], axis=2))
    far = homes[:, : kernels.n_features] - np.float32(128)
    squares = cupy.maximum((values * values).sum(axis=1).max(), (far * far).sum(axis=1).max())
    norm = cupy.sqrt(squares.reshape(1)) * np.float32(1.001)
    return homes.astype(np.uint8).view(np.uint32), halves.view(np.uint32), norm.astype(np.float32)


def make_lists(kernels: Kernels, homes: NDArray[np.float32], centers: NDArray[np.float32]) -> Lists:
    """Lists of `centers` near `homes`.

    Parameters
    ----------
    kernels : Kernels
    homes : ndarray of shape (n_homes, n_features), float32
        Integers.
    centers : ndarray of shape (n_clusters, n_features), float32
        On the grid of `dkmeans.kernels.exact`.
    """
    n_homes, n_clusters, group = len(homes), len(centers), kernels.group
    place_bytes = 8 if kernels.tensor else 4
    affordable = max(1, LISTS_BYTES // (place_bytes * group * n_homes))
    most = group * min(-(-n_clusters // group), affordable)
    from_, to = padded(homes, kernels.width), padded(centers, kernels.width)
    words, halves, norm = _for_tensor_cores(kernels, from_, to) if kernels.tensor else (None, None, None)
    lists = Lists(
        from_,
        to,
        on_grid(to, kernels.dtype),
        words,
        halves,
        cupy.empty((n_homes, most), np.float32) if kernels.tensor else None,
        norm,
        cupy.empty((n_homes, most), np.int32),
        cupy.empty((n_homes, most // group), np.float32),
        cupy.empty(n_homes, np.int32),
        cupy.empty(n_homes, np.float32),
        most,
        n_clusters,
    )
    step = max(1, _DISTANCES // n_clusters)
    distances = cupy.empty((min(step, n_homes), n_clusters), np.float32)
    for first in range(0, n_homes, step):
        _list(kernels, lists, slice(first, min(first + step, n_homes)), distances)
    return lists


def _list(kernels: Kernels, lists: Lists, part: slice, distances: Any) -> None:
    """The lists of some of the homes."""
    homes, n_homes = lists.homes[part], part.stop - part.start
    grid = (-(-lists.n_clusters // 64), -(-n_homes // 64))
    kernels.launch("measure", grid, 256, homes, n_homes, lists.centers, lists.n_clusters, distances)
    arrays = (lists.members, lists.biases, lists.lows, lists.listed, lists.reach)
    out = [None if array is None else array[part] for array in arrays]
    kernels.launch("make_lists", (n_homes,), 256, distances, lists.n_clusters, lists.most, *out)


_lock = threading.Lock()
_last: tuple[Kernels, NDArray[np.float32], Lists] | None = None


def near_centers(kernels: Kernels, centers: NDArray[np.float32]) -> Lists:
    """Lists of the centers near each of them, rounded: the homes of rows that are sorted by label.

    The last ones are kept: the blocks of a worker have the same centers.
    """
    global _last
    with _lock:
        if _last is None or _last[0] is not kernels or not np.array_equal(_last[1], centers):
            _last = None  # the old ones go before the new ones come
            _last = kernels, centers.copy(), make_lists(kernels, np.rint(centers), centers)
        return _last[2]
