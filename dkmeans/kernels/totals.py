"""Sums over rows in tiles, in integers: of each cluster, of squares, of distances."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.jit import inlined, jit
from dkmeans.kernels.vector import row_offset
from dkmeans.kernels.writer import LANES

__all__ = ["Sums", "move_row", "own_distances", "sum_of_squares", "sum_up"]


class Sums(NamedTuple):
    """Sums and counts of the rows of each cluster.

    Attributes
    ----------
    sums : ndarray of shape (n_clusters, n_features), int64
    counts : ndarray of shape (n_clusters,), int64
    weights : ndarray of shape (n_rows,) or (0,), int64
        How often each row counts; empty where each counts once.
    """

    sums: NDArray[np.int64]
    counts: NDArray[np.int64]
    weights: NDArray[np.int64]


@inlined
def move_row(tiles: Any, row: Any, old: Any, new: Any, sums: Any) -> None:
    """Take a row from the sums of its old cluster, if that is not -1, to those of the new one."""
    n_features = np.uint64(sums.sums.shape[1])
    first = row_offset(row, n_features)
    weight = sums.weights[row] if sums.weights.size else np.int64(1)
    to = np.uint64(new)
    sums.counts[to] += weight
    for feature in range(n_features):
        sums.sums[to, feature] += weight * np.int64(tiles[first + feature * np.uint64(LANES)])
    if old >= 0:
        origin = np.uint64(old)
        sums.counts[origin] -= weight
        for feature in range(n_features):
            sums.sums[origin, feature] -= weight * np.int64(tiles[first + feature * np.uint64(LANES)])


@jit
def sum_up(tiles: Any, labels: Any, n_rows: int, sums: Sums) -> None:
    """Add all rows to the sums of their clusters."""
    for row in range(n_rows):
        move_row(tiles, row, -1, labels[row], sums)


@jit
def sum_of_squares(tiles: Any, n_features: int, weights: Any) -> Any:
    """Sum the squares of all values of all rows."""
    total = np.int64(0)
    if weights.size == 0:
        for value in tiles:  # those that fill up the last tile are zero
            total += np.int64(value) * np.int64(value)
        return total
    for row in range(weights.size):
        first = row_offset(row, n_features)
        squares = np.int64(0)
        for feature in range(np.uint64(n_features)):
            value = np.int64(tiles[first + feature * np.uint64(LANES)])
            squares += value * value
        total += weights[row] * squares
    return total


@jit
def own_distances(tiles: Any, labels: Any, integers: Any, bits: int) -> Any:
    """Measure the squared distance of each row to the center of its label, in units of 2^-2F; int64."""
    n_features = integers.shape[1]
    out = np.zeros(labels.size, np.int64)
    for row in range(labels.size):
        first = row_offset(row, n_features)
        for feature in range(np.uint64(n_features)):
            gap = (np.int64(tiles[first + feature * np.uint64(LANES)]) << bits) - integers[
                labels[row], feature
            ]
            out[row] += gap * gap
    return out
