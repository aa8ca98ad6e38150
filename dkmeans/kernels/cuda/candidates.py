"""Candidate lists: for each pivot the centers near it, in about ascending distance; built on the device."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import cupy
import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.cuda.compiled import GROUP, Kernels
from dkmeans.kernels.exact import fraction_bits

__all__ = ["LISTS_BYTES", "CandidateLists", "make_lists", "near_centers", "on_grid", "padded"]

LISTS_BYTES = 1 << 29
"""Device memory that lists may take."""
_LISTED = 512
"""Centers of a list at most: of 5x5 patches and 10,000 centers 95 % of the tiles need no others, and all of
them would be 400 MB to write in each step. Rows for tensor cores, whose lists end late, have all.
"""
_STEP = 32
"""Features that an operation of tensor cores multiplies; see `scores_tensor.cu`."""
_DISTANCES = 1 << 23
"""Distances from pivots to centers that are made at a time: 32 MiB, which stay in the cache of the device, as
they are read three times."""


class CandidateLists(NamedTuple):
    """Arrays on the device, in the order of the parameters of ``search`` in `lloyd.cu`; see `layout.cu`."""

    pivots: Any
    centers: Any
    integers: Any
    pivot_words: Any
    digits: Any
    norms: Any
    members: Any
    lower_bounds: Any
    lengths: Any
    radii: Any
    capacity: int
    n_clusters: int


def padded(values: NDArray[np.float32], width: int) -> Any:
    """Copy `values` to the device, each row filled up with zeros."""
    filled = np.zeros((len(values), width), np.float32)
    filled[:, : values.shape[1]] = values
    return cupy.asarray(filled)


def on_grid(centers: Any, dtype: np.dtype[Any]) -> Any:
    """Give the grid integers of centers on the device; int32, which float32 gives exactly."""
    return cupy.rint(centers * np.float32(1 << fraction_bits(dtype))).astype(np.int32)


def _for_tensor_cores(pivots: Any, centers: NDArray[np.float32]) -> tuple[Any, Any, Any]:
    """Give pivots as words of bytes, the bytes of the integers of centers, and their norms."""
    n_steps = -(-centers.shape[1] // _STEP)
    integers = on_grid(padded(centers, n_steps * _STEP), np.dtype(np.uint8))
    shape = (len(centers), n_steps, _STEP, integers.itemsize)
    digits = integers.view(np.uint8).reshape(shape)[..., :3].transpose(0, 1, 3, 2).copy()
    wide = integers.astype(np.int64)
    return pivots.astype(np.uint8).view(np.uint32), digits.view(np.uint32), (wide * wide).sum(axis=1)


def make_lists(kernels: Kernels, pivots: NDArray[np.float32], centers: NDArray[np.float32]) -> CandidateLists:
    """Make the lists of `centers` near `pivots`.

    Parameters
    ----------
    kernels : Kernels
    pivots : ndarray of shape (n_pivots, n_features), float32
        Integers.
    centers : ndarray of shape (n_clusters, n_features), float32
        On the grid of `dkmeans.kernels.exact`.
    """
    n_pivots, n_clusters = len(pivots), len(centers)
    affordable = max(1, LISTS_BYTES // (4 * GROUP * n_pivots))
    if not kernels.tensor:
        affordable = min(affordable, _LISTED // GROUP)
    capacity = GROUP * min(-(-n_clusters // GROUP), affordable)
    from_, to = padded(pivots, kernels.width), padded(centers, kernels.width)
    words, digits, norms = _for_tensor_cores(from_, centers) if kernels.tensor else (None, None, None)
    lists = CandidateLists(
        from_,
        to,
        on_grid(to, kernels.dtype),
        words,
        digits,
        norms,
        cupy.empty((n_pivots, capacity), np.int32),
        cupy.empty((n_pivots, capacity // GROUP), np.float32),
        cupy.empty(n_pivots, np.int32),
        cupy.empty(n_pivots, np.float32),
        capacity,
        n_clusters,
    )
    step = max(1, _DISTANCES // n_clusters)
    distances = cupy.empty((min(step, n_pivots), n_clusters), np.float32)
    for first in range(0, n_pivots, step):
        _list(kernels, lists, slice(first, min(first + step, n_pivots)), distances)
    return lists


def _list(kernels: Kernels, lists: CandidateLists, part: slice, distances: Any) -> None:
    """Fill the lists of some of the pivots."""
    pivots, n_pivots = lists.pivots[part], part.stop - part.start
    grid = (-(-lists.n_clusters // 64), -(-n_pivots // 64))
    kernels.launch("pivot_distances", grid, 256, pivots, n_pivots, lists.centers, lists.n_clusters, distances)
    arrays = (lists.members, lists.lower_bounds, lists.lengths, lists.radii)
    out = [array[part] for array in arrays]
    kernels.launch("make_lists", (n_pivots,), 256, distances, lists.n_clusters, lists.capacity, *out)


_lock = threading.Lock()
_last: tuple[Kernels, NDArray[np.float32], CandidateLists] | None = None


def near_centers(kernels: Kernels, centers: NDArray[np.float32]) -> CandidateLists:
    """Make the lists of the centers near each of them, rounded: the pivots of rows that are sorted by label.

    The last ones are kept: the blocks of a worker have the same centers.
    """
    global _last
    with _lock:
        if _last is None or _last[0] is not kernels or not np.array_equal(_last[1], centers):
            _last = None  # the old ones go before the new ones come
            _last = kernels, centers.copy(), make_lists(kernels, np.rint(centers), centers)
        return _last[2]
