"""A Lloyd step on rows of floats: the same functions as `exact` and the block of `cpu`, rounded.

Rows of float32 are kept as they are, others as float64. All that decides or is summed is computed in float64,
so rows of float32 give what the same numbers in float64 give. Labels are the argmin of distances that are
rounded in one way only (`nearest_floats`), so they do not depend on how the rows are cut. Sums are of the
differences to the own center, which lose nothing to a large mean of the data. They are added row by row, then
block by block: they depend on the cuts, and on nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.cpu import pick_farthest
from dkmeans.kernels.nearest_floats import Sums, all_distances, nearest, new_sums, own_distances, sum_up
from dkmeans.kernels.protocols import Arithmetic

__all__ = [
    "FLOATS",
    "Block",
    "ChunkStats",
    "center_shift",
    "distances",
    "inertia",
    "kept_dtype",
    "mean_variance",
    "merge",
    "relax",
    "snap",
    "update_centers",
]

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ChunkStats:
    """Statistics of one block of rows, assigned to centers.

    Attributes
    ----------
    sums : ndarray of shape (n_clusters, n_features), float64
        Sum, over the rows of each cluster, of weight times difference to its center.
    counts : ndarray of shape (n_clusters,), float64
        Weight of the rows of each cluster.
    inertia : float
        Sum of weight times squared distance to the own center.
    moved : float
        Weight of the rows that are not in the cluster that they were in a step before.
    mean : ndarray of shape (n_features,), float64
        Weighted mean of all rows.
    squares : float
        Sum of weight times squared distance to that mean.
    """

    sums: _Floats
    counts: _Floats
    inertia: float
    moved: float
    mean: _Floats
    squares: float


def _merge_two(one: ChunkStats, other: ChunkStats) -> ChunkStats:
    """Merge means and squares by T. F. Chan, G. H. Golub, R. J. LeVeque, COMPSTAT 1982: no cancellation."""
    share = other.counts.sum() / (one.counts.sum() + other.counts.sum())
    gap = other.mean - one.mean
    between = float((gap * gap).sum() * one.counts.sum() * share)
    return ChunkStats(
        one.sums + other.sums,
        one.counts + other.counts,
        one.inertia + other.inertia,
        one.moved + other.moved,
        one.mean + gap * share,
        one.squares + other.squares + between,
    )


def merge(parts: list[ChunkStats]) -> ChunkStats:
    """Add the statistics of several blocks in their order."""
    return reduce(_merge_two, parts)


def snap(centers: NDArray[Any], dtype: np.dtype[Any]) -> _Floats:
    """Copy `centers` as float64; there is no grid."""
    return np.array(centers, dtype=np.float64, order="C")


def update_centers(stats: ChunkStats, centers: _Floats, dtype: np.dtype[Any]) -> _Floats:
    """Take the mean of each cluster; an empty cluster keeps its center."""
    filled = stats.counts[:, None] > 0
    return np.where(filled, centers + stats.sums / np.where(filled, stats.counts[:, None], 1), centers)


def relax(centers: _Floats, means: _Floats, relaxation: float, dtype: np.dtype[Any]) -> _Floats:
    """Go beyond the means: from each center `relaxation` times the way to its mean; see `exact.relax`."""
    return means + (relaxation - 1) * (means - centers)


def inertia(stats: ChunkStats, centers: _Floats, dtype: np.dtype[Any]) -> float:
    """Give the sum of the squared distances of all rows to their centers, as it was summed."""
    return stats.inertia


def center_shift(old: _Floats, new: _Floats, dtype: np.dtype[Any]) -> float:
    """Sum the squared distances that the centers moved."""
    return float(((new - old) ** 2).sum())


def mean_variance(stats: ChunkStats) -> float:
    """Average over the features the variance of all rows, as scikit-learn scales `tol` with it."""
    return stats.squares / (float(stats.counts.sum()) * len(stats.mean))


FLOATS = Arithmetic(merge, snap, update_centers, relax, inertia, center_shift, mean_variance)


def kept_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Choose the dtype in which rows of `dtype` are kept: float32 as float32, everything else as float64."""
    return np.dtype(np.float32 if dtype.newbyteorder("=") == np.float32 else np.float64)


