"""The first centers of a fit, drawn from the seed, whatever the blocks and workers.

k-means|| (B. Bahmani et al., Scalable k-means++, PVLDB 5(7), 2012) in three parts: dask-ml draws candidates
on a bounded sample; one pass of our own kernel over all rows weights each by the rows nearest to it;
weighted k-means++ (scikit-learn) and a few weighted Lloyd steps reduce them. dask-ml's own reduction ignores
the weights, and its factor is not multiplied by the number of clusters, so neither is used.

The candidates hold integers, so the squared distances that k-means++ draws by are exact in float64.
"""

from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray
from sklearn.cluster import kmeans_plusplus

from dkmeans import kernels
from dkmeans.clustering.lloyd import tree
from dkmeans.clustering.rows import Rows
from dkmeans.errors import DistinctRowsError
from dkmeans.kernels import exact

__all__ = ["seed_centers"]

_SAMPLE_PER_CLUSTER = 50
_SAMPLE_LEAST = 20_000
_OVERSAMPLING = 2
_ROUNDS = 2
_REDUCING_STEPS = 10
_SAMPLE_BLOCK_BYTES = 64 << 20


def seed_centers(
    rows: Rows, blocks: list[Delayed], n_clusters: int, init: str, seed: int
) -> NDArray[np.float32]:
    """`n_clusters` centers on the grid, for data of at least as many distinct rows.

    Parameters
    ----------
    rows : Rows
    blocks : list of Delayed
        The rows, as `Rows.blocks` gives them.
    n_clusters : int
    init : {"k-means||", "k-means++", "random"}
        All draw from a sample of 50 rows a cluster, at least 20,000; the first weights its candidates by
        all rows.
    seed : int

    Returns
    -------
    ndarray of shape (n_clusters, n_features), float32

    Raises
    ------
    DistinctRowsError
        If the data holds fewer distinct rows than `n_clusters`.
    """
    sampling, drawing, filling, reducing = np.random.SeedSequence(seed).spawn(4)
    size = max(_SAMPLE_PER_CLUSTER * n_clusters, _SAMPLE_LEAST)
    sample = rows.sample(blocks, size, np.random.default_rng(sampling))
    distinct = np.unique(sample, axis=0)
    if len(distinct) < n_clusters:
        # The sample may have missed some: all rows decide.
        distinct = _distinct_rows(rows, blocks, n_clusters)
        centers = distinct
    elif init == "random":
        centers = _first_distinct(sample, n_clusters, np.random.default_rng(drawing))
    elif init == "k-means++":
        centers, _ = kmeans_plusplus(
            sample.astype(np.float64), n_clusters, random_state=_random_state(drawing)
        )
    else:
        candidates = _candidates(sample, len(distinct), n_clusters, drawing)
        candidates = _fill_up(candidates, distinct, n_clusters, np.random.default_rng(filling))
        weights = _weights(rows, blocks, candidates)
        centers = _reduce(candidates, weights, n_clusters, reducing)
    return exact.snap(centers, rows.dtype)


def _random_state(sequence: np.random.SeedSequence) -> int:
    """A seed for the libraries that take an int."""
    return int(sequence.generate_state(1)[0])


def _first_distinct(sample: NDArray[Any], n: int, rng: np.random.Generator) -> NDArray[Any]:
    """The first `n` distinct rows of `sample` in random order."""
    shuffled = rng.permutation(sample, axis=0)
    _, first = np.unique(shuffled, axis=0, return_index=True)
    return shuffled[np.sort(first)[:n]]


def _candidates(
    sample: NDArray[Any], n_distinct: int, n_clusters: int, sequence: np.random.SeedSequence
) -> NDArray[Any]:
    """About 2 * 2 * `n_clusters` distinct rows of `sample`, by dask-ml's rounds of k-means||."""
    # Not dask_ml.cluster.k_means.k_init: it reduces without weights, and fills up what is missing by
    # iterating over a Dask array, one task an element.
    from dask_ml.cluster.k_means import _sample_points

    n_most = 1 + _ROUNDS * _OVERSAMPLING * n_clusters
    block_rows = max(256, _SAMPLE_BLOCK_BYTES // (8 * n_most))
    x = da.from_array(sample.astype(np.float64), chunks=(block_rows, -1))
    beginning, rounds = sequence.spawn(2)
    state = da.random.RandomState(_random_state(rounds))
    chosen = np.random.default_rng(beginning).integers(len(sample), size=1)
    with dask.config.set(scheduler="threads"):
        for _ in range(_ROUNDS):
            centers = sample[chosen].astype(np.float64)
            drawn = _sample_points(x, centers, _OVERSAMPLING * n_clusters, state).compute()
            chosen = np.union1d(chosen, drawn)
            candidates = np.unique(sample[chosen], axis=0)
            if len(candidates) == n_distinct:
                break  # no distance is left to draw by: dask-ml would divide by zero
    return candidates


def _fill_up(
    candidates: NDArray[Any], distinct: NDArray[Any], n_clusters: int, rng: np.random.Generator
) -> NDArray[Any]:
    """`candidates` and, where they are fewer than `n_clusters`, as many other distinct rows."""
    missing = n_clusters - len(candidates)
    if missing <= 0:
        return candidates
    both = np.concatenate([candidates, distinct])
    _, first, times = np.unique(both, axis=0, return_index=True, return_counts=True)
    others = both[first[times == 1]]
    return np.concatenate([candidates, rng.choice(others, missing, replace=False)])


def _count(block: Any, centers: NDArray[np.float32]) -> NDArray[np.int64]:
    return kernels.lloyd_chunk(block, centers)[0].counts


def _weights(rows: Rows, blocks: list[Delayed], candidates: NDArray[Any]) -> NDArray[np.int64]:
    """How many of all rows are nearest to each candidate, itself at least; shape (n_candidates,)."""
    centers = delayed(exact.snap(candidates, rows.dtype))
    count = delayed(_count)
    weights: NDArray[np.int64] = rows.cluster.run([tree(sum, [count(block, centers) for block in blocks])])[0]
    return weights


def _reduce(
    candidates: NDArray[Any], weights: NDArray[np.int64], n_clusters: int, sequence: np.random.SeedSequence
) -> NDArray[np.float32]:
    """Weighted k-means++ and a few weighted Lloyd steps on the candidates."""
    first, _ = kmeans_plusplus(
        candidates.astype(np.float64),
        n_clusters,
        sample_weight=weights.astype(np.float64),
        random_state=_random_state(sequence),
    )
    centers = exact.snap(first, candidates.dtype)
    for _ in range(_REDUCING_STEPS):
        stats, _ = kernels.lloyd_chunk(candidates, centers, None, weights)
        centers = exact.update_centers(stats, centers, candidates.dtype)
    return centers


def _distinct(block: Any, n: int) -> NDArray[Any]:
    rows = block.get() if hasattr(block, "get") else block
    return np.unique(rows, axis=0)[:n]


def _distinct_rows(rows: Rows, blocks: list[Delayed], n: int) -> NDArray[Any]:
    """The lexicographically first `n` distinct rows of all rows."""
    find = delayed(_distinct)

    def merge(parts: list[NDArray[Any]]) -> NDArray[Any]:
        return _distinct(np.concatenate(parts), n)

    found: NDArray[Any] = rows.cluster.run([tree(merge, [find(block, n) for block in blocks])])[0]
    if len(found) < n:
        raise DistinctRowsError(
            f"the data holds {len(found)} distinct rows, fewer than the {n} clusters asked for. "
            f"Use --k {len(found)} or less."
        )
    return found
