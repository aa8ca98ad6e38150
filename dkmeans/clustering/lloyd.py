"""Lloyd's iterations across workers: exact, and a function of the rows and the first centers alone.

Of float64 rows they are rounded, and a function of their cuts too; see `dkmeans.kernels.floats`.

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
from dask.delayed import delayed
from numpy.typing import NDArray

from dkmeans.clustering.rows import Rows
from dkmeans.clustering.state import Iteration, State
from dkmeans.compute.tree import reduced
from dkmeans.kernels import Block, Stats, arithmetic

__all__ = ["LloydResult", "lloyd"]

_SENT_BYTES = 4 << 20
"""Bytes of centers up to which each task of a step gets a copy."""


@dataclass(frozen=True)
class LloydResult:
    """Centers, and the counts and inertia of the labels that belong to just these centers."""

    centers: NDArray[Any]
    counts: NDArray[Any]
    inertia: float
    history: list[Iteration]
    converged: bool


# A block that stays in a worker's memory knows the labels of its last step. Of a block that is read anew for
# each step, they are kept here: they never pass through the graph. Without them, one more pass with the
# previous centers makes them again: the same labels, so the same count of moved rows.
_HINTS: dict[tuple[str, int], tuple[NDArray[np.int32], NDArray[Any]]] = {}
_HINTS_LOCK = threading.Lock()


def _step(
    block: Block,
    centers: NDArray[Any],
    previous: NDArray[Any] | None,
    hint: tuple[str, int] | None,
) -> Stats:
    """One Lloyd step on one block, on a worker; `hint` names the labels of a block that is read anew."""
    if hint is None:
        return block.lloyd(centers, previous)
    with _HINTS_LOCK:
        known = _HINTS.pop(hint, None)
    if known is not None and previous is not None and np.array_equal(known[1], previous):
        block.adopt(*known)
    stats = block.lloyd(centers, previous)
    with _HINTS_LOCK:
        _HINTS[hint] = (block.labels(centers), centers)
    return stats


def _steps(
    blocks: list[Block],
    centers: NDArray[Any],
    previous: NDArray[Any] | None,
    hints: list[tuple[str, int] | None],
) -> Stats:
    """A step on the blocks of one share, one after the other."""
    stats = [_step(block, centers, previous, hint) for block, hint in zip(blocks, hints, strict=True)]
    merged: Stats = arithmetic(blocks[0].dtype).merge(stats)
    return merged


def _forget(fit: str) -> None:
    """Drop the hints of a fit, on a worker."""
    with _HINTS_LOCK:
        for key in [key for key in _HINTS if key[0] == fit]:
            del _HINTS[key]


def _farthest(block: Block, centers: NDArray[Any], n: int) -> tuple[Any, Any]:
    return block.farthest(centers, n)


def _merge_farthest(parts: list[tuple[Any, Any]], n: int) -> tuple[Any, Any]:
    """The `n` farthest distinct rows of several blocks; largest distance, then smallest row first."""
    distances = np.concatenate([part[0] for part in parts])
    rows, first = np.unique(np.concatenate([part[1] for part in parts]), axis=0, return_index=True)
    order = np.argsort(-distances[first], kind="stable")[:n]
    return distances[first][order], rows[order]


class _Loop:
    """The steps of one fit over the blocks of `rows`."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.fit = uuid.uuid4().hex  # names the hints; no result depends on it
        self.arithmetic = arithmetic(rows.dtype)
        self.workers = rows.cluster.workers()
        self.shares = rows.shares()

    def step(self, centers: NDArray[Any], previous: NDArray[Any] | None) -> Stats:
        if (workers := self.rows.cluster.workers()) != self.workers:  # blocks that were lost lie elsewhere
            self.workers, self.shares = workers, self.rows.shares()
        step = delayed(_steps)
        now, before = self._sent(centers), self._sent(previous)
        tasks = [
            step(
                [self.rows.blocks[number] for number in share],
                now,
                before,
                [None if self.rows.resident else (self.fit, number) for number in share],
            )
            for share in self.shares
        ]
        stats: Stats = reduced(self.rows.cluster, self.arithmetic.merge, tasks)
        return stats

    def _sent(self, centers: NDArray[Any] | None) -> Any:
        """Centers as an argument of the tasks: in each of them, or where that is much as a task of their own.

        A task that others wait for takes one more way to the worker and back, 5 ms.
        """
        if centers is None or len(self.shares) * centers.nbytes <= _SENT_BYTES:
            return centers
        return delayed(centers)

    def relocate(self, stats: Stats, centers: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
        """Move the centers of empty clusters to the rows that are farthest from their centers."""
        empty = np.flatnonzero(stats.counts == 0)
        find, now = delayed(_farthest), delayed(centers)
        tasks = [find(block, now, len(empty)) for block in self.rows.blocks]

        def merge(parts: list[tuple[Any, Any]]) -> tuple[Any, Any]:
            return _merge_farthest(parts, len(empty))

        _, far = reduced(self.rows.cluster, merge, tasks)
        new = new.copy()
        new[empty[: len(far)]] = self.arithmetic.snap(far, self.rows.dtype)
        return new

    def close(self) -> None:
        """Drop the hints on all workers."""
        if not self.rows.resident:
            self.rows.cluster.everywhere(_forget, self.fit)


def lloyd(
    rows: Rows,
    state: State,
    *,
    max_iter: int,
    tol: float,
    on_iteration: Callable[[State], None],
) -> LloydResult:
    """Iterate from `state` until nothing moves, the shift is within `tol`, or `max_iter` is reached.

    Parameters
    ----------
    rows : Rows
    state : State
        The first centers, as ``snap`` of the arithmetic of the rows gives them (float32 on a grid, or float64
        for float64 rows); or what `on_iteration` was given by a run that was lost: the rest is the same.
    max_iter : int
        Most iterations, with those of `state`.
    tol : float
        Stop when the squared center shift is at most `tol` times the mean variance of the features.
    on_iteration : callable
        Called after each iteration with the new state.
    """
    loop = _Loop(rows)
    try:
        return _iterate(loop, state, max_iter, tol, on_iteration)
    finally:
        loop.close()


def _iterate(
    loop: _Loop, state: State, max_iter: int, tol: float, on_iteration: Callable[[State], None]
) -> LloydResult:
    dtype, numbers = loop.rows.dtype, loop.arithmetic
    stats: Stats | None = None
    while not state.converged and len(state.history) < max_iter:
        began = time.perf_counter()
        centers = state.centers
        stats = loop.step(centers, state.previous)
        inertia = numbers.inertia(stats, centers, dtype)
        new = numbers.update_centers(stats, centers, dtype)
        any_empty = bool((stats.counts == 0).any())
        if any_empty:
            new = loop.relocate(stats, centers, new)
        elif not stats.moved:
            new = centers  # the means of the same rows, of which floats would only round anew
        shift = numbers.center_shift(centers, new, dtype)
        converged = shift == 0 or (shift <= tol * numbers.mean_variance(stats) and not any_empty)
        step = Iteration(inertia, shift, stats.moved, time.perf_counter() - began)
        state = State(new, centers, (*state.history, step), converged)
        on_iteration(state)
    if stats is None or state.history[-1].center_shift:
        stats = loop.step(state.centers, state.previous)  # labels that belong to the last centers
    inertia = numbers.inertia(stats, state.centers, dtype)
    return LloydResult(state.centers, stats.counts, inertia, list(state.history), state.converged)
