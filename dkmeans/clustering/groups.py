"""How many groups rows fall into, if into any: the gap statistic, on a sample.

R. Tibshirani, G. Walther, T. Hastie, Estimating the number of clusters in a data set via the gap statistic,
Journal of the Royal Statistical Society B 63(2), 2001. The logarithm of the inertia is compared with that of
rows without groups: uniform in the box around the sample along its principal axes, as colors and patches vary
together. The number of groups is the smallest from which the next gains no more than it does there, within
one standard error.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dkmeans import kernels
from dkmeans.clustering.loop import State, iterate
from dkmeans.clustering.seeding import draw_positions
from dkmeans.kernels import arithmetic
from dkmeans.kernels.plusplus import choose_greedily

__all__ = ["draw_group_sample", "find_groups"]

_SAMPLE = 1000
_VALUES = 1 << 22
"""Values of the sample: of wide rows it has fewer."""
_ROWS_PER_GROUP = 20
"""Rows of the sample for each cluster, below which its groups cannot be told from chance."""
_REFERENCES = 5
_STARTS = 3
_TRIALS = 10
_MAX_ITER = 50
_TOL = 1e-3
_GRID = np.dtype(np.uint16)


def draw_group_sample(n_rows: int, n_features: int, n_clusters: int, seed: int) -> NDArray[np.int64]:
    """Draw the rows that groups are looked for in, ascending, among those that seeds are drawn from.

    Parameters
    ----------
    n_rows, n_features : int
    n_clusters : int
        The most clusters of the sweep.
    seed : int
    """
    positions = draw_positions(n_rows, n_clusters, seed)
    size = min(len(positions), _SAMPLE, max(1, _VALUES // n_features))
    return np.sort(_stream(seed, 0).choice(positions, size, replace=False, shuffle=False))


def find_groups(sample: NDArray[np.integer], n_clusters: Sequence[int], seed: int) -> int | None:
    """Find how many groups rows fall into; None if they are one, or too many to be told from a sample.

    The largest number that is judged cannot be the answer, as there is none after it to compare with.

    Parameters
    ----------
    sample : ndarray of shape (n_rows, n_features), uint8 or uint16
    n_clusters : sequence of int
        Numbers to choose from, ascending.
    seed : int
        Of the rows without groups, and of all first centers.
    """
    most = len(sample) // _ROWS_PER_GROUP
    sizes = [1, *(k for k in n_clusters if 1 < k <= most)]
    if len(sizes) < 3 or (sample == sample[0]).all():
        return None
    gaps, errors = _gaps(sample, sizes, seed)
    enough = np.flatnonzero(gaps[:-1] >= gaps[1:] - errors[1:])
    return sizes[enough[0]] if len(enough) and enough[0] > 0 else None


def _stream(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed).spawn(8)[6 + number])


def _gaps(
    sample: NDArray[np.integer], sizes: list[int], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure the gap of each size, and its standard error; infinite where no inertia is left."""
    centered = sample - sample.mean(axis=0)
    axes = np.linalg.svd(centered, full_matrices=False)[2]
    along = centered @ axes.T
    low, high = along.min(axis=0), along.max(axis=0)
    scale = (np.iinfo(_GRID).max // 2) / np.linalg.norm(np.maximum(-low, high))  # to the corner of the box
    rng = _stream(seed, 1)

    def spread(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        on_grid = np.rint((rows * scale) + (np.iinfo(_GRID).max // 2)).astype(_GRID)
        with np.errstate(divide="ignore"):
            return np.log(_least_inertia(on_grid, sizes, rng))

    own = spread(centered)
    others = np.array([spread(rng.uniform(low, high, along.shape) @ axes) for _ in range(_REFERENCES)])
    return others.mean(axis=0) - own, others.std(axis=0) * np.sqrt(1 + 1 / _REFERENCES)


def _least_inertia(
    rows: NDArray[np.uint16], sizes: list[int], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Fit each number of clusters from a few starts; the choices of greedy k-means++ serve them all."""
    block, snap = kernels.load(rows), arithmetic(rows.dtype).snap
    weights = np.ones(len(rows), np.int64)
    least = np.full(len(sizes), np.inf)
    for _ in range(_STARTS):
        chosen = rows[choose_greedily(rows, weights, max(sizes), rng, _TRIALS)]
        starts = (State(snap(chosen[:k], rows.dtype)) for k in sizes)
        found = [iterate(block, start, max_iter=_MAX_ITER, tol=_TOL).inertia for start in starts]
        least = np.minimum(least, found)
    return least
