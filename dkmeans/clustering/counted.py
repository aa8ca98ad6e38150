"""Pixels as rows of a fit: a histogram of their colors."""

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
from dkmeans.features.histogram import Histogram
from dkmeans.features.space import FeatureSpace
from dkmeans.kernels import Block
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

__all__ = ["Counted", "CountedRows", "count_part", "count_stored_rows", "load_counted_rows", "merge_counted"]

_LEAST_COLORS = 1 << 15
"""Colors from which it pays to share them among threads, or GPUs."""


@dataclass(frozen=True)
class CountedRows(Rows):
    """Distinct colors, with some of the pixels that they were counted from.

    Attributes
    ----------
    n_pixels : int
    positions : ndarray of shape (n,), int64
        The pixels that were kept for `take`.
    pixels : ndarray of shape (n, channels), uint8 or uint16
        Their rows.
    """

    n_pixels: int
    positions: NDArray[np.int64]
    pixels: NDArray[Any]

    @property
    def n_rows(self) -> int:
        """Number of pixels."""
        return self.n_pixels

    def take(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """Take the pixels at `positions`, which have to be some of those that were kept."""
        kept = np.searchsorted(self.positions, positions)
        assert np.array_equal(self.positions[kept], positions)
        return self.pixels[kept]


@dataclass(frozen=True)
class Counted:
    """The colors of some pixels, and those of the pixels that are kept for `CountedRows.take`, in parts."""

    histogram: Histogram
    kept: list[NDArray[np.uint8]]


def count_part(pixels: NDArray[np.uint8], positions: NDArray[np.int64], device: str) -> Counted:
    """Count the colors of a part, and keep its pixels at `positions`."""
    return Counted(Histogram.of(pixels, device), [pixels[positions]])


def merge_counted(parts: list[Counted]) -> Counted:
    """Add the histograms of several parts, and put their pixels one after the other."""
    histogram = Histogram.merge([part.histogram for part in parts])
    return Counted(histogram, [pixels for part in parts for pixels in part.kept])


def _read(
    store: Store, name: str, start: int, stop: int, positions: NDArray[np.int64], device: str
) -> Counted:
    return count_part(arrays.read_rows(store, name, start, stop), positions, device)


def _load(histogram: Histogram, start: int, stop: int, device: str, features: FeatureSpace | None) -> Block:
    colors = histogram.colors[start:stop]
    rows = colors if features is None else features.from_stored(colors)
    return kernels.load(rows, device, histogram.counts[start:stop])


def count_stored_rows(
    store: Store, name: str, cluster: Executor, positions: NDArray[np.int64]
) -> CountedRows:
    """Count the rows of the array `name` of a group, which are 8-bit gray or RGB.

    The array is read once; the rows at `positions`, which ascend, are kept for `take`.
    """
    arrays.check_whole(store, name)
    array = arrays.open_array(store, name)
    n_rows, n_features = array.shape
    read = cluster.task(_read)
    cuts = plan.fit_cuts(n_rows, n_features, arrays.row_layout(array), cluster.n_threads())
    local = plan.in_cuts(positions, cuts)
    tasks = [read(store, name, *cut, kept, cluster.device) for cut, kept in zip(cuts, local, strict=True)]
    return load_counted_rows(tasks, n_rows, n_features, np.dtype(array.dtype), cluster, positions)


def load_counted_rows(
    tasks: list[Delayed],
    n_rows: int,
    n_features: int,
    dtype: np.dtype[Any],
    cluster: Executor,
    positions: NDArray[np.int64],
    features: FeatureSpace | None = None,
) -> CountedRows:
    """Load the colors of parts that `tasks` count as `count_part` does; `positions` are of all rows.

    `features` makes rows of the colors; None takes them as they are.
    """
    counted: Counted = reduced(cluster, merge_counted, tasks)
    n_colors = len(counted.histogram.colors)
    n_blocks = min(cluster.n_gpus() or cluster.n_threads(), -(-n_colors // _LEAST_COLORS))
    cuts = plan.cuts(n_colors, -(-n_colors // n_blocks))
    load, shared = delayed(_load), delayed(counted.histogram, traverse=False)
    kept = np.concatenate(counted.kept)
    if features is not None:
        kept, dtype = features.from_stored(kept), features.row_dtype
    blocks = cluster.persist([load(shared, *cut, cluster.device, features) for cut in cuts])
    return CountedRows(
        blocks,
        cuts,
        n_features,
        dtype,
        cluster,
        True,
        n_rows,
        positions,
        kept,
    )
