"""A hierarchy over the centers of a codebook: a large codebook cut down to a small one without a new fit.

J. H. Ward, Hierarchical grouping to optimize an objective function, Journal of the American Statistical
Association 58(301), 1963.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import AgglomerativeClustering
from sklearn.neighbors import kneighbors_graph

from dkmeans.kernels.exact import divide_half_even, fraction_bits, grid_integers

__all__ = ["Groups", "group_centers", "merge_groups"]


@dataclass(frozen=True)
class Groups:
    """Which centers belong together.

    Attributes
    ----------
    labels : ndarray of shape (n_centers,), int64
        Group of each center; groups are numbered in the order of their first centers.
    n_components : int
        Parts, not linked to each other, of the graph of neighbors; 1 where there is no graph.
    """

    labels: NDArray[np.int64]
    n_components: int


def group_centers(centers: NDArray[np.float32], n_clusters: int, n_neighbors: int | None = None) -> Groups:
    """Group centers by Ward's linkage: those two are joined first that add least to the inertia.

    Each center counts once, however many rows it stands for: scikit-learn's linkage takes no weights.

    Parameters
    ----------
    centers : ndarray of shape (n_centers, n_features), float32
    n_clusters : int
        Groups to make, at most n_centers.
    n_neighbors : int or None
        Join two groups only where a center of one is among so many nearest neighbors of a center of the
        other; at most n_centers - 1. Where that graph is in several parts, scikit-learn links the nearest
        centers of each two of them. None joins any two: that takes 4 n_centers^2 bytes of memory.
    """
    points = centers.astype(np.float64)
    graph = None if n_neighbors is None else kneighbors_graph(points, n_neighbors, include_self=False)
    model = AgglomerativeClustering(n_clusters, linkage="ward", connectivity=graph)
    with warnings.catch_warnings():  # that the graph is in parts is returned, for the stage to say
        warnings.filterwarnings("ignore", "the number of connected components", UserWarning)
        found = model.fit_predict(points)
    _, first, labels = np.unique(found, return_index=True, return_inverse=True)
    numbers = np.argsort(np.argsort(first))  # of each group, by its first center
    return Groups(numbers[labels].astype(np.int64), int(model.n_connected_components_))


def merge_groups(
    centers: NDArray[np.float32], counts: NDArray[np.int64], labels: NDArray[np.int64], dtype: np.dtype[Any]
) -> NDArray[np.float32]:
    """Compute the mean of each group of centers, each as often as it has rows, half to even on the grid.

    Sums are integers of unlimited size, so the mean is exact but for that rounding. It is the mean of the
    rows of the group as far as each center is that of its own rows: it is rounded to the grid itself, and
    where a fit stopped while rows still moved, it is the mean of those that it had a step before.

    Parameters
    ----------
    centers : ndarray of shape (n_centers, n_features), float32
        On the grid of `dkmeans.kernels.exact`.
    counts : ndarray of shape (n_centers,), int64
        Rows of each center. In a group of centers without rows each counts once.
    labels : ndarray of shape (n_centers,), int64
        Group of each center, 0 to n_clusters - 1, none of them empty.
    dtype : numpy dtype
        Of the rows: uint8 or uint16.

    Returns
    -------
    ndarray of shape (n_clusters, n_features), float32
        On the grid.
    """
    integers = grid_integers(centers, dtype).astype(object)
    means = [_mean(integers[labels == group], counts[labels == group]) for group in range(labels.max() + 1)]
    return (np.array(means, np.float64) / (1 << fraction_bits(dtype))).astype(np.float32)


def _mean(members: NDArray[Any], counts: NDArray[np.int64]) -> NDArray[Any]:
    """Compute the weighted mean of some rows of integers, rounded half to even; shape (n_features,)."""
    times = counts if counts.any() else np.ones_like(counts)
    return divide_half_even(times.astype(object) @ members, int(times.sum()))
