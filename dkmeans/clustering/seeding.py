"""The first centers of a fit, drawn from the seed, whatever the blocks and workers.

k-means|| (B. Bahmani et al., Scalable k-means++, PVLDB 5(7), 2012) in three parts: dask-ml draws candidates
on a bounded sample; one pass of our own kernel over all rows weights each by the rows nearest to it;
weighted k-means++ (scikit-learn) and a few weighted Lloyd steps reduce them. dask-ml's own reduction ignores
the weights, and its factor is not multiplied by the number of clusters, so neither is used.
"k-means||-cached" replaces the first part: the same rounds in our own kernel, which keeps the distances.

The candidates of integer rows hold integers, so the squared distances that k-means++ draws by are exact in
float64. Float rows are drawn by their differences to the mean, as those distances cancel, and in order: rows
that all fit into the sample give the same seeds in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray
from sklearn.cluster import kmeans_plusplus

from dkmeans import kernels
from dkmeans.clustering.loop import State, iterate
from dkmeans.clustering.rows import Rows
from dkmeans.compute.tree import reduced
from dkmeans.errors import DistinctRowsError
from dkmeans.kernels import Block, arithmetic, is_exact

__all__ = ["Seeds", "draw_positions", "draw_seeds", "find_distinct_rows", "seed_centers"]

_SAMPLE_PER_CLUSTER = 50
_SAMPLE_LEAST = 20_000
_OVERSAMPLING = 2
_ROUNDS = 2
_CACHED_OVERSAMPLING = 1
_CACHED_ROUNDS = 3
_REDUCING_STEPS = 10
_SAMPLE_BLOCK_BYTES = 64 << 20


def _streams(seed: int) -> list[np.random.SeedSequence]:
    """Make the streams for drawing the sample, drawing from it, filling up, and reducing."""
    return np.random.SeedSequence(seed).spawn(4)


def draw_positions(n_rows: int, n_clusters: int, seed: int) -> NDArray[np.int64]:
    """Draw the rows that `seed_centers` chooses from, ascending; they depend on nothing else."""
    size = max(_SAMPLE_PER_CLUSTER * n_clusters, _SAMPLE_LEAST)
    if size >= n_rows:
        return np.arange(n_rows)
    rng = np.random.default_rng(_streams(seed)[0])
    return np.sort(rng.choice(n_rows, size, replace=False, shuffle=False))


@dataclass(frozen=True)
class Seeds:
    """First centers for any number of clusters up to the one that they were drawn for.

    The first choices of k-means++ are its choices for fewer clusters, so one choice serves them all.

    Attributes
    ----------
    rows : Rows
    chosen : ndarray of shape (n_chosen, n_features)
        Distinct rows in the order in which they were chosen.
    candidates, weights : ndarray of shape (n_candidates, n_features) and (n_candidates,), or None
        The rows that they were chosen from, on which they are moved; None where they stay as they are.
    """

    rows: Rows
    chosen: NDArray[Any]
    candidates: NDArray[Any] | None = None
    weights: NDArray[Any] | None = None

    def centers(self, n_clusters: int) -> NDArray[Any]:
        """Give the first centers, shape (n_clusters, n_features): float32 on the grid, or float64.

        Raises
        ------
        DistinctRowsError
            If the data holds fewer distinct rows than `n_clusters`.
        """
        if n_clusters <= len(self.chosen):
            centers = self.chosen[:n_clusters]
            if self.candidates is not None and self.weights is not None:
                centers = _move(self.candidates, self.weights, centers)
        else:  # The sample may have missed some: all rows decide.
            centers = find_distinct_rows(self.rows, n_clusters)
            if len(centers) < n_clusters:
                raise DistinctRowsError(
                    f"the data holds {len(centers)} distinct rows, fewer than the {n_clusters} clusters "
                    f"asked for. Use --k {len(centers)} or less."
                )
        snapped: NDArray[Any] = arithmetic(self.rows.dtype).snap(centers, self.rows.dtype)
        return snapped


def seed_centers(rows: Rows, n_clusters: int, init: str, seed: int) -> NDArray[Any]:
    """Draw `n_clusters` centers; see `draw_seeds` and `Seeds.centers`."""
    return draw_seeds(rows, n_clusters, init, seed).centers(n_clusters)


def draw_seeds(rows: Rows, n_clusters: int, init: str, seed: int) -> Seeds:
    """Draw seeds for up to `n_clusters` clusters.

    Parameters
    ----------
    rows : Rows
    n_clusters : int
    init : {"k-means||", "k-means||-cached", "k-means++", "random"}
        All draw from a sample of 50 rows a cluster, at least 20,000; the first two weight their candidates
        by all rows.
    seed : int
    """
    _, drawing, filling, reducing = _streams(seed)
    sample = rows.take(draw_positions(rows.n_rows, n_clusters, seed))
    distinct, times = np.unique(sample, axis=0, return_counts=True)
    if not is_exact(rows.dtype):
        sample = np.repeat(distinct, times, axis=0)
    if init == "random" or len(distinct) < n_clusters:  # of which the choice would be all
        return Seeds(rows, _first_distinct(sample, n_clusters, np.random.default_rng(drawing)))
    if init == "k-means++":
        _, chosen = kmeans_plusplus(_points(sample), n_clusters, random_state=_random_state(drawing))
        return Seeds(rows, sample[chosen])
    if init == "k-means||":
        candidates = _candidates(sample, len(distinct), n_clusters, drawing)
    else:
        candidates = _cached_candidates(sample, n_clusters, drawing)
    candidates = _fill_up(candidates, distinct, n_clusters, np.random.default_rng(filling))
    weights = _weights(rows, candidates)
    _, chosen = kmeans_plusplus(
        _points(candidates),
        n_clusters,
        sample_weight=weights.astype(np.float64),
        random_state=_random_state(reducing),
    )
    return Seeds(rows, candidates[chosen], candidates, weights)


def _points(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Make `rows` float64; floats less their mean."""
    return rows.astype(np.float64) if is_exact(rows.dtype) else rows - rows.mean(axis=0)


