"""For each home the centers near it, in about ascending distance; built on the device."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import cupy
import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.cuda.compiled import GROUP, Kernels
from dkmeans.kernels.exact import grid_integers

__all__ = ["LISTS_BYTES", "Lists", "make_lists", "near_centers"]

LISTS_BYTES = 1 << 29
"""Device memory that lists may take: all centers near each of 11,000, the nearest 1,336 of 100,000."""
_DISTANCES = 1 << 26
"""Distances from homes to centers that are on the device at a time."""


class Lists(NamedTuple):
    """Arrays on the device, as ``search`` of `lloyd.cu` takes them."""

    homes: Any  # float32 (n_homes, width)
    centers: Any  # float32 (n_clusters, width)
    integers: Any  # int32 (n_clusters, width)
    members: Any  # int32 (n_homes, most)
    lows: Any  # float32 (n_homes, most // GROUP)
    listed: Any  # int32 (n_homes,)
    reach: Any  # float32 (n_homes,)
    most: int
    n_clusters: int


def _padded(values: NDArray[Any], width: int, dtype: Any) -> Any:
    """`values` on the device, each row filled up with zeros."""
    filled = np.zeros((len(values), width), dtype)
    filled[:, : values.shape[1]] = values
    return cupy.asarray(filled)


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
    n_homes, n_clusters = len(homes), len(centers)
    affordable = max(1, LISTS_BYTES // (4 * GROUP * n_homes))
    most = GROUP * min(-(-n_clusters // GROUP), affordable)
    lists = Lists(
        _padded(homes, kernels.width, np.float32),
        _padded(centers, kernels.width, np.float32),
        _padded(grid_integers(centers, kernels.dtype), kernels.width, np.int32),
        cupy.empty((n_homes, most), np.int32),
        cupy.empty((n_homes, most // GROUP), np.float32),
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
    out = [array[part] for array in (lists.members, lists.lows, lists.listed, lists.reach)]
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