def distances(rows: NDArray[Any], centers: _Floats) -> _Floats:
    """Measure all distances, of whose squares labels are the argmin; shape (n_rows, n_clusters)."""
    out = np.empty((len(rows), len(centers)))
    all_distances(rows, centers, out)
    return out


class Block:
    """Rows, and their last labels; see `dkmeans.kernels.Block`.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features)
        Finite; float32 stays float32, everything else becomes float64.
    weights : ndarray of shape (n_rows,), or None
        How often each row counts, more than zero; None counts each once.
    """

    def __init__(self, rows: NDArray[Any], weights: NDArray[Any] | None = None) -> None:
        self.n_rows: int = rows.shape[0]
        self.n_features: int = rows.shape[1]
        self.dtype = np.dtype(np.float64)
        kept = kept_dtype(rows.dtype)
        self._rows: NDArray[Any] = np.require(rows, kept, ["C", "A", "W"])  # that the loops are made for
        self._weights = np.array([] if weights is None else weights, np.float64)
        self._mean, self._squares = self._spread()
        self._known: tuple[_Floats, NDArray[np.int32]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave behind what is known: another process starts again."""
        return Block, (self._rows, self._weights if self._weights.size else None)

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self._rows.nbytes + self._weights.nbytes + 4 * self.n_rows

    def rows(self, positions: NDArray[np.int64] | None = None) -> _Floats:
        """Give the rows at `positions`, all if None, as float64; shape (n, n_features)."""
        taken = self._rows if positions is None else self._rows[positions]
        return taken.astype(np.float64, copy=False)

    def lloyd(self, centers: _Floats, previous: _Floats | None = None) -> ChunkStats:
        """Assign the rows to `centers` and sum them up."""
        before = None if previous is None else self.labels(previous)
        labels, sums = self._known_labels(centers), new_sums(centers, self._weights)
        if labels is None:
            labels = self._find(centers, sums)
        else:
            sum_up(self._rows, centers, labels, sums)
        changed = np.ones(self.n_rows, np.bool_) if before is None else labels != before
        moved = self._weights[changed].sum() if self._weights.size else np.count_nonzero(changed)
        found = sums.gaps, sums.counts, float(sums.inertia[0])
        return ChunkStats(*found, float(moved), self._mean, self._squares)

    def labels(self, centers: _Floats) -> NDArray[np.int32]:
        """Find the nearest center of each row, the lowest index on ties; shape (n_rows,)."""
        labels = self._known_labels(centers)
        return self._find(centers) if labels is None else labels

    def _known_labels(self, centers: _Floats) -> NDArray[np.int32] | None:
        known = self._known
        return known[1] if known is not None and np.array_equal(known[0], centers) else None

    def _find(self, centers: _Floats, sums: Sums | None = None) -> NDArray[np.int32]:
        labels = nearest(self._rows, centers, sums)
        self._known = centers.copy(), labels  # at once, as threads may share it
        return labels

    def adopt(self, labels: NDArray[np.int32], centers: _Floats) -> None:
        """Know what another block of these rows knew, whose `labels(centers)` these are."""
        self._known = centers.copy(), labels

    def farthest(self, centers: _Floats, n: int) -> tuple[Any, _Floats]:
        """Find the `n` distinct rows farthest from their centers."""
        found: Any = np.empty(self.n_rows)
        own_distances(self._rows, centers, self.labels(centers), found)
        distances, rows = pick_farthest(self._rows, found, n)
        return distances, rows.astype(np.float64, copy=False)

    def _spread(self) -> tuple[_Floats, float]:
        """Find the mean of the rows, and the sum of their squared distances to it."""
        mean, squares, labels = self._rows[:1].astype(np.float64), 0.0, np.zeros(self.n_rows, np.int32)
        for _ in range(2):  # the second time the differences are small, and so is what is rounded away
            sums = new_sums(mean, self._weights)
            sum_up(self._rows, mean, labels, sums)
            mean, squares = mean + sums.gaps / sums.counts, float(sums.inertia[0])
        return mean[0], squares
