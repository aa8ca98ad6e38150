"""Pixels as rows of a fit: their distinct colors, each as often as it occurs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from dkmeans import kernels, plan
from dkmeans.clustering.rows import Rows
from dkmeans.compute.executor import Executor
from dkmeans.compute.tree import reduced
from dkmeans.features.colors import count_colors, merge_colors
from dkmeans.kernels import Block
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

__all__ = ["CountedRows", "count_part", "counted_parts", "counted_rows"]

_Counts = tuple[NDArray[np.uint8], NDArray[np.int64]]

_LEAST_COLORS = 1 << 15
"""Colors from which it pays to share them among threads."""


@dataclass(frozen=True)
class CountedRows(Rows):
    """Distinct colors, with some of the pixels that they were counted from.

    Attributes
    ----------
    n_pixels : int
    positions : ndarray of shape (n,), int64
        The pixels that were kept for `take`.
    pixels : ndarray of shape (n, channels), uint8
        Their values.
    """

    n_pixels: int
    positions: NDArray[np.int64]
    pixels: NDArray[np.uint8]

    @property
    def n_rows(self) -> int:
        """Number of pixels."""
        return self.n_pixels

    def take(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """The pixels at `positions`, which have to be those that were kept."""
        assert np.array_equal(positions, self.positions)
        return self.pixels


def count_part(
    pixels: NDArray[Any], positions: NDArray[np.int64], device: str
) -> tuple[list[NDArray[Any]], _Counts]:
    """The pixels at `positions` of a part, and the colors of all its pixels."""
    return [pixels[positions]], count_colors(pixels, device)


def _read(
    store: Store, name: str, start: int, stop: int, positions: NDArray[np.int64], device: str
) -> tuple[list[NDArray[Any]], _Counts]:
    return count_part(arrays.read_rows(store, name, start, stop), positions, device)


def _merge(
    parts: list[tuple[list[NDArray[Any]], _Counts]],
) -> tuple[list[NDArray[Any]], _Counts]:
    """Kept pixels one after the other, and the counts together."""
    return [part for kept, _ in parts for part in kept], merge_colors([counts for _, counts in parts])


def _load(counts: _Counts, start: int, stop: int, device: str) -> Block:
    colors, times = counts
    return kernels.load(colors[start:stop], device, times[start:stop])


def counted_rows(store: Store, name: str, cluster: Executor, positions: NDArray[np.int64]) -> CountedRows:
    """The distinct rows of the array `name` in `store`, 8-bit gray or RGB, weighted by how often they occur.

    The array is read once; the rows at `positions`, which ascend, are kept for `take`.
    """
    arrays.check_whole(store, name)
    array = arrays.open_array(store, name)
    n_rows, n_features = array.shape
    read = cluster.task(_read)
    cuts = plan.fit_cuts(n_rows, n_features, arrays.row_layout(array), cluster.n_threads())
    local = plan.in_cuts(positions, cuts)
    tasks = [read(store, name, *cut, kept, cluster.device) for cut, kept in zip(cuts, local, strict=True)]
    return counted_parts(tasks, n_rows, n_features, np.dtype(array.dtype), cluster, positions)


def counted_parts(
    tasks: list[Delayed],
    n_rows: int,
    n_features: int,
    dtype: np.dtype[Any],
    cluster: Executor,
    positions: NDArray[np.int64],
) -> CountedRows:
    """The distinct rows of parts that `tasks` count as `count_part` does; `positions` are of all rows."""
    kept, counts = reduced(cluster, _merge, tasks)
    n_colors = len(counts[0])
    n_blocks = min(cluster.n_threads(), -(-n_colors // _LEAST_COLORS))
    cuts = plan.cuts(n_colors, -(-n_colors // n_blocks))
    load, shared = delayed(_load), delayed(counts)
    blocks = cluster.persist([load(shared, *cut, cluster.device) for cut in cuts])
    return CountedRows(
        blocks,
        cuts,
        n_features,
        dtype,
        cluster,
        True,
        n_rows,
        positions,
        np.concatenate(kept),
    )
