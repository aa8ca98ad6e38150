"""Types that all kernels share: blocks of rows, their statistics, the arithmetic of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Arithmetic", "Block", "Stats"]


class Stats(Protocol):
    """Statistics of rows that are assigned to centers; the ``ChunkStats`` of `exact` and of `floats` are."""

    @property
    def counts(self) -> NDArray[Any]:
        """Number (or weight) of the rows of each cluster; shape (n_clusters,)."""

    @property
    def moved(self) -> float:
        """Rows (or their weight) that are not in the cluster that they were in a step before."""


class Block(Protocol):
    """Rows in the layout that a device likes, and what is known of them between the steps.

    What is known makes the next step fast and never changes its result. It stays in the process: a copy of a
    block in another one has the rows, in their order, and nothing else.
    """

    n_rows: int
    n_features: int
    dtype: np.dtype[Any]

    def rows(self, positions: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """Copy the rows at `positions`, all if None, to the host; shape (n, n_features)."""

    def lloyd(self, centers: NDArray[Any], previous: NDArray[Any] | None = None) -> Stats:
        """Assign the rows to their nearest centers, the lowest index on ties, and sum them up.

        Parameters
        ----------
        centers : ndarray of shape (n_clusters, n_features)
            As ``snap`` of the arithmetic gives them: float32 on a grid, or float64.
        previous : ndarray of shape (n_clusters, n_features), or None
            The centers of the step before: what `moved` is counted from; None counts all rows.
        """

    def labels(self, centers: NDArray[Any]) -> NDArray[np.int32]:
        """Find the nearest center of each row, the lowest index on ties; shape (n_rows,), on the host."""

    def adopt(self, labels: NDArray[np.int32], centers: NDArray[Any]) -> None:
        """Know what another block of the same rows knew, whose ``labels(centers)`` these are."""

    def farthest(self, centers: NDArray[Any], n: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Find the `n` distinct rows farthest from their centers; see `reference.farthest`."""


S = TypeVar("S", bound=Stats)


@dataclass(frozen=True)
class Arithmetic(Generic[S]):
    """The arithmetic of a fit, apart from the blocks: `exact.EXACT` in integers, `floats.FLOATS` in float64.

    Attributes
    ----------
    merge : callable
        Statistics of several blocks to those of all their rows.
    snap : callable
        Any centers and the dtype of the rows to centers that a block takes.
    update_centers : callable
        Statistics, centers and dtype to the mean of each cluster; an empty one keeps its center.
    relax : callable
        Centers, their means, a factor below 2 and dtype to centers that lie so many times as far on the way.
    inertia : callable
        Statistics, centers and dtype to the sum of the squared distances of all rows to their centers.
    center_shift : callable
        Old centers, new centers and dtype to the sum of the squared distances between them.
    mean_variance : callable
        Statistics to the mean over the features of the variance of all rows.
    """

    merge: Callable[[list[S]], S]
    snap: Callable[[NDArray[Any], np.dtype[Any]], NDArray[Any]]
    update_centers: Callable[[S, NDArray[Any], np.dtype[Any]], NDArray[Any]]
    relax: Callable[[NDArray[Any], NDArray[Any], float, np.dtype[Any]], NDArray[Any]]
    inertia: Callable[[S, NDArray[Any], np.dtype[Any]], float]
    center_shift: Callable[[NDArray[Any], NDArray[Any], np.dtype[Any]], float]
    mean_variance: Callable[[S], float]
