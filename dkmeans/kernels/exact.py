"""The exact arithmetic of a Lloyd step on integer rows: grid, update, inertia, shift.

Rows hold integers x of b = 8 or 16 bits. Centers lie on the grid 2^-F with F = 23 - b, so that a
coordinate is m / 2^F with an integer 0 <= m < 2^23: exact in float32. In units of 2^-2F the squared
distance of a row and a center is the integer

    sum_j (x_j 2^F - m_j)^2  <  d 2^46  <=  2^63   for d <= 2^17 features,

so labels (lowest index on ties), sums, updated centers and the inertia are decided in integers. Nothing
depends on the order of rows, on how they are cut into blocks, or on the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.protocols import Arithmetic

__all__ = [
    "EXACT",
    "MAX_FEATURES",
    "ChunkStats",
    "center_shift",
    "divide_half_even",
    "fraction_bits",
    "grid_integers",
    "inertia",
    "mean_variance",
    "merge",
    "relax",
    "snap",
    "update_centers",
]

MAX_FEATURES = 1 << 17
"""Features of a row up to which a squared distance fits into int64."""


@dataclass(frozen=True)
class ChunkStats:
    """Statistics of one block of rows, assigned to centers.

    Attributes
    ----------
    sums : ndarray of shape (n_clusters, n_features), int64
        Sum of the rows of each cluster.
    counts : ndarray of shape (n_clusters,), int64
        Number (or weight) of the rows of each cluster.
    squares : int
        Sum of the squares of all values of all rows.
    moved : int
        Rows (or their weight) that are not in the cluster that they were in a step before.
    """

    sums: NDArray[np.int64]
    counts: NDArray[np.int64]
    squares: int
    moved: int


def merge(parts: list[ChunkStats]) -> ChunkStats:
    """Add the statistics of several blocks; integers, so the order does not matter."""
    return ChunkStats(
        reduce(np.add, (part.sums for part in parts)),  # np.sum would put them into one array first
        reduce(np.add, (part.counts for part in parts)),
        sum(part.squares for part in parts),
        sum(part.moved for part in parts),
    )


def fraction_bits(dtype: np.dtype[Any]) -> int:
    """Give F of the grid 2^-F for rows of `dtype`: 15 for uint8, 7 for uint16."""
    return 23 - 8 * np.dtype(dtype).itemsize


def snap(centers: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[np.float32]:
    """Put `centers` on the grid, clipped to the range of `dtype`; ties to even."""
    scale = float(1 << fraction_bits(dtype))
    limit = float(np.iinfo(dtype).max)
    snapped = np.rint(np.clip(np.asarray(centers, dtype=np.float64), 0, limit) * scale) / scale
    return snapped.astype(np.float32)


def grid_integers(centers: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[np.int64]:
    """Give the integers m = center * 2^F of centers on the grid; shape as `centers`."""
    return (centers * np.float32(1 << fraction_bits(dtype))).astype(np.int64)  # below 2^23, so exact


def _laid(values: NDArray[Any]) -> NDArray[Any]:
    """Lay an array out as the loops are compiled for."""
    return np.ascontiguousarray(values)


def divide_half_even(dividends: NDArray[Any], divisors: Any) -> NDArray[Any]:
    """Divide integers, and round the quotients half to even.

    Parameters
    ----------
    dividends : ndarray of int64, or of Python's integers
    divisors : ndarray or int
        More than zero; of int64 below 2^62.
    """
    quotients = dividends // divisors
    rests = dividends - quotients * divisors
    up = 2 * rests + (quotients & 1) > divisors  # at one half, only an odd quotient
    return np.asarray(quotients + up)


def update_centers(
    stats: ChunkStats, centers: NDArray[np.float32], dtype: np.dtype[Any]
) -> NDArray[np.float32]:
    """Take the mean of each cluster, rounded half to even on the grid; an empty cluster keeps its center."""
    from dkmeans.kernels.means import fill_means  # here, as who only reads centers needs no compiler

    means = np.empty(centers.shape, np.float32)
    fill_means(_laid(stats.sums), _laid(stats.counts), _laid(centers), fraction_bits(dtype), means)
    return means


def relax(
    centers: NDArray[np.float32], means: NDArray[np.float32], relaxation: float, dtype: np.dtype[Any]
) -> NDArray[np.float32]:
    """Go beyond the means: from each center `relaxation` times the way to its mean, cut to the grid.

    With the labels as they are, the inertia of no cluster rises. It is a sum over the coordinates, of which
    each is n (z - a)^2 and a constant, for a center at z of n rows whose true mean is a. In units of the
    grid let c be the center, m = a rounded, g = |m - c| >= 1, and w < 2 the relaxation. Then z lies beyond c
    by the integer floor(w g) <= 2g - 1, in the direction of m, and a by at least g - 1/2: so z is no
    farther behind a than c before it, or not beyond a at all, as near to it as m or nearer. What leaves the
    range of the rows is clipped to it, which brings it nearer to a.

    Parameters
    ----------
    centers, means : ndarray of shape (n_clusters, n_features)
        On the grid.
    relaxation : float
        1 to 1.99, in hundredths, so that all is decided in integers.
    dtype : numpy dtype
        Of the rows.
    """
    from dkmeans.kernels.means import fill_relaxed

    bits, reached = fraction_bits(dtype), np.empty(centers.shape, np.float32)
    limit = int(np.iinfo(dtype).max) << bits
    fill_relaxed(_laid(centers), _laid(means), round(100 * relaxation) - 100, bits, limit, reached)
    return reached


def _dot(integers: NDArray[np.int64], sums: NDArray[np.int64]) -> int:
    """Sum exactly the products of two int64 arrays, none negative, the first below 2^23."""
    from dkmeans.kernels.means import sum_products

    parts = np.zeros(4, np.int64)
    sum_products(integers, _laid(sums), parts)
    low, *middle, high = map(int, parts)
    return low + (sum(middle) << 32) + (high << 64)


def inertia(stats: ChunkStats, centers: NDArray[np.float32], dtype: np.dtype[Any]) -> float:
    """Sum the squared distances of all rows to their centers, in squared units of the rows.

    From sum |x|^2 - 2 sum_k c_k . S_k + sum_k n_k |c_k|^2 in integers of unlimited size; the one rounding is
    that of the result.
    """
    bits = fraction_bits(dtype)
    integers = grid_integers(centers, dtype)
    norms = np.einsum("kj,kj->k", integers, integers).astype(object)
    weighted = int((norms * stats.counts.astype(object)).sum())
    total: int = (stats.squares << 2 * bits) - (_dot(integers, stats.sums) << (bits + 1)) + weighted
    return total / (1 << 2 * bits)


def center_shift(old: NDArray[np.float32], new: NDArray[np.float32], dtype: np.dtype[Any]) -> float:
    """Sum the squared distances that the centers moved, in squared units of the rows."""
    moved = np.abs(grid_integers(new, dtype) - grid_integers(old, dtype))
    return _dot(moved, moved) / (1 << 2 * fraction_bits(dtype))


def mean_variance(stats: ChunkStats) -> float:
    """Average over the features the variance of all rows, as scikit-learn scales `tol` with it."""
    n_rows = int(stats.counts.sum())
    n_features: int = stats.sums.shape[1]
    totals = [int(total) for total in stats.sums.sum(axis=0)]
    numerator = stats.squares * n_rows - sum(total * total for total in totals)
    return numerator / (n_rows * n_rows * n_features)


EXACT = Arithmetic(merge, snap, update_centers, relax, inertia, center_shift, mean_variance)