def _random_state(sequence: np.random.SeedSequence) -> int:
    """Make a seed for the libraries that take an int."""
    return int(sequence.generate_state(1)[0])


def _first_distinct(sample: NDArray[Any], n: int, rng: np.random.Generator) -> NDArray[Any]:
    """Take the first `n` distinct rows of `sample` in random order."""
    shuffled = rng.permutation(sample, axis=0)
    _, first = np.unique(shuffled, axis=0, return_index=True)
    return shuffled[np.sort(first)[:n]]


def _candidates(
    sample: NDArray[Any], n_distinct: int, n_clusters: int, sequence: np.random.SeedSequence
) -> NDArray[Any]:
    """Draw about 2 * 2 * `n_clusters` distinct rows of `sample`, by dask-ml's rounds of k-means||."""
    # Not dask_ml.cluster.k_means.k_init: it reduces without weights, and fills up what is missing by
    # iterating over a Dask array, one task an element.
    from dask_ml.cluster.k_means import _sample_points, evaluate_cost

    n_most = 1 + _ROUNDS * _OVERSAMPLING * n_clusters
    block_rows = max(256, _SAMPLE_BLOCK_BYTES // (8 * n_most))
    points = _points(sample)
    x = da.from_array(points, chunks=(block_rows, -1))
    beginning, rounds = sequence.spawn(2)
    state = da.random.RandomState(_random_state(rounds))
    chosen = np.random.default_rng(beginning).integers(len(sample), size=1)
    with dask.config.set(scheduler="threads"):
        for _ in range(_ROUNDS):
            centers = points[chosen]
            if not is_exact(sample.dtype) and not evaluate_cost(x, centers).compute():
                break  # distinct floats can be so near to each other that their distance is rounded to zero
            drawn = _sample_points(x, centers, _OVERSAMPLING * n_clusters, state).compute()
            chosen = np.union1d(chosen, drawn)
            if len(np.unique(sample[chosen], axis=0)) == n_distinct:
                break  # no distance is left to draw by: dask-ml would divide by zero
    return np.unique(sample[chosen], axis=0)


def _cached_candidates(
    sample: NDArray[Any], n_clusters: int, sequence: np.random.SeedSequence
) -> NDArray[Any]:
    """Draw about 1 * 3 * `n_clusters` distinct rows of `sample`, by the same rounds in our own kernel.

    The distance of each row to its nearest candidate is kept: a round looks at its new candidates only.
    """
    rng = np.random.default_rng(sequence)
    block = kernels.load(sample)
    values = sample.astype(np.int64 if sample.dtype.kind == "u" else np.float64)
    chosen = [new := sample[rng.integers(len(sample), size=1)]]
    distances = np.full(len(sample), np.inf)
    for _ in range(_CACHED_ROUNDS):
        labels = block.labels(arithmetic(sample.dtype).snap(new, sample.dtype))
        gaps = values - new[labels].astype(values.dtype)
        distances = np.minimum(distances, (gaps * gaps).sum(axis=1))
        total = distances.sum()
        drawn = rng.random(len(sample)) * total < _CACHED_OVERSAMPLING * n_clusters * distances
        if not drawn.any():
            break
        new = np.unique(sample[drawn], axis=0)
        chosen.append(new)
    return np.unique(np.concatenate(chosen), axis=0)


def _fill_up(
    candidates: NDArray[Any], distinct: NDArray[Any], n_clusters: int, rng: np.random.Generator
) -> NDArray[Any]:
    """Add other distinct rows to `candidates` where these are fewer than `n_clusters`."""
    missing = n_clusters - len(candidates)
    if missing <= 0:
        return candidates
    both = np.concatenate([candidates, distinct])
    _, first, times = np.unique(both, axis=0, return_index=True, return_counts=True)
    others = both[first[times == 1]]
    return np.concatenate([candidates, rng.choice(others, missing, replace=False)])


def _count(block: Block, centers: NDArray[Any]) -> NDArray[Any]:
    return block.lloyd(centers).counts


def _weights(rows: Rows, candidates: NDArray[Any]) -> NDArray[Any]:
    """Count the rows nearest to each candidate, itself at least; shape (n_candidates,)."""
    centers = delayed(arithmetic(rows.dtype).snap(candidates, rows.dtype))
    count = delayed(_count)
    weights: NDArray[Any] = reduced(rows.cluster, sum, [count(block, centers) for block in rows.blocks])
    return weights


def _move(candidates: NDArray[Any], weights: NDArray[Any], chosen: NDArray[Any]) -> NDArray[Any]:
    """Move some of the candidates by a few weighted Lloyd steps on all of them."""
    first = arithmetic(candidates.dtype).snap(chosen, candidates.dtype)
    block = kernels.load(candidates, weights=weights)
    return iterate(block, State(first), max_iter=_REDUCING_STEPS, tol=0, plain=True).centers


def _distinct(block: Block, n: int) -> NDArray[Any]:
    return np.unique(block.rows(), axis=0)[:n]


def find_distinct_rows(rows: Rows, n: int) -> NDArray[Any]:
    """Find the lexicographically first `n` distinct rows of all rows; fewer where there are fewer."""
    find = delayed(_distinct)

    def merge(parts: list[NDArray[Any]]) -> NDArray[Any]:
        return np.unique(np.concatenate(parts), axis=0)[:n]

    found: NDArray[Any] = reduced(rows.cluster, merge, [find(block, n) for block in rows.blocks])
    return found
