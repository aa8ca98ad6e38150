"""The starts of an estimator's fit: its rows, and the first centers of each start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.clustering.parameters import are_centers, check_centers, seed_of, spawn_seeds
from dkmeans.clustering.parts import as_dask, load_array_rows
from dkmeans.clustering.rows import Rows
from dkmeans.clustering.seeding import draw_positions, find_distinct_rows, seed_centers
from dkmeans.clustering.sparse import SparseRows
from dkmeans.clustering.stored import StoredRows
from dkmeans.compute.executor import Executor
from dkmeans.errors import DistinctRowsError
from dkmeans.kernels import arithmetic

__all__ = ["load_starts"]


def load_starts(
    model: Any, array: Any, weights: Any, cluster: Executor, n_starts: int, say: Callable[[str], None]
) -> tuple[Rows, Iterator[NDArray[Any]]]:
    """Load the rows, and find the first centers of each start once it is asked for.

    Parameters
    ----------
    model : dkmeans.KMeans
    array : array of NumPy or Dask, StoredRows or SparseRows, of shape (n_rows, n_features)
    weights : array of NumPy or Dask, of shape (n_rows,), or None
    cluster : Executor
    n_starts : int
        The first one has the seed that a single one has. Those that "auto" adds to "k-means||" are drawn by
        "k-means++": as good on few rows, and several times as fast.
    say : callable
        Is told what is being done.

    Returns
    -------
    rows : Rows
    centers : iterator of ndarray of shape (n_clusters, n_features)
    """
    n_clusters, init = model.n_clusters, model.init
    if are_centers(init):
        given = check_centers(init, n_clusters, array.shape[1])
        rows = load_array_rows(array, weights, cluster)
        return rows, iter([_snap(rows, given)])
    seeds = spawn_seeds(seed_of(model.random_state), n_starts)
    if callable(init):
        rows = load_array_rows(array, weights, cluster)
        return rows, (_snap(rows, _made(init, array, n_clusters, seed)) for seed in seeds)
    samples = (draw_positions(array.shape[0], n_clusters, seed) for seed in seeds)
    rows = load_array_rows(array, weights, cluster, reduce(np.union1d, samples))
    others = "k-means++" if init == "k-means||" and model.n_init == "auto" else init
    inits = [init, *repeat(others, n_starts - 1)]
    return rows, (_draw(rows, n_clusters, *each, say) for each in zip(inits, seeds, strict=True))


def _snap(rows: Rows, centers: NDArray[Any]) -> NDArray[Any]:
    snapped: NDArray[Any] = arithmetic(rows.dtype).snap(centers, rows.dtype)
    return snapped


def _made(init: Callable[..., Any], array: Any, n_clusters: int, seed: int) -> NDArray[np.float64]:
    """Have a callable make the first centers."""
    if isinstance(array, StoredRows):
        rows = as_dask(array, array.chunks[0])
    else:
        rows = array.matrix if isinstance(array, SparseRows) else array
    state = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
    return check_centers(init(rows, n_clusters, random_state=state), n_clusters, array.shape[1])


def _draw(rows: Rows, n_clusters: int, init: str, seed: int, say: Callable[[str], None]) -> NDArray[Any]:
    """Draw the first centers; with repetitions if the distinct rows are too few."""
    try:
        return seed_centers(rows, n_clusters, init, seed, say)
    except DistinctRowsError:
        found = find_distinct_rows(rows, n_clusters)
        return _snap(rows, np.resize(found, (n_clusters, rows.n_features)))
