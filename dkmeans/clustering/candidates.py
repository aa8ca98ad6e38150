"""Candidates of seeds: rounds of k-means||, each of which draws several rows by their squared distances.

B. Bahmani et al., Scalable k-means++, PVLDB 5(7), 2012. A row comes in with a probability in proportion to
its squared distance to the nearest candidate so far. The first round, which knows a single one, draws few:
the second compares each row with all of them, which is nearly all of the time. It draws the more. Measured on
three sets of 40 clusters of 8 features, 24 seeds each, inertia after 20 iterations: factors 2 and 2 end at
9.97e6, 1/2 and 2 at 10.8e6, 1/4 and 4 at 10.2e6, 1/2 and 4 at 9.85e6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import kernels
from dkmeans.clustering.sampling import count_distinct
from dkmeans.kernels import arithmetic, is_exact

__all__ = ["centered", "draw_by_dask_ml", "draw_cached", "fill_up"]

_ROUNDS = ((0.5, 16), (4.0, 64))
"""Candidates of each round for a cluster, and at least."""
_CACHED_ROUNDS = ((1.0, 16),) * 3
_BLOCK_BYTES = 64 << 20
_Say = Callable[[str], None]


def centered(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Make `rows` float64; floats less their mean, as their squared distances would cancel."""
    return rows.astype(np.float64) if is_exact(rows.dtype) else rows - rows.mean(axis=0)


def draw_by_dask_ml(
    rows: NDArray[Any], n_clusters: int, sequence: np.random.SeedSequence, say: _Say
) -> NDArray[Any]:
    """Draw about 4.5 `n_clusters` distinct ones of `rows` by dask-ml's rounds; of integers exactly.

    Squared distances of integers are exact in float64. Those of floats may be rounded to zero.
    """
    # Not dask_ml.cluster.k_means.k_init: its factor is not multiplied by the number of clusters, it reduces
    # without weights, and fills up what is missing by iterating over a Dask array, one task an element.
    import dask
    import dask.array as da
    from dask_ml.cluster.k_means import _sample_points, evaluate_cost

    sizes = [max(factor * n_clusters, least) for factor, least in _ROUNDS]
    points, n_distinct = centered(rows), len(count_distinct(rows)[0])
    x = da.from_array(points, chunks=(max(256, int(_BLOCK_BYTES / (8 * sizes[0]))), -1))
    beginning, rounds = sequence.spawn(2)
    state = da.random.RandomState(int(rounds.generate_state(1)[0]))
    chosen = np.random.default_rng(beginning).integers(len(rows), size=1)
    with dask.config.set(scheduler="threads"):
        for number, size in enumerate(sizes, 1):
            say(f"drawing, round {number} of {len(sizes)}")
            if len(count_distinct(rows[chosen])[0]) == n_distinct:
                break  # no distance is left to draw by: dask-ml would divide by zero
            if not is_exact(rows.dtype) and not evaluate_cost(x, points[chosen]).compute():
                break
            chosen = np.union1d(chosen, _sample_points(x, points[chosen], size, state).compute())
    return count_distinct(rows[chosen])[0]


def draw_cached(
    rows: NDArray[Any], n_clusters: int, sequence: np.random.SeedSequence, say: _Say
) -> NDArray[Any]:
    """Draw about 3 `n_clusters` distinct ones of `rows` by rounds in our own kernel.

    The distance of each row to its nearest candidate is kept: a round looks at its new candidates only.
    """
    rng, block = np.random.default_rng(sequence), kernels.load(rows)
    values = rows.astype(np.int64 if is_exact(rows.dtype) else np.float64)
    chosen = [new := rows[rng.integers(len(rows), size=1)]]
    distances = np.full(len(rows), np.inf)
    for number, (factor, least) in enumerate(_CACHED_ROUNDS, 1):
        say(f"drawing, round {number} of {len(_CACHED_ROUNDS)}")
        labels = block.labels(arithmetic(rows.dtype).snap(new, rows.dtype))
        gaps = values - new[labels].astype(values.dtype)
        distances = np.minimum(distances, (gaps * gaps).sum(axis=1))
        drawn = rng.random(len(rows)) * distances.sum() < max(factor * n_clusters, least) * distances
        if not drawn.any():
            break
        new = count_distinct(rows[drawn])[0]
        chosen.append(new)
    return count_distinct(np.concatenate(chosen))[0]


def fill_up(
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
