"""The starts of an estimator's fit: its rows, and the first centers of each start."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.clustering.parameters import given_centers, seed_of, spawn_seeds
from dkmeans.clustering.parts import load_array_rows
from dkmeans.clustering.rows import Rows
from dkmeans.clustering.seeding import draw_positions, find_distinct_rows, seed_centers
from dkmeans.compute.executor import Executor
from dkmeans.errors import DistinctRowsError
from dkmeans.kernels import arithmetic

__all__ = ["load_starts"]


def load_starts(
    model: Any, array: Any, weights: Any, cluster: Executor, n_starts: int
) -> tuple[Rows, Iterator[NDArray[Any]]]:
    """Load the rows, and find the first centers of each start once it is asked for.

    Parameters
    ----------
    model : dkmeans.KMeans
    array : array of NumPy or Dask, or StoredRows, of shape (n_rows, n_features)
    weights : array of NumPy or Dask, of shape (n_rows,), or None
    cluster : Executor
    n_starts : int
        The first one has the seed that a single one has.

    Returns
    -------
    rows : Rows
    centers : iterator of ndarray of shape (n_clusters, n_features)
    """
    given = given_centers(model, array.shape[1])
    if given is not None:
        rows = load_array_rows(array, weights, cluster)
        return rows, iter([arithmetic(rows.dtype).snap(given, rows.dtype)])
    seeds = spawn_seeds(seed_of(model.random_state), n_starts)
    samples = (draw_positions(array.shape[0], model.n_clusters, seed) for seed in seeds)
    rows = load_array_rows(array, weights, cluster, reduce(np.union1d, samples))
    return rows, (_draw(rows, model.n_clusters, model.init, seed) for seed in seeds)


def _draw(rows: Rows, n_clusters: int, init: str, seed: int) -> NDArray[Any]:
    """Draw the first centers; with repetitions if the distinct rows are too few."""
    try:
        return seed_centers(rows, n_clusters, init, seed)
    except DistinctRowsError:
        found = np.resize(find_distinct_rows(rows, n_clusters), (n_clusters, rows.n_features))
        centers: NDArray[Any] = arithmetic(rows.dtype).snap(found, rows.dtype)
        return centers
