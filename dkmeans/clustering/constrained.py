"""Lloyd's iterations under constraints: coordinates that stay, rows that may take only some centers.

The centers are the means of their rows but where coordinates are fixed, so each step still lowers the
inertia as far as the constraints allow: rows nearest to a fixed center count, and do not move it. Steps may
go beyond the means, as those of `dkmeans.clustering.loop` do: the inertia is a sum over the coordinates, of
which some may stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import kernels
from dkmeans.clustering.loop import gain_left, goes_beyond
from dkmeans.features.space import FeatureSpace
from dkmeans.kernels import Block, exact

__all__ = ["Constrained", "Group", "group_by_alpha", "iterate_constrained", "label_groups", "sum_groups"]


@dataclass(frozen=True)
class Group:
    """Rows that may take the same centers.

    Attributes
    ----------
    chosen : ndarray of shape (n_rows,), bool
        Which of all rows they are.
    block : Block
        Of uint8 or uint16.
    allowed : ndarray of shape (n_clusters,), bool
        At least one.
    """

    chosen: NDArray[np.bool_]
    block: Block
    allowed: NDArray[np.bool_]

    def lloyd(
        self, centers: NDArray[np.float32], previous: NDArray[np.float32] | None = None
    ) -> exact.ChunkStats:
        """Assign the rows to the nearest of their centers, and sum them up for all centers."""
        places = np.flatnonzero(self.allowed)
        found = self.block.lloyd(centers[places], None if previous is None else previous[places])
        assert isinstance(found, exact.ChunkStats)
        sums, counts = np.zeros(centers.shape, np.int64), np.zeros(len(centers), np.int64)
        sums[places], counts[places] = found.sums, found.counts
        return exact.ChunkStats(sums, counts, found.squares, found.moved)


@dataclass(frozen=True)
class Constrained:
    """Centers, how many rows each has, and the inertia of these."""

    centers: NDArray[np.float32]
    counts: NDArray[np.int64]
    inertia: float
    n_iter: int
    converged: bool


def group_by_alpha(
    rows: NDArray[Any],
    counts: NDArray[np.int64] | None,
    centers: NDArray[np.float32],
    features: FeatureSpace,
    device: str = "cpu",
) -> list[Group]:
    """Group pixels by what they may take: clear ones a clear center, opaque ones an opaque one, others any.

    Where there is no such center all may be taken, and without alpha all rows are one group.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features), uint8 or uint16
    counts : ndarray of shape (n_rows,), int64, or None
        How often each counts; None counts each once.
    centers : ndarray of shape (n_clusters, n_features), float32
    features : FeatureSpace
    device : {"cpu", "gpu", "auto"}
    """
    every = np.ones(len(centers), np.bool_)
    kinds = [(np.ones(len(rows), np.bool_), every)]
    if features.has_alpha and features.patch is None:
        alpha, of_centers = rows[:, -1], features.to_pixels(centers)[:, -1]
        clear, opaque = of_centers == 0, of_centers == features.limit
        kinds = [
            (alpha == 0, clear if clear.any() else every),
            (alpha == features.full, opaque if opaque.any() else every),
            ((alpha > 0) & (alpha < features.full), every),
        ]
    return [
        Group(chosen, kernels.load(rows[chosen], device, None if counts is None else counts[chosen]), allowed)
        for chosen, allowed in kinds
        if chosen.any()
    ]


def sum_groups(
    groups: Sequence[Group], centers: NDArray[np.float32], previous: NDArray[np.float32] | None = None
) -> exact.ChunkStats:
    """Sum up the rows of all groups, each assigned to the nearest center that it may take.

    Those that have moved are counted from `previous` centers, all if None.
    """
    return exact.merge([group.lloyd(centers, previous) for group in groups])


def label_groups(groups: Sequence[Group], centers: NDArray[np.float32]) -> NDArray[np.int32]:
    """Find the nearest center of each row that it may take; shape (n_rows,)."""
    labels = np.zeros(len(groups[0].chosen), np.int32)
    for group in groups:
        places = np.flatnonzero(group.allowed).astype(np.int32)
        labels[group.chosen] = places[group.block.labels(centers[places])]
    return labels


def iterate_constrained(
    groups: Sequence[Group],
    centers: NDArray[np.float32],
    fixed: NDArray[np.bool_],
    *,
    max_iter: int,
    tol: float,
    relaxation: float = 1.0,
    min_gain: float = 0.0,
) -> Constrained:
    """Iterate until nothing moves, little is left to gain, or `max_iter` is reached.

    Parameters
    ----------
    groups : sequence of Group
        All rows, of one type; at least one group.
    centers : ndarray of shape (n_clusters, n_features), float32
        On the grid of `dkmeans.kernels.exact`.
    fixed : ndarray of shape (n_clusters, n_features), bool
        Coordinates that stay as they are.
    max_iter, tol, relaxation, min_gain
        As in `dkmeans.clustering.loop.iterate`.
    """
    dtype, converged = groups[0].block.dtype, False
    moved: list[int] = []
    inertias: list[float] = []
    movable = np.any([group.allowed for group in groups], axis=0) & ~fixed.all(axis=1)
    stats = sum_groups(groups, centers)
    while not converged and len(moved) < max_iter:
        moved.append(stats.moved)
        inertias.append(exact.inertia(stats, centers, dtype))
        means = exact.update_centers(stats, centers, dtype)
        empty = np.flatnonzero((stats.counts == 0) & movable)
        for center in empty[:1]:  # one at a time, as each takes the farthest row
            means[center] = exact.snap(_farthest(groups, centers, center), dtype)
        new = np.where(fixed, centers, means)
        shift = exact.center_shift(centers, new, dtype)
        little = shift <= tol * exact.mean_variance(stats) or gain_left(inertias) < min_gain
        converged = shift == 0 or (little and not len(empty))
        if goes_beyond(moved, relaxation) and not converged and len(moved) < max_iter:
            new = np.where(stats.counts[:, None] > 0, exact.relax(centers, new, relaxation, dtype), new)
        centers, stats = new, sum_groups(groups, new, centers)
    return Constrained(centers, stats.counts, exact.inertia(stats, centers, dtype), len(moved), converged)


def _farthest(groups: Sequence[Group], centers: NDArray[np.float32], center: int) -> NDArray[Any]:
    """Find the row that is farthest from its center, of those that may take `center`."""
    found = [group.block.farthest(centers[group.allowed], 1) for group in groups if group.allowed[center]]
    distances = [float(distance[0]) for distance, _ in found]
    row: NDArray[Any] = found[int(np.argmax(distances))][1][0]
    return row
