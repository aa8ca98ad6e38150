"""Lloyd's iterations across workers: exact, and a function of the rows and the first centers alone.

S. P. Lloyd, Least squares quantization in PCM, IEEE Transactions on Information Theory 28(2), 1982.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from dkmeans import kernels
from dkmeans.clustering.rows import Rows
from dkmeans.kernels import exact
from dkmeans.kernels.exact import ChunkStats

__all__ = ["Iteration", "LloydResult", "lloyd", "tree"]

_FAN_IN = 8
"""Blocks whose sums are added by one task."""


@dataclass(frozen=True)
class Iteration:
    """One row of the history of a fit; distances in squared units of the rows."""

    inertia: float
    center_shift: float
    moved: int
    seconds: float


@dataclass(frozen=True)
class LloydResult:
    """Centers, and the counts and inertia of the labels that belong to just these centers."""

    centers: NDArray[np.float32]
    counts: NDArray[np.int64]
    inertia: float
    history: list[Iteration]
    converged: bool


# A hint, the labels of the last step, stays in the memory of the worker that made it; it is never passed
# through the graph. It is valid for just the step after its own. Without it, one more pass with the
# previous centers makes it again: the same labels, so the same count of moved rows.
_HINTS: dict[tuple[str, int], tuple[int, Any]] = {}
_HINTS_LOCK = threading.Lock()


def _step(
    rows: Any,
    centers: NDArray[np.float32],
    previous: NDArray[np.float32] | None,
    fit: str,
    block: int,
    iteration: int,
) -> ChunkStats:
    """One Lloyd step on one block, on a worker."""
    with _HINTS_LOCK:
        step, hint = _HINTS.pop((fit, block), (-1, None))
    if previous is not None and step != iteration - 1:
        _, hint = kernels.lloyd_chunk(rows, previous)
    stats, hint = kernels.lloyd_chunk(rows, centers, hint if previous is not None else None)
    with _HINTS_LOCK:
        _HINTS[fit, block] = (iteration, hint)
    return stats


def _forget(fit: str) -> None:
    """Drop the hints of a fit, on a worker."""
    with _HINTS_LOCK:
        for key in [key for key in _HINTS if key[0] == fit]:
            del _HINTS[key]


def tree(function: Callable[[list[Any]], Any], tasks: list[Delayed]) -> Delayed:
    """Combine the values of `tasks` by `function`, a few at a time, on the workers."""
    combine = delayed(function)
    while len(tasks) > 1:
        tasks = [combine(tasks[start : start + _FAN_IN]) for start in range(0, len(tasks), _FAN_IN)]
    return tasks[0]


def _farthest(rows: Any, centers: NDArray[np.float32], n: int) -> tuple[Any, Any]:
    return kernels.farthest(rows, centers, n)


def _merge_farthest(parts: list[tuple[Any, Any]], n: int) -> tuple[Any, Any]:
    """The `n` farthest distinct rows of several blocks; largest distance, then smallest row first."""
    distances = np.concatenate([part[0] for part in parts])
    rows, first = np.unique(np.concatenate([part[1] for part in parts]), axis=0, return_index=True)
    order = np.argsort(-distances[first], kind="stable")[:n]
    return distances[first][order], rows[order]


class _Loop:
    """The steps of one fit over the blocks of `rows`."""

    def __init__(self, rows: Rows, blocks: list[Delayed]) -> None:
        self.rows = rows
        self.blocks = blocks
        self.fit = uuid.uuid4().hex  # names the hints; no result depends on it

    def step(
        self, centers: NDArray[np.float32], previous: NDArray[np.float32] | None, iteration: int
    ) -> ChunkStats:
        step = delayed(_step)
        now, before = delayed(centers), delayed(previous)
        tasks = [
            step(block, now, before, self.fit, number, iteration) for number, block in enumerate(self.blocks)
        ]
        stats: ChunkStats = self.rows.cluster.run([tree(exact.merge, tasks)])[0]
        return stats

    def relocate(
        self, stats: ChunkStats, centers: NDArray[np.float32], new: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Move the centers of empty clusters to the rows that are farthest from their centers."""
        empty = np.flatnonzero(stats.counts == 0)
        find, now = delayed(_farthest), delayed(centers)
        tasks = [find(block, now, len(empty)) for block in self.blocks]

        def merge(parts: list[tuple[Any, Any]]) -> tuple[Any, Any]:
            return _merge_farthest(parts, len(empty))

        _, far = self.rows.cluster.run([tree(merge, tasks)])[0]
        new = new.copy()
        new[empty[: len(far)]] = exact.snap(far, self.rows.dtype)
        return new

    def close(self) -> None:
        """Drop the hints on all workers."""
        self.rows.cluster.everywhere(_forget, self.fit)


def lloyd(
    rows: Rows,
    blocks: list[Delayed],
    centers: NDArray[np.float32],
    *,
    max_iter: int,
    tol: float,
    on_iteration: Callable[[Iteration], None],
) -> LloydResult:
    """Iterate from `centers` until nothing moves, the shift is within `tol`, or `max_iter` is reached.

    Parameters
    ----------
    rows : Rows
    blocks : list of Delayed
        The rows, as `Rows.blocks` gives them.
    centers : ndarray of shape (n_clusters, n_features), float32
        On the grid of `dkmeans.kernels.exact`.
    max_iter : int
        Most iterations.
    tol : float
        Stop when the squared center shift is at most `tol` times the mean variance of the features.
    on_iteration : callable
        Called after each iteration.
    """
    loop = _Loop(rows, blocks)
    try:
        return _iterate(loop, centers, max_iter, tol, on_iteration)
    finally:
        loop.close()


def _iterate(
    loop: _Loop,
    centers: NDArray[np.float32],
    max_iter: int,
    tol: float,
    on_iteration: Callable[[Iteration], None],
) -> LloydResult:
    dtype = loop.rows.dtype
    history: list[Iteration] = []
    previous: NDArray[np.float32] | None = None
    converged = False
    for number in range(max_iter):
        began = time.perf_counter()
        stats = loop.step(centers, previous, number)
        inertia = exact.inertia(stats, centers, dtype)
        new = exact.update_centers(stats, centers, dtype)
        any_empty = bool((stats.counts == 0).any())
        if any_empty:
            new = loop.relocate(stats, centers, new)
        shift = exact.center_shift(centers, new, dtype)
        history.append(Iteration(inertia, shift, stats.moved, time.perf_counter() - began))
        on_iteration(history[-1])
        if shift == 0:  # the next step would repeat this one: these labels belong to these centers
            return LloydResult(centers, stats.counts, inertia, history, converged=True)
        previous, centers = centers, new
        if shift <= tol * exact.mean_variance(stats) and not any_empty:
            converged = True
            break
    stats = loop.step(centers, previous, len(history))
    return LloydResult(centers, stats.counts, exact.inertia(stats, centers, dtype), history, converged)
