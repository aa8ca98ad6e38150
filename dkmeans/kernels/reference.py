"""The Lloyd step on one chunk in plain NumPy: slow, obviously right, and the oracle of every test."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.exact import ChunkStats, fraction_bits, grid_integers

__all__ = ["assign", "farthest", "lloyd_chunk"]


def _squared_distances(rows: NDArray[Any], centers: NDArray[np.float32]) -> NDArray[np.int64]:
    """Measure exact squared distances in units of 2^-2F; shape (n_rows, n_clusters)."""
    scaled = rows.astype(np.int64) << fraction_bits(rows.dtype)
    integers = grid_integers(centers, rows.dtype)
    distances = np.empty((len(rows), len(centers)), np.int64)
    for cluster, center in enumerate(integers):
        distances[:, cluster] = ((scaled - center) ** 2).sum(axis=1)
    return distances


def assign(rows: NDArray[Any], centers: NDArray[np.float32]) -> NDArray[np.int32]:
    """Find the nearest center of each row, the lowest index on ties; shape (n_rows,)."""
    labels: NDArray[np.int32] = _squared_distances(rows, centers).argmin(axis=1).astype(np.int32)
    return labels


def lloyd_chunk(
    rows: NDArray[Any],
    centers: NDArray[np.float32],
    hint: NDArray[np.int32] | None = None,
    weights: NDArray[np.int64] | None = None,
) -> tuple[ChunkStats, NDArray[np.int32]]:
    """Assign a chunk of rows and sum it up.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features), uint8 or uint16
    centers : ndarray of shape (n_clusters, n_features), float32
        On the grid of `dkmeans.kernels.exact`.
    hint : ndarray of shape (n_rows,), int32, or None
        Labels of the step before, as this function returned them. It never changes sums or labels.
    weights : ndarray of shape (n_rows,), int64, or None
        How often each row counts; None counts each once.

    Returns
    -------
    stats : ChunkStats
    hint : ndarray of shape (n_rows,), int32
        The labels.
    """
    labels = assign(rows, centers)
    times = np.ones(len(rows), np.int64) if weights is None else weights
    values = rows.astype(np.int64)
    sums = np.zeros(centers.shape, np.int64)
    np.add.at(sums, labels, values * times[:, None])
    counts = np.zeros(len(centers), np.int64)
    np.add.at(counts, labels, times)
    squares = int((values * values * times[:, None]).sum())
    moved = int((times if hint is None else times[labels != hint]).sum())
    return ChunkStats(sums, counts, squares, moved), labels


def farthest(
    rows: NDArray[Any], centers: NDArray[np.float32], n: int
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Find the `n` distinct rows farthest from their nearest centers.

    Largest distance first, then the lexicographically smallest row: independent of the order of rows.

    Returns
    -------
    distances : ndarray of shape (m,), int64, m <= n
        Squared, in units of 2^-2F.
    rows : ndarray of shape (m, n_features)
    """
    distinct = np.unique(rows, axis=0)
    distances = _squared_distances(distinct, centers).min(axis=1)
    order = np.argsort(-distances, kind="stable")[:n]  # np.unique sorted the rows lexicographically
    return distances[order], distinct[order]
